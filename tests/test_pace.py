"""gateway.pace: token buckets and penalties, on a clock that the tests turn."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.pace import QUIET, Pace, Penalties, Recent


def taken(pace: Pace, key: str, times: list[float]) -> list[bool]:
    return [pace.take(key, now) for now in times]


def test_a_burst_may_come_at_once_and_no_more() -> None:
    assert taken(Pace(1, 3), "a", [0, 0, 0, 0]) == [True, True, True, False]


def test_in_the_long_run_the_rate_counts() -> None:
    assert taken(Pace(2, 1), "a", [0, 0.4, 0.5, 0.9, 1.0, 9.0, 9.1]) == [True, False, True, False, True, True, False]


def test_what_is_refused_does_not_count() -> None:
    pace = Pace(1, 1)
    assert taken(pace, "a", [0, 0.5, 0.6, 0.7, 1.0]) == [True, False, False, False, True]


def test_every_key_has_its_own_bucket() -> None:
    pace = Pace(1, 1)
    assert [pace.take(key, 0) for key in "aabb"] == [True, False, True, False]


def test_those_who_wait_stand_in_a_line() -> None:
    pace = Pace(10, 2)
    assert [pace.wait("a", 0) for _ in range(5)] == pytest.approx([0, 0, 0.1, 0.2, 0.3])
    assert pace.wait("a", 0.3) == pytest.approx(0.1)


def test_a_wait_beyond_patience_takes_no_place_in_the_line() -> None:
    pace = Pace(1, 1)
    assert [pace.wait("a", 0, patience=1.5) for _ in range(5)] == [0, 1, 2, 2, 2]


@given(st.floats(0.01, 1000), st.integers(1, 50), st.lists(st.floats(0, 10), max_size=200))
def test_never_more_than_the_burst_and_what_the_rate_gives(rate: float, burst: int, gaps: list[float]) -> None:
    pace, now, let_in = Pace(rate, burst), 0.0, 0
    for gap in gaps:
        now += gap
        let_in += pace.take("a", now)
        assert let_in <= burst + rate * now + 1e-3


def test_the_longest_unused_is_dropped_first() -> None:
    table = Recent[int](most=2)
    for key in "abac":
        table.put(key, 1)
    assert [table.get(key, 0) for key in "abc"] == [1, 0, 1]


def test_whoever_comes_again_pushes_nobody_out() -> None:
    table = Recent[int](most=2)
    for key in "abb":
        table.put(key, 1)
    assert [table.get(key, 0) for key in "ab"] == [1, 1]


def test_a_flood_of_keys_takes_no_more_room() -> None:
    pace = Pace(1, 1, most=100)
    assert all(pace.take(str(i), 0) for i in range(1000))
    assert len(pace._full) == 100


# --- penalties


def test_a_penalty_doubles_up_to_its_most() -> None:
    penalties = Penalties(most=5)
    waits = [penalties.failed("a", 0) for _ in range(8)]
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5])


def test_every_source_has_its_own_penalty() -> None:
    penalties = Penalties(most=5)
    assert [penalties.failed(key, 0) for key in "aab"] == [0.1, 0.2, 0.1]


@pytest.mark.parametrize(("quiet", "wait"), [(QUIET - 1, 5), (QUIET, 3.2), (2 * QUIET, 1.6), (100 * QUIET, 0.1)])
def test_each_quiet_minute_forgets_a_failure(quiet: float, wait: float) -> None:
    penalties = Penalties(most=5)
    for _ in range(1000):
        penalties.failed("a", 0)
    assert penalties.failed("a", quiet) == wait


def test_the_most_may_be_less_than_the_first() -> None:
    penalties = Penalties(most=0.01)
    assert [penalties.failed("a", 0) for _ in range(3)] == [0.01, 0.01, 0.01]


def test_a_flood_of_sources_takes_no_more_room() -> None:
    penalties = Penalties(most=5, keys=10)
    assert {penalties.failed(str(i), 0) for i in range(1000)} == {0.1}
    assert len(penalties._failures) == 10

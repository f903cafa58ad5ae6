"""gateway.routing.seats: which backend answers a charger, on a clock that the tests turn."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Route
from gateway.exchange import Standing
from gateway.routing.seats import Seats

NAMES = ("a", "b", "c")
UP = Standing(True, 0.0)


def route(**options: Any) -> Route:
    return Route.model_validate({"answer": NAMES, "failover_after": 10.0, "fail_back_after": 60.0} | options)


class Rig:
    """Seats, how the backends stand, and what was told of moves."""

    def __init__(self, most: int = 100, **options: Any) -> None:
        self.route = route(**options)
        self.told: list[tuple[str, str, str, str]] = []
        self.seats = Seats(most, lambda *move: self.told.append(move))
        self.standings = dict.fromkeys(NAMES, UP)

    def stand(self, up: str = "", away: str = "", since: float = 0.0) -> None:
        self.standings |= {name: Standing(name in up, since) for name in up + away}

    def order(self, now: float = 100.0, identity: str = "CP-1", bound: bool = False) -> str:
        return "".join(self.seats.order(identity, self.route, self.standings.__getitem__, bound, now))


def test_a_charger_is_seated_at_the_first() -> None:
    rig = Rig()
    assert (rig.order(), rig.told, len(rig.seats)) == ("a", [], 0)


def test_a_route_with_one_backend_is_given_as_it_is_and_nobody_is_asked_how_it_stands() -> None:
    def unused(name: str) -> Standing:
        raise AssertionError(name)

    one = route(answer=("a",))
    assert Seats().order("CP-1", one, unused, False, 0.0) is one.answer


def test_in_the_ordinary_case_nothing_is_made() -> None:
    rig = Rig()
    first = rig.seats.order("CP-1", rig.route, rig.standings.__getitem__, False, 0.0)
    assert rig.seats.order("CP-2", rig.route, rig.standings.__getitem__, False, 0.0) is first


@pytest.mark.parametrize(("seconds", "order"), [(0, "a"), (9.9, "a"), (10, "b"), (100, "b")])
def test_the_next_answers_when_the_first_has_been_away_for_long_enough(seconds: float, order: str) -> None:
    rig = Rig()
    rig.stand(away="a", since=100)
    assert rig.order(100 + seconds) == order


def test_a_move_is_told_and_counted() -> None:
    rig = Rig()
    rig.stand(away="a", since=100)
    rig.order(112)
    rig.order(113)
    assert rig.told == [("CP-1", "a", "b", "a has been away for 12 s")]
    assert rig.seats.moved == {("a", "b"): 1}


def test_the_seat_goes_to_the_first_that_is_up() -> None:
    rig = Rig()
    rig.stand(away="ab")
    assert rig.order() == "c"
    rig.stand(up="a", away="c")
    assert rig.order() == "a"
    assert [(old, new) for _, old, new, _ in rig.told] == [("a", "c"), ("c", "a")]


def test_when_all_are_away_the_seat_stays() -> None:
    rig = Rig()
    rig.stand(away="abc")
    assert (rig.order(), rig.told) == ("a", [])


def test_without_a_settled_time_those_behind_are_asked_at_once() -> None:
    rig = Rig(failover_after=0)
    assert rig.order() == "abc"
    rig.stand(away="a", since=100)
    assert (rig.order(100), rig.seats.seat("CP-1", rig.route)) == ("bc", "b")
    rig.stand(away="bc", since=100)
    assert rig.order(100) == "bc"


@pytest.mark.parametrize(("told", "order"), [({}, "a"), ({"failover_after": 0}, "a"), ({"failover_in_transaction": True}, "b")])
def test_in_a_transaction_the_seat_stays_unless_told_otherwise(told: dict[str, Any], order: str) -> None:
    rig = Rig(**told)
    rig.stand(away="a")
    assert rig.order(bound=True) == order


def moved(**options: Any) -> Rig:
    """Seated at b; the first is up again since 200."""
    rig = Rig(**options)
    rig.stand(away="a")
    rig.order()
    rig.stand(up="a", since=200)
    return rig


@pytest.mark.parametrize(
    ("told", "seconds", "order"),
    [
        ({}, 1000, "b"),
        ({"fail_back": True}, 59, "b"),
        ({"fail_back": True}, 60, "a"),
        ({"fail_back": True, "fail_back_after": 0}, 0, "a"),
    ],
)
def test_an_earlier_one_answers_again_where_told_so_after_a_settled_time(
    told: dict[str, Any], seconds: float, order: str
) -> None:
    assert moved(**told).order(200 + seconds) == order


@pytest.mark.parametrize("in_transaction", [False, True])
def test_nobody_moves_back_in_a_transaction(in_transaction: bool) -> None:
    rig = moved(fail_back=True, failover_in_transaction=in_transaction)
    assert [rig.order(1000, bound=bound) for bound in (True, False)] == ["b", "a"]
    assert rig.told[-1] == ("CP-1", "b", "a", "a has been up for 800 s")
    assert len(rig.seats) == 0


def test_each_charger_has_its_own_seat_however_its_identity_is_spelt() -> None:
    rig = moved()
    assert [rig.order(1000, identity) for identity in ("cp-1", "CP-1", "CP-2")] == ["b", "b", "a"]


def test_a_seat_that_the_route_does_not_know_any_more_is_the_first_one() -> None:
    rig = moved()
    rig.route = route(answer=("c", "a"))
    assert (rig.order(), len(rig.seats)) == ("c", 0)
    assert len(rig.told) == 1


def test_a_charger_can_be_seated_where_it_was_answered() -> None:
    rig = Rig()
    for backend in ("x", "a", "c", "c"):
        rig.seats.take("CP-1", rig.route, backend, "it was there before")
    assert (rig.order(), rig.seats.seat("cp-1", rig.route)) == ("c", "c")
    assert rig.told == [("CP-1", "a", "c", "it was there before")]


def test_seats_are_bounded_and_the_one_unseen_for_longest_is_forgotten() -> None:
    rig = Rig(most=2)
    rig.stand(away="a")
    for identity in ("CP-1", "CP-2", "CP-1", "CP-3"):
        rig.order(identity=identity)
    rig.stand(up="a")
    assert [rig.order(identity=f"CP-{i}") for i in (1, 2, 3)] == ["b", "a", "b"]


STEPS = st.lists(
    st.tuples(st.floats(0, 100), st.dictionaries(st.sampled_from(NAMES), st.booleans()), st.booleans()),
    max_size=30,
)


@given(STEPS, st.sampled_from([0.0, 10.0]), st.booleans())
def test_whatever_happens_it_is_in_order_bound_chargers_stay_and_moves_join(
    steps: Sequence[tuple[float, dict[str, bool], bool]], after: float, back: bool
) -> None:
    rig, now, seat = Rig(failover_after=after, fail_back=back), 0.0, "a"
    for gap, changes, bound in steps:
        now += gap
        for name, up in changes.items():
            rig.stand(up=name if up else "", away="" if up else name, since=now)
        order = rig.order(now, bound=bound)
        assert order in ("abc"[NAMES.index(order[0]) :], order[0])
        assert not bound or order == seat
        seat = order[0]
    path = ["a", *(new for _, _, new, _ in rig.told)]
    assert [(old, new) for _, old, new, _ in rig.told] == list(pairwise(path))
    assert path[-1] == seat

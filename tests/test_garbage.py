"""gateway.garbage: when what is frozen, and when all is collected."""

import pytest

from gateway.garbage import ARRIVALS, DEPARTURES, SETTLING, Garbage


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the collector was told."""
    done: list[str] = []
    for name in ("collect", "freeze", "unfreeze", "set_threshold"):
        monkeypatch.setattr(f"gateway.garbage.gc.{name}", lambda *_, name=name: done.append(name))
    return done


def test_what_is_there_at_the_start_is_frozen(done: list[str]) -> None:
    Garbage().start()
    assert done == ["collect", "freeze", "set_threshold"]


def come(garbage: Garbage, count: int) -> None:
    for _ in range(count):
        garbage.arrived()


def go(garbage: Garbage, count: int) -> None:
    for _ in range(count):
        garbage.departed()


def test_a_storm_of_arrivals_is_frozen_on_the_way(done: list[str]) -> None:
    come(Garbage(), 3 * ARRIVALS - 1)
    assert done == ["freeze", "freeze"]


def test_who_has_come_is_frozen_by_the_next_ticks_until_all_has_settled(done: list[str]) -> None:
    garbage = Garbage()
    come(garbage, 3)
    for _ in range(2 * SETTLING):
        garbage.tick()
    assert done == ["freeze"] * (1 + SETTLING)


def test_who_comes_back_is_not_frozen_again(done: list[str]) -> None:
    garbage = Garbage()
    come(garbage, ARRIVALS)
    go(garbage, ARRIVALS)
    come(garbage, ARRIVALS)
    assert done == ["freeze"]


def test_after_many_departures_everything_is_collected_once(done: list[str]) -> None:
    garbage = Garbage()
    go(garbage, DEPARTURES + 1)
    for _ in range(3):
        garbage.tick()
    assert done[:3] == ["unfreeze", "collect", "freeze"]
    assert done.count("collect") == 1


def test_a_large_fleet_may_lose_half_of_itself_first(done: list[str]) -> None:
    garbage = Garbage()
    come(garbage, 5_000)
    go(garbage, 2_500)
    garbage.tick()
    assert "collect" not in done
    go(garbage, 1)
    garbage.tick()
    assert done[-3:] == ["unfreeze", "collect", "freeze"]

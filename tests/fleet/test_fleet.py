"""A fleet for a simulated week of outages, restarts and kills: in the end every backend believes what the chargers did.

`GATEWAY_WEEKS` says how many weeks are tried (3); with more of them, other ones each time.
"""

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.fleet.fastforward import FastLoop, fast_runner
from tests.fleet.world import Interruption, Outage, Tamper, Week, World

WEEKS = int(os.environ.get("GATEWAY_WEEKS", "3"))

hours = st.floats(0.1, 167, allow_nan=False)
outages = st.builds(Outage, backend=st.sampled_from(("csms", "other", "odd")), at=hours, hours=st.floats(0.01, 30))
interruptions = st.builds(Interruption, at=hours, pause=st.floats(1, 3600), kill=st.booleans())
chances = st.sampled_from((0.0, 0.0, 0.01, 0.05))
weeks = st.builds(
    Week,
    seed=st.integers(0, 2**32),
    outages=st.lists(outages, max_size=8),
    interruptions=st.lists(interruptions, max_size=12),
    late=chances,
    never=chances,
    errors=chances,
)


def lived(week: Week, tamper: Tamper | None = None) -> tuple[World, list[str]]:
    """What is wrong after such a week."""
    with TemporaryDirectory() as folder, fast_runner() as runner:
        assert isinstance(runner.get_loop(), FastLoop)

        async def live() -> tuple[World, list[str]]:
            world = World(week, Path(folder, "state.db"), tamper)
            return world, await world.run()

        return runner.run(live())


# Each week takes a second or two: too long to look for the simplest that fails.
@settings(
    max_examples=WEEKS,
    deadline=None,
    derandomize=WEEKS <= 3,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
)
@given(week=weeks)
def test_backends_believe_what_chargers_did(week: Week) -> None:
    world, wrong = lived(week)
    assert len(world.deeds) > 20
    assert wrong == []


# Three days: on the second all is away, and the gateway is killed before the others are back.
DARK = Week(
    seed=7,
    days=3,
    outages=(Outage("csms", 24, 24), Outage("other", 24, 30), Outage("odd", 24, 40)),
    interruptions=(Interruption(49, 60, kill=True),),
)


LETTER = "(SELECT min(id) FROM letters WHERE action = '{}' AND backend = 'other')"
COLUMNS = "backend, charger, rank, key, action, payload, at, number, attempts, due, dead, exchange"
LOST = f"DELETE FROM letters WHERE id = {LETTER}"  # noqa: S608
DOUBLED = f"INSERT INTO letters ({COLUMNS}) SELECT {COLUMNS} FROM letters WHERE id = {LETTER}"  # noqa: S608
MIXED_UP = """UPDATE transactions SET ids = '{"other":5}' WHERE (charger, number) = (
    SELECT lower(charger), number FROM letters WHERE id = """


def executed(*statements: str) -> Tamper:
    """Has something done to what is stored, by the sqlite3 of the library."""

    def tamper(state: Path) -> None:
        with closing(sqlite3.connect(state)) as db, db:
            for statement in statements:
                assert db.execute(statement).rowcount == 1

    return tamper


def test_a_dark_day_is_survived() -> None:
    world, wrong = lived(DARK)
    assert (wrong, len(world.deeds) > 10) == ([], True)


@pytest.mark.parametrize(
    ("tamper", "told"),
    [
        (executed(LOST.format("MeterValues")), "other: lost"),
        (executed(LOST.format("StopTransaction")), "other: lost"),
        (executed(DOUBLED.format("MeterValues")), "other: said again"),
        (executed(MIXED_UP + LETTER.format("StartTransaction") + ")", LOST.format("StartTransaction")), "other: of another"),
    ],
    ids=["reading lost", "stop lost", "doubled", "mixed up"],
)
def test_the_account_tells_what_was_done_to_the_letters(tamper: Tamper, told: str) -> None:
    _, wrong = lived(DARK, tamper)
    assert [each for each in wrong if each.startswith(told)]


def test_a_start_whose_letter_was_lost_is_told_from_the_transaction() -> None:
    _, wrong = lived(DARK, executed(LOST.format("StartTransaction")))
    assert wrong == []

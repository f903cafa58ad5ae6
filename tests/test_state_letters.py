"""gateway.state.letters: what of a letter is on disk, and what comes back."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.state import letters as table
from gateway.state.letters import Letter, Rank
from gateway.state.store import StateError, StateStore
from translations.errors import PropertyConstraintViolation
from translations.messages import Call

NOW = 1_714_550_400.0
STATUS = Call("StatusNotification", {"connectorId": 2, "status": "Available", "limit": Decimal("1.50")}, "x", "Säule-1")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[StateStore]:
    store = StateStore(tmp_path / "state.db")
    store.open()
    yield store
    store.close()


def letter(id: int = 1, call: Call = STATUS, rank: Rank = Rank.STATUS) -> Letter:
    made = table.written(id, "csms", call, rank)
    made.at, made.number, made.attempts, made.due = NOW, 7, 2, NOW + 60
    return made


def one(store: StateStore, id: int = 1) -> Letter:
    return table.read(store.read(table.ONE, (id,))[0])


def test_a_letter_comes_back_as_it_was(store: StateStore) -> None:
    store.keep((), (), [table.insert(letter())])
    found = one(store)
    names = ("id", "backend", "identity", "rank", "key", "action", "payload", "at", "number", "attempts", "due", "dead", "slot")
    assert [getattr(found, name) for name in names] == [getattr(letter(), name) for name in names]
    assert (found.call.payload, found.call.id, found.slot) == (STATUS.payload, "", "status 2")
    assert str(found.call.payload["limit"]) == "1.50"


def test_what_is_written_twice_stands_as_it_has_become(store: StateStore) -> None:
    later = letter()
    later.attempts = 3
    store.keep((), (), [table.insert(letter()), table.again(later), table.insert(letter())])
    assert one(store).attempts == 3


def test_a_letter_dies_and_lives_again(store: StateStore) -> None:
    gone = letter()
    gone.dead = "refused"
    store.keep((), (), [table.insert(letter()), table.bury(gone)])
    assert one(store).dead == "refused"
    store.keep((), (), [table.revive(gone)])
    assert (one(store).dead, one(store).attempts, one(store).due) == ("", 0, 0.0)


def test_a_letter_can_say_something_else(store: StateStore) -> None:
    other = table.changed(letter(), {"transactionId": 8})
    store.keep((), (), [table.insert(letter()), table.change(other)])
    assert (one(store).call.payload, one(store).number, one(store).key) == ({"transactionId": 8}, 8, other.key)
    assert other.key != letter().key


def test_a_letter_goes(store: StateStore) -> None:
    store.keep((), (), [table.insert(letter()), table.insert(letter(2)), table.delete(letter())])
    assert [row[0] for row in store.read(table.HEADS, (0,))] == [2]
    assert store.read(table.GREATEST) == [(2,)]


def test_payloads_of_money_are_read_when_they_are_wanted(store: StateStore) -> None:
    store.keep((), (), [table.insert(letter(1, rank=Rank.MONEY)), table.insert(letter(2))])
    assert [table.read(row).payload is None for row in store.read(table.HEADS, (0,))] == [True, False]
    wanted = (1, *(0,) * (table.PORTION - 1))
    assert store.read(table.PAYLOADS, wanted) == [(1, letter().payload)]


def test_an_empty_file_has_no_greatest(store: StateStore) -> None:
    assert store.read(table.GREATEST) == [(0,)]


def test_what_json_cannot_say_is_no_letter() -> None:
    with pytest.raises(PropertyConstraintViolation, match=r"A\.req: expected what JSON can say"):
        table.written(1, "csms", Call("A", {"a": "\ud800"}), Rank.MONEY)


@pytest.mark.parametrize("column", ["rank = 9", "payload = x'7b'"])
def test_a_row_that_makes_no_sense_is_a_fault_of_the_file(store: StateStore, column: str) -> None:
    store.keep((), (), [table.insert(letter()), (f"UPDATE letters SET {column}", ())])  # noqa: S608 - above
    with pytest.raises(StateError, match="letter 1 cannot be read: "):
        one(store)


@pytest.mark.parametrize(("number", "kept"), [(None, None), (-1, -1), (2**63 - 1, 2**63 - 1), (2**63, None), (-(10**30), None)])
def test_numbers_beyond_what_the_file_can_hold_are_none(number: int | None, kept: int | None) -> None:
    assert table.storable(number) == kept

"""gateway.state.numbers: how transactions and numbers stand on disk."""

from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.state.ledger import Ledger
from gateway.state.numbers import Number, Transaction, newest, numbers, open_transactions, pruned, transaction
from gateway.state.store import StateError, StateStore


@pytest.fixture
async def ledger(tmp_path: Path) -> AsyncIterator[Ledger]:
    store = StateStore(tmp_path / "state.db")
    store.open()
    ledger = Ledger(store, 86_400)
    await ledger.open(10)
    yield ledger
    await ledger.close()
    store.close()


def one(number: int = 7, **more: Any) -> Transaction:
    given: dict[str, Any] = {"connector": 1, "owner": "a", "begun": 1000.0} | more
    return Transaction("cp-1", number, **given)


@pytest.mark.parametrize("theirs", [0, -1, 2**40, 2**63 - 1, 2**64, 10**30, -(10**30)])
async def test_a_transaction_is_read_as_it_was_written(ledger: Ledger, theirs: int) -> None:
    known = one(start={"meterStart": 5, "x": Decimal("1.50")}, ids={"a": theirs, "z": 3}, connector=None)
    await ledger.keep(rows=(known.row(),))
    assert await transaction(ledger, "cp-1", 7) == known
    assert repr((await transaction(ledger, "cp-1", 7)).start) == repr(known.start)  # type: ignore[union-attr]
    assert [await transaction(ledger, "cp-2", 7), await transaction(ledger, "cp-1", 8)] == [None, None]


@pytest.mark.parametrize("start", [{"idTag": "\ud800"}, {"more": ["\udfff"]}])
async def test_a_start_that_json_cannot_say_is_not_kept_but_the_transaction_is(ledger: Ledger, start: Any) -> None:
    await ledger.keep(rows=(one(start=start).row(),))
    found = await transaction(ledger, "cp-1", 7)
    assert found is not None and (ledger.fault, found.number) == ("", 7)


async def test_those_that_are_open_are_found_and_the_newest_of_a_charger(ledger: Ledger) -> None:
    rows = [one(i, begun=float(i), over=5.0 if i % 2 else None).row() for i in range(1, 5)]
    await ledger.keep(rows=rows)
    assert sorted(each.number for each in await open_transactions(ledger)) == [2, 4]
    assert [each.number for each in await newest(ledger, "cp-1")] == [4, 3, 2, 1]


async def test_only_what_was_over_long_ago_is_forgotten(ledger: Ledger) -> None:
    rows = [one(1).row(), one(2, over=10.0).row(), one(3, over=20.0).row(), pruned(20.0)]
    await ledger.keep(rows=rows)
    assert sorted(each.number for each in await newest(ledger, "cp-1")) == [1, 3]


@pytest.mark.parametrize(("column", "value"), [("start", b"{"), ("ids", "{"), ("ids", '{"a": "x"}')])
async def test_what_cannot_be_read_is_an_error_that_says_which(ledger: Ledger, column: str, value: Any) -> None:
    await ledger.keep(rows=(one().row(), (f"UPDATE transactions SET {column} = ?", (value,))))  # noqa: S608
    with pytest.raises(StateError, match="transaction 7 of cp-1 cannot be read"):
        await open_transactions(ledger)


async def test_numbers_come_back_oldest_first_and_of_too_many_the_newest(ledger: Ledger) -> None:
    known = [Number("reservation", "cp-1", i, "a", 2**63 + i) for i in range(1, 4)]
    await ledger.keep(rows=[each.row(float(at)) for at, each in enumerate(known)])
    assert await numbers(ledger, 10) == known
    assert await numbers(ledger, 2) == known[1:]
    await ledger.keep(rows=[known[0].gone()])
    assert await numbers(ledger, 10) == known[1:]

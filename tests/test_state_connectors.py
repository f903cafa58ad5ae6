"""gateway.state.connectors, and what Transactions makes of it: what `Occupied` means, before, during and after a transaction."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from gateway.exchange import Unanswered
from gateway.state.connectors import Connectors
from gateway.state.ledger import Ledger
from gateway.state.store import Connector, StateStore
from gateway.transactions import Transactions
from translations.messages import Answer, Call, Error, Kind, Remark, Result

RULE = "ocpp15.StatusNotificationRequest.status"
CASE = Remark(Kind.REPAIRED, "status", "written occupied", "quirks.case")
GUESSED = Remark(Kind.ASSUMED, "status", "Occupied became Charging", RULE)


REFUSALS = {-1: "Invalid", 403: "Blocked", 405: "Expired", 409: "ConcurrentTx"}


def status(status: str, connector: Any = 1, identity: str = "CP-1") -> Call:
    return Call("StatusNotification", {"connectorId": connector, "status": status, "errorCode": "NoError"}, "1", identity)


def occupied(connector: Any = 1, identity: str = "CP-1") -> Call:
    call = status("Charging", connector, identity)
    return Call(call.action, call.payload, call.id, call.identity, call.side, (CASE, GUESSED))


def start(connector: Any = 1, meter: int = 0, identity: str = "CP-1") -> Call:
    return Call("StartTransaction", {"connectorId": connector, "meterStart": meter}, "2", identity)


def stop(transaction: Any = 7, meter: int = 9) -> Call:
    return Call("StopTransaction", {"transactionId": transaction, "meterStop": meter}, "3", "CP-1")


async def csms(call: Call) -> Answer:
    """Gives the reading of the meter as the transaction; that of an error, a refusal or a time-out is what it says."""
    meter = call.payload.get("meterStart")
    if meter == 408:
        return Unanswered("InternalError", "too slow", {}, call.id, call.action, backend="csms", waited=30)
    if meter == 500 or call.payload.get("meterStop") == 500:
        return Error("InternalError", "no", {}, call.id, call.action)
    transaction = {"transactionId": meter or 7, "idTagInfo": {"status": REFUSALS.get(meter or 0, "Accepted")}}
    if meter == 99:
        del transaction["idTagInfo"]
    answers = {"StartTransaction": transaction}
    return Result(answers.get(call.action, {}), call.id, call.action)


Open = Callable[[], Awaitable[Transactions]]


@pytest.fixture
async def run(tmp_path: Path) -> AsyncIterator[Open]:
    """Begins a run on the file, which ends the one before."""
    before = AsyncExitStack()

    async def begin() -> Transactions:
        await before.aclose()
        store = StateStore(tmp_path / "state.db")
        before.callback(store.close)
        store.open()
        ledger = Ledger(store, 3600)
        transactions = Transactions(csms, ledger, 3600)
        before.push_async_callback(ledger.close)
        before.push_async_callback(transactions.close)
        transactions.open(await ledger.open(transactions.most))
        return transactions

    yield begin
    await before.aclose()


STORIES: dict[str, tuple[list[Call], str]] = {
    "nothing": ([], "Preparing"),
    "a start": ([start()], "Charging"),
    "a start elsewhere": ([start(2)], "Preparing"),
    "a start of another charger": ([start(identity="CP-2")], "Preparing"),
    "a start under another spelling": ([start(identity="cp-1")], "Charging"),
    "a start that failed": ([start(meter=500)], "Preparing"),
    "a start and its stop": ([start(), stop()], "Finishing"),
    "another's stop": ([start(), stop(8)], "Charging"),
    "a stop that nobody took": ([start(), stop(meter=500)], "Finishing"),
    "a stop of nothing": ([stop()], "Preparing"),
    "a stop with the id as text": ([start(), stop("7")], "Finishing"),
    "available again": ([start(), stop(), status("Available")], "Preparing"),
    "available elsewhere": ([start(), stop(), status("Available", 2)], "Finishing"),
    "available without a stop": ([start(), status("Available")], "Preparing"),
    "a stop that comes late": ([start(), status("Available"), stop()], "Preparing"),
    "faulted": ([start(), status("Faulted")], "Charging"),
    "unavailable": ([start(), stop(), status("Unavailable")], "Finishing"),
    "the next start": ([start(), stop(), start(meter=8)], "Charging"),
    "a repeated start": ([start(), start()], "Charging"),
    "a repeated start and its stop": ([start(), start(), stop()], "Finishing"),
    "a start repeated after its stop": ([start(), stop(), start()], "Finishing"),
    "a late stop after the next start": ([start(), start(meter=8), stop()], "Charging"),
    "connectors beyond 32 bits": ([start(2**31)], "Preparing"),
    **{f"a start that is {word}": ([start(meter=meter)], "Preparing") for meter, word in REFUSALS.items()},
    "a start of which nobody knows": ([start(meter=99)], "Preparing"),
    "a refused start after a stop": ([start(), stop(), start(meter=-1)], "Finishing"),
    "a refused start meanwhile": ([start(), start(meter=-1)], "Charging"),
    "an accepted start without a number": ([start(meter=-2)], "Charging"),
    "and its stop": ([start(meter=-2), stop(-2)], "Finishing"),
}
REASONS = {
    "Charging": "a transaction is open there",
    "Finishing": "its transaction is over",
    "Preparing": "no transaction is known there",
}


@pytest.mark.parametrize("restarted", [False, True], ids=["", "restarted"])
@pytest.mark.parametrize("story", STORIES)
async def test_occupied_is_told_by_the_transactions(run: Open, story: str, restarted: bool) -> None:
    calls, expected = STORIES[story]
    transactions = await run()
    for call in calls:
        await transactions(call)
    settled = (await run() if restarted else transactions).settle(occupied())
    assert settled.payload == {"connectorId": 1, "status": expected, "errorCode": "NoError"}
    assert list(settled.payload) == ["connectorId", "status", "errorCode"]
    detail = f"Occupied became {expected}: {REASONS[expected]}"
    assert settled.remarks == (CASE, Remark(Kind.ASSUMED, "status", detail, RULE))


MEANWHILE: dict[str, tuple[list[Call], str]] = {
    "nothing": ([], "Charging"),
    "available": ([status("Available")], "Preparing"),
    "available elsewhere": ([status("Available", 2)], "Charging"),
    "unavailable": ([status("Unavailable")], "Charging"),
    "another start and its stop": ([start(meter=8), stop(8)], "Finishing"),
    "a refused start": ([start(meter=-1)], "Charging"),
}


@pytest.mark.parametrize("meanwhile", MEANWHILE)
async def test_a_late_answer_is_of_the_connector_if_that_has_not_gone_on(run: Open, meanwhile: str) -> None:
    calls, expected = MEANWHILE[meanwhile]
    transactions = await run()
    await transactions(late := start(meter=408))
    for call in calls:
        await transactions(call)
    transactions.late("csms", Result({"transactionId": 408, "idTagInfo": {"status": "Accepted"}}, late.id, late.action))
    await asyncio.gather(*transactions._landing)
    assert transactions.settle(occupied()).payload["status"] == expected


@pytest.mark.parametrize("connector", [None, "one", "", 1.5, True, 2**31])
async def test_odd_connectors_are_prepared(run: Open, connector: Any) -> None:
    transactions = await run()
    await transactions(start(connector))
    await transactions(status("Available", connector))
    assert transactions.settle(occupied(connector)).payload["status"] == "Preparing"


@pytest.mark.parametrize(
    "call",
    [
        status("Charging"),
        status("Available"),
        start(),
        Call("StatusNotification", {"status": "Charging"}, "1", "CP-1", remarks=(CASE,)),
        Call("StatusNotification", {"status": "Charging"}, "1", "CP-1", remarks=(Remark(Kind.ASSUMED, "timestamp", "", ""),)),
        Call("Authorize", {"status": "Charging"}, "1", "CP-1", remarks=(GUESSED,)),
    ],
)
async def test_all_else_stays_what_it_is(run: Open, call: Call) -> None:
    transactions = await run()
    await transactions(start())
    assert transactions.settle(call) is call


# --- how many


def test_of_one_charger_the_oldest_connectors_are_forgotten() -> None:
    connectors = Connectors(each=2)
    assert connectors.started("CP-1", 1, 7) == (Connector("cp-1", 1, 7, False),)
    connectors.started("CP-1", 2, 8)
    connectors.started("CP-1", 1, 9)
    assert connectors.started("CP-1", 3, 10) == (Connector("cp-1", 3, 10, False), Connector("cp-1", 2, None, False))
    assert [connectors.occupied("CP-1", n)[0] for n in (1, 2, 3)] == ["Charging", "Preparing", "Charging"]


def test_of_all_chargers_the_oldest_are_forgotten() -> None:
    connectors = Connectors(most=2)
    for n in (1, 2):
        connectors.started(f"CP-{n}", 1, 7)
    connectors.started("CP-1", 1, 8)
    assert connectors.started("CP-3", 1, 7)[1:] == (Connector("cp-2", 1, None, False),)
    assert [connectors.occupied(f"CP-{n}", 1)[0] for n in (1, 2, 3)] == ["Charging", "Preparing", "Charging"]
    connectors.freed("CP-3", 1)
    assert len(connectors.started("CP-4", 1, 7)) == 1

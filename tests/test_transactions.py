"""gateway.transactions: what a repetition is, what it is answered, and what is on disk before the charger hears it."""

import asyncio
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, closing
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from gateway import transactions as module
from gateway.exchange import Unanswered
from gateway.state.connectors import Connectors
from gateway.state.ledger import Ledger
from gateway.state.store import StateStore
from gateway.transactions import REPEATED, Transactions
from tests.peers.seen import DEADLINE, Seen
from translations.messages import Answer, Call, Error, Kind, Remark, Result

BEGUN: dict[str, Any] = {"connectorId": 1, "idTag": "TAG1", "timestamp": "2024-05-01T08:00:00Z", "meterStart": 100}
ENDED: dict[str, Any] = {"transactionId": 7, "idTag": "TAG1", "timestamp": "2024-05-01T09:00:00Z", "meterStop": 900}
START = Call("StartTransaction", BEGUN, "1", "CP-1")
UNDATED = replace(START, payload={**BEGUN, "timestamp": "1970-01-01T00:00:00Z"})  # of a charger without a clock
STOP = Call("StopTransaction", ENDED | {"transactionData": [{"a": 1, "b": 2}, {}]}, "1", "CP-1")
ACCEPTED = {"status": "Accepted", "parentIdTag": "FLEET-1"}
WAITED = 30.0  # seconds that the backend had


class Csms:
    """What answers: numbers transactions, and keeps what it heard. While it is `held` it answers nothing."""

    def __init__(self) -> None:
        self.heard: Seen[Call] = Seen()
        self.answer: Callable[[Call], Answer] = self.accept
        self.held = asyncio.Event()
        self.held.set()

    def accept(self, call: Call) -> Answer:
        begun = {"transactionId": len(self.heard)} if call.action == "StartTransaction" else {}
        return Result(begun | {"idTagInfo": ACCEPTED}, call.id, call.action)

    async def __call__(self, call: Call) -> Answer:
        self.heard.add(call)
        await self.held.wait()
        return self.answer(call)


class Clock:
    now = 1_714_550_400.0

    def __call__(self) -> float:
        return self.now


Open = Callable[[], Awaitable[Transactions]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def csms() -> Csms:
    return Csms()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def run(path: Path, csms: Csms, clock: Clock) -> AsyncIterator[Open]:
    """Begins a run on the file, which ends the one before."""
    before = AsyncExitStack()

    async def begin() -> Transactions:
        await before.aclose()
        store = StateStore(path)
        before.callback(store.close)
        store.open()
        ledger = Ledger(store, 3600, clock)
        transactions = Transactions(csms, ledger, 3600, clock=clock)
        before.push_async_callback(ledger.close)
        before.push_async_callback(transactions.close)
        transactions.open(await ledger.open(transactions.most))
        return transactions

    yield begin
    await before.aclose()


@pytest.fixture
async def transactions(run: Open) -> Transactions:
    return await run()


def failing(call: Call) -> Answer:
    return Error("InternalError", "not now", {}, call.id, call.action)


def backwards(value: Any) -> Any:
    """The same content, keys the other way round."""
    if isinstance(value, list):
        return [backwards(each) for each in value]
    return {key: backwards(value[key]) for key in reversed(value)} if isinstance(value, dict) else value


async def together(*calls: Awaitable[Answer]) -> list[Answer]:
    async with asyncio.timeout(DEADLINE):
        return await asyncio.gather(*calls)


# --- what a repetition is


SAME = {
    "with a new id": lambda call: replace(call, id="2"),
    "in another order": lambda call: replace(call, payload=backwards(call.payload)),
    "under another spelling": lambda call: replace(call, identity="cp-1"),
    "with a remark": lambda call: replace(call, remarks=(Remark(Kind.REPAIRED, "", "odd", "quirks.odd"),)),
}


@pytest.mark.parametrize("how", SAME)
@pytest.mark.parametrize("call", [START, STOP], ids=lambda call: call.action)
async def test_a_repetition_is_answered_as_the_first_time(transactions: Transactions, csms: Csms, call: Call, how: str) -> None:
    first = await transactions(call)
    again = SAME[how](call)
    assert await transactions(again) == Result(first.payload, again.id, call.action, (REPEATED,))  # type: ignore[union-attr]
    assert [*csms.heard] == [call]


OTHER = [
    (START, {"meterStart": 101}),
    (START, {"connectorId": 2}),
    (START, {"timestamp": "2024-05-01T08:00:00.000Z"}),
    (START, {"reservationId": 1}),
    (STOP, {"meterStop": 901}),
    (STOP, {"transactionData": [{}, {"a": 1, "b": 2}]}),
    (STOP, {"transactionId": 8}),
]


@pytest.mark.parametrize(("call", "change"), OTHER)
async def test_other_content_is_passed_on(transactions: Transactions, csms: Csms, call: Call, change: dict[str, Any]) -> None:
    other = replace(call, payload=call.payload | change)
    await transactions(call)
    assert REPEATED not in (await transactions(other)).remarks
    assert [*csms.heard] == [call, other]


async def test_the_same_content_of_another_charger_is_passed_on(transactions: Transactions, csms: Csms) -> None:
    await transactions(START)
    await transactions(replace(START, identity="CP-2"))
    assert len(csms.heard) == 2


@pytest.mark.parametrize("action", ["Heartbeat", "BootNotification", "MeterValues", "StatusNotification", "Dance"])
async def test_all_else_is_passed_on_however_often_it_comes(transactions: Transactions, csms: Csms, action: str) -> None:
    call = Call(action, {}, "1", "CP-1")
    assert [await transactions(call) for _ in range(2)] == [csms.accept(call)] * 2
    assert [*csms.heard] == [call, call]


async def test_what_json_cannot_say_is_left_to_the_backend(transactions: Transactions, csms: Csms) -> None:
    odd = replace(START, payload=BEGUN | {"idTag": "\ud800"})
    assert [REPEATED in (await transactions(odd)).remarks for _ in range(2)] == [False, False]


# --- what is remembered


async def test_an_error_is_not_remembered(transactions: Transactions, csms: Csms) -> None:
    csms.answer = failing
    assert isinstance(await transactions(START), Error)
    csms.answer = csms.accept
    assert isinstance(await transactions(START), Result)
    assert len(csms.heard) == 2


async def test_a_start_without_a_transaction_is_not_remembered(transactions: Transactions, csms: Csms) -> None:
    csms.answer = lambda call: Result({"idTagInfo": ACCEPTED}, call.id, call.action)
    await transactions(START)
    await transactions(START)
    assert len(csms.heard) == 2


async def test_after_a_while_it_is_forgotten(transactions: Transactions, csms: Csms, clock: Clock) -> None:
    await transactions(START)
    clock.now += 3600
    assert REPEATED in (await transactions(START)).remarks
    clock.now += 1
    assert REPEATED not in (await transactions(START)).remarks
    assert REPEATED in (await transactions(START)).remarks


async def test_the_next_run_knows_it(run: Open, csms: Csms, clock: Clock) -> None:
    for call in (START, STOP):
        first = await (await run())(call)
        assert await (await run())(call) == replace(first, remarks=(REPEATED,))
    clock.now += 3601
    assert REPEATED not in (await (await run())(START)).remarks


async def test_digits_and_the_order_of_keys_survive(run: Open, csms: Csms) -> None:
    told = {"transactionId": 5, "idTagInfo": ACCEPTED, "tariff": Decimal("0.10"), "a": "Größe ⚡"}
    csms.answer = lambda call: Result(told, call.id, call.action)
    await (await run())(START)
    again = await (await run())(START)
    assert isinstance(again, Result)
    assert str(again.payload) == str(told)


async def test_what_is_no_more_at_hand_is_looked_up(
    transactions: Transactions, csms: Csms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "NEWEST", 2)
    calls = [replace(START, identity=f"CP-{n}") for n in range(5)]
    for call in calls:
        await transactions(call)
    assert len(transactions._answers) == 2
    assert [(await transactions(call)).remarks for call in calls] == [(REPEATED,)] * 5


async def test_an_endless_answer_is_not_kept(transactions: Transactions, csms: Csms) -> None:
    csms.answer = lambda call: Result({"transactionId": 1, "more": "x" * module.LONGEST}, call.id, call.action)
    with capture_logs() as logs:
        await transactions(START)
        await transactions(START)
    assert len(csms.heard) == 2
    assert {(line["event"], line["charger"]) for line in logs} == {("transactions.not_kept", "CP-1")}


async def test_a_kept_answer_that_cannot_be_read_is_none(run: Open, csms: Csms, path: Path) -> None:
    await (await run())(START)
    with closing(sqlite3.connect(path)) as db:
        db.executescript("UPDATE answers SET payload = x'7B'")
    transactions = await run()
    with capture_logs() as logs:
        assert REPEATED not in (await transactions(START)).remarks
    assert [line["event"] for line in logs] == ["transactions.unreadable"]


async def test_no_idtag_of_a_call_is_on_disk(run: Open, path: Path) -> None:
    transactions = await run()
    await transactions(START)
    await transactions.close()
    assert b"TAG1" not in b"".join(file.read_bytes() for file in path.parent.iterdir())


# --- what was heard


OTHERS = replace(START, payload=BEGUN | {"idTag": "TAG2"}, id="3")
FREE = Call("StatusNotification", {"connectorId": 1, "status": "Available"}, "4", "cp-1")
ELSEWHERE = replace(FREE, payload=FREE.payload | {"connectorId": 2})


def stop(transaction: Any = 1) -> Call:
    return replace(STOP, payload=ENDED | {"transactionId": transaction}, identity="cp-1")


GONE_ON = {
    "stopped": [stop()],
    "stopped, with the id as text": [stop("1")],
    "available": [FREE],
    "stopped and available": [stop(), FREE],
    "another start": [OTHERS],
    "another start and its stop": [stop(), OTHERS, stop(2)],
}
NOT_GONE_ON = {
    "another's stop": [stop(2)],
    "available elsewhere": [ELSEWHERE],
    "a repetition": [START],
    "the start of another charger": [replace(OTHERS, identity="CP-2")],
    "what another charger stopped": [replace(stop(), identity="CP-2")],
}


@pytest.mark.parametrize("restarted", [False, True], ids=["", "restarted"])
@pytest.mark.parametrize("how", GONE_ON)
async def test_who_has_gone_on_and_says_the_same_starts_again(run: Open, csms: Csms, how: str, restarted: bool) -> None:
    transactions = await run()
    first, *_ = [await transactions(call) for call in (UNDATED, *GONE_ON[how])]
    transactions = await run() if restarted else transactions
    again = await transactions(UNDATED)
    assert isinstance(first, Result)
    assert again == Result({"transactionId": len(csms.heard), "idTagInfo": ACCEPTED}, "1", "StartTransaction")
    assert again.payload["transactionId"] != first.payload["transactionId"]


@pytest.mark.parametrize("restarted", [False, True], ids=["", "restarted"])
@pytest.mark.parametrize("how", NOT_GONE_ON)
async def test_who_has_not_gone_on_repeats(run: Open, how: str, restarted: bool) -> None:
    transactions = await run()
    first, *_ = [await transactions(call) for call in (START, *NOT_GONE_ON[how])]
    transactions = await run() if restarted else transactions
    assert await transactions(START) == known_as(START, first)


@pytest.mark.parametrize("how", GONE_ON)
async def test_what_has_a_date_of_its_own_is_the_same_start_even_then(run: Open, how: str) -> None:
    transactions = await run()
    first, *_ = [await transactions(call) for call in (START, *GONE_ON[how])]
    again = await transactions(replace(START, id="2"))
    assert (again.payload, again.remarks) == (first.payload, (REPEATED,))  # type: ignore[union-attr]


async def test_the_next_start_is_repeated_like_the_first(
    transactions: Transactions, csms: Csms, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "NEWEST", 1)
    csms.answer = lambda call: Result({"transactionId": 0, "idTagInfo": ACCEPTED}, call.id, call.action)  # numbers nothing
    for n in range(3):
        for call in (UNDATED, UNDATED, replace(STOP, payload=ENDED | {"transactionId": 0, "meterStop": n})):
            await transactions(call)
            clock.now += 1
    assert [call.action for call in csms.heard] == ["StartTransaction", "StopTransaction"] * 3


async def test_a_refused_start_is_known_by_its_content(transactions: Transactions, csms: Csms) -> None:
    csms.answer = lambda call: Result({"transactionId": -1, "idTagInfo": {"status": "Blocked"}}, call.id, call.action)
    first = await transactions(START)
    for call in (FREE, START, FREE):
        await transactions(call)
    assert await transactions(START) == known_as(START, first)


async def test_what_is_forgotten_of_connectors_is_known_by_its_content(transactions: Transactions, csms: Csms) -> None:
    transactions._connectors = Connectors(each=1)
    first = await transactions(UNDATED)
    for call in (replace(UNDATED, payload=BEGUN | {"connectorId": 2}), FREE):
        await transactions(call)
    assert await transactions(UNDATED) == known_as(UNDATED, first)
    await transactions(stop())
    assert REPEATED not in (await transactions(UNDATED)).remarks


async def test_a_charger_that_heard_nothing_before_it_was_available_repeats(transactions: Transactions, csms: Csms) -> None:
    csms.answer = slow
    await transactions(START)
    await transactions(FREE)
    transactions.late("csms", late := csms.accept(START))
    assert await together(transactions(START)) == [known_as(START, late)]


async def test_an_answer_that_was_heard_is_not_that_of_the_next_start(transactions: Transactions, csms: Csms) -> None:
    for call in (UNDATED, stop()):
        await transactions(call)
    csms.answer = slow
    assert await transactions(UNDATED) == slow(UNDATED)
    transactions.late("csms", late := csms.accept(UNDATED))
    assert await together(transactions(UNDATED)) == [known_as(UNDATED, late)]


async def test_a_late_answer_does_not_replace_the_one_that_was_heard(transactions: Transactions, csms: Csms) -> None:
    csms.answer = partial(slow, waited=0)
    await transactions(START)
    csms.answer = csms.accept
    heard = await transactions(again := replace(START, id="2"))
    with capture_logs() as logs:
        transactions.late("csms", Result({"transactionId": 99}, "1", "StartTransaction"))
    assert await transactions(again) == known_as(again, heard)
    assert [line["event"] for line in logs] == ["transactions.answered_twice"]


# --- while the first is in flight


async def test_who_repeats_meanwhile_hears_the_same(transactions: Transactions, csms: Csms) -> None:
    csms.held.clear()
    both = together(transactions(START), transactions(replace(START, id="2", identity="cp-1")))
    asyncio.get_running_loop().call_later(0.01, csms.held.set)
    first, second = await both
    assert first == csms.accept(START)
    assert second == replace(first, id="2", remarks=(REPEATED,))
    assert [*csms.heard] == [START]


async def test_an_error_is_for_all_who_wait(transactions: Transactions, csms: Csms) -> None:
    csms.answer = failing
    first, second = await together(transactions(START), transactions(replace(START, id="2")))
    assert (first, second.id, second.remarks) == (failing(START), "2", (REPEATED,))
    await transactions(START)
    assert len(csms.heard) == 2


async def test_the_call_goes_on_when_the_charger_goes_away(transactions: Transactions, csms: Csms) -> None:
    csms.held.clear()
    gone = asyncio.create_task(transactions(START))
    await csms.heard.wait()
    gone.cancel()
    await asyncio.wait({gone})
    assert gone.cancelled()
    csms.held.set()
    (again,) = await together(transactions(replace(START, id="2")))
    assert again == replace(csms.accept(START), id="2", remarks=(REPEATED,))
    assert [*csms.heard] == [START]


async def test_at_the_end_whoever_still_waits_is_told(transactions: Transactions, csms: Csms) -> None:
    csms.held.clear()
    waiting = [asyncio.create_task(transactions(replace(START, id=n))) for n in "12"]
    await csms.heard.wait()
    await transactions.close(0.02)
    told = [Error("InternalError", "the gateway is shutting down", {}, n, "StartTransaction") for n in "12"]
    assert [replace(answer, remarks=()) for answer in await together(*waiting)] == told


async def test_so_many_at_once_and_no_more(transactions: Transactions, csms: Csms, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_FLYING", 1)
    csms.held.clear()
    first = asyncio.create_task(transactions(START))
    await csms.heard.wait()
    refused = await transactions(STOP)
    assert refused == Error("InternalError", "1 transactions are under way", {}, "1", "StopTransaction")
    csms.held.set()
    await together(first)
    await transactions(STOP)
    assert [*csms.heard] == [START, STOP]


# --- what is answered late


def slow(call: Call, waited: float = WAITED) -> Answer:
    return Unanswered("InternalError", "too slow", {}, call.id, call.action, backend="csms", waited=waited)


def known_as(call: Call, answer: Answer) -> Answer:
    """What a repetition hears."""
    return replace(answer, id=call.id, remarks=(REPEATED,))


LATE = [(START, {"transactionId": 1, "idTagInfo": ACCEPTED}), (STOP, {"idTagInfo": ACCEPTED})]
AGAIN: dict[str, Any] = {"id": "2", "identity": "cp-1"}


@pytest.mark.parametrize(("call", "told"), LATE, ids=["start", "stop"])
async def test_a_late_answer_is_that_of_the_repetition(transactions: Transactions, csms: Csms, call: Call, told: Any) -> None:
    csms.answer = slow
    assert await transactions(call) == slow(call)
    transactions.late("csms", late := Result(told, "1", call.action))
    again = replace(call, **AGAIN)
    assert await together(transactions(again)) == [known_as(again, late)]
    assert [*csms.heard] == [call]


async def test_a_repetition_waits_for_it(transactions: Transactions, csms: Csms) -> None:
    csms.answer = slow
    await transactions(START)
    waiting = together(*(transactions(replace(START, id=n)) for n in "23"))
    asyncio.get_running_loop().call_soon(transactions.late, "csms", late := csms.accept(START))
    assert await waiting == [known_as(replace(START, id=n), late) for n in "23"]
    assert [*csms.heard] == [START]


async def test_it_is_on_disk_when_it_is_heard_and_the_next_run_knows_it(run: Open, csms: Csms, path: Path) -> None:
    transactions, csms.answer = await run(), slow
    await transactions(START)
    transactions.late("csms", late := csms.accept(START))
    await together(transactions(replace(START, id="2")))
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT * FROM connectors").fetchall() == [("cp-1", 1, 1, 0)]
    assert await (await run())(START) == known_as(START, late)


async def test_it_is_kept_also_when_nobody_has_repeated_before_the_end(run: Open, csms: Csms) -> None:
    transactions, csms.answer = await run(), slow
    await transactions(START)
    transactions.late("csms", late := csms.accept(START))
    assert await (await run())(START) == known_as(START, late)  # the run before is closed at once


async def test_who_waits_in_vain_hears_the_error_and_the_csms_nothing(
    transactions: Transactions, csms: Csms, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.state.overdue.PATIENCE", 1_000)
    csms.answer = partial(slow, waited=0.01)
    first = await transactions(START)
    again = replace(START, id="2")
    assert await together(transactions(again), transactions(again)) == [known_as(again, first)] * 2
    assert [*csms.heard] == [START]


async def test_after_a_while_nobody_counts_on_it(transactions: Transactions, csms: Csms) -> None:
    csms.answer = partial(slow, waited=0.01)
    await transactions(START)
    csms.answer = csms.accept
    async with asyncio.timeout(DEADLINE):
        while isinstance(await transactions(START), Error):
            assert len(csms.heard) == 1
    assert [*csms.heard] == [START, START]


async def test_what_comes_even_later_is_known_to_the_next_repetition(transactions: Transactions, csms: Csms) -> None:
    csms.answer = partial(slow, waited=0)
    await transactions(START)
    transactions.late("csms", late := csms.accept(START))
    assert await transactions(replace(START, id="2")) == known_as(replace(START, id="2"), late)
    assert [*csms.heard] == [START]


async def test_what_comes_even_later_serves_who_was_passed_on_meanwhile(transactions: Transactions, csms: Csms) -> None:
    csms.answer = partial(slow, waited=0)
    await transactions(START)
    csms.held.clear()
    again = asyncio.create_task(transactions(replace(START, id="2")))
    await csms.heard.wait(since=1)
    transactions.late("csms", late := csms.accept(START))
    csms.held.set()
    assert await together(again) == [known_as(replace(START, id="2"), late)]
    transactions.late("csms", Result({"transactionId": 99}, "2", "StartTransaction"))
    assert await transactions(replace(START, id="3")) == known_as(replace(START, id="3"), late)


async def test_a_late_error_is_for_who_waits_and_then_it_is_passed_on(transactions: Transactions, csms: Csms) -> None:
    csms.answer = slow
    await transactions(START)
    again = asyncio.create_task(transactions(replace(START, id="2")))
    asyncio.get_running_loop().call_soon(transactions.late, "csms", failing(START))
    assert await together(again) == [known_as(replace(START, id="2"), failing(START))]
    csms.answer = csms.accept
    assert await transactions(replace(START, id="3")) == Result(
        {"transactionId": 2, "idTagInfo": ACCEPTED}, "3", "StartTransaction"
    )


@pytest.mark.parametrize(("backend", "call_id"), [("audit", "1"), ("csms", "7")])
async def test_others_cannot_answer(transactions: Transactions, csms: Csms, backend: str, call_id: str) -> None:
    csms.answer = slow
    await transactions(START)
    transactions.late(backend, Result({"transactionId": 99}, call_id, "StartTransaction"))
    assert [len(transactions._landing), len(transactions._overdue)] == [0, 1]


async def test_whoever_waits_for_a_late_answer_is_released_at_the_end(transactions: Transactions, csms: Csms) -> None:
    csms.answer = slow
    await transactions(START)
    before = asyncio.create_task(transactions(replace(START, id="2")))
    asyncio.get_running_loop().call_soon(transactions.release)
    told = Error("InternalError", "the gateway is shutting down", {}, "2", "StartTransaction")
    assert await together(before) == [told]
    assert await together(transactions(replace(START, id="2"))) == [told]


# --- the end


async def test_what_was_just_answered_is_kept_at_the_end(run: Open, csms: Csms) -> None:
    transactions = await run()
    csms.held.clear()
    first = asyncio.create_task(transactions(START))
    await csms.heard.wait()
    csms.held.set()
    again = await (await run())(START)  # the run before is closed at once
    assert await together(first) == [csms.accept(START)]
    assert again == known_as(START, csms.accept(START))


async def test_with_nothing_to_write_the_end_comes_at_once(transactions: Transactions) -> None:
    await transactions(START)
    loop = asyncio.get_running_loop()
    begun = loop.time()
    await transactions.close()
    assert loop.time() - begun < 1


# --- what is killed


_MORTAL = """
    import asyncio, sys
    from pathlib import Path
    from gateway.state.ledger import Ledger
    from gateway.state.store import StateStore
    from gateway.transactions import Transactions
    from translations.messages import Call, Result

    async def csms(call):
        return Result({"transactionId": 4711, "idTagInfo": {"status": "Accepted"}}, call.id, call.action)

    async def main():
        store = StateStore(Path(sys.argv[1]))
        store.open()
        ledger = Ledger(store, 3600)
        transactions = Transactions(csms, ledger, 3600)
        transactions.open(await ledger.open(transactions.most))
        await transactions(Call("StartTransaction", {"connectorId": 1, "meterStart": 5}, "1", "CP-1"))
        sys.stdout.write("answered\\n")
        sys.stdout.flush()
        sys.stdin.read()

    asyncio.run(main())
"""


def test_what_was_answered_is_known_after_a_kill(path: Path) -> None:
    command = [sys.executable, "-c", textwrap.dedent(_MORTAL), str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "answered\n"
        process.kill()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT payload FROM answers").fetchall() == [
            (b'{"transactionId":4711,"idTagInfo":{"status":"Accepted"}}',)
        ]
        assert db.execute("SELECT * FROM connectors").fetchall() == [("cp-1", 1, 4711, 0)]

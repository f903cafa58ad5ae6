"""Messages that carry money: a repeated StartTransaction or StopTransaction is answered as the first time, and what
`Occupied` means is told by the transactions that are known.

Chargers repeat what they were not sure was heard, with a new message id, and a CSMS that takes each for a new one bills twice.
So a repetition is known by its content. Only of a charger without a clock all starts look alike: once it has gone on from a
transaction it has heard the answer to its start, and what says the same then is another start. Kept are the digest of the content
and the answer, which may carry a parentIdTag: for as long as `transactions.remember` says, in a file for its owner alone.
A slow CSMS is the main reason why chargers repeat: what it has not answered in time counts as under way for a while, and its late
answer is kept like any other.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any

import msgspec
import structlog

from gateway.exchange import Durable, Exchange, NotSent, Unanswered
from gateway.state.connectors import Connectors
from gateway.state.digest import clockless, dateless, digest, heard
from gateway.state.ledger import Ledger
from gateway.state.overdue import Due, Overdue
from gateway.state.store import Connector, Kept, StateError
from translations.messages import Answer, Call, Error, Kind, Payload, Remark, Result

START, STOP, STATUS, METER = "StartTransaction", "StopTransaction", "StatusNotification", "MeterValues"
ACCEPTED, AVAILABLE = "Accepted", "Available"
NEWEST = 10_000  # answers at hand; older ones are looked up on disk
LONGEST = 2_048  # bytes of an answer; the longest that OCPP 1.6 allows has a few hundred
MOST_FLYING = 20_000
READINGS = 900.0  # seconds for which meter values are known again
_ONCE = frozenset({START, STOP})

REPEATED = Remark(Kind.ASSUMED, "", "answered as the first time, not passed on", "transactions.repeated")

_ENCODER = msgspec.json.Encoder(decimal_format="number")
_DECODER = msgspec.json.Decoder(Payload, float_hook=Decimal)

logger = structlog.get_logger(__name__)


class Transactions:
    """An Exchange that stands before `exchange`. Remembers answers for `remember` seconds; the clock gives unix seconds.

    What `exchange` says must be on disk before it is heard is written here, together with what is kept. `taken` (backend, call,
    answer) gives a late answer as the charger may be told it. With `readings` meter values of transactions are answered once too,
    for a while: that is for those whose backends would have to be told twice.
    """

    def __init__(
        self,
        exchange: Exchange,
        ledger: Ledger,
        remember: float,
        taken: Callable[[str, Call, Answer], Awaitable[Answer]] | None = None,
        readings: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._exchange, self._ledger, self._remember, self._clock = exchange, ledger, remember, clock
        self._taken, self._readings = taken, readings
        self._looked_up_until = clock() + READINGS
        self._connectors = Connectors()
        self._answers: OrderedDict[bytes, Kept] = OrderedDict()
        self._flying: dict[bytes, asyncio.Task[Answer]] = {}
        self._overdue = Overdue()
        self._landing: set[asyncio.Task[None]] = set()

    def open(self, known: Iterable[Connector]) -> None:
        """Take over what an earlier run knew of connectors."""
        self._connectors.restore(known)

    @property
    def most(self) -> int:
        """Of how many connectors something can be known."""
        return self._connectors.most

    def release(self) -> None:
        """Once backends are closed: whoever waits for a late answer, now or later, hears that none comes."""
        self._overdue.close()

    async def close(self, deadline: float = 10.0) -> None:
        """Once no more calls come and backends are closed: give to the ledger what was just answered, within so many seconds."""
        self.release()
        if tasks := {*self._flying.values(), *self._landing}:
            await asyncio.wait(tasks, timeout=deadline)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def __call__(self, call: Call) -> Answer:
        """Answer a charger's call."""
        if call.action in _ONCE or (self._readings and _reading(call)):
            return await self._once(call)
        if call.action == STATUS and call.payload.get("status") == AVAILABLE:
            self._available(call.identity, _connector(call))
        answer = await self._exchange(call)
        return await self._written(answer, None, ()) if isinstance(answer, Durable) else answer

    def late(self, backend: str, answer: Answer) -> None:
        """Take what a backend answers after its deadline as if it had come in time. Other late answers mean nothing here."""
        due = self._overdue.find(backend, answer.id)
        if due is None:
            return
        if due.key in self._answers:  # it was passed on once more, and that was answered: the charger knows the other one
            logger.warning("transactions.answered_twice", charger=due.call.identity, action=due.call.action, backend=backend)
            return
        task = asyncio.create_task(self._land(backend, due, answer))
        self._landing.add(task)
        task.add_done_callback(self._landing.discard)

    def settle(self, call: Call) -> Call:
        """The call with what `Occupied` means here in place of what was guessed; every other call as it is."""
        if call.action != STATUS or not call.remarks:
            return call
        guess = next((r for r in call.remarks if r.kind is Kind.ASSUMED and r.path == "status"), None)
        if guess is None:
            return call
        status, reason = self._connectors.occupied(call.identity, _connector(call))
        settled = replace(guess, detail=f"Occupied became {status}: {reason}")
        remarks = tuple(settled if remark is guess else remark for remark in call.remarks)
        return replace(call, payload=call.payload | {"status": status}, remarks=remarks)

    # --- once

    async def _once(self, call: Call) -> Answer:
        """Pass the call on unless it was, and wait for the answer together with whoever repeats it meanwhile."""
        key = digest(call)
        if key is None:
            return await self._written(await self._exchange(call), None, ())
        if flying := self._flying.get(key):
            return _repeated(await _landed(flying, call), call)
        if due := self._overdue.get(key, asyncio.get_running_loop().time()):
            return await _arrival(due, call)
        if len(self._flying) >= MOST_FLYING:
            return Error("InternalError", f"{MOST_FLYING} transactions are under way", {}, call.id, call.action)
        task = self._flying[key] = asyncio.create_task(self._answered(key, call))
        task.add_done_callback(partial(self._arrived, key))
        return await _landed(task, call)

    def _arrived(self, key: bytes, _: asyncio.Task[Answer]) -> None:
        del self._flying[key]

    async def _answered(self, key: bytes, call: Call) -> Answer:
        known = await self._known(key, call)
        if known is not None:
            return Result(known, call.id, call.action, (REPEATED,))
        self._answers.pop(key, None)
        over = self._stopped(call)
        answer = await self._exchange(call)
        if isinstance(answer, Unanswered):
            answer = self._unanswered(key, call, answer)
        kept = self._kept(key, call, answer)
        if call.action == METER and not isinstance(answer, Durable):
            kept = None  # it is at hand, and not worth a commit of its own
        return await self._written(answer, kept, self._changed(call, answer, over))

    def _unanswered(self, key: bytes, call: Call, error: Unanswered) -> Answer:
        """The error; or what came meanwhile, very late, as the answer to the same content before."""
        due = Due(key, call, _connector(call), error, asyncio.get_running_loop().time())
        self._overdue.add(due)
        if (kept := self._answers.get(key)) is None or (known := self._read(kept)) is None:
            return error
        answer = Result(known, call.id, call.action, (REPEATED,))
        self._overdue.answered(due, answer)
        return answer

    async def _land(self, backend: str, due: Due, answer: Answer) -> None:
        if self._taken is not None:
            answer = await self._taken(backend, due.call, answer)
        changed = self._changed(due.call, answer, None) if self._overdue.newest(due) else ()
        self._overdue.answered(due, await self._written(answer, self._kept(due.key, due.call, answer), changed))

    async def _written(self, answer: Answer, kept: Kept | None, changed: Sequence[Connector]) -> Answer:
        """The answer, once it may be heard."""
        durable = answer if isinstance(answer, Durable) else None
        if durable is not None and durable.strict:
            return await self._stored(durable, kept, changed)
        rows = durable.rows if durable is not None else ()
        try:
            if kept is None and not rows:
                self._ledger.note(changed)
            else:
                await self._ledger.keep(*([kept] if kept else []), connectors=changed, rows=rows)
        finally:  # it gets to disk also where whoever waits for that goes away
            if durable is not None and durable.landed is not None:
                durable.landed(True)
        return answer

    async def _stored(self, answer: Durable, kept: Kept | None, changed: Sequence[Connector]) -> Answer:
        """The answer, if what it stands for is on disk; else the charger is to keep what it said."""
        try:
            await self._ledger.accept(answer.rows, *([kept] if kept else []), connectors=changed, landed=answer.landed)
        except StateError:  # the ledger tells the log why; the charger is told nothing of our files
            if kept is not None:
                self._answers.pop(kept.key, None)
            return NotSent("InternalError", "the gateway cannot store it at the moment", {}, answer.id, answer.action)
        return answer

    async def _known(self, key: bytes, call: Call) -> Payload | None:
        """What was answered. But without a clock all starts look alike: who has heard of the first does not repeat it."""
        kept = await self._find(key, call)
        known = None if kept is None else self._read(kept)
        if kept is None or known is None or call.action != START or not clockless(call):
            return known
        transaction = _transaction(known)
        mark = None if transaction is None else await self._find(heard(call.identity, transaction), call)
        # A CSMS that numbers nothing gives one number again and again: what was heard before was another transaction.
        return known if mark is None or mark.at < kept.at else None

    async def _find(self, key: bytes, call: Call) -> Kept | None:
        kept = self._answers.get(key)
        if kept is not None or (call.action == METER and self._clock() > self._looked_up_until):
            return kept  # all readings of which that could be known were taken in this run
        return await self._ledger.find(key)

    def _read(self, kept: Kept) -> Payload | None:
        """The answer, unless it is too old."""
        if self._clock() - kept.at > self._remember:
            return None
        try:
            payload: Payload = _DECODER.decode(kept.payload)
        except msgspec.DecodeError as error:
            logger.error("transactions.unreadable", reason=f"expected an answer in JSON: {error}")
            return None
        return payload

    def _kept(self, key: bytes, call: Call, answer: Answer) -> Kept | None:
        """The answer, to be told again. An error is not, nor a start that came to no transaction."""
        if not isinstance(answer, Result) or (call.action == START and _transaction(answer.payload) is None):
            return None
        payload = _json(answer.payload)
        if payload is None or len(payload) > LONGEST:
            logger.warning("transactions.not_kept", charger=call.identity, reason=f"expected JSON of at most {LONGEST} bytes")
            return None
        at = self._clock() - (self._remember - READINGS if call.action == METER else 0)
        return self._at_hand(Kept(key, at, payload))

    def _at_hand(self, kept: Kept) -> Kept:
        self._answers[kept.key] = kept
        self._answers.move_to_end(kept.key)
        if len(self._answers) > NEWEST:
            self._answers.popitem(last=False)
        return kept

    # --- connectors

    def _available(self, identity: str, connector: int | None) -> None:
        self._overdue.passed(identity, connector)
        self._left(identity, connector)
        self._ledger.note(self._connectors.freed(identity, connector))

    def _stopped(self, call: Call) -> int | None:
        """Whatever is answered: what the charger has stopped is over."""
        if call.action != STOP:
            return None
        transaction = _transaction(call.payload)
        self._heard(call.identity, transaction)
        return self._connectors.stopped(call.identity, transaction)

    def _left(self, identity: str, connector: int | None, begun: int | None = None) -> None:
        """The charger has gone on from what was open at the connector, to `begun` or to nothing."""
        for known in self._connectors.now(identity, connector):
            if not known.over and known.transaction != begun:
                self._heard(identity, known.transaction)

    def _heard(self, identity: str, transaction: int | None) -> None:
        if transaction is not None:
            self._ledger.note((), (self._at_hand(Kept(heard(identity, transaction), self._clock(), b"")),))

    def _changed(self, call: Call, answer: Answer, over: int | None) -> Sequence[Connector]:
        """What this came to. `over` is the connector whose transaction the call has stopped."""
        if call.action == STOP:
            return self._connectors.now(call.identity, over)  # it may be Available by now
        if not isinstance(answer, Result) or not _accepted(answer.payload):
            return ()  # nothing begins there: what was known still holds
        # Whatever number it has: 0 and -1 are seen, from a CSMS that numbers nothing. Who accepts it lets the charger charge, and
        # the stop will come with the same number.
        connector, transaction = _connector(call), _transaction(answer.payload)
        self._overdue.passed(call.identity, connector)
        self._left(call.identity, connector, transaction)
        return self._connectors.started(call.identity, connector, transaction)


def _reading(call: Call) -> bool:
    """Whether it is a reading that can be known again: what a charger without a clock says again may be another one."""
    return call.action == METER and "transactionId" in call.payload and not dateless(call) and not _undated(call.payload)


def _undated(payload: Payload) -> bool:
    return any(str(each.get("timestamp")) < "2009" for each in payload.get("meterValue", ()) if isinstance(each, dict))


async def _landed(task: asyncio.Task[Answer], call: Call) -> Answer:
    """The answer; the task goes on when whoever waits goes away, for the CSMS may have heard the call already.

    It is bounded by the deadlines of the backend and of the disk.
    """
    await asyncio.wait({task})
    if task.cancelled():
        return Error("InternalError", "the gateway is shutting down", {}, call.id, call.action)
    return task.result()


async def _arrival(due: Due, call: Call) -> Answer:
    """The late answer, if it comes while a call may wait; else once more the error that nobody answered in time."""
    left = due.until - asyncio.get_running_loop().time()
    await asyncio.wait({due.came}, timeout=min(left, due.error.waited))
    if due.came.cancelled():
        return Error("InternalError", "the gateway is shutting down", {}, call.id, call.action)
    return _repeated(due.came.result() if due.came.done() else due.error, call)


def _repeated(answer: Answer, call: Call) -> Answer:
    remarks = answer.remarks if REPEATED in answer.remarks else (*answer.remarks, REPEATED)
    return replace(answer, id=call.id, remarks=remarks)


def _json(value: Any) -> bytes | None:
    """The JSON; None where JSON cannot say it."""
    try:
        return _ENCODER.encode(value)
    except (ValueError, ArithmeticError, RecursionError):
        return None


def _accepted(payload: Payload) -> bool:
    info = payload.get("idTagInfo")
    return isinstance(info, dict) and info.get("status") == ACCEPTED


def _connector(call: Call) -> int | None:
    return _integer(call.payload.get("connectorId"))


def _transaction(payload: Payload) -> int | None:
    return _integer(payload.get("transactionId"))


def _integer(value: Any) -> int | None:
    """A whole number of 32 bits, also as text; None for all else."""
    if isinstance(value, str) and len(value) <= 11 and value.removeprefix("-").isdecimal():
        value = int(value)
    return value if type(value) is int and -(2**31) <= value < 2**31 else None

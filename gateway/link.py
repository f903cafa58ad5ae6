"""One open WebSocket that speaks OCPP-J: runs an rpc session over it and records every frame.

Knows neither which end opened the socket nor what is behind it. An idle link is one read loop and nothing else.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any, Protocol

import structlog

from gateway.exchange import Exchange, Ids, Silence
from gateway.rpc import Answered, Ended, Event, Late, Limits, Malformed, Received, Refused, Send, Serve, Session
from gateway.traffic.record import Record, Tap
from translations import ocppj
from translations.errors import FormationViolation, InternalError, OcppError
from translations.messages import Answer, Call, Error, Message, Remark, Result, Side
from translations.tongue import Tongue

__all__ = ["CLOSE_GRACE", "Closed", "Limits", "Link", "NoAnswer", "Oversized", "Transport", "Unsent"]

CLOSE_GRACE = 5.0  # seconds for the closing handshake, and for tasks to notice that they are cancelled
RESOLUTION = 0.002  # seconds by which timers of the loop may be early
AT_ONCE = 8  # frames that are taken before others have their turn
REASON_LIMIT = 123  # bytes: RFC 6455, 5.5 and 5.5.1
OVERSIZED = 1009  # RFC 6455, 7.4.1

logger = structlog.get_logger(__name__)


class Closed(Exception):
    """The socket is closed, or closing."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"closed with {code}" + (f": {reason}" if reason else ""))
        self.code = code
        self.reason = reason


class Unsent(Closed):
    """The socket was closed, or closing, before the call was sent."""


class NoAnswer(TimeoutError):
    """The call was sent, and its time is over. The peer may still answer it."""


class Oversized(Closed):
    """A frame of the peer was over our limit, so that the socket was closed. The reason tells both sizes."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(OVERSIZED, reason)


class Transport(Protocol):
    """An open WebSocket. Text goes out as text or as UTF-8; pings are its own business and bound every wait on it."""

    async def send(self, data: str | bytes, /) -> None:
        """Send one text message. Raises Closed."""

    def send_now(self, data: str | bytes, /) -> bool:
        """Send one text message if that needs no waiting; whether it was sent. Never raises."""

    def listen(self, take: Callable[[str], None], /) -> None:
        """Have messages taken as they come, where that can be. `receive` gives the others, and what is behind them."""

    async def receive(self) -> str | bytes:
        """The next message: text, or bytes where the peer sent a binary one. Raises Closed, or Oversized of its kinds."""

    async def close(self, code: int, reason: str) -> None:
        """Close; again: nothing."""


class Link:
    """Calls both ways over one socket: `exchange` answers the peer's calls (with Silence: not), `call` makes ours.

    `tongue` translates and judges, and may be exchanged; without one, messages pass as they are. `pace` is awaited with the
    identity before a call of the peer is carried out; frames are read meanwhile, and calls wait within `limits`. `settle` has
    the last word on what a call of the peer says. `on_late` hears the answers that come when their calls were given up.
    """

    __slots__ = (
        "__weakref__",
        "_closer",
        "_closing",
        "_due",
        "_ended",
        "_exchange",
        "_ids",
        "_on_late",
        "_pace",
        "_reading",
        "_session",
        "_tap",
        "_tasks",
        "_timer",
        "_told",
        "_transport",
        "_waiters",
        "identity",
        "leg",
        "peer",
        "tenant",
        "version",
    )

    def __init__(
        self,
        transport: Transport,
        exchange: Exchange,
        tap: Tap,
        *,
        identity: str,
        leg: str,
        side: Side,
        ids: Ids,
        version: str = "1.6",
        peer: str = "",
        tenant: str = "",
        limits: Limits = Limits(),  # noqa: B008 - frozen
        tongue: Tongue | None = None,
        pace: Callable[[str], Awaitable[object]] | None = None,
        settle: Callable[[Call], Call] | None = None,
        on_late: Callable[[Answer], None] | None = None,
    ) -> None:
        self.identity, self.tenant, self.leg, self.version, self.peer = identity, tenant, leg, version, peer
        self._transport, self._exchange, self._tap, self._ids = transport, exchange, tap, ids
        self._session = Session(ids, identity, side, limits, tongue, settle)
        self._pace, self._on_late = pace, on_late
        self._waiters: dict[str, asyncio.Future[Answer | Closed | None]] = {}
        self._told: dict[str, Callable[[bool], None]] = {}
        self._due: dict[str, float] = {}  # by when our calls have to be answered (event loop time)
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._reading: asyncio.Timeout | None = None
        self._closer: asyncio.Task[None] | None = None
        self._closing: Closed | None = None
        self._ended = False

    @property
    def session(self) -> Session:
        """For its counters."""
        return self._session

    @property
    def tongue(self) -> Tongue | None:
        """How the peer is understood."""
        return self._session.tongue

    @tongue.setter
    def tongue(self, tongue: Tongue | None) -> None:
        self._session.tongue = tongue

    async def run(self) -> Closed:
        """Read until the socket is closed, by whichever end; says why it was."""
        taken = 0
        self._transport.listen(self._heard)
        try:
            async with asyncio.timeout(CLOSE_GRACE if self._ended else None) as self._reading:
                while True:
                    data = await self._transport.receive()
                    if not self._ended:
                        # Only frames of our own wait here, never an exchange: that runs in a task (see Serve).
                        frames = self._carry_out(self._take(data), data)
                        if frames:
                            await self._send(frames)
                    taken += 1
                    if taken % AT_ONCE == 0:
                        await asyncio.sleep(0)  # of a peer that floods there always is a next frame: others want their turn
        except Closed as closed:
            if isinstance(closed, Oversized) and not self._ended:
                self._tap(self._oversized(closed))
            self._closing = self._closing or closed
        except TimeoutError:  # set by `end`: the peer did not take part in the closing handshake
            pass
        finally:
            self._ended = True
            self._closing = self._closing or Closed(1006)
            await self._release()
        return self._closing

    def _heard(self, data: str) -> None:
        """Take a frame as it comes. A task that wakes for each would cost more than what is done here."""
        if not self._ended:
            frames = self._carry_out(self._take(data), data)
            if frames and not self._sent_now(frames):
                self._spawn(self._send(frames))

    def _take(self, data: str | bytes) -> list[Event]:
        received = "" if self._session.tongue is None else _stamp(int(time.time()))
        return self._session.receive(data, time.monotonic(), received)

    async def call(self, call: Call, timeout: float) -> Answer:
        """Make a call of ours. Whatever goes wrong is an Error."""
        try:
            return await self.ask(call, timeout)
        except TimeoutError:
            text = f"no answer in {timeout:g} s"
        except Closed:
            text = "connection closed before the answer"
        except OcppError as error:
            return error.as_error(call.id, call.action)
        return Error("GenericError", text, {}, call.id, call.action)

    def ask(self, call: Call, timeout: float) -> Coroutine[Any, Any, Answer]:
        """Make a call of ours; an Error is the peer's. Raises TimeoutError (NoAnswer if it was sent), Closed (Unsent if it was
        not sent), or OcppError if too many wait or the peer cannot be told.

        The call is under way when this returns, ahead of those that others make later; what is awaited is the answer.
        """
        if self._closing:
            raise Unsent(self._closing.code, self._closing.reason)
        if not call.id:
            call = replace(call, id=self._ids())
        elif call.id in self._waiters:
            raise InternalError("expected a call with an id of its own, it is in flight already")
        frames = self._carry_out(self._session.call(call, time.monotonic()))
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[Answer | Closed | None] = loop.create_future()
        self._waiters[call.id] = waiter
        self._answer_by(call.id, loop.time() + timeout)
        if frames and not self._sent_now(frames):
            self._spawn(self._send(frames))  # it waits for the socket to take more; the call has its deadline
        return self._awaited(call.id, waiter)

    def tell(self, call: Call, timeout: float, told: Callable[[bool], None]) -> None:
        """Make a call of ours whose answer means nothing here. `told` hears, once, whether the peer has had its time to answer.

        Raises as `ask` does, at once. It costs half of what that does: there is neither a task nor a future.
        """
        if self._closing:
            raise Unsent(self._closing.code, self._closing.reason)
        frames = self._carry_out(self._session.call(call, time.monotonic()))
        self._told[call.id] = told
        self._answer_by(call.id, asyncio.get_running_loop().time() + timeout)
        if frames and not self._sent_now(frames):
            self._spawn(self._send(frames))

    def _answer_by(self, call_id: str, due: float) -> None:
        # One timer for all calls, which runs on when a call is answered: most are, and a timer for each is dear.
        self._due[call_id] = due
        if self._timer is None or due < self._timer.when():
            self._time(due)

    def _time(self, due: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(due, self._expire)

    def _expire(self) -> None:
        """Give up what is overdue, and look again when the next one may be."""
        self._timer = None
        over = asyncio.get_running_loop().time() + RESOLUTION
        for call_id in [call_id for call_id, due in self._due.items() if due <= over]:
            self._due.pop(call_id, None)
            if (waiter := self._waiters.get(call_id)) is not None and not waiter.done():
                waiter.set_result(None)
            elif call_id in self._told:  # still: the one before may have ended the link
                self._told_late(call_id)
        if self._due:
            self._time(min(self._due.values()))

    def _told_late(self, call_id: str) -> None:
        told = self._told.pop(call_id)
        self._give_up(call_id)
        told(True)

    async def _awaited(self, call_id: str, waiter: asyncio.Future[Answer | Closed | None]) -> Answer:
        outcome: Answer | Closed | None = None
        sent = True
        try:
            outcome = await waiter
        finally:
            self._due.pop(call_id, None)
            last = self._waiters.pop(call_id)
            if outcome is None and last is not waiter:
                outcome = last.result()
            elif outcome is None:
                sent = self._session.sent(call_id)
                self._give_up(call_id)
        if outcome is None:
            raise NoAnswer if sent else TimeoutError
        if isinstance(outcome, Closed):
            raise outcome
        return outcome

    async def close(self, code: int = 1000, reason: str = "", drain: float = 0) -> None:
        """Close the socket. What is in flight, both ways, has `drain` seconds to finish; nothing new of ours begins."""
        self._closing = self._closing or Closed(code, reason)
        await self._drained(drain)
        self.end(code, reason)
        if self._closer:
            await asyncio.wait({self._closer}, timeout=CLOSE_GRACE)

    def end(self, code: int, reason: str) -> None:
        """Stop at once; the closing handshake goes on in the background, for a while."""
        if self._ended:
            return
        self._ended = True
        self._closing = self._closing or Closed(code, reason)
        self._abandon()
        loop = asyncio.get_running_loop()
        self._closer = loop.create_task(self._close_transport(code, _cut(reason)))
        if self._reading and not self._reading.expired():
            self._reading.reschedule(loop.time() + CLOSE_GRACE)

    async def _close_transport(self, code: int, reason: str) -> None:
        try:
            await self._transport.close(code, reason)
        except Closed:
            return

    async def _drained(self, drain: float) -> None:
        loop = asyncio.get_running_loop()
        limit = loop.time() + drain
        while (left := limit - loop.time()) > 0:
            busy: set[asyncio.Future[None] | asyncio.Future[Answer | Closed | None]] = {*self._tasks, *self._waiters.values()}
            if not busy or self._ended:
                return
            await asyncio.wait(busy, timeout=left)

    def _abandon(self) -> None:
        for task in self._tasks:
            task.cancel()
        closing = self._closing or Closed(1006)
        for call_id, waiter in self._waiters.items():
            if not waiter.done():
                waiter.set_result(closing if self._session.sent(call_id) else Unsent(closing.code, closing.reason))
        hearing, self._told = self._told, {}
        for call_id, told in hearing.items():
            self._due.pop(call_id, None)
            told(False)

    async def _release(self) -> None:
        self._abandon()
        if self._timer is not None:
            self._timer.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_GRACE)
        if self._closer:
            await asyncio.wait({self._closer}, timeout=CLOSE_GRACE)
            self._closer.cancel()

    def _spawn(self, work: Awaitable[None]) -> None:
        task = asyncio.ensure_future(work)
        assert isinstance(task, asyncio.Task)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _give_up(self, call_id: str) -> None:
        frames = self._carry_out(self._session.forget(call_id, time.monotonic()))
        if frames and not self._ended:
            self._spawn(self._send(frames))

    async def _serve(self, call: Call) -> None:
        if self._pace is not None:
            await self._pace(self.identity)
        answer = await self._answer(call)
        if self._ended:  # by the exchange itself, in place of an answer
            return
        try:
            events = self._session.pass_over() if type(answer) is Silence else self._session.answer(answer, time.monotonic())
        except (OcppError, TypeError):
            logger.exception("answer.unwritable", identity=self.identity, leg=self.leg, action=call.action)
            events = self._session.answer(_unexplained(), time.monotonic())
        await self._send(self._carry_out(events))

    async def _answer(self, call: Call) -> Answer:
        try:
            return await self._exchange(call)
        except OcppError as error:
            return error.as_error()
        except Exception:  # a mistake of ours; the peer gets its answer, and no details
            logger.exception("exchange.failed", identity=self.identity, leg=self.leg, action=call.action)
            return _unexplained()

    def _sent_now(self, frames: Sequence[Send]) -> bool:
        """Send one frame without waiting, if that can be."""
        if len(frames) != 1 or not self._transport.send_now(frames[0].data):
            return False
        self._tap(self._sent(frames[0]))
        return True

    async def _send(self, frames: Sequence[Send]) -> None:
        for frame in frames:
            self._tap(self._sent(frame))
            if not self._transport.send_now(frame.data):
                try:
                    await self._transport.send(frame.data)
                except Closed:
                    return  # the read loop hears of it too, and ends the link

    def _carry_out(self, events: Iterable[Event], data: str | bytes = b"") -> list[Send]:
        """Do what needs no waiting; what is to be sent is left to the caller."""
        frames: list[Send] = []
        for event in events:
            match event:
                case Send():
                    frames.append(event)
                case Received():
                    self._tap(self._came(event, data))
                case Serve():
                    self._spawn(self._serve(event.call))
                case Answered():
                    self._wake(event.answer)
                case Refused():
                    self._tap(self._not_taken(event, data))
                case Malformed():
                    self._tap(self._refused(event, data))
                case Ended():
                    self.end(event.code, event.reason)
                case Late():
                    if self._on_late is not None:
                        self._on_late(event.answer)
        return frames

    def _wake(self, answer: Answer) -> None:
        waiter = self._waiters.get(answer.id)
        if waiter is None:
            if (told := self._told.pop(answer.id, None)) is not None:
                self._due.pop(answer.id, None)
                told(True)
            return
        if waiter.done():  # its time ran out in this turn of the loop, and who waits has not run yet: the answer is in time
            waiter = self._waiters[answer.id] = asyncio.get_running_loop().create_future()
        waiter.set_result(answer)

    def _sent(self, frame: Send) -> Record:
        canonical = None if frame.canonical is None else _frame(frame.canonical)
        return self._record(">", frame.data, frame.message, frame.remarks, frame.exchange, frame.since, canonical=canonical)

    def _came(self, event: Received, data: str | bytes) -> Record:
        message, exchange, since, fate, translated = event
        canonical = _frame(message) if translated else None
        return self._record("<", data, message, message.remarks, exchange, since, fate, canonical)

    def _record(
        self,
        direction: str,
        data: str | bytes,
        message: Message,
        remarks: tuple[Remark, ...],
        exchange: str,
        since: float | None,
        fate: str = "",
        canonical: Any = None,
    ) -> Record:
        kind, outcome, note = _facts(message)
        return Record(  # by place: names cost as much again
            time.time(),
            exchange,
            self.identity,
            self.leg,
            direction,
            "json",
            self.version,
            kind,
            message.action,
            message.id,
            data.encode() if isinstance(data, str) else data,
            canonical,
            remarks,
            fate or outcome,
            None if since is None else time.monotonic() - since,
            self.peer,
            _FATES[fate] if fate else note,
            self.tenant,
        )

    def _not_taken(self, event: Refused, data: str | bytes) -> Record:
        message, error, exchange, since = event
        record = self._record("<", data, message, message.remarks, exchange, since)
        return record._replace(kind="refused", outcome=error.code, note=error.text)

    def _oversized(self, closed: Oversized) -> Record:
        error = FormationViolation(closed.reason)
        logger.warning("frame.oversized", identity=self.identity, leg=self.leg, reason=closed.reason)
        return self._refused(Malformed(error, ""), b"")

    def _refused(self, event: Malformed, data: str | bytes) -> Record:
        return Record(
            at=time.time(),
            exchange=event.exchange,
            charger=self.identity,
            leg=self.leg,
            direction="<",
            wire="json",
            version=self.version,
            kind="refused",
            action="",
            message_id=event.error.message_id,
            raw=data.encode("utf-8", "surrogatepass") if isinstance(data, str) else data,
            outcome=event.error.code,
            latency=None if event.since is None else time.monotonic() - event.since,
            peer=self.peer,
            note=event.error.text,
            tenant=self.tenant,
        )


_FATES = {
    "late": "came after its call was given up",
    "double": "its call was answered before",
    "unknown": "answers no call of ours",
}


def _facts(message: Message) -> tuple[str, str, str]:
    if isinstance(message, Call):
        return "call", "", ""
    if isinstance(message, Result):
        return "result", "ok", ""
    return "error", message.code, message.text


def _frame(message: Message) -> list[Any]:
    if isinstance(message, Call):
        return [ocppj.CALL, message.id, message.action, message.payload]
    if isinstance(message, Result):
        return [ocppj.RESULT, message.id, message.payload]
    return [ocppj.ERROR, message.id, message.code, message.text, dict(message.details)]


@lru_cache(maxsize=4)
def _stamp(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))


def _unexplained() -> Error:
    return Error("InternalError", "the gateway failed")


def _cut(reason: str) -> str:
    return reason.encode()[:REASON_LIMIT].decode("utf-8", "ignore")

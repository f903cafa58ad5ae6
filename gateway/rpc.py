"""An OCPP-J session without I/O: ids, one call in flight per direction, late and double answers.

Every input (`receive`, `call`, `answer`, `forget`) says the time and returns the events it causes, in order. Whoever
owns the socket carries them out. Message ids of the wire stay in here: outside, a call is known by the gateway's id.
"""

from collections import deque
from dataclasses import dataclass, replace
from typing import NamedTuple

from gateway.exchange import Ids
from translations import ocppj
from translations.errors import GenericError, OcppError
from translations.messages import Answer, Call, Error, Kind, Message, Remark, Result, Side

BINARY = Remark(Kind.REPAIRED, "frame", "binary frame read as text", "ocppj.binary")
REMEMBERED = 8  # calls given up whose late answers can still be told from unknown ones


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one session holds before it refuses."""

    waiting: int = 32  # our calls that wait for their turn
    queued: int = 16  # the peer's calls that wait for theirs
    malformed: int = 20  # malformed frames in a row that end the session


class Received(NamedTuple):
    """A message came. `fate` is "late", "double" or "unknown" for an answer that nobody waits for."""

    message: Message
    exchange: str
    since: float | None = None  # of an answer: when its call was sent
    fate: str = ""


class Malformed(NamedTuple):
    """A frame came that is no message."""

    error: OcppError
    exchange: str
    since: float | None = None


class Serve(NamedTuple):
    """It is this call's turn to be carried out; `answer` ends it."""

    call: Call


class Answered(NamedTuple):
    """The answer to a call of ours."""

    answer: Answer


class Send(NamedTuple):
    """A frame to be sent now."""

    data: bytes
    message: Message
    exchange: str
    since: float | None = None  # of an answer: when its call came


class Ended(NamedTuple):
    """The session is over; the socket is to be closed."""

    reason: str


Event = Received | Malformed | Serve | Answered | Send | Ended


class _Incoming(NamedTuple):
    call: Call  # with the gateway's id
    wire_id: str
    at: float


class _Outgoing(NamedTuple):
    call: Call
    data: bytes


class _Flight(NamedTuple):
    call: Call
    at: float


class Session:
    """One end of one connection. `side` is whom the peer's calls are addressed to."""

    __slots__ = (
        "_flight",
        "_given_up",
        "_identity",
        "_ids",
        "_last",
        "_limits",
        "_queue",
        "_row",
        "_serving",
        "_side",
        "_waiting",
        "double",
        "late",
        "malformed",
        "refused",
        "unknown",
    )

    def __init__(self, ids: Ids, identity: str, side: Side, limits: Limits) -> None:
        self._ids, self._identity, self._side, self._limits = ids, identity, side, limits
        self._flight: _Flight | None = None
        self._waiting: dict[str, _Outgoing] | None = None  # made when needed: an idle session is small
        self._given_up: dict[str, _Flight] | None = None
        self._last = ""
        self._serving: _Incoming | None = None
        self._queue: deque[_Incoming] | None = None
        self._row = 0
        self.late = self.double = self.unknown = self.malformed = self.refused = 0

    @property
    def waiting(self) -> int:
        """How many of our calls wait for their turn."""
        return len(self._waiting or ())

    def sent(self, call_id: str) -> bool:
        """Whether a call of ours has had its turn."""
        return call_id not in (self._waiting or ())

    def call(self, call: Call, at: float) -> list[Event]:
        """Send a call, now or when it is its turn. Raises GenericError when too many wait."""
        outgoing = _Outgoing(call, ocppj.encode(call))
        if self._flight is None:
            return [self._launch(outgoing, at)]
        if self._waiting is None:
            self._waiting = {}
        if len(self._waiting) >= self._limits.waiting:
            raise GenericError(f"expected at most {self._limits.waiting} waiting calls, got one more")
        self._waiting[call.id] = outgoing
        return []

    def forget(self, call_id: str, at: float) -> list[Event]:
        """Give a call of ours up; its answer, if it still comes, is late."""
        if self._waiting:
            self._waiting.pop(call_id, None)
        if self._flight is None or self._flight.call.id != call_id:
            return []
        if self._given_up is None:
            self._given_up = {}
        self._given_up[call_id] = self._flight
        if len(self._given_up) > REMEMBERED:
            del self._given_up[next(iter(self._given_up))]
        return self._next(at)

    def answer(self, answer: Answer, at: float) -> list[Event]:
        """Answer the call that is being served; the next one in the queue, if any, is served then."""
        serving = self._serving
        if serving is None:
            raise RuntimeError("expected a call to answer, none is being served")
        send = _reply(serving, answer)
        self._serving = None
        if not self._queue:
            return [send]
        self._serving = self._queue.popleft()
        return [send, Serve(self._serving.call)]

    def receive(self, data: str | bytes, at: float) -> list[Event]:
        """Take one frame from the wire. An empty one is a keep-alive of some chargers and means nothing."""
        if not data:
            return []
        try:
            message = ocppj.decode(data)
        except OcppError as error:
            return self._bad(error, at)
        self._row = 0
        if isinstance(data, bytes):  # OCPP-J 1.6, 4.1 means text frames
            message = replace(message, remarks=(*message.remarks, BINARY))
        return self._called(message, at) if isinstance(message, Call) else self._answered(message, at)

    def _called(self, call: Call, at: float) -> list[Event]:
        exchange = self._ids()
        ours = Call(call.action, call.payload, exchange, self._identity, self._side, call.remarks)
        incoming = _Incoming(ours, call.id, at)
        received = Received(call, exchange)
        if self._serving is None:
            self._serving = incoming
            return [received, Serve(ours)]
        if self._queue is None:
            self._queue = deque()
        if len(self._queue) < self._limits.queued:
            self._queue.append(incoming)
            return [received]
        return [received, self._refuse(incoming)]

    def _refuse(self, incoming: _Incoming) -> Send:
        # OCPP-J 1.6, 4.1.1: a peer "SHOULD NOT send a CALL message to the other party unless all the CALL messages it
        # sent before have been responded to or have timed out". 4.2.3 has no code for that, so it is "any other error".
        self.refused += 1
        text = f"expected at most {self._limits.queued} unanswered calls, got one more"
        return _reply(incoming, Error("GenericError", text))

    def _answered(self, message: Result | Error, at: float) -> list[Event]:
        flight = self._flight
        if flight is None or flight.call.id != message.id:
            return [self._stray(message)]
        answer = _with_action(message, flight.call)
        self._last = flight.call.id
        return [Received(answer, answer.id, flight.at), Answered(answer), *self._next(at)]

    def _stray(self, message: Result | Error) -> Received:
        if self._given_up and (flight := self._given_up.pop(message.id, None)):
            self.late += 1
            self._last = message.id
            return Received(_with_action(message, flight.call), message.id, flight.at, "late")
        if message.id == self._last:
            self.double += 1
            return Received(message, message.id, None, "double")
        self.unknown += 1
        return Received(message, "", None, "unknown")

    def _bad(self, error: OcppError, at: float) -> list[Event]:
        self.malformed += 1
        self._row += 1
        flight = self._flight
        events: list[Event]
        if not isinstance(error, ocppj.BadAnswer):
            events = self._bad_call(error)
        elif flight is not None and flight.call.id == error.message_id:
            self._last = flight.call.id
            events = [Malformed(error, self._last, flight.at), Answered(_nonsense(error, flight.call)), *self._next(at)]
        else:
            events = [Malformed(error, "")]
        if self._row >= self._limits.malformed:
            events.append(Ended(f"{self._row} malformed frames in a row"))
        return events

    def _bad_call(self, error: OcppError) -> list[Event]:
        # OCPP-J 1.6 lets a malformed frame be ignored; where its id is readable, its sender is spared a timeout.
        if not error.message_id:
            return [Malformed(error, "")]
        exchange, refusal = self._ids(), error.as_error()
        return [Malformed(error, exchange), Send(ocppj.encode(refusal), refusal, exchange)]

    def _launch(self, outgoing: _Outgoing, at: float) -> Send:
        self._flight = _Flight(outgoing.call, at)
        return Send(outgoing.data, outgoing.call, outgoing.call.id)

    def _next(self, at: float) -> list[Event]:
        self._flight = None
        if not self._waiting:
            return []
        return [self._launch(self._waiting.pop(next(iter(self._waiting))), at)]


def _reply(incoming: _Incoming, answer: Answer) -> Send:
    call = incoming.call
    message: Answer
    if isinstance(answer, Result):
        message = Result(answer.payload, incoming.wire_id, call.action, answer.remarks)
    else:
        message = Error(answer.code, answer.text, answer.details, incoming.wire_id, call.action, answer.remarks)
    return Send(ocppj.encode(message), message, call.id, incoming.at)


def _with_action(message: Answer, call: Call) -> Answer:
    if isinstance(message, Result):
        return Result(message.payload, call.id, call.action, message.remarks)
    return Error(message.code, message.text, message.details, call.id, call.action, message.remarks)


def _nonsense(error: OcppError, call: Call) -> Error:
    return Error("InternalError", f"expected an answer, got a malformed frame: {error.text}", {}, call.id, call.action)

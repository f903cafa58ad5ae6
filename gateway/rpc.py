"""An OCPP-J session without I/O: ids, one call in flight per direction, late and double answers.

With a tongue it hears and says what its peer means; without one, messages are canonical on the wire and pass as they are.
Every input (`receive`, `call`, `answer`, `forget`) says the time and returns the events it causes, in order. Whoever
owns the socket carries them out. Message ids of the wire stay in here: outside, a call is known by the gateway's id.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from gateway.exchange import Ids
from translations import ocppj
from translations.errors import GenericError, OcppError
from translations.messages import Answer, Call, Error, Kind, Message, Remark, Result, Side
from translations.tongue import Tongue

BINARY = Remark(Kind.REPAIRED, "frame", "binary frame read as text", "ocppj.binary")
PROTOCOL_ERROR, POLICY_VIOLATION = 1002, 1008  # RFC 6455, 7.4.1
REMEMBERED = 16  # calls given up whose late answers can still be told from unknown ones
# These are forgotten last, for their late answers are worth money. A JSON charger has one of them under way at a time, a SOAP
# charger one for each connector or so; heartbeats and readings that a slow CSMS leaves unanswered come by the dozen.
DEAR = frozenset({"StartTransaction", "StopTransaction"})


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one session holds before it refuses."""

    waiting: int = 32  # our calls that wait for their turn
    queued: int = 16  # the peer's calls that wait for theirs
    queued_size: int = 1 << 20  # bytes of these together
    malformed: int = 20  # malformed frames in a row that end the session
    refused: int = 100  # refused calls in a row that end it: what is refused waits for nothing, so that nothing else bounds it
    vain: int = 200  # frames that lead to nothing that end it; one is forgiven each second, and for each answer that we asked for


class Received(NamedTuple):
    """A message came, here in canonical form. `fate` is "late", "double" or "unknown" for an answer that nobody waits for."""

    message: Message
    exchange: str
    since: float | None = None  # of an answer: when its call was sent
    fate: str = ""
    translated: bool = False  # whether the frame says something else


class Refused(NamedTuple):
    """A message came, here as the wire has it, that is not valid and cannot be mended."""

    message: Message
    error: OcppError
    exchange: str
    since: float | None = None


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


class Late(NamedTuple):
    """The answer to a call of ours that was given up, as the wire has it."""

    answer: Answer


class Send(NamedTuple):
    """A frame to be sent now."""

    data: bytes
    message: Message
    exchange: str
    since: float | None = None  # of an answer: when its call came
    canonical: Message | None = None  # what the message says, where it is another
    remarks: tuple[Remark, ...] = ()  # made on the way here, and on the step from one to the other


class Ended(NamedTuple):
    """The session is over; the socket is to be closed."""

    reason: str
    code: int = PROTOCOL_ERROR


Event = Received | Refused | Malformed | Serve | Answered | Late | Send | Ended


class _Incoming(NamedTuple):
    call: Call  # with the gateway's id
    wire_id: str
    at: float
    size: int  # characters or bytes of its frame


class _Outgoing(NamedTuple):
    call: Call
    data: bytes
    wire: Message


class _Flight(NamedTuple):
    call: Call
    at: float


class Session:
    """One end of one connection. `side` is whom the peer's calls are addressed to; `settle` has the last word on what they say.

    `tongue` may be exchanged when more is known of the peer.
    """

    __slots__ = (
        "_flight",
        "_given_up",
        "_identity",
        "_ids",
        "_last",
        "_limits",
        "_queue",
        "_refusals",
        "_row",
        "_serving",
        "_settle",
        "_side",
        "_vain",
        "_vain_at",
        "_waiting",
        "double",
        "late",
        "malformed",
        "refused",
        "tongue",
        "unknown",
    )

    def __init__(
        self,
        ids: Ids,
        identity: str,
        side: Side,
        limits: Limits,
        tongue: Tongue | None = None,
        settle: Callable[[Call], Call] | None = None,
    ) -> None:
        self._ids, self._identity, self._side, self._limits = ids, identity, side, limits
        self.tongue, self._settle = tongue, settle
        self._flight: _Flight | None = None
        self._waiting: dict[str, _Outgoing] | None = None  # made when needed: an idle session is small
        self._given_up: dict[str, _Flight] | None = None
        self._last = ""
        self._serving: _Incoming | None = None
        self._queue: deque[_Incoming] | None = None
        self._row = self._refusals = 0  # in a row
        self._vain = self._vain_at = 0.0
        self.late = self.double = self.unknown = self.malformed = self.refused = 0

    @property
    def waiting(self) -> int:
        """How many of our calls wait for their turn."""
        return len(self._waiting or ())

    def sent(self, call_id: str) -> bool:
        """Whether a call of ours has had its turn."""
        return call_id not in (self._waiting or ())

    def call(self, call: Call, at: float) -> list[Event]:
        """Send a call, now or when it is its turn. Raises GenericError when too many wait, OcppError when it cannot be said."""
        wire = call if self.tongue is None else self.tongue.said(call, call.action)
        outgoing = _Outgoing(call, ocppj.encode(wire), wire)
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
        self._remember(self._flight)
        return self._next(at)

    def _remember(self, flight: _Flight) -> None:
        call = flight.call
        if self._given_up is None:
            self._given_up = {}
        # Without its payload, which can be long: it was sent.
        self._given_up[call.id] = _Flight(Call(call.action, {}, call.id, call.identity, call.side), flight.at)
        if len(self._given_up) > REMEMBERED:
            cheap = (key for key, (each, _) in self._given_up.items() if each.action not in DEAR)
            del self._given_up[next(cheap, next(iter(self._given_up)))]

    def answer(self, answer: Answer, at: float) -> list[Event]:
        """Answer the call that is being served; the next one in the queue, if any, is served then."""
        serving = self._serving
        if serving is None:
            raise RuntimeError("expected a call to answer, none is being served")
        forbidden = isinstance(answer, Error) and answer.code == "SecurityError"
        return [self._reply(serving, answer), *self._served(), *(self._asked_in_vain(at) if forbidden else ())]

    def pass_over(self) -> list[Event]:
        """Leave the call that is being served without an answer; the next one in the queue, if any, is served then."""
        if self._serving is None:
            raise RuntimeError("expected a call to pass over, none is being served")
        return self._served()

    def _served(self) -> list[Event]:
        self._serving = None
        if not self._queue:
            return []
        self._serving = self._queue.popleft()
        return [Serve(self._serving.call)]

    def receive(self, data: str | bytes, at: float, received: str = "") -> list[Event]:
        """Take one frame from the wire. An empty one is a keep-alive of some chargers and means nothing.

        `received` is the time to take for a date that cannot be; only a session with a tongue asks for it.
        """
        if not data:
            return []
        try:
            message = ocppj.decode(data)
        except OcppError as error:
            return self._bad(error, at)
        self._row = 0
        if isinstance(data, bytes):  # OCPP-J 1.6, 4.1 means text frames
            message = replace(message, remarks=(*message.remarks, BINARY))
        if isinstance(message, Call):
            return self._called(message, at, received, len(data))
        return self._answered(message, at, received)

    def _in_vain(self, at: float) -> list[Event]:
        """One more frame that led to nothing: good ones in between do not make up for a flood."""
        self._vain = max(self._vain - max(at - self._vain_at, 0.0), 0.0) + 1
        self._vain_at = at
        if self._vain < self._limits.vain:
            return []
        return [Ended(f"{self._limits.vain} frames that lead to nothing", POLICY_VIOLATION)]

    def _asked_in_vain(self, at: float) -> list[Event]:
        """A backend that asks on for what it may not have is answered at once. Chargers are bounded by who lets them in."""
        return self._in_vain(at) if self._side is Side.CHARGE_POINT else []

    def _called(self, call: Call, at: float, time: str, size: int) -> list[Event]:
        exchange = self._ids()
        if self.tongue is None and self._settle is None:
            ours = Call(call.action, call.payload, exchange, self._identity, self._side, call.remarks)
        else:
            try:
                ours = self._understood(call, exchange, time)
            except OcppError as error:
                return self._not_taken(call, error, exchange, at)
        incoming = _Incoming(ours, call.id, at, size)
        same = ours.payload is call.payload and ours.remarks is call.remarks
        received = Received(call, exchange) if same else _translated(call, ours)
        if self._serving is None:
            self._serving, self._refusals = incoming, 0
            return [received, Serve(ours)]
        if self._queue is None:
            self._queue = deque()
        if self._has_room(self._queue, size):
            self._queue.append(incoming)
            self._refusals = 0
            return [received]
        return [received, self._refuse(incoming), *self._one_more_refused(), *self._asked_in_vain(at)]

    def _has_room(self, queue: Iterable[_Incoming], size: int) -> bool:
        sizes = [waiting.size for waiting in queue]
        return len(sizes) < self._limits.queued and sum(sizes) + size <= self._limits.queued_size

    def _understood(self, call: Call, exchange: str, time: str) -> Call:
        """The peer's call in canonical form, with the gateway's id. Raises OcppError."""
        heard = call if self.tongue is None else self.tongue.heard(call, call.action, time)
        assert isinstance(heard, Call)
        ours = Call(heard.action, heard.payload, exchange, self._identity, self._side, heard.remarks)
        return ours if self._settle is None else self._settle(ours)

    def _not_taken(self, call: Call, error: OcppError, exchange: str, at: float) -> list[Event]:
        refusal = error.as_error(call.id, call.action)
        send = Send(ocppj.encode(refusal), refusal, exchange, at)
        return [Refused(call, error, exchange), send, *self._one_more_refused()]

    def _one_more_refused(self) -> list[Event]:
        self.refused += 1
        self._refusals += 1
        if self._refusals < self._limits.refused:
            return []
        return [Ended(f"{self._refusals} refused calls in a row", POLICY_VIOLATION)]

    def _refuse(self, incoming: _Incoming) -> Send:
        # OCPP-J 1.6, 4.1.1: a peer "SHOULD NOT send a CALL message to the other party unless all the CALL messages it
        # sent before have been responded to or have timed out". 4.2.3 has no code for that, so it is "any other error".
        text = f"expected at most {self._limits.queued} unanswered calls of {self._limits.queued_size} bytes, got more"
        return self._reply(incoming, Error("GenericError", text))

    def _reply(self, incoming: _Incoming, answer: Answer) -> Send:
        exchange, canonical = incoming.call.id, _addressed(incoming, answer)
        if self.tongue is None:
            return Send(ocppj.encode(canonical), canonical, exchange, incoming.at, None, canonical.remarks)
        try:
            wire = self.tongue.said(canonical, canonical.action)
        except OcppError as error:
            wire = canonical = error.as_error(incoming.wire_id, canonical.action)
        if wire is canonical:
            return Send(ocppj.encode(wire), wire, exchange, incoming.at, None, wire.remarks)
        return Send(ocppj.encode(wire), wire, exchange, incoming.at, canonical, canonical.remarks + wire.remarks)

    def _answered(self, message: Result | Error, at: float, time: str) -> list[Event]:
        flight = self._flight
        if flight is None or flight.call.id != message.id:
            return self._stray(message, at)
        answer = _with_action(message, flight.call)
        self._last = flight.call.id
        self._vain = max(self._vain - 1, 0.0)
        try:
            heard = answer if self.tongue is None else self.tongue.heard(answer, answer.action, time)
        except OcppError as error:
            self.refused += 1
            invalid = Error("InternalError", f"the answer is not valid: {error.text}", {}, answer.id, answer.action)
            return [Refused(answer, error, answer.id, flight.at), Answered(invalid), *self._next(at)]
        assert not isinstance(heard, Call)
        received = Received(answer, answer.id, flight.at)
        if heard is not answer:
            received = Received(heard, answer.id, flight.at, translated=True)
        return [received, Answered(heard), *self._next(at)]

    def _stray(self, message: Result | Error, at: float) -> list[Event]:
        if self._given_up and (flight := self._given_up.pop(message.id, None)):
            self.late += 1
            self._last = message.id
            answer = _with_action(message, flight.call)
            return [Received(answer, message.id, flight.at, "late"), Late(answer)]
        if message.id == self._last:
            self.double += 1
            return [Received(message, message.id, None, "double"), *self._in_vain(at)]
        self.unknown += 1
        return [Received(message, "", None, "unknown"), *self._in_vain(at)]

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
            return [*events, Ended(f"{self._row} malformed frames in a row")]
        return [*events, *self._in_vain(at)]

    def _bad_call(self, error: OcppError) -> list[Event]:
        # OCPP-J 1.6 lets a malformed frame be ignored; where its id is readable, its sender is spared a timeout.
        if not error.message_id:
            return [Malformed(error, "")]
        exchange, refusal = self._ids(), error.as_error()
        return [Malformed(error, exchange), Send(ocppj.encode(refusal), refusal, exchange)]

    def _launch(self, outgoing: _Outgoing, at: float) -> Send:
        call, data, wire = outgoing
        self._flight = _Flight(call, at)
        if wire is call:
            return Send(data, call, call.id, None, None, call.remarks)
        return Send(data, wire, call.id, None, call, call.remarks + wire.remarks)

    def _next(self, at: float) -> list[Event]:
        self._flight = None
        if not self._waiting:
            return []
        return [self._launch(self._waiting.pop(next(iter(self._waiting))), at)]


def _translated(call: Call, ours: Call) -> Received:
    told = Call(ours.action, ours.payload, call.id, call.identity, call.side, ours.remarks)
    return Received(told, ours.id, translated=True)


def _addressed(incoming: _Incoming, answer: Answer) -> Answer:
    """The answer under the id of the wire."""
    if isinstance(answer, Result):
        return Result(answer.payload, incoming.wire_id, incoming.call.action, answer.remarks)
    return Error(answer.code, answer.text, answer.details, incoming.wire_id, incoming.call.action, answer.remarks)


def _with_action(message: Answer, call: Call) -> Answer:
    if isinstance(message, Result):
        return Result(message.payload, call.id, call.action, message.remarks)
    return Error(message.code, message.text, message.details, call.id, call.action, message.remarks)


def _nonsense(error: OcppError, call: Call) -> Error:
    return Error("InternalError", f"expected an answer, got a malformed frame: {error.text}", {}, call.id, call.action)

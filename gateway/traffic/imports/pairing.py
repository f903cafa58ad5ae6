"""Calls and answers from one source put together to exchanges, in bounded memory."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from gateway.traffic.exchanges import Exchange, Half, Leg
from gateway.traffic.frames import number
from gateway.traffic.imports.found import NO_DIRECTION, NO_TIME, Found
from translations import ocppj
from translations.errors import OcppError
from translations.messages import Call, Error, Result

MOST = 10_000  # exchanges that wait for their answers or for their turn
HELD = 64 << 20  # bytes of these
_COST = 500  # bytes that an exchange takes besides its messages


@dataclass(slots=True, eq=False)
class _Entry:
    exchange: Exchange
    size: int
    pairs_by: str = ""
    wire: str = ""
    timed: bool = True
    done: bool = True


class Pairing:
    """Takes messages in their order and gives exchanges in the order of their calls. `ids` names those without a name."""

    def __init__(self, ids: Callable[[], str]) -> None:
        self._ids = ids
        self._order: deque[_Entry] = deque()
        self._open: dict[str, list[_Entry]] = {}  # calls without an answer, by what they pair by
        self._named: dict[str, _Entry] = {}
        self._held = 0

    def add(self, found: Found) -> None:
        """Take a message: a call begins an exchange, an answer ends one, what is refused is one."""
        if found.message is None:
            self._enter(_Entry(self._alone(found), len(found.raw)))
        elif found.is_call:
            entry = _Entry(self._alone(found), len(found.raw), found.pairs_by, found.wire, found.timed, done=False)
            self._open.setdefault(found.pairs_by, []).append(entry)
            self._enter(entry)
        elif (called := self._called(found)) is not None:
            self._answer(called, found)
        else:
            orphan = self._alone(found)
            orphan.legs[0].answer = replace(_half(found, orphan), note=f"{found.note}; answers no call that is here".lstrip("; "))
            self._enter(_Entry(orphan, len(found.raw)))

    def whole(self, exchange: Exchange, size: int) -> None:
        """Take an exchange that has all its messages."""
        self._enter(_Entry(exchange, size))

    def named(self, name: str, make: Callable[[], Exchange] | None, size: int) -> Exchange | None:
        """The exchange of a name that is still here; or the one that is made."""
        entry = self._named.get(name)
        if make is not None:
            entry = self._named[name] = _Entry(make(), 0, done=False)
            self._enter(entry)
        if entry is None:
            return None
        entry.size += size
        self._held += size
        return entry.exchange

    def ready(self) -> Iterator[Exchange]:
        """Those that are whole and have none before them that is not; the first of all, too, where too many wait."""
        order = self._order
        while order and (order[0].done or len(order) > MOST or self._held > HELD):
            yield self._leave()

    def rest(self) -> Iterator[Exchange]:
        """All the others."""
        while self._order:
            yield self._leave()

    def _enter(self, entry: _Entry) -> None:
        entry.size += _COST
        self._held += entry.size
        self._order.append(entry)

    def _leave(self) -> Exchange:
        entry = self._order.popleft()
        self._held -= entry.size
        self._close(entry)
        if self._named.get(entry.exchange.name) is entry:
            del self._named[entry.exchange.name]
        return entry.exchange

    def _close(self, entry: _Entry) -> None:
        waiting = self._open.get(entry.pairs_by, [])
        if entry in waiting:
            waiting.remove(entry)
            if not waiting:
                del self._open[entry.pairs_by]

    def _called(self, found: Found) -> _Entry | None:
        """The call that is answered: by its id, made the other way; without an id the last that may be meant."""
        if found.pairs_by:
            candidates = reversed(self._open.get(found.pairs_by, ()))
        else:
            candidates = (entry for entry in reversed(self._order) if not entry.done and entry.wire == found.wire)
        return next((entry for entry in candidates if _fits(entry, found)), None)

    def _answer(self, entry: _Entry, found: Found) -> None:
        exchange, leg = entry.exchange, entry.exchange.legs[0]
        leg.answer = _half(found, exchange)
        leg.outcome = exchange.outcome = found.outcome
        exchange.charger = exchange.charger or found.charger
        if leg.call and entry.timed and found.timed and found.at >= leg.call.at:
            leg.latency = exchange.latency = round(found.at - leg.call.at, 6)
        if isinstance(found.message, Result) and exchange.transaction is None and exchange.action == "StartTransaction":
            exchange.transaction = number(found.message.payload.get("transactionId"))
        entry.done = True
        entry.size += len(found.raw)
        self._held += len(found.raw)
        self._close(entry)

    def _alone(self, found: Found) -> Exchange:
        """The exchange that this message is, as long as no other belongs to it."""
        message = found.message
        up = True if found.to_csms is None else found.to_csms is not isinstance(message, (Result, Error))
        exchange = Exchange(0, self._ids(), found.at, found.charger, "", found.action, up, found.outcome)
        leg = Leg(found.leg, up, found.wire, found.version, found.peer, outcome=found.outcome, refused=message is None)
        exchange.legs.append(leg)
        if message is None or isinstance(message, Call):
            leg.call = _half(found, exchange)
            payload: dict[str, Any] = message.payload if message else {}
            exchange.connector, exchange.transaction = number(payload.get("connectorId")), number(payload.get("transactionId"))
        return exchange


def _fits(entry: _Entry, found: Found) -> bool:
    exchange = entry.exchange
    if exchange.charger and found.charger and exchange.charger != found.charger:
        return False
    if not found.pairs_by and found.action and found.action != exchange.action:
        return False
    return found.to_csms is None or found.to_csms is not exchange.up


def _half(found: Found, exchange: Exchange) -> Half:
    remarks, note = found.remarks, found.note
    if not found.timed:
        remarks = (*remarks, NO_TIME)
    if found.is_call and found.to_csms is None:
        remarks = (*remarks, NO_DIRECTION)
    canonical = found.canonical
    if canonical is None and found.wire == "soap" and found.message is not None:
        try:
            canonical = ocppj.encode(replace(found.message, id=found.message.id or exchange.name))
        except OcppError as error:
            note = f"{note}; {error.text}".lstrip("; ")
    return Half(found.at, found.raw, canonical, found.message_id, remarks, note)

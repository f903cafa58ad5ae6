"""From single messages to exchanges: a bounded table of those that are under way, and how their messages lie side by side."""

from collections.abc import Iterable
from typing import Any

import msgspec

from gateway.traffic.exchanges import PENDING, Exchange, Half, Leg
from gateway.traffic.frames import encoded, number, parts, printable
from gateway.traffic.record import CHARGER_LEG, Record

PATIENCE = 0.7  # seconds that a message waits for the others of its exchange, so that it is on disk within one
MOST = 10_000  # exchanges under way; beyond, the oldest do not wait any longer
SHED = "shed"  # the outcome of what was not recorded

_numbers = msgspec.json.Decoder()


class Group:
    """The messages of one exchange that are here."""

    __slots__ = ("open", "records", "since", "size")

    def __init__(self, since: float) -> None:
        self.records: list[Record] = []
        self.since = since  # monotonic
        self.open = 0  # calls without their answers
        self.size = 0  # bytes of its messages

    @property
    def name(self) -> str:
        """The gateway's id of the call; empty where there was none."""
        return self.records[0].exchange

    @property
    def begins(self) -> bool:
        """Whether this is where the exchange begins: a call came in, or something that is none."""
        first = self.records[0]
        return not first.exchange or (first.direction == "<" and is_call(first))


class Assembly:
    """Exchanges under way. Each is handed on once all its calls are answered, or when it has waited long enough."""

    def __init__(self, patience: float = PATIENCE, most: int = MOST) -> None:
        self._patience, self._most = patience, most
        self._groups: dict[str, Group] = {}  # in the order in which they began
        self._done: list[Group] = []

    def __len__(self) -> int:
        """How many are under way."""
        return len(self._groups) + len(self._done)

    def add(self, records: Iterable[Record], now: float) -> None:
        """Take messages; `now` is monotonic."""
        groups, done = self._groups, self._done
        for record in records:
            name = record.exchange
            group = groups.get(name)
            if group is None:
                group = Group(now)
                if name:
                    groups[name] = group
            group.records.append(record)
            group.size += len(record.raw)
            if is_call(record):
                group.open += 1
            else:
                group.open -= 1
            if group.open <= 0 or not name:
                groups.pop(name, None)
                done.append(group)
        while len(groups) > self._most:
            done.append(groups.pop(next(iter(groups))))

    def take(self, now: float) -> list[Group]:
        """Those that are whole or have waited long enough. With infinity as `now`: all."""
        groups, until = self._groups, now - self._patience
        while groups and (first := next(iter(groups.values()))).since <= until:
            self._done.append(groups.pop(first.name))
        done, self._done = self._done, []
        return done


def is_call(record: Record) -> bool:
    """Whether it is a call or stands in the place of one; what came in the place of an answer knows how long that took."""
    return record.kind == "call" or (record.kind == "refused" and record.latency is None)


def assembled(records: Iterable[Record], exchange: Exchange | None = None) -> Exchange:
    """The exchange of these messages, or the given one with these added to it."""
    for record in records:
        if exchange is None:
            exchange = Exchange(0, printable(record.exchange), record.at, up=_is_up(record))
        _add(exchange, record)
    if exchange is None:
        raise ValueError("expected at least one message")
    return exchange


def gap(at: float, records: int) -> Exchange:
    """Stands where messages passed that the log could not keep up with."""
    half = Half(at, b"", note=f"{records} messages were not recorded: the log could not keep up")
    return Exchange(0, "", at, outcome=SHED, legs=[Leg("", True, "", "", call=half, outcome=SHED)])


def _is_up(record: Record) -> bool:
    came = (record.direction == "<") == is_call(record)
    return came == (record.leg == CHARGER_LEG)


def _add(exchange: Exchange, record: Record) -> None:
    # Unpacked at once: this is done for every message, and each name asked of a record costs as much as three of these.
    (at, _, charger, name, way, wire, version, kind, action, message_id, raw, canonical, remarks,
     outcome, latency, peer, note, tenant, headers) = record  # fmt: skip
    calls = kind == "call" or (kind == "refused" and latency is None)
    _name(exchange, charger, tenant, action)
    leg = _open(exchange, printable(name), calls) or _begun(exchange, printable(name), (way == "<") == calls, wire, version, peer)
    frame, payload = (None, _unframed(record, calls)) if canonical is None else (encoded(canonical), _payload(canonical))
    half = Half(at, raw, frame, printable(message_id), remarks, printable(note) if note else "", headers)
    if not calls:
        leg.answer, leg.latency = half, latency
        if not leg.refused:
            leg.outcome = outcome
    else:
        leg.call = half
        if kind == "refused":
            leg.refused, leg.outcome = True, outcome
    if leg is exchange.legs[0]:
        exchange.outcome, exchange.latency = leg.outcome, leg.latency
    if payload is not None and name == CHARGER_LEG:
        _note_numbers(exchange, payload, calls)


def _name(exchange: Exchange, charger: str, tenant: str, action: str) -> None:
    """The first that is known of each."""
    if not exchange.charger:
        exchange.charger = printable(charger)
    if not exchange.tenant:
        exchange.tenant = tenant
    if not exchange.action:
        exchange.action = printable(action)


def _open(exchange: Exchange, name: str, calls: bool) -> Leg | None:
    """The leg that waits for this answer."""
    if not calls:
        for leg in reversed(exchange.legs):
            if leg.answer is None and leg.name == name:
                return leg
    return None


def _begun(exchange: Exchange, name: str, inward: bool, wire: str, version: str, peer: str) -> Leg:
    """A leg more: another attempt where there is one of that name."""
    attempt = 1
    for leg in exchange.legs:
        if leg.name == name:
            attempt += 1
    leg = Leg(name, inward, wire, version, peer, None, None, PENDING, False, None, attempt)
    exchange.legs.append(leg)
    return leg


def _unframed(record: Record, calls: bool) -> object:
    """The payload of raw text that is the frame itself, as far as it is wanted."""
    known = _NUMBERED if calls else _ANSWERED
    if record.wire != "json" or record.kind == "refused" or record.leg != CHARGER_LEG or record.action not in known:
        return None
    found = parts(record.raw)
    return None if found is None else _read(found[-1])


def _payload(frame: Any) -> object:
    return frame[-1] if isinstance(frame, (list, tuple)) and frame else None


def _read(text: bytes) -> object:
    try:
        return _numbers.decode(text)
    except (ValueError, RecursionError):
        return None


# Where connectorId and transactionId stand: at the top of the payload.
_NUMBERED = frozenset(
    (
        "Authorize",
        "CancelReservation",
        "ChangeAvailability",
        "ClearChargingProfile",
        "GetCompositeSchedule",
        "MeterValues",
        "RemoteStartTransaction",
        "RemoteStopTransaction",
        "ReserveNow",
        "SetChargingProfile",
        "StartTransaction",
        "StatusNotification",
        "StopTransaction",
        "TriggerMessage",
        "UnlockConnector",
    )
)
_ANSWERED = frozenset(("StartTransaction",))


def _note_numbers(exchange: Exchange, payload: object, calls: bool) -> None:
    if not isinstance(payload, dict):
        return
    if calls and exchange.connector is None:
        exchange.connector = number(payload.get("connectorId"))
    if exchange.transaction is None and (calls or exchange.action == "StartTransaction"):
        exchange.transaction = number(payload.get("transactionId"))

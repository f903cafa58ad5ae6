"""Exchanges told as a story: what a charger did and was told, a line for each event, in people's words.

A heartbeat is an event only where it was not answered, or where an expert found something.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, NamedTuple

import msgspec

from gateway.traffic.exchanges import OK, PENDING, Exchange
from gateway.traffic.predicate import payload_text, result_text

OPEN = 10_000  # transactions that are remembered at once
_LONGEST = 120  # characters of what is not ours
_REGISTER = "Energy.Active.Import.Register"
_NUMBER = re.compile(r"-?\d{1,12}(?:\.\d{1,9})?", re.ASCII)


class Event(NamedTuple):
    """One line of a story. `kind` is the action in OCPP's words, or "finding"; `severity` that of what went wrong, or empty."""

    at: float  # unix time in seconds
    exchange: int
    charger: str
    kind: str
    text: str
    severity: str = ""


class _Start(NamedTuple):
    at: float
    meter: float | None  # Wh


class _Said(NamedTuple):
    """One exchange as it is told: its payloads, as far as they could be read."""

    exchange: Exchange
    payload: Mapping[str, Any]
    result: Mapping[str, Any]

    def word(self, *names: str) -> str:
        """The first of these of the payload that is there, in short."""
        return next((_short(self.payload[name]) for name in names if self.payload.get(name) not in (None, "")), "")

    @property
    def status(self) -> str:
        """What the answer says of it, after a colon."""
        info = self.result.get("idTagInfo")
        found = info.get("status") if isinstance(info, dict) else self.result.get("status")
        return f": {_short(found)}" if isinstance(found, str) else ""

    @property
    def connector(self) -> str:
        """Whose it is."""
        number = self.payload.get("connectorId")
        return "the charger" if number in (0, None) else f"connector {_short(number)}"


class Story:
    """Told as exchanges come, in order of time; remembers what transactions began with."""

    def __init__(self) -> None:
        self._starts: dict[tuple[str, str, object], _Start] = {}

    def tell(self, exchange: Exchange) -> Iterator[Event]:
        """The events of an exchange: none, one, and one for each finding."""
        text, severity = self._text(exchange)
        if text:
            kind = exchange.action or "message"
            yield Event(exchange.at, exchange.id, exchange.charger, kind, text, severity)
        for finding in exchange.findings:
            yield Event(
                exchange.at, exchange.id, exchange.charger, "finding", f"{finding.text} ({finding.rule})", finding.severity
            )

    def _text(self, exchange: Exchange) -> tuple[str, str]:
        if any(leg.refused for leg in exchange.legs):
            return f"{exchange.action or 'a message'} was refused: {_why(exchange)}", "error"
        said = _Said(exchange, _read(payload_text(exchange)), _read(result_text(exchange)))
        known = (_UP if exchange.up else _DOWN).get(exchange.action)
        text = known(self, said) if known else _other(said)
        if not text and exchange.outcome != OK:
            text = exchange.action
        if exchange.outcome == PENDING:
            return f"{text}; no answer" if text else "", "warning"
        if exchange.outcome != OK:
            return f"{text}; failed: {_why(exchange)}", "error"
        return text, "warning" if exchange.action == "StatusNotification" and _fault(said) else ""

    # --- what needs a memory

    def start(self, said: _Said) -> str:
        """A transaction begins."""
        number, meter = said.exchange.transaction, _number(said.payload.get("meterStart"))
        if number is not None and said.exchange.outcome == OK:
            if len(self._starts) >= OPEN:
                self._starts.pop(next(iter(self._starts)))
            self._starts[self._key(said)] = _Start(_date(said.payload.get("timestamp"), said.exchange.at), meter)
        named = "a transaction" if number is None else f"transaction {number}"
        at = "" if meter is None else f", meter {_energy(meter)}"
        return f"starts {named} at {said.connector} with {said.word('idTag') or 'no idTag'}{at}{said.status}"

    def readings(self, said: _Said) -> str:
        """Meter values: the last of each measurand, and what was charged so far."""
        values = said.payload.get("meterValue")
        read = dict(_read_values(values))
        if not read:
            return f"{said.connector} sends meter values"
        start, register = self._starts.get(self._key(said)), read.get(_REGISTER)
        parts = [text for text, _ in read.values()]
        if register is not None and register[1] is not None and start is not None and start.meter is not None:
            parts.append(f"{_energy(register[1] - start.meter)} so far")
        return f"{said.connector} reads {', '.join(parts[:6])}"

    def stop(self, said: _Said) -> str:
        """A transaction ends."""
        start = self._starts.pop(self._key(said), None)
        meter = _number(said.payload.get("meterStop"))
        facts = []
        if meter is not None and start is not None and start.meter is not None:
            facts.append(_energy(meter - start.meter))
        elif meter is not None:
            facts.append(f"meter {_energy(meter)}")
        if start is not None:
            facts.append(f"in {_lasted(_date(said.payload.get('timestamp'), said.exchange.at) - start.at)}")
        reason = f", reason {said.word('reason')}" if said.word("reason") else ""
        return f"stops transaction {said.word('transactionId')}: {' '.join(facts)}{reason}{said.status}"

    def _key(self, said: _Said) -> tuple[str, str, object]:
        return said.exchange.tenant, said.exchange.charger, said.exchange.transaction


# --- what each action says ---------------------------------------------------------------------------------------------


def _boot(story: Story, said: _Said) -> str:
    who = " ".join(filter(None, (said.word("chargePointVendor"), said.word("chargePointModel"))))
    firmware = f", firmware {said.word('firmwareVersion')}" if said.word("firmwareVersion") else ""
    interval = said.result.get("interval")
    beats = f", heartbeat every {interval} s" if isinstance(interval, int) else ""
    return f"boots: {who}{firmware}{said.status}{beats}"


def _status(story: Story, said: _Said) -> str:
    told = [said.word("errorCode") if _fault(said) else "", said.word("vendorErrorCode"), said.word("info")]
    more = f": {', '.join(filter(None, told))}" if any(told) else ""
    return f"{said.connector} is {said.word('status') or 'in no status'}{more}"


def _fault(said: _Said) -> bool:
    return said.word("errorCode") not in ("", "NoError") or said.word("status") == "Faulted"


def _other(said: _Said) -> str:
    """An action in its own words, with what is short in its payload."""
    facts = [f"{_short(name)} {_short(value)}" for name, value in said.payload.items() if isinstance(value, str | int | float)]
    named = f" ({', '.join(facts[:4])})" if facts else ""
    told = f"{said.exchange.action or 'a message'}{named}{said.status}"
    return told if said.exchange.up else f"is told {told}"


_Tell = Callable[[Story, _Said], str]

_UP: Mapping[str, _Tell] = MappingProxyType(
    {
        "BootNotification": _boot,
        "Heartbeat": lambda story, said: "",
        "Authorize": lambda story, said: f"authorizes {said.word('idTag') or 'no idTag'}{said.status}",
        "StartTransaction": Story.start,
        "MeterValues": Story.readings,
        "StatusNotification": _status,
        "StopTransaction": Story.stop,
        "FirmwareStatusNotification": lambda story, said: f"firmware: {said.word('status')}",
        "DiagnosticsStatusNotification": lambda story, said: f"diagnostics: {said.word('status')}",
    }
)
_DOWN: Mapping[str, _Tell] = MappingProxyType(
    {
        "RemoteStartTransaction": lambda story, said: (
            f"is told to start with {said.word('idTag')} at {said.connector}{said.status}"
        ),
        "RemoteStopTransaction": lambda story, said: f"is told to stop transaction {said.word('transactionId')}{said.status}",
        "UnlockConnector": lambda story, said: f"is told to unlock {said.connector}{said.status}",
        "Reset": lambda story, said: f"is told to reset, {said.word('type')}{said.status}",
        "ChangeConfiguration": lambda story, said: (
            f"is told to set {said.word('key')} to {said.word('value') or 'nothing'}{said.status}"
        ),
        "ChangeAvailability": lambda story, said: f"is told that {said.connector} is {said.word('type')}{said.status}",
    }
)


# --- values ------------------------------------------------------------------------------------------------------------


def _read(text: str | None) -> Mapping[str, Any]:
    if text is not None:
        with suppress(ValueError, RecursionError):
            return msgspec.json.decode(text, type=dict[str, Any])
    return {}


def _read_values(values: object) -> Iterator[tuple[str, tuple[str, float | None]]]:
    """Each measurand with its text, and of the energy register its Wh; what comes later stands for what came before."""
    for value in values if isinstance(values, list) else ():
        sampled = value.get("sampledValue") if isinstance(value, dict) else None
        for sample in sampled if isinstance(sampled, list) else ():
            if isinstance(sample, dict) and not sample.get("phase") and (read := _number(sample.get("value"))) is not None:
                measurand = str(sample.get("measurand") or _REGISTER)
                yield measurand, _reading(measurand, str(sample.get("unit") or ""), read)


def _reading(measurand: str, unit: str, value: float) -> tuple[str, float | None]:
    if measurand == _REGISTER and unit in ("", "Wh", "kWh"):
        energy = value * 1000 if unit == "kWh" else value
        return _energy(energy), energy
    if measurand == "SoC":
        return f"charged to {value:g} %", None
    if unit == "W":
        return f"{value / 1000:g} kW", None
    known = "" if measurand.startswith(("Current", "Voltage", "Power")) else f"{_short(measurand)} "
    return f"{known}{value:g} {_short(unit)}".rstrip(), None


def _number(value: object) -> float | None:
    """What it is as a number; None of what is none, or could not be one of a meter."""
    text = str(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else ""
    return float(text) if len(text) <= 30 and _NUMBER.fullmatch(text) else None


def _energy(watt_hours: float) -> str:
    return f"{watt_hours / 1000:,.3f} kWh"


def _date(text: object, otherwise: float) -> float:
    """In unix seconds; where it cannot be read, the time when it passed."""
    try:
        found = datetime.fromisoformat(text if isinstance(text, str) else "")
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return otherwise


def _lasted(seconds: float) -> str:
    if seconds < 0:
        return f"-{_lasted(-seconds)}"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def _why(exchange: Exchange) -> str:
    notes = (half.note for leg in exchange.legs for half in (leg.answer, leg.call) if half is not None and half.note)
    note = next(notes, "")
    return exchange.outcome + (f" ({_short(note)})" if note else "")


def _short(value: object) -> str:
    try:
        text = str(value)
    except ValueError:  # an integer of too many digits
        text = "a number"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."

"""Traces, a JSON object a line: our own by what stands in `meta`, those of others by Open OCPP Trace and what is near it."""

import re
from base64 import b64decode
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any

import msgspec

from gateway.traffic.exchanges import Exchange, Half, Leg
from gateway.traffic.formats import wild
from gateway.traffic.formats.trace import TO_CHARGER, TO_CSMS, TYPES, Meta
from gateway.traffic.frames import number
from gateway.traffic.imports.envelopes import envelope
from gateway.traffic.imports.found import Found, frame, refusal, time_in, within
from gateway.traffic.imports.pairing import Pairing
from translations.messages import Kind, Remark

_KINDS = {name: kind for kind, name in TYPES.items()}
_NO_ID = "-"
_NOTED = 500  # characters of what is kept of unknown fields

# What programs call the fields that they do not call by the specification's names.
_ALIASES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "timestamp": ("time", "at", "ts", "@timestamp", "date", "datetime"),
        "chargePointId": ("chargePoint", "chargeBoxId", "charger", "chargerId", "cpId", "stationId", "identity"),
        "ocppVersion": ("version", "protocol"),
        "messageId": ("uniqueId", "msgId"),
        "raw": ("frame", "message", "msg", "data", "payload"),
    }
)
_DIRECTIONS: Mapping[str, bool] = MappingProxyType({TO_CSMS: True, TO_CHARGER: False, "up": True, "down": False})
_FIELDS = frozenset(
    (
        *("schemaVersion", "timestamp", "ocppVersion", "transport", "chargePointId", "connectorId"),
        *("direction", "messageType", "messageId", "action", "payload", "raw", "error"),
    )
)
_OBJECT = msgspec.json.Decoder(dict[str, msgspec.Raw])


class _Ours(msgspec.Struct):
    timestamp: str
    direction: str
    messageType: str
    meta: Meta
    transport: str = "json"
    ocppVersion: str = ""
    chargePointId: str = ""
    messageId: str = ""
    raw: str = ""


_OURS = msgspec.json.Decoder(_Ours)


class Traces:
    """The lines of one trace. `at` stands for times that are missing."""

    def __init__(self, pairing: Pairing, at: float) -> None:
        self._pairing, self._at = pairing, at

    def read(self, text: bytes, number: int) -> None:
        """Take a line."""
        try:
            fields = _OBJECT.decode(text)
        except (ValueError, RecursionError):
            note = f"line {number}: expected a JSON object"
            self._pairing.add(refusal(self._at, text, note))
            return
        if not (b'"exchange"' in text and "meta" in fields and self._own(text)):
            self._pairing.add(self._foreign(fields, text, f"line {number}"))

    # --- ours

    def _own(self, text: bytes) -> bool:
        """Take a line that we have written; whether it was one."""
        try:
            line = _OURS.decode(text)
            half, is_answer = _half(line), _KINDS[line.messageType] != 2
            made = _exchange(line, is_answer)
        except (ValueError, RecursionError, LookupError):
            return False
        name, size = line.meta.exchange, len(text)
        exchange = None if line.meta.summary else self._pairing.named(name, None, size)
        if exchange is None:
            exchange = self._pairing.named(name, lambda: made, size) or made
        _put(exchange, line, half, is_answer)
        return True

    # --- of others

    def _foreign(self, fields: dict[str, msgspec.Raw], text: bytes, where: str) -> Found:
        given = {name: _plain(raw) for name, raw in fields.items()}
        used = _aliased(given, fields)
        told = time_in(str(given.get("timestamp") or ""))
        self._at = told[0] if told else self._at
        found = self._message(given, fields, where)
        if found is None:
            return refusal(self._at, text, f"{where}: expected raw, or messageType with what belongs to it")
        found.timed = told is not None
        found.charger = found.charger or _text(given.get("chargePointId"))
        found.version = found.version or _text(given.get("ocppVersion")).lower().removeprefix("ocpp").strip()
        said = _DIRECTIONS.get(_text(given.get("direction")).lower())
        found.to_csms = found.to_csms if said is None else said
        found.action = found.action or _text(given.get("action"))
        unknown = {name: raw for name, raw in fields.items() if name not in _FIELDS | used}
        if unknown:
            found.note = "; ".join(filter(None, (found.note, f"also given: {_noted(unknown)}")))
        return found

    def _message(self, given: dict[str, Any], fields: dict[str, msgspec.Raw], where: str) -> Found | None:
        raw = given.get("raw")
        data = _text(raw).encode("utf-8", "surrogatepass") if isinstance(raw, str) else bytes(fields.get("raw", b"")).strip()
        if data[:1] == b"<" or (given.get("transport") == "soap" and data):
            return envelope(data, self._at, where)
        if data and data != b"null":
            return frame(self._at, data, where)
        made = _frame(given, fields)
        if made is None:
            return None
        found = frame(self._at, made, where)
        found.raw, found.canonical = b"", made
        if not given.get("messageId"):
            found.pairs_by = found.message_id = ""
        if given.get("transport") == "soap":
            found.wire = "soap"
        return found


def _half(line: _Ours) -> Half:
    meta = line.meta
    raw = b64decode(meta.rawBase64, validate=True) if meta.rawBase64 else (line.raw or meta.raw).encode("utf-8", "surrogatepass")
    canonical = wild(bytes(meta.canonical)) or None
    return Half(
        _at(line.timestamp),
        raw,
        b64decode(meta.canonicalBase64, validate=True) if meta.canonicalBase64 else canonical,
        line.messageId if meta.messageId is None else meta.messageId,
        tuple(Remark(Kind(said.kind), said.path, said.detail, said.rule) for said in meta.remarks),
        meta.note,
        meta.headers,
    )


def _at(text: str) -> float:
    return within(datetime.fromisoformat(text).timestamp())


def _exchange(line: _Ours, is_answer: bool) -> Exchange:
    meta, up = line.meta, _DIRECTIONS[line.direction] is not is_answer
    whole = meta.summary
    if whole is None:
        return Exchange(0, meta.exchange, _at(line.timestamp), line.chargePointId, meta.tenant, up=up)
    return Exchange(
        0,
        meta.exchange,
        _at(whole.at),
        line.chargePointId,
        meta.tenant,
        whole.action,
        up,
        whole.outcome,
        whole.latency,
        number(whole.connector),
        number(whole.transaction),
        findings=whole.findings,
    )


def _put(exchange: Exchange, line: _Ours, half: Half, is_answer: bool) -> None:
    meta = line.meta
    leg = next((leg for leg in exchange.legs if (leg.name, leg.attempt) == (meta.leg, meta.attempt)), None)
    if leg is None or (leg.answer if is_answer else leg.call) is not None:
        wire = line.transport if meta.wire is None else meta.wire
        leg = Leg(meta.leg, meta.inward, wire, line.ocppVersion, meta.peer, attempt=number(meta.attempt) or 1)
        leg.outcome, leg.refused, leg.latency = meta.outcome, meta.refused, meta.latency
        exchange.legs.append(leg)
    if is_answer:
        leg.answer = half
    else:
        leg.call = half


def _plain(raw: msgspec.Raw) -> Any:
    """Text and numbers; what is an object or a list is read by those who want it."""
    return None if bytes(raw).startswith((b"{", b"[")) else msgspec.json.decode(raw)


def _aliased(given: dict[str, Any], fields: dict[str, msgspec.Raw]) -> set[str]:
    """Put what has another name under the specification's; which names were used."""
    used = set()
    for name, others in _ALIASES.items():
        for other in others if name not in fields else ():
            if other in fields and (name != "raw" or _like_frame(given[other], fields[other])):
                given[name], fields[name] = given[other], fields[other]
                used.add(other)
                break
    return used


def _like_frame(value: Any, raw: msgspec.Raw) -> bool:
    start = value.lstrip()[:40] if isinstance(value, str) else bytes(raw)[:40].decode("utf-8", "replace")
    return start[:1] == "<" or re.match(r"\[\s*[234]\s*,", start) is not None


def _frame(given: dict[str, Any], fields: dict[str, msgspec.Raw]) -> bytes | None:
    """A frame of the fields that say what stood in it."""
    kind, message_id = _KINDS.get(_text(given.get("messageType")).upper()), _text(given.get("messageId")) or _NO_ID
    payload = fields.get("payload", msgspec.Raw(b"{}"))
    if kind == 2:
        return msgspec.json.encode([kind, message_id, _text(given.get("action")), payload])
    if kind == 3:
        return msgspec.json.encode([kind, message_id, payload])
    if kind != 4:
        return None
    try:
        error = _OBJECT.decode(fields.get("error", b"{}"))
    except ValueError:
        error = {}
    code, text = (_text(_plain(error.get(name, msgspec.Raw(b'""')))) for name in ("code", "description"))
    return msgspec.json.encode([kind, message_id, code or "GenericError", text, error.get("details", {})])


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None or isinstance(value, bool) else str(value)


def _noted(fields: dict[str, msgspec.Raw]) -> str:
    text = ", ".join(f"{name}: {bytes(raw).decode('utf-8', 'replace')}" for name, raw in fields.items())
    return text if len(text) <= _NOTED else f"{text[:_NOTED]}…"

"""Exchanges as Open OCPP Trace 1.1: a JSON object a line for each message on each leg.

The schema and the rules of conformance are those of github.com/open-ocpp-trace/specification. What it has no field for stands
in `meta`, so that an import finds the exchange again as it was. The messages of a leg follow each other: a consumer pairs an
answer with the nearest call before it that has its id.
"""

from base64 import b64encode
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec

from gateway.traffic.exchanges import OK, Exchange, Finding, Half, Leg
from gateway.traffic.formats import as_text, halves, iso, line, to_csms
from translations.translate import remark

SCHEMA_VERSION = "1.1"
TO_CSMS, TO_CHARGER = "cp-to-csms", "csms-to-cp"
TYPES = {2: "CALL", 3: "CALLRESULT", 4: "CALLERROR"}
_FEWEST = {2: 4, 3: 3, 4: 3}  # items of a frame
NOTHING = msgspec.Raw(b"")
_FRAME = msgspec.json.Decoder(list[msgspec.Raw])


class Said(msgspec.Struct, omit_defaults=True):
    """A remark."""

    kind: str = ""
    path: str = ""
    detail: str = ""
    rule: str = ""


class Summary(msgspec.Struct, omit_defaults=True):
    """What is the exchange's own; stands in its first line."""

    at: str = ""
    action: str = ""
    outcome: str = ""
    latency: float | None = None
    connector: int | None = None
    transaction: int | None = None
    findings: tuple[Finding, ...] = ()


class Meta(msgspec.Struct, omit_defaults=True):
    """What the format has no field for. Times are seconds; `raw` and `rawBase64` are bytes that no field of the line repeats."""

    exchange: str
    leg: str
    inward: bool
    attempt: int = 1
    wire: str | None = None
    peer: str = ""
    tenant: str = ""
    outcome: str = ""
    refused: bool = False
    latency: float | None = None
    messageId: str | None = None
    remarks: tuple[Said, ...] = ()
    note: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    canonical: msgspec.Raw = NOTHING
    canonicalBase64: str = ""
    raw: str = ""
    rawBase64: str = ""
    summary: Summary | None = None


class Frame(NamedTuple):
    """An OCPP-J frame, its parts as JSON on one line: `payload` of a call or a result, else `error`."""

    kind: int
    id: str
    action: str = ""
    payload: msgspec.Raw | None = None
    error: dict[str, Any] | None = None


def lines(exchanges: Iterable[Exchange]) -> Iterator[bytes]:
    """One line for each message, with its end."""
    for exchange in exchanges:
        first = True
        for leg in exchange.legs:
            for half, is_answer in halves(leg):
                yield line(_object(exchange, leg, half, is_answer, first)) + b"\n"
                first = False


def frame_of(data: bytes | None) -> Frame | None:
    """A frame taken apart; None for what is none, or has an id or an action that is no text."""
    try:
        parts = _FRAME.decode(_compact(data or b""))
        kind = msgspec.json.decode(parts[0], type=int)
        message_id = msgspec.json.decode(parts[1], type=str)
        if len(parts) < _FEWEST[kind]:
            return None
        if kind == 2:
            return Frame(kind, message_id, msgspec.json.decode(parts[2], type=str), parts[3])
        if kind == 3:
            return Frame(kind, message_id, payload=parts[2])
        return Frame(kind, message_id, error=_error(parts))
    except (ValueError, RecursionError, LookupError):
        return None


def _error(parts: list[msgspec.Raw]) -> dict[str, Any]:
    error: dict[str, Any] = {"code": msgspec.json.decode(parts[2], type=str)}
    if len(parts) > 3:
        error["description"] = msgspec.json.decode(parts[3], type=str | None) or ""
    if len(parts) > 4:
        error["details"] = parts[4]
    return error


def _compact(data: bytes) -> bytes:
    data.decode()
    return msgspec.json.format(data, indent=-1) if b"\n" in data or b"\r" in data else data


def _object(exchange: Exchange, leg: Leg, half: Half, is_answer: bool, first: bool) -> dict[str, Any]:
    written = _written(leg, half, is_answer)
    frame = written or frame_of(half.canonical)
    if frame is not None and (frame.kind != 2) is not is_answer:
        written = frame = None
    meta = _meta(exchange, leg, half, first)
    kind = frame.kind if frame else _kind(leg, is_answer)
    message_id = written.id if written else _shared_id(leg, half, frame)
    if message_id != half.message_id:
        meta.messageId = half.message_id
    return {
        "schemaVersion": SCHEMA_VERSION,
        "timestamp": iso(half.at),
        **({"ocppVersion": leg.version} if leg.version else {}),
        "transport": "soap" if leg.wire == "soap" else "json",
        **({"chargePointId": exchange.charger} if exchange.charger else {}),
        **({"connectorId": exchange.connector} if (exchange.connector or 0) > 0 or exchange.connector == 0 else {}),
        "direction": TO_CSMS if to_csms(exchange, is_answer) else TO_CHARGER,
        "messageType": TYPES[kind],
        **({"messageId": message_id} if message_id else {}),
        **_action(exchange, leg, frame, kind),
        **({"payload": frame.payload} if frame and frame.payload is not None else {}),
        **_raw(leg, half, written, meta),
        **({"error": (frame and frame.error) or {"code": leg.outcome, "description": half.note}} if kind == 4 else {}),
        "meta": meta,
    }


def _written(leg: Leg, half: Half, is_answer: bool) -> Frame | None:
    """The frame as it was on the wire, where it was one."""
    frame = frame_of(half.raw) if leg.wire != "soap" else None
    return frame if frame and (frame.kind != 2) is is_answer else None


def _kind(leg: Leg, is_answer: bool) -> int:
    if not is_answer:
        return 2
    return 3 if leg.outcome == OK else 4


def _shared_id(leg: Leg, half: Half, frame: Frame | None) -> str:
    """The id that call and answer have in common: an envelope that answers has another one of its own."""
    call = leg.call.message_id if leg.wire == "soap" and leg.call else half.message_id
    return call or half.message_id or (frame.id if frame else "")


def _action(exchange: Exchange, leg: Leg, frame: Frame | None, kind: int) -> dict[str, str]:
    if kind == 2:
        return {"action": frame.action if frame else exchange.action}
    call = leg.call and (_written(leg, leg.call, False) or frame_of(leg.call.canonical))
    action = call.action if call and call.kind == 2 else exchange.action
    return {"action": action} if action else {}


def _raw(leg: Leg, half: Half, written: Frame | None, meta: Meta) -> dict[str, str]:
    """`raw` where it says what the line says; other bytes stand in `meta`."""
    text, is_base64 = as_text(half.raw)
    if is_base64:
        meta.rawBase64 = text
    elif written or (leg.wire == "soap" and text):
        return {"raw": text}
    else:
        meta.raw = text
    return {}


def _meta(exchange: Exchange, leg: Leg, half: Half, first: bool) -> Meta:
    meta = Meta(
        exchange=exchange.name,
        leg=leg.name,
        inward=leg.inward,
        attempt=leg.attempt,
        wire=None if leg.wire in ("soap", "json") else leg.wire,
        peer=leg.peer,
        tenant=exchange.tenant,
        outcome=leg.outcome,
        refused=leg.refused,
        latency=leg.latency,
        remarks=tuple(Said(**remark(said)) for said in half.remarks),
        note=half.note,
        headers=half.headers,
        summary=_summary(exchange) if first else None,
    )
    if half.canonical is not None:
        if frame_of(half.canonical) and b"\n" not in half.canonical:
            meta.canonical = msgspec.Raw(half.canonical)
        else:
            meta.canonicalBase64 = b64encode(half.canonical).decode()
    return meta


def _summary(exchange: Exchange) -> Summary:
    return Summary(
        iso(exchange.at),
        exchange.action,
        exchange.outcome,
        exchange.latency,
        exchange.connector,
        exchange.transaction,
        exchange.findings,
    )

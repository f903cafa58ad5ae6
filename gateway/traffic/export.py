"""Exchanges as JSON lines: one object a line, for other programs."""

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from gateway.traffic.exchanges import Exchange, Finding, Half, Leg
from gateway.traffic.frames import one_line
from gateway.traffic.timeline import Step, timeline

_encoder = msgspec.json.Encoder()

# What JSON may carry as it is and a terminal would obey: DEL, C1 controls, separators of lines, marks that turn text.
_UNTAME = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def lines(exchanges: Iterable[Exchange]) -> Iterator[bytes]:
    """One line for each exchange, with its end."""
    return (line(as_object(exchange)) for exchange in exchanges)


def line(value: object) -> bytes:
    """The value as one line of JSON that is harmless to a terminal."""
    text: bytes = _encoder.encode(value)
    if not text.isascii() or b"\x7f" in text:
        text = _UNTAME.sub(lambda found: f"\\u{ord(found[0]):04x}", text.decode()).encode()
    return text + b"\n"


def as_object(exchange: Exchange) -> dict[str, Any]:
    """The exchange as JSON names it."""
    return {
        "id": exchange.id,
        "name": exchange.name,
        "at": iso(exchange.at),
        "charger": exchange.charger,
        "tenant": exchange.tenant or None,
        "action": exchange.action,
        "direction": "up" if exchange.up else "down",
        "outcome": exchange.outcome,
        "ok": exchange.ok,
        "latencyMs": milliseconds(exchange.latency),
        "connector": exchange.connector,
        "transaction": exchange.transaction,
        "legs": [_leg(leg) for leg in exchange.legs],
        "timeline": [_step(step) for step in timeline(exchange)],
        "findings": [_finding(finding) for finding in exchange.findings],
    }


def _leg(leg: Leg) -> dict[str, Any]:
    return {
        "name": leg.name,
        "attempt": leg.attempt,
        "direction": "in" if leg.inward else "out",
        "wire": leg.wire,
        "version": leg.version,
        "peer": leg.peer,
        "outcome": leg.outcome,
        "refused": leg.refused,
        "latencyMs": milliseconds(leg.latency),
        "call": None if leg.call is None else _half(leg, leg.call, refused=leg.refused),
        "answer": None if leg.answer is None else _half(leg, leg.answer),
    }


def _half(leg: Leg, half: Half, *, refused: bool = False) -> dict[str, Any]:
    frame = frame_of(leg, half, refused=refused)
    return {
        "at": iso(half.at),
        "messageId": half.message_id,
        **_raw(half.raw),
        "canonical": None if frame is None else msgspec.Raw(frame),
        "remarks": half.remarks,
        "headers": dict(half.headers),
        "note": half.note,
    }


def frame_of(leg: Leg, half: Half, *, refused: bool = False) -> bytes | None:
    """The canonical frame on one line; where the raw text is the frame itself, that one."""
    if half.canonical is not None:
        return half.canonical
    return one_line(half.raw) if leg.wire == "json" and not refused else None


def _raw(raw: bytes) -> dict[str, str]:
    try:
        return {"raw": raw.decode()}
    except UnicodeDecodeError:
        return {"rawBase64": b64encode(raw).decode()}


def _step(step: Step) -> dict[str, Any]:
    return {
        "step": step.step,
        "leg": step.leg.name,
        "attempt": step.leg.attempt,
        "at": iso(step.half.at),
        "latencyMs": milliseconds(step.latency),
    }


def _finding(finding: Finding) -> dict[str, Any]:
    return finding._asdict()


def milliseconds(seconds: float | None) -> float | None:
    """To the microsecond."""
    return None if seconds is None else round(seconds * 1000, 3)


def iso(at: float) -> str:
    """ISO 8601 in UTC with milliseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

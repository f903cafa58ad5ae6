"""Messages as JSON lines: one object a line, for other programs."""

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from gateway.traffic.row import Row

_DIRECTIONS = {"<": "in", ">": "out"}
_encoder = msgspec.json.Encoder()

# What JSON may carry as it is and a terminal would obey: DEL, C1 controls, separators of lines, marks that turn text.
_UNTAME = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")


def lines(rows: Iterable[Row]) -> Iterator[bytes]:
    """One line for each message, with its end."""
    return (line(as_object(row)) for row in rows)


def line(value: object) -> bytes:
    """The value as one line of JSON that is harmless to a terminal."""
    text: bytes = _encoder.encode(value)
    if not text.isascii() or b"\x7f" in text:
        text = _UNTAME.sub(lambda found: f"\\u{ord(found[0]):04x}", text.decode()).encode()
    return text + b"\n"


def as_object(row: Row) -> dict[str, Any]:
    """The message as JSON names it."""
    frame = row.frame
    return {
        "id": row.id,
        "at": iso(row.at),
        "exchange": row.exchange,
        "charger": row.charger,
        "tenant": row.tenant or None,
        "leg": row.leg,
        "direction": _DIRECTIONS.get(row.direction, row.direction),
        "wire": row.wire,
        "version": row.version,
        "kind": row.kind,
        "action": row.action,
        "messageId": row.message_id,
        **_raw(row.raw),
        "canonical": None if frame is None else msgspec.Raw(frame),
        "remarks": row.remarks,
        "outcome": row.outcome,
        "latencyMs": None if row.latency is None else round(row.latency * 1000, 3),
        "peer": row.peer,
        "note": row.note,
    }


def _raw(raw: bytes) -> dict[str, str]:
    try:
        return {"raw": raw.decode()}
    except UnicodeDecodeError:
        return {"rawBase64": b64encode(raw).decode()}


def iso(at: float) -> str:
    """ISO 8601 in UTC with milliseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

"""Our own JSON export read back: an object a line for each exchange, its legs and their messages inside."""

from base64 import b64decode
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from gateway.traffic.exchanges import Exchange, Finding, Half, Leg
from gateway.traffic.formats import wild
from gateway.traffic.formats.trace import NOTHING, Said
from gateway.traffic.frames import number, one_line
from gateway.traffic.imports.found import within
from translations.messages import Kind, Remark


class _Half(msgspec.Struct, rename="camel"):
    at: str | float
    raw: str | None = None
    raw_base64: str | None = None
    canonical: msgspec.Raw = NOTHING
    message_id: str | None = None
    remarks: tuple[Said, ...] | None = ()
    note: str | None = None
    headers: dict[str, str] | tuple[tuple[str, str], ...] | None = None


class _Leg(msgspec.Struct, rename="camel"):
    name: str
    direction: Literal["in", "out"]
    wire: str = ""
    version: str = ""
    peer: str | None = None
    call: _Half | None = None
    answer: _Half | None = None
    outcome: str | None = None
    refused: bool = False
    latency_ms: float | None = None
    attempt: int = 1


class _Finding(msgspec.Struct):
    rule: str
    severity: str
    text: str


class _Exchange(msgspec.Struct, rename="camel"):
    name: str
    at: str | float
    legs: list[_Leg]
    charger: str | None = None
    tenant: str | None = None
    action: str | None = None
    direction: Literal["up", "down"] = "up"
    outcome: str | None = None
    latency_ms: float | None = None
    connector: int | None = None
    transaction: int | None = None
    findings: tuple[_Finding, ...] | None = ()


_DECODER = msgspec.json.Decoder(_Exchange)


def exchange_of(text: bytes) -> Exchange | None:
    """The exchange of a line; None if it is none."""
    try:
        read = _DECODER.decode(text)
        return Exchange(
            0,
            read.name,
            _at(read.at),
            read.charger or "",
            read.tenant or "",
            read.action or "",
            read.direction == "up",
            read.outcome or "",
            _seconds(read.latency_ms),
            number(read.connector),
            number(read.transaction),
            [_leg(leg) for leg in read.legs],
            tuple(Finding(found.rule, found.severity, found.text) for found in read.findings or ()),
        )
    except (ValueError, OverflowError, RecursionError):
        return None


def _leg(read: _Leg) -> Leg:
    return Leg(
        read.name,
        read.direction == "in",
        read.wire,
        read.version,
        read.peer or "",
        _half(read.call, read.wire),
        _half(read.answer, read.wire),
        read.outcome or "",
        read.refused,
        _seconds(read.latency_ms),
        number(read.attempt) or 1,
    )


def _half(read: _Half | None, wire: str) -> Half | None:
    if read is None:
        return None
    headers: Any = read.headers.items() if isinstance(read.headers, dict) else read.headers or ()
    raw = b64decode(read.raw_base64, validate=True) if read.raw_base64 else (read.raw or "").encode("utf-8", "surrogatepass")
    return Half(
        _at(read.at),
        raw,
        _canonical(bytes(read.canonical), raw, wire),
        read.message_id or "",
        tuple(Remark(Kind(said.kind), said.path, said.detail, said.rule) for said in read.remarks or ()),
        read.note or "",
        tuple(headers),
    )


def _canonical(told: bytes, raw: bytes, wire: str) -> bytes | None:
    """The frame that was understood; None where none is told, or the raw text is the frame itself."""
    frame = wild(told)
    return None if frame in (b"", b"null") or (wire == "json" and frame == one_line(raw)) else frame


def _at(told: str | float) -> float:
    if not isinstance(told, str):
        return within(told)
    at = datetime.fromisoformat(told)
    return within((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())


def _seconds(millis: float | None) -> float | None:
    return None if millis is None else millis / 1000

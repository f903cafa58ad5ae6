"""Exchanges in the formats of other tools. What is written here is already redacted, and written as a stream."""

import re
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from gateway.traffic.exchanges import Exchange, Half, Leg
from gateway.traffic.record import CHARGER_LEG
from translations.messages import Remark

_ENCODER = msgspec.json.Encoder(decimal_format="number")

# What JSON may carry as it is and a terminal would obey: DEL, C1 controls, separators of lines, marks that turn text.
_UNTAME = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_ESCAPE = re.compile(rb"\\(?:u([0-9a-f]{4})|.)")
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def line(value: Any) -> bytes:
    """The value as JSON on one line, without its end, harmless to a terminal. Half a surrogate pair becomes `?`."""
    try:
        text: bytes = _ENCODER.encode(value)
    except UnicodeEncodeError:
        text = _ENCODER.encode(_sayable(value))
    if text.isascii() and b"\x7f" not in text:
        return text
    return _UNTAME.sub(lambda found: f"\\u{ord(found[0]):04x}", text.decode("utf-8", "replace")).encode()


def wild(text: bytes) -> bytes:
    """JSON as it was before `line` escaped what a terminal would obey."""

    def restored(found: re.Match[bytes]) -> bytes:
        char = chr(int(found[1], 16)) if found[1] else ""
        return char.encode() if char and _UNTAME.match(char) else found[0]

    return _ESCAPE.sub(restored, text) if b"\\u" in text else text


def _sayable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_sayable(key): _sayable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return tuple(_sayable(item) for item in value)
    if isinstance(value, msgspec.Struct):
        return type(value)(*(_sayable(getattr(value, name)) for name in value.__struct_fields__))
    return value


def visible(text: str) -> str:
    """Text whose control characters are written out; tabs and line feeds stay."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def as_text(raw: bytes) -> tuple[str, bool]:
    """Bytes as text, and whether it is base64 because they are not UTF-8."""
    try:
        return raw.decode(), False
    except UnicodeDecodeError:
        return b64encode(raw).decode(), True


def iso(at: float) -> str:
    """ISO 8601 in UTC with microseconds."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def halves(leg: Leg) -> Iterator[tuple[Half, bool]]:
    """The messages of a leg in order, each with whether it is the answer."""
    if leg.call is not None:
        yield leg.call, False
    if leg.answer is not None:
        yield leg.answer, True


def said(remark: Remark) -> str:
    """A remark on one line."""
    return f"{remark.kind} {remark.path or '-'}: {remark.detail} ({remark.rule})"


def to_csms(exchange: Exchange, is_answer: bool) -> bool:
    """Whether a message goes from the charger's side to the central system's."""
    return exchange.up is not is_answer


def posted_by_peer(leg: Leg) -> bool:
    """Who opens the connection of a leg: over SOAP who calls, over WebSocket the charger, and the gateway towards backends."""
    return leg.inward if leg.wire == "soap" else leg.name == CHARGER_LEG

"""Frames and texts as the log keeps them: whatever a peer has said, they can be written, searched and read back."""

import json

import msgspec

_LONG = 2**63

_encoder = msgspec.json.Encoder(decimal_format="number", enc_hook=str)
_frames = msgspec.json.Decoder(list[msgspec.Raw])


def printable(value: str) -> str:
    """A lone surrogate, which JSON can carry and no file can, becomes its escape."""
    return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()


def number(value: object) -> int | None:
    """A whole number that a column can hold."""
    return value if type(value) is int and -_LONG <= value < _LONG else None


def encoded(value: object) -> bytes | None:
    """The value as JSON on one line; None of what is no JSON at all."""
    try:
        text: bytes = _encoder.encode(value)
        if b"NaN" not in text and b"Infinity" not in text:  # decimals that are no JSON numbers
            return text
    except (ValueError, TypeError, RecursionError):
        pass
    return _odd(value)


def _odd(value: object) -> bytes | None:
    """Slower and more forgiving: what JSON does not know as text, lone surrogates as question marks."""
    try:
        plain = msgspec.to_builtins(value, enc_hook=str, str_keys=True)
        text = json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (ValueError, TypeError, RecursionError):
        return None
    return text.encode("utf-8", "replace")


def parts(frame: bytes) -> list[msgspec.Raw] | None:
    """The members of a frame, unread; None where it is none."""
    try:
        return _frames.decode(frame) or None
    except (ValueError, RecursionError):  # what msgspec raises are ValueErrors
        return None


def one_line(raw: bytes) -> bytes | None:
    """A frame without the white space between its values; None where it is none."""
    try:
        raw.decode()
        _frames.decode(raw)
        return msgspec.json.format(raw, indent=-1)
    except (ValueError, RecursionError):
        return None

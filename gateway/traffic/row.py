"""One record as a row of the log's table, and back."""

import json
from typing import Any, NamedTuple

import msgspec

from gateway.traffic.record import Record
from translations.messages import Remark

COLUMNS = Record._fields

Cell = str | bytes | float | None

_encoder = msgspec.json.Encoder(decimal_format="number", enc_hook=str)
_remarks = msgspec.json.Decoder(tuple[Remark, ...])


class Row(NamedTuple):
    """A record as it is kept; `id` grows with every row and is never used twice."""

    id: int
    at: float
    exchange: str
    charger: str
    leg: str
    direction: str
    wire: str
    version: str
    kind: str
    action: str
    message_id: str
    raw: bytes
    canonical: str | None
    remarks: tuple[Remark, ...]
    outcome: str
    latency: float | None
    peer: str
    note: str
    tenant: str

    @property
    def failed(self) -> bool:
        """Whether it is an error, a refusal, or an answer that nobody waited for."""
        return self.kind in ("error", "refused") or self.outcome not in ("", "ok")

    @property
    def frame(self) -> bytes | None:
        """The canonical frame on one line; where the raw text is the frame itself, that one."""
        if self.canonical is not None:
            return self.canonical.encode()
        return _frame(self.raw) if self.wire == "json" and self.kind != "refused" else None


def _frame(raw: bytes) -> bytes | None:
    try:
        raw.decode()
        msgspec.json.decode(raw, type=list[msgspec.Raw])
        return msgspec.json.format(raw, indent=-1)
    except (ValueError, RecursionError):  # what msgspec and UTF-8 raise are ValueErrors
        return None


def to_columns(r: Record) -> tuple[Cell, ...]:
    """The record's values in the order of COLUMNS."""
    return (
        r.at,
        r.exchange,
        _text(r.charger),
        _text(r.leg),
        r.direction,
        r.wire,
        r.version,
        r.kind,
        _text(r.action),
        _text(r.message_id),
        r.raw,
        None if r.canonical is None else _json(r.canonical),
        _json(r.remarks) if r.remarks else None,
        r.outcome,
        r.latency,
        r.peer,
        _text(r.note) if r.note else "",
        r.tenant,
    )


def from_columns(values: tuple[Any, ...]) -> Row:
    """The row of an id and the values in the order of COLUMNS."""
    row = Row._make(values)
    text: Any = row.remarks
    return row._replace(remarks=_remarks.decode(text) if text else ())


def _text(value: str) -> str:
    """A lone surrogate, which JSON can carry and SQLite cannot, becomes its escape."""
    return value if value.isascii() else value.encode("utf-8", "backslashreplace").decode()


def _json(value: object) -> str | None:
    try:
        text = _encoder.encode(value).decode()
        if "NaN" not in text and "Infinity" not in text:  # decimals that are no JSON numbers
            return text
    except (ValueError, TypeError, RecursionError):
        pass
    return _odd_json(value)


def _odd_json(value: object) -> str | None:
    """Slower and more forgiving: what JSON does not know as text, lone surrogates as question marks."""
    try:
        plain = msgspec.to_builtins(value, enc_hook=str, str_keys=True)
        text = json.dumps(plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (ValueError, TypeError, RecursionError):
        return None
    return text.encode("utf-8", "replace").decode()

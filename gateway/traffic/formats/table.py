"""Exchanges as CSV by RFC 4180: a line for each leg, the same columns always, and no cell that a spreadsheet would compute."""

import csv
import io
from collections.abc import Iterable, Iterator

from gateway.traffic.exchanges import Exchange, Half, Leg
from gateway.traffic.formats import as_text, iso, said, visible

COLUMNS = (
    "time",
    "id",
    "exchange",
    "charger",
    "tenant",
    "direction",
    "action",
    "connector",
    "transaction",
    "leg",
    "wire",
    "version",
    "peer",
    "outcome",
    "refused",
    "latency_ms",
    "message_id",
    "note",
    "remarks",
    "findings",
    "call",
    "answer",
)
_COMPUTED = ("=", "+", "-", "@", "\t", "\r")
_BOM = b"\xef\xbb\xbf"

Cell = str | int | float | None


def lines(exchanges: Iterable[Exchange], *, bom: bool = False) -> Iterator[bytes]:
    """The names of the columns, then one line for each leg. With `bom` older spreadsheets know that it is UTF-8.

    `call` and `answer` are OCPP-J frames as they were understood, or else what was on the wire, after `base64:` if that is no
    UTF-8. Control characters are written out.
    """
    yield (_BOM if bom else b"") + _line(COLUMNS)
    for exchange in exchanges:
        for leg in exchange.legs:
            yield _line(_cells(exchange, leg))


def _line(cells: Iterable[Cell]) -> bytes:
    out = io.StringIO()
    csv.writer(out, lineterminator="\r\n").writerow([_harmless(cell) if isinstance(cell, str) else cell for cell in cells])
    return out.getvalue().encode("utf-8", "replace")


def _harmless(text: str) -> str:
    computed = text.startswith(("\t", "\r")) or text.lstrip().startswith(_COMPUTED)
    return ("'" if computed else "") + visible(text)


def _cells(exchange: Exchange, leg: Leg) -> tuple[Cell, ...]:
    call, answer = leg.call, leg.answer
    first = call or answer
    remarks = [said(remark) for half in (call, answer) if half for remark in half.remarks]
    return (
        iso(first.at if first else exchange.at),
        exchange.id or None,
        exchange.name,
        exchange.charger,
        exchange.tenant,
        "up" if exchange.up else "down",
        exchange.action,
        exchange.connector,
        exchange.transaction,
        leg.name,
        leg.wire,
        leg.version,
        leg.peer,
        leg.outcome,
        "yes" if leg.refused else "no",
        None if leg.latency is None else round(leg.latency * 1000, 3),
        call.message_id if call else "",
        "\n".join(half.note for half in (call, answer) if half and half.note),
        "\n".join(remarks),
        "\n".join(f"{finding.severity} {finding.rule}: {finding.text}" for finding in exchange.findings),
        _shown(call),
        _shown(answer),
    )


def _shown(half: Half | None) -> str:
    if half is None:
        return ""
    text, is_base64 = as_text(half.raw if half.canonical is None else half.canonical)
    return f"base64:{text}" if is_base64 else text

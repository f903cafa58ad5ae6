"""Messages as people read them in a terminal. What a peer sent is shown, and never obeyed by the terminal."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TextIO

import msgspec
from lxml import etree
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.traffic.export import iso
from gateway.traffic.query import Stats
from gateway.traffic.row import Row
from translations.messages import Remark

HEADINGS = ("id", "time", "", "charger", "leg", "wire", "action", "outcome", "latency", "remarks", "note")
_WHOLE = ("id", "time", "", "latency")  # what is not folded in a narrow terminal

# C0, DEL and C1 controls; lone surrogates; separators of lines; marks that turn the direction of text.
_UNTAME = re.compile("[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(text: str, keep: str = "") -> str:
    """The text with every character that a terminal would obey as its escape, but for those to keep."""
    return _UNTAME.sub(lambda found: found[0] if found[0] in keep else _escape(ord(found[0])), text)


def _escape(code: int) -> str:
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def screen(file: TextIO, terminal: bool | None = None) -> Console:
    """A console on the file: styled on a terminal, plain and without any bounds elsewhere."""
    terminal = file.isatty() if terminal is None else terminal
    return Console(file=file, force_terminal=terminal, markup=False, highlight=False, emoji=False)


def put(console: Console, text: Text) -> None:
    """Print the text as it is; past rich where it would expand tabs that a program wants to read."""
    if console.is_terminal:
        console.print(text, soft_wrap=True)
    else:
        console.file.write(f"{text.plain}\n")


def put_table(console: Console, headings: Sequence[str], rows: Iterable[Sequence[Text]]) -> None:
    """A table; off a terminal one line for each row, its cells parted by tabs."""
    if not console.is_terminal:
        for row in ([Text(h) for h in headings], *rows):
            put(console, Text("\t").join(row))
        return
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    for heading in headings:
        table.add_column(heading, no_wrap=heading in _WHOLE, overflow="fold")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def put_row(console: Console, row: Row) -> None:
    """One line for a message that has just come; on a terminal cut at its edge."""
    if console.is_terminal:
        console.print(Text("  ").join(c for c in cells(row) if c.plain), no_wrap=True, overflow="ellipsis", crop=True)
    else:
        put(console, Text("\t").join(cells(row)))


def cells(row: Row) -> list[Text]:
    """The message in the order of HEADINGS."""
    return [
        Text(str(row.id), "dim"),
        Text(_time(row)),
        Text(visible(row.direction), "bold"),
        Text(visible(row.charger)),
        Text(visible(row.leg)),
        Text(_wire(row)),
        Text(visible(row.action)),
        _outcome(row),
        Text(_milliseconds(row.latency)),
        Text(" ".join(r.kind for r in row.remarks), "yellow"),
        Text(visible(row.note)),
    ]


def _time(row: Row) -> str:
    return iso(row.at)


def _wire(row: Row) -> str:
    return visible(f"{row.wire} {row.version}".rstrip())


def _outcome(row: Row) -> Text:
    """Of a call, which has none, that it is one."""
    return Text(visible(row.outcome or row.kind), "red" if row.failed else "")


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else f"{seconds * 1000:.1f} ms"


def put_exchange(console: Console, rows: Sequence[Row]) -> None:
    """Every message: heading, raw text, canonical form below it, remarks."""
    first = rows[0]
    whose = f"  tenant {first.tenant}" if first.tenant else ""
    put(console, Text(visible(f"exchange {first.exchange}  charger {first.charger}{whose}"), "bold"))
    for row in rows:
        put(console, Text())
        for text in _message(row):
            put(console, text)


def _message(row: Row) -> Iterator[Text]:
    yield _heading(row)
    yield Text(raw_text(row.raw))
    if (frame := row.frame) is not None:
        yield Text(visible(msgspec.json.format(frame, indent=2).decode(), "\n"), "cyan")
    for remark in row.remarks:
        yield Text(_remark(remark), "yellow")
    if row.note:
        yield Text(f"note: {visible(row.note)}", "red" if row.failed else "")


def _heading(row: Row) -> Text:
    parts = (
        Text(_time(row)),
        Text(visible(row.direction)),
        Text(visible(row.leg)),
        Text(_wire(row)),
        Text(visible(row.action)),
        _outcome(row),
        Text(_milliseconds(row.latency)),
    )
    heading = Text("  ").join(p for p in parts if p.plain)
    heading.stylize("bold")
    return heading


def _remark(remark: Remark) -> str:
    return visible(f"{remark.kind} {remark.path}: {remark.detail} ({remark.rule})")


def raw_text(raw: bytes) -> str:
    """What was on the wire; XML with its elements on lines of their own."""
    text = _pretty(raw)
    if text is None:
        text = raw.decode("utf-8", "backslashreplace")
    return visible(text, "\n\t").rstrip("\n")


def _pretty(raw: bytes) -> str | None:
    # A DOCTYPE is not parsed, not even to be shown; the scan is sound because every other encoding fails to parse.
    if not raw.lstrip().startswith(b"<") or b"<!DOCTYPE" in raw:
        return None
    try:
        return etree.tostring(etree.fromstring(raw, _parser()), encoding="unicode", pretty_print=True)
    except (etree.XMLSyntaxError, ValueError):
        return None


def _parser() -> etree.XMLParser:
    return etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        huge_tree=False,
        load_dtd=False,
        remove_blank_text=True,
    )


def put_stats(console: Console, found: Stats) -> None:
    """What passed, in three tables."""
    span = f", {iso(found.first)} to {iso(found.last)}" if found.first is not None and found.last is not None else ""
    put(console, Text(f"{found.messages} messages{span}"))
    counts = [(c.leg, c.action, c.outcome or "call", str(c.messages)) for c in found.counts]
    remarks = [(r.kind, r.rule, str(r.remarks)) for r in found.remarks]
    latencies = [(x.leg, x.action, str(x.answers), _milliseconds(x.p50), _milliseconds(x.p99)) for x in found.latencies]
    _put_section(console, ("leg", "action", "outcome", "messages"), counts)
    _put_section(console, ("remark", "rule", "times"), remarks)
    _put_section(console, ("leg", "action", "answers", "p50", "p99"), latencies)


def _put_section(console: Console, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if rows:
        put(console, Text())
        put_table(console, headings, [[Text(visible(cell)) for cell in row] for row in rows])

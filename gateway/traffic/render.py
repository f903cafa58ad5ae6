"""Exchanges as people read them in a terminal. What a peer sent is shown, and never obeyed by the terminal."""

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TextIO

from lxml import etree
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.traffic.exchanges import OK, PENDING, Exchange, Leg
from gateway.traffic.export import iso
from gateway.traffic.log import Stats
from gateway.traffic.stories import Event
from translations.messages import Remark

HEADINGS = ("id", "time", "", "charger", "action", "outcome", "latency", "legs", "remarks", "findings", "note")
_ALWAYS = ("id", "time", "", "charger", "action", "outcome")
_NARROW = 120  # columns
_GRAVITY = {"note": 1, "warning": 2, "error": 3}
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


def put_exchanges(console: Console, exchanges: Iterable[Exchange]) -> None:
    """A table of them; on a terminal without columns in which nothing stands, and in a narrow one without the year."""
    rows = [cells(exchange) for exchange in exchanges]
    if not console.is_terminal:
        put_table(console, HEADINGS, rows)
        return
    shown = [n for n, heading in enumerate(HEADINGS) if heading in _ALWAYS or any(row[n].plain for row in rows)]
    if console.width < _NARROW:
        for row in rows:
            row[1] = Text(row[1].plain[5:-1].replace("T", " "))
    put_table(console, [HEADINGS[n] for n in shown], [[row[n] for n in shown] for row in rows])


def put_row(console: Console, exchange: Exchange) -> None:
    """One line for an exchange that has just come; on a terminal cut at its edge."""
    if console.is_terminal:
        line = Text("  ").join(c for c in cells(exchange) if c.plain)
        console.print(line, no_wrap=True, overflow="ellipsis", crop=True)
    else:
        put(console, Text("\t").join(cells(exchange)))


def put_event(console: Console, event: Event) -> None:
    """One line of a story."""
    text = Text(visible(event.text), severity_style(event.severity) if event.severity else "")
    parts = [Text(iso(event.at), "dim"), Text(str(event.exchange), "dim"), Text(visible(event.charger), "bold"), text]
    if console.is_terminal:
        console.print(Text("  ").join(part for part in parts if part.plain), soft_wrap=True)
    else:
        put(console, Text("\t").join(parts))


def cells(exchange: Exchange) -> list[Text]:
    """The exchange in the order of HEADINGS."""
    return [
        Text(str(exchange.id), "dim"),
        Text(iso(exchange.at)),
        Text("<" if exchange.up else ">", "bold"),
        Text(visible(exchange.charger)),
        Text(visible(exchange.action)),
        outcome_text(exchange.outcome),
        Text(milliseconds(exchange.latency)),
        Text(", ".join(map(_leg, exchange.legs))),
        Text(" ".join(dict.fromkeys(r.kind for leg in exchange.legs for r in _remarks(leg))), "yellow"),
        _findings(exchange),
        Text(visible(next(filter(None, map(_note, exchange.legs)), ""))),
    ]


def failed(outcome: str) -> bool:
    """Whether it is an error, a refusal, or an answer that nobody waited for."""
    return outcome not in (PENDING, OK)


def _leg(leg: Leg) -> str:
    """Its name and wire, and how it ended where that was no success."""
    return visible(" ".join(filter(None, (leg.name, leg.wire, leg.version, leg.outcome if failed(leg.outcome) else ""))))


def _remarks(leg: Leg) -> Iterator[Remark]:
    return (remark for half in (leg.call, leg.answer) if half is not None for remark in half.remarks)


def _note(leg: Leg) -> str:
    return next((half.note for half in (leg.answer, leg.call) if half is not None and half.note), "")


def _findings(exchange: Exchange) -> Text:
    found = sorted(exchange.findings, key=lambda finding: _GRAVITY.get(finding.severity, 0), reverse=True)
    rules = dict.fromkeys(visible(finding.rule) for finding in found)
    return Text(" ".join(rules), severity_style(found[0].severity) if found else "")


def severity_style(severity: str) -> str:
    """How a finding is coloured."""
    return {"warning": "yellow", "error": "red"}.get(severity, "magenta")


def outcome_text(outcome: str) -> Text:
    """How it ended, for people."""
    return Text(visible(outcome or "no answer"), "red" if failed(outcome) else "" if outcome else "dim")


def milliseconds(seconds: float | None) -> str:
    """A latency, for people; nothing where there is none."""
    return "" if seconds is None else f"{seconds * 1000:.1f} ms"


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
    put(console, Text(f"{found.exchanges} exchanges{span}"))
    counts = [(c.leg, c.action, c.outcome or "no answer", str(c.calls)) for c in found.counts]
    remarks = [(r.kind, r.rule, str(r.remarks)) for r in found.remarks]
    latencies = [(x.leg, x.action, str(x.answers), milliseconds(x.p50), milliseconds(x.p99)) for x in found.latencies]
    _put_section(console, ("leg", "action", "outcome", "calls"), counts)
    _put_section(console, ("remark", "rule", "times"), remarks)
    findings = [(f.severity, f.rule, str(f.findings)) for f in found.findings]
    _put_section(console, ("leg", "action", "answers", "p50", "p99"), latencies)
    _put_section(console, ("severity", "rule", "exchanges"), findings)


def _put_section(console: Console, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if rows:
        put(console, Text())
        put_table(console, headings, [[Text(visible(cell)) for cell in row] for row in rows])

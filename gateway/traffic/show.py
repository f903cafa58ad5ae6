"""One exchange for people: its timeline, and each leg with what was said beside what was understood, remarks at their fields."""

import re
from collections.abc import Iterable, Iterator

import msgspec
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from gateway.traffic.exchanges import Exchange, Half, Leg
from gateway.traffic.export import frame_of, iso
from gateway.traffic.render import failed, milliseconds, outcome_text, put, raw_text, severity_style, visible
from gateway.traffic.timeline import ANSWERED, RECEIVED, Step, timeline
from translations.messages import Remark

WIDE = 120  # columns from which on both texts stand side by side

_KEY = re.compile(r'\s*("(?:[^"\\]|\\.)*"): ')
_PAYLOAD = {"2": 3, "3": 2, "4": 4}  # where it stands in a frame, by the frame's first item

Steps = tuple[str | int, ...]


def put_exchange(console: Console, exchange: Exchange) -> None:
    """All of it; side by side where the terminal is wide."""
    for part in parts(exchange, wide=console.is_terminal and console.width >= WIDE):
        if isinstance(part, Text):
            put(console, part)
        else:
            console.print(part)


def parts(exchange: Exchange, *, wide: bool) -> Iterator[RenderableType]:
    """What is to be shown, from top to bottom. Nothing in it is obeyed by a terminal or read as markup."""
    yield _title(exchange)
    yield from (_step(step, exchange.at) for step in timeline(exchange))
    for finding in exchange.findings:
        yield Text(visible(f"{finding.severity}: {finding.text} ({finding.rule})"), severity_style(finding.severity))
    for leg in exchange.legs:
        yield Text()
        yield _leg(leg)
        for half, is_answer in ((leg.call, False), (leg.answer, True)):
            if half is not None:
                yield from _half(leg, half, is_answer, wide)


# --- the lines ---------------------------------------------------------------------------------------------------------


def _title(exchange: Exchange) -> Text:
    facts = [f"exchange {exchange.id}  {exchange.name}".rstrip(), f"charger {exchange.charger}".rstrip()]
    facts += [f"tenant {exchange.tenant}"] if exchange.tenant else []
    facts += [exchange.action] if exchange.action else []
    facts += [f"connector {exchange.connector}"] if exchange.connector is not None else []
    facts += [f"transaction {exchange.transaction}"] if exchange.transaction is not None else []
    heading = Text(visible("  ".join(facts)), "bold")
    ended = (outcome_text(exchange.outcome), Text(milliseconds(exchange.latency)))
    return Text("  ").join(part for part in (heading, *ended) if part.plain)


def _step(step: Step, begun: float) -> Text:
    came = step.step in (RECEIVED, ANSWERED)
    cells = (
        iso(step.half.at),
        f"+{max(step.half.at - begun, 0) * 1000:.1f} ms".rjust(12),
        "<" if came else ">",
        step.step.ljust(8),
        visible(step.leg.name) + (f" (attempt {step.leg.attempt})" if step.leg.attempt > 1 else ""),
        "" if step.latency is None else f"after {milliseconds(step.latency)}",
    )
    return Text("  ".join(cells).rstrip())


def _leg(leg: Leg) -> Text:
    facts = [leg.name, f"{leg.wire} {leg.version}".rstrip(), leg.peer, f"attempt {leg.attempt}" if leg.attempt > 1 else ""]
    heading = Text(visible("  ".join(filter(None, facts))), "bold")
    ended = (Text("refused", "red") if leg.refused else Text(), outcome_text(leg.outcome), Text(milliseconds(leg.latency)))
    return Text("  ").join(part for part in (heading, *ended) if part.plain)


def _half(leg: Leg, half: Half, is_answer: bool, wide: bool) -> Iterator[RenderableType]:
    came = leg.inward is not is_answer
    yield Text(visible(f"{'<' if came else '>'} {'answer' if is_answer else 'call'}  {iso(half.at)}  {half.message_id}").rstrip())
    if half.headers:
        yield Text(visible("  ".join(f"{name}: {value}" for name, value in half.headers)), "dim")
    frame = pretty(frame_of(leg, half, refused=leg.refused and not is_answer))
    understood, elsewhere = remarked(frame or "", half.remarks)
    yield from (Text(_remark(remark), "yellow") for remark in elsewhere)
    if half.note:
        yield Text(f"note: {visible(half.note)}", "red" if failed(leg.outcome) else "")
    raw = Text(raw_text(half.raw))
    if frame is None:
        yield raw
    elif half.canonical is None:
        yield understood
    else:
        yield from _both(raw, understood, wide)


def _both(raw: Text, understood: Text, wide: bool) -> Iterator[RenderableType]:
    if not wide:
        yield raw
        yield understood
        return
    beside = Table.grid(padding=(0, 2, 0, 0), expand=True)
    beside.add_column(ratio=1, overflow="fold")
    beside.add_column(ratio=1, overflow="fold")
    beside.add_row(raw, understood)
    yield beside


def _remark(remark: Remark) -> str:
    return visible(f"{remark.kind} {remark.path}: {remark.detail} ({remark.rule})")


# --- remarks at their fields -------------------------------------------------------------------------------------------


def pretty(frame: bytes | None) -> str | None:
    """The frame on many lines; None where it is none."""
    if frame is None:
        return None
    try:
        return msgspec.json.format(frame, indent=2).decode()
    except (ValueError, RecursionError):
        return None


def remarked(frame: str, remarks: Iterable[Remark]) -> tuple[Text, list[Remark]]:
    """The lines of the frame, each with the remarks on its field beside it; and the remarks on what is not in it."""
    left: dict[str, list[Remark]] = {}
    for remark in remarks:
        left.setdefault(remark.path, []).append(remark)
    payload = _PAYLOAD.get(frame[1:].lstrip()[:1], 0)
    text = Text(style="cyan")
    for number, (path, line) in enumerate(placed(frame)):
        text.append("\n" if number else "").append(visible(line))
        if path[:1] == (payload,):
            for remark in left.pop(path_text(path[1:]), ()) if len(path) > 1 else ():
                text.append(visible(f"  <-- {remark.kind}: {remark.detail} ({remark.rule})"), "yellow")
    return text, [remark for some in left.values() for remark in some]


def placed(frame: str) -> Iterator[tuple[Steps, str]]:
    """Each line of formatted JSON, with the path of the value that begins or ends there."""
    path: list[str | int] = []
    for line in frame.split("\n"):
        said = line.strip().rstrip(",")
        if said in ("}", "]") and path:
            path.pop()
        elif path:
            here = path[-1]
            path[-1] = here + 1 if isinstance(here, int) else _key(line)
        yield (tuple(path) if said not in ("}", "]") else ()), line
        if said.endswith(("{", "[")):
            path.append("" if said.endswith("{") else -1)


def _key(line: str) -> str:
    found = _KEY.match(line)
    try:
        return "" if found is None else msgspec.json.decode(found[1], type=str)
    except ValueError:
        return ""


def path_text(steps: Steps) -> str:
    """A path as remarks write it: `meterValue[0].timestamp`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps).removeprefix(".")

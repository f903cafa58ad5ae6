"""Replays and differences as people and programs see them. What is hidden of messages is hidden here too."""

from collections.abc import Iterable, Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.redaction.redactor import Redactor
from gateway.replay import spoken
from gateway.replay.diff import ADDED, GONE, REMOVED, Change, at, written
from gateway.replay.plan import LeftOut, Plan, Step
from gateway.replay.player import Commands
from gateway.replay.sessions import Row, normal
from gateway.replay.verdicts import Played, Verdict
from gateway.traffic.exchanges import Exchange
from gateway.traffic.export import iso
from gateway.traffic.render import milliseconds, put, put_table, visible

PLAYED = ("id", "time", "charger", "action", "verdict", "recorded", "now", "differences")
PLANNED = ("id", "time", "charger", "action", "transaction", "recorded answer")
COMMANDS = ("charger", "command", "expected", "seen")
CHANGES = ("", "path", "before", "after")
SESSIONS = ("left", "seconds", "", "action", "right", "seconds", "differences")
WIDE = 100  # columns from which on two values stand side by side
HIDDEN = "(hidden)"

_STYLES = {Verdict.SAME: "green", Verdict.DIFFERENT: "yellow", Verdict.ERROR: "red", Verdict.NEW: "cyan"}
_SIGNS = {ADDED: ("+", "green"), REMOVED: ("-", "red")}
_ENCODER = msgspec.json.Encoder(decimal_format="number")


def hidden(changes: Iterable[Change], before: Any, after: Any) -> list[Change]:
    """The changes with their values as they stand in what may be shown of both sides."""
    return [
        change._replace(
            before=None if change.kind == ADDED else _told(at(before, change.path)),
            after=None if change.kind == REMOVED else _told(at(after, change.there)),
        )
        for change in changes
    ]


def _told(value: Any) -> Any:
    return HIDDEN if value is GONE else value


def json_of(value: Any) -> str:
    """A value on one line."""
    return _ENCODER.encode(value).decode()


# --- a replay -------------------------------------------------------------------------------------------------------------


class ReplayView:
    """What may be told of the calls of one replay."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def changes(self, played: Played) -> list[Change]:
        """What differs between the recorded answer and that which came."""
        sides = [
            self._redactor.value(spoken.answer_value(each), played.step.call.action)
            for each in (played.step.answer, played.answer)
        ]
        return hidden(played.changes, *sides)

    def cells(self, played: Played) -> list[Text]:
        """The call in the order of PLAYED."""
        step = played.step
        told = "; ".join(map(change_text, self.changes(played))) or self._redactor.text(played.note)
        if played.verdict is Verdict.DIFFERENT and played.note:
            told = f"{told} ({self._redactor.text(played.note)})"
        return [
            *_whose(step),
            Text(played.verdict, _STYLES[played.verdict]),
            Text(milliseconds(step.exchange.latency)),
            Text(milliseconds(played.latency)),
            Text(visible(told)),
        ]

    def as_object(self, played: Played) -> dict[str, Any]:
        """The call as JSON names it."""
        latency, recorded = played.latency, played.step.exchange.latency
        return {
            **self._facts(played.step),
            "verdict": played.verdict,
            "recordedLatencyMs": None if recorded is None else round(recorded * 1000, 3),
            "latencyMs": None if latency is None else round(latency * 1000, 3),
            "sent": self._hidden(played.sent.payload if played.sent else None, played),
            "answer": self._hidden(spoken.answer_value(played.answer) if played.answer else None, played),
            "changes": [change_object(change) for change in self.changes(played)],
            "note": self._redactor.text(played.note),
        }

    def _hidden(self, value: Any, played: Played) -> Any:
        return self._redactor.value(value, played.step.call.action)

    def planned(self, step: Step) -> list[Text]:
        """What would be played, in the order of PLANNED."""
        said = step.call.payload.get("transactionId", "new" if step.grants is not None else "")
        outcome = spoken.answer_value(step.answer)[spoken.OUTCOME] or "none"
        return [*_whose(step), Text(visible(str(said))), Text(visible(outcome))]

    def planned_object(self, step: Step) -> dict[str, Any]:
        """What would be played, as JSON names it."""
        payloads = self._redactor.value([step.call.payload, spoken.answer_value(step.answer)], step.call.action)
        return {**self._facts(step), "payload": payloads[0], "recorded": payloads[1]}

    def _facts(self, step: Step) -> dict[str, Any]:
        exchange = step.exchange
        return {
            "id": exchange.id or None,
            "name": exchange.name,
            "at": iso(exchange.at),
            "charger": exchange.charger,
            "action": step.call.action,
        }


def _whose(step: Step) -> list[Text]:
    exchange = step.exchange
    facts = (str(exchange.id or exchange.name), iso(exchange.at), exchange.charger, step.call.action)
    return [Text(visible(each)) for each in facts]


def put_rest(console: Console, plan: Plan, commands: Sequence[Commands]) -> None:
    """Which commands came, and what was not played."""
    if commands:
        put(console, Text())
        rows = [(each.charger, each.action, str(each.expected), str(each.seen)) for each in commands]
        put_table(console, COMMANDS, [[Text(visible(cell)) for cell in row] for row in rows])
    if plan.left_out:
        put(console, Text())
        for reason, count in _counted(plan.left_out).items():
            put(console, Text(visible(f"left out: {count}, {reason}"), "dim"))


def _counted(left_out: Iterable[LeftOut]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for each in left_out:
        counts[each.reason] = counts.get(each.reason, 0) + 1
    return counts


def summary(counts: dict[Verdict, int], plan: Plan, commands: Sequence[Commands]) -> dict[str, Any]:
    """All of a replay, as JSON names it."""
    return {
        **{verdict.value: counts.get(verdict, 0) for verdict in Verdict},
        "commands": [each._asdict() for each in commands],
        "leftOut": [
            {"id": each.exchange.id or None, "name": each.exchange.name, "reason": each.reason} for each in plan.left_out
        ],
    }


# --- differences ----------------------------------------------------------------------------------------------------------


def change_text(change: Change) -> str:
    """One change in a line."""
    where = written(change.path) or "all"
    if change.kind == ADDED:
        return f"{where}: + {json_of(change.after)}"
    if change.kind == REMOVED:
        return f"{where}: - {json_of(change.before)}"
    return f"{where}: {json_of(change.before)} -> {json_of(change.after)}"


def change_object(change: Change) -> dict[str, Any]:
    """One change as JSON names it."""
    sides: dict[str, Any] = {} if change.kind == ADDED else {"before": change.before}
    if change.kind != REMOVED:
        sides["after"] = change.after
    return {
        "kind": change.kind,
        "path": written(change.path),
        **({"there": written(change.there)} if _moved(change) else {}),
        **sides,
    }


def _moved(change: Change) -> bool:
    return change.path != change.there


def put_changes(console: Console, changes: Sequence[Change], before: Any, after: Any, names: tuple[str, str]) -> None:
    """Both values side by side where the terminal is wide, and the changes one by one."""
    if console.is_terminal and console.width >= WIDE:
        console.print(_beside(before, after, names))
        put(console, Text())
    put_table(console, CHANGES, map(_change_cells, changes))


def _change_cells(change: Change) -> list[Text]:
    sign, style = _SIGNS.get(change.kind, ("~", "yellow"))
    sides = ("" if change.kind == ADDED else json_of(change.before), "" if change.kind == REMOVED else json_of(change.after))
    left, right = (visible(side) for side in sides)
    return [Text(sign, style), Text(visible(written(change.path))), Text(left, "red"), Text(right, "green")]


def _beside(before: Any, after: Any, names: tuple[str, str]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0), expand=True)
    for name in names:
        table.add_column(Text(visible(name)), overflow="fold", ratio=1)
    left, right = _lines(before), _lines(after)
    for kind, i, k, j, m in SequenceMatcher(None, left, right, autojunk=False).get_opcodes():
        same = kind == "equal"
        for n in range(max(k - i, m - j)):
            one = left[i + n] if i + n < k else ""
            other = right[j + n] if j + n < m else ""
            table.add_row(Text(one, "" if same else "red"), Text(other, "" if same else "green"))
    return table


def _lines(value: Any) -> list[str]:
    return [visible(line) for line in msgspec.json.format(_ENCODER.encode(value), indent=2).decode().splitlines()]


# --- two sessions ---------------------------------------------------------------------------------------------------------


class SessionView:
    """What may be told of two sessions beside each other."""

    def __init__(self, redactor: Redactor, left: Sequence[Exchange], right: Sequence[Exchange]) -> None:
        self._starts = [side[0].at if side else 0.0 for side in (left, right)]
        self._values = [
            {id(exchange): value for exchange, value in zip(side, normal(list(map(redactor.exchange, side))), strict=True)}
            for side in (left, right)
        ]

    def changes(self, row: Row) -> list[Change]:
        """What differs between the two exchanges of a row."""
        return hidden(row.changes, self._values[0].get(id(row.left)), self._values[1].get(id(row.right)))

    def cells(self, row: Row) -> list[Text]:
        """The row in the order of SESSIONS."""
        there = row.left or row.right
        sign, style = ("-", "red") if row.right is None else ("+", "green") if row.left is None else ("", "")
        if row.changes:
            sign, style = "~", "yellow"
        left, right = (self._side(row.left, 0), self._side(row.right, 1))
        action = Text(visible(there.action if there else ""), style)
        told = "; ".join(map(change_text, self.changes(row)))
        return [*left, Text(sign, style), action, *right, Text(visible(told))]

    def _side(self, exchange: Exchange | None, side: int) -> Iterator[Text]:
        yield Text(visible(str(exchange.id or exchange.name)) if exchange else "")
        yield Text(f"{exchange.at - self._starts[side]:+.1f}" if exchange else "")

    def as_object(self, row: Row) -> dict[str, Any]:
        """The row as JSON names it."""
        told: dict[str, Any] = {"changes": [change_object(change) for change in self.changes(row)]}
        for name, side, exchange in (("left", 0, row.left), ("right", 1, row.right)):
            told[name] = exchange and {
                "id": exchange.id or None,
                "name": exchange.name,
                "action": exchange.action,
                "seconds": round(exchange.at - self._starts[side], 3),
            }
        return told

"""Two sessions beside each other: exchanges paired by action and position, with their own times and numbers taken out. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

from gateway.replay import spoken
from gateway.replay.diff import Change, aligned, diff, without
from gateway.rules.rewrites import Path
from gateway.traffic.exchanges import Exchange

MOST = 1_500  # exchanges of one session
IGNORED: tuple[Path, ...] = (("answer", "currentTime"),)
_TIMES = ("timestamp", "currentTime")


class Row(NamedTuple):
    """Two exchanges that stand for each other, or one that nothing stands for; `changes` go from left to right."""

    left: Exchange | None
    right: Exchange | None
    changes: tuple[Change, ...] = ()

    @property
    def differs(self) -> bool:
        return bool(self.changes) or self.left is None or self.right is None


def compared(left: Sequence[Exchange], right: Sequence[Exchange], ignored: Sequence[Path] = ()) -> list[Row]:
    """The rows, in the order of both. `ignored` are paths in `{"action", "call", "answer"}`."""
    values = normal(left), normal(right)
    keys = [[(exchange.up, exchange.action) for exchange in side] for side in (left, right)]
    rows = []
    for i, j in aligned(*keys):
        if i is None or j is None:
            rows.append(Row(None if i is None else left[i], None if j is None else right[j]))
            continue
        before, after = (without(value, (*IGNORED, *ignored)) for value in (values[0][i], values[1][j]))
        rows.append(Row(left[i], right[j], diff(before, after)))
    return rows


def normal(exchanges: Sequence[Exchange]) -> list[dict[str, Any]]:
    """The exchanges as values to compare: times as seconds since the first of them, transactions counted from 1."""
    numbers: dict[tuple[str, int], str] = {}
    start = exchanges[0].at if exchanges else 0.0
    values = []
    for exchange in exchanges:
        value = spoken.value_of(exchange, spoken.first(exchange))
        values.append(_Normal(numbers, exchange.charger.casefold(), start).of(value))
    return values


class _Normal:
    """One exchange of a session made like that of another."""

    def __init__(self, numbers: dict[tuple[str, int], str], charger: str, start: float) -> None:
        self._numbers, self._charger, self._start = numbers, charger, start

    def of(self, value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: self.of(inner, key) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.of(inner) for inner in value]
        if name == "transactionId" and type(value) is int:
            return self._numbers.setdefault((self._charger, value), f"transaction {len(self._numbers) + 1}")
        return self._since(value) if name in _TIMES and isinstance(value, str) else value

    def _since(self, text: str) -> str:
        try:
            found = datetime.fromisoformat(text)
            at = (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return text
        return f"{at - self._start:+.0f} s"

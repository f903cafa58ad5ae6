"""A filter as SQL over the tables of the log: exchanges as `e`, and their legs."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from gateway.traffic import glob, sql, texts
from gateway.traffic.conditions import whole
from gateway.traffic.dialects import POSTGRES, Part
from gateway.traffic.fields import Ago, Moment
from gateway.traffic.filters import Filter
from gateway.traffic.postgres.connection import kept
from gateway.traffic.postgres.schema import said as said_of
from gateway.traffic.tree import EVERYTHING, And, Compare, Has, Not, Tree, moment, of_one_leg
from translations.messages import Kind

_OF_A_LEG = "l.exchange = e.id"
_FAILED = "e.outcome <> 'ok'"  # as an index has it
_NOTHING = Part("FALSE")
_ENOUGH = 24  # more threes than these tell little


class Window(NamedTuple):
    """From the first time on, up to the other and without it; for what is known to lie within."""

    low: float
    high: float


def condition(wanted: Filter, now: float, window: Window, asked: Sequence[str] = ()) -> tuple[str, list[Any]]:
    """What an exchange must be, within that window, and its parameters; `now` is what "10m" is counted from, in unix seconds.
    `asked`: threes that the index of texts is asked for."""
    tree = whole(wanted)
    parts = [*_bounds(wanted, window), *_own(wanted), *_of_legs(wanted)]
    if tree != EVERYTHING:
        said, values = sql.compiled(tree, now, "postgres")
        parts.append(Part(f"({said})", tuple(values)))
    if wanted.outcome == "failed" or _asks_for_failures(tree):
        parts += [] if wanted.leg or of_one_leg(tree) else [Part(_FAILED)]
    if asked:
        parts.append(Part(f"threes({said_of('e.')}) @> ARRAY[{', '.join(['%s::text'] * len(asked))}]", tuple(asked)))
    text = " AND ".join(part.sql for part in parts) or "TRUE"
    # A leg lies in the partition of its exchange: said, so that no other is looked into.
    near = f"{_OF_A_LEG} AND l.at = e.at{_literal(' AND l.at >= ', window.low)}{_literal(' AND l.at < ', window.high)}"
    values = [value for part in parts for value in part.values]
    return text.replace(_OF_A_LEG, near), [kept(value) if isinstance(value, str) else value for value in values]


def threes(wanted: Filter) -> list[str]:
    """What the index of texts can be asked for; nothing where texts are too short for it, or may be there or not."""
    told = map(glob.fold, texts.searched(whole(wanted)))
    return sorted({text[n : n + 3] for text in told for n in range(len(text) - 2)})[:_ENOUGH]


def window(wanted: Filter, now: float) -> Window:
    """All times that the filter allows."""
    low = -math.inf if wanted.since is None else wanted.since
    high = math.inf if wanted.until is None else wanted.until
    tree = wanted.tree
    for part in tree.parts if isinstance(tree, And) else (tree,):
        if isinstance(part, Compare) and part.name.field.name == "at" and isinstance(part.value, Ago | Moment):
            at = moment(part.value, now)
            low = max(low, at) if part.operator in (">", ">=") else low
            high = min(high, at) if part.operator == "<" else high
    return Window(low, high)


def _literal(sign: str, at: float) -> str:
    return f"{sign}'{at!r}'::double precision" if math.isfinite(at) else ""


def _bounds(wanted: Filter, window: Window) -> Iterator[Part]:
    if window.low > -math.inf:
        yield Part("e.at >= %s", (window.low,))
    if window.high < math.inf:
        yield Part("e.at < %s", (window.high,))
    if wanted.after_id is not None:
        yield Part("e.id > %s", (wanted.after_id,))
    if wanted.before_id is not None:
        yield Part("e.id < %s", (wanted.before_id,))


def _asks_for_failures(tree: Tree) -> bool:
    parts = tree.parts if isinstance(tree, And) else (tree,)
    return any(isinstance(p, Not) and isinstance(p.part, Has) and p.part.name.field.name == "ok" for p in parts)


def _own(wanted: Filter) -> Iterator[Part]:
    if wanted.charger:
        yield _charger(wanted.charger)
    if wanted.tenant:
        yield _same("e.tenant", wanted.tenant)
        yield Part("e.tenant <> ''")  # as the index has it
    if wanted.action:
        yield _same("e.action", wanted.action)
    if wanted.exchange:
        yield Part("e.name = %s", (wanted.exchange,))
    if wanted.outcome and not wanted.leg:
        yield _outcome("e", wanted.outcome)


def _charger(text: str) -> Part:
    try:
        said = POSTGRES.same(Part("e.charger"), text, exact=False)
    except glob.GlobError:
        return _NOTHING
    return Part(POSTGRES.finished(said.sql), said.values)


def _same(column: str, text: str) -> Part:
    return Part(f'lower(({column}) COLLATE "C") = %s', (glob.fold(text),))


def _of_legs(wanted: Filter) -> Iterator[Part]:
    parts: list[Part] = []
    if wanted.leg:
        parts.append(_same("l.name", wanted.leg))
        if wanted.outcome:
            parts.append(_outcome("l", wanted.outcome))
    if wanted.remark in tuple(Kind):
        parts.append(Part(f"l.{wanted.remark} > 0"))
    if parts:
        said = " AND ".join(part.sql for part in parts)
        values = tuple(value for part in parts for value in part.values)
        yield Part(f"EXISTS (SELECT 1 FROM legs l WHERE {_OF_A_LEG} AND {said})", values)  # noqa: S608 - our own words


def _outcome(table: str, outcome: str) -> Part:
    if outcome == "failed":
        return Part(f"""lower(({table}.outcome) COLLATE "C") NOT IN ('', 'ok')""")
    return _same(f"{table}.outcome", outcome)

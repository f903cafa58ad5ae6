"""A filter as SQL over the tables of the log: exchanges as `e`, and their legs."""

import re
from collections.abc import Iterator

from gateway.traffic import sql, texts
from gateway.traffic.fields import Place
from gateway.traffic.filters import Filter
from gateway.traffic.frames import printable
from gateway.traffic.migrations import SLOW
from gateway.traffic.tree import EVERYTHING, And, Compare, Has, In, Not, Or, Tree, names, of_legs, of_one_leg
from translations.messages import Kind

_MATCHED = "e.charger >= ? AND e.charger < ? AND lower(e.charger) GLOB lower(?)"  # the range is for the index
# As two ranges, which an index can find; unequal to two values is none.
_FAILED = "({0}.outcome > 'ok' OR ({0}.outcome > '' AND {0}.outcome < 'ok'))"

_WILD = re.compile(r"[*?\[]")

Parameter = str | bytes | float
Clause = tuple[str, tuple[Parameter, ...]]


def condition(wanted: Filter, now: float) -> tuple[str, list[Parameter]]:
    """What an exchange must be, and its parameters; `now` is what "10m" is counted from, in unix seconds."""
    clauses = [*_bounds(wanted), *_own(wanted), *_of_legs(wanted)]
    if (tree := whole(wanted)) != EVERYTHING:
        said, values = sql.compiled(tree, now)
        if _asks_for_failures(tree):
            clauses.append(("(e.outcome < 'ok' OR e.outcome > 'ok')", ()))  # says the same, and an index serves it
        if _asks_for_slow(tree):
            said = said.replace("e.latency >", f"e.latency > {SLOW} AND e.latency >")
            said = said.replace("l.latency >", f"l.latency > {SLOW} AND l.latency >")
        clauses.append((f"({said if _narrow(wanted, tree) else _legs_first(said, tree)})", tuple(values)))
    return " AND ".join(said for said, _ in clauses) or "TRUE", [_told(value) for _, values in clauses for value in values]


def _told(value: Parameter) -> Parameter:
    return printable(value) if isinstance(value, str) else value


def whole(wanted: Filter) -> Tree:
    """The expression, with the plain free text as a part of it."""
    if not wanted.text:
        return wanted.tree
    text = texts.spoken_of(wanted.text)
    return text if wanted.tree == EVERYTHING else And((text, wanted.tree))


def _bounds(wanted: Filter) -> Iterator[Clause]:
    for said, bound in (
        ("e.at >= ?", wanted.since),
        ("e.at < ?", wanted.until),
        ("e.id > ?", wanted.after_id),
        ("e.id < ?", wanted.before_id),
    ):
        if bound is not None:
            yield said, (bound,)


def _narrow(wanted: Filter, tree: Tree = EVERYTHING) -> bool:
    """Whether few exchanges are left, of each of which the legs can be looked at."""
    if wanted.charger or wanted.tenant or wanted.action or wanted.exchange:
        return True
    parts = tree.parts if isinstance(tree, And) else (tree,)
    return any(isinstance(part, Compare) and part.operator == "==" and part.name.field.name in _NARROW for part in parts)


def _asks_for_slow(tree: Tree) -> bool:
    """Whether all that is said of latencies is that they are above what the index begins with."""
    said = [part for part in _conditions(tree) if part.name.field.name == "latency"]
    return bool(said) and all(_is_slow(part) for part in said)


def _is_slow(part: Has | Compare | In) -> bool:
    return isinstance(part, Compare) and part.operator in (">", ">=") and isinstance(part.value, float) and part.value > SLOW


def _conditions(tree: Tree) -> Iterator[Has | Compare | In]:
    if isinstance(tree, And | Or):
        for part in tree.parts:
            yield from _conditions(part)
    elif isinstance(tree, Not):
        yield from _conditions(tree.part)
    else:
        yield tree


def _asks_for_failures(tree: Tree) -> bool:
    parts = tree.parts if isinstance(tree, And) else (tree,)
    return not of_one_leg(tree) and any(
        isinstance(p, Not) and isinstance(p.part, Has) and p.part.name.field.name == "ok" for p in parts
    )


_NARROW = frozenset(("charger", "tenant", "action", "name", "id", "transaction"))
_OF_EACH = "EXISTS (SELECT 1 FROM legs l WHERE l.exchange = e.id AND "
_OF_ALL = "e.id IN (SELECT l.exchange FROM legs l WHERE "


def _legs_first(said: str, tree: Tree) -> str:
    """The same, so that legs are found by their own indices, where a condition on legs speaks of nothing else."""
    parts = tree.parts if isinstance(tree, And) else (tree,)
    if of_one_leg(tree) and any(_mixed(part) for part in parts):
        return said
    return said.replace(_OF_EACH, _OF_ALL)


def _mixed(part: Tree) -> bool:
    return of_legs(part) and any(name.field.place is Place.EXCHANGE for name in names(part))


def _own(wanted: Filter) -> Iterator[Clause]:
    if wanted.charger:
        start = _WILD.split(wanted.charger, maxsplit=1)[0]
        matched = (_MATCHED, (start, f"{start}\U0010ffff", wanted.charger.replace("[!", "[^")))
        yield matched if start != wanted.charger else ("e.charger = ?", (wanted.charger,))
    if wanted.tenant:
        yield "e.tenant <> '' AND e.tenant = ?", (wanted.tenant,)  # both, for the index to be of use
    if wanted.action:
        yield "e.action = ?", (wanted.action,)
    if wanted.exchange:
        yield "e.name = ?", (wanted.exchange,)
    if wanted.outcome and not wanted.leg:
        yield _outcome("e", wanted.outcome)


def _of_legs(wanted: Filter) -> Iterator[Clause]:
    clauses: list[Clause] = []
    if wanted.leg:
        clauses.append(("l.name = ?", (wanted.leg,)))
        if wanted.outcome:
            clauses.append(_outcome("l", wanted.outcome))
    if wanted.remark in tuple(Kind):
        clauses.append((f"l.{wanted.remark} > 0", ()))
    if not clauses:
        return
    said = " AND ".join(said for said, _ in clauses)
    asked = f"{_OF_EACH if _narrow(wanted) else _OF_ALL}{said})"
    yield asked, tuple(value for _, values in clauses for value in values)


def _outcome(table: str, outcome: str) -> Clause:
    if outcome == "failed":
        return _FAILED.format(table), ()
    return f"{table}.outcome = ?", (outcome,)

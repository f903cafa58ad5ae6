"""Messages changed by rows of the configuration: values copied, mapped, set and removed, by path.

A path names fields and items from the payload's root, like `meterValue[*].sampledValue[0].unit`; `[*]` is every item.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from gateway.rules.policies import Fitting, Place, canonical
from translations import schemas
from translations.errors import OcppError
from translations.messages import Kind, Payload, Remark
from translations.step import Step

if TYPE_CHECKING:
    from gateway.config import Rewrite

DEEPEST = 32  # parts of a path; OCPP needs seven
STAR = None
Part = str | int | None
Path = tuple[Part, ...]
"""Names, indexes, and STAR for every item of a list."""

Visit = Callable[[Any, tuple[int, ...]], Any]
"""Given the value at a place (MISSING: there is none) and the indexes for which stars stood, gives the one to be there."""

_PARTS = re.compile(r"(\w+)|\[(\d+)\]|\[(\*)\]")


class _Missing:
    """No value."""

    def __repr__(self) -> str:
        return "MISSING"


MISSING = _Missing()


def path_of(text: str) -> Path:
    """A path of the configuration, read. Its form has been judged before."""
    return tuple(name or (int(index) if index else STAR) for name, index, _ in _PARTS.findall(text))


def walk(value: Any, path: Path, visit: Visit, step: Step, stars: tuple[int, ...] = ()) -> Any:
    """The value with what `visit` gives in every place that the path names; the same object where nothing changed.

    What is on the way to a change is copied, the rest is shared. Objects that are missing on the way are made if `visit`
    has a value to put there; items of lists are not, and a value that is no object or list where one is needed stays. What
    becomes MISSING is taken out of its object or list. While `visit` is called, `step` is at the place.
    """
    if not path:
        return visit(value, stars)
    part, rest = path[0], path[1:]
    if isinstance(part, str):
        return _field(value, part, rest, visit, step, stars)
    return _items(value, part, rest, visit, step, stars) if isinstance(value, list) else value


def _field(value: Any, name: str, rest: Path, visit: Visit, step: Step, stars: tuple[int, ...]) -> Any:
    if not isinstance(value, dict) and value is not MISSING:
        return value
    fields: Payload = value if isinstance(value, dict) else {}
    before = fields.get(name, MISSING)
    step.path.append(name)
    after = walk(before, rest, visit, step, stars)
    step.path.pop()
    if after is before:
        return value
    return {**fields, name: after} if after is not MISSING else {key: each for key, each in fields.items() if key != name}


def _items(items: list[Any], index: int | None, rest: Path, visit: Visit, step: Step, stars: tuple[int, ...]) -> list[Any]:
    changed: dict[int, Any] = {}
    for i in range(len(items)) if index is STAR else range(index, min(index + 1, len(items))):
        step.path.append(i)
        after = walk(items[i], rest, visit, step, (*stars, i) if index is STAR else stars)
        step.path.pop()
        if after is not items[i]:
            changed[i] = after
    if not changed:
        return items
    return [item for i, before in enumerate(items) if (item := changed.get(i, before)) is not MISSING]


def value_at(value: Any, path: Path, stars: tuple[int, ...]) -> Any:
    """The value in one place, the indexes standing for the stars of the path in their order; MISSING if there is none."""
    index = iter(stars)
    for part in path:
        here = next(index, STAR) if part is STAR else part
        if isinstance(here, str):
            value = value.get(here, MISSING) if isinstance(value, dict) else MISSING
        else:
            value = value[here] if isinstance(value, list) and here is not STAR and here < len(value) else MISSING
    return value


# --- what a row does


@dataclass(frozen=True, slots=True)
class _Change:
    """One change of a row: where, what becomes of a value there (given the payload and the stars), and what is told of it."""

    path: Path
    becomes: Callable[[Payload, Any, tuple[int, ...]], Any]
    kind: Kind
    detail: str
    rule: str

    def apply(self, payload: Payload, step: Step) -> Payload:
        changed: Payload = walk(payload, self.path, partial(self._visit, payload, step), step)
        return changed

    def _visit(self, payload: Payload, step: Step, before: Any, stars: tuple[int, ...]) -> Any:
        after = self.becomes(payload, before, stars)
        if after is before or repr(after) == repr(before):  # by text: to Python 1 equals true, and 1.0 equals 1.00
            return before
        step.note(self.kind, self.detail, self.rule)
        return after


def _changes(row: "Rewrite") -> Iterator[_Change]:
    """What a row does, in its order: copies, map, set, remove."""
    rule, by = f"rewrites.{row.name}", f"by the rewrite {row.name}"
    for to, source in row.copies.items():
        yield _Change(path_of(to), partial(_copied, path_of(source)), Kind.CHANGED, f"copied from {source} {by}", rule)
    for where, words in row.map.items():
        table = {old: canonical(new) for old, new in words.items()}
        yield _Change(path_of(where), partial(_mapped, table), Kind.CHANGED, f"mapped {by}", rule)
    for where, value in row.set.items():
        yield _Change(path_of(where), partial(_set, canonical(value)), Kind.CHANGED, f"set {by}", rule)
    for where in row.remove:
        yield _Change(path_of(where), _removed, Kind.LOST, f"removed {by}", rule)


def _copied(source: Path, payload: Payload, before: Any, stars: tuple[int, ...]) -> Any:
    value = value_at(payload, source, stars)
    return before if value is MISSING else value


def _mapped(table: Mapping[str, Any], _: Payload, before: Any, __: tuple[int, ...]) -> Any:
    key = _text(before)
    return before if key is None else table.get(key, before)


def _set(value: Any, _: Payload, __: Any, ___: tuple[int, ...]) -> Any:
    return value


def _removed(_: Payload, __: Any, ___: tuple[int, ...]) -> Any:
    return MISSING


def _text(value: Any) -> str | None:
    """What a map compares: a value as JSON writes it, text without quotes; None for what has no such form."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return format(value, "f")
    return str(value) if isinstance(value, str | int) else None


@dataclass(frozen=True, slots=True)
class Rule:
    """All that the rows that fit a message do to it, in their order. Within a row: copies, map, set, remove.

    - A copy takes the value of its source as it is when its turn comes. Without one it does nothing. With `[*]` in both
      paths it goes item by item: the first star of one is at the same index as the first of the other, and so on.
    - A map compares text exactly, and other values by their JSON form: `1` is "1", `true` is "true", `16.0` is "16.0". A
      value that is not in it stays, and so does a missing one, an object and a list.
    - A set puts its value whether there was one or not.
    - A remove takes out a field, or the item of a list; what is missing already is no matter.

    A set and a copy make objects that are missing on the way, but no items of lists, and never replace what is on the way.
    A value that is the same as before leaves no remark.
    """

    _changes: tuple[_Change, ...]

    def apply(self, payload: Payload) -> tuple[Payload, tuple[Remark, ...]]:
        """The payload, the same object where nothing changed, and what happened to it; a hundred remarks at most, and how
        many more there were. What came in is not changed."""
        step = Step("")
        for change in self._changes:
            payload = change.apply(payload, step)
        return payload, step.said()


class _Compiled(NamedTuple):
    """A row, read once."""

    backends: tuple[str, ...]
    chargers: str
    actions: tuple[str, ...]
    direction: str
    changes: tuple[_Change, ...]


class Rewrites:
    """The rows of the configuration, compiled."""

    def __init__(self, rows: "Sequence[Rewrite]") -> None:
        self._calls, self._answers = (_fitting(rows, message) for message in ("call", "answer"))

    def find(self, backend: str, identity: str, direction: str, message: str, action: str) -> Rule | None:
        """What is to be done with a message; None: nothing.

        `direction` is that of the call, up or down, for an answer too. `message` is call or answer.
        """
        return (self._calls if message == "call" else self._answers)(backend, identity, action, direction)


def _fitting(rows: "Sequence[Rewrite]", message: str) -> Fitting[_Compiled, Rule]:
    compiled = [
        _Compiled(row.backends, row.chargers, row.actions, row.direction, tuple(_changes(row)))
        for row in rows
        if row.message == message
    ]
    return Fitting(compiled, _rule)


def _rule(rows: tuple[_Compiled, ...]) -> Rule:
    return Rule(tuple(change for row in rows for change in row.changes))


def judge(payload: Payload, action: str, response: bool) -> str:
    """What the schema of OCPP 1.6 has against a payload, with the path and without its value; empty: nothing.

    An action that has no schema is not judged.
    """
    try:
        schemas.judge(action, response, payload)
    except OcppError as error:
        return error.text
    return ""


# --- what is wrong with rows


def examine(rows: "Sequence[Rewrite]") -> Iterator[tuple[Place, str]]:
    """What is wrong with rows, each with the path of its key below `rewrites`."""
    for i, row in enumerate(rows):
        if row.name in {other.name for other in rows[:i]}:
            yield (i, "name"), f"expected another name, {row.name} is taken"
        if not (row.copies or row.map or row.set or row.remove):
            yield (i,), "expected at least one of copies, map, set and remove"
        for key, what in (*_paths(row), *_copies(row), *_values(row)):
            yield (i, key), what


def _paths(row: "Rewrite") -> Iterator[tuple[str, str]]:
    """What is wrong with the lengths of paths. Their form is judged where they are read."""
    for key, paths in (
        ("copies", (*row.copies, *row.copies.values())),
        ("map", row.map),
        ("set", row.set),
        ("remove", row.remove),
    ):
        for path in paths:
            if len(path_of(path)) > DEEPEST:
                yield key, f"expected paths of at most {DEEPEST} parts, got {path[:80]}"


def _copies(row: "Rewrite") -> Iterator[tuple[str, str]]:
    for to, source in row.copies.items():
        if to.count("*") != source.count("*"):
            yield "copies", f"expected as many [*] in {source} as in {to}"


def _values(row: "Rewrite") -> Iterator[tuple[str, str]]:
    values = [("set", path, value) for path, value in row.set.items()]
    values += [("map", path, value) for path, words in row.map.items() for value in words.values()]
    for key, path, value in values:
        if not _sayable(canonical(value)):
            yield key, f"expected values for {path} that JSON can say, without null"


def _sayable(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(map(_sayable, value.values()))
    if isinstance(value, list):
        return all(map(_sayable, value))
    return value.is_finite() if isinstance(value, Decimal) else isinstance(value, str | int)

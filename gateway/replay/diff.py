"""What differs between two values of JSON, and how two rows of things lie beside each other. Knows nothing of messages."""

from array import array
from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from gateway.rules.rewrites import STAR, Path

ADDED, REMOVED, CHANGED = "added", "removed", "changed"
MOST_CELLS = 4_000_000  # of the table of a longest common subsequence; longer rows are compared place by place
GONE = object()  # what `at` finds where nothing is

Pair = tuple[int | None, int | None]


class Change(NamedTuple):
    """One step from a value to another.

    `path` is the place in the first value, `there` that in the second; they differ where items of lists moved. Of what is added,
    `path` names the object or list that it goes into as the first value has it, and then the key or index that it gets.
    """

    kind: str
    path: Path
    there: Path
    before: Any = None
    after: Any = None


def diff(before: Any, after: Any) -> tuple[Change, ...]:
    """The steps from one value to the other; none where they are the same. Numbers are compared by value, keys in any order."""
    return tuple(_walk(before, after, (), ()))


def same(one: Any, other: Any) -> bool:
    """Whether two values of JSON are the same: 1 is 1.0, and is not true."""
    return bool(_key(one) == _key(other))


def _walk(before: Any, after: Any, path: Path, there: Path) -> Iterator[Change]:
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _fields(before, after, path, there)
    elif isinstance(before, list) and isinstance(after, list):
        yield from _items(before, after, path, there)
    elif not same(before, after):
        yield Change(CHANGED, path, there, before, after)


def _fields(before: Mapping[str, Any], after: Mapping[str, Any], path: Path, there: Path) -> Iterator[Change]:
    for key, value in before.items():
        if key in after:
            yield from _walk(value, after[key], (*path, key), (*there, key))
        else:
            yield Change(REMOVED, (*path, key), (*there, key), before=value)
    for key, value in after.items():
        if key not in before:
            yield Change(ADDED, (*path, key), (*there, key), after=value)


def _items(before: Sequence[Any], after: Sequence[Any], path: Path, there: Path) -> Iterator[Change]:
    for here, beside in _paired(aligned(list(map(_key, before)), list(map(_key, after)))):
        if here is None and beside is not None:
            yield Change(ADDED, (*path, beside), (*there, beside), after=after[beside])
        elif here is not None and beside is None:
            yield Change(REMOVED, (*path, here), (*there, here), before=before[here])
        elif here is not None and beside is not None:
            yield from _walk(before[here], after[beside], (*path, here), (*there, beside))


def _key(value: Any) -> Hashable:
    if isinstance(value, dict):
        return "object", frozenset((key, _key(inner)) for key, inner in value.items())
    if isinstance(value, list):
        return "list", tuple(map(_key, value))
    return (type(value) is bool, value)


# --- rows ---------------------------------------------------------------------------------------------------------------


def aligned(left: Sequence[Hashable], right: Sequence[Hashable]) -> list[Pair]:
    """Two rows beside each other, so that as many as can be are beside their like: places in both, None where one has none.

    What has no like on the left comes before what has none on the right.
    """
    start = _common(left, right)
    end = _common(left[start:][::-1], right[start:][::-1])
    middle = _middle(left[start : len(left) - end], right[start : len(right) - end])
    pairs: list[Pair] = [(each, each) for each in range(start)]
    pairs += [(None if i is None else i + start, None if j is None else j + start) for i, j in middle]
    pairs += [(len(left) - each, len(right) - each) for each in range(end, 0, -1)]
    return pairs


def _common(left: Sequence[Hashable], right: Sequence[Hashable]) -> int:
    return next((i for i, (one, other) in enumerate(zip(left, right, strict=False)) if one != other), min(len(left), len(right)))


def _middle(left: Sequence[Hashable], right: Sequence[Hashable]) -> list[Pair]:
    if (len(left) + 1) * (len(right) + 1) > MOST_CELLS or not (left and right):
        return [*((i, None) for i in range(len(left))), *((None, j) for j in range(len(right)))]
    table = _table(left, right)
    pairs: list[Pair] = []
    i = j = 0
    while i < len(left) or j < len(right):
        if i < len(left) and j < len(right) and left[i] == right[j]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif i < len(left) and (j == len(right) or table[i + 1][j] >= table[i][j + 1]):
            pairs.append((i, None))
            i += 1
        else:
            pairs.append((None, j))
            j += 1
    return pairs


def _table(left: Sequence[Hashable], right: Sequence[Hashable]) -> list["array[int]"]:
    """The length of the longest common subsequence of what is left of both rows, for every two places."""
    rows = [array("I", bytes(4 * (len(right) + 1)))]
    for one in reversed(left):
        below = rows[-1]
        row = array("I", below)
        for j in range(len(right) - 1, -1, -1):
            row[j] = below[j + 1] + 1 if one == right[j] else max(below[j], row[j + 1])
        rows.append(row)
    return rows[::-1]


def _paired(pairs: Iterable[Pair]) -> Iterator[Pair]:
    """With what has no like beside what has none either, in their order, as long as both go."""
    left: list[int] = []
    right: list[int] = []
    for here, beside in pairs:
        if here is not None and beside is not None:
            yield from _beside(left, right)
            left, right = [], []
            yield here, beside
        elif here is not None:
            left.append(here)
        elif beside is not None:
            right.append(beside)
    yield from _beside(left, right)


def _beside(left: Sequence[int], right: Sequence[int]) -> Iterator[Pair]:
    yield from zip(left, right, strict=False)
    yield from ((i, None) for i in left[len(right) :])
    yield from ((None, j) for j in right[len(left) :])


# --- what is done with changes ------------------------------------------------------------------------------------------


def applied(changes: Iterable[Change], value: Any) -> Any:
    """The value with these changes, which `diff` found from it to another; what they do not touch is shared."""
    return _applied([(change.path, change) for change in changes], value)


def _applied(steps: Sequence[tuple[Path, Change]], value: Any) -> Any:
    if not steps:
        return value
    if not steps[0][0]:
        return steps[0][1].after
    own: list[tuple[Any, Change]] = [(path[0], change) for path, change in steps if len(path) == 1 and change.kind != CHANGED]
    below: defaultdict[Any, list[tuple[Path, Change]]] = defaultdict(list)
    for path, change in steps:
        if len(path) > 1 or change.kind == CHANGED:
            below[path[0]].append((path[1:], change))
    removed = {head for head, change in own if change.kind == REMOVED}
    added = {head: change.after for head, change in own if change.kind == ADDED}
    if isinstance(value, dict):
        return {key: _applied(below[key], inner) for key, inner in value.items() if key not in removed} | added
    items = [_applied(below[i], inner) for i, inner in enumerate(value) if i not in removed]
    for index, item in sorted(added.items(), key=lambda each: each[0]):
        items.insert(index, item)
    return items


def without(value: Any, paths: Iterable[Path]) -> Any:
    """The value without what these paths name; an item of a list becomes None, so that the others keep their places."""
    for path in paths:
        value = _without(value, path)
    return value


def _without(value: Any, path: Path) -> Any:
    head, rest = path[0], path[1:]
    if isinstance(value, dict) and head in value:
        kept = {key: inner for key, inner in value.items() if key != head}
        return {key: _without(inner, rest) if key == head else inner for key, inner in value.items()} if rest else kept
    if isinstance(value, list):
        return [(_without(inner, rest) if rest else None) if head in (STAR, i) else inner for i, inner in enumerate(value)]
    return value


def at(value: Any, path: Path) -> Any:
    """What stands in a place; GONE where nothing does."""
    for head in path:
        inside = head in value if isinstance(value, dict) else isinstance(value, list) and head in range(len(value))
        if not inside:
            return GONE
        value = value[head]
    return value


def written(path: Path) -> str:
    """A path as people write it."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")

"""What a filter says: a tree of conditions, and the tree as text.

`language` reads that text; `predicate` and `sql` say what a tree means.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from gateway.traffic import fields
from gateway.traffic.fields import FIELDS, Ago, Field, Moment, Place, Type, Value


@dataclass(frozen=True, slots=True)
class Name:
    """A field, as a condition names it; of JSON, the keys and places that lead to the value."""

    field: Field
    path: tuple[str | int, ...] = ()

    def __str__(self) -> str:
        return self.field.name + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path)


@dataclass(frozen=True, slots=True)
class Has:
    """The field is true, or more than 0, or there."""

    name: Name


@dataclass(frozen=True, slots=True)
class Compare:
    """The field is there, and compares so with the value; the operator is one of fields.OPERATORS but "in"."""

    name: Name
    operator: str
    value: Value


@dataclass(frozen=True, slots=True)
class In:
    """The field is one of the values."""

    name: Name
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """What does not hold."""

    part: "Tree"


@dataclass(frozen=True, slots=True)
class And:
    """All parts hold: two or more, or none for the tree that holds always."""

    parts: tuple["Tree", ...]


@dataclass(frozen=True, slots=True)
class Or:
    """One of two or more parts holds."""

    parts: tuple["Tree", ...]


Tree = Has | Compare | In | Not | And | Or
EVERYTHING = And(())


def names(tree: Tree) -> Iterator[Name]:
    """Each field that the tree names."""
    if isinstance(tree, And | Or):
        for part in tree.parts:
            yield from names(part)
    elif isinstance(tree, Not):
        yield from names(tree.part)
    else:
        yield tree.name


def of_one_leg(tree: Tree) -> bool:
    """Whether it asks for one leg for which all of it holds."""
    return any(name.field.name == "leg" for name in names(tree))


def of_legs(tree: Tree) -> bool:
    """Whether anything in it is, or could be, a leg's."""
    return any(name.field.place is not Place.EXCHANGE for name in names(tree))


def moment(value: Ago | Moment, now: float) -> float:
    """In unix seconds."""
    return now - value.seconds if isinstance(value, Ago) else value.at


def settled(tree: Tree, now: float) -> Tree:
    """The same tree with "10m" counted from `now`, for good."""
    if isinstance(tree, And | Or):
        return type(tree)(tuple(settled(part, now) for part in tree.parts))
    if isinstance(tree, Not):
        return Not(settled(tree.part, now))
    if isinstance(tree, Compare) and isinstance(tree.value, Ago):
        return Compare(tree.name, tree.operator, Moment(round(moment(tree.value, now), 6)))
    return tree


AT = Name(FIELDS["at"])
TEXT = Name(FIELDS["text"])
_BOUNDS = {">=": "since", "<": "until"}


def written(tree: Tree) -> str:
    """The tree as an expression on one line, that is read as the same tree."""
    if isinstance(tree, And):
        return " and ".join(_within(part, And, Or) for part in tree.parts)
    if isinstance(tree, Or):
        return " or ".join(_within(part, Or) for part in tree.parts)
    if isinstance(tree, Not):
        return f"not {_within(tree.part, And, Or)}"
    if isinstance(tree, In):
        return f"{tree.name} in ({', '.join(map(fields.written, tree.values))})"
    return str(tree.name) if isinstance(tree, Has) else _written(tree)


def _within(part: Tree, *weaker: type[And] | type[Or]) -> str:
    return f"({written(part)})" if isinstance(part, weaker) else written(part)


def _written(tree: Compare) -> str:
    if tree.name == TEXT:
        return fields.written(tree.value)
    bound = _BOUNDS.get(tree.operator) if tree.name == AT else None
    return f"{bound or f'{tree.name} {tree.operator}'} {_written_value(tree)}"


def _written_value(tree: Compare) -> str:
    if tree.name.field.type is Type.DURATION and isinstance(tree.value, int | float):
        return fields.written_duration(tree.value)
    return tree.value if tree.name.field.type is Type.DIRECTION and isinstance(tree.value, str) else fields.written(tree.value)

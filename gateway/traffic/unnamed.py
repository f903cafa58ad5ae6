"""A filter as it may be kept: whom it looks for, and what secret, are pseudonyms."""

from gateway.redaction.fields import TAG, kind_of
from gateway.redaction.redactor import Redactor
from gateway.traffic.fields import Value
from gateway.traffic.tree import And, Compare, In, Name, Not, Or, Tree

_ANYTHING = frozenset({"text", "note"})  # what people look for there is an idTag more often than not


def unnamed(tree: Tree, redactor: Redactor) -> Tree:
    """The same tree with pseudonyms in it."""
    if isinstance(tree, And | Or):
        return type(tree)(tuple(unnamed(part, redactor) for part in tree.parts))
    if isinstance(tree, Not):
        return Not(unnamed(tree.part, redactor))
    if isinstance(tree, In):
        return In(tree.name, tuple(_hidden(tree.name, value, redactor) for value in tree.values))
    if isinstance(tree, Compare):
        return Compare(tree.name, tree.operator, _hidden(tree.name, tree.value, redactor))
    return tree


def _hidden(name: Name, value: Value, redactor: Redactor) -> Value:
    if name.field.name in _ANYTHING and isinstance(value, str):
        return redactor.tag(value)
    if not name.path or isinstance(value, bool):
        return value
    key = next((step for step in reversed(name.path) if isinstance(step, str)), "")
    kind = "secret" if key.lower() == "value" else kind_of(key)  # a setting's name stands elsewhere
    if not kind:
        return value
    return redactor.tag(_spelt(value)) if kind == TAG else redactor.secret(_spelt(value))


def _spelt(value: Value) -> str:
    return str(getattr(value, "text", value))

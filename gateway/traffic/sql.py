"""A filter as an SQL condition over `exchanges e`, for what is stored. Says what `predicate` says of the exchange itself.

All that an expression says goes into parameters. Every NOT is of something that is true or false, never NULL, so that what is
missing makes a comparison false, and what is not said of it true.
"""

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Literal

from gateway.traffic.dialects import POSTGRES, SQLITE, Dialect, Parameter, Part
from gateway.traffic.fields import Ago, Moment, Place, Severity, Spelt, Type, Value
from gateway.traffic.tree import And, Compare, Has, In, Name, Not, Or, Tree, moment, of_legs, of_one_leg

_DIALECTS: Mapping[str, Dialect] = MappingProxyType({"sqlite": SQLITE, "postgres": POSTGRES})
_COLUMNS = MappingProxyType(
    {
        "charger": "e.charger",
        "tenant": "e.tenant",
        "action": "e.action",
        "id": "e.id",
        "name": "e.name",
        "direction": "e.up",
        "outcome": "e.outcome",
        "ok": "e.outcome",
        "latency": "e.latency",
        "connector": "e.connector",
        "transaction": "e.transaction_id",
        "at": "e.at",
        "payload": "e.payload",
        "result": "e.result",
        "expert": "e.findings",
        "expert.severity": "e.severity",
        "expert.rule": "e.findings",
    }
)
_LEG_COLUMNS = MappingProxyType(
    {
        "leg": "l.name",
        "wire": "l.wire",
        "version": "l.version",
        "peer": "l.peer",
        "outcome": "l.outcome",
        "ok": "l.outcome",
        "latency": "l.latency",
        "refused": "l.refused",
        "note": "l.note",
        "remark": "(l.lost + l.changed + l.assumed + l.repaired)",
        "remark.lost": "l.lost",
        "remark.changed": "l.changed",
        "remark.assumed": "l.assumed",
        "remark.repaired": "l.repaired",
        "remark.rule": "l.remarks",
    }
)
_RULE_OF = MappingProxyType({"expert.rule": 0, "remark.rule": 4})  # its place in each row of the JSON
_SIGNS = MappingProxyType({sign: sign for sign in ("<", "<=", ">", ">=")} | {"==": "=", "!=": "<>"})


DialectName = Literal["sqlite", "postgres"]


def compiled(tree: Tree, now: float, dialect: DialectName = "sqlite") -> tuple[str, list[Parameter]]:
    """The condition, and its parameters in order; `now` is what "10m" is counted from, in unix seconds."""
    said = _Writer(_DIALECTS[dialect], now).whole(tree)
    return _DIALECTS[dialect].finished(said.sql), list(said.values)


class _Writer:
    def __init__(self, dialect: Dialect, now: float) -> None:
        self._dialect = dialect
        self._now = now
        self._one_leg = False

    def whole(self, tree: Tree) -> Part:
        """Of one leg only what has to be: the rest stays where indices serve it."""
        self._one_leg = of_one_leg(tree)
        if not self._one_leg:
            return self._said(tree)
        parts = tree.parts if isinstance(tree, And) else (tree,)
        outside = [self._said(part) for part in parts if not of_legs(part)]
        inside = [self._said(part) for part in parts if of_legs(part)]
        return _joined(" AND ", [*outside, _of_a_leg(_joined(" AND ", inside))])

    def _said(self, tree: Tree) -> Part:
        if isinstance(tree, And | Or):
            return _joined(" AND " if isinstance(tree, And) else " OR ", [self._said(part) for part in tree.parts])
        if isinstance(tree, Not):
            return _not(self._said(tree.part))
        condition = self._condition(tree)
        return _of_a_leg(condition) if tree.name.field.place is Place.LEG and not self._one_leg else condition

    def _condition(self, tree: Has | Compare | In) -> Part:
        kind = tree.name.field.type
        if kind is Type.FREE:
            return self._free(tree)
        column = self._column(tree.name)
        if tree.name.field.name in _RULE_OF:
            return self._any_rule(tree, column)
        if kind is Type.JSON:
            return self._json(tree, self._dialect.within(column, tree.name.path))
        if kind in (Type.TEXT, Type.BOOLEAN, Type.DIRECTION):
            return self._text(tree, column)
        return self._number(tree, column)

    def _column(self, name: Name) -> Part:
        of_leg = name.field.place is Place.LEG or (name.field.place is Place.EITHER and self._one_leg)
        return Part((_LEG_COLUMNS if of_leg else _COLUMNS)[name.field.name])

    # Texts, and what is true or false.

    def _text(self, tree: Has | Compare | In, column: Part) -> Part:
        if tree.name.field.type is Type.BOOLEAN:
            return self._boolean(tree.name, column)
        if tree.name.field.type is Type.DIRECTION:
            assert isinstance(tree, Compare)
            return column if (tree.value == "up") == (tree.operator == "==") else _not(column)
        there = column + " <> ''"
        if isinstance(tree, Has):
            return there
        said = self._compared_text(tree, column)
        return said if _only_equal(tree) else _joined(" AND ", [there, said])

    def _boolean(self, name: Name, column: Part) -> Part:
        if name.field.name == "ok":
            return column + Part(" = ?", ("ok",))
        return self._dialect.any_of(column) if name.field.name == "expert" else column

    def _compared_text(self, tree: Compare | In, column: Part) -> Part:
        exact = tree.name.field.exact
        if isinstance(tree, In):
            return self._dialect.one_of(column, [str(value) for value in tree.values], exact)
        if tree.operator == "~":
            return self._dialect.contains(column, str(tree.value))
        same = self._dialect.same(column, str(tree.value), exact)
        return same if tree.operator == "==" else _not(same)

    def _any_rule(self, tree: Has | Compare | In, column: Part) -> Part:
        if isinstance(tree, Has):
            return self._dialect.any_of(column)
        return self._dialect.any_of(column, lambda row: self._compared_text(tree, row), _RULE_OF[tree.name.field.name])

    def _free(self, tree: Has | Compare | In) -> Part:
        assert isinstance(tree, Compare)
        return _joined(" OR ", [self._dialect.contains(Part(column), str(tree.value)) for column in ("e.payload", "e.result")])

    # Numbers and times.

    def _number(self, tree: Has | Compare | In, column: Part) -> Part:
        if isinstance(tree, Has):
            return column + (" > 0" if tree.name.field.type in (Type.COUNT, Type.SEVERITY) else " IS NOT NULL")
        if isinstance(tree, In):
            return column + Part(f" IN ({', '.join('?' * len(tree.values))})", tuple(map(self._plain, tree.values)))
        said = column + Part(f" {_SIGNS[tree.operator]} ?", (self._plain(tree.value),))
        graded = tree.name.field.type is Type.SEVERITY and tree.operator in ("<", "<=", "!=")
        return _joined(" AND ", [column + " > 0", said]) if graded else said

    def _plain(self, value: Value) -> Parameter:
        if isinstance(value, Ago | Moment):
            return moment(value, self._now)
        if isinstance(value, Severity):
            return int(value)
        assert not isinstance(value, Spelt)
        return value

    # JSON.

    def _json(self, tree: Has | Compare | In, column: Part) -> Part:
        there = self._dialect.there(column)
        if isinstance(tree, Has):
            return there
        if isinstance(tree, In):
            return _joined(" OR ", [self._json_value("==", value, column) for value in tree.values])
        if tree.operator == "!=":
            return _joined(" AND ", [there, _not(self._json_value("==", tree.value, column))])
        return self._json_value(tree.operator, tree.value, column)

    def _json_value(self, sign: str, value: Value, column: Part) -> Part:
        if isinstance(value, bool):
            return self._dialect.is_boolean(column, value)
        if not isinstance(value, Spelt):
            return self._json_text(sign, str(value), column)
        number = self._dialect.number(column, _SIGNS[sign], value.number)
        return _joined(" OR ", [number, self._json_text("==", value.text, column)]) if sign == "==" else number

    def _json_text(self, sign: str, value: str, column: Part) -> Part:
        text = self._dialect.json_text(column)
        compared = self._dialect.contains(text, value) if sign == "~" else self._dialect.same(text, value, exact=False)
        return _joined(" AND ", [self._dialect.is_text(column), compared])


def _only_equal(tree: Has | Compare | In) -> bool:
    """Whether nothing that is empty could be taken. Of tenants, an index holds only those that have one."""
    if tree.name.field.name == "tenant":
        return False
    if isinstance(tree, Compare):
        return tree.operator == "==" and "*" not in str(tree.value)
    return isinstance(tree, In) and not any("*" in str(value) for value in tree.values)


def _not(part: Part) -> Part:
    return Part("NOT coalesce(") + part + ", FALSE)"


def _of_a_leg(condition: Part) -> Part:
    start = "EXISTS (SELECT 1 FROM legs l WHERE l.exchange = e.id AND "
    return Part(start) + condition + ")"


def _joined(word: str, parts: Iterable[Part]) -> Part:
    parts = tuple(parts)
    if len(parts) < 2:
        return parts[0] if parts else Part("TRUE")
    return Part(f"({word.join(part.sql for part in parts)})", tuple(value for part in parts for value in part.values))

"""How SQLite and PostgreSQL say the same: texts without regard to the case of ASCII, globs, JSON.

Each condition may be NULL where something is missing; none ever fails, whatever is stored.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.traffic import glob
from gateway.traffic.glob import fold

Parameter = str | int | float | bool

_ANY = "EXISTS (SELECT 1 FROM "


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of SQL, and the values of its parameters in order."""

    sql: str
    values: tuple[Parameter, ...] = ()

    def __add__(self, other: "Part | str") -> "Part":
        if isinstance(other, str):
            return Part(self.sql + other, self.values)
        return Part(self.sql + other.sql, self.values + other.values)


class Dialect(Protocol):
    """What differs. A column is whatever yields a value for a row."""

    def finished(self, sql: str) -> str:
        """With parameters as the driver takes them."""

    def same(self, column: Part, text: str, exact: bool) -> Part:
        """The text is this one, or fits where it is a glob."""

    def one_of(self, column: Part, texts: Sequence[str], exact: bool) -> Part:
        """The text is one of these, or fits one."""

    def contains(self, column: Part, text: str) -> Part:
        """The text is somewhere in it."""

    def any_of(self, column: Part, condition: Callable[[Part], Part] | None = None, place: int = 0) -> Part:
        """A list of rows, as JSON, has a row, for whose text at that place the condition holds."""

    def within(self, column: Part, path: tuple[str | int, ...]) -> Part:
        """The value to which the path leads; only for what follows."""

    def there(self, column: Part) -> Part:
        """There is a value, and it is not null."""

    def is_text(self, column: Part) -> Part:
        """The value is a text."""

    def json_text(self, column: Part) -> Part:
        """That text."""

    def is_boolean(self, column: Part, value: bool) -> Part:
        """The value is true, or false."""

    def number(self, column: Part, sign: str, value: int | float) -> Part:
        """The value is a number, and compares so."""


def _either(parts: Sequence[Part]) -> Part:
    return Part(f"({' OR '.join(part.sql for part in parts)})", tuple(value for part in parts for value in part.values))


class _Sqlite:
    """A JSON value is its column and a path, two parameters' worth: json_type and json_extract take them alike."""

    def finished(self, sql: str) -> str:
        return sql

    def same(self, column: Part, text: str, exact: bool) -> Part:
        if not glob.plain(text):
            return self._fits(column, text, exact)
        return column + Part(" = ?" if exact else " COLLATE NOCASE = ?", (text,))

    def _fits(self, column: Part, text: str, exact: bool) -> Part:
        pieces = glob.pieces(text if exact else fold(text))
        folded = column if exact else Part("lower(") + column + ")"
        fits = folded + Part(" GLOB ?", (glob.as_sqlite(pieces),))
        start = glob.prefix(pieces)
        return self._starts(column, start) + " AND " + fits + ")" if start and not exact else fits

    def _starts(self, column: Part, start: str) -> Part:
        """Adds nothing, but an index serves it."""
        after = start[:-1] + chr(ord(start[-1]) + 1)
        return Part("(") + column + Part(" COLLATE NOCASE >= ? AND ", (start,)) + column + Part(" COLLATE NOCASE < ?", (after,))

    def one_of(self, column: Part, texts: Sequence[str], exact: bool) -> Part:
        if not all(map(glob.plain, texts)):
            return _either([self.same(column, text, exact) for text in texts])
        return column + Part(f"{'' if exact else ' COLLATE NOCASE'} IN ({', '.join('?' * len(texts))})", tuple(texts))

    def contains(self, column: Part, text: str) -> Part:
        return Part("instr(lower(") + column + Part("), ?)", (fold(text),))

    def any_of(self, column: Part, condition: Callable[[Part], Part] | None = None, place: int = 0) -> Part:
        if condition is None:
            return Part("coalesce(json_array_length(") + column + "), 0) > 0"
        said = condition(Part(f"json_extract(r.value, '$[{place}]')"))
        return Part(_ANY) + "json_each(" + column + ") r WHERE " + said + ")"

    def within(self, column: Part, path: tuple[str | int, ...]) -> Part:
        said = "".join(f"[{step}]" if isinstance(step, int) else f'."{step}"' for step in path)
        return column + Part(", ?", (f"${said}",))

    def there(self, column: Part) -> Part:
        return Part("json_type(") + column + ") <> 'null'"

    def is_text(self, column: Part) -> Part:
        return Part("json_type(") + column + ") = 'text'"

    def json_text(self, column: Part) -> Part:
        return Part("json_extract(") + column + ")"

    def is_boolean(self, column: Part, value: bool) -> Part:
        return Part("json_type(") + column + (") = 'true'" if value else ") = 'false'")

    def number(self, column: Part, sign: str, value: int | float) -> Part:
        kind = Part("(json_type(") + column + ") IN ('integer', 'real') AND "
        return kind + self.json_text(column) + Part(f" {sign} ?)", (value,))


class _Postgres:
    """Case is folded under the collation "C", which knows ASCII alone. Numbers in JSON are compared as numeric."""

    def finished(self, sql: str) -> str:
        return sql.replace("?", "%s")

    def same(self, column: Part, text: str, exact: bool) -> Part:
        text = text if exact else fold(text)
        folded = column if exact else self._folded(column)
        if glob.plain(text):
            return folded + Part(" = ?", (text,))
        pieces = glob.pieces(text)
        like = glob.as_like(pieces)
        return folded + (Part(" ~ ?", (glob.as_postgres(pieces),)) if like is None else Part(" LIKE ?", (like,)))

    def _folded(self, column: Part) -> Part:
        return Part("lower((") + column + ') COLLATE "C")'

    def one_of(self, column: Part, texts: Sequence[str], exact: bool) -> Part:
        if not all(map(glob.plain, texts)):
            return _either([self.same(column, text, exact) for text in texts])
        wanted = tuple(text if exact else fold(text) for text in texts)
        return (column if exact else self._folded(column)) + Part(f" IN ({', '.join('?' * len(texts))})", wanted)

    def contains(self, column: Part, text: str) -> Part:
        return self._folded(column) + Part(" LIKE ?", (f"%{glob.escaped_like(fold(text))}%",))

    def any_of(self, column: Part, condition: Callable[[Part], Part] | None = None, place: int = 0) -> Part:
        said = Part("TRUE") if condition is None else condition(Part(f"r.value ->> {place}"))
        return Part(_ANY) + "jsonb_array_elements((" + column + ")::jsonb) r WHERE " + said + ")"

    def within(self, column: Part, path: tuple[str | int, ...]) -> Part:
        found = Part("(") + column + ")::jsonb"
        for step in path:
            found += Part(" -> ?::int" if isinstance(step, int) else " -> ?::text", (step,))
        return Part("(") + found + ")"

    def there(self, column: Part) -> Part:
        return Part("jsonb_typeof") + column + " <> 'null'"

    def is_text(self, column: Part) -> Part:
        return Part("jsonb_typeof") + column + " = 'string'"

    def json_text(self, column: Part) -> Part:
        return column + " #>> '{}'"

    def is_boolean(self, column: Part, value: bool) -> Part:
        return column + (" = 'true'::jsonb" if value else " = 'false'::jsonb")

    def number(self, column: Part, sign: str, value: int | float) -> Part:
        """CASE, for nothing else keeps the conversion from what is no number."""
        kind = Part("CASE WHEN jsonb_typeof") + column + " = 'number' THEN "
        return kind + column + Part(f"::numeric {sign} ?::numeric ELSE FALSE END", (repr(value),))


SQLITE: Dialect = _Sqlite()
POSTGRES: Dialect = _Postgres()

"""The fields of the filter language, their types, and how the values of each type are written and read."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, IntEnum
from types import MappingProxyType
from typing import NamedTuple

from gateway.traffic import glob


class Type(Enum):
    """What a field holds; the value is how people would say it."""

    TEXT = "a text"
    NUMBER = "a number like 4711"
    COUNT = "a number like 2"  # never missing; by itself it holds where it is more than 0
    DURATION = "a duration like 2s, 150ms or 1m30s"
    TIME = "a time like 10m (ago) or 2026-01-31T12:00Z"
    BOOLEAN = "true or false"
    DIRECTION = "up or down"
    SEVERITY = "note, warning or error"
    JSON = "a value"
    FREE = "a text in quotes"


class Place(Enum):
    """Whose the field is."""

    EXCHANGE = "exchange"
    LEG = "leg"
    EITHER = "either"  # of the leg where an expression names one, of the exchange otherwise


@dataclass(frozen=True, slots=True)
class Field:
    """One field. `exact`: the case of its text matters."""

    name: str
    type: Type
    place: Place
    exact: bool = False


def _fields() -> Mapping[str, Field]:
    whole, leg, either = Place.EXCHANGE, Place.LEG, Place.EITHER
    return MappingProxyType(
        {
            field.name: field
            for field in (
                Field("charger", Type.TEXT, whole),
                Field("tenant", Type.TEXT, whole),
                Field("action", Type.TEXT, whole),
                Field("id", Type.NUMBER, whole),
                Field("name", Type.TEXT, whole, exact=True),
                Field("direction", Type.DIRECTION, whole),
                Field("outcome", Type.TEXT, either),
                Field("ok", Type.BOOLEAN, either),
                Field("latency", Type.DURATION, either),
                Field("connector", Type.NUMBER, whole),
                Field("transaction", Type.NUMBER, whole),
                Field("at", Type.TIME, whole),
                Field("payload", Type.JSON, whole),
                Field("result", Type.JSON, whole),
                Field("expert", Type.BOOLEAN, whole),
                Field("expert.severity", Type.SEVERITY, whole),
                Field("expert.rule", Type.TEXT, whole),
                Field("remark", Type.COUNT, leg),
                Field("remark.lost", Type.COUNT, leg),
                Field("remark.changed", Type.COUNT, leg),
                Field("remark.assumed", Type.COUNT, leg),
                Field("remark.repaired", Type.COUNT, leg),
                Field("remark.rule", Type.TEXT, leg),
                Field("leg", Type.TEXT, leg),
                Field("wire", Type.TEXT, leg),
                Field("version", Type.TEXT, leg),
                Field("peer", Type.TEXT, leg),
                Field("refused", Type.BOOLEAN, leg),
                Field("note", Type.TEXT, leg),
                Field("text", Type.FREE, whole),
            )
        }
    )


FIELDS = _fields()

SAME = ("==", "!=")
ORDER = ("<", "<=", ">", ">=")

_ALL = (*SAME, *ORDER)
OPERATORS: Mapping[Type, tuple[str, ...]] = MappingProxyType(
    {
        Type.TEXT: (*SAME, "~", "in"),
        Type.NUMBER: (*_ALL, "in"),
        Type.COUNT: (*_ALL, "in"),
        Type.DURATION: _ALL,
        Type.TIME: _ALL,
        Type.BOOLEAN: SAME,
        Type.DIRECTION: SAME,
        Type.SEVERITY: (*_ALL, "in"),
        Type.JSON: (*_ALL, "~", "in"),
        Type.FREE: ("~",),
    }
)


class Severity(IntEnum):
    """How grave a finding is."""

    NOTE = 1
    WARNING = 2
    ERROR = 3


@dataclass(frozen=True, slots=True)
class Ago:
    """A time so many seconds before now."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Moment:
    """A time, in unix seconds to the microsecond."""

    at: float


@dataclass(frozen=True, slots=True)
class Spelt:
    """A number without quotes, compared with JSON: what is spelt like one is often a text there, like the tag 0012."""

    text: str

    @property
    def number(self) -> int | float:
        """What it is as a number."""
        return number(self.text)


Value = str | int | float | bool | Severity | Ago | Moment | Spelt


class Word(NamedTuple):
    """A value as it was written. `at` is the place of its first character."""

    text: str
    at: int = 0
    quoted: bool = False


class ValueProblem(ValueError):
    """A value that its field cannot be compared with; `at` is where that shows."""

    def __init__(self, problem: str, at: int) -> None:
        super().__init__(problem)
        self.at = at


_NUMBER = re.compile(r"-?\d{1,18}(?:\.\d{1,18})?", re.ASCII)  # integers fit into 64 bits
_UNITS = MappingProxyType({"ms": "0.001", "s": "1", "m": "60", "h": "3600", "d": "86400"})
_PART = re.compile(r"(\d{1,12}(?:\.\d{1,20})?)(ms|s|m|h|d)", re.ASCII)
_DURATION = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)
_LATEST = datetime(2200, 1, 1, tzinfo=UTC).timestamp()  # until then a float tells microseconds apart


def value(field: Field, operator: str, word: Word) -> Value:
    """The value that the word is to this field. ValueProblem."""
    if field.type in (Type.TEXT, Type.FREE):
        return _text(field, operator, word)
    if field.type is Type.JSON:
        return _json(field, operator, word)
    found = _typed(field.type, word.text)
    if found is None:
        raise ValueProblem(f"expected {field.type.value} after {field.name}, got {shown(word.text)}", word.at)
    return found


def _typed(kind: Type, text: str) -> Value | None:
    if kind in (Type.NUMBER, Type.COUNT):
        return number(text) if _NUMBER.fullmatch(text) else None
    if kind is Type.DURATION:
        return duration(text)
    if kind is Type.TIME:
        return moment(text)
    if kind is Type.SEVERITY:
        return {severity.name.lower(): severity for severity in Severity}.get(text.lower())
    allowed: Mapping[str, Value] = {"true": True, "false": False} if kind is Type.BOOLEAN else {"up": "up", "down": "down"}
    return allowed.get(text.lower())


def number(text: str) -> int | float:
    """An integer where there is no fraction."""
    return float(text) if "." in text else int(text)


def duration(text: str) -> float | None:
    """Seconds."""
    if not _DURATION.fullmatch(text):
        return None
    return float(sum(Decimal(n) * Decimal(_UNITS[unit]) for n, unit in _PART.findall(text)))


def moment(text: str) -> Ago | Moment | None:
    """How long ago, or ISO 8601, in UTC unless it says otherwise."""
    ago = duration(text)
    if ago is not None:
        return Ago(ago)
    try:
        found = datetime.fromisoformat(text)
        at = (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
    return Moment(at) if 0 <= at < _LATEST else None


def _text(field: Field, operator: str, word: Word) -> str:
    if not word.text:
        raise ValueProblem(f"expected a text that is not empty; where there is none, say: not {field.name}", word.at)
    _expect_glob(operator, word)
    return word.text


def _json(field: Field, operator: str, word: Word) -> Value:
    if operator == "~":
        return _text(field, operator, word)
    if not word.quoted:
        if word.text == "null":
            raise ValueProblem(f"expected a value; where there is none, say: not {field.name}...", word.at)
        if word.text in ("true", "false") and operator not in ORDER:
            return word.text == "true"
        if _NUMBER.fullmatch(word.text):
            return Spelt(word.text)
    if operator in ORDER:
        raise ValueProblem(f"expected a number after {operator}, got {shown(word.text)}", word.at)
    _expect_glob(operator, word)
    return word.text


def _expect_glob(operator: str, word: Word) -> None:
    """Of what is compared as a whole, and has signs that stand for others."""
    if operator == "~":
        return
    try:
        glob.pieces(word.text.lower())
    except glob.GlobError as error:
        # Within quotes an escape before it may have moved it.
        raise ValueProblem(str(error), word.at + (0 if word.quoted else error.offset)) from None


def shown(text: str) -> str:
    """Some words from an expression, harmless and short, for an error."""
    short = text if len(text) <= 40 else f"{text[:37]}..."
    return f'"{"".join(char if char.isprintable() else "·" for char in short)}"'


def written(found: Value) -> str:
    """The value as the language writes it."""
    if isinstance(found, Severity):
        return found.name.lower()
    if isinstance(found, bool):
        return "true" if found else "false"
    if isinstance(found, Ago):
        return written_duration(found.seconds)
    if isinstance(found, Moment):
        return datetime.fromtimestamp(found.at, UTC).isoformat().replace("+00:00", "Z")
    if isinstance(found, Spelt):
        return found.text
    return quoted(found) if isinstance(found, str) else decimal(found)


def written_duration(seconds: float) -> str:
    """In the largest unit that it is a whole number of, or else in seconds."""
    for unit in ("d", "h", "m"):
        many, rest = divmod(seconds, float(_UNITS[unit]))
        if many and not rest:
            return f"{decimal(many)}{unit}"
    return f"{decimal(seconds)}s"


def decimal(found: float) -> str:
    """Without an exponent, and without a fraction that is none."""
    return format(Decimal(repr(found)), "f").removesuffix(".0")


def listed(words: Iterable[str]) -> str:
    """a, b or c."""
    *some, last = words
    return f"{', '.join(some)} or {last}" if some else last


def quoted(text: str) -> str:
    """In quotes, on one line."""
    return f'"{"".join(map(_quotable, text))}"'


def _quotable(char: str) -> str:
    if char in '"\\':
        return f"\\{char}"
    return char if char.isprintable() or char > "\uffff" else f"\\u{ord(char):04x}"

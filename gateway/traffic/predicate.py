"""A filter as a function of an exchange, for what passes now. Says of each exchange what `sql` says of it once it is stored."""

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from functools import partial
from types import MappingProxyType
from typing import Any

import msgspec

from gateway.traffic import glob
from gateway.traffic.exchanges import Exchange, Half, Leg
from gateway.traffic.fields import Ago, Moment, Place, Spelt, Type, Value
from gateway.traffic.glob import fold
from gateway.traffic.tree import And, Compare, Has, In, Name, Not, Or, Tree, moment, of_one_leg
from translations.messages import Remark

Predicate = Callable[[Exchange], bool]

_Test = Callable[[Exchange, Leg | None], bool]  # with the leg that is asked for, where an expression names one
_Holds = Callable[[Any], bool]  # of a value that is there
_Values = Callable[[Exchange, Leg | None], Iterable[Any]]  # what a field holds, without what is missing

_SEVERITIES = MappingProxyType({"note": 1, "warning": 2, "error": 3})
_ORDER: Mapping[str, Callable[[Any, Any], bool]] = MappingProxyType(
    {"==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
)


def compiled(tree: Tree, now: float) -> Predicate:
    """Whether an exchange matches; `now` is what "10m" is counted from, in unix seconds."""
    test = _test(tree, now)
    if of_one_leg(tree):
        return lambda exchange: any(test(exchange, leg) for leg in exchange.legs)
    return lambda exchange: test(exchange, None)


def _test(tree: Tree, now: float) -> _Test:
    if isinstance(tree, And | Or):
        join, tests = (all if isinstance(tree, And) else any), [_test(part, now) for part in tree.parts]
        return lambda exchange, leg: join(test(exchange, leg) for test in tests)
    if isinstance(tree, Not):
        inner = _test(tree.part, now)
        return lambda exchange, leg: not inner(exchange, leg)
    values, holds = _values(tree.name), _condition(tree, now)
    return lambda exchange, leg: any(map(holds, values(exchange, leg)))


def _condition(tree: Has | Compare | In, now: float) -> _Holds:
    if isinstance(tree, Has):
        return bool if tree.name.field.type in (Type.BOOLEAN, Type.COUNT) else lambda value: True
    if isinstance(tree, Compare):
        return _holds(tree.name, tree.operator, tree.value, now)
    choices = [_holds(tree.name, "==", value, now) for value in tree.values]
    return lambda found: any(holds(found) for holds in choices)


def _holds(name: Name, sign: str, value: Value, now: float) -> _Holds:
    if name.field.type is Type.JSON:
        return _json(sign, value)
    if isinstance(value, str):
        return _text(sign, value, name.field.exact)
    other = moment(value, now) if isinstance(value, Ago | Moment) else value
    compare = _ORDER[sign]
    return lambda found: compare(found, other)


def _text(sign: str, value: str, exact: bool = False) -> _Holds:
    folded: Callable[[str], str] = str if exact else fold
    wanted = folded(value)
    if sign == "~":
        return lambda found: wanted in folded(found)
    holds = _same(wanted)
    return (lambda found: not holds(folded(found))) if sign == "!=" else (lambda found: holds(folded(found)))


def _same(wanted: str) -> _Holds:
    if glob.plain(wanted):
        return lambda found: bool(found == wanted)
    pattern: re.Pattern[str] = glob.as_pattern(glob.pieces(wanted))
    return lambda found: pattern.fullmatch(found) is not None


def _json(sign: str, value: Value) -> _Holds:
    if sign == "!=":
        same = _json("==", value)
        return lambda found: not same(found)
    if isinstance(value, bool):
        return lambda found: found is value
    if isinstance(value, Spelt):
        return _spelt(sign, value)
    text = _text(sign, str(value))
    return lambda found: isinstance(found, str) and text(found)


def _spelt(sign: str, value: Spelt) -> _Holds:
    compare, number, text = _ORDER[sign], value.number, fold(value.text)

    def holds(found: Any) -> bool:
        if isinstance(found, str):
            return sign == "==" and found == text
        return isinstance(found, int | float) and not isinstance(found, bool) and compare(found, number)

    return holds


# --- what fields hold --------------------------------------------------------------------------------------------------


def _values(name: Name) -> _Values:
    if name.path:
        return partial(_within, _PAYLOADS[name.field.name], name.path)
    own, of_leg = _OF_EXCHANGE.get(name.field.name), _OF_LEG.get(name.field.name)
    if name.field.place is Place.EITHER and own and of_leg:
        return lambda exchange, leg: own(exchange) if leg is None else of_leg(leg)
    if own:
        return lambda exchange, leg: own(exchange)
    assert of_leg
    return lambda exchange, leg: _of_any(of_leg, exchange.legs) if leg is None else of_leg(leg)


def _of_any(of_leg: Callable[[Leg], Iterable[Any]], legs: Iterable[Leg]) -> Iterable[Any]:
    return (value for leg in legs for value in of_leg(leg))


def _there(value: Any) -> tuple[Any, ...]:
    """A text that is empty is missing."""
    return () if value is None or value == "" else (value,)


def _severity(exchange: Exchange) -> Iterable[int]:
    """The gravest."""
    worst = max((_SEVERITIES.get(finding.severity, 0) for finding in exchange.findings), default=0)
    return (worst,) if worst else ()


def _remarks(leg: Leg) -> Iterable[Remark]:
    return (remark for half in (leg.call, leg.answer) if half is not None for remark in half.remarks)


def _count(kind: str, leg: Leg) -> Iterable[int]:
    return (sum(remark.kind == kind for remark in _remarks(leg)),)


def note_of(leg: Leg) -> str:
    """The reason why it failed: that of the answer, or else of the call."""
    notes = (half.note for half in (leg.answer, leg.call) if half is not None)
    return next(filter(None, notes), "")


def _texts(exchange: Exchange) -> Iterable[str]:
    return (text for text in (payload_text(exchange), result_text(exchange)) if text is not None)


_OF_EXCHANGE: Mapping[str, Callable[[Exchange], Iterable[Any]]] = MappingProxyType(
    {
        "charger": lambda x: _there(x.charger),
        "tenant": lambda x: _there(x.tenant),
        "action": lambda x: _there(x.action),
        "id": lambda x: (x.id,),
        "name": lambda x: _there(x.name),
        "direction": lambda x: ("up" if x.up else "down",),
        "outcome": lambda x: _there(x.outcome),
        "ok": lambda x: (x.ok,),
        "latency": lambda x: _there(x.latency),
        "connector": lambda x: _there(x.connector),
        "transaction": lambda x: _there(x.transaction),
        "at": lambda x: (x.at,),
        "expert": lambda x: (bool(x.findings),),
        "expert.severity": _severity,
        "expert.rule": lambda x: (finding.rule for finding in x.findings),
        "text": _texts,
    }
)
_OF_LEG: Mapping[str, Callable[[Leg], Iterable[Any]]] = MappingProxyType(
    {
        "leg": lambda leg: _there(leg.name),
        "wire": lambda leg: _there(leg.wire),
        "version": lambda leg: _there(leg.version),
        "peer": lambda leg: _there(leg.peer),
        "outcome": lambda leg: _there(leg.outcome),
        "ok": lambda leg: (leg.outcome == "ok",),
        "latency": lambda leg: _there(leg.latency),
        "refused": lambda leg: (leg.refused,),
        "note": lambda leg: _there(note_of(leg)),
        "remark": lambda leg: (sum(1 for _ in _remarks(leg)),),
        "remark.lost": partial(_count, "lost"),
        "remark.changed": partial(_count, "changed"),
        "remark.assumed": partial(_count, "assumed"),
        "remark.repaired": partial(_count, "repaired"),
        "remark.rule": lambda leg: (remark.rule for remark in _remarks(leg)),
    }
)


# --- payloads ----------------------------------------------------------------------------------------------------------

_frame = msgspec.json.Decoder(list[msgspec.Raw])
_exact = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)
_values_of = msgspec.json.Decoder(float_hook=float)  # of what is beyond a float, infinity, as databases have it
_encoder = msgspec.json.Encoder(decimal_format="number")
_NULL = re.compile(r"(?<!\\)((?:\\\\)*)\\u0000")
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_DEEPEST = 200  # values within each other; SQLite's reader gives up at a thousand, and fails the whole question
_INTEGERS = range(-(2**63), 2**63)


def payload_text(exchange: Exchange) -> str | None:
    """The payload of the call where it came in, as the JSON that is kept beside the exchange to be looked into; None where none
    could be read."""
    leg = _first(exchange)
    return None if leg is None else _text_of(leg.call, b"2", 3)


def result_text(exchange: Exchange) -> str | None:
    """The payload of the answer there, in the same way; None of an error."""
    leg = _first(exchange)
    return None if leg is None else _text_of(leg.answer, b"3", 2)


def _first(exchange: Exchange) -> Leg | None:
    """The leg where the call came in; of a call that the gateway made by itself, the first."""
    legs = exchange.legs
    if not legs or legs[0].inward:
        return legs[0] if legs else None
    return next((leg for leg in legs if leg.inward), legs[0])


def _text_of(half: Half | None, kind: bytes, place: int) -> str | None:
    """On one line, every digit of numbers kept, each key once; databases can have no U+0000 in a text."""
    if half is None:
        return None
    try:
        frame = _frame.decode(half.raw if half.canonical is None else half.canonical)
        if len(frame) <= place or bytes(frame[0]) != kind or _too_deep(said := bytes(frame[place])):
            return None
        text = _encoder.encode(_exact.decode(said)).decode()
    except (ValueError, ArithmeticError, RecursionError):  # what msgspec raises are ValueErrors
        return None
    return _NULL.sub("\\1\ufffd", text) if "\\u0000" in text else text


def _too_deep(text: bytes) -> bool:
    if len(text) <= 2 * _DEEPEST or text.count(b"[") + text.count(b"{") <= _DEEPEST:
        return False
    depth = 0
    for sign in re.findall(rb"[\[\]{}]", _STRING.sub(b"", text)):
        depth += 1 if sign in b"[{" else -1
        if depth > _DEEPEST:
            return True
    return False


def _within(
    text_of: Callable[[Exchange], str | None], path: tuple[str | int, ...], exchange: Exchange, leg: Leg | None
) -> Iterable[Any]:
    text = text_of(exchange)
    found: Any = None if text is None else _values_of.decode(text)
    for step in path:
        found = _step(found, step)
    return () if found is None else (_number(found),)


def _step(found: Any, step: str | int) -> Any:
    if isinstance(step, str):
        return found.get(step) if isinstance(found, dict) else None
    return found[step] if isinstance(found, list) and step < len(found) else None


def _number(found: Any) -> Any:
    """Integers of more than 64 bits are floats, as databases have them."""
    if not isinstance(found, int) or isinstance(found, bool) or found in _INTEGERS:
        return found
    return float(found) if abs(found) < 10**308 else math.copysign(math.inf, found)


_PAYLOADS: Mapping[str, Callable[[Exchange], str | None]] = MappingProxyType({"payload": payload_text, "result": result_text})

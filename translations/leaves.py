"""Single values: XML text to canonical value and back, by declared type, never by look.

Reading repairs what is sure and remarks it; writing is strict.
"""

import re
from collections.abc import Callable, Mapping
from copy import deepcopy
from decimal import Decimal
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from lxml import etree

from translations import quirks
from translations.errors import OccurenceConstraintViolation, OcppError, PropertyConstraintViolation, TypeConstraintViolation
from translations.messages import Kind
from translations.step import Step, kind_of, shown

if TYPE_CHECKING:
    from translations.deltas import Slot, Words

Reader = Callable[[str | None, "Slot", etree._Element, Step], Any]
"""(text, slot, element, step) -> canonical value, or None where there is none."""

Writer = Callable[[Any, "Slot", Step], str]
"""(canonical value, slot, step) -> XML text."""

XSI = "{http://www.w3.org/2001/XMLSchema-instance}"  # as names in it begin
_NIL = f"{XSI}nil"
_INT_MIN, _INT_MAX = -(2**31), 2**31 - 1
_MARKUP_MOST = 2**20
SPACE = " \t\r\n"  # of XML: no other space is taken away, it is part of a name
_BOOLEANS: Mapping[str, bool] = MappingProxyType({"true": True, "false": False, "1": True, "0": False})

# What XML text cannot hold as it is; of these, what XML 1.0 cannot hold at all (XML 1.0, 2.2).
_SPECIAL = re.compile("[&<>\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]").search
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


class UnknownWord(PropertyConstraintViolation):
    """A value that is in no version's enumeration."""


# --- reading: the first lines of each are the quick way for what is as it should be -----------------------------------


def _string(text: str | None, slot: "Slot", node: etree._Element, step: Step) -> Any:
    if slot.words is not None:
        if len(node):
            raise _not_simple(slot, step)
        return _odd_word(text, slot.words, slot, node, step)
    if text and text[0] > " " and text[-1] > " " and (slot.limit is None or len(text) <= slot.limit) and len(node) == 0:
        return text
    return _odd_string(text, slot, node, step)


def _odd_string(text: str | None, slot: "Slot", node: etree._Element, step: Step) -> Any:
    if len(node):
        text = _markup(text, slot, node, step)
    if slot.verbatim:
        return _verbatim(text or "", slot, node, step)
    stripped = (text or "").strip(SPACE)
    if not stripped:
        if slot.assumed:
            return _absent_note(slot, step)
        if slot.filled:
            return _absent_or_refused(slot, step)
        if slot.required and not _nil(node):
            return stripped
        return _absent_note(slot, step)
    if stripped != text:
        step.note(Kind.REPAIRED, "white space around it", "quirks.padding", slot.name)
    if slot.limit is not None and len(stripped) > slot.limit and not step.off:
        return _cut(stripped, slot, slot.limit, step)
    return stripped


def _markup(text: str | None, slot: "Slot", node: etree._Element, step: Step) -> str:
    """The elements inside as text, each a document of its own. Who it is, is not to be made of them."""
    if slot.filled:
        raise _not_simple(slot, step)
    parts, size = [text or ""], len(text or "")
    for child in node:
        # A copy declares the namespaces it uses; in place, every one in scope would be repeated for every child.
        parts.append(etree.tostring(deepcopy(child), encoding="unicode"))
        size += len(parts[-1])
        if size > _MARKUP_MOST:
            raise PropertyConstraintViolation(step.text(f"expected markup of at most {_MARKUP_MOST} characters", slot.name))
    step.note(Kind.REPAIRED, "elements inside, kept as text", "quirks.markup", slot.name)
    return "".join(parts).strip()


def _cut(text: str, slot: "Slot", limit: int, step: Step) -> str:
    if not slot.cut:
        raise PropertyConstraintViolation(step.text(f"expected at most {limit} characters, got {len(text)}", slot.name))
    step.note(Kind.CHANGED, f"cut from {len(text)} to {limit} characters", "quirks.too-long", slot.name)
    return text[:limit].rstrip() or text[:limit]


def _odd_word(text: str | None, words: "Words", slot: "Slot", node: etree._Element, step: Step) -> Any:
    stripped = (text or "").strip(SPACE)
    if not stripped:
        return _absent_or_refused(slot, step)
    if stripped != text:
        step.note(Kind.REPAIRED, "white space around it", "quirks.padding", slot.name)
    if stripped in words.up_marked:
        value, kind = words.up_marked[stripped]
        newest = slot.rule.startswith("ocpp16.")  # which has no older words itself
        rule = "quirks.other-version" if newest else slot.rule
        step.note(kind, f"{stripped} became {value}", rule, slot.name)
        return value
    known = stripped if stripped in words.up else quirks.word(stripped, (*words.up, *words.up_marked))
    if step.off and known != stripped:
        return stripped
    if known is None:
        newer = stripped if stripped in words.canonical else quirks.word(stripped, words.canonical)
        if newer is None:
            return _unknown_word(stripped, words, slot, step)
        step.note(Kind.REPAIRED, f"{stripped} is a word of another version", "quirks.other-version", slot.name)
        return newer
    if known != stripped:
        step.note(Kind.REPAIRED, f"written {shown(stripped)}", "quirks.case", slot.name)
        return _odd_word(known, words, slot, node, step) if known in words.up_marked else words.up[known]
    return words.up[known]


def _unknown_word(text: str, words: "Words", slot: "Slot", step: Step) -> str | None:
    if words.unknown in words.canonical:
        if words.keep:
            step.original = text
        rule = "quirks.unknown-error-code" if words.keep else "quirks.unknown-word"
        step.note(Kind.CHANGED, f"{shown(text)} became {words.unknown}", rule, slot.name)
        return words.unknown
    if words.unknown == "field" and not slot.required:
        step.note(Kind.LOST, f"left out: unknown word {shown(text)}", "quirks.unknown-word", slot.name)
        return None
    raise UnknownWord(step.text(f"expected one of {', '.join((*words.up, *words.up_marked))}, got {shown(text)}", slot.name))


def _verbatim(text: str, slot: "Slot", node: etree._Element, step: Step) -> str | None:
    if _nil(node) and not slot.required:
        _absent_note(slot, step)
        return None
    if slot.limit is not None and len(text) > slot.limit and not step.off:
        return _cut(text, slot, slot.limit, step)
    return text


def _not_simple(slot: "Slot", step: Step) -> TypeConstraintViolation:
    return TypeConstraintViolation(step.text("expected a value, got elements inside", slot.name or slot.wire))


def _int(text: str | None, slot: "Slot", node: etree._Element, step: Step) -> Any:
    if len(node):
        raise _not_simple(slot, step)
    if text is not None and len(text) < 10 and text.isdigit() and text.isascii():
        return int(text)
    stripped = (text or "").strip(SPACE)
    if not stripped:
        return _absent_or_refused(slot, step)
    if not quirks.INTEGER.fullmatch(stripped):
        repaired = quirks.whole(stripped)
        if repaired is None:
            raise TypeConstraintViolation(step.text(f"expected an integer, got {shown(stripped)}", slot.name))
        step.note(Kind.REPAIRED, f"written {shown(stripped)}", "quirks.whole-number", slot.name)
        stripped = repaired
    value = int(stripped)
    if not _INT_MIN <= value <= _INT_MAX:
        raise PropertyConstraintViolation(step.text("expected an integer of 32 bits, got a larger one", slot.name))
    return value


def _sample(text: str | None, slot: "Slot", node: etree._Element, step: Step) -> Any:
    """A bare value as that of a sample; one that cannot be used is left out, and its group without samples with it."""
    try:
        return str(_int(text, slot, node, step))
    except OcppError as error:
        step.note(Kind.LOST, f"left out: {error.text.partition(': ')[2]}", "quirks.unusable-value", slot.name, 0)
        return None


def _decimal(text: str | None, slot: "Slot", node: etree._Element, step: Step) -> Any:
    if len(node):
        raise _not_simple(slot, step)
    stripped = (text or "").strip(SPACE)
    if not stripped:
        return _absent_or_refused(slot, step)
    if not quirks.DECIMAL.fullmatch(stripped):
        raise TypeConstraintViolation(step.text(f"expected a decimal number, got {shown(stripped)}", slot.name))
    value = Decimal(stripped)
    if abs(value) >= 10**15:
        raise PropertyConstraintViolation(step.text("expected a number below 10 to the 15th", slot.name))
    return value if "." in stripped else int(value)


def _boolean(text: str | None, slot: "Slot", node: etree._Element, step: Step) -> Any:
    if len(node):
        raise _not_simple(slot, step)
    stripped = (text or "").strip(SPACE)
    if not stripped:
        return _absent_or_refused(slot, step)
    if stripped in _BOOLEANS:
        return _BOOLEANS[stripped]
    repaired = quirks.boolean(stripped)
    if repaired is None:
        raise TypeConstraintViolation(step.text(f"expected true or false, got {shown(stripped)}", slot.name))
    step.note(Kind.REPAIRED, f"written {stripped}", "quirks.case", slot.name)
    return _BOOLEANS[repaired]


def _timestamp(text: str | None, slot: "Slot", node: etree._Element, step: Step) -> Any:
    if len(node):
        raise _not_simple(slot, step)
    if text is not None and quirks.TIMESTAMP.fullmatch(text):
        return text
    stripped = (text or "").strip(SPACE)
    if not stripped:
        return _absent_or_refused(slot, step)
    return _sure_timestamp(stripped, slot, step)


def _sure_timestamp(text: str, slot: "Slot", step: Step) -> str | None:
    if quirks.TIMESTAMP.fullmatch(text):
        return text
    if step.off:
        return text
    repaired = quirks.timestamp(text, step.zone)
    if repaired is None:
        return _received(text, slot, step)
    if repaired[0] != text:
        kind = Kind.ASSUMED if repaired[1].startswith("no zone") else Kind.REPAIRED
        step.note(kind, f"{repaired[1]}: {shown(text)}", "quirks.timestamp", slot.name)
    return repaired[0]


def _received(text: str, slot: "Slot", step: Step) -> str | None:
    """The time of receipt for a date that cannot be (seen: 2022-02-29). A charger's message is worth more than its clock.

    Only for when something happened: when something ends or is to be done is nothing that the clock here could tell.
    """
    if not slot.event and not slot.required and step.received:
        step.note(Kind.LOST, f"left out: no date: {shown(text)}", "quirks.unusable-date", slot.name)
        return None
    if not step.received or not slot.event:
        raise TypeConstraintViolation(step.text(f"expected a date and time, got {shown(text)}", slot.name))
    step.note(Kind.ASSUMED, f"no date, taken as the time of receipt: {shown(text)}", "quirks.time-of-receipt", slot.name)
    return step.received


def _absent_or_refused(slot: "Slot", step: Step) -> None:
    if slot.required:
        raise OccurenceConstraintViolation(step.text("expected a value, found none", slot.name or slot.wire))
    _absent_note(slot, step)


def _absent_note(slot: "Slot", step: Step) -> None:
    step.note(Kind.REPAIRED, "empty, taken as absent", "quirks.empty", slot.name or slot.wire)


def _nil(node: etree._Element) -> bool:
    return node.get(_NIL) in ("true", "1")


def is_nothing(node: etree._Element) -> bool:
    """Whether an element that could hold others says that there is nothing."""
    return _nil(node) or not (len(node) or (node.text or "").strip())


READERS: Mapping[str, Reader] = {
    "string": _string,
    "anyURI": _string,
    "int": _int,
    "sample": _sample,
    "decimal": _decimal,
    "boolean": _boolean,
    "dateTime": _timestamp,
}


# --- writing -------------------------------------------------------------------------------------------------------


def _write_string(value: Any, slot: "Slot", step: Step) -> str:
    if type(value) is not str:
        raise TypeConstraintViolation(step.text(f"expected text, got {kind_of(value)}", slot.name))
    if slot.filled and not slot.cut and not value.strip():
        raise OccurenceConstraintViolation(step.text("expected a value, got empty text", slot.name))
    if slot.wire_limit is not None and len(value) > slot.wire_limit and not step.off:
        raise PropertyConstraintViolation(
            step.text(f"expected at most {slot.wire_limit} characters, got {len(value)}", slot.name)
        )
    return escape(value, step, slot) if _SPECIAL(value) or slot.close == '"' else value


def _write_int(value: Any, slot: "Slot", step: Step) -> str:
    if type(value) is int and _INT_MIN <= value <= _INT_MAX:
        return str(value)
    return str(_odd_int(value, slot, step))


def _write_timestamp(value: Any, slot: "Slot", step: Step) -> str:
    if type(value) is not str:
        raise TypeConstraintViolation(step.text(f"expected a date and time as text, got {kind_of(value)}", slot.name))
    sure = value if quirks.TIMESTAMP.fullmatch(value) else _sure_timestamp(value.strip(), slot, step) or value
    if step.date != "as-given":
        sure = _in_form(sure, slot, step)
    return escape(sure, step, slot) if step.off else sure


def _in_form(text: str, slot: "Slot", step: Step) -> str:
    """The same moment in the form that the peer wants; only digits that the form has no place for are lost."""
    written = quirks.in_utc(text, step.date == "milliseconds") or text
    if written != text:
        step.note(Kind.CHANGED, f"{shown(text)} in {step.date}", "manners.date", slot.name)
    return written


def _write_boolean(value: Any, slot: "Slot", step: Step) -> str:
    if type(value) is not bool:
        raise TypeConstraintViolation(step.text(f"expected true or false, got {kind_of(value)}", slot.name))
    return "true" if value else "false"


def _odd_int(value: Any, slot: "Slot", step: Step) -> int:
    if isinstance(value, Decimal) and value.is_finite() and abs(value) < 2**40 and value == int(value):
        step.note(Kind.REPAIRED, f"written {value}", "quirks.whole-number", slot.name)
        value = int(value)
    elif isinstance(value, str) and quirks.INTEGER.fullmatch(value.strip()):
        step.note(Kind.REPAIRED, "a number as text", "quirks.number-as-text", slot.name)
        value = int(value)
    if type(value) is not int:
        raise TypeConstraintViolation(step.text(f"expected an integer, got {kind_of(value)}", slot.name))
    if not _INT_MIN <= value <= _INT_MAX:
        raise PropertyConstraintViolation(step.text("expected an integer of 32 bits, got a larger one", slot.name))
    return value


def _write_decimal(value: Any, slot: "Slot", step: Step) -> str:
    if type(value) is int and abs(value) < 10**15:
        return str(value)
    if isinstance(value, float):
        value = Decimal(repr(value))
    if not isinstance(value, Decimal) or not value.is_finite() or abs(value) >= 10**15:
        raise TypeConstraintViolation(step.text(f"expected a decimal number, got {kind_of(value)}", slot.name))
    tenths = value * 10
    if tenths != int(tenths):
        raise PropertyConstraintViolation(step.text(f"expected a multiple of 0.1, got {value}", slot.name))
    return f"{value:.1f}"


def escape(text: str, step: Step | None = None, slot: "Slot | None" = None) -> str:
    """Text as XML writes it, also inside double quotes. Raises PropertyConstraintViolation for what XML cannot hold."""
    illegal = _ILLEGAL.search(text)
    if illegal:
        what = f"U+{ord(illegal[0]):04X} cannot be said in XML"
        raise PropertyConstraintViolation(step.text(what, slot.name) if step and slot else what)
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")
    if slot is None or slot.close == '"':
        text = text.replace('"', "&quot;").replace("\n", "&#10;").replace("\t", "&#9;")
    return text


WRITERS: Mapping[str, Writer] = {
    "string": _write_string,
    "anyURI": _write_string,
    "int": _write_int,
    "decimal": _write_decimal,
    "boolean": _write_boolean,
    "dateTime": _write_timestamp,
}

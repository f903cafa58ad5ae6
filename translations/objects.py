"""One JSON object of any version to one canonical dict and back, driven by a shape; names no message.

Reading is tolerant by the rules that XML elements are read by, and a value is of its declared type whatever it looks like.
For OCPP 1.6 both sides have the same form, so there reading is mending. Writing is strict.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import msgspec
from lxml import etree

from translations import quirks
from translations.deltas import Shape, Slot
from translations.errors import OccurenceConstraintViolation, OcppError, PropertyConstraintViolation, TypeConstraintViolation
from translations.gaps import left_out
from translations.messages import Kind, Payload
from translations.reading import assume, keep_original, twice
from translations.step import NAME_MOST, Step, kind_of
from translations.writing import LeaveOut, as_object, bare_values, lost, odd_down, with_originals

# The readers of leaves ask an element whether it holds others, or says that it is nil. A JSON value never does.
_NO_ELEMENT = etree.Element("value")
_INT_MIN, _INT_MAX = -(2**31), 2**31 - 1
_ENCODER = msgspec.json.Encoder(decimal_format="number")


# --- reading -------------------------------------------------------------------------------------------------------


def read(given: Mapping[str, Any], shape: Shape, step: Step) -> Payload:
    """The canonical dict of an object, keys in canonical order. Raises a constraint violation with its path."""
    out: Payload = {}
    unknown: Payload = {}
    if shape.spread is not None:
        given = _together(given, shape, shape.spread, step)
    for name, value in given.items():
        slot = _slot(name, shape, step)
        if slot is None and step.off:
            unknown[name] = value
        elif slot is None:
            step.note(Kind.LOST, "unknown field", "quirks.unknown-field", name[:NAME_MOST])
        elif value is None:
            step.note(Kind.REPAIRED, "null, taken as absent", "quirks.empty", slot.name or slot.wire)
        elif not slot.name:
            step.note(Kind.LOST, "the canonical form has no such field", slot.rule, slot.wire)
        else:
            _take(value, slot, shape, out, step)
    if not shape.required <= out.keys():
        _fill(out, shape, step)
    if step.original and shape.keep:
        keep_original(out, shape, step)
    return {name: out[name] for name in shape.names if name in out} | unknown


def _slot(name: str, shape: Shape, step: Step) -> Slot | None:
    """What stands under a name: as it is written, in another case, or in another shape that peers send."""
    local = name.lower()
    slot = shape.text if shape.text is not None and local == shape.text.name else shape.by_local.get(local)
    if slot is not None and slot.wire != name:
        step.note(Kind.REPAIRED, f"written {name[:NAME_MOST]}", "quirks.case", slot.name or slot.wire)
    elif slot is None and (slot := shape.also.get(local)) is not None:
        step.note(Kind.REPAIRED, f"written {name[:NAME_MOST]}", "quirks.other-shape", slot.name)
    return slot


def _together(given: Mapping[str, Any], shape: Shape, spread: Slot, step: Step) -> Mapping[str, Any]:
    """The object with what stands beside its value in it; of several values nobody knows to which that belongs."""
    inner = shape.beside
    assert inner is not None
    own, particular = {**shape.also, **shape.by_local}, inner.by_local.keys() | inner.also.keys()
    beside = {name: value for name, value in given.items() if name.lower() not in own and name.lower() in particular}
    for name in [name for name, value in beside.items() if value in (None, "", {})]:
        step.note(Kind.REPAIRED, "empty, taken as absent", "quirks.empty", name[:NAME_MOST])
        given = {other: value for other, value in given.items() if other != name}
        del beside[name]
    held = next((name for name in given if (slot := own.get(name.lower())) and slot.name == spread.name), None)
    if not beside or held is None:
        return given
    value = given[held]
    item = value[0] if isinstance(value, list) and len(value) == 1 else value
    rest = {name: value for name, value in given.items() if name not in beside}
    if isinstance(item, list) or (isinstance(item, dict) and any(item.get(name, said) != said for name, said in beside.items())):
        what = f"left out: nobody knows to which belongs what stands beside them: {', '.join(beside)}"[:200]
        step.note(Kind.LOST, what, "quirks.unusable-value", spread.name)
        del rest[held]
        return rest
    step.note(Kind.REPAIRED, "beside its value, not in it", "quirks.other-shape", spread.name)
    whole = beside | (item if isinstance(item, dict) else {_bare_name(inner): item})
    return {name: [whole] if name == held else value for name, value in rest.items()}


def _take(value: Any, slot: Slot, shape: Shape, out: Payload, step: Step) -> None:
    depth = len(step.path)
    try:
        said = _value(value, slot, shape, step)
    except OcppError:
        if not step.off:
            raise
        del step.path[depth:]
        said = value
    if said is None:
        return
    if slot.name in out and step.off:
        step.note(Kind.LOST, "left out: given twice", "quirks.twice", slot.name)
        return
    if slot.name in out:
        twice(out[slot.name], said, slot, step)
    out[slot.name] = said


def _value(value: Any, slot: Slot, shape: Shape, step: Step) -> Any:
    """The canonical value; None where it is left out, or says nothing."""
    if slot.wrap:
        return _wrapped(value, slot, shape, step)
    if slot.repeated:
        return _list(value, slot, shape, step)
    if (value == {} or (value == [] and slot.shape is None)) and not slot.required and not slot.verbatim:
        return _empty(slot, step)
    if slot.shape is None:
        return _leaf(value, slot, step)
    step.path.append(slot.name)
    said = read(as_object(value, step), slot.shape, step)
    step.path.pop()
    return said


def _empty(slot: Slot, step: Step) -> None:
    step.note(Kind.REPAIRED, "empty, taken as absent", "quirks.empty", slot.name)


def _fill(out: Payload, shape: Shape, step: Step) -> None:
    try:
        assume(out, shape, step)
    except OcppError:
        if not step.off:
            raise


def _wrapped(value: Any, slot: Slot, shape: Shape, step: Step) -> Any:
    """A bare value that is a list of samples in the canonical form; samples as newer versions have them do as well."""
    newer = shape.also.get(slot.name.lower())
    if type(value) in (int, str) or newer is None:
        said = _leaf(value, slot, step)
        return None if said is None else [{slot.wrap: said}]
    step.note(Kind.REPAIRED, "samples instead of a bare value", "quirks.other-shape", slot.name)
    return _list(value, newer, shape, step)


def _list(value: Any, slot: Slot, shape: Shape, step: Step) -> Any:
    items = value if isinstance(value, list) else _alone(value, slot, step)
    if not items:
        return [] if shape.assume.get(slot.name) == [] else _empty(slot, step)
    into: list[Any] = []
    step.path.append((slot.name, into))
    for item in _unwrapped(items, slot, step) if slot.flatten or slot.unwrap else items:
        _add(item, slot, into, step)
    step.path.pop()
    kept = [item for item in into if item is not None]
    if slot.shape is None and not kept and step.title.endswith(".req"):  # without any a GetConfiguration asks for all
        raise OccurenceConstraintViolation(step.text("expected at least one, found none that is one", slot.name))
    return kept or ([] if shape.assume.get(slot.name) == [] else None)


def _alone(value: Any, slot: Slot, step: Step) -> list[Any]:
    """OCPP-J 1.6, 4.2: a list is one even where it has a single item. Not so on every charger."""
    if isinstance(value, dict) or slot.shape is None:
        step.note(Kind.REPAIRED, "an item without its list", "quirks.not-a-list", slot.name)
    return [value]


def _unwrapped(items: Iterable[Any], slot: Slot, step: Step) -> Iterator[Any]:
    """The items inside wrappers that have no meaning of their own; items that come without one are taken as they are."""
    inner = slot.shape
    assert inner is not None
    for item in items:
        names = {name.lower() for name in item} if isinstance(item, dict) else set[str]()
        wrapped = slot.around(names, inner)
        if wrapped:
            if slot.flatten not in wrapped:
                step.note(Kind.REPAIRED, f"{min(wrapped)} around it", "quirks.other-shape")
            yield from _held(item, wrapped, step)
            continue
        if slot.flatten:
            step.note(Kind.REPAIRED, f"without {slot.flatten} around it", "quirks.other-shape")
        yield item


def _held(wrapper: Mapping[str, Any], names: Collection[str], step: Step) -> Iterator[Any]:
    for name, value in wrapper.items():
        if name.lower() not in names:
            step.note(Kind.LOST, "unknown field", "quirks.unknown-field", name[:NAME_MOST])
        elif not value:
            step.note(Kind.REPAIRED, "empty, taken as absent", "quirks.empty")
        elif isinstance(value, list):
            yield from value
        else:
            step.note(Kind.REPAIRED, "an item without its list", "quirks.not-a-list")
            yield value


def _add(item: Any, slot: Slot, into: list[Any], step: Step) -> None:
    """Append what an item says; a gap stands for one that the list goes without, so that the others keep their index."""
    shape, depth = slot.shape, len(step.path)
    if not step.off and (item is None or item == {}):
        step.note(Kind.REPAIRED, "empty, taken as absent", "quirks.empty")
        into.append(None)
        return
    try:
        into.append(_leaf(item, slot, step) if shape is None else _item(item, shape, step))
    except OcppError as error:
        del step.path[depth:]
        if step.off:
            into.append(item)
        elif shape is None or not left_out(error, shape, into, step):
            raise


def _item(item: Any, shape: Shape, step: Step) -> Payload:
    if not isinstance(item, dict) and item is not None and (name := _bare_name(shape)):
        step.note(Kind.REPAIRED, "a bare value", "quirks.other-shape")
        item = {name: item}
    return read(as_object(item, step), shape, step)


def _bare_name(shape: Shape) -> str:
    """The field of a sample that a value is which stands there alone; empty for what is no sample."""
    if shape.text is not None:
        return shape.text.wire
    return next(iter(shape.required)) if shape.sample and len(shape.required) == 1 else ""


# --- single values -------------------------------------------------------------------------------------------------


def _leaf(value: Any, slot: Slot, step: Step) -> Any:
    """A value as its declared type has it; None where there is none."""
    return _LEAVES[slot.base](value, slot, step)


def _told(text: str, slot: Slot, step: Step) -> Any:
    return slot.leaf(text, slot, _NO_ELEMENT, step)


def _text(value: Any, slot: Slot, step: Step) -> Any:
    if type(value) is not str:
        value = _as_text(value, slot, step)
    if slot.words is not None:
        return slot.words.up.get(value) or _told(value, slot, step)
    if (slot.limit is None or len(value) <= slot.limit) and (slot.verbatim or (value and not value.isspace())):
        return value
    return _told(value, slot, step)


def _as_text(value: Any, slot: Slot, step: Step) -> str:
    if isinstance(value, dict | list) and slot.verbatim:
        step.note(Kind.REPAIRED, f"{kind_of(value)} where text belongs, kept as its JSON", "quirks.object-as-text", slot.name)
        return _ENCODER.encode(value).decode()
    text = str(value).lower() if isinstance(value, bool) else str(value)
    # Who it is must never be guessed: a number with an exponent or a fraction may have been another text.
    if isinstance(value, dict | list) or (slot.filled and not quirks.NUMBER.fullmatch(text)) or not (slot.cut or text.isdigit()):
        raise TypeConstraintViolation(step.text(f"expected text, got {kind_of(value)}", slot.name))
    step.note(Kind.REPAIRED, f"{kind_of(value)} where text belongs", "quirks.number-as-text", slot.name)
    return text


def _integer(value: Any, slot: Slot, step: Step) -> Any:
    # OCPP 1.6 over JSON has no bound; what cannot be said on another wire is refused there.
    if type(value) is int and not slot.wrap and (_INT_MIN <= value <= _INT_MAX or slot.rule.startswith("ocpp16.")):
        return value
    return _number(value, slot, "an integer", step)


def _decimal(value: Any, slot: Slot, step: Step) -> Any:
    if type(value) is int or type(value) is Decimal:
        return value
    return _number(value, slot, "a number", step)


def _number(value: Any, slot: Slot, wanted: str, step: Step) -> Any:
    if isinstance(value, bool | dict | list):
        raise TypeConstraintViolation(step.text(f"expected {wanted}, got {kind_of(value)}", slot.name))
    said = _told(str(value), slot, step)
    if said is not None and type(value) is str:
        step.note(Kind.REPAIRED, f"text where {wanted} belongs", "quirks.number-as-text", slot.name)
    return said


def _boolean(value: Any, slot: Slot, step: Step) -> Any:
    if type(value) is bool:
        return value
    if not isinstance(value, int | str):
        raise TypeConstraintViolation(step.text(f"expected true or false, got {kind_of(value)}", slot.name))
    said = _told(str(value), slot, step)
    if said is not None:
        step.note(Kind.REPAIRED, f"{kind_of(value)} where true or false belongs", "quirks.number-as-text", slot.name)
    return said


def _moment(value: Any, slot: Slot, step: Step) -> Any:
    if isinstance(value, bool | dict | list):
        raise TypeConstraintViolation(step.text(f"expected a date and time, got {kind_of(value)}", slot.name))
    if isinstance(value, str) and value != value.strip():
        step.note(Kind.REPAIRED, "white space around it", "quirks.padding", slot.name)
    return _told(str(value), slot, step)


_LEAVES: Mapping[str, Callable[[Any, Slot, Step], Any]] = MappingProxyType(
    {"string": _text, "anyURI": _text, "int": _integer, "decimal": _decimal, "boolean": _boolean, "dateTime": _moment}
)


# --- writing -------------------------------------------------------------------------------------------------------


def write(payload: Mapping[str, Any], shape: Shape, step: Step) -> Payload:
    """The object of one version, in the order of its contract. Raises a constraint violation, or NotSupported, with its path."""
    if shape.keepers:
        payload = with_originals(payload, shape)
    out: Payload = {}
    slots = [line[0] for line in shape.lines]
    for slot in [shape.text, *slots] if shape.text is not None else slots:
        value = payload.get(slot.name)
        if value is not None:
            if (said := _said(value, slot, step)) is not None:
                out[slot.wire] = said
        elif slot.required and not step.off:
            raise OccurenceConstraintViolation(step.text("expected it, found none", slot.name))
    if step.off:
        known = {slot.name for slot in (shape.text, *shape.slots, *shape.attributes) if slot is not None}
        return out | {name: value for name, value in payload.items() if name not in known}
    lost(payload, shape, step)
    return out


def _said(value: Any, slot: Slot, step: Step) -> Any:
    depth = len(step.path)
    try:
        if slot.repeated:
            return _said_list(value, slot, step)
        if slot.shape is None:
            return _said_leaf(value, slot, step)
        step.path.append(slot.name)
        said = write(as_object(value, step), slot.shape, step)
        step.path.pop()
        return said
    except OcppError:
        if not step.off:
            raise
        del step.path[depth:]
        return value


def _said_list(value: Any, slot: Slot, step: Step) -> Any:
    if not isinstance(value, list):
        raise TypeConstraintViolation(step.text(f"expected list, got {kind_of(value)}", slot.name))
    depth = len(step.path)
    step.path += (slot.name, 0)
    said = list(_said_items(value, slot, step))
    del step.path[depth:]
    if slot.required and not said:
        if value:
            raise LeaveOut
        raise OccurenceConstraintViolation(step.text("expected at least one, found none", slot.name))
    return [{slot.flatten: said}] if said and slot.flatten else said or None


def _said_items(items: list[Any], slot: Slot, step: Step) -> Iterator[Any]:
    depth, inner = len(step.path), slot.shape
    for i, item in enumerate(items):
        step.path[depth - 1] = i
        noted = step.noted
        try:
            if inner is None:
                yield _said_leaf(item, slot, step)
            elif inner.wrapped is not None:
                bare, whole = inner.wrapped, as_object(item, step)
                for value in bare_values(whole, inner, bare, step):
                    yield write({**whole, bare.name: value}, inner, step)
            else:
                yield write(as_object(item, step), inner, step)
        except LeaveOut as left:
            del step.path[depth:]
            if left.detail:
                step.forget(noted)
                step.note(Kind.LOST, left.detail, left.rule)


def _said_leaf(value: Any, slot: Slot, step: Step) -> Any:
    if slot.words is not None and not (step.off and (type(value) is not str or value not in slot.words.canonical)):
        return (slot.words.down.get(value) if type(value) is str else None) or odd_down(value, slot, step) or None
    if step.off:
        return value
    native = _NATIVE.get(slot.base)
    if native is not None:
        return native(slot.pen(value, slot, step))
    if type(value) is not str:
        raise TypeConstraintViolation(step.text(f"expected text, got {kind_of(value)}", slot.name))
    if slot.wire_limit is not None and len(value) > slot.wire_limit:
        raise PropertyConstraintViolation(
            step.text(f"expected at most {slot.wire_limit} characters, got {len(value)}", slot.name)
        )
    return value


# What the pens of XML write, as JSON says it.
_NATIVE: Mapping[str, Callable[[str], Any]] = MappingProxyType(
    {"int": int, "decimal": Decimal, "boolean": "true".__eq__, "dateTime": str}
)

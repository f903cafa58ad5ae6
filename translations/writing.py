"""One canonical dict to one XML element, driven by a shape; names no message.

Strict: in the order of the contract, and only what it allows.
"""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from translations import quirks
from translations.deltas import Shape, Slot
from translations.errors import (
    NotSupported,
    OccurenceConstraintViolation,
    PropertyConstraintViolation,
    TypeConstraintViolation,
)
from translations.leaves import escape
from translations.messages import Kind
from translations.step import Step, kind_of, shown


class LeaveOut(Exception):
    """The list item that holds this cannot be said in this version."""

    def __init__(self, detail: str = "", rule: str = "") -> None:
        self.detail = detail
        self.rule = rule


def write(payload: Mapping[str, Any], shape: Shape, out: list[str], step: Step) -> None:
    """Append the children of an element, in the order of the contract. Raises a constraint violation with its path."""
    seen = 0
    if shape.keepers:
        payload = with_originals(payload, shape)
    for slot, name, nested, words, pen, opening, closing in shape.lines:
        value = payload.get(name)
        if value is None:
            if slot.required:
                raise OccurenceConstraintViolation(step.text("expected it, found none", name or slot.wire))
            continue
        seen += 1
        if nested:
            _write_nested(value, slot, out, step)
        elif words is None:
            if value == "" and slot.filled and not slot.required:
                step.note(Kind.REPAIRED, "empty, taken as absent", "quirks.empty", name)
                continue
            out.append(f"{opening}{pen(value, slot, step)}{closing}")
        elif text := (words.get(value) if type(value) is str else None) or odd_down(value, slot, step):
            out.append(f"{opening}{text}{closing}")
    if seen != len(payload):
        lost(payload, shape, step)


def _write_nested(value: Any, slot: Slot, out: list[str], step: Step) -> None:
    if slot.repeated:
        _write_list(value, slot, out, step)
        return
    assert slot.shape is not None
    step.path.append(slot.name)
    out.append(slot.open)
    write(as_object(value, step), slot.shape, out, step)
    out.append(slot.close)
    step.path.pop()


def _write_list(value: Any, slot: Slot, out: list[str], step: Step) -> None:
    if not isinstance(value, list):
        raise TypeConstraintViolation(step.text(f"expected list, got {kind_of(value)}", slot.name))
    start = len(out)
    if slot.flatten and value:
        out.append(slot.open)
    if slot.shape is None:
        out += [f"{slot.open}{slot.pen(item, slot, step)}{slot.close}" for item in value]
    else:
        _write_items(value, slot, slot.shape, out, step)
    if slot.flatten and value:
        out.append(slot.close)
        if len(out) == start + 2:
            del out[start:]
    if slot.required and len(out) == start:
        if value:
            raise LeaveOut
        raise OccurenceConstraintViolation(step.text("expected at least one, found none", slot.name))


def _write_items(items: list[Any], slot: Slot, inner: Shape, out: list[str], step: Step) -> None:
    path = step.path
    depth = len(path)
    path += (slot.name, 0)
    form = _write_text if inner.text is not None else _write_wrapped if inner.wrapped is not None else _write_plain
    for i, item in enumerate(items):
        path[-1] = i
        mark, noted = len(out), step.noted
        try:
            form(item if type(item) is dict else as_object(item, step), slot, inner, out, step)
        except LeaveOut as left:
            del out[mark:], path[depth + 2 :]
            if left.detail:
                step.forget(noted)
                step.note(Kind.LOST, left.detail, left.rule)
    del path[depth:]


def _write_plain(item: Mapping[str, Any], slot: Slot, shape: Shape, out: list[str], step: Step) -> None:
    opening, closing = _item_tags(slot) if slot.flatten else (slot.open, slot.close)
    out.append(opening)
    write(item, shape, out, step)
    out.append(closing)


def _item_tags(slot: Slot) -> tuple[str, str]:
    prefix = slot.open[1:].partition(":")[0]
    return f"<{prefix}:{slot.flatten}>", f"</{prefix}:{slot.flatten}>"


def _write_text(item: Mapping[str, Any], slot: Slot, shape: Shape, out: list[str], step: Step) -> None:
    text = shape.text
    assert text is not None
    out.append(slot.open[:-1])
    seen = 1
    for mark, name, _, words, pen, opening, closing in shape.lines:
        value = item.get(name)
        if value is None:
            continue
        seen += 1
        if words is None:
            out.append(f"{opening}{pen(value, mark, step)}{closing}")
        elif said := (words.get(value) if type(value) is str else None) or odd_down(value, mark, step):
            out.append(f"{opening}{said}{closing}")
    value = item.get(text.name)
    if value is None:
        raise OccurenceConstraintViolation(step.text("expected it, found none", text.name))
    out.append(f">{text.pen(value, text, step)}{slot.close}")
    if seen != len(item):
        lost(item, shape, step)


def _write_wrapped(item: Mapping[str, Any], slot: Slot, shape: Shape, out: list[str], step: Step) -> None:
    """One element for each sample that means what a bare value means."""
    bare = shape.wrapped
    assert bare is not None
    for value in bare_values(item, shape, bare, step):
        out.append(slot.open)
        write({**item, bare.name: value}, shape, out, step)
        out.append(slot.close)


def bare_values(item: Mapping[str, Any], shape: Shape, bare: Slot, step: Step) -> Iterator[int]:
    """The samples of an item as bare values, without those that mean something else."""
    samples = item.get(bare.name)
    if not isinstance(samples, list) or not samples:
        raise OccurenceConstraintViolation(step.text("expected a list with at least one item", bare.name))
    depth = len(step.path)
    for i, sample in enumerate(samples):
        step.path += (bare.name, i)
        noted = step.noted
        try:
            value = _bare_value(as_object(sample, step), shape, bare, step)
        except LeaveOut as left:
            step.forget(noted)
            step.note(Kind.LOST, left.detail, left.rule)
            continue
        finally:
            del step.path[depth:]
        yield value


def _bare_value(sample: Mapping[str, Any], shape: Shape, bare: Slot, step: Step) -> int:
    factor = 1
    for name, given in sample.items():
        wanted = shape.means.get(name)
        if name == bare.wrap or given is None or given == wanted:
            continue
        scale = shape.scale.get(name, {}).get(given) if isinstance(given, str) else None
        if scale is not None:
            factor = scale
            step.note(Kind.CHANGED, f"{given} became {wanted}", bare.rule, name)
        elif wanted is not None:
            raise LeaveOut(f"a bare value means {name} {wanted or 'of the whole'}, not {shown(str(given))}", bare.rule)
        else:
            step.note(Kind.LOST, "no field for it", bare.rule, name)
    return _bare_number(sample.get(bare.wrap), factor, bare, step)


def _bare_number(value: Any, factor: int, bare: Slot, step: Step) -> int:
    text = str(value).strip()
    if not quirks.NUMBER.fullmatch(text):
        raise LeaveOut("not a number", bare.rule)
    number = Decimal(text) * factor
    whole = int(number.to_integral_value())
    if number != whole and factor != 1:
        raise LeaveOut("no whole number of the unit of a bare value", bare.rule)
    if not -(2**31) <= whole < 2**31:
        raise LeaveOut("no integer of 32 bits", bare.rule)
    if factor == 1 and str(whole) != value:
        how = "rounded" if number != whole else "rewritten"
        step.note(Kind.CHANGED, f"{how} from {text} to {whole}", bare.rule, bare.wrap)
    return whole


def odd_down(value: Any, slot: Slot, step: Step) -> str:
    """The word of a value that has none of its own; empty where the field is left out."""
    words = slot.words
    assert words is not None
    if not isinstance(value, str):
        raise TypeConstraintViolation(step.text(f"expected text, got {kind_of(value)}", slot.name))
    if value in words.down_changed:
        step.note(Kind.CHANGED, f"{value} became {words.down_changed[value]}", slot.rule, slot.name)
        return words.down_changed[value]
    if step.off and value not in words.canonical:
        return escape(value, step, slot)
    if value not in words.canonical:
        known = quirks.word(value, words.canonical)
        if known is None:
            raise PropertyConstraintViolation(
                step.text(f"expected one of {', '.join(sorted(words.canonical))}, got {shown(value)}", slot.name)
            )
        step.note(Kind.REPAIRED, f"written {shown(value)}", "quirks.case", slot.name)
        return words.down.get(known) or odd_down(known, slot, step)
    if words.otherwise == "item":
        raise LeaveOut(f"{slot.name} {value} cannot be said", slot.rule)
    if words.otherwise == "field" and not slot.required:
        step.note(Kind.LOST, f"{value} cannot be said", slot.rule, slot.name)
        return ""
    raise NotSupported(step.text(f"{value} cannot be said in this version", slot.name))


def with_originals(payload: Mapping[str, Any], shape: Shape) -> Mapping[str, Any]:
    """Where a value will have to change and the message has a free field for the original, it goes there."""
    for slot in shape.keepers:
        value = payload.get(slot.name)
        if slot.words and isinstance(value, str) and value in slot.words.down_changed and slot.words.keep[0] not in payload:
            payload = {**payload, slot.words.keep[0]: value}
    return payload


def lost(payload: Mapping[str, Any], shape: Shape, step: Step) -> None:
    said = {slot.name for slot in shape.slots if slot.name} | {slot.name for slot in shape.attributes}
    said |= {shape.text.name} if shape.text else set()
    for name, value in payload.items():
        if value is None:
            step.note(Kind.REPAIRED, "null, taken as absent", "quirks.empty", name)
        elif name not in said:
            known = name in shape.names
            step.note(
                Kind.LOST,
                "no field for it" if known else "unknown field",
                f"{shape.rule}.{name}" if known else "quirks.unknown-field",
                name,
            )


def as_object(value: Any, step: Step) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeConstraintViolation(step.text(f"expected object, got {kind_of(value)}"))
    return value

"""One XML element to one canonical dict and back, driven by a shape; names no message.

Reading is tolerant: by local name, in any order. Writing is strict: in the order of the contract, and only what it allows.
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from lxml import etree

from translations import quirks
from translations.deltas import Shape, Slot, Words
from translations.errors import (
    NotSupported,
    OccurenceConstraintViolation,
    PropertyConstraintViolation,
    TypeConstraintViolation,
)
from translations.leaves import written
from translations.messages import Kind, Payload
from translations.step import Step, kind_of, shown

_MISSING: Any = object()

# --- reading -------------------------------------------------------------------------------------------------------


def read(node: etree._Element, shape: Shape, step: Step) -> Payload:
    """The canonical dict of an element, keys in canonical order. Raises a constraint violation with its path."""
    if shape.text is not None:
        return _read_text(node, shape, step)
    out: Payload = {}
    rows, path = shape.rows, step.path
    last, ordered = 0, True
    for child in node:
        row = rows.get(child.tag)
        if row is None:
            stray = _stray(child, shape, step)
            if stray is None:
                continue
            row = stray.row()
        slot, name, order, inner, many, words, leaf = row
        if order < last:
            ordered = False
        last = order
        if inner is None:
            text = child.text
            value = leaf(text, slot, child, step) if words is None else words.get(text) or leaf(text, slot, child, step)
            if many or value is None or name in out:
                _odd_leaf(value, slot, out, step)
            else:
                out[name] = value
        elif not many:
            if name in out:
                raise OccurenceConstraintViolation(step.text("expected it once, found it again", name))
            path.append(name)
            out[name] = read(child, inner, step)
            path.pop()
        else:
            into = out.get(name)
            if into is None:
                into = out[name] = []
            for item in child if slot.flatten else (child,):
                if item is not child and etree.QName(item).localname != slot.flatten:
                    _unknown(item, step, slot.name)
                    continue
                path += (name, len(into))
                into.append(read(item, inner, step))
                del path[-2:]
    if not shape.required <= out.keys():
        ordered = _assume(out, shape, step) and ordered
    return out if ordered else {name: out[name] for name in shape.names if name in out}


def _odd_leaf(value: Any, slot: Slot, out: Payload, step: Step) -> None:
    """A leaf that is absent, repeated, unknown to the canonical form, or a list item of its own there."""
    if value is None:
        return
    if not slot.name:
        step.note(Kind.LOST, "the canonical form has no such field", slot.rule, slot.wire)
    elif slot.repeated:
        out.setdefault(slot.name, []).append(value)
    elif slot.name in out:
        _twice(out[slot.name], value, slot, step)
    else:
        out[slot.name] = [{slot.wrap: value}] if slot.wrap else value


def _read_text(node: etree._Element, shape: Shape, step: Step) -> Payload:
    text = shape.text
    assert text is not None
    value = text.leaf(node.text, text, node, step)
    if value is None:
        raise OccurenceConstraintViolation(step.text("expected a value, found none", text.name))
    out = {text.name: value}
    items = node.items()
    if not items:
        return out
    given: dict[str, str] = dict(items)  # type: ignore[arg-type]  # only keys of a parsed document: text
    found = 0
    for slot in shape.attributes:
        given_text = given.get(slot.wire)
        if given_text is None:
            continue
        found += 1
        value = slot.words.up.get(given_text) if slot.words is not None else None
        if value is None:
            value = slot.leaf(given_text, slot, node, step)
        if value is not None:
            out[slot.name] = value
    if found != len(given):
        _stray_attributes(given, shape, out, step)
    return out


def _stray_attributes(given: Mapping[str, str], shape: Shape, out: Payload, step: Step) -> None:
    known = {slot.wire for slot in shape.attributes}
    for name, value in given.items():
        if name not in known and not name.startswith("{http://www.w3.org/2001/XMLSchema-instance}"):
            step.note(
                Kind.LOST,
                f"unknown attribute, {len(value)} characters",
                "quirks.unknown-attribute",
                name.rpartition("}")[2],
            )


def _stray(child: etree._Element, shape: Shape, step: Step) -> Slot | None:
    local = etree.QName(child).localname
    slot = shape.by_local.get(local.lower())
    if slot is None:
        _unknown(child, step)
    elif slot.wire != local:
        step.note(Kind.REPAIRED, f"written {local}", "quirks.case", slot.name or slot.wire)
    elif not step.foreign:
        step.foreign = True
        name = etree.QName(child).namespace or "none"
        step.note(Kind.REPAIRED, f"namespace {name[:80]}", "quirks.namespace", slot.name or slot.wire)
    return slot


def _unknown(child: etree._Element, step: Step, *under: str) -> None:
    step.note(Kind.LOST, "unknown element", "quirks.unknown-element", *under, etree.QName(child).localname)


def _twice(first: Any, second: Any, slot: Slot, step: Step) -> None:
    if first != second:
        raise OccurenceConstraintViolation(step.text("expected it once, found two different values", slot.name))
    step.note(Kind.REPAIRED, "the same value twice", "quirks.twice", slot.name)


def _assume(out: Payload, shape: Shape, step: Step) -> bool:
    for name in shape.names:
        if name not in shape.required or name in out:
            continue
        assumed = shape.assume.get(name, _MISSING)
        if assumed == "now":
            assumed = step.received or _MISSING
        if assumed is _MISSING:
            raise OccurenceConstraintViolation(step.text("expected it, found none", name))
        out[name] = list(assumed) if isinstance(assumed, list) else assumed
        step.note(Kind.ASSUMED, f"not given, taken as {assumed}", f"{shape.rule}.{name}", name)
    return False


# --- writing -------------------------------------------------------------------------------------------------------


class _LeaveOut(Exception):
    """The list item that holds this cannot be said in this version."""

    def __init__(self, detail: str = "", rule: str = "") -> None:
        self.detail = detail
        self.rule = rule


def write(payload: Mapping[str, Any], shape: Shape, out: list[str], step: Step) -> None:
    """Append the children of an element, in the order of the contract. Raises a constraint violation with its path."""
    seen = 0
    for slot in shape.slots:
        value = payload.get(slot.name)
        if value is None:
            if slot.required:
                raise OccurenceConstraintViolation(step.text("expected it, found none", slot.name or slot.wire))
            continue
        seen += 1
        inner = slot.shape
        if slot.repeated:
            _write_list(value, slot, inner, out, step)
        elif inner is not None:
            step.path.append(slot.name)
            out.append(slot.open)
            write(_object(value, step), inner, out, step)
            out.append(slot.close)
            step.path.pop()
        else:
            _write_leaf(value, slot, payload, out, step)
    if seen != len(payload):
        _lost(payload, shape, step)
    if step.remarks:
        _keep_originals(payload, shape, out, step)


def _write_list(value: Any, slot: Slot, inner: Shape | None, out: list[str], step: Step) -> None:
    if not isinstance(value, list):
        raise TypeConstraintViolation(step.text(f"expected list, got {kind_of(value)}", slot.name))
    start = len(out)
    if slot.flatten and value:
        out.append(slot.open)
    for i, item in enumerate(value):
        if inner is None:
            step.path += (slot.name,)
            _write_leaf(item, slot, {}, out, step, i)
            step.path.pop()
        else:
            step.path += (slot.name, i)
            _write_item(_object(item, step), slot, inner, out, step)
            del step.path[-2:]
    if slot.flatten and value:
        out.append(slot.close)
        if len(out) == start + 2:
            del out[start:]
    if slot.required and len(out) == start:
        if value:
            raise _LeaveOut
        raise OccurenceConstraintViolation(step.text("expected at least one, found none", slot.name))


def _write_item(item: Mapping[str, Any], slot: Slot, inner: Shape, out: list[str], step: Step) -> None:
    mark, noted, depth = len(out), len(step.remarks), len(step.path)
    try:
        if inner.text is not None:
            _write_text(item, slot, inner, out, step)
        elif inner.wrapped is not None:
            _write_wrapped(item, slot, inner, inner.wrapped, out, step)
        else:
            opening, closing = _item_tags(slot)
            out.append(opening)
            write(item, inner, out, step)
            out.append(closing)
    except _LeaveOut as left:
        del out[mark:], step.path[depth:]
        if left.detail:
            del step.remarks[noted:]
            step.note(Kind.LOST, left.detail, left.rule)


def _item_tags(slot: Slot) -> tuple[str, str]:
    if not slot.flatten:
        return slot.open, slot.close
    prefix = slot.open[1:].partition(":")[0]
    return f"<{prefix}:{slot.flatten}>", f"</{prefix}:{slot.flatten}>"


def _write_text(item: Mapping[str, Any], slot: Slot, shape: Shape, out: list[str], step: Step) -> None:
    text = shape.text
    assert text is not None
    out.append(slot.open[:-1])
    seen = 0
    for attribute in shape.attributes:
        value = item.get(attribute.name)
        if value is not None:
            seen += 1
            _write_leaf(value, attribute, item, out, step)
    out.append(">")
    value = item.get(text.name)
    if value is None:
        raise OccurenceConstraintViolation(step.text("expected it, found none", text.name))
    out.append(written(value, text, step))
    out.append(slot.close)
    if seen + 1 != len(item):
        _lost(item, shape, step)


def _write_wrapped(item: Mapping[str, Any], slot: Slot, shape: Shape, bare: Slot, out: list[str], step: Step) -> None:
    """One element for each sample that means what a bare value means."""
    samples = item.get(bare.name)
    if not isinstance(samples, list) or not samples:
        raise OccurenceConstraintViolation(step.text("expected a list with at least one item", bare.name))
    for i, sample in enumerate(samples):
        step.path += (bare.name, i)
        noted = len(step.remarks)
        try:
            value = _bare(_object(sample, step), shape, bare, step)
        except _LeaveOut as left:
            del step.remarks[noted:]
            step.note(Kind.LOST, left.detail, left.rule)
            del step.path[-2:]
            continue
        del step.path[-2:]
        out.append(slot.open)
        write({**item, bare.name: value}, shape, out, step)
        out.append(slot.close)


def _bare(sample: Mapping[str, Any], shape: Shape, bare: Slot, step: Step) -> int:
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
            raise _LeaveOut(f"a bare value means {name} {wanted or 'of the whole'}, not {shown(str(given))}", bare.rule)
        else:
            step.note(Kind.LOST, "no field for it", bare.rule, name)
    return _bare_number(sample.get(bare.wrap), factor, bare, step)


def _bare_number(value: Any, factor: int, bare: Slot, step: Step) -> int:
    try:
        number = Decimal(str(value).strip()) * factor
        whole = int(number.to_integral_value())
    except (InvalidOperation, ValueError, OverflowError):
        raise _LeaveOut("not a number", bare.rule) from None
    if number != whole:
        if factor != 1:
            raise _LeaveOut("no whole number of the unit of a bare value", bare.rule)
        step.note(Kind.CHANGED, f"rounded from {number} to {whole}", bare.rule, bare.wrap)
    return whole


def _write_leaf(value: Any, slot: Slot, owner: Mapping[str, Any], out: list[str], step: Step, index: int | None = None) -> None:
    words = slot.words
    if words is not None:
        text = words.down.get(value) if isinstance(value, str) else None
        text = text or _odd_down(value, words, slot, step)
        if not text:
            return
    else:
        text = written(value, slot, step, index)
    out.append(f"{slot.open}{text}{slot.close}")


def _odd_down(value: Any, words: Words, slot: Slot, step: Step) -> str:
    if not isinstance(value, str):
        raise TypeConstraintViolation(step.text(f"expected text, got {kind_of(value)}", slot.name))
    if value in words.down_changed:
        step.note(Kind.CHANGED, f"{value} became {words.down_changed[value]}", slot.rule, slot.name)
        return words.down_changed[value]
    if value not in words.canonical:
        known = quirks.word(value, words.canonical)
        if known is None:
            raise PropertyConstraintViolation(
                step.text(f"expected one of {', '.join(sorted(words.canonical))}, got {shown(value)}", slot.name)
            )
        step.note(Kind.REPAIRED, f"written {shown(value)}", "quirks.case", slot.name)
        return words.down.get(known) or _odd_down(known, words, slot, step)
    if words.otherwise == "item":
        raise _LeaveOut(f"{slot.name} {value} cannot be said", slot.rule)
    if words.otherwise == "field" and not slot.required:
        step.note(Kind.LOST, f"{value} cannot be said", slot.rule, slot.name)
        return ""
    raise NotSupported(step.text(f"{value} cannot be said in this version", slot.name))


def _keep_originals(payload: Mapping[str, Any], shape: Shape, out: list[str], step: Step) -> None:
    """Where a value had to change and the message has a free field for the original, it goes there."""
    for slot in shape.slots:
        words = slot.words
        if words and words.keep and words.keep not in payload and payload.get(slot.name) in words.down_changed:
            home = shape.by_local[words.keep.lower()]
            following = next((i for i, s in enumerate(shape.slots) if s is home), 0) + 1
            at = next((j for s in shape.slots[following:] for j, t in enumerate(out) if t.startswith(s.open)), len(out))
            out.insert(at, f"{home.open}{payload[slot.name]}{home.close}")


def _lost(payload: Mapping[str, Any], shape: Shape, step: Step) -> None:
    said = {slot.name for slot in shape.slots} | {slot.name for slot in shape.attributes}
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


def _object(value: Any, step: Step) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeConstraintViolation(step.text(f"expected object, got {kind_of(value)}"))
    return value

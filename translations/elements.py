"""One XML element to one canonical dict and back, driven by a shape; names no message.

Reading is tolerant: by local name, in any order. Writing is strict: in the order of the contract, and only what it allows.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from lxml import etree

from translations import quirks
from translations.deltas import Shape, Slot
from translations.errors import (
    NotSupported,
    OccurenceConstraintViolation,
    PropertyConstraintViolation,
    TypeConstraintViolation,
)
from translations.messages import Kind, Payload
from translations.step import Step, kind_of, shown

_MISSING: Any = object()

# --- reading -------------------------------------------------------------------------------------------------------


def read(node: etree._Element, shape: Shape, step: Step) -> Payload:
    """The canonical dict of an element, keys in canonical order. Raises a constraint violation with its path."""
    if shape.text is not None:
        return _read_text(node, shape, step)
    out: Payload = {}
    find, path = shape.rows.get, step.path
    last, ordered = 0, True
    for child in node:
        row = find(child.tag)
        if row is None:
            stray = _stray(child, shape, step)
            if stray is None:
                continue
            row = stray.row()
        slot, name, order, inner, many, words, leaf, plain = row
        if order < last:
            ordered = False
        last = order
        if inner is None:
            value = child.text
            if words is not None:
                value = words.get(value) or leaf(value, slot, child, step)
            elif not (value and len(value) <= plain and value[0] > " " and value[-1] > " " and not len(child)):
                value = leaf(value, slot, child, step)
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
            path.append((name, into))
            if slot.flatten:
                _read_flat(child, slot, inner, into, step)
            else:
                into.append(read(child, inner, step) if inner.text is None else _read_text(child, inner, step))
            path.pop()
    if not shape.required <= out.keys():
        ordered = _assume(out, shape, step) and ordered
    return out if ordered else {name: out[name] for name in shape.names if name in out}


def _read_flat(node: etree._Element, slot: Slot, inner: Shape, into: list[Any], step: Step) -> None:
    """The items of a wrapper that has no meaning of its own."""
    for item in node:
        if etree.QName(item).localname == slot.flatten:
            into.append(read(item, inner, step))
        else:
            _unknown(item, step)


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
    value = node.text
    if not (value and value[0] > " " and value[-1] > " " and not len(node)):
        value = text.leaf(value, text, node, step)
    if value is None:
        raise OccurenceConstraintViolation(step.text("expected a value, found none", text.name))
    out = {text.name: value}
    items = node.items()
    if not items:
        return out
    given: dict[str, str] = dict(items)  # type: ignore[arg-type]  # only keys of a parsed document: text
    found = 0
    for slot, wire, name, words in shape.marks:
        value = given.get(wire)
        if value is not None:
            found += 1
            value = words.get(value) or slot.leaf(value, slot, node, step)
            if value is not None:
                out[name] = value
    if found != len(given):
        _stray_attributes(node, given, shape, out, step)
        return {name: out[name] for name in shape.names if name in out}
    return out


def _stray_attributes(node: etree._Element, given: Mapping[str, str], shape: Shape, out: Payload, step: Step) -> None:
    """Attributes that the contract does not have as they are written: in a namespace, in another case, or not at all."""
    known = {slot.wire for slot in shape.attributes}
    for name, value in given.items():
        if name in known or name.startswith("{http://www.w3.org/2001/XMLSchema-instance}"):
            continue
        local = name.rpartition("}")[2]
        slot = shape.by_local.get(local.lower())
        if slot is None or slot.name in out:
            step.note(Kind.LOST, f"unknown attribute, {len(value)} characters", "quirks.unknown-attribute", local)
            continue
        rule = "quirks.case" if slot.wire != local else "quirks.namespace"
        step.note(Kind.REPAIRED, f"attribute written {name[:80]}", rule, slot.name)
        said = slot.leaf(value, slot, node, step)
        if said is not None:
            out[slot.name] = said


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
    if shape.keepers:
        payload = _with_originals(payload, shape)
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
            out.append(f"{opening}{pen(value, slot, step)}{closing}")
        elif text := (words.get(value) if type(value) is str else None) or _odd_down(value, slot, step):
            out.append(f"{opening}{text}{closing}")
    if seen != len(payload):
        _lost(payload, shape, step)


def _write_nested(value: Any, slot: Slot, out: list[str], step: Step) -> None:
    if slot.repeated:
        _write_list(value, slot, out, step)
        return
    assert slot.shape is not None
    step.path.append(slot.name)
    out.append(slot.open)
    write(_object(value, step), slot.shape, out, step)
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
            raise _LeaveOut
        raise OccurenceConstraintViolation(step.text("expected at least one, found none", slot.name))


def _write_items(items: list[Any], slot: Slot, inner: Shape, out: list[str], step: Step) -> None:
    path = step.path
    depth = len(path)
    path += (slot.name, 0)
    form = _write_text if inner.text is not None else _write_wrapped if inner.wrapped is not None else _write_plain
    for i, item in enumerate(items):
        path[-1] = i
        mark, noted = len(out), len(step.remarks)
        try:
            form(item if type(item) is dict else _object(item, step), slot, inner, out, step)
        except _LeaveOut as left:
            del out[mark:], path[depth + 2 :]
            if left.detail:
                del step.remarks[noted:]
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
        elif said := (words.get(value) if type(value) is str else None) or _odd_down(value, mark, step):
            out.append(f"{opening}{said}{closing}")
    value = item.get(text.name)
    if value is None:
        raise OccurenceConstraintViolation(step.text("expected it, found none", text.name))
    out.append(f">{text.pen(value, text, step)}{slot.close}")
    if seen != len(item):
        _lost(item, shape, step)


def _write_wrapped(item: Mapping[str, Any], slot: Slot, shape: Shape, out: list[str], step: Step) -> None:
    """One element for each sample that means what a bare value means."""
    bare = shape.wrapped
    assert bare is not None
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
    text = str(value).strip()
    if not quirks.NUMBER.fullmatch(text):
        raise _LeaveOut("not a number", bare.rule)
    number = Decimal(text) * factor
    whole = int(number.to_integral_value())
    if number != whole and factor != 1:
        raise _LeaveOut("no whole number of the unit of a bare value", bare.rule)
    if not -(2**31) <= whole < 2**31:
        raise _LeaveOut("no integer of 32 bits", bare.rule)
    if factor == 1 and str(whole) != value:
        how = "rounded" if number != whole else "rewritten"
        step.note(Kind.CHANGED, f"{how} from {text} to {whole}", bare.rule, bare.wrap)
    return whole


def _odd_down(value: Any, slot: Slot, step: Step) -> str:
    """The word of a value that has none of its own; empty where the field is left out."""
    words = slot.words
    assert words is not None
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
        return words.down.get(known) or _odd_down(known, slot, step)
    if words.otherwise == "item":
        raise _LeaveOut(f"{slot.name} {value} cannot be said", slot.rule)
    if words.otherwise == "field" and not slot.required:
        step.note(Kind.LOST, f"{value} cannot be said", slot.rule, slot.name)
        return ""
    raise NotSupported(step.text(f"{value} cannot be said in this version", slot.name))


def _with_originals(payload: Mapping[str, Any], shape: Shape) -> Mapping[str, Any]:
    """Where a value will have to change and the message has a free field for the original, it goes there."""
    for slot in shape.keepers:
        value = payload.get(slot.name)
        if slot.words and isinstance(value, str) and value in slot.words.down_changed and slot.words.keep not in payload:
            payload = {**payload, slot.words.keep: value}
    return payload


def _lost(payload: Mapping[str, Any], shape: Shape, step: Step) -> None:
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


def _object(value: Any, step: Step) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeConstraintViolation(step.text(f"expected object, got {kind_of(value)}"))
    return value

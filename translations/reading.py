"""One XML element to one canonical dict, driven by a shape; names no message.

Tolerant: by local name, in any order. A sample that cannot be used is left out of a meter reading, since the rest of the
message may be worth money; a field of the message itself is never.
"""

from collections.abc import Collection, Mapping
from typing import Any

from lxml import etree

from translations import particulars
from translations.deltas import Shape, Slot
from translations.errors import OccurenceConstraintViolation, OcppError
from translations.gaps import NoSamples, close_gaps, left_out
from translations.leaves import XSI, is_nothing
from translations.messages import Kind, Payload
from translations.step import NAME_MOST, Step

_MISSING: Any = object()


def read(node: etree._Element, shape: Shape, step: Step) -> Payload:
    """The canonical dict of an element, keys in canonical order. Raises a constraint violation with its path."""
    if shape.text is not None:
        return _read_text(node, shape, step)
    out: Payload = {}
    find, path = shape.rows.get, step.path
    last, ordered, gaps, marked = 0, shape.aligned, False, step.marked
    if marked and node.attrib:
        particulars.attributes(node, shape, out, step)
        ordered = False
    if shape.sample and not len(node):
        particulars.bare(node, shape, out, step)
        ordered = False
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
            if marked and child.attrib:
                particulars.attributes(child, shape, out, step, name or slot.wire)
                ordered = False
            value = child.text
            if words is not None:
                value = (words.get(value) if not len(child) else None) or leaf(value, slot, child, step)
            elif not (value and len(value) <= plain and value[0] > " " and value[-1] > " " and not len(child)):
                value = leaf(value, slot, child, step)
            if many or value is None or name in out:
                _odd_leaf(value, slot, out, step)
            else:
                out[name] = value
        elif not many:
            if name in out:
                raise OccurenceConstraintViolation(step.text("expected it once, found it again", name))
            if not slot.required and is_nothing(child):
                step.note(Kind.REPAIRED, "empty, taken as absent", "quirks.empty", name)
                continue
            path.append(name)
            out[name] = read(child, inner, step)
            path.pop()
        elif not slot.required and is_nothing(child):
            step.note(Kind.REPAIRED, "empty, taken as absent", "quirks.empty", name)
        else:
            into = out.get(name)
            if into is None:
                into = out[name] = []
            path.append((name, into))
            try:
                if slot.flatten or slot.unwrap:
                    gaps = _read_flat(child, slot, inner, into, step) or gaps
                else:
                    into.append(read(child, inner, step) if inner.text is None else _read_text(child, inner, step))
            except OcppError as error:
                if not left_out(error, inner, into, step):
                    raise
                gaps = True
            path.pop()
    if step.aside:
        gaps = particulars.gather(out, shape, step) or gaps
    if gaps:
        close_gaps(out, step)
    if not shape.required <= out.keys():
        assume(out, shape, step)
        ordered = False
    if step.original and shape.keep:
        keep_original(out, shape, step)
        ordered = False
    return out if ordered else _in_order(out, node, shape, step)


def _read_flat(node: etree._Element, slot: Slot, inner: Shape, into: list[Any], step: Step) -> bool:
    """The items of a wrapper that has no meaning of its own; whether some are left out, or none were there."""
    names = {etree.QName(item).localname.lower() for item in node}
    wrapped = slot.around(names, inner)
    if not wrapped and (not slot.flatten or names & (inner.by_local.keys() | inner.also.keys())):
        if slot.flatten:
            step.note(Kind.REPAIRED, f"without {slot.flatten} around it", "quirks.other-shape")
        into.append(read(node, inner, step))
        return False
    if slot.flatten not in names and wrapped:
        step.note(Kind.REPAIRED, f"{min(wrapped)} around it", "quirks.other-shape")
    items = [item for item in node if etree.QName(item).localname.lower() in (slot.flatten, *slot.unwrap)]
    if particulars.around(node, items, inner, step):
        into.append(None)
        return True
    for item in items:
        try:
            into.append(read(item, inner, step))
        except OcppError as error:
            if not left_out(error, inner, into, step):
                raise
    return not into or None in into


def keep_original(out: Payload, shape: Shape, step: Step) -> None:
    """The word that became another goes into the first field that is free for it."""
    for name, limit in shape.keep.items():
        if name not in out:
            out[name] = step.original[:limit]
            return


def _in_order(out: Payload, node: etree._Element, shape: Shape, step: Step) -> Payload:
    """The fields in canonical order. It is a repair only where they were not in that of their own contract."""
    find = shape.by_local.get
    slots = (find(child.tag.rpartition("}")[2].lower()) for child in node)
    places = [slot.place for slot in slots if slot is not None]
    if places != sorted(places):
        step.note(Kind.REPAIRED, "fields in another order than that of the contract", "quirks.order")
    return {name: out[name] for name in shape.names if name in out}


def _odd_leaf(value: Any, slot: Slot, out: Payload, step: Step) -> None:
    """A leaf that is absent, repeated, unknown to the canonical form, or a list item of its own there."""
    if value is None:
        return
    if not slot.name:
        step.note(Kind.LOST, "the canonical form has no such field", slot.rule, slot.wire)
    elif slot.repeated:
        out.setdefault(slot.name, []).append(value)
    elif slot.name in out:
        twice(out[slot.name], [{slot.wrap: value}] if slot.wrap else value, slot, step)
    else:
        out[slot.name] = [{slot.wrap: value}] if slot.wrap else value


def _read_text(node: etree._Element, shape: Shape, step: Step) -> Payload:
    text = shape.text
    assert text is not None
    if len(node):
        return _read_children(node, shape, text, step)
    value = node.text
    if not (value and value[0] > " " and value[-1] > " "):
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
            value = words.get(value) or slot.leaf(value, slot, particulars.ATTRIBUTE, step)
            if value is not None:
                out[name] = value
    if found != len(given):
        _stray_attributes(node, given, shape, out, step, {slot.wire for slot in shape.attributes})
        return {name: out[name] for name in shape.names if name in out}
    return out


def _stray_attributes(
    node: etree._Element, given: Mapping[str, str], shape: Shape, out: Payload, step: Step, known: Collection[str]
) -> None:
    """Attributes that the contract does not have as they are written: in a namespace, in another case, or not at all."""
    for name, value in given.items():
        if name in known or name.startswith(XSI):
            continue
        local = name.rpartition("}")[2]
        slot = shape.by_local.get(local.lower()) or shape.also.get(local.lower())
        if slot is None or slot.name in out:
            step.note(Kind.LOST, f"unknown attribute, {len(value)} characters", "quirks.unknown-attribute", local)
            continue
        rule = "quirks.case" if slot.wire != local else "quirks.namespace"
        rule = "quirks.other-version" if local.lower() in shape.also else rule
        step.note(Kind.REPAIRED, f"attribute written {name[:NAME_MOST]}", rule, slot.name)
        said = slot.leaf(value, slot, particulars.ATTRIBUTE, step)
        if said is not None:
            out[slot.name] = said


def _read_children(node: etree._Element, shape: Shape, text: Slot, step: Step) -> Payload:
    """A value whose particulars stand in it as elements, as in 1.6, instead of as attributes. Seen on Efacec QC45."""
    step.note(Kind.REPAIRED, "particulars as elements", "quirks.other-shape")
    out: Payload = {}
    for child in node:
        local = etree.QName(child).localname.lower()
        slot = shape.by_local.get(local) or shape.also.get(local)
        if slot is None or slot.name in out:
            particulars.unknown(child, step)
        elif (value := slot.leaf(child.text, slot, child, step)) is not None:
            out[slot.name] = value
    if text.name not in out:
        raise OccurenceConstraintViolation(step.text("expected a value, found none", text.name))
    _stray_attributes(node, dict(node.items()), shape, out, step, set())  # type: ignore[arg-type]
    return {name: out[name] for name in shape.names if name in out}


def _stray(child: etree._Element, shape: Shape, step: Step) -> Slot | None:
    local = etree.QName(child).localname
    slot = shape.by_local.get(local.lower())
    if slot is None and (slot := shape.also.get(local.lower())):
        step.note(Kind.REPAIRED, f"written {local}", "quirks.other-shape", slot.name)
    elif slot is None:
        particulars.lay_aside(local, child.text, child, shape, step)
    elif slot.wire != local:
        step.note(Kind.REPAIRED, f"written {local}", "quirks.case", slot.name or slot.wire)
    elif not step.foreign:
        step.foreign = True
        name = etree.QName(child).namespace or "none"
        step.note(Kind.REPAIRED, f"namespace {name[:NAME_MOST]}", "quirks.namespace", slot.name or slot.wire)
    return slot


def twice(first: Any, second: Any, slot: Slot, step: Step) -> None:
    if first != second:
        raise OccurenceConstraintViolation(step.text("expected it once, found two different values", slot.name))
    step.note(Kind.REPAIRED, "the same value twice", "quirks.twice", slot.name)


def assume(out: Payload, shape: Shape, step: Step) -> None:
    if shape.holds and shape.holds not in out:
        raise NoSamples(step.text("expected at least one sample, found none", shape.holds))
    for name in shape.names:
        if name not in shape.required or name in out:
            continue
        assumed = shape.assume.get(name, _MISSING)
        if assumed == "now":
            assumed = step.received or _MISSING
        if assumed is _MISSING:
            raise OccurenceConstraintViolation(step.text("expected it, found none", name))
        out[name] = list(assumed) if isinstance(assumed, list) else assumed
        slot = shape.by_local.get(name.lower())
        rule = "quirks.missing" if slot is not None and slot.required else f"{shape.rule}.{name}"
        step.note(Kind.ASSUMED, f"not given, taken as {assumed}", rule, name)

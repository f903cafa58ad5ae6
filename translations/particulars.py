"""What belongs to a value and stands elsewhere than the contract has it: in attributes, beside the value, around it."""

from collections.abc import Mapping
from typing import Any

from lxml import etree

from translations.deltas import Shape, Slot
from translations.errors import OccurenceConstraintViolation, OcppError
from translations.gaps import left_out
from translations.leaves import XSI
from translations.messages import Kind, Payload
from translations.step import Step

ATTRIBUTE = etree.Element("attribute")  # for readers of values: in an attribute there are no elements


def attributes(node: etree._Element, shape: Shape, out: Payload, step: Step, *under: str) -> None:
    """Attributes where the contract has none: particulars of a sample, or nothing that is known.

    What XML Schema itself has for any element says nothing of the value.
    """
    for name, value in node.items():
        local = str(name).rpartition("}")[2]
        if str(name).startswith(XSI):
            continue
        slot = _slot(shape, local) if shape.sample else None
        if slot is not None and slot.name not in out:
            step.note(Kind.REPAIRED, "an attribute", "quirks.other-shape", slot.name)
            if (said := slot.leaf(str(value), slot, ATTRIBUTE, step)) is not None:
                out[slot.name] = said
        elif shape.beside is not None and _slot(shape.beside, local):
            lay_aside(local, str(value), ATTRIBUTE, shape, step)
        else:
            what = f"unknown attribute {local[:40]}, {len(value)} characters"
            step.note(Kind.LOST, what, "quirks.unknown-attribute", *under)


def bare(node: etree._Element, shape: Shape, out: Payload, step: Step) -> None:
    """The text of a sample that is written as 1.5 has it, without elements."""
    value = shape.by_local.get("value")
    if value is not None and (node.text or "").strip():
        step.note(Kind.REPAIRED, "a bare value", "quirks.other-shape")
        out[value.name] = value.leaf(node.text, value, ATTRIBUTE, step)


def lay_aside(local: str, text: str | None, node: etree._Element, shape: Shape, step: Step) -> None:
    """Keep what stands beside a value until that is known; what belongs to no value is unknown."""
    slot = _slot(shape.beside, local) if shape.beside is not None else None
    if slot is None:
        unknown(node, step)
        return
    aside = step.aside.setdefault(len(step.path), {})
    try:
        said = slot.leaf(text, slot, node, step)
    except OcppError as error:
        said = error
    if aside.get(slot.name, said) != said:
        said = OccurenceConstraintViolation(step.text("expected it once, found two different values", slot.name))
    aside[slot.name] = said


def around(node: etree._Element, items: list[etree._Element], inner: Shape, step: Step) -> bool:
    """What stands around or beside readings inside of a wrapper: it belongs to the only one. Whether all are left out."""
    if step.marked and node.attrib:
        attributes(node, inner, {}, step)
    if len(items) < len(node):
        for other in [child for child in node if child not in items]:
            lay_aside(etree.QName(other).localname, other.text, other, inner, step)
    if len(items) == 1 or not step.aside.pop(len(step.path), {}):
        return False
    step.note(Kind.LOST, "left out: nobody knows to which belongs what stands around them", "quirks.unusable-value")
    return True


def gather(out: Payload, shape: Shape, step: Step) -> bool:
    """Give what stood beside a value to that value; of several nobody knows whose it is. Whether something is left out."""
    aside = step.aside.pop(len(step.path), {})
    samples = out.get(shape.spread.name) if shape.spread else None
    if not isinstance(samples, list) or shape.spread is None or shape.beside is None:
        for name in aside:
            step.note(Kind.LOST, "beside values, of which there are none", "quirks.unknown-element", name)
        return False
    if not any(value is not None for value in aside.values()):
        return False
    if len(samples) == 1:
        return _give(aside, samples, shape.spread, shape.beside, step)
    what = f"left out: nobody knows to which belongs what stands beside them: {', '.join(aside)}"
    step.note(Kind.LOST, what, "quirks.unusable-value", shape.spread.name)
    samples[:] = [None] * len(samples)
    return True


def _give(aside: Mapping[str, Any], samples: list[Any], spread: Slot, beside: Shape, step: Step) -> bool:
    error = next((value for value in aside.values() if isinstance(value, OcppError)), None)
    if samples[0] is None:
        return False
    if error is None and (twice := [n for n, v in aside.items() if v is not None and samples[0].get(n, v) != v]):
        error = OccurenceConstraintViolation(step.text("expected it once, found two different values", twice[0]))
    if error is not None:
        samples.clear()
        step.path.append((spread.name, samples))
        left_out(error, beside, samples, step)
        step.path.pop()
        return True
    step.note(Kind.REPAIRED, "particulars beside it, not in it", "quirks.other-shape", spread.name, 0)
    whole = {name: value for name, value in aside.items() if value is not None} | samples[0]
    samples[0] = {name: whole[name] for name in beside.names if name in whole}
    return False


def _slot(shape: Shape, local: str) -> Slot | None:
    return shape.by_local.get(local.lower()) or shape.also.get(local.lower())


def unknown(node: etree._Element, step: Step) -> None:
    """Note an element that nobody knows."""
    step.note(Kind.LOST, "unknown element", "quirks.unknown-element", etree.QName(node).localname)

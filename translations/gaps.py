"""What a meter reading goes without: samples and readings that cannot be used, since the rest may be worth money."""

from typing import Any

from translations.deltas import Shape
from translations.errors import OccurenceConstraintViolation, OcppError
from translations.leaves import UnknownWord
from translations.messages import Kind, Payload
from translations.step import Step


class NoSamples(OccurenceConstraintViolation):
    """A meter reading in which nothing is left."""


def left_out(error: OcppError, shape: Shape, into: list[Any], step: Step) -> bool:
    """Whether the list goes without the item that has this error; a gap stands for it, so that the others keep their index."""
    if isinstance(error, NoSamples):
        rule = "quirks.no-samples"
    elif shape.sample or shape.holds:
        rule = "quirks.unknown-word" if isinstance(error, UnknownWord) else "quirks.unusable-value"
    else:
        return False
    for depth in [depth for depth in step.aside if depth >= len(step.path)]:
        del step.aside[depth]
    step.note(Kind.LOST, f"left out: {_reason(error)}", rule)
    into.append(None)
    return True


def _reason(error: OcppError) -> str:
    """What is wrong with which field, in short: the words that would have been known are many."""
    where, _, what = error.text.partition(": ")
    if isinstance(error, UnknownWord):
        what = f"unknown word {what.partition(', got ')[2]}"
    return f"{where.rpartition('.')[2]}: {what}"


def close_gaps(out: Payload, step: Step) -> None:
    """Lists without what was left out of them; one of which nothing is left is absent."""
    for name, value in list(out.items()):
        if not isinstance(value, list):
            continue
        if not value:
            step.note(Kind.REPAIRED, "empty, taken as absent", "quirks.empty", name)
        value[:] = [item for item in value if item is not None]
        if not value:
            del out[name]

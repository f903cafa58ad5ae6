"""A canonical message as its published schema has it, before it goes out: as it is, mended where that is sure, or refused."""

from typing import Any

from translations import objects, schemas
from translations.deltas import Form, dialect
from translations.errors import PropertyConstraintViolation
from translations.messages import Kind, Payload, Side, Version
from translations.step import NAME_MOST, Step


def form_of(version: Version, action: str, response: bool, side: Side) -> Form | None:
    """The message of an action in one version, if it has it."""
    spoken = dialect(version, side)
    return (spoken.responses if response else spoken.requests).get(action)


def valid(payload: Payload, action: str, response: bool, side: Side, step: Step, strict: bool) -> Payload:
    """The payload, the same object where nothing is wrong with it. Raises a constraint violation.

    Nothing is cut or replaced here: its sender can be told, and what it wants done must not become something else.
    """
    if step.off or schemas.fits(action, response, payload):
        return payload
    if not strict:
        form = form_of(Version.V16, action, response, side)
        read = objects.read(payload, form.shape, step) if form else without_empty(payload, action, response, step)
        if changed := next((r for r in step.said() if r.kind is Kind.CHANGED), None):
            text = f"{step.title} {changed.path}: expected a valid value, it would be {changed.detail}"
            raise PropertyConstraintViolation(text)
        payload = read
    schemas.judge(action, response, payload)
    return payload


def without_empty(payload: Payload, action: str, response: bool, step: Step) -> Payload:
    """A payload without what is null or empty, if its schema has nothing against it then; texts only where need be."""
    noted = step.noted
    nothing: tuple[Any, ...] = (None, {}, [])
    for empty in (nothing, (*nothing, "")):
        pruned: Payload = _pruned(payload, empty, step)
        if schemas.fits(action, response, pruned):
            return pruned
        step.forget(noted)
    return payload


def _pruned(value: Any, empty: tuple[Any, ...], step: Step) -> Any:
    if isinstance(value, list):
        return [_inside(i, item, empty, step) for i, item in enumerate(value)]
    if not isinstance(value, dict):
        return value
    kept = {}
    for name, item in value.items():
        if item in empty:
            step.note(Kind.REPAIRED, "null or empty, taken as absent", "quirks.empty", name[:NAME_MOST])
        else:
            kept[name] = _inside(name[:NAME_MOST], item, empty, step)
    return kept


def _inside(part: str | int, item: Any, empty: tuple[Any, ...], step: Step) -> Any:
    step.path.append(part)
    pruned = _pruned(item, empty, step)
    step.path.pop()
    return pruned

"""Judges canonical messages by the published JSON schemas, which come with the package `ocpp`."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jsonschema_rs

from translations.errors import (
    FormationViolation,
    OccurenceConstraintViolation,
    OcppError,
    PropertyConstraintViolation,
    TypeConstraintViolation,
)
from translations.messages import title_of
from translations.step import kind_of

_KINDS: Mapping[str, type[OcppError]] = MappingProxyType(
    {
        "required": OccurenceConstraintViolation,
        "minItems": OccurenceConstraintViolation,
        "maxItems": OccurenceConstraintViolation,
        "type": TypeConstraintViolation,
        "additionalProperties": FormationViolation,
        "enum": PropertyConstraintViolation,
        "maxLength": PropertyConstraintViolation,
        "multipleOf": PropertyConstraintViolation,
    }
)


@cache
def validators() -> Mapping[tuple[str, bool], Any]:
    """The validator of each message of OCPP 1.6, by (action, whether it is the answer)."""
    spec = find_spec("ocpp")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("ocpp")
    folder = Path(spec.submodule_search_locations[0]) / "v16" / "schemas"
    found = {}
    for path in sorted(folder.glob("*.json")):
        schema = json.loads(path.read_text("utf-8-sig"))
        found[path.stem.removesuffix("Response"), path.stem.endswith("Response")] = jsonschema_rs.validator_for(schema)
    return MappingProxyType(found)


def fits(action: str, response: bool, payload: Mapping[str, Any]) -> bool:
    """Whether there is a schema and it has nothing against this; formats of dates and addresses included.

    Nor may the text that says who it is be empty, which the schema does not mind.
    """
    validator = validators().get((action, response))
    return validator is not None and validator.is_valid(payload) and payload.get("idTag") != ""


def invalid(action: str, response: bool, payload: Mapping[str, Any]) -> list[list[str | int]]:
    """The path of each fault."""
    validator = validators().get((action, response))
    return [error.instance_path for error in validator.iter_errors(payload)] if validator else []


def against(action: str, response: bool, path: Sequence[str], value: object = None) -> str:
    """What the schema has against a value in a field, whatever else the message says; with None, against its absence. Empty:
    nothing.
    """
    validator = validators().get((action, response))
    payload: dict[str, Any] = {}
    here = payload
    for name in path[:-1]:
        here = here.setdefault(name, {})
    if value is not None:
        here[path[-1]] = value
    for error in validator.iter_errors(payload) if validator else ():
        kind, at = error.kind, [*error.instance_path]
        if value is None and kind.name == "required" and [*at, kind.property] == [*path]:
            return "expected it, found none"
        if value is not None and at[: len(path)] == [*path] and getattr(kind, "value", "") != "uri":
            return _MISSING.get(kind.name, _wrong)(kind, error.instance)[1]
    return ""


def judge(action: str, response: bool, payload: Mapping[str, Any]) -> None:
    """Raise a constraint violation with the path of the first fault. An action without a schema is not judged."""
    validator = validators().get((action, response))
    if validator is None:
        return
    if validator.is_valid(payload):
        if payload.get("idTag") == "":
            title = title_of(action, response)
            raise OccurenceConstraintViolation(f"{title} idTag: expected a value, got empty text")
        return
    for error in validator.iter_errors(payload):
        kind, path = error.kind, [*error.instance_path]
        # The Open Charge Alliance's own schema lets meterValue be empty; the copy in the package does not.
        if kind.name == "minItems" and path == ["meterValue"]:
            continue
        if kind.name == "format" and kind.value == "uri":
            continue  # addresses of files, with passwords in them as they come, are passed on as they are
        told, wish = _MISSING.get(kind.name, _wrong)(kind, error.instance)
        where = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in (*path, *told)).lstrip(".")
        title = title_of(action, response)
        raise _KINDS.get(kind.name, PropertyConstraintViolation)(f"{title} {where}: {wish}" if where else f"{title}: {wish}")


def _missing(kind: Any, _: object) -> tuple[list[str], str]:
    return [kind.property], "expected it, found none"


def _unknown(kind: Any, _: object) -> tuple[list[str], str]:
    return [str(kind.unexpected[0])[:80]], "expected no such field"


def _wrong(kind: Any, value: object) -> tuple[list[str], str]:
    return [], _WISHES.get(kind.name, "expected what the schema says of {name}").format(
        name=kind.name,
        value=" or ".join(map(str, kind.value)) if isinstance(kind.value, list) else kind.value,
        got=kind_of(value),
        size=len(value) if isinstance(value, str | list) else 0,
    )


_MISSING: Mapping[str, Callable[[Any, object], tuple[list[str], str]]] = MappingProxyType(
    {"required": _missing, "additionalProperties": _unknown}
)
_WISHES: Mapping[str, str] = MappingProxyType(
    {
        "type": "expected {value}, got {got}",
        "enum": "expected {value}, got another {got}",
        "maxLength": "expected at most {value} characters, got {size}",
        "minItems": "expected at least {value} items, got {size}",
        "maxItems": "expected at most {value} items, got {size}",
        "multipleOf": "expected a multiple of {value}, got another {got}",
        "format": "expected a {value}, got another {got}",
    }
)

"""Judges canonical messages by the published JSON schemas, which come with the package `ocpp`."""

import json
from collections.abc import Mapping
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
    """Whether there is a schema and it has nothing against this; formats of dates and addresses included."""
    validator = validators().get((action, response))
    return validator is not None and validator.is_valid(payload)


def invalid(action: str, response: bool, payload: Mapping[str, Any]) -> list[list[str | int]]:
    """The path of each fault."""
    validator = validators().get((action, response))
    return [error.instance_path for error in validator.iter_errors(payload)] if validator else []


def judge(action: str, response: bool, payload: Mapping[str, Any]) -> None:
    """Raise a constraint violation with the path of the first fault. An action without a schema is not judged."""
    validator = validators().get((action, response))
    if validator is None or validator.is_valid(payload):
        return
    for error in validator.iter_errors(payload):
        path = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.instance_path).lstrip(".")
        kind = error.kind.name
        # The Open Charge Alliance's own schema lets meterValue be empty; the copy in the package does not.
        if kind == "minItems" and path == "meterValue":
            continue
        way = "conf" if response else "req"
        raise _KINDS.get(kind, PropertyConstraintViolation)(f"{action}.{way} {path}: expected what the schema says of {kind}")

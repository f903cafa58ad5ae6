"""What holds for every input: a refusal is one for people, and what is taken is what the published schemas let through."""

import json
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar

import jsonschema_rs
from lxml import etree

from translations import ocppj, soap
from translations.errors import WIRES, OcppError
from translations.messages import Error, Message, Payload, Result, Side, Version
from translations.step import MOST

STAMP = "2024-05-01T10:00:00Z"
Made = TypeVar("Made")


def made(make: Callable[[], Made]) -> Made | None:
    """What is made; None where it is refused, which has to be in words and with a code of OCPP-J."""
    try:
        return make()
    except OcppError as error:
        assert error.code in WIRES
        assert 0 < len(error.text) < 3000
        assert "\n" not in error.text
        answer = error.as_error("1")
        assert len(ocppj.encode(answer)) < 4000
        etree.fromstring(soap.fault(answer).body)
        return None


def check(message: Message, foreign: bool = False) -> None:
    """A message that was taken is valid, has few remarks, and can be written as a frame that says the same."""
    assert len(message.remarks) <= 2 * (MOST + 1)
    if not isinstance(message, Error) and not foreign:
        assert valid(message.action, isinstance(message, Result), message.payload)
    frame = ocppj.encode(message)
    json.loads(frame)
    if message.id:
        again = ocppj.decode(frame)
        assert ocppj.encode(again) == frame


def valid(action: str, response: bool, payload: Payload) -> bool:
    """Whether the published schema has nothing against it, or there is none."""
    schema = _schema(action, response)
    # The Open Charge Alliance's own schema lets meterValue be empty; the copy in the package does not.
    return schema is None or all(_excused(error) for error in schema.iter_errors(payload))


def _excused(error: Any) -> bool:
    # Addresses of files pass as they come, with passwords in them: no format is asked of them.
    return error.kind.value == "uri" or bool(error.kind.name == "minItems" and list(error.instance_path) == ["meterValue"])


@cache
def _schema(action: str, response: bool) -> Any:
    if not action.isalpha():
        return None
    path = files("ocpp") / "v16" / "schemas" / f"{action}{'Response' if response else ''}.json"
    return jsonschema_rs.validator_for(json.loads(path.read_text("utf-8-sig"))) if path.is_file() else None


def check_writing(message: Message) -> None:
    """Every version says it in an envelope that others can open, or says that it cannot."""
    for version in Version:
        for side in Side:
            written = made(lambda v=version, s=side: soap.encode(message, v, s, identity="CP-1"))  # type: ignore[misc]
            if written is not None:
                etree.fromstring(written.body)
                assert len(written.remarks) <= MOST + 1

"""What says whether a message is right, none of it our own: the contracts' schemas by libxml2, JSON schemas by jsonschema."""

import importlib.resources
import json
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import jsonschema  # type: ignore[import-untyped]
from lxml import etree

from translations.messages import Side, Version

OURS = Path(__file__).parents[1] / "wsdl"
PUBLISHED = Path(__file__).parents[2] / "shared" / "contracts"
SERVICES: Mapping[Side, str] = MappingProxyType({Side.CENTRAL_SYSTEM: "CentralSystem", Side.CHARGE_POINT: "ChargePoint"})
SOAP = "{http://www.w3.org/2003/05/soap-envelope}"
_SCHEMA = "{http://www.w3.org/2001/XMLSchema}schema"

Tree = tuple[str, str, Mapping[str, str], list[Any]]


@cache
def schemas_of(version: Version, side: Side) -> tuple[etree.XMLSchema, ...]:
    """The schema of our contract, and of the published one where there is one to read."""
    name = SERVICES[side]
    paths = [OURS / version / f"{name}Service.wsdl", PUBLISHED / f"ocpp-{version}-{name.lower()}.wsdl"]
    nodes = [node for path in paths if path.exists() for node in etree.parse(path).iter(_SCHEMA)]
    return tuple(etree.XMLSchema(etree.fromstring(etree.tostring(node))) for node in nodes)


def assert_valid_by_contracts(payload: etree._Element, version: Version, side: Side) -> None:
    """Judge a payload element by every schema there is for it."""
    alone = etree.fromstring(etree.tostring(payload))
    for schema in schemas_of(version, side):
        schema.assertValid(alone)


def body_of(envelope: bytes) -> etree._Element:
    """The payload element."""
    body = etree.fromstring(envelope).find(f"{SOAP}Body")
    assert body is not None
    (payload,) = body
    return payload


def tree(node: etree._Element) -> Tree:
    """What counts of an element: names, attributes, and the text of leaves, every character of it."""
    text = "" if len(node) else node.text or ""
    return str(node.tag), text, {str(k): str(v) for k, v in node.attrib.items()}, [tree(child) for child in node]


@cache
def validator(action: str, response: bool) -> Any:
    """The published JSON schema of a message, as the pure-Python validator reads it."""
    name = f"{action}{'Response' if response else ''}.json"
    text = importlib.resources.files("ocpp").joinpath("v16", "schemas", name).read_text("utf-8-sig")
    schema = json.loads(text, parse_float=Decimal)
    return jsonschema.validators.validator_for(schema)(schema)

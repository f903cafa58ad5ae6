"""translations.contracts: our tables, beside what zeep and the plain facts make of the same contracts."""

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import zeep

from tests.judges import OURS, SERVICES
from translations.contracts import Field, Type, contract, wsdl_text
from translations.messages import Side, Version

MODEL = Path(__file__).parents[2] / "shared" / "domain" / "soap-model.json"

each = pytest.mark.parametrize(("version", "side"), [(version, side) for version in Version for side in Side])


@cache
def zeeps(version: Version, side: Side) -> Any:
    """The document as zeep reads it."""
    return zeep.Client(str(OURS / version / f"{SERVICES[side]}Service.wsdl")).wsdl


def facts(kind: Type) -> list[tuple[str, bool, bool]]:
    return [(field.name, field.required, field.repeated) for field in kind.fields]


def zeep_facts(kind: Any) -> list[tuple[str, bool, bool]]:
    return [(name, e.min_occurs > 0, e.max_occurs != 1) for name, e in getattr(kind, "elements", [])]


def fields(kind: Type) -> Iterator[tuple[str, Field]]:
    """Every field below a type, with the type that has it."""
    for field in kind.fields + kind.attributes:
        yield kind.name, field
        yield from fields(field.type)


def types(version: Version, side: Side) -> dict[str, Type]:
    found = {field.type.name: field.type for kind in contract(version, side).messages.values() for _, field in fields(kind)}
    return found | {kind.name: kind for kind in contract(version, side).messages.values()}


@each
def test_messages_have_the_fields_that_zeep_finds(version: Version, side: Side) -> None:
    ours = contract(version, side)
    for name, kind in ours.messages.items():
        theirs = zeeps(version, side).types.get_element(f"{{{ours.namespace}}}{name}").type
        assert facts(kind) == zeep_facts(theirs), name


@each
def test_inner_types_have_the_fields_that_zeep_finds(version: Version, side: Side) -> None:
    for name, kind in types(version, side).items():
        if kind.fields:
            theirs = zeeps(version, side).types.get_type(f"{{{contract(version, side).namespace}}}{name}")
            assert facts(kind) == zeep_facts(theirs), name


@each
def test_operations_have_the_elements_that_zeep_finds(version: Version, side: Side) -> None:
    ours, name = contract(version, side), f"{SERVICES[side]}Service"
    port = zeeps(version, side).services[name].ports[f"{name}Soap12"]
    theirs = {
        action: (operation.input.body.qname.localname, operation.output.body.qname.localname)
        for action, operation in port.binding._operations.items()
    }
    assert {action: (ours.requests[action], ours.responses[action]) for action in ours.requests} == theirs


@pytest.mark.skipif(not MODEL.exists(), reason=f"no facts to compare with: {MODEL} does not exist")
@each
def test_enumerations_are_those_of_the_facts(version: Version, side: Side) -> None:
    model = json.loads(MODEL.read_text())[f"{version} {SERVICES[side].lower()}"]
    for owner, field in (pair for kind in contract(version, side).messages.values() for pair in fields(kind)):
        if field.type.values:
            assert sorted(field.type.values) == sorted(model["enums"][field.type.name]), f"{owner}.{field.name}"


@pytest.mark.parametrize(
    ("version", "side", "name", "limit"),
    [
        (Version.V12, Side.CENTRAL_SYSTEM, "idTag", None),
        (Version.V15, Side.CENTRAL_SYSTEM, "idTag", 20),
        (Version.V15, Side.CENTRAL_SYSTEM, "chargeBoxSerialNumber", 25),
        (Version.V15, Side.CENTRAL_SYSTEM, "firmwareVersion", 50),
        (Version.V15, Side.CENTRAL_SYSTEM, "info", None),
        (Version.V15, Side.CHARGE_POINT, "hash", None),
        (Version.V16, Side.CENTRAL_SYSTEM, "info", 50),
        (Version.V16, Side.CENTRAL_SYSTEM, "vendorId", 255),
        (Version.V16, Side.CHARGE_POINT, "key", 50),
        (Version.V16, Side.CHARGE_POINT, "value", 500),
    ],
)
def test_limits_are_those_of_the_contract(version: Version, side: Side, name: str, limit: int | None) -> None:
    found = {
        f.type.max_length for kind in types(version, side).values() for f in kind.fields if f.name == name and not f.repeated
    }
    assert limit in found


def test_samples_of_1_5_are_text_with_attributes() -> None:
    kind = types(Version.V15, Side.CENTRAL_SYSTEM)["ReadingValue"]
    assert (kind.base, kind.fields) == ("string", ())
    assert {a.name for a in kind.attributes} == {"context", "format", "measurand", "location", "unit"}
    assert not any(a.required for a in kind.attributes)


@each
def test_the_header_is_no_message(version: Version, side: Side) -> None:
    assert "chargeBoxIdentity" not in contract(version, side).messages


@each
def test_the_document_is_the_one_in_the_package(version: Version, side: Side) -> None:
    assert wsdl_text(version, side) == (OURS / version / f"{SERVICES[side]}Service.wsdl").read_bytes()
    assert contract(version, side) is contract(version, side)

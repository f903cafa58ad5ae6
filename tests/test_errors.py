"""translations.errors: one table, total both ways."""

import re

import pytest
from lxml import etree

from translations import errors, soap
from translations.envelopes import SOAP11
from translations.errors import FAULTS, SPELLINGS, STATUSES, WIRES, OcppError, known_code
from translations.messages import Error
from translations.soap import Manner

# OCPP-J 1.6, 4.2.3
CODES = {
    "NotImplemented",
    "NotSupported",
    "InternalError",
    "ProtocolError",
    "SecurityError",
    "FormationViolation",
    "PropertyConstraintViolation",
    "OccurenceConstraintViolation",
    "TypeConstraintViolation",
    "GenericError",
}
SUBCODES = {"SecurityError", "IdentityMismatch", "ProtocolError", "InternalError", "NotSupported"}  # OCPP-S 1.6, 4.4
KINDS = OcppError.__subclasses__()

USUAL = Manner()

each_code = pytest.mark.parametrize("code", sorted(CODES))


def told(code: str, manner: Manner = USUAL) -> Error:
    """What the other end makes of the fault of a code."""
    _, back = soap.decode(soap.fault(Error(code, "why", id="1"), manner=manner).body)
    assert isinstance(back, Error)
    return back


def test_every_code_of_the_specification_has_a_row_and_a_kind() -> None:
    assert set(WIRES) == CODES
    assert {kind.code for kind in KINDS} == CODES
    assert len(KINDS) == len(CODES)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = re.findall(r"[├└]── (\w+)", errors.__doc__ or "")
    assert drawn == [kind.__name__ for kind in KINDS]


def test_every_fault_of_the_specification_is_understood() -> None:
    assert set(FAULTS) >= SUBCODES
    assert {row.subcode for row in WIRES.values()} <= SUBCODES
    assert set(FAULTS.values()) | set(SPELLINGS.values()) | set(STATUSES.values()) <= CODES


# From a backend's error to a charger's fault.
DOWN = [
    ("NotImplemented", "Receiver", "NotSupported", 500),
    ("NotSupported", "Receiver", "NotSupported", 500),
    ("InternalError", "Receiver", "InternalError", 500),
    ("GenericError", "Receiver", "InternalError", 500),
    ("ProtocolError", "Sender", "ProtocolError", 400),
    ("FormationViolation", "Sender", "ProtocolError", 400),
    ("FormatViolation", "Sender", "ProtocolError", 400),
    ("PropertyConstraintViolation", "Sender", "ProtocolError", 400),
    ("OccurenceConstraintViolation", "Sender", "ProtocolError", 400),
    ("OccurrenceConstraintViolation", "Sender", "ProtocolError", 400),
    ("TypeConstraintViolation", "Sender", "ProtocolError", 400),
    ("SecurityError", "Sender", "SecurityError", 400),
    ("NeverHeardOf", "Receiver", "InternalError", 500),
]


@pytest.mark.parametrize(("code", "value", "subcode", "status"), DOWN, ids=[row[0] for row in DOWN])
def test_an_error_becomes_a_fault(code: str, value: str, subcode: str, status: int) -> None:
    root = etree.fromstring(soap.fault(Error(code, "why")).body)
    values = [node.text for node in root.iter("{http://www.w3.org/2003/05/soap-envelope}Value")]
    assert values == [f"s:{value}", f"f:{subcode}"]
    assert WIRES[known_code(code)].status == status


# From a charger's fault to a backend's error.
UP = [
    ("SecurityError", "SecurityError"),
    ("IdentityMismatch", "GenericError"),
    ("ProtocolError", "ProtocolError"),
    ("NotSupported", "NotSupported"),
    ("InternalError", "InternalError"),
    ("ActionNotSupported", "NotSupported"),
    ("MessageAddressingHeaderRequired", "ProtocolError"),
    ("InvalidAddressingHeader", "ProtocolError"),
    ("DestinationUnreachable", "ProtocolError"),
    ("MustUnderstand", "ProtocolError"),
    ("VersionMismatch", "ProtocolError"),
    ("DataEncodingUnknown", "ProtocolError"),
    ("Sender", "GenericError"),
    ("Client", "GenericError"),
    ("Receiver", "InternalError"),
    ("Server", "InternalError"),
]


def test_each_fault_means_what_the_table_of_the_bridge_says() -> None:
    assert dict(UP) == dict(FAULTS)


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (401, "SecurityError"),
        (403, "SecurityError"),
        (404, "NotSupported"),
        (405, "NotSupported"),
        (415, "NotSupported"),
        (501, "NotSupported"),
    ],
)
def test_a_bare_status_means_what_the_table_of_the_bridge_says(status: int, code: str) -> None:
    assert STATUSES[status] == code


@each_code
def test_every_code_survives_as_its_subcode(code: str) -> None:
    back = told(code)
    assert back.code == FAULTS[WIRES[code].subcode]
    assert WIRES[back.code].subcode == WIRES[code].subcode


@each_code
def test_soap_1_1_says_the_same(code: str) -> None:
    assert told(code, Manner(SOAP11)).code == told(code).code


@each_code
def test_a_known_code_is_itself(code: str) -> None:
    assert known_code(code) == code


@pytest.mark.parametrize("code", ["", "genericerror", "Sender", "x" * 100])
def test_an_unknown_code_is_a_generic_error(code: str) -> None:
    assert known_code(code) == "GenericError"


def test_a_refusal_becomes_an_answer() -> None:
    refused = errors.FormationViolation("x" * 300, {"a": 1}, "17")
    assert refused.as_error(action="Boot") == Error("FormationViolation", "x" * 255, {"a": 1}, "17", "Boot")
    assert refused.as_error("18").id == "18"
    assert str(refused) == refused.text

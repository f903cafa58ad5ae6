"""Golden vectors: sound by the contracts and schemas, and what the SOAP translator has to make of them.

`vectors/<version>/<service>/<Action>.<req|conf>` is a pair: an envelope as a good peer sends it and the OCPP-J frame
that says the same. `up` and `down` are the remarks of the two directions; `down_xml: false` marks the few frames whose
way back makes another body. `vectors/narrowing` holds frames that a version cannot say in full, with what is left.
"""

import functools
import importlib.resources
import json
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from lxml import etree

from translations import soap
from translations.errors import OcppError
from translations.messages import Call, Message, Remark, Result, Side, Version

VECTORS = Path(__file__).parent / "vectors"
WSDL_DIR = Path(__file__).parents[1] / "wsdl"
SOAP = "{http://www.w3.org/2003/05/soap-envelope}"
WSA = "{http://www.w3.org/2005/08/addressing}"
XSD = "{http://www.w3.org/2001/XMLSchema}schema"
WSDL_OPERATION = "{http://schemas.xmlsoap.org/wsdl/}portType/{http://schemas.xmlsoap.org/wsdl/}operation"

SERVICES = {"centralsystem": "CentralSystemService", "chargepoint": "ChargePointService"}
SIDES = {"centralsystem": Side.CENTRAL_SYSTEM, "chargepoint": Side.CHARGE_POINT}
Tree = tuple[str, str, dict[str, str], list[Any]]


@dataclass(frozen=True, slots=True)
class Vector:
    """One pair of files."""

    xml_path: Path
    version: str
    service: str
    action: str
    kind: str

    @property
    def envelope(self) -> bytes:
        return self.xml_path.read_bytes()

    @property
    def expected(self) -> dict[str, Any]:
        return read(self.xml_path.with_suffix(".json"))


def read(path: Path) -> dict[str, Any]:
    """A vector file, with fractions as decimals so that their digits count."""
    loaded: dict[str, Any] = json.loads(path.read_text("utf-8"), parse_float=Decimal)
    return loaded


def vector(path: Path) -> Vector:
    action, kind = path.stem.split(".")
    return Vector(path, path.parts[-3], path.parts[-2], action, kind)


PAIRS = [vector(path) for path in sorted(VECTORS.glob("*/*/*.xml"))]
NARROWING = sorted((VECTORS / "narrowing").glob("*.json"))
SAID = [path for path in NARROWING if "body" in read(path)]
REFUSED = [path for path in NARROWING if "refused" in read(path)]

each_pair = pytest.mark.parametrize("pair", PAIRS, ids=[str(p.xml_path.relative_to(VECTORS).with_suffix("")) for p in PAIRS])
each_narrowed = pytest.mark.parametrize("path", SAID, ids=[p.stem for p in SAID])
each_refused = pytest.mark.parametrize("path", REFUSED, ids=[p.stem for p in REFUSED])


# The judges.


@functools.cache
def contract(version: str, service: str) -> etree._ElementTree:
    return etree.parse(WSDL_DIR / version / f"{SERVICES[service]}.wsdl")


@functools.cache
def schema_of(version: str, service: str) -> etree.XMLSchema:
    (schema,) = contract(version, service).iter(XSD)
    return etree.XMLSchema(etree.fromstring(etree.tostring(schema)))


def operations(version: str, service: str) -> set[str]:
    return {str(operation.get("name")) for operation in contract(version, service).iterfind(WSDL_OPERATION)}


@functools.cache
def json_schema(action: str, kind: str) -> dict[str, Any]:
    name = f"{action}.json" if kind == "req" else f"{action}Response.json"
    text = importlib.resources.files("ocpp").joinpath("v16", "schemas", name).read_text("utf-8-sig")
    loaded: dict[str, Any] = json.loads(text, parse_float=Decimal)
    return loaded


def body_of(envelope: bytes) -> etree._Element:
    """The payload element, as a document of its own."""
    body = etree.fromstring(envelope).find(f"{SOAP}Body")
    assert body is not None
    (payload,) = body
    return etree.fromstring(etree.tostring(payload))


def tree(element: etree._Element) -> Tree:
    """What counts of an element: prefixes and layout do not."""
    attributes = {str(key): str(value) for key, value in element.attrib.items()}
    return str(element.tag), (element.text or "").strip(), attributes, [tree(child) for child in element]


def spelled(value: Any) -> Any:
    """A payload in which the order of keys and the digits of numbers count."""
    match value:
        case dict():
            return [(key, spelled(item)) for key, item in value.items()]
        case list() | tuple():
            return [spelled(item) for item in value]
        case int() | float() | Decimal() if not isinstance(value, bool):
            return ("number", str(value))
        case _:
            return value


def marks(remarks: list[dict[str, str]]) -> list[tuple[str, str]]:
    return sorted((remark["kind"], remark["path"]) for remark in remarks)


# The translator, in one place.


def decoded(envelope: bytes) -> tuple[soap.Envelope, Message]:
    return soap.decode(envelope)


def written(frame: list[Any], version: str, side: Side, action: str, identity: str) -> soap.Written:
    message: Call | Result
    if frame[0] == 2:
        message = Call(action, frame[3], id=frame[1], identity=identity, side=side)
    else:
        message = Result(frame[2], id=frame[1], action=action)
    return soap.encode(message, Version(version), side=side, action=action, identity=identity)


def left(remarks: tuple[Remark, ...]) -> list[tuple[str, str]]:
    return sorted((str(remark.kind), remark.path) for remark in remarks)


def down(pair: Vector) -> soap.Written:
    expected = pair.expected
    return written(expected["frame"], pair.version, SIDES[pair.service], pair.action, expected.get("identity", "CP-0001"))


def action_of(case: dict[str, Any]) -> str:
    return str(case["frame"][2] if case["frame"][0] == 2 else case["action"])


def version_of(case: dict[str, Any]) -> str:
    return str(case["to"]).removeprefix("soap-")


def side_of(case: dict[str, Any]) -> Side:
    """The side that has the action in 1.6; for DataTransfer, which both have, the case says it."""
    if "side" in case:
        return Side(case["side"])
    called = action_of(case) in operations("1.6", "chargepoint") - operations("1.6", "centralsystem")
    return Side.CHARGE_POINT if called else Side.CENTRAL_SYSTEM


def narrowed(case: dict[str, Any]) -> soap.Written:
    return written(case["frame"], version_of(case), side_of(case), action_of(case), case.get("identity", "CP-0001"))


# The vectors themselves.


def test_every_message_of_every_version_has_a_pair() -> None:
    there = {(pair.version, pair.service, pair.action, pair.kind) for pair in PAIRS}
    wanted = {
        (version, service, action, kind)
        for version in ("1.2", "1.5", "1.6")
        for service in SERVICES
        for action in operations(version, service)
        for kind in ("req", "conf")
    }
    assert there == wanted
    assert len(PAIRS) == 144


def test_every_file_belongs_to_a_case() -> None:
    files = {path for path in VECTORS.glob("*/*/*") if path.is_file()}
    assert files == {path for pair in PAIRS for path in (pair.xml_path, pair.xml_path.with_suffix(".json"))}
    assert sorted(SAID + REFUSED) == NARROWING


@each_pair
def test_body_is_valid_by_the_contract(pair: Vector) -> None:
    schema_of(pair.version, pair.service).assertValid(body_of(pair.envelope))


@each_pair
def test_frame_is_valid_by_the_json_schema(pair: Vector) -> None:
    jsonschema.Draft4Validator(json_schema(pair.action, pair.kind)).validate(pair.expected["frame"][-1])


@each_pair
def test_headers_agree_with_the_frame(pair: Vector) -> None:
    header = etree.fromstring(pair.envelope).find(f"{SOAP}Header")
    assert header is not None
    wire_id = header.findtext(f"{WSA}MessageID" if pair.kind == "req" else f"{WSA}RelatesTo") or ""
    bare = wire_id.removeprefix("urn:uuid:").removeprefix("uuid:") if len(wire_id) > 36 else wire_id
    identity = header.findtext(f"{{{etree.QName(body_of(pair.envelope)).namespace}}}chargeBoxIdentity")
    assert pair.expected["frame"][1] == bare
    assert pair.expected.get("identity") == identity
    assert (identity is None) == (pair.kind == "conf")


@each_narrowed
def test_narrowed_body_is_valid_by_the_contract(path: Path) -> None:
    case = read(path)
    service = next(name for name, side in SIDES.items() if side is side_of(case))
    schema_of(version_of(case), service).assertValid(etree.fromstring(case["body"]))


@pytest.mark.parametrize("path", NARROWING, ids=[p.stem for p in NARROWING])
def test_frame_to_narrow_is_valid_by_the_json_schema(path: Path) -> None:
    case = read(path)
    if case.get("refused") == "NotImplemented":
        return  # not an action of OCPP 1.6, so nothing published judges it
    kind = "req" if case["frame"][0] == 2 else "conf"
    jsonschema.Draft4Validator(json_schema(action_of(case), kind)).validate(case["frame"][-1])


# The translator, judged by them.


@each_pair
def test_envelope_becomes_the_frame(pair: Vector) -> None:
    (envelope, message), expected = decoded(pair.envelope), pair.expected
    assert isinstance(message, Call if pair.kind == "req" else Result)
    assert (message.id, message.action, envelope.version) == (expected["frame"][1], pair.action, pair.version)
    assert spelled(message.payload) == spelled(expected["frame"][-1])
    if pair.kind == "req":
        assert envelope.identity == expected["identity"]


@each_pair
def test_envelope_leaves_the_remarks(pair: Vector) -> None:
    _, message = decoded(pair.envelope)
    assert left(message.remarks) == marks(pair.expected["up"])


@each_pair
def test_frame_becomes_the_body(pair: Vector) -> None:
    body = body_of(down(pair).body)
    schema_of(pair.version, pair.service).assertValid(body)
    same = tree(body) == tree(body_of(pair.envelope))
    assert same == pair.expected.get("down_xml", True), etree.tostring(body).decode()


@each_pair
def test_frame_leaves_the_remarks(pair: Vector) -> None:
    assert left(down(pair).remarks) == marks(pair.expected["down"])


@each_narrowed
def test_narrowing_makes_the_body_and_says_what_it_cost(path: Path) -> None:
    case = read(path)
    out = narrowed(case)
    assert tree(body_of(out.body)) == tree(etree.fromstring(case["body"]))
    assert left(out.remarks) == marks(case["remarks"])


@each_refused
def test_what_a_version_cannot_say_is_refused(path: Path) -> None:
    case = read(path)
    with pytest.raises(OcppError) as caught:
        narrowed(case)
    assert caught.value.code == case["refused"]

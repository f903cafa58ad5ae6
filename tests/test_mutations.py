"""Messages of the vectors, changed: each is valid by the published schema, or refused; money and names are never guessed."""

import json
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from fuzz import mutations
from tests.judges import validator
from translations import ocppj, soap
from translations.deltas import known_actions
from translations.errors import WIRES, OcppError
from translations.messages import Call, Error, Message, Result, Side, Version
from translations.tongue import Tongue

Item = TypeVar("Item")
STAMP = "2024-05-01T10:00:00Z"
VECTORS = Path(__file__).parent / "vectors"
SIDES = {"centralsystem": Side.CENTRAL_SYSTEM, "chargepoint": Side.CHARGE_POINT}
PRECIOUS = ("idTag", "transactionId", "meterStart", "meterStop")


class Vector(NamedTuple):
    """One message on one wire; `frame` is what it says in canonical form."""

    name: str
    version: Version
    side: Side
    action: str
    envelope: bytes
    frame: bytes

    @property
    def response(self) -> bool:
        return self.name.endswith("conf")

    @property
    def tongue(self) -> Tongue:
        asked = self.side
        return Tongue(Version.V16, next(s for s in Side if s is not asked) if self.response else asked)


def vector(path: Path) -> Vector:
    frame = json.dumps(json.loads(path.with_suffix(".json").read_text("utf-8"))["frame"], separators=(",", ":"))
    name = str(path.relative_to(VECTORS).with_suffix(""))
    action, _ = path.stem.split(".")
    return Vector(name, Version(path.parts[-3]), SIDES[path.parts[-2]], action, path.read_bytes(), frame.encode())


ALL = [vector(path) for path in sorted(VECTORS.glob("*/*/*.xml"))]
CANONICAL = [each for each in ALL if each.version is Version.V16]
each_vector = pytest.mark.parametrize("each", ALL, ids=[each.name for each in ALL])
each_canonical = pytest.mark.parametrize("each", CANONICAL, ids=[each.name for each in CANONICAL])


def pick_of(draw: st.DrawFn) -> mutations.Pick:
    def pick(items: Sequence[Item], /) -> Item:
        return draw(st.sampled_from(items))

    return pick


@st.composite
def changed(draw: st.DrawFn, data: bytes, change: Callable[[bytes, mutations.Pick], bytes]) -> bytes:
    """Bytes to whose tree a few things happened, and now and then to them as well."""
    for _ in range(draw(st.integers(1, 3))):
        data = change(data, pick_of(draw))
    return mutations.octets(data, pick_of(draw)) if draw(st.integers(0, 4)) == 0 else data


def taken(make: Callable[[], Message]) -> Message | None:
    """The message; None where it is refused, which is said in words."""
    try:
        return make()
    except OcppError as refused:
        assert refused.code in WIRES
        assert refused.text and len(refused.text) < 3000
        return None


def complaints(message: Message) -> list[str]:
    """Of the published schema, by another validator than ours; the official one lets `meterValue` be empty."""
    if isinstance(message, Error) or not any(message.action in known_actions(side) for side in Side):
        return []
    errors = validator(message.action, isinstance(message, Result)).iter_errors(exact(message.payload))
    return [e.message for e in errors if (e.validator, list(e.path)) != ("minItems", ["meterValue"])]


def exact(value: Any) -> Any:
    """A payload as it is on the wire, for a validator that knows Decimal and int."""
    return json.loads(ocppj.encode(Result(value, "1")), parse_float=Decimal)[2]


# --- whatever happens to a message --------------------------------------------------------------------------------------


@each_vector
@given(data=st.data())
def test_a_changed_envelope_is_valid_or_refused(each: Vector, data: st.DataObject) -> None:
    envelope = data.draw(changed(each.envelope, mutations.envelope))
    message = taken(lambda: soap.decode(envelope, None, STAMP, each.side)[1])
    if message is not None:
        assert complaints(message) == []
        assert invented(message, set(written_in(envelope))) == []


@each_canonical
@given(data=st.data())
def test_a_changed_frame_is_valid_or_refused(each: Vector, data: st.DataObject) -> None:
    frame = data.draw(changed(each.frame, mutations.frame))
    message = taken(lambda: heard(frame, each))
    if message is not None:
        assert complaints(message) == []
        assert invented(message, set(said_in(json.loads(frame)))) == []


def heard(frame: bytes, each: Vector) -> Message:
    message = ocppj.decode(frame)
    if isinstance(message, Result) != each.response:
        raise OcppError("another kind of message")
    return each.tongue.heard(message, each.action if isinstance(message, Result) else message.action, STAMP)


# --- what costs money, and who it is ------------------------------------------------------------------------------------

Said = tuple[str, str]
"""A field, and what is said of it; numbers in one spelling."""


def spelt(name: str, value: object) -> Said:
    text = str(value).strip()
    try:
        return name, text if name == "idTag" else str(int(Decimal(text)))
    except (ArithmeticError, ValueError):
        return name, text


def written_in(envelope: bytes) -> Iterator[Said]:
    """What an envelope says of the precious fields, read by local name alone."""
    start, coded = envelope.find(b"<"), None
    if envelope[start + 1 : start + 2] == b"\x00" or envelope[start - 1 : start] == b"\x00":
        wide = "utf-16-be" if envelope[start - 1 : start] == b"\x00" else "utf-16-le"
        envelope = envelope[start - (wide == "utf-16-be") :].decode(wide, "replace").encode("utf-8", "replace")
        start, coded = 0, "utf-8"
    parser = etree.XMLParser(recover=True, remove_comments=True, remove_pis=True, encoding=coded)
    root = etree.fromstring(envelope[start:].rstrip(b"\x00"), parser)
    for node in root.iter():
        for name in PRECIOUS:
            if str(node.tag).rpartition("}")[2].lower() == name.lower():
                yield spelt(name, node.text or "")


def said_in(value: Any) -> Iterator[Said]:
    """The same of a frame."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from (spelt(name, inner) for name in PRECIOUS if name.lower() == key.lower())
            yield from said_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from said_in(inner)


def invented(message: Message, there: set[Said]) -> list[Said]:
    """The precious values of a message that stand nowhere in what came."""
    payload = {} if isinstance(message, Error) else message.payload
    return [said for said in said_in(payload) if said not in there]


NO_TAGS = ("", " ", "\n", "X" * 21)
NO_NUMBERS = (
    "",
    " ",
    "x",
    "1.5",
    "1e3",
    "1_000",
    "\u0663",
    "0x10",
    "2147483648",
    "-2147483649",
    "9" * 30,
    "1 2",
    "1,5",
    "+",
    "--1",
)
CALLS = [(each, name) for each in ALL if not each.response for name in PRECIOUS if name in json.loads(each.frame)[3]]
each_precious = pytest.mark.parametrize(("each", "name"), CALLS, ids=[f"{each.name}-{name}" for each, name in CALLS])
each_precious_frame = pytest.mark.parametrize(
    ("each", "name"), [(e, n) for e, n in CALLS if e in CANONICAL], ids=[f"{e.name}-{n}" for e, n in CALLS if e in CANONICAL]
)


def needed(each: Vector, name: str) -> bool:
    return name in validator(each.action, False).schema.get("required", ())


def with_field(each: Vector, name: str, change: Callable[[etree._Element], None]) -> bytes:
    """The envelope with that change to its field."""
    root = etree.fromstring(each.envelope)
    (node,) = [node for node in root.iter() if etree.QName(node).localname == name and len(node) == 0]
    change(node)
    return etree.tostring(root)


def check_precious(make: Callable[[], Message], each: Vector, name: str, value: object = ...) -> None:
    """It is refused; or it goes on as it came; or, where it may be missing, it is missing and a remark says so."""
    message = taken(make)
    if message is None:
        return
    assert isinstance(message, Call)
    if name in message.payload:
        assert (type(message.payload[name]), message.payload[name]) == (type(value), value)
    else:
        assert not needed(each, name)
        assert any(remark.path.startswith(name) for remark in message.remarks)


def say(text: str) -> Callable[[etree._Element], None]:
    def change(node: etree._Element) -> None:
        node.text = text

    return change


def nil(node: etree._Element) -> None:
    node.text = None
    node.set(mutations.XSI_NIL, "true")


def nest(node: etree._Element) -> None:
    etree.SubElement(node, node.tag).text = node.text
    node.text = None


def litter(node: etree._Element) -> None:
    etree.SubElement(node, "x")


def differ(node: etree._Element) -> None:
    other = etree.fromstring(etree.tostring(node, with_tail=False))
    other.text = f"{node.text}1"
    node.addnext(other)


def drop(node: etree._Element) -> None:
    above = node.getparent()
    assert above is not None
    above.remove(node)


@each_precious
def test_a_precious_field_that_is_missing_is_not_made_up(each: Vector, name: str) -> None:
    message = taken(lambda: soap.decode(with_field(each, name, drop), None, STAMP)[1])
    assert (message is None) == needed(each, name)
    assert message is None or not isinstance(message, Call) or name not in message.payload


@each_precious
def test_a_precious_field_that_cannot_be_used_is_not_mended(each: Vector, name: str) -> None:
    for text in NO_TAGS if name == "idTag" else NO_NUMBERS:
        envelope = with_field(each, name, say(text))
        check_precious(lambda envelope=envelope: soap.decode(envelope, None, STAMP)[1], each, name)  # type: ignore[misc]


@each_precious
@pytest.mark.parametrize("change", [nil, nest])
def test_a_precious_field_of_another_shape_is_not_mended(each: Vector, name: str, change: Any) -> None:
    check_precious(lambda: soap.decode(with_field(each, name, change), None, STAMP)[1], each, name)


@each_precious
def test_elements_inside_a_precious_field_are_no_part_of_it(each: Vector, name: str) -> None:
    value = json.loads(each.frame)[3][name]
    check_precious(lambda: soap.decode(with_field(each, name, litter), None, STAMP)[1], each, name, value)


@each_precious
def test_of_two_precious_values_none_is_taken(each: Vector, name: str) -> None:
    assert taken(lambda: soap.decode(with_field(each, name, differ), None, STAMP)[1]) is None


def said_as(each: Vector, name: str, value: Any) -> bytes:
    frame = json.loads(each.frame)
    frame[3][name] = value
    return json.dumps(frame).encode()


ODD_JSON: tuple[Any, ...] = (None, [], {}, True, False, 1.5, -1.5, [[]], [1, 2], {"value": 1}, {"x": "TAG1"})


@each_precious_frame
def test_a_precious_field_of_a_frame_is_not_mended(each: Vector, name: str) -> None:
    texts = NO_TAGS if name == "idTag" else NO_NUMBERS
    for value in (*texts, *ODD_JSON):
        check_precious(lambda value=value: heard(said_as(each, name, value), each), each, name, value)  # type: ignore[misc]


@each_precious_frame
def test_a_precious_field_that_a_frame_lacks_is_not_made_up(each: Vector, name: str) -> None:
    frame = json.loads(each.frame)
    del frame[3][name]
    assert (taken(lambda: heard(json.dumps(frame).encode(), each)) is None) == needed(each, name)


@each_precious_frame
def test_of_two_precious_values_in_a_frame_none_is_taken(each: Vector, name: str) -> None:
    for other in (name, name.upper()):
        twice = each.frame[:-2] + json.dumps(f"{name}1" if name == "idTag" else 77).join([f',"{other}":', "}]"]).encode()
        assert taken(lambda twice=twice: heard(twice, each)) is None  # type: ignore[misc]

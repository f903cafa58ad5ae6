"""Messages grown from the contracts: canonical payloads, payload elements as trees that no code of ours wrote, and harm."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from hypothesis import strategies as st
from lxml import etree

from translations.contracts import Field, Type, contract
from translations.messages import Side, Version

SOAP12 = "http://www.w3.org/2003/05/soap-envelope"
WSA = "http://www.w3.org/2005/08/addressing"

VERBATIM = frozenset(
    {"DataTransferRequest.data", "DataTransferResponse.data", "KeyValue.value", "ChangeConfigurationRequest.value"}
)

# Wrappers without meaning: the canonical form joins them, so only one that holds something comes back as it was.
_WRAPPERS = frozenset({"TransactionData"})

# Where the wire has no limit the canonical form may have one; none is shorter than an idTag's.
_SHORTEST = 20


@dataclass(frozen=True, slots=True)
class Form:
    """One message of one contract."""

    version: Version
    side: Side
    action: str
    response: bool

    @property
    def element(self) -> str:
        spoken = contract(self.version, self.side)
        return (spoken.responses if self.response else spoken.requests)[self.action]

    @property
    def type(self) -> Type:
        return contract(self.version, self.side).messages[self.element]

    @property
    def namespace(self) -> str:
        return contract(self.version, self.side).namespace

    def __str__(self) -> str:
        return f"{self.version}-{self.side}-{self.action}.{'conf' if self.response else 'req'}"


def forms(*versions: Version) -> list[Form]:
    """Every message of the versions, both sides, both directions."""
    return [
        Form(version, side, action, response)
        for version in versions
        for side in Side
        for action in contract(version, side).requests
        for response in (False, True)
    ]


# --- single values -----------------------------------------------------------------------------------------------------

_ODD_TEXTS = (
    "<b>&amp;</b>",
    "]]>",
    "<![CDATA[x]]>",
    "\"'&;",
    "a  b",
    "a\nb",
    "a\tb",
    "a\rb\r\nc",
    "007",
    "1e5",
    "null",
    "true",
    "%41",
    "ÄÖ€",
    "\N{GRINNING FACE}",
    "a\u2028b\x85c",
    "a\x7fb",
    "{}[2,]",
    "\ufffd",
)
_LAWFUL = st.characters(exclude_categories=("Cs", "Cc"), include_characters="\t\n\r", exclude_characters="\ufffe\uffff")
_INTS = st.sampled_from((0, -1, 1, 9, 999999999, 1000000000, 2**31 - 1, -(2**31))) | st.integers(-(2**31), 2**31 - 1)
_DECIMALS = st.integers(-(10**9), 10**9).map(lambda n: Decimal(n).scaleb(-1))
_MOMENTS = st.sampled_from(
    (
        "2024-05-01T10:00:00Z",
        "2024-02-29T23:59:59.999Z",
        "1970-01-01T00:00:00.0Z",
        "9999-12-31T23:59:59Z",
        "2024-05-01T10:00:00.123456789Z",
        "2024-05-01T10:00:00+02:00",
        "2024-12-31T23:59:59.5-11:30",
        "2024-05-01T10:00:00-00:00",
    )
) | st.datetimes(datetime(1000, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)).map(
    lambda moment: moment.isoformat().replace("+00:00", "Z")
)
_NUMERALS = st.sampled_from(("0", "12", "-7", "12.0", "12.5", "007", "0.0004", "2147483648", "1e3")) | st.integers(0, 10**7).map(
    str
)
_URIS = st.sampled_from(
    ("http://example.com/", "ftp://user:pass@10.0.0.1/a%20b?c=1&d=2", "https://[2001:db8::1]:8443/x;y#z", "urn:uuid:1")
)
_LEAVES: Mapping[str, st.SearchStrategy[Any]] = MappingProxyType(
    {"int": _INTS, "decimal": _DECIMALS, "boolean": st.booleans(), "dateTime": _MOMENTS, "anyURI": _URIS}
)


def texts(limit: int | None, verbatim: bool) -> st.SearchStrategy[str]:
    """Text up to the limit and at it. White space at the ends, and nothing at all, only where it is kept."""
    most = limit or _SHORTEST
    full = st.sampled_from(("x" * most, "\N{ELECTRIC PLUG}" * most, "&" * most))
    drawn = st.sampled_from([t for t in _ODD_TEXTS if len(t) <= most]) | st.text(_LAWFUL, max_size=min(most, 40)) | full
    return drawn | st.sampled_from(("", " ", " x ", "\n x\t")) if verbatim else drawn.map(lambda t: t.strip() or "x")


def leaf(kind: Type, limit: int | None, verbatim: bool) -> st.SearchStrategy[Any]:
    """A canonical value of a type without fields."""
    if kind.values:
        return st.sampled_from(kind.values)
    return texts(limit, verbatim) if kind.base == "string" else _LEAVES[kind.base]


# --- canonical payloads ------------------------------------------------------------------------------------------------


# Samples of the one kind that every version can say, which would seldom grow by chance.
_ENERGY = st.fixed_dictionaries(
    {"value": _NUMERALS},
    optional={
        "context": st.sampled_from(("Sample.Clock", "Sample.Periodic")),
        "format": st.just("Raw"),
        "measurand": st.just("Energy.Active.Import.Register"),
        "location": st.just("Outlet"),
        "unit": st.sampled_from(("Wh", "kWh")),
    },
)


def payloads(kind: Type) -> st.SearchStrategy[dict[str, Any]]:
    """Payloads of a type of the 1.6 contract, which are canonical."""
    grown = {f.name: _field(f, f"{kind.name}.{f.name}") for f in kind.fields}
    needed = {f.name for f in kind.fields if f.required or f.name == "meterValue"}
    return st.fixed_dictionaries(
        {name: value for name, value in grown.items() if name in needed},
        optional={name: value for name, value in grown.items() if name not in needed},
    )


def _field(field: Field, name: str) -> st.SearchStrategy[Any]:
    kind = field.type
    one = payloads(kind) if kind.fields else leaf(kind, kind.max_length, name in VERBATIM)
    one = one | _ENERGY if kind.name == "SampledValue" else one
    return st.lists(one, min_size=1, max_size=3) if field.repeated else one


# --- payload elements --------------------------------------------------------------------------------------------------

Node = Callable[[str, str], etree._Element]
"""(namespace, name) -> element"""


def elements(form: Form) -> st.SearchStrategy[etree._Element]:
    """Payload elements of a message, in the order of its contract."""
    return _nodes(form.type, form.type.name).map(lambda make: make(form.namespace, form.element))


def _nodes(kind: Type, name: str) -> st.SearchStrategy[Node]:
    if kind.attributes:
        marks = st.fixed_dictionaries({}, optional={a.name: leaf(a.type, None, False) for a in kind.attributes})
        return st.builds(_marked, texts(None, False), marks)
    if kind.base:
        return leaf(kind, kind.max_length or _SHORTEST, name in VERBATIM).map(_plain)
    return st.tuples(*(_children(f, kind) for f in kind.fields)).map(_parent)


def _children(field: Field, owner: Type) -> st.SearchStrategy[list[tuple[str, Node]]]:
    wrapped = owner.name in _WRAPPERS
    least = int(field.required or wrapped)
    most = 3 if field.repeated and field.type.name not in _WRAPPERS else 1
    one = _nodes(field.type, f"{owner.name}.{field.name}").map(lambda node: (field.name, node))
    return st.lists(one, min_size=least, max_size=most)


def _plain(value: Any) -> Node:
    return _marked({True: "true", False: "false"}[value] if isinstance(value, bool) else str(value), {})


def _marked(text: str, marks: dict[str, str]) -> Node:
    def make(namespace: str, name: str) -> etree._Element:
        node = etree.Element(f"{{{namespace}}}{name}", marks)
        node.text = text
        return node

    return make


def _parent(groups: tuple[list[tuple[str, Node]], ...]) -> Node:
    def make(namespace: str, name: str) -> etree._Element:
        node = etree.Element(f"{{{namespace}}}{name}")
        node.extend(child(namespace, called) for group in groups for called, child in group)
        return node

    return make


def enveloped(payload: etree._Element, identity: str = "CP-1", message_id: str = "m-1") -> bytes:
    """The bytes of an envelope with the headers that peers send."""
    root = etree.Element(f"{{{SOAP12}}}Envelope")
    header = etree.SubElement(root, f"{{{SOAP12}}}Header")
    namespace = etree.QName(payload).namespace
    etree.SubElement(header, f"{{{namespace}}}chargeBoxIdentity").text = identity
    for name in ("MessageID", "RelatesTo"):
        etree.SubElement(header, f"{{{WSA}}}{name}").text = message_id
    etree.SubElement(root, f"{{{SOAP12}}}Body").append(payload)
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")


# --- harm --------------------------------------------------------------------------------------------------------------

_INSERTS = (
    b"&x;",
    b"&#0;",
    b"&#x1F600;",
    b"<!DOCTYPE a>",
    b"<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/hostname'>]>",
    b"<![CDATA[<]]>",
    b"<!-- -->",
    b"<?x y?>",
    b"<x/>",
    b"<a xmlns=''/>",
    b"\x00",
    b"\xff",
    b"\r\n",
    b'" x="',
    b" xsi:nil='true'",
)
_NAMES = ("", "urn:x", "urn://Ocpp/Cs/2012/06", "urn://Ocpp/Cp/2015/10/", SOAP12, WSA)


@st.composite
def harmed(draw: st.DrawFn, envelopes: list[bytes]) -> bytes:
    """An envelope to which a few things happened: to its tree, then to its bytes."""
    root = etree.fromstring(draw(st.sampled_from(envelopes)))
    for _ in range(draw(st.integers(0, 3))):
        nodes = [node for node in root.iter() if node is not root]
        if nodes:
            _TREE_HARMS[draw(st.sampled_from(sorted(_TREE_HARMS)))](draw, draw(st.sampled_from(nodes)))
    data = etree.tostring(root)
    return draw(st.sampled_from(_BYTE_HARMS))(draw, data)


def _drop(draw: st.DrawFn, node: etree._Element) -> None:
    _above(node).remove(node)


def _double(draw: st.DrawFn, node: etree._Element) -> None:
    node.addnext(etree.fromstring(etree.tostring(node, with_tail=False)))


def _reorder(draw: st.DrawFn, node: etree._Element) -> None:
    above = _above(node)
    above[:] = list(reversed(above))


def _rename(draw: st.DrawFn, node: etree._Element) -> None:
    local, namespace = etree.QName(node).localname, draw(st.sampled_from(_NAMES))
    spelt = draw(st.sampled_from((local, local.upper(), f"{local}x", "Fault", "status", "value")))
    node.tag = f"{{{namespace}}}{spelt}" if namespace else spelt


def _retext(draw: st.DrawFn, node: etree._Element) -> None:
    node.text = draw(st.sampled_from(("", " ", "x" * 600, "-1", "1.0", "\u0661", "2024-13-01T00:00:00Z", "Occupied", "9" * 50)))


def _mark(draw: st.DrawFn, node: etree._Element) -> None:
    node.set(draw(st.sampled_from(("unit", "{urn:x}unit", "{http://www.w3.org/2001/XMLSchema-instance}nil"))), "true")


def _nest(draw: st.DrawFn, node: etree._Element) -> None:
    etree.SubElement(node, node.tag).text = node.text


_TREE_HARMS: Mapping[str, Callable[[st.DrawFn, etree._Element], None]] = MappingProxyType(
    {"drop": _drop, "double": _double, "reorder": _reorder, "rename": _rename, "text": _retext, "mark": _mark, "nest": _nest}
)


def _above(node: etree._Element) -> etree._Element:
    above = node.getparent()
    assert above is not None
    return above


def _whole(draw: st.DrawFn, data: bytes) -> bytes:
    return data


def _cut(draw: st.DrawFn, data: bytes) -> bytes:
    return data[: draw(st.integers(0, len(data)))]


def _insert(draw: st.DrawFn, data: bytes) -> bytes:
    at = draw(st.integers(0, len(data)))
    return data[:at] + draw(st.sampled_from(_INSERTS)) + data[at:]


def _recode(draw: st.DrawFn, data: bytes) -> bytes:
    declared = draw(st.sampled_from(("utf-16", "utf-7", "idna", "undefined", "unicode_escape", "iso-8859-1", "ebcdic", "utf-8")))
    spoken = draw(st.sampled_from(("utf-8", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1")))
    return f"<?xml version='1.0' encoding='{declared}'?>{data.decode('ascii')}".encode(spoken)


_BYTE_HARMS = (_whole, _whole, _cut, _insert, _recode)

"""The six SOAP contracts as tables: WSDL in, ordered and typed fields per message out. The only reader of `wsdl/`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType

from lxml import etree

from translations.messages import Side, Version

_XS = "{http://www.w3.org/2001/XMLSchema}"
_WSDL = "{http://schemas.xmlsoap.org/wsdl/}"
_SERVICES = MappingProxyType({Side.CENTRAL_SYSTEM: "CentralSystemService", Side.CHARGE_POINT: "ChargePointService"})


@dataclass(frozen=True, slots=True)
class Type:
    """A type of the contract. With `fields` it is an object; with `attributes` besides a base it is text with attributes."""

    name: str
    base: str = ""
    values: tuple[str, ...] = ()
    max_length: int | None = None
    fields: tuple["Field", ...] = ()
    attributes: tuple["Field", ...] = ()


@dataclass(frozen=True, slots=True)
class Field:
    """A child element or an attribute: how often it may stand, and what it holds."""

    name: str
    type: Type
    required: bool
    repeated: bool


@dataclass(frozen=True, slots=True)
class Contract:
    """One service of one version. `messages` is by element name, `requests` and `responses` by action."""

    version: Version
    side: Side
    namespace: str
    messages: Mapping[str, Type]
    requests: Mapping[str, str]
    responses: Mapping[str, str]


def wsdl_text(version: Version, side: Side) -> bytes:
    """The contract document as it lies in the package."""
    return (files("wsdl") / version / f"{_SERVICES[side]}.wsdl").read_bytes()


@cache
def contract(version: Version, side: Side) -> Contract:
    """Read one contract. Our own files are trusted; a hole in them is a KeyError."""
    root = etree.fromstring(wsdl_text(version, side))
    schema = _Schema(root)
    operations = list(_operations(root))
    return Contract(
        version,
        side,
        root.get("targetNamespace", ""),
        MappingProxyType(
            {name: schema.type_of(node) for name, node in schema.elements.items() if node.get("type") != "xs:string"}
        ),
        MappingProxyType({action: request for action, request, _ in operations}),
        MappingProxyType({action: response for action, _, response in operations}),
    )


def _operations(root: etree._Element) -> Iterator[tuple[str, str, str]]:
    elements = {
        message.get("name", ""): _local(part.get("element", ""))
        for message in root.findall(f"{_WSDL}message")
        for part in message.findall(f"{_WSDL}part")
    }
    for operation in root.findall(f"{_WSDL}portType/{_WSDL}operation"):
        names = [elements[_local(_found(operation, way).get("message", ""))] for way in ("input", "output")]
        yield operation.get("name", ""), names[0], names[1]


def _found(node: etree._Element, name: str) -> etree._Element:
    found = node.find(f"{_WSDL}{name}")
    if found is None:
        raise KeyError(name)
    return found


def _local(name: str) -> str:
    return name.rpartition(":")[2]


class _Schema:
    def __init__(self, root: etree._Element) -> None:
        nodes = [node for node in root.findall(f"{_WSDL}types/{_XS}schema/*") if node.get("name")]
        self.elements = {node.get("name", ""): node for node in nodes if node.tag == f"{_XS}element"}
        self._nodes = {node.get("name", ""): node for node in nodes if node.tag != f"{_XS}element"}
        self._types: dict[str, Type] = {}

    def type_of(self, node: etree._Element) -> Type:
        name = node.get("type", "")
        if name.startswith("xs:"):
            return Type(name, base=_local(name))
        name = _local(name)
        if name not in self._types:
            self._types[name] = self._read(name, self._nodes[name])
        return self._types[name]

    def _read(self, name: str, node: etree._Element) -> Type:
        if node.tag == f"{_XS}simpleType":
            return self._simple(name, node)
        extension = node.find(f"{_XS}simpleContent/{_XS}extension")
        if extension is not None:
            attributes = tuple(self._field(a) for a in extension.findall(f"{_XS}attribute"))
            return Type(name, base=_local(extension.get("base", "")), attributes=attributes)
        return Type(name, fields=tuple(self._field(e) for e in node.findall(f"{_XS}sequence/{_XS}element")))

    def _simple(self, name: str, node: etree._Element) -> Type:
        restriction = node.find(f"{_XS}restriction")
        if restriction is None:
            raise KeyError(name)
        values = tuple(e.get("value", "") for e in restriction.findall(f"{_XS}enumeration"))
        limit = restriction.find(f"{_XS}maxLength")
        length = None if limit is None else int(limit.get("value", ""))
        return Type(name, base=_local(restriction.get("base", "")), values=values, max_length=length)

    def _field(self, node: etree._Element) -> Field:
        required = node.get("use") == "required" if node.tag == f"{_XS}attribute" else node.get("minOccurs", "1") != "0"
        return Field(node.get("name", ""), self.type_of(node), required, node.get("maxOccurs", "1") != "1")

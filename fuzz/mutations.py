"""What goes wrong with messages on their way out of a charger, or is made to: changes to trees, and to bytes.

Who calls says how to choose (`pick`): by chance, or by a search for the smallest case.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

from lxml import etree

Item = TypeVar("Item")


class Pick(Protocol):
    """Chooses one of several."""

    def __call__(self, items: Sequence[Item], /) -> Item: ...


XSI_NIL = "{http://www.w3.org/2001/XMLSchema-instance}nil"
NAMESPACES = (
    "",
    "urn:x",
    "urn://Ocpp/Cs/2010/08/",
    "urn://Ocpp/Cs/2012/06",
    "urn://Ocpp/Cs/2015/10/",
    "urn://Ocpp/Cp/2012/06/",
    "http://www.w3.org/2003/05/soap-envelope",
    "http://www.w3.org/2005/08/addressing",
)
NAMES = ("x", "value", "status", "Fault", "idTag", "transactionId", "timestamp", "chargeBoxIdentity", "Body")
TEXTS = (
    *("", " ", "\n\t", "x", "X" * 600, "TAG1", "TAG1 ", "\u00e9\U0001f50c", "a\u2028b", "null", "nan", "true", "TRUE", "1"),
    *("0", "-1", "+1", "1.0", "1.5", "1e3", "1_000", "\u0661", "0x10", "2147483647", "2147483648", "-0", "9" * 50, ".5", "1,5"),
    *(
        "2024-05-01T10:00:00Z",
        "2024-05-01 10:00",
        "2024-02-30T00:00:00Z",
        "1714557600000",
        "20240501100000",
        "0000-00-00T00:00:00Z",
    ),
    *("Accepted", "accepted", "Occupied", "Available", "Hard", "Wh", "Energy.Active.Import.Register", "Ended", "Unknown"),
)
VALUES: tuple[Any, ...] = (
    *TEXTS,
    None,
    True,
    False,
    0,
    1,
    -1,
    1.5,
    1e3,
    2**31,
    2**70,
    [],
    {},
    [[]],
    [None],
    {"x": 1},
    {"value": "1"},
)


# --- envelopes ---------------------------------------------------------------------------------------------------------


def envelope(data: bytes, pick: Pick) -> bytes:
    """An envelope with one change to its tree. What is no XML stays as it is."""
    try:
        root = etree.fromstring(data, etree.XMLParser(resolve_entities=False, no_network=True))
    except etree.XMLSyntaxError:
        return data
    nodes = [node for node in root.iter() if isinstance(node.tag, str) and node is not root]
    if nodes:
        ELEMENT_CHANGES[pick(sorted(ELEMENT_CHANGES))](pick(nodes), pick)
    return etree.tostring(root)


def _parent(node: etree._Element) -> etree._Element:
    parent = node.getparent()
    assert parent is not None
    return parent


def _drop(node: etree._Element, pick: Pick) -> None:
    _parent(node).remove(node)


def _double(node: etree._Element, pick: Pick) -> None:
    copy = deepcopy(node)  # not by way of text, which may have a prefix that nobody declared
    copy.tail = None
    if len(copy) == 0 and pick((False, True)):
        copy.text = pick(TEXTS)
    node.addnext(copy)


def _swap(node: etree._Element, pick: Pick) -> None:
    siblings = list(_parent(node))
    _parent(node).insert(pick(range(len(siblings))), node)


def _move(node: etree._Element, pick: Pick) -> None:
    inside = set(node.iter())
    pick([other for other in node.getroottree().iter() if isinstance(other.tag, str) and other not in inside]).append(node)


def _rename(node: etree._Element, pick: Pick) -> None:
    _tag(node, pick(NAMES), etree.QName(node).namespace or "")


def _case(node: etree._Element, pick: Pick) -> None:
    name = etree.QName(node)
    _tag(node, pick((name.localname.upper(), name.localname.lower(), name.localname.swapcase())), name.namespace or "")


def _namespace(node: etree._Element, pick: Pick) -> None:
    _tag(node, etree.QName(node).localname, pick(NAMESPACES))


def _tag(node: etree._Element, local: str, namespace: str) -> None:
    node.tag = f"{{{namespace}}}{local}" if namespace else local


def _text(node: etree._Element, pick: Pick) -> None:
    node.text = pick(TEXTS)


def _pad(node: etree._Element, pick: Pick) -> None:
    node.text = f"{pick((' ', chr(10), chr(0xA0), ''))}{node.text or ''}{pick((' ', chr(9), chr(0x3000)))}"


def _unknown(node: etree._Element, pick: Pick) -> None:
    stranger = etree.SubElement(node, pick((node.tag, "x", "{urn:x}x")))
    stranger.text = pick(TEXTS)


def _mark(node: etree._Element, pick: Pick) -> None:
    node.set(pick((XSI_NIL, "unit", "Unit", "{urn:x}unit", "x", "measurand")), pick(("true", *TEXTS)))


ELEMENT_CHANGES: Mapping[str, Callable[[etree._Element, Pick], None]] = MappingProxyType(
    {
        "drop": _drop,
        "double": _double,
        "swap": _swap,
        "move": _move,
        "rename": _rename,
        "case": _case,
        "namespace": _namespace,
        "text": _text,
        "pad": _pad,
        "unknown": _unknown,
        "mark": _mark,
    }
)


# --- frames ------------------------------------------------------------------------------------------------------------


def frame(data: bytes, pick: Pick) -> bytes:
    """A frame with one change to its tree. What is no JSON stays as it is."""
    try:
        whole = json.loads(data)
    except (ValueError, RecursionError):
        return data
    places = [(holder, key) for holder in _holders(whole) for key in _keys(holder)]
    if places:
        holder, key = pick(places)
        VALUE_CHANGES[pick(sorted(VALUE_CHANGES))](holder, key, pick)
    return json.dumps(whole, separators=pick(((",", ":"), (", ", ": ")))).encode()


def _holders(value: Any) -> list[Any]:
    if not isinstance(value, dict | list):
        return []
    inner = value.values() if isinstance(value, dict) else value
    return [value, *(found for child in inner for found in _holders(child))]


def _keys(holder: Any) -> list[Any]:
    return list(holder) if isinstance(holder, dict) else list(range(len(holder)))


def _lose(holder: Any, key: Any, pick: Pick) -> None:
    del holder[key]


def _become(holder: Any, key: Any, pick: Pick) -> None:
    holder[key] = pick(VALUES)


def _as_text(holder: Any, key: Any, pick: Pick) -> None:
    holder[key] = str(holder[key])


def _enlist(holder: Any, key: Any, pick: Pick) -> None:
    holder[key] = [holder[key]] * pick((1, 2))


def _delist(holder: Any, key: Any, pick: Pick) -> None:
    if isinstance(holder[key], list) and holder[key]:
        holder[key] = holder[key][0]


def _wrap(holder: Any, key: Any, pick: Pick) -> None:
    holder[key] = {pick(NAMES): holder[key]}


def _call(holder: Any, key: Any, pick: Pick) -> None:
    if isinstance(holder, dict):
        holder[pick((*NAMES, key.upper(), key.lower(), key[:1].upper() + key[1:]))] = holder.pop(key)


def _add(holder: Any, key: Any, pick: Pick) -> None:
    if isinstance(holder, dict):
        holder[pick((*NAMES, key.upper()))] = pick(VALUES)
    else:
        holder.insert(key, pick(VALUES))


VALUE_CHANGES: Mapping[str, Callable[[Any, Any, Pick], None]] = MappingProxyType(
    {
        "lose": _lose,
        "become": _become,
        "as text": _as_text,
        "enlist": _enlist,
        "delist": _delist,
        "wrap": _wrap,
        "call": _call,
        "add": _add,
    }
)


# --- bytes -------------------------------------------------------------------------------------------------------------

INSERTS = (
    *(b"&x;", b"&#0;", b"&#x1F600;", b"<!DOCTYPE a>", b"<![CDATA[<]]>", b"<!-- -->", b"<?x y?>", b"<x/>", b"<a xmlns=''/>"),
    *(
        b"\x00",
        b"\xff",
        b"\r\n",
        b'" x="',
        b" xsi:nil='true'",
        b"\\ud800",
        b'"a":1,"a":2,',
        b"1e999",
        b"null",
        b"\xef\xbb\xbf",
        b" ",
    ),
)


def octets(data: bytes, pick: Pick) -> bytes:
    """Bytes with one change: cut, flipped, inserted, repeated, in another encoding."""
    at = pick(range(len(data) + 1))
    match pick(("cut", "flip", "insert", "repeat", "encode")):
        case "cut":
            return data[:at]
        case "flip" if data[at : at + 1]:
            return data[:at] + bytes([data[at] ^ (1 << pick(range(8)))]) + data[at + 1 :]
        case "repeat":
            return data[:at] + data[at : at + pick((1, 8, 64))] * 2 + data[at:]
        case "encode":
            return data.decode("utf-8", "replace").encode(pick(("utf-16", "utf-16-be", "utf-8-sig", "latin-1")), "replace")
        case _:
            return data[:at] + pick(INSERTS) + data[at:]

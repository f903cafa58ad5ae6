"""The one hardened parser: bytes to an opened envelope. What it holds is told by its namespace, not yet read.

Reading goes by local names and takes what peers are known to send.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import chain, product
from types import MappingProxyType
from typing import Any, NamedTuple

from lxml import etree

from translations.charsets import as_utf8
from translations.deltas import Form, dialect
from translations.errors import ProtocolError
from translations.leaves import SPACE, XSI
from translations.manners import SOAP12, WSA
from translations.messages import Kind, Remark, Side, Version
from translations.step import MOST

SOAP11 = "http://schemas.xmlsoap.org/soap/envelope/"
DRAFT_WSA = "http://schemas.xmlsoap.org/ws/2004/08/addressing"  # all clients of one widespread library
_NAMES = ("MessageID", "RelatesTo", "From", "ReplyTo", "Action")
_IGNORED = ("To", "FaultTo")  # what To says peers get wrong
# From so many bytes on tags and attributes are counted. A tag of OCPP has more than 20 bytes, no element 10 attributes; and what
# lxml does with the attributes of one element takes time that grows with their square.
_LONG, _MOST_TAGS, _MOST_ATTRIBUTES = 30_000, 50_000, 100
_IDENTITY = "chargeboxidentity"
_LOCAL: Mapping[str, str] = MappingProxyType(
    {name.lower(): name for name in _NAMES} | {name.lower(): "" for name in _IGNORED} | {_IDENTITY: "identity"}
)
_ENVELOPES: Mapping[str, str] = MappingProxyType({f"{{{ns}}}Envelope": ns for ns in (SOAP12, SOAP11)})
# Namespaces that the specifications print in places and nobody else uses, without the slash at the end.
_PRINTED: Mapping[str, Version] = MappingProxyType({"2010/10": Version.V12, "2012/02": Version.V15})
# Names of elements that chargers are known to get wrong.
_TYPOS: Mapping[str, str] = MappingProxyType(
    {"datatransfertresponse": "datatransferresponse", "getlocallistresponse": "getlocallistversionresponse"}
)


class Malformed(ProtocolError):
    """Not an envelope that could be opened. `envelope` is what was read before it went wrong, for the answer and the log."""

    def __init__(self, text: str, envelope: "Envelope | None" = None) -> None:
        super().__init__(text)
        self.envelope = envelope


class Envelope(NamedTuple):
    """What was read of an envelope. `body` is the payload element; `form` says which message it is, None for a fault; `marked`
    that there may be attributes other than namespaces.
    """

    soap: str = SOAP12
    wsa: str = WSA
    identity: str = ""
    message_id: str = ""
    relates_to: str = ""
    sender: str = ""
    reply_to: str = ""
    version: Version | None = None
    side: Side = Side.CENTRAL_SYSTEM
    form: Form | None = None
    body: etree._Element | None = None
    remarks: tuple[Remark, ...] = ()
    marked: bool = True


class _Deny(etree.Resolver):
    def resolve(self, system_url: str, public_id: str, context: Any = None) -> Any:
        raise ProtocolError("external entities are refused")


class _Tables(NamedTuple):
    """What the parser looks things up in, made once. `headers` and `forms` are by qualified name, `namespaces` by their text in
    lower case without the slash at the end. `salvager` takes prefixes that nobody declared.

    A header's name is empty where it is not read; `~` before it marks those of the draft.
    """

    parser: etree.XMLParser
    salvager: etree.XMLParser
    headers: Mapping[str, str]
    forms: Mapping[str, Form]
    namespaces: Mapping[str, tuple[Version, Side]]


@lru_cache(maxsize=1)
def _tables() -> _Tables:
    dialects = [dialect(version, side) for version in Version for side in Side]
    names = {name: name for name in _NAMES} | dict.fromkeys(_IGNORED, "")
    headers = {f"{{{WSA}}}{tag}": name for tag, name in names.items()}
    headers |= {f"{{{DRAFT_WSA}}}{tag}": f"~{name}" for tag, name in names.items()}
    headers |= {f"{{{d.contract.namespace}}}chargeBoxIdentity": "identity" for d in dialects}
    forms = {tag: form for d in dialects for tag, form in d.by_tag.items()}
    namespaces = {d.contract.namespace.rstrip("/").lower(): (d.contract.version, d.contract.side) for d in dialects}
    for (version, side), (month, meant) in product(namespaces.copy().values(), _PRINTED.items()):
        if version == meant:
            namespaces[f"urn://ocpp/{'cs' if side is Side.CENTRAL_SYSTEM else 'cp'}/{month}"] = version, side
    return _Tables(_parser(), _parser(recover=True), headers, forms, namespaces)


def _parser(recover: bool = False) -> etree.XMLParser:
    # encoding is forced so that the scan for DOCTYPE below cannot be passed by in another encoding. Never
    # collect_ids=False: it makes libxml2 open external parameter entities in spite of every other switch.
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        huge_tree=False,
        load_dtd=False,
        remove_comments=True,
        remove_pis=True,
        encoding="utf-8",
        recover=recover,
    )
    parser.resolvers.add(_Deny())
    return parser


def parse(data: bytes, charset: str | None = None, role: Side | None = None) -> Envelope:
    """Open an envelope: its headers, and which message it holds. Raises Malformed.

    `role` is the service it was sent to, or answers for, where that is known: peers mix up the two namespaces.
    """
    try:
        text, remarks = as_utf8(data, charset)
    except ProtocolError as error:
        raise Malformed(error.text) from None
    # The first search stops at fewer bytes, so that the usual envelope is scanned quickly.
    if b"!DOCTYPE" in text and b"<!DOCTYPE" in text:
        raise Malformed("expected an envelope without DOCTYPE")
    if len(text) > _LONG and text.count(b"<") > _MOST_TAGS:
        raise Malformed(f"expected at most {_MOST_TAGS} tags")
    tables = _tables()
    try:
        root = etree.fromstring(text, tables.parser)
        fault: str | None = None
    except etree.XMLSyntaxError as error:
        root, fault = None, _first_line(error)
    # The parser forgets an error where a mere warning comes after it; its log does not.
    if fault is not None or len(tables.parser.error_log):
        root, odd = _salvaged(text, root, fault, tables)
        remarks += odd
    assert root is not None
    if len(text) > _LONG:
        _bound_attributes(root)
    namespace = _ENVELOPES.get(root.tag)
    if namespace is None:
        raise Malformed(f"expected a SOAP envelope, got {etree.QName(root).localname[:40]!r}")
    headers: dict[str, str] = {}
    payload: list[etree._Element] = []
    for part in root:
        tag = part.tag
        if tag.endswith("}Body"):
            payload.extend(part)
        elif tag.endswith("}Header"):
            remarks += _read_headers(part, headers, tables.headers)
    start = max(text.find(b"Body"), 0)  # before it stand the headers, which are often marked
    if len(payload) != 1 or "identity" not in headers or text.find(b"BoxIdentity", start) > 0:
        remarks += _misplaced_identity(root, payload, headers)
    marked = text.count(b"=", start) != text.count(b"xmlns", start)
    envelope = _identify(namespace, headers, payload, remarks, tables, marked)
    if role is not None:
        return envelope if envelope.side is role else _turned(envelope, role)
    if envelope.form is not None:
        return envelope
    # Nobody says who was meant, and it is no message of the service whose namespace it is in.
    return _turned(envelope, envelope.side.other)


def _bound_attributes(root: etree._Element) -> None:
    # In the order of the document, so that of many namespaces the first element that has them is the last that is looked at.
    if any(len(node.attrib) > _MOST_ATTRIBUTES or len(node.nsmap) > _MOST_ATTRIBUTES for node in root.iter(etree.Element)):
        raise Malformed(f"expected at most {_MOST_ATTRIBUTES} attributes of an element, and as many namespaces")


def _salvaged(
    text: bytes, root: etree._Element | None, fault: str | None, tables: _Tables
) -> tuple[etree._Element, tuple[Remark, ...]]:
    """A document that is wrong in nothing but prefixes that it does not declare; seen: xsi:nil without xmlns:xsi."""
    log: list[Any] = list(tables.parser.error_log)  # of its last run; that of an exception has earlier ones too
    errors = [entry for entry in log if entry.level > etree.ErrorLevels.WARNING]
    if any(entry.type != etree.ErrorTypes.NS_ERR_UNDEFINED_NAMESPACE for entry in errors) or (fault and not errors):
        raise Malformed(f"expected XML: {fault or errors[0].message[:160]}")
    root = etree.fromstring(text, tables.salvager) if root is None else root
    if not errors:
        return root, ()
    _bound_attributes(root)
    for node in root.iter(etree.Element):
        _without_prefixes(node)
    what = str(errors[0].message)[:160]
    return root, (Remark(Kind.REPAIRED, "", what[:1].lower() + what[1:], "quirks.undeclared-prefix"),)


def _without_prefixes(node: etree._Element) -> None:
    if node.tag[0] != "{" and ":" in node.tag:
        node.tag = node.tag.rpartition(":")[2]
    for name in [str(name) for name in node.keys() if ":" in str(name) and str(name)[0] != "{"]:  # noqa: SIM118 - lxml
        prefix, _, local = name.rpartition(":")
        node.set(XSI + local if prefix == "xsi" else local, str(node.attrib.pop(name)))


def _is_identity(node: etree._Element) -> bool:
    return bool(etree.QName(node).localname.lower() == _IDENTITY)


def _misplaced_identity(root: etree._Element, payload: list[etree._Element], headers: dict[str, str]) -> tuple[Remark, ...]:
    """The identity from wherever else it stands, and out of the payload, where it is no message."""
    places = [*root, *payload, *(child for node in payload for child in node)]
    told = {text.casefold(): text for node in places if _is_identity(node) and (text := (node.text or "").strip(SPACE))}
    payload[:] = [node for node in payload if not _is_identity(node)]
    for child in list(payload[0]) if len(payload) == 1 else ():
        if _is_identity(child):
            payload[0].remove(child)
    if not told:
        return ()
    first = headers.get("identity", "")
    if len(told) > 1 or (first and first.casefold() not in told):
        headers["other identity"] = next(iter(told.values()))
    headers["identity"] = first or next(iter(told.values()))
    what = "outside of the header too" if first else "not in the header"
    return (Remark(Kind.REPAIRED, "chargeBoxIdentity", what, "quirks.misplaced-identity"),)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:160] if str(error) else "empty"


def _read_headers(header: etree._Element, into: dict[str, str], known: Mapping[str, str]) -> tuple[Remark, ...]:
    odd: list[etree._Element] = []
    for node in header:
        tag = node.tag
        name = known.get(tag)
        if name == "":
            continue
        if name is None:
            odd.append(node)
            name = _LOCAL.get(tag.rpartition("}")[2].lower())
            if not name:
                continue
        elif name[0] == "~":
            into["wsa"] = DRAFT_WSA
            name = name[1:]
            if not name:
                continue
        text = node.text
        if text is None or len(node):
            text = _address(node)
        text = text.strip(SPACE) if text else ""
        if text and name not in into:
            into[name] = text
        elif text and name == "identity" and text.casefold() != into[name].casefold():
            into["other identity"] = text
    return tuple(_odd_headers(odd)) if odd else ()


def _odd_headers(headers: list[etree._Element]) -> Iterator[Remark]:
    """Headers that are read in spite of their namespace, and those that had to be understood and were not."""
    unknown = []
    for node in headers[:MOST]:
        name = _LOCAL.get(etree.QName(node).localname.lower())
        if name is None:
            unknown.append(node)
        elif name and name != "identity":
            yield Remark(Kind.REPAIRED, name, "in no known namespace of WS-Addressing", "quirks.namespace")
    yield from _not_understood(unknown)


def _not_understood(headers: list[etree._Element]) -> list[Remark]:
    """Headers that had to be understood, and were not. The message counts more: chargers mark what nobody knows."""
    marked = [n for n in headers if any(str(k).endswith("}mustUnderstand") and v in ("1", "true") for k, v in n.attrib.items())]
    names = (etree.QName(node).localname[:80] for node in marked[:MOST])
    return [Remark(Kind.LOST, name, "unknown header that had to be understood", "quirks.must-understand") for name in names]


def _address(node: etree._Element) -> str | None:
    """The text of the child Address, or else of the header itself."""
    for child in node:
        if child.tag.endswith("}Address") or child.tag == "Address":
            return child.text
    return node.text


def _identify(
    namespace: str,
    headers: Mapping[str, str],
    payload: list[etree._Element],
    remarks: tuple[Remark, ...],
    tables: _Tables,
    marked: bool,
) -> Envelope:
    get = headers.get
    body = payload[0] if len(payload) == 1 else None
    form = tables.forms.get(body.tag) if body is not None else None
    envelope = Envelope(
        namespace,
        get("wsa", WSA),
        get("identity", ""),
        get("MessageID", ""),
        get("RelatesTo", ""),
        get("From", ""),
        get("ReplyTo", ""),
        form.version if form else None,
        form.side if form else Side.CENTRAL_SYSTEM,
        form,
        body,
        remarks,
        marked,
    )
    if "other identity" in headers:
        raise Malformed("expected one chargeBoxIdentity, found two different ones", envelope._replace(identity=""))
    if form is None:
        envelope = _searched(envelope, payload, headers, tables)
    action = get("Action")
    if action is not None and envelope.form is not None and action != f"/{envelope.form.action}":
        return _cross_checked(envelope, envelope.form, action)
    return envelope


def _searched(envelope: Envelope, payload: list[etree._Element], headers: Mapping[str, str], tables: _Tables) -> Envelope:
    """The message whose element is not to the letter one of the contracts. Raises Malformed where it is none at all."""
    body = envelope.body
    if body is None:
        raise Malformed(f"expected one element in the body, found {len(payload)}", envelope)
    local, namespace = _split(body)
    if local == "Fault":
        return envelope._replace(version=_fault_version(body))
    if local == "_W" and len(body) == 1:  # seen: node-soap around its answers
        wrapped = Remark(Kind.REPAIRED, "", "an element _W around the message", "quirks.wrapper")
        inner = {**headers, "Action": ""} if "Action" in headers else headers
        return _identify(envelope.soap, inner, [body[0]], (*envelope.remarks, wrapped), tables, envelope.marked)
    found = tables.namespaces.get(namespace.rstrip("/").lower())
    if found is None and not namespace:
        found = tables.namespaces.get(_identity_namespace(body).rstrip("/").lower())
    if found is None:
        raise Malformed(f"expected a namespace of OCPP 1.2, 1.5 or 1.6, got {namespace[:80]!r}", envelope)
    return _loosely(envelope._replace(version=found[0], side=found[1]), body, local, namespace)


def _identity_namespace(body: etree._Element) -> str:
    """The namespace in which the charger says who it is, where its message is in none."""
    nodes = (etree.QName(node) for node in body.getroottree().iter(etree.Element))
    return next((name.namespace or "" for name in nodes if name.localname.lower() == _IDENTITY), "")


def _cross_checked(envelope: Envelope, form: Form, action: str) -> Envelope:
    """Action says again what the body says; where it does not, the body counts. It is written in many forms."""
    said = action.rstrip("/").rpartition("/")[2].lower()
    if not action or said.removesuffix("request").removesuffix("response") == form.action.lower():
        return envelope
    odd = Remark(Kind.REPAIRED, "Action", f"{action[:80]} over a {form.element}", "quirks.action")
    return envelope._replace(remarks=(*envelope.remarks, odd))


def _turned(envelope: Envelope, role: Side) -> Envelope:
    """An envelope in the namespace of the wrong service, as the message of the right one, if that has it."""
    if envelope.version is None or envelope.body is None:
        return envelope
    right = envelope._replace(side=role, form=None)
    turned = _loosely(right, envelope.body, *_split(envelope.body))
    return turned if turned.form is not None else envelope


def _split(node: etree._Element) -> tuple[str, str]:
    name = etree.QName(node)
    return name.localname, name.namespace or ""


def _fault_version(body: etree._Element) -> Version | None:
    """The version whose namespace is in scope in a fault; its subcode is a name of that namespace."""
    known = _tables().namespaces
    inner = (uri for _, (_, uri) in etree.iterwalk(body, events=("start-ns",)))
    scopes = ((uri or "").rstrip("/").lower() for uri in chain(body.nsmap.values(), inner))
    return next((known[uri][0] for uri in scopes if uri in known), None)


def _loosely(envelope: Envelope, body: etree._Element, local: str, namespace: str) -> Envelope:
    """The message of a known namespace whose element is spelt or placed a little differently."""
    assert envelope.version is not None
    spoken = dialect(envelope.version, envelope.side)
    named = {f.element.lower(): f for f in spoken.by_tag.values()}
    form = named.get(_TYPOS.get(local.lower(), local.lower()))
    if form is None:
        return envelope
    remarks = [*envelope.remarks]
    if form.element != local:
        remarks.append(Remark(Kind.REPAIRED, "", f"element written {local}", "quirks.case"))
    if namespace != spoken.contract.namespace:
        remarks.append(Remark(Kind.REPAIRED, "", f"namespace written {namespace}", "quirks.namespace"))
    return envelope._replace(form=form, remarks=tuple(remarks))

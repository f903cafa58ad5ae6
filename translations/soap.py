"""SOAP envelopes: the one hardened parser, WS-Addressing, chargeBoxIdentity and faults.

OCPP-S 1.6 is SOAP 1.2, document/literal, over HTTP. Reading goes by local names and takes what peers are known to send;
writing is what the contract and OCPP-S 1.6, section 4, have.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from lxml import etree

from translations import elements, schemas
from translations.deltas import PREFIXES, Form, dialect, known_actions
from translations.errors import FAULTS, WIRES, NotImplemented_, NotSupported, OcppError, ProtocolError, known_code
from translations.leaves import escape
from translations.messages import Call, Error, Kind, Message, Remark, Result, Side, Version
from translations.step import Step

SOAP12 = "http://www.w3.org/2003/05/soap-envelope"
SOAP11 = "http://schemas.xmlsoap.org/soap/envelope/"
WSA = "http://www.w3.org/2005/08/addressing"
ANONYMOUS = f"{WSA}/anonymous"
CONTENT_TYPES: Mapping[str, str] = MappingProxyType(
    {SOAP12: "application/soap+xml; charset=utf-8", SOAP11: "text/xml; charset=utf-8"}
)
_DRAFT_WSA = "http://schemas.xmlsoap.org/ws/2004/08/addressing"  # all clients of one widespread library
_PARTIES = ("From", "ReplyTo")
_HEADERS: Mapping[str, str] = MappingProxyType(
    {f"{{{wsa}}}{name}": name for wsa in (WSA, _DRAFT_WSA) for name in ("Action", "MessageID", "RelatesTo", "To", *_PARTIES)}
)
_ENVELOPES: Mapping[str, str] = MappingProxyType({f"{{{ns}}}Envelope": ns for ns in (SOAP12, SOAP11)})
_USUAL = (b'<?xml version="1.0" encoding="UTF-8"?>', b'<?xml version="1.0" encoding="utf-8"?>')
_DECLARED = re.compile(rb"^<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9._-]{1,40})[\"']")
_BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))


class Malformed(ProtocolError):
    """Not an envelope that could be opened. `envelope` is what was read before it went wrong, for the answer and the log."""

    def __init__(self, text: str, envelope: "Envelope | None" = None) -> None:
        super().__init__(text)
        self.envelope = envelope


class Envelope(NamedTuple):
    """What was read of an envelope. `body` is the payload element; `form` says which message it is, None for a fault."""

    soap: str = SOAP12
    wsa: str = WSA
    identity: str = ""
    message_id: str = ""
    relates_to: str = ""
    action: str = ""
    to: str = ""
    sender: str = ""
    reply_to: str = ""
    version: Version | None = None
    side: Side = Side.CENTRAL_SYSTEM
    form: Form | None = None
    body: etree._Element | None = None
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True, slots=True)
class Manner:
    """How one peer likes its envelopes written. `must_understand` marks Action and To, as OCPP-S 1.6 recommends."""

    soap: str = SOAP12
    wsa: str = WSA
    must_understand: bool = False


@dataclass(frozen=True, slots=True)
class Written:
    """An envelope to send, and what its version could not say."""

    body: bytes
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True, slots=True)
class Addresses:
    """The WS-Addressing headers of one envelope to send. Empty ones are anonymous, or left out where they may be."""

    message_id: str = ""
    relates_to: str = ""
    to: str = ""
    sender: str = ""


class _Deny(etree.Resolver):
    def resolve(self, system_url: str, public_id: str, context: Any = None) -> Any:
        raise ProtocolError("external entities are refused")


@lru_cache(maxsize=1)
def _parser() -> etree.XMLParser:
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
    )
    parser.resolvers.add(_Deny())
    return parser


@lru_cache(maxsize=1)
def _forms() -> Mapping[str, Form]:
    """Every message of every contract by its element's qualified name."""
    every = (dialect(v, s).by_tag for v in Version for s in Side)
    return MappingProxyType({tag: form for by_tag in every for tag, form in by_tag.items()})


@lru_cache(maxsize=1)
def _namespaces() -> Mapping[str, tuple[Version, Side]]:
    """Version and service of each contract's namespace, without its last slash."""
    found = {dialect(v, s).contract.namespace.rstrip("/"): (v, s) for v in Version for s in Side}
    return MappingProxyType(found)


def decode(data: bytes, charset: str | None = None, received: str = "", role: Side | None = None) -> tuple[Envelope, Message]:
    """An envelope's bytes as what it says. Raises OcppError; `received` is the time to take where a message must have one."""
    envelope = parse(data, charset, role)
    return envelope, read(envelope, received)


# --- opening -------------------------------------------------------------------------------------------------------


def parse(data: bytes, charset: str | None = None, role: Side | None = None) -> Envelope:
    """Open an envelope: its headers, and which message it holds. Raises Malformed.

    `role` is the service it was sent to, or answers for, where that is known: peers mix up the two namespaces.
    """
    text, remarks = _utf8(data, charset)
    if b"<!DOCTYPE" in text:
        raise Malformed("expected an envelope without DOCTYPE")
    try:
        root = etree.fromstring(text, _parser())
    except etree.XMLSyntaxError as error:
        raise Malformed(f"expected XML: {_first_line(error)}") from None
    namespace = _ENVELOPES.get(root.tag)
    if namespace is None:
        raise Malformed(f"expected a SOAP envelope, got {etree.QName(root).localname[:40]!r}")
    headers: dict[str, str] = {}
    payload: list[etree._Element] = []
    for part in root:
        name = part.tag.rpartition("}")[2]
        if name == "Header":
            _read_headers(part, headers)
        elif name == "Body":
            payload += part
    envelope = _identify(namespace, headers, payload, remarks)
    return envelope if role is None or envelope.side is role else _turned(envelope, role)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:160] if str(error) else "empty"


def _utf8(data: bytes, charset: str | None) -> tuple[bytes, tuple[Remark, ...]]:
    """The bytes as UTF-8 without anything before the first `<`."""
    if charset in (None, "utf-8"):
        start = data[:38]
        if start in _USUAL or (start[:1] == b"<" and (start[:5] != b"<?xml" or _is_utf8(data))):
            return data, ()
    remarks: list[Remark] = []
    encoding = next((name for bom, name in _BOMS if data.startswith(bom)), None)
    if encoding is None and b"\x00" in data[:4]:
        encoding = "utf-16-le" if data[1:2] == b"\x00" else "utf-16-be"
    declared = _DECLARED.match(data.lstrip())
    encoding = encoding or (declared[1].decode("ascii").lower() if declared else None) or charset or "utf-8"
    try:
        text = data.decode(encoding).lstrip("\ufeff")
    except (LookupError, UnicodeDecodeError):
        raise Malformed(f"expected text in {encoding[:40]!r}, got other bytes") from None
    stripped = text.lstrip()
    if stripped != text:
        remarks.append(Remark(Kind.REPAIRED, "", "white space before the envelope", "quirks.leading-space"))
    return re.sub(r"^<\?xml[^>]*\?>", "", stripped.rstrip("\x00")).encode("utf-8", "surrogatepass"), tuple(remarks)


def _is_utf8(data: bytes) -> bool:
    declared = _DECLARED.match(data)
    return declared is None or declared[1].lower() in (b"utf-8", b"us-ascii")


def _read_headers(header: etree._Element, into: dict[str, str]) -> None:
    for node in header:
        known = _HEADERS.get(node.tag)
        if known is None:
            if node.tag.lower().endswith("chargeboxidentity") and not into.get("identity"):
                into["identity"] = (node.text or "").strip()
        elif known in _PARTIES:
            into.setdefault(known, _inner_text(node))
        elif known not in into:
            into[known] = (node.text or "").strip() or _inner_text(node)
            if known == "MessageID" and node.tag[1 : 1 + len(WSA)] != WSA:
                into["wsa"] = etree.QName(node).namespace or WSA


def _inner_text(node: etree._Element) -> str:
    address = next((c for c in node if c.tag.rpartition("}")[2] == "Address"), None)
    text = node.text if address is None else address.text
    return (text or "").strip()


def _identify(namespace: str, headers: Mapping[str, str], payload: list[etree._Element], remarks: tuple[Remark, ...]) -> Envelope:
    get = headers.get
    body = payload[0] if len(payload) == 1 else None
    form = _forms().get(body.tag) if body is not None else None
    envelope = Envelope(
        namespace,
        get("wsa", WSA),
        get("identity", ""),
        get("MessageID", ""),
        get("RelatesTo", ""),
        get("Action", ""),
        get("To", ""),
        get("From", ""),
        get("ReplyTo", ""),
        form.version if form else None,
        form.side if form else Side.CENTRAL_SYSTEM,
        form,
        body,
        remarks,
    )
    if form is not None:
        return envelope
    if body is None:
        raise Malformed(f"expected one element in the body, found {len(payload)}", envelope)
    namespace, _, local = body.tag[1:].rpartition("}") if body.tag[0] == "{" else ("", "", body.tag)
    if local == "Fault":
        return envelope._replace(version=_fault_version(body))
    found = _namespaces().get(namespace.rstrip("/"))
    if found is None:
        raise Malformed(f"expected a namespace of OCPP 1.2, 1.5 or 1.6, got {namespace[:80]!r}", envelope)
    return _loosely(envelope._replace(version=found[0], side=found[1]), body, local, namespace)


def _turned(envelope: Envelope, role: Side) -> Envelope:
    """An envelope in the namespace of the wrong service, as the message of the right one, if that has it."""
    if envelope.version is None or envelope.body is None:
        return envelope
    right = envelope._replace(side=role)
    turned = _loosely(right, envelope.body, *_split(envelope.body))
    return turned if turned.form is not None else envelope


def _split(node: etree._Element) -> tuple[str, str]:
    name = etree.QName(node)
    return name.localname, name.namespace or ""


def _fault_version(body: etree._Element) -> Version | None:
    """The version whose namespace is in scope in a fault; its subcode is a name of that namespace."""
    scopes = (uri for node in body.iter() for uri in node.nsmap.values())
    return next((_namespaces()[uri.rstrip("/")][0] for uri in scopes if uri.rstrip("/") in _namespaces()), None)


def _loosely(envelope: Envelope, body: etree._Element, local: str, namespace: str) -> Envelope:
    """The message of a known namespace whose element is spelt or placed a little differently."""
    assert envelope.version is not None
    spoken = dialect(envelope.version, envelope.side)
    named = {f.element.lower(): f for f in spoken.by_tag.values()}
    form = named.get(local.lower())
    if form is None:
        return envelope
    remarks = [*envelope.remarks]
    if form.element != local:
        remarks.append(Remark(Kind.REPAIRED, "", f"element written {local}", "quirks.case"))
    if namespace != spoken.contract.namespace:
        remarks.append(Remark(Kind.REPAIRED, "", f"namespace written {namespace}", "quirks.namespace"))
    return envelope._replace(form=form, remarks=tuple(remarks))


# --- reading -------------------------------------------------------------------------------------------------------


def read(envelope: Envelope, received: str = "") -> Message:
    """The message of an opened envelope in canonical form, judged by the published schema. Raises OcppError."""
    form = envelope.form
    assert envelope.body is not None
    if form is None:
        return _fault(envelope) if etree.QName(envelope.body).localname == "Fault" else _no_form(envelope)
    step = Step(form.title, received)
    payload = elements.read(envelope.body, form.shape, step)
    schemas.judge(form.action, form.response, payload)
    if not (envelope.relates_to if form.response else envelope.message_id):
        header = "RelatesTo" if form.response else "MessageID"
        step.remarks.append(Remark(Kind.REPAIRED, header, "none given", "quirks.no-id"))
    remarks = envelope.remarks + tuple(step.remarks) if step.remarks or envelope.remarks else ()
    if form.response:
        return Result(payload, frame_id(envelope.relates_to), form.action, remarks)
    return Call(form.action, payload, frame_id(envelope.message_id), envelope.identity, form.side, remarks)


def frame_id(message_id: str) -> str:
    """A MessageID as OCPP-J can carry it: 36 characters at most (OCPP-J 1.6, 4.1.4), so a UUID goes without its scheme."""
    if len(message_id) <= 36:
        return message_id
    return message_id.removeprefix("urn:").removeprefix("uuid:")[:36]


def _no_form(envelope: Envelope) -> Message:
    assert envelope.body is not None and envelope.version is not None
    local = etree.QName(envelope.body).localname
    action = local.removesuffix("Request").removesuffix("Response")
    action = action[:1].upper() + action[1:]
    if any(action in known_actions(side) for side in Side):
        raise NotSupported(f"{action} is not an operation of this service in OCPP {envelope.version}")
    raise NotImplemented_(f"expected an operation of OCPP {envelope.version}, got {local[:60]!r}")


def _fault(envelope: Envelope) -> Error:
    """A fault of any shape peers are known to send; the subcode decides, or else the code."""
    assert envelope.body is not None
    texts: dict[str, list[str]] = {}
    for node in envelope.body.iter():
        name = etree.QName(node).localname.lower()
        if len(node) == 0 and node.text and node.text.strip():
            owner = node.getparent()
            key = etree.QName(owner).localname.lower() if name in ("value", "text") and owner is not None else name
            texts.setdefault(key, []).append(node.text.strip())
    code, subcode, reason = (next((texts[k][0] for k in keys if k in texts), "") for keys in _FAULT_PARTS)
    names = [name.rpartition(":")[2] for name in (subcode, code)]
    said = next((FAULTS[n] for n in names if n in FAULTS), "GenericError")
    details = {"transport": "soap", "soapCode": names[1][:60], "subcode": names[0][:60]}
    return Error(said, reason[:255], details, frame_id(envelope.relates_to), remarks=envelope.remarks)


_FAULT_PARTS = (("code", "faultcode"), ("subcode",), ("reason", "faultstring", "text"))


# --- writing -------------------------------------------------------------------------------------------------------


def encode(
    message: Message,
    version: Version,
    side: Side,
    *,
    action: str = "",
    identity: str = "",
    addresses: Addresses = Addresses(),
    manner: Manner = Manner(),
) -> Written:
    """A message as an envelope of one version. `side` is the service that its call is addressed to. Raises OcppError."""
    if isinstance(message, Error):
        return fault(message, version, side, addresses, manner)
    form = find_form(action or message.action, isinstance(message, Result), version, side)
    step = Step(form.title)
    out: list[str] = []
    elements.write(message.payload, form.shape, out, step)
    opening, closing, head, empty = _frame(form, manner)
    ids = addresses if addresses.message_id or form.response else replace(addresses, message_id=message.id)
    header = _headers(form, ids, message.id, identity, manner)
    content = f"{opening}{header}{head}{''.join(out)}{closing}" if out else f"{opening}{header}{empty}"
    return Written(content.encode("utf-8"), tuple(step.remarks))


def find_form(action: str, response: bool, version: Version, side: Side) -> Form:
    """The message of an action in one version. Raises NotSupported where this version lacks it, NotImplemented where 1.6 does."""
    spoken = dialect(version, side)
    form = (spoken.responses if response else spoken.requests).get(action)
    if form is not None:
        return form
    if action in known_actions(side):
        raise NotSupported(f"{action} does not exist in OCPP {version} over SOAP", {"version": str(version), "transport": "soap"})
    if any(action in known_actions(s) for s in Side):
        raise not_here(action, side)
    raise NotImplemented_(f"expected an action of OCPP 1.6, got {action[:60]!r}")


@cache
def _frame(form: Form, manner: Manner) -> tuple[str, str, str, str]:
    """Everything around the headers and the fields: (opening, closing, head of the body, an empty body with the closing)."""
    prefix, namespace = PREFIXES[form.side], dialect(form.version, form.side).contract.namespace
    opening = f'<s:Envelope xmlns:s="{manner.soap}" xmlns:a="{manner.wsa}" xmlns:{prefix}="{namespace}"><s:Header>'
    end = "</s:Body></s:Envelope>"
    body = f"</s:Header><s:Body><{prefix}:{form.element}"
    return opening, f"</{prefix}:{form.element}>{end}", f"{body}>", f"{body}/>{end}"


def _headers(form: Form, ids: Addresses, answered: str, identity: str, manner: Manner) -> str:
    mark = f' s:mustUnderstand="{"1" if manner.soap == SOAP11 else "true"}"' if manner.must_understand else ""
    prefix = PREFIXES[form.side]
    out = [f"<a:Action{mark}>/{form.action}{'Response' if form.response else ''}</a:Action>"]
    if identity and not form.response:
        out.insert(0, f"<{prefix}:chargeBoxIdentity>{_escaped(identity)}</{prefix}:chargeBoxIdentity>")
    if ids.message_id:
        out.append(f"<a:MessageID>{_escaped(ids.message_id)}</a:MessageID>")
    if form.response:
        relates_to = ids.relates_to or answered
        if relates_to:
            out.append(f"<a:RelatesTo>{_escaped(relates_to)}</a:RelatesTo>")
    if ids.sender or not form.response:
        out.append(f"<a:From><a:Address>{_escaped(ids.sender) or f'{manner.wsa}/anonymous'}</a:Address></a:From>")
    if not form.response:
        out.append(f"<a:ReplyTo><a:Address>{manner.wsa}/anonymous</a:Address></a:ReplyTo>")
    out.append(f"<a:To{mark}>{_escaped(ids.to) or f'{manner.wsa}/anonymous'}</a:To>")
    return "".join(out)


_PLAIN = re.compile(r"[A-Za-z0-9:/._~ -]*")


def _escaped(text: str) -> str:
    return text if _PLAIN.fullmatch(text) else escape(text)


_FAULT_CODES: Mapping[str, str] = MappingProxyType({"Sender": "Client", "Receiver": "Server"})


def fault(
    error: Error,
    version: Version | None = None,
    side: Side = Side.CENTRAL_SYSTEM,
    addresses: Addresses = Addresses(),
    manner: Manner = Manner(),
) -> Written:
    """An error as a fault: the subcode in the namespace of the called service, the reason, and nothing of our insides."""
    row = WIRES[known_code(error.code)]
    namespace = dialect(version or Version.V16, side).contract.namespace
    reason = error.text if row.subcode == error.code or not error.text else f"{error.code}: {error.text}"
    text = _escaped(_sayable(reason or error.code))
    related = addresses.relates_to or error.id
    header = f"<a:Action>{manner.wsa}/soap/fault</a:Action>"
    if addresses.message_id:
        header += f"<a:MessageID>{_escaped(addresses.message_id)}</a:MessageID>"
    if related:
        header += f"<a:RelatesTo>{_escaped(_sayable(related))}</a:RelatesTo>"
    header += f"<a:To>{manner.wsa}/anonymous</a:To>"
    if manner.soap == SOAP11:
        body = f"<faultcode>s:{_FAULT_CODES[row.soap]}</faultcode><faultstring>{text}</faultstring>"
        body += f'<detail><f:SubCode xmlns:f="{namespace}">{row.subcode}</f:SubCode></detail>'
    else:
        body = (
            f"<s:Code><s:Value>s:{row.soap}</s:Value><s:Subcode><s:Value>f:{row.subcode}</s:Value></s:Subcode></s:Code>"
            f'<s:Reason><s:Text xml:lang="en">{text}</s:Text></s:Reason>'
        )
    content = (
        f'<s:Envelope xmlns:s="{manner.soap}" xmlns:a="{manner.wsa}" xmlns:f="{namespace}"><s:Header>{header}</s:Header>'
        f"<s:Body><s:Fault>{body}</s:Fault></s:Body></s:Envelope>"
    )
    changed = error.code if row.subcode != error.code else ""
    remarks = (Remark(Kind.CHANGED, "errorCode", f"{changed} became {row.subcode}", "errors.fault"),) if changed else ()
    return Written(content.encode("utf-8"), remarks)


def _sayable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def refusal(error: OcppError, envelope: Envelope | None) -> Written:
    """The fault that tells the sender of an envelope why it was not taken, as much of it as could be read."""
    envelope = envelope or Envelope()
    ids = Addresses(relates_to=envelope.message_id)
    return fault(error.as_error(), envelope.version, envelope.side, ids, Manner(envelope.soap, envelope.wsa))


def not_here(action: str, side: Side) -> NotSupported:
    """The refusal of an action that is not addressed to this side."""
    return NotSupported(f"{action} is not addressed to the {side}")


def wsdl_at(document: bytes, address: str) -> bytes:
    """A contract document whose service lies at an address."""
    root = etree.fromstring(document)
    for node in root.iter("{http://schemas.xmlsoap.org/wsdl/soap12/}address"):
        node.set("location", address)
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")

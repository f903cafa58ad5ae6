"""The one hardened parser: bytes to an opened envelope. What it holds is told by its namespace, not yet read.

Reading goes by local names and takes what peers are known to send.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import chain
from types import MappingProxyType
from typing import Any, NamedTuple

from lxml import etree

from translations.deltas import Form, dialect
from translations.errors import ProtocolError
from translations.messages import Kind, Remark, Side, Version
from translations.step import MOST

SOAP12 = "http://www.w3.org/2003/05/soap-envelope"
SOAP11 = "http://schemas.xmlsoap.org/soap/envelope/"
WSA = "http://www.w3.org/2005/08/addressing"
DRAFT_WSA = "http://schemas.xmlsoap.org/ws/2004/08/addressing"  # all clients of one widespread library
_NAMES = ("MessageID", "RelatesTo", "From", "ReplyTo")
_IGNORED = ("Action", "To")  # the body's element says what Action says, and what To says peers get wrong
_ENVELOPES: Mapping[str, str] = MappingProxyType({f"{{{ns}}}Envelope": ns for ns in (SOAP12, SOAP11)})
_USUAL = tuple(f"<?xml version={q}1.0{q} encoding={q}{name}{q}?>".encode() for q in ("'", '"') for name in ("UTF-8", "utf-8"))
_DECLARED = re.compile(rb"^<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([A-Za-z0-9._-]{1,40})[\"']")
# Only these: others that Python knows are no charsets of XML, and some take quadratic time.
_CHARSETS = re.compile(
    r"utf[_-]?(?:8|16|32)(?:[_-]?[lb]e)?|(?:us-)?ascii|(?:iso[_-]?8859|windows|cp)[_-]?\d{1,4}"
    r"|latin-?1|koi8-[ru]|gb2312|gbk|gb18030|big5|shift_jis|euc-(?:jp|kr)"
)
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
    sender: str = ""
    reply_to: str = ""
    version: Version | None = None
    side: Side = Side.CENTRAL_SYSTEM
    form: Form | None = None
    body: etree._Element | None = None
    remarks: tuple[Remark, ...] = ()


class _Deny(etree.Resolver):
    def resolve(self, system_url: str, public_id: str, context: Any = None) -> Any:
        raise ProtocolError("external entities are refused")


class _Tables(NamedTuple):
    """What the parser looks things up in, made once. `headers` and `forms` are by qualified name.

    A header's name is empty where it is not read; `~` before it marks those of the draft.
    """

    parser: etree.XMLParser
    headers: Mapping[str, str]
    forms: Mapping[str, Form]
    namespaces: Mapping[str, tuple[Version, Side]]


@lru_cache(maxsize=1)
def _tables() -> _Tables:
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
    dialects = [dialect(version, side) for version in Version for side in Side]
    names = {name: name for name in _NAMES} | dict.fromkeys(_IGNORED, "")
    headers = {f"{{{WSA}}}{tag}": name for tag, name in names.items()}
    headers |= {f"{{{DRAFT_WSA}}}{tag}": f"~{name}" for tag, name in names.items()}
    headers |= {f"{{{d.contract.namespace}}}chargeBoxIdentity": "identity" for d in dialects}
    forms = {tag: form for d in dialects for tag, form in d.by_tag.items()}
    namespaces = {d.contract.namespace.rstrip("/"): (d.contract.version, d.contract.side) for d in dialects}
    return _Tables(parser, headers, forms, namespaces)


def parse(data: bytes, charset: str | None = None, role: Side | None = None) -> Envelope:
    """Open an envelope: its headers, and which message it holds. Raises Malformed.

    `role` is the service it was sent to, or answers for, where that is known: peers mix up the two namespaces.
    """
    text, remarks = _utf8(data, charset)
    # The first search stops at fewer bytes, so that the usual envelope is scanned quickly.
    if b"!DOCTYPE" in text and b"<!DOCTYPE" in text:
        raise Malformed("expected an envelope without DOCTYPE")
    tables = _tables()
    try:
        root = etree.fromstring(text, tables.parser)
    except etree.XMLSyntaxError as error:
        raise Malformed(f"expected XML: {_first_line(error)}") from None
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
    envelope = _identify(namespace, headers, payload, remarks, tables.forms)
    if role is None:  # nobody says who was meant; chargers are known to say Cp for Cs, and not the reverse
        role = envelope.side if envelope.form is not None else Side.CENTRAL_SYSTEM
    return envelope if envelope.side is role else _turned(envelope, role)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:160] if str(error) else "empty"


def _utf8(data: bytes, charset: str | None) -> tuple[bytes, tuple[Remark, ...]]:
    """The bytes as UTF-8 without anything before the first `<`."""
    unmarked = data[:1] == b"<" and (_is_utf8(data) if data[:5] == b"<?xml" else data[1:2] != b"\x00")
    if unmarked and charset in (None, "utf-8"):
        return data, ()
    remarks: list[Remark] = []
    encoding = next((name for bom, name in _BOMS if data.startswith(bom)), None)
    if encoding is None and b"\x00" in data[:4]:
        encoding = "utf-16-le" if data[1:2] == b"\x00" else "utf-16-be"
    declared = _DECLARED.match(data.lstrip())
    encoding = encoding or (declared[1].decode("ascii").lower() if declared else None) or charset or "utf-8"
    if not _CHARSETS.fullmatch(encoding.lower()):
        raise Malformed(f"expected UTF-8 or another charset of XML, got {encoding[:40]!r}")
    try:
        text = data.decode(encoding).lstrip("\ufeff")
    except (LookupError, UnicodeDecodeError):
        raise Malformed(f"expected text in {encoding[:40]!r}, got other bytes") from None
    stripped = text.lstrip()
    if stripped != text:
        remarks.append(Remark(Kind.REPAIRED, "", "white space before the envelope", "quirks.leading-space"))
    return re.sub(r"^<\?xml[^>]*\?>", "", stripped.rstrip("\x00")).encode("utf-8", "surrogatepass"), tuple(remarks)


def _is_utf8(data: bytes) -> bool:
    if data.startswith(_USUAL):
        return True
    declared = _DECLARED.match(data)
    return declared is None or declared[1].lower() in (b"utf-8", b"us-ascii")


def _read_headers(header: etree._Element, into: dict[str, str], known: Mapping[str, str]) -> tuple[Remark, ...]:
    unheeded: list[etree._Element] = []
    for node in header:
        tag = node.tag
        name = known.get(tag)
        if name == "":
            continue
        if name is None:
            if tag.rpartition("}")[2].lower() != "chargeboxidentity":
                unheeded.append(node)
                continue
            name = "identity"
        elif name[0] == "~":
            into["wsa"] = DRAFT_WSA
            name = name[1:]
            if not name:
                continue
        text = node.text
        if text is None or len(node):
            text = _address(node)
        if text and name not in into:
            into[name] = text.strip()
        elif text and name == "identity" and text.strip().casefold() != into[name].casefold():
            into["other identity"] = text.strip()
    return tuple(_not_understood(unheeded)) if unheeded else ()


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
    forms: Mapping[str, Form],
) -> Envelope:
    get = headers.get
    body = payload[0] if len(payload) == 1 else None
    form = forms.get(body.tag) if body is not None else None
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
    )
    if "other identity" in headers:
        raise Malformed("expected one chargeBoxIdentity, found two different ones", envelope._replace(identity=""))
    if form is not None:
        return envelope
    if body is None:
        raise Malformed(f"expected one element in the body, found {len(payload)}", envelope)
    namespace, _, local = body.tag[1:].rpartition("}") if body.tag[0] == "{" else ("", "", body.tag)
    if local == "Fault":
        return envelope._replace(version=_fault_version(body))
    found = _tables().namespaces.get(namespace.rstrip("/"))
    if found is None:
        raise Malformed(f"expected a namespace of OCPP 1.2, 1.5 or 1.6, got {namespace[:80]!r}", envelope)
    return _loosely(envelope._replace(version=found[0], side=found[1]), body, local, namespace)


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
    scopes = ((uri or "").rstrip("/") for uri in chain(body.nsmap.values(), inner))
    return next((known[uri][0] for uri in scopes if uri in known), None)


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

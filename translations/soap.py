"""SOAP envelopes: what one says, and how a message, a result or a fault is said in one.

OCPP-S 1.6 is SOAP 1.2, document/literal, over HTTP. Writing is what the contract and OCPP-S 1.6, section 4, have.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import NamedTuple

from lxml import etree

from translations import reading, schemas, writing
from translations.deltas import PREFIXES, Form, dialect, known_actions
from translations.envelopes import DRAFT_WSA, SOAP11, SOAP12, WSA, Envelope, Malformed, parse
from translations.errors import FAULTS, WIRES, NotImplemented_, NotSupported, known_code
from translations.leaves import escape
from translations.messages import Call, Error, Kind, Message, Remark, Result, Side, Version
from translations.step import Step

__all__ = [
    "CONTENT_TYPES",
    "SOAP11",
    "SOAP12",
    "USUAL",
    "WSA",
    "Addresses",
    "Envelope",
    "Malformed",
    "Manner",
    "Written",
    "decode",
    "encode",
    "fault",
    "find_form",
    "frame_id",
    "not_here",
    "parse",
    "read",
    "wsdl_at",
]

CONTENT_TYPES: Mapping[str, str] = MappingProxyType(
    {SOAP12: "application/soap+xml; charset=utf-8", SOAP11: "text/xml; charset=utf-8"}
)


class Manner(NamedTuple):
    """How one peer likes its envelopes written: the namespaces of the envelope and of its addressing."""

    soap: str = SOAP12
    wsa: str = WSA


class _Addressing(NamedTuple):
    """What one edition of WS-Addressing calls nobody, and the action of a fault."""

    anonymous: str
    fault: str


_ADDRESSING: Mapping[str, _Addressing] = MappingProxyType(
    {
        WSA: _Addressing(f"{WSA}/anonymous", f"{WSA}/soap/fault"),
        DRAFT_WSA: _Addressing(f"{DRAFT_WSA}/role/anonymous", f"{DRAFT_WSA}/fault"),
    }
)


class Addresses(NamedTuple):
    """The WS-Addressing headers of one envelope to send. Empty ones are anonymous, or left out where they may be."""

    message_id: str = ""
    relates_to: str = ""
    to: str = ""
    sender: str = ""


class Written(NamedTuple):
    """An envelope to send, and what its version could not say."""

    body: bytes
    remarks: tuple[Remark, ...] = ()


USUAL = Manner()
_NOWHERE = Addresses()


def decode(data: bytes, charset: str | None = None, received: str = "", role: Side | None = None) -> tuple[Envelope, Message]:
    """An envelope's bytes as what it says. Raises OcppError; `received` is the time to take where a message must have one."""
    envelope = parse(data, charset, role)
    return envelope, read(envelope, received)


# --- reading -------------------------------------------------------------------------------------------------------


def read(envelope: Envelope, received: str = "") -> Message:
    """The message of an opened envelope in canonical form, judged by the published schema. Raises OcppError."""
    form = envelope.form
    assert envelope.body is not None
    if form is None:
        return _fault(envelope) if etree.QName(envelope.body).localname == "Fault" else _no_form(envelope)
    step = Step(form.title, received)
    payload = reading.read(envelope.body, form.shape, step)
    schemas.judge(form.action, form.response, payload)
    if not (envelope.relates_to if form.response else envelope.message_id):
        header = "RelatesTo" if form.response else "MessageID"
        step.note(Kind.REPAIRED, "none given", "quirks.no-id", header)
    remarks = envelope.remarks + step.said() if step.noted or envelope.remarks else ()
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
    texts: dict[str, list[tuple[str, str]]] = {}
    remarks = list(envelope.remarks)
    for part in envelope.body:
        if etree.QName(part).localname.lower() != "detail":
            _gather(part, texts)
        elif _take_detail(part, texts):
            remarks.append(Remark(Kind.LOST, "errorDetails", "the detail of the fault", "errors.fault"))
    code, subcode, reason = (_chosen(texts, keys, remarks) for keys in _FAULT_PARTS)
    names = [name.rpartition(":")[2] for name in (subcode, code)]
    said = next((FAULTS[n] for n in names if n in FAULTS), "GenericError")
    details = {"transport": "soap", "soapCode": names[1][:60], "subcode": names[0][:60], "reason": reason[:255]}
    return Error(said, reason[:255], details, frame_id(envelope.relates_to), remarks=tuple(remarks))


_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_REASON = ("reason", "faultstring", "text")
_FAULT_PARTS = (("code", "faultcode"), ("subcode",), _REASON)


def _gather(part: etree._Element, texts: dict[str, list[tuple[str, str]]]) -> None:
    """Every text of a part of a fault, as (language, text) by the name of what holds it."""
    for node in part.iter():
        name = etree.QName(node).localname.lower()
        if len(node) == 0 and node.text and node.text.strip():
            owner = node.getparent()
            key = etree.QName(owner).localname.lower() if name in ("value", "text") and owner is not None else name
            texts.setdefault(key, []).append((str(node.get(_LANG, "")).lower(), node.text.strip()))


def _take_detail(detail: etree._Element, texts: dict[str, list[tuple[str, str]]]) -> bool:
    """Take the subcode out of a detail, where SOAP 1.1 has it; whether anything else was there."""
    inside: dict[str, list[tuple[str, str]]] = {}
    _gather(detail, inside)
    texts.setdefault("subcode", []).extend(inside.pop("subcode", ()))
    return bool(inside)


def _chosen(texts: Mapping[str, list[tuple[str, str]]], keys: tuple[str, ...], remarks: list[Remark]) -> str:
    """The text of the first part that there is; of a reason in several languages the English one."""
    found = next((texts[key] for key in keys if texts.get(key)), [])
    if keys is not _REASON or len(found) < 2:
        return found[0][1] if found else ""
    remarks.append(Remark(Kind.LOST, "errorDescription", f"{len(found) - 1} more of the reason's texts", "errors.fault"))
    return next((text for language, text in found if language.startswith("en")), found[0][1])


# --- writing -------------------------------------------------------------------------------------------------------


def encode(
    message: Message,
    version: Version,
    side: Side,
    *,
    action: str = "",
    identity: str = "",
    addresses: Addresses = _NOWHERE,
    manner: Manner = USUAL,
) -> Written:
    """A message as an envelope of one version. `side` is the service that its call is addressed to. Raises OcppError."""
    if isinstance(message, Error):
        return fault(message, version, side, addresses, manner)
    form = find_form(action or message.action, isinstance(message, Result), version, side)
    step = Step(form.title)
    out: list[str] = []
    writing.write(message.payload, form.shape, out, step)
    frame = _frame(form, manner)
    if form.response:
        start = frame.opening + _answer_headers(frame, addresses)
    else:
        start = frame.opening + _call_headers(frame, addresses, message.id, identity)
    content = f"{start}{frame.body}{''.join(out)}{frame.closing}" if out else start + frame.empty
    return Written(content.encode(), step.said())


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


class _Frame(NamedTuple):
    """Everything of an envelope that is the same for every message of a form."""

    opening: str
    identity: tuple[str, str]
    nobody: str  # From, where no sender is known
    reply_to: str
    to: str  # where no address is known
    body: str
    closing: str
    empty: str


@cache
def _frame(form: Form, manner: Manner) -> _Frame:
    prefix, namespace = PREFIXES[form.side], dialect(form.version, form.side).contract.namespace
    action = f"<a:Action>/{form.action}{'Response' if form.response else ''}</a:Action>"
    spaces = f'xmlns:s="{manner.soap}" xmlns:a="{manner.wsa}" xmlns:{prefix}="{namespace}"'
    nobody = _ADDRESSING[manner.wsa].anonymous
    anonymous = f"<a:Address>{nobody}</a:Address>"
    body, end = f"</s:Header><s:Body><{prefix}:{form.element}", "</s:Body></s:Envelope>"
    return _Frame(
        f"<s:Envelope {spaces}><s:Header>{action}",
        (f"<{prefix}:chargeBoxIdentity>", f"</{prefix}:chargeBoxIdentity>"),
        f"<a:From>{anonymous}</a:From>",
        f"<a:ReplyTo>{anonymous}</a:ReplyTo>",
        f"<a:To>{nobody}</a:To>",
        f"{body}>",
        f"</{prefix}:{form.element}>{end}",
        f"{body}/>{end}",
    )


def _call_headers(frame: _Frame, ids: Addresses, own_id: str, identity: str) -> str:
    message_id, _, to, sender = ids
    opening, closing = frame.identity
    who = f"{opening}{_escaped(identity)}{closing}" if identity else ""
    where = f"<a:To>{_escaped(to)}</a:To>" if to else frame.to
    origin = f"<a:From><a:Address>{_escaped(sender)}</a:Address></a:From>" if sender else frame.nobody
    number = _escaped(message_id or own_id)
    return f"{who}<a:MessageID>{number}</a:MessageID>{origin}{frame.reply_to}{where}"


def _answer_headers(frame: _Frame, ids: Addresses) -> str:
    message_id, relates_to, to, sender = ids
    number = f"<a:MessageID>{_escaped(message_id)}</a:MessageID>" if message_id else ""
    number += f"<a:RelatesTo>{_escaped(relates_to)}</a:RelatesTo>" if relates_to else ""
    origin = f"<a:From><a:Address>{_escaped(sender)}</a:Address></a:From>" if sender else ""
    return f"{number}{origin}{f'<a:To>{_escaped(to)}</a:To>' if to else frame.to}"


_PLAIN = re.compile(r"[A-Za-z0-9:/._~ -]*").fullmatch


def _escaped(text: str) -> str:
    return text if _PLAIN(text) else escape(text)


_FAULT_CODES: Mapping[str, str] = MappingProxyType({"Sender": "Client", "Receiver": "Server"})


def fault(
    error: Error,
    version: Version | None = None,
    side: Side = Side.CENTRAL_SYSTEM,
    addresses: Addresses = _NOWHERE,
    manner: Manner = USUAL,
) -> Written:
    """An error as a fault: the subcode in the namespace of the called service, the reason, and nothing of our insides."""
    row = WIRES[known_code(error.code)]
    namespace = dialect(version or Version.V16, side).contract.namespace
    reason = error.text if row.subcode == error.code or not error.text else f"{error.code}: {error.text}"
    text = _escaped(_sayable(reason or error.code))
    if manner.soap == SOAP11:
        body = f"<faultcode>s:{_FAULT_CODES[row.soap]}</faultcode><faultstring>{text}</faultstring>"
        body += f'<detail><f:SubCode xmlns:f="{namespace}">{row.subcode}</f:SubCode></detail>'
    else:
        body = (
            f"<s:Code><s:Value>s:{row.soap}</s:Value><s:Subcode><s:Value>f:{row.subcode}</s:Value></s:Subcode></s:Code>"
            f'<s:Reason><s:Text xml:lang="en">{text}</s:Text></s:Reason>'
        )
    spaces = f'xmlns:s="{manner.soap}" xmlns:a="{manner.wsa}" xmlns:f="{namespace}"'
    header = f"<s:Header>{_fault_headers(addresses, _ADDRESSING[manner.wsa])}</s:Header>"
    content = f"<s:Envelope {spaces}>{header}<s:Body><s:Fault>{body}</s:Fault></s:Body></s:Envelope>"
    return Written(content.encode("utf-8"), tuple(_unsaid(error, row.subcode)))


def _fault_headers(ids: Addresses, addressing: _Addressing) -> str:
    header = f"<a:Action>{addressing.fault}</a:Action>"
    if ids.message_id:
        header += f"<a:MessageID>{_escaped(ids.message_id)}</a:MessageID>"
    if ids.relates_to:
        header += f"<a:RelatesTo>{_escaped(_sayable(ids.relates_to))}</a:RelatesTo>"
    return f"{header}<a:To>{addressing.anonymous}</a:To>"


def _unsaid(error: Error, subcode: str) -> Iterator[Remark]:
    """What a fault cannot say of an error."""
    if subcode != error.code:
        yield Remark(Kind.CHANGED, "errorCode", f"{error.code} became {subcode}", "errors.fault")
    if error.details:
        yield Remark(Kind.LOST, "errorDetails", "no field for it", "errors.fault")


def _sayable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)


def not_here(action: str, side: Side) -> NotSupported:
    """The refusal of an action that is not addressed to this side."""
    return NotSupported(f"{action} is not addressed to the {side}")


def wsdl_at(document: bytes, address: str) -> bytes:
    """A contract document whose service lies at an address."""
    root = etree.fromstring(document)
    for node in root.iter("{http://schemas.xmlsoap.org/wsdl/soap12/}address"):
        node.set("location", address)
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8")

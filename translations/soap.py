"""SOAP envelopes: what one says, and how a message, a result or a fault is said in one.

OCPP-S 1.6 is SOAP 1.2, document/literal, over HTTP. Writing is what the contract and OCPP-S 1.6, section 4, have.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import NamedTuple

from lxml import etree

from translations import meters, reading, schemas, writing
from translations.deltas import PREFIXES, Form, dialect, known_actions
from translations.envelopes import DRAFT_WSA, SOAP11, Envelope, Malformed, parse
from translations.errors import FAULTS, WIRES, NotImplemented_, NotSupported, known_code
from translations.leaves import escape
from translations.manners import SOAP12, USUAL, WSA, Manner
from translations.messages import Call, Error, Kind, Message, Remark, Result, Side, Version
from translations.step import Step, refuse_repairs
from translations.validity import valid

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


_NOWHERE = Addresses()


def decode(
    data: bytes, charset: str | None = None, received: str = "", role: Side | None = None, manner: Manner = USUAL
) -> tuple[Envelope, Message]:
    """An envelope's bytes as what it says. Raises OcppError; `received` is the time to take where a message must have one."""
    envelope = parse(data, charset, role)
    return envelope, read(envelope, received, manner)


# --- reading -------------------------------------------------------------------------------------------------------


def read(envelope: Envelope, received: str = "", manner: Manner = USUAL) -> Message:
    """The message of an opened envelope in canonical form, judged by the published schema. Raises OcppError."""
    form = envelope.form
    assert envelope.body is not None
    if form is None:
        return _fault(envelope) if etree.QName(envelope.body).localname == "Fault" else _no_form(envelope)
    step = Step(form.title, received, manner)
    step.marked = envelope.marked
    payload = reading.read(envelope.body, form.shape, step)
    if manner.meter:
        meters.dress(payload, manner.meter, step)
    if not (step.off or schemas.fits(form.action, form.response, payload)):
        meters.leave_out(payload, schemas.invalid(form.action, form.response, payload), step)
        schemas.judge(form.action, form.response, payload)
    if not (envelope.relates_to if form.response else envelope.message_id):
        header = "RelatesTo" if form.response else "MessageID"
        step.note(Kind.REPAIRED, "none given", "quirks.no-id", header)
    remarks = envelope.remarks + step.said() if step.noted or envelope.remarks else ()
    if remarks and manner.validation == "strict":
        refuse_repairs(remarks)
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
    said = next((_FOLDED[n.lower()] for n in names if n.lower() in _FOLDED), "GenericError")
    details = {"transport": "soap", "soapCode": names[1][:60], "subcode": names[0][:60], "reason": reason[:255]}
    return Error(said, reason[:255], details, frame_id(envelope.relates_to), remarks=tuple(remarks))


_FOLDED: Mapping[str, str] = MappingProxyType({name.lower(): code for name, code in FAULTS.items()})
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
    form = find_form(action or message.action, isinstance(message, Result), version, side, manner.prefixes[2])
    step = Step(form.title, "", manner)
    out: list[str] = []
    payload = valid(message.payload, form.action, form.response, side, step, manner.validation == "strict")
    writing.write(payload, form.shape, out, step)
    if step.noted and manner.validation == "strict":
        refuse_repairs(step.said())
    frame = _frame(form, manner)
    if form.response:
        start = frame.start + _answer_headers(frame, addresses)
    else:
        start = frame.start + _call_headers(frame, addresses, message.id, identity)
    content = f"{start}{frame.body}{''.join(out)}{frame.closing}" if out else start + frame.empty
    return Written(content.encode(), step.said())


def find_form(action: str, response: bool, version: Version, side: Side, prefix: str = "") -> Form:
    """The message of an action in one version. Raises NotSupported where this version lacks it, NotImplemented where 1.6 does."""
    spoken = dialect(version, side, prefix)
    form = (spoken.responses if response else spoken.requests).get(action)
    if form is not None:
        return form
    if action in known_actions(side):
        raise NotSupported(f"{action} does not exist in OCPP {version} over SOAP", {"version": str(version), "transport": "soap"})
    if any(action in known_actions(s) for s in Side):
        raise not_here(action, side)
    raise NotImplemented_(f"expected an action of OCPP 1.6, got {action[:60]!r}")


Tag = tuple[str, str]
"""How an element starts and ends."""


class _Frame(NamedTuple):
    """Everything of an envelope that is the same for every message of a form and a manner."""

    start: str
    identity: Tag
    message_id: Tag
    relates_to: Tag
    sender: Tag  # with the address inside
    nobody: str  # From, where no sender is known
    reply_to: str
    to: Tag
    no_to: str  # where no address is known
    body: str
    closing: str
    empty: str


@cache
def _frame(form: Form, manner: Manner) -> _Frame:
    s, a, _ = manner.prefixes
    c = manner.prefixes[2] or PREFIXES[form.side]
    namespace = dialect(form.version, form.side).contract.namespace
    spaces = f'xmlns:{s}="{manner.soap}" xmlns:{a}="{manner.wsa}" xmlns:{c}="{namespace}"'
    sender, reply_to = _header(manner, a, "From"), _header(manner, a, "ReplyTo")
    address = (f"<{a}:Address>", f"</{a}:Address>")
    nobody = _ADDRESSING[manner.wsa].anonymous
    anonymous = f"{address[0]}{nobody}{address[1]}"
    to = _header(manner, a, "To")
    body, end = f"</{s}:Header><{s}:Body><{c}:{form.element}", f"</{s}:Body></{s}:Envelope>"
    return _Frame(
        f"<{s}:Envelope {spaces}><{s}:Header>{_action(form, manner, namespace).join(_header(manner, a, 'Action'))}",
        _header(manner, c, "chargeBoxIdentity"),
        _header(manner, a, "MessageID"),
        _header(manner, a, "RelatesTo"),
        (sender[0] + address[0], address[1] + sender[1]),
        anonymous.join(sender),
        anonymous.join(reply_to),
        to,
        nobody.join(to),
        f"{body}>",
        f"</{c}:{form.element}>{end}",
        f"{body}/>{end}",
    )


def _header(manner: Manner, prefix: str, name: str) -> Tag:
    # SOAP 1.2, 5.2.3: "true" or "1"; SOAP 1.1, 4.2.3 knows the number alone.
    marked = "1" if manner.soap == SOAP11 else "true"
    mark = f' {manner.prefixes[0]}:mustUnderstand="{marked}"' if name in manner.must_understand else ""
    return f"<{prefix}:{name}{mark}>", f"</{prefix}:{name}>"


def _action(form: Form, manner: Manner, namespace: str) -> str:
    said = form.action + ("Response" if form.response else "")
    service = "CentralSystemService" if form.side is Side.CENTRAL_SYSTEM else "ChargePointService"
    return escape(manner.action.format(action=said, namespace=namespace, service=service))


def _call_headers(frame: _Frame, ids: Addresses, own_id: str, identity: str) -> str:
    message_id, _, to, sender = ids
    who = _escaped(identity).join(frame.identity) if identity else ""
    number = _escaped(message_id or own_id).join(frame.message_id)
    origin = _escaped(sender).join(frame.sender) if sender else frame.nobody
    where = _escaped(to).join(frame.to) if to else frame.no_to
    return f"{who}{number}{origin}{frame.reply_to}{where}"


def _answer_headers(frame: _Frame, ids: Addresses) -> str:
    message_id, relates_to, to, sender = ids
    number = _escaped(message_id).join(frame.message_id) if message_id else ""
    number += _escaped(relates_to).join(frame.relates_to) if relates_to else ""
    origin = _escaped(sender).join(frame.sender) if sender else ""
    return f"{number}{origin}{_escaped(to).join(frame.to) if to else frame.no_to}"


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
    s, a, _ = manner.prefixes
    f = manner.prefixes[2] or "f"
    if manner.soap == SOAP11:
        body = f"<faultcode>{s}:{_FAULT_CODES[row.soap]}</faultcode><faultstring>{text}</faultstring>"
        body += f"<detail><{f}:SubCode>{row.subcode}</{f}:SubCode></detail>"
    else:
        subcode = f"<{s}:Subcode><{s}:Value>{f}:{row.subcode}</{s}:Value></{s}:Subcode>"
        body = f"<{s}:Code><{s}:Value>{s}:{row.soap}</{s}:Value>{subcode}</{s}:Code>"
        body += f'<{s}:Reason><{s}:Text xml:lang="en">{text}</{s}:Text></{s}:Reason>'
    spaces = f'xmlns:{s}="{manner.soap}" xmlns:{a}="{manner.wsa}" xmlns:{f}="{namespace}"'
    header = f"<{s}:Header>{_fault_headers(addresses, manner)}</{s}:Header>"
    content = f"<{s}:Envelope {spaces}>{header}<{s}:Body><{s}:Fault>{body}</{s}:Fault></{s}:Body></{s}:Envelope>"
    return Written(content.encode("utf-8"), tuple(_unsaid(error, row.subcode)))


def _fault_headers(ids: Addresses, manner: Manner) -> str:
    a, addressing = manner.prefixes[1], _ADDRESSING[manner.wsa]
    header = addressing.fault.join(_header(manner, a, "Action"))
    if ids.message_id:
        header += _escaped(ids.message_id).join(_header(manner, a, "MessageID"))
    if ids.relates_to:
        header += _escaped(_sayable(ids.relates_to)).join(_header(manner, a, "RelatesTo"))
    return header + addressing.anonymous.join(_header(manner, a, "To"))


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

"""gateway.chargers.soap, called as ASGI calls it: refusals, wrappings, contracts, records."""

import asyncio
import gzip
import zlib
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

import pytest
from lxml import etree

from gateway.chargers.soap import SoapDoor
from gateway.config import Server
from gateway.exchange import Ids, NotSent
from gateway.roster import Roster
from gateway.traffic.record import Record
from tests.peers.envelopes import NAMESPACES, SOAP11, SOAP12, SOAP_TYPE, WSA, Response, envelope
from tests.peers.seen import DEADLINE
from translations.messages import Answer, Call, Error, Result, Version

HEARTBEAT = envelope()
ANSWER = Result({"currentTime": "2024-05-01T12:00:00Z"})
AUTHORIZE = envelope("<authorizeRequest><idTag>DEADBEEF</idTag></authorizeRequest>")
PEER = ("192.0.2.7", 41000)
GONE: dict[str, Any] = {"type": "http.disconnect"}


def part(body: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


@dataclass(frozen=True)
class Reply(Response):
    """What the door answered, and in which headers."""

    headers: dict[str, str]


class Rig:
    """A door, what stands behind it, and what it told."""

    def __init__(self, answer: Answer = ANSWER, **options: Any) -> None:
        self.answer: Answer | None = answer
        self.calls: list[Call] = []
        self.records: list[Record] = []
        self.roster = Roster()
        config = Server.model_validate({"body_limit": 5000, "body_timeout": DEADLINE} | options)
        self.door = SoapDoor(self.exchange, self.roster, self.records.append, Ids(), config)

    async def exchange(self, call: Call) -> Answer:
        self.calls.append(call)
        if self.answer is None:
            await asyncio.Event().wait()
        assert self.answer is not None
        return self.answer

    async def ask(self, *messages: dict[str, Any], method: str = "POST", query: bytes = b"", **headers: str) -> Reply:
        """One request. Underlines in the names of headers stand for hyphens."""
        told = {"content_type": SOAP_TYPE} | headers
        lines = [(name.replace("_", "-").encode(), value.encode()) for name, value in told.items()]
        scope = {"type": "http", "method": method, "path": "/soap", "query_string": query, "headers": lines, "client": PEER}
        start, body = await self.asgi(scope, *messages)
        answered = {name.decode(): value.decode() for name, value in start["headers"]}
        assert int(answered["content-length"]) == len(body["body"])
        return Reply(start["status"], answered["content-type"], body["body"], answered)

    async def asgi(self, scope: dict[str, Any], *messages: dict[str, Any]) -> list[MutableMapping[str, Any]]:
        left, sent = list(messages), list[MutableMapping[str, Any]]()

        async def receive() -> MutableMapping[str, Any]:
            if not left:
                await asyncio.Event().wait()
            return left.pop(0)

        async def send(message: MutableMapping[str, Any]) -> None:
            sent.append(message)

        async with asyncio.timeout(DEADLINE):
            await self.door(scope, receive, send)
        return sent


@pytest.fixture
def rig() -> Rig:
    return Rig()


# --- calls


async def test_a_call_reaches_what_stands_behind_and_its_answer_the_charger(rig: Rig) -> None:
    reply = await rig.ask(part(HEARTBEAT))
    names = {"a": WSA, "c": NAMESPACES["1.5"]}
    assert (reply.status, reply.content_type) == (200, SOAP_TYPE)
    assert reply.xml.findtext(".//c:heartbeatResponse/c:currentTime", namespaces=names) == "2024-05-01T12:00:00Z"
    assert reply.xml.findtext(".//a:RelatesTo", namespaces=names) == "urn:uuid:1"
    assert [(call.action, call.payload, call.identity) for call in rig.calls] == [("Heartbeat", {}, "CP-1")]


async def test_the_gateway_makes_its_own_id_for_a_call(rig: Rig) -> None:
    await rig.ask(part(HEARTBEAT))
    await rig.ask(part(HEARTBEAT))
    ids = [call.id for call in rig.calls]
    assert len({*ids, "urn:uuid:1"}) == 3


@pytest.mark.parametrize("version", list(Version))
async def test_the_roster_hears_of_the_charger(rig: Rig, version: Version) -> None:
    await rig.ask(part(envelope(version=version, identity="cp-7", sender="http://localhost:8080/x")))
    (charger,) = rig.roster
    assert (charger.identity, charger.wire, charger.version) == ("cp-7", "soap", version)
    assert (charger.peer, charger.callback) == ("192.0.2.7:41000", "http://192.0.2.7:8080/x")


async def test_a_charger_keeps_its_first_spelling_towards_backends(rig: Rig) -> None:
    for identity in ("Cp-1", "CP-1"):
        await rig.ask(part(envelope(identity=identity)))
    assert [call.identity for call in rig.calls] == ["Cp-1", "Cp-1"]


async def test_meter_values_without_values_are_answered_at_the_door(rig: Rig) -> None:
    reply = await rig.ask(part(envelope("<meterValuesRequest><connectorId>1</connectorId></meterValuesRequest>")))
    assert (reply.status, rig.calls) == (200, [])
    assert [remark.rule for remark in rig.records[-1].remarks] == ["soap.empty-meter-values"]


# --- wrappings


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (gzip.compress(HEARTBEAT), {"content_encoding": "gzip"}),
        (gzip.compress(HEARTBEAT), {"content_encoding": "x-gzip"}),
        (zlib.compress(HEARTBEAT), {"content_encoding": "deflate"}),
        (raw_deflate(HEARTBEAT), {"content_encoding": "deflate"}),
        (HEARTBEAT, {"content_encoding": "gzip"}),
        (HEARTBEAT, {"content_encoding": "identity"}),
        (HEARTBEAT, {"content_type": 'text/xml; charset="UTF-8"'}),
        (HEARTBEAT, {"content_type": "text/plain"}),
        (HEARTBEAT, {"content_type": ""}),
        (HEARTBEAT.decode().encode("utf-16"), {}),
        (HEARTBEAT.decode().encode("latin-1"), {"content_type": "application/soap+xml;action=x;charset=iso-8859-1"}),
        (b"\xef\xbb\xbf\r\n" + HEARTBEAT, {}),
    ],
)
async def test_a_good_body_passes_in_any_wrapping(rig: Rig, body: bytes, headers: dict[str, Any]) -> None:
    reply = await rig.ask(part(body), **headers)
    assert (reply.status, [call.action for call in rig.calls]) == (200, ["Heartbeat"])


async def test_a_packed_body_is_recorded_unpacked(rig: Rig) -> None:
    await rig.ask(part(gzip.compress(HEARTBEAT)), content_encoding="gzip")
    assert rig.records[0].raw == HEARTBEAT


async def test_a_body_may_come_in_parts(rig: Rig) -> None:
    reply = await rig.ask(part(HEARTBEAT[:100], more=True), part(HEARTBEAT[100:], more=True), part(b""))
    assert reply.status == 200


# --- refusals


V15 = NAMESPACES["1.5"]
UNREAD = NAMESPACES["1.6"]  # of what could not be read, the newest version is assumed
REFUSED: list[tuple[bytes, dict[str, Any], int, str, str]] = [
    (b"", {}, 400, f"{{{UNREAD}}}ProtocolError", "expected XML: "),
    (b"hello", {}, 400, f"{{{UNREAD}}}ProtocolError", "expected XML: "),
    (HEARTBEAT[:-9], {}, 400, f"{{{UNREAD}}}ProtocolError", "expected XML: "),
    (b"<a/>", {}, 400, f"{{{UNREAD}}}ProtocolError", "expected a SOAP envelope, got 'a'"),
    (b"<!DOCTYPE a><a/>", {}, 400, f"{{{UNREAD}}}ProtocolError", "expected an envelope without DOCTYPE"),
    (
        envelope(namespace="urn:x"),
        {},
        400,
        f"{{{UNREAD}}}ProtocolError",
        "expected a namespace of OCPP 1.2, 1.5 or 1.6, got 'urn:x'",
    ),
    (envelope(""), {}, 400, f"{{{UNREAD}}}ProtocolError", "expected one element in the body, found 0"),
    (envelope(identity=""), {}, 400, f"{{{V15}}}ProtocolError", "expected the header chargeBoxIdentity, found none"),
    (
        envelope(identity="C" * 256),
        {},
        400,
        f"{{{V15}}}ProtocolError",
        "expected a chargeBoxIdentity of at most 255 printable characters",
    ),
    (
        envelope(identity="CP\x9b1"),
        {},
        400,
        f"{{{V15}}}ProtocolError",
        "expected a chargeBoxIdentity of at most 255 printable characters",
    ),
    (
        envelope("<heartbeatResponse><currentTime>2024-05-01T12:00:00Z</currentTime></heartbeatResponse>"),
        {},
        400,
        f"{{{V15}}}ProtocolError",
        "expected a request, got a response or a fault",
    ),
    (
        envelope("<resetRequest><type>Soft</type></resetRequest>", namespace="urn://Ocpp/Cp/2012/06/"),
        {},
        500,
        "{urn://Ocpp/Cs/2012/06/}NotSupported",
        "Reset is not addressed to the central-system",
    ),
    (
        envelope("<danceRequest/>"),
        {},
        500,
        f"{{{V15}}}NotSupported",
        "NotImplemented: expected an operation of OCPP 1.5, got 'dance",
    ),
    (
        envelope("<authorizeRequest/>"),
        {},
        400,
        f"{{{V15}}}ProtocolError",
        "OccurenceConstraintViolation: ",
    ),
    (
        HEARTBEAT,
        {"content_encoding": "br"},
        415,
        f"{{{UNREAD}}}ProtocolError",
        "expected Content-Encoding gzip or deflate, got 'br'",
    ),
    (b"what", {"content_encoding": "gzip"}, 400, f"{{{UNREAD}}}ProtocolError", "expected a body in gzip"),
    (
        b"{}",
        {"content_type": "application/json; charset=utf-8"},
        415,
        f"{{{UNREAD}}}ProtocolError",
        "expected Content-Type application/soap+xml, got 'application/json'",
    ),
    (b"x" * 5001, {}, 413, f"{{{UNREAD}}}ProtocolError", "expected at most 5000 bytes"),
    (HEARTBEAT, {"content_length": "5001"}, 413, f"{{{UNREAD}}}ProtocolError", "expected at most 5000 bytes, got 5001"),
    (
        gzip.compress(bytes(3_000_000)),
        {"content_encoding": "gzip"},
        413,
        f"{{{UNREAD}}}ProtocolError",
        "expected at most 5000 bytes after decompression",
    ),
    (
        HEARTBEAT + "<!--ä-->".encode(),
        {"content_type": "text/xml; charset=utf-9"},
        400,
        f"{{{UNREAD}}}ProtocolError",
        "expected ",
    ),
]


@pytest.mark.parametrize(("body", "headers", "status", "subcode", "reason"), REFUSED, ids=lambda value: str(value)[:40])
async def test_what_is_refused_is_told_why_and_recorded(
    rig: Rig, body: bytes, headers: dict[str, Any], status: int, subcode: str, reason: str
) -> None:
    reply = await rig.ask(part(body), **headers)
    fault = reply.fault
    assert (reply.status, fault.subcode, fault.reason[: len(reason)]) == (status, subcode, reason)
    assert fault.code == f"{{{SOAP12}}}{'Receiver' if status == 500 else 'Sender'}"
    assert rig.calls == []
    assert [(r.direction, r.kind) for r in rig.records] == [("<", "refused"), (">", "error")]
    assert rig.records[1].raw == reply.body


@pytest.mark.parametrize(("body", "length"), [(b"x" * 5001, ""), (HEARTBEAT, "5001")])
async def test_a_connection_with_an_unread_rest_is_closed(rig: Rig, body: bytes, length: str) -> None:
    reply = await rig.ask(part(body), content_length=length)
    assert reply.headers["connection"] == "close"


async def test_what_was_refused_is_recorded_as_it_came(rig: Rig) -> None:
    await rig.ask(part(b"hello"))
    record = rig.records[0]
    assert (record.raw, record.outcome, record.charger, record.canonical) == (b"hello", "ProtocolError", "", None)
    assert (record.peer, record.note[:13]) == ("192.0.2.7:41000", "expected XML:")


async def test_a_fault_relates_to_the_message_as_far_as_it_could_be_read(rig: Rig) -> None:
    reply = await rig.ask(part(envelope("<authorizeRequest/>")))
    assert reply.fault.relates_to == "urn:uuid:1"


async def test_nobody_is_present_by_a_message_that_was_refused(rig: Rig) -> None:
    await rig.ask(part(envelope("<authorizeRequest/>")))
    assert len(rig.roster) == 0


async def test_no_fault_tells_an_id_tag(rig: Rig) -> None:
    too_long = AUTHORIZE.replace(b"DEADBEEF", b"DEADBEEF" * 4)
    reply = await rig.ask(part(too_long))
    assert reply.status == 400
    assert b"DEADBEEF" not in reply.body
    assert "DEADBEEF" not in rig.records[0].note


@pytest.mark.parametrize("messages", [[], [part(HEARTBEAT[:50], more=True)]])
async def test_a_slow_body_is_refused_in_time(messages: list[dict[str, Any]]) -> None:
    rig = Rig(body_timeout=0.02)
    reply = await rig.ask(*messages)
    assert (reply.status, reply.headers["connection"]) == (408, "close")
    assert reply.fault.reason == "expected the whole body within 0.02 s"


@pytest.mark.parametrize("messages", [[GONE], [part(HEARTBEAT[:50], more=True), GONE]])
async def test_a_sender_that_goes_away_is_recorded(rig: Rig, messages: list[dict[str, Any]]) -> None:
    reply = await rig.ask(*messages)  # which nobody reads
    record = rig.records[0]
    assert (reply.status, rig.calls) == (400, [])
    assert (record.kind, record.note) == ("refused", "the sender went away before the end of the body")
    assert record.raw == b"".join(message.get("body", b"") for message in messages)


async def test_soap_1_1_is_answered_in_kind(rig: Rig) -> None:
    good, bad = [await rig.ask(part(envelope(body, soap=SOAP11))) for body in ("<heartbeatRequest/>", "<danceRequest/>")]
    assert {good.content_type, bad.content_type} == {"text/xml; charset=utf-8"}
    assert etree.QName(good.xml).namespace == SOAP11
    assert bad.xml.findtext(".//faultcode").endswith(":Server")


# --- answers that are none


@pytest.mark.parametrize(
    ("code", "status", "subcode"),
    [
        ("NotImplemented", 500, "NotSupported"),
        ("GenericError", 500, "InternalError"),
        ("SecurityError", 400, "SecurityError"),
        ("FormationViolation", 400, "ProtocolError"),
        ("SomethingElse", 500, "InternalError"),
    ],
)
async def test_an_error_is_a_fault(code: str, status: int, subcode: str) -> None:
    reply = await Rig(Error(code, "for a reason")).ask(part(HEARTBEAT))
    assert (reply.status, reply.fault.subcode) == (status, f"{{{V15}}}{subcode}")
    assert reply.fault.reason.endswith("for a reason")


async def test_what_no_backend_heard_is_for_the_charger_to_keep() -> None:
    rig = Rig(NotSent("InternalError", "backend csms is not reachable"))
    reply = await rig.ask(part(HEARTBEAT))
    assert (reply.status, reply.headers["retry-after"]) == (503, "30")
    assert (reply.fault.code, reply.fault.subcode) == (f"{{{SOAP12}}}Receiver", f"{{{V15}}}InternalError")
    assert reply.fault.reason.endswith("backend csms is not reachable")
    assert [(r.kind, r.outcome) for r in rig.records] == [("call", ""), ("error", "InternalError")]


async def test_an_error_of_a_backend_is_no_reason_to_come_again() -> None:
    assert "retry-after" not in (await Rig(Error("InternalError", "no")).ask(part(HEARTBEAT))).headers


@pytest.mark.parametrize("payload", [{}, {"currentTime": 7}, {"currentTime": "soon"}, {"currentTime": ["2024-05-01T12:00:00Z"]}])
async def test_an_invalid_answer_is_not_the_charger_s_mistake(payload: dict[str, Any]) -> None:
    rig = Rig(Result(payload))
    reply = await rig.ask(part(HEARTBEAT))
    assert (reply.status, reply.fault.code, reply.fault.subcode) == (500, f"{{{SOAP12}}}Receiver", f"{{{V15}}}InternalError")
    assert reply.fault.reason.startswith("the backend's answer is not valid: ")
    assert [(r.kind, r.outcome) for r in rig.records] == [("call", ""), ("error", "InternalError")]


# --- records


async def test_both_directions_are_recorded_as_they_were(rig: Rig) -> None:
    reply = await rig.ask(
        part(AUTHORIZE.replace(b"authorizeRequest", b"heartbeatRequest").replace(b"<idTag>DEADBEEF</idTag>", b""))
    )
    call, answer = rig.records
    assert (call.direction, call.kind, call.message_id, call.outcome, call.latency) == ("<", "call", "urn:uuid:1", "", None)
    assert (answer.direction, answer.kind, answer.outcome, answer.raw) == (">", "result", "ok", reply.body)
    assert answer.latency is not None and answer.latency > 0
    assert (call.canonical, answer.canonical) == (
        [2, call.exchange, "Heartbeat", {}],
        [3, call.exchange, {"currentTime": "2024-05-01T12:00:00Z"}],
    )
    for record in rig.records:
        facts = (record.exchange, record.charger, record.leg, record.wire, record.version, record.action, record.peer)
        assert facts == (rig.calls[0].id, "CP-1", "charger", "soap", "1.5", "Heartbeat", "192.0.2.7:41000")


async def test_the_answer_has_an_id_of_its_own(rig: Rig) -> None:
    reply = await rig.ask(part(HEARTBEAT))
    told = reply.xml.findtext(".//a:MessageID", namespaces={"a": WSA})
    assert told == rig.records[1].message_id != "urn:uuid:1"


async def test_the_record_of_an_error_says_why() -> None:
    rig = Rig(Error("InternalError", "out of order", {"a": 1}))
    await rig.ask(part(HEARTBEAT))
    record = rig.records[1]
    assert (record.kind, record.outcome, record.note) == ("error", "InternalError", "out of order")
    assert record.canonical == [4, record.exchange, "InternalError", "out of order", {"a": 1}]


async def test_what_a_fault_cannot_say_is_remarked() -> None:
    rig = Rig(Error("GenericError", "out of order"))
    await rig.ask(part(HEARTBEAT))
    assert [remark.rule for remark in rig.records[1].remarks] == ["errors.fault"]


# --- contracts


def address(document: Any) -> str:
    node = document.find(".//{http://schemas.xmlsoap.org/wsdl/soap12/}address")
    return str(node.get("location"))


@pytest.mark.parametrize(
    ("query", "namespace"),
    [
        (b"wsdl", "urn://Ocpp/Cs/2015/10/"),
        (b"WSDL", "urn://Ocpp/Cs/2015/10/"),
        (b"wsdl&version=1.2", "urn://Ocpp/Cs/2010/08/"),
        (b"wsdl=&version=1.5&service=CentralSystemService", "urn://Ocpp/Cs/2012/06/"),
        (b"wsdl&version=1.5&service=chargepoint", "urn://Ocpp/Cp/2012/06/"),
        (b"wsdl&service=ChargePointService", "urn://Ocpp/Cp/2015/10/"),
    ],
)
async def test_the_contracts_are_told(rig: Rig, query: bytes, namespace: str) -> None:
    reply = await rig.ask(method="GET", query=query, host="gw:9000")
    assert (reply.status, reply.content_type) == (200, "text/xml; charset=utf-8")
    assert (reply.xml.get("targetNamespace"), address(reply.xml)) == (namespace, "http://gw:9000/soap")


@pytest.mark.parametrize("query", [b"wsdl&version=2.0", b"wsdl&version=", b"wsdl&service=Taxi"])
async def test_a_contract_that_is_not_there_is_not_found(rig: Rig, query: bytes) -> None:
    reply = await rig.ask(method="GET", query=query)
    assert reply.status == 404
    assert reply.body == b"expected version=1.2|1.5|1.6 and service=CentralSystemService|ChargePointService\n"


@pytest.mark.parametrize(
    ("options", "host", "told"),
    [
        ({"public_url": "https://gw.example.com/"}, "evil:1", "https://gw.example.com/soap"),
        ({}, '"><x/>', 'http://"><x/>/soap'),
        ({}, "", "http://127.0.0.1:9000/soap"),
        ({}, "gw\x01", "http://127.0.0.1:9000/soap"),
    ],
)
async def test_a_contract_tells_our_address(options: dict[str, Any], host: str, told: str) -> None:
    reply = await Rig(**options).ask(method="GET", query=b"wsdl", host=host)
    assert address(reply.xml) == told


@pytest.mark.parametrize(
    ("method", "allow"), [("GET", "POST"), ("HEAD", "POST"), ("PUT", "GET, HEAD, POST"), ("X", "GET, HEAD, POST")]
)
async def test_other_methods_are_told_what_belongs_here(rig: Rig, method: str, allow: str) -> None:
    reply = await rig.ask(method=method, host="gw:9000")
    assert (reply.status, reply.headers["allow"], reply.content_type) == (405, allow, "text/plain; charset=utf-8")
    assert b"expected POST with" in reply.body
    assert rig.records == []


async def test_a_websocket_is_told_where_to_go(rig: Rig) -> None:
    scope = {"type": "websocket", "extensions": {"websocket.http.response": {}}}
    gone = {"type": "websocket.disconnect", "code": 1006}
    start, body = await rig.asgi(scope, {"type": "websocket.connect"}, gone, gone)
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 404)
    assert b"/ocpp/{identity}" in body["body"]

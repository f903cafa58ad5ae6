"""Whatever is thrown at the SOAP door ends in a fault as SOAP 1.2 has it, and in a record; good bodies in any wrapping pass."""

import asyncio
import gzip
import time
import zlib
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any, NamedTuple

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from gateway.app import Gateway
from tests.conftest import OpenGateway
from tests.journeys.log import passed
from tests.peers.csms import Csms
from tests.peers.envelopes import NAMESPACES, SOAP11, SOAP12, SOAP_TYPE, WSA, Response, envelope, post

GOOD = envelope()
LIMIT = 4096


class Bad(NamedTuple):
    """What is posted, and the status, code and subcode of the fault that comes back."""

    body: Any
    status: int = 400
    code: str = "Sender"
    subcode: str = "ProtocolError"
    headers: dict[str, str] = {}  # noqa: RUF012 - read only


def unsupported(body: bytes) -> Bad:
    return Bad(body, 500, "Receiver", "NotSupported")


DOCTYPE = b'<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>'
BOMB = gzip.compress(b" " * 10_000_000 + GOOD)
AUTHORIZE = "<authorizeRequest><idTag>{}</idTag></authorizeRequest>"
WRONG = {
    "nothing": Bad(b""),
    "not XML": Bad(b"hello"),
    "JSON": Bad(b'[2,"1","Heartbeat",{}]', 415, headers={"Content_Type": "application/json"}),
    "a picture": Bad(b"\x89PNG\r\n", 415, headers={"Content_Type": "image/png"}),
    "half an envelope": Bad(GOOD[:-20]),
    "other XML": Bad(b"<html/>"),
    "other bytes than its coding": Bad(b'<?xml version="1.0" encoding="utf-8"?>' + GOOD.replace(b"CP-1", b"CP-\xff")),
    "a DOCTYPE": Bad(DOCTYPE + GOOD),
    "an entity": Bad(DOCTYPE + envelope(AUTHORIZE.format("&e;"))),
    "a DOCTYPE in UTF-16": Bad((DOCTYPE + GOOD).decode().encode("utf-16")),
    "no payload": Bad(envelope("")),
    "two payloads": Bad(envelope("<heartbeatRequest/><heartbeatRequest/>")),
    "a fault": Bad(envelope(f'<x:Fault xmlns:x="{SOAP12}"><x:Code><x:Value>x:Sender</x:Value></x:Code></x:Fault>')),
    "a response": Bad(envelope("<heartbeatResponse><currentTime>2024-05-01T10:00:00Z</currentTime></heartbeatResponse>")),
    "an unknown namespace": Bad(envelope(namespace="urn://Ocpp/Cs/1999/01/")),
    "no namespace anywhere": Bad(envelope('<heartbeatRequest xmlns=""/>', identity="")),
    "an unknown operation": unsupported(envelope("<danceRequest/>")),
    "an operation of a newer version": unsupported(envelope("<dataTransferRequest/>", version="1.2")),
    "an operation of the other service": unsupported(envelope("<resetRequest><type>Hard</type></resetRequest>")),
    "the other service's namespace": unsupported(
        envelope("<resetRequest><type>Hard</type></resetRequest>", namespace="urn://Ocpp/Cp/2012/06/")
    ),
    "no identity": Bad(envelope(identity="")),
    "an endless identity": Bad(envelope(identity="x" * 300)),
    "an unprintable identity": Bad(envelope(identity="CP\t1")),
    "a missing field": Bad(envelope("<authorizeRequest/>")),
    "too long a field": Bad(envelope(AUTHORIZE.format("x" * 21), version="1.6")),
    "text for a number": Bad(envelope("<meterValuesRequest><connectorId>one</connectorId></meterValuesRequest>", version="1.6")),
    "a deep nesting": Bad(envelope("<a>" * 500 + "</a>" * 500)),
    "a body over the limit": Bad(GOOD + b" " * LIMIT, 413),
    "a body over the limit when unpacked": Bad(BOMB, 413, headers={"Content_Encoding": "gzip"}),
    "a broken coding": Bad(gzip.compress(GOOD)[:-9], headers={"Content_Encoding": "gzip"}),
    "an unknown coding": Bad(GOOD, 415, headers={"Content_Encoding": "br"}),
}


@pytest.fixture
async def gateway(open_gateway: OpenGateway) -> Gateway:
    return await open_gateway(server={"body_limit": LIMIT, "body_timeout": 0.2})


def check(response: Response, bad: Bad) -> None:
    fault = response.fault
    assert (response.status, response.content_type) == (bad.status, SOAP_TYPE)
    assert fault.code == f"{{{SOAP12}}}{bad.code}"
    assert fault.subcode in {f"{{{namespace}}}{bad.subcode}" for namespace in NAMESPACES.values()}
    assert fault.reason


async def check_record(gateway: Gateway, received: bytes | None, response: Response) -> None:
    """One record of what came and one of what went."""
    came, went = await passed(gateway)
    assert (came.direction, came.leg, came.kind) == ("<", "charger", "refused")
    assert (went.direction, went.leg, went.kind) == (">", "charger", "error")
    assert came.exchange == went.exchange
    assert came.outcome == went.outcome != "ok"
    assert went.raw == response.body
    assert received is None or came.raw == received


@pytest.mark.parametrize("name", WRONG)
async def test_what_is_wrong_is_refused_and_recorded(gateway: Gateway, csms: Csms, name: str) -> None:
    bad = WRONG[name]
    response = await post(gateway.ports[0], bad.body, **bad.headers)
    check(response, bad)
    assert b"passwd" not in response.body
    assert b"root:" not in response.body
    await check_record(gateway, None if bad.status == 413 else bad.body, response)
    assert not len(csms.handshakes)


@pytest.mark.parametrize(
    "name", ["two payloads", "an unknown namespace", "an unknown operation", "a response", "no identity", "a missing field"]
)
async def test_a_fault_relates_to_the_message_as_far_as_it_could_be_read(gateway: Gateway, name: str) -> None:
    response = await post(gateway.ports[0], WRONG[name].body)
    assert response.fault.relates_to == "urn:uuid:1"


async def test_two_chargers_may_not_share_a_bad_message(gateway: Gateway) -> None:
    bad, good = await asyncio.gather(post(gateway.ports[0], b"<x"), post(gateway.ports[0], GOOD))
    assert (bad.status, good.status) == (400, 200)


async def in_pieces(data: bytes, size: int = 7) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def test_a_chunked_body_over_the_limit_is_refused(gateway: Gateway) -> None:
    response = await post(gateway.ports[0], in_pieces(GOOD + b" " * LIMIT, 64))
    check(response, Bad(b"", 413))


HEAD = f"POST /soap HTTP/1.1\r\nHost: x\r\nContent-Type: {SOAP_TYPE}\r\nContent-Length: {len(GOOD)}\r\n\r\n".encode()


async def test_a_slow_body_is_refused_in_time(gateway: Gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.ports[0])
    started = time.monotonic()
    writer.write(HEAD + GOOD[:100])
    head, _, body = (await asyncio.wait_for(reader.read(), 5)).partition(b"\r\n\r\n")
    writer.close()
    assert head.startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - started < 2
    response = Response(408, SOAP_TYPE, body)
    check(response, Bad(b"", 408))
    await check_record(gateway, None, response)


async def test_a_sender_that_goes_away_does_no_harm(gateway: Gateway) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.ports[0])
    writer.write(HEAD + GOOD[:100])
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await post(gateway.ports[0], GOOD)).status == 200


def raw_deflate(data: bytes) -> bytes:
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(data) + stream.flush()


WRAPPED: dict[str, tuple[Any, dict[str, str]]] = {
    "gzip": (gzip.compress(GOOD), {"Content_Encoding": "gzip"}),
    "deflate": (zlib.compress(GOOD), {"Content_Encoding": "deflate"}),
    "deflate without its header": (raw_deflate(GOOD), {"Content_Encoding": "deflate"}),
    "a coding that was not applied": (GOOD, {"Content_Encoding": "deflate"}),
    "text/xml": (GOOD, {"Content_Type": "text/xml"}),
    "an action parameter": (GOOD, {"Content_Type": f'{SOAP_TYPE}; action="/Heartbeat"'}),
    "a wrong type": (GOOD, {"Content_Type": "text/plain"}),
    "UTF-16": (GOOD.decode().encode("utf-16"), {"Content_Type": "application/soap+xml; charset=utf-16"}),
    "Latin-1 by its declaration": (b'<?xml version="1.0" encoding="iso-8859-1"?>' + GOOD, {}),
    "white space before it": (b"\r\n " + GOOD, {}),
}


@pytest.mark.parametrize("name", WRAPPED)
async def test_a_good_body_passes_in_any_wrapping(gateway: Gateway, csms: Csms, name: str) -> None:
    body, headers = WRAPPED[name]
    response = await post(gateway.ports[0], body, **headers)
    assert (response.status, csms.told("CP-1")) == (200, [("Heartbeat", {})])


async def test_a_good_body_passes_in_chunks(gateway: Gateway, csms: Csms) -> None:
    response = await post(gateway.ports[0], in_pieces(GOOD))
    assert (response.status, csms.told("CP-1")) == (200, [("Heartbeat", {})])


@pytest.mark.parametrize("path", ["/soap/", "/soap/CentralSystemService", "/soap/a/b?c=d"])
async def test_any_path_below_soap_will_do(gateway: Gateway, path: str) -> None:
    assert (await post(gateway.ports[0], GOOD, path)).status == 200


async def test_an_envelope_of_soap_1_1_is_answered_in_kind(gateway: Gateway) -> None:
    response = await post(gateway.ports[0], envelope(soap=SOAP11), Content_Type="text/xml")
    assert (response.status, response.content_type) == (200, "text/xml; charset=utf-8")
    assert response.xml.tag == f"{{{SOAP11}}}Envelope"
    assert response.xml.findtext(f"{{{SOAP11}}}Header/{{{WSA}}}RelatesTo") == "urn:uuid:1"


async def test_a_fault_to_soap_1_1_is_of_that_shape(gateway: Gateway) -> None:
    response = await post(gateway.ports[0], envelope("<danceRequest/>", soap=SOAP11), Content_Type="text/xml")
    fault = response.xml.find(f"{{{SOAP11}}}Body/{{{SOAP11}}}Fault")
    assert response.content_type == "text/xml; charset=utf-8"
    assert [child.tag for child in fault][:2] == ["faultcode", "faultstring"]
    assert fault.findtext("faultcode") == "s:Server"
    assert response.status == 500  # SOAP 1.1, 6.2


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/soap", 405),
        ("HEAD", "/soap", 405),
        ("PUT", "/soap", 405),
        ("DELETE", "/soap/x", 405),
        ("GET", "/soap?wsdl&version=9", 404),
        ("POST", "/ocpp/CP-1", 426),
        ("GET", "/ocpp/CP-1", 426),
        ("POST", "/elsewhere", 404),
        ("GET", "/", 404),
    ],
)
async def test_what_comes_to_the_wrong_place_is_told_where_to_go(gateway: Gateway, method: str, path: str, status: int) -> None:
    response = await post(gateway.ports[0], GOOD if method == "POST" else None, path, method)
    assert (response.status, response.content_type) == (status, "text/plain; charset=utf-8")
    assert method == "HEAD" or b"expected" in response.body or b"there is nothing here" in response.body


async def test_a_websocket_at_the_soap_door_is_told_where_to_go(gateway: Gateway) -> None:
    with pytest.raises(InvalidStatus) as caught:
        async with connect(f"ws://127.0.0.1:{gateway.ports[0]}/soap/CP-1", proxy=None):
            pass
    assert caught.value.response.status_code == HTTPStatus.NOT_FOUND
    assert b"/ocpp/" in (caught.value.response.body or b"")

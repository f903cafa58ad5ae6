"""The CSMS is away, slow or out of its mind: chargers hear an error in time, and nothing is invented."""

import asyncio
import time
from http import HTTPStatus

import pytest

from tests.conftest import OpenGateway
from tests.peers.csms import Csms
from tests.peers.envelopes import NAMESPACES, SOAP12, Response, envelope, post
from tests.peers.json_charger import json_charger
from tests.peers.stack16 import Heard, Manner, Stack16, exact, hanging_up, properly, refusing, saying, silently

START = (
    "<startTransactionRequest><connectorId>1</connectorId><idTag>A</idTag><timestamp>2024-05-01T08:01:12Z</timestamp>"
    "<meterStart>0</meterStart></startTransactionRequest>"
)
START_FRAME = '[2,"s-1","StartTransaction",{"connectorId":1,"idTag":"A","timestamp":"2024-05-01T08:01:12Z","meterStart":0}]'
QUICK = {"backend": {"timeout": 0.25}}


def said(response: Response) -> tuple[int, str, str]:
    """Status, code and subcode of a fault, which relates to the request and tells no transaction."""
    fault = response.fault
    assert fault.relates_to == "urn:uuid:1"
    assert b"transactionId>" not in response.body
    return response.status, fault.code.removeprefix(f"{{{SOAP12}}}"), fault.subcode.removeprefix(f"{{{NAMESPACES['1.5']}}}")


async def start_transaction(port: int) -> Response:
    started = time.monotonic()
    response = await post(port, envelope(START))
    assert time.monotonic() - started < 2
    return response


MANNERS: dict[str, Manner] = {
    "slow": silently,
    "closing in the middle of the call": hanging_up,
    "not JSON": saying("hello"),
    "not a frame": saying("[]", '{"a":1}', "7", "null", "[9]"),
    "an answer to another call": saying('[3,"other",{}]'),
    "an answer without payload": saying('[3,"$id"]'),
    "an answer that is text": saying('[3,"$id","Accepted"]'),
    "an error that is none": saying('[4,"$id"]'),
    "binary nonsense": saying("\x00\x01\x02"),
}
MALADIES = [pytest.param(manner, id=name) for name, manner in MANNERS.items()]


@pytest.mark.parametrize("manner", MALADIES)
async def test_a_soap_charger_hears_of_a_csms_that_is_ill(open_gateway: OpenGateway, csms: Csms, manner: Manner) -> None:
    csms.manner = manner
    gateway = await open_gateway(**QUICK)
    response = await start_transaction(gateway.ports[0])
    assert said(response) == (500, "Receiver", "InternalError")


@pytest.mark.parametrize("manner", MALADIES)
async def test_a_json_charger_hears_of_a_csms_that_is_ill(open_gateway: OpenGateway, csms: Csms, manner: Manner) -> None:
    csms.manner = manner
    gateway = await open_gateway(**QUICK)
    async with json_charger(gateway.ports[0]) as charger:
        kind, message_id, code, *_ = exact(await charger.say(START_FRAME))
    assert (kind, message_id, code) == (4, "s-1", "InternalError")


async def test_both_hear_of_a_csms_that_is_down(open_gateway: OpenGateway, csms: Csms) -> None:
    await csms.stop()
    gateway = await open_gateway()
    response = await start_transaction(gateway.ports[0])
    assert said(response) == (503, "Receiver", "InternalError")
    assert response.fault.reason == "backend csms is not reachable: connection refused"
    await _is_sent_away(gateway.ports[0])


@pytest.mark.parametrize("status", [HTTPStatus.UNAUTHORIZED, HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE])
async def test_both_hear_of_a_csms_that_refuses_them(open_gateway: OpenGateway, csms: Csms, status: HTTPStatus) -> None:
    csms.refusal = status
    gateway = await open_gateway()
    response = await start_transaction(gateway.ports[0])
    assert said(response) == (503, "Receiver", "InternalError")
    assert response.fault.reason == f"backend csms is not reachable: HTTP {status}"
    await _is_sent_away(gateway.ports[0])


async def _is_sent_away(port: int) -> None:
    """OCPP 2.0.1 part 4, 6: what carries money stays with a charger whose socket is closed."""
    async with json_charger(port) as charger:
        await charger.connection.send(START_FRAME)
        await charger.connection.wait_closed()
        assert (charger.connection.close_code, list(charger.frames)) == (1013, [])


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("NotImplemented", (500, "Receiver", "NotSupported")),
        ("NotSupported", (500, "Receiver", "NotSupported")),
        ("InternalError", (500, "Receiver", "InternalError")),
        ("GenericError", (500, "Receiver", "InternalError")),
        ("SecurityError", (400, "Sender", "SecurityError")),
        ("ProtocolError", (400, "Sender", "ProtocolError")),
        ("FormationViolation", (400, "Sender", "ProtocolError")),
        ("FormatViolation", (400, "Sender", "ProtocolError")),
        ("PropertyConstraintViolation", (400, "Sender", "ProtocolError")),
        ("OccurenceConstraintViolation", (400, "Sender", "ProtocolError")),
        ("OccurrenceConstraintViolation", (400, "Sender", "ProtocolError")),
        ("TypeConstraintViolation", (400, "Sender", "ProtocolError")),
        ("WhateverError", (500, "Receiver", "InternalError")),
    ],
)
async def test_a_callerror_is_a_fault(port: int, csms: Csms, code: str, expected: tuple[int, str, str]) -> None:
    csms.manner = refusing(code, "no <thanks>")
    response = await start_transaction(port)
    assert said(response) == expected
    assert response.fault.reason.endswith("no <thanks>")


@pytest.mark.parametrize(
    "payload",
    ["{}", '{"transactionId":1}', '{"transactionId":"x","idTagInfo":{"status":"Accepted"}}', '{"idTagInfo":{"status":"Yes"}}'],
)
async def test_an_unlawful_answer_is_not_passed_on(port: int, csms: Csms, payload: str) -> None:
    csms.manner = saying(f'[3,"$id",{payload}]')
    response = await start_transaction(port)
    assert said(response) == (500, "Receiver", "InternalError")


@pytest.mark.parametrize(("illness", "status"), [("down", 503), ("refusing", 503), ("closing", 500)])
async def test_when_the_csms_is_back_the_next_message_passes(
    open_gateway: OpenGateway, csms: Csms, illness: str, status: int
) -> None:
    await _fall_ill(csms, illness)
    gateway = await open_gateway()
    assert (await start_transaction(gateway.ports[0])).status == status
    seen = len(csms.opened)
    await _recover(csms)
    await csms.opened.wait(since=seen)
    response = await start_transaction(gateway.ports[0])
    assert response.status == 200
    assert response.xml.findtext(f".//{{{NAMESPACES['1.5']}}}transactionId") == "4711"


async def _fall_ill(csms: Csms, illness: str) -> None:
    if illness == "down":
        await csms.stop()
    elif illness == "refusing":
        csms.refusal = HTTPStatus.SERVICE_UNAVAILABLE
    else:
        csms.manner = hanging_up


async def _recover(csms: Csms) -> None:
    csms.refusal, csms.manner = None, properly
    await csms.start()


async def test_a_late_answer_answers_nothing(open_gateway: OpenGateway, csms: Csms) -> None:
    asked: list[str] = []

    async def first_late(end: Stack16, raw: str) -> None:
        asked.append(exact(raw)[1])
        if len(asked) == 2:
            await end.connection.send(f'[3,"{asked[0]}",{{"currentTime":"1999-12-31T23:59:59Z"}}]')
            await properly(end, raw)

    csms.manner = first_late
    gateway = await open_gateway(**QUICK)
    assert (await post(gateway.ports[0], envelope())).status == 500
    response = await post(gateway.ports[0], envelope())
    assert (response.status, b"1999" in response.body) == (200, False)


async def test_a_call_in_flight_is_answered_before_the_gateway_stops(open_gateway: OpenGateway, csms: Csms) -> None:
    held = asyncio.Event()

    async def holding(end: Stack16, raw: str) -> None:
        end.heard.add(Heard(end.id, "", {}, raw))
        await held.wait()
        await properly(end, raw)

    csms.manner = holding
    gateway = await open_gateway(server={"drain": 5})
    asking = asyncio.create_task(post(gateway.ports[0], envelope()))
    await csms.heard.wait()
    stopping = asyncio.create_task(gateway.stop())
    held.set()
    assert (await asking).status == 200
    await stopping

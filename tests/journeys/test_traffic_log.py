"""The traffic log holds what really crossed each wire: every message of both legs, under one exchange, to the byte."""

import gzip

from gateway.traffic.timeline import timeline
from tests.conftest import OpenGateway
from tests.journeys.log import Passed, exchanged, passed
from tests.peers.bare import bare_server, http
from tests.peers.csms import Csms
from tests.peers.envelopes import SOAP12, envelope, post
from tests.peers.json_charger import json_charger
from tests.peers.seen import Seen
from tests.peers.stack16 import Stack16, refusing, saying

NOW = '{"currentTime":"2024-05-01T10:00:00Z"}'
CONF = '<resetResponse xmlns="urn://Ocpp/Cp/2015/10/"><status>Accepted</status></resetResponse>'
ACCEPTED = f'<s:Envelope xmlns:s="{SOAP12}"><s:Body>{CONF}</s:Body></s:Envelope>'.encode()
PASSES_UP = [("charger", "<", "call"), ("csms", ">", "call"), ("csms", "<", "result"), ("charger", ">", "result")]
PASSES_DOWN = [("csms", "<", "call"), ("charger", ">", "call"), ("charger", "<", "result"), ("csms", ">", "result")]


def check(rows: list[Passed], action: str, path: list[tuple[str, str, str]], wires: list[str]) -> None:
    """Four messages of one exchange, with the latencies of the answers."""
    assert [(row.leg, row.direction, row.kind) for row in rows] == path
    assert [row.wire for row in rows] == wires
    assert {row.exchange for row in rows} == {rows[0].exchange} != {""}
    assert {(row.charger, row.action) for row in rows} == {("CP-1", action)}
    assert [row.latency is None for row in rows] == [True, True, False, False]
    there, back = (row.latency or 0 for row in rows[2:])
    assert back >= there > 0


async def test_a_call_up(open_gateway: OpenGateway, csms: Csms) -> None:
    csms.manner = saying(f'[3,"$id",{NOW}]')
    gateway = await open_gateway()
    response = await post(gateway.ports[0], gzip.compress(envelope()), Content_Encoding="gzip")
    rows = await passed(gateway)
    check(rows, "Heartbeat", PASSES_UP, ["soap", "json", "json", "soap"])
    assert [row.version for row in rows] == ["1.5", "1.6", "1.6", "1.5"]
    own_id = rows[1].message_id
    assert [row.raw for row in rows] == [
        envelope(),
        csms.heard[0].raw.encode(),
        f'[3,"{own_id}",{NOW}]'.encode(),
        response.body,
    ]


async def test_a_call_down(open_gateway: OpenGateway, csms: Csms) -> None:
    said: Seen[str] = Seen()

    async def listening(end: Stack16, raw: str) -> None:
        said.add(raw)

    gateway = await open_gateway()
    async with bare_server(http("200 OK", ACCEPTED)) as charger:
        await post(gateway.ports[0], envelope(version="1.6", sender=charger.url))
        csms.manner = listening
        question = '[2, "x-1", "Reset", {"type": "Soft"}]'
        await (await csms.charger("CP-1")).connection.send(question)
        answer = await said.wait()
        heard = charger.visits[0].partition(b"\r\n\r\n")[2]
    rows = (await passed(gateway))[4:]
    check(rows, "Reset", PASSES_DOWN, ["json", "soap", "soap", "json"])
    assert [row.raw for row in rows] == [question.encode(), heard, ACCEPTED, answer.encode()]
    assert answer == '[3,"x-1",{"status":"Accepted"}]'


async def test_a_call_of_a_json_charger(open_gateway: OpenGateway, csms: Csms) -> None:
    csms.manner = saying(f'[3,"$id",{NOW}]')
    gateway = await open_gateway()
    question = '[2, "7", "Heartbeat", {}]'
    async with json_charger(gateway.ports[0], "CP-1") as charger:
        answer = await charger.say(question)
    rows = await passed(gateway)
    check(rows, "Heartbeat", PASSES_UP, ["json"] * 4)
    assert (rows[0].raw, rows[1].raw, rows[3].raw) == (question.encode(), csms.heard[0].raw.encode(), answer.encode())
    assert rows[0].message_id == rows[3].message_id == "7"
    assert rows[1].message_id == rows[2].message_id != "7"


async def test_headers_are_kept_and_credentials_are_not(open_gateway: OpenGateway, csms: Csms) -> None:
    gateway = await open_gateway()
    secrets = {"Authorization": "Basic c2VjcmV0", "Cookie": "session=c2VjcmV0", "X_Api_Key": "c2VjcmV0"}
    await post(gateway.ports[0], envelope(), SOAPAction='"/Heartbeat"', User_Agent="box/1.0", **secrets)
    told = [row.headers for row in await passed(gateway)]
    assert (told[0]["soapaction"], told[0]["user-agent"]) == ('"/Heartbeat"', "box/1.0")
    assert told[1:3] == [{}, {}]
    assert "soap+xml" in told[3]["content-type"]
    assert "c2VjcmV0" not in str(await exchanged(gateway))


async def test_a_whole_call_is_one_exchange(open_gateway: OpenGateway, csms: Csms) -> None:
    csms.manner = saying(f'[3,"$id",{NOW}]')
    gateway = await open_gateway()
    await post(gateway.ports[0], envelope())
    [found] = await exchanged(gateway)
    assert [(leg.name, leg.inward, leg.wire, leg.outcome) for leg in found.legs] == [
        ("charger", True, "soap", "ok"),
        ("csms", False, "json", "ok"),
    ]
    assert [step.step for step in timeline(found)] == ["received", "sent", "answered", "returned"]
    assert (found.action, found.up, found.ok) == ("Heartbeat", True, True)


async def test_an_error_keeps_its_code_and_its_reason(open_gateway: OpenGateway, csms: Csms) -> None:
    csms.manner = refusing("SecurityError", "no entry")
    gateway = await open_gateway()
    await post(gateway.ports[0], envelope())
    rows = await passed(gateway)
    assert [row.kind for row in rows] == ["call", "call", "error", "error"]
    assert [(row.outcome, row.note) for row in rows[2:]] == [("SecurityError", "no entry")] * 2


async def test_what_was_assumed_is_remarked(open_gateway: OpenGateway, csms: Csms) -> None:
    gateway = await open_gateway()
    body = "<statusNotificationRequest><connectorId>1</connectorId><status>Occupied</status><errorCode>NoError</errorCode>"
    await post(gateway.ports[0], envelope(f"{body}</statusNotificationRequest>"))
    (came, *_) = await passed(gateway)
    assert [(remark.kind, remark.path) for remark in came.remarks] == [("assumed", "status")]


async def test_an_unanswered_call_is_followed_by_our_own_error(open_gateway: OpenGateway, csms: Csms) -> None:
    await csms.stop()
    gateway = await open_gateway()
    await post(gateway.ports[0], envelope())
    rows = await passed(gateway)
    assert [(row.leg, row.kind) for row in rows] == [("charger", "call"), ("charger", "error")]
    assert rows[1].note == "backend csms is not reachable: connection refused"


async def test_exchanges_do_not_mix(open_gateway: OpenGateway, csms: Csms) -> None:
    gateway = await open_gateway()
    async with json_charger(gateway.ports[0], "A") as one, json_charger(gateway.ports[0], "B") as other:
        await one.say('[2,"same","Heartbeat",{}]')
        await other.say('[2,"same","Heartbeat",{}]')
    by_exchange: dict[str, list[str]] = {}
    for row in await passed(gateway):
        by_exchange.setdefault(row.exchange, []).append(row.charger)
    assert sorted(by_exchange.values()) == [["A"] * 4, ["B"] * 4]

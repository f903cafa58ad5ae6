"""What is at no door, what the doors say of themselves, and what they keep to themselves."""

import json
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from yarl import URL

from gateway.app import Gateway
from gateway.config import Bounds
from tests.conftest import OpenGateway
from tests.journeys.log import passed
from tests.peers.csms import Csms
from tests.peers.envelopes import SOAP_TYPE, WSA, envelope, post


async def handshake(port: int, path: str) -> tuple[int, str]:
    with pytest.raises(InvalidStatus) as refused:
        await connect(f"ws://127.0.0.1:{port}{path}")
    response = refused.value.response
    return response.status_code, (response.body or b"").decode()


@pytest.mark.parametrize("path", ["/", "/ocpp", "/ocpp/a/b", "/ocpp/%20", "/ocpp/..", "/elsewhere/CP-1", "/ocpp/" + "x" * 300])
async def test_a_websocket_at_no_door_is_told_where_the_door_is(port: int, path: str) -> None:
    status, text = await handshake(port, path)
    assert (status, "/ocpp/CP-1" in text) == (404, True)


async def test_a_websocket_at_the_door_for_soap_is_told_so(port: int) -> None:
    assert (await handshake(port, "/soap"))[0] == 404


@pytest.mark.parametrize("path", ["/elsewhere", "/ocpp/CP-1", "/soap?wsdl"])
async def test_every_request_counts_for_the_rate_of_its_source(open_gateway: OpenGateway, path: str) -> None:
    bounds = Bounds(source_rate=0.001, source_burst=2)
    port = (await open_gateway(bounds=bounds)).ports[0]
    statuses = [(await post(port, None, path, "GET")).status for _ in range(3)]
    assert statuses[2] == 429
    assert 429 not in statuses[:2]


@pytest.mark.parametrize("written", ["T0+KEN", "T0%2BKEN", "T0%2bKEN"])
@pytest.mark.parametrize(("end", "status"), [(b"</s:Header>", 200), (b"</s:Broken>", 400)])
async def test_the_token_of_a_path_is_not_recorded(open_gateway: OpenGateway, written: str, end: bytes, status: int) -> None:
    gateway = await open_gateway(server={"soap_paths": ["/soap/{token}"]})
    told = f'<a:To xmlns:a="{WSA}">http://gw/soap/{written}</a:To>'.encode()
    body = envelope().replace(b"</s:Header>", told + end)
    url = URL(f"http://127.0.0.1:{gateway.ports[0]}/soap/T0%2BKEN", encoded=True)
    async with aiohttp.ClientSession() as http, http.post(url, data=body, headers={"Content-Type": SOAP_TYPE}) as response:
        assert response.status == status
    assert [row for row in await passed(gateway) if b"KEN" in row.raw] == []


async def test_a_short_token_does_not_hide_what_was_said(open_gateway: OpenGateway) -> None:
    gateway = await open_gateway(server={"soap_paths": ["/soap/{token}"]})
    await post(gateway.ports[0], envelope(), "/soap/e")
    assert (await passed(gateway))[0].raw == envelope()


async def test_readings_of_which_nothing_is_understood_are_refused(port: int, csms: Csms) -> None:
    body = "<meterValuesRequest><connectorId>1</connectorId><readings>7</readings></meterValuesRequest>"
    response = await post(port, envelope(body))
    assert (response.status, "expected readings" in response.fault.reason) == (400, True)
    async with connect(f"ws://127.0.0.1:{port}/ocpp/CP-2", subprotocols=["ocpp1.6"]) as charger:  # type: ignore[list-item]
        await charger.send('[2,"1","MeterValues",{"connectorId":1,"readings":[7]}]')
        answer: list[Any] = json.loads(await charger.recv())
    assert answer[:3] == [4, "1", "OccurenceConstraintViolation"]


async def test_a_mistake_of_ours_in_the_background_is_told_and_ends_nothing(
    open_gateway: OpenGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.app.TICK", 0.01)
    gateway = await open_gateway()
    monkeypatch.setattr(gateway.roster, "sweep", lambda: 1 / 0)
    async with aiohttp.ClientSession() as http:
        while True:
            async with http.get(f"http://127.0.0.1:{gateway.ports[1]}/readyz") as ready:
                if ready.status == 503:
                    break
    assert "ZeroDivisionError" in await reasons(gateway)
    assert (await post(gateway.ports[0], envelope(), content_type=SOAP_TYPE)).status == 200


async def reasons(gateway: Gateway) -> str:
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{gateway.ports[1]}/readyz") as ready:
        return await ready.text()

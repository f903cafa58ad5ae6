"""Tenants by the doors' paths: who belongs to whom, in addresses of backends, routes, the traffic log and the API."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import pytest
from structlog.testing import capture_logs
from websockets.exceptions import InvalidStatus

from gateway.app import Gateway
from gateway.config import Ocppj, Route
from gateway.roster import State
from tests.conftest import OpenGateway
from tests.journeys.log import passed
from tests.peers.csms import Csms, running_csms
from tests.peers.envelopes import envelope, post
from tests.peers.json_charger import json_charger

PATHS = {
    "soap_paths": ["/soap/of/{tenant}", "/soap"],
    "json_paths": ["/ocpp/{tenant}/{identity}", "/ocpp/{identity}"],
}
PLACE = "/t/{tenant}/{identity}"
Open = Callable[..., Awaitable[Gateway]]


@pytest.fixture
async def second() -> AsyncIterator[Csms]:
    """Another CSMS."""
    async with running_csms() as second:
        yield second


@pytest.fixture
def housed(open_gateway: OpenGateway, csms: Csms) -> Open:
    """Opens gateways whose paths have a place for a tenant, and the address of the CSMS too."""

    async def open_one(place: str = PLACE, **sections: Any) -> Gateway:
        sections = {"others": (backend("house", csms, place),), "routes": (Route(answer=("house",)),)} | sections
        return await open_gateway(server=PATHS, **sections)

    return open_one


def backend(name: str, csms: Csms, place: str = "/ocpp/{identity}") -> Ocppj:
    url = f"ws://127.0.0.1:{csms.port}{place}"
    return Ocppj(kind="ocppj", name=name, url=url, backoff_min=0.02, backoff_max=0.05, timeout=5)


def addresses(csms: Csms) -> list[str]:
    return sorted(end.connection.request.path for end in csms.opened)


async def soap(gateway: Gateway, identity: str, path: str = "/soap") -> tuple[int, str]:
    """Status of a heartbeat, and the fault if there is one."""
    response = await post(gateway.ports[0], envelope(identity=identity), path)
    return response.status, "" if response.status == 200 else response.fault.subcode.rpartition("}")[2]


async def refused(gateway: Gateway, path: str) -> int:
    with pytest.raises(InvalidStatus) as caught:
        async with json_charger(gateway.ports[0], path):
            pass
    return caught.value.response.status_code


async def told(gateway: Gateway, path: str) -> Any:
    async with aiohttp.ClientSession() as http, http.get(f"http://127.0.0.1:{gateway.ports[1]}{path}") as response:
        return json.loads(await response.read())


async def test_the_csms_is_told_whose_each_charger_is(housed: Open, csms: Csms) -> None:
    gateway = await housed()
    async with json_charger(gateway.ports[0], "acme/CP-J") as one, json_charger(gateway.ports[0], "B%26B/CP-K") as other:
        assert await soap(gateway, "CP-1", "/soap/of/acme") == (200, "")
        assert await soap(gateway, "CP-2", "/soap/of/B%26B") == (200, "")
        for charger in (one, other):
            await charger.make("Heartbeat", {})
    assert addresses(csms) == ["/t/B%26B/CP-2", "/t/B%26B/CP-K", "/t/acme/CP-1", "/t/acme/CP-J"]


async def test_a_route_may_be_for_a_tenant(housed: Open, csms: Csms, second: Csms) -> None:
    others = (backend("house", csms), backend("second", second))
    routes = (Route(tenant="b*", answer=("second",)), Route(tenant="acme", answer=("house",)))
    gateway = await housed(others=others, routes=routes)
    async with json_charger(gateway.ports[0], "B/CP-K") as charger:
        await charger.make("Heartbeat", {})
        assert await soap(gateway, "CP-1", "/soap/of/ACME") == (200, "")
    assert (addresses(csms), addresses(second)) == (["/ocpp/CP-1"], ["/ocpp/CP-K"])
    assert (await soap(gateway, "CP-9"))[0] == 500  # of no tenant, so that no route fits


async def test_a_charger_without_a_tenant_has_no_address_where_one_is_needed(housed: Open, csms: Csms) -> None:
    gateway = await housed()
    response = await post(gateway.ports[0], envelope(identity="CP-1"))
    assert response.status in (500, 503)
    assert "expected a charger with a tenant, for {tenant} in url, got one without" in response.fault.reason
    assert len(csms.handshakes) == 0


async def test_all_that_passes_is_of_the_tenant(housed: Open, csms: Csms) -> None:
    gateway = await housed()
    async with json_charger(gateway.ports[0], "acme/CP-J") as charger:
        await charger.make("Heartbeat", {})
        assert await csms.command("CP-J", "Reset", {"type": "Soft"}) == {"status": "Accepted"}
    assert await soap(gateway, "CP-1", "/soap/of/other") == (200, "")
    rows = await passed(gateway)
    assert {(row.charger, row.leg, row.tenant) for row in rows} == {
        *(("CP-J", leg, "acme") for leg in ("charger", "house")),
        *(("CP-1", leg, "other") for leg in ("charger", "house")),
    }
    assert len([row for row in rows if row.action == "Reset"]) == 4


async def test_people_may_ask_for_one_tenant(housed: Open) -> None:
    gateway = await housed()
    await soap(gateway, "CP-1", "/soap/of/Acme")
    await soap(gateway, "CP-2", "/soap/of/other")
    await passed(gateway)  # by now all of it is written
    chargers = (await told(gateway, "/api/v1/chargers?tenant=acme"))["chargers"]
    exchanges = (await told(gateway, "/api/v1/traffic?tenant=ACME"))["exchanges"]
    assert [(c["identity"], c["tenant"]) for c in chargers] == [("CP-1", "Acme")]
    assert {(e["charger"], e["tenant"]) for e in exchanges} == {("CP-1", "Acme")}


@pytest.mark.parametrize("path", ["/soap/of/other", "/soap"])
@pytest.mark.parametrize("first", ["soap", "json"])
async def test_a_soap_charger_does_not_come_under_another_tenant_while_it_is_here(
    housed: Open, csms: Csms, first: str, path: str
) -> None:
    gateway = await housed()
    async with json_charger(gateway.ports[0], "acme/CP-1" if first == "json" else "acme/CP-J"):
        if first == "soap":
            await soap(gateway, "CP-1", "/soap/of/acme")
        before = repr(gateway.roster.get("CP-1"))
        with capture_logs() as logs:
            assert await soap(gateway, "cp-1", path) == (400, "SecurityError")
        assert repr(gateway.roster.get("CP-1")) == before
    (line,) = [line for line in logs if line["event"] == "charger.refused"]
    assert (line["charger"], line["reason"]) == ("cp-1", "here under another tenant")
    assert gateway.gate.refused == {"here under another tenant": 1}
    assert [end for end in addresses(csms) if "acme" not in end] == []


@pytest.mark.parametrize("path", ["other/CP-1", "CP-1"])
async def test_a_json_charger_does_not_come_under_another_tenant_while_it_is_here(housed: Open, path: str) -> None:
    gateway = await housed()
    async with json_charger(gateway.ports[0], "acme/CP-1") as charger:
        assert await refused(gateway, path) == 403
        await charger.make("Heartbeat", {})  # it has kept its socket
    assert gateway.gate.refused == {"here under another tenant": 1}


async def test_a_json_charger_does_not_take_the_place_of_a_soap_charger_of_another_tenant(housed: Open) -> None:
    gateway = await housed()
    assert await soap(gateway, "CP-1", "/soap/of/acme") == (200, "")
    assert await refused(gateway, "other/CP-1") == 403
    assert await soap(gateway, "CP-1", "/soap/of/Acme") == (200, "")


async def test_a_charger_that_has_gone_may_come_under_another_tenant(housed: Open, csms: Csms) -> None:
    gateway = await housed()
    async with json_charger(gateway.ports[0], "acme/CP-1") as charger:
        await charger.make("Heartbeat", {})
    await csms.closed.wait()
    async with json_charger(gateway.ports[0], "other/CP-1") as charger:
        await charger.make("Heartbeat", {})
    assert addresses(csms) == ["/t/acme/CP-1", "/t/other/CP-1"]


async def test_a_restart_forgets_nobodys_tenant(housed: Open, csms: Csms) -> None:
    gateway = await housed()
    assert await soap(gateway, "CP-1", "/soap/of/acme") == (200, "")
    async with asyncio.timeout(5):
        while gateway.roster._changed:  # noqa: ASYNC110 - saved once a second, without an event to wait for
            await asyncio.sleep(0.02)
    await gateway.stop()
    gateway = await housed()
    charger = gateway.roster.get("CP-1")
    assert charger is not None
    assert (charger.tenant, charger.state) == ("acme", State.HERE)
    assert await soap(gateway, "CP-1", "/soap/of/other") == (400, "SecurityError")

"""A backend that refuses what it is told: the letter is given up, a person mends it, and the backend hears it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import aiohttp
import pytest
from typer.testing import CliRunner

from gateway.app import Gateway
from gateway.cli import app
from gateway.config import Ocppj, Replay, Route
from tests.admin import Visitor
from tests.conftest import OpenGateway
from tests.peers.csms import Csms, running_csms
from tests.peers.json_charger import JsonCharger, json_charger
from tests.peers.seen import DEADLINE
from tests.peers.stack16 import Payload, Stack16, exact, properly, refusing

JSON = "application/json"
START: Payload = {"connectorId": 1, "idTag": "TAG1", "meterStart": 100, "timestamp": "2024-05-01T08:00:00Z"}
STOP: Payload = {"transactionId": 4711, "meterStop": 99, "timestamp": "2024-05-01T09:00:00Z"}
MENDED = b'{"transactionId":4711,"meterStop":5200,"timestamp":"2024-05-01T09:00:00Z"}'


async def wary(end: Stack16, raw: str) -> None:
    """Takes no transaction that ends below where it began."""
    frame = exact(raw)
    if frame[0] == 2 and frame[2] == "StopTransaction" and frame[3]["meterStop"] < 100:
        await refusing("InternalError", "meterStop below meterStart")(end, raw)
    else:
        await properly(end, raw)


@pytest.fixture
async def gateway(open_gateway: OpenGateway, csms: Csms) -> Gateway:
    csms.manner = wary
    replay = Replay(attempts=1, retry_interval=0.01, rate=1000)
    return await open_gateway(backend={"away": "store"}, routes=(Route(answer=("csms",)),), replay=replay)


@pytest.fixture
async def ask(gateway: Gateway) -> AsyncIterator[Visitor]:
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=DEADLINE)) as http:
        yield Visitor(gateway.ports[1], http)


@pytest.fixture
async def charger(gateway: Gateway) -> AsyncIterator[JsonCharger]:
    async with AsyncExitStack() as stack:
        charger = await stack.enter_async_context(json_charger(gateway.ports[0], "CP-1"))
        assert (await charger.make("StartTransaction", START))["transactionId"] == 4711
        yield charger


async def until(look: Callable[[], Awaitable[Any]], wanted: Callable[[Any], bool]) -> Any:
    """What is seen, as soon as it is what is wanted."""
    async with asyncio.timeout(DEADLINE):
        while not wanted(seen := await look()):
            pass
    return seen


async def given_up(ask: Visitor) -> Any:
    """The one dead letter."""

    async def look() -> Any:
        return (await ask("/api/v1/letters?backend=csms")).json["letters"]

    (letter,) = await until(look, bool)
    return letter


def stops(csms: Csms) -> list[int]:
    return [payload["meterStop"] for action, payload in csms.told("CP-1") if action == "StopTransaction"]


async def test_what_a_backend_refuses_is_mended_and_heard(ask: Visitor, charger: JsonCharger, csms: Csms) -> None:
    await charger.make("StopTransaction", STOP)  # the charger has nothing more to do with it
    letter = await given_up(ask)
    assert (letter["charger"], letter["action"], letter["transaction"]) == ("CP-1", "StopTransaction", 4711)
    assert "meterStop below meterStart" in letter["reason"]
    path = f"/api/v1/letters/{letter['id']}"
    assert (await ask(path)).json["payload"] == STOP
    assert (await ask(path, "PATCH", MENDED, Content_Type=JSON)).status == 200
    before = len(csms.heard)
    assert (await ask(f"{path}/replay", "POST")).json == {"replayed": 1}
    heard = await csms.heard.wait(lambda call: call.action == "StopTransaction", since=before)
    assert heard.payload == exact(MENDED)
    await until(lambda: ask(path), lambda reply: reply.status == 404)


async def test_what_is_sent_again_as_it_was_is_given_up_again(ask: Visitor, charger: JsonCharger, csms: Csms) -> None:
    await charger.make("StopTransaction", STOP)
    first = await given_up(ask)
    told = len(stops(csms))
    assert (await ask("/api/v1/letters/replay?backend=csms", "POST")).json["replayed"] == 1
    await csms.heard.wait(lambda _: len(stops(csms)) > told)
    assert (await given_up(ask))["id"] == first["id"]


async def test_who_purges_hears_no_more_of_it(ask: Visitor, charger: JsonCharger, csms: Csms) -> None:
    await charger.make("StopTransaction", STOP)
    await given_up(ask)
    assert (await ask("/api/v1/letters?charger=cp-1", "DELETE")).json == {"purged": 1}
    assert (await ask("/api/v1/letters")).json == {"letters": []}
    assert b'ocpp_gateway_letters_dropped_total{backend="csms",reason="purged"} 1.0' in (await ask("/metrics")).body


async def test_the_commands_do_the_same(ask: Visitor, charger: JsonCharger, csms: Csms) -> None:
    await charger.make("StopTransaction", STOP)
    id = str((await given_up(ask))["id"])
    for step in (("show", id), ("change", id, MENDED.decode()), ("replay", id)):
        command = ["letters", *step, "--api", f"http://127.0.0.1:{ask.port}"]
        assert (await asyncio.to_thread(CliRunner().invoke, app, command)).exit_code == 0
    await csms.heard.wait(lambda call: call.payload == exact(MENDED))


async def test_the_charger_is_shown_with_its_transaction_and_what_waits(ask: Visitor, charger: JsonCharger, csms: Csms) -> None:
    async def look() -> Any:
        return (await ask("/api/v1/chargers/CP-1")).json

    found = await look()
    assert [(each["number"], each["connector"], each["owner"], each["ids"]) for each in found["transactions"]] == [
        (4711, 1, "csms", {"csms": 4711})
    ]
    (tie,) = found["backends"]
    assert (tie["backend"], tie["role"], tie["seat"], tie["up"], tie["letters"]) == ("csms", "answer", True, True, 0)
    await csms.stop()
    await until(look, lambda shown: not shown["backends"][0]["up"])
    await charger.make("StopTransaction", STOP)
    found = await look()
    assert (found["backends"][0]["letters"], found["transactions"]) == (1, [])
    waiting = (await ask("/api/v1/letters/waiting")).json["backends"]
    assert [(each["backend"], each["live"], each["dead"]) for each in waiting] == [("csms", 1, 0)]


async def test_who_answers_a_charger_now_is_shown_and_counted(open_gateway: OpenGateway, csms: Csms) -> None:
    async with running_csms() as standby, aiohttp.ClientSession() as http:
        await csms.stop()
        other = Ocppj(kind="ocppj", name="standby", url=standby.url)
        route = Route(answer=("csms", "standby"), failover_after=0)
        gateway = await open_gateway(others=(other,), routes=(route,))
        ask = Visitor(gateway.ports[1], http)
        async with json_charger(gateway.ports[0], "CP-1") as charger:
            await charger.make("Heartbeat", {})
            backends = (await ask("/api/v1/chargers/cp-1")).json["backends"]
        assert [(each["backend"], each["seat"], each["up"]) for each in backends] == [
            ("csms", False, False),
            ("standby", True, True),
        ]
        assert b'ocpp_gateway_moves_total{from="csms",to="standby"} 1.0' in (await ask("/metrics")).body

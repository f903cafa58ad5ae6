"""Chargers repeat what carries money: the CSMS hears it once, whoever restarts; and `Occupied` means what it has to."""

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from ocpp.exceptions import InternalError

from gateway.app import Gateway
from tests.conftest import OpenGateway
from tests.journeys.log import passed
from tests.peers.csms import Csms
from tests.peers.envelopes import Response, envelope, post
from tests.peers.json_charger import json_charger
from tests.peers.seen import DEADLINE
from tests.peers.soap_charger import soap_charger
from tests.peers.stack16 import Manner, Stack16, properly, refusing, silently

Payload = dict[str, Any]
BEGUN: Payload = {"connectorId": 2, "idTag": "TAG1", "timestamp": "2024-05-01T08:00:00Z", "meterStart": 100}
ENDED: Payload = {"transactionId": 4711, "idTag": "TAG1", "timestamp": "2024-05-01T09:00:00Z", "meterStop": 900}
CALLS = [("StartTransaction", BEGUN), ("StopTransaction", ENDED)]
VERSIONS = ("1.2", "1.5", "1.6")


def written(action: str, payload: Payload, message_id: str = "urn:uuid:1") -> bytes:
    """An envelope in 1.5."""
    fields = "".join(f"<{name}>{value}</{name}>" for name, value in payload.items())
    element = f"{action[:1].lower()}{action[1:]}Request"
    return envelope(f"<{element}>{fields}</{element}>", message_id=message_id)


def start(message_id: str = "urn:uuid:1") -> bytes:
    return written("StartTransaction", BEGUN, message_id)


def transaction(response: Response) -> str:
    assert response.status == 200
    return str(response.xml.findtext(".//{urn://Ocpp/Cs/2012/06/}transactionId"))


def holding(let: asyncio.Event, asked: asyncio.Event | None = None) -> Manner:
    """Answers when it is let; says when it is asked."""

    async def manner(end: Stack16, raw: str) -> None:
        if asked:
            asked.set()
        await let.wait()
        await properly(end, raw)

    return manner


async def calls(gateway: Gateway, wanted: int) -> None:
    """Wait until so many calls of chargers have come."""
    async with asyncio.timeout(DEADLINE):
        while sum((row.leg, row.kind) == ("charger", "call") for row in await passed(gateway)) < wanted:
            pass


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_csms_hears_a_repeated_start_and_stop_once(port: int, csms: Csms, version: str) -> None:
    async with soap_charger(port, version) as charger:
        for action, said in CALLS:
            first = await charger.make(action, said)
            assert await charger.make(action, said) == first
    assert csms.told("CP-S") == CALLS


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_next_run_of_the_gateway_knows_them(open_gateway: OpenGateway, csms: Csms, version: str) -> None:
    heard = []
    for action, said in (CALLS[0], *CALLS, CALLS[1]):
        gateway = await open_gateway()
        async with soap_charger(gateway.ports[0], version) as charger:
            heard.append(await charger.make(action, said))
        await gateway.stop()
        csms.answers["StartTransaction"]["transactionId"] += 1
    assert heard[0] == heard[1]
    assert heard[2] == heard[3]
    assert csms.told("CP-S") == CALLS


async def test_a_json_charger_repeats_on_its_next_connection(port: int, csms: Csms) -> None:
    for made in ([], CALLS[:1]):
        async with json_charger(port) as charger:
            for call in made:
                assert (await charger.make(*call))["transactionId"] == 4711
            assert (await charger.make(*CALLS[0]))["transactionId"] == 4711
    for _ in range(2):
        async with json_charger(port) as charger:
            await charger.make(*CALLS[1])
    assert csms.told("CP-J") == CALLS


@pytest.mark.parametrize("date", ["0000-00-00T00:00:00Z", "1970-01-01T00:00:00Z"])
async def test_who_has_no_clock_starts_again_with_the_same_words(port: int, csms: Csms, date: str) -> None:
    begun = BEGUN | {"timestamp": date, "meterStart": 0}
    for n in (4711, 4712):
        csms.answers["StartTransaction"]["transactionId"] = n
        heard = [transaction(await post(port, written("StartTransaction", begun, f"urn:uuid:{k}"))) for k in range(2)]
        assert heard == [str(n)] * 2
        ended = ENDED | {"transactionId": n, "timestamp": date}
        assert (await post(port, written("StopTransaction", ended))).status == 200
        assert (await post(port, written(*status("Available")))).status == 200
    actions = [action for action, _ in csms.told("CP-1")]
    assert actions == ["StartTransaction", "StopTransaction", "StatusNotification"] * 2


async def test_two_at_once_are_one(port: int, csms: Csms) -> None:
    let = asyncio.Event()
    csms.manner = holding(let)
    both = [asyncio.create_task(post(port, start(f"urn:uuid:{n}"))) for n in range(2)]
    await csms.opened.wait()
    let.set()
    assert [transaction(response) for response in await asyncio.gather(*both)] == ["4711", "4711"]
    assert csms.told("CP-1") == CALLS[:1]


async def test_who_hung_up_hears_what_was_answered_meanwhile(port: int, csms: Csms) -> None:
    let = asyncio.Event()
    csms.manner = holding(let)
    hasty = asyncio.create_task(post(port, start()))
    await csms.opened.wait()
    hasty.cancel()
    await asyncio.wait({hasty})
    again = asyncio.create_task(post(port, start("urn:uuid:2")))
    let.set()
    assert transaction(await again) == "4711"
    assert csms.told("CP-1") == CALLS[:1]


async def test_an_answer_that_comes_late_is_that_of_the_repetition(open_gateway: OpenGateway, csms: Csms) -> None:
    port = (await open_gateway(backend={"timeout": 0.3})).ports[0]
    let = asyncio.Event()
    csms.manner = holding(let)
    assert (await post(port, start())).status == 500
    let.set()
    assert transaction(await post(port, start("urn:uuid:2"))) == "4711"
    assert csms.told("CP-1") == CALLS[:1]


async def test_a_late_answer_is_known_to_the_next_run(open_gateway: OpenGateway, csms: Csms) -> None:
    let, gateway = asyncio.Event(), await open_gateway(backend={"timeout": 0.3})
    csms.manner = holding(let)
    async with json_charger(gateway.ports[0]) as charger:
        with pytest.raises(InternalError):
            await charger.make(*CALLS[0])
        let.set()
        assert (await charger.make(*CALLS[0]))["transactionId"] == 4711
    await gateway.stop()
    async with json_charger((await open_gateway()).ports[0]) as charger:
        assert (await charger.make(*CALLS[0]))["transactionId"] == 4711
    assert csms.told("CP-J") == CALLS[:1]


async def test_who_waits_for_a_late_answer_does_not_hold_up_the_end(open_gateway: OpenGateway, csms: Csms) -> None:
    gateway, csms.manner = await open_gateway(server={"drain": 0.1}, backend={"timeout": 1.5}), silently
    assert (await post(gateway.ports[0], start())).status == 500
    waiting = asyncio.create_task(post(gateway.ports[0], start("urn:uuid:2")))
    await calls(gateway, 2)
    async with asyncio.timeout(0.9):  # less than a door waits for those who are still inside
        await gateway.stop()
    assert (await waiting).status == 500
    assert csms.told("CP-1") == CALLS[:1]


async def test_what_is_answered_while_the_gateway_stops_is_known_to_the_next_run(open_gateway: OpenGateway, csms: Csms) -> None:
    gateway, let, asked = await open_gateway(server={"drain": DEADLINE}), asyncio.Event(), asyncio.Event()
    csms.manner = holding(let, asked)
    first = asyncio.create_task(post(gateway.ports[0], start()))
    await asyncio.wait_for(asked.wait(), DEADLINE)
    first.cancel()  # so that only the backend still waits for the answer
    await asyncio.wait({first})
    stopping = asyncio.create_task(gateway.stop())
    asyncio.get_running_loop().call_later(0.05, let.set)
    await stopping
    csms.answers["StartTransaction"]["transactionId"] = 4712
    assert transaction(await post((await open_gateway()).ports[0], start())) == "4711"


async def test_another_reading_is_another_message(port: int, csms: Csms) -> None:
    other = ENDED | {"meterStop": 901}
    for said in (ENDED, other):
        assert (await post(port, written("StopTransaction", said))).status == 200
    assert csms.told("CP-1") == [("StopTransaction", ENDED), ("StopTransaction", other)]


async def test_after_an_error_it_is_passed_on_again(port: int, csms: Csms) -> None:
    csms.manner = refusing("InternalError")
    assert (await post(port, start())).status == 500
    csms.manner = properly
    assert transaction(await post(port, start())) == "4711"
    assert csms.told("CP-1") == CALLS[:1] * 2


async def test_the_log_tells_that_it_was_a_repetition(open_gateway: OpenGateway) -> None:
    gateway = await open_gateway()
    for n in range(2):
        await post(gateway.ports[0], start(f"urn:uuid:{n}"))
    answers = [row for row in await passed(gateway) if row.leg == "charger" and row.kind == "result"]
    assert [[remark.rule for remark in row.remarks] for row in answers] == [[], ["transactions.repeated"]]


# --- killed


@asynccontextmanager
async def killable(folder: Path, csms: Csms) -> AsyncIterator[tuple[int, Callable[[], None]]]:
    """The port of a gateway in a process of its own, and what kills that."""
    text = '[server]\nport = 0\n[admin]\nport = 0\n[[backends]]\nkind = "ocppj"\nname = "csms"\n'
    (folder / "gateway.toml").write_text(f'{text}url = "{csms.url}"\n[state]\npath = "state.db"\n')
    command = (sys.executable, "-m", "gateway", "serve", "-c", "gateway.toml")
    environment = {"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": os.environ["PATH"]}
    process = await asyncio.create_subprocess_exec(*command, cwd=folder, env=environment, stdout=PIPE, stderr=PIPE)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE):
            greeting = (await process.stdout.readuntil(b"/soap")).decode()
        yield int(greeting.rpartition(":")[2].removesuffix("/soap")), process.kill
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGKILL)
        await process.communicate()


async def test_a_gateway_that_was_killed_knows_what_it_answered(open_gateway: OpenGateway, csms: Csms, tmp_path: Path) -> None:
    async with killable(tmp_path, csms) as (port, kill):
        first = transaction(await post(port, start()))
        kill()
    csms.answers["StartTransaction"]["transactionId"] = 4712
    gateway: Gateway = await open_gateway()
    assert transaction(await post(gateway.ports[0], start())) == first == "4711"
    assert csms.told("CP-1") == CALLS[:1]


# --- Occupied


def status(word: str) -> tuple[str, Payload]:
    return "StatusNotification", {"connectorId": 2, "status": word, "errorCode": "NoError"}


@pytest.mark.parametrize("version", ["1.2", "1.5"])
async def test_occupied_is_what_the_transactions_make_of_it(open_gateway: OpenGateway, csms: Csms, version: str) -> None:
    said = [status(s) for s in ("Occupied", "Occupied", "Faulted", "Occupied", "Occupied", "Available", "Occupied")]
    said[1:1], said[5:5] = CALLS[:1], CALLS[1:]
    for action, payload in said:
        gateway = await open_gateway()  # each time another
        async with soap_charger(gateway.ports[0], version) as charger:
            await charger.make(action, payload)
        await gateway.stop()
    told = [payload["status"] for action, payload in csms.told("CP-S") if action == "StatusNotification"]
    assert told == ["Preparing", "Charging", "Faulted", "Charging", "Finishing", "Available", "Preparing"]


async def test_the_log_tells_what_occupied_became(open_gateway: OpenGateway) -> None:
    gateway = await open_gateway()
    await post(gateway.ports[0], written(*status("Occupied")))
    (call,) = [row for row in await passed(gateway) if row.leg == "charger" and row.kind == "call"]
    assert [(remark.kind, remark.path, remark.detail) for remark in call.remarks] == [
        ("assumed", "status", "Occupied became Preparing: no transaction is known there")
    ]
    assert '"status":"Preparing"' in str(call.canonical)

"""Groups `replay` and `restart`: how fast a backend gets what was stored for it, and how fast a gateway starts with all that."""

import asyncio
import json
import time
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import load, processes
from bench.csms import Heard, csms
from bench.frames import TEXT, frame
from bench.load import Socket, Tally
from bench.processes import Cores, Process, affinity
from bench.report import Figure, Target, show

CHARGERS, MESSAGES = 500, 20  # of each charger: a start, 18 meter values, a stop
ROSTER = 5_000
CONCURRENCY = 64  # chargers at a time
REPLAY, RESTART = Target(1_000, most=False, unit="/s"), Target(5, unit=" s")
BACKEND = 'away = "store"\nbackoff_min = 0.1\nbackoff_max = 1'
ROUTE = 'away_authorize = "all"\naway_answers = ["BootNotification"]\n[replay]\nrate = 1000000'


def replay(console: Console, quick: bool) -> None:
    """Measure and print how fast it is replayed."""
    chargers = CHARGERS // 5 if quick else CHARGERS
    cores = Cores.mine()
    with affinity(cores.asking):
        heard, storing = load.run(_replayed(cores, chargers))
    rate = (heard.count - 1) / (heard.last - heard.first)
    title = f"{chargers * MESSAGES:,} stored messages of {chargers:,} chargers, told to a backend that is back, without a pace"
    figure = Figure("messages/s", f"{heard.count:,}", f"{heard.last - heard.first:.1f} s", rate, "/s", REPLAY)
    show(console, title, ("messages", "took", "rate"), [figure], [f"they were stored at {storing:,.0f}/s"])


def restart(console: Console, quick: bool) -> None:
    """Measure and print how long a start takes."""
    chargers, roster = (CHARGERS // 5, ROSTER // 5) if quick else (CHARGERS, ROSTER)
    cores = Cores.mine()
    with affinity(cores.asking):
        full, empty = load.run(_restarted(cores, chargers, roster))
    title = f"Seconds from its start until /readyz says yes, with {chargers * MESSAGES:,} stored messages and {roster:,} chargers"
    show(console, title, ("full", "empty", "full"), [Figure("ready", f"{full:.2f} s", f"{empty:.2f} s", full, " s", RESTART)])


async def _replayed(cores: Cores, chargers: int) -> tuple[Heard, float]:
    """What the CSMS heard once it was there, and how many messages a second had been stored before."""
    port, heard, wanted = processes.free_port(), Heard(), chargers * MESSAGES
    with processes.gateway(cores.serving, port, backend=BACKEND, route=ROUTE) as gateway:
        begin = time.perf_counter()
        async with _fleet(gateway, chargers):
            rate = wanted / (time.perf_counter() - begin)
            async with csms(port, heard):
                await _until(heard, wanted)
    return heard, rate


async def _until(heard: Heard, wanted: int) -> None:
    until = time.monotonic() + load.DEADLINE
    while heard.count < wanted:
        if time.monotonic() > until:
            raise TimeoutError(f"expected {wanted:,} messages within {load.DEADLINE:g} s, got {heard.count:,}")
        await asyncio.sleep(0.05)


async def _restarted(cores: Cores, chargers: int, roster: int) -> tuple[float, float]:
    """Seconds that a full gateway takes to start, and an empty one."""
    port = processes.free_port()
    with processes.folder() as full, processes.folder() as empty:
        with processes.gateway(cores.serving, port, backend=BACKEND, route=ROUTE, within=full) as gateway:
            async with _fleet(gateway, chargers):
                pass
            await _boots(gateway, roster)
        took = [await _starts(cores, port, place) for place in (full, empty)]
    return took[0], took[1]


async def _starts(cores: Cores, port: int, place: Path) -> float:
    begin = time.perf_counter()
    with processes.gateway(cores.serving, port, backend=BACKEND, route=ROUTE, within=place) as gateway:
        until = begin + load.DEADLINE
        while not await asyncio.to_thread(_ready, gateway):
            if time.perf_counter() > until:
                raise TimeoutError(f"expected the gateway to be ready within {load.DEADLINE:g} s")
        return time.perf_counter() - begin


def _ready(gateway: Process) -> bool:
    with (
        suppress(urllib.error.HTTPError),
        urllib.request.urlopen(f"http://127.0.0.1:{gateway.admin}/readyz", timeout=10) as answer,
    ):
        return bool(answer.status == 200)
    return False


# --- the fleet


@asynccontextmanager
async def _fleet(gateway: Process, chargers: int) -> AsyncIterator[None]:
    """JSON chargers that have said all that they had to say, and stay."""
    tally = Tally()
    gate = asyncio.Semaphore(CONCURRENCY)

    async def say(number: int) -> Socket:
        async with gate:
            said = _Transaction(number)
            said.socket = await load.charger(gateway.port, number, iter(said), tally)
            await said.socket.said
            return said.socket

    async with AsyncExitStack() as stack:
        for socket in await tally.wait(load.gathered(say(number) for number in range(chargers))):
            stack.callback(socket.close)
        yield


class _Transaction:
    """What one charger says, with the number that it was told."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.socket: Socket | None = None

    def __iter__(self) -> Iterator[bytes]:
        for message_id, (action, payload) in enumerate(self._calls()):
            yield frame(TEXT, json.dumps([2, str(message_id), action, payload]).encode(), masked=True)

    def _calls(self) -> Iterator[tuple[str, dict[str, Any]]]:
        at = "2026-01-01T{:02}:00:00Z".format
        yield "BootNotification", {"chargePointVendor": "Volt", "chargePointModel": "A1"}
        yield "StartTransaction", {"connectorId": 1, "idTag": f"TAG{self.number}", "meterStart": 0, "timestamp": at(0)}
        told = self._told()
        for n in range(1, MESSAGES - 1):
            groups = [{"timestamp": at(n), "sampledValue": [{"value": str(n)}]}]
            yield "MeterValues", {"connectorId": 1, "transactionId": told, "meterValue": groups}
        yield "StopTransaction", {"transactionId": told, "meterStop": 900, "timestamp": at(MESSAGES)}

    def _told(self) -> int:
        assert self.socket is not None
        told: int = json.loads(self.socket.answer)[2]["transactionId"]
        return told


async def _boots(gateway: Process, roster: int) -> None:
    """So many SOAP chargers are known."""
    tally = Tally()
    gate = asyncio.Semaphore(CONCURRENCY)

    async def boot(number: int) -> None:
        async with gate:
            (request,) = load.posts(number, gateway.port, close=True, actions=("BootNotification",))
            await load.post_once(gateway.port, request, tally)

    await tally.wait(load.gathered(boot(number) for number in range(roster)))

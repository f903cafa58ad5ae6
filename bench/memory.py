"""Group `memory`: what an idle charger costs the gateway with its upstream socket, and whether the loop pauses over them."""

import asyncio
import json
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from rich.console import Console

from bench import load, processes
from bench.csms import csms
from bench.load import Socket, Tally
from bench.processes import Cores, Process, affinity
from bench.report import Figure, Target, show

CONCURRENCY = 32  # chargers that arrive at a time
SETTLED = 64 * 1024  # bytes: what RSS may still move by between two looks
PER_SOAP, PER_JSON, PAUSE = Target(60, unit=" KiB"), Target(80, unit=" KiB"), Target(50, unit=" ms")
PROBED = ("bench.probed",)

Fleet = Callable[[Process, int, Tally], Awaitable[list[Socket]]]


@dataclass(frozen=True, slots=True)
class _Cost:
    """RSS before and after in bytes; what the probe saw while nothing happened, in milliseconds."""

    before: int
    after: int
    pause: float
    collection: float
    p999: float


def run(console: Console, quick: bool) -> None:
    """Measure and print."""
    files = processes.raise_file_limit()
    chargers, idle = (1_000, 15.0) if quick else (5_000, 60.0)
    fitting = min(chargers, (files - 500) // 2)  # the JSON fleet needs two files for each, in each process
    cores = Cores.mine()
    with affinity(cores.asking):
        soap = load.run(_measure(cores, _soap_fleet, fitting, idle))
        json_ = load.run(_measure(cores, _json_fleet, fitting, idle))
    figures = [*_figures("SOAP", soap, fitting, PER_SOAP), *_figures("JSON", json_, fitting, PER_JSON)]
    title = f"{fitting:,} idle chargers, each with its upstream socket; {idle:g} s of idling"
    notes = [] if fitting == chargers else [f"not {chargers:,}: the limit of open files is {files:,}"]
    show(console, title, ("with them", "with none", "cost"), figures, notes)


def _figures(wire: str, cost: _Cost, chargers: int, target: Target) -> list[Figure]:
    each = (cost.after - cost.before) / chargers / 1024
    pauses = f"p99.9 {cost.p999:g} ms; longest garbage collection {cost.collection:g} ms"
    return [
        Figure(f"{wire} charger, RSS", _mib(cost.after), _mib(cost.before), each, " KiB", target),
        Figure(f"longest pause over {wire} chargers", "", "", cost.pause, " ms", PAUSE, pauses),
    ]


def _mib(size: int) -> str:
    return f"{size / 2**20:.1f} MiB"


async def _measure(cores: Cores, fleet: Fleet, chargers: int, idle: float) -> _Cost:
    async with csms() as port:
        with processes.gateway(cores.serving, port, PROBED) as gateway:
            before = await asyncio.to_thread(_settled, gateway)
            tally = Tally()
            sockets = await fleet(gateway, chargers, tally)
            await asyncio.to_thread(_upstream, gateway, chargers)
            after = await asyncio.to_thread(_settled, gateway)
            await asyncio.to_thread(gateway.ask, signal.SIGUSR1)
            await tally.wait(asyncio.sleep(idle), idle + load.DEADLINE)
            seen = json.loads(await asyncio.to_thread(gateway.ask, signal.SIGUSR1))
            for socket in sockets:
                socket.close()
    return _Cost(before, after, **seen)


def _upstream(gateway: Process, chargers: int) -> None:
    """Wait until every charger has its socket with the CSMS."""
    sessions = partial(gateway.metric, 'ocpp_gateway_backend_sessions{backend="csms",state="up"}')
    processes.wait_until(lambda: sessions() >= chargers, f"{chargers} sessions with the CSMS")


def _settled(gateway: Process) -> int:
    """RSS, once all records are written and it has not moved for three seconds."""
    gateway.drained()
    last, since = gateway.rss, time.monotonic()

    def still() -> bool:
        nonlocal last, since
        if abs(gateway.rss - last) > SETTLED:
            last, since = gateway.rss, time.monotonic()
        return time.monotonic() - since > 3

    processes.wait_until(still, "memory that does not move")
    return gateway.rss


async def _soap_fleet(gateway: Process, chargers: int, tally: Tally) -> list[Socket]:
    """Each says one BootNotification over a connection that is closed again."""
    places = asyncio.Semaphore(CONCURRENCY)

    async def boot(number: int) -> None:
        post = load.posts(number, gateway.port, close=True, actions=("BootNotification",))[0]
        async with places:
            await load.post_once(gateway.port, post, tally)

    await tally.wait(load.gathered([boot(number) for number in range(chargers)]))
    return []


async def _json_fleet(gateway: Process, chargers: int, tally: Tally) -> list[Socket]:
    """Each connects, says one BootNotification, and stays."""
    places = asyncio.Semaphore(CONCURRENCY)
    boot = load.calls(actions=("BootNotification",))

    async def arrive(number: int) -> Socket:
        async with places:
            socket = await load.charger(gateway.port, number, iter(boot), tally)
            await socket.said
            return socket

    return await tally.wait(load.gathered([arrive(number) for number in range(chargers)]))

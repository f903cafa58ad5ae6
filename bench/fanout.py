"""Group `fanout`: what listeners cost. The gateway with none, one, two and four of them, under the same load, by turns."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack, ExitStack
from statistics import median
from typing import Any

from rich.console import Console

from bench import load, processes
from bench.csms import csms
from bench.load import Rate
from bench.processes import Cores, Process, affinity
from bench.report import Figure, Target, show

CALLERS = 64
LISTENERS = (0, 1, 2, 4)
EACH = Target(15, unit=" %")
PATTERNS: tuple[tuple[str, Callable[[int, int, float], Coroutine[Any, Any, Rate]]], ...] = (
    ("SOAP charger, keep-alive", load.keep_alive),
    ("JSON charger", load.over_websocket),
)


def run(console: Console, quick: bool) -> None:
    """Measure and print."""
    cores = Cores.mine()
    with affinity(cores.asking):
        load.run(_measure(console, cores, *((1, 1.0) if quick else (3, 1.5))))


async def _measure(console: Console, cores: Cores, repeats: int, seconds: float) -> None:
    async with AsyncExitStack() as stack:
        ports = [await stack.enter_async_context(csms()) for _ in range(1 + max(LISTENERS))]
        with ExitStack() as running:
            made = [
                running.enter_context(processes.gateway(cores.serving, ports[0], listeners=ports[1 : n + 1])) for n in LISTENERS
            ]
            gateways = dict(zip(LISTENERS, made, strict=True))
            figures = [each for pattern in PATTERNS for each in await _compared(gateways, *pattern, repeats, seconds)]
            dropped = sum(gateway.metric("ocpp_gateway_listener_dropped_total") for gateway in made)
    title = f"{CALLERS} chargers in a closed loop, calls/s on one core with so many listeners, and what each of them takes of it"
    notes = [f"messages that listeners did not get because their queues were full: {dropped:,.0f}"]
    show(console, title, ("with", "without", "each"), figures, notes)


async def _compared(
    gateways: dict[int, Process],
    name: str,
    pattern: Callable[[int, int, float], Coroutine[Any, Any, Rate]],
    repeats: int,
    seconds: float,
) -> list[Figure]:
    turns = [{n: await _cost(gateway, pattern, seconds) for n, gateway in gateways.items()} for _ in range(repeats)]
    return [_figure(name, n, turns) for n in LISTENERS[1:]]


async def _cost(
    gateway: Process, pattern: Callable[[int, int, float], Coroutine[Any, Any, Rate]], seconds: float
) -> tuple[float, float]:
    """Calls per second, and processor seconds per call with all that listeners hear of it."""
    begin = gateway.cpu
    reached = await pattern(gateway.port, CALLERS, seconds)
    await asyncio.to_thread(gateway.drained)
    await _idle(gateway)
    return reached.per_second, (gateway.cpu - begin) / reached.calls


async def _idle(gateway: Process) -> None:
    """Until listeners have heard what was queued for them."""
    until = time.monotonic() + load.DEADLINE
    while gateway.metric("ocpp_gateway_backend_queue"):
        if time.monotonic() > until:
            raise TimeoutError(f"expected listeners to have heard all within {load.DEADLINE:g} s")
        await asyncio.sleep(0.05)


def _figure(name: str, listeners: int, turns: list[dict[int, tuple[float, float]]]) -> Figure:
    rates = [median(turn[n][0] for turn in turns) for n in (listeners, 0)]
    by_rate = median(1 - turn[listeners][0] / turn[0][0] for turn in turns)
    by_cost = median(turn[listeners][1] / turn[0][1] for turn in turns)
    note = f"{1 - by_rate:.2f} of the rate; processor time per call {by_cost:.2f}-fold"
    label = f"{name}, {listeners} listener{'s' if listeners > 1 else ''}"
    return Figure(label, f"{rates[0]:,.0f}", f"{rates[1]:,.0f}", 100 * by_rate / listeners, " %", EACH, note)

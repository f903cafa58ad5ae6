"""Group `throughput`: the running gateway against the bare relay, under the same load, by turns, on the same core."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

from rich.console import Console

from bench import load, processes
from bench.csms import csms
from bench.load import Latency, Rate
from bench.processes import Cores, Process, affinity
from bench.report import Figure, Target, show

Pattern = Callable[[int, int, float], Coroutine[Any, Any, Rate]]

CALLERS = 64
ARRIVALS = 500.0  # calls per second of the open loop
PATTERNS: tuple[tuple[str, Pattern, Target], ...] = (
    ("SOAP charger, keep-alive", load.keep_alive, Target(0.35, most=False)),
    ("SOAP charger, a connection per call", load.per_call, Target(0.5, most=False)),
    ("JSON charger", load.over_websocket, Target(0.4, most=False)),
)
P99 = Target(10, unit=" ms")


@dataclass(frozen=True, slots=True)
class _Run:
    """One window: calls per second, processor seconds per call, and how much of its core the server used."""

    rate: float
    cost: float
    busy: float


def run(console: Console, quick: bool) -> None:
    """Measure and print."""
    cores = Cores.mine()
    with affinity(cores.asking):
        load.run(_measure(console, cores, *((2, 2.0) if quick else (5, 3.0))))


async def _measure(console: Console, cores: Cores, repeats: int, seconds: float) -> None:
    async with csms() as port:
        with processes.gateway(cores.serving, port) as gateway, processes.bare(cores.serving, port) as bare:
            rates = [await _compare(gateway, bare, *pattern, repeats, seconds) for pattern in PATTERNS]
            latencies = await _latencies(gateway, bare, repeats, 2 * seconds)
            shed = gateway.metric("ocpp_gateway_traffic_shed_total")
    title = f"{CALLERS} chargers in a closed loop, calls/s on one core / bare relay of the same libraries"
    notes = [f"traffic records shed in all these runs: {shed:,.0f}", _placement(cores)]
    show(console, title, ("gateway", "bare", "ratio"), rates, notes)
    title = f"SOAP chargers at {ARRIVALS:g} calls/s, Poisson arrivals, latency from the moment a call was due"
    show(console, title, ("gateway", "bare", "p99"), latencies)


def _placement(cores: Cores) -> str:
    if cores.serving == cores.asking:
        return "one core only: load, CSMS and server share it, so these figures say little"
    return f"server on core {cores.serving}; load and CSMS on core {cores.asking}"


async def _compare(
    gateway: Process, bare: Process, name: str, pattern: Pattern, target: Target, repeats: int, seconds: float
) -> Figure:
    pairs = [(await _closed(gateway, pattern, seconds), await _closed(bare, pattern, seconds)) for _ in range(repeats)]
    ours, theirs = (_middle_run(runs) for runs in zip(*pairs, strict=True))
    by_rate, by_cost = median(a.rate / b.rate for a, b in pairs), median(b.cost / a.cost for a, b in pairs)
    # Where a core was not busy, neighbours or the load held that server back, and the ratio by rate says less.
    note = f"cores busy {ours.busy:.0%} and {theirs.busy:.0%}; "
    note += f"by processor {by_cost:.2f}, {1e6 * ours.cost:.0f} and {1e6 * theirs.cost:.0f} µs a call"
    return Figure(name, f"{ours.rate:,.0f}", f"{theirs.rate:,.0f}", by_rate, target=target, note=note)


async def _closed(process: Process, pattern: Pattern, seconds: float) -> _Run:
    begin, since = process.cpu, time.perf_counter()
    reached = await pattern(process.port, CALLERS, seconds)
    busy = (process.cpu - begin) / (time.perf_counter() - since)
    if process.admin:  # what the gateway still has to write is its own cost, and not to be paid by the bare relay
        await asyncio.to_thread(process.drained)
    return _Run(reached.per_second, (process.cpu - begin) / reached.calls, busy)


def _middle_run(runs: Iterable[_Run]) -> _Run:
    rates, costs, busy = zip(*((run.rate, run.cost, run.busy) for run in runs), strict=True)
    return _Run(median(rates), median(costs), median(busy))


async def _latencies(gateway: Process, bare: Process, repeats: int, seconds: float) -> list[Figure]:
    pairs = [(await _open(gateway.port, seconds), await _open(bare.port, seconds)) for _ in range(repeats)]
    ours, theirs = (_middle(runs) for runs in zip(*pairs, strict=True))
    return [
        Figure("p50", f"{ours.p50:.2f} ms", f"{theirs.p50:.2f} ms", ours.p50, " ms"),
        Figure("p99", f"{ours.p99:.2f} ms", f"{theirs.p99:.2f} ms", ours.p99, " ms", P99),
    ]


async def _open(port: int, seconds: float) -> Latency:
    return await load.open_loop(port, CALLERS, ARRIVALS, seconds)


def _middle(runs: Iterable[Latency]) -> Latency:
    p50, p99 = zip(*((run.p50, run.p99) for run in runs), strict=True)
    return Latency(median(p50), median(p99))

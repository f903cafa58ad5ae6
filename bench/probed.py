"""The gateway as it is, with a probe in its loop: a ticker that knows by how much it was late.

`python -m bench.probed CONFIG` runs until it is terminated. At SIGUSR1 it prints what the probe has seen since the last
one, as a line of JSON: the longest pause of the loop, the longest garbage collection, and how late the ticker is at the
99.9th percentile, in milliseconds.
"""

import asyncio
import gc
import json
import signal
import sys
import time
from array import array
from itertools import accumulate
from pathlib import Path

import uvloop

from gateway.app import Gateway
from gateway.loading import load
from gateway.log import configure

TICK = 0.001  # seconds; also the resolution of the loop's timers
WIDTH, BUCKETS = 0.0001, 2000  # seconds of one bucket of the histogram; how many there are


class Probe:
    """Watches the loop and the garbage collector. It takes no more memory the longer it runs: that is measured too."""

    def __init__(self) -> None:
        self._begin()
        self._collecting = 0.0
        gc.callbacks.append(self._collection)

    def _begin(self) -> None:
        self._pause = self._longest_collection = 0.0
        self._counts = array("Q", [0] * BUCKETS)

    def _collection(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._collecting = time.perf_counter()
        else:
            self._longest_collection = max(self._longest_collection, time.perf_counter() - self._collecting)

    async def tick(self) -> None:
        """Never returns."""
        last = time.perf_counter()
        while True:
            await asyncio.sleep(TICK)
            now = time.perf_counter()
            late = max(0.0, now - last - TICK)
            self._pause = max(self._pause, late)
            self._counts[min(BUCKETS - 1, int(late / WIDTH))] += 1
            last = now

    def _late(self, share: float) -> float:
        """What this share of the ticks kept to."""
        below = accumulate(self._counts)
        wanted = share * sum(self._counts)
        return WIDTH * next(bucket for bucket, count in enumerate(below, 1) if count >= wanted)

    def report(self) -> None:
        """Print what was seen, and begin again."""
        seen = {"pause": self._pause, "collection": self._longest_collection, "p999": self._late(0.999)}
        self._begin()
        print(json.dumps({name: round(1e3 * value, 2) for name, value in seen.items()}), flush=True)


async def _main(path: Path) -> None:
    config = load(path)
    configure(config.log)
    gateway = Gateway(config)
    loop, stop, probe = asyncio.get_running_loop(), asyncio.Event(), Probe()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGUSR1, probe.report)
    await gateway.start()
    ticker = asyncio.create_task(probe.tick())
    await stop.wait()
    ticker.cancel()
    await gateway.stop()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main(Path(sys.argv[1])))

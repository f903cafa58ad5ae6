"""What one input costs: CPU time and memory of reading it, measured in a process of its own that is forked for it.

`python -m tests.cost` is that process; `Meter` starts it. What it reads it may not survive: then that is the outcome.
"""

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import IO, NamedTuple

import pytest

from gateway.chargers.body import BodyError, unpack
from translations import ocppj, soap
from translations.errors import OcppError
from translations.messages import Message
from translations.step import MOST

MEBIBYTE = 1024 * 1024
LIMIT = MEBIBYTE  # of a body and of a frame, as it is unless configured otherwise
SECONDS, MEBIBYTES = 3.0, 100.0  # far above noise; attacks that succeed take minutes and gigabytes
STAMP = "2024-05-01T10:00:00Z"
_CPU_MOST, _MEMORY_MOST = 20, 4096 * MEBIBYTE  # what the machine is spared, far above what a test allows


class Cost(NamedTuple):
    """Seconds of CPU, MiB of memory, and what came of it: `taken`, or the code and text of the refusal."""

    seconds: float
    mebibytes: float
    outcome: str
    remarks: int

    @property
    def refused(self) -> bool:
        return self.outcome != "taken"


class Meter:
    """Measures one input after the other."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdin is not None and process.stdout is not None
        self._to: IO[bytes] = process.stdin
        self._answers: IO[bytes] = process.stdout
        self.costs: dict[str, Cost] = {}

    def measure(self, name: str, door: str, data: bytes) -> Cost:
        """What it costs to read this at that door; kept under its name."""
        self._to.write(f"{door} {len(data)}\n".encode() + data)
        self._to.flush()
        cost = Cost(*json.loads(self._answers.readline()))
        self.costs[name] = cost
        return cost

    def check(self, name: str, door: str, data: bytes) -> Cost:
        """The same, within what a message of the largest size may cost."""
        cost = self.measure(name, door, data)
        assert cost.seconds < SECONDS
        assert cost.mebibytes < MEBIBYTES
        assert cost.remarks <= 2 * (MOST + 1)  # of the headers, and of the body
        assert len(cost.outcome) < 400
        assert cost.outcome.isprintable()
        return cost

    def table(self) -> Iterator[str]:
        """A line for each input."""
        yield f"{'what':44} {'CPU':>8} {'memory':>9}  outcome"
        for name, cost in self.costs.items():
            outcome = f"{cost.outcome[:60]}{f', {cost.remarks} remarks' if cost.remarks else ''}"
            yield f"{name:44} {cost.seconds * 1000:5.0f} ms {cost.mebibytes:5.0f} MiB  {outcome}"


@contextmanager
def meter(config: pytest.Config) -> Iterator[Meter]:
    """A process that measures. What it found is told in the end: in CI, and by `pytest -v`."""
    command = [sys.executable, "-m", "tests.cost"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=config.rootpath) as process:
        meter = Meter(process)
        yield meter
        assert process.stdin is not None
        process.stdin.close()
        process.wait(10)
    if os.environ.get("CI") or config.get_verbosity() >= 0:
        _tell(config, ["", *meter.table()])


def _tell(config: pytest.Config, lines: list[str]) -> None:
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    capture = config.pluginmanager.get_plugin("capturemanager")
    if reporter is not None and capture is not None:
        with capture.global_and_fixture_disabled():
            for line in lines:
                reporter.write_line(line)


# --- in the process that measures --------------------------------------------------------------------------------------


def _envelope(data: bytes) -> Message:
    return soap.decode(data, None, STAMP)[1]


def _packed(data: bytes) -> Message:
    return _envelope(unpack(data, "gzip", LIMIT)[0])


def _frame(data: bytes) -> Message:
    message = ocppj.decode(data)
    ocppj.encode(message)
    return message


def _end(data: bytes) -> Message:
    os.abort()


DOORS: Mapping[str, Callable[[bytes], Message]] = MappingProxyType(
    {"soap": _envelope, "gzip": _packed, "frame": _frame, "end": _end}
)
_WARM = (
    b'<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope"><e:Body><heartbeatRequest xmlns="%s"/></e:Body></e:Envelope>'
)


def _main() -> None:
    for namespace in (b"urn://Ocpp/Cs/2010/08/", b"urn://Ocpp/Cs/2012/06/", b"urn://Ocpp/Cs/2015/10/"):
        _envelope(_WARM % namespace)
    _frame(b'[2,"1","Heartbeat",{}]')
    while order := sys.stdin.buffer.readline():
        door, size = order.decode().split()
        _report(DOORS[door], sys.stdin.buffer.read(int(size)))


def _report(door: Callable[[bytes], Message], data: bytes) -> None:
    child = os.fork()
    if child == 0:
        _measure(door, data)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
        _say(Cost(_CPU_MOST, _MEMORY_MOST / MEBIBYTE, f"died of {status}", 0))


def _measure(door: Callable[[bytes], Message], data: bytes) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (_CPU_MOST, _CPU_MOST))
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_MOST, _MEMORY_MOST))
    before = resource.getrusage(resource.RUSAGE_SELF)
    outcome, remarks = _outcome(door, data)
    after = resource.getrusage(resource.RUSAGE_SELF)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    _say(Cost(seconds, (after.ru_maxrss - before.ru_maxrss) / 1024, outcome, remarks))


def _outcome(door: Callable[[bytes], Message], data: bytes) -> tuple[str, int]:
    try:
        return "taken", len(door(data).remarks)
    except OcppError as error:
        return f"{error.code}: {error.text}", 0
    except BodyError as error:
        return f"HTTP {error.status}: {error.text}", 0


def _say(cost: Cost) -> None:
    sys.stdout.write(json.dumps(cost) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _main()

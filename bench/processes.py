"""The processes that are measured: started on a core of their own, watched through /proc, ended with the bench."""

import contextlib
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

START, STOP = 30.0, 20.0  # seconds
_TICK = os.sysconf("SC_CLK_TCK")

CONFIGURATION = """
[server]
port = {port}
[admin]
port = {admin}
[state]
path = "{folder}/state.db"
[traffic]
path = "{folder}/traffic.db"
{traffic}
[log]
level = "info"
"""
BACKEND = """
[[backends]]
name = "{name}"
kind = "ocppj"
url = "ws://127.0.0.1:{port}/ocpp/{{identity}}"
{more}
"""


@dataclass(frozen=True, slots=True)
class Cores:
    """Which core serves, and which one asks and answers. One and the same where there is only one."""

    serving: int
    asking: int

    @classmethod
    def mine(cls) -> "Cores":
        cores = sorted(os.sched_getaffinity(0))
        return cls(cores[0], cores[-1])


@dataclass(frozen=True, slots=True)
class Process:
    """A running server. `admin` is the gateway's other port."""

    popen: subprocess.Popen[str]
    port: int
    admin: int = 0

    @property
    def cpu(self) -> float:
        """Seconds of processor time until now."""
        fields = Path(f"/proc/{self.popen.pid}/stat").read_text("ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICK

    @property
    def rss(self) -> int:
        """Resident memory in bytes."""
        status = Path(f"/proc/{self.popen.pid}/status").read_text("ascii")
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024

    def metric(self, name: str) -> float:
        """One of the gateway's metrics; without labels in the name, the sum over all that it has."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))

    def drained(self) -> None:
        """Wait until the gateway has written all its records."""
        wait_until(lambda: not self.metric("ocpp_gateway_traffic_queue"), "an empty queue of traffic records")

    def ask(self, number: int) -> str:
        """Send a signal, and read the line that the process says then."""
        assert self.popen.stdout is not None
        self.popen.send_signal(number)
        readable, _, _ = select.select([self.popen.stdout], [], [], STOP)
        if not readable:
            raise TimeoutError(f"expected a line within {STOP:g} s, got none")
        return self.popen.stdout.readline()


def wait_until(holds: Callable[[], bool], what: str, deadline: float = 60) -> None:
    """Look again and again. Raises TimeoutError."""
    until = time.monotonic() + deadline
    while not holds():
        if time.monotonic() > until:
            raise TimeoutError(f"expected {what} within {deadline:g} s")
        time.sleep(0.1)


@contextmanager
def affinity(core: int) -> Iterator[None]:
    """Run on one core meanwhile; what is started inherits it."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def bare(core: int, csms: int) -> Iterator[Process]:
    """The bare relay."""
    port = free_port()
    with _running([sys.executable, "-m", "bench.peers", str(port), str(csms)], core, port) as process:
        yield process


@contextmanager
def folder() -> Iterator[Path]:
    """For what a gateway writes; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="ocpp-gateway-bench-") as made:
        yield Path(made)


@contextmanager
def gateway(
    core: int,
    csms: int,
    program: Sequence[str] = ("gateway", "serve", "-c"),
    listeners: Sequence[int] = (),
    backend: str = "",
    route: str = "",
    within: Path | None = None,
    traffic: str = "",
) -> Iterator[Process]:
    """The gateway with everything on, its log in a file; `program` may be one that starts it with a probe.

    `listeners` are the ports of backends that hear; `backend` and `route` are more keys of the first one, `traffic` those of the
    log, in TOML. It takes over what an earlier one has left `within` a folder.
    """
    with folder() if within is None else contextlib.nullcontext(within) as place:
        port, admin = free_port(), free_port()
        names = [f"listener-{n}" for n in range(len(listeners))]
        backends = [BACKEND.format(name="csms", port=csms, more=backend)]
        backends += [BACKEND.format(name=name, port=each, more="") for name, each in zip(names, listeners, strict=True)]
        routes = f'[[routes]]\nanswer = ["csms"]\nlisten = {names}\n{route}\n'
        config = place / "gateway.toml"
        config.write_text(
            CONFIGURATION.format(port=port, admin=admin, folder=place, traffic=traffic) + "".join(backends) + routes, "utf-8"
        )
        command = [sys.executable, "-m", *program, str(config)]
        with _running(command, core, port, admin, place / "gateway.log") as process:
            yield process


@contextmanager
def _running(command: list[str], core: int, port: int, admin: int = 0, log: Path | None = None) -> Iterator[Process]:
    with contextlib.ExitStack() as stack:
        errors = stack.enter_context(log.open("w")) if log else None
        with affinity(core):
            popen = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True)
        stack.callback(_stop, popen)
        for listening in filter(None, (port, admin)):
            _await_port(popen, listening, log)
        yield Process(popen, port, admin)


def _await_port(popen: subprocess.Popen[str], port: int, log: Path | None) -> None:
    until = time.monotonic() + START
    while time.monotonic() < until and popen.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    said = log.read_text("utf-8")[-2000:] if log else ""
    raise RuntimeError(f"expected {popen.args!r} to listen within {START:g} s, it did not: {said}")


def _stop(popen: subprocess.Popen[str]) -> None:
    popen.send_signal(signal.SIGTERM)
    try:
        popen.communicate(timeout=STOP)
    except subprocess.TimeoutExpired:
        popen.kill()
        popen.communicate()


def free_port() -> int:
    """One on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


def raise_file_limit() -> int:
    """As many open files as this user may have; how many these are."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard

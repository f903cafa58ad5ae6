"""A gateway in a process of its own, under attack: good chargers are answered meanwhile, and its memory stays bounded."""

import asyncio
import contextlib
import gzip
import re
import resource
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException
from websockets.typing import Subprotocol

from tests.cost import LIMIT
from tests.peers.envelopes import SOAP_TYPE, envelope, post
from translations.ocppj import MAX_VALUES

DEADLINE = 30.0
ORDINARY = 3.0  # seconds; both ends share two cores here, and a good charger waits for a minute
ROUNDS = 10
MEMORY = 250  # MiB more than before: 64 wait to be written to the log, and what was freed need not be given back
SILENT = 2000  # connections
NUMBERS = count(1)


class Target(NamedTuple):
    """A gateway that serves, and its port for chargers."""

    process: Process
    port: int

    def memory(self) -> float:
        """What it has of the machine's memory, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text("ascii")
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found
        return int(found[1]) / 1024


@pytest.fixture
def many_files() -> Iterator[None]:
    """Room for thousands of connections, here and in the process that is started."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 16_384 if hard == resource.RLIM_INFINITY else min(hard, 16_384)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
async def target(tmp_path: Path, many_files: None) -> AsyncIterator[Target]:
    (tmp_path / "gateway.toml").write_text("[server]\nport = 0\ndrain = '0.1s'\n[admin]\nport = 0\n")
    command = (sys.executable, "-m", "gateway", "serve", "-c", "gateway.toml")
    environment = {"PYTHONPATH": str(Path(__file__).parents[1]), "PATH": ""}
    with (tmp_path / "told").open("wb") as told:
        process = await asyncio.create_subprocess_exec(*command, cwd=tmp_path, env=environment, stdout=PIPE, stderr=told)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE):
            greeting = await process.stdout.readuntil(b"traffic list\n")
        found = re.search(rb"SOAP chargers .* http://127\.0\.0\.1:(\d+)/soap", greeting)
        assert found
        yield Target(process, int(found[1]))
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


# --- attacks: each goes on until it is cancelled -----------------------------------------------------------------------


def head(length: int, more: str = "") -> bytes:
    lines = f"POST /soap HTTP/1.1\r\nHost: x\r\nContent-Type: {SOAP_TYPE}\r\nContent-Length: {length}\r\n{more}\r\n"
    return lines.encode()


async def said(port: int, *parts: bytes) -> None:
    """Say it on a connection of its own, and hear whatever comes back."""
    with contextlib.suppress(OSError):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.writelines(parts)
            await writer.drain()
            while await reader.read(65536):
                pass
        finally:
            writer.transport.abort()


def posting(body: bytes, more: str = "") -> Callable[[int], Coroutine[Any, Any, None]]:
    async def attack(port: int) -> None:
        while True:
            await said(port, head(len(body), f"Connection: close\r\n{more}"), body)

    return attack


def holding(begun: bytes, connections: int) -> Callable[[int], Coroutine[Any, Any, None]]:
    """Connections that say so much and no more."""

    async def attack(port: int) -> None:
        while True:
            await asyncio.gather(*(said(port, begun) for _ in range(connections)))

    return attack


def framing(frame: str | bytes) -> Callable[[int], Coroutine[Any, Any, None]]:
    async def attack(port: int) -> None:
        while True:
            with contextlib.suppress(OSError, TimeoutError, WebSocketException):
                async with charger(port, f"BAD-{next(NUMBERS)}") as connection:
                    await flooded(connection, frame)

    return attack


async def flooded(connection: ClientConnection, frame: str | bytes) -> None:
    """Send it again and again until the other end closes."""
    hearing = asyncio.create_task(drained(connection))
    try:
        while not hearing.done():
            await connection.send(frame)
            await asyncio.wait({hearing}, timeout=0)
    finally:
        hearing.cancel()
        await asyncio.wait({hearing})


async def drained(connection: ClientConnection) -> None:
    with contextlib.suppress(WebSocketException):
        async for _ in connection:
            pass


@asynccontextmanager
async def charger(port: int, identity: str) -> AsyncIterator[ClientConnection]:
    url, names = f"ws://127.0.0.1:{port}/ocpp/{identity}", [Subprotocol("ocpp1.6")]
    async with connect(url, subprotocols=names, compression=None, proxy=None, max_size=None, close_timeout=1) as connection:
        yield connection


LISTS = b'[2,"1","DataTransfer",{"vendorId":"V","data":[' + b"[]," * ((LIMIT - 100) // 3) + b"[]]}]"
MOST_LISTS = b'[2,"1","DataTransfer",{"vendorId":"V","data":[' + b"[]," * (MAX_VALUES - 10) + b"[]]}]"
UNKNOWN = envelope("<bootNotificationRequest>" + "<a/>" * ((LIMIT - 1000) // 4) + "</bootNotificationRequest>")
ATTACKS: Mapping[str, tuple[int, Callable[[int], Coroutine[Any, Any, None]]]] = MappingProxyType(
    {
        "bodies that do not come": (1, holding(head(1000) + b"<s:Envelope", 300)),
        "heads that do not end": (1, holding(b"POST /soap HTTP/1.1\r\nHost: x\r\n", 300)),
        "connections that say nothing": (1, holding(b"", SILENT)),
        "bad envelopes": (8, posting(b"<a>" * 1000)),
        "envelopes of unknown elements": (2, posting(UNKNOWN)),
        "bodies over the limit": (4, posting(bytes(8 * LIMIT))),
        "gzip bombs": (8, posting(gzip.compress(bytes(2**26)), "Content-Encoding: gzip\r\n")),
        "a gzip of unknown elements": (2, posting(gzip.compress(UNKNOWN), "Content-Encoding: gzip\r\n")),
        "malformed frames": (4, framing("[2,")),
        "binary noise": (4, framing(b"\xff" * 1000)),
        "frames of empty lists": (1, framing(LISTS)),
        "frames of the most lists": (1, framing(MOST_LISTS)),
        "frames over the limit": (4, framing(b"[" * (2 * LIMIT))),
        "calls that never wait for their answers": (2, framing('[2,"1","Heartbeat",{}]')),
    }
)


@asynccontextmanager
async def under(name: str, target: Target) -> AsyncIterator[None]:
    """While this attack goes on."""
    number, attack = ATTACKS[name]
    attackers = [asyncio.create_task(attack(target.port)) for _ in range(number)]
    yield
    assert not any(task.done() for task in attackers)
    for task in attackers:
        task.cancel()
    await asyncio.wait(attackers, timeout=DEADLINE)


# --- meanwhile ---------------------------------------------------------------------------------------------------------


async def soap_seconds(target: Target) -> float:
    """How long a good SOAP charger waits for its answer."""
    started = time.perf_counter()
    response = await post(target.port, envelope(identity="GOOD-SOAP"))
    assert response.status == 200
    return time.perf_counter() - started


async def json_seconds(connection: ClientConnection, number: int) -> float:
    """The same of a good JSON charger."""
    started = time.perf_counter()
    await connection.send(f'[2,"{number}","Heartbeat",{{}}]')
    answer = str(await connection.recv())
    assert answer.startswith(f'[3,"{number}",')
    return time.perf_counter() - started


@pytest.mark.parametrize("name", ATTACKS)
async def test_good_chargers_are_answered_meanwhile(target: Target, name: str) -> None:
    async with AsyncExitStack() as stack:
        good = await stack.enter_async_context(charger(target.port, "GOOD-JSON"))
        before = [await soap_seconds(target), await json_seconds(good, 0), target.memory()][-1]
        await stack.enter_async_context(under(name, target))
        async with asyncio.timeout(DEADLINE):
            waits = [max(await asyncio.gather(soap_seconds(target), json_seconds(good, i))) for i in range(1, ROUNDS + 1)]
    assert max(waits) < ORDINARY
    assert target.memory() - before < MEMORY
    assert target.process.returncode is None

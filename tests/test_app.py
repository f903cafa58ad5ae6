"""gateway.app: from start to stop, in this process and in one of its own."""

import asyncio
import contextlib
import re
import signal
import socket
import sqlite3
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from gateway import app
from gateway.app import Gateway
from gateway.config import Admin, Config, Server, State, Traffic
from gateway.redaction.redactor import Redactor
from gateway.roster import Registration
from gateway.roster import State as Presence
from gateway.state.store import StateError
from tests.peers.envelopes import Response, envelope, post
from translations.messages import Version

DEADLINE = 10.0
BOOT = (
    "<bootNotificationRequest><chargePointVendor>Volt</chargePointVendor><chargePointModel>A1</chargePointModel>"
    "</bootNotificationRequest>"
)

Start = Callable[..., Awaitable[Gateway]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Starts gateways with the embedded backend, and stops them in the end."""
    async with AsyncExitStack() as stack:

        async def start_one(**sections: Any) -> Gateway:
            quick = {"server": Server(port=0, drain=0.1), "admin": Admin(port=0)}
            files = {"state": State(path=tmp_path / "state.db"), "traffic": Traffic(path=tmp_path / "traffic.db")}
            gateway = Gateway(Config(**quick | files | sections))
            stack.push_async_callback(stop, gateway)
            await gateway.start()
            return gateway

        yield start_one


async def stop(gateway: Gateway) -> None:
    if not gateway.stopping:
        await gateway.stop()


async def readiness(gateway: Gateway) -> tuple[int, str]:
    url = f"http://127.0.0.1:{gateway.ports[1]}/readyz"
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.text()


async def becomes(gateway: Gateway, status: int) -> str:
    """The text when the readiness has come to this."""
    async with asyncio.timeout(DEADLINE):
        while (found := await readiness(gateway))[0] != status:
            pass
    return found[1]


# --- in this process


async def test_both_ports_are_found_when_any_will_do(start: Start) -> None:
    gateway = await start()
    first, second = gateway.ports
    assert first != second
    assert (await post(first, envelope())).status == 200
    assert await readiness(gateway) == (200, "ok\n")


async def test_after_a_stop_nobody_listens(start: Start) -> None:
    gateway = await start()
    ports = gateway.ports
    await gateway.stop()
    for port in ports:
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)


async def test_what_belongs_to_no_door_is_told_of_both(start: Start) -> None:
    gateway = await start()
    reply = await post(gateway.ports[0], b"", "/CentralSystemService")
    assert reply.status == 404
    assert b"/soap" in reply.body and b"/ocpp/{identity}" in reply.body


async def test_without_a_traffic_log_there_is_no_file(start: Start, tmp_path: Path) -> None:
    gateway = await start(traffic=Traffic(enabled=False, path=tmp_path / "traffic.db"))
    assert (await post(gateway.ports[0], envelope())).status == 200
    await gateway.stop()
    assert not (tmp_path / "traffic.db").exists()


async def test_state_survives_a_restart(start: Start) -> None:
    first = await start()
    assert (await post(first.ports[0], envelope(BOOT, identity="Cp-1"))).status == 200
    await first.stop()
    known = (await start()).roster.get("CP-1")
    assert known is not None
    assert (known.identity, known.version, known.state) == ("Cp-1", Version.V15, Presence.HERE)
    assert (known.registration, known.boot) == (
        Registration.ACCEPTED,
        {"chargePointVendor": "Volt", "chargePointModel": "A1"},
    )


async def test_a_charger_that_was_here_can_be_called_after_a_restart(start: Start) -> None:
    first = await start()
    await post(first.ports[0], envelope())
    await first.stop()
    known = (await start()).roster.get("CP-1")
    assert known is not None and known.link is not None


async def test_a_state_that_cannot_be_saved_is_told_once_and_saved_later(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(app, "TICK", 0.01)
    gateway = await start()
    gateway.state._open().execute("PRAGMA busy_timeout = 1")  # not the whole five seconds
    with structlog.testing.capture_logs() as log, closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        gateway.roster.heard("CP-1", Version.V15, "", "")
        said = await becomes(gateway, 503)
        while not gateway._saving:  # the answers about transactions cannot be written either, and that may be told first
            said = await becomes(gateway, 503)
        assert re.fullmatch(r"(state: .*state\.db: cannot be written: database is locked\n)+", said)
        other.execute("ROLLBACK")
        assert await becomes(gateway, 200) == "ok\n"
    errors = [line["event"] for line in log if line["log_level"] == "error"]
    assert [event for event in errors if event != "transactions.unwritable"] == ["state.unwritable"]
    assert [charger.identity for charger in gateway.state.load()] == ["CP-1"]


async def test_a_silent_charger_leaves_by_itself(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "TICK", 0.01)
    gateway = await start()
    charger = gateway.roster.heard("CP-1", Version.V15, "", "")
    charger.last_seen -= 10_000
    async with asyncio.timeout(DEADLINE):
        while charger.state is Presence.HERE:  # noqa: ASYNC110 - a table, without an event to wait for
            await asyncio.sleep(0.001)


async def test_a_start_that_fails_can_be_stopped(tmp_path: Path) -> None:
    config = Config(server=Server(port=0), admin=Admin(port=0), state=State(path=tmp_path / "nowhere" / "state.db"))
    gateway = Gateway(config, Redactor(config, bytes(32)))
    with pytest.raises(StateError, match="cannot be used as the state file"):
        await gateway.start()
    await gateway.stop()


async def test_a_port_that_is_taken_fails_the_start_and_frees_the_other(start: Start) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"in use .*{port}"):
            await start(admin=Admin(port=port))


# --- in a process of its own


class Serving:
    """A process that serves, and where its greeting says that it is."""

    def __init__(self, process: Process, greeting: str) -> None:
        self.process, self.greeting = process, greeting

    def url(self, pattern: str) -> str:
        found = re.search(pattern, self.greeting)
        assert found, self.greeting
        return found[1]

    @property
    def port(self) -> int:
        return int(self.url(r"SOAP chargers .* http://127\.0\.0\.1:(\d+)/soap"))

    async def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """Exit code and stderr."""
        self.process.send_signal(number)
        async with asyncio.timeout(DEADLINE):
            _, told = await self.process.communicate()
        return self.process.returncode or 0, told.decode()


async def launch(folder: Path, text: str) -> Process:
    (folder / "gateway.toml").write_text(text)
    command = ("-m", "gateway", "serve", "-c", "gateway.toml")
    environment = {"PYTHONPATH": str(Path(__file__).parents[1]), "PATH": ""}
    return await asyncio.create_subprocess_exec(sys.executable, *command, cwd=folder, env=environment, stdout=PIPE, stderr=PIPE)


@asynccontextmanager
async def serving(folder: Path, more: str = "", drain: str = "5s") -> AsyncIterator[Serving]:
    process = await launch(folder, f"[server]\nport = 0\ndrain = '{drain}'\n[admin]\nport = 0\n{more}")
    assert process.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE):
            greeting = await process.stdout.readuntil(b"traffic list\n")
        yield Serving(process, greeting.decode())
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


class Csms:
    """Holds the answer to each Heartbeat until it is let."""

    def __init__(self) -> None:
        self.asked, self.let = asyncio.Event(), asyncio.Event()

    async def talk(self, connection: ServerConnection) -> None:
        async for frame in connection:
            self.asked.set()
            await self.let.wait()
            with contextlib.suppress(ConnectionClosed):
                await connection.send(f'[3,{str(frame).split(",")[1]},{{"currentTime":"2024-05-01T12:00:00Z"}}]')


@asynccontextmanager
async def held(folder: Path, drain: str = "5s") -> AsyncIterator[tuple[Serving, Csms, "asyncio.Task[Response]"]]:
    """A process, and a call of a charger that its CSMS does not answer yet."""
    csms = Csms()
    async with serve(csms.talk, "127.0.0.1", 0, subprotocols=[Subprotocol("ocpp1.6")]) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        backend = f'[[backends]]\nkind = "ocppj"\nname = "csms"\nurl = "ws://127.0.0.1:{port}/{{identity}}"\n'
        async with serving(folder, backend, drain) as served:
            call = asyncio.create_task(post(served.port, envelope()))
            async with asyncio.timeout(DEADLINE):
                await csms.asked.wait()
            yield served, csms, call
        csms.let.set()


async def test_what_is_in_flight_at_sigterm_is_finished(tmp_path: Path) -> None:
    async with held(tmp_path) as (served, csms, call):
        end = asyncio.create_task(served.end())
        await refuses(served.port)
        csms.let.set()
        assert (await call).status == 200
        code, told = await end
    assert (code, "gateway.stopped" in told) == (0, True)


async def test_what_is_in_flight_for_longer_than_the_drain_ends_in_a_fault(tmp_path: Path) -> None:
    async with held(tmp_path, "100ms") as (served, _, call):
        code, told = await served.end()
        reply = await call
    assert (code, reply.status, reply.fault.subcode) == (0, 500, "{urn://Ocpp/Cs/2012/06/}InternalError")
    assert ("gateway.stopped" in told, "Traceback" in told) == (True, False)


async def refuses(port: int) -> None:
    """Wait until a port takes no connections."""
    async with asyncio.timeout(DEADLINE):
        with contextlib.suppress(OSError):
            while True:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()


async def test_the_greeting_tells_the_real_ports_and_its_example_works(tmp_path: Path) -> None:
    async with serving(tmp_path) as served:
        example = served.url(r"(?s)--data-binary \\\n'(.*?)'")
        reply = await post(served.port, example.encode())
        admin = served.url(r"inspector, API, metrics +(\S+)")
        async with aiohttp.ClientSession() as session, session.get(f"{admin}/healthz") as health:
            assert (reply.status, health.status) == (200, 200)
        code, told = await served.end(signal.SIGINT)
    assert code == 0
    assert re.search(r"CP-0001 > BootNotification charger soap 1\.5 result ok", told)
    assert not {"ACME", "Old Faithful"} & set(re.findall("ACME|Old Faithful", told))


async def test_a_port_in_use_is_a_failure_in_one_line(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        process = await launch(tmp_path, f"[server]\nport = {port}\n[admin]\nport = 0\n")
        async with asyncio.timeout(DEADLINE):
            out, told = await process.communicate()
    assert (process.returncode, out, told.count(b"\n")) == (1, b"", 1)
    assert b"already in use" in told and str(port).encode() in told


async def test_a_complaint_about_the_configuration_is_one_line_too(tmp_path: Path) -> None:
    process = await launch(tmp_path, "[server]\nprot = 1\n")
    out, told = await process.communicate()
    assert (process.returncode, out, told) == (1, b"", b"gateway.toml: server.prot: expected no such key\n")

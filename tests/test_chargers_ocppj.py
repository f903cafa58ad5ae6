"""gateway.chargers.ocppj: the door as chargers see it, on uvicorn, with real clients."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import ocpp.v16
import pytest
from ocpp.routing import on
from ocpp.v16 import call, call_result
from ocpp.v16.enums import Action, RegistrationStatus, ResetStatus, ResetType
from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from gateway.chargers.ocppj import JsonDoor, refuse_http
from gateway.exchange import Ids
from gateway.link import Limits, Link
from gateway.traffic.record import Record
from tests.ws import DEADLINE, serving
from translations.messages import Answer, Call, Error, Result, Side

HEARTBEAT = '[2,"c1","Heartbeat",{}]'
BOOT_CONF = {"status": "Accepted", "currentTime": "2026-01-02T03:04:05.678Z", "interval": 300}


class Arrivals:
    """Notes who comes and goes, and answers every call."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.events: list[tuple[str, str]] = []
        self.links: asyncio.Queue[Link] = asyncio.Queue()
        self.gone: asyncio.Queue[str] = asyncio.Queue()
        self.asked, self.release = asyncio.Event(), asyncio.Event()
        self.release.set()

    def arrived(self, identity: str, link: Link, peer: str, version: str) -> None:
        assert (peer, version) == (link.peer, "1.6")
        self.events.append(("arrived", identity))
        self.links.put_nowait(link)

    def departed(self, identity: str, link: Link) -> None:
        self.events.append(("departed", identity))
        self.gone.put_nowait(identity)

    async def exchange(self, call: Call) -> Answer:
        self.calls.append(call)
        self.asked.set()
        await self.release.wait()
        return Result(BOOT_CONF if call.action == "BootNotification" else {})


class Gateway:
    """A served door."""

    def __init__(self, limits: Limits) -> None:
        self.arrivals, self.records = Arrivals(), list[Record]()
        self.door = JsonDoor(self.arrivals, self.records.append, Ids(), limits)
        self.port = 0

    def url(self, path: str) -> str:
        return f"ws://127.0.0.1:{self.port}{path}"

    def connect(self, identity: str = "CP-1", *subprotocols: str) -> connect:
        offered = [Subprotocol(name) for name in subprotocols or ("ocpp1.6",)]
        return connect(self.url(f"/ocpp/{identity}"), subprotocols=offered, compression=None, proxy=None)

    async def link(self) -> Link:
        async with asyncio.timeout(DEADLINE):
            return await self.arrivals.links.get()


@asynccontextmanager
async def served(limits: Limits | None = None, **options: Any) -> AsyncIterator[Gateway]:
    gateway = Gateway(limits or Limits())
    routes = [
        WebSocketRoute("/ocpp/{identity:path}", gateway.door),
        Route("/ocpp/{identity:path}", refuse_http),
    ]
    async with serving(Starlette(routes=routes), **options) as gateway.port:
        yield gateway


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with served() as gateway:
        yield gateway


async def recv(socket: ClientConnection) -> str | bytes:
    async with asyncio.timeout(DEADLINE):
        return await socket.recv()


class Charger(ocpp.v16.ChargePoint):  # type: ignore[misc]
    """A charger of another stack; it checks every message by the published schemas."""

    @on(Action.reset)  # type: ignore[untyped-decorator]
    def on_reset(self, type: ResetType) -> call_result.Reset:
        return call_result.Reset(ResetStatus.accepted)


async def test_a_charger_of_another_stack_boots_and_is_reset(gateway: Gateway) -> None:
    async with gateway.connect() as socket:
        charger = Charger("CP-1", socket, response_timeout=DEADLINE)
        running = asyncio.ensure_future(charger.start())
        booted = await charger.call(call.BootNotification("Model", "Vendor"))
        answer = await (await gateway.link()).call(Call("Reset", {"type": "Soft"}), DEADLINE)
        running.cancel()
    assert booted.status == RegistrationStatus.accepted
    assert isinstance(answer, Result)
    assert answer.payload == {"status": "Accepted"}


async def test_a_call_reaches_the_exchange_whole(gateway: Gateway) -> None:
    async with gateway.connect() as socket:
        assert socket.subprotocol == "ocpp1.6"
        await socket.send('[2,"c1","VendorThing",{"x":[1,null],"y":0.10}]')
        assert await recv(socket) == '[3,"c1",{}]'
    (seen,) = gateway.arrivals.calls
    assert (seen.action, seen.identity, seen.side) == ("VendorThing", "CP-1", Side.CENTRAL_SYSTEM)
    assert str(seen.payload) == "{'x': [1, None], 'y': Decimal('0.10')}"
    assert gateway.records[0].raw == b'[2,"c1","VendorThing",{"x":[1,null],"y":0.10}]'
    assert gateway.records[0].peer.startswith("127.0.0.1:")


@pytest.mark.parametrize(
    ("path", "identity"),
    [
        ("CP-1", "CP-1"),
        ("RDAM%20123", "RDAM 123"),
        ("a%2Fb", "a/b"),
        ("100%2525", "100%25"),
        ("tenant/CP-1", "CP-1"),
        ("x:y%3Az", "x:y:z"),
        ("S%C3%A4ule", "Säule"),
        ("CP-1?token=x", "CP-1"),
    ],
)
async def test_the_identity_is_the_last_part_of_the_path_decoded_once(gateway: Gateway, path: str, identity: str) -> None:
    async with gateway.connect(path):
        assert (await gateway.link()).identity == identity


@pytest.mark.parametrize("path", ["", "tenant/", "%20", "%FF", "a%00b", "a%7Fb", ".", "..", "%2E%2e", "x" * 256])
async def test_without_an_identity_the_handshake_is_refused_with_advice(gateway: Gateway, path: str) -> None:
    with pytest.raises(InvalidStatus) as caught:
        await gateway.connect(path)
    assert caught.value.response.status_code == 404
    assert b"expected the charger's identity as the last part of the path" in (caught.value.response.body or b"")


async def test_a_plain_http_request_is_told_to_upgrade(gateway: Gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"GET /ocpp/CP-1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    response = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    assert response.startswith("HTTP/1.1 426 ")
    assert "expected a WebSocket handshake with the subprotocol ocpp1.6" in response


@pytest.mark.parametrize("offers", [("ocpp1.6",), ("ocpp2.0.1", "ocpp1.6"), ("ocpp1.6", "ocpp1.5")])
async def test_the_common_subprotocol_is_echoed(gateway: Gateway, offers: tuple[str, ...]) -> None:
    async with gateway.connect("CP-1", *offers) as socket:
        assert socket.subprotocol == "ocpp1.6"


async def test_without_a_common_subprotocol_the_socket_is_opened_and_closed_at_once(gateway: Gateway) -> None:
    async with gateway.connect("CP-1", "ocpp2.0.1", "ocpp2.1") as socket:
        assert socket.subprotocol is None
        with pytest.raises(ConnectionClosed) as caught:
            await recv(socket)
    assert caught.value.rcvd
    assert caught.value.rcvd.code == 1002
    assert caught.value.rcvd.reason == "expected subprotocol ocpp1.6, got ocpp2.0.1, ocpp2.1"
    assert gateway.arrivals.events == []


async def test_without_any_subprotocol_the_reason_says_what_was_expected(gateway: Gateway) -> None:
    async with connect(gateway.url("/ocpp/CP-1"), proxy=None) as socket:
        with pytest.raises(ConnectionClosed, match=r"expected subprotocol ocpp1\.6, got none"):
            await recv(socket)


async def test_an_offer_that_is_too_long_for_a_reason_is_cut(gateway: Gateway) -> None:
    async with gateway.connect("CP-1", "x" * 500) as socket:
        with pytest.raises(ConnectionClosed, match=r"expected subprotocol ocpp1\.6, got x{80}$"):
            await recv(socket)


async def test_a_second_connection_of_the_same_identity_replaces_the_first(gateway: Gateway) -> None:
    async with gateway.connect("CP-1") as first:
        task = asyncio.ensure_future((await gateway.link()).call(Call("Reset", {}, "g1"), DEADLINE))
        await recv(first)
        async with gateway.connect("cp-1") as second:
            assert await task == Error("GenericError", "connection closed before the answer", {}, "g1", "Reset")
            with pytest.raises(ConnectionClosed, match="replaced by a newer connection"):
                await recv(first)
            await second.send(HEARTBEAT)
            assert await recv(second) == '[3,"c1",{}]'
    async with asyncio.timeout(DEADLINE):
        await gateway.arrivals.gone.get()
    # The charger never was away, so nobody is told that the first one is gone.
    assert gateway.arrivals.events == [("arrived", "CP-1"), ("arrived", "cp-1"), ("departed", "cp-1")]


async def test_a_charger_that_goes_departs(gateway: Gateway) -> None:
    async with gateway.connect():
        link = await gateway.link()
    async with asyncio.timeout(DEADLINE):
        assert await gateway.arrivals.gone.get() == "CP-1"
    assert isinstance(await link.call(Call("Reset", {}), DEADLINE), Error)


async def test_a_charger_that_drops_the_connection_departs(gateway: Gateway) -> None:
    socket = await gateway.connect()
    task = asyncio.ensure_future((await gateway.link()).call(Call("Reset", {}, "g1"), DEADLINE))
    await recv(socket)
    socket.transport.abort()
    assert isinstance(await task, Error)
    async with asyncio.timeout(DEADLINE):
        assert await gateway.arrivals.gone.get() == "CP-1"


async def test_calls_of_both_sides_cross(gateway: Gateway) -> None:
    gateway.arrivals.release.clear()
    async with gateway.connect() as socket:
        await socket.send(HEARTBEAT)
        task = asyncio.ensure_future((await gateway.link()).call(Call("Reset", {}, "g1"), DEADLINE))
        assert await recv(socket) == '[2,"g1","Reset",{}]'
        await socket.send('[3,"g1",{"status":"Accepted"}]')
        assert await task == Result({"status": "Accepted"}, "g1", "Reset")
        gateway.arrivals.release.set()
        assert await recv(socket) == '[3,"c1",{}]'


async def test_binary_frames_are_read_and_answered_as_text(gateway: Gateway) -> None:
    async with gateway.connect() as socket:
        await socket.send(HEARTBEAT.encode())
        assert await recv(socket) == '[3,"c1",{}]'
    assert [remark.rule for remark in gateway.records[0].remarks] == ["ocppj.binary"]


async def test_a_flood_of_malformed_frames_ends_the_connection() -> None:
    async with served(Limits(malformed=3)) as gateway, gateway.connect() as socket:
        for _ in range(3):
            await socket.send("nonsense")
        with pytest.raises(ConnectionClosed, match="3 malformed frames in a row"):
            await recv(socket)


async def test_a_frame_above_the_limit_ends_the_connection() -> None:
    async with served(ws_max_size=1000) as gateway, gateway.connect() as socket:
        await socket.send("x" * 2000)
        with pytest.raises(ConnectionClosed) as caught:
            await recv(socket)
    assert caught.value.rcvd
    assert caught.value.rcvd.code == 1009
    assert [(r.kind, r.outcome, r.note) for r in gateway.records] == [
        ("refused", "FormationViolation", "frame with 2000 bytes exceeds limit of 1000 bytes")
    ]


async def test_a_refused_handshake_is_no_error_of_the_server(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(InvalidStatus):
        await gateway.connect("")
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


async def test_closing_the_door_answers_first(gateway: Gateway) -> None:
    gateway.arrivals.release.clear()
    async with gateway.connect() as socket:
        await socket.send(HEARTBEAT)
        await gateway.arrivals.asked.wait()
        closing = asyncio.ensure_future(gateway.door.close(DEADLINE))
        gateway.arrivals.release.set()
        assert await recv(socket) == '[3,"c1",{}]'
        with pytest.raises(ConnectionClosed, match="the gateway is shutting down"):
            await recv(socket)
        await closing

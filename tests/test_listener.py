"""gateway.listener and gateway.bounded: what a connection may cost, and the handshakes of odd chargers."""

import asyncio
import ipaddress
import json
import ssl
import struct
import threading
from collections.abc import AsyncIterator

import pytest
import trustme
import uvloop
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send
from structlog.testing import capture_logs
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from gateway.bounded import FRAGMENTS, HEADER_LIMIT, NO_CONNECTION_HEADER, PIPELINED
from gateway.listener import Listener
from gateway.room import Room
from tests.served import DEADLINE, Loop, said, served

GET = b"GET / HTTP/1.1\r\nhost: x\r\n"
LAST = GET + b"connection: close\r\n\r\n"
ASK = GET + b"upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: " + b"A" * 22 + b"==\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
MASKED = b"\x81\x82\x00\x00\x00\x00hi"  # a frame with text


async def well(scope: Scope, receive: Receive, send: Send) -> None:
    await Request(scope, receive).body()
    await PlainTextResponse("well")(scope, receive, send)


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    listener = Listener(well, "127.0.0.1", 0)
    await listener.start()
    yield listener
    await listener.stop(0)


async def test_a_request_is_answered(listener: Listener) -> None:
    assert (await said(listener.port, GET, b"connection: close\r\n\r\n")).endswith(b"well")


async def test_several_requests_on_one_connection_are_answered(listener: Listener) -> None:
    heard = await said(listener.port, GET, b"\r\n", GET, b"connection: close\r\n\r\n")
    assert heard.count(b"well") == 2


async def test_a_head_without_an_end_is_refused(listener: Listener) -> None:
    heard = await said(listener.port, GET, b"x: ", b"a" * HEADER_LIMIT)
    assert heard.startswith(b"HTTP/1.1 431 ")


async def test_a_large_body_is_no_large_head(listener: Listener) -> None:
    size = 4 * HEADER_LIMIT
    head = b"POST / HTTP/1.1\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % size
    assert (await said(listener.port, head + b"a" * size)).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize("parts", [(), (GET,), (GET + b"\r\n" + GET,)], ids=["nothing", "half a head", "half of the second"])
async def test_a_head_that_does_not_come_ends_the_connection(monkeypatch: pytest.MonkeyPatch, parts: tuple[bytes, ...]) -> None:
    monkeypatch.setattr("gateway.bounded.HEADER_TIMEOUT", 0.05)
    listener = Listener(well, "127.0.0.1", 0)
    await listener.start()
    heard = await said(listener.port, *parts)
    await listener.stop(0)
    assert heard.count(b"well") == (1 if len(parts[0] if parts else b"") > len(GET) else 0)


@pytest.fixture(params=[None, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Loop:
    chosen: Loop = request.param
    return chosen


class Socket:
    """A WebSocket by hand: what a client sends is up to the test, and what it hears is bytes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def ask(cls, port: int, *parts: bytes) -> "Socket":
        socket = cls(*await asyncio.open_connection("127.0.0.1", port))
        socket.writer.write(b"".join(parts))
        return socket

    async def head(self) -> bytes:
        async with asyncio.timeout(DEADLINE):
            return await self.reader.readuntil(b"\r\n\r\n")

    async def text(self) -> str:
        async with asyncio.timeout(DEADLINE):
            _, size = await self.reader.readexactly(2)
            if size == 126:
                (size,) = struct.unpack("!H", await self.reader.readexactly(2))
            return (await self.reader.readexactly(size)).decode()

    async def __aenter__(self) -> "Socket":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.transport.abort()
        await asyncio.sleep(0)


# --- how many


async def test_a_connection_above_the_bound_is_told_and_closed(loop: Loop) -> None:
    room = Room(1)
    with capture_logs() as log, served(loop=loop, room=room) as listener:
        async with connect(f"ws://127.0.0.1:{listener.port}/", proxy=None):
            heard = [await said(listener.port) for _ in range(3)]
    assert [each.partition(b"\r\n")[0] for each in heard] == [b"HTTP/1.1 503 Service Unavailable"] * 3
    assert (room.refused, room.taken) == (3, 0)
    assert [line["reason"] for line in log] == ["expected at most 1 connections"]


async def test_ports_share_a_bound_and_refuse_before_a_handshake(loop: Loop) -> None:
    room, context = Room(1), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("x").configure_cert(context)
    with served(loop=loop, room=room) as plain, served(loop=loop, room=room, contexts=lambda: context) as secured:
        async with connect(f"ws://127.0.0.1:{plain.port}/", proxy=None):
            assert await said(secured.port) == b""
    assert (room.refused, room.taken, secured.failed_handshakes) == (1, 0, 0)


async def test_a_source_has_a_bound_of_its_own(loop: Loop) -> None:
    room = Room(10, source_connections=1)
    with served(loop=loop, room=room) as listener:
        async with connect(f"ws://127.0.0.1:{listener.port}/", proxy=None):
            assert (await said(listener.port, LAST)).startswith(b"HTTP/1.1 503 ")
            assert (await said(listener.port, LAST, local_addr=("127.0.0.2", 0))).startswith(b"HTTP/1.1 200 ")


def test_a_place_that_is_given_back_is_free_again() -> None:
    room = Room(2, source_connections=1)
    assert [room.enter("a"), room.enter("a"), room.enter("b"), room.enter("c")] == [True, False, True, False]
    room.leave("a")
    assert [room.enter("c"), room.taken, room.refused] == [True, 2, 2]


@pytest.mark.parametrize(
    ("source", "is_one"), [("192.0.2.1", True), ("::ffff:192.0.2.1", True), ("192.0.3.1", False), ("", False)]
)
def test_a_proxy_has_no_bound_of_its_own(source: str, is_one: bool) -> None:
    room = Room(3, 1, (ipaddress.ip_network("192.0.2.0/24"), ipaddress.ip_network("2001:db8::/32")))
    assert [room.enter(source), room.enter(source)] == [True, is_one]


# --- how long, how large


async def test_line_breaks_do_not_prolong_the_wait_for_a_request(monkeypatch: pytest.MonkeyPatch, loop: Loop) -> None:
    monkeypatch.setattr("gateway.listener.KEEP_ALIVE", 0.2)
    with served(loop=loop) as listener:
        async with await Socket.ask(listener.port, GET, b"\r\n") as socket:
            await socket.head()
            async with asyncio.timeout(DEADLINE):
                while not socket.reader.at_eof():
                    socket.writer.write(b"\r\n")
                    await socket.reader.read(1000)


async def test_a_body_behind_its_answer_does_not_hold_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hasty(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("well")(scope, receive, send)

    monkeypatch.setattr("gateway.listener.KEEP_ALIVE", 0.05)
    with served(hasty) as listener:
        assert (await said(listener.port, CHUNKED, b"1\r\na\r\n")).endswith(b"well")


async def test_a_trailer_without_an_end_is_refused(loop: Loop) -> None:
    with served(loop=loop, frame_limit=1000) as listener:
        heard = await said(listener.port, CHUNKED, b"1\r\na\r\n0\r\nx: ", *[b"a" * HEADER_LIMIT] * 16)
    assert b"HTTP/1.1 431 " in heard or not heard  # reset before it could be read


async def test_chunks_are_taken_however_many_there_are(loop: Loop) -> None:
    with served(loop=loop, frame_limit=1000) as listener:
        heard = await said(listener.port, CHUNKED, b"1\r\na\r\n" * 200_000, b"0\r\n\r\n", LAST)
    assert heard.count(b"HTTP/1.1 200 ") == 2


async def test_requests_that_do_not_wait_for_answers_are_answered_up_to_a_bound(loop: Loop) -> None:
    with capture_logs() as log, served(loop=loop) as listener:
        assert (await said(listener.port, (GET + b"\r\n") * PIPELINED, LAST)).count(b"HTTP/1.1 200 ") == PIPELINED + 1
        assert (await said(listener.port, (GET + b"\r\n") * 10 * PIPELINED)).count(b"HTTP/1.1 200 ") <= PIPELINED
    assert [line["event"] for line in log] == ["request.unreadable"]


async def test_who_does_not_read_is_not_waited_for(monkeypatch: pytest.MonkeyPatch, loop: Loop) -> None:
    gone = threading.Event()

    async def verbose(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(64):
            await send({"type": "http.response.body", "body": bytes(1 << 20), "more_body": True})
        if (await receive())["type"] == "http.disconnect":
            gone.set()

    monkeypatch.setattr("gateway.bounded.UNREAD_TIMEOUT", 0.05)
    with served(verbose, loop=loop) as listener:
        async with await Socket.ask(listener.port, GET, b"\r\n") as socket:
            socket.writer.transport.pause_reading()  # type: ignore[attr-defined]
            assert await asyncio.to_thread(gone.wait, DEADLINE)


async def test_a_message_has_fragments_up_to_a_bound(loop: Loop) -> None:
    with served(loop=loop) as listener:
        async with connect(f"ws://127.0.0.1:{listener.port}/", proxy=None) as charger:
            await charger.recv()
            await charger.send([""] * (FRAGMENTS - 1))  # and one more that is the last
            assert await charger.recv() == "heard"
            with pytest.raises(ConnectionClosed):
                await charger.send([""] * 2 * FRAGMENTS)
                await charger.recv()


async def test_pongs_that_are_not_read_are_not_heaped_up(loop: Loop) -> None:
    ping = b"\x89\xfd\x00\x00\x00\x00" + bytes(125)
    with served(loop=loop) as listener:
        async with await Socket.ask(listener.port, ASK, b"connection: Upgrade\r\n\r\n") as socket:
            await socket.head()
            socket.writer.transport.pause_reading()  # type: ignore[attr-defined]
            async with asyncio.timeout(4 * DEADLINE):
                for _ in range(120):
                    socket.writer.write(ping * 1000)
                    await socket.writer.drain()
            [charger] = listener.server_state.connections
            assert charger.transport.get_write_buffer_size() < 1 << 20


# --- odd handshakes


async def test_a_handshake_without_connection_upgrade_is_one_and_told_as_odd(loop: Loop) -> None:
    with served(loop=loop) as listener:
        async with await Socket.ask(listener.port, ASK, b"\r\n") as socket:
            assert (await socket.head()).startswith(b"HTTP/1.1 101 ")
            assert json.loads(await socket.text())["extensions"]["odd"] == [NO_CONNECTION_HEADER]
            socket.writer.write(MASKED)
            assert await socket.text() == "heard"


async def test_an_odd_handshake_over_tls_is_told_with_the_certificate(loop: Loop) -> None:
    ca, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("x").configure_cert(context)
    ca.configure_trust(trust := ssl.create_default_context())
    with served(loop=loop, contexts=lambda: context) as listener:
        ends = await asyncio.open_connection("127.0.0.1", listener.port, ssl=trust, server_hostname="x")
        async with Socket(*ends) as socket:
            socket.writer.write(ASK + b"connection: keep-alive\r\n\r\n")
            await socket.head()
            told = json.loads(await socket.text())["extensions"]
    assert (told["tls"], told["odd"]) == ({"certificate": None}, [NO_CONNECTION_HEADER])


async def test_an_ordinary_handshake_is_not_odd(loop: Loop) -> None:
    with served(loop=loop) as listener:
        async with connect(f"ws://127.0.0.1:{listener.port}/", proxy=None) as charger:
            assert json.loads(await charger.recv())["extensions"] == {"websocket.http.response": {}}


async def test_connection_may_come_twice(loop: Loop) -> None:
    with served(loop=loop) as listener:
        async with await Socket.ask(listener.port, ASK, b"connection: Upgrade\r\nconnection: keep-alive\r\n\r\n") as socket:
            assert (await socket.head()).startswith(b"HTTP/1.1 101 ")
            assert "odd" not in json.loads(await socket.text())["extensions"]


async def test_a_request_that_only_names_websockets_stays_a_request(loop: Loop) -> None:
    with served(loop=loop) as listener:
        heard = await said(listener.port, GET, b"upgrade: websocket\r\nconnection: close\r\n\r\n")
    assert heard.startswith(b"HTTP/1.1 200 ")


OFFERS: list[tuple[bytes, list[str]]] = [
    (b"", []),
    (b"sec-websocket-protocol: \r\n", []),
    (b"sec-websocket-protocol: ocpp1.6\r\n", ["ocpp1.6"]),
    (b"sec-websocket-protocol: ,ocpp2.0.1\r\n", ["ocpp2.0.1"]),
    (b"sec-websocket-protocol: , ocpp1.6 ,,ocpp1.5,\r\n", ["ocpp1.6", "ocpp1.5"]),
    (b"sec-websocket-protocol: ,\r\nsec-websocket-protocol: ocpp1.6\r\n", ["ocpp1.6"]),
    (b"sec-websocket-protocol: ocpp1.6\r\nsec-websocket-protocol: ,ocpp1.5\r\n", ["ocpp1.6", "ocpp1.5"]),
]


@pytest.mark.parametrize(("offer", "expected"), OFFERS)
async def test_subprotocols_reach_the_application_without_empty_names(offer: bytes, expected: list[str]) -> None:
    with served() as listener:
        async with await Socket.ask(listener.port, ASK, offer, b"connection: Upgrade\r\n\r\n") as socket:
            assert (await socket.head()).startswith(b"HTTP/1.1 101 ")
            assert json.loads(await socket.text())["subprotocols"] == expected


async def test_a_charger_need_not_wait_for_the_answer_to_its_handshake(loop: Loop) -> None:
    with served(loop=loop) as listener:
        async with await Socket.ask(listener.port, ASK, b"connection: Upgrade\r\n\r\n", MASKED) as socket:
            await socket.head()
            await socket.text()
            assert await socket.text() == "heard"


BAD = {
    "no key": (GET + b"upgrade: websocket\r\nconnection: upgrade\r\n\r\n", b"HTTP/1.1 400 "),
    "POST": (ASK.replace(b"GET", b"POST") + b"connection: upgrade\r\n\r\n", b"HTTP/1.1 405 "),
    "a long line": (ASK + b"connection: upgrade\r\nx: " + b"a" * 10_000 + b"\r\n\r\n", b"HTTP/1.1 431 "),
    "many headers": (ASK + b"connection: upgrade\r\n" + b"x: y\r\n" * 200 + b"\r\n", b"HTTP/1.1 431 "),
    "a long path": (ASK.replace(b"/ ", b"/" + b"a" * 10_000 + b" ") + b"connection: upgrade\r\n\r\n", b"HTTP/1.1 414 "),
    "odd, and a long line": (ASK + b"x: " + b"a" * 10_000 + b"\r\n\r\n", b"HTTP/1.1 431 "),
}


@pytest.mark.parametrize(("ask", "expected"), BAD.values(), ids=BAD)
async def test_a_handshake_that_cannot_be_is_answered_and_closed(ask: bytes, expected: bytes, loop: Loop) -> None:
    with served(loop=loop) as listener:
        assert (await said(listener.port, ask)).startswith(expected)
    assert listener.room.taken == 0


async def test_an_upgrade_to_something_else_is_not_made(loop: Loop) -> None:
    h2c = b"POST / HTTP/1.1\r\nhost: x\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\ncontent-length: 2\r\n\r\nhi"
    with served(loop=loop) as listener:
        heard = await said(listener.port, h2c, h2c + h2c, LAST)
    assert heard.count(b"HTTP/1.1 200 ") == 4


NO_HTTP = {
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00",
    "text": b"nothing\r\n\r\n",
    "no path": b"GET \xff HTTP/1.1\r\n\r\n",
    "CONNECT": b"CONNECT x:80 HTTP/1.1\r\nhost: x\r\n\r\n",
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}


@pytest.mark.parametrize("data", NO_HTTP.values(), ids=NO_HTTP)
async def test_what_is_no_http_costs_a_line(data: bytes, loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    with capture_logs() as log, served(loop=loop) as listener:
        heard = [await said(listener.port, data) for _ in range(3)]
    assert all(each.startswith(b"HTTP/1.1 400 ") for each in heard)
    assert [line["event"] for line in log] == ["request.unreadable"]
    assert not caplog.records

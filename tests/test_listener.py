"""gateway.listener: what a connection may cost before there is a request."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from gateway.listener import HEADER_LIMIT, Listener

DEADLINE = 5
GET = b"GET / HTTP/1.1\r\nhost: x\r\n"


async def well(scope: Scope, receive: Receive, send: Send) -> None:
    await Request(scope, receive).body()
    await PlainTextResponse("well")(scope, receive, send)


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    listener = Listener(well, "127.0.0.1", 0)
    await listener.start()
    yield listener
    await listener.stop(0)


async def said(port: int, *parts: bytes) -> bytes:
    """All that a connection hears until the other end closes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for part in parts:
        writer.write(part)
    async with asyncio.timeout(DEADLINE):
        heard = await reader.read()
    writer.close()
    return heard


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
    monkeypatch.setattr("gateway.listener.HEADER_TIMEOUT", 0.05)
    listener = Listener(well, "127.0.0.1", 0)
    await listener.start()
    heard = await said(listener.port, *parts)
    await listener.stop(0)
    assert heard.count(b"well") == (1 if len(parts[0] if parts else b"") > len(GET) else 0)

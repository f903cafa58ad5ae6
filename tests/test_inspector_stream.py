"""The stream of new exchanges, as server-sent events."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from gateway.inspector.log import Log
from gateway.inspector.stream import MOST, PAGE, Stream, pause
from gateway.traffic import query
from gateway.traffic.record import Record
from tests.admin import CALL, FAILED, SENT, Visitor, admin, hiding, write
from tests.ws import DEADLINE, serving

OTHER = SENT._replace(exchange="x-9")
REPLY = CALL._replace(exchange="x-8", kind="result", direction=">", outcome="ok")
STREAM = "/api/v1/traffic/stream"


class Bell:
    """Has the streams look at the log when the test rings."""

    def __init__(self) -> None:
        self._rung = asyncio.Event()
        self._go_on = True

    async def __call__(self) -> bool:
        async with asyncio.timeout(DEADLINE):
            await self._rung.wait()
        self._rung.clear()
        return self._go_on

    def ring(self, *, last: bool = False) -> None:
        self._go_on = not last
        self._rung.set()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write(tmp_path / "traffic.db", CALL, OTHER)
    return tmp_path / "traffic.db"


def remove(path: Path) -> None:
    path.unlink()


def replace(path: Path, *records: Record) -> None:
    remove(path)
    write(path, *records)


class Reader:
    """Reads events off a stream."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self.response = response

    async def block(self) -> list[str]:
        """The lines up to the next empty one; none at the end."""
        lines: list[str] = []
        while (line := (await self.response.content.readline()).decode()).strip("\n"):
            lines.append(line.rstrip("\n"))
        return lines

    async def event(self) -> tuple[int, Any]:
        """Id and data of the next event, past comments."""
        fields: dict[str, str] = {}
        while "data" not in fields:
            block = await self.block()
            assert block, "the stream ended"
            fields = dict(line.split(": ", 1) for line in block)
        return int(fields["id"]), json.loads(fields["data"])


@asynccontextmanager
async def reading(ask: Visitor, query: str = "", **headers: str) -> AsyncIterator[Reader]:
    async with ask.http.get(ask.url(f"{STREAM}{query}"), headers=headers) as response:
        assert response.status == 200, await response.text()
        reader = Reader(response)
        assert await reader.block() == ["retry: 2000"]
        yield reader


async def test_a_new_exchange_is_told(path: Path) -> None:
    bell = Bell()
    async with admin(path, follow=bell) as ask, reading(ask) as reader:
        write(path, REPLY)
        bell.ring()
        number, exchange = await reader.event()
        assert (number, exchange["id"], exchange["outcome"]) == (3, 3, "ok")
        assert reader.response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert reader.response.headers["X-Content-Type-Options"] == "nosniff"


async def test_an_exchange_is_told_by_itself_in_a_moment(path: Path) -> None:
    async with admin(path) as ask, reading(ask) as reader:
        write(path, REPLY)
        assert (await reader.event())[0] == 3


async def test_a_filter_holds_for_the_stream(path: Path) -> None:
    bell = Bell()
    async with admin(path, follow=bell) as ask, reading(ask, "?charger=dc*") as reader:
        write(path, REPLY, FAILED)
        bell.ring()
        assert (await reader.event())[1]["charger"] == "DC/2"


@pytest.mark.parametrize(
    ("query", "headers", "first"),
    [("?after=0", {}, 1), ("?after=1", {}, 2), ("?since=2024-05-01T10:00:01Z", {}, 2), ("?after=0", {"Last-Event-ID": "1"}, 2)],
)
async def test_a_stream_may_begin_earlier(path: Path, query: str, headers: dict[str, str], first: int) -> None:
    async with admin(path, follow=Bell()) as ask, reading(ask, query, **headers) as reader:
        assert (await reader.event())[0] == first


async def test_more_than_a_page_is_told_in_order_and_once(path: Path) -> None:
    write(path, *(CALL._replace(exchange=str(n)) for n in range(2 * PAGE)))
    async with admin(path, follow=Bell()) as ask, reading(ask, "?after=0") as reader:
        assert [(await reader.event())[0] for _ in range(2 * PAGE + 2)] == list(range(1, 2 * PAGE + 3))


async def test_a_log_that_was_begun_anew_is_told_from_its_beginning(path: Path) -> None:
    bell = Bell()
    async with admin(path, follow=bell) as ask, reading(ask) as reader:
        replace(path, FAILED)
        bell.ring()
        assert (await reader.event())[0] == 1


async def test_a_quiet_stream_is_kept_alive(path: Path) -> None:
    bell = Bell()
    app = Starlette(routes=[Route(STREAM, Stream(Log(partial(query.open_to_read, path)), bell, hiding(), keep_alive=0))])
    async with serving(app) as port, aiohttp.ClientSession() as http, reading(Visitor(port, http)) as reader:
        assert await reader.block() == [": nothing new"]


async def test_a_stream_ends_when_the_gateway_stops(path: Path) -> None:
    bell = Bell()
    async with admin(path, follow=bell) as ask, reading(ask) as reader:
        bell.ring(last=True)
        assert await reader.response.content.read() == b""


async def test_a_stream_ends_when_the_log_cannot_be_read(path: Path) -> None:
    bell = Bell()
    async with admin(path, follow=bell) as ask, reading(ask) as reader:
        remove(path)
        bell.ring()
        assert await reader.response.content.read() == b""


async def test_there_are_so_many_streams_and_no_more(path: Path) -> None:
    async with admin(path) as ask, AsyncExitStack() as open_:
        for _ in range(MOST):
            await open_.enter_async_context(reading(ask))
        reply = await ask(STREAM)
        assert (reply.status, reply.headers["Retry-After"]) == (503, "5")


async def test_a_reader_that_has_gone_leaves_its_place(path: Path) -> None:
    stream = Stream(Log(partial(query.open_to_read, path)), pause, hiding(), most=1)
    async with serving(Starlette(routes=[Route(STREAM, stream)])) as port, aiohttp.ClientSession() as http:
        ask = Visitor(port, http)
        async with reading(ask):
            assert (await ask(STREAM)).status == 503
        async with asyncio.timeout(DEADLINE):
            while (await ask(STREAM, "HEAD")).status != 200:
                pass


async def test_head_of_the_stream_ends(path: Path) -> None:
    async with admin(path, follow=Bell()) as ask:
        assert (await ask(STREAM, "HEAD")).status == 200


@pytest.mark.parametrize("query", ["?limit=1", "?remark=odd", "?after=x"])
async def test_a_filter_that_is_none_is_refused(path: Path, query: str) -> None:
    async with admin(path) as ask:
        assert (await ask(f"{STREAM}{query}")).status == 400

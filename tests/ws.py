"""WebSocket ends for tests: an ASGI application served on a free port, and a link over an in-memory pair of sockets."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import uvicorn

from gateway.exchange import Exchange, Ids
from gateway.link import Closed, Limits, Link
from gateway.traffic.record import Record
from translations.messages import Answer, Call, Result, Side

DEADLINE = 5.0


@asynccontextmanager
async def serving(app: Any, **options: Any) -> AsyncIterator[int]:
    """Serve an ASGI application in this loop; gives its port."""
    config = uvicorn.Config(app, port=0, ws="websockets-sansio", lifespan="off", log_level="error", **options)
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        async with asyncio.timeout(DEADLINE):
            await server.shutdown()


class Pipe:
    """One end of an in-memory WebSocket; the test is the other end."""

    def __init__(self) -> None:
        self.inbox: asyncio.Queue[str | bytes | Closed] = asyncio.Queue()
        self.outbox: asyncio.Queue[str] = asyncio.Queue()
        self.closed: Closed | None = None

    def listen(self, take: Callable[[str], None], /) -> None:
        pass

    def send_now(self, data: str | bytes, /) -> bool:
        return False

    async def send(self, data: str | bytes, /) -> None:
        if self.closed:
            raise self.closed
        self.outbox.put_nowait(data if isinstance(data, str) else data.decode())

    async def receive(self) -> str | bytes:
        data = await self.inbox.get()
        if isinstance(data, Closed):
            self.closed = data
            raise data
        return data

    async def close(self, code: int, reason: str) -> None:
        self.closed = self.closed or Closed(code, reason)
        self.inbox.put_nowait(self.closed)

    def feed(self, *frames: str | bytes) -> None:
        for frame in frames:
            self.inbox.put_nowait(frame)

    def hang_up(self, code: int = 1000) -> None:
        self.inbox.put_nowait(Closed(code))

    async def sent(self) -> str:
        async with asyncio.timeout(DEADLINE):
            return await self.outbox.get()


async def nothing(call: Call) -> Answer:
    """Answers every call with an empty result."""
    return Result({})


class Wired:
    """A running link, the other end of its socket, and what it recorded."""

    def __init__(self, exchange: Exchange, limits: Limits) -> None:
        self.pipe, self.records = Pipe(), list[Record]()
        self.link = Link(
            self.pipe,
            exchange,
            self.records.append,
            identity="CP-1",
            leg="charger",
            side=Side.CENTRAL_SYSTEM,
            ids=Ids(),
            peer="192.0.2.1:4000",
            limits=limits,
        )
        self.run = asyncio.ensure_future(self.link.run())

    async def over(self) -> Closed:
        async with asyncio.timeout(DEADLINE):
            return await self.run


@asynccontextmanager
async def wired(exchange: Exchange = nothing, limits: Limits | None = None) -> AsyncIterator[Wired]:
    """A link that runs over a pipe."""
    ends = Wired(exchange, limits or Limits())
    try:
        yield ends
    finally:
        ends.run.cancel()
        with suppress(asyncio.CancelledError):
            await ends.run

"""The door that tells new exchanges as they come, as server-sent events."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send

from gateway.inspector.filters import FOLLOWED, GREATEST_ID, wanted
from gateway.inspector.hiding import Hiding
from gateway.inspector.log import Log
from gateway.inspector.traffic import Hide
from gateway.traffic import export
from gateway.traffic.exchanges import Exchange
from gateway.traffic.filters import Filter
from gateway.traffic.log import TrafficReader

Follow = Callable[[], Awaitable[bool]]
"""Waits until it is time for another look at the log; ends every stream by answering False."""

POLL_EVERY = 0.5
PAGE = 256  # exchanges are read and sent so many at a time, and no more are ever held
MOST = 16
KEEP_ALIVE = 15.0
SEND_TIMEOUT = 30.0
RETRY = 2000  # milliseconds after which a browser comes back

_HEADERS = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"x-accel-buffering", b"no")]


async def pause() -> bool:
    """Half a second, more or less, so that many streams do not look at once."""
    await asyncio.sleep(POLL_EVERY * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, no secret
    return True


@dataclass(frozen=True, slots=True)
class _Look:
    """What one look at the log found; `full` where there may be more."""

    events: bytes
    seen: int
    full: bool


class Stream:
    """ASGI endpoint for GET. Each look reads what came since the one before, so a slow reader fills no queue."""

    def __init__(self, log: Log, follow: Follow, hiding: Hiding, *, most: int = MOST, keep_alive: float = KEEP_ALIVE) -> None:
        self._hiding = hiding
        self._log, self._follow, self._most, self._keep_alive = log, follow, most, keep_alive
        self._open = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        asked = wanted(request.query_params, FOLLOWED)
        if self._open >= self._most:
            raise HTTPException(503, f"expected at most {self._most} streams, got one more", {"Retry-After": "5"})
        self._open += 1
        try:
            hide = await self._hiding.of(request)
            seen = await self._start(request, asked)
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            if request.method == "HEAD":
                await send({"type": "http.response.body"})
            else:
                await _while_there(receive, self._tell(send, asked, seen, hide))
        finally:
            self._open -= 1

    async def _start(self, request: Request, asked: Filter) -> int:
        """After which id to begin. A browser that comes back says which exchange it had last."""
        last = await self._log.read(lambda log: log.last())
        resumed = request.headers.get("last-event-id", "")
        if resumed.isascii() and resumed.isdecimal() and len(resumed) < 20:
            return min(int(resumed), GREATEST_ID)
        if asked.after_id is not None:
            return asked.after_id
        since = asked.since
        return last if since is None else await self._log.read(lambda log: log.first_since(since) - 1)

    async def _tell(self, send: Send, asked: Filter, seen: int, hide: Hide) -> None:
        clock = asyncio.get_running_loop().time
        told = clock()
        await _send(send, f"retry: {RETRY}\n\n".encode())
        while (look := await self._look(asked, seen, hide)) is not None:
            seen = look.seen
            if look.events or clock() - told >= self._keep_alive:
                await _send(send, look.events or b": nothing new\n\n")
                told = clock()
            if not look.full and not await self._follow():
                break
        await send({"type": "http.response.body"})

    async def _look(self, asked: Filter, seen: int, hide: Hide) -> _Look | None:
        try:
            return await self._log.read(partial(_look, asked=asked, seen=seen, hide=hide))
        except HTTPException:  # the answer has begun: all that can be said is that it ends, and then they come back
            return None


def _look(log: TrafficReader, asked: Filter, seen: int, hide: Hide) -> _Look:
    last = log.last()
    if last < seen:  # the log was begun anew, or is empty
        seen = 0
    found = log.newest(replace(asked, after_id=seen, before_id=last + 1, limit=PAGE)).exchanges
    full = len(found) == PAGE
    return _Look(b"".join(_event(hide(each)) for each in found), max(e.id for e in found) if full else last, full)


def _event(exchange: Exchange) -> bytes:
    return b"id: %d\ndata: %b\n" % (exchange.id, export.line(export.as_object(exchange)))


async def _send(send: Send, data: bytes) -> None:
    async with asyncio.timeout(SEND_TIMEOUT):
        await send({"type": "http.response.body", "body": data, "more_body": True})


async def _while_there(receive: Receive, telling: Coroutine[Any, Any, None]) -> None:
    """Tell until the end, or until the reader has gone or takes nothing any more."""
    tasks = [asyncio.ensure_future(telling), asyncio.ensure_future(_gone(receive))]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
    for end in ends:
        if isinstance(end, Exception) and not isinstance(end, (TimeoutError, OSError)):
            raise end


async def _gone(receive: Receive) -> None:
    message: Message = {}
    while message.get("type") != "http.disconnect":
        message = await receive()

"""A listener in a thread of its own, on the event loop that a test wants, and the application that tells what it was told."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from starlette.types import Receive, Scope, Send

from gateway.listener import Listener

DEADLINE = 5.0

Loop = Callable[[], asyncio.AbstractEventLoop] | None


async def tell(scope: Scope, receive: Receive, send: Send) -> None:
    """Tell, by HTTP or as the first message of a WebSocket, what the scope has."""
    told = json.dumps({key: scope.get(key) for key in ("scheme", "subprotocols", "extensions")})
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        await send({"type": "websocket.send", "text": told})
        while (await receive())["type"] != "websocket.disconnect":
            await send({"type": "websocket.send", "text": "heard"})
        return
    while (message := await receive())["type"] == "http.request" and message["more_body"]:
        pass
    headers = [(b"content-length", b"%d" % len(told))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": told.encode()})


@contextmanager
def served(app: Any = tell, loop: Loop = None, **options: Any) -> Iterator[Listener]:
    """A listener at 127.0.0.1 that has stopped, with all that it had begun, when the context ends."""
    up: Future[tuple[Listener, asyncio.AbstractEventLoop, asyncio.Event]] = Future()
    thread = threading.Thread(target=_run, args=(app, loop, options, up))
    thread.start()
    listener, running, over = up.result(DEADLINE)
    try:
        yield listener
    finally:
        running.call_soon_threadsafe(over.set)
        thread.join(2 * DEADLINE)
        assert not thread.is_alive()


def _run(app: Any, loop: Loop, options: dict[str, Any], up: "Future[Any]") -> None:
    async def live() -> None:
        listener, over = Listener(app, "127.0.0.1", 0, **{"frame_limit": 65536} | options), asyncio.Event()
        await listener.start()
        up.set_result((listener, asyncio.get_running_loop(), over))
        await over.wait()
        await listener.stop(0)

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(live())


async def said(port: int, *parts: bytes, **options: Any) -> bytes:
    """All that a connection hears until the other end closes it; what is lost to a reset was not said."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, **options)
    heard = bytearray()
    try:
        async with asyncio.timeout(DEADLINE):
            for part in parts:
                writer.write(part)
                await writer.drain()
            while data := await reader.read(65536):
                heard += data
    except ConnectionError:
        pass
    finally:
        writer.transport.abort()
    return bytes(heard)

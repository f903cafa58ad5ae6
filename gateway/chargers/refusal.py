"""What both doors refuse, and how a WebSocket handshake is refused: with a status and a text for people, where that can be."""

import asyncio
from collections.abc import Iterable

from starlette.types import Receive, Scope, Send

from gateway.admission import FOREIGN

GRACE = 5.0  # seconds for the response to be taken
PLAIN = (b"content-type", b"text/plain; charset=utf-8")
TAKEN = FOREIGN._replace(reason="here under another tenant", guess=False)


async def refuse_handshake(
    scope: Scope, receive: Receive, send: Send, status: int, text: str, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    """Answer the handshake with a status and a text. To be used after `websocket.connect` and before any accept."""
    if "websocket.http.response" not in (scope.get("extensions") or {}):
        await send({"type": "websocket.close", "code": 1002, "reason": ""})
        return
    await send({"type": "websocket.http.response.start", "status": status, "headers": [PLAIN, *headers]})
    await send({"type": "websocket.http.response.body", "body": text.encode()})
    # uvicorn counts the handshake as complete once the connection is lost, and logs an error if the application has
    # returned before. It tells twice that it is over: when the response is written, and when the connection is gone.
    try:
        async with asyncio.timeout(GRACE):
            await receive()
            await receive()
    except TimeoutError:
        return

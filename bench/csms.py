"""A CSMS of fixed answers on bare sockets, in the loop of the load: much lighter than a WebSocket library would be."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

from bench.frames import CLOSE, PING, PONG, TEXT, Reader, frame, response

BACKLOG = 4096
NOW = "2026-01-01T00:00:00Z"
ANSWERS = {
    b"BootNotification": f'{{"status":"Accepted","currentTime":"{NOW}","interval":86400}}'.encode(),
    b"Heartbeat": f'{{"currentTime":"{NOW}"}}'.encode(),
    b"StartTransaction": b'{"transactionId":17,"idTagInfo":{"status":"Accepted"}}',
    b"StatusNotification": b"{}",
}


class _Csms(asyncio.Protocol):
    """One charger's connection."""

    def __init__(self) -> None:
        self._reader = Reader()
        self._handshake: bytes | None = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but ancestry

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        if self._handshake is not None:
            self._handshake += data
            if not self._handshake.endswith(b"\r\n\r\n"):
                return
            data, self._handshake = response(self._handshake), None
            self._transport.write(data)
            return
        for opcode, payload in self._reader.feed(data):
            self._heard(self._transport, opcode, payload)

    def _heard(self, transport: asyncio.Transport, opcode: int, payload: bytes) -> None:
        if opcode == TEXT:
            _, message_id, _, action, _ = payload.split(b'"', 4)
            transport.write(frame(TEXT, b'[3,"' + message_id + b'",' + ANSWERS[action] + b"]"))
        elif opcode == PING:
            transport.write(frame(PONG, payload))
        elif opcode == CLOSE:
            transport.write(frame(CLOSE, payload))
            transport.close()


@asynccontextmanager
async def csms() -> AsyncIterator[int]:
    """The CSMS, listening; its port."""
    server = await asyncio.get_running_loop().create_server(_Csms, "127.0.0.1", 0, backlog=BACKLOG)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()

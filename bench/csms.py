"""A CSMS of fixed answers on bare sockets, in the loop of the load: much lighter than a WebSocket library would be."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import cast

from bench.frames import CLOSE, PING, PONG, TEXT, Reader, frame, response

BACKLOG = 4096
NOW = "2026-01-01T00:00:00Z"
ANSWERS = {
    b"BootNotification": f'{{"status":"Accepted","currentTime":"{NOW}","interval":86400}}'.encode(),
    b"Heartbeat": f'{{"currentTime":"{NOW}"}}'.encode(),
    b"MeterValues": b"{}",
    b"StartTransaction": b'{"transactionId":17,"idTagInfo":{"status":"Accepted"}}',
    b"StatusNotification": b"{}",
    b"StopTransaction": b"{}",
}
MONEY = frozenset({b"MeterValues", b"StartTransaction", b"StopTransaction"})


@dataclass(slots=True)
class Heard:
    """How many transaction messages a CSMS has heard, and when the first and the last of them."""

    count: int = 0
    first: float = 0.0
    last: float = 0.0

    def add(self) -> None:
        self.last = time.perf_counter()
        self.first = self.first or self.last
        self.count += 1


class _Csms(asyncio.Protocol):
    """One charger's connection."""

    def __init__(self, heard: Heard) -> None:
        self._heard_of = heard
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
            if action in MONEY:
                self._heard_of.add()
        elif opcode == PING:
            transport.write(frame(PONG, payload))
        elif opcode == CLOSE:
            transport.write(frame(CLOSE, payload))
            transport.close()


@asynccontextmanager
async def csms(port: int = 0, heard: Heard | None = None) -> AsyncIterator[int]:
    """The CSMS, listening; its port."""
    made = partial(_Csms, heard or Heard())
    server = await asyncio.get_running_loop().create_server(made, "127.0.0.1", port, backlog=BACKLOG)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()

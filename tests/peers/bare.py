"""Servers that say only what they are told to, byte for byte, and remember who came."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from tests.peers.seen import Seen


class BareServer:
    """Reads one HTTP request of each connection and answers `response`; `hold` keeps the connection open after that."""

    def __init__(self, response: bytes, hold: bool = False) -> None:
        self.response, self.hold = response, hold
        self.visits: Seen[bytes] = Seen()
        self.connections = 0
        self.port = 0
        self._over = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/ocpp"

    def end(self) -> None:
        """Let go of those who wait."""
        self._over.set()

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(int(v) for k, _, v in _lines(head) if k.lower() == b"content-length")
        self.visits.add(head + await reader.readexactly(length))
        writer.write(self.response)
        if self.hold:
            await self._over.wait()
        writer.close()


def _lines(head: bytes) -> list[tuple[bytes, bytes, bytes]]:
    return [line.partition(b":") for line in head.split(b"\r\n")]


def http(status: str, body: bytes, kind: str = "application/soap+xml; charset=utf-8", *more: str) -> bytes:
    """An HTTP response in full."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", "Connection: close", *more]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@asynccontextmanager
async def bare_server(response: bytes, hold: bool = False) -> AsyncIterator[BareServer]:
    """Such a server on a free port."""
    bare = BareServer(response, hold)
    server = await asyncio.start_server(bare.meet, "127.0.0.1", 0)
    bare.port = server.sockets[0].getsockname()[1]
    try:
        yield bare
    finally:
        bare.end()
        server.close()
        await server.wait_closed()


def closed_port() -> int:
    """A port on which nobody listens."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return int(unused.getsockname()[1])

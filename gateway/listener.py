"""uvicorn on one port, for both doors and for the admin door."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADER_LIMIT = 64 * 1024  # bytes
HEADER_TIMEOUT = 30.0  # seconds


class BoundedHttp(HttpToolsProtocol):
    """uvicorn's protocol with bounds that it leaves to a proxy: how long and how large the head of a request may be."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._seen = 0
        self._head: asyncio.TimerHandle | None = None
        self._await_head()
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._head is not None:
            self._seen += len(data)
            if self._seen > HEADER_LIMIT and not self.transport.is_closing():
                self.transport.write(b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\n\r\n")
                self.transport.close()

    def on_message_begin(self) -> None:
        if self._head is None:  # a further request on a connection that is kept
            self._await_head()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._head_is_over()
        super().on_headers_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_over()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        self._seen = 0
        self._head = self.loop.call_later(HEADER_TIMEOUT, self._give_up)

    def _head_is_over(self) -> None:
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


class Listener(uvicorn.Server):
    """uvicorn on one port, without its own signals and its own log of every request."""

    def __init__(self, app: ASGIApp, host: str, port: int, ping: tuple[float, float] | None = None, frame_limit: int = 1) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                http=BoundedHttp,
                ws="websockets-sansio",
                ws_max_size=frame_limit,
                ws_ping_interval=ping[0] if ping else None,
                ws_ping_timeout=ping[1] if ping else None,
                ws_per_message_deflate=False,
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,  # nobody is trusted to say who somebody else is
                server_header=False,
                date_header=False,
                timeout_keep_alive=75,
                backlog=2048,
            )
        )
        self.port = port
        self._task: asyncio.Task[None] | None = None
        self._socket: socket.socket | None = None
        self._up = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """The gateway has one place for signals."""
        yield

    async def start(self) -> None:
        """Listen. Raises OSError."""
        family = socket.AF_INET6 if ":" in self.config.host else socket.AF_INET
        # IPPROTO_TCP by name: without it asyncio leaves Nagle's algorithm on, and small answers wait for 40 ms.
        self._socket = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((self.config.host, self.port))
        except OSError as error:
            self._socket.close()
            raise OSError(error.errno, f"{error.strerror} ({self.config.host} port {self.port})") from None
        self.port = self._socket.getsockname()[1]
        self._task = asyncio.create_task(self.serve([self._socket]))
        up = asyncio.create_task(self._up.wait())
        await asyncio.wait({self._task, up}, return_when=asyncio.FIRST_COMPLETED)
        up.cancel()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Told by uvicorn: it listens."""
        await super().startup(sockets)
        self._up.set()

    def refuse(self) -> None:
        """Take no more connections."""
        for server in self.servers if self.started else ():
            server.close()

    async def stop(self, drain: float) -> None:
        """Take no more connections, and finish what is in flight."""
        self.config.timeout_graceful_shutdown = max(1, round(drain))
        self.should_exit = True
        if self._task is not None:
            await self._task

"""uvicorn on one port, for both doors and for the admin door."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp


class Listener(uvicorn.Server):
    """uvicorn on one port, without its own signals and its own log of every request."""

    def __init__(self, app: ASGIApp, host: str, port: int, ping: tuple[float, float] | None = None, frame_limit: int = 1) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                http="httptools",
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

    async def stop(self, drain: float) -> None:
        """Take no more connections, and finish what is in flight."""
        self.config.timeout_graceful_shutdown = max(1, round(drain))
        self.should_exit = True
        if self._task is not None:
            await self._task

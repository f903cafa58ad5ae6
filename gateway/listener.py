"""uvicorn on one port, plain or over TLS: for the doors of chargers, and for the admin door."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import structlog
import uvicorn
from starlette.types import ASGIApp

from gateway.bounded import HEADER_LIMIT, SEGMENT, UNREAD_TIMEOUT, BoundedHttp, Shared
from gateway.room import Room, Seldom
from gateway.tls import handshake_fault

HANDSHAKE_TIMEOUT = 30.0  # seconds for TLS, from the connection on; weak chargers on slow networks need some
SHUTDOWN_TIMEOUT = 10.0  # seconds for the other end to agree that TLS is over
KEEP_ALIVE = 75  # seconds between an answer and the next request
BACKLOG = 2048  # connections that wait to be taken
TAKEN_AT_ONCE = 64  # of these, before others have a turn
PAUSE = 1.0  # seconds before the next try where none can be taken
CONNECTIONS = 1000  # where nothing else is said

Contexts = Callable[[], ssl.SSLContext]
"""Gives what the next TLS handshake is made with."""

logger = structlog.get_logger(__name__)


class Threshold:
    """Takes the connections that begin with TLS: first a place in the room, then a handshake. uvicorn closes it as a server.

    The loop's own server knows one context only, and of connections no sooner than their handshake is over.
    """

    def __init__(self, listening: socket.socket, welcome: Callable[[socket.socket, str], None]) -> None:
        self._listening, self._welcome = listening, welcome
        self._loop = asyncio.get_running_loop()
        self._again: asyncio.TimerHandle | None = None
        listening.setblocking(False)
        listening.listen(BACKLOG)
        self._open()

    def close(self) -> None:
        """Take no more; again: nothing."""
        if self._listening.fileno() >= 0:
            self._loop.remove_reader(self._listening)
            self._listening.close()
        if self._again is not None:
            self._again.cancel()

    async def wait_closed(self) -> None:
        """There is nothing to wait for."""

    def _open(self) -> None:
        self._loop.add_reader(self._listening, self._take)

    def _take(self) -> None:
        for _ in range(TAKEN_AT_ONCE):
            try:
                taken, address = self._listening.accept()
            except BlockingIOError:
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:  # no more files, as a rule: it would be so again at once
                logger.error("connections.not_taken", reason=str(error))
                self._loop.remove_reader(self._listening)
                self._again = self._loop.call_later(PAUSE, self._open)
                return
            self._welcome(taken, str(address[0]))


class Listener(uvicorn.Server):
    """uvicorn on one port, without its own signals and its own log of every request.

    `ping` is the interval and the time for an answer, in seconds; `frame_limit` is in bytes. With `contexts` all connections are
    encrypted, each with the context that there is when it comes.
    """

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        port: int,
        ping: tuple[float, float] | None = None,
        frame_limit: int = 1,
        *,
        room: Room | None = None,
        contexts: Contexts | None = None,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                http=self._protocol,  # type: ignore[arg-type]
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
                timeout_keep_alive=KEEP_ALIVE,
                backlog=BACKLOG,
            )
        )
        self.port = port
        self.room = room or Room(CONNECTIONS)
        self.failed_handshakes = 0  # since the start
        garbled = Seldom(logger.info, "request.unreadable")
        self._shared = Shared(self.room, frame_limit + HEADER_LIMIT + SEGMENT, garbled)
        self._tell_failed = Seldom(logger.info, "tls.handshake_failed")
        self._contexts = contexts
        self._handshakes: set[asyncio.Task[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self._socket: socket.socket | None = None
        self._up = asyncio.Event()

    def _protocol(self, source: str | None = None, **parts: Any) -> BoundedHttp:
        return BoundedHttp(self._shared, source, **parts)

    def _welcome(self, contexts: Contexts, taken: socket.socket, source: str) -> None:
        if self.room.enter(source):
            task = asyncio.get_running_loop().create_task(self._secure(contexts(), taken, source))
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)
        else:
            taken.close()

    async def _secure(self, context: ssl.SSLContext, taken: socket.socket, source: str) -> None:
        taken.setblocking(False)
        http = self._protocol(source, config=self.config, server_state=self.server_state, app_state=self.lifespan.state)
        options = {"ssl_handshake_timeout": HANDSHAKE_TIMEOUT, "ssl_shutdown_timeout": SHUTDOWN_TIMEOUT}
        try:
            await asyncio.get_running_loop().connect_accepted_socket(lambda: http, taken, ssl=context, **options)
        except OSError as error:
            self._unsecured(source, error)
        finally:
            if not http.made:
                self.room.leave(source)

    def _unsecured(self, source: str, error: OSError) -> None:
        self.failed_handshakes += 1
        if not isinstance(error, ConnectionResetError):  # that somebody came and went, as load balancers do, is not told
            self._tell_failed(source=source, reason=handshake_fault(error, HANDSHAKE_TIMEOUT))

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
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux: connections inherit it, so that none is closed for ever
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(UNREAD_TIMEOUT * 1000))
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
        if self._contexts is None:
            await super().startup(sockets)
        else:
            welcome = partial(self._welcome, self._contexts)
            self.servers = [Threshold(listening, welcome) for listening in sockets or ()]  # type: ignore[misc]
            self.started = True
        self._up.set()

    def refuse(self) -> None:
        """Take no more connections."""
        for server in self.servers if self.started else ():
            server.close()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Told by uvicorn: it ends. Handshakes have nothing in flight yet."""
        self.refuse()
        for task in self._handshakes:
            task.cancel()
        await super().shutdown(sockets)

    async def stop(self, drain: float) -> None:
        """Take no more connections, and finish what is in flight."""
        self.config.timeout_graceful_shutdown = max(1, round(drain))
        self.should_exit = True
        if self._task is not None:
            await self._task

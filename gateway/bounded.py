"""uvicorn's protocols with the bounds that it leaves to a proxy, and with ears for the handshakes of odd chargers."""

import asyncio
from functools import partial
from typing import Any, NamedTuple

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame

from gateway.room import Room, Seldom
from gateway.tls import certificate_of

HEADER_TIMEOUT = 30.0  # seconds for the head of a request
UNREAD_TIMEOUT = 120.0  # seconds in which a peer reads nothing of what is sent to it
HEADER_LIMIT = 64 * 1024  # bytes
SEGMENT = 256 * 1024  # bytes: what event loops read at once, at most
PIPELINED = 16  # requests that wait for the answer before theirs
FRAGMENTS = 4096  # of one message
NO_CONNECTION_HEADER = "no Connection: Upgrade"
FULL = b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 30\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Shared(NamedTuple):
    """What all connections of a port share."""

    room: Room
    chunk_limit: int  # bytes of a chunk with all that is around it
    garbled: Seldom  # told of what is no HTTP


class _Patience(asyncio.Protocol):
    """Of a protocol of uvicorn: how long its peer may leave unread what is sent."""

    loop: asyncio.AbstractEventLoop
    transport: asyncio.Transport
    _unread: asyncio.TimerHandle | None = None

    def pause_writing(self) -> None:
        self._unread = self.loop.call_later(UNREAD_TIMEOUT, self.transport.abort)
        super().pause_writing()

    def resume_writing(self) -> None:
        self._forget_unread()
        super().resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_unread()
        super().connection_lost(exc)

    def _forget_unread(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None


class _Stop(Exception):
    """Keeps the parser from what follows a head."""


class BoundedHttp(_Patience, HttpToolsProtocol):
    """uvicorn's protocol with bounds that it leaves to a proxy: connections, how long and how large what is no body may be."""

    def __init__(self, shared: Shared, source: str | None, **parts: Any) -> None:
        """`source` is the address that has a place in the room already, as those have that come over TLS."""
        super().__init__(**parts)
        self.shared, self.source = shared, source
        self.made = False
        self.extensions: dict[str, Any] | None = None  # of the scope, where it came over TLS
        self.odd: tuple[str, ...] = ()
        self._head: asyncio.TimerHandle | None = None
        self._seen, self._limit = 0, 0  # bytes of a head or a chunk; no limit: in a body

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.made = True
        self._await_head()
        if self.source is None:
            self._enter(self.client[0] if self.client else "")
        else:
            self.extensions = {"tls": {"certificate": certificate_of(transport)}}

    def _enter(self, source: str) -> None:
        if self.shared.room.enter(source):
            self.source = source
        else:
            self.transport.write(FULL)
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_over()
        super().connection_lost(exc)
        if self.source is not None:
            self.shared.room.leave(self.source)

    def data_received(self, data: bytes) -> None:
        # Unlike uvicorn's: only a request ends the time that there is for the next one, not any byte.
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgrade(data[upgrade.args[0] :])
        except httptools.HttpParserError as error:
            self._parser_stopped(error)
        if self._limit:
            self._count(len(data))

    def _count(self, size: int) -> None:
        self._seen += size
        if self._seen > self._limit and not self.transport.is_closing():
            self.transport.write(TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        if self._head is None:  # a further request on a connection that is kept
            self._await_head()
        super().on_message_begin()
        if self.extensions is not None:
            self.scope["extensions"] = self.extensions

    def on_headers_complete(self) -> None:
        self._head_is_over()
        if len(self.pipeline) >= PIPELINED or (self.parser.get_method() == b"GET" and self._is_odd_handshake()):
            raise _Stop
        super().on_headers_complete()

    def on_chunk_header(self) -> None:
        # Between chunks, and behind the last, a peer could send headers and extensions without end.
        self._seen, self._limit = 0, self.shared.chunk_limit

    def _await_head(self) -> None:
        self._unset_keepalive_if_required()
        self._seen, self._limit = 0, HEADER_LIMIT
        self._head = self.loop.call_later(HEADER_TIMEOUT, self._give_up)

    def _head_is_over(self) -> None:
        self._unset_keepalive_if_required()
        self._limit = 0
        if self._head is not None:
            self._head.cancel()
            self._head = None

    def _give_up(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()

    def _is_odd_handshake(self) -> bool:
        # Seen: chargers that ask for a WebSocket with all that RFC 6455, 4.1 demands but the header Connection.
        if self.parser.should_upgrade() or not self._asks_for_websocket():
            return False
        if not any(name == b"sec-websocket-key" for name, _ in self.headers):
            return False
        self.scope["method"] = "GET"
        self.headers.append((b"connection", b"Upgrade"))
        self.odd = (NO_CONNECTION_HEADER,)
        return True

    def _asks_for_websocket(self) -> bool:
        return any(name == b"upgrade" and value.strip().lower() == b"websocket" for name, value in self.headers)

    def _should_upgrade(self) -> bool:
        # Asked where the parser stops for an upgrade. What becomes of it is for _upgrade: uvicorn takes a request for another
        # protocol as one without a body, and of several Connection headers looks at the last one only.
        return True

    def _parser_stopped(self, error: httptools.HttpParserError) -> None:
        if self.odd:
            self._become_socket(b"")
        else:
            self._refuse(str(error))

    def _refuse(self, reason: str) -> None:
        self.shared.garbled(peer=self.source, reason=reason)
        self.send_400_response("Invalid HTTP request received.")

    def _upgrade(self, rest: bytes) -> None:
        if self._asks_for_websocket():
            self._become_socket(rest)
        elif self.scope["method"] == "CONNECT":
            self._refuse("expected a request, got CONNECT")
        else:  # RFC 9110, 7.8: to ignore what is asked for is allowed; Java clients ask for h2c with each first request
            self.data_received(self._head_without(b"upgrade") + rest)

    def _head_without(self, header: bytes) -> bytes:
        lines = [f"{self.scope['method']} ".encode(), self.url, f" HTTP/{self.scope['http_version']}\r\n".encode()]
        for name, value in self.headers:
            lines += () if name == header else (name, b": ", value, b"\r\n")
        return b"".join((*lines, b"\r\n"))

    def _become_socket(self, early: bytes) -> None:
        self._head_is_over()
        self._forget_unread()
        self.headers[:] = _without_empty_offers(self.headers)
        self.ws_protocol_class = partial(BoundedSocket, self)  # type: ignore[assignment]
        self.handle_websocket_upgrade()
        socket = self.transport.get_protocol()
        assert isinstance(socket, BoundedSocket)
        # They lead back here: without them all of this is free at once.
        self.parser = self.ws_protocol_class = None  # type: ignore[assignment]
        socket.begin(early)


def _without_empty_offers(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The same, but that lists of subprotocols have no empty names, and that there is no empty list.

    RFC 9110, 5.6.1.2 has recipients ignore empty elements. Seen on chargers: `,ocpp2.0.1`.
    """
    cleaned = []
    for name, value in headers:
        if name == b"sec-websocket-protocol":
            value = b", ".join(offer.strip() for offer in value.split(b",") if offer.strip())
        if value or name != b"sec-websocket-protocol":
            cleaned.append((name, value))
    return cleaned


class BoundedSocket(_Patience, WebSocketsSansIOProtocol):
    """uvicorn's WebSocket that takes over the place of the request for it, and tells the application what was known there."""

    def __init__(self, http: BoundedHttp, **parts: Any) -> None:
        super().__init__(**parts)
        self._room, self._source, http.source = http.shared.room, http.source, None
        self._extensions = http.extensions or {}
        if http.odd:
            self._extensions = {**self._extensions, "odd": http.odd}

    def begin(self, early: bytes) -> None:
        """Told when the request has been passed on, with what came right behind it."""
        if self.handshake_initiated:
            if early and not self.transport.is_closing():  # a charger that does not wait for the answer
                self.data_received(early)
            return
        # The request is good enough for HTTP, but not for a handshake (lines above 8 KiB): uvicorn would wait for more, for ever.
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.close()

    def handle_cont(self, event: Frame) -> None:
        """Told of a fragment. Their bytes are bounded already; without bytes there could be any number."""
        if self.close_sent:
            return
        if len(self.frames) < FRAGMENTS:
            super().handle_cont(event)
        else:
            self.conn.fail(CloseCode.MESSAGE_TOO_BIG, f"expected at most {FRAGMENTS} fragments")
            self.handle_parser_exception()

    def handle_ping(self) -> None:
        """Told of a ping, to which there is a pong. Those that the other end does not read are not heaped up for it."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    async def run_asgi(self) -> None:
        """Call the application, which is told what was known of the request."""
        self.scope["extensions"].update(self._extensions)
        await super().run_asgi()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._source is not None:
            self._room.leave(self._source)

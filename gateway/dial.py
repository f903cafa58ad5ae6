"""Opens WebSockets to a CSMS: address, subprotocol, credentials, TLS. What is said over them is not its business."""

import logging
import os
import re
import ssl
import tomllib
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, NegotiationError, WebSocketException
from websockets.protocol import State
from websockets.typing import Subprotocol

try:
    from websockets.speedups import apply_mask
except ImportError:  # where it could not be compiled
    from websockets.utils import apply_mask

from gateway.config import Ocppj, secret
from gateway.link import CLOSE_GRACE, OVERSIZED, Closed, Oversized
from gateway.tls import tls

SUBPROTOCOL = Subprotocol("ocpp1.6")
FRAME_LIMIT = 1024 * 1024  # bytes
KEYS = 4096  # bytes of keys for frames that are made at a time
_TEXT, _MASKED = 0x81, 0x80  # RFC 6455, 5.2: a text frame that is a whole message; the bit that says that it is masked
_TWO_BYTES, _EIGHT_BYTES = 126, 127  # in place of a length: it is in the bytes that follow
_HEAD = 2  # bytes
_PLACE = re.compile("[{](?:identity|tenant)[}]")
FAULTS = (OSError, TimeoutError, ValueError, WebSocketException)  # why no socket could be opened


class Nameless(ValueError):
    """The address or the user name asks for what this charger does not have; it says nothing of other chargers."""


class Masks:
    """Keys for frames (RFC 6455, 5.3), from the system's source. Many at a time: asking gives up the interpreter's lock."""

    def __init__(self) -> None:
        self._keys, self._at = b"", 0

    def __call__(self) -> bytes:
        """The next key."""
        if self._at == len(self._keys):
            self._keys, self._at = os.urandom(KEYS), 0
        self._at += 4
        return self._keys[self._at - 4 : self._at]


class _Connection(ClientConnection):
    """The library's connection, with short ways for small messages: half of a relay's time went into its long ones.

    Whatever is not plain, and all that has to wait, goes the library's way.
    """

    masks: Masks
    limit: int  # bytes
    listener: Callable[[str], None] | None = None
    receiving = False  # whether somebody waits for the next message

    def send_now(self, data: bytes) -> bool:
        """Send one text message if that needs no waiting; whether it was sent."""
        if self.paused or self.protocol.state is not State.OPEN:
            return False
        self.transport.write(framed(data, self.masks()))
        return True

    def data_received(self, data: bytes) -> None:
        """Hand over a message at once, if it is all that came and nothing is before it."""
        text = plain(data, self.limit) if self.listener is not None and self._at_rest() else None
        if text is None or self.listener is None:
            super().data_received(data)
        else:
            self.listener(text)

    def _at_rest(self) -> bool:
        protocol = self.protocol
        # Who does not read our answers is not read either: the library stops reading when its queue is full.
        if self.paused or not self.receiving or protocol.state is not State.OPEN or self.recv_messages.frames:
            return False
        return getattr(protocol, "current_size", 0) is None and _between_frames(protocol.parser)


def _between_frames(parser: Any) -> bool:
    """Whether the library's parser waits for the begin of a frame. With another library than this was written for: never."""
    while (inner := parser.gi_yieldfrom) is not None:
        parser = inner
    return bool(parser.__name__ == "at_eof")


def plain(data: bytes, limit: int) -> str | None:
    """The text, where the bytes are one frame of a server (RFC 6455, 5.2) that is a whole message, of so many bytes at most."""
    if len(data) < _HEAD or data[0] != _TEXT:
        return None
    size, begin = data[1], _HEAD
    if size == _TWO_BYTES:
        size, begin = int.from_bytes(data[2:4], "big"), 4
    if size > limit or len(data) != begin + size or data[1] > _TWO_BYTES:
        return None
    try:
        return data[begin:].decode()
    except UnicodeDecodeError:  # the library knows what to say
        return None


def framed(data: bytes, mask: bytes) -> bytes:
    """A text message as a frame of a client (RFC 6455, 5.2)."""
    size = len(data)
    if size < _TWO_BYTES:
        head = bytes((_TEXT, _MASKED | size))
    elif size < 1 << 16:
        head = bytes((_TEXT, _MASKED | _TWO_BYTES)) + size.to_bytes(2, "big")
    else:
        head = bytes((_TEXT, _MASKED | _EIGHT_BYTES)) + size.to_bytes(8, "big")
    return head + mask + apply_mask(data, mask)


class Dialler:
    """Opens the sockets of one backend, one for each charger."""

    def __init__(self, config: Ocppj, frame_limit: int = FRAME_LIMIT) -> None:
        self._config, self._frame_limit = config, frame_limit
        self._credentials = Credentials(config)
        self._tls = tls(config.ca_file, config.client_cert, config.client_key) if config.url.startswith("wss:") else None
        self._logger = _quiet()
        self._masks = Masks()

    async def dial(self, identity: str, called: str, tenant: str) -> "Socket":
        """Open the socket that stands for a charger, which is `called` so by the backend. Raises one of FAULTS."""
        url = _filled("url", self._config.url, called, tenant, _part)
        socket = await self._connect(url, self._credentials.authorization(identity, called, tenant))
        if socket.subprotocol != SUBPROTOCOL:  # OCPP-J 1.6, 3.2: the server agrees to no version, and closes
            try:
                await socket.close(1002, f"expected subprotocol {SUBPROTOCOL}")
            finally:
                socket.transport.abort()
            raise NegotiationError(f"expected subprotocol {SUBPROTOCOL}, got none")
        return Socket(socket)

    async def _connect(self, url: str, authorization: str | None) -> _Connection:
        config = self._config
        connection = await connect(
            url,
            subprotocols=[SUBPROTOCOL],
            additional_headers={"Authorization": authorization} if authorization else None,
            user_agent_header="ocpp-gateway",
            compression=None,  # 33 KiB for each connection
            proxy=None,
            ssl=self._tls,
            open_timeout=config.connect_timeout,
            ping_interval=config.ping_interval,
            ping_timeout=config.ping_timeout,
            close_timeout=CLOSE_GRACE,
            max_size=self._frame_limit,
            logger=self._logger,
            create_connection=_Connection,
        )
        assert isinstance(connection, _Connection)
        connection.masks, connection.limit = self._masks, self._frame_limit
        return connection


class Socket:
    """A WebSocket as the websockets library has it."""

    __slots__ = ("_socket",)

    def __init__(self, socket: _Connection) -> None:
        self._socket = socket

    def send_now(self, data: str | bytes, /) -> bool:
        """Send one text message if that needs no waiting; whether it was sent."""
        return self._socket.send_now(data.encode() if isinstance(data, str) else data)

    async def send(self, data: str | bytes, /) -> None:
        """Send one text message. Raises Closed."""
        try:
            await self._socket.send(data, text=True)
        except ConnectionClosed as closed:
            raise _closed(closed) from None

    def listen(self, take: Callable[[str], None], /) -> None:
        """Have plain messages taken as they come, while somebody waits in `receive`, which gives all others."""
        self._socket.listener = take

    async def receive(self) -> str | bytes:
        """The next message. Raises Closed."""
        self._socket.receiving = True
        try:
            return await self._socket.recv()
        except ConnectionClosed as closed:
            raise _closed(closed) from None
        finally:
            self._socket.receiving = False

    async def close(self, code: int, reason: str) -> None:
        """Close, with the closing handshake; again: nothing."""
        await self._socket.close(code, reason)

    def abort(self) -> None:
        """Drop the connection, if there still is one."""
        self._socket.listener = None  # no cycle is left behind
        self._socket.transport.abort()

    @property
    def peer(self) -> str:
        """The address of the other end."""
        host, port, *_ = self._socket.remote_address
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


class Credentials:
    """User name and password of each charger, as the CSMS knows it (security profiles 1 and 2)."""

    def __init__(self, config: Ocppj) -> None:
        self._config = config
        self._table: dict[str, str] = {}
        self._changed: int | None = None

    def authorization(self, identity: str, called: str, tenant: str) -> str | None:
        """The Authorization header, or None without a password: that of `identity`, with the user name that `called` and `tenant`
        make. Raises OSError or ValueError if none can be read, or made.
        """
        password = self._password(identity)
        if password is None:
            return None
        name = _filled("username", self._config.username, called, tenant, str)
        return f"Basic {b64encode(f'{name}:{password}'.encode()).decode()}"

    def _password(self, identity: str) -> str | None:
        if file := self._config.passwords_file:
            self._read(file)
            if (password := self._table.get(identity.casefold())) is not None:
                return password
        return secret(self._config.password_env, self._config.password_file)

    def _read(self, file: Path) -> None:
        changed = file.stat().st_mtime_ns
        if changed == self._changed:
            return
        try:
            table = tomllib.loads(file.read_text("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError):  # their text may quote the file
            raise ValueError(f"{file.name}: expected TOML") from None
        if not all(isinstance(password, str) for password in table.values()):
            raise ValueError(f'{file.name}: expected lines like "identity" = "password"')
        self._table = {identity.casefold(): password for identity, password in table.items()}
        self._changed = changed


def _filled(key: str, template: str, called: str, tenant: str, written: Callable[[str], str]) -> str:
    """The template with what it has a place for. Raises Nameless where a charger has none of it."""
    values = {"{identity}": called, "{tenant}": tenant}
    for name, value in values.items():
        if name in template and not value:
            raise Nameless(f"expected a charger with a {name[1:-1]}, for {name} in {key}, got one without")
    return _PLACE.sub(lambda place: written(values[place[0]]), template)


def _part(value: str) -> str:
    """Percent-encoded, as a part of a path."""
    if value in (".", ".."):  # RFC 3986, 5.2.4: in a path these are no names, even percent-encoded
        raise Nameless(f"expected a name that can be a part of a path, got {value}")
    return quote(value, safe="")


def reason(fault: Exception, connect_timeout: float) -> str:
    """Why no socket could be opened, for people."""
    if isinstance(fault, InvalidStatus):
        return f"HTTP {fault.response.status_code}"
    if isinstance(fault, TimeoutError):
        return f"no connection in {connect_timeout:g} s"
    if isinstance(fault, ssl.SSLError):
        return f"TLS failed: {getattr(fault, 'verify_message', '') or fault.reason or 'unknown reason'}"
    if isinstance(fault, ConnectionRefusedError):
        return "connection refused"
    if isinstance(fault, OSError) and fault.strerror:
        return f"{fault.filename}: {fault.strerror.lower()}" if fault.filename else fault.strerror.lower()
    return str(fault)


def _quiet() -> logging.Logger:
    """A logger that says nothing: how a connection ended is told here, and the library would add its stack."""
    logger = logging.getLogger("gateway.websockets")
    logger.setLevel(logging.CRITICAL)
    logger.propagate = False
    return logger


def _closed(closed: ConnectionClosed) -> Closed:
    if closed.sent and closed.sent.code == OVERSIZED and not closed.rcvd_then_sent:
        return Oversized(closed.sent.reason)
    frame = closed.rcvd or closed.sent
    return Closed(frame.code, frame.reason) if frame else Closed(1006)

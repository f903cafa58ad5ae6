"""The layers below HTTP of a capture: pcapng blocks, IP, TCP, WebSocket frames. Bytes alone, whatever they say."""

import struct
from base64 import b64encode
from collections.abc import Iterator, Mapping
from hashlib import blake2b, sha1
from ipaddress import IPv4Address, IPv6Address, ip_address
from types import MappingProxyType
from urllib.parse import urlsplit

Address = IPv4Address | IPv6Address

RAW_IP = 101  # LINKTYPE_RAW
MSS = 1460
WINDOW = 65_535
BURST = 16  # segments until the receiver says that it has them; what is under way stays within the window
COMMENT = 60_000  # bytes; the length of an option has 16 bits
HTTP_PORT = 80
_FIN, _SYN, _PSH, _ACK = 1, 2, 8, 16
_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3

# RFC 5737, RFC 3849
GATEWAY: Mapping[int, Address] = MappingProxyType({4: IPv4Address("192.0.2.1"), 6: IPv6Address("2001:db8::1")})
_CHARGERS, _BACKENDS = int(IPv4Address("198.18.0.0")), int(IPv4Address("198.51.100.0"))  # RFC 2544: a /15; RFC 5737: a /24


def address(told: str, name: str, is_charger: bool) -> Address:
    """The address in `10.0.0.9:4711` or in a URL; else one made of the name, the same for the same name."""
    try:
        host = urlsplit(told if "://" in told else f"//{told}").hostname or ""
        return ip_address(host.partition("%")[0])
    except ValueError:
        made = int.from_bytes(_digest(name, 4))
        return IPv4Address(_CHARGERS + made % 0x1FFFE + 1 if is_charger else _BACKENDS + made % 254 + 1)


# --- pcapng ------------------------------------------------------------------------------------------------------------


def head() -> bytes:
    """Section header, and one interface whose times are microseconds, which they are unless it says otherwise."""
    section = struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1) + _option(4, b"ocpp-gateway") + _END
    interface = struct.pack("<HHI", RAW_IP, 0, 0) + _option(2, b"ocpp") + _END
    return _block(0x0A0D0D0A, section) + _block(1, interface)


def packet(at: float, data: bytes, comment: str = "") -> bytes:
    """An enhanced packet block."""
    micros = max(0, round(at * 1_000_000))
    body = struct.pack("<IIIII", 0, micros >> 32, micros & 0xFFFFFFFF, len(data), len(data)) + _padded(data)
    if comment:
        text = comment.encode("utf-8", "replace")[:COMMENT].decode("utf-8", "ignore").encode()
        body += _option(1, text) + _END
    return _block(6, body)


_END = bytes(4)


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _block(kind: int, body: bytes) -> bytes:
    size = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + size + body + size


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


# --- TCP ---------------------------------------------------------------------------------------------------------------


class _End:
    """One end of a connection: where it is, and the number of the next byte it sends."""

    __slots__ = ("address", "next", "port")

    def __init__(self, address: Address, port: int, first: int) -> None:
        self.address, self.port, self.next = address, port, first


class Connection:
    """A TCP connection, as the packets of both ends. `number` is what it differs by from others between the same two."""

    __slots__ = ("_client", "_open", "_server", "key")

    def __init__(self, client: Address, server: Address, number: int) -> None:
        digest = _digest(f"{client} {server} {number}", 24)
        self._client = _End(client, 10_000 + number % 55_000, int.from_bytes(digest[:4]))
        self._server = _End(server, HTTP_PORT, int.from_bytes(digest[4:8]))
        self.key = b64encode(digest[8:]).decode()  # RFC 6455, 4.1: 16 bytes
        self._open = False

    @property
    def accept(self) -> str:
        """What a server answers to `key`."""
        return b64encode(sha1((self.key + _GUID).encode(), usedforsecurity=False).digest()).decode()

    def open(self, at: float) -> Iterator[bytes]:
        """The handshake, unless it was."""
        if self._open:
            return
        self._open = True
        client, server = self._client, self._server
        yield self._segment(at, client, _SYN)
        yield self._segment(at, server, _SYN | _ACK)
        yield self._segment(at, client, _ACK)

    def send(self, at: float, data: bytes, from_client: bool, comment: str = "") -> Iterator[bytes]:
        """Data from one end, in segments, and what the other one acknowledges. The comment is at the last segment of it."""
        here, there = (self._client, self._server) if from_client else (self._server, self._client)
        size = MSS if here.address.version == 4 else MSS - 20
        starts = range(0, len(data), size)
        for number, start in enumerate(starts, 1):
            is_last = number == len(starts)
            part = data[start : start + size]
            yield self._segment(at, here, _ACK | (_PSH if is_last else 0), part, comment if is_last else "")
            if is_last or number % BURST == 0:
                yield self._segment(at, there, _ACK)

    def close(self, at: float, by_client: bool) -> Iterator[bytes]:
        """Both ends say that they have no more."""
        if not self._open:
            return
        self._open = False
        here, there = (self._client, self._server) if by_client else (self._server, self._client)
        yield self._segment(at, here, _FIN | _ACK)
        yield self._segment(at, there, _FIN | _ACK)
        yield self._segment(at, here, _ACK)

    def _segment(self, at: float, here: _End, flags: int, data: bytes = b"", comment: str = "") -> bytes:
        there = self._server if here is self._client else self._client
        acknowledged = there.next if flags & _ACK else 0
        options = struct.pack("!BBH", 2, 4, MSS if here.address.version == 4 else MSS - 20) if flags & _SYN else b""
        lengths = (20 + len(options)) // 4 << 12 | flags
        start = struct.pack("!HHIIHHHH", here.port, there.port, here.next, acknowledged, lengths, WINDOW, 0, 0)
        segment = start + options + data
        pseudo = here.address.packed + there.address.packed + struct.pack("!II", len(segment), 6)
        segment = segment[:16] + struct.pack("!H", checksum(pseudo + segment)) + segment[18:]
        here.next = (here.next + len(data) + bool(flags & (_SYN | _FIN))) & 0xFFFFFFFF
        return packet(at, _ip(here.address, there.address, segment), comment)


def _ip(source: Address, target: Address, segment: bytes) -> bytes:
    if source.version == 6:
        return struct.pack("!IHBB", 6 << 28, len(segment), 6, 64) + source.packed + target.packed + segment
    start = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), 0, 0x4000, 64, 6, 0) + source.packed + target.packed
    return start[:10] + struct.pack("!H", checksum(start)) + start[12:] + segment


def checksum(data: bytes) -> int:
    """RFC 1071."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) & ~1])) + (data[-1] << 8 if len(data) % 2 else 0)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


# --- WebSocket ---------------------------------------------------------------------------------------------------------


def websocket_frame(data: bytes, masked: bool) -> bytes:
    """One frame: text, or binary where the bytes are no UTF-8. What a client sends is masked (RFC 6455, 5.3)."""
    try:
        data.decode()
        opcode = 0x81
    except UnicodeDecodeError:
        opcode = 0x82
    size, mask = len(data), 0x80 if masked else 0
    if size < 126:
        start = struct.pack("!BB", opcode, mask | size)
    elif size < 1 << 16:
        start = struct.pack("!BBH", opcode, mask | 126, size)
    else:
        start = struct.pack("!BBQ", opcode, mask | 127, size)
    if not masked:
        return start + data
    key = blake2b(data, digest_size=4).digest()
    pad = (key * (size // 4 + 1))[:size]
    return start + key + (int.from_bytes(data) ^ int.from_bytes(pad)).to_bytes(size)


def _digest(text: str, size: int) -> bytes:
    return blake2b(text.encode("utf-8", "replace"), digest_size=size).digest()

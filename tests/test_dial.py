"""The short ways of a backend's socket, against the library's own: what frames they write, which they read, and in what order."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import Frame, Opcode
from websockets.protocol import OPEN
from websockets.server import ServerProtocol

from gateway.config import Ocppj
from gateway.dial import KEYS, SUBPROTOCOL, Dialler, Masks, Socket, framed, plain
from gateway.link import Closed

DEADLINE = 5.0
LIMIT = 70_000
SIZES = (0, 1, 125, 126, 65_535, 65_536)


def frame(text: str = "x", opcode: Opcode = Opcode.TEXT, fin: bool = True) -> bytes:
    return Frame(opcode, text.encode(), fin).serialize(mask=False)


@pytest.mark.parametrize("size", SIZES)
def test_a_frame_is_read_by_the_library_as_what_it_says(size: int) -> None:
    server = ServerProtocol(state=OPEN)
    server.receive_data(framed(b"x" * size, b"\1\2\3\4"))
    (event,) = server.events_received()
    assert isinstance(event, Frame)
    assert (event.opcode, event.fin, bytes(event.data)) == (Opcode.TEXT, True, b"x" * size)


@pytest.mark.parametrize("size", SIZES[:-1])
def test_a_plain_frame_is_read_as_the_library_wrote_it(size: int) -> None:
    assert plain(frame("x" * size), LIMIT) == "x" * size


NOT_PLAIN = {
    "nothing": b"",
    "half a head": b"\x81",
    "more than 16 bits of length": frame("x" * 65_536),
    "binary": frame(opcode=Opcode.BINARY),
    "a ping": frame(opcode=Opcode.PING),
    "a part": frame(fin=False),
    "the rest": frame(opcode=Opcode.CONT),
    "cut short": frame("xyz")[:-1],
    "two": frame() + frame(),
    "masked": framed(b"x", b"\1\2\3\4"),
    "not UTF-8": b"\x81\x01\xff",
    "a reserved bit": b"\xc1\x01x",
}


@pytest.mark.parametrize("data", NOT_PLAIN.values(), ids=NOT_PLAIN)
def test_what_is_not_plain_is_left_to_the_library(data: bytes) -> None:
    assert plain(data, LIMIT) is None


def test_what_is_too_long_is_left_to_the_library() -> None:
    assert (plain(frame("xx"), 2), plain(frame("xxx"), 2)) == ("xx", None)


def test_no_key_is_used_twice() -> None:
    masks = Masks()
    keys = [masks() for _ in range(KEYS)]
    assert {len(key) for key in keys} == {4}
    assert len(set(keys)) > KEYS - 8  # by chance one in a million is


# --- in order


@asynccontextmanager
async def dialled() -> AsyncIterator[Socket]:
    async def serving(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with serve(serving, "127.0.0.1", 0, subprotocols=[SUBPROTOCOL]) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        config = Ocppj(name="csms", kind="ocppj", url=f"ws://127.0.0.1:{port}/{{identity}}")
        socket = await Dialler(config, LIMIT).dial("CP-1", "CP-1", "")
        try:
            yield socket
        finally:
            socket.abort()


class Reader:
    """Notes what comes either way, and what of it came at once."""

    def __init__(self, socket: Socket) -> None:
        self.heard: list[str | bytes] = []
        self.at_once: list[str] = []
        self._socket = socket
        socket.listen(self._take)

    def _take(self, data: str) -> None:
        self.heard.append(data)
        self.at_once.append(data)

    async def read(self) -> Closed:
        while True:
            try:
                self.heard.append(await self._socket.receive())
            except Closed as closed:
                return closed


async def read(*chunks: bytes) -> tuple[Reader, asyncio.Task[Closed]]:
    """What becomes of chunks that come one by one, the loop running in between, and how the socket was closed."""
    async with dialled() as socket:
        reader = Reader(socket)
        reading = asyncio.create_task(reader.read())
        for chunk in chunks:
            for _ in range(5):
                await asyncio.sleep(0)
            socket._socket.data_received(chunk)  # as TCP may cut it, but for once as we want it
        for _ in range(5):
            await asyncio.sleep(0)
        socket.abort()
        await asyncio.wait({reading}, timeout=DEADLINE)
        return reader, reading


a, b, c = frame("a"), frame("b"), frame("c")
ORDERS: dict[str, tuple[Sequence[bytes], list[str], list[str]]] = {
    "one by one": ((a, b, c), ["a", "b", "c"], ["a", "b", "c"]),
    "at a time": ((a + b, c), ["a", "b", "c"], ["c"]),
    "head and rest": ((a[:2], a[2:], b), ["a", "b"], ["b"]),
    "a rest that looks like a frame": ((b"\x81\x03", b"\x81\x01y"), [], []),
    "a ping in between": ((a, frame("", Opcode.PING), b), ["a", "b"], ["a", "b"]),
    "in parts": ((frame("a", fin=False), frame("b", Opcode.CONT), c), ["ab", "c"], ["c"]),
    "parts with a ping": ((frame("a", fin=False), frame("", Opcode.PING), frame("b", Opcode.CONT), c), ["ab", "c"], ["c"]),
    "before its close": ((a + frame("\3\xe8", Opcode.CLOSE),), ["a"], []),
}


@pytest.mark.parametrize(("chunks", "heard", "at_once"), ORDERS.values(), ids=ORDERS)
async def test_messages_come_once_and_in_order(chunks: Sequence[bytes], heard: list[str], at_once: list[str]) -> None:
    reader, _ = await read(*chunks)
    assert (reader.heard, reader.at_once) == (heard, at_once)


async def test_a_message_within_parts_of_another_is_an_error_for_the_library() -> None:
    reader, _ = await read(frame("a", fin=False), b)
    assert reader.heard == []


async def test_nobody_is_heard_before_somebody_waits() -> None:
    async with dialled() as socket:
        reader = Reader(socket)
        socket._socket.data_received(a)
        assert (reader.heard, await socket.receive()) == ([], "a")


async def test_who_does_not_read_is_not_heard_at_once() -> None:
    async with dialled() as socket:
        reader = Reader(socket)
        reading = asyncio.create_task(reader.read())
        await asyncio.sleep(0)
        socket._socket.pause_writing()
        socket._socket.data_received(a)
        assert (reader.at_once, socket.send_now(b"x")) == ([], False)
        socket._socket.resume_writing()
        socket.abort()
        await asyncio.wait({reading}, timeout=DEADLINE)
        assert reader.heard == ["a"]

"""The load: chargers on bare sockets with requests built beforehand, so that they cost less than whoever answers them."""

import asyncio
import random
import re
import time
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator
from dataclasses import dataclass
from itertools import cycle
from statistics import quantiles
from typing import Any, TypeVar, cast

import uvloop

from bench import samples
from bench.frames import PING, PONG, TEXT, Reader, frame, request
from translations import ocppj, soap
from translations.messages import Version

WARM = 0.5  # seconds before the clock starts
DEADLINE = 60.0  # seconds for connecting, and for the last answers
HOST = "127.0.0.1"
_LENGTH = re.compile(rb"content-length: (\d+)", re.IGNORECASE)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Rate:
    """What a closed loop reached, and all the calls that it made, those for warming up included."""

    per_second: float
    calls: int


@dataclass(frozen=True, slots=True)
class Latency:
    """What an open loop saw, in milliseconds."""

    p50: float
    p99: float


class Tally:
    """Counts the answers of one run. The first wrong answer ends it."""

    def __init__(self) -> None:
        self.calls = 0
        self.over = False
        self._wrong: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def wrong(self, what: bytes) -> None:
        """An answer came that is none."""
        if not self._wrong.done():
            self._wrong.set_exception(RuntimeError(f"expected an answer, got {what[:600]!r}"))

    async def wait(self, awaited: Coroutine[Any, Any, T], deadline: float = DEADLINE) -> T:
        """Wait for something. Raises RuntimeError for a wrong answer, TimeoutError at the deadline."""
        task = asyncio.ensure_future(awaited)
        both: set[asyncio.Future[Any]] = {task, self._wrong}
        done, _ = await asyncio.wait(both, timeout=deadline, return_when=asyncio.FIRST_COMPLETED)
        if task not in done:
            task.cancel()
        if self._wrong in done:
            self._wrong.result()
        if not done:
            raise TimeoutError
        return task.result()

    async def rate(self, seconds: float, over: Callable[[], Coroutine[Any, Any, object]]) -> Rate:
        """Calls per second, after a while for warming up; `over` waits for the last answers."""
        await self.wait(asyncio.sleep(WARM))
        calls, begin = self.calls, time.perf_counter()
        await self.wait(asyncio.sleep(seconds), seconds + DEADLINE)
        per_second = (self.calls - calls) / (time.perf_counter() - begin)
        self.over = True
        await self.wait(over())
        return Rate(per_second, self.calls)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run on uvloop."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(work)


async def gathered(work: Iterable[Awaitable[T]]) -> list[T]:
    """All of it at the same time, as a coroutine."""
    return await asyncio.gather(*work)


def identity(number: int) -> str:
    return f"CP-{number:04}"


# --- SOAP


def posts(number: int, port: int, *, close: bool = False, actions: tuple[str, ...] = samples.SMALL) -> list[bytes]:
    """A SOAP charger's requests; every other charger speaks 1.6 instead of 1.5."""
    version = Version.V16 if number % 2 else Version.V15
    return [_post(samples.from_charger(samples.small(a, version), identity(number)), number, port, close) for a in actions]


def _post(body: bytes, number: int, port: int, close: bool) -> bytes:
    head = (
        f"POST /soap/{identity(number)} HTTP/1.1\r\nHost: {HOST}:{port}\r\nContent-Type: application/soap+xml; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n{'Connection: close' if close else 'Connection: keep-alive'}\r\n\r\n"
    )
    return head.encode() + body


class Poster(asyncio.Protocol):
    """One HTTP connection. `answered` is told each time that a whole answer is in."""

    def __init__(self, answered: Callable[["Poster"], None], tally: Tally) -> None:
        self._answered, self._tally = answered, tally
        self._head, self._missing = b"", 0
        self._transport: asyncio.Transport | None = None
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but ancestry

    def send(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    def close(self) -> None:
        assert self._transport is not None
        self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set_result(None)

    def data_received(self, data: bytes) -> None:
        if self._missing:
            self._missing -= len(data)
        elif not self._begun(data):
            return
        if not self._missing:
            self._tally.calls += 1
            self._answered(self)

    def _begun(self, data: bytes) -> bool:
        head = self._head + data
        end = head.find(b"\r\n\r\n")
        if end < 0:
            self._head = head
            return False
        length = _LENGTH.search(head)
        if not head.startswith(b"HTTP/1.1 200") or length is None:
            self._tally.wrong(head)
            return False
        self._head, self._missing = b"", end + 4 + int(length[1]) - len(head)
        return True


async def _poster(port: int, answered: Callable[[Poster], None], tally: Tally) -> Poster:
    _, poster = await asyncio.get_running_loop().create_connection(lambda: Poster(answered, tally), HOST, port)
    return poster


async def keep_alive(port: int, callers: int, seconds: float) -> Rate:
    """Calls per second of so many chargers that keep their connection."""
    tally = Tally()
    posters = [await tally.wait(_calling(port, cycle(posts(n, port)), tally)) for n in range(callers)]
    return await tally.rate(seconds, lambda: gathered(poster.lost for poster in posters))


async def _calling(port: int, requests: Iterator[bytes], tally: Tally) -> Poster:
    def answered(poster: Poster) -> None:
        if tally.over:
            poster.close()
        else:
            poster.send(next(requests))

    poster = await _poster(port, answered, tally)
    poster.send(next(requests))
    return poster


async def per_call(port: int, callers: int, seconds: float) -> Rate:
    """Calls per second of so many chargers that open a connection for each call."""
    tally = Tally()
    tasks = [asyncio.create_task(_once_each(port, cycle(posts(n, port, close=True)), tally)) for n in range(callers)]
    return await tally.rate(seconds, lambda: gathered(tasks))


async def _once_each(port: int, requests: Iterator[bytes], tally: Tally) -> None:
    while not tally.over:
        await post_once(port, next(requests), tally)


async def post_once(port: int, request: bytes, tally: Tally) -> None:
    """One call over a connection of its own, until the server has closed it."""
    poster = await _poster(port, lambda _: None, tally)
    poster.send(request)
    await poster.lost


# --- open loop


class _Arrivals:
    """Hands each call to a free connection when it is due, or to the first that gets free after."""

    def __init__(self) -> None:
        self.took: list[float] = []
        self._free: deque[tuple[Poster, Iterator[bytes]]] = deque()
        self._due: deque[float] = deque()
        self._idle = asyncio.Event()
        self._busy: dict[Poster, tuple[Iterator[bytes], float]] = {}

    def join(self, poster: Poster, requests: Iterator[bytes]) -> None:
        self._free.append((poster, requests))
        self._start()

    def arrive(self, due: float) -> None:
        self._due.append(due)
        self._start()

    def answered(self, poster: Poster) -> None:
        requests, due = self._busy.pop(poster)
        self.took.append(time.perf_counter() - due)
        self.join(poster, requests)

    def _start(self) -> None:
        while self._due and self._free:
            poster, requests = self._free.popleft()
            self._busy[poster] = requests, self._due.popleft()
            poster.send(next(requests))
        if not self._busy:
            self._idle.set()
        else:
            self._idle.clear()

    async def idle(self) -> None:
        """Wait for the answers to all that has arrived."""
        await self._idle.wait()


async def open_loop(port: int, callers: int, rate: float, seconds: float) -> Latency:
    """Latency from the moment a call was due, with Poisson arrivals over connections that are kept."""
    tally, arrivals = Tally(), _Arrivals()
    posters = [await tally.wait(_poster(port, arrivals.answered, tally)) for _ in range(callers)]
    for number, poster in enumerate(posters):
        arrivals.join(poster, cycle(posts(number, port)))
    due = list(_due(rate, seconds + WARM))
    await tally.wait(asyncio.to_thread(_dispatch, due, arrivals, asyncio.get_running_loop()), seconds + DEADLINE)
    await tally.wait(arrivals.idle())
    for poster in posters:
        poster.close()
    cuts = quantiles(arrivals.took[round(rate * WARM) :], n=100)
    return Latency(1e3 * cuts[49], 1e3 * cuts[98])


def _due(rate: float, seconds: float) -> Iterator[float]:
    at = 0.0
    while (at := at + random.expovariate(rate)) < seconds:
        yield at


def _dispatch(due: list[float], arrivals: _Arrivals, loop: asyncio.AbstractEventLoop) -> None:
    """On a thread: the timers of the loop are a whole millisecond coarse."""
    begin = time.perf_counter()
    for at in due:
        time.sleep(max(0.0, begin + at - time.perf_counter()))
        loop.call_soon_threadsafe(arrivals.arrive, begin + at)


# --- JSON


def calls(version: Version = Version.V16, actions: tuple[str, ...] = ("StatusNotification", "Heartbeat")) -> list[bytes]:
    """A JSON charger's frames."""
    frames = [ocppj.encode(soap.decode(samples.small(action, version))[1]) for action in actions]
    return [frame(TEXT, payload, masked=True) for payload in frames]


class Socket(asyncio.Protocol):
    """One JSON charger. It calls as long as it has something to say, and answers pings for ever."""

    def __init__(self, hello: bytes, requests: Iterator[bytes], tally: Tally) -> None:
        self._hello, self._requests, self._tally = hello, requests, tally
        self._reader, self._open = Reader(), False
        self.answer = b""  # the newest
        self._transport: asyncio.Transport | None = None
        self.said: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # all that it had to say
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but ancestry
        self._transport.write(self._hello)

    def data_received(self, data: bytes) -> None:
        if not self._open:
            head, _, data = data.partition(b"\r\n\r\n")
            if not head.startswith(b"HTTP/1.1 101"):
                self._tally.wrong(head)
                return
            self._open = True
            self._call()
        for opcode, payload in self._reader.feed(data):
            self._heard(opcode, payload)

    def _heard(self, opcode: int, payload: bytes) -> None:
        if opcode == TEXT and payload.startswith(b"[3,"):
            self._tally.calls += 1
            self.answer = payload
            self._call()
        elif opcode == PING and self._transport:
            self._transport.write(frame(PONG, payload, masked=True))
        else:
            self._tally.wrong(payload)

    def _call(self) -> None:
        assert self._transport is not None
        call = None if self._tally.over else next(self._requests, None)
        if call is not None:
            self._transport.write(call)
        elif not self.said.done():
            self.said.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set_result(None)

    def close(self) -> None:
        assert self._transport is not None
        self._transport.abort()


async def charger(port: int, number: int, requests: Iterator[bytes], tally: Tally) -> Socket:
    """A JSON charger, connecting."""
    hello = request(f"/ocpp/{identity(number)}", port)
    _, socket = await asyncio.get_running_loop().create_connection(lambda: Socket(hello, requests, tally), HOST, port)
    return socket


async def over_websocket(port: int, callers: int, seconds: float) -> Rate:
    """Calls per second of so many JSON chargers."""
    tally = Tally()
    sockets = [await tally.wait(charger(port, n, cycle(calls()), tally)) for n in range(callers)]
    return await tally.rate(seconds, lambda: _silent(sockets))


async def _silent(sockets: list[Socket]) -> None:
    await asyncio.gather(*(socket.said for socket in sockets))
    for socket in sockets:
        socket.close()
    await asyncio.gather(*(socket.lost for socket in sockets))

"""A JSON CSMS written by hand on a websockets server: it numbers as it likes, judges by jsonschema, and can be ill in many ways.

It answers, and as a listener it only hears; which of the two is the gateway's business.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from itertools import chain, count
from typing import Any
from urllib.parse import unquote

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.judges import validator
from tests.peers.book import START, Book, Noted
from tests.peers.csms import answers
from tests.peers.seen import DEADLINE, Seen
from tests.peers.stack16 import Payload, exact

FIRST = 900_001


class Refused(Exception):
    """A command was answered with a CALLERROR; its code."""


class End:
    """One charger's connection."""

    def __init__(self, identity: str, socket: Noted, csms: "PlainCsms") -> None:
        self.identity, self.socket, self.csms = identity, socket, csms
        self.waiting: dict[str, asyncio.Future[Any]] = {}

    async def answer(self, call: Any) -> None:
        """Answer a call as it should be."""
        await self.socket.send(json.dumps([3, call[1], self.csms.result(call[2])]))

    async def ask(self, message_id: str, action: str, payload: Payload) -> Payload:
        """Make a call. Raises Refused."""
        self.waiting[message_id] = asyncio.get_running_loop().create_future()
        await self.socket.send(json.dumps([2, message_id, action, payload]))
        async with asyncio.timeout(DEADLINE):
            frame = await self.waiting[message_id]
        if frame[0] == 4:
            raise Refused(frame[2])
        validator(action, True).validate(frame[2])
        result: Payload = frame[2]
        return result


Conduct = Callable[[End, Any], Coroutine[Any, Any, None]]
"""What a CSMS does with a call that it has heard."""


async def promptly(end: End, call: Any) -> None:
    """Answers."""
    await end.answer(call)


async def never(end: End, call: Any) -> None:
    """Does not answer."""


def once(let: asyncio.Event) -> Conduct:
    """Answers as soon as it is let."""

    async def conduct(end: End, call: Any) -> None:
        await let.wait()
        await end.answer(call)

    return conduct


async def lying(end: End, call: Any) -> None:
    """Answers what nobody asked, and what was asked with nonsense."""
    lies: tuple[list[Any], ...] = (
        [3, "of-nobody", {}],
        [3, call[1], {"transactionId": "seven"}],
        [3, call[1], {"status": "Accepted"}],
    )
    for lie in lies:
        await end.socket.say(json.dumps(lie))


async def babbling(end: End, call: Any) -> None:
    """Answers what is no frame."""
    for text in ("hello", "[]", "[3]", '{"a":1}', "[9,9,9]", "\x00\x01"):
        await end.socket.say(text)


async def flooding(end: End, call: Any) -> None:
    """Answers, and commands without end what it may not."""
    await end.answer(call)
    for number in range(50):
        await end.socket.say(json.dumps([2, f"{call[1]}-{number}", "Reset", {"type": "Hard"}]))


async def refusing(end: End, call: Any) -> None:
    """Answers with a CALLERROR."""
    await end.socket.send(json.dumps([4, call[1], "InternalError", "no", {}]))


async def hanging_up(end: End, call: Any) -> None:
    """Is gone as soon as it hears something."""
    end.socket.transport.abort()


def odd(*first: int) -> Iterator[int]:
    """These numbers, and then sound ones."""
    return chain(first, count(FIRST))


class PlainCsms:
    """The central system; `conduct` is what it does with calls."""

    def __init__(self, numbers: Iterator[int]) -> None:
        self.answers, self.book = answers(), Book()
        self.conduct: Conduct = promptly
        self.ends: Seen[End] = Seen()
        self.port = 0
        self.numbers, self._ids = numbers, count(1)
        self._server: Server | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/{{identity}}"

    def result(self, action: str) -> Payload:
        """What answers a call; each start gets a number of its own."""
        return self.answers[action] | ({"transactionId": next(self.numbers)} if action == START else {})

    async def command(self, identity: str, action: str, payload: Payload) -> Payload:
        """Make a call to a charger over its newest connection. Raises Refused."""
        await self.ends.wait(lambda end: end.identity == identity)
        newest = [end for end in self.ends if end.identity == identity][-1]
        return await newest.ask(f"plain-{next(self._ids)}", action, payload)

    async def start(self) -> None:
        """Listen, again on the same port after a stop."""
        if self._server is None:
            options: dict[str, Any] = {"subprotocols": [Subprotocol("ocpp1.6")], "compression": None, "close_timeout": 0.2}
            self._server = await serve(self._talk, "127.0.0.1", self.port, **options)
            self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def _talk(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        identity = unquote(connection.request.path.rpartition("/")[2])
        end = End(identity, Noted(connection, identity, self.book), self)
        self.ends.add(end)
        tasks: set[asyncio.Task[None]] = set()
        with suppress(ConnectionClosed):
            async for raw in end.socket:
                self._take(end, exact(raw), tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _take(self, end: End, frame: Any, tasks: set[asyncio.Task[None]]) -> None:
        if frame[0] == 2:
            task = asyncio.create_task(_quietly(self.conduct(end, frame)))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        elif (asked := end.waiting.get(frame[1])) and not asked.done():
            asked.set_result(frame)


async def _quietly(work: Coroutine[Any, Any, None]) -> None:
    with suppress(ConnectionClosed):
        await work


@asynccontextmanager
async def plain_csms(numbers: Iterator[int] | None = None) -> AsyncIterator[PlainCsms]:
    """Such a CSMS on a free port; without `numbers` it counts from `FIRST`."""
    csms = PlainCsms(numbers or count(FIRST))
    await csms.start()
    try:
        yield csms
    finally:
        await csms.stop()

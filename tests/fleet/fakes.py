"""Backends in memory, for a fleet in fast motion: they outlive the gateway, go away, come back, and answer late or never."""

import asyncio
import random
from collections.abc import Callable, Iterator
from typing import Any

from gateway.exchange import Broken, NotSent, Standing, Unanswered
from tests.fleet.fastforward import Life
from tests.peers.book import MONEY, START, Book, Entry
from tests.peers.csms import answers
from tests.peers.stack16 import Payload
from translations.messages import Answer, Call, Error, Result

DEADLINE = 30.0  # seconds that the gateway waits for an answer
AMONG = 0.5  # seconds after an answer in which a kill may fall before it is on disk


class FakeCsms:
    """A backend as it is out there. `late` and `never` are chances, of an answer after the deadline, and of none at all."""

    def __init__(self, name: str, numbers: Iterator[int], chance: random.Random) -> None:
        self.name, self.book, self.up = name, Book(), True
        self.late = self.never = self.errors = 0.0
        self.chance = chance
        self._numbers, self._answers = numbers, answers()
        self._ends: list[FakeBackend] = []
        self.kills: list[float] = []
        self.since = 0.0

    def join(self, end: "FakeBackend") -> None:
        self._ends.append(end)

    def part(self, end: "FakeBackend") -> None:
        if end in self._ends:
            self._ends.remove(end)

    def go(self) -> None:
        """Away, with all connections."""
        self.up, self.since = False, _now()
        for end in tuple(self._ends):
            end.lost()

    def come(self) -> None:
        """Back."""
        self.up, self.since = True, _now()
        for end in tuple(self._ends):
            end.found()

    def result(self, call: Call) -> Payload:
        return self._answers[call.action] | ({"transactionId": next(self._numbers)} if call.action == START else {})

    def excused(self, book: Book, entry: Entry) -> bool:
        """Whether the gateway cannot have known, or could not take down in time, that the entry was answered."""
        return entry.answered is None or any(0 <= at - entry.answered < AMONG for at in self.kills)


class FakeBackend:
    """A backend as one run of the gateway has it: what the router asks of a backend, and nothing of OCPP-J."""

    def __init__(
        self, csms: FakeCsms, life: Life, *, on_up: Callable[[str, str], None], on_late: Callable[[str, Answer], None]
    ) -> None:
        self.name = csms.name
        self._csms, self._life, self._on_up, self._on_late = csms, life, on_up, on_late
        self._sessions: dict[str, int] = {}
        self._dropping: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[None]] = set()
        self.dropped = 0
        csms.join(self)

    # --- what the router asks

    def arrive(self, identity: str) -> None:
        key = identity.casefold()
        if key not in self._sessions:
            self._sessions[key] = self._csms.book.connected()
            self._later(self._csms.chance.uniform(0.01, 0.5), self._opened, identity)

    def leave(self, identity: str) -> None:
        self._sessions.pop(identity.casefold(), None)

    def up(self, identity: str) -> bool:
        return self._csms.up and identity.casefold() in self._sessions

    def standing(self, identity: str) -> Standing:
        return Standing(self.up(identity), self._csms.since)

    def offer(self, call: Call) -> None:
        self.arrive(call.identity)
        self._spawn(self._told(call))

    async def exchange(self, call: Call, within: float | None = None) -> Answer:
        self.arrive(call.identity)
        if not self._csms.up:
            return self._error(NotSent, call, "is away")
        if not await self._took(self._csms.chance.uniform(0.01, 0.3)):
            return self._error(NotSent, call, "went away before it heard")
        if self._life.dead:
            raise asyncio.CancelledError
        return await self._heard(call, min(DEADLINE, within or DEADLINE))

    async def close(self, drain: float | None = None) -> None:
        self.gone()

    def gone(self) -> None:
        """The gateway is."""
        self._csms.part(self)
        self.lost()

    # --- what becomes of it

    async def _heard(self, call: Call, within: float) -> Answer:
        if call.action in MONEY and self._csms.chance.random() < self._csms.errors:
            return self._error(Error, call, "has a bad moment")
        connection = self._sessions.get(call.identity.casefold(), 0)
        message_id = call.id or f"letter-{len(self._csms.book.entries)}"
        frame = [2, message_id, call.action, call.payload]
        self._csms.book.hear(connection, call.identity, frame)
        answer = Result(self._csms.result(call), call.id, call.action)
        late = self._csms.chance.random() < self._csms.late
        if late or self._csms.chance.random() < self._csms.never:
            return await self._unanswered(call, answer, connection, message_id, within, late=late)
        if not await self._took(self._csms.chance.uniform(0.01, 0.3)):
            return self._error(Broken, call, "went away before it answered")
        self._csms.book.say(connection, [3, message_id, answer.payload])
        return answer

    async def _unanswered(
        self, call: Call, answer: Result, connection: int, message_id: str, within: float, *, late: bool
    ) -> Answer:
        if not await self._took(within):
            return self._error(Broken, call, "went away before it answered")
        if late:
            self._spawn(self._answer_late(call, answer, connection, message_id))
        text = f"backend {self.name} gave no answer in {within:g} s"
        return Unanswered("InternalError", text, {}, call.id, call.action, backend=self.name, waited=within)

    async def _answer_late(self, call: Call, answer: Result, connection: int, message_id: str) -> None:
        if await self._took(self._csms.chance.uniform(1, 30)):
            self._csms.book.say(connection, [3, message_id, answer.payload])
            self._life.call(self._on_late, self.name, answer)

    async def _told(self, call: Call) -> None:
        answer = await self.exchange(call)
        self.dropped += isinstance(answer, NotSent)

    async def _took(self, seconds: float) -> bool:
        """Whether the connection lasts so long."""
        dropping = self._dropping
        await asyncio.wait({dropping}, timeout=seconds)
        return not dropping.done()

    def lost(self) -> None:
        """All connections are."""
        self._dropping.set_result(None)
        self._dropping = asyncio.get_running_loop().create_future()

    def found(self) -> None:
        """It can be reached again; who is here connects one after the other."""
        for identity in tuple(self._sessions):
            self._sessions[identity] = self._csms.book.connected()
            self._later(self._csms.chance.uniform(0.1, 60), self._opened, identity)

    def _opened(self, identity: str) -> None:
        if not self._life.dead and self.up(identity):
            self._on_up(self.name, identity)

    def _later(self, seconds: float, work: Callable[..., None], *arguments: Any) -> None:
        asyncio.get_running_loop().call_later(seconds, lambda: self._life.call(work, *arguments))

    def _spawn(self, work: Any) -> None:
        task = self._life.task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _error(self, kind: type[Error], call: Call, text: str) -> Error:
        return kind("InternalError", f"backend {self.name} {text}", {}, call.id, call.action)


def _now() -> float:
    return asyncio.get_running_loop().time()

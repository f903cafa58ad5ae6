"""An outbox under test: a clock that is moved by hand, and a backend that answers what it is told to."""

import asyncio
import heapq
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from gateway.config import Replay
from gateway.exchange import Ids
from gateway.outbox.outbox import Delivered, Outbox
from gateway.state.ledger import Ledger
from gateway.state.letters import Letter, Rank
from gateway.state.store import Row, StateStore
from tests.peers.seen import DEADLINE
from translations.messages import Answer, Call, Error, Result

NOW = 1_714_550_400.0
AT_ONCE = 1e9  # letters in a second: no pace
B, CP = "csms", "CP-1"


class Timer:
    """What is to be called back."""

    def __init__(self, then: Callable[[], None]) -> None:
        self.then: Callable[[], None] | None = then

    def cancel(self) -> None:
        self.then = None


class Clock:
    """Unix seconds, and what is to happen when they are reached."""

    def __init__(self) -> None:
        self.now = NOW
        self._timers: list[tuple[float, int, Timer]] = []
        self._count = itertools.count()

    def __call__(self) -> float:
        return self.now

    def later(self, seconds: float, then: Callable[[], None]) -> Timer:
        timer = Timer(then)
        heapq.heappush(self._timers, (self.now + seconds, next(self._count), timer))
        return timer

    @property
    def waiting(self) -> list[float]:
        """In how many seconds something happens."""
        return sorted(at - self.now for at, _, timer in self._timers if timer.then)

    def move(self, seconds: float) -> None:
        """So many seconds pass."""
        until = self.now + seconds
        while self._timers and self._timers[0][0] <= until:
            at, _, timer = heapq.heappop(self._timers)
            self.now = max(self.now, at)
            if timer.then:
                timer.then()
        self.now = until


class Sent:
    """One sending that waits for its answer."""

    def __init__(self, letter: Letter, call: Call) -> None:
        self.letter, self.call = letter, call
        self.answer: asyncio.Future[Delivered] = asyncio.get_running_loop().create_future()


class Backend:
    """A backend. With a `script` it answers at once, without one it waits for `answer`."""

    def __init__(self, script: Callable[[Call], Answer] | None = None) -> None:
        self.script, self.is_up = script, True
        self.sent: list[Sent] = []
        self.held: list[tuple[str, bool]] = []
        self.rows: tuple[Row, ...] = ()

    async def deliver(self, letter: Letter, call: Call) -> Delivered:
        sent = Sent(letter, call)
        self.sent.append(sent)
        if self.script:
            sent.answer.set_result(Delivered(self.script(call), self.rows))
        return await sent.answer

    def up(self, identity: str) -> bool:
        return self.is_up

    def hold(self, identity: str, held: bool) -> None:
        self.held.append((identity, held))

    def learn(self, letter: Letter, answer: Answer) -> tuple[Row, ...]:
        return self.rows

    @property
    def open(self) -> list[Sent]:
        """What waits for its answer."""
        return [sent for sent in self.sent if not sent.answer.done()]

    def said(self) -> list[Any]:
        """What it heard, by `n`."""
        return [sent.call.payload.get("n", sent.call.payload.get("status")) for sent in self.sent]


class Run:
    """One run of the gateway on a state file."""

    def __init__(self, path: Path, clock: Clock, backend: Backend, **config: Any) -> None:
        self.clock, self.backend = clock, backend
        self.store = StateStore(path)
        self.ledger = Ledger(self.store, 3600, clock)
        self.outbox = Outbox(Replay(**{"rate": AT_ONCE} | config), self.ledger, Ids(), clock, later=clock.later)

    async def open(self) -> "Run":
        self.store.open()
        await self.ledger.open(100)
        b = self.backend
        self.outbox.serve(B, deliver=b.deliver, up=b.up, hold=b.hold, learn=b.learn)
        await self.outbox.open()
        return self

    async def close(self) -> None:
        await self.outbox.close(0)
        await self.ledger.close()
        self.store.close()

    async def put(self, call: Call, rank: Rank = Rank.MONEY, **more: Any) -> Letter:
        """Post, and have it on disk."""
        letter, rows = self.outbox.post(B, call, rank, **more)
        if rows:
            await self.ledger.accept(rows, landed=lambda ok: self.outbox.landed(letter, ok))
        await self.quiet()
        return letter

    async def quiet(self) -> None:
        """Until whatever can be done is done, and is on disk."""
        async with asyncio.timeout(DEADLINE):
            await self._turns()
            while any(lane.task and lane.flying is None for lane in self.outbox._out.lanes.values()):
                await self._turns()
            await self._turns()

    async def _turns(self) -> None:
        await self.ledger.keep()
        for _ in range(5):
            await asyncio.sleep(0)

    async def reply(self, answer: Answer) -> None:
        """Answer the oldest that waits."""
        self.backend.open[0].answer.set_result(Delivered(answer, self.backend.rows))
        await self.quiet()

    async def move(self, seconds: float) -> None:
        """So many seconds pass."""
        self.clock.move(seconds)
        await self.quiet()

    def disk(self) -> list[tuple[int, str | None]]:
        """Id of each letter that is stored, and why it is dead."""
        return self.store.read("SELECT id, dead FROM letters ORDER BY id")


def meter(n: int, identity: str = CP) -> Call:
    """Carries money."""
    return Call("MeterValues", {"connectorId": 1, "transactionId": 7, "n": n, "meterValue": []}, "x", identity)


def start(n: int = 0, identity: str = CP, **more: Any) -> Call:
    begun = {"connectorId": 1, "idTag": "TAG1", "meterStart": 0, "timestamp": "2024-05-01T08:00:00Z", "n": n}
    return Call("StartTransaction", begun | more, "x", identity)


def stop(number: int, identity: str = CP) -> Call:
    ended = {"transactionId": number, "meterStop": 9, "timestamp": "2024-05-01T09:00:00Z", "n": "stop"}
    return Call("StopTransaction", ended, "x", identity)


def status(word: str, connector: int = 1) -> Call:
    return Call("StatusNotification", {"connectorId": connector, "errorCode": "NoError", "status": word}, "x", CP)


def boot(n: int = 0) -> Call:
    return Call("BootNotification", {"chargePointModel": "M", "chargePointVendor": "V", "n": f"boot {n}"}, "x", CP)


def accept(call: Call) -> Answer:
    known = {"status": "Accepted", "interval": 300} if call.action == "BootNotification" else {}
    return Result(known, call.id, call.action)


def fail(call: Call) -> Answer:
    return Error("InternalError", "not TAG1 again", {}, call.id, call.action)

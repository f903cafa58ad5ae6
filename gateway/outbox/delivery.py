"""How letters get out of their lanes: order, pace, and when there is something to send. What becomes of them `fates` says.

A lane has one task while there is something to send and its backend is up, and a timer while its first letter is not due.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from dataclasses import replace
from functools import partial

import structlog

from gateway.config import Replay
from gateway.exchange import Ids, NotSent
from gateway.outbox.fates import Delivered, Fates
from gateway.outbox.lanes import Lane, Timer
from gateway.pace import Pace
from gateway.state import letters as table
from gateway.state.ledger import Ledger
from gateway.state.letters import Letter
from gateway.state.store import Row, StateError
from translations.messages import Answer, Call

FLYING = 64  # lanes of a backend in flight at once
PAUSE = 5.0  # seconds for the disk to come back

logger = structlog.get_logger(__name__)


Deliver = Callable[[Letter, Call], Awaitable[Delivered]]
Learn = Callable[[Letter, Answer], tuple[Row, ...]]
Later = Callable[[float, Callable[[], None]], Timer]


class _Served:
    """A backend: how it is reached."""

    __slots__ = ("deliver", "hold", "learn", "slots", "up")

    def __init__(self, deliver: Deliver, up: Callable[[str], bool], hold: Callable[[str, bool], None], learn: Learn) -> None:
        self.deliver, self.up, self.hold, self.learn = deliver, up, hold, learn
        self.slots = asyncio.Semaphore(FLYING)


def later_on(seconds: float, then: Callable[[], None]) -> Timer:
    """Call back after so many seconds, by the event loop."""
    return asyncio.get_running_loop().call_later(seconds, then)


def nothing(_: Letter, __: Answer) -> tuple[Row, ...]:
    """No rows follow."""
    return ()


class Delivery:
    """The lanes, and the way out of them. The clock gives unix seconds; `later` calls back after so many."""

    def __init__(self, config: Replay, ledger: Ledger, fates: Fates, ids: Ids, clock: Callable[[], float], later: Later) -> None:
        self.lanes: dict[tuple[str, str], Lane] = {}
        self.served: dict[str, _Served] = {}
        self._config, self._ledger, self._ids, self._clock, self._later = config, ledger, ids, clock, later
        self._fates = fates
        self._pace = Pace(config.rate, 1)
        self._running = False

    def start(self) -> None:
        """All that an earlier run left is in the lanes: send it."""
        self._running = True
        for lane in [*self.lanes.values()]:
            self._begin(lane)

    def serve(
        self, backend: str, deliver: Deliver, up: Callable[[str], bool], hold: Callable[[str, bool], None], learn: Learn
    ) -> None:
        """Say how a backend is reached."""
        self.served[backend] = _Served(deliver, up, hold, learn)
        for lane in [*self.lanes.values()]:
            if lane.backend == backend:
                self._begin(lane)

    async def close(self, deadline: float = 10.0) -> None:
        """Send nothing more. What is in flight has so many seconds; what is durable stays on disk."""
        self._running = False
        tasks = {lane.task for lane in self.lanes.values() if lane.task}
        for lane in self.lanes.values():
            lane.quiet()
            if lane.task and lane.flying is None:
                lane.task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=deadline)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
        for lane in self.lanes.values():
            for letter in lane.letters:
                if not letter.durable:
                    self._fates.dropped(letter, "shutdown")

    def find(self, backend: str, identity: str) -> Lane | None:
        """The charger's lane, if there is one."""
        return self.lanes.get((backend, identity.casefold()))

    def lane(self, backend: str, identity: str) -> Lane:
        """The charger's lane, new if need be. What is put into it needs `poke`."""
        lane = self.find(backend, identity)
        if lane is None:
            lane = self.lanes[backend, identity.casefold()] = Lane(backend, identity)
            if self._running and (served := self.served.get(backend)):
                served.hold(identity, True)
        return lane

    def wake(self, backend: str, identity: str) -> None:
        """The charger's session with the backend has come up."""
        if lane := self.find(backend, identity):
            lane.woken = True
            if lane.paused:
                lane.quiet()
            self.poke(lane)

    def late(self, backend: str, answer: Answer) -> bool:
        """Take an answer that came after its deadline, if it is to a letter that is still here. Says whether it is."""
        letter = self._fates.answered(backend, answer.id)
        lane = self.find(backend, letter.identity) if letter is not None else None
        if letter is None or lane is None or not self._running:
            return False
        lane.late.append((letter, answer))
        self.poke(lane)
        return True

    def _begin(self, lane: Lane) -> None:
        if self._running and (served := self.served.get(lane.backend)):
            served.hold(lane.identity, True)
            self.poke(lane)

    # --- out

    def poke(self, lane: Lane) -> None:
        """Something has changed: see whether there is something to do."""
        served = self.served.get(lane.backend)
        if lane.task is not None or not self._running:
            return
        if served and (lane.late or self._ready(lane)):
            lane.task = asyncio.get_running_loop().create_task(self._run(lane, served))
            lane.task.add_done_callback(partial(self._rested, lane))
        elif not lane.letters:
            lane.quiet()
            if self.lanes.pop((lane.backend, lane.identity.casefold()), None) and served:
                served.hold(lane.identity, False)

    def _rested(self, lane: Lane, task: asyncio.Task[None]) -> None:
        lane.task = None
        if task.cancelled():
            return
        if fault := task.exception():
            logger.error("outbox.failed", backend=lane.backend, charger=lane.identity, exc_info=fault)
            self._pause(lane, self._config.retry_interval)
        self.poke(lane)

    def _ready(self, lane: Lane) -> Letter | None:
        """The letter that can be sent now; where that is a question of time, there is a timer."""
        head = lane.head
        if not self._running or lane.paused or head is None or not head.landed:
            return None
        if not self.served[lane.backend].up(lane.identity):
            return None
        wait = head.due - self._clock()
        if wait > 0:
            lane.quiet()
            lane.timer = self._later(wait, partial(self._due, lane, head, head.due))
            return None
        if head.durable and self._ledger.fault:
            self._pause(lane, PAUSE)
            return None
        return head

    def _due(self, lane: Lane, letter: Letter, due: float) -> None:
        """So many seconds have passed, whatever the clock says that may have been set meanwhile."""
        lane.timer = None
        if letter.due == due:
            letter.due = 0.0
        self.poke(lane)

    def _pause(self, lane: Lane, seconds: float) -> None:
        lane.quiet()
        if self._running:
            lane.paused, lane.timer = True, self._later(seconds, partial(self._resume, lane))

    def _resume(self, lane: Lane) -> None:
        lane.quiet()
        self.poke(lane)

    async def _run(self, lane: Lane, served: _Served) -> None:
        """Send what can be sent, one after the other."""
        while True:
            if lane.late:
                letter, answer = lane.late.popleft()
                await self._came_late(lane, served, letter, answer)
            elif (head := self._ready(lane)) is None:
                return
            elif head.hopeless:
                self._fates.bury(lane, head, "refused", head.hopeless)
            elif head.payload is None:
                await self._fetch(lane)
            else:
                await self._send(lane, served)

    async def _came_late(self, lane: Lane, served: _Served, letter: Letter, answer: Answer) -> None:
        if letter.over or letter.dead:  # it was sent again, and that was answered: the charger knows the other one
            logger.warning("outbox.answered_twice", backend=lane.backend, charger=lane.identity, action=letter.action)
            return
        await self._settle(lane, letter, Delivered(answer, served.learn(letter, answer)), "")

    async def _fetch(self, lane: Lane) -> None:
        """Have the payloads of the next letters at hand."""
        wanted = {letter.id: letter for letter in lane.letters[: table.PORTION] if letter.payload is None}
        try:
            found = await self._payloads(wanted)
        except StateError as error:
            logger.error("outbox.unreadable", backend=lane.backend, charger=lane.identity, reason=str(error))
            self._pause(lane, PAUSE)
            return
        for letter in wanted.values():
            letter.payload = found.get(letter.id)
            if letter.payload is None and not letter.over and not letter.dead and lane.take(letter):
                self._fates.over(letter)
                self._fates.dropped(letter, "missing")

    async def _payloads(self, wanted: Collection[int]) -> dict[int, bytes]:
        ids = (*wanted, *(0,) * table.PORTION)[: table.PORTION]
        found = dict(await self._ledger.read(table.PAYLOADS, ids))
        if len(found) < len(wanted):  # it may be on its way
            await self._ledger.keep()
            if self._ledger.fault:
                raise StateError(self._ledger.fault)
            found = dict(await self._ledger.read(table.PAYLOADS, ids))
        return found

    async def _send(self, lane: Lane, served: _Served) -> None:
        async with served.slots:
            await self._paced(lane.backend)
            letter = self._ready(lane)
            if letter is None or letter.payload is None or lane.late:
                return  # another one is first by now
            try:
                call = replace(letter.call, id=letter.exchange or self._ids())
            except ValueError:
                self._fates.bury(lane, letter, "unreadable", "its payload on disk cannot be read")
                return
            self._fates.sending(letter)
            lane.flying, lane.woken = letter, False
            try:
                delivered = await served.deliver(letter, call)
                if not isinstance(delivered.answer, NotSent):
                    letter.exchange = ""  # a peer may be cross about an id that it has seen
            finally:
                lane.flying = None
        await self._settle(lane, letter, delivered, call.id)

    async def _settle(self, lane: Lane, letter: Letter, delivered: Delivered, call_id: str) -> None:
        pause = await self._fates.settle(lane, letter, delivered, call_id)
        if pause and not lane.woken:
            self._pause(lane, pause)

    async def _paced(self, backend: str) -> None:
        """Wait for the turn: of all lanes of a backend together so many letters go out in a second."""
        wait = self._pace.wait(backend, asyncio.get_running_loop().time())
        if wait > 0:
            turn = asyncio.get_running_loop().create_future()
            timer = self._later(wait, partial(_release, turn))
            try:
                await turn
            finally:
                timer.cancel()


def _release(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)

"""How letters get out of their lanes: order, pace, retries, and what becomes of each.

A lane has one task while there is something to send and its backend is up, and a timer while its first letter is not due.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NamedTuple

import structlog

from gateway.config import Replay
from gateway.exchange import Broken, Ids, NotSent, Unanswered
from gateway.outbox.lanes import Lane, Timer
from gateway.pace import Pace
from gateway.state import letters as table
from gateway.state.ledger import Ledger
from gateway.state.letters import START, Letter, Rank
from gateway.state.store import Row, StateError
from translations.messages import Answer, Call, Error, Result

FLYING = 64  # lanes of a backend in flight at once
FACTOR = 3.0  # times a backend's deadline: for so long its late answer is waited for
MOST_ASKED = 4  # sendings of one letter whose late answers are known
MOST_WAIT = 86_400.0  # seconds; for no longer does a backend's word hold up a lane
PAUSE = 5.0  # seconds for a crowd to pass, or for the disk to come back
ACCEPTED = "Accepted"

logger = structlog.get_logger(__name__)


class Undeliverable(Error):
    """An error that says besides: it will never be heard as it is. Its text says why, for people."""


class Delivered(NamedTuple):
    """What became of a letter, and what is to be written together with that."""

    answer: Answer
    rows: tuple[Row, ...] = ()


@dataclass(slots=True)
class Tally:
    """What has happened since the start, by backend; what was lost by (backend, why)."""

    delivered: Counter[str] = field(default_factory=Counter)
    retried: Counter[str] = field(default_factory=Counter)
    repeated_after_unanswered: Counter[str] = field(default_factory=Counter)
    dead: Counter[tuple[str, str]] = field(default_factory=Counter)
    dropped: Counter[tuple[str, str]] = field(default_factory=Counter)


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
    """The lanes, and the way out of them. The clock gives unix seconds; `later` calls back after so many.

    `bury` takes what is given up, `dig_up` what was in flight then and has been heard after all.
    """

    def __init__(
        self,
        config: Replay,
        ledger: Ledger,
        ids: Ids,
        clock: Callable[[], float],
        later: Later,
        *,
        bury: Callable[[Letter], None],
        dig_up: Callable[[Letter], None],
    ) -> None:
        self.tally = Tally()
        self.lanes: dict[tuple[str, str], Lane] = {}
        self.served: dict[str, _Served] = {}
        self._config, self._ledger, self._ids, self._clock, self._later = config, ledger, ids, clock, later
        self._buried, self._dig_up = bury, dig_up
        self._asked: dict[tuple[str, str], Letter] = {}  # by backends, and the ids of calls that got no answer in time
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
                    self.dropped(letter, "shutdown")

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
        letter = self._asked.get((backend, answer.id))
        if letter is None or not self._running:
            return False
        del self._asked[backend, answer.id]
        lane = self.lanes[backend, letter.identity.casefold()]
        lane.late.append((letter, answer))
        self.poke(lane)
        return True

    def over(self, letter: Letter) -> None:
        """There is nothing left to do for it."""
        letter.over = True
        self._forget(letter)

    def _forget(self, letter: Letter) -> None:
        for asked in letter.asked:
            self._asked.pop((letter.backend, asked), None)
        letter.asked = ()

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
                self.over(letter)
                self.dropped(letter, "missing")

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
                self.bury(lane, letter, "unreadable", "its payload on disk cannot be read")
                return
            self._count_sending(letter)
            lane.flying, lane.woken = letter, False
            try:
                delivered = await served.deliver(letter, call)
                if not isinstance(delivered.answer, NotSent):
                    letter.exchange = ""  # a peer may be cross about an id that it has seen
            finally:
                lane.flying = None
        await self._settle(lane, letter, delivered, call.id)

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

    def _count_sending(self, letter: Letter) -> None:
        if letter.doubtful:
            self.tally.repeated_after_unanswered[letter.backend] += 1
            logger.info(
                "outbox.repeated", backend=letter.backend, charger=letter.identity, action=letter.action, letter=letter.id
            )
        elif letter.attempts:
            self.tally.retried[letter.backend] += 1

    # --- what becomes of it

    async def _settle(self, lane: Lane, letter: Letter, delivered: Delivered, call_id: str) -> None:
        answer, rows = delivered
        if isinstance(answer, Result):
            status = answer.payload.get("status")
            if letter.rank is Rank.BOOT and status != ACCEPTED and letter in lane:
                letter.due = self._clock() + self._patience(answer)
                self._note(letter, (*rows, table.again(letter)))
            else:
                await self._heard(lane, letter, rows)
        elif letter in lane:
            self._failed(lane, letter, answer, call_id)
            self._ledger.note(rows=rows)
        else:  # a newer one of its slot is there
            self._ledger.note(rows=rows)

    async def _heard(self, lane: Lane, letter: Letter, rows: Sequence[Row]) -> None:
        """It is done. What comes after a start is mapped by what its answer said, so that this has to be on disk first."""
        lane.take(letter)
        self.over(letter)
        if letter.dead:
            self._dig_up(letter)
        self.tally.delivered[letter.backend] += 1
        rows = (*rows, table.delete(letter)) if letter.durable else rows
        if letter.action == START and rows:
            await self._ledger.keep(rows=rows)
        else:
            self._ledger.note(rows=rows)

    def _failed(self, lane: Lane, letter: Letter, error: Error, call_id: str) -> None:
        match error:
            case NotSent():
                # With a session that is up nobody wakes us: it was crowded, or has just ended.
                if not lane.woken and self.served[lane.backend].up(lane.identity):
                    self._pause(lane, PAUSE)
            case Unanswered():
                letter.doubtful, letter.due = True, self._clock() + FACTOR * error.waited
                self.overdue(letter, call_id)
                self._note(letter, (table.again(letter),))
                self._tell("outbox.unanswered", letter)
            case Broken():
                letter.doubtful = True
                if not lane.woken:
                    self._pause(lane, self._config.retry_interval)
                self._tell("outbox.broken", letter)
            case Undeliverable():
                self.bury(lane, letter, "undeliverable", error.text or "it cannot be delivered")
            case _:
                self._refused(lane, letter, error)

    def overdue(self, letter: Letter, call_id: str) -> None:
        """It was sent under this id, and may still be answered under it."""
        if not call_id:
            return
        letter.asked = (*letter.asked, call_id)
        self._asked[letter.backend, call_id] = letter
        for old in letter.asked[:-MOST_ASKED]:
            self._asked.pop((letter.backend, old), None)
        letter.asked = letter.asked[-MOST_ASKED:]

    def _refused(self, lane: Lane, letter: Letter, error: Error) -> None:
        """OCPP 1.6, 3.7.1: a message that the central system fails to process is sent again, later each time."""
        letter.attempts += 1
        if letter.attempts >= self._config.attempts:
            self.bury(lane, letter, "refused", f"refused {letter.attempts} times, at last with {error.code}: {error.text}")
            return
        letter.due = self._clock() + letter.attempts * self._config.retry_interval
        self._note(letter, (table.again(letter),))
        self._tell("outbox.refused", letter, code=error.code, attempts=letter.attempts)

    def _note(self, letter: Letter, rows: Sequence[Row]) -> None:
        self._ledger.note(rows=rows if letter.durable else [row for row in rows if row != table.again(letter)])

    def _patience(self, answer: Result) -> float:
        """Seconds for which a charger is to wait whose BootNotification is not accepted."""
        interval = answer.payload.get("interval")
        wished = float(interval) if type(interval) is int and abs(interval) < MOST_WAIT else self._config.retry_interval
        return max(wished, 1.0)

    def bury(self, lane: Lane, letter: Letter, why: str, reason: str) -> None:
        """Give it up; without its start a transaction means nothing to the backend."""
        lane.take(letter)
        self._forget(letter)
        if not letter.durable:
            letter.over = True
            self.dropped(letter, why)
        else:
            letter.dead = reason
            self._ledger.note(rows=(table.bury(letter),))
            self._buried(letter)
            self.tally.dead[letter.backend, why] += 1
            self._tell("outbox.dead", letter, why=why)
        if letter.action == START and letter.number is not None:
            for follower in lane.of(letter.number):
                self.bury(lane, follower, "start", "its StartTransaction is a dead letter")

    def dropped(self, letter: Letter, why: str, *, told: bool = True) -> None:
        """It is lost, and why."""
        self.tally.dropped[letter.backend, why] += 1
        if told:
            self._tell("outbox.dropped", letter, why=why)

    def _tell(self, event: str, letter: Letter, **more: object) -> None:
        # Never the text of an error: a backend's may name an idTag.
        told = {"backend": letter.backend, "charger": letter.identity, "action": letter.action, "letter": letter.id}
        logger.warning(event, **told, **more)


def _release(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)

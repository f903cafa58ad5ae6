"""The outbox: what backends have yet to hear is kept, in order, until it is heard or a person has to decide.

Each charger has a lane for each backend, with one letter in flight. What is durable is on disk before it is sent, and goes from
there in the same commit as what follows from its answer, so that a kill at any moment costs at most a repetition of what was in
flight. While the disk fails nothing durable is sent: nobody could note that it was heard.
"""

import time
from collections.abc import Callable, Iterable
from typing import NamedTuple

from gateway.config import Replay
from gateway.exchange import Ids
from gateway.outbox.deadletters import DeadLetters
from gateway.outbox.delivery import Deliver, Delivery, Later, Learn, later_on, nothing
from gateway.outbox.fates import MOST_WAIT, Delivered, Fates, Tally, Undeliverable
from gateway.outbox.lanes import Lane
from gateway.state import letters as table
from gateway.state.ledger import Ledger
from gateway.state.letters import Letter, Rank
from gateway.state.store import Row, StateError
from translations.errors import InternalError
from translations.messages import Answer, Call, Payload

__all__ = ["Count", "Delivered", "Full", "Outbox", "Tally", "Undeliverable"]

NEAR = 8  # letters of a lane whose payloads are at hand; the others' are on disk only
SWEEP = 10_000  # letters whose age is looked at in one tick


class Full(InternalError):
    """There is no room in the lane."""


class Count(NamedTuple):
    """How many letters of a backend there are, and how old the oldest is that waits (seconds; 0 without any)."""

    live: int = 0
    dead: int = 0
    in_flight: int = 0
    oldest: float = 0.0


class Outbox:
    """Letters on their way. The clock gives unix seconds; `later` calls back after so many."""

    def __init__(
        self, config: Replay, ledger: Ledger, ids: Ids, clock: Callable[[], float] = time.time, *, later: Later = later_on
    ) -> None:
        self._config, self._ledger, self._clock = config, ledger, clock
        self._dead = DeadLetters(ledger, self._readmit, self._readmitted)
        self._fates = Fates(config, ledger, clock, bury=self._dead.add, dig_up=self._dead.discard)
        self._out = Delivery(config, ledger, self._fates, ids, clock, later)
        self._next = 0  # not open
        self._sweep: list[Lane] = []

    @property
    def tally(self) -> Tally:
        """What has happened since the start."""
        return self._fates.tally

    # --- beginning and end

    async def open(self) -> None:
        """Take over what an earlier run left. The ledger is open. Raises StateError."""
        ((greatest,),) = await self._ledger.read(table.GREATEST)
        self._next, last = greatest + 1, 0
        while rows := await self._ledger.read(table.HEADS, (last,)):
            last = rows[-1][0]
            for row in rows:
                self._restore(table.read(row))
        self._out.start()

    def serve(
        self,
        backend: str,
        *,
        deliver: Deliver,
        up: Callable[[str], bool],
        hold: Callable[[str, bool], None],
        learn: Learn = nothing,
    ) -> None:
        """Say how a backend is reached: `deliver` sends, `up` says whether that makes sense now, `hold` keeps a session for a
        charger, also for one that is not here. `learn` says what rows follow from an answer that came late.
        """
        self._out.serve(backend, deliver, up, hold, learn)

    async def close(self, deadline: float = 10.0) -> None:
        """Send nothing more. What is in flight has so many seconds; what is durable stays on disk."""
        await self._out.close(deadline)

    def _restore(self, letter: Letter) -> None:
        if letter.dead:
            self._dead.add(letter)
            return
        letter.due = min(letter.due, self._clock() + MOST_WAIT)
        former = self._out.lane(letter.backend, letter.identity).put(letter)
        if former is not None:
            self._ledger.note(rows=(table.delete(former),))

    # --- in

    def post(
        self,
        backend: str,
        call: Call,
        rank: Rank,
        *,
        number: int | None = None,
        durable: bool = True,
        attempts: int = 0,
        due: float = 0.0,
        sent: str = "",
        hopeless: str = "",
    ) -> tuple[Letter, tuple[Row, ...]]:
        """Put a call into its lane. Once the rows are written, or are not, `landed` is to be told. `sent` is the id under which
        the backend has had it already, and may still answer; `hopeless` says why it is a dead letter, for a person to decide.

        What waits there already is given again; it comes with rows while it is not on disk yet. Raises Full, and
        PropertyConstraintViolation for what JSON cannot say.
        """
        if not self._next:
            raise StateError("the outbox is not open")
        letter = table.written(self._next, backend, call, rank)
        letter.at, letter.number = self._clock(), table.storable(number)
        letter.attempts, letter.due, letter.durable, letter.landed = attempts, due, durable, not durable
        letter.hopeless = hopeless
        lane = self._out.find(backend, call.identity)
        known = lane.same(letter, call) if lane else None
        if known is not None:
            if durable and not known.durable:
                known.durable, known.landed = True, False
            return known, self._writing(known)
        self._make_room(lane, letter)
        lane = self._out.lane(backend, call.identity)
        self._next += 1
        if (former := lane.put(letter)) is not None:
            letter.before = (former, *former.before)
        if sent:
            letter.doubtful, letter.exchange = True, ""
            self._fates.overdue(letter, sent)
        rows = self._writing(letter)
        if not durable:
            self._land(lane, letter)
        self._out.poke(lane)
        return letter, rows

    def landed(self, letter: Letter, ok: bool) -> None:
        """Whether its rows have come to disk. Where not, it is as if it had never been posted."""
        letter.pending = max(letter.pending - 1, 0)
        lane = self._out.find(letter.backend, letter.identity)
        if ok and letter.durable:
            self._land(lane, letter)
        elif not (letter.landed or letter.pending):
            self._withdraw(lane, letter)
        if lane is not None:
            self._out.poke(lane)

    def busy(self, backend: str, identity: str) -> bool:
        """Whether letters that carry money wait or are in flight there: new ones have to queue behind them."""
        lane = self._out.find(backend, identity)
        return lane is not None and lane.busy

    def waits(self, backend: str, identity: str, rank: Rank) -> bool:
        """Whether letters of this rank wait or are in flight there."""
        lane = self._out.find(backend, identity)
        return lane is not None and any(letter.rank is rank for letter in lane.letters)

    def waiting(self, backend: str, identity: str) -> int:
        """How many letters wait or are in flight there."""
        lane = self._out.find(backend, identity)
        return len(lane.letters) if lane is not None else 0

    def outdated(self, backend: str, identity: str, rank: Rank) -> None:
        """What of this rank waits there has been said anew, and heard."""
        if lane := self._out.find(backend, identity):
            for letter in [each for each in lane.letters if each.rank is rank and each is not lane.flying]:
                lane.take(letter)
                self._fates.over(letter)
                if letter.durable and letter.landed:
                    self._ledger.note(rows=(table.delete(letter),))
            self._out.poke(lane)

    def wake(self, backend: str, identity: str) -> None:
        """The charger's session with the backend has come up."""
        self._out.wake(backend, identity)

    def late(self, backend: str, answer: Answer) -> bool:
        """Take an answer that came after its deadline, if it is to a letter that is still here. Says whether it is."""
        return self._out.late(backend, answer)

    def _make_room(self, lane: Lane | None, letter: Letter) -> None:
        most = self._config.most
        if lane is None or len(lane.letters) < most or (letter.slot and lane.rival(letter)):
            return
        spare = None if letter.durable else lane.spare()
        if spare is None:
            raise Full(f"backend {letter.backend}: expected at most {most} messages of a charger to wait for it")
        lane.take(spare)
        self._fates.over(spare)
        self._fates.dropped(spare, "full", told=not lane.shed)
        lane.shed = True

    def _writing(self, letter: Letter) -> tuple[Row, ...]:
        if letter.landed:
            return ()
        letter.pending += 1
        return (*(table.delete(former) for former in letter.before if former.durable), table.insert(letter))

    def _land(self, lane: Lane | None, letter: Letter) -> None:
        """It is on disk, or is not to be. What happened to it in the meantime has to get there too."""
        letter.landed = True
        rows = [] if letter.durable else [table.delete(former) for former in letter.before if former.durable]
        for former in letter.before:
            self._fates.over(former)
        letter.before = ()
        if letter.over:
            rows.append(table.delete(letter))
        elif letter.dead:
            rows.append(table.bury(letter))
        elif lane is not None and self._may_forget(lane, letter):
            letter.payload = None
        self._ledger.note(rows=rows)

    def _may_forget(self, lane: Lane, letter: Letter) -> bool:
        """Whether its payload can be read again by the time it is wanted. While the disk fails nobody knows what is on it."""
        return letter.durable and letter.rank is Rank.MONEY and len(lane.letters) > NEAR and not self._ledger.fault

    def _withdraw(self, lane: Lane | None, letter: Letter) -> None:
        """It is taken out, and what it had replaced is there again."""
        self._fates.over(letter)
        self._dead.discard(letter)
        if lane is not None and lane.take(letter):
            former = next((each for each in letter.before if not each.over), None)
            if former is not None:
                lane.put(former)

    # --- about once a second

    def tick(self) -> None:
        """Give up what is too old, and drop the oldest of too many dead letters."""
        before, seen = self._clock() - self._config.keep, 0
        self._sweep = self._sweep or [*self._out.lanes.values()]
        while self._sweep and seen < SWEEP:
            lane = self._sweep.pop()
            seen += len(lane.letters) + 1
            self._age(lane, before)
        for letter in self._dead.overflow():
            self._fates.dropped(letter, "overflow")

    def abandon(self, identity: str, reason: str) -> None:
        """Send nothing more of what a charger has said until now; a person may."""
        for backend in self._out.served:
            if lane := self._out.lanes.get((backend, identity.casefold())):
                for letter in [*lane.letters]:
                    if letter in lane:
                        self._fates.bury(lane, letter, "abandoned", reason)
                self._out.poke(lane)

    def _age(self, lane: Lane, before: float) -> None:
        old = [each for each in lane.letters if each.at < before and each.landed and each is not lane.flying]
        for letter in old:
            if letter in lane:
                self._fates.bury(lane, letter, "old", f"older than {_span(self._config.keep)}")
        if old:
            self._out.poke(lane)

    # --- for people

    def counts(self) -> dict[str, Count]:
        """What there is, by backend."""
        found = {backend: Count() for backend in self._out.served}
        now = self._clock()
        for lane in self._out.lanes.values():
            if lane.letters:
                live, dead, flying, oldest = found.get(lane.backend, Count())
                age = max(oldest, now - lane.oldest)
                found[lane.backend] = Count(live + len(lane.letters), dead, flying + (lane.flying is not None), age)
        for backend, dead in self._dead.by_backend.items():
            if dead:
                found[backend] = found.get(backend, Count())._replace(dead=dead)
        return found

    async def dead(
        self, backend: str | None = None, identity: str | None = None, limit: int = 100, after: int = 0
    ) -> list[Letter]:
        """Dead letters by id, those behind `after`; without payloads, see `get`."""
        return self._dead.listed(backend, identity, limit, after)

    async def get(self, id: int) -> Letter:
        """A letter that is stored, live or dead, with its payload. Raises LookupError and StateError."""
        return await self._dead.get(id)

    async def change(self, id: int, payload: Payload) -> Letter:
        """Have a dead letter say something else, that OCPP 1.6 allows. Raises LookupError, ValueError, StateError."""
        return await self._dead.change(id, payload)

    async def replay(self, ids: Iterable[int]) -> int:
        """Send dead letters again, all or none; in their old places. Raises LookupError, ValueError, StateError."""
        return await self._dead.replay(ids)

    async def purge(self, ids: Iterable[int]) -> int:
        """Forget dead letters, all or none; says how many. Raises LookupError and StateError."""
        gone = await self._dead.purge(ids)
        for letter in gone:
            self.tally.dropped[letter.backend, "purged"] += 1
        return len(gone)

    def _readmit(self, letter: Letter) -> None:
        """A dead letter is to be live again. Raises ValueError."""
        lane = self._out.find(letter.backend, letter.identity)
        if lane is not None and (rival := lane.rival(letter)):
            what = f"a newer {letter.action}" if letter.slot else "the same message"
            raise ValueError(f"letter {letter.id}: {what} waits already as letter {rival.id}")
        if lane is not None and len(lane.letters) >= self._config.most:
            raise ValueError(f"letter {letter.id}: {len(lane.letters)} letters of its charger wait already")
        letter.landed, letter.over, letter.doubtful, letter.hopeless = False, False, False, ""
        letter.dead, letter.hopeless, letter.attempts, letter.due, letter.at = "", "", 0, 0.0, self._clock()
        self._out.lane(letter.backend, letter.identity).put(letter)

    def _readmitted(self, letter: Letter, ok: bool) -> None:
        """What became of `_readmit` on disk."""
        letter.landed = ok
        if (lane := self._out.find(letter.backend, letter.identity)) is not None:
            if not ok:
                lane.take(letter)
            self._out.poke(lane)


def _span(seconds: float) -> str:
    units = ((86_400, "d"), (3_600, "h"), (60, "m"))
    return next((f"{seconds / size:g}{unit}" for size, unit in units if seconds >= size), f"{seconds:g}s")

"""Plays a plan: every charger's calls in order, each when the one before was answered and its time has come."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from typing import NamedTuple, Never

from gateway.replay.plan import Lane, Lost, Numbers, Plan, Step, shifted
from gateway.replay.verdicts import Played, failed, judged
from gateway.replay.wires import NoReply, Opening, Peer
from gateway.rules.rewrites import Path

AT_ONCE = 100  # connections that are open together where nothing but answers is waited for


@dataclass(frozen=True, slots=True)
class Pace:
    """How it is played. `speed` is how many times as fast as it was, None: as fast as answers come. Times are in seconds."""

    speed: float | None = 1.0
    timeout: float = 30.0  # for one answer
    linger: float = 2.0  # for commands that have not come when the last call is answered
    shift: float = 0.0  # by which timestamps in calls move


class Commands(NamedTuple):
    """How often a command came to a charger when this was recorded, and how often it came now."""

    charger: str
    action: str
    expected: int
    seen: int


async def play(
    plan: Plan, opening: Opening, pace: Pace, tell: Callable[[Played], None], ignored: Sequence[Path] = ()
) -> list[Commands]:
    """Play all of it; `tell` hears of each call as it is over, and what is returned is which commands came.

    What fails is told, and ends nothing but that call, or the calls of a charger that cannot be reached.
    """
    player = _Player(plan, opening, pace, tell, ignored)
    async with asyncio.TaskGroup() as tasks:
        lanes = [tasks.create_task(player.lane(lane)) for lane in plan.lanes]
    return [each for lane in lanes for each in lane.result()]


class _Player:
    def __init__(self, plan: Plan, opening: Opening, pace: Pace, tell: Callable[[Played], None], ignored: Sequence[Path]) -> None:
        self._start, self._opening, self._pace, self._tell, self._ignored = plan.start, opening, pace, tell, ignored
        self._begun, self._places = time.monotonic(), asyncio.Semaphore(AT_ONCE)

    async def lane(self, lane: Lane) -> list[Commands]:
        """Play what one charger said."""
        await self._turn(lane.steps[0])
        async with AsyncExitStack() as stack:
            if self._pace.speed is None:
                await stack.enter_async_context(self._places)
            return await self._played(lane, await self._opened(lane, stack))

    async def _opened(self, lane: Lane, stack: AsyncExitStack) -> Peer:
        try:
            return await stack.enter_async_context(self._opening(lane))
        except NoReply as failure:
            return _Nobody(str(failure))

    async def _played(self, lane: Lane, peer: Peer) -> list[Commands]:
        numbers = Numbers(lane.steps)
        for step in lane.steps:
            await self._turn(step)
            self._tell(await self._one(peer, step, numbers))
        expected = Counter(command.action for command in lane.commands)
        await peer.heard(expected, self._pace.linger)
        actions = sorted({*expected, *peer.seen})
        return [Commands(lane.identity, action, expected[action], peer.seen[action]) for action in actions]

    async def _turn(self, step: Step) -> None:
        """Wait until it is time for the call."""
        if self._pace.speed is not None:
            due = self._begun + (step.exchange.at - self._start) / self._pace.speed
            await asyncio.sleep(max(due - time.monotonic(), 0))

    async def _one(self, peer: Peer, step: Step, numbers: Numbers) -> Played:
        try:
            call = numbers.of(step)
        except Lost as lost:
            return failed(step, None, str(lost))
        call = replace(call, id="", payload=shifted(call.payload, self._pace.shift) if self._pace.shift else call.payload)
        begun = time.monotonic()
        try:
            answer = await peer.ask(call, self._pace.timeout)
        except NoReply as failure:
            numbers.heard(step, None)
            return failed(step, call, str(failure))
        numbers.heard(step, answer)
        return judged(step, call, answer, time.monotonic() - begun, self._ignored)


class _Nobody:
    """Whom nobody reaches."""

    def __init__(self, reason: str) -> None:
        self.seen: Counter[str] = Counter()
        self._reason = reason

    async def ask(self, call: object, timeout: float) -> Never:
        raise NoReply(self._reason)

    async def heard(self, wanted: Counter[str], timeout: float) -> None:
        return

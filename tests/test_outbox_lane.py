"""gateway.outbox.outbox: one lane in all weathers. Whatever happens, what was accepted is heard or dead, in order, and once where
that can be known.
"""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.exchange import Broken, NotSent, Unanswered
from gateway.outbox.outbox import Delivered, Undeliverable
from gateway.state.letters import Letter, Rank
from gateway.state.store import Row
from tests.outboxes import CP, Backend, Clock, Run, meter, status
from tests.outboxes import B as NAME
from translations.messages import Answer, Call, Error, Result

DONE = Result({})
BROKEN = Broken("InternalError", "closed")
UNANSWERED = Unanswered("InternalError", "slow", backend=NAME, waited=30.0)
FAILURES = [
    UNANSWERED,
    BROKEN,
    NotSent("InternalError", "away"),
    Error("InternalError", "no"),
    Undeliverable("InternalError", "never"),
]
T = TypeVar("T")


def number(call: Call) -> int:
    """Each message has its own."""
    found = call.payload["n"]
    assert isinstance(found, int)
    return found


class Strict(Backend):
    """Notes what it should not have heard: raised in there, it would be one more failure to live with."""

    def __init__(self) -> None:
        super().__init__()
        self.finished: set[int] = set()
        self.complaints: list[str] = []

    async def deliver(self, letter: Letter, call: Call) -> Delivered:
        self.complaints += ["heard twice"] * (number(call) in self.finished)
        self.complaints += ["two at once"] * bool(self.open)
        self.complaints += ["not up"] * (not self.is_up)
        self.complaints += ["not on disk"] * (not letter.landed)
        return await super().deliver(letter, call)


class Weather(RuleBasedStateMachine):
    """Posts, landings, ups, downs, answers in time and late, hours, restarts."""

    @initialize()
    def begin(self) -> None:
        self.runner, self.folder = asyncio.Runner(), tempfile.TemporaryDirectory()
        self.clock, self.backend = Clock(), Strict()
        self.count = 0
        self.posted: dict[int, tuple[Letter, tuple[Row, ...]]] = {}  # that has not landed
        self.live: dict[int, Letter] = {}  # that has, in this run
        self.calls: dict[int, Call] = {}
        self.accepted: dict[int, Call] = {}
        self.unanswered: list[tuple[int, str]] = []  # number and id
        self.open()

    def wait(self, step: Callable[[], Awaitable[T]]) -> T:
        async def whole() -> T:
            found = await step()
            await self.run.quiet()
            return found

        return self.runner.run(whole())

    def open(self) -> None:
        self.run = Run(Path(self.folder.name) / "state.db", self.clock, self.backend)
        self.wait(self.run.open)

    def teardown(self) -> None:
        if not hasattr(self, "run"):
            return
        try:
            for n in [*self.posted]:
                self.land(n, ok=False)
            self.wait(self.clear)
            self.check()
        finally:
            self.runner.run(self.run.close())
            self.runner.close()
            self.folder.cleanup()

    async def clear(self) -> None:
        """From here on the backend is up and takes everything."""
        self.backend.is_up = True
        self.run.outbox.wake(NAME, CP)
        await self.run.quiet()
        for _ in range(4 * self.count + 4):
            if self.backend.open:
                self.answer(DONE)
                await self.run.quiet()
            else:
                await self.run.move(400)

    def check(self) -> None:
        stored = self.run.disk()
        assert all(why for _, why in stored), "something waits still"
        assert not self.run.outbox._out.lanes
        known = {id: self.wait(lambda id=id: self.run.outbox.get(id)) for id, _ in stored}  # type: ignore[misc]
        gone = self.backend.finished | {number(letter.call) for letter in known.values()}
        assert {n for n, call in self.accepted.items() if self.counts(n, call)} <= gone, "something was lost"

    def counts(self, n: int, call: Call) -> bool:
        """Whether it had to be heard: of a connector's states the newest has to."""
        if call.action == "MeterValues":
            return True
        same = [m for m, other in self.accepted.items() if {**other.payload, "n": 0} == {**call.payload, "n": 0}]
        return n == max(same)

    @invariant()
    def in_order(self) -> None:
        if hasattr(self, "run"):
            assert self.backend.complaints == []
            heard = [sent.call for sent in self.backend.sent]
            for kind in (("MeterValues", 1), ("StatusNotification", 1), ("StatusNotification", 2)):
                numbers = [number(call) for call in heard if (call.action, call.payload["connectorId"]) == kind]
                assert numbers == sorted(numbers), "out of order"

    # --- the charger

    @rule(connector=st.sampled_from([None, None, 1, 2]), lands=st.sampled_from([True, True, True, False]))
    def post(self, connector: int | None, lands: bool) -> None:
        self.count += 1
        n, call = self.count, meter(self.count)
        if connector is not None:
            call = status("Available", connector)
            call.payload["n"] = n

        async def post() -> None:
            self.posted[n] = self.run.outbox.post(NAME, call, Rank.MONEY if connector is None else Rank.STATUS)

        self.calls[n] = call
        self.wait(post)
        if lands:
            self.land(n, ok=True)

    @precondition(lambda self: self.posted)
    @rule(data=st.data(), ok=st.booleans())
    def land_later(self, data: st.DataObject, ok: bool) -> None:
        self.land(data.draw(st.sampled_from(sorted(self.posted))), ok)

    def land(self, n: int, ok: bool) -> None:
        letter, rows = self.posted.pop(n)

        async def land() -> None:
            if ok:
                await self.run.ledger.accept(rows, landed=lambda ok: self.run.outbox.landed(letter, ok))
                self.live[n], self.accepted[n] = letter, self.calls[n]
            else:
                self.run.outbox.landed(letter, False)

        self.wait(land)

    @precondition(lambda self: self.waiting())
    @rule(data=st.data())
    def repeat(self, data: st.DataObject) -> None:
        n = data.draw(st.sampled_from(self.waiting()))

        async def post() -> None:
            assert self.run.outbox.post(NAME, self.calls[n], Rank.MONEY) == (self.live[n], ())

        self.wait(post)

    def waiting(self) -> list[int]:
        return [n for n, each in self.live.items() if each.rank is Rank.MONEY and not (each.over or each.dead)]

    # --- the backend

    @rule(up=st.booleans())
    def session(self, up: bool) -> None:
        if not up and self.backend.open:
            self.answer(BROKEN)
        self.backend.is_up = up

        async def wake() -> None:
            if up:
                self.run.outbox.wake(NAME, CP)

        self.wait(wake)

    @precondition(lambda self: self.backend.open)
    @rule(answer=st.one_of(st.just(DONE), st.sampled_from(FAILURES)))
    def reply(self, answer: Answer) -> None:
        async def reply() -> None:
            self.answer(answer)

        self.wait(reply)

    def answer(self, answer: Answer) -> None:
        sent = self.backend.open[0]
        if isinstance(answer, Result):
            self.backend.finished.add(number(sent.call))
        if isinstance(answer, Unanswered):
            self.unanswered.append((number(sent.call), sent.call.id))
        sent.answer.set_result(Delivered(answer))

    @precondition(lambda self: self.unanswered)
    @rule(data=st.data(), answer=st.sampled_from([DONE, Error("InternalError", "no")]))
    def late(self, data: st.DataObject, answer: Answer) -> None:
        n, id = self.unanswered.pop(data.draw(st.integers(0, len(self.unanswered) - 1)))

        async def late() -> None:
            again = any(number(sent.call) == n for sent in self.backend.open)
            if self.run.outbox.late(NAME, replace(answer, id=id)) and isinstance(answer, Result) and not again:
                self.backend.finished.add(n)

        self.wait(late)

    # --- the world

    @rule(seconds=st.sampled_from([1, 60, 100, 400]))
    def pass_time(self, seconds: int) -> None:
        self.wait(lambda: self.run.move(seconds))

    @rule()
    def restart(self) -> None:
        """With whatever is in flight, of which nobody knows then."""
        self.runner.run(self.run.close())
        self.posted, self.live, self.unanswered = {}, {}, []
        self.open()


TestWeather = Weather.TestCase

"""A fleet, its gateway and the backends for a week in fast motion, with whatever goes wrong in a week; and the account of it."""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path

from tests.fleet.core import Core
from tests.fleet.fakes import FakeCsms
from tests.peers.book import METER, MONEY, STATUS, Book, Deed, Entry, Gist, complaints, gist
from tests.peers.stack16 import Payload
from tests.peers.work import BOOT, Say, charge, status
from translations.messages import Call, Result

HOUR = 3600.0
DAY = 24 * HOUR
EPOCH = 1_714_550_400.0  # Wednesday, 2024-05-01T08:00:00Z
AGAIN = (30.0, 300.0)  # seconds until a charger says it again
IDLE = (0.5 * HOUR, 10 * HOUR)  # between two cars
METERED = 900.0  # seconds between two readings
PATIENCE = 60.0  # seconds that a charger waits for an answer
AFTER = 2 * DAY  # that backends have at the end of the week


@dataclass(frozen=True)
class Outage:
    """A backend is away."""

    backend: str
    at: float
    hours: float


@dataclass(frozen=True)
class Interruption:
    """The gateway is killed, or stopped as it should be, and begins again `pause` seconds later."""

    at: float
    pause: float
    kill: bool


@dataclass(frozen=True)
class Week:
    """What happens. Times are hours from its beginning. `late`, `never` and `errors` are chances per message."""

    seed: int
    days: int = 7
    chargers: int = 4
    outages: Sequence[Outage] = ()
    interruptions: Sequence[Interruption] = ()
    late: float = 0.0
    never: float = 0.0
    errors: float = 0.0


Tamper = Callable[[Path], None]
"""Changes the state file between two runs; for tests of the account itself."""


class World:
    """All there is."""

    def __init__(self, week: Week, state: Path, tamper: Tamper | None = None) -> None:
        self._week, self._state, self._tamper = week, state, tamper
        self._chance = random.Random(week.seed)  # noqa: S311
        numbers = {"csms": count(1), "other": count(900_001), "odd": count(2**40)}
        self.backends = {name: FakeCsms(name, each, self._chance) for name, each in numbers.items()}
        self.deeds: list[Deed] = []
        self.newest: dict[tuple[str, int], Payload] = {}
        self.core: Core | None = None
        self._again: set[Gist] = set()
        self._over = asyncio.Event()

    async def run(self) -> list[str]:
        """Live through the week; what is wrong at its end."""
        for backend in self.backends.values():
            backend.late, backend.never, backend.errors = self._week.late, self._week.never, self._week.errors
        await self._begin()
        async with asyncio.TaskGroup() as tasks:
            for outage in self._week.outages:
                tasks.create_task(self._away(outage))
            tasks.create_task(self._interrupted())
            for number in range(self._week.chargers):
                tasks.create_task(self._works(f"CP-{number}"))
            await asyncio.sleep(self._week.days * DAY)
            self._over.set()
        await self._settled()
        await self._end()
        return self.account()

    def account(self) -> list[str]:
        """What backends believe, compared with what chargers did."""
        wrong = []
        for name, end in self.backends.items():
            wrong += [f"{name}: {each}" for each in complaints(self.deeds, end.book, self._excused(end))]
        wrong += [f"{name}: old status of {each[0]}" for name, end in self.backends.items() for each in self._old(end)]
        told = [(deed.charger, deed.number) for deed in self.deeds]
        return wrong + [f"one number for two transactions: {each}" for each in set(told) if told.count(each) > 1]

    def _excused(self, end: FakeCsms) -> Callable[[Book, Entry], bool]:
        """Besides what the backend knows of: a reading that its charger has said again, for of those no answers are kept."""
        return lambda book, entry: end.excused(book, entry) or (entry.action == METER and entry.gist in self._again)

    def _old(self, end: FakeCsms) -> list[tuple[str, int]]:
        return [place for place, newest in self.newest.items() if end.book.statuses.get(place) != newest]

    # --- the gateway

    async def _begin(self) -> None:
        self.core = await Core.begin(self._state, self.backends, lambda: EPOCH + asyncio.get_running_loop().time())

    async def _end(self) -> None:
        core, self.core = self.core, None
        if core is not None:
            await core.stop()

    async def _interrupted(self) -> None:
        for each in sorted(self._week.interruptions, key=lambda each: each.at):
            await asyncio.sleep(max(0.0, each.at * HOUR - _now()))
            core, self.core = self.core, None
            assert core is not None
            if each.kill:
                core.kill()
                for backend in self.backends.values():
                    backend.kills.append(_now())
            else:
                await core.stop()
            if self._tamper:
                self._tamper(self._state)
            await asyncio.sleep(each.pause)
            await self._begin()

    async def _away(self, outage: Outage) -> None:
        await asyncio.sleep(outage.at * HOUR)
        backend = self.backends[outage.backend]
        backend.go()
        await asyncio.sleep(outage.hours * HOUR)
        backend.come()

    async def _settled(self) -> None:
        """Until all is known to all, or will not be."""
        for backend in self.backends.values():
            backend.late = backend.never = backend.errors = 0.0
        gists = [gist for deed in self.deeds for gist in deed.gists()]
        for backend in self.backends.values():
            left = self._week.days * DAY + AFTER - _now()
            with suppress(TimeoutError):
                await backend.book.wait(partial(self._knows, backend, gists), left)

    def _knows(self, end: FakeCsms, gists: Sequence[Gist], book: Book) -> bool:
        return not self._old(end) and all(gist in book.heard for gist in gists)

    # --- the fleet

    async def _works(self, identity: str) -> None:
        async def say(action: str, payload: Payload) -> Payload:
            return await self._say(identity, action, payload)

        await say("BootNotification", BOOT)
        for number in count(1):
            await asyncio.sleep(self._chance.uniform(*IDLE))
            if self._over.is_set():
                return
            await self._status(say, identity, "Preparing")
            tag, readings = f"{identity}-{number}", self._chance.randint(0, 6)
            await charge(say, identity, _stamp, tag=tag, readings=readings, deeds=self.deeds, pause=METERED)
            await self._status(say, identity, "Available")

    async def _status(self, say: Say, identity: str, word: str) -> None:
        told = status(1, word, _stamp())
        self.newest[identity.casefold(), 1] = told
        await say(STATUS, told)

    async def _say(self, identity: str, action: str, payload: Payload) -> Payload:
        """Until somebody has answered."""
        for number in count(1):
            call = Call(action, payload, f"{identity}-{action}-{number}-{_now():.3f}", identity)
            answer = await self.core.ask(call, PATIENCE) if self.core is not None else None
            if isinstance(answer, Result):
                return answer.payload
            if action in MONEY:
                self._again.add(gist(identity, action, payload))
            await asyncio.sleep(self._chance.uniform(*AGAIN))
        raise AssertionError


def _now() -> float:
    return asyncio.get_running_loop().time()


def _stamp() -> str:
    """What a charger's clock says."""
    return datetime.fromtimestamp(EPOCH + _now(), UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

"""The one place where the fleet meets the code under test: the routing core with its state file, as one life of the gateway."""

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gateway.config import Config, Ocppj, Replay, Route, State
from gateway.core import Core as RoutingCore
from gateway.exchange import Ids
from gateway.roster import Roster
from gateway.state.store import StateStore
from tests.fleet.fakes import FakeBackend, FakeCsms
from tests.fleet.fastforward import Life
from translations.messages import Answer, Call, Result, Version

ANSWERS = "csms"  # the others listen
TICK = 60.0
REPLAY = Replay(rate=50, attempts=5, retry_interval=60)


def configuration(state: Path, names: list[str]) -> Config:
    """Everything is stored for every backend."""
    backends = tuple(Ocppj(kind="ocppj", name=name, url="ws://localhost/{identity}", away="store") for name in names)
    listening = tuple(name for name in names if name != ANSWERS)
    away: dict[str, Any] = {"away_authorize": "all", "away_answers": ("BootNotification", "Heartbeat")}
    routes = (Route(**{"answer": (ANSWERS,), "listen": listening} | away),)
    return Config(state=State(path=state), backends=backends, routes=routes, replay=REPLAY)


class _Silent:
    """A charger's link that is there, and over which nobody says anything."""

    async def call(self, call: Call, timeout: float) -> Answer:
        return Result({})


class Core:
    """One life: `begin`, then `stop` or `kill`."""

    def __init__(self, state: Path, backends: Mapping[str, FakeCsms], clock: Callable[[], float]) -> None:
        config = configuration(state, [*backends])
        self._life, self._store, self._link = Life(), StateStore(state), _Silent()
        self._roster = Roster(config.presence, clock)
        self._core = RoutingCore(config, self._roster, self._store, Ids(), clock)
        self._backends = {
            name: FakeBackend(end, self._life, on_up=self._core.came_up, on_late=self._core.late)
            for name, end in backends.items()
        }
        self._present: set[str] = set()
        self._ticking: asyncio.Task[None] | None = None

    @classmethod
    async def begin(cls, state: Path, backends: Mapping[str, FakeCsms], clock: Callable[[], float]) -> "Core":
        """A core that runs, on what an earlier one has left."""
        core = cls(state, backends, clock)
        await core._life.wait(core._open())
        core._ticking = core._life.task(core._tick())
        return core

    async def _open(self) -> None:
        self._store.open()
        known = self._store.load()
        await self._core.open()
        await self._core.connect(self._backends)
        self._roster.restore(known)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            self._core.tick()

    async def ask(self, call: Call, within: float) -> Answer | None:
        """What a charger hears; None where its connection ends before that, or it has waited for so many seconds."""
        if call.identity not in self._present:
            self._present.add(call.identity)
            self._life.call(self._roster.linked, call.identity, self._link, "192.0.2.1:4000", Version.V16)
        try:
            async with asyncio.timeout(within):
                return await self._life.wait(self._core.exchange(call))
        except TimeoutError:
            return None

    async def stop(self) -> None:
        """As it should be."""
        await self._life.wait(self._closed())
        self.kill()

    async def _closed(self) -> None:
        for backend in self._backends.values():
            await backend.close()
        self._core.transactions.release()
        await self._core.close()

    def kill(self) -> None:
        """What is not on disk by now will never be."""
        self._store.close()
        self._life.kill()
        for backend in self._backends.values():
            backend.gone()

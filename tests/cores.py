"""A whole core over backends that do as a test says, with a real state file. A charger CP-1 is there."""

import asyncio
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gateway.config import Config, Ocppj, Replay, Route
from gateway.core import Core
from gateway.exchange import Ids, NotSent, Standing
from gateway.roster import Registration, Roster
from gateway.state.store import StateError, StateStore
from translations.messages import Answer, Call, Error, Payload, Result, Version

CP = "CP-1"
NOW = 1714550400.0  # 2024-05-01T08:00:00Z
ACCEPTED = {"status": "Accepted"}
AWAY = NotSent("InternalError", "away")


class Csms:
    """A backend. `says` has what it says to an action, otherwise it accepts, and counts transactions from `first`."""

    def __init__(self, name: str, first: int = 1) -> None:
        self.name, self.is_up, self.numbers = name, True, itertools.count(first)
        self.says: dict[str, Answer | Callable[[Call], Answer]] = {}
        self.heard: list[Call] = []
        self.within: list[float | None] = []
        self.sessions: set[str] = set()

    def arrive(self, identity: str) -> None:
        self.sessions.add(identity.casefold())

    def leave(self, identity: str) -> None:
        self.sessions.discard(identity.casefold())

    def up(self, identity: str) -> bool:
        return self.is_up

    def standing(self, identity: str) -> Standing:
        return Standing(self.is_up, 0.0)

    async def exchange(self, call: Call, within: float | None = None) -> Answer:
        self.arrive(call.identity)
        self.within.append(within)
        if not self.is_up:
            return replace(AWAY, id=call.id, action=call.action)
        self.heard.append(call)
        said = self.says.get(call.action) or Result(self._accepts(call.action))
        return replace(said(call) if callable(said) else said, id=call.id, action=call.action)

    def _accepts(self, action: str) -> Payload:
        if action == "StartTransaction":
            return {"transactionId": next(self.numbers), "idTagInfo": ACCEPTED}
        if action == "Authorize":
            return {"idTagInfo": ACCEPTED}
        return {**ACCEPTED, "interval": 300} if action == "BootNotification" else {}

    def offer(self, call: Call) -> None:
        self.arrive(call.identity)
        self.heard.append(call)

    async def close(self, drain: float | None = None) -> None:
        pass

    def told(self, *fields: str) -> list[tuple[Any, ...]]:
        """What it has heard: actions, and these fields of the payloads."""
        return [(call.action, *(call.payload.get(name) for name in fields)) for call in self.heard]


class Store(StateStore):
    """A state file on a disk that can be full."""

    full = False

    def keep(self, *args: Any) -> None:
        if self.full:
            raise StateError("the disk is full")
        super().keep(*args)


class Link:
    """The charger's link."""

    def __init__(self) -> None:
        self.asked: list[Call] = []
        self.answer: Answer = Result(ACCEPTED)

    async def call(self, call: Call, timeout: float) -> Answer:
        self.asked.append(call)
        return self.answer


class House:
    """The core. Backends whose names are in `stores` have `away = "store"`."""

    def __init__(
        self,
        path: Path,
        *,
        answer: Sequence[str] = ("a",),
        listen: Sequence[str] = (),
        stores: Sequence[str] = (),
        peers: Mapping[str, Mapping[str, Any]] | None = None,
        route: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        self._path, self.now, self.link = path, NOW, Link()
        names = (*answer, *listen)
        self.at = {name: Csms(name, 1000 * i + 1) for i, name in enumerate(names)}
        rows = [
            Ocppj(kind="ocppj", name=name, url="ws://c/{identity}", away="store" if name in stores else "refuse")
            for name in names
        ]
        rows = [row.model_copy(update=dict((peers or {}).get(row.name, {}))) for row in rows]
        one = Route(answer=tuple(answer), listen=tuple(listen), **{"failover_after": 0.0, **(route or {})})
        more.setdefault("replay", Replay(rate=1e6))
        self.config = Config(backends=tuple(rows), routes=(one,), **more)

    async def __aenter__(self) -> "House":
        await self.begin()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.end()

    async def begin(self) -> None:
        self.store = Store(self._path)
        self.store.open()
        self.roster = Roster(clock=lambda: self.now)
        self.core = Core(self.config, self.roster, self.store, Ids(), lambda: self.now)
        await self.core.open()
        await self.core.connect(self.at)
        self.arrive()

    async def end(self) -> None:
        await self.core.close(1.0)
        self.store.close()

    async def again(self) -> None:
        """The gateway is started anew."""
        await self.end()
        await self.begin()

    def arrive(self) -> None:
        charger = self.roster.linked(CP, self.link, "192.0.2.1:1", Version.V16)
        charger.registration = Registration.ACCEPTED

    def leave(self) -> None:
        self.roster.unlinked(CP, self.link)

    async def say(self, action: str, payload: Payload | None = None, call_id: str = "") -> Answer:
        """The charger's call; back once nothing is on its way any more."""
        answer = await self.core.exchange(Call(action, payload or {}, call_id or self.core.router._ids(), CP))
        await self.quiet()
        return answer

    async def command(self, backend: str, action: str, **payload: Any) -> Answer:
        return await self.core.command(backend, Call(action, payload, "b-1", CP))

    async def quiet(self) -> None:
        """Nothing is on its way any more, to the disk or out of a lane."""
        for _ in range(3):
            await self.core.ledger.keep()
            for _ in range(10):
                await asyncio.sleep(0)
            while tasks := [lane.task for lane in self.core.outbox._out.lanes.values() if lane.task]:
                await asyncio.wait(tasks)

    async def up(self, *names: str, after: float = 0.0) -> None:
        """These backends are back, so many seconds later."""
        self.now += after
        for name in names:
            self.at[name].is_up = True
            self.core.came_up(name, CP)
        await self.quiet()

    def down(self, *names: str) -> None:
        for name in names:
            self.at[name].is_up = False

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        return self.store.read(query)

    def letters(self) -> list[tuple[Any, ...]]:
        return self.rows("SELECT backend, action, number FROM letters ORDER BY id")

    @property
    def open(self) -> list[tuple[int, int | None, str]]:
        """Number, connector and owner of each transaction that is open."""
        return [(each.number, each.connector, each.owner) for each in self.core.running.open_at(CP)]


def start(connector: int = 1, meter: int = 0, **more: Any) -> Payload:
    return {"connectorId": connector, "idTag": "TAG1", "meterStart": meter, "timestamp": "2024-05-01T08:00:00Z", **more}


def stop(number: int, meter: int = 100, **more: Any) -> Payload:
    return {"transactionId": number, "idTag": "TAG1", "meterStop": meter, "timestamp": "2024-05-01T09:00:00Z", **more}


def meter(number: int, connector: int = 1, value: str = "50") -> Payload:
    sample = {"timestamp": "2024-05-01T08:30:00Z", "sampledValue": [{"value": value}]}
    return {"connectorId": connector, "transactionId": number, "meterValue": [sample]}


def number(answer: Answer) -> int:
    """What a charger was told."""
    assert isinstance(answer, Result), answer
    found = answer.payload["transactionId"]
    assert type(found) is int
    return found


def rules(answer: Answer) -> list[str]:
    return [remark.rule for remark in answer.remarks] if isinstance(answer, Result) else []


def refused(answer: Answer) -> bool:
    """Whether the charger is to keep what it said."""
    return isinstance(answer, Error)

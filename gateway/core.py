"""The routing core put together: all that stands between the doors and the backends, and what of it must survive."""

import asyncio
import time
from collections.abc import Callable, Mapping

import structlog

from gateway.backends import Backend
from gateway.config import Config
from gateway.exchange import Ids
from gateway.inspector.situation import Role, Situation, Tie
from gateway.outbox.outbox import Outbox
from gateway.roster import Roster
from gateway.routing.authorization import Authorization
from gateway.routing.leg import Leg
from gateway.routing.numbers import Numbers
from gateway.routing.router import Router
from gateway.routing.running import Running
from gateway.rules.names import Names
from gateway.rules.policies import Policies
from gateway.rules.rewrites import Rewrites
from gateway.state.ledger import Ledger
from gateway.state.store import StateStore
from gateway.transactions import Transactions
from translations.messages import Answer, Call

logger = structlog.get_logger(__name__)


class Core:
    """`exchange` answers chargers' calls, `command` those of backends. The store is opened by its owner; the clock gives unix
    seconds. Raises ValueError where a file of names is wrong.
    """

    def __init__(
        self, config: Config, roster: Roster, store: StateStore, ids: Ids, clock: Callable[[], float] = time.time
    ) -> None:
        self._config, self._roster, self._clock = config, roster, clock
        self.ledger = Ledger(store, config.transactions.remember, clock)
        self.running = Running(self.ledger, clock)
        self.numbers = Numbers(self.running, self.ledger, clock)
        self.outbox = Outbox(config.replay, self.ledger, ids, clock)
        self.authorization = Authorization(config.authorization, self.ledger, clock)
        self.router = Router(config, roster, ids, self.running, self.outbox, self.authorization, clock)
        readings = any(each.away == "store" for each in config.backends) or any(each.listen for each in config.all_routes)
        self.transactions = Transactions(
            self.router.up, self.ledger, config.transactions.remember, self.router.late, readings, clock
        )
        self.names = {each.name: Names(each) for each in config.backends}
        self.legs: dict[str, Leg] = {}
        self._stale = ""
        roster.on_move = self._moved

    async def open(self) -> None:
        """Take over what an earlier run knew. Raises StateError."""
        self.transactions.open(await self.ledger.open(self.transactions.most))
        await asyncio.gather(self.running.open(), self.numbers.open(), self.authorization.open())

    async def connect(self, backends: Mapping[str, Backend]) -> None:
        """Say which backends there are; what is stored for them is on its way from here on. Raises StateError."""
        policies, rewrites = Policies(self._config.policies), Rewrites(self._config.rewrites)
        answering = {name for route in self._config.all_routes for name in route.answer}
        for config in self._config.backends:
            self.legs[config.name] = Leg(
                config,
                backends[config.name],
                policies=policies,
                rewrites=rewrites,
                names=self.names[config.name],
                numbers=self.numbers,
                running=self.running,
                outbox=self.outbox,
                ledger=self.ledger,
                answers=config.name in answering,
                clock=self._clock,
            )
        self.router.connect(self.legs)
        await self.outbox.open()

    async def exchange(self, call: Call) -> Answer:
        """Answer a charger's call."""
        return await self.transactions(call)

    async def command(self, backend: str, call: Call) -> Answer:
        """Make a backend's call to a charger."""
        charger = self._roster.get(call.identity)
        over_soap = charger is not None and charger.wire == "soap"
        timeout = self._config.callbacks.timeout if over_soap else self._config.server.answer_timeout
        return await self.router.command(backend, call, timeout)

    def late(self, backend: str, answer: Answer) -> None:
        """Take what a backend answers after its deadline."""
        if not self.outbox.late(backend, answer) and not self.legs[backend].late(answer):
            self.transactions.late(backend, answer)

    def came_up(self, backend: str, identity: str) -> None:
        """A backend can be told of a charger again."""
        self.outbox.wake(backend, identity)

    def name_of(self, backend: str, identity: str) -> tuple[str, str]:
        """What a backend calls a charger, and whose that is."""
        charger = self._roster.get(identity)
        tenant = charger.tenant if charger is not None else ""
        return self.names[backend].identity(charger.identity if charger is not None else identity, tenant), tenant

    def told(self, identity: str) -> Situation:
        """How a charger stands with its backends, for people."""
        charger = self._roster.get(identity)
        route = self._config.route(identity, charger.tenant if charger is not None else "")
        transactions = tuple(self.running.open_at(identity))
        if route is None:
            return Situation((), transactions)
        seat, ties = self.router.seats.seat(identity, route), []
        ahead = self._clock() - asyncio.get_running_loop().time()
        for name in (*route.answer, *route.listen):
            up, since = self.legs[name].standing(identity)
            role: Role = "answer" if name in route.answer else "listen"
            ties.append(Tie(name, role, name == seat, up, since + ahead, self.outbox.waiting(name, identity)))
        return Situation(ties, transactions)

    def _moved(self, identity: str) -> None:
        """What one tenant's charger said is told to no other tenant's backend; a person may decide otherwise."""
        self.outbox.abandon(identity, "its charger has moved to another tenant")
        self.running.abandon(identity)
        self.numbers.abandon(identity)

    def tick(self) -> None:
        """Forget what is too old. About once a second."""
        self.outbox.tick()
        self.running.tick()
        self.authorization.tick()

    async def refresh(self) -> None:
        """Read again the files of names that have changed."""
        for names in self.names.values():
            await asyncio.to_thread(names.refresh)
        stale = "; ".join(f"{name}: {names.fault}" for name, names in self.names.items() if names.fault)
        if stale and stale != self._stale:
            logger.error("names.stale", reason=stale)
        self._stale = stale

    async def close(self, deadline: float = 10.0) -> None:
        """Once the doors and the backends are closed: write what is to be written, within so many seconds."""
        clock = asyncio.get_running_loop().time
        over = clock() + deadline
        await self.authorization.close()
        await self.outbox.close(deadline / 4)
        await self.transactions.close(deadline / 4)
        await self.ledger.close(over - clock())

"""The routing core: charger -> route -> one backend answers, the others listen; and back down. Knows neither wire.

Transaction messages are `money`'s business; here are all others, and who is asked at all.
"""

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import lru_cache, partial

import structlog

from gateway.config import Config, Route
from gateway.exchange import Broken, Durable, Ids, NotSent, Unanswered
from gateway.outbox.outbox import Full, Outbox
from gateway.roster import Charger, Effect, Registration, Roster
from gateway.routing.authorization import AWAY, Authorization
from gateway.routing.leg import BOOT, STATUS, Leg, bare, rank, stamp
from gateway.routing.money import Money, willing
from gateway.routing.running import Running
from gateway.routing.seats import Seats
from gateway.routing.storing import STORED, Storing
from gateway.rules.globs import fits
from gateway.state.letters import Rank
from translations.errors import OcppError
from translations.messages import Answer, Call, Error, Kind, Payload, Remark, Result, Side

AUTHORIZE, HEARTBEAT = "Authorize", "Heartbeat"
TRIGGERS = frozenset({"TriggerMessage", "ExtendedTriggerMessage"})
# OCPP 1.6, 4.2: a central system may not start or stop transactions while it has a charger's registration pending.
_NOT_WHILE_PENDING = frozenset({"RemoteStartTransaction", "RemoteStopTransaction"})
SPREAD = 0.2  # of an interval that the gateway tells, more or less: so that a fleet does not come at once
LOCAL = Remark(Kind.ASSUMED, "", "no backend could be asked: answered by the gateway", "away.answered")

logger = structlog.get_logger(__name__)


class Router:
    """`up` answers calls of chargers, `down` calls of backends. Both are bounded by the deadlines of those they ask."""

    def __init__(
        self,
        config: Config,
        roster: Roster,
        ids: Ids,
        running: Running,
        outbox: Outbox,
        authorization: Authorization,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._roster, self._ids, self._running, self._outbox, self._clock = roster, ids, running, outbox, clock
        self._authorization, self._timeout = authorization, config.server.answer_timeout
        self._legs: dict[str, Leg] = {}
        self._commands = {each.name: each.commands for each in config.backends}
        self._route = lru_cache(maxsize=65_536)(config.route)
        self.seats = Seats(on_move=self._moved)
        self._money = Money(self._legs, running, outbox, authorization, self.order, self._boot, config.replay, clock)
        roster.watch(self._presence)

    def connect(self, legs: Mapping[str, Leg]) -> None:
        """Say which backends there are."""
        self._legs.update(legs)

    # --- up

    async def up(self, call: Call) -> Answer:
        """Answer a charger's call by the backend whose turn it is; the others hear it."""
        charger = self._roster.get(call.identity)
        route = self._route(call.identity, charger.tenant) if charger is not None else None
        if charger is None or route is None:
            return Error("InternalError", "no route for this charger", {}, call.id, call.action)
        self._roster.touch(charger)
        if refusal := _not_registered(charger, call):
            return refusal
        over = asyncio.get_running_loop().time() + self._timeout
        if rank(call) is Rank.MONEY:
            answer = await self._money.up(route, call, over)
        else:
            answer = await self._other(charger, route, call, over)
        if not any(self._legs[name].hears != "calls" for name in route.listen):
            return answer
        if isinstance(answer, Durable) and answer.strict:  # without the disk the charger does not hear it
            storing = Storing(self._outbox)
            storing.then(partial(self._overheard, route, call, answer))
            return storing.answer(answer)
        self._overheard(route, call, answer)
        return answer

    def _overheard(self, route: Route, call: Call, answer: Answer) -> None:
        for name in route.listen:
            self._legs[name].hear_answer(call, answer)

    async def late(self, backend: str, call: Call, answer: Answer) -> Answer:
        """What a charger may be told of an answer that came after its deadline."""
        charger = self._roster.get(call.identity)
        route = self._route(call.identity, charger.tenant) if charger is not None else None
        leg = self._legs.get(backend)
        return answer if route is None or leg is None else await self._money.late(route, leg, call, leg.inward(call, answer))

    def order(self, identity: str, route: Route) -> tuple[str, ...]:
        """The backends to ask, in order."""
        if len(route.answer) == 1:
            return route.answer
        bound = next(self._running.open_at(identity), None)
        if bound is not None and not route.failover_in_transaction:
            self.seats.take(identity, route, bound.owner, "its transaction is open there")
        now = asyncio.get_running_loop().time()
        standings = {name: self._legs[name].standing(identity) for name in route.answer}
        return tuple(self.seats.order(identity, route, standings.__getitem__, bound is not None, now))

    async def _other(self, charger: Charger, route: Route, call: Call, over: float) -> Answer:
        """Answer a call that is no transaction's."""
        if call.action == BOOT:
            self._roster.booted(charger, call.payload)
        if call.action == STATUS and call.payload.get("status") == "Available":
            self._running.freed(call.identity, call.payload.get("connectorId"))
        storing = self._listened(route, call) if route.listen else None
        answer: Answer | None = None
        try:
            answer = await self._answered(route, call, over)
        finally:
            if storing is not None and not isinstance(answer, Result):  # or whoever made the call has gone meanwhile
                storing.anyway(self._running.note)
        if not isinstance(answer, Result):
            return answer
        if call.action == BOOT:
            self.registered(charger, answer)
        return answer if storing is None else storing.answer(answer)

    def _boot(self, identity: str) -> Payload | None:
        charger = self._roster.get(identity)
        return charger.boot if charger is not None else None

    def answers(self, charger: Charger, backend: str) -> bool:
        """Whether it is the backend that answers the charger now."""
        route = self._route(charger.identity, charger.tenant)
        return route is not None and self.seats.seat(charger.identity, route) == backend

    def registered(self, charger: Charger, answer: Result) -> None:
        """Keep what a backend answered to a BootNotification: it governs what may pass."""
        self._roster.registered(charger, str(answer.payload.get("status", "")), answer.payload.get("interval"))

    def _listened(self, route: Route, call: Call) -> Storing | None:
        """Let the listeners hear; what is to be written for those that are away and want it stored."""
        storing: Storing | None = None
        kind, call = rank(call), bare(call)  # once for all of them
        for name in route.listen:
            leg = self._legs[name]
            if kind is None or not leg.stores or leg.hears == "answers":
                leg.hear(call)
                continue
            storing = storing or Storing(self._outbox)
            try:
                storing.post(leg, call, kind)
            except OcppError as refusal:
                storing.lost(leg, call, refusal)
        return storing

    async def _answered(self, route: Route, call: Call, over: float) -> Answer:
        """The answer of the first backend that hears the call; without one, what the gateway may say itself."""
        if call.action == AUTHORIZE:
            seat = self.order(call.identity, route)[0]
            ask, primary = partial(self._asked_of, over), partial(self._asked, route, over=over)
            answer = await self._authorization.authorize(call, route, ask, primary, seat)
        else:
            answer = await self._asked(route, call, over)
        if isinstance(answer, NotSent | Broken | Unanswered):
            return self._away(route, call, answer)
        return answer

    async def _asked_of(self, over: float, name: str, call: Call) -> Answer:
        return await self._legs[name].ask(call, over - asyncio.get_running_loop().time())

    async def _asked(self, route: Route, call: Call, over: float) -> Answer:
        clock = asyncio.get_running_loop().time
        answer: Answer = NotSent("InternalError", "no backend could be asked", {}, call.id, call.action)
        for leg in willing(self._legs, route, self.order(call.identity, route), call):
            if call.action == STATUS and leg.stores and self._outbox.waits(leg.name, call.identity, Rank.STATUS):
                return self._stored(leg, call, Rank.STATUS, {})  # an older one must not be heard after it
            answer = await leg.ask(call, over - clock())
            if call.action == BOOT and isinstance(answer, Result):
                self._outbox.outdated(leg.name, call.identity, Rank.BOOT)
            if not isinstance(answer, NotSent) or clock() >= over:
                return answer
        return answer

    def _away(self, route: Route, call: Call, answer: Error) -> Answer:
        """What the gateway says where no backend could answer. Nothing, unless it is told to."""
        leg = willing(self._legs, route, self.order(call.identity, route), call)[0]
        if call.action == AUTHORIZE:
            info = self._authorization.away(route, call.payload.get("idTag"))
            return answer if info is None else Result({"idTagInfo": info}, call.id, call.action, (AWAY,))
        if call.action == STATUS and leg.stores and not isinstance(answer, Unanswered):
            return self._stored(leg, call, Rank.STATUS, {})
        if call.action == HEARTBEAT and HEARTBEAT in route.away_answers:
            return Result({"currentTime": stamp(self._clock())}, call.id, call.action, (LOCAL,))
        if call.action == BOOT and BOOT in route.away_answers:
            interval = round(route.away_interval * random.uniform(1 - SPREAD, 1 + SPREAD))  # noqa: S311 - jitter
            told = {"status": "Accepted", "currentTime": stamp(self._clock()), "interval": max(interval, 1)}
            return self._stored(leg, call, Rank.BOOT, told, LOCAL)
        return answer

    def _stored(self, leg: Leg, call: Call, kind: Rank, told: dict[str, object], remark: Remark = STORED) -> Answer:
        """The gateway's own answer to what the backend gets later."""
        storing = Storing(self._outbox, strict=leg.stores)
        try:
            storing.post(leg, call, kind)
        except OcppError as refusal:
            error = NotSent if isinstance(refusal, Full) else Error
            return error(refusal.code, refusal.text, {}, call.id, call.action)
        return storing.answer(Result(told, call.id, call.action, (remark,)))

    def _moved(self, identity: str, old: str, new: str, why: str) -> None:
        logger.warning("charger.moved", charger=identity, backend=new, instead_of=old, reason=why)

    # --- down

    async def command(self, backend: str, call: Call, timeout: float) -> Answer:
        """Make a call of a backend to a charger. Whatever goes wrong is an Error."""
        charger = self._roster.get(call.identity)
        if charger is None or charger.link is None:
            return _unreachable(call)
        if refusal := self._not_allowed(charger, backend, call):
            return refusal
        call = replace(call, identity=charger.identity)
        return await self._legs[backend].command(call, lambda made: self.down(made, timeout))

    async def down(self, call: Call, timeout: float) -> Answer:
        """Make a call to a charger, in its own words. Whatever goes wrong is an Error."""
        charger = self._roster.get(call.identity)
        if charger is None or charger.link is None:
            return _unreachable(call)
        made = replace(call, id=self._ids() if not call.id else call.id, identity=charger.identity, side=Side.CHARGE_POINT)
        wanted = str(call.payload.get("requestedMessage")) if call.action in TRIGGERS else ""
        if wanted:
            charger.triggered.add(wanted)  # before the answer: chargers do not always wait with what was asked for
        answer = await charger.link.call(made, timeout)
        if wanted and not (isinstance(answer, Result) and answer.payload.get("status") == "Accepted"):
            charger.triggered.discard(wanted)
        return answer

    def _not_allowed(self, charger: Charger, backend: str, call: Call) -> Error | None:
        if reason := self._forbidden(charger, backend, call.action):
            return Error("SecurityError", reason, {}, call.id, call.action)
        if charger.registration is Registration.REJECTED:
            return Error("SecurityError", "the charger's registration is Rejected", {}, call.id, call.action)
        if charger.registration is Registration.PENDING and call.action in _NOT_WHILE_PENDING:
            return Error("SecurityError", "the charger's registration is Pending", {}, call.id, call.action)
        return None

    def _forbidden(self, charger: Charger, backend: str, action: str) -> str:
        """Why this backend may not send that command; empty if it may."""
        route, globs = self._route(charger.identity, charger.tenant), self._commands.get(backend)
        if route is None or backend not in (*route.answer, *route.listen):
            return "a backend that has no route to this charger may not call it"
        if globs is None:
            return "" if backend in route.answer else "a backend that only listens may not call chargers"
        return "" if any(fits(glob, action) for glob in globs) else f"backend {backend} may not send {action}"

    # --- presence

    def _presence(self, charger: Charger, effect: Effect) -> None:
        route = self._route(charger.identity, charger.tenant)
        for name in (*route.answer, *route.listen) if route else ():
            leg = self._legs[name]
            if effect is Effect.ARRIVED:
                leg.arrive(charger.identity)
            else:
                leg.leave(charger.identity)


def _unreachable(call: Call) -> Error:
    return Error("GenericError", "charger unreachable: it is not connected", {}, call.id, call.action)


def _not_registered(charger: Charger, call: Call) -> Error | None:
    """OCPP 1.6, 4.2, and OCPP-J errata 3.8: before it is accepted a charger says nothing else, unless it was triggered."""
    waiting = charger.registration in (Registration.PENDING, Registration.REJECTED)
    if not waiting or call.action == BOOT:
        return None
    if charger.registration is Registration.PENDING and call.action in charger.triggered:
        return None
    text = f"the charger's registration is {charger.registration}: expected a BootNotification first"
    return Error("SecurityError", text, {}, call.id, call.action)

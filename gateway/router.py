"""The routing core: charger -> route -> one backend answers, the others listen; and back down. Knows neither wire."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from gateway.backends import Backend, NotSent
from gateway.config import Config, Route
from gateway.exchange import Ids
from gateway.roster import Charger, Effect, Registration, Roster
from translations.messages import Answer, Call, Error, Result, Side

BOOT = "BootNotification"
TRIGGERS = frozenset({"TriggerMessage", "ExtendedTriggerMessage"})
# OCPP 1.6, 4.2: a central system may not start or stop transactions while it has a charger's registration pending.
_NOT_WHILE_PENDING = frozenset({"RemoteStartTransaction", "RemoteStopTransaction"})
BY_HAND = ""  # the name under which people call


class Router:
    """`up` answers calls of chargers, `down` calls of backends. Both are bounded by the deadlines of those they ask."""

    def __init__(self, config: Config, roster: Roster, ids: Ids) -> None:
        self._roster, self._ids = roster, ids
        self._backends: Mapping[str, Backend] = {}
        self._route = lru_cache(maxsize=65_536)(config.route)
        roster.watch(self._presence)

    def connect(self, backends: Mapping[str, Backend]) -> None:
        """Say which backends there are."""
        self._backends = backends

    # --- up

    async def up(self, call: Call) -> Answer:
        """Answer a charger's call by the first backend of its route that is up; the others hear it."""
        charger = self._roster.get(call.identity)
        route = self._route(call.identity)
        if charger is None or route is None:
            return Error("InternalError", "no route for this charger", {}, call.id, call.action)
        self._roster.touch(charger)
        if refusal := _not_registered(charger, call):
            return refusal
        if call.action == BOOT:
            self._roster.booted(charger, call.payload)
        for name in route.listen:
            self._backends[name].offer(call)
        answer = await self._answered(route, call)
        if call.action == BOOT and isinstance(answer, Result):
            self.registered(charger, answer)
        return answer

    def registered(self, charger: Charger, answer: Result) -> None:
        """Keep what a backend answered to a BootNotification: it governs what may pass."""
        self._roster.registered(charger, str(answer.payload.get("status", "")), answer.payload.get("interval"))

    async def _answered(self, route: Route, call: Call) -> Answer:
        """Ask the first backend that is up, and the next one only if that never heard the call."""
        answer: Answer | None = None
        for name in route.answer:
            backend = self._backends[name]
            if backend.up(call.identity):
                answer = await backend.exchange(call)
                if not isinstance(answer, NotSent):
                    return answer
        return answer or await self._backends[route.answer[0]].exchange(call)

    # --- down

    async def down(self, backend: str, call: Call, timeout: float) -> Answer:
        """Make a call of a backend, or of a person, to a charger. Whatever goes wrong is an Error."""
        charger = self._roster.get(call.identity)
        if charger is None or charger.link is None:
            return Error("GenericError", "charger unreachable: it is not connected", {}, call.id, call.action)
        if refusal := self._not_allowed(charger, backend, call):
            return refusal
        made = replace(call, id=self._ids() if not call.id else call.id, identity=charger.identity, side=Side.CHARGE_POINT)
        wanted = str(call.payload.get("requestedMessage")) if call.action in TRIGGERS else ""
        if wanted:
            charger.triggered.add(wanted)  # before the answer: chargers do not always wait with what was asked for
        answer = await charger.link.call(made, timeout)
        if wanted and not (isinstance(answer, Result) and answer.payload.get("status") == "Accepted"):
            charger.triggered.discard(wanted)
        return answer

    def _not_allowed(self, charger: Charger, backend: str, call: Call) -> Error | None:
        if backend == BY_HAND:
            return None
        route = self._route(charger.identity)
        if route is None or backend not in route.answer:
            return Error("SecurityError", "a backend that only listens may not call chargers", {}, call.id, call.action)
        if charger.registration is Registration.REJECTED:
            return Error("SecurityError", "the charger's registration is Rejected", {}, call.id, call.action)
        if charger.registration is Registration.PENDING and call.action in _NOT_WHILE_PENDING:
            return Error("SecurityError", "the charger's registration is Pending", {}, call.id, call.action)
        return None

    # --- presence

    def _presence(self, charger: Charger, effect: Effect) -> None:
        route = self._route(charger.identity)
        for name in (*route.answer, *route.listen) if route else ():
            backend = self._backends[name]
            if effect is Effect.ARRIVED:
                backend.arrive(charger.identity)
            else:
                backend.leave(charger.identity)


def _not_registered(charger: Charger, call: Call) -> Error | None:
    """OCPP 1.6, 4.2, and OCPP-J errata 3.8: before it is accepted a charger says nothing else, unless it was triggered."""
    waiting = charger.registration in (Registration.PENDING, Registration.REJECTED)
    if not waiting or call.action == BOOT:
        return None
    if charger.registration is Registration.PENDING and call.action in charger.triggered:
        return None
    text = f"the charger's registration is {charger.registration}: expected a BootNotification first"
    return Error("SecurityError", text, {}, call.id, call.action)

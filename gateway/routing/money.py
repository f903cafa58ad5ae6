"""Messages that carry money on their way up: who answers for a transaction, what is stored, and what each listener gets.

A transaction is of the backend that answered its start, and its messages go there, whoever else is up by then. Listeners hear
of a transaction message once it is clear that the charger need not repeat it.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any

import structlog

from gateway.config import Replay, Route
from gateway.exchange import Broken, NotSent, Unanswered
from gateway.outbox.fates import Undeliverable
from gateway.outbox.outbox import Full, Outbox
from gateway.routing.authorization import AWAY, Authorization
from gateway.routing.leg import BOOT, START, STOP, Leg
from gateway.routing.numbers import MAPPED
from gateway.routing.running import Running
from gateway.routing.storing import STORED, Storing
from gateway.state.letters import Letter, Rank
from gateway.state.numbers import Transaction
from gateway.state.overdue import PATIENCE
from translations.errors import OcppError, PropertyConstraintViolation
from translations.messages import Answer, Call, Error, Kind, Payload, Remark, Result

MOST_UNANSWERED = 500  # stops, which can be long

logger = structlog.get_logger(__name__)


class Money:
    """`order` says which backends are to be asked for a charger, in order; `boot` what its last BootNotification was."""

    def __init__(
        self,
        legs: Mapping[str, Leg],
        running: Running,
        outbox: Outbox,
        authorization: Authorization,
        order: Callable[[str, Route], tuple[str, ...]],
        boot: Callable[[str], Payload | None],
        replay: Replay,
        clock: Callable[[], float],
    ) -> None:
        self._legs, self._running, self._outbox = legs, running, outbox
        self._authorization, self._order, self._boot = authorization, order, boot
        self._replay, self._clock = replay, clock
        self._unanswered: OrderedDict[str, Call] = OrderedDict()  # of which listeners hear once there is a late answer

    async def up(self, route: Route, call: Call, over: float) -> Answer:
        """Answer a transaction message; what must be on disk before is in the answer."""
        call = await self._running.settled(call)
        known = await self._known(call)
        if call.action == START:
            self._running.goes_on(call)
        leg, answer = await self._asked(route, call, known, over)
        if isinstance(answer, Result):
            answer = await self._taken(route, leg, call, answer, known)
        elif leg.stores and not leg.rules(call):
            answer = await self._stored(route, leg, call, known, answer)
        if isinstance(answer, Result):
            return self._listened(route, leg, call, answer, known) if route.listen else answer
        if call.action == STOP and known is not None:
            self._running.stopped(known)
        if isinstance(answer, Unanswered) and call.action == STOP and route.listen:
            self._remember(call)
        return answer

    async def late(self, route: Route, leg: Leg, call: Call, answer: Answer) -> Answer:
        """What a charger may be told of an answer that came after its deadline. Its repetition is not passed on any more, so that
        listeners hear of it now. Of a stop, `call` may have lost its payload.
        """
        call = self._unanswered.pop(call.id, call)
        known = await self._known(call)
        if not isinstance(answer, Result):
            return answer
        answer = await self._taken(route, leg, call, answer, known, late=True)
        return self._listened(route, leg, call, answer, known) if route.listen and call.payload else answer

    async def _known(self, call: Call) -> Transaction | None:
        return None if call.action == START else await self._running.find(call.identity, call.payload.get("transactionId"))

    def _remember(self, call: Call) -> None:
        self._unanswered[call.id] = call
        if len(self._unanswered) > MOST_UNANSWERED:
            _, lost = self._unanswered.popitem(last=False)
            logger.warning("listener.full", charger=lost.identity, reason=f"{MOST_UNANSWERED} stops have no answer")

    # --- who is asked

    async def _asked(self, route: Route, call: Call, known: Transaction | None, over: float) -> tuple[Leg, Answer]:
        """The answer, and whose it is: of the first that heard the call."""
        clock = asyncio.get_running_loop().time
        first, answer = None, None
        for leg in willing(self._legs, route, self._candidates(route, call.identity, known), call):
            if leg.stores and self._outbox.busy(leg.name, call.identity) and not leg.rules(call):
                text = f"backend {leg.name} is still told what was before"
                return leg, NotSent("InternalError", text, {}, call.id, call.action)
            heard = await leg.ask(call, over - clock())
            if not isinstance(heard, NotSent):
                return leg, heard
            first, answer = first or leg, answer or heard
            if clock() >= over:
                break
        assert first is not None and answer is not None
        return first, answer

    def _candidates(self, route: Route, identity: str, known: Transaction | None) -> tuple[str, ...]:
        order = self._order(identity, route)
        if known is None or known.owner not in self._legs:
            return order
        if not route.failover_in_transaction or self._outbox.busy(known.owner, identity):
            return (known.owner,)  # also where it is told of the transaction later: of a part of it nobody can make a bill
        return order if known.owner in order else (*order, known.owner)

    # --- what was answered

    async def _taken(
        self, route: Route, leg: Leg, call: Call, answer: Result, known: Transaction | None, *, late: bool = False
    ) -> Result:
        """A backend's result in the charger's numbers, with what is to be written first."""
        if call.action in (START, STOP):
            self._authorization.learn(call.payload.get("idTag"), answer.payload.get("idTagInfo"))
            answer = self._authorization.judged(call, answer, route, leg.name)
        storing = Storing(self._outbox)
        if call.action == START:
            answer = await self._started(leg, call, answer, storing, late)
        elif known is not None:
            self._goes_on(leg, call, known, storing)
        return storing.answer(answer)

    async def _started(self, leg: Leg, call: Call, answer: Result, storing: Storing, late: bool) -> Result:
        theirs = answer.payload.get("transactionId")
        if type(theirs) is not int:
            return answer  # no transaction, or none that a charger could name
        begun = await self._running.begin(call, leg.name, theirs, late=late)
        if not _accepted(answer.payload):
            self._running.over(begun)  # a charger may go on all the same, and stop it by its number
        storing.rows.append(begun.row())
        if begun.number == theirs:
            return answer
        remark = Remark(Kind.CHANGED, "transactionId", f"{theirs} of {leg.name} is {begun.number} to the charger", MAPPED)
        return replace(answer, payload=answer.payload | {"transactionId": begun.number}, remarks=(*answer.remarks, remark))

    def _goes_on(self, leg: Leg, call: Call, known: Transaction, storing: Storing) -> None:
        if known.owner != leg.name and not self._elsewhere(known, call):
            logger.warning("transaction.moved", charger=call.identity, backend=leg.name, instead_of=known.owner)
            known.owner = leg.name
            storing.rows.append(known.row())
        if call.action == STOP:
            storing.rows.append(self._running.over(known))

    def _elsewhere(self, known: Transaction, call: Call) -> bool:
        """Whether the owner is not to hear such messages, though the transaction is its."""
        owner = self._legs.get(known.owner)
        return owner is not None and owner.drops(call)

    # --- what is stored

    async def _stored(self, route: Route, leg: Leg, call: Call, known: Transaction | None, error: Error) -> Answer:
        """The gateway's own answer, where the backend gave none or an error. The charger is not made to throw anything away."""
        begun = await self._running.begin(call, leg.name, None) if call.action == START else None
        storing = Storing(self._outbox, strict=True, undo=None if begun is None else partial(self._running.undone, begun))
        number = _number(begun or known, call)
        try:
            self._boot_first(leg, call.identity, storing)
            letter = storing.post(leg, call, Rank.MONEY, number=number, **self._fate(error))
        except OcppError as refusal:
            storing.landed(False)
            kind = NotSent if isinstance(refusal, Full) else Error
            return kind(refusal.code, refusal.text, {}, call.id, call.action)
        if begun is not None and letter.number != begun.number:  # the same start waits already, under a number of its own
            self._running.undone(begun)
            begun = await self._running.find(call.identity, letter.number) or begun
        told = self._told(route, call, begun)
        if begun is not None:
            storing.undo = partial(self._undone, begun, letter)
            storing.rows.append(begun.row() if _accepted(told) else self._running.over(begun))
        if call.action == STOP and known is not None:
            storing.rows.append(self._running.over(known))
        logger.info("transaction.stored", backend=leg.name, charger=call.identity, action=call.action, reason=error.code)
        return storing.answer(Result(told, call.id, call.action, (STORED,) if begun is None else (STORED, AWAY)))

    def _undone(self, begun: Transaction, letter: Letter) -> None:
        if letter.over:  # else it stands for an earlier attempt, which may be on disk
            self._running.undone(begun)

    def _boot_first(self, leg: Leg, identity: str, storing: Storing) -> None:
        """A backend that was away hears of the charger itself before it hears what that has said meanwhile."""
        if leg.stores and not leg.up(identity) and (boot := self._boot(identity)) is not None:
            with suppress(PropertyConstraintViolation):  # no reason to refuse what is to be paid
                storing.post(leg, Call(BOOT, boot, "", identity), Rank.BOOT)

    def _fate(self, error: Error) -> dict[str, Any]:
        """How often the backend had it already, when it may have it again, and by which id it may still answer."""
        now = self._clock()
        if isinstance(error, Unanswered):
            return {"due": now + PATIENCE * error.waited, "sent": error.id}
        if isinstance(error, NotSent | Broken):
            return {}
        if isinstance(error, Undeliverable):
            return {"hopeless": error.text or "it cannot be delivered"}
        if self._replay.attempts <= 1:
            return {"hopeless": f"refused once, with {error.code}: {error.text}"[:255]}
        return {"attempts": 1, "due": now + self._replay.retry_interval}

    def _told(self, route: Route, call: Call, begun: Transaction | None) -> Payload:
        if begun is None:
            return {}
        info = self._authorization.stored(route, call.payload.get("idTag"))
        return {"transactionId": begun.number, "idTagInfo": info}

    # --- listeners

    def _listened(self, route: Route, leg: Leg, call: Call, answer: Result, known: Transaction | None) -> Result:
        number = answer.payload.get("transactionId") if call.action == START else _number(known, call)
        number = number if isinstance(number, int) else None
        storing = Storing(self._outbox)
        for name in route.listen:
            listener = self._legs[name]
            if name == leg.name or listener.hears == "answers":
                continue
            if listener.stores:
                self._post(storing, listener, call, number)
            else:  # out of memory it would be heard at once
                storing.then(partial(self._post, Storing(self._outbox), listener, call, number))
        return storing.answer(answer)

    def _post(self, storing: Storing, listener: Leg, call: Call, number: int | None) -> None:
        try:
            self._boot_first(listener, call.identity, storing)
            storing.post(listener, call, Rank.MONEY, number=number)
        except OcppError as refusal:
            storing.lost(listener, call, refusal)


def willing(legs: Mapping[str, Leg], route: Route, order: Sequence[str], call: Call) -> list[Leg]:
    """Of those in `order` who may be asked; where policies leave none of them, of all others that answer in the route."""
    asked = [legs[name] for name in order if not legs[name].drops(call)]
    others = [legs[name] for name in route.answer if name not in order] if not asked else []
    return asked or [leg for leg in others if not leg.drops(call)] or [legs[name] for name in order]


def _number(known: Transaction | None, call: Call) -> int | None:
    said = known.number if known is not None else call.payload.get("transactionId")
    return said if isinstance(said, int) else None


def _accepted(payload: Payload) -> bool:
    info = payload.get("idTagInfo")
    return isinstance(info, dict) and info.get("status") == "Accepted"

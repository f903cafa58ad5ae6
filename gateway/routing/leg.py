"""What stands between the router and one backend. Above it, messages are in the charger's words; below it, in the backend's.

In order, upwards: policies, numbers, idTags, rewrites, the backend; what comes back goes the same way in reverse. Commands of the
backend go downwards likewise. Each step leaves its remarks on the message, and only those of this leg.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any
from weakref import WeakValueDictionary

import msgspec
import structlog

from gateway.backends import Backend
from gateway.config import Peer
from gateway.exchange import NotSent, Silence, Standing, Unanswered
from gateway.outbox.fates import Delivered, Undeliverable
from gateway.outbox.outbox import Outbox
from gateway.pace import Pace
from gateway.routing.numbers import Missing, Numbers, Strange
from gateway.routing.running import Running
from gateway.rules.names import Names
from gateway.rules.policies import Policies, carried_out
from gateway.rules.rewrites import Rewrites, judge
from gateway.state.ledger import Ledger
from gateway.state.letters import Letter, Rank
from gateway.state.numbers import Transaction
from gateway.state.overdue import PATIENCE
from gateway.state.store import Row
from translations.messages import Answer, Call, Error, Kind, Payload, Remark, Result

START, STOP, METER, STATUS, BOOT = "StartTransaction", "StopTransaction", "MeterValues", "StatusNotification", "BootNotification"
VENDOR = "ocpp-gateway"  # of the DataTransfer that tells a listener what a charger was answered
BEGAN_BEFORE = "numbers.unknown"
MOST_DOUBTFUL = 1_000
LONGEST_SPREAD = 3_600.0  # seconds; chargers that come before their time must not put off the others for days
SPREAD = Remark(Kind.ASSUMED, "", "too many chargers boot: answered here, with an interval that spreads them", "boot.spread")
_RANKS = MappingProxyType({STATUS: Rank.STATUS, BOOT: Rank.BOOT})

_ENCODER = msgspec.json.Encoder(decimal_format="number")

logger = structlog.get_logger(__name__)


class Leg:
    """One backend. `answers` says whether some route lets it answer."""

    def __init__(
        self,
        config: Peer,
        backend: Backend,
        *,
        policies: Policies,
        rewrites: Rewrites,
        names: Names,
        numbers: Numbers,
        running: Running,
        outbox: Outbox,
        ledger: Ledger,
        answers: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name, self.stores, self.hears = config.name, config.away == "store", config.hear
        self._backend, self._policies, self._rewrites, self._names = backend, policies, rewrites, names
        self._numbers, self._running, self._ledger, self._clock = numbers, running, ledger, clock
        self._passes = (config.unknown_transaction or ("pass" if answers else "drop")) == "pass"
        self._boots = Pace(config.boot_rate, max(1, int(config.boot_rate))) if config.boot_rate else None
        self._present: set[str] = set()
        self._held: set[str] = set()
        self._introducing: WeakValueDictionary[tuple[str, int], asyncio.Lock] = WeakValueDictionary()
        self._doubtful: OrderedDict[str, tuple[Transaction, float]] = OrderedDict()  # introduced, by call; until when
        self.dropped = 0  # messages of transactions of which this backend knows nothing
        outbox.serve(self.name, deliver=self.deliver, up=backend.up, hold=self.hold, learn=self.learn_late)

    # --- sessions

    def arrive(self, identity: str) -> None:
        """The charger is here."""
        self._present.add(identity.casefold())
        self._backend.arrive(identity)

    def leave(self, identity: str) -> None:
        """The charger is gone; its session stays while something is stored for it."""
        self._present.discard(identity.casefold())
        if identity.casefold() not in self._held:
            self._backend.leave(identity)

    def hold(self, identity: str, held: bool) -> None:
        """Keep the charger's session, whether it is here or not; or no longer."""
        if held:
            self._held.add(identity.casefold())
            self._backend.arrive(identity)
            return
        self._held.discard(identity.casefold())
        if identity.casefold() not in self._present:
            self._backend.leave(identity)

    def _wanted(self, identity: str) -> bool:
        """Whether there is to be a session. A backend opens one for whatever it is given, and nobody would close it."""
        return identity.casefold() in self._present or identity.casefold() in self._held

    def up(self, identity: str) -> bool:
        """Whether a call for this charger could be sent now."""
        return self._backend.up(identity)

    def standing(self, identity: str) -> Standing:
        """Whether the backend is up for this charger, and since when."""
        return self._backend.standing(identity)

    # --- up

    def rules(self, call: Call) -> bool:
        """Whether the configuration says what becomes of a charger's call, not the backend."""
        return self._policies.find(self.name, call.identity, call.action, "up") is not None

    def drops(self, call: Call) -> bool:
        """Whether the backend is not to be asked."""
        policy = self._policies.find(self.name, call.identity, call.action, "up")
        return policy is not None and policy.do == "drop"

    async def ask(self, call: Call, within: float | None = None) -> Answer:
        """The backend's answer to a charger's call, in the charger's words. Whatever goes wrong is an Error, of the kinds in
        `gateway.exchange`; one that the backend is not to be asked for is NotSent. `within` are the seconds there are.
        """
        if policy := self._policies.find(self.name, call.identity, call.action, "up"):
            return carried_out(policy, call, stamp(self._clock())) or NotSent(
                "NotSupported", f"not for backend {self.name}", {}, call.id, call.action
            )
        if self._boots is not None and call.action == BOOT and (later := self._boot_later(call)):
            return later
        try:
            return await self._asked(call, within)
        finally:
            if not self._wanted(call.identity):
                self._backend.leave(call.identity)  # it has gone meanwhile

    async def _asked(self, call: Call, within: float | None) -> Answer:
        clock = asyncio.get_running_loop().time
        over = None if within is None else clock() + within
        said = await self._outward(call, over)
        if not isinstance(said, Call):
            return said
        return self.inward(call, await self._backend.exchange(said, None if over is None else over - clock()))

    def hear(self, call: Call) -> None:
        """Let a listener hear a call that is not stored for it. Never blocks."""
        if self.hears == "answers" or not self._wanted(call.identity):
            return
        if (said := self.worded(call)) is not None:
            self._backend.offer(said)

    def worded(self, call: Call) -> Call | None:
        """A call without numbers in it, as the backend is to hear it; None where it is not to."""
        said = None if self.rules(call) else self._reworded(bare(call))
        return said if isinstance(said, Call) else None

    def hear_answer(self, call: Call, answer: Answer) -> None:
        """Tell a listener that wants it what a charger was answered: by DataTransfer, which is all that OCPP has for that."""
        if self.hears == "calls" or self.rules(call) or not self._wanted(call.identity):
            return
        if isinstance(answer, Result):
            payload, remarks = self._heard(call, answer)
            told: Any = [3, call.id, payload]
        else:
            told, remarks = [4, call.id, answer.code, "", {}], ()  # its text may name an idTag as another backend knows it
        try:
            frame = _ENCODER.encode(told).decode()
        except (ValueError, ArithmeticError, RecursionError):  # half a surrogate pair: JSON cannot say it
            logger.warning("listener.unheard", backend=self.name, charger=call.identity, action=call.action)
            return
        data = {"vendorId": VENDOR, "messageId": f"{call.action}.conf", "data": frame}
        self._backend.offer(Call("DataTransfer", data, f"{call.id}~", call.identity, remarks=remarks))

    def _heard(self, call: Call, answer: Result) -> tuple[Payload, tuple[Remark, ...]]:
        """What the charger was answered, in the backend's words, and what was done for that."""
        heard = self._names.heard(call.action, Result(answer.payload, answer.id, answer.action))
        assert isinstance(heard, Result)
        rule = self._rewrites.find(self.name, call.identity, "up", "answer", call.action)
        payload, remarks = (heard.payload, ()) if rule is None else rule.apply(heard.payload)
        return payload, (*heard.remarks, *remarks)

    def _boot_later(self, call: Call) -> Result | None:
        """OCPP 1.6, 4.2: who is Rejected comes again after the interval; with one each that spreads them."""
        assert self._boots is not None
        if self._boots.take("", (now := asyncio.get_running_loop().time())):
            return None
        wait = min(self._boots.wait("spread", now, LONGEST_SPREAD), LONGEST_SPREAD)
        payload = {"status": "Rejected", "currentTime": stamp(self._clock()), "interval": int(wait) + 1}
        return Result(payload, call.id, call.action, (SPREAD,))

    async def _outward(self, call: Call, over: float | None) -> Call | Answer:
        """The call in the backend's words; or the answer, where it is not to be said. `over` is by when there has to be one."""
        found = await self._numbers.up(bare(call), self.name)
        if isinstance(found, Missing) and found.transaction.start is not None:
            failed = await self._introduced(found.transaction, call, over)
            if failed is not None:
                return replace(failed, id=call.id, action=call.action)
            found = await self._numbers.up(bare(call), self.name)
        if isinstance(found, Missing | Strange):
            return self._unknown(call)
        return self._reworded(found)

    def _reworded(self, call: Call) -> Call | Error:
        """The call with the backend's idTags, and rewritten."""
        call = self._names.up(call)
        rule = self._rewrites.find(self.name, call.identity, "up", "call", call.action)
        return call if rule is None else _rewritten(call, *rule.apply(call.payload))

    def _unknown(self, call: Call) -> Call | Answer:
        """A message of a transaction of which this backend knows nothing."""
        if self._passes:
            remark = Remark(Kind.ASSUMED, "transactionId", f"{self.name} is thought to know it by the same number", BEGAN_BEFORE)
            return self._reworded(replace(call, remarks=(remark,)))
        self.dropped += 1
        logger.warning("backend.unknown_transaction", backend=self.name, charger=call.identity, action=call.action)
        remark = Remark(Kind.LOST, "", f"{self.name} knows nothing of the transaction: not told", BEGAN_BEFORE)
        return Result({}, call.id, call.action, (remark,))

    async def _introduced(self, transaction: Transaction, call: Call, over: float | None) -> Error | None:
        """Have the backend hear of a transaction first that began without it; what went wrong, if something did. Once, however
        many messages of it come at a time.
        """
        start = Call(START, transaction.start or {}, f"{call.id}+" if call.id else "", call.identity)
        if self.rules(start):
            return None  # it is not to hear of it
        key = transaction.charger, transaction.number
        lock = self._introducing.get(key)
        if lock is None:
            lock = self._introducing[key] = asyncio.Lock()
        async with lock:
            if self.name in transaction.ids:
                return None
            if any(known is transaction and self._clock() < until for known, until in self._doubtful.values()):
                return NotSent("InternalError", f"backend {self.name} has yet to answer to the start", {}, call.id, call.action)
            return await self._told_of(transaction, start, over)

    async def _told_of(self, transaction: Transaction, start: Call, over: float | None) -> Error | None:
        remark = Remark(Kind.ASSUMED, "", f"{self.name} has not heard of the transaction before", "numbers.introduced")
        found = await self._numbers.up(start, self.name)
        assert isinstance(found, Call)  # there is no transactionId in it
        said = self._reworded(replace(found, remarks=(remark, *found.remarks)))
        if not isinstance(said, Call):
            return said
        within = None if over is None else over - asyncio.get_running_loop().time()
        answer = self.inward(start, await self._backend.exchange(said, within))
        if isinstance(answer, Unanswered) and start.id:
            self._doubtful[start.id] = transaction, self._clock() + PATIENCE * answer.waited
            if len(self._doubtful) > MOST_DOUBTFUL:
                self._doubtful.popitem(last=False)
        if not isinstance(answer, Result):
            return answer
        await self._ledger.keep(rows=self._learnt(transaction, answer))
        return None

    def late(self, answer: Answer) -> bool:
        """Take what the backend answers after the deadline to a start that it was told of by us. Says whether it is that."""
        transaction, _ = self._doubtful.pop(answer.id, (None, 0.0))
        if transaction is None:
            return False
        said = self.inward(Call(START, {}, "", transaction.charger), answer)
        if isinstance(said, Result) and self.name not in transaction.ids:
            self._ledger.note(rows=self._learnt(transaction, said))
        return True

    def inward(self, call: Call, answer: Answer) -> Answer:
        """The answer in the charger's words; numbers are the business of those who know whose they are."""
        if not isinstance(answer, Result):
            return answer
        rule = self._rewrites.find(self.name, call.identity, "up", "answer", call.action)
        said = answer if rule is None else _reanswered(answer, call.action, *rule.apply(answer.payload))
        return self._names.answered(call.action, said)

    # --- what was stored

    async def deliver(self, letter: Letter, call: Call) -> Delivered:
        """Send one stored message."""
        if policy := self._policies.find(self.name, call.identity, call.action, "up"):
            return self._ruled(letter, call, carried_out(policy, call, stamp(self._clock())))
        if letter.number is not None:  # at hand when the answer comes, or is late
            known = await self._running.find(letter.identity, letter.number)
            if letter.action == START and known is not None and self.name in known.ids and known.start == call.payload:
                return Delivered(Result({"transactionId": known.ids[self.name]}, call.id, call.action))  # it was introduced
        said = await self._outward(call, None)
        if isinstance(said, Call):
            answer = self.inward(call, await self._backend.exchange(replace(said, remarks=(*call.remarks, *said.remarks))))
        else:
            answer = said
        return Delivered(answer, self.learn(letter, answer))

    def _ruled(self, letter: Letter, call: Call, answer: Answer | None) -> Delivered:
        """What becomes of a stored message that the backend is not to hear. Nothing waits for such a boot."""
        if isinstance(answer, Error):
            return Delivered(answer)
        said = answer if isinstance(answer, Result) and call.action != BOOT else None
        told = Result({"status": "Accepted"} if call.action == BOOT else {}, call.id, call.action)
        if said is None or type(said.payload.get("transactionId")) is not int:
            return Delivered(said or told)
        return Delivered(said, self.learn(letter, said))

    def learn_late(self, letter: Letter, answer: Answer) -> tuple[Row, ...]:
        """The same, of an answer as the backend gave it."""
        return self.learn(letter, self.inward(Call(letter.action, {}, "", letter.identity), answer))

    def learn(self, letter: Letter, answer: Answer) -> tuple[Row, ...]:
        """What the answer to a stored StartTransaction says of its number, as it is to be written."""
        if letter.action != START or letter.number is None or not isinstance(answer, Result):
            return ()
        transaction = self._running.at_hand(letter.identity, letter.number)
        return self._learnt(transaction, answer) if transaction is not None else ()

    def _learnt(self, transaction: Transaction, answer: Result) -> tuple[Row, ...]:
        theirs = answer.payload.get("transactionId")
        if type(theirs) is not int:  # it has heard of it, and must not hear of it again
            logger.warning("transaction.without_number", backend=self.name, charger=transaction.charger)
            theirs = transaction.number
        info = answer.payload.get("idTagInfo")
        status = info.get("status") if isinstance(info, dict) else None
        if status != "Accepted":
            logger.warning("transaction.not_authorized", backend=self.name, charger=transaction.charger, status=str(status)[:20])
        return (self._running.learnt(transaction, self.name, theirs),)

    # --- down

    async def command(self, call: Call, down: Callable[[Call], Awaitable[Answer]]) -> Answer:
        """A charger's answer to a command of the backend, in the backend's words."""
        call = replace(call, remarks=())
        if policy := self._policies.find(self.name, call.identity, call.action, "down"):
            return carried_out(policy, call, stamp(self._clock())) or Silence(
                "GenericError", "dropped by a policy", {}, call.id, call.action
            )
        said = await self._numbers.down(self._names.down(call), self.name)
        if isinstance(said, Result):
            return said
        rule = self._rewrites.find(self.name, call.identity, "down", "call", call.action)
        worded = said if rule is None else _rewritten(said, *rule.apply(said.payload))
        if not isinstance(worded, Call):
            return worded
        answer = self._numbers.answered(call, worded, await down(worded), self.name)
        rule = self._rewrites.find(self.name, call.identity, "down", "answer", call.action)
        if rule is None or not isinstance(answer, Result):
            return answer
        return _reanswered(answer, call.action, *rule.apply(answer.payload))


def bare(call: Call) -> Call:
    """Without the remarks of the leg where it came in, which are told there."""
    return Call(call.action, call.payload, call.id, call.identity, call.side) if call.remarks else call


def _rewritten(call: Call, payload: Any, remarks: Sequence[Remark]) -> Call | Error:
    """The call as the rewrites have it. What they made invalid is sent to nobody."""
    if not remarks:
        return call
    if complaint := judge(payload, call.action, False):
        logger.error("rewrites.invalid", charger=call.identity, action=call.action, reason=complaint)
        return Undeliverable("InternalError", f"a rewritten call is not valid: {complaint}", {}, call.id, call.action)
    return replace(call, payload=payload, remarks=(*call.remarks, *remarks))


def _reanswered(answer: Result, action: str, payload: Any, remarks: Sequence[Remark]) -> Answer:
    """The answer as the rewrites have it, if it is still one."""
    if not remarks:
        return answer
    if complaint := judge(payload, action, True):  # to tell the backend again would only make it do the same twice
        return Undeliverable("InternalError", f"a rewritten answer is not valid: {complaint}", {}, answer.id, answer.action)
    return replace(answer, payload=payload, remarks=(*answer.remarks, *remarks))


def stamp(at: float) -> str:
    """Unix seconds as OCPP writes them."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def rank(call: Call) -> Rank | None:
    """As what a call is stored; None: it is not."""
    if call.action in (START, STOP) or (call.action == METER and "transactionId" in call.payload):
        return Rank.MONEY
    return _RANKS.get(call.action)

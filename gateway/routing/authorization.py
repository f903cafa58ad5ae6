"""Who says whether an idTag may charge: one backend, several, or, while none can be asked, what is remembered of them.

IdTags are personal data. They are remembered as keyed digests only, in memory and on disk.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b
from itertools import islice
from typing import Any, NamedTuple, TypeVar

import structlog

from gateway import config
from gateway.config import Route
from gateway.state import tags
from gateway.state.ledger import Ledger
from translations.messages import Answer, Call, Error, Kind, Remark, Result

Ask = Callable[[str, Call], Awaitable[Answer]]  # a backend, by its name
Primary = Callable[[Call], Awaitable[Answer]]

ACCEPTED = "Accepted"  # OCPP 1.6, 7.2, as all statuses here
AWAY = Remark(Kind.ASSUMED, "idTagInfo", "no backend could be asked for the idTag", "authorize.away")
FIRST_ACCEPT, PREFIX, MERGED = "authorize.first-accept", "authorize.prefix", "authorize.merged"
VOUCHED_FOR = 15 * 60.0  # seconds from an Authorize to what follows it: a driver plugs in, or ends a charge
MOST_VOUCHED = 10_000
PORTION = 5_000  # idTags looked through in one turn of the event loop

_V = TypeVar("_V")
logger = structlog.get_logger(__name__)


class _Vouched(NamedTuple):
    """Another backend than the primary accepted an idTag: which, what it said, and until when that holds (unix seconds)."""

    backend: str
    info: Mapping[str, Any]
    until: float


class Authorization:
    """Asks, merges what is answered, and remembers which idTags were accepted lately, for when nobody can be asked."""

    def __init__(self, config: config.Authorization, ledger: Ledger, clock: Callable[[], float] = time.time) -> None:
        self._remember, self._most = config.remember, config.most
        self._ledger, self._clock = ledger, clock
        self._secret = b""
        self._known: dict[bytes, float] = {}  # until when; the one accepted last is the last
        self._vouched: dict[bytes, _Vouched] = {}
        self._unswept: list[bytes] = []
        self._asking: set[asyncio.Future[Answer]] = set()

    def __len__(self) -> int:
        return len(self._known)

    async def open(self) -> None:
        """Begin with what an earlier run knew; the ledger is open. Raises StateError."""
        self._secret = await tags.key(self._ledger)
        self._known = await tags.newest(self._ledger, self._clock(), self._most)

    async def close(self) -> None:
        """Wait for no answer any more."""
        asking = list(self._asking)
        for task in asking:
            task.cancel()
        if asking:
            await asyncio.wait(asking, timeout=1.0)

    def tick(self) -> None:
        """Forget what has expired, a portion at a time. To be called every now and then."""
        now = self._clock()
        if not self._unswept:
            self._unswept = list(self._known)
            self._vouched = {digest: each for digest, each in self._vouched.items() if each.until > now}
        portion, self._unswept = self._unswept[-PORTION:], self._unswept[:-PORTION]
        gone = [digest for digest in portion if self._known.get(digest, now + 1) <= now]
        for digest in gone:
            del self._known[digest]
        self._ledger.note(rows=[tags.forgotten(digest) for digest in gone])

    # --- what is remembered

    def learn(self, tag: object, info: object) -> None:
        """What a backend said of an idTag, its idTagInfo; where there is none, nothing. Never raises for what they are."""
        status = info.get("status") if isinstance(info, Mapping) else None
        if not isinstance(tag, str) or not isinstance(info, Mapping) or status is None:
            return
        digest, now = self._digest(tag), self._clock()
        until = self._until(info, now) if status == ACCEPTED else now
        if until > now:
            rows = [tags.forgotten(old) for old in _put(self._known, digest, until, self._most)]
            self._ledger.note(rows=[*rows, tags.accepted(digest, now, until)])
        elif self._known.pop(digest, None) is not None:
            self._ledger.note(rows=[tags.forgotten(digest)])

    def away(self, route: Route, tag: object) -> dict[str, Any] | None:
        """The idTagInfo to tell when no backend can be asked (with the remark AWAY); None: the gateway says nothing."""
        return None if route.away_authorize == "error" else self.stored(route, tag)

    def stored(self, route: Route, tag: object) -> dict[str, Any]:
        """The idTagInfo of a StartTransaction that is stored (with the remark AWAY): there has to be one."""
        if route.away_authorize == "reject":
            return {"status": "Invalid"}
        return {"status": ACCEPTED if route.away_authorize == "all" or self._knows(tag) else "Invalid"}

    def _knows(self, tag: object) -> bool:
        return isinstance(tag, str) and self._known.get(self._digest(tag), 0.0) > self._clock()

    def _until(self, info: Mapping[str, Any], now: float) -> float:
        expiry = info.get("expiryDate")
        return now + self._remember if expiry is None else min(_seconds(expiry), now + self._remember)

    def _digest(self, tag: str) -> bytes:
        # OCPP 1.6, 3.17: case does not count. Half a surrogate pair is no reason to fail.
        return blake2b(tag.casefold().encode("utf-8", "surrogatepass"), digest_size=16, key=self._secret).digest()

    # --- who is asked

    async def authorize(self, call: Call, route: Route, ask: Ask, primary: Primary, seat: str | None = None) -> Answer:
        """Answer an Authorize.req, as the route has it, and remember what was answered.

        `primary` asks the backend that answers the charger now, which is `seat` (default: the first of the route), `ask` the one
        it is given; each within its own deadline, and neither raises for a backend's faults.
        """
        if route.authorize == "primary":
            answer = await primary(call)
            self._learn_of(call, answer)
            return answer
        seat = seat or route.answer[0]
        tag = call.payload.get("idTag")
        asked = self._by_prefix if route.authorize == "prefix" else self._first_accept
        name, answer, why = await asked(call, route, ask, primary, seat)
        self._learn_of(call, answer)
        self._vouch(tag, name if name != seat else "", answer)
        return _remarked(answer, why) if name != seat and isinstance(answer, Result) else answer

    async def _by_prefix(self, call: Call, route: Route, ask: Ask, primary: Primary, seat: str) -> tuple[str, Answer, Remark]:
        name = _owner(call.payload.get("idTag"), route.prefixes) or seat
        answer = await (primary(call) if name == seat else ask(name, call))
        return name, answer, Remark(Kind.CHANGED, "idTagInfo", f"asked backend {name} by the prefix of the idTag", PREFIX)

    async def _first_accept(self, call: Call, route: Route, ask: Ask, primary: Primary, seat: str) -> tuple[str, Answer, Remark]:
        """The first that accepts; else the primary, or the next in order if that gave no answer."""
        others = [name for name in dict.fromkeys(route.authorizers or route.answer) if name != seat]
        asked = {seat: self._begin(primary(call))} | {name: self._begin(ask(name, call)) for name in others}
        waiting: set[asyncio.Future[Answer]] = set(asked.values())
        while waiting:
            _, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for name, task in asked.items():
                if task.done() and _accepts(answer := _outcome(task, call)):
                    return name, answer, Remark(Kind.CHANGED, "idTagInfo", f"backend {name} accepts the idTag", FIRST_ACCEPT)
        answers = {name: _outcome(task, call) for name, task in asked.items()}
        name = next((name for name, answer in answers.items() if isinstance(answer, Result)), seat)
        why = f"backend {seat} gave no answer, backend {name} did"
        return name, answers[name], Remark(Kind.CHANGED, "idTagInfo", why, FIRST_ACCEPT)

    def _begin(self, answer: Awaitable[Answer]) -> asyncio.Future[Answer]:
        task = asyncio.ensure_future(answer)
        self._asking.add(task)
        task.add_done_callback(partial(_ended, self._asking))
        return task

    # --- what was answered

    def judged(self, call: Call, answer: Result, route: Route, by: str = "") -> Result:
        """The result of a StartTransaction or StopTransaction, with what another backend said if that accepted the idTag.

        `by` is the backend that answered, if that is known: nobody is overruled by what it said itself.
        """
        tag = call.payload.get("idTag")
        if route.authorize == "primary" or not self._vouched or not isinstance(tag, str):
            return answer
        info, vouched = answer.payload.get("idTagInfo"), self._vouched.get(self._digest(tag))
        if vouched is None or vouched.until <= self._clock() or vouched.backend == by:
            return answer
        if not isinstance(info, Mapping) or info.get("status") == ACCEPTED:
            return answer
        self.learn(tag, vouched.info)  # or it would be unknown, by what is overruled here
        why = f"{str(info.get('status'))[:20]} from the backend that answered, but backend {vouched.backend} accepts the idTag"
        merged = replace(answer, payload={**answer.payload, "idTagInfo": dict(vouched.info)})
        return _remarked(merged, Remark(Kind.CHANGED, "idTagInfo", why, MERGED))

    def _learn_of(self, call: Call, answer: Answer) -> None:
        if isinstance(answer, Result) and AWAY not in answer.remarks:
            self.learn(call.payload.get("idTag"), answer.payload.get("idTagInfo"))

    def _vouch(self, tag: object, backend: str, answer: Answer) -> None:
        """Remember for a while that another backend than the primary accepted the idTag; or forget it."""
        if not isinstance(tag, str) or not isinstance(answer, Result):
            return
        digest = self._digest(tag)
        if backend and _accepts(answer):
            vouched = _Vouched(backend, dict(answer.payload["idTagInfo"]), self._clock() + VOUCHED_FOR)
            _put(self._vouched, digest, vouched, MOST_VOUCHED)
        else:
            self._vouched.pop(digest, None)


def _put(table: dict[bytes, _V], key: bytes, value: _V, most: int) -> list[bytes]:
    """Put in, as the newest; gives those that had to go."""
    table.pop(key, None)  # so that the order of the dict is the order of use
    table[key] = value
    gone = list(islice(table, max(len(table) - most, 0)))
    for old in gone:
        del table[old]
    return gone


def _owner(tag: object, prefixes: Mapping[str, str]) -> str | None:
    """The backend with the longest prefix that fits."""
    text = str(tag).casefold()
    found = max((prefix for prefix in prefixes if text.startswith(prefix.casefold())), key=len, default=None)
    return None if found is None else prefixes[found]


def _accepts(answer: Answer) -> bool:
    info = answer.payload.get("idTagInfo") if isinstance(answer, Result) and AWAY not in answer.remarks else None
    return isinstance(info, Mapping) and info.get("status") == ACCEPTED


def _outcome(task: asyncio.Future[Answer], call: Call) -> Answer:
    if task.cancelled():
        return Error("InternalError", "the gateway is shutting down", {}, call.id, call.action)
    return task.result()


def _ended(asking: set[asyncio.Future[Answer]], task: asyncio.Future[Answer]) -> None:
    asking.discard(task)
    if not task.cancelled() and (fault := task.exception()):
        logger.error("authorize.failed", exc_info=fault)


def _remarked(answer: Result, remark: Remark) -> Result:
    return replace(answer, remarks=(*answer.remarks, remark))


def _seconds(expiry: object) -> float:
    """An expiryDate in unix seconds; of one that cannot be read nobody knows that it is still to come."""
    try:
        date = datetime.fromisoformat(str(expiry).strip())
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return 0.0

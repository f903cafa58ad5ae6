"""Which transactions there are, whose they are, and what each backend calls them. The charger sees one number, for good.

It is the number that the backend gave which answers, wherever that can be carried by every wire and nothing else of the charger
has it; else one of our own.
"""

import random
import time
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import replace
from typing import Any

import structlog

from gateway.state.ledger import Ledger
from gateway.state.numbers import Transaction, forgotten, newest, open_transactions, pruned, transaction
from gateway.state.store import Row, StateError
from translations.messages import Call, Kind, Payload, Remark

LEAST, MOST_NUMBER = 1, 2**31 - 1  # xs:int, and above nought: 0 and -1 mean "none" to many
OURS = 2**30  # numbers of our own begin here; few backends count so far
KEEP = 30 * 86400.0  # seconds for which transactions that are over can be looked up: a charger may be offline for weeks
AT_HAND = 3600.0  # seconds for which they stay in memory once nobody asks for them; longer than any late answer takes
EACH = 200  # of one charger in memory; chargers can invent connectors
ODD = "numbers.odd"

logger = structlog.get_logger(__name__)


class Running:
    """The transactions of all chargers. What changes one gives the row that is to be written. The clock gives unix seconds."""

    def __init__(self, ledger: Ledger, clock: Callable[[], float] = time.time) -> None:
        self._ledger, self._clock = ledger, clock
        self._chargers: dict[str, dict[int, Transaction]] = {}
        self._prune_at = 0.0

    async def open(self) -> None:
        """Take over what an earlier run knew. Raises StateError."""
        for known in await open_transactions(self._ledger):
            self._chargers.setdefault(known.charger, {})[known.number] = known

    def count(self) -> int:
        """How many are open."""
        return sum(1 for own in self._chargers.values() for each in own.values() if each.over is None)

    def open_at(self, identity: str) -> Iterator[Transaction]:
        """Those of a charger that are not over, the oldest first."""
        return (each for each in self._chargers.get(identity.casefold(), {}).values() if each.over is None)

    async def find(self, identity: str, number: Any) -> Transaction | None:
        """The one that the charger calls so. A file that cannot be read knows none."""
        if not isinstance(number, int):
            return None
        charger = identity.casefold()
        known = self.at_hand(charger, number)
        if known is not None or not LEAST <= number <= MOST_NUMBER:
            return known
        try:
            found = await transaction(self._ledger, charger, number)
        except StateError as error:
            logger.error("numbers.unreadable", reason=str(error))
            return None
        if found is None:
            return None
        found.used = self._clock()
        return self._chargers.setdefault(charger, {}).setdefault(number, found)

    def at_hand(self, identity: str, number: Any) -> Transaction | None:
        """The one that the charger calls so, if it is in memory."""
        known = self._chargers.get(identity.casefold(), {}).get(number)
        if known is not None:
            known.used = self._clock()
        return known

    async def called(self, identity: str, backend: str, theirs: Any) -> Transaction | None:
        """The newest one that a backend calls so."""
        charger = identity.casefold()
        own = self._chargers.get(charger, {})
        same = [each for each in own.values() if each.ids.get(backend) == theirs]
        if same:
            return max(same, key=lambda each: (each.over is None, each.begun))
        try:
            others = await newest(self._ledger, charger)
        except StateError as error:
            logger.error("numbers.unreadable", reason=str(error))
            return None
        return next((each for each in others if each.ids.get(backend) == theirs and each.number not in own), None)

    def goes_on(self, call: Call) -> None:
        """The charger says that a transaction has started: what was open at its connector is over; its stop may still come."""
        connector = _connector(call)
        for former in self.open_at(call.identity):
            if connector is not None and former.connector == connector and former.start != call.payload:
                self._ledger.note(rows=(self.over(former),))

    async def begin(self, call: Call, owner: str, theirs: int | None, *, late: bool = False) -> Transaction:
        """A transaction has begun by this StartTransaction; `theirs` is what its owner calls it, None: not known yet.

        The same start again is the same transaction, unless its owner says that it is another one. `late`: the charger has heard
        of this long after, so that what is open at the connector now began later.
        """
        charger, connector = call.identity.casefold(), _connector(call)
        before = await self.find(charger, theirs)
        own = self._chargers.setdefault(charger, {})
        there = [each for each in own.values() if connector is not None and each.connector == connector and each.over is None]
        if (same := next((each for each in there if _same(each, call, owner, theirs)), None)) is not None:
            return same
        for former in () if late else there:
            self._ledger.note(rows=(self.over(former),))
        ids = {} if theirs is None else {owner: theirs}
        number = (
            theirs if theirs is not None and LEAST <= theirs <= MOST_NUMBER and not (before or theirs in own) else minted(own)
        )
        now = self._clock()
        begun = Transaction(charger, number, connector, owner, now, call.payload, ids, used=now)
        if late and there:
            begun.over = now
        own[number] = begun
        if len(own) > EACH:
            self._crowded(own)
        return begun

    def _crowded(self, own: dict[int, Transaction]) -> None:
        """The oldest goes, if need be one that is open. It can be looked up in the file."""
        gone = own.pop(next((each.number for each in own.values() if each.over is not None), next(iter(own))))
        if gone.over is None:
            self._ledger.note(rows=(self.over(gone),))

    def undone(self, begun: Transaction) -> None:
        """It could not be stored: the charger has not heard of it."""
        own = self._chargers.get(begun.charger, {})
        if own.get(begun.number) is begun:
            del own[begun.number]

    def learnt(self, known: Transaction, backend: str, theirs: int) -> Row:
        """A backend has said what it calls it."""
        known.ids[backend] = theirs
        return known.row()

    def over(self, known: Transaction) -> Row:
        """The charger has stopped it."""
        known.over = known.over or self._clock()
        return known.row()

    def stopped(self, known: Transaction) -> None:
        """The charger has stopped it, whatever it was answered."""
        if known.over is None:
            self._ledger.note(rows=(self.over(known),))

    def note(self, rows: Sequence[Row]) -> None:
        """Have rows written by and by."""
        self._ledger.note(rows=rows)

    def freed(self, identity: str, connector: Any) -> None:
        """The connector is Available: whatever was open there is over, though its stop may still come."""
        for known in self.open_at(identity):
            if known.connector == connector:
                self._ledger.note(rows=(self.over(known),))

    def abandon(self, identity: str) -> None:
        """Forget all transactions of a charger."""
        charger = identity.casefold()
        self._chargers.pop(charger, None)
        self._ledger.note(rows=(forgotten(charger),))

    async def settled(self, call: Call) -> Call:
        """The call with the number of its transaction, where the charger does not know it: it says -1, 0 or 2^63-1 until it
        has heard the answer to its start. It must be plain which one is meant; else the call stays as it is.
        """
        said = call.payload.get("transactionId")
        if not isinstance(said, int) or LEAST <= said <= MOST_NUMBER or await self.find(call.identity, said):
            return call
        meant = [each for each in self.open_at(call.identity) if _may_mean(call.payload, each)]
        if len(meant) != 1:
            return call
        remark = Remark(Kind.ASSUMED, "transactionId", f"{said} stands for the only transaction that is open there", ODD)
        payload = call.payload | {"transactionId": meant[0].number}
        return replace(call, payload=payload, remarks=(*call.remarks, remark))

    def tick(self) -> None:
        """Forget what was over long ago."""
        now = self._clock()
        if now < self._prune_at:
            return
        self._prune_at = now + AT_HAND / 10
        for charger, own in list(self._chargers.items()):
            for number in [each.number for each in own.values() if each.over is not None and each.used < now - AT_HAND]:
                del own[number]
            if not own:
                del self._chargers[charger]
        self._ledger.note(rows=(pruned(now - KEEP),))


def _same(known: Transaction, call: Call, owner: str, theirs: int | None) -> bool:
    """Whether an open transaction began by this very message, as far as its owner says: without an answer nobody heard it yet."""
    return known.owner == owner and known.start == call.payload and known.ids.get(owner) == theirs


def minted(own: Container[int]) -> int:
    """A number of our own, none of these."""
    while (number := random.randrange(OURS, MOST_NUMBER)) in own:  # noqa: S311 - not a secret
        pass
    return number


def _may_mean(payload: Payload, known: Transaction) -> bool:
    """Whether a message without a number of its own can be of this transaction: nothing in it says otherwise."""
    start = known.start or {}
    connector, tag = payload.get("connectorId"), payload.get("idTag")
    if connector is not None and connector != known.connector:
        return False
    if isinstance(tag, str) and str(start.get("idTag", tag)).casefold() != tag.casefold():
        return False
    began, ended = start.get("meterStart"), payload.get("meterStop")
    return not (isinstance(began, int) and isinstance(ended, int) and ended < began)


def _connector(call: Call) -> int | None:
    """What the file can hold: chargers can say any number."""
    connector = call.payload.get("connectorId")
    return connector if type(connector) is int and abs(connector) <= MOST_NUMBER else None

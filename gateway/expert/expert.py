"""The face of the rules: shown each exchange once, in order of time, it says what an expert would remark."""

import time
from collections import Counter
from collections.abc import Callable, Sequence

from gateway.expert.commands import GIVEN_UP
from gateway.expert.memory import Memory
from gateway.expert.rules import AGAIN, Look, looks
from gateway.expert.sight import Sight
from gateway.traffic.exchanges import PENDING, Exchange, Finding
from gateway.traffic.record import CHARGER_LEG

LONGEST = 64  # characters of an identity that tell chargers apart
_TIMES = (0.0, 1e11)  # outside of these nobody has written down when it was


class Expert:
    """Finds what is worth remarking. Not for several threads at once. Of the `most` chargers heard last it remembers some
    kilobytes each, never an idTag. `clock` gives unix seconds: it tells what is still under way from what was given up.
    """

    def __init__(self, clock: Callable[[], float] = time.time, most: int = 100_000) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()  # findings by rule and severity
        self._clock, self._memory = clock, Memory(most)

    def look(self, exchange: Exchange) -> tuple[Finding, ...]:
        """What there is to remark on a finished exchange. Takes whatever peers may have said, and never raises.

        To be called once for each, in order of time. One without an answer, that may still get it, is left alone: it is to be
        shown once more when it is finished, or half a minute old.
        """
        now = self._clock()
        if exchange.outcome == PENDING and 0 <= now - exchange.at < GIVEN_UP:
            return ()
        return self._found(exchange, now)

    def look_again(self, exchange: Exchange) -> tuple[Finding, ...]:
        """What else there is to remark on an exchange that was looked at, now that a backend has answered, or answered again."""
        return self._found(exchange, self._clock(), AGAIN)

    def _found(self, exchange: Exchange, now: float, again: Sequence[Look] = ()) -> tuple[Finding, ...]:
        sight = self._sight(exchange, now)
        for rule in again or looks(sight):
            rule(sight)
        if not sight.found:
            return ()
        found = tuple(each for each in sight.found if each not in exchange.findings)
        for each in found:
            self.counts[each.rule, each.severity] += 1
        return found

    def _sight(self, exchange: Exchange, now: float) -> Sight:
        legs, name = exchange.legs, exchange.charger[:LONGEST]
        leg = legs[0] if legs and legs[0].name == CHARGER_LEG else exchange.leg(CHARGER_LEG)
        who = exchange.tenant[:LONGEST].lower(), name.lower()
        turned_away = leg is not None and leg.refused and leg.outcome == "SecurityError"
        at = exchange.at if _TIMES[0] < exchange.at < _TIMES[1] else now
        return Sight(exchange, leg, who, self._memory.state(who, name, turned_away), self._memory, at, now)

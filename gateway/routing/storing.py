"""What one answer to a charger has to leave on disk before it is heard: letters for backends, and other rows."""

from collections.abc import Callable, Sequence
from typing import Any

import structlog

from gateway.exchange import Durable
from gateway.outbox.outbox import Full, Outbox
from gateway.routing.leg import Leg
from gateway.state.letters import Letter, Rank
from gateway.state.store import Row
from translations.errors import OcppError
from translations.messages import Call, Kind, Remark, Result

STORED = Remark(Kind.ASSUMED, "", "the backend is away: answered by the gateway, the backend hears it later", "outbox.stored")

logger = structlog.get_logger(__name__)


class Storing:
    """Collects it. `strict`: without the disk there is no answer; else what cannot be written is kept in memory."""

    def __init__(self, outbox: Outbox, strict: bool = False, undo: Callable[[], None] | None = None) -> None:
        self._outbox, self._strict, self.undo = outbox, strict, undo
        self._letters: list[Letter] = []
        self._then: list[Callable[[], None]] = []
        self.rows: list[Row] = []

    def post(self, leg: Leg, call: Call, kind: Rank, *, number: int | None = None, **fate: Any) -> Letter:
        """Store a call for a backend; one that waits already is given again. Raises Full, or OcppError for what cannot be."""
        letter, rows = self._outbox.post(leg.name, call, kind, number=number, durable=leg.stores, **fate)
        self._letters.append(letter)
        self.rows += rows
        return letter

    def lost(self, leg: Leg, call: Call, refusal: OcppError) -> None:
        """A listener will not hear a call that could not be posted."""
        self._outbox.tally.dropped[leg.name, "full" if isinstance(refusal, Full) else "unsayable"] += 1
        logger.warning("listener.full", backend=leg.name, charger=call.identity, action=call.action, reason=refusal.text)

    def then(self, act: Callable[[], None]) -> None:
        """Have something done as soon as the answer may be heard."""
        self._then.append(act)

    def answer(self, answer: Result) -> Result:
        """The answer, to be heard once all of it is on disk."""
        rows, landed = tuple(self.rows), _both(None, self.landed)
        if isinstance(answer, Durable):  # with what it stands for, or not at all
            self._strict = self._strict or answer.strict
            rows, landed = (*answer.rows, *rows), _both(answer.landed, landed)
        if not rows:
            landed(True)
            return answer
        return Durable(answer.payload, answer.id, answer.action, answer.remarks, rows, landed, self._strict)

    def anyway(self, note: Callable[[Sequence[Row]], None]) -> None:
        """Store it by and by, whatever the answer is."""
        note(tuple(self.rows))
        self.landed(True)

    def landed(self, ok: bool) -> None:
        """It is on disk, or never will be."""
        stands = ok or not self._strict
        for letter in self._letters:
            self._outbox.landed(letter, stands)
        if stands:
            for act in self._then:
                act()
        elif self.undo is not None:
            self.undo()


def _both(first: Callable[[bool], None] | None, second: Callable[[bool], None]) -> Callable[[bool], None]:
    def landed(ok: bool) -> None:
        if first is not None:
            first(ok)
        second(ok)

    return landed

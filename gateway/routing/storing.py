"""What one answer to a charger has to leave on disk before it is heard: letters for backends, and other rows."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from gateway.exchange import Durable
from gateway.outbox.outbox import Outbox
from gateway.routing.leg import Leg
from gateway.state.letters import Letter, Rank
from gateway.state.store import Row
from translations.messages import Call, Kind, Remark, Result

STORED = Remark(Kind.ASSUMED, "", "the backend is away: answered by the gateway, the backend hears it later", "outbox.stored")


class Storing:
    """Collects it. `strict`: without the disk there is no answer; else what cannot be written is kept in memory."""

    def __init__(self, outbox: Outbox, strict: bool = False, undo: Callable[[], None] | None = None) -> None:
        self._outbox, self._strict, self.undo = outbox, strict, undo
        self._letters: list[Letter] = []
        self._then: list[Callable[[], None]] = []
        self.rows: list[Row] = []

    def post(
        self, leg: Leg, call: Call, kind: Rank, *, number: int | None = None, attempts: int = 0, due: float = 0.0, sent: str = ""
    ) -> Letter:
        """Store a call for a backend; one that waits already is given again. Raises Full, or OcppError for what cannot be."""
        letter, rows = self._outbox.post(
            leg.name, replace(call, remarks=()), kind, number=number, durable=leg.stores, attempts=attempts, due=due, sent=sent
        )
        self._letters.append(letter)
        self.rows += rows
        return letter

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

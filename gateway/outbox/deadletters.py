"""Dead letters: messages that were given up, for people to read, change, send off again or purge."""

from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice

from gateway.state import letters as table
from gateway.state.ledger import Ledger
from gateway.state.letters import Letter
from gateway.state.store import Row
from translations.errors import OcppError
from translations.messages import Payload
from translations.schemas import judge

MOST_DEAD = 100_000
PORTION = 1_000  # that are dropped at once


class DeadLetters:
    """What is known of them; their payloads are on disk only.

    `readmit` puts one back among the live (raises ValueError), `settled` hears whether that came to disk.
    """

    def __init__(self, ledger: Ledger, readmit: Callable[[Letter], None], settled: Callable[[Letter, bool], None]) -> None:
        self.by_backend: Counter[str] = Counter()
        self._ledger, self._readmit, self._settled = ledger, readmit, settled
        self._letters: dict[int, Letter] = {}

    def add(self, letter: Letter) -> None:
        """It is dead, and that is written, or on its way."""
        letter.payload = None
        if letter.id not in self._letters:
            self.by_backend[letter.backend] += 1
        self._letters[letter.id] = letter

    def discard(self, letter: Letter) -> None:
        """It is not, any more."""
        if self._letters.pop(letter.id, None) is not None:
            self.by_backend[letter.backend] -= 1

    def overflow(self) -> list[Letter]:
        """Drop the oldest of too many; says which."""
        gone = list(islice(self._letters.values(), min(max(len(self._letters) - MOST_DEAD, 0), PORTION)))
        for letter in gone:
            self.discard(letter)
            letter.over = True
        self._ledger.note(rows=[table.delete(letter) for letter in gone])
        return gone

    def listed(self, backend: str | None, identity: str | None, limit: int, after: int) -> list[Letter]:
        """By id, those behind `after`."""
        key = None if identity is None else identity.casefold()
        found = (
            letter
            for letter in self._letters.values()
            if letter.id > after and backend in (None, letter.backend) and key in (None, letter.identity.casefold())
        )
        return sorted(found, key=lambda letter: letter.id)[: max(limit, 0)]

    async def get(self, id: int) -> Letter:
        """Any letter that is stored, as it stands on disk. Raises LookupError and StateError."""
        await self._ledger.keep()  # what was said before is written, if the disk takes it
        rows = await self._ledger.read(table.ONE, (id,)) if table.storable(id) is not None else []
        if not rows:
            raise LookupError(f"no letter {id}")
        return table.read(rows[0])

    async def change(self, id: int, payload: Payload) -> Letter:
        """Have it say something else. Raises LookupError, ValueError and StateError."""
        known = self._letters.get(id)
        if known is None:
            await self.get(id)
            raise ValueError(f"letter {id} is not dead: expected a dead letter")
        try:
            judge(known.action, False, payload)
            letter = table.changed(known, payload)
        except OcppError as error:
            raise ValueError(error.text) from None
        await self._ledger.accept((table.change(letter),), landed=partial(self._changed, known, letter))
        return letter

    async def replay(self, ids: Iterable[int]) -> int:
        """Have them sent again, all or none. Raises LookupError, ValueError and StateError."""
        letters = self._found(ids)
        as_were = {letter.id: (letter.dead, letter.attempts, letter.due, letter.at) for letter in letters}
        done: list[Letter] = []
        settled = partial(self._replayed, done, as_were)
        try:
            for letter in letters:
                self._readmit(letter)
                done.append(letter)
                self.discard(letter)
        except ValueError:
            settled(False)
            raise
        await self._write([table.revive(letter) for letter in letters], settled)
        return len(letters)

    async def purge(self, ids: Iterable[int]) -> list[Letter]:
        """Forget them, all or none; says which. Raises LookupError and StateError."""
        letters = self._found(ids)
        for letter in letters:
            self.discard(letter)
        await self._write([table.delete(letter) for letter in letters], partial(self._purged, letters))
        return letters

    async def _write(self, rows: list[Row], landed: Callable[[bool], None]) -> None:
        if rows:
            await self._ledger.accept(rows, landed=landed)

    def _found(self, ids: Iterable[int]) -> list[Letter]:
        wanted = sorted(set(ids))
        if missing := [each for each in wanted if each not in self._letters]:
            raise LookupError(f"no dead letter {missing[0]}")
        return [self._letters[each] for each in wanted]

    def _changed(self, known: Letter, letter: Letter, ok: bool) -> None:
        if ok and self._letters.get(letter.id) is known:
            known.key, known.number, known.slot = letter.key, letter.number, letter.slot

    def _replayed(self, letters: list[Letter], as_were: dict[int, tuple[str, int, float, float]], ok: bool) -> None:
        for letter in letters:
            self._settled(letter, ok)
            if not (ok or letter.over):
                letter.dead, letter.attempts, letter.due, letter.at = as_were[letter.id]
                self.add(letter)

    def _purged(self, letters: list[Letter], ok: bool) -> None:
        for letter in letters:
            if ok:
                letter.over = True
            else:
                self.add(letter)

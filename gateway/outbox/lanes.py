"""A lane: the letters of one charger for one backend, in the order in which they are to be heard. It sends nothing."""

import asyncio
from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator
from typing import Protocol

from gateway.state.digest import clockless
from gateway.state.letters import START, STOP, Letter, Rank
from translations.messages import Answer, Call


class Timer(Protocol):
    """What is to happen later, and can be called off."""

    def cancel(self) -> None:
        """It is not to happen."""


class Lane:
    """Letters by rank, then as they came. Of those of one slot (boot; status of a connector) there is one, the newest."""

    __slots__ = (
        "_keys",
        "_slots",
        "backend",
        "flying",
        "identity",
        "late",
        "letters",
        "paused",
        "shed",
        "task",
        "timer",
        "woken",
    )

    def __init__(self, backend: str, identity: str) -> None:
        self.backend, self.identity = backend, identity
        self.letters: list[Letter] = []
        self._keys: dict[bytes, Letter] = {}  # of money
        self._slots: dict[str, Letter] = {}
        self.flying: Letter | None = None  # the one that is being heard; it may have been replaced meanwhile
        self.late: deque[tuple[Letter, Answer]] = deque()  # answers after their deadlines
        self.task: asyncio.Task[None] | None = None
        self.timer: Timer | None = None
        self.paused = False  # whether the timer is for the lane, not for a letter that is not due
        self.woken = False  # whether the session came up since the last letter was sent
        self.shed = False  # whether it has lost letters for want of room since it was empty

    def __contains__(self, letter: Letter) -> bool:
        at = bisect_left(self.letters, _place(letter), key=_place)
        return at < len(self.letters) and self.letters[at] is letter

    @property
    def head(self) -> Letter | None:
        """What is to be heard next."""
        return self.letters[0] if self.letters else None

    @property
    def busy(self) -> bool:
        """Whether there is money in it."""
        return bool(self.letters) and self.letters[-1].rank is Rank.MONEY

    @property
    def oldest(self) -> float:
        """Since when it has not been empty, about; there is something in it."""
        money = bisect_left(self.letters, (Rank.MONEY, 0), key=_place)
        return min(letter.at for letter in (self.letters[0], *self.letters[money : money + 1]))

    def same(self, letter: Letter, call: Call) -> Letter | None:
        """The letter that says the same already. Of a slot it is the newest only: in between it was otherwise."""
        known = self._slots.get(letter.slot) if letter.slot else self._keys.get(letter.key)
        if known is None or known.key != letter.key or (clockless(call) and self._stopped(known)):
            return None
        return known

    def rival(self, letter: Letter) -> Letter | None:
        """Who is in its place, or says the same."""
        return self._slots.get(letter.slot) if letter.slot else self._keys.get(letter.key)

    def put(self, letter: Letter) -> Letter | None:
        """Put it in its place; says whose place it takes."""
        former = self._slots.get(letter.slot) if letter.slot else None
        if former is not None:
            self.take(former)
        if letter.slot:
            self._slots[letter.slot] = letter
        else:
            self._keys[letter.key] = letter
        insort(self.letters, letter, key=_place)
        return former

    def take(self, letter: Letter) -> bool:
        """Take it out; whether it was there."""
        if letter not in self:
            return False
        del self.letters[bisect_left(self.letters, _place(letter), key=_place)]
        if self._slots.get(letter.slot) is letter:
            del self._slots[letter.slot]
        if self._keys.get(letter.key) is letter:
            del self._keys[letter.key]
        return True

    def of(self, number: int) -> list[Letter]:
        """The letters of a transaction."""
        return [letter for letter in self.letters if letter.number == number and letter.rank is Rank.MONEY]

    def spare(self) -> Letter | None:
        """What is lost first for want of room: the oldest that was never promised to be kept."""
        return next((each for each in self._waiting() if each.rank is Rank.MONEY and not each.durable), None)

    def quiet(self) -> None:
        """Nothing is to happen later."""
        if self.timer is not None:
            self.timer.cancel()
        self.timer, self.paused = None, False

    def _waiting(self) -> Iterator[Letter]:
        return (letter for letter in self.letters if letter is not self.flying)

    def _stopped(self, start: Letter) -> bool:
        """Whether the transaction is over already: without a clock, what says the same is another start then."""
        if start.action != START or start.number is None:
            return False
        return any(letter.action == STOP for letter in self.of(start.number))


def _place(letter: Letter) -> tuple[Rank, int]:
    return letter.rank, letter.id

"""What the view asks the log, off the thread that draws: one question at a time, each with a deadline."""

from collections import deque
from collections.abc import Callable
from dataclasses import replace
from threading import Lock
from typing import NamedTuple

from gateway.traffic.exchanges import PENDING, Exchange
from gateway.traffic.log import LogError, TrafficReader
from gateway.traffic.options import wanted
from gateway.traffic.tree import Tree

MOST = 500  # exchanges in the list
WAITING = 20  # exchanges without an answer that are looked at again
DEADLINE = 10.0  # seconds for an answer of the log


class Answer(NamedTuple):
    """What was found, oldest first; `again` are exchanges of the list as they are now. `problem`: why there is none."""

    exchanges: list[Exchange]
    again: list[Exchange]
    last: int = 0
    searched: int | None = None
    problem: str = ""


class Asking:
    """Asks for the newest, and then for what comes after them."""

    def __init__(self, log: TrafficReader, raw: TrafficReader) -> None:
        self._log, self._raw, self._lock = log, raw, Lock()

    def newest(self, tree: Tree) -> Answer:
        """The list, anew."""
        with self._lock:
            try:
                self._begin()
                last = self._log.last()
                found = self._log.newest(replace(wanted(tree, MOST), before_id=last + 1))
                return Answer(found.exchanges, [], last, found.searched)
            except LogError as error:
                return Answer([], [], problem=str(error))

    def fresh(self, tree: Tree, after: int, shown: list[Exchange]) -> Answer:
        """What came after that id, and those of the shown that had no answer yet."""
        with self._lock:
            try:
                self._begin()
                last = self._log.last()
                if last < after:  # the log was begun anew
                    after = 0
                asks = replace(wanted(tree), after_id=max(after, last - 100 * MOST), before_id=last + 1)
                found = [] if last == after else list(deque(self._log.each(asks), MOST))
                return Answer(found, self._again(shown), last)
            except LogError as error:
                return Answer([], [], after, problem=str(error))

    def _again(self, shown: list[Exchange]) -> list[Exchange]:
        waiting = [exchange for exchange in shown if exchange.outcome == PENDING][-WAITING:]
        found = [self._log.one(str(exchange.id)) for exchange in waiting]
        return [now for old, now in zip(waiting, found, strict=True) if now and now.id == old.id and now != old]

    def _begin(self) -> None:
        interrupt_after: Callable[[float], None] | None = getattr(self._raw, "interrupt_after", None)
        if interrupt_after is not None:
            interrupt_after(DEADLINE)

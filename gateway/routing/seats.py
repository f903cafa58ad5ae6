"""Which backend of its route answers a charger now: the first, or another one since that was away for long enough.

A charger stays where it is seated until there is a reason to move it, so that no two backends answer it in turns.
"""

from collections import Counter, OrderedDict
from collections.abc import Callable, Sequence
from functools import lru_cache

from gateway.config import Route
from gateway.exchange import Standing

Names = tuple[str, ...]


class Seats:
    """Where chargers are seated, if not at the first of their route; of too many, those unseen for longest return to it.

    `on_move` hears of each move: the charger's identity, from which backend, to which, and why.
    """

    def __init__(self, most: int = 100_000, on_move: Callable[[str, str, str, str], None] | None = None) -> None:
        self.moved: Counter[tuple[str, str]] = Counter()  # from, to
        self._most, self._on_move = most, on_move
        self._seats: OrderedDict[str, str] = OrderedDict()  # by identity without case
        self._orders = lru_cache(maxsize=1024)(_orders)

    def __len__(self) -> int:
        return len(self._seats)

    def order(self, identity: str, route: Route, standings: Callable[[str], Standing], bound: bool, now: float) -> Sequence[str]:
        """The backends to ask, one after the other while they turn out not to have heard. Mostly one.

        `standings` says of a backend how it stands for this charger, `bound` whether a transaction is open at it, and `now`
        is on the clock of the standings.
        """
        answer = route.answer
        if len(answer) == 1:
            return answer
        at = self._seat(identity, answer)
        if bound and not route.failover_in_transaction:
            return self._orders(answer, False)[at]
        if (found := _move(route, at, standings, bound, now)) is not None:
            to, why = found
            self._sit(identity, answer, at, to, why)
            at = to
        return self._orders(answer, route.failover_after == 0)[at]

    def seat(self, identity: str, route: Route) -> str:
        """Where the charger is seated."""
        return route.answer[self._seat(identity, route.answer)]

    def take(self, identity: str, route: Route, backend: str, why: str) -> None:
        """Seat the charger at a backend of the route that has answered it, or that had it before a restart."""
        at = self._seat(identity, route.answer)
        if backend in route.answer and backend != route.answer[at]:
            self._sit(identity, route.answer, at, route.answer.index(backend), why)

    def _seat(self, identity: str, answer: Names) -> int:
        key = identity.casefold() if self._seats else ""
        name = self._seats.get(key)
        if name is None:
            return 0
        if name not in answer[1:]:  # the route is another one now
            del self._seats[key]
            return 0
        self._seats.move_to_end(key)
        return answer.index(name)

    def _sit(self, identity: str, answer: Names, at: int, to: int, why: str) -> None:
        key = identity.casefold()
        self._seats.pop(key, None)
        if to:
            self._seats[key] = answer[to]
            if len(self._seats) > self._most:
                self._seats.popitem(last=False)
        self.moved[answer[at], answer[to]] += 1
        if self._on_move:
            self._on_move(identity, answer[at], answer[to], why)


def _orders(answer: Names, others: bool) -> tuple[Names, ...]:
    """For each place who is asked from there: that one, and with `others` those behind it."""
    return tuple(answer[at:] if others else answer[at : at + 1] for at in range(len(answer)))


def _move(route: Route, at: int, standings: Callable[[str], Standing], bound: bool, now: float) -> tuple[int, str] | None:
    """The place to move to, and why, if there is a reason."""
    answer = route.answer
    up, since = standings(answer[at])
    if not up and now - since >= route.failover_after:
        to = next((i for i, name in enumerate(answer) if i != at and standings(name).up), None)
        return None if to is None else (to, f"{answer[at]} has been away for {now - since:.0f} s")
    if at and route.fail_back and not bound:
        return _back(route, at, standings, now)
    return None


def _back(route: Route, at: int, standings: Callable[[str], Standing], now: float) -> tuple[int, str] | None:
    for to, name in enumerate(route.answer[:at]):
        up, since = standings(name)
        if up and now - since >= route.fail_back_after:
            return to, f"{name} has been up for {now - since:.0f} s"
    return None

"""Calls that a backend heard and did not answer in time. Their answers may still come, and until then nobody else is asked."""

import asyncio
from collections import OrderedDict

from gateway.exchange import Unanswered
from translations.messages import Answer, Call, Result

MOST = 20_000
# Times the backend's deadline, 90 s where that is the usual one: chargers repeat about once a minute, so that one repetition
# comes within it and finds the answer. A CSMS that needs longer has lost the call, and what is not passed on is not billed.
PATIENCE = 3.0


class Due:
    """One call. `came` gets its answer as soon as a charger may hear it, and is cancelled where nobody waits any more."""

    __slots__ = ("call", "came", "error", "key", "place", "until")

    def __init__(self, key: bytes, call: Call, connector: int | None, error: Unanswered, now: float) -> None:
        # Of a stop, which can be long, without the payload: it was sent, and is known by its key.
        payload = call.payload if call.action == "StartTransaction" else {}
        self.key, self.call = key, Call(call.action, payload, call.id, call.identity)
        self.place = call.identity.casefold(), connector
        self.error, self.until = error, now + PATIENCE * error.waited
        self.came: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()


class Overdue:
    """The table of them; where there are too many, the oldest are forgotten. Times are those of the event loop, in seconds."""

    def __init__(self) -> None:
        self._by_id: OrderedDict[str, Due] = OrderedDict()
        self._by_key: dict[bytes, Due] = {}
        self._by_place: dict[tuple[str, int | None], Due] = {}
        self._closed = False

    def __len__(self) -> int:
        return len(self._by_id)

    def add(self, due: Due) -> None:
        """It has run out of time. It is the newest that was said so, and the newest that happened at its connector."""
        self._by_id[due.call.id] = self._by_key[due.key] = self._by_place[due.place] = due
        if self._closed:
            due.came.cancel()
        if len(self._by_id) > MOST:
            self._drop(next(iter(self._by_id.values())))

    def get(self, key: bytes, now: float) -> Due | None:
        """What was said so, while it counts as under way."""
        due = self._by_key.get(key)
        return due if due is not None and now < due.until else None

    def find(self, backend: str, call_id: str) -> Due | None:
        """The call with this id, however long ago, if it was that backend that heard it: one that only listens answers too."""
        due = self._by_id.get(call_id)
        return due if due is not None and due.error.backend == backend else None

    def newest(self, due: Due) -> bool:
        """Whether nothing has happened at its connector since."""
        return self._by_place.get(due.place) is due

    def passed(self, identity: str, connector: int | None) -> None:
        """Something has happened at the connector."""
        self._by_place.pop((identity.casefold(), connector), None)

    def answered(self, due: Due, answer: Answer) -> None:
        """Tell those who wait, and forget it: a result also answers what was said so again since."""
        same = self._by_key.get(due.key, due) if isinstance(answer, Result) else due
        for each in {due, same}:
            self._drop(each)
            if not each.came.done():
                each.came.set_result(answer)

    def close(self) -> None:
        """Nobody waits any more, now or later. Answers are still taken."""
        self._closed = True
        for due in self._by_id.values():
            due.came.cancel()

    def _drop(self, due: Due) -> None:
        self._by_id.pop(due.call.id, None)
        if self._by_key.get(due.key) is due:
            del self._by_key[due.key]
        if self._by_place.get(due.place) is due:
            del self._by_place[due.place]

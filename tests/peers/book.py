"""What a backend believes: every message about a transaction that it heard, with what it answered and on which connection.

And the judge of it, who compares that with what the chargers did.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from websockets.exceptions import ConnectionClosed

from tests.judges import validator
from tests.peers.stack16 import Payload, exact

START, STOP, METER, STATUS = "StartTransaction", "StopTransaction", "MeterValues", "StatusNotification"
MONEY = frozenset({START, STOP, METER})
JUST_NOW = 0.25  # seconds before the end of a connection in which an answer may not have been taken down

Gist = tuple[str, str, Hashable]
"""Charger, action, and what counts of the payload; the number of the transaction, which is each backend's own, does not."""


@dataclass(slots=True)
class Entry:
    """One call that a backend heard, on one of its connections; `answered` is when its result was sent, in the loop's time."""

    charger: str
    action: str
    payload: Payload
    connection: int
    id: str
    heard: float
    number: int | None = None
    answered: float | None = None

    @property
    def gist(self) -> Gist:
        return gist(self.charger, self.action, self.payload)


@dataclass
class Deed:
    """One transaction as its charger knows it; `number` is what the charger was told."""

    charger: str
    start: Payload
    number: int | None = None
    readings: list[Payload] = field(default_factory=list)
    stop: Payload | None = None

    def gists(self) -> Iterator[Gist]:
        """All that was said of it, in order."""
        yield gist(self.charger, START, self.start)
        yield from (gist(self.charger, METER, each) for each in self.readings)
        if self.stop:
            yield gist(self.charger, STOP, self.stop)


def gist(charger: str, action: str, payload: Payload) -> Gist:
    """What two messages have in common that say the same."""
    said: Hashable
    if action == START:
        said = payload["connectorId"], payload["idTag"], payload["meterStart"], instant(payload["timestamp"])
    elif action == STOP:
        said = payload.get("idTag"), payload["meterStop"], instant(payload["timestamp"])
    else:
        said = payload["connectorId"], tuple(_group(group) for group in payload["meterValue"])
    return charger.casefold(), action, said


def _group(group: Payload) -> Hashable:
    return instant(group["timestamp"]), tuple(float(sample["value"]) for sample in group["sampledValue"])


def instant(text: str) -> datetime:
    """The moment, however it is spelt."""
    return datetime.fromisoformat(text).astimezone(UTC)


class Book:
    """Fed with the frames of all connections of one backend; `wrong` is what the published schemas say against them."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.heard: dict[Gist, list[Entry]] = defaultdict(list)
        self.statuses: dict[tuple[str, int], Payload] = {}  # the newest of each connector
        self.boots: list[str] = []
        self.wrong: list[str] = []
        self.ended: dict[int, float] = {}  # connections that are over, and since when
        self._open: dict[tuple[int, str], Entry] = {}
        self._connections = 0
        self._grown = asyncio.Event()

    def connected(self) -> int:
        """A connection is open; its number here."""
        self._connections += 1
        return self._connections

    def disconnected(self, connection: int) -> None:
        self.ended[connection] = _now()

    def hear(self, connection: int, charger: str, frame: Any) -> None:
        """Take down a call; other frames say nothing here."""
        if frame[0] != 2:
            return
        _, message_id, action, payload = frame
        self.wrong += [f"{charger} {action}: {error.message}" for error in validator(action, False).iter_errors(payload)]
        if action == "BootNotification":
            self.boots.append(charger)
        if action == STATUS:
            self.statuses[charger.casefold(), payload["connectorId"]] = payload
        if action in MONEY:
            entry = Entry(charger, action, payload, connection, message_id, _now(), payload.get("transactionId"))
            self._open[connection, message_id] = entry
            self.entries.append(entry)
            self.heard[entry.gist].append(entry)
        self._grown.set()

    def say(self, connection: int, frame: Any) -> None:
        """Take down that a result was sent."""
        if frame[0] != 3 or (entry := self._open.pop((connection, frame[1]), None)) is None:
            return
        entry.answered = _now()
        if entry.action == START:
            entry.number = frame[2]["transactionId"]
        self._grown.set()

    def of(self, charger: str, action: str) -> list[Entry]:
        """What was heard of a charger, in order."""
        return [each for each in self.entries if each.charger.casefold() == charger.casefold() and each.action == action]

    def numbers(self, charger: str) -> dict[str, list[int | None]]:
        """Which transaction each of a charger's messages was of, in the numbers of this backend."""
        return {action: [each.number for each in self.of(charger, action)] for action in (START, METER, STOP)}

    async def wait(self, holds: Callable[["Book"], object], deadline: float = 5.0) -> None:
        """Until it holds. Raises TimeoutError."""
        async with asyncio.timeout(deadline):
            while not holds(self):
                self._grown.clear()
                await self._grown.wait()


class Noted:
    """A server's connection, whose frames go into a book as well."""

    def __init__(self, connection: Any, charger: str, book: Book) -> None:
        self._connection, self._charger, self._book = connection, charger, book
        self.number = book.connected()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    async def __aiter__(self) -> Any:
        try:
            async for raw in self._connection:
                self._book.hear(self.number, self._charger, exact(raw))
                yield raw
        finally:
            self._book.disconnected(self.number)

    async def send(self, text: str) -> None:
        await self._connection.send(text)
        if text.startswith("[3,"):
            self._book.say(self.number, exact(text))

    async def say(self, text: str) -> None:
        """Send what may be no frame at all, to whoever is still there."""
        try:
            await self._connection.send(text)
        except ConnectionClosed:
            return


# --- the judge


def complaints(deeds: Sequence[Deed], book: Book, excused: Callable[[Book, Entry], bool]) -> list[str]:
    """What is wrong with a book once all has been said; `excused` tells of an entry that it may have been said again."""
    done = {each for deed in deeds for each in deed.gists()}
    wrong = [*book.wrong, *(f"invented: {each}" for each in book.heard if each not in done)]
    wrong += [f"lost: {each}" for each in done if each not in book.heard]
    for said, entries in book.heard.items():
        wrong += [f"said again without need: {said}{_when(book, each)}" for each in entries[:-1] if not excused(book, each)]
    return wrong + [text for deed in deeds for text in _foreign(deed, book)] + _disordered(deeds, book)


def _when(book: Book, entry: Entry) -> str:
    ended = book.ended.get(entry.connection)
    if entry.answered is None or ended is None:
        return ", over a connection that lasted"
    return f", answered {ended - entry.answered:.3f} s before the end of its connection"


def _foreign(deed: Deed, book: Book) -> Iterator[str]:
    """Whether all that was said of a transaction bears a number that its start was given."""
    start, *others = deed.gists()
    given = {each.number for each in book.heard.get(start, ())}
    for said in others:
        for entry in book.heard.get(said, ()):
            if entry.number not in given:
                yield f"of another transaction: expected one of {given}, got {entry.number}: {said}"


def _disordered(deeds: Iterable[Deed], book: Book) -> list[str]:
    """Whether each charger's messages came in the order in which they were said, repetitions aside."""
    said: dict[str, list[Gist]] = defaultdict(list)
    for deed in deeds:
        said[deed.charger.casefold()] += [each for each in deed.gists() if each in book.heard]
    came: dict[str, list[Gist]] = defaultdict(list)
    for each in book.heard:  # by the first time that each was heard
        came[each[0]].append(each)
    return [
        f"out of order: {theirs}, expected {ours}"
        for charger, order in said.items()
        for ours, theirs in zip(order, _only(came[charger], set(order)), strict=True)
        if ours != theirs
    ]


def _only(came: list[Gist], known: set[Gist]) -> list[Gist]:
    return [each for each in came if each in known]


def cut_off(book: Book, entry: Entry) -> bool:
    """Whether the connection ended before the entry was answered, or so soon after that nobody need have noticed."""
    ended = book.ended.get(entry.connection)
    return ended is not None and (entry.answered is None or ended - entry.answered < JUST_NOW)


def _now() -> float:
    return asyncio.get_running_loop().time()

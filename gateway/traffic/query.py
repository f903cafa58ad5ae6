"""The log's file, read: from the gateway itself or from another process, while it is being written."""

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from gateway.traffic import bodies, file, statistics, texts
from gateway.traffic.conditions import condition, whole
from gateway.traffic.exchanges import Exchange
from gateway.traffic.file import FormatError as FormatError
from gateway.traffic.filters import Filter as Filter
from gateway.traffic.filters import moment as moment
from gateway.traffic.log import Corrupt, Found, Interrupted, LogError, Stats, TrafficReader
from gateway.traffic.row import ExchangeRow, LegRow, exchange_of

PAGE = 200  # exchanges that are read at once
AMONG = (2_000, 32_000)  # the newest exchanges are looked for among so many, then among so many before, then among all
STRIDE = 50_000  # exchanges among which all are looked for at once
SEARCHED = 100_000  # exchanges that free text is looked for in, where there is no index of words
_STEPS = 20_000  # of SQLite's machine, between two looks at the clock

_EXCHANGES = f"SELECT {', '.join(ExchangeRow._fields)} FROM exchanges"  # noqa: S608 - constants
_LEGS = f"SELECT {', '.join(LegRow._fields)} FROM legs"  # noqa: S608 - constants
_ENDLESS = float("inf")


class _Window(NamedTuple):
    """A part of the log: from the first bound, up to the other and without it."""

    column: str  # "at", or "id"
    low: float
    high: float
    loose: bool = False  # what is wanted is rare: found by its own index rather than by a walk through this part


class LogFile:
    """The log's file as a reader sees it. A statement never stays open, so that the writer can reuse its write-ahead log."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection

    @property
    def files(self) -> tuple[Path, ...]:
        """The log, and the files beside it that belong to it, whether they exist or not."""
        return file.files_of(self.connection)

    def interrupt_after(self, seconds: float) -> None:
        """Give each question up that is not answered so many seconds from now. Raises Interrupted then."""
        until = time.monotonic() + seconds
        self.connection.set_progress_handler(lambda: time.monotonic() > until, _STEPS)

    def close(self) -> None:
        self.connection.close()

    # --- questions

    def newest(self, wanted: Filter) -> Found:
        with reasons():
            if wanted.after_id is not None:
                return Found([found for ids in self._following(wanted) for found in self._pages(ids)])
            bound = self._bound(wanted)
            ids = self._newest(wanted, bound)
            return Found(list(self._pages(ids[::-1])), bound if len(ids) < _most(wanted) else None)

    def each(self, wanted: Filter) -> Iterator[Exchange]:
        with reasons():
            if wanted.after_id is not None:
                for ids in self._following(wanted):
                    yield from self._pages(ids)
            elif wanted.limit is not None:
                yield from self._pages(self._newest(wanted, None)[::-1])
            else:
                yield from self._all(wanted)

    def one(self, name: str) -> Exchange | None:
        with reasons():
            found = self.connection.execute("SELECT max(id) FROM exchanges WHERE name = ?", (name,)).fetchone()[0]
            if not name or found is None:
                if not (name.isascii() and name.isdecimal() and len(name) < 19):  # an id is a signed 64-bit integer
                    return None
                found = int(name)
            return next(iter(self.load([found])), None)

    def stats(self, wanted: Filter) -> Stats:
        with reasons():
            said, values = condition(wanted, time.time())
            return statistics.of(self.connection, said, values, wanted.leg)

    def last(self) -> int:
        with reasons():
            return int(self.connection.execute("SELECT coalesce(max(id), 0) FROM exchanges").fetchone()[0])

    def first_since(self, at: float) -> int:
        with reasons():
            found = self.connection.execute("SELECT min(id) FROM exchanges WHERE at >= ?", (at,)).fetchone()[0]
        return self.last() + 1 if found is None else int(found)

    # --- how they are found

    def _newest(self, wanted: Filter, bound: int | None) -> list[int]:
        """Newest first. Looks among the newest few, then among more, then among all, or so many: what is common is found by a
        short walk, and what is not found so is rare."""
        ids: list[int] = []
        most, high = _most(wanted), _ENDLESS if wanted.until is None else wanted.until
        for step in (*AMONG, None if bound is None else bound - sum(AMONG)):
            low = -_ENDLESS if step is None else self._before(high, step)
            window = _Window("at", low, high, loose=step is None)
            ids += self._within(wanted, window, most - len(ids))
            if len(ids) >= most or low == -_ENDLESS or (wanted.since is not None and low <= wanted.since):
                break
            high = low
        return ids

    def _before(self, at: float, many: int) -> float:
        """The time that lies so many exchanges before that one."""
        sql = "SELECT at FROM exchanges WHERE at < ? ORDER BY at DESC LIMIT 1 OFFSET ?"
        found = self.connection.execute(sql, (at, many)).fetchone()
        return -_ENDLESS if found is None else float(found[0])

    def _following(self, wanted: Filter) -> Iterator[list[int]]:
        last, left = self.last(), _most(wanted)
        low = (wanted.after_id or 0) + 1
        while low <= last and left > 0:
            ids = self._within(wanted, _Window("id", low, low + STRIDE), left)
            yield ids
            low, left = low + STRIDE, left - len(ids)

    def _all(self, wanted: Filter) -> Iterator[Exchange]:
        last = self.last()
        wanted = replace(wanted, before_id=min(wanted.before_id or last + 1, last + 1))
        low = -_ENDLESS if wanted.since is None else wanted.since
        while True:
            high = self._after(low, STRIDE)
            yield from self._pages(self._within(wanted, _Window("at", low, high), -1)[::-1])
            if high == _ENDLESS or (wanted.until is not None and high >= wanted.until):
                return
            low = high

    def _after(self, at: float, many: int) -> float:
        """The time that lies so many exchanges after that one."""
        sql = "SELECT at FROM exchanges WHERE at > ? ORDER BY at LIMIT 1 OFFSET ?"
        found = self.connection.execute(sql, (at, many)).fetchone()
        return _ENDLESS if found is None else float(found[0])

    def _within(self, wanted: Filter, window: _Window, most: int) -> list[int]:
        """Ids of what is wanted in that part of the log: newest first; where it is a part of the ids, in their order."""
        said, values = condition(wanted, time.time())
        if (candidates := self._candidates(wanted)) is not None:
            said, values = f"{said} AND {texts.CANDIDATES}", [*values, candidates, *self._ids(window)]
        by_id = window.column == "id"
        free = "+" if window.loose else ""  # a sign that keeps an index from being used
        of_legs, column = f"{free}{'exchange' if by_id else 'at'}", f"{free}e.{window.column}"
        # The condition looks at the legs of that part only: the name hides the table.
        sql = f"""WITH legs AS (SELECT * FROM main.legs WHERE {of_legs} >= ? AND {of_legs} < ?)
            SELECT e.id FROM exchanges e WHERE {column} >= ? AND {column} < ? AND {said}
            ORDER BY {column if by_id else f"{column} DESC, e.id DESC"} LIMIT ?"""  # noqa: S608 - our own words
        bounds = (window.low, window.high)
        return [found for (found,) in self.connection.execute(sql, (*bounds, *bounds, *values, most))]

    # --- free text

    def _candidates(self, wanted: Filter) -> str | None:
        """What to ask the index of texts for; None where it is of no use."""
        return texts.match(texts.searched(whole(wanted))) if self._indexed() else None

    def _indexed(self) -> bool:
        """Whether there is an index of all texts that are there."""
        if not file.has(self.connection, texts.TABLE):
            return False
        older = f"SELECT 1 FROM exchanges WHERE id < (SELECT id FROM {texts.TABLE}_since)"  # noqa: S608 - a constant
        return self.connection.execute(older).fetchone() is None

    def _ids(self, window: _Window) -> tuple[int, int]:
        """The ids that there are in that part."""
        sql = f"SELECT min(id), max(id) FROM exchanges WHERE {window.column} >= ? AND {window.column} < ?"  # noqa: S608
        first, last = self.connection.execute(sql, (window.low, window.high)).fetchone()
        return first or 0, last or 0

    def _bound(self, wanted: Filter) -> int | None:
        """Among how many of the newest free text is looked for; None: in all."""
        if not texts.names_text(whole(wanted)) or self._candidates(wanted) is not None:
            return None
        high = _ENDLESS if wanted.until is None else wanted.until
        return None if self._before(high, SEARCHED) == -_ENDLESS else SEARCHED

    # --- how they are read

    def _pages(self, ids: Sequence[int]) -> Iterator[Exchange]:
        for start in range(0, len(ids), PAGE):
            yield from self.load(ids[start : start + PAGE])

    def load(self, ids: Sequence[int]) -> list[Exchange]:
        """These exchanges, in the order of the ids; those that are gone are left out."""
        rows = {row[0]: row for row in self._of(_EXCHANGES, "id", ids)}
        legs: dict[int, list[tuple[Any, ...]]] = {}
        blocks: set[int] = set()
        for leg in self._of(_LEGS, "exchange", ids, "exchange, position"):
            legs.setdefault(leg[0], []).append(leg)
            if leg[-2] is not None:
                blocks.add(leg[-2])
        data = dict(self._of("SELECT id, data FROM bodies", "id", sorted(blocks)))
        lying = bodies.Reader(data)
        return [exchange_of(rows[id], legs.get(id, ()), lying) for id in ids if id in rows]

    def _of(self, select: str, column: str, ids: Sequence[int], order: str = "") -> Iterable[tuple[Any, ...]]:
        for start in range(0, len(ids), PAGE):
            some = ids[start : start + PAGE]
            sql = f"{select} WHERE {column} IN ({', '.join('?' * len(some))})" + (f" ORDER BY {order}" if order else "")
            yield from self.connection.execute(sql, some).fetchall()


def open_to_read(path: Path) -> LogFile:
    """The log, for reading, beside whoever writes it. Raises LogError."""
    with reasons():
        return LogFile(file.connect_to_read(path))


def follow(log: TrafficReader, wanted: Filter, *, wait: Callable[[], bool]) -> Iterator[Exchange]:
    """Exchanges as they are written, from `after_id`, or `since`, or now on; `wait` is called when there are no more,
    and ends it by answering False."""
    seen = wanted.after_id
    if seen is None:
        seen = log.last() if wanted.since is None else log.first_since(wanted.since) - 1
    while True:
        last = log.last()
        seen = min(seen, last)  # the log was begun anew, or is empty
        yield from log.each(replace(wanted, after_id=seen, before_id=last + 1, limit=None))
        seen = last
        if not wait():
            return


@contextmanager
def reasons() -> Iterator[None]:
    """What goes wrong in the file, in words."""
    try:
        yield
    except sqlite3.Error as error:
        raise _reason(error) from None


def _reason(error: sqlite3.Error) -> LogError:
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_INTERRUPT:
        return Interrupted("the traffic log gave no answer in time: expected a narrower filter")
    if code is not None and code & 0xFF in file.CORRUPT:
        return Corrupt(f"cannot be read: {error}")
    return LogError(f"cannot be read: {error}")


def _most(wanted: Filter) -> int:
    return 2**62 if wanted.limit is None else max(wanted.limit, 0)

"""The log, read: from the gateway itself or from another process, while it is being written."""

import math
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from gateway.traffic import bodies, texts
from gateway.traffic.conditions import whole
from gateway.traffic.exchanges import Exchange
from gateway.traffic.filters import Filter
from gateway.traffic.log import Count, FindingCount, Found, Interrupted, Latency, RemarkCount, Stats
from gateway.traffic.postgres import schema
from gateway.traffic.postgres.conditions import Window, condition, threes, window
from gateway.traffic.postgres.connection import Connection, FormatError, connect, kept, reasons
from gateway.traffic.row import ExchangeRow, LegRow, exchange_of

PAGE = 200  # exchanges that are read at once
STRIDE = 5_000  # exchanges that are looked for at once
SEARCHED = 100_000  # exchanges that free text is looked for in, where there is no index of texts
TIMEOUT = 600.0  # seconds for one statement, where nobody asks for less

_EXCHANGES = f"SELECT {', '.join(ExchangeRow._fields)} FROM exchanges"  # noqa: S608 - constants
_LEGS = f"SELECT {', '.join(LegRow._fields)} FROM legs"  # noqa: S608 - constants
_NOT_THERE = "no traffic log there; expected one written by ocpp-gateway serve"
_LATE = "the traffic log gave no answer in time: expected a narrower filter"


class Place(NamedTuple):
    """Where an exchange is found: the time leads to its partition."""

    at: float
    id: int


class PostgresLog:
    """The log as a reader sees it. No transaction stays open, so that partitions can go; what it was before is found by time."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._until = math.inf

    @property
    def files(self) -> tuple[Path, ...]:
        """None of this machine belong to it."""
        return ()

    def interrupt_after(self, seconds: float) -> None:
        """Give each question up that is not answered so many seconds from now. Raises Interrupted then."""
        self._until = time.monotonic() + seconds

    def close(self) -> None:
        self.connection.close()

    # --- questions

    def newest(self, wanted: Filter) -> Found:
        with reasons():
            if wanted.after_id is not None:
                return Found([found for places in self._following(wanted) for found in self._pages(places)])
            places, everywhere = self._newest(wanted)
            cut = not everywhere and (wanted.limit is None or len(places) < wanted.limit)
            return Found(list(self._pages(places[::-1])), SEARCHED if cut else None)

    def each(self, wanted: Filter) -> Iterator[Exchange]:
        with reasons():
            if wanted.after_id is not None:
                for places in self._following(wanted):
                    yield from self._pages(places)
            elif wanted.limit is not None:
                yield from self.newest(wanted).exchanges
            else:
                for places in self._all(wanted):
                    yield from self._pages(places)

    def one(self, name: str) -> Exchange | None:
        with reasons():
            if not name:
                return None
            found = self._run("SELECT at, id FROM exchanges WHERE name = %s ORDER BY id DESC LIMIT 1", (kept(name),))
            if not found and name.isascii() and name.isdecimal() and len(name) < 19:  # an id is a signed 64-bit integer
                found = self._run("SELECT at, id FROM exchanges WHERE id = %s", (int(name),))
            return next(iter(self.load([Place(*row) for row in found])), None)

    def stats(self, wanted: Filter) -> Stats:
        now = time.time()
        said, values = condition(replace(wanted, limit=None), now, window(wanted, now))
        of_leg = """AND lower(l.name COLLATE "C") = lower(%s::text COLLATE "C")""" if wanted.leg else ""

        def rows(sql: str) -> list[tuple[Any, ...]]:
            of_legs = wanted.leg and "{of_leg}" in sql
            return self._run(sql.format(where=said, of_leg=of_leg), (*values, *((kept(wanted.leg),) if of_legs else ())))

        with reasons():
            [(total, first, last)] = rows(_TOTAL)
            return Stats(
                total,
                first,
                last,
                tuple(Count(*row) for row in rows(_COUNTS)),
                tuple(RemarkCount(*row) for row in rows(_REMARKS)),
                tuple(Latency(*row) for row in rows(_LATENCIES)),
                tuple(FindingCount(*row) for row in rows(_FINDINGS)),
            )

    def last(self) -> int:
        with reasons():
            return int(self._run("SELECT coalesce(max(id), 0) FROM exchanges")[0][0])

    def first_since(self, at: float) -> int:
        with reasons():
            [(found,)] = self._run("SELECT min(id) FROM exchanges WHERE at >= %s", (at,))
        return self.last() + 1 if found is None else int(found)

    # --- how they are found

    def _newest(self, wanted: Filter) -> tuple[list[Place], bool]:
        """Newest first; and whether they were looked for everywhere.

        Free text is looked for by reading the newest few, and then, as far as there is an index of texts, in that.
        """
        now = time.time()
        within = window(wanted, now)
        recent = self._recent(within) if texts.names_text(whole(wanted)) else None
        if recent is None:
            return self._within(wanted, now, within), True
        places = self._within(wanted, now, recent)
        left = None if wanted.limit is None else wanted.limit - len(places)
        asked = threes(wanted)
        since = schema.searchable_since(self.connection) if asked else math.inf
        older = Window(max(within.low, since), recent.low)
        if older.low < older.high and left != 0:
            places += self._within(replace(wanted, limit=left), now, older, asked)
        return places, since <= within.low

    def _recent(self, within: Window) -> Window | None:
        """When the newest so many passed; None: there are no more than these."""
        sql = "SELECT at FROM exchanges WHERE at < %s ORDER BY at DESC LIMIT 1 OFFSET %s"
        found = self._run(sql, (within.high, SEARCHED))
        return Window(found[0][0], within.high) if found and found[0][0] > within.low else None

    def _within(self, wanted: Filter, now: float, within: Window, asked: Sequence[str] = ()) -> list[Place]:
        said, values = condition(wanted, now, within, asked)
        most = None if wanted.limit is None else max(wanted.limit, 0)
        return self._places(f"{said} ORDER BY e.at DESC, e.id DESC LIMIT %s", (*values, most))

    def _all(self, wanted: Filter) -> Iterator[list[Place]]:
        """In the order in which they passed."""
        now, last = time.time(), self.last()
        within = window(wanted, now)
        wanted = replace(wanted, before_id=min(wanted.before_id or last + 1, last + 1))
        beyond: list[float] = []
        while True:
            said, values = condition(wanted, now, within)
            after = " AND e.at >= %s AND (e.at, e.id) > (%s, %s)" if beyond else ""
            places = self._places(f"{said}{after} ORDER BY e.at, e.id LIMIT %s", (*values, *beyond, STRIDE))
            yield places
            if len(places) < STRIDE:
                return
            beyond = [places[-1].at, *places[-1]]

    def _following(self, wanted: Filter) -> Iterator[list[Place]]:
        """In the order of the ids."""
        now, last = time.time(), self.last()
        left = math.inf if wanted.limit is None else max(wanted.limit, 0)
        wanted = replace(wanted, before_id=min(wanted.before_id or last + 1, last + 1))
        while left > 0:
            said, values = condition(wanted, now, window(wanted, now))
            many = int(min(left, STRIDE))
            places = self._places(f"{said} ORDER BY e.id LIMIT %s", (*values, many))
            yield places
            if len(places) < many:
                return
            left, wanted = left - many, replace(wanted, after_id=places[-1].id)

    def _places(self, rest: str, values: Sequence[Any]) -> list[Place]:
        return [Place(*row) for row in self._run(f"SELECT e.at, e.id FROM exchanges e WHERE {rest}", values)]  # noqa: S608

    # --- how they are read

    def _pages(self, places: Sequence[Place]) -> Iterator[Exchange]:
        for start in range(0, len(places), PAGE):
            yield from self.load(places[start : start + PAGE])

    def load(self, places: Sequence[Place]) -> list[Exchange]:
        """These exchanges, in that order; those that are gone are left out."""
        if not places:
            return []
        ids, times = [place.id for place in places], [place.at for place in places]
        days = _span(times)
        rows = {row[0]: row for row in self._of(f"{_EXCHANGES} WHERE id = ANY(%s)", ids, days)}
        legs: dict[int, list[tuple[Any, ...]]] = {}
        for leg in self._of(f"{_LEGS} WHERE exchange = ANY(%s)", ids, days, " ORDER BY exchange, position"):
            legs.setdefault(leg[0], []).append(leg)
        blocks = {leg[-2] for some in legs.values() for leg in some if leg[-2] is not None}
        data = dict(self._of("SELECT id, data FROM bodies WHERE id = ANY(%s)", sorted(blocks), days))
        lying = bodies.Reader(data)
        return [exchange_of(rows[id], legs.get(id, ()), lying) for id in ids if id in rows]

    def _of(self, select: str, ids: Sequence[int], days: Window, order: str = "") -> Iterable[tuple[Any, ...]]:
        return self._run(f"{select} AND at BETWEEN %s AND %s{order}", (ids, *days)) if ids else ()

    def _run(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        if self._until < math.inf:
            left = self._until - time.monotonic()
            if left <= 0:
                raise Interrupted(_LATE)
            self.connection.execute(f"SET statement_timeout TO {max(int(left * 1000), 1)}")
        return self.connection.execute(sql, values).fetchall()


def opened(url: str) -> PostgresLog:
    """The log, for reading, beside whoever writes it. Raises LogError."""
    connection = connect(url, TIMEOUT)
    try:
        _expect_log(connection)
    except BaseException:
        connection.close()
        raise
    return PostgresLog(connection)


def _expect_log(connection: Connection) -> None:
    with reasons():
        connection.execute("SET default_transaction_read_only TO on")
        found = schema.format_of(connection)
    if found != schema.FORMAT:
        raise FormatError(f"expected a traffic log of format {schema.FORMAT}, got format {found}" if found else _NOT_THERE)


def _span(times: Sequence[float]) -> Window:
    """The days of these times, up to the last moment of them."""
    first, last = schema.day_of(min(times)), schema.day_of(max(times))
    low = -math.inf if first == schema.EARLY else first * schema.DAY
    return Window(low, math.inf if last == schema.LATE else math.nextafter(schema.end_of(last), low))


_TOTAL = "SELECT count(*), min(e.at), max(e.at) FROM exchanges e WHERE {where}"
_COUNTS = """
    SELECT min(l.name), min(e.action), min(l.outcome), count(*)
    FROM exchanges e JOIN legs l ON l.exchange = e.id AND l.at = e.at WHERE {where} {of_leg}
    GROUP BY lower(l.name), lower(e.action), lower(l.outcome) ORDER BY lower(l.name), lower(e.action), lower(l.outcome)"""
_REMARKS = """
    SELECT kept.value ->> 1, kept.value ->> 4, count(*)
    FROM exchanges e JOIN legs l ON l.exchange = e.id AND l.at = e.at CROSS JOIN jsonb_array_elements(l.remarks::jsonb) AS kept
    WHERE l.remarks IS NOT NULL AND {where} {of_leg}
    GROUP BY 1, 2 ORDER BY 1, 2"""
_FINDINGS = """
    SELECT kept.value ->> 1, kept.value ->> 0, count(DISTINCT e.id)
    FROM exchanges e CROSS JOIN jsonb_array_elements(e.findings::jsonb) AS kept WHERE e.findings IS NOT NULL AND {where}
    GROUP BY 1, 2 ORDER BY 1, 2"""
# Nearest rank: the smallest latency that at least so many percent of the answers do not exceed.
_LATENCIES = """
    SELECT min(name), min(action), n,
        max(CASE WHEN rank = (n * 50 + 99) / 100 THEN latency END),
        max(CASE WHEN rank = (n * 99 + 99) / 100 THEN latency END)
    FROM (
        SELECT l.name, e.action, l.latency, count(*) OVER (PARTITION BY lower(l.name), lower(e.action)) AS n,
            row_number() OVER (PARTITION BY lower(l.name), lower(e.action) ORDER BY l.latency) AS rank
        FROM exchanges e JOIN legs l ON l.exchange = e.id AND l.at = e.at WHERE l.latency IS NOT NULL AND {where} {of_leg}
    ) ranked GROUP BY lower(name), lower(action), n ORDER BY lower(name), lower(action)"""

"""The log, read: from the gateway itself or from another process, while it is being written."""

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from gateway.traffic.file import FormatError as FormatError
from gateway.traffic.file import connect_to_read as connect_to_read
from gateway.traffic.file import files_of as files_of
from gateway.traffic.filters import Filter as Filter
from gateway.traffic.filters import moment as moment
from gateway.traffic.row import COLUMNS, from_columns
from gateway.traffic.row import Row as Row

PAGE = 500

_EVERY = Filter()
_SELECT = f"SELECT id, {', '.join(COLUMNS)} FROM messages"  # noqa: S608 - constants


def messages(connection: sqlite3.Connection, wanted: Filter = _EVERY) -> Iterator[Row]:
    """The messages in the order in which they passed, newest last; with `after_id` in the order of their ids."""
    if wanted.after_id is not None:
        return _following(connection, wanted)
    if wanted.limit is not None:
        return _newest(connection, wanted)
    return _all(connection, wanted)


def _following(connection: sqlite3.Connection, wanted: Filter) -> Iterator[Row]:
    left = wanted.limit
    while left is None or left > 0:
        page = _page(connection, wanted, "id", PAGE if left is None else min(PAGE, left))
        yield from page
        if not page:
            return
        wanted = replace(wanted, after_id=page[-1].id)
        left = None if left is None else left - len(page)


def _newest(connection: sqlite3.Connection, wanted: Filter) -> Iterator[Row]:
    yield from reversed(_page(connection, wanted, "at DESC, id DESC", max(wanted.limit or 0, 0)))


def _all(connection: sqlite3.Connection, wanted: Filter) -> Iterator[Row]:
    """Page by page: a statement that stays open would keep the writer from reusing its write-ahead log."""
    where, values = wanted.where()
    last: int = connection.execute("SELECT coalesce(max(id), 0) FROM messages").fetchone()[0]
    sql = f"{_SELECT} WHERE (at, id) > (?, ?) AND id <= ? AND {where} ORDER BY at, id LIMIT {PAGE}"
    after: tuple[float, int] = (float("-inf"), 0)
    while page := [from_columns(v) for v in connection.execute(sql, (*after, last, *values)).fetchall()]:
        yield from page
        after = (page[-1].at, page[-1].id)


def _page(connection: sqlite3.Connection, wanted: Filter, order: str, limit: int) -> list[Row]:
    where, values = wanted.where()
    sql = f"{_SELECT} WHERE {where} ORDER BY {order} LIMIT ?"
    return [from_columns(v) for v in connection.execute(sql, (*values, limit)).fetchall()]


def exchange(connection: sqlite3.Connection, name: str) -> list[Row]:
    """Every message of an exchange, by its id or by the id of any row of it; empty where there is none."""
    if found := list(messages(connection, Filter(exchange=name))) if name else []:
        return found
    row = _row(connection, name)
    if row is not None and row.exchange:
        return list(messages(connection, Filter(exchange=row.exchange)))
    return [row] if row else []


def _row(connection: sqlite3.Connection, name: str) -> Row | None:
    if not (name.isascii() and name.isdecimal() and len(name) < 19):  # an id is a signed 64-bit integer
        return None
    values = connection.execute(f"{_SELECT} WHERE id = ?", (int(name),)).fetchone()
    return from_columns(values) if values else None


def follow(connection: sqlite3.Connection, wanted: Filter = _EVERY, *, wait: Callable[[], bool]) -> Iterator[Row]:
    """Messages as they are written, from `after_id`, or `since`, or now on; `wait` is called when there are no more,
    and ends it by answering False."""
    seen = _start(connection, wanted)
    while True:
        last = _last(connection)
        yield from messages(connection, replace(wanted, after_id=seen, before_id=last + 1, limit=None))
        seen = max(seen, last)
        if not wait():
            return


def _start(connection: sqlite3.Connection, wanted: Filter) -> int:
    if wanted.after_id is not None:
        return wanted.after_id
    if wanted.since is None:
        return _last(connection)
    first = connection.execute("SELECT min(id) FROM messages WHERE at >= ?", (wanted.since,)).fetchone()[0]
    return _last(connection) if first is None else first - 1


def _last(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT coalesce(max(id), 0) FROM messages").fetchone()[0])


@dataclass(frozen=True, slots=True)
class Count:
    """How many messages of an action had an outcome on a leg; calls have none."""

    leg: str
    action: str
    outcome: str
    messages: int


@dataclass(frozen=True, slots=True)
class RemarkCount:
    """How many remarks of a kind a rule left."""

    kind: str
    rule: str
    remarks: int


@dataclass(frozen=True, slots=True)
class Latency:
    """How long answers took, in seconds."""

    leg: str
    action: str
    answers: int
    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Stats:
    """What passed, in numbers; `first` and `last` are unix times."""

    messages: int
    first: float | None
    last: float | None
    counts: tuple[Count, ...]
    remarks: tuple[RemarkCount, ...]
    latencies: tuple[Latency, ...]


def stats(connection: sqlite3.Connection, wanted: Filter = _EVERY) -> Stats:
    """The numbers of all messages that are asked for; a limit counts for nothing here."""
    where, values = wanted.where()

    def rows(sql: str) -> list[tuple[str, ...]]:
        return connection.execute(sql.format(where=where), values).fetchall()

    total, first, last = connection.execute(_TOTAL.format(where=where), values).fetchone()
    return Stats(
        total,
        first,
        last,
        tuple(Count(leg, action, outcome, int(n)) for leg, action, outcome, n in rows(_COUNTS)),
        tuple(RemarkCount(kind, rule, int(n)) for kind, rule, n in rows(_REMARKS)),
        tuple(Latency(a, b, int(n), float(p50), float(p99)) for a, b, n, p50, p99 in rows(_LATENCIES)),
    )


_TOTAL = "SELECT count(*), min(at), max(at) FROM messages WHERE {where}"
_COUNTS = """
    SELECT leg, action, outcome, count(*) FROM messages WHERE {where} GROUP BY leg, action, outcome ORDER BY 1, 2, 3"""
_REMARKS = """
    SELECT json_extract(value, '$.kind'), json_extract(value, '$.rule'), count(*)
    FROM (SELECT remarks FROM messages WHERE remarks IS NOT NULL AND {where}) AS kept, json_each(kept.remarks)
    GROUP BY 1, 2 ORDER BY 1, 2"""
# Nearest rank: the smallest latency that at least so many percent of the answers do not exceed.
_LATENCIES = """
    SELECT leg, action, n,
        max(CASE WHEN rank = (n * 50 + 99) / 100 THEN latency END),
        max(CASE WHEN rank = (n * 99 + 99) / 100 THEN latency END)
    FROM (
        SELECT leg, action, latency, count(*) OVER (PARTITION BY leg, action) AS n,
            row_number() OVER (PARTITION BY leg, action ORDER BY latency) AS rank
        FROM messages WHERE latency IS NOT NULL AND {where}
    ) GROUP BY leg, action ORDER BY leg, action"""

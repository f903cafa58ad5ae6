"""The log, written: exchanges stored in batches by COPY, and whole days removed."""

import re
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Any, NamedTuple

import psycopg

from gateway.traffic import bodies
from gateway.traffic.bodies import Place
from gateway.traffic.exchanges import Exchange, Leg
from gateway.traffic.log import LogError
from gateway.traffic.postgres import reader, schema
from gateway.traffic.postgres.connection import connect, kept, reasons
from gateway.traffic.row import ExchangeRow, LegRow, exchange_row, four, leg_rows

TIMEOUT = 60.0  # seconds for one statement
LOCK_TIMEOUT = 2.0  # seconds that those who read wait behind a day that is to go
_WISH = "a database that is not so busy"
LONGEST = 300  # characters of a text that an index holds; one of PostgreSQL's holds 2,700 bytes for all its columns

_NULL = re.compile(r"((?<!\\)(?:\\\\)*)\\u0000")
# What jsonb may not be able to hold: numbers beyond 10^131071 or with more than 16,383 decimals.
_LARGE = re.compile(r"[:,\[]-?\d[\d.]*[eE][+-]?\d{5}|\d{9000}")


class PostgresWriter:
    """The log as the thread that writes it sees it. Whoever opened it opens it again when the connection is lost."""

    def __init__(self, url: str, *, full_text: bool = False, compress: bool = True) -> None:
        self._full_text, self._compress = full_text, compress
        self._connection = connect(url, TIMEOUT)
        try:
            with reasons(_WISH):
                # What the server has taken and not yet written is lost when it crashes; less than a second of traffic.
                self._connection.execute("SET synchronous_commit TO off")
                schema.migrate(self._connection)
                self._days = set(schema.days(self._connection))
        except BaseException:
            self._connection.close()
            raise
        self._reader = reader.PostgresLog(self._connection)

    def there(self) -> bool:
        return not self._connection.closed

    def close(self) -> None:
        self._connection.close()

    def named(self, names: Collection[str]) -> dict[str, Exchange]:
        sql = "SELECT DISTINCT ON (name) at, id FROM exchanges WHERE name = ANY(%s) ORDER BY name, id DESC"
        with reasons(_WISH):
            found: Any = self._connection.execute(sql, ([_short(name) for name in names],)).fetchall() if names else ()
            return {exchange.name: exchange for exchange in self._reader.load([reader.Place(*row) for row in found])}

    def write(self, exchanges: Sequence[Exchange]) -> None:
        given = [exchange.id for exchange in exchanges]
        try:
            self._make({schema.day_of(exchange.at) for exchange in exchanges})
            with reasons(_WISH), self._connection.transaction():
                schema.lock(self._connection)
                self._forget([id for id in given if id])  # it may have passed on another day, too, as is known now
                self._number(exchanges)
                self._store(exchanges)
        except BaseException as error:
            for exchange, id in zip(exchanges, given, strict=True):
                exchange.id = id
            if isinstance(error, LogError):
                self._days.clear()  # somebody may have removed one
            raise

    def prune(self, before: float, size: int, limit: int) -> int:
        """Removes whole days, as many as are over: of age each that ended before, of size the oldest but never today."""
        today = schema.day_of(time.time())
        self._make({today, today + 1})
        removed = 0
        with reasons(_WISH):
            for day in self._doomed(before, size, today):
                with suppress(psycopg.errors.LockNotAvailable):  # somebody reads; the next time, then
                    removed += self._drop(day)
        return removed

    def remove(self, ids: Sequence[int]) -> None:
        """Remove these, some hundred at most, whenever they passed; what they said is gone too, though others share its block."""
        with reasons(_WISH), self._connection.transaction():
            schema.lock(self._connection)
            self._forget(ids)

    # --- writing

    def _make(self, wanted: set[int]) -> None:
        if wanted <= self._days:
            return
        with reasons(_WISH), self._connection.transaction():
            schema.lock(self._connection)
            self._days = set(schema.days(self._connection))
            for day in sorted(wanted - self._days):
                schema.make_day(self._connection, day, self._full_text)
        self._days |= wanted

    def _number(self, exchanges: Iterable[Exchange]) -> None:
        new = [exchange for exchange in exchanges if not exchange.id]
        for exchange, id in zip(new, self._next("exchange_ids", len(new)), strict=True):
            exchange.id = id

    def _next(self, sequence: str, many: int) -> list[int]:
        rows = self._connection.execute("SELECT nextval(%s) FROM generate_series(1, %s)", (sequence, many))
        return sorted(int(str(id)) for (id,) in rows)

    def _store(self, exchanges: Sequence[Exchange]) -> None:
        places = iter(self._keep_bodies(exchanges))
        rows = [self._castable(exchange_row(exchange)) for exchange in exchanges]
        self._copy("exchanges", ExchangeRow._fields, map(_exchange_cells, rows))
        legs = (row for exchange in exchanges for row in leg_rows(exchange, [next(places) for _ in exchange.legs]))
        self._copy("legs", LegRow._fields, map(_leg_cells, legs))

    def _keep_bodies(self, exchanges: Sequence[Exchange]) -> list[Place]:
        blocks = list(_blocks(exchanges))
        ids = self._next("block_ids", len(blocks))
        packed = (
            (id, at, bodies.packed([four(leg) for leg in legs], self._compress))
            for id, (at, legs) in zip(ids, blocks, strict=True)
        )
        self._copy("bodies", ("id", "at", "data"), packed)
        return [Place(id, part) for id, block in zip(ids, blocks, strict=True) for part in range(len(block.legs))]

    def _copy(self, table: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        with self._connection.cursor() as cursor, cursor.copy(f"COPY {table} ({', '.join(columns)}) FROM STDIN") as copy:
            for row in rows:
                copy.write_row(row)

    def _castable(self, row: ExchangeRow) -> ExchangeRow:
        """Payloads stay what can be looked into, so that no question fails for what is stored; the bodies have all of it."""
        texts = [
            None if text and _LARGE.search(text) and not self._is_jsonb(text) else text for text in (row.payload, row.result)
        ]
        return row._replace(payload=texts[0], result=texts[1])

    def _is_jsonb(self, text: str) -> bool:
        try:
            with self._connection.transaction():
                self._connection.execute("SELECT %s::jsonb", (text,))
        except psycopg.DataError:
            return False
        return True

    # --- removing

    def _forget(self, ids: Sequence[int]) -> None:
        if not ids:
            return
        self._connection.execute("DELETE FROM exchanges WHERE id = ANY(%s)", (ids,))
        sql = "DELETE FROM legs WHERE exchange = ANY(%s) RETURNING block, part"
        found: Any = self._connection.execute(sql, (ids,)).fetchall()
        gone: dict[int, set[int]] = {}
        for block, part in found:
            if block is not None:
                gone.setdefault(block, set()).add(part)
        for block, parts in gone.items():
            self._forget_bodies(block, parts)

    def _forget_bodies(self, block: int, parts: set[int]) -> None:
        """Out of a block that holds what others said too."""
        found: Any = self._connection.execute("SELECT at, data FROM bodies WHERE id = %s", (block,)).fetchall()
        for at, data in found:
            if (left := bodies.without(data, parts)) is None:
                self._connection.execute("DELETE FROM bodies WHERE id = %s AND at = %s", (block, at))
            else:
                self._connection.execute("UPDATE bodies SET data = %s WHERE id = %s AND at = %s", (left, block, at))

    def _doomed(self, before: float, size: int, today: int) -> list[int]:
        """The oldest first."""
        days = [day for day in schema.days(self._connection) if day != today]
        sizes = {day: self._size(day) for day in (*days, today)}
        total, doomed = sum(sizes.values()), []
        for day in days:
            if schema.end_of(day) <= before or (total > size and day < today):
                doomed.append(day)
                total -= sizes[day]
        return doomed

    def _size(self, day: int) -> int:
        found = self._connection.execute(
            "SELECT sum(pg_total_relation_size(to_regclass(name))) FROM unnest(%s::text[]) AS name",
            (list(schema.partitions(day)),),
        ).fetchone()
        return int(str(found[0] or 0)) if found else 0

    def _drop(self, day: int) -> int:
        with self._connection.transaction():
            self._connection.execute(f"SET LOCAL lock_timeout TO {int(LOCK_TIMEOUT * 1000)}")
            schema.lock(self._connection)
            found = self._connection.execute(f"SELECT count(*) FROM {schema.partitions(day)[0]}").fetchone()  # noqa: S608
            schema.drop_day(self._connection, day)
        self._days.discard(day)
        return int(str(found[0])) if found else 0


class _Block(NamedTuple):
    """Legs whose bodies lie together, all of the same day."""

    at: float
    legs: list[Leg]


def _blocks(exchanges: Iterable[Exchange]) -> Iterator[_Block]:
    for _, some in groupby(exchanges, _day):
        block: _Block | None = None
        size = 0
        for exchange in some:
            for leg in exchange.legs:
                block = block or _Block(exchange.at, [])
                block.legs.append(leg)
                size += sum(len(half.raw) for half in (leg.call, leg.answer) if half is not None)
                if len(block.legs) == bodies.PARTS or size >= bodies.BYTES:
                    yield block
                    block, size = None, 0
        if block:
            yield block


def _day(exchange: Exchange) -> int:
    return schema.day_of(exchange.at)


def _exchange_cells(row: ExchangeRow) -> ExchangeRow:
    return row._replace(
        name=_short(row.name),
        charger=_short(row.charger),
        tenant=_short(row.tenant),
        action=_short(row.action),
        outcome=_short(row.outcome),
        findings=_json(row.findings),
    )


def _leg_cells(row: LegRow) -> LegRow:
    return row._replace(
        name=_short(row.name),
        version=kept(row.version),
        peer=kept(row.peer),
        outcome=_short(row.outcome),
        remarks=_json(row.remarks),
        message_id=kept(row.message_id),
        answer_id=kept(row.answer_id),
        call_note=kept(row.call_note),
        answer_note=kept(row.answer_note),
        headers=_json(row.headers),
    )


def _short(text: str) -> str:
    """As an index can hold it."""
    return kept(text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…")


def _json(text: str | None) -> str | None:
    return _NULL.sub("\\1\ufffd", text) if text and "\\u0000" in text else text

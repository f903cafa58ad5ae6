"""The log's file, written: exchanges stored in batches, and the oldest removed."""

import sqlite3
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from gateway.traffic import bodies, file, texts
from gateway.traffic.bodies import Four, Place
from gateway.traffic.exchanges import Exchange, Leg
from gateway.traffic.log import Corrupt, LogError, Unfit
from gateway.traffic.query import LogFile
from gateway.traffic.row import Cell, ExchangeRow, LegRow, exchange_row, four, leg_rows

# Each step of a statement gives up the interpreter's lock and has to win it back from a busy event loop, which can
# take 5 ms a time. A statement per row reaches 1,300 rows/s beside such a loop, statements of 512 rows 28,000.
CHUNKS = tuple(512 >> n for n in range(10))
AT_ONCE = 512  # exchanges made into rows while the event loop waits for the interpreter's lock

_ROWS_AT_FAULT = (None, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_CONSTRAINT)


class Keeping(NamedTuple):
    """How the log is kept."""

    full_text: bool = False
    compress: bool = True


class LogWriter:
    """The log's file as the thread that writes it sees it."""

    def __init__(self, path: Path, keeping: Keeping = Keeping(), connect: file.Connect = file.connect) -> None:  # noqa: B008
        self.path, self._keeping = path, keeping
        with _reasons():
            self._connection = connect(path)
            try:
                self._index_texts()
            except BaseException:
                self._connection.close()
                raise
        self._reader = LogFile(self._connection)

    def there(self) -> bool:
        return self.path.exists()

    def close(self) -> None:
        self._connection.close()

    def named(self, names: Collection[str]) -> dict[str, Exchange]:
        found: list[int] = []
        with _reasons():
            for name in names:
                found += (id for (id,) in self._connection.execute("SELECT max(id) FROM exchanges WHERE name = ?", (name,)) if id)
            return {exchange.name: exchange for exchange in self._reader.load(found)}

    def write(self, exchanges: Sequence[Exchange]) -> None:
        given = [exchange.id for exchange in exchanges]
        try:
            with _reasons(), file.transaction(self._connection):
                self._number(exchanges)
                for start in range(0, len(exchanges), AT_ONCE):
                    self._store(exchanges[start : start + AT_ONCE])
        except BaseException:
            for exchange, id in zip(exchanges, given, strict=True):
                exchange.id = id
            raise

    def prune(self, before: float, size: int, limit: int) -> int:
        with _reasons():
            many = self._excess(size)
            condition, values = ("at < ?", (before,)) if many <= 0 else ("TRUE", ())
            oldest = f"SELECT id FROM exchanges WHERE {condition} ORDER BY at, id LIMIT ?"  # noqa: S608 - our own words
            ids = [id for (id,) in self._connection.execute(oldest, (*values, min(limit, many) if many > 0 else limit))]
            if ids:
                with file.transaction(self._connection):
                    self._remove(ids)
            return len(ids)

    def remove(self, ids: Sequence[int]) -> None:
        """Remove these, some hundred at most, whenever they passed; what they said is gone too, though others share its block."""
        with _reasons(), file.transaction(self._connection):
            self._forget_bodies(ids)
            self._remove(ids)

    # --- writing

    def _number(self, exchanges: Sequence[Exchange]) -> None:
        """Explicit numbers, so that legs know theirs; the sequence of the table keeps count all the same."""
        found = self._connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'exchanges'").fetchone()
        last = max(0 if found is None else found[0], *(exchange.id for exchange in exchanges), 0)
        for exchange in exchanges:
            if not exchange.id:
                exchange.id = last = last + 1

    def _store(self, exchanges: Sequence[Exchange]) -> None:
        among, ids = f"e.id IN ({', '.join('?' * len(exchanges))})", [exchange.id for exchange in exchanges]
        if self._keeping.full_text:
            self._connection.execute(texts.FORGOTTEN + among, ids)  # of those that were stored before
        places = self._keep_bodies(exchanges)
        _insert(self._connection, _EXCHANGES, [exchange_row(exchange) for exchange in exchanges])
        legs = [row for exchange in exchanges for row in leg_rows(exchange, [next(places) for _ in exchange.legs])]
        _insert(self._connection, _LEGS, legs)
        if self._keeping.full_text:
            self._connection.execute(texts.ADDED + among, ids)

    def _keep_bodies(self, exchanges: Sequence[Exchange]) -> Iterator[Place]:
        [(last, newest)] = self._connection.execute(
            "SELECT coalesce(max(id), 0), (SELECT seq FROM sqlite_sequence WHERE name = 'exchanges') FROM bodies"
        )
        newest = max(newest or 0, *(exchange.id for exchange in exchanges))
        blocks, places = [], []
        for n, fours in enumerate(_blocks(leg for exchange in exchanges for leg in exchange.legs), last + 1):
            blocks.append((n, newest, bodies.packed(fours, self._keeping.compress)))
            places += [Place(n, part) for part in range(len(fours))]
        _insert(self._connection, _BODIES, blocks)
        return iter(places)

    def _index_texts(self) -> None:
        """With full text there is an index, of all from now on; without it there is none, or it would miss what passes now."""
        there = file.has(self._connection, texts.TABLE)
        if there != self._keeping.full_text:
            with file.transaction(self._connection):
                for statement in texts.UNMADE if there else texts.MADE:
                    self._connection.execute(statement)

    # --- removing

    def _excess(self, size: int) -> int:
        """How many exchanges there are too many for so many bytes, about."""
        [(pages,)], [(free,)], [(page,)] = (
            self._connection.execute(f"PRAGMA {name}") for name in ("page_count", "freelist_count", "page_size")
        )
        used = (pages - free) * page
        if used <= size:
            return 0
        [(first, last)] = self._connection.execute("SELECT (SELECT min(id) FROM exchanges), (SELECT max(id) FROM exchanges)")
        return 0 if first is None else max(int((last - first + 1) * (used - size) / used), 1)

    def _remove(self, ids: Sequence[int]) -> None:
        run = self._connection.execute
        run("CREATE TEMP TABLE IF NOT EXISTS doomed (id INTEGER PRIMARY KEY)")
        run("DELETE FROM doomed")
        _insert(self._connection, _DOOMED, [(id,) for id in ids])
        if self._keeping.full_text:
            run(f"{texts.FORGOTTEN} e.id IN (SELECT id FROM doomed)")  # noqa: S608 - a constant
        run("DELETE FROM legs WHERE exchange IN (SELECT id FROM doomed)")
        run("DELETE FROM exchanges WHERE id IN (SELECT id FROM doomed)")
        run("DELETE FROM bodies WHERE newest < coalesce((SELECT min(id) FROM exchanges), newest + 1)")

    def _forget_bodies(self, ids: Sequence[int]) -> None:
        """What these said, out of the blocks that hold what others said too."""
        run = self._connection.execute
        among = ", ".join("?" * len(ids))
        gone: dict[int, set[int]] = {}
        for block, part in run(f"SELECT block, part FROM legs WHERE block IS NOT NULL AND exchange IN ({among})", ids):  # noqa: S608 - marks
            gone.setdefault(block, set()).add(part)
        for block, lost in gone.items():
            for (data,) in run("SELECT data FROM bodies WHERE id = ?", (block,)).fetchall():
                if (left := bodies.without(data, lost)) is None:
                    run("DELETE FROM bodies WHERE id = ?", (block,))
                else:
                    run("UPDATE bodies SET data = ? WHERE id = ?", (left, block))


def _blocks(legs: Iterable[Leg]) -> Iterator[list[Four]]:
    block: list[Four] = []
    size = 0
    for leg in legs:
        block.append(said := four(leg))
        size += len(said[0] or b"") + len(said[1] or b"")
        if len(block) == bodies.PARTS or size >= bodies.BYTES:
            yield block
            block, size = [], 0
    if block:
        yield block


def _statements(what: str, columns: Sequence[str]) -> dict[int, str]:
    marks = f"({', '.join('?' * len(columns))})"
    return {size: f"{what} ({', '.join(columns)}) VALUES {', '.join([marks] * size)}" for size in CHUNKS}


_EXCHANGES = _statements("INSERT OR REPLACE INTO exchanges", ExchangeRow._fields)
_LEGS = _statements("INSERT OR REPLACE INTO legs", LegRow._fields)
_BODIES = _statements("INSERT INTO bodies", ("id", "newest", "data"))
_DOOMED = _statements("INSERT INTO doomed", ("id",))


def _insert(connection: sqlite3.Connection, statements: dict[int, str], rows: Sequence[Sequence[Cell]]) -> None:
    start = 0
    for size in CHUNKS:
        while len(rows) - start >= size:
            connection.execute(statements[size], list(chain.from_iterable(rows[start : start + size])))
            start += size


@contextmanager
def _reasons() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise _reason(error) from error
    except OSError as error:
        raise LogError(_lower(error.strerror or str(error))) from error


def _reason(error: sqlite3.Error) -> LogError:
    code = getattr(error, "sqlite_errorcode", None)
    code = code if code is None else code & 0xFF  # the extended codes carry the primary one below
    if code in file.CORRUPT:
        return Corrupt(_lower(str(error)))
    return (Unfit if code in _ROWS_AT_FAULT else LogError)(_lower(str(error)))


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]

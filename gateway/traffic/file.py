"""The log's SQLite file: made, brought up to date, written in batches, pruned, set aside when it is corrupt."""

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain
from pathlib import Path

from gateway.traffic.row import COLUMNS, Cell

# Entry n brings a file of format n to format n + 1; entries that were released are never changed.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE messages (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            at REAL NOT NULL,
            exchange TEXT NOT NULL,
            charger TEXT NOT NULL,
            leg TEXT NOT NULL,
            direction TEXT NOT NULL,
            wire TEXT NOT NULL,
            version TEXT NOT NULL,
            kind TEXT NOT NULL,
            action TEXT NOT NULL,
            message_id TEXT NOT NULL,
            raw BLOB NOT NULL,
            canonical TEXT,
            remarks TEXT,
            outcome TEXT NOT NULL,
            latency REAL,
            peer TEXT NOT NULL,
            note TEXT NOT NULL
        )""",
        "CREATE INDEX messages_at ON messages (at)",
        "CREATE INDEX messages_charger_at ON messages (charger, at)",
        "CREATE INDEX messages_exchange ON messages (exchange)",
    ),
    (
        "ALTER TABLE messages ADD COLUMN tenant TEXT NOT NULL DEFAULT ''",
        # Of no cost to those who have no tenants.
        "CREATE INDEX messages_tenant_at ON messages (tenant COLLATE NOCASE, at) WHERE tenant <> ''",
    ),
)
FORMAT = len(MIGRATIONS)

# Each step of a statement gives up the interpreter's lock and has to win it back from a busy event loop, which can
# take 5 ms a time. A statement per row reaches 1,300 rows/s beside such a loop, statements of 512 rows 28,000.
CHUNKS = (512, 64, 8, 1)
BUSY_TIMEOUT = 1.0
PAGE = 16_384  # bytes; several messages fit on a page, and writing one costs a quarter less than with the default
ASIDE = 9
_NOT_THERE = "no traffic log there; expected one written by ocpp-gateway serve"


Connect = Callable[[Path], sqlite3.Connection]


class FormatError(Exception):
    """The file is no traffic log of a format that is known here."""


def connect(path: Path) -> sqlite3.Connection:
    """Open the log for writing, in the newest format; a new one is for its owner's eyes only."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
    try:
        connection.execute(f"PRAGMA page_size = {PAGE}")  # of a file yet to be made; nothing happens to one that exists
        migrate(connection)  # first, so that nobody else's database is changed
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA journal_size_limit = {64 << 20}")
    except BaseException:
        connection.close()
        raise
    return connection


def migrate(connection: sqlite3.Connection, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
    """Bring the file up to date, all steps or none."""
    if format_of(connection) == len(migrations):
        return
    with transaction(connection):
        found = format_of(connection)
        if found > len(migrations) or (not found and _occupied(connection)):
            raise FormatError(f"expected a traffic log of format {len(migrations)} or older, got {_name(found)}")
        for step in migrations[found:]:
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(migrations)}")


def format_of(connection: sqlite3.Connection) -> int:
    """The number of the file's format; 0 of a file that is new, or no log."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _occupied(connection: sqlite3.Connection) -> bool:
    return connection.execute("SELECT 1 FROM sqlite_master").fetchone() is not None


def _name(found: int) -> str:
    return f"format {found}" if found else "another database"


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All that happens within, or none of it."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # a full disk has rolled back by itself
            connection.execute("ROLLBACK")
        raise


def insert(connection: sqlite3.Connection, rows: Sequence[tuple[Cell, ...]]) -> None:
    """Write the rows in one transaction."""
    with transaction(connection):
        append(connection, rows)


def append(connection: sqlite3.Connection, rows: Sequence[tuple[Cell, ...]]) -> None:
    """Write the rows, within a transaction."""
    start = 0
    for size in CHUNKS:
        while len(rows) - start >= size:
            connection.execute(_STATEMENTS[size], list(chain.from_iterable(rows[start : start + size])))
            start += size


def _insert_statement(size: int) -> str:
    marks = f"({', '.join('?' * len(COLUMNS))})"
    return f"INSERT INTO messages ({', '.join(COLUMNS)}) VALUES {', '.join([marks] * size)}"  # noqa: S608 - constants


_STATEMENTS = {size: _insert_statement(size) for size in CHUNKS}


def prune(connection: sqlite3.Connection, before: float, limit: int) -> int:
    """Delete at most `limit` of the oldest rows from before that time; how many there were."""
    oldest = "SELECT id FROM messages WHERE at < ? ORDER BY at LIMIT ?"
    with transaction(connection):
        return connection.execute(f"DELETE FROM messages WHERE id IN ({oldest})", (before, limit)).rowcount  # noqa: S608


def set_aside(path: Path) -> Path:
    """Move a corrupt file out of the way, with its write-ahead log, which must never meet a new file."""
    free = (n for n in range(1, ASIDE) if not _aside(path, n).exists())
    target = _aside(path, next(free, ASIDE))
    path.rename(target)
    with suppress(FileNotFoundError):
        path.with_name(f"{path.name}-wal").rename(f"{target}-wal")
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
    return target


def files_of(connection: sqlite3.Connection) -> tuple[Path, ...]:
    """The log, and the files beside it that belong to it, whether they exist or not."""
    path = path_of(connection).resolve()
    return path, *(path.with_name(f"{path.name}{suffix}") for suffix in ("-wal", "-shm", "-journal"))


def _aside(path: Path, n: int) -> Path:
    return path.with_name(f"{path.name}.corrupt-{n}")


def connect_to_read(path: Path) -> sqlite3.Connection:
    """Open the log for reading, beside whoever writes it."""
    if not path.exists():
        raise FormatError(f"{path}: {_NOT_THERE}")
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5, check_same_thread=False)
    try:
        _expect_log(path, connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _expect_log(path: Path, connection: sqlite3.Connection) -> None:
    found = format_of(connection)
    if not found and not _occupied(connection):
        raise FormatError(f"{path}: {_NOT_THERE}")
    if found != FORMAT:
        raise FormatError(f"{path}: expected a traffic log of format {FORMAT}, got {_name(found)}")


def path_of(connection: sqlite3.Connection) -> Path:
    """Where the log lies."""
    return Path(connection.execute("PRAGMA database_list").fetchone()[2])

"""The log's SQLite file: made, brought up to date, opened, set aside when it is corrupt."""

import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from gateway.traffic.log import FormatError as FormatError
from gateway.traffic.migrations import MIGRATIONS

FORMAT = len(MIGRATIONS)

BUSY_TIMEOUT = 1.0
PAGE = 16_384  # bytes; several messages fit on a page, and writing one costs a quarter less than with the default
ASIDE = 9
_NOT_THERE = "no traffic log there; expected one written by ocpp-gateway serve"


Connect = Callable[[Path], sqlite3.Connection]


CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


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


def has(connection: sqlite3.Connection, table: str) -> bool:
    """Whether there is such a table."""
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone() is not None


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

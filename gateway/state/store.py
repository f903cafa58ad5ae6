"""What must survive, on disk: the roster, answers, connectors, transactions, and what backends have yet to hear. One file.

It is the owner's alone (mode 0600): messages that wait for a backend carry idTags, and an answer may carry a parentIdTag.
"""

import os
import sqlite3
import struct
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import msgspec
import structlog

from gateway.roster import Charger, Registration
from translations.messages import Version

FORMAT = 3
_MIGRATIONS = (
    # 1
    """
    CREATE TABLE chargers (
        identity TEXT PRIMARY KEY COLLATE NOCASE, wire TEXT NOT NULL, version TEXT NOT NULL, last_seen REAL NOT NULL,
        peer TEXT NOT NULL, callback TEXT NOT NULL, boot TEXT, registration TEXT NOT NULL, interval INTEGER NOT NULL
    ) STRICT;
    """,
    # 2
    """
    ALTER TABLE chargers ADD COLUMN spelt TEXT NOT NULL DEFAULT '';
    CREATE TABLE answers (key BLOB PRIMARY KEY, at REAL NOT NULL, payload BLOB NOT NULL) STRICT, WITHOUT ROWID;
    CREATE INDEX answers_at ON answers (at);
    CREATE TABLE connectors (
        identity TEXT NOT NULL, connector INTEGER NOT NULL, transaction_id INTEGER NOT NULL, over INTEGER NOT NULL,
        PRIMARY KEY (identity, connector)
    ) STRICT, WITHOUT ROWID;
    """,
    # 3
    """
    ALTER TABLE chargers ADD COLUMN tenant TEXT NOT NULL DEFAULT '';
    CREATE TABLE letters (
        id INTEGER PRIMARY KEY, backend TEXT NOT NULL, charger TEXT NOT NULL, rank INTEGER NOT NULL, key BLOB NOT NULL,
        action TEXT NOT NULL, payload BLOB NOT NULL, at REAL NOT NULL, number INTEGER, attempts INTEGER NOT NULL,
        due REAL NOT NULL, dead TEXT, exchange TEXT NOT NULL
    ) STRICT;
    CREATE TABLE transactions (
        charger TEXT NOT NULL, number INTEGER NOT NULL, connector INTEGER, owner TEXT NOT NULL, begun REAL NOT NULL,
        over REAL, start BLOB, ids TEXT NOT NULL, PRIMARY KEY (charger, number)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX transactions_over ON transactions (over) WHERE over IS NOT NULL;
    CREATE TABLE numbers (
        kind TEXT NOT NULL, charger TEXT NOT NULL, ours INTEGER NOT NULL, backend TEXT NOT NULL, theirs TEXT NOT NULL,
        at REAL NOT NULL, PRIMARY KEY (kind, charger, ours)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE tags (key BLOB PRIMARY KEY, at REAL NOT NULL, until REAL NOT NULL) STRICT, WITHOUT ROWID;
    CREATE TABLE secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
    """,
)
_SAVE = "INSERT OR REPLACE INTO chargers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_KEEP = "INSERT OR REPLACE INTO answers VALUES (?, ?, ?)"
_FIND = "SELECT key, at, payload FROM answers WHERE key = ?"
_PRUNE = "DELETE FROM answers WHERE key IN (SELECT key FROM answers WHERE at < ? LIMIT ?)"
_CONNECT = "INSERT OR REPLACE INTO connectors VALUES (?, ?, ?, ?)"
_DISCONNECT = "DELETE FROM connectors WHERE identity = ? AND connector = ?"
_ENCODER = msgspec.json.Encoder(decimal_format="number")
_DECODER = msgspec.json.Decoder(float_hook=Decimal)


Row = tuple[str, tuple[Any, ...]]
"""One statement that writes, and its values. The statements stand with what they are of."""


_WAL_HEADER = struct.Struct(">IIII8s8x")  # magic, format, page size, number, salt, checksum
_WAL_FRAME = struct.Struct(">II8s8s")  # page, size of the file after a commit, salt, checksum

logger = structlog.get_logger(__name__)


class StateError(Exception):
    """The state file cannot be used; the text says why and which file."""


class Unwritable(StateError):
    """A value that no file takes; the disk is well."""


class Kept(NamedTuple):
    """An answer that is kept: the digest of what it answers, when (unix seconds), and its payload as JSON.

    Or, without a payload, that a charger has heard of a transaction.
    """

    key: bytes
    at: float
    payload: bytes


class Connector(NamedTuple):
    """What is known of a connector: its newest transaction, and whether that is over; None: nothing is known any more."""

    identity: str  # without case
    connector: int
    transaction: int | None
    over: bool


class StateStore:
    """The file. Its methods block: call them in threads. They may be called at once; those that write wait for each other."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None
        # Who looks up an answer does not wait for who writes, be it for a disk or for another process.
        self._reader: sqlite3.Connection | None = None
        self._writing, self._reading = Lock(), Lock()

    def open(self) -> None:
        """Open or create the file and bring it to the current format. Raises StateError."""
        try:
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
            written = _written(Path(f"{self._path}-wal"))
            self._db = self._connected()
            self._db.execute("PRAGMA journal_mode = WAL")
            self._judge_tail(self._db, written)
            self._db.execute("PRAGMA synchronous = FULL")
            self._migrate(self._db)
            self._reader = self._connected()
            self._reader.execute("PRAGMA query_only = ON")
        except (sqlite3.Error, OSError) as error:
            raise StateError(f"{self._path}: cannot be used as the state file: {error}") from None

    def _judge_tail(self, db: sqlite3.Connection, written: int) -> None:
        """SQLite leaves out what follows a damage of its log, and says nothing: it may be what was accepted last."""
        _, read, _ = db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        if max(read, 0) < written:
            reason = f"{self._path}-wal is damaged: {written - max(read, 0)} of its {written} pages cannot be read"
            logger.error("state.tail_lost", reason=reason)

    def load(self) -> list[Charger]:
        """Every charger that was saved. Raises StateError."""
        try:
            return [_charger(row) for row in self.read("SELECT * FROM chargers")]
        except (msgspec.DecodeError, ValueError) as error:
            raise self._unreadable(error) from None

    def save(self, chargers: Iterable[tuple[Any, ...]]) -> None:
        """Save rows made by `row`, all or none. Raises StateError."""
        with self._transaction() as db:
            db.executemany(_SAVE, chargers)

    def keep(self, answers: Iterable[Kept], connectors: Iterable[Connector] = (), rows: Iterable[Row] = ()) -> None:
        """Keep answers, the last that is said of each connector, and do what `rows` say, in order; all or none.

        On disk when it returns. Raises StateError.
        """
        newest = {(each.identity, each.connector): each for each in connectors}
        with self._transaction() as db:
            db.executemany(_KEEP, answers)
            db.executemany(_DISCONNECT, [place for place, each in newest.items() if each.transaction is None])
            db.executemany(_CONNECT, [each for each in newest.values() if each.transaction is not None])
            for statement, same in groupby(rows, itemgetter(0)):
                db.executemany(statement, [values for _, values in same])

    def find(self, key: bytes) -> Kept | None:
        """The answer that is kept under this digest. Raises StateError."""
        return next((Kept(*found) for found in self.read(_FIND, (key,))), None)

    def connectors(self, most: int) -> list[Connector]:
        """What is known of connectors, of so many at most. Raises StateError."""
        rows = self.read("SELECT identity, connector, transaction_id, over FROM connectors LIMIT ?", (most,))
        return [Connector(identity, connector, transaction, bool(over)) for identity, connector, transaction, over in rows]

    def prune(self, before: float, most: int) -> int:
        """Forget answers older than `before` (unix seconds), so many at most; says how many. Raises StateError."""
        with self._transaction() as db:
            return db.execute(_PRUNE, (before, most)).rowcount

    def close(self) -> None:
        """Close the file."""
        with self._writing, self._reading:
            for connection in (self._reader, self._db):
                if connection is not None:
                    connection.close()
            self._db = self._reader = None

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            raise StateError(f"{self._path}: not open")
        return self._db

    def _connected(self) -> sqlite3.Connection:
        return sqlite3.connect(self._path, timeout=5, isolation_level=None, check_same_thread=False)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._writing:
            db = self._open()
            try:
                db.execute("BEGIN IMMEDIATE")
                yield db
                db.execute("COMMIT")
            except sqlite3.Error as error:
                raise StateError(f"{self._path}: cannot be written: {error}") from None
            except (OverflowError, ValueError) as error:  # an integer of more than 64 bits, half of a surrogate pair
                raise Unwritable(f"{self._path}: expected values that SQLite can hold: {type(error).__name__}") from None
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")

    def read(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """What a query finds. Raises StateError."""
        with self._reading:
            if self._reader is None:
                raise StateError(f"{self._path}: not open")
            try:
                with closing(self._reader.execute(query, values)) as rows:
                    return rows.fetchall()
            except sqlite3.Error as error:
                raise self._unreadable(error) from None

    def _unreadable(self, error: Exception) -> StateError:
        return StateError(f"{self._path}: cannot be read as the state file: {error}")

    def _migrate(self, db: sqlite3.Connection) -> None:
        (version,) = db.execute("PRAGMA user_version").fetchone()
        if version > FORMAT:
            raise StateError(f"{self._path}: expected format {FORMAT} or older, got {version}, written by a newer gateway")
        for number, script in enumerate(_MIGRATIONS[version:], version + 1):
            db.executescript(f"BEGIN; {script} PRAGMA user_version = {number}; COMMIT;")


def row(charger: Charger) -> tuple[Any, ...]:
    """A charger as it is saved; made on the event loop, so that what is saved was true at one moment."""
    boot = None if charger.boot is None else _ENCODER.encode(charger.boot).decode()
    return (
        charger.identity,
        charger.wire,
        str(charger.version),
        charger.last_seen,
        charger.peer,
        charger.callback,
        boot,
        str(charger.registration),
        charger.interval,
        charger.spelt,
        charger.tenant,
    )


def _charger(saved: tuple[Any, ...]) -> Charger:
    identity, wire, version, last_seen, peer, callback, boot, registration, interval, spelt, tenant = saved
    return Charger(
        identity,
        wire,
        Version(version),
        last_seen=last_seen,
        peer=peer,
        callback=callback,
        boot=None if boot is None else _DECODER.decode(boot),
        registration=Registration(registration),
        interval=interval,
        spelt=spelt,
        tenant=tenant,
    )


def _written(log: Path) -> int:
    """Up to which page SQLite's write-ahead log has been committed, by the marks in it alone (sqlite.org/fileformat.html, 4)."""
    try:
        with log.open("rb") as file:
            header, size = file.read(_WAL_HEADER.size), os.fstat(file.fileno()).st_size
            if len(header) < _WAL_HEADER.size:
                return 0
            _, _, page, _, salt = _WAL_HEADER.unpack(header)
            step, last = _WAL_FRAME.size + max(page, 512), 0
            for n, at in enumerate(range(_WAL_HEADER.size, size - step + 1, step), 1):
                file.seek(at)
                _, commit, by, _ = _WAL_FRAME.unpack(file.read(_WAL_FRAME.size))
                if commit and by == salt:  # another salt: from before the log began anew
                    last = n
            return last
    except FileNotFoundError:
        return 0

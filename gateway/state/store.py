"""The roster on disk: one SQLite file that must survive, written off the event loop."""

import os
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec

from gateway.roster import Charger, Registration
from translations.messages import Version

FORMAT = 1
_MIGRATIONS = (
    # 1
    """
    CREATE TABLE chargers (
        identity TEXT PRIMARY KEY COLLATE NOCASE, wire TEXT NOT NULL, version TEXT NOT NULL, last_seen REAL NOT NULL,
        peer TEXT NOT NULL, callback TEXT NOT NULL, boot TEXT, registration TEXT NOT NULL, interval INTEGER NOT NULL
    ) STRICT;
    """,
)
_SAVE = "INSERT OR REPLACE INTO chargers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_ENCODER = msgspec.json.Encoder(decimal_format="number")
_DECODER = msgspec.json.Decoder(float_hook=Decimal)


class StateError(Exception):
    """The state file cannot be used; the text says why and which file."""


class StateStore:
    """The file. Its methods block; call them in a thread, one at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db: sqlite3.Connection | None = None

    def open(self) -> None:
        """Open or create the file and bring it to the current format. Raises StateError."""
        try:
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600))
            self._db = sqlite3.connect(self._path, timeout=5, isolation_level=None, check_same_thread=False)
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = FULL")
            self._migrate(self._db)
        except (sqlite3.Error, OSError) as error:
            raise StateError(f"{self._path}: cannot be used as the state file: {error}") from None

    def load(self) -> list[Charger]:
        """Every charger that was saved. Raises StateError."""
        try:
            with closing(self._open().execute("SELECT * FROM chargers")) as rows:
                return [_charger(row) for row in rows]
        except (sqlite3.Error, msgspec.DecodeError, ValueError) as error:
            raise StateError(f"{self._path}: cannot be read as the state file: {error}") from None

    def save(self, chargers: Iterable[tuple[Any, ...]]) -> None:
        """Save rows made by `row`, all or none. Raises StateError."""
        db = self._open()
        try:
            db.execute("BEGIN IMMEDIATE")
            db.executemany(_SAVE, chargers)
            db.execute("COMMIT")
        except sqlite3.Error as error:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise StateError(f"{self._path}: cannot be written: {error}") from None

    def close(self) -> None:
        """Close the file."""
        if self._db is not None:
            self._db.close()
            self._db = None

    def _open(self) -> sqlite3.Connection:
        if self._db is None:
            raise StateError(f"{self._path}: not open")
        return self._db

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
    )


def _charger(saved: tuple[Any, ...]) -> Charger:
    identity, wire, version, last_seen, peer, callback, boot, registration, interval = saved
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
    )

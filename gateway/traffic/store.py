"""Where the records go: a bounded queue that the event loop fills, and the one thread that writes it to the file.

What cannot be written is kept in the queue while it has room, tried again later, and then shed and counted. Nothing
of this ever blocks or fails whoever records.
"""

import random
import sqlite3
import time
from collections import deque
from pathlib import Path
from threading import Condition, Event, Thread

import structlog

from gateway.traffic import file
from gateway.traffic.record import Record
from gateway.traffic.row import to_columns

BATCH = 8000  # a transaction writes each page that it touches once, so the fewer the better
AT_ONCE = 512  # rows made while the event loop waits for the interpreter's lock
QUEUE_BYTES = 64 << 20
FLUSH_EVERY = 0.25
PRUNE_EVERY = 60.0
PRUNE_LIMIT = 10_000  # more than a batch, so that pruning keeps up with writing
RETRY_FIRST = 0.25
RETRY_MOST = 60.0

_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_ROWS_AT_FAULT = (None, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_CONSTRAINT)

_log = structlog.get_logger("traffic")


class TrafficStore:
    """The traffic log, written. `record` is a Tap."""

    def __init__(
        self,
        path: Path,
        queue: int = 20_000,
        keep: float = 30 * 86400,
        *,
        connect: file.Connect = file.connect,
    ) -> None:
        self.path = path
        self.fault: str | None = None
        self._room = queue
        self._limit = queue
        self._keep = keep
        self._connect = connect
        self._connection: sqlite3.Connection | None = None
        self._queue: deque[Record] = deque()
        self._batch: list[Record] = []
        # Each count has one writer: the first of each pair whoever records, the second the thread.
        self._bytes_in = self._bytes_out = 0
        self._refused = self._dropped = 0
        self._wake = Event()
        self._written = Condition()
        self._thread: Thread | None = None
        self._until = float("inf")
        self._delay = 0.0
        self._retry_at = 0.0
        self._prune_at = 0.0

    @property
    def depth(self) -> int:
        """How many records wait to be written."""
        return len(self._queue) + len(self._batch)

    @property
    def shed(self) -> int:
        """How many records were thrown away."""
        return self._refused + self._dropped

    def record(self, record: Record) -> None:
        """Queue the record; without room, shed it."""
        queue = self._queue
        if len(queue) >= self._limit or self._bytes_in - self._bytes_out >= QUEUE_BYTES:
            self._refused += 1
            return
        queue.append(record)
        self._bytes_in += len(record.raw)
        if len(queue) == BATCH:
            self._wake.set()

    def open(self) -> None:
        """Begin to write; the file is made by the thread, and what is wrong with it is a fault, not an exception."""
        self._limit, self._until = self._room, float("inf")
        self._thread = Thread(target=self._work, name="traffic", daemon=True)
        self._thread.start()

    def close(self, deadline: float = 5.0) -> None:
        """Write what is queued, as far as the deadline allows, and shed the rest and all that still comes."""
        self._limit = 0
        self._until = time.monotonic() + deadline
        self._wake.set()
        if self._thread is not None:
            self._thread.join(deadline + 2 * file.BUSY_TIMEOUT)

    def flush(self, deadline: float = 5.0) -> bool:
        """Wait until nothing is queued, or until the deadline; whether nothing is."""
        with self._written:
            self._wake.set()
            return self._written.wait_for(lambda: not self.depth, deadline)

    @property
    def _closing(self) -> bool:
        return self._limit == 0

    def _work(self) -> None:
        while not self._closing:
            self._drain()
            self._wake.wait(FLUSH_EVERY)
            self._wake.clear()
        self._drain()
        self._dropped += self.depth
        self._queue.clear()
        self._batch.clear()
        self._disconnect()

    def _drain(self) -> None:
        while self._may_try() and self._step() and self.depth:
            pass

    def _may_try(self) -> bool:
        now = time.monotonic()
        return now < self._until if self._closing else now >= self._retry_at

    def _step(self) -> bool:
        """One batch; whether to go on at once."""
        try:
            connection = self._connected()
            self._write(connection)
            self._prune(connection)
        except sqlite3.Error as error:
            self._failed(error)
        except (OSError, file.FormatError) as error:
            self._wait(_reason(error))
        else:
            self._recovered()
        return not self._retry_at

    def _connected(self) -> sqlite3.Connection:
        if self._connection is not None and not self.path.exists():
            self._disconnect()  # somebody threw the log away
        if self._connection is None:
            self._connection = self._connect(self.path)
        return self._connection

    def _write(self, connection: sqlite3.Connection) -> None:
        if not self._batch:
            self._batch = [self._queue.popleft() for _ in range(min(BATCH, len(self._queue)))]
        if self._batch:
            with file.transaction(connection):
                for start in range(0, len(self._batch), AT_ONCE):
                    file.append(connection, [to_columns(r) for r in self._batch[start : start + AT_ONCE]])
            self._done()

    def _done(self) -> None:
        with self._written:
            self._bytes_out += sum(len(r.raw) for r in self._batch)
            self._batch = []
            self._written.notify_all()

    def _prune(self, connection: sqlite3.Connection) -> None:
        if time.monotonic() < self._prune_at:
            return
        if file.prune(connection, time.time() - self._keep, PRUNE_LIMIT) < PRUNE_LIMIT:
            self._prune_at = time.monotonic() + PRUNE_EVERY

    def _failed(self, error: sqlite3.Error) -> None:
        code = getattr(error, "sqlite_errorcode", None)
        code = code if code is None else code & 0xFF  # the extended codes carry the primary one below
        if code in _ROWS_AT_FAULT:
            self._drop_batch(error)
        elif code in _CORRUPT:
            self._begin_anew(error)
        else:
            self._wait(_reason(error))

    def _drop_batch(self, error: sqlite3.Error) -> None:
        _log.error("traffic cannot be stored, shed", records=len(self._batch), reason=_reason(error))
        self._dropped += len(self._batch)
        self._done()

    def _begin_anew(self, error: sqlite3.Error) -> None:
        self._disconnect()
        try:
            aside = file.set_aside(self.path)
        except OSError as cause:
            self._wait(_reason(cause))
            return
        _log.error("traffic log is corrupt, begun anew", path=str(self.path), aside=str(aside), reason=_reason(error))
        first = not self._delay
        self._back_off()
        if first:
            self._retry_at = 0.0

    def _wait(self, reason: str) -> None:
        self._disconnect()
        if self.fault != reason:
            _log.error("traffic log cannot be written", path=str(self.path), reason=reason)
        self.fault = reason
        self._back_off()

    def _back_off(self) -> None:
        self._delay = min(2 * self._delay or RETRY_FIRST, RETRY_MOST)
        self._retry_at = time.monotonic() + self._delay * random.uniform(0.5, 1)  # noqa: S311 - jitter, no secret

    def _recovered(self) -> None:
        if self.fault is not None:
            _log.info("traffic log is written again", path=str(self.path), shed=self.shed)
        self.fault = None
        self._delay = self._retry_at = 0.0

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return text[:1].lower() + text[1:]

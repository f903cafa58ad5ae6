"""Where the records go: a bounded queue that the event loop fills, and the one thread that stores them as exchanges.

What cannot be written is kept in the queue while it has room, tried again later, and then shed and counted. Nothing
of this ever blocks or fails whoever records.
"""

import math
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from threading import Condition, Event, Thread

import structlog

from gateway.traffic import file
from gateway.traffic.assembly import Assembly, Group, assembled, gap
from gateway.traffic.exchanges import Exchange, Finding
from gateway.traffic.log import Corrupt, LogError, TrafficWriter, Unfit
from gateway.traffic.record import Record
from gateway.traffic.writer import Keeping, LogWriter

BATCH = 8000  # records; a transaction writes each page that it touches once, so the fewer the better
QUEUE_BYTES = 64 << 20
FLUSH_EVERY = 0.25
PRUNE_EVERY = 5.0
PRUNE_LIMIT = 5_000  # more exchanges than a batch has, so that pruning keeps up with writing
MAX_SIZE = 10 << 30
RETRY_FIRST = 0.25
RETRY_MOST = 60.0

Observe = Callable[[Exchange], Sequence[Finding]]
"""Says what is remarkable about an exchange, in the thread that writes, before it is stored. One that has an id was stored
before, and more of it has come since. Never raises."""

_log = structlog.get_logger("traffic")


class TrafficStore:
    """The traffic log, written. `record` is a Tap."""

    def __init__(
        self,
        path: Path,
        queue: int = 20_000,
        keep: float = 30 * 86400,
        *,
        max_size: int = MAX_SIZE,
        keeping: Keeping = Keeping(),  # noqa: B008 - a tuple
        observe: Observe | None = None,
        connect: file.Connect = file.connect,
        open_log: Callable[[], TrafficWriter] | None = None,
    ) -> None:
        self.path = path
        self.fault: str | None = None
        self._room = queue
        self._limit = queue
        self._keep, self._max_size = keep, max_size
        self._observe = observe
        self._open_log = open_log or partial(LogWriter, path, keeping, connect)
        self._log: TrafficWriter | None = None
        self._queue: deque[Record] = deque()
        self._assembly = Assembly()
        self._batch: list[Group] = []
        self._made: list[Exchange] | None = None  # of the batch, once and not for each attempt to write it
        # Each count has one writer: the first of each pair whoever records, the second the thread.
        self._bytes_in = self._bytes_out = 0
        self._refused = self._dropped = 0
        self._told = 0  # of those that were shed, how many the log tells of
        self._wake = Event()
        self._written = Condition()
        self._flushing = False
        self._thread: Thread | None = None
        self._until = float("inf")
        self._delay = 0.0
        self._retry_at = 0.0
        self._prune_at = 0.0

    @property
    def depth(self) -> int:
        """How many records, and exchanges of them, wait to be written."""
        return len(self._queue) + len(self._assembly) + len(self._batch)

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
        """Begin to write; the log is opened by the thread, and what is wrong with it is a fault, not an exception."""
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
        """Wait until nothing is queued, exchanges under way included, or until the deadline; whether nothing is."""
        with self._written:
            self._flushing = True
            self._wake.set()
            try:
                return self._written.wait_for(lambda: not self.depth, deadline)
            finally:
                self._flushing = False

    @property
    def _closing(self) -> bool:
        return self._limit == 0

    def _work(self) -> None:
        while not self._closing:
            self._drain()
            self._wake.wait(FLUSH_EVERY)
            self._wake.clear()
        self._drain()
        self._dropped += sum(len(group.records) for group in (*self._batch, *self._assembly.take(math.inf))) + len(self._queue)
        self._queue.clear()
        self._batch, self._made = [], None
        self._disconnect()

    def _drain(self) -> None:
        while self._may_try() and self._step() and (self._queue or self._batch or (self._hurried and self.depth)):
            pass

    @property
    def _hurried(self) -> bool:
        """Whether exchanges under way are to be written as they are."""
        return self._closing or self._flushing

    def _may_try(self) -> bool:
        now = time.monotonic()
        return now < self._until if self._closing else now >= self._retry_at

    def _step(self) -> bool:
        """One batch; whether to go on at once."""
        try:
            log = self._opened()
            self._write(log)
            self._prune(log)
        except Unfit as error:
            self._drop_batch(error)
        except Corrupt as error:
            self._begin_anew(error)
        except LogError as error:
            self._wait(str(error))
        except Exception as error:  # noqa: BLE001 - a mistake of ours, or a value that no store takes, must not end the log
            _log.exception("traffic.failed")
            if self._batch:
                self._drop_batch(Unfit(type(error).__name__))
            else:
                self._wait(f"the gateway failed: {type(error).__name__}")
        else:
            self._recovered()
        return not self._retry_at

    def _opened(self) -> TrafficWriter:
        if self._log is not None and not self._log.there():
            self._disconnect()  # somebody threw the log away
        if self._log is None:
            self._log = self._open_log()
        return self._log

    # --- writing

    def _write(self, log: TrafficWriter) -> None:
        if not self._batch:
            self._batch = self._next_batch()
        shed = self.shed - self._told
        if self._batch or shed:
            if self._made is None:
                self._made = self._exchanges(log)
            log.write([gap(time.time(), shed), *self._made] if shed else self._made)
            self._told += shed
            self._recovered()  # before anybody hears that it is written
            self._done()

    def _next_batch(self) -> list[Group]:
        queue, now = self._queue, time.monotonic()
        self._assembly.add([queue.popleft() for _ in range(min(BATCH, len(queue)))], now)
        return self._assembly.take(math.inf if self._hurried and not queue else now)

    def _exchanges(self, log: TrafficWriter) -> list[Exchange]:
        """The batch, each exchange once; what belongs to one that is stored already is added to it."""
        known = log.named({group.name for group in self._batch if not group.begins})
        made: dict[object, Exchange] = {}
        for group in self._batch:
            key = group.name or group
            made[key] = assembled(group.records, made.get(key) or known.get(group.name))
        if self._observe is not None:
            for exchange in made.values():
                if found := self._observe(exchange):
                    exchange.findings = tuple(dict.fromkeys((*exchange.findings, *found)))
        return list(made.values())

    def _done(self) -> None:
        with self._written:
            self._bytes_out += sum(group.size for group in self._batch)
            self._batch, self._made = [], None
            self._written.notify_all()

    def _prune(self, log: TrafficWriter) -> None:
        if time.monotonic() < self._prune_at:
            return
        if log.prune(time.time() - self._keep, self._max_size, PRUNE_LIMIT) < PRUNE_LIMIT:
            self._prune_at = time.monotonic() + PRUNE_EVERY

    # --- what goes wrong

    def _drop_batch(self, error: LogError) -> None:
        dropped = sum(len(group.records) for group in self._batch)
        _log.error("traffic cannot be stored, shed", records=dropped, reason=str(error))
        self._dropped += dropped
        self._done()

    def _begin_anew(self, error: LogError) -> None:
        self._disconnect()
        try:
            aside = file.set_aside(self.path)
        except OSError as cause:
            self._wait((cause.strerror or str(cause)).lower())
            return
        _log.error("traffic log is corrupt, begun anew", path=str(self.path), aside=str(aside), reason=str(error))
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
        if self._log is not None:
            self._log.close()
            self._log = None

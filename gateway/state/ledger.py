"""Answers on their way to disk: one writer, and whoever waits for the disk shares its commits.

While the disk fails nobody waits for it: what could not be written stays in the queue while that has room, and is tried
again. One line in the log says when that begins, one when it is over.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from itertools import islice
from typing import NamedTuple

import structlog

from gateway.state.store import Connector, Kept, StateError, StateStore

BATCH = 1_000  # entries in one commit
PATIENCE = 6.0  # seconds that a charger waits for the disk; longer than SQLite waits for another process
PORTION = 1_000  # rows pruned in one commit
PRUNE_EVERY = 60.0
QUEUE = 30_000
RETRY = 1.0  # seconds until a disk that failed is tried again

logger = structlog.get_logger(__name__)


class _Entry(NamedTuple):
    """What is to be written together, and who waits for it."""

    kept: tuple[Kept, ...]
    connectors: Sequence[Connector]
    written: asyncio.Future[None] | None


class Ledger:
    """Writes to the state file, in the order it is told, and looks up in it. A disk that fails is a fault, not an exception."""

    def __init__(self, store: StateStore, remember: float, clock: Callable[[], float] = time.time) -> None:
        self.fault = ""  # why the disk cannot be written
        self.lost = 0  # entries for which the queue had no room, or that no disk took before the end
        self._store, self._remember, self._clock = store, remember, clock
        self._queue: deque[_Entry] = deque()
        self._wake, self._stop = asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._prune_at = 0.0
        self._unreadable = False

    async def open(self, most: int) -> list[Connector]:
        """Begin; says what is known of connectors, of so many at most. The store is open. Raises StateError."""
        known = await asyncio.to_thread(self._store.connectors, most)
        self._task = asyncio.create_task(self._work())
        self._task.add_done_callback(self._ended)
        return known

    async def close(self, deadline: float = 10.0) -> None:
        """Write what is queued, if the disk takes it, within so many seconds."""
        self._stop.set()
        self._wake.set()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=deadline)
            self._task.cancel()
            await asyncio.wait({self._task})

    async def keep(self, kept: Kept, connectors: Sequence[Connector] = ()) -> None:
        """Back as soon as it is on disk, or as it is clear that it cannot be."""
        written = asyncio.get_running_loop().create_future()
        self._put(_Entry((kept,), connectors, written))
        if self.fault:
            return
        await asyncio.wait({written}, timeout=PATIENCE)
        if not written.done():
            self._failed(f"no commit in {PATIENCE:g} s")

    def note(self, connectors: Sequence[Connector], kept: tuple[Kept, ...] = ()) -> None:
        """Have it written by and by."""
        if connectors or kept:
            self._put(_Entry(kept, connectors, None))

    async def find(self, key: bytes) -> Kept | None:
        """What is on disk under this digest; nothing where the disk does not tell in time."""
        try:
            async with asyncio.timeout(PATIENCE):
                kept = await asyncio.to_thread(self._store.find, key)
        except (StateError, TimeoutError) as error:
            if not self._unreadable:
                logger.error("transactions.unreadable", reason=str(error) or f"no row in {PATIENCE:g} s")
            self._unreadable = True
            return None
        self._unreadable = False
        return kept

    def _put(self, entry: _Entry) -> None:
        if len(self._queue) >= QUEUE:
            self._failed(f"{QUEUE} entries wait to be written")
            self.lost += 1
            return
        self._queue.append(entry)
        self._wake.set()

    # --- the writer

    async def _work(self) -> None:
        while self._queue or not self._stop.is_set():
            try:
                await self._turn()
            except StateError as error:
                self._failed(str(error))
                if self._stop.is_set():
                    return
                await _within(RETRY, self._stop)
            else:
                self._recovered()

    async def _turn(self) -> None:
        due = self._prune_at - asyncio.get_running_loop().time()
        if self._queue:
            await self._commit()
        elif due > 0:
            self._wake.clear()
            await _within(due, self._wake)
        if due <= 0:
            await self._prune()

    async def _commit(self) -> None:
        batch = list(islice(self._queue, BATCH))
        answers = [kept for entry in batch for kept in entry.kept]
        connectors = [connector for entry in batch for connector in entry.connectors]
        await asyncio.to_thread(self._store.keep, answers, connectors)
        for _ in batch:
            _release(self._queue.popleft())

    async def _prune(self) -> None:
        gone = await asyncio.to_thread(self._store.prune, self._clock() - self._remember, PORTION)
        if gone < PORTION:
            self._prune_at = asyncio.get_running_loop().time() + PRUNE_EVERY

    def _failed(self, reason: str) -> None:
        if not self.fault:
            logger.error("transactions.unwritable", reason=reason)
        self.fault = reason
        for entry in self._queue:
            _release(entry)

    def _recovered(self) -> None:
        if self.fault:
            logger.info("transactions.writable", lost=self.lost)
            self.fault = ""

    def _ended(self, task: asyncio.Task[None]) -> None:
        """Nobody waits for a writer that is no more."""
        fault = None if task.cancelled() else task.exception()
        self.lost += len(self._queue)
        if fault or self._queue:
            logger.error("transactions.unwritten", entries=len(self._queue), exc_info=fault)
        self.fault = self.fault or "the writer has ended"
        for entry in self._queue:
            _release(entry)


def _release(entry: _Entry) -> None:
    if entry.written is not None and not entry.written.done():
        entry.written.set_result(None)


async def _within(seconds: float, event: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return

"""What is on its way to the state file: one writer, and whoever waits for the disk shares its commits.

While the disk fails nobody waits for it: what could not be written stays in the queue while that has room, and is tried
again; but what counts only once it is on disk is refused instead. One line in the log says when that begins, one when it is over.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from gateway.state.store import Connector, Kept, Row, StateError, StateStore, Unwritable

BATCH = 1_000  # entries in one commit
PATIENCE = 6.0  # seconds that a charger waits for the disk; longer than SQLite waits for another process
PORTION = 1_000  # rows pruned in one commit
PRUNE_EVERY = 60.0
QUEUE = 30_000
RETRY = 1.0  # seconds until a disk that failed is tried again

logger = structlog.get_logger(__name__)


class _Entry:
    """What is to be written together, and who waits for it."""

    __slots__ = ("connectors", "kept", "landed", "rows", "strict", "written")

    def __init__(
        self,
        kept: Sequence[Kept] = (),
        connectors: Sequence[Connector] = (),
        rows: Sequence[Row] = (),
        *,
        waits: bool = False,
        strict: bool = False,
        landed: Callable[[bool], None] | None = None,
    ) -> None:
        self.kept, self.connectors, self.rows, self.strict, self.landed = kept, connectors, rows, strict, landed
        self.written: asyncio.Future[bool] | None = asyncio.get_running_loop().create_future() if waits else None

    def release(self, written: bool) -> None:
        """Whoever waits need not wait any more."""
        if self.written is not None and not self.written.done():
            self.written.set_result(written)

    def settle(self, written: bool) -> None:
        """It is on disk, or never will be."""
        self.release(written)
        if self.landed is not None:
            self.landed(written)


class Ledger:
    """Writes to the state file, in the order it is told, and looks up in it. A disk that fails is a fault, not an exception."""

    def __init__(self, store: StateStore, remember: float, clock: Callable[[], float] = time.time) -> None:
        self.fault = ""  # why the disk cannot be written
        self.lost = 0  # entries for which the queue had no room, or that no disk took before the end
        self._store, self._remember, self._clock = store, remember, clock
        self._queue: deque[_Entry] = deque()
        self._batch: list[_Entry] = []  # being written now
        self._wake, self._stop = asyncio.Event(), asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._prune_at = 0.0
        self._singly = 0  # entries that are written one by one
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

    async def keep(self, *kept: Kept, connectors: Sequence[Connector] = (), rows: Sequence[Row] = ()) -> None:
        """Back as soon as it is on disk, or as it is clear that it cannot be."""
        entry = _Entry(kept, connectors, rows, waits=True)
        self._put(entry)
        if not self.fault:
            await self._written(entry)

    async def accept(
        self,
        rows: Sequence[Row],
        *kept: Kept,
        connectors: Sequence[Connector] = (),
        landed: Callable[[bool], None] | None = None,
    ) -> None:
        """Back once it is on disk. Raises StateError if it is not, or not yet.

        `landed` hears, once, whether it came to disk in the end: with a disk that hangs that is known after the error only.
        """
        entry = _Entry(kept, connectors, rows, waits=True, strict=True, landed=landed)
        self._put(entry)
        if not await self._written(entry):
            raise StateError(self.fault or "the state file cannot be written")

    async def _written(self, entry: _Entry) -> bool:
        assert entry.written is not None
        await asyncio.wait({entry.written}, timeout=PATIENCE)
        if not entry.written.done():
            self._failed(f"no commit in {PATIENCE:g} s")
        return entry.written.done() and entry.written.result()

    def note(self, connectors: Sequence[Connector] = (), kept: Sequence[Kept] = (), rows: Sequence[Row] = ()) -> None:
        """Have it written by and by."""
        if connectors or kept or rows:
            self._put(_Entry(kept, connectors, rows))

    async def read(self, query: str, values: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
        """What a query finds in the file. Raises StateError."""
        try:
            async with asyncio.timeout(PATIENCE):
                return await asyncio.to_thread(self._store.read, query, values)
        except TimeoutError:
            raise StateError(f"no row in {PATIENCE:g} s") from None

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
        if len(self._batch) + len(self._queue) >= QUEUE or (self._task is not None and self._task.done()):
            self._failed(self.fault or f"{QUEUE} entries wait to be written")
            self.lost += not entry.strict
            entry.settle(False)
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
        batch = self._batch = [self._queue.popleft() for _ in range(min(BATCH if not self._singly else 1, len(self._queue)))]
        self._singly = max(self._singly - 1, 0)
        answers = [kept for entry in batch for kept in entry.kept]
        connectors = [connector for entry in batch for connector in entry.connectors]
        rows = [row for entry in batch for row in entry.rows]
        written = False
        try:
            await asyncio.to_thread(self._store.keep, answers, connectors, rows)
            written = True
        except Unwritable as error:
            self._unwritable(batch, error)
        finally:
            self._batch = []
            if not written:  # first again; but for those that were to be there at once, or not at all
                self._queue.extendleft(entry for entry in reversed(batch) if not entry.strict)
            for entry in batch:
                if written or entry.strict:
                    entry.settle(written)

    def _unwritable(self, batch: list[_Entry], error: Unwritable) -> None:
        """One entry must not keep the others from the disk: they are written one by one, and that one not at all."""
        if len(batch) > 1:
            self._singly = len(batch)
            return
        logger.error("transactions.unwritable_entry", reason=str(error))
        self.lost += not batch[0].strict
        batch.pop().settle(False)

    async def _prune(self) -> None:
        gone = await asyncio.to_thread(self._store.prune, self._clock() - self._remember, PORTION)
        if gone < PORTION:
            self._prune_at = asyncio.get_running_loop().time() + PRUNE_EVERY

    def _failed(self, reason: str) -> None:
        """Nobody waits for a disk that fails; of what it may be writing now nobody knows what becomes of it."""
        if not self.fault:
            logger.error("transactions.unwritable", reason=reason)
        self.fault = reason
        for entry in (*self._batch, *self._queue):
            entry.release(False)
        strict = [entry for entry in self._queue if entry.strict]
        if strict:
            self._queue = deque(entry for entry in self._queue if not entry.strict)
        for entry in strict:
            entry.settle(False)

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
            entry.settle(False)


async def _within(seconds: float, event: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return

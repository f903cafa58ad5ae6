"""gateway.state.ledger: what is on disk when, and what happens while the disk fails."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import closing
from pathlib import Path
from threading import Event

import pytest
from structlog.testing import capture_logs

from gateway.state import ledger as module
from gateway.state.ledger import Ledger
from gateway.state.store import Connector, Kept, Row, StateStore
from tests.peers.seen import DEADLINE

NOW = 1_714_550_400.0
OPEN = Connector("cp-1", 1, 7, False)


def kept(n: int, at: float = NOW) -> Kept:
    return Kept(n.to_bytes(32, "big"), at, b'{"transactionId":%d}' % n)


class Slow(StateStore):
    """The store on a disk that writes only while it `may`. Says when it began to, and what it wrote with each commit."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.may, self.begun = Event(), Event()
        self.may.set()
        self.commits: list[int] = []

    def keep(self, answers: Iterable[Kept], connectors: Iterable[Connector] = (), rows: Iterable[Row] = ()) -> None:
        answers = list(answers)
        self.begun.set()
        assert self.may.wait(DEADLINE)
        super().keep(answers, connectors, rows)
        self.commits.append(len(answers))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
async def store(path: Path) -> AsyncIterator[Slow]:
    store = Slow(path)
    store.open()
    store._open().execute("PRAGMA busy_timeout = 1")  # not the whole five seconds
    yield store
    store.close()


@pytest.fixture
async def ledger(store: Slow, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ledger]:
    monkeypatch.setattr(module, "RETRY", 0.01)
    ledger = Ledger(store, 3600, lambda: NOW)
    await ledger.open(100)
    yield ledger
    store.may.set()
    await ledger.close()


def answers(path: Path) -> set[bytes]:
    with closing(sqlite3.connect(path)) as db:
        return {key for (key,) in db.execute("SELECT key FROM answers")}


def full(store: StateStore) -> Callable[[], None]:
    """Fill the disk; what is given makes room again."""
    db = store._open()
    (pages,) = db.execute("PRAGMA page_count").fetchone()
    db.execute(f"PRAGMA max_page_count = {pages}")

    def make_room() -> None:
        db.execute("PRAGMA max_page_count = 1000000")

    return make_room


async def recovered(ledger: Ledger) -> None:
    """The next that is kept is on disk, and so is all before it."""
    async with asyncio.timeout(DEADLINE):
        while ledger.fault:
            await ledger.find(b"")


BIG = Kept(b"big", NOW, b"x" * 100_000)


async def test_it_is_on_disk_when_it_is_said_to_be(ledger: Ledger, path: Path) -> None:
    await ledger.keep(kept(1))
    assert answers(path) == {kept(1).key}
    assert await ledger.find(kept(1).key) == kept(1)
    assert await ledger.find(kept(2).key) is None


async def test_nobody_is_told_before(ledger: Ledger, store: Slow) -> None:
    store.may.clear()
    task = asyncio.create_task(ledger.keep(kept(1)))
    assert await asyncio.to_thread(store.begun.wait, DEADLINE)
    assert await asyncio.wait({task}, timeout=0.02) == (set(), {task})
    store.may.set()
    await asyncio.wait_for(task, DEADLINE)


async def test_those_who_wait_share_a_commit(ledger: Ledger, store: Slow, path: Path) -> None:
    store.may.clear()
    first = asyncio.create_task(ledger.keep(kept(0)))
    assert await asyncio.to_thread(store.begun.wait, DEADLINE)
    others = [asyncio.create_task(ledger.keep(kept(n))) for n in range(1, 200)]
    await asyncio.sleep(0)
    store.may.set()
    await asyncio.wait_for(asyncio.gather(first, *others), DEADLINE)
    assert store.commits == [1, 199]
    assert len(answers(path)) == 200


async def test_connectors_are_written_with_the_answer_or_by_and_by(ledger: Ledger, store: Slow, path: Path) -> None:
    await ledger.keep(kept(1), connectors=(OPEN, OPEN._replace(connector=2)))
    ledger.note((OPEN._replace(transaction=None),))
    ledger.note(())
    ledger.note((), (kept(2),))
    await ledger.close()
    assert store.connectors(10) == [OPEN._replace(connector=2)]
    assert len(answers(path)) == 2


async def test_what_was_queued_is_written_at_the_end(ledger: Ledger, store: Slow) -> None:
    for n in range(module.BATCH + 1):
        ledger.note((OPEN._replace(connector=n),))
    await ledger.close()
    assert len(store.connectors(10_000)) == module.BATCH + 1
    assert ledger.lost == 0


async def test_old_answers_are_pruned_in_portions(store: Slow, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PORTION", 10)
    store.keep([kept(n, NOW - 3601) for n in range(25)] + [kept(n, NOW - 3599) for n in range(25, 30)])
    ledger = Ledger(store, 3600, lambda: NOW)
    await ledger.open(100)
    async with asyncio.timeout(DEADLINE):
        while ledger._prune_at == 0:
            await ledger.find(b"")
    await ledger.close()
    assert answers(path) == {kept(n).key for n in range(25, 30)}


# --- a disk that fails


async def test_a_full_disk_keeps_nobody_waiting_and_is_told_once(ledger: Ledger, store: Slow) -> None:
    full(store)
    with capture_logs() as logs:
        await ledger.keep(BIG)
        await asyncio.wait_for(ledger.keep(kept(1)), DEADLINE)
    assert [(line["event"], line["log_level"]) for line in logs] == [("transactions.unwritable", "error")]
    assert logs[0]["reason"].endswith("state.db: cannot be written: database or disk is full")


async def test_what_a_full_disk_did_not_take_is_written_when_it_has_room(ledger: Ledger, store: Slow, path: Path) -> None:
    make_room = full(store)
    await ledger.keep(BIG)
    await ledger.keep(kept(1))
    make_room()
    with capture_logs() as logs:
        await recovered(ledger)
    assert answers(path) == {b"big", kept(1).key}
    assert [(line["event"], line["lost"]) for line in logs] == [("transactions.writable", 0)]


async def test_a_file_that_another_process_holds_is_written_later(ledger: Ledger, path: Path) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        await asyncio.wait_for(ledger.keep(kept(1)), DEADLINE)
        assert ledger.fault.endswith("database is locked")
        assert await ledger.find(kept(1).key) is None  # who reads does not wait for it
    await recovered(ledger)
    assert answers(path) == {kept(1).key}


async def test_a_disk_that_hangs_is_waited_for_only_so_long(
    ledger: Ledger, store: Slow, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE", 0.02)
    store.may.clear()
    await asyncio.wait_for(ledger.keep(kept(1)), DEADLINE)
    assert ledger.fault == "no commit in 0.02 s"
    store.may.set()
    await recovered(ledger)
    assert answers(path) == {kept(1).key}


async def test_the_queue_has_an_end(ledger: Ledger, store: Slow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "QUEUE", 2)
    store.may.clear()
    first = asyncio.create_task(ledger.keep(kept(0)))
    assert await asyncio.to_thread(store.begun.wait, DEADLINE)
    async with asyncio.timeout(DEADLINE):
        await asyncio.gather(first, *(ledger.keep(kept(n)) for n in range(1, 5)))
    assert (ledger.fault, ledger.lost) == ("2 entries wait to be written", 3)
    store.may.set()
    await recovered(ledger)


async def test_what_no_disk_took_before_the_end_is_counted(ledger: Ledger, store: Slow) -> None:
    full(store)
    await ledger.keep(BIG)
    with capture_logs() as logs:
        await ledger.close()
    assert [(line["event"], line["entries"]) for line in logs] == [("transactions.unwritten", 1)]
    await asyncio.wait_for(ledger.keep(kept(2)), DEADLINE)  # and whoever comes too late is not kept


async def test_a_file_that_cannot_be_read_knows_nothing_and_is_told_once(ledger: Ledger, path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.executescript("DROP TABLE answers")
    with capture_logs() as logs:
        assert [await ledger.find(b"1"), await ledger.find(b"2")] == [None, None]
    assert [line["event"] for line in logs] == ["transactions.unreadable"]
    assert "no such table" in logs[0]["reason"]


async def test_an_entry_that_no_file_takes_keeps_no_other_from_the_disk(ledger: Ledger, store: Slow) -> None:
    store.may.clear()
    first = asyncio.create_task(ledger.keep(kept(0)))
    assert await asyncio.to_thread(store.begun.wait, DEADLINE)
    odd = OPEN._replace(connector=2**70)
    others = [asyncio.create_task(ledger.keep(kept(n), connectors=(odd,) if n == 2 else ())) for n in range(1, 5)]
    await asyncio.sleep(0)
    store.may.set()
    await asyncio.wait_for(asyncio.gather(first, *others), DEADLINE)
    assert [n for n in range(5) if store.find(kept(n).key)] == [0, 1, 3, 4]
    assert (ledger.fault, ledger.lost) == ("", 1)

"""The store: everything recorded is written or counted, and nothing is ever felt by whoever records."""

import contextlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.traffic import file, query
from gateway.traffic.record import Record
from gateway.traffic.row import COLUMNS
from gateway.traffic.store import QUEUE_BYTES, TrafficStore
from translations.messages import Kind, Remark

NOW = 1_714_557_600.0
SAMPLE = Record(NOW, "x-1", "CP-1", "charger", "<", "soap", "1.5", "call", "Heartbeat", "m-1", b"<heartbeatRequest/>")
FOREVER = 1e12


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "traffic.db"


@pytest.fixture
def store(path: Path) -> Iterator[TrafficStore]:
    store = TrafficStore(path, keep=FOREVER)
    store.open()
    yield store
    store.close()


def rows(path: Path) -> list[query.Row]:
    with contextlib.closing(query.connect_to_read(path)) as log:
        return list(query.messages(log))


def test_what_was_recorded_is_read_back(store: TrafficStore, path: Path) -> None:
    remark = Remark(Kind.LOST, "chargeBoxSerialNumber", "not in 1.2", "drop")
    answer = SAMPLE._replace(kind="result", outcome="ok", latency=0.25, remarks=(remark,), peer="10.0.0.9", note="n")
    store.record(answer._replace(canonical=[3, "m-1", {"value": Decimal("1.50")}]))
    assert store.flush()
    [row] = rows(path)
    assert row.canonical == '[3,"m-1",{"value":1.50}]'
    assert Record(*row[1:]) == answer._replace(canonical=row.canonical)


def test_more_than_a_batch_is_written_in_order(store: TrafficStore, path: Path) -> None:
    for n in range(2345):
        store.record(SAMPLE._replace(message_id=str(n)))
    assert store.flush()
    assert [r.message_id for r in rows(path)] == [str(n) for n in range(2345)]


def test_odd_values_do_not_stop_the_log(store: TrafficStore, path: Path) -> None:
    looped: list[object] = []
    looped.append(looped)
    odd = [object(), {"s": "\ud800"}, Decimal("NaN"), {1: b"x"}, 2**80, looped]
    for value in odd:
        store.record(SAMPLE._replace(canonical=[2, value], action="\ud800\x00", raw=b"\xff\x00"))
    assert store.flush()
    assert [r.action for r in rows(path)] == ["\\ud800\x00"] * len(odd)
    assert [r.canonical is None for r in rows(path)] == [False] * 5 + [True]


def test_what_sqlite_cannot_take_is_shed_and_the_rest_goes_on(store: TrafficStore, path: Path) -> None:
    with capture_logs() as logs:
        store.record(SAMPLE._replace(raw=["no bytes"]))  # type: ignore[arg-type]
        assert store.flush()
    store.record(SAMPLE)
    assert store.flush()
    assert (store.shed, len(rows(path)), store.fault) == (1, 1, None)
    assert [entry["event"] for entry in logs] == ["traffic cannot be stored, shed"]


def test_a_full_queue_sheds_the_newest_and_counts(path: Path) -> None:
    store = TrafficStore(path, queue=2, keep=FOREVER)
    for n in range(5):
        store.record(SAMPLE._replace(message_id=str(n)))
    assert (store.depth, store.shed) == (2, 3)
    store.open()
    store.close()
    assert [r.message_id for r in rows(path)] == ["0", "1"]


def test_the_queue_is_bounded_in_bytes_too(path: Path) -> None:
    store = TrafficStore(path)
    big = SAMPLE._replace(raw=bytes(QUEUE_BYTES // 4))
    for _ in range(6):
        store.record(big)
    assert (store.depth, store.shed) == (4, 2)


def test_bytes_that_were_written_make_room(store: TrafficStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.traffic.store.QUEUE_BYTES", len(SAMPLE.raw))
    for _ in range(3):
        store.record(SAMPLE)
        assert store.flush()
    assert store.shed == 0


def test_close_writes_what_is_queued_and_sheds_what_comes_after(path: Path) -> None:
    store = TrafficStore(path, keep=FOREVER)
    store.open()
    for _ in range(3000):
        store.record(SAMPLE)
    store.close()
    store.record(SAMPLE)
    assert (len(rows(path)), store.depth, store.shed) == (3000, 0, 1)


def test_the_file_is_for_its_owner_only(store: TrafficStore, path: Path) -> None:
    store.record(SAMPLE)
    assert store.flush()
    assert {stat.S_IMODE(f.stat().st_mode) for f in path.parent.iterdir()} == {0o600}


def test_old_rows_are_pruned(path: Path) -> None:
    with contextlib.closing(file.connect(path)) as log:
        log.executemany("INSERT INTO messages SELECT NULL, ?" + ", ''" * (len(COLUMNS) - 1), [(1.0,)] * 2500)
    store = TrafficStore(path, keep=3600)
    store.open()
    store.record(SAMPLE._replace(at=time.time()))
    store.close()
    # a bounded delete for each batch: one on opening, and perhaps one before the end
    assert [r for r in rows(path) if r.at > 1]
    assert len(rows(path)) <= 501


KILLED = """
import os, signal, sys
from pathlib import Path
from gateway.traffic.record import Record
from gateway.traffic.store import TrafficStore
store = TrafficStore(Path(sys.argv[1]), keep=1e12)
store.open()
for n in range(1500):
    store.record(Record(float(n), "x", "CP", "charger", "<", "json", "1.6", "call", "Heartbeat", str(n), b"[]"))
assert store.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_leaves_all_that_was_flushed(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], timeout=60, cwd=Path(__file__).parents[1])
    assert done.returncode == -signal.SIGKILL
    assert len(rows(path)) == 1500


def test_a_reader_sees_rows_while_the_store_writes(store: TrafficStore, path: Path) -> None:
    store.record(SAMPLE)
    assert store.flush()
    with contextlib.closing(query.connect_to_read(path)) as log:
        reading = query.messages(log)
        assert next(reading).id == 1
        store.record(SAMPLE)
        assert store.flush()
        assert [r.id for r in query.messages(log)] == [1, 2]


def test_a_locked_log_keeps_its_records_until_it_is_free(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "BUSY_TIMEOUT", 0.05)
    with contextlib.closing(file.connect(path)) as other, capture_logs() as logs:
        other.execute("BEGIN IMMEDIATE")
        store = TrafficStore(path, keep=FOREVER)
        store.open()
        store.record(SAMPLE)
        assert not store.flush(0.5)
        assert (store.fault, store.depth) == ("database is locked", 1)
        other.execute("ROLLBACK")
        assert store.flush()
    assert (store.fault, store.shed) == (None, 0)
    assert [e["event"] for e in logs] == ["traffic log cannot be written", "traffic log is written again"]
    store.close()
    assert len(rows(path)) == 1


def small(pages: Iterator[int]) -> file.Connect:
    """A way to open the log on a disk that has room for so many pages, and at the next attempt for the next number."""

    def connect(path: Path) -> sqlite3.Connection:
        connection = file.connect(path)
        connection.execute(f"PRAGMA max_page_count = {next(pages)}")
        return connection

    return connect


def test_a_full_disk_is_a_fault_and_writing_goes_on_when_there_is_room(path: Path) -> None:
    with capture_logs() as logs:
        store = TrafficStore(path, queue=500, keep=FOREVER, connect=small(iter([20, 20, 10_000])))
        for _ in range(600):
            store.record(SAMPLE._replace(raw=bytes(1000)))
        store.open()
        assert store.flush(10)
    store.close()
    assert logs[0]["reason"] == "database or disk is full"
    assert (store.fault, store.shed, len(rows(path))) == (None, 100, 500)


def test_what_a_full_disk_never_took_is_counted_at_the_end(path: Path) -> None:
    with capture_logs():
        store = TrafficStore(path, keep=FOREVER, connect=small(iter([20] * 100)))
        store.open()
        for _ in range(600):
            store.record(SAMPLE._replace(raw=bytes(1000)))
        store.close()
    assert (store.shed, store.depth, store.fault) == (600, 0, "database or disk is full")
    assert rows(path) == []


def test_a_missing_directory_is_a_fault_until_it_is_there(path: Path) -> None:
    path = path.parent / "later" / "traffic.db"
    with capture_logs():
        store = TrafficStore(path, keep=FOREVER)
        store.open()
        store.record(SAMPLE)
        assert not store.flush(0.5)
        assert store.fault == "no such file or directory"
        path.parent.mkdir()
        assert store.flush()
    store.close()
    assert len(rows(path)) == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_directory_is_a_fault(path: Path) -> None:
    path.parent.chmod(0o500)
    store = TrafficStore(path)
    with capture_logs():
        store.open()
        store.record(SAMPLE)
        store.close()
    assert (store.fault, store.shed) == ("permission denied", 1)


def test_a_corrupt_file_is_moved_aside_and_a_new_one_begun(path: Path) -> None:
    path.write_bytes(b"no database at all, but long enough to be read as one" * 100)
    with capture_logs() as logs:
        store = TrafficStore(path, keep=FOREVER)
        store.open()
        store.record(SAMPLE)
        store.close()
    assert len(rows(path)) == 1
    assert path.with_name("traffic.db.corrupt-1").read_bytes().startswith(b"no database")
    assert [e["event"] for e in logs] == ["traffic log is corrupt, begun anew"]


def test_a_page_that_rots_while_the_log_is_closed_begins_a_new_one(path: Path) -> None:
    with contextlib.closing(file.connect(path)) as log:
        log.executemany("INSERT INTO messages SELECT NULL, ?" + ", 'text'" * (len(COLUMNS) - 1), [(1.0,)] * 500)
    damaged = path.read_bytes()
    path.write_bytes(damaged[:4096] + b"\xa5" * (len(damaged) - 4096))
    with capture_logs() as logs:
        store = TrafficStore(path, keep=FOREVER)
        store.open()
        store.record(SAMPLE)
        store.close()
    assert len(rows(path)) == 1
    assert [e["event"] for e in logs] == ["traffic log is corrupt, begun anew"]


def test_a_log_of_a_later_format_is_left_alone(path: Path) -> None:
    with contextlib.closing(file.connect(path)) as log:
        log.execute("PRAGMA user_version = 99")
    with capture_logs():
        store = TrafficStore(path)
        store.open()
        store.record(SAMPLE)
        store.close()
    assert store.fault == f"expected a traffic log of format {file.FORMAT} or older, got format 99"
    assert store.shed == 1


def test_a_log_that_is_thrown_away_while_it_is_written_is_begun_anew(store: TrafficStore, path: Path) -> None:
    store.record(SAMPLE)
    assert store.flush()
    path.unlink()
    store.record(SAMPLE._replace(message_id="m-2"))
    assert store.flush()
    assert [r.message_id for r in rows(path)] == ["m-2"]

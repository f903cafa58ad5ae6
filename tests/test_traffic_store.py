"""The store: everything recorded is written or counted, and nothing is ever felt by whoever records."""

import contextlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.traffic import file, query
from gateway.traffic.exchanges import Exchange, Finding, Half, Leg
from gateway.traffic.query import Filter
from gateway.traffic.record import Record
from gateway.traffic.store import QUEUE_BYTES, TrafficStore
from gateway.traffic.writer import Keeping
from tests.exchanges import write
from translations.messages import Kind, Remark

NOW = 1_714_557_600.0
SAMPLE = Record(NOW, "x-1", "CP-1", "charger", "<", "soap", "1.5", "call", "Heartbeat", "m-1", b"<heartbeatRequest/>")
ANSWER = SAMPLE._replace(direction=">", kind="result", message_id="m-2", raw=b"<ok/>", outcome="ok", latency=0.5)
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


def stored(path: Path) -> list[Exchange]:
    with contextlib.closing(query.open_to_read(path)) as log:
        return list(log.each(Filter()))


def named(n: object) -> Record:
    return SAMPLE._replace(exchange=str(n))


def test_what_was_recorded_is_read_back(store: TrafficStore, path: Path) -> None:
    remark = Remark(Kind.LOST, "chargeBoxSerialNumber", "not in 1.2", "drop")
    headers = (("content-type", "text/xml"), ("user-agent", "ä"))
    call = SAMPLE._replace(canonical=[2, "m-1", "Heartbeat", {"value": Decimal("1.50")}], remarks=(remark,), headers=headers)
    store.record(call._replace(peer="10.0.0.9", tenant="Acme"))
    store.record(ANSWER._replace(note="n", remarks=(remark, remark)))
    assert store.flush()
    [found] = stored(path)
    assert found == Exchange(
        *(1, "x-1", NOW, "CP-1", "Acme", "Heartbeat", True, "ok", 0.5),
        legs=[
            Leg(
                *("charger", True, "soap", "1.5", "10.0.0.9"),
                call=Half(NOW, SAMPLE.raw, b'[2,"m-1","Heartbeat",{"value":1.50}]', "m-1", (remark,), "", headers),
                answer=Half(NOW, b"<ok/>", None, "m-2", (remark, remark), "n"),
                outcome="ok",
                latency=0.5,
            )
        ],
    )


def test_what_comes_later_is_added_to_its_exchange(store: TrafficStore, path: Path) -> None:
    store.record(SAMPLE)
    assert store.flush()
    assert [(e.outcome, len(e.legs)) for e in stored(path)] == [("", 1)]
    for record in (ANSWER, SAMPLE._replace(at=NOW + 3600, leg="csms", direction=">", wire="json", raw=b"[2]")):
        store.record(record)
        assert store.flush()
    [found] = stored(path)
    assert (found.id, found.outcome, [leg.name for leg in found.legs]) == (1, "ok", ["charger", "csms"])
    assert [half.raw for half in (found.legs[0].call, found.legs[0].answer, found.legs[1].call) if half] == [
        *(SAMPLE.raw, b"<ok/>", b"[2]")
    ]


def test_an_exchange_is_written_in_a_moment_though_nobody_answers(store: TrafficStore, path: Path) -> None:
    store.record(SAMPLE)
    until = time.monotonic() + 20
    while store.depth and time.monotonic() < until:
        time.sleep(0.05)
    assert [e.outcome for e in stored(path)] == [""]


def test_more_than_a_batch_is_written_in_order(store: TrafficStore, path: Path) -> None:
    for n in range(2345):
        store.record(named(n))
        store.record(ANSWER._replace(exchange=str(n)))
    assert store.flush()
    assert [(e.id, e.name) for e in stored(path)] == [(n + 1, str(n)) for n in range(2345)]


def test_odd_values_do_not_stop_the_log(store: TrafficStore, path: Path) -> None:
    looped: list[object] = []
    looped.append(looped)
    odd = [object(), {"s": "\ud800"}, Decimal("NaN"), {1: b"x"}, 2**80, looped]
    for value in odd:
        call = SAMPLE._replace(exchange="", canonical=[2, value], action="\ud800\x00", raw=b"\xff\x00", note="\udc80")
        store.record(call)
    assert store.flush()
    found = stored(path)
    halves = [e.legs[0].call for e in found]
    assert [e.action for e in found] == ["\\ud800\x00"] * len(odd)
    assert [(h.canonical is None, h.raw) for h in halves if h] == [*[(False, b"\xff\x00")] * 5, (True, b"\xff\x00")]


def test_what_sqlite_cannot_take_is_shed_and_the_rest_goes_on(store: TrafficStore, path: Path) -> None:
    with capture_logs() as logs:
        store.record(SAMPLE._replace(peer=object()))  # type: ignore[arg-type]
        assert store.flush()
    store.record(named("x-2"))
    assert store.flush()
    assert (store.shed, store.fault, "x-2" in [e.name for e in stored(path)]) == (1, None, True)
    assert [entry["event"] for entry in logs] == ["traffic cannot be stored, shed"]


def test_what_was_shed_leaves_a_gap_that_is_seen(path: Path) -> None:
    store = TrafficStore(path, queue=2, keep=FOREVER)
    for n in range(5):
        store.record(named(n))
    store.open()
    assert store.flush()
    store.close()
    gap, *others = stored(path)[::-1]
    assert (gap.outcome, gap.legs[0].call and gap.legs[0].call.note) == (
        *("shed",),
        "3 messages were not recorded: the log could not keep up",
    )
    assert [e.name for e in others] == ["1", "0"]


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("full_text", [True, False])
def test_what_is_stored_does_not_depend_on_how(path: Path, compress: bool, full_text: bool) -> None:
    keeping = Keeping(full_text=full_text, compress=compress)
    write(path, *(SAMPLE._replace(exchange=str(n), raw=b"<a>%d</a>" % n * 100) for n in range(300)), keeping=keeping)
    assert [e.legs[0].call and e.legs[0].call.raw for e in stored(path)] == [b"<a>%d</a>" % n * 100 for n in range(300)]


def test_what_an_observer_finds_is_stored(path: Path) -> None:
    finding = Finding("no-boot", "warning", "no boot before traffic")
    store = TrafficStore(path, keep=FOREVER, observe=lambda exchange: [] if exchange.id else [finding])
    store.open()
    store.record(SAMPLE)
    assert store.flush()
    store.record(ANSWER)
    assert store.flush()
    store.close()
    assert [(e.outcome, e.findings) for e in stored(path)] == [("ok", (finding,))]


def test_a_full_queue_sheds_the_newest_and_counts(path: Path) -> None:
    store = TrafficStore(path, queue=2, keep=FOREVER)
    for n in range(5):
        store.record(named(n))
    assert (store.depth, store.shed) == (2, 3)
    store.open()
    store.close()
    assert [e.name for e in stored(path) if e.outcome != "shed"] == ["0", "1"]


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
    for n in range(3000):
        store.record(named(n))
    store.close()
    store.record(SAMPLE)
    assert (len(stored(path)), store.depth, store.shed) == (3000, 0, 1)


def test_the_file_is_for_its_owner_only(store: TrafficStore, path: Path) -> None:
    store.record(SAMPLE)
    assert store.flush()
    assert {stat.S_IMODE(f.stat().st_mode) for f in path.parent.iterdir()} == {0o600}


def test_old_exchanges_are_pruned(path: Path) -> None:
    write(path, *(named(n) for n in range(2500)))
    store = TrafficStore(path, keep=3600)
    store.open()
    store.record(SAMPLE._replace(at=time.time()))
    store.close()
    assert [e.name for e in stored(path)] == ["x-1"]


def test_a_log_that_grows_too_large_loses_its_oldest(path: Path) -> None:
    store = TrafficStore(path, keep=FOREVER, max_size=1 << 20, keeping=Keeping(compress=False))
    write(
        path,
        *(SAMPLE._replace(exchange=str(n), at=float(n), raw=os.urandom(2000)) for n in range(2500)),
        keeping=Keeping(compress=False),
    )
    store.open()
    assert store.flush()
    store.close()
    left = [int(e.name) for e in stored(path)]
    assert left == list(range(2500 - len(left), 2500))
    assert 200 < len(left) < 600


KILLED = """
import os, signal, sys
from pathlib import Path
from gateway.traffic.record import Record
from gateway.traffic.store import TrafficStore
store = TrafficStore(Path(sys.argv[1]), keep=1e12)
store.open()
for n in range(1500):
    store.record(Record(float(n), str(n), "CP", "charger", "<", "json", "1.6", "call", "Heartbeat", str(n), b"[]"))
assert store.flush()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_process_leaves_all_that_was_flushed(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], timeout=60, cwd=Path(__file__).parents[1])
    assert done.returncode == -signal.SIGKILL
    assert len(stored(path)) == 1500


def test_a_reader_sees_exchanges_while_the_store_writes(store: TrafficStore, path: Path) -> None:
    store.record(SAMPLE)
    assert store.flush()
    with contextlib.closing(query.open_to_read(path)) as log:
        reading = log.each(Filter())
        assert next(reading).id == 1
        store.record(named("x-2"))
        assert store.flush()
        assert [e.id for e in log.each(Filter())] == [1, 2]


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
    assert len(stored(path)) == 1


def small(pages: Iterator[int]) -> file.Connect:
    """A way to open the log on a disk that has room for so many pages, and at the next attempt for the next number."""

    def connect(path: Path) -> sqlite3.Connection:
        connection = file.connect(path)
        connection.execute(f"PRAGMA max_page_count = {next(pages)}")
        return connection

    return connect


def test_a_full_disk_is_a_fault_and_writing_goes_on_when_there_is_room(path: Path) -> None:
    with capture_logs() as logs:
        store = TrafficStore(path, queue=500, keep=FOREVER, connect=small(iter([40, 40, 10_000])))
        for n in range(600):
            store.record(SAMPLE._replace(exchange=str(n), raw=os.urandom(1000)))
        store.open()
        assert store.flush(10)
    store.close()
    assert logs[0]["reason"] == "database or disk is full"
    assert (store.fault, store.shed, len(stored(path))) == (None, 100, 501)


def test_what_a_full_disk_never_took_is_counted_at_the_end(path: Path) -> None:
    with capture_logs():
        store = TrafficStore(path, keep=FOREVER, connect=small(iter([40] * 100)))
        store.open()
        for n in range(600):
            store.record(SAMPLE._replace(exchange=str(n), raw=os.urandom(1000)))
        store.close()
    assert (store.shed, store.depth, store.fault) == (600, 0, "database or disk is full")
    assert stored(path) == []


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
    assert len(stored(path)) == 1


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
    assert len(stored(path)) == 1
    assert path.with_name("traffic.db.corrupt-1").read_bytes().startswith(b"no database")
    assert [e["event"] for e in logs] == ["traffic log is corrupt, begun anew"]


def test_a_page_that_rots_while_the_log_is_closed_begins_a_new_one(path: Path) -> None:
    write(path, *(named(n) for n in range(500)))
    damaged = path.read_bytes()
    path.write_bytes(damaged[:4096] + b"\xa5" * (len(damaged) - 4096))
    with capture_logs() as logs:
        store = TrafficStore(path, keep=FOREVER)
        store.open()
        store.record(SAMPLE)
        store.close()
    assert len(stored(path)) == 1
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
    store.record(named("x-2"))
    assert store.flush()
    assert [e.name for e in stored(path)] == ["x-2"]


def test_a_mistake_of_ours_costs_a_batch_and_not_the_log(tmp_path: Path) -> None:
    def fails(exchange: Exchange) -> Sequence[Finding]:
        raise OverflowError(exchange.name)

    store = TrafficStore(tmp_path / "log.db", observe=fails)
    store.open()
    with capture_logs() as logs:
        store.record(SAMPLE)
        assert store.flush()
    store.close()
    assert (store.shed, store.fault) == (1, None)
    assert [each["event"] for each in logs] == ["traffic.failed", "traffic cannot be stored, shed"]

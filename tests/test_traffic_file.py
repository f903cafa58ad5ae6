"""The file: formats and their migrations, pruning, what is set aside, what is refused to a reader."""

import contextlib
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.traffic import file, query
from gateway.traffic.exchanges import Exchange, Half
from gateway.traffic.language import parsed
from gateway.traffic.log import RemarkCount, Unfit
from gateway.traffic.migrations import MIGRATIONS
from gateway.traffic.query import Filter
from gateway.traffic.record import Record
from gateway.traffic.row import ExchangeRow, LegRow
from gateway.traffic.writer import Keeping, LogWriter
from tests.exchanges import exchanges, write
from translations.messages import Kind, Remark

# Format 1 as it was written; never changed, whatever later formats look like.
FORMAT_1 = """
    CREATE TABLE messages (
        id INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, exchange TEXT NOT NULL, charger TEXT NOT NULL,
        leg TEXT NOT NULL, direction TEXT NOT NULL, wire TEXT NOT NULL, version TEXT NOT NULL, kind TEXT NOT NULL,
        action TEXT NOT NULL, message_id TEXT NOT NULL, raw BLOB NOT NULL, canonical TEXT, remarks TEXT,
        outcome TEXT NOT NULL, latency REAL, peer TEXT NOT NULL, note TEXT NOT NULL
    );
    CREATE INDEX messages_at ON messages (at);
    CREATE INDEX messages_charger_at ON messages (charger, at);
    CREATE INDEX messages_exchange ON messages (exchange);
    INSERT INTO messages VALUES (7, 1.5, 'x-1', 'CP-1', 'charger', '<', 'soap', '1.5', 'result', 'Heartbeat', 'm-1',
        x'3c612f3e', '[3,"m-1",{}]', '[{"kind":"lost","path":"p","detail":"d","rule":"r"}]', 'ok', 0.5, 'peer', 'n');
    PRAGMA user_version = 1;
"""
# Format 2, with the messages of three exchanges: one whole, one with a letter that was sent twice, one refused.
FORMAT_2 = """
    ALTER TABLE messages ADD COLUMN tenant TEXT NOT NULL DEFAULT '';
    CREATE INDEX messages_tenant_at ON messages (tenant COLLATE NOCASE, at) WHERE tenant <> '';
    DELETE FROM messages;
    INSERT INTO messages VALUES
    (11, 1.0, 'x-1', 'CP-1', 'charger', '<', 'soap', '1.5', 'call', 'StartTransaction', 'm-1', x'3c612f3e',
        '[2,"m-1","StartTransaction",{"connectorId":2,"value":1.50}]', '[{"kind":"lost","path":"p","detail":"d","rule":"r"}]',
        '', NULL, 'peer', '', 'Acme'),
    (12, 1.1, 'x-1', 'CP-1', 'csms', '>', 'json', '1.6', 'call', 'StartTransaction', 'x-1', CAST('[2,"x-1"]' AS BLOB),
        NULL, NULL, '', NULL, '', '', 'Acme'),
    (13, 1.2, 'x-1', 'CP-1', 'csms', '<', 'json', '1.6', 'result', 'StartTransaction', 'x-1', x'5bff', NULL, NULL, 'ok', 0.1,
        '', '', 'Acme'),
    (14, 1.3, 'x-1', 'CP-1', 'charger', '>', 'soap', '1.5', 'result', 'StartTransaction', 'm-2', x'3c622f3e',
        '[3,"m-1",{"transactionId":4711}]', NULL, 'ok', 0.3, 'peer', '', 'Acme'),
    (15, 2.0, '', '', 'charger', '<', 'json', '', 'refused', '', '', x'ff00', NULL, NULL,
        'FormationViolation', NULL, '', 'bad', ''),
    (16, 3.0, 'x-2', 'CP-2', 'csms', '>', 'json', '1.6', 'call', 'StopTransaction', 'x-2', x'5b', NULL, NULL,
        '', NULL, '', '', ''),
    (17, 4.0, 'x-2', 'CP-2', 'csms', '>', 'json', '1.6', 'call', 'StopTransaction', 'x-2', x'5b', NULL, NULL,
        '', NULL, '', '', ''),
    (18, 5.0, 'x-2', 'CP-2', 'csms', '<', 'json', '1.6', 'error', 'StopTransaction', 'x-2', x'5b34', NULL, NULL,
        'GenericError', 1.0, '', 'no', '');
    PRAGMA user_version = 2;
"""
SAMPLE = Record(1.0, "x-1", "CP-1", "charger", "<", "soap", "1.5", "call", "Heartbeat", "m-1", b"<a/>")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "traffic.db"


@pytest.fixture
def log(path: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(file.connect(path)) as log:
        yield log


def build_format_1(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as old:
        old.executescript(FORMAT_1)


def layout(log: sqlite3.Connection) -> list[tuple[str, ...]]:
    found = log.execute("SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY name")
    return [(kind, name, " ".join(sql.split()).replace("( ", "(").replace(" )", ")")) for kind, name, sql in found]


def build_format_2(path: Path) -> None:
    build_format_1(path)
    with contextlib.closing(sqlite3.connect(path)) as old:
        old.executescript(FORMAT_2)


def stored(path: Path) -> list[Exchange]:
    with contextlib.closing(query.open_to_read(path)) as log:
        return list(log.each(Filter()))


@pytest.mark.parametrize("build", [build_format_1, build_format_2])
def test_an_older_format_is_brought_up_to_date(path: Path, tmp_path: Path, build: Callable[[Path], None]) -> None:
    build(path)
    with contextlib.closing(file.connect(path)) as old, contextlib.closing(file.connect(tmp_path / "new.db")) as new:
        assert file.format_of(old) == file.FORMAT
        assert layout(old) == layout(new)


def test_a_message_of_format_1_is_an_exchange(path: Path) -> None:
    build_format_1(path)
    file.connect(path).close()
    [found] = stored(path)
    half = Half(1.5, b"<a/>", b'[3,"m-1",{}]', "m-1", (Remark(Kind.LOST, "p", "d", "r"),), "n")
    assert (found.id, found.name, found.outcome, found.latency) == (7, "x-1", "ok", 0.5)
    assert found.legs[0].answer == half


def test_messages_of_format_2_are_brought_together(path: Path) -> None:
    build_format_2(path)
    file.connect(path).close()
    whole, refused, letter = stored(path)
    assert (whole.id, whole.name, whole.tenant, whole.connector, whole.transaction, whole.outcome, whole.latency, whole.up) == (
        *(11, "x-1", "Acme", 2, 4711),
        *("ok", 0.3, True),
    )
    remark = Remark(Kind.LOST, "p", "d", "r")
    frame = b'[2,"m-1","StartTransaction",{"connectorId":2,"value":1.50}]'
    charger, csms = whole.legs
    assert charger.call == Half(1.0, b"<a/>", frame, "m-1", (remark,))
    assert charger.answer == Half(1.3, b"<b/>", b'[3,"m-1",{"transactionId":4711}]', "m-2")
    assert (csms.inward, csms.call, csms.answer) == (
        False,
        Half(1.1, b'[2,"x-1"]', None, "x-1"),
        Half(1.2, b"[\xff", None, "x-1"),
    )
    assert (refused.id, refused.outcome, refused.legs[0].refused, refused.legs[0].call) == (
        *(15, "FormationViolation", True),
        Half(2.0, b"\xff\x00", note="bad"),
    )
    assert [(leg.attempt, leg.outcome) for leg in letter.legs] == [(1, "GenericError"), (2, "")]


def test_what_was_migrated_is_found_and_added_to(path: Path) -> None:
    build_format_2(path)
    with contextlib.closing(LogWriter(path)) as log:
        log.write(exchanges([SAMPLE]))
        assert log.named(["x-1", "x-3"])["x-1"].id == 19
    with contextlib.closing(query.open_to_read(path)) as reader:
        assert [e.id for e in reader.each(Filter(remark="lost"))] == [11]
        assert [e.id for e in reader.each(Filter(tree=parsed("payload.value == 1.5")))] == [11]
        assert reader.stats(Filter()).remarks == (RemarkCount("lost", "r", 1),)


def test_a_later_migration_is_applied_once(path: Path) -> None:
    build_format_1(path)
    steps = (*MIGRATIONS, ("ALTER TABLE exchanges ADD COLUMN weather TEXT",))
    with contextlib.closing(file.connect(path)) as log:
        file.migrate(log, steps)
        file.migrate(log, steps)
        assert file.format_of(log) == len(steps)
        assert log.execute("SELECT id, weather FROM exchanges").fetchall() == [(7, None)]


def test_a_migration_that_fails_changes_nothing(log: sqlite3.Connection) -> None:
    before = layout(log)
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        file.migrate(log, (*MIGRATIONS, ("DROP INDEX exchanges_at", "DROP TABLE nowhere")))
    assert (layout(log), file.format_of(log)) == (before, file.FORMAT)


def test_the_tables_have_the_fields_of_their_rows(log: sqlite3.Connection) -> None:
    for table, fields in (("exchanges", ExchangeRow._fields), ("legs", LegRow._fields)):
        assert tuple(row[1] for row in log.execute(f"PRAGMA table_info({table})")) == fields


def test_another_database_is_not_touched(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE chargers (identity TEXT)")
    before = path.read_bytes()
    with pytest.raises(file.FormatError, match="expected a traffic log of format 3 or older, got another database"):
        file.connect(path)
    assert path.read_bytes() == before


def many(count: int) -> list[Record]:
    return [SAMPLE._replace(exchange=str(n), at=float(n)) for n in range(count)]


@pytest.mark.parametrize("count", [0, 1, 7, 8, 63, 600, 1000])
def test_any_number_of_exchanges_is_written(path: Path, count: int) -> None:
    write(path, *many(count))
    assert [(e.id, e.at) for e in stored(path)] == [(n + 1, n) for n in range(count)]


def test_a_batch_is_written_whole_or_not_at_all(path: Path) -> None:
    batch = exchanges(many(20))
    batch[-1].charger = None  # type: ignore[assignment]
    with contextlib.closing(LogWriter(path)) as log:
        with pytest.raises(Unfit):
            log.write(batch)
        assert [e.id for e in batch] == [0] * 20
    assert stored(path) == []


def test_an_exchange_of_a_log_that_was_lost_keeps_its_number(path: Path) -> None:
    batch = exchanges(many(5))
    batch[3].id = 2  # stored in the file before this one
    with contextlib.closing(LogWriter(path)) as log:
        log.write(batch)
    assert sorted((e.id, e.name) for e in stored(path)) == [(2, "3"), (3, "0"), (4, "1"), (5, "2"), (6, "4")]


@pytest.mark.parametrize("full_text", [True, False])
def test_pruning_deletes_the_oldest_in_bounded_steps(path: Path, full_text: bool) -> None:
    write(path, *many(10), keeping=Keeping(full_text=full_text))
    with contextlib.closing(LogWriter(path, Keeping(full_text=full_text))) as log:
        assert [log.prune(7.0, 1 << 40, 4) for _ in range(3)] == [4, 3, 0]
    assert [e.at for e in stored(path)] == [7.0, 8.0, 9.0]


def test_pruning_leaves_nothing_behind(path: Path) -> None:
    write(path, *many(500), keeping=Keeping(full_text=True))
    with contextlib.closing(LogWriter(path, Keeping(full_text=True))) as log:
        assert log.prune(1e9, 1 << 40, 1000) == 500
    with contextlib.closing(file.connect_to_read(path)) as left:
        tables = ("exchanges", "legs", "bodies")
        assert [left.execute(f"SELECT count(*) FROM {table}").fetchone() for table in tables] == [(0,)] * 3  # noqa: S608
        assert left.execute("SELECT rowid FROM exchange_texts WHERE exchange_texts MATCH 'hea'").fetchall() == []


def test_ids_are_never_used_twice(path: Path) -> None:
    write(path, *many(3))
    with contextlib.closing(LogWriter(path)) as log:
        log.prune(100.0, 1 << 40, 10)
        log.write(exchanges([SAMPLE]))
    assert [e.id for e in stored(path)] == [4]


def test_what_is_compressed_is_smaller(path: Path) -> None:
    paths = [path.with_name(name) for name in ("small", "plain")]
    for each, compress in zip(paths, (True, False), strict=True):
        write(each, *(r._replace(raw=b"<statusNotification/>" * 100) for r in many(1000)), keeping=Keeping(compress=compress))
    assert 2 * paths[0].stat().st_size < paths[1].stat().st_size


def test_a_corrupt_file_takes_its_write_ahead_log_with_it(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).write_text(suffix)
    assert file.set_aside(path) == path.with_name("traffic.db.corrupt-1")
    assert sorted(f.name for f in path.parent.iterdir()) == ["traffic.db.corrupt-1", "traffic.db.corrupt-1-wal"]


def test_only_so_many_corrupt_files_are_kept(path: Path) -> None:
    for n in range(file.ASIDE + 2):
        path.write_text(str(n))
        file.set_aside(path)
    kept = {f.name: f.read_text() for f in path.parent.iterdir()}
    assert len(kept) == file.ASIDE
    assert kept[f"traffic.db.corrupt-{file.ASIDE}"] == str(file.ASIDE + 1)


def test_a_reader_is_told_that_there_is_no_log(path: Path) -> None:
    expected = f"{path}: no traffic log there; expected one written by ocpp-gateway serve"
    with pytest.raises(file.FormatError) as missing:
        file.connect_to_read(path)
    path.touch()
    with pytest.raises(file.FormatError) as empty:
        file.connect_to_read(path)
    assert str(missing.value) == str(empty.value) == expected


def test_a_reader_refuses_a_format_it_does_not_know(path: Path, log: sqlite3.Connection) -> None:
    log.execute("PRAGMA user_version = 99")
    with pytest.raises(file.FormatError, match=f"expected a traffic log of format {file.FORMAT}, got format 99"):
        file.connect_to_read(path)


def test_a_reader_cannot_write(path: Path, log: sqlite3.Connection) -> None:
    with (
        contextlib.closing(file.connect_to_read(path)) as reader,
        pytest.raises(sqlite3.OperationalError, match="readonly"),
    ):
        reader.execute("DELETE FROM exchanges")

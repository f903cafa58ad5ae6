"""The file: formats and their migrations, pruning, what is set aside, what is refused to a reader."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.traffic import file
from gateway.traffic.record import Record
from gateway.traffic.row import COLUMNS, Row, to_columns

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


def test_format_1_is_brought_up_to_date_and_keeps_its_rows(path: Path, tmp_path: Path) -> None:
    build_format_1(path)
    with contextlib.closing(file.connect(path)) as old, contextlib.closing(file.connect(tmp_path / "new.db")) as new:
        assert file.format_of(old) == file.FORMAT
        assert layout(old) == layout(new)
        assert old.execute("SELECT id, exchange, raw, tenant FROM messages").fetchall() == [(7, "x-1", b"<a/>", "")]


def test_a_later_migration_is_applied_once(path: Path) -> None:
    build_format_1(path)
    steps = (*file.MIGRATIONS, ("ALTER TABLE messages ADD COLUMN weather TEXT",))
    with contextlib.closing(file.connect(path)) as log:
        file.migrate(log, steps)
        file.migrate(log, steps)
        assert file.format_of(log) == len(steps)
        assert log.execute("SELECT id, weather FROM messages").fetchall() == [(7, None)]


def test_a_migration_that_fails_changes_nothing(log: sqlite3.Connection) -> None:
    before = layout(log)
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        file.migrate(log, (*file.MIGRATIONS, ("DROP INDEX messages_at", "DROP TABLE nowhere")))
    assert (layout(log), file.format_of(log)) == (before, file.FORMAT)


def test_the_table_has_the_fields_of_a_record(log: sqlite3.Connection) -> None:
    names = [row[1] for row in log.execute("PRAGMA table_info(messages)")]
    assert tuple(names) == ("id", *COLUMNS) == Row._fields


def test_another_database_is_not_touched(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE chargers (identity TEXT)")
    before = path.read_bytes()
    with pytest.raises(file.FormatError, match="expected a traffic log of format 2 or older, got another database"):
        file.connect(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("count", [0, 1, 7, 8, 63, 600, 1000])
def test_any_number_of_rows_is_inserted(log: sqlite3.Connection, count: int) -> None:
    file.insert(log, [to_columns(SAMPLE._replace(at=float(n))) for n in range(count)])
    assert [at for (at,) in log.execute("SELECT at FROM messages ORDER BY id")] == list(range(count))


def test_a_batch_is_written_whole_or_not_at_all(log: sqlite3.Connection) -> None:
    good = to_columns(SAMPLE)
    with pytest.raises(sqlite3.IntegrityError):
        file.insert(log, [good] * 20 + [(None, *good[1:])])
    assert log.execute("SELECT count(*) FROM messages").fetchone() == (0,)


def test_pruning_deletes_the_oldest_in_bounded_steps(log: sqlite3.Connection) -> None:
    file.insert(log, [to_columns(SAMPLE._replace(at=float(n))) for n in range(10)])
    assert [file.prune(log, 7.0, 4) for _ in range(3)] == [4, 3, 0]
    assert [at for (at,) in log.execute("SELECT at FROM messages ORDER BY id")] == [7.0, 8.0, 9.0]


def test_ids_are_never_used_twice(log: sqlite3.Connection) -> None:
    file.insert(log, [to_columns(SAMPLE)] * 3)
    file.prune(log, 100.0, 10)
    file.insert(log, [to_columns(SAMPLE)])
    assert log.execute("SELECT id FROM messages").fetchall() == [(4,)]


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
        reader.execute("DELETE FROM messages")

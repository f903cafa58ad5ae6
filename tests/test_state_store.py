"""gateway.state.store: what comes back after a restart, and what is said of a file that cannot be used."""

import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from decimal import Decimal
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from gateway.roster import Charger, Registration
from gateway.state.store import FORMAT, Connector, Kept, StateError, StateStore, row
from translations.messages import Version

FULL = Charger(
    "Cp-1",
    "soap",
    Version.V15,
    last_seen=1_714_564_800.25,
    peer="192.0.2.1:4000",
    callback="http://192.0.2.1:8080/",
    boot={"chargePointVendor": "Größe ⚡", "chargePointModel": "A1"},
    registration=Registration.PENDING,
    interval=300,
)
BARE = Charger("DC-2", "json")

Open = Callable[[], StateStore]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
def store(path: Path) -> Iterator[Open]:
    """Opens the file, again and again; closes it in the end."""
    with ExitStack() as stack:

        def open_one() -> StateStore:
            store = StateStore(path)
            stack.callback(store.close)
            store.open()
            return store

        yield open_one


def sql(path: Path, text: str) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.executescript(text)


# --- round trip


def test_what_was_saved_comes_back(store: Open) -> None:
    first = store()
    first.save([row(FULL), row(BARE)])
    first.close()
    assert store().load() == [FULL, BARE]


def test_a_new_file_knows_nobody(store: Open) -> None:
    assert store().load() == []


def test_a_charger_is_saved_once_however_its_identity_is_spelt(store: Open) -> None:
    state = store()
    state.save([row(FULL)])
    state.save([row(Charger("CP-1", "json"))])
    assert [charger.wire for charger in state.load()] == ["json"]


def test_numbers_keep_their_digits(store: Open) -> None:
    state = store()
    state.save([row(Charger("CP-1", boot={"vendorFactor": Decimal("1.10"), "vendorCount": 3}))])
    assert str(state.load()[0].boot) == str({"vendorFactor": Decimal("1.10"), "vendorCount": 3})


def test_what_was_true_when_the_row_was_made_is_saved(store: Open) -> None:
    charger = Charger("CP-1", boot={"chargePointVendor": "Volt"})
    made = row(charger)
    charger.boot = charger.boot and charger.boot | {"chargePointVendor": "Ampere"}
    state = store()
    state.save([made])
    assert state.load()[0].boot == {"chargePointVendor": "Volt"}


def test_all_rows_are_saved_or_none(store: Open) -> None:
    state = store()
    with pytest.raises(StateError, match="cannot be written"):
        state.save([row(FULL), (None,) * 9])
    assert state.load() == []
    state.save([row(FULL)])  # and the next is not in the way
    assert len(state.load()) == 1


def killed(state: StateStore, path: Path, to: Path) -> Path:
    """What is on disk if the process is killed now, which has had commits."""
    for number in range(8):
        state.save([row(Charger(f"CP-{number}", "json"))])
    for end in ("", "-wal"):
        Path(f"{to}{end}").write_bytes(Path(f"{path}{end}").read_bytes())
    return to


@pytest.mark.parametrize("damage", [0, 1])
def test_a_damaged_tail_of_the_log_is_told(tmp_path: Path, damage: int) -> None:
    with closing(StateStore(tmp_path / "a.db")) as state:
        state.open()
        to = killed(state, tmp_path / "a.db", tmp_path / "b.db")
    log = Path(f"{to}-wal")
    content = bytearray(log.read_bytes())
    content[-2000] ^= damage
    log.write_bytes(content)
    with closing(StateStore(to)) as again, capture_logs() as told:
        again.open()
        assert len(again.load()) == 8 - damage
    assert [each["event"] for each in told] == ["state.tail_lost"] * damage


def test_a_log_whose_last_page_is_not_whole_is_that_of_a_kill(tmp_path: Path) -> None:
    with closing(StateStore(tmp_path / "a.db")) as state:
        state.open()
        to = killed(state, tmp_path / "a.db", tmp_path / "b.db")
    log = Path(f"{to}-wal")
    log.write_bytes(log.read_bytes()[:-2000])
    with closing(StateStore(to)) as again, capture_logs() as told:
        again.open()
    assert told == []


# --- answers and connectors


KEPT = Kept(b"\x00key", 1_714_564_800.25, '{"transactionId":1,"a":"⚡"}'.encode())
PLUG = Connector("cp-1", 1, 7, False)


def test_an_answer_is_found_again(store: Open) -> None:
    first = store()
    first.keep([KEPT, KEPT._replace(key=b"other")])
    first.close()
    assert store().find(KEPT.key) == KEPT
    assert store().find(b"none") is None


def test_the_last_that_is_said_of_a_connector_counts(store: Open) -> None:
    state = store()
    gone = PLUG._replace(transaction=None)
    state.keep([], [PLUG, gone, PLUG._replace(over=True), PLUG._replace(connector=2)])
    assert state.connectors(10) == [PLUG._replace(over=True), PLUG._replace(connector=2)]
    state.keep([], [PLUG._replace(connector=3), PLUG, gone])
    assert [known.connector for known in state.connectors(10)] == [2, 3]
    assert len(state.connectors(1)) == 1


def test_answers_and_connectors_are_kept_together_or_not_at_all(store: Open) -> None:
    state = store()
    with pytest.raises(StateError, match="cannot be written"):
        state.keep([KEPT], [PLUG._replace(identity=None)])  # type: ignore[arg-type]
    assert (state.find(KEPT.key), state.connectors(10)) == (None, [])


def test_no_more_than_the_portion_is_pruned(store: Open) -> None:
    state = store()
    state.keep([Kept(bytes([n]), n, b"{}") for n in range(10)])
    assert [state.prune(before=5, most=3) for _ in range(3)] == [3, 2, 0]
    assert [n for n in range(10) if state.find(bytes([n]))] == [5, 6, 7, 8, 9]


def test_threads_do_not_get_in_each_others_way(store: Open) -> None:
    state = store()

    def work(n: int) -> Kept | None:
        kept = Kept(bytes([n]), n, b"{}")
        state.keep([kept], [PLUG._replace(connector=n)])
        state.save([row(Charger(f"CP-{n}"))])
        state.prune(0, 10)
        return state.find(kept.key)

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(work, range(64))) == [Kept(bytes([n]), n, b"{}") for n in range(64)]
    assert (len(state.load()), len(state.connectors(100))) == (64, 64)


def test_who_looks_up_does_not_wait_for_who_writes(store: Open) -> None:
    state = store()
    state.keep([KEPT])
    with state._transaction(), ThreadPoolExecutor(1) as threads:
        assert threads.submit(state.find, KEPT.key).result(timeout=5) == KEPT


# --- the file

FORMAT_1 = """
    CREATE TABLE chargers (
        identity TEXT PRIMARY KEY COLLATE NOCASE, wire TEXT NOT NULL, version TEXT NOT NULL, last_seen REAL NOT NULL,
        peer TEXT NOT NULL, callback TEXT NOT NULL, boot TEXT, registration TEXT NOT NULL, interval INTEGER NOT NULL
    ) STRICT;
    INSERT INTO chargers VALUES ('DC-2', 'json', '1.6', 0.0, '', '', NULL, '', 0);
    PRAGMA user_version = 1;
"""


def test_a_file_of_format_1_is_brought_to_this_one(store: Open, path: Path) -> None:
    sql(path, FORMAT_1)
    state = store()
    assert state.load() == [BARE]
    state.keep([KEPT], [PLUG])
    assert (state.find(KEPT.key), state.connectors(10)) == (KEPT, [PLUG])
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (3,)


def test_only_the_owner_may_read_the_file(store: Open, path: Path) -> None:
    before = os.umask(0)
    try:
        store().save([row(FULL)])
    finally:
        os.umask(before)
    assert {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()} == {0o600}


def test_the_file_has_the_current_format(store: Open, path: Path) -> None:
    store().close()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (FORMAT,)


def test_a_file_of_a_newer_gateway_is_refused(store: Open, path: Path) -> None:
    sql(path, f"PRAGMA user_version = {FORMAT + 1}")
    with pytest.raises(StateError) as refused:
        store()
    text = f"{path}: expected format {FORMAT} or older, got {FORMAT + 1}, written by a newer gateway"
    assert str(refused.value) == text


def test_a_file_that_is_no_database_is_refused(store: Open, path: Path) -> None:
    path.write_bytes(b"not a database, but long enough to look at" * 100)
    with pytest.raises(StateError) as refused:
        store()
    assert str(refused.value) == f"{path}: cannot be used as the state file: file is not a database"
    assert path.read_bytes().startswith(b"not a database")


@pytest.mark.parametrize(
    "damage",
    [
        "DROP TABLE chargers",
        "UPDATE chargers SET boot = '{\"half'",
        "UPDATE chargers SET version = '9.9'",
        "UPDATE chargers SET registration = 'Perhaps'",
        "ALTER TABLE chargers ADD COLUMN more TEXT",
    ],
)
def test_a_damaged_file_is_refused(store: Open, path: Path, damage: str) -> None:
    state = store()
    state.save([row(FULL)])
    state.close()
    sql(path, damage)
    with pytest.raises(StateError, match=f"^{path}: cannot be read as the state file: "):
        store().load()


@pytest.mark.parametrize("damage", ["DROP TABLE connectors", "ALTER TABLE connectors RENAME COLUMN over TO done"])
def test_damaged_connectors_are_told(store: Open, path: Path, damage: str) -> None:
    state = store()
    sql(path, damage)
    with pytest.raises(StateError, match=f"^{path}: cannot be read as the state file: "):
        state.connectors(10)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    missing = StateStore(tmp_path / "nowhere" / "state.db")
    with pytest.raises(StateError, match=r"nowhere/state\.db: cannot be used as the state file: .*[Nn]o such file"):
        missing.open()
    missing.close()


def test_a_folder_in_place_of_the_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(StateError, match=r"cannot be used as the state file: .*[Ii]s a directory"):
        StateStore(tmp_path).open()


def test_a_file_that_another_holds_cannot_be_written(store: Open, path: Path) -> None:
    state = store()
    state._open().execute("PRAGMA busy_timeout = 1")  # not the whole five seconds
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StateError, match="cannot be written: database is locked"):
            state.save([row(FULL)])
    state.save([row(FULL)])


def test_a_closed_file_is_told(store: Open, path: Path) -> None:
    state = store()
    state.close()
    state.close()
    for use in (state.load, lambda: state.find(b""), lambda: state.save([]), lambda: state.prune(0, 1)):
        with pytest.raises(StateError, match=f"^{path}: not open$"):
            use()

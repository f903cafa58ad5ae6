"""The read side: every filter, exchanges, following, and the numbers."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.traffic import file, query
from gateway.traffic.query import Count, Filter, Latency, RemarkCount
from gateway.traffic.record import Record
from gateway.traffic.row import to_columns
from translations.messages import Kind, Remark

LOST = Remark(Kind.LOST, "iccid", "not in 1.2", "drop")
ODD = Remark(Kind.REPAIRED, "status", 'said "kind":"changed"', "quirk")
CALL = Record(100.0, "x-1", "CP-1", "charger", "<", "soap", "1.5", "call", "Heartbeat", "m-1", b"<heartbeat/>")
SENT = CALL._replace(at=101.0, leg="csms", direction=">", wire="json", version="1.6", raw=b"[2]")
ANSWER = SENT._replace(at=102.0, direction="<", kind="result", outcome="ok", latency=1.0, remarks=(LOST,))
FAILED = ANSWER._replace(
    at=103.0, exchange="x-2", charger="cp-2", kind="error", outcome="InternalError", remarks=(ODD,)
)._replace(tenant="Acme")
REFUSED = CALL._replace(at=104.0, exchange="", charger="", kind="refused", action="", outcome="FormationViolation")
ALL = (CALL, SENT, ANSWER, FAILED, REFUSED)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "traffic.db"


@pytest.fixture
def log(path: Path) -> Iterator[sqlite3.Connection]:
    write(path, *ALL)
    with contextlib.closing(query.connect_to_read(path)) as log:
        yield log


def write(path: Path, *records: Record) -> None:
    with contextlib.closing(file.connect(path)) as log:
        file.insert(log, [to_columns(r) for r in records])


def ids(log: sqlite3.Connection, wanted: Filter) -> list[int]:
    return [row.id for row in query.messages(log, wanted)]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Filter(), [1, 2, 3, 4, 5]),
        (Filter(charger="cp-1"), [1, 2, 3]),
        (Filter(charger="CP-?"), [1, 2, 3, 4]),
        (Filter(charger="CP-[!1]"), [4]),
        (Filter(charger="CP"), []),
        (Filter(tenant="aCME"), [4]),
        (Filter(tenant="acm*"), []),
        (Filter(tenant="acme", charger="CP-1"), []),
        (Filter(action="heartbeat"), [1, 2, 3, 4]),
        (Filter(leg="csms"), [2, 3, 4]),
        (Filter(outcome="failed"), [4, 5]),
        (Filter(outcome="ok"), [3]),
        (Filter(outcome="InternalError"), [4]),
        (Filter(remark="lost"), [3]),
        (Filter(remark="changed"), []),
        (Filter(since=102.0), [3, 4, 5]),
        (Filter(until=102.0), [1, 2]),
        (Filter(since=101.0, until=103.0), [2, 3]),
        (Filter(exchange="x-2"), [4]),
        (Filter(text="heart"), [1, 5]),
        (Filter(text="%"), []),
        (Filter(limit=2), [4, 5]),
        (Filter(limit=1, leg="charger", until=104.0), [1]),
        (Filter(after_id=2), [3, 4, 5]),
        (Filter(after_id=2, limit=2), [3, 4]),
        (Filter(before_id=4, limit=2), [2, 3]),
        (Filter(charger="'; DROP TABLE messages; --"), []),
    ],
    ids=str,
)
def test_a_filter_finds(log: sqlite3.Connection, wanted: Filter, expected: list[int]) -> None:
    assert ids(log, wanted) == expected


@pytest.mark.parametrize("wanted", [Filter(), Filter(after_id=0), Filter(limit=1205)], ids=str)
def test_many_pages_come_whole_and_in_order(path: Path, wanted: Filter) -> None:
    write(path, *(CALL._replace(at=float(n // 700)) for n in range(1205)))
    with contextlib.closing(query.connect_to_read(path)) as log:
        assert ids(log, wanted) == list(range(1, 1206))


def test_messages_come_in_the_order_in_which_they_passed(path: Path) -> None:
    write(path, *(CALL._replace(at=at) for at in (3.0, 1.0, 2.0)))
    with contextlib.closing(query.connect_to_read(path)) as log:
        assert ids(log, Filter()) == ids(log, Filter(limit=3)) == [2, 3, 1]


def test_reading_all_ends_with_what_was_there_at_its_beginning(log: sqlite3.Connection, path: Path) -> None:
    reading = query.messages(log)
    first = next(reading)
    write(path, CALL._replace(at=1e9))
    assert [first.id, *(row.id for row in reading)] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("x-1", [1, 2, 3]), ("2", [1, 2, 3]), ("4", [4]), ("5", [5]), ("99", []), ("x", []), ("", []), ("9" * 40, [])],
)
def test_an_exchange_is_found_by_its_id_or_by_a_message_of_it(log: sqlite3.Connection, name: str, expected: list[int]) -> None:
    assert [row.id for row in query.exchange(log, name)] == expected


def test_remarks_are_read_back(log: sqlite3.Connection) -> None:
    assert [row.remarks for row in query.messages(log)] == [(), (), (LOST,), (ODD,), ()]


def test_following_yields_what_is_written_from_now_on(log: sqlite3.Connection, path: Path) -> None:
    rounds = iter([[CALL, SENT], [], [FAILED, CALL]])

    def wait() -> bool:
        batch = next(rounds, None)
        if batch:
            write(path, *batch)
        return batch is not None

    assert [r.id for r in query.follow(log, Filter(leg="csms"), wait=wait)] == [7, 8]


@pytest.mark.parametrize(
    ("wanted", "expected"), [(Filter(after_id=3), [4, 5]), (Filter(since=102.0), [3, 4, 5]), (Filter(since=1e9), [])]
)
def test_following_begins_where_it_is_told(log: sqlite3.Connection, wanted: Filter, expected: list[int]) -> None:
    assert [r.id for r in query.follow(log, wanted, wait=lambda: False)] == expected


def test_stats_count_messages_and_remarks(log: sqlite3.Connection) -> None:
    found = query.stats(log)
    assert (found.messages, found.first, found.last) == (5, 100.0, 104.0)
    assert Count("csms", "Heartbeat", "ok", 1) in found.counts
    assert sum(c.messages for c in found.counts) == 5
    assert found.remarks == (RemarkCount("lost", "drop", 1), RemarkCount("repaired", "quirk", 1))


def test_stats_are_of_what_was_asked_for(log: sqlite3.Connection) -> None:
    found = query.stats(log, Filter(after_id=3, outcome="failed"))
    assert (found.messages, found.remarks) == (2, (RemarkCount("repaired", "quirk", 1),))


def test_latencies_are_of_the_nearest_rank(path: Path) -> None:
    write(path, *(ANSWER._replace(latency=float(n)) for n in range(200, 0, -1)), FAILED._replace(leg="b", latency=7.0))
    with contextlib.closing(query.connect_to_read(path)) as log:
        found = query.stats(log).latencies
    assert found == (Latency("b", "Heartbeat", 1, 7.0, 7.0), Latency("csms", "Heartbeat", 200, 100.0, 198.0))


def test_stats_of_nothing_are_nothing(log: sqlite3.Connection) -> None:
    assert query.stats(log, Filter(since=1e9)) == query.Stats(0, None, None, (), (), ())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10m", 400.0),
        ("1h30m", -4400.0),
        ("500ms", 999.5),
        ("1.5s", 998.5),
        ("1970-01-01T00:00:10Z", 10.0),
        ("1970-01-01T02:00:10+02:00", 10.0),
        ("1970-01-01T00:00:10", 10.0),
        ("1970-01-02", 86400.0),
    ],
)
def test_a_time_is_read(text: str, expected: float) -> None:
    assert query.moment(text, 1000.0) == expected


@pytest.mark.parametrize("text", ["", "10", "m", "10 m", "10m!", "yesterday", "-10m", "٣m", "1970-13-01"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r'expected a time like "10m" \(ago\) or "2024-05-01T10:00:00Z", got'):
        query.moment(text, 1000.0)


@pytest.mark.parametrize(
    ("wanted", "index"),
    [
        (Filter(limit=50), "messages_at"),
        (Filter(limit=50, since=1.0), "messages_at"),
        (Filter(limit=50, charger="CP-1"), "messages_charger_at"),
        (Filter(limit=50, tenant="acme"), "messages_tenant_at"),
        (Filter(exchange="x-1"), "messages_exchange"),
        (Filter(after_id=3), "PRIMARY KEY"),
    ],
    ids=str,
)
def test_common_questions_are_answered_by_an_index(log: sqlite3.Connection, wanted: Filter, index: str) -> None:
    asked: list[str] = []
    log.set_trace_callback(asked.append)
    list(query.messages(log, wanted))
    log.set_trace_callback(None)
    statement = next(a for a in asked if " WHERE " in a).replace("-Inf", "-1")
    assert index in " ".join(str(row) for row in log.execute(f"EXPLAIN QUERY PLAN {statement}"))

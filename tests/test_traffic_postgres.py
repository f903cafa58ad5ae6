"""The log in PostgreSQL: the same answers as the file gives, days that come and go, and a server that goes away."""

import contextlib
import math
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from gateway.config import Traffic
from gateway.traffic import postgres, predicate, query, sql, stores
from gateway.traffic.exchanges import Exchange, Finding, Half, Leg
from gateway.traffic.filters import Filter
from gateway.traffic.language import parsed
from gateway.traffic.log import Interrupted, LogError, TrafficReader, TrafficWriter, Unfit
from gateway.traffic.record import Record
from gateway.traffic.store import TrafficStore
from gateway.traffic.tree import Tree
from gateway.traffic.writer import LogWriter
from tests import filtered
from tests.filtered import NOW, trees
from tests.peers.postgres import MISSING, running_postgres, skipped
from translations.messages import Kind, Remark

pytestmark = pytest.mark.skipif(skipped(), reason=MISSING)

if not skipped():
    import psycopg

    from gateway.traffic.postgres import conditions, reader, schema, writer
    from gateway.traffic.postgres.connection import reasons
    from gateway.traffic.postgres.reader import PostgresLog
    from gateway.traffic.postgres.writer import PostgresWriter

DAY = 86_400.0
LOST = Remark(Kind.LOST, "iccid", "not in 1.2", "drop")
ODD = Remark(Kind.REPAIRED, "status", 'said "\0" and \\u0000', "quirk")
FRAME = b'[2,"m","Authorize",{"idTag":"TAG1","n":[1,2.50]}]'
ANSWER = b'[3,"m",{"idTagInfo":{"status":"Accepted"}}]'


@pytest.fixture(scope="session")
def server() -> Iterator[str]:
    with running_postgres() as url:
        yield url


def database(server: str, name: str) -> str:
    """One that several tests share."""
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return server.replace("/postgres?", f"/{name}?")


@pytest.fixture
def url(server: str) -> Iterator[str]:
    """A database without a log, and without one in the end."""
    yield server
    with psycopg.connect(server) as connection:
        connection.execute("SET client_min_messages TO warning; DROP SCHEMA IF EXISTS ocpp_traffic CASCADE")


@pytest.fixture
def log(url: str) -> "Iterator[PostgresWriter]":
    with contextlib.closing(postgres.open_to_write(url)) as log:
        yield log


@pytest.fixture
def reading(log: "PostgresWriter", url: str) -> "Iterator[PostgresLog]":
    with contextlib.closing(postgres.open_to_read(url)) as reading:
        yield reading


def exchange(name: str, at: float = NOW, **changes: Any) -> Exchange:
    """Of two legs, answered."""
    call, answer = Half(at, FRAME, message_id="m", remarks=(LOST,)), Half(at + 1, ANSWER, message_id="m", headers=(("a", "b"),))
    soap = Half(at, b"<a>\xff\0</a>", FRAME, remarks=(ODD,), note="odd")
    legs = [
        Leg("charger", True, "soap", "1.5", "192.0.2.1:1", soap, replace(answer, canonical=ANSWER), "ok", latency=1.5),
        Leg("csms", False, "json", "1.6", "", call, answer, "ok", latency=1.0),
    ]
    given: dict[str, Any] = {
        "charger": "CP-1",
        "action": "Authorize",
        "outcome": "ok",
        "latency": 1.5,
        "connector": 1,
        "legs": legs,
    }
    return Exchange(0, name, at, **given | changes)


def fleet() -> list[Exchange]:
    """Of every kind a few, on several days."""
    slow = (Finding("slow", "warning", "5 s"), Finding("gap", "note", ""))
    kinds: list[dict[str, Any]] = [
        {},
        {"charger": "cp-2", "tenant": "Acme", "outcome": "InternalError"},
        {"charger": "CP-3", "action": "Heartbeat", "latency": None, "outcome": "", "legs": []},
        {"findings": slow, "transaction": 4711, "connector": None},
        {"charger": "", "action": "", "outcome": "FormationViolation", "up": False, "legs": exchange("").legs[:1]},
    ]
    return [exchange(f"x-{n}", NOW - n % 7 * DAY / 3 + n, **kinds[n % 5]) for n in range(60)]


# --- the same as the file


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory, server: str) -> Iterator[tuple[TrafficReader, TrafficReader]]:
    """The same exchanges in a file and in a database."""
    path, url = tmp_path_factory.mktemp("both") / "traffic.db", database(server, "compared")
    with contextlib.ExitStack() as stack:
        stores: list[TrafficWriter] = [LogWriter(path), postgres.open_to_write(url)]
        for store in stores:
            stack.callback(store.close)
            store.write(fleet())
        logs = query.open_to_read(path), postgres.open_to_read(url)
        for log in logs:
            stack.callback(log.close)
        yield logs


_FILTERS = (
    Filter(),
    Filter(limit=7),
    Filter(limit=0),
    Filter(charger="cp-1"),
    Filter(charger="CP-[!1]"),
    Filter(charger="CP-?", limit=3),
    Filter(charger="["),
    Filter(charger="'; DROP TABLE exchanges; --"),
    Filter(tenant="aCME"),
    Filter(action="heartbeat"),
    Filter(exchange="x-17"),
    Filter(leg="CSMS"),
    Filter(leg="csms", outcome="ok", limit=4),
    Filter(outcome="failed"),
    Filter(outcome="ok", since=NOW - DAY),
    Filter(outcome="internalerror"),
    Filter(remark="lost"),
    Filter(remark="lost", leg="charger"),
    Filter(since=NOW - DAY, until=NOW),
    Filter(text="tag1", limit=9),
    Filter(text="nowhere"),
    Filter(after_id=10),
    Filter(after_id=10, limit=5),
    Filter(before_id=20, limit=5),
    Filter(after_id=3, before_id=50, charger="cp-2"),
    *(
        Filter(tree=parsed(text))
        for text in (
            "not ok",
            "leg == csms and not ok",
            'leg == csms and latency >= 1s and charger == "CP-1"',
            "transaction == 4711 or tenant == acme",
            "expert.severity >= warning",
            "expert.rule == gap and not expert.rule == slow",
            'payload.n[1] == 2.5 and result.idTagInfo.status == "acc*"',
            "remark.rule == quirk",
            "not remark",
            '"accepted" and charger == CP-*',
            "refused or note == odd",
            "id in (3, 5, 8)",
            "since 2023-11-14T00:00Z and until 2023-11-14T22:00Z",
            "latency > 1s and action in (Authorize, Heartbeat)",
        )
    ),
)


@pytest.mark.parametrize("wanted", _FILTERS)
def test_both_stores_find_the_same(both: tuple[TrafficReader, TrafficReader], wanted: Filter) -> None:
    file, database = both
    assert [told(e) for e in database.each(wanted)] == [told(e) for e in file.each(wanted)]
    found, expected = database.newest(wanted), file.newest(wanted)
    assert [told(e) for e in found.exchanges] == [told(e) for e in expected.exchanges]
    assert database.stats(wanted) == file.stats(wanted)


def told(exchange: Exchange) -> Exchange:
    """With U+0000 as the database has it."""
    for leg in exchange.legs:
        for half in filter(None, (leg.call, leg.answer)):
            half.remarks = tuple(replace(remark, detail=remark.detail.replace("\0", "\ufffd")) for remark in half.remarks)
    return exchange


@pytest.mark.parametrize("name", ["x-1", "2", "60", "61", "x", "", "9" * 40, "a\0b"])
def test_both_stores_find_the_same_one(both: tuple[TrafficReader, TrafficReader], name: str) -> None:
    file, database = both
    expected, found = file.one(name), database.one(name)
    assert (found and told(found)) == (expected and told(expected))


@pytest.mark.parametrize("at", [0.0, NOW - DAY, NOW + 1e9])
def test_both_stores_number_the_same(both: tuple[TrafficReader, TrafficReader], at: float) -> None:
    file, database = both
    assert (database.last(), database.first_since(at)) == (file.last(), file.first_since(at))


def test_following_yields_what_is_written_from_now_on(log: "PostgresWriter", reading: "PostgresLog") -> None:
    log.write([exchange("before")])
    rounds = iter([[exchange("a"), exchange("b", charger="CP-9")], [], [exchange("c")]])

    def wait() -> bool:
        batch = next(rounds, None)
        if batch:
            log.write(batch)
        return batch is not None

    assert [e.name for e in query.follow(reading, Filter(charger="CP-1"), wait=wait)] == ["a", "c"]


@pytest.mark.parametrize("wanted", [Filter(), Filter(after_id=0), Filter(after_id=0, limit=1000), Filter(limit=1000)], ids=str)
def test_many_pages_come_whole_and_in_order(
    log: "PostgresWriter", reading: "PostgresLog", wanted: Filter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "STRIDE", 7)
    monkeypatch.setattr(reader, "PAGE", 3)
    log.write([exchange(f"x-{n}", NOW + n // 10) for n in range(50)])
    assert [e.id for e in reading.each(wanted)] == list(range(1, 51))


def test_text_is_looked_for_among_the_newest_and_that_is_told(
    log: "PostgresWriter", reading: "PostgresLog", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "SEARCHED", 20)
    log.write([exchange(f"x-{n}", NOW + n) for n in range(50)])
    found = reading.newest(Filter(text="TAG", limit=40))
    assert (found.exchanges[0].id, found.searched) == (30, 20)  # one more shows where to stop
    assert reading.newest(Filter(text="TAG", limit=5)).searched is None
    assert reading.newest(Filter(text="nowhere", limit=5, since=NOW + 40)).searched is None


def test_an_index_leads_to_older_texts(url: str, reading: "PostgresLog", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "SEARCHED", 5)
    with contextlib.closing(postgres.open_to_write(url, full_text=True)) as log:
        log.write([exchange(f"x-{n}", NOW + n * DAY / 10) for n in range(50)])
    found = reading.newest(Filter(text="tAG1", limit=40))
    assert ([e.id for e in found.exchanges], found.searched) == (list(range(11, 51)), None)
    assert reading.newest(Filter(text="nowhere", limit=5)) == ([], None)
    assert reading.newest(Filter(text="TA", limit=40)).searched == 5  # too short for the index


def test_where_the_index_does_not_reach_is_told(
    log: "PostgresWriter", url: str, reading: "PostgresLog", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "SEARCHED", 5)
    log.write([exchange(f"x-{n}", NOW + n) for n in range(3)])
    with contextlib.closing(postgres.open_to_write(url, full_text=True)) as later:
        later.write([exchange(f"y-{n}", NOW + DAY + n) for n in range(20)])
    found = reading.newest(Filter(text="tag1", limit=40))
    assert (len(found.exchanges), found.searched) == (20, 5)
    assert reading.newest(Filter(text="tag1", limit=40, since=NOW + DAY)).searched is None


@pytest.mark.parametrize("text", ['"', "'", "a\x00b", "%_", "AND", "a* OR b", "\ud800xyz", "é" * 5, "x" * 300])
def test_no_text_is_too_odd_to_be_looked_for(log: "PostgresWriter", reading: "PostgresLog", text: str) -> None:
    log.write([exchange("x")])
    for wanted in (Filter(text=text), Filter(charger=text, leg=text), Filter(exchange=text, tenant=text)):
        assert text == '"' or list(reading.each(wanted)) == []
        assert reading.stats(wanted).exchanges == (text == '"' and bool(wanted.text))


# --- what the filter says of the exchange, the database says of what is stored


@pytest.fixture(scope="module")
def tables(server: str) -> "Iterator[PostgresWriter]":
    with contextlib.closing(postgres.open_to_write(database(server, "filtered"))) as log:
        yield log


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow])
@given(filtered.exchanges(), trees)
def test_sql_and_predicate_agree(tables: "PostgresWriter", exchange: Exchange, tree: Tree) -> None:
    tables.write([exchange])
    condition, values = sql.compiled(tree, NOW, "postgres")
    run = tables._connection.execute
    asked = f"SELECT 1 FROM exchanges e WHERE e.id = %s AND {condition}"  # noqa: S608 - what is tried
    found = run(asked.encode(), (exchange.id, *values)).fetchone()
    assert (found is not None) == predicate.compiled(tree, NOW)(exchange)


_SERVED = {
    'charger == "cp-1"': "charger",
    "charger == CP-*": "charger",
    "action == Heartbeat": "action",
    "tenant == acme": "tenant",
    "transaction == 4711": "transaction",
    "outcome == InternalError": "outcome",
    "not ok": "failed",
    "expert.severity >= warning": "severity",
    "latency > 5s": "latency",
    "name == x-1": "name",
    "leg == csms and outcome == InternalError": "outcome",
    "remark.lost": "lost",
    "refused": "refused",
}


@pytest.mark.parametrize(("text", "index"), _SERVED.items())
def test_an_index_serves_it(tables: "PostgresWriter", text: str, index: str) -> None:
    said, values = conditions.condition(Filter(tree=parsed(text)), NOW, conditions.Window(-math.inf, math.inf))
    with tables._connection.transaction(force_rollback=True):
        for setting in ("seqscan", "hashjoin", "mergejoin"):  # so few rows are read in a row otherwise
            tables._connection.execute(f"SET LOCAL enable_{setting} TO off".encode())
        asked = f"EXPLAIN SELECT 1 FROM exchanges e WHERE {said}"  # noqa: S608 - what is tried
        plan = tables._connection.execute(asked.encode(), values).fetchall()
    used = {
        "charger": "lower",
        "action": "lower",
        "outcome": "lower",
        "tenant": "lower",
        "lost": "at",
        "refused": "at",
        "failed": "at",
    }
    lines = " ".join(str(line) for (line,) in plan)
    assert f"_{used.get(index, index)}" in lines
    assert "Seq Scan" not in lines


# --- writing


def test_what_is_stored_is_read_back(log: "PostgresWriter") -> None:
    written = exchange("x")
    log.write([written])
    assert log.named(["x", "y"]) == {"x": told(written)}


def test_later_legs_join_an_exchange_of_an_earlier_day(log: "PostgresWriter", reading: "PostgresLog") -> None:
    log.write([exchange("old", NOW - 3 * DAY, legs=exchange("").legs[:1]), exchange("new")])
    known = log.named(["old"])["old"]
    known.legs.append(replace(exchange("").legs[1], outcome="late"))
    log.write([known, exchange("newer")])
    found = reading.one("old")
    assert found is not None
    assert ([leg.outcome for leg in found.legs], found.id) == (["ok", "late"], 1)
    assert [e.name for e in reading.each(Filter())] == ["old", "new", "newer"]


def test_ids_are_never_used_twice(log: "PostgresWriter") -> None:
    batch = [exchange("a"), exchange("b")]
    log.write(batch)
    log.prune(NOW + 2 * DAY, 1 << 40, 100)
    log.write([later := exchange("c")])
    assert ([e.id for e in batch], later.id) == ([1, 2], 3)


def test_what_is_removed_is_gone_with_all_that_was_said(log: "PostgresWriter", reading: "PostgresLog") -> None:
    legs = [replace(exchange("").legs[1], call=Half(NOW, b"hidden"), answer=None)]
    log.write([exchange("a"), exchange("b", legs=legs), exchange("c")])
    log.remove([2, 99])
    assert [(e.name, e.legs[1].call and e.legs[1].call.raw) for e in reading.each(Filter())] == [("a", FRAME), ("c", FRAME)]
    assert b"hidden" not in plainly_stored(reading)
    log.remove([1, 3])
    assert plainly_stored(reading) == b""


def test_what_is_written_again_is_stored_once(log: "PostgresWriter", reading: "PostgresLog") -> None:
    log.write([exchange("a")])
    log.write([log.named(["a"])["a"]])
    assert plainly_stored(reading).count(FRAME) == 2  # as the frame of one leg, as what was understood on the other


def plainly_stored(reading: "PostgresLog") -> bytes:
    """All bodies, unpacked."""
    found = reading._run("SELECT data FROM bodies")
    return b"".join(zlib.decompress(data[1:]) if data[:1] == b"Z" else data[1:] for (data,) in found)


ODD_TEXT = "\0\ud800\x1b[2J<b>"


@pytest.mark.parametrize(
    "changes",
    [
        {"charger": ODD_TEXT, "action": ODD_TEXT, "outcome": ODD_TEXT, "tenant": ODD_TEXT},
        {"charger": "é\U0001f50c" * 50_000, "action": "y" * 9_000},
        {"name": ODD_TEXT},
        {"legs": [replace(exchange("").legs[0], name="é" * 2000, outcome="ö" * 2000, peer=ODD_TEXT)]},
        {"findings": (Finding("\0", "note", ODD_TEXT),)},
    ],
    ids=["odd", "long", "name", "leg", "finding"],
)
def test_no_text_is_too_odd_to_be_stored(log: "PostgresWriter", reading: "PostgresLog", changes: dict[str, Any]) -> None:
    log.write([replace(exchange("x"), **changes)])
    assert len(list(reading.each(Filter(tree=parsed('expert.rule == "x" or remark.rule == quirk'))))) == 1


@pytest.mark.parametrize(
    "payload", [b'{"a":1e999999}', b'{"a":1e-20000}', b'{"a":' + b"9" * 140_000 + b"}", b'{"a":"\\u0000"}', b"[" * 90 + b"]" * 90]
)
def test_no_question_fails_for_what_was_said(log: "PostgresWriter", reading: "PostgresLog", payload: bytes) -> None:
    call = Half(NOW, b'[2,"m","Authorize",' + payload + b"]")
    log.write([exchange("x", legs=[Leg("charger", True, "json", "1.6", call=call)])])
    assert list(reading.each(Filter(tree=parsed("payload.a == 5")))) == []
    assert [e.legs[0].call for e in reading.each(Filter())] == [call]


def test_what_only_looks_like_a_large_number_is_looked_into(log: "PostgresWriter", reading: "PostgresLog") -> None:
    call = Half(NOW, b'[2,"m","Authorize",{"a":",1E20000"}]')
    log.write([exchange("x", legs=[Leg("charger", True, "json", "1.6", call=call)])])
    assert len(list(reading.each(Filter(tree=parsed('payload.a == ",1e20000"'))))) == 1


def test_all_of_a_batch_is_stored_or_none(log: "PostgresWriter", reading: "PostgresLog") -> None:
    batch = [exchange("a"), exchange("b", connector=2**70)]
    with pytest.raises(Unfit, match="out of range"):
        log.write(batch)
    assert ([e.id for e in batch], reading.last()) == ([0, 0], 0)
    log.write(batch[:1])
    assert reading.last() > 0


# --- days


@pytest.mark.parametrize("at", [-1e12, -1.0, 0.0, DAY - 0.001, DAY, NOW, 253_402_300_799.0, 1e15, math.inf])
def test_there_is_a_day_for_every_time(log: "PostgresWriter", reading: "PostgresLog", at: float) -> None:
    log.write([exchange("x", at)])
    found = reading.one("x")
    assert found is not None
    assert found.legs[1].call is not None
    assert found.legs[1].call.raw == FRAME


def test_what_has_no_time_cannot_be_stored(log: "PostgresWriter") -> None:
    with pytest.raises(Unfit, match="expected a time, got nan"):
        log.write([exchange("x", math.nan)])


def test_days_are_made_ahead(log: "PostgresWriter", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)
    log.prune(0.0, 1 << 40, 100)
    today = schema.day_of(NOW)
    assert schema.days(log._connection) == [today, today + 1]


def test_days_that_are_over_go_by_age(log: "PostgresWriter", reading: "PostgresLog", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)
    log.write([exchange(f"x-{n}", NOW - n * DAY) for n in range(4)])
    assert log.prune(NOW - 2 * DAY, 1 << 40, 100) == 1  # the day in which that time lies stays
    assert [e.name for e in reading.each(Filter())] == ["x-2", "x-1", "x-0"]
    assert log.prune(NOW - 2 * DAY, 1 << 40, 100) == 0


def test_the_oldest_days_go_by_size_and_today_stays(
    log: "PostgresWriter", reading: "PostgresLog", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)
    log.write([exchange(f"x-{n}", NOW - n % 4 * DAY) for n in range(400)])
    log.prune(0.0, 1 << 40, 100)
    total = sum(map(log._size, log._days))
    assert log.prune(0.0, total - 1, 100) == 100
    assert log.prune(0.0, 1, 100) == 200
    assert {e.at for e in reading.each(Filter())} == {NOW}


def test_a_day_that_somebody_reads_goes_later(log: "PostgresWriter", url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "LOCK_TIMEOUT", 0.05)
    log.write([exchange("x")])
    with psycopg.connect(url) as other:
        other.execute("SELECT * FROM ocpp_traffic.exchanges")
        assert log.prune(NOW + 2 * DAY, 1 << 40, 100) == 0
        other.rollback()
        assert log.prune(NOW + 2 * DAY, 1 << 40, 100) == 1


def test_a_day_that_another_removed_is_made_again(log: "PostgresWriter", url: str) -> None:
    log.write([exchange("x")])
    with contextlib.closing(postgres.open_to_write(url)) as other:
        other.prune(NOW + 2 * DAY, 1 << 40, 100)
    with pytest.raises(LogError):
        log.write([exchange("y")])
    log.write([later := exchange("y")])
    assert later.id


def test_two_may_write(log: "PostgresWriter", url: str, reading: "PostgresLog") -> None:
    with contextlib.closing(postgres.open_to_write(url)) as other:
        other.write([exchange("a")])
        log.write([exchange("b")])
    assert [e.name for e in reading.each(Filter(after_id=0))] == ["a", "b"]


# --- what goes wrong


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("secret word", "expected a connection string like"),
        ("postgresql://me:se@cret@127.0.0.1/x", 'with each "@" of a password written as %40'),
        ("postgresql://me:secret@127.0.0.1:1/x", "connection"),
        ("postgresql://me:secret@[::1", "expected a connection string like"),
    ],
)
@pytest.mark.parametrize("opened", [postgres.open_to_read, postgres.open_to_write])
def test_why_it_cannot_be_opened_is_told_and_the_secret_is_not(opened: Callable[[str], object], url: str, reason: str) -> None:
    with pytest.raises(LogError, match=reason) as caught:
        opened(url)
    assert "secret" not in str(caught.value)
    assert "cret" not in str(caught.value)


def test_what_is_not_there_is_not_read(url: str) -> None:
    with pytest.raises(LogError, match="no traffic log there; expected one written by"):
        postgres.open_to_read(url)


@pytest.mark.parametrize("opened", [postgres.open_to_read, postgres.open_to_write])
def test_a_newer_log_is_refused(opened: Callable[[str], object], log: "PostgresWriter", url: str) -> None:
    log._connection.execute("UPDATE format SET version = 99")
    with pytest.raises(LogError, match=r"expected a traffic log of format 1.*, got format 99"):
        opened(url)


def test_what_is_no_log_is_left_alone(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA ocpp_traffic")
    with pytest.raises(LogError, match="expected a traffic log in the schema ocpp_traffic, got something else"):
        postgres.open_to_write(url)


def test_a_reader_changes_nothing(reading: "PostgresLog") -> None:
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        reading.connection.execute("DELETE FROM exchanges")


def test_without_the_driver_it_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("reader", "writer"):
        monkeypatch.setitem(__import__("sys").modules, f"gateway.traffic.postgres.{name}", None)
    for opened in (postgres.open_to_read, postgres.open_to_write):
        with pytest.raises(LogError, match=r'expected the package psycopg: pip install "ocpp-gateway\[postgres\]"'):
            opened("postgresql://")


def test_a_question_can_be_given_up(log: "PostgresWriter", reading: "PostgresLog") -> None:
    reading.interrupt_after(0.05)
    reading.interrupt_after(0.05)
    with pytest.raises(Interrupted, match="gave no answer in time: expected a narrower filter"), reasons():
        reading._run("SELECT pg_sleep(5)")
    reading.interrupt_after(0.0)
    with pytest.raises(Interrupted):
        reading.last()


_LOSE = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE application_name = 'ocpp-gateway' AND pid <> pg_backend_pid()"""
RECORD = Record(NOW, "x-1", "CP-1", "charger", "<", "json", "1.6", "call", "Heartbeat", "m", b'[2,"m","Heartbeat",{}]')


def test_the_store_goes_on_when_the_connection_is_lost(url: str, reading: "PostgresLog") -> None:
    store = TrafficStore(Path("nowhere"), open_log=lambda: postgres.open_to_write(url))
    record = RECORD._replace(at=time.time())
    store.open()
    store.record(record)
    assert store.flush()
    reading.connection.execute(_LOSE)
    store.record(record._replace(exchange="x-2"))
    store.flush(10)
    store.close()
    assert [e.name for e in reading.each(Filter())] == ["x-1", "x-2"]
    assert store.shed == 0


def test_a_log_that_was_thrown_away_is_begun_anew(log: "PostgresWriter", url: str, reading: "PostgresLog") -> None:
    log._connection.execute("DROP SCHEMA ocpp_traffic CASCADE")
    with pytest.raises(LogError, match="does not exist"):
        log.write([exchange("x")])
    with contextlib.closing(postgres.open_to_write(url)) as again:
        again.write([exchange("y")])
    assert [e.name for e in reading.each(Filter())] == ["y"]


# --- by configuration


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_the_configuration_says_where(kind: Any, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRAFFIC_URL", url)
    config = Traffic(kind=kind, path=tmp_path / "traffic.db", url_env="TRAFFIC_URL")
    with contextlib.closing(stores.open_to_write(config)) as log:
        log.write([exchange("x")])
        assert type(log).__module__ == ("gateway.traffic.writer" if kind == "sqlite" else "gateway.traffic.postgres.writer")
    with contextlib.closing(stores.open_to_read(config)) as reading:
        assert reading.last() == 1


def test_the_connection_string_may_lie_in_a_file(url: str, tmp_path: Path) -> None:
    (tmp_path / "url").write_text(f"{url}\n")
    with contextlib.closing(stores.open_to_write(Traffic(kind="postgres", url_file=tmp_path / "url"))) as log:
        assert log.there()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "expected a connection string from traffic.url_file or traffic.url_env, found none"),
        ({"url_env": "NOT_SET"}, "expected a connection string from traffic.url_file or traffic.url_env, found none"),
        ({"url_file": Path("/nowhere")}, "traffic.url_file: expected a readable file, /nowhere is none"),
    ],
)
def test_a_connection_string_that_is_not_there_is_told(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(LogError, match=reason):
        stores.open_to_write(Traffic(kind="postgres", **changes))

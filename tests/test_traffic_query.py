"""The read side: every filter, single exchanges, following, and the numbers."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.traffic import query, texts
from gateway.traffic.assembly import assembled
from gateway.traffic.exchanges import Exchange, Finding
from gateway.traffic.language import parsed
from gateway.traffic.log import Count, FindingCount, Latency, RemarkCount, Stats
from gateway.traffic.query import Filter, LogFile
from gateway.traffic.record import Record
from gateway.traffic.writer import Keeping, LogWriter
from tests.exchanges import write
from translations.messages import Kind, Remark

LOST = Remark(Kind.LOST, "iccid", "not in 1.2", "drop")
ODD = Remark(Kind.REPAIRED, "status", 'said "kind":"changed"', "quirk")
CALL = Record(100.0, "x-1", "CP-1", "charger", "<", "soap", "1.5", "call", "Heartbeat", "m-1", b"<heartbeat/>")
SENT = CALL._replace(at=101.0, leg="csms", direction=">", wire="json", version="1.6", raw=b'[2,"a","Heartbeat",{}]')
ANSWER = SENT._replace(at=102.0, direction="<", kind="result", raw=b"[3]", outcome="ok", latency=1.0, remarks=(LOST,))
REPLY = CALL._replace(at=103.0, direction=">", kind="result", outcome="ok", latency=3.0)
OTHER = CALL._replace(at=110.0, exchange="x-2", charger="cp-2", tenant="Acme", action="Authorize")._replace(
    canonical=[2, "m", "Authorize", {"idTag": "TAG1"}]
)
FAILED = OTHER._replace(at=113.0, direction=">", kind="error", outcome="InternalError", latency=3.0, remarks=(ODD,))
REFUSED = CALL._replace(at=120.0, exchange="", charger="", kind="refused", action="", outcome="FormationViolation", note="bad")
DOWN = SENT._replace(at=130.0, exchange="x-4", direction="<", action="Reset")
ALL = (CALL, SENT, ANSWER, REPLY, OTHER, FAILED, REFUSED, DOWN)  # exchanges 1 to 4


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "traffic.db"


@pytest.fixture
def log(path: Path) -> Iterator[LogFile]:
    write(path, *ALL)
    with reading(path) as log:
        yield log


@contextlib.contextmanager
def reading(path: Path) -> Iterator[LogFile]:
    with contextlib.closing(query.open_to_read(path)) as log:
        yield log


def many(count: int, **changes: Any) -> list[Record]:
    """So many exchanges, of which a hundred pass at the same time."""
    return [CALL._replace(exchange=f"y-{n}", at=float(n // 100))._replace(**changes) for n in range(count)]


def ids(log: LogFile, wanted: Filter) -> list[int]:
    return [exchange.id for exchange in log.each(wanted)]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Filter(), [1, 2, 3, 4]),
        (Filter(charger="cp-1"), [1, 4]),
        (Filter(charger="CP-?"), [1, 2, 4]),
        (Filter(charger="CP-[!1]"), [2]),
        (Filter(charger="CP"), []),
        (Filter(tenant="aCME"), [2]),
        (Filter(tenant="acm*"), []),
        (Filter(tenant="acme", charger="CP-1"), []),
        (Filter(action="heartbeat"), [1]),
        (Filter(leg="csms"), [1, 4]),
        (Filter(outcome="failed"), [2, 3]),
        (Filter(outcome="ok"), [1]),
        (Filter(outcome="InternalError"), [2]),
        (Filter(leg="csms", outcome="ok"), [1]),
        (Filter(leg="csms", outcome="failed"), []),
        (Filter(leg="csms", outcome="ok", charger="CP-1"), [1]),
        (Filter(remark="lost"), [1]),
        (Filter(remark="lost", leg="csms"), [1]),
        (Filter(remark="lost", leg="charger"), []),
        (Filter(remark="changed"), []),
        (Filter(since=110.0), [2, 3, 4]),
        (Filter(until=110.0), [1]),
        (Filter(since=110.0, until=130.0), [2, 3]),
        (Filter(exchange="x-2"), [2]),
        (Filter(text="tag1"), [2]),
        (Filter(text="%"), []),
        (Filter(limit=2), [3, 4]),
        (Filter(limit=1, leg="charger", until=120.0), [2]),
        (Filter(limit=0), []),
        (Filter(after_id=2), [3, 4]),
        (Filter(after_id=1, limit=2), [2, 3]),
        (Filter(before_id=4, limit=2), [2, 3]),
        (Filter(charger="'; DROP TABLE exchanges; --"), []),
        (Filter(tree=parsed('charger == "CP-*" and not ok')), [2, 4]),
        (Filter(tree=parsed("not ok")), [2, 3, 4]),
        (Filter(tree=parsed("leg == csms and outcome == ok")), [1]),
        (Filter(tree=parsed("leg == csms and action == Reset")), [4]),
        (Filter(tree=parsed("leg == csms or action == Authorize")), [1, 2, 4]),
        (Filter(tree=parsed("not remark.lost")), [2, 3, 4]),
        (Filter(tree=parsed("refused")), [3]),
        (Filter(tree=parsed('payload.idTag == "TAG1"')), [2]),
        (Filter(tree=parsed('payload.idTag == "TAG1"'), text="idtag", charger="cp-2"), [2]),
        (Filter(tree=parsed('note == "bad"')), [3]),
    ],
    ids=str,
)
@pytest.mark.parametrize("full_text", [False, True])
def test_a_filter_finds(path: Path, wanted: Filter, expected: list[int], full_text: bool) -> None:
    write(path, *ALL, keeping=Keeping(full_text=full_text))
    with reading(path) as log:
        assert ids(log, wanted) == expected
        assert [e.id for e in log.newest(wanted).exchanges] == expected


@pytest.mark.parametrize("wanted", [Filter(), Filter(after_id=0), Filter(limit=1205)], ids=str)
def test_many_pages_come_whole_and_in_order(path: Path, wanted: Filter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(query, "STRIDE", 150)
    monkeypatch.setattr(query, "AMONG", (10, 200))
    write(path, *many(1205))
    with reading(path) as log:
        assert ids(log, wanted) == list(range(1, 1206))


@pytest.mark.parametrize("limit", [1, 5, 50, 2000])
@pytest.mark.parametrize("wanted", [Filter(), Filter(leg="charger"), Filter(remark="lost"), Filter(charger="CP-3")], ids=str)
def test_the_newest_are_the_same_however_far_they_are_looked_for(
    path: Path, wanted: Filter, limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = [r._replace(charger=f"CP-{n % 7}", remarks=(LOST,) if n % 31 == 0 else ()) for n, r in enumerate(many(700))]
    write(path, *odd)
    with reading(path) as log:
        expected = ids(log, wanted)[-limit:]
        monkeypatch.setattr(query, "AMONG", (3, 40))
        assert [e.id for e in log.newest(replace(wanted, limit=limit)).exchanges] == expected


def test_exchanges_come_in_the_order_in_which_they_passed(path: Path) -> None:
    write(path, *(CALL._replace(at=at, exchange=str(at)) for at in (3.0, 1.0, 2.0)))
    with reading(path) as log:
        assert ids(log, Filter()) == ids(log, Filter(limit=3)) == [2, 3, 1]


def test_reading_all_ends_with_what_was_there_at_its_beginning(log: LogFile, path: Path) -> None:
    reading = log.each(Filter())
    first = next(reading)
    write(path, CALL._replace(at=1e9))
    assert [first.id, *(exchange.id for exchange in reading)] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("name", "expected"), [("x-1", 1), ("2", 2), ("4", 4), ("99", None), ("x", None), ("", None), ("9" * 40, None)]
)
def test_an_exchange_is_found_by_its_name_or_its_number(log: LogFile, name: str, expected: int | None) -> None:
    found = log.one(name)
    assert (found and found.id) == expected


def test_what_is_stored_is_read_back(log: LogFile) -> None:
    found = log.one("x-1")
    assert found is not None
    found.id = 0
    assert found == assembled([CALL, SENT, ANSWER, REPLY])


def test_following_yields_what_is_written_from_now_on(log: LogFile, path: Path) -> None:
    rounds = iter([[DOWN], [], [OTHER, REFUSED, DOWN]])

    def wait() -> bool:
        batch = next(rounds, None)
        if batch:
            write(path, *batch)
        return batch is not None

    assert [e.id for e in query.follow(log, Filter(leg="csms"), wait=wait)] == [5, 8]


@pytest.mark.parametrize(
    ("wanted", "expected"), [(Filter(after_id=3), [4]), (Filter(since=110.0), [2, 3, 4]), (Filter(since=1e9), [])]
)
def test_following_begins_where_it_is_told(log: LogFile, wanted: Filter, expected: list[int]) -> None:
    assert [e.id for e in query.follow(log, wanted, wait=lambda: False)] == expected


# --- free text


def said(n: int) -> Record:
    return CALL._replace(exchange=str(n), at=float(n), canonical=[2, "m", "Authorize", {"idTag": f"TAG{n:04}"}])


@pytest.mark.parametrize("full_text", [False, True])
@pytest.mark.parametrize(("text", "expected"), [("tag0007", [8]), ("G0007", [8]), ("nowhere", []), ("ag000", list(range(1, 11)))])
def test_text_is_found_in_any_case_wherever_it_stands(path: Path, full_text: bool, text: str, expected: list[int]) -> None:
    write(path, *map(said, range(30)), keeping=Keeping(full_text=full_text))
    with reading(path) as log:
        assert ids(log, Filter(text=text)) == ids(log, Filter(tree=parsed(f'"{text}"'))) == expected


@pytest.mark.parametrize("text", ["'", "a\x00b", "%_", "AND", "a* OR b", "\ud800xyz", "é" * 5, "x" * 300])
def test_no_text_is_too_odd_to_be_looked_for(path: Path, text: str) -> None:
    write(path, said(1), keeping=Keeping(full_text=True))
    with reading(path) as log:
        assert ids(log, Filter(text=text)) == []


def test_without_an_index_text_is_looked_for_among_the_newest_and_that_is_told(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "AMONG", (3, 5))
    monkeypatch.setattr(query, "SEARCHED", 20)
    write(path, *map(said, range(100)))
    with reading(path) as log:
        found = log.newest(Filter(text="TAG", limit=50))
        assert (len(found.exchanges) <= 30, found.searched) == (True, 20)
        assert log.newest(Filter(text="TAG0001", limit=50)) == ([], 20)
        assert log.newest(Filter(limit=50)).searched is None
        assert log.newest(Filter(text="TAG", limit=5)).searched is None


def test_an_index_that_began_later_is_not_trusted(path: Path) -> None:
    write(path, said(1))
    write(path, said(2), keeping=Keeping(full_text=True))
    with reading(path) as log:
        assert ids(log, Filter(text="TAG0001")) == [1]


def test_what_an_exchange_says_later_is_found_too(path: Path) -> None:
    with contextlib.closing(LogWriter(path, Keeping(full_text=True))) as writer:
        writer.write([assembled([said(1)])])
        known = writer.named(["1"])["1"]
        reply = REPLY._replace(exchange="1", canonical=[3, "m", {"status": "Invalid"}])
        writer.write([assembled([reply], known)])
    with reading(path) as log:
        assert [ids(log, Filter(text=text)) for text in ("TAG0001", "invalid", "blocked")] == [[1], [1], []]


def test_the_index_is_asked_for_threes() -> None:
    assert texts.match(['a"bcd']) == '""""bc" AND "a""b" AND "bcd"'.replace('""""bc"', '"""bc"')
    assert texts.match(["ab"]) is None


# --- numbers


def test_stats_count_calls_and_remarks(log: LogFile) -> None:
    found = log.stats(Filter())
    assert (found.exchanges, found.first, found.last) == (4, 100.0, 130.0)
    assert Count("csms", "Heartbeat", "ok", 1) in found.counts
    assert Count("csms", "Reset", "", 1) in found.counts
    assert sum(c.calls for c in found.counts) == 5
    assert found.remarks == (RemarkCount("lost", "drop", 1), RemarkCount("repaired", "quirk", 1))


def test_stats_are_of_what_was_asked_for(log: LogFile) -> None:
    found = log.stats(Filter(after_id=1, outcome="failed"))
    assert (found.exchanges, found.remarks) == (2, (RemarkCount("repaired", "quirk", 1),))
    assert {count.leg for count in log.stats(Filter(leg="csms")).counts} == {"csms"}


def test_latencies_are_of_the_nearest_rank(path: Path) -> None:
    answers = [
        SENT._replace(exchange=str(n), kind="result", direction="<", latency=float(n), outcome="ok") for n in range(200, 0, -1)
    ]
    write(path, *answers, FAILED._replace(leg="b", latency=7.0))
    with reading(path) as log:
        found = log.stats(Filter()).latencies
    assert found == (Latency("b", "Authorize", 1, 7.0, 7.0), Latency("csms", "Heartbeat", 200, 100.0, 198.0))


def test_findings_are_counted_by_rule(path: Path) -> None:
    found = [Exchange(0, str(n), 1.0, findings=(Finding("slow", "warning", "5 s"),) * (n % 2)) for n in range(5)]
    with contextlib.closing(LogWriter(path)) as writer:
        writer.write(found)
    with reading(path) as log:
        assert log.stats(Filter()).findings == (FindingCount("warning", "slow", 2),)
        assert ids(log, Filter(tree=parsed("expert.severity >= warning and expert.rule == slow"))) == [2, 4]


def test_stats_of_nothing_are_nothing(log: LogFile) -> None:
    assert log.stats(Filter(since=1e9)) == Stats(0, None, None, (), (), ())


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
        (Filter(limit=50), "exchanges_at"),
        (Filter(limit=50, since=1.0), "exchanges_at"),
        (Filter(limit=50, charger="CP-1"), "exchanges_charger_at"),
        (Filter(limit=50, charger="CP-*"), "exchanges_charger_at"),
        (Filter(limit=50, tenant="acme"), "exchanges_tenant_at"),
        (Filter(limit=50, action="Reset"), "exchanges_action_at"),
        (Filter(limit=50, outcome="failed"), "exchanges_outcome_at"),
        (Filter(limit=50, leg="csms", outcome="failed"), "legs_name_outcome_at"),
        (Filter(limit=50, remark="lost"), "legs_lost_at"),
        (Filter(exchange="x-1", limit=5), "exchanges_name"),
        (Filter(after_id=3), "PRIMARY KEY"),
        (Filter(limit=50, tree=parsed("charger == CP-1")), "exchanges_charger_at"),
        (Filter(limit=50, tree=parsed("outcome == SecurityError")), "exchanges_outcome_at"),
        (Filter(limit=50, tree=parsed("not ok")), "exchanges_outcome_at"),
        (Filter(limit=50, tree=parsed("transaction == 4711")), "exchanges_transaction_at"),
        (Filter(limit=50, tree=parsed("expert.severity >= warning")), "exchanges_severity_at"),
        (Filter(limit=50, tree=parsed("latency > 5s")), "exchanges_latency"),
        (Filter(limit=50, tree=parsed("leg == csms and outcome == GenericError")), "legs_name_outcome_at"),
        (Filter(limit=50, tree=parsed("leg == csms and latency > 5s")), "legs_name_latency"),
        (Filter(limit=50, tree=parsed("leg == csms and charger == CP-1")), "exchanges_charger_at"),
    ],
    ids=str,
)
def test_common_questions_are_answered_by_an_index(
    path: Path, wanted: Filter, index: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(query, "AMONG", (1,))
    write(path, *ALL)
    with reading(path) as log:
        asked: list[str] = []
        log.connection.set_trace_callback(asked.append)
        list(log.each(wanted))
        log.connection.set_trace_callback(None)
        statement = [a for a in asked if "WITH legs" in a][-1].replace("Inf", "1e99")
        assert index in " ".join(str(row) for row in log.connection.execute(f"EXPLAIN QUERY PLAN {statement}"))

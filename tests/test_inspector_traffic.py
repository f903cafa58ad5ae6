"""The doors that show what passed: filters, exchanges, and what peers may have put in."""

import contextlib
from functools import partial
from pathlib import Path
from urllib.parse import quote

import jsonschema_rs
import pytest
from starlette.exceptions import HTTPException

from gateway.config import Redaction
from gateway.inspector import log
from gateway.inspector.filters import LISTED
from gateway.inspector.pages import openapi
from gateway.traffic import export, query
from gateway.traffic.assembly import gap
from gateway.traffic.log import TrafficReader
from gateway.traffic.query import LogFile
from gateway.traffic.writer import LogWriter
from tests.admin import CALL, FAILED, SENT, WHOLE, admin, write

DOWN = SENT._replace(at=1_714_557_603.0, exchange="x-3", direction="<", charger="CP-3", action="Reset", remarks=())
ALL = (*WHOLE, FAILED, DOWN)  # three exchanges
HOSTILE = "</script><img src=x onerror=alert(1)>\x1b[2J\x9b\u202e\u2028"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write(tmp_path / "traffic.db", *ALL)
    return tmp_path / "traffic.db"


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("", [1, 2, 3]),
        ("?charger=cp-*", [1, 3]),
        ("?charger=DC%2F2", [2]),
        ("?tenant=acme", [2]),
        ("?tenant=", [1, 2, 3]),
        ("?action=authorize", [2]),
        ("?leg=csms&outcome=ok", [1]),
        ("?outcome=failed", [2]),
        ("?remark=lost", [1]),
        ("?since=2024-05-01T10:00:02Z", [2, 3]),
        ("?until=2024-05-01T10:00:01Z", [1]),
        ("?since=1m", []),
        ("?exchange=x-1", [1]),
        ("?text=no-such-text", []),
        ("?limit=2", [2, 3]),
        ("?after=1&limit=1", [2]),
        ("?after=3", []),
        ("?charger=", [1, 2, 3]),
    ],
)
async def test_a_filter_finds(path: Path, asked: str, expected: list[int]) -> None:
    async with admin(path) as ask:
        found = (await ask(f"/api/v1/traffic{asked}")).json["exchanges"]
    assert [exchange["id"] for exchange in found] == expected


@pytest.mark.parametrize(
    ("asked", "detail"),
    [
        ("limit=0", "limit: expected a whole number from 1 to 1000, got 0"),
        ("limit=1001", "limit: expected a whole number from 1 to 1000, got 1001"),
        ("limit=ten", "limit: expected a whole number from 1 to 1000, got ten"),
        ("after=-1", f"after: expected a whole number from 0 to {2**63 - 1}, got -1"),
        (f"after={2**63}", f"after: expected a whole number from 0 to {2**63 - 1}, got {2**63}"),
        ("after=²", f"after: expected a whole number from 0 to {2**63 - 1}, got ²"),
        ("since=soon", 'since: expected a time like "10m" (ago) or "2024-05-01T10:00:00Z", got "soon"'),
        ("remark=odd", "remark: expected lost, changed, assumed, repaired, got odd"),
        ("leg=a&leg=b", "leg: expected one value, got 2"),
        (f"text={'x' * 301}", "text: expected at most 300 characters, got 301"),
        (
            "charge=x",
            "expected the parameters charger, tenant, action, leg, outcome, remark, exchange, text, since, until, after, filter,"
            " limit, got charge",
        ),
    ],
)
async def test_a_filter_that_is_none_is_refused(path: Path, asked: str, detail: str) -> None:
    async with admin(path) as ask:
        reply = await ask(f"/api/v1/traffic?{quote(asked, safe='=&')}")
    assert (reply.status, reply.json["detail"]) == (400, detail)


async def test_an_exchange_is_told_as_the_export_writes_it(path: Path) -> None:
    async with admin(path) as ask:
        found = (await ask("/api/v1/traffic?limit=1&until=2024-05-01T10:00:01Z")).body
    with contextlib.closing(query.open_to_read(path)) as log:
        [exchange] = log.newest(query.Filter(exchange="x-1", limit=1)).exchanges
    assert found == b'{"exchanges":[' + export.line(export.as_object(exchange)).rstrip() + b"]}\n"


async def test_exchanges_are_as_the_description_says(path: Path) -> None:
    write(path, CALL._replace(kind="refused", action="", raw=b"\xff\xfe", canonical=None, outcome="FormationViolation"))
    with contextlib.closing(LogWriter(path)) as log:
        log.write([gap(1e9, 3)])
    validator = jsonschema_rs.validator_for({**openapi(), "$ref": "#/components/schemas/Exchange"})
    async with admin(path) as ask:
        found = (await ask("/api/v1/traffic")).json["exchanges"]
    assert len(found) == 5
    for exchange in found:
        validator.validate(exchange)
    for name, told in (("Exchange", found[0]), ("Leg", found[1]["legs"][0]), ("Half", found[1]["legs"][0]["call"])):
        assert set(told) | {"rawBase64"} >= set(openapi()["components"]["schemas"][name]["properties"]) >= set(told)


async def test_that_a_text_was_not_looked_for_everywhere_is_told(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with admin(path) as ask:
        assert (await ask("/api/v1/traffic?text=nowhere")).json == {"exchanges": []}
        monkeypatch.setattr(query, "SEARCHED", 2)
        assert (await ask("/api/v1/traffic?text=nowhere")).json == {"exchanges": [], "searched": 2}


@pytest.mark.parametrize("name", ["1", "x-1"])
async def test_an_exchange_has_every_message_of_every_leg(path: Path, name: str) -> None:
    async with admin(path) as ask:
        found = (await ask(f"/api/v1/traffic/{name}")).json
    assert found["name"] == "x-1"
    assert [(step["step"], step["leg"]) for step in found["timeline"]] == [
        ("received", "charger"),
        ("sent", "csms"),
        ("answered", "csms"),
        ("returned", "charger"),
    ]
    assert [[leg["call"]["raw"], leg["answer"]["raw"]] for leg in found["legs"]] == [
        ["<heartbeat/>", "<ok/>"],
        ['[2,"a","Heartbeat",{}]', '[3,"a",{}]'],
    ]


async def test_numbers_in_the_canonical_form_keep_their_digits(path: Path) -> None:
    write(path, CALL._replace(exchange="x-9", wire="json", raw=b'[2,"a","B",{"n":1.50}]', canonical=None))
    async with admin(path) as ask:
        assert b'"canonical":[2,"a","B",{"n":1.50}]' in (await ask("/api/v1/traffic/x-9")).body


@pytest.mark.parametrize("name", ["99", "x-99", "..%2f..%2fetc", "%27%20OR%201=1"])
async def test_an_unknown_exchange_is_not_found(path: Path, name: str) -> None:
    async with admin(path) as ask:
        assert (await ask(f"/api/v1/traffic/{name}")).status == 404


async def test_hostile_text_stays_text(path: Path) -> None:
    write(path, CALL._replace(exchange="x-9", charger=HOSTILE, note=HOSTILE, raw=HOSTILE.encode(), canonical=[2, HOSTILE]))
    async with admin(path) as ask:
        reply = await ask("/api/v1/traffic/x-9")
    call = reply.json["legs"][0]["call"]
    assert [reply.json["charger"], call["note"], call["raw"], call["canonical"][1]] == [HOSTILE] * 4
    assert (reply.headers["Content-Type"], reply.headers["X-Content-Type-Options"]) == ("application/json", "nosniff")
    assert not [c for c in reply.body.decode().rstrip("\n") if not c.isprintable()]


# --- no log


@pytest.mark.parametrize("asked", ["/api/v1/traffic", "/api/v1/traffic/1", "/api/v1/traffic/stream"])
async def test_without_a_log_there_is_no_traffic(asked: str) -> None:
    async with admin(None) as ask:
        reply = await ask(asked)
    assert (reply.status, reply.json["detail"]) == (404, "expected traffic.enabled, no traffic is kept")


@pytest.mark.parametrize("asked", ["/api/v1/traffic", "/api/v1/traffic/1", "/api/v1/traffic/stream"])
async def test_a_log_that_is_not_there_yet_is_told(tmp_path: Path, asked: str) -> None:
    async with admin(tmp_path / "none.db") as ask:
        reply = await ask(asked)
    assert (reply.status, "no traffic log there" in reply.json["detail"]) == (503, True)


async def test_a_file_that_is_no_log_is_told(tmp_path: Path) -> None:
    (tmp_path / "bad.db").write_bytes(b"no database" * 1000)
    async with admin(tmp_path / "bad.db") as ask:
        reply = await ask("/api/v1/traffic")
    assert (reply.status, reply.json["detail"]) == (503, "the traffic log cannot be read: file is not a database")


async def test_a_question_that_takes_too_long_is_given_up(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log, "DEADLINE", 0.05)

    def endless(log: TrafficReader) -> object:
        assert isinstance(log, LogFile)
        sql = "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
        with query.reasons():
            return log.connection.execute(sql).fetchone()

    with pytest.raises(HTTPException) as refused:
        await log.Log(partial(query.open_to_read, path)).read(endless)
    assert refused.value.status_code == 503


def test_the_description_and_the_filters_name_the_same_parameters() -> None:
    listed = openapi()["paths"]["/api/v1/traffic"]["get"]["parameters"]
    names = [p["$ref"].rpartition("/")[2] if "$ref" in p else p["name"] for p in listed]
    assert sorted(names) == sorted(LISTED)


async def test_an_expression_filters(path: Path) -> None:
    async with admin(path) as ask:
        found = (await ask(f"/api/v1/traffic?filter={quote('charger == DC/2 or direction == down')}")).json["exchanges"]
        assert [each["id"] for each in found] == [2, 3]


async def test_an_expression_that_is_none_is_told_where(tmp_path: Path) -> None:
    async with admin(tmp_path / "log.db") as ask:
        reply = await ask(f"/api/v1/traffic?filter={quote('charger ==')}")
        assert (reply.status, "at character" in reply.json["detail"]) == (400, True)


async def test_who_has_the_right_sees_what_is_hidden_and_nobody_else(tmp_path: Path) -> None:
    frame = b'[2,"1","Authorize",{"idTag":"TAG4711"}]'
    write(tmp_path / "log.db", CALL._replace(wire="json", action="Authorize", raw=frame, canonical=None))
    (tmp_path / "token").write_text("reveal-me")
    config = Redaction(reveal_token_file=tmp_path / "token", audit_file=tmp_path / "audit")
    async with admin(tmp_path / "log.db", redaction=config) as ask:
        hidden, shown = await ask("/api/v1/traffic"), await ask("/api/v1/traffic", Reveal_Token="reveal-me")
        assert (b"TAG4711" in hidden.body, b"TAG4711" in shown.body) == (False, True)
        assert (await ask("/api/v1/traffic", Reveal_Token="no")).status == 403
    assert len((tmp_path / "audit").read_text().splitlines()) == 1


@pytest.mark.parametrize("query", ["text=TAG4711", f"filter={quote('payload.idTag in (TAG4711, TAG4712)')}"])
async def test_who_is_looked_for_is_not_kept_in_clear(query: str, tmp_path: Path) -> None:
    write(tmp_path / "log.db", CALL)
    (tmp_path / "token").write_text("reveal-me")
    config = Redaction(reveal_token_file=tmp_path / "token", audit_file=tmp_path / "audit")
    async with admin(tmp_path / "log.db", redaction=config) as ask:
        await ask(f"/api/v1/traffic?{query}", Reveal_Token="reveal-me")
    kept = (tmp_path / "audit").read_text()
    assert (len(kept.splitlines()), "TAG471" in kept) == (1, False)

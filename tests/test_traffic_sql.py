"""A filter as SQL says of a stored exchange what the predicate says of the exchange, and indices serve it."""

import sqlite3
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings

from gateway.traffic import predicate, sql
from gateway.traffic.exchanges import Exchange, Half, Leg
from gateway.traffic.language import parsed
from gateway.traffic.tree import Not, Tree, of_one_leg
from tests.filtered import NOW, exchanges, stored, tables, trees


@pytest.fixture(scope="module")
def connection() -> Iterator[sqlite3.Connection]:
    made = tables()
    yield made
    made.close()


_property = settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.too_slow])


def _found(connection: sqlite3.Connection, tree: Tree) -> bool:
    condition, values = sql.compiled(tree, NOW)
    return connection.execute(f"SELECT 1 FROM exchanges e WHERE {condition}", values).fetchone() is not None  # noqa: S608


@_property
@given(exchanges(), trees)
def test_sql_and_predicate_agree(connection: sqlite3.Connection, exchange: Exchange, tree: Tree) -> None:
    stored(connection, exchange)
    holds = predicate.compiled(tree, NOW)(exchange)
    assert _found(connection, tree) == holds


@_property
@given(trees)
def test_what_does_not_hold_for_want_of_values_holds_with_not(connection: sqlite3.Connection, tree: Tree) -> None:
    stored(connection, Exchange(1, "12", NOW))
    assert _found(connection, tree) != _found(connection, Not(tree)) or of_one_leg(tree)


_SERVED = {
    "since 10m": "exchanges_at (at>?)",
    "until 2026-01-31T12:00Z": "exchanges_at (at<?)",
    "since 1h and until 10m": "exchanges_at (at>? AND at<?)",
    "charger == cp7": "exchanges_charger (charger=?)",
    "charger == cp7 and since 10m": "exchanges_charger (charger=? AND at>?)",
    "charger == CP*": "exchanges_charger (charger>? AND charger<?)",
    "charger in (CP7, CP8)": "exchanges_charger (charger=?)",
    "action == stoptransaction": "exchanges_action (action=?)",
    "action in (StartTransaction, StopTransaction)": "exchanges_action (action=?)",
    "tenant == north": "exchanges_tenant (tenant=?)",
    "transaction == 4711": "exchanges_transaction (transaction_id=?)",
    "name == ab": "exchanges_name (name=?)",
    "id == 7": "INTEGER PRIMARY KEY (rowid=?)",
    "expert.severity >= warning": "exchanges_severity (severity>?)",
    'leg == "csms-b" and not ok and charger == CP7': "exchanges_charger (charger=?)",
}


@pytest.mark.parametrize(("text", "index"), _SERVED.items())
def test_an_index_serves_it(connection: sqlite3.Connection, text: str, index: str) -> None:
    condition, values = sql.compiled(parsed(text), NOW)
    plan = connection.execute(f"EXPLAIN QUERY PLAN SELECT * FROM exchanges e WHERE {condition}", values).fetchall()  # noqa: S608
    assert plan[0][3].startswith("SEARCH e USING")
    assert index in plan[0][3]


@pytest.mark.parametrize("dialect", ["sqlite", "postgres"])
@pytest.mark.parametrize(
    "text", ['charger == "\');--"', "payload.idTag == x and payload.a[0] ~ x", '"\'; DROP"', "note in (x, 'a*')"]
)
def test_nothing_of_the_text_is_in_the_sql(text: str, dialect: sql.DialectName) -> None:
    condition, values = sql.compiled(parsed(text), NOW, dialect)
    assert not any(said in condition for said in ("--", "DROP", "idTag", "'x'", "a*"))
    assert condition.count("?" if dialect == "sqlite" else "%s") == len(values)


def test_an_empty_expression_finds_all() -> None:
    assert sql.compiled(parsed(""), NOW) == ("TRUE", [])


_HELD = ('payload.a ~ "\ufffd"', "payload.b > 5", "payload.d > 5", "payload.c == 3.1", '"3.10"', "not payload.e")


@pytest.mark.parametrize("text", _HELD)
def test_payloads_are_kept_as_sql_can_look_into_them(connection: sqlite3.Connection, text: str) -> None:
    """Not as a strategy has them: with spaces, escapes, exponents, and U+0000."""
    raw = rb'[2, "1", "DataTransfer", {"a": "\u0078\u0000", "b": 1e999, "c": 3.10, "d": 123456789012345678901234567890}]'
    exchange = Exchange(1, "x", NOW, legs=[Leg("charger", True, "json", "1.6", call=Half(NOW, raw))])
    kept = predicate.payload_text(exchange)
    assert kept == '{"a":"x\ufffd","b":1E+999,"c":3.10,"d":123456789012345678901234567890}'
    connection.execute("DELETE FROM exchanges")
    connection.execute("INSERT INTO exchanges (id, payload) VALUES (1, ?)", (kept,))
    tree = parsed(text)
    assert _found(connection, tree) == predicate.compiled(tree, NOW)(exchange) is True

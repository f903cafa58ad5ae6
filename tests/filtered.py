"""What filters are tried on: exchanges of few values, so that conditions often hold, the tables that keep them, and trees."""

import json
import sqlite3
from collections.abc import Iterable
from typing import Any

from hypothesis import strategies as st

from gateway.traffic.exchanges import Exchange, Finding, Half, Leg
from gateway.traffic.fields import FIELDS, OPERATORS, Ago, Field, Moment, Severity, Spelt, Type, Value
from gateway.traffic.tree import And, Compare, Has, In, Name, Not, Or, Tree
from translations.messages import Kind, Remark

NOW = 1_700_000_000.0

CHARGERS = ("", "CP7", "cp7", "CP8", "CPé", "CPÉ", "a*b", "x[1]", "100%", "a_b\\")
WORDS = (
    "",
    "ok",
    "Ok",
    "GenericError",
    "csms-b",
    "charger",
    "json",
    "soap",
    "1.6",
    "CP7",
    'say "é" \'\\',
    "line\nline",
    "a*b",
    "%",
    "_",
)
TEXTS = ("", "04AB", "04ab", "0012", "12", "true", "ÉT", "ét", 'a"b\\c', "Accepted", "line\nline", "a%b_c", "[x]-^")
NUMBERS = (0, 1, -1, 12, 4711, 1.5, 0.25, 2**63, 10**400, 1e300)
GLOBS = (
    "*",
    "CP*",
    "c?7",
    "*7",
    "*[a-z]*",
    "[!c]*",
    "[]x]*",
    "[[]*",
    "*é",
    "a[*]b",
    "[^]-]*",
    "0*B",
    "*%*",
    "[0-9][0-9]",
    "?",
    "**a**",
    "[^^]*",
    "[-^]*",
)

# --- exchanges ---------------------------------------------------------------------------------------------------------

_remarks = st.lists(
    st.builds(Remark, st.sampled_from(Kind), st.just("idTag"), st.just(""), st.sampled_from(("clip", "clop"))), max_size=2
)
_json = st.recursive(
    st.none() | st.booleans() | st.sampled_from(NUMBERS) | st.sampled_from(TEXTS),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
_payloads = st.dictionaries(st.sampled_from("abc"), _json, max_size=3)
_latencies = st.none() | st.sampled_from((0.0, 0.15, 2.0, 3.5))


def dumped(value: Any) -> bytes:
    """On one line, without spaces."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()


@st.composite
def halves(draw: st.DrawFn, frame: list[Any]) -> Half | None:
    """A message that holds this frame, or none."""
    if draw(st.integers(0, 4)) == 0:
        return None
    soap = draw(st.booleans())
    return Half(
        NOW,
        b"<soap/>" if soap else dumped(frame),
        dumped(frame) if soap and draw(st.booleans()) else None,
        remarks=tuple(draw(_remarks)),
        note=draw(st.sampled_from(("", "too late"))),
    )


@st.composite
def legs(draw: st.DrawFn, name: str) -> Leg:
    """A leg of that name."""
    answer: list[Any] = draw(st.sampled_from(([3, "1", draw(_payloads)], [4, "1", "GenericError", "", {}])))
    return Leg(
        name=name,
        inward=draw(st.booleans()),
        wire=draw(st.sampled_from(("soap", "json"))),
        version=draw(st.sampled_from(("", "1.5", "1.6"))),
        peer=draw(st.sampled_from(WORDS)),
        call=draw(halves([2, "1", "Authorize", draw(_payloads)])),
        answer=draw(halves(answer)),
        outcome=draw(st.sampled_from(("", "ok", "GenericError"))),
        refused=draw(st.booleans()),
        latency=draw(_latencies),
    )


@st.composite
def exchanges(draw: st.DrawFn) -> Exchange:
    """An exchange of up to three legs."""
    names = draw(st.lists(st.sampled_from(("charger", "csms-a", "csms-b")), unique=True, max_size=3))
    severities = st.sampled_from(("note", "warning", "error"))
    return Exchange(
        id=draw(st.integers(1, 20)),
        name=draw(st.sampled_from(("12", "ab", "AB"))),
        at=NOW - draw(st.sampled_from((0.0, 59.0, 60.0, 600.5))),
        charger=draw(st.sampled_from(CHARGERS)),
        tenant=draw(st.sampled_from(("", "north", "North"))),
        action=draw(st.sampled_from(("", "Authorize", "StopTransaction"))),
        up=draw(st.booleans()),
        outcome=draw(st.sampled_from(("", "ok", "GenericError"))),
        latency=draw(_latencies),
        connector=draw(st.none() | st.integers(0, 2)),
        transaction=draw(st.none() | st.sampled_from((12, 4711))),
        legs=[draw(legs(name)) for name in names],
        findings=tuple(draw(st.lists(st.builds(Finding, st.sampled_from(("gap", "skew")), severities, st.just("")), max_size=2))),
    )


# --- tables ------------------------------------------------------------------------------------------------------------

TABLES = """
CREATE TABLE exchanges (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT, at REAL, charger TEXT, tenant TEXT, action TEXT,
    up INTEGER, outcome TEXT, latency REAL, connector INTEGER, transaction_id INTEGER, severity INTEGER, findings TEXT,
    payload TEXT, result TEXT);
CREATE INDEX exchanges_at ON exchanges (at);
CREATE INDEX exchanges_name ON exchanges (name);
CREATE INDEX exchanges_charger ON exchanges (charger COLLATE NOCASE, at);
CREATE INDEX exchanges_action ON exchanges (action COLLATE NOCASE, at);
CREATE INDEX exchanges_tenant ON exchanges (tenant COLLATE NOCASE, at) WHERE tenant <> '';
CREATE INDEX exchanges_transaction ON exchanges (transaction_id) WHERE transaction_id IS NOT NULL;
CREATE INDEX exchanges_severity ON exchanges (severity, at);
CREATE TABLE legs (exchange INTEGER REFERENCES exchanges, name TEXT, wire TEXT, version TEXT, peer TEXT, outcome TEXT,
    refused INTEGER, latency REAL, lost INTEGER, changed INTEGER, assumed INTEGER, repaired INTEGER, remarks TEXT, note TEXT,
    PRIMARY KEY (exchange, name)) WITHOUT ROWID;
"""


def tables() -> sqlite3.Connection:
    """The tables, empty, in memory."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(TABLES)
    return connection


def stored(connection: sqlite3.Connection, exchange: Exchange) -> None:
    """Nothing else is there afterwards."""
    connection.execute("DELETE FROM exchanges")
    connection.execute("DELETE FROM legs")
    row = exchange_row(exchange)
    connection.execute(f"INSERT INTO exchanges VALUES ({', '.join('?' * len(row))})", row)  # noqa: S608 - marks
    for leg in exchange.legs:
        cells = leg_row(exchange, leg)
        connection.execute(f"INSERT INTO legs VALUES ({', '.join('?' * len(cells))})", cells)  # noqa: S608 - marks


def exchange_row(x: Exchange) -> tuple[Any, ...]:
    """Its cells."""
    severity = max((("note", "warning", "error").index(finding.severity) + 1 for finding in x.findings), default=0)
    first = next((leg for leg in x.legs if leg.inward), x.legs[0] if x.legs else None)
    texts = (_held(first.call, 2, 3), _held(first.answer, 3, 2)) if first else (None, None)
    known = (x.id, x.name, x.at, x.charger, x.tenant, x.action, x.up, x.outcome, x.latency, x.connector, x.transaction)
    return *known, severity, dumped(x.findings).decode() if x.findings else None, *texts


def leg_row(x: Exchange, leg: Leg) -> tuple[Any, ...]:
    """Its cells."""
    said = [("call", *_cells(r)) for r in leg.call.remarks] if leg.call else []
    said += [("answer", *_cells(r)) for r in leg.answer.remarks] if leg.answer else []
    counts = [sum(row[1] == kind for row in said) for kind in ("lost", "changed", "assumed", "repaired")]
    note = (leg.answer.note if leg.answer else "") or (leg.call.note if leg.call else "")
    known = (x.id, leg.name, leg.wire, leg.version, leg.peer, leg.outcome, leg.refused, leg.latency)
    return *known, *counts, dumped(said).decode() if said else None, note


def _cells(remark: Remark) -> tuple[str, ...]:
    return (str(remark.kind), remark.path, remark.detail, remark.rule)


def _held(half: Half | None, kind: int, place: int) -> str | None:
    if half is None or (half.canonical is None and half.raw.startswith(b"<")):
        return None
    frame = json.loads(half.raw if half.canonical is None else half.canonical)
    return dumped(frame[place]).decode() if frame[0] == kind else None


# --- trees -------------------------------------------------------------------------------------------------------------

_POOLS: dict[Type, Iterable[Value]] = {
    Type.NUMBER: (0, 1, 12, 4711, 1.5, -1, 10**18 - 1),
    Type.COUNT: (0, 1, 2),
    Type.DURATION: (0.0, 0.15, 2.0, 90.0, 0.0000001),
    Type.TIME: (Ago(0.0), Ago(60.0), Ago(600.5), Moment(NOW), Moment(NOW - 60), Moment(0.000001)),
    Type.DIRECTION: ("up", "down"),
    Type.SEVERITY: tuple(Severity),
    Type.FREE: (*(text for text in TEXTS if text), '"a":', "{}", "é", "*", "u00"),
}
_NUMERALS = tuple(map(Spelt, ("0", "12", "0012", "1.5", "-1", "4711", "0.25", "1.50", "999999999999999999")))


def _pool(field: Field, operator: str) -> tuple[Value, ...]:
    texts = [text for text in (*CHARGERS, *WORDS, *TEXTS) if operator == "~" or "[" not in text]
    if field.type is Type.TEXT:
        own = [text for text in ("North", "authorize", "CLIP", "gap", "ab", "too late", "csms-b", "late", "e") if text]
        return tuple(text for text in (*texts, *own, *(GLOBS if operator != "~" else ())) if text)
    if field.type is not Type.JSON:
        return tuple(_POOLS[field.type])
    if operator == "~":
        return tuple(text for text in texts if text)
    return _NUMERALS if operator not in ("==", "!=", "in") else (*_NUMERALS, *texts, *GLOBS, True, False)


@st.composite
def conditions(draw: st.DrawFn) -> Tree:
    """A condition on any field."""
    field = draw(st.sampled_from(list(FIELDS.values())))
    steps: st.SearchStrategy[str | int] = st.sampled_from(("a", "b", "c", 0, 1))
    path: tuple[str | int, ...] = ()
    if field.type is Type.JSON:
        path = (draw(st.sampled_from("abc")), *draw(st.lists(steps, max_size=2)))
    name = Name(field, path)
    operators = OPERATORS[field.type] if field.type is not Type.BOOLEAN else ()
    can_be = field.type not in (Type.TIME, Type.DIRECTION, Type.FREE)
    if not operators or (can_be and draw(st.integers(0, 3)) == 0):
        return Has(name)
    operator = draw(st.sampled_from(operators))
    values = st.sampled_from(_pool(field, operator))
    if operator == "in":
        return In(name, tuple(draw(st.lists(values, min_size=1, max_size=3))))
    return Compare(name, operator, draw(values))


def _wider(inner: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    several = st.lists(inner, min_size=2, max_size=3).map(tuple)
    return st.builds(Not, inner) | st.builds(And, several) | st.builds(Or, several)


trees: st.SearchStrategy[Tree] = st.recursive(conditions(), _wider, max_leaves=6)

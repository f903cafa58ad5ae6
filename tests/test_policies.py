"""gateway.rules.policies: which row fits, what it does, and what is wrong with rows."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Policy
from gateway.rules import policies as made
from gateway.rules.globs import fits
from gateway.rules.policies import RULED, Fitting, Policies, carried_out, examine
from translations.messages import Call, Error, Result

NOW = "2026-02-01T00:00:00Z"
ROWS = (
    Policy(backends=("csms",), chargers="LAB-*", actions=("Heartbeat",), do="forward"),
    Policy(backends=("csms", "audit-*"), actions=("Heart*", "DataTransfer"), do="answer", payload={}),
    Policy(chargers="cp-[12]", actions=("Authorize",), do="error"),
    Policy(actions=("Reset",), direction="down", do="drop"),
)


@pytest.mark.parametrize(
    ("backend", "identity", "action", "direction", "row"),
    [
        ("csms", "CP-1", "Heartbeat", "up", 1),
        ("CSMS", "CP-1", "heartbeat", "up", 1),
        ("audit-2", "CP-1", "DataTransfer", "up", 1),
        ("csms", "lab-7", "Heartbeat", "up", None),
        ("audit-2", "lab-7", "Heartbeat", "up", 1),
        ("other", "CP-1", "Heartbeat", "up", None),
        ("other", "CP-1", "Authorize", "up", 2),
        ("other", "Cp-2", "Authorize", "up", 2),
        ("other", "CP-3", "Authorize", "up", None),
        ("other", "CP-3", "Reset", "down", 3),
        ("other", "CP-3", "Reset", "up", None),
        ("csms", "CP-1", "Heartbeat", "down", None),
    ],
)
def test_the_first_row_that_fits_wins(backend: str, identity: str, action: str, direction: str, row: int | None) -> None:
    found = Policies(ROWS).find(backend, identity, action, direction)
    assert found is (None if row is None else ROWS[row])


def test_without_rows_everything_is_forwarded() -> None:
    assert Policies(()).find("csms", "CP-1", "Heartbeat", "up") is None


_NAMES = st.sampled_from(("csms", "audit", "CSMS", "x"))
_GLOBS = st.sampled_from(("*", "c*", "CSMS", "?", "*i*", "[cx]*"))


@given(st.lists(st.tuples(_GLOBS, _GLOBS, _GLOBS), max_size=5), st.lists(st.tuples(_NAMES, _NAMES, _NAMES), max_size=9))
def test_what_is_kept_makes_no_difference(rows: list[tuple[str, str, str]], asked: list[tuple[str, str, str]]) -> None:
    made_of = [Policy(backends=(b,), chargers=c, actions=(a,), do="drop") for b, c, a in rows]
    policies = Policies(made_of)
    for names in asked * 2:
        fitting = [row for row, globs in zip(made_of, rows, strict=True) if all(map(fits, globs, names))]
        assert policies.find(*names, "up") is (fitting[0] if fitting else None)


def test_names_that_peers_make_up_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made, "KINDS", 3)
    monkeypatch.setattr(made, "IDENTITIES", 5)
    fitting: Fitting[Policy, Policy] = Fitting(ROWS, lambda rows: rows[0])
    for i in range(50):
        fitting("other", f"CP-{i}", f"Action{i}", "up")
        fitting("other", f"CP-{i}", "Authorize", "up")
    caches: list[Any] = [fitting._candidates, fitting._matched, fitting._found]
    assert [cache.cache_info().currsize for cache in caches] == [3, 5, 2]


def test_identities_are_not_kept_where_no_row_asks_for_them() -> None:
    fitting: Fitting[Policy, Policy] = Fitting(ROWS[1:2], lambda rows: rows[0])
    for i in range(50):
        assert fitting("csms", f"CP-{i}", "Heartbeat", "up") is ROWS[1]
    assert fitting._matched.cache_info().currsize == 0  # type: ignore[attr-defined]
    assert fitting._found.cache_info().currsize == 1  # type: ignore[attr-defined]


CALL = Call("StartTransaction", {"connectorId": 1}, "m-1", "CP-1")


@pytest.mark.parametrize(
    ("row", "answer"),
    [
        (Policy(do="drop"), None),
        (Policy(do="answer"), Result({}, "m-1", "StartTransaction", (RULED,))),
        (Policy(do="answer", payload={"limit": 0.1}), Result({"limit": Decimal("0.1")}, "m-1", "StartTransaction", (RULED,))),
        (
            Policy(do="error"),
            Error("NotSupported", "StartTransaction is refused by configuration", {}, "m-1", "StartTransaction", (RULED,)),
        ),
        (
            Policy(do="error", code="SecurityError", text="not here"),
            Error("SecurityError", "not here", {}, "m-1", "StartTransaction", (RULED,)),
        ),
    ],
)
def test_a_row_is_carried_out(row: Policy, answer: Any) -> None:
    assert carried_out(row, CALL, NOW) == answer


def test_each_answer_is_a_payload_of_its_own() -> None:
    row = Policy(do="answer", payload={"idTagInfo": {"status": "Accepted"}})
    for _ in range(2):
        answer = carried_out(row, CALL, NOW)
        assert isinstance(answer, Result)
        assert answer.payload == {"idTagInfo": {"status": "Accepted"}}
        answer.payload["idTagInfo"]["status"] = "Blocked"


@pytest.mark.parametrize(
    ("row", "key", "what"),
    [
        (Policy(do="drop", payload={}), "payload", 'expected none, or do = "answer", got do = "drop"'),
        (Policy(do="answer", actions=("x",), code="GenericError"), "code", 'expected none, or do = "error", got do = "answer"'),
        (Policy(do="drop", text="no"), "text", 'expected none, or do = "error", got do = "drop"'),
        (Policy(do="error", text="x" * 256), "text", "expected at most 255 characters, got 256"),
        (
            Policy(do="answer", actions=("auth*",)),
            "payload",
            "expected an answer to Authorize: Authorize.conf idTagInfo: expected it, found none",
        ),
        (
            Policy(do="answer", actions=("Reset",), direction="down", payload={"status": "Maybe"}),
            "payload",
            "expected an answer to Reset: Reset.conf status: expected Accepted or Rejected, got another text",
        ),
    ],
)
def test_what_is_wrong_with_a_row_is_told(row: Policy, key: str, what: str) -> None:
    assert list(examine([Policy(do="forward"), row])) == [((1, key), what)]


def test_nothing_is_wrong_with_rows_that_can_be_carried_out() -> None:
    more = Policy(do="answer", actions=("Authorize", "Start*"), payload={"idTagInfo": {"status": "Invalid"}, "transactionId": 1})
    assert list(examine(ROWS)) == [
        ((1, "payload"), "expected an answer to DataTransfer: DataTransfer.conf status: expected it, found none")
    ]
    assert [what for _, what in examine([more])] == [
        "expected an answer to Authorize: Authorize.conf transactionId: expected no such field"
    ]


def test_the_time_is_that_of_the_answer() -> None:
    row = Policy(actions=("Heartbeat",), do="answer", payload={"currentTime": "{now}"})
    assert list(examine((row,))) == []
    assert carried_out(row, CALL, NOW) == Result({"currentTime": NOW}, CALL.id, CALL.action, (RULED,))

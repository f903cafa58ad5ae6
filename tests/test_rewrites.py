"""gateway.rules.rewrites: what rows do to messages, what they tell of it, and what is wrong with rows."""

import json
from copy import deepcopy
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Rewrite
from gateway.rules.rewrites import Rewrites, Rule, examine, judge
from tests.judges import validator
from tests.strategies import forms, payloads
from translations.messages import Kind, Payload, Remark, Version


def row(**values: Any) -> Rewrite:
    return Rewrite.model_validate({"name": "r", **values})


def rule(*rows: Rewrite) -> Rule:
    found = Rewrites(rows).find("csms", "CP-1", "up", "call", "MeterValues")
    assert found is not None
    return found


def applied(payload: Payload, *rows: Rewrite) -> tuple[Payload, list[tuple[str, str]]]:
    """The payload, and of each remark kind and path."""
    after, remarks = rule(*rows).apply(payload)
    return after, [(remark.kind.value, remark.path) for remark in remarks]


METER: Payload = {
    "connectorId": 1,
    "meterValue": [
        {"timestamp": "t1", "sampledValue": [{"value": "1", "unit": "Wh"}, {"value": "2"}]},
        {"timestamp": "t2", "sampledValue": [{"value": "3", "unit": "kWh"}]},
    ],
}


@pytest.mark.parametrize(
    ("before", "values", "after", "remarks"),
    [
        ({"a": 1}, {"set": {"a": 2}}, {"a": 2}, [("changed", "a")]),
        ({}, {"set": {"a.b.c": 2.5}}, {"a": {"b": {"c": Decimal("2.5")}}}, [("changed", "a.b.c")]),
        ({"a": {"x": 0}}, {"set": {"a.b": True}}, {"a": {"x": 0, "b": True}}, [("changed", "a.b")]),
        ({"a": 1}, {"set": {"a": True}}, {"a": True}, [("changed", "a")]),
        ({"a": [1, 2]}, {"set": {"a[1]": 3}}, {"a": [1, 3]}, [("changed", "a[1]")]),
        ({"a": [{}, {"b": 1}]}, {"set": {"a[*].b": 1}}, {"a": [{"b": 1}, {"b": 1}]}, [("changed", "a[0].b")]),
        ({"a": [[1], [2]]}, {"set": {"a[*][0]": 3}}, {"a": [[3], [3]]}, [("changed", "a[0][0]"), ("changed", "a[1][0]")]),
        ({"a": 1}, {"copies": {"b.c": "a"}}, {"a": 1, "b": {"c": 1}}, [("changed", "b.c")]),
        ({"a": {"b": 1}}, {"copies": {"a": "a.b"}}, {"a": 1}, [("changed", "a")]),
        (
            {"a": [{"x": 1}, {}, {"x": 3}]},
            {"copies": {"a[*].y": "a[*].x"}},
            {"a": [{"x": 1, "y": 1}, {}, {"x": 3, "y": 3}]},
            [("changed", "a[0].y"), ("changed", "a[2].y")],
        ),
        ({"a": [1, 2, 3], "b": [0, 0]}, {"copies": {"b[*]": "a[*]"}}, {"a": [1, 2, 3], "b": [1, 2]}, None),
        ({"a": [7], "b": [0, 0]}, {"copies": {"b[*]": "a[*]"}}, {"a": [7], "b": [7, 0]}, [("changed", "b[0]")]),
        ({"a": "x"}, {"map": {"a": {"x": "y"}}}, {"a": "y"}, [("changed", "a")]),
        ({"a": 1}, {"map": {"a": {"1": 2}}}, {"a": 2}, [("changed", "a")]),
        ({"a": True}, {"map": {"a": {"true": "on", "1": "no"}}}, {"a": "on"}, [("changed", "a")]),
        ({"a": Decimal("16.0")}, {"map": {"a": {"16.0": 32}}}, {"a": 32}, [("changed", "a")]),
        ({"a": Decimal("1E+2")}, {"map": {"a": {"100": 1}}}, {"a": 1}, [("changed", "a")]),
        (
            {"a": ["x", "z", "x"]},
            {"map": {"a[*]": {"x": "y"}}},
            {"a": ["y", "z", "y"]},
            [("changed", "a[0]"), ("changed", "a[2]")],
        ),
        ({"a": 1, "b": 2}, {"remove": ["a"]}, {"b": 2}, [("lost", "a")]),
        ({"a": [1, 2, 3]}, {"remove": ["a[1]"]}, {"a": [1, 3]}, [("lost", "a[1]")]),
        ({"a": [{"b": 1}, {"c": 1}]}, {"remove": ["a[*].b"]}, {"a": [{}, {"c": 1}]}, [("lost", "a[0].b")]),
        ({"a": [1, 2]}, {"remove": ["a[*]"]}, {"a": []}, [("lost", "a[0]"), ("lost", "a[1]")]),
    ],
)
def test_a_row_changes_what_its_paths_name(
    before: Payload, values: dict[str, Any], after: Payload, remarks: list[tuple[str, str]] | None
) -> None:
    changed, told = applied(before, row(**values))
    assert repr(changed) == repr(after)
    assert remarks is None or told == remarks


@pytest.mark.parametrize(
    "values",
    [
        {"set": {"connectorId": 1}},
        {"set": {"connectorId.x": 1}},
        {"set": {"connectorId[0]": 1}},
        {"set": {"meterValue[2].timestamp": "t"}},
        {"set": {"meterValue.timestamp": "t"}},
        {"set": {"other[0].x": 1}},
        {"set": {"other.list[*].x": 1}},
        {"set": {"meterValue[*].other[*].x": 1}},
        {"copies": {"other": "missing"}},
        {"copies": {"other.deep": "meterValue[2]"}},
        {"copies": {"meterValue[*].x": "connectorId[*]"}},
        {"copies": {"other": "connectorId.x"}},
        {"copies": {"connectorId": "connectorId"}},
        {"copies": {"connectorId": "meterValue[*].timestamp"}},
        {"map": {"missing.deep": {"1": 2}}},
        {"map": {"connectorId": {"2": 3, "true": 4}}},
        {"map": {"meterValue": {"x": 3}}},
        {"map": {"meterValue[*].timestamp": {"T1": "t"}}},
        {"remove": ["missing", "missing.deep", "meterValue[2]", "meterValue[*].missing", "connectorId[0]"]},
    ],
)
def test_where_there_is_nothing_to_do_nothing_happens(values: dict[str, Any]) -> None:
    after, remarks = rule(row(**values)).apply(METER)
    assert after is METER
    assert remarks == ()


def test_what_is_not_on_the_way_is_shared() -> None:
    after, _ = applied(METER, row(set={"meterValue[1].sampledValue[0].unit": "Wh"}))
    assert after["meterValue"][0] is METER["meterValue"][0]
    assert after["meterValue"][1]["sampledValue"] == [{"value": "3", "unit": "Wh"}]
    assert METER["meterValue"][1]["sampledValue"] == [{"value": "3", "unit": "kWh"}]


def test_within_a_row_copies_come_first_and_removes_last() -> None:
    values = {"copies": {"b": "a"}, "map": {"b": {"1": "one"}, "a": {"1": "x"}}, "set": {"a": "two"}, "remove": ["c"]}
    after, remarks = applied({"a": 1, "c": 3}, row(**values))
    assert after == {"a": "two", "b": "one"}
    assert remarks == [("changed", "b"), ("changed", "b"), ("changed", "a"), ("changed", "a"), ("lost", "c")]


def test_a_copy_is_of_the_value_as_it_was_then() -> None:
    after, _ = applied({"a": {"x": 1}}, row(copies={"b": "a"}), row(set={"a.x": 2}), row(copies={"a.a": "a"}))
    assert after == {"a": {"x": 2, "a": {"x": 2}}, "b": {"x": 1}}


def test_a_value_that_is_set_belongs_to_the_row() -> None:
    both = rule(row(set={"a": {"b": 1}}), row(set={"a.b": 2, "a.c": [3]}, remove=["a.c[0]"]))
    assert [both.apply({})[0] for _ in range(2)] == [{"a": {"b": 2, "c": []}}] * 2


def test_every_row_that_fits_is_done_in_order() -> None:
    rows = [row(name="one", set={"a": 1}), row(name="no", actions=["x"], set={"a": 9}), row(name="two", map={"a": {"1": 2}})]
    after, remarks = rule(*rows).apply({})
    assert after == {"a": 2}
    assert [remark.rule for remark in remarks] == ["rewrites.one", "rewrites.two"]


def test_remarks_name_the_row_and_no_value() -> None:
    values = {"copies": {"b": "a"}, "map": {"a": {"TAG1": "TAG2"}}, "set": {"c": "TAG3"}, "remove": ["b"]}
    _, remarks = rule(row(name="tags", **values)).apply({"a": "TAG1"})
    assert remarks == (
        Remark(Kind.CHANGED, "b", "copied from a by the rewrite tags", "rewrites.tags"),
        Remark(Kind.CHANGED, "a", "mapped by the rewrite tags", "rewrites.tags"),
        Remark(Kind.CHANGED, "c", "set by the rewrite tags", "rewrites.tags"),
        Remark(Kind.LOST, "b", "removed by the rewrite tags", "rewrites.tags"),
    )


def test_remarks_are_bounded_and_say_so() -> None:
    _, remarks = rule(row(set={"a[*].x": 1})).apply({"a": [{}] * 5000})
    assert len(remarks) == 101
    assert remarks[-1] == Remark(Kind.CHANGED, "", "and 4900 more remarks", "remarks.more")


def test_values_of_the_configuration_become_those_of_messages() -> None:
    moment = datetime(2024, 5, 1, 10, tzinfo=UTC)
    after, _ = applied({}, row(set={"a": {"at": moment, "b": [0.1, 1]}}, map={"a": {"x": 0.5}}))
    assert after == {"a": {"at": "2024-05-01T10:00:00Z", "b": [Decimal("0.1"), 1]}}


# --- any row, any payload

_VALUES = st.recursive(
    st.sampled_from((0, 1, True, "x", "1", None, Decimal("1.0"))),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=12,
)
_PAYLOADS = st.dictionaries(st.sampled_from("abc"), _VALUES, max_size=3)
_PATHS = st.from_regex(r"[abc](\[(\*|[01])\])?(\.[abc](\[(\*|[01])\])?){0,2}", fullmatch=True)
_ROWS = st.builds(
    row,
    copies=st.dictionaries(_PATHS, _PATHS, max_size=2),
    map=st.dictionaries(_PATHS, st.dictionaries(st.sampled_from(("0", "1", "x", "true")), st.sampled_from(("y", 2)), max_size=2)),
    set=st.dictionaries(_PATHS, st.sampled_from((5, "z")) | st.builds(dict, a=st.just(1)), max_size=2),
    remove=st.lists(_PATHS, max_size=2),
)


@given(_PAYLOADS, st.lists(_ROWS, min_size=1, max_size=3))
def test_what_came_in_is_never_changed(payload: Payload, rows: list[Rewrite]) -> None:
    before = deepcopy(payload)
    after, remarks = rule(*rows).apply(payload)
    assert repr(payload) == repr(before)
    assert (after is payload) == (not remarks)


@given(_PAYLOADS, st.lists(_ROWS, min_size=1, max_size=3))
def test_the_same_payload_becomes_the_same_each_time(payload: Payload, rows: list[Rewrite]) -> None:
    done = rule(*rows)
    assert repr(done.apply(payload)) == repr(done.apply(deepcopy(payload)))


@given(_PAYLOADS, _PATHS)
def test_what_was_set_is_not_changed_by_setting_it_again(payload: Payload, path: str) -> None:
    done = rule(row(set={path: "z"}))
    after, _ = done.apply(payload)
    assert done.apply(after) == (after, ())


# --- which rows

WHICH = (
    row(name="calls", backends=["csms"], actions=["Meter*"], set={"a": 1}),
    row(name="answers", message="answer", actions=["Authorize"], remove=["idTagInfo.parentIdTag"]),
    row(name="lab", chargers="LAB-*", direction="down", set={"b": 1}),
)


@pytest.mark.parametrize(
    ("asked", "names"),
    [
        (("csms", "CP-1", "up", "call", "MeterValues"), ["calls"]),
        (("CSMS", "CP-1", "up", "call", "metervalues"), ["calls"]),
        (("other", "CP-1", "up", "call", "MeterValues"), None),
        (("csms", "CP-1", "up", "answer", "MeterValues"), None),
        (("csms", "CP-1", "up", "answer", "Authorize"), ["answers"]),
        (("csms", "CP-1", "down", "answer", "Authorize"), None),
        (("csms", "lab-1", "down", "call", "Reset"), ["lab"]),
        (("csms", "CP-1", "down", "call", "Reset"), None),
    ],
)
def test_rows_fit_by_backend_charger_direction_message_and_action(
    asked: tuple[str, str, str, str, str], names: list[str] | None
) -> None:
    found = Rewrites(WHICH).find(*asked)
    told = found and found.apply({"idTagInfo": {"parentIdTag": "TAG1"}})[1]
    assert (told and [remark.rule.removeprefix("rewrites.") for remark in told]) == names


def test_a_rule_is_made_once() -> None:
    rewrites = Rewrites(WHICH)
    assert rewrites.find("csms", "LAB-1", "down", "call", "Reset") is rewrites.find("csms", "LAB-2", "down", "call", "Reset")


# --- whether it is still a message


START: Payload = {"connectorId": 1, "idTag": "TAG1", "meterStart": 0, "timestamp": "2024-05-01T10:00:00Z"}


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"set": {"idTag": "TAG2"}}, ""),
        ({"remove": ["idTag"]}, "StartTransaction.req idTag: expected it, found none"),
        ({"set": {"idTag": "x" * 21}}, "StartTransaction.req idTag: expected at most 20 characters, got 21"),
        ({"set": {"vendor": 1}}, "StartTransaction.req vendor: expected no such field"),
        ({"map": {"connectorId": {"1": "one"}}}, "StartTransaction.req connectorId: expected integer, got text"),
    ],
)
def test_what_a_rewrite_made_is_judged_by_the_schema(values: dict[str, Any], complaint: str) -> None:
    after, _ = rule(row(**values)).apply(START)
    assert judge(after, "StartTransaction", False) == complaint
    assert validator("StartTransaction", False).is_valid(after) == (not complaint)


def test_an_action_without_a_schema_is_not_judged() -> None:
    assert judge({"x": 1}, "NotifyEvent", False) == ""


@given(st.sampled_from(forms(Version.V16)).flatmap(lambda form: st.tuples(st.just(form), payloads(form.type), st.data())))
def test_the_judge_is_of_one_mind_with_another_one(drawn: Any) -> None:
    form, payload, data = drawn
    if form.action == "MeterValues" and not form.response and not payload["meterValue"]:
        return  # may be empty, whatever the copy of the schema in the package says
    names = data.draw(st.lists(st.sampled_from(sorted(payload)), max_size=2)) if payload else []
    after, _ = rule(row(remove=names)).apply(payload)
    assert (judge(after, form.action, form.response) == "") == validator(form.action, form.response).is_valid(after)


# --- what is wrong with rows


@pytest.mark.parametrize(
    ("values", "place", "what"),
    [
        ({}, (1,), "expected at least one of copies, map, set and remove"),
        ({"name": "first", "remove": ["a"]}, (1, "name"), "expected another name, first is taken"),
        ({"copies": {"a": "b[*]"}}, (1, "copies"), "expected as many [*] in b[*] as in a"),
        ({"copies": {"a[*].b[*]": "b[*].c[0]"}}, (1, "copies"), "expected as many [*] in b[*].c[0] as in a[*].b[*]"),
        ({"remove": [".".join("a" * 33)]}, (1, "remove"), f"expected paths of at most 32 parts, got {('a.' * 40)[:65]}"),
        ({"set": {"a": float("nan")}}, (1, "set"), "expected values for a that JSON can say, without null"),
        ({"set": {"a": {"b": [None]}}}, (1, "set"), "expected values for a that JSON can say, without null"),
        ({"map": {"a": {"x": float("inf")}}}, (1, "map"), "expected values for a that JSON can say, without null"),
    ],
)
def test_what_is_wrong_with_a_row_is_told(values: dict[str, Any], place: tuple[int | str, ...], what: str) -> None:
    assert list(examine([row(name="first", remove=["a"]), row(**values)])) == [(place, what)]


def test_nothing_is_wrong_with_rows_that_can_be_done() -> None:
    good = row(name="good", copies={"a[*].b": "a[*].c[0]"}, set={"a": {"at": datetime.now(UTC), "b": [1, 0.5, "x", False]}})
    assert list(examine([*WHICH, good])) == []


def test_what_is_set_can_be_written_as_json() -> None:
    after, _ = applied({}, row(set={"a": {"at": datetime.now(UTC), "b": [1, "x", False]}}))
    assert json.loads(json.dumps(after)) == after

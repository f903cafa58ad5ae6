"""gateway.replay.diff: the changes lead from one value to the other, and what lies beside what is the best there is."""

from functools import lru_cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.replay import diff as module
from gateway.replay.diff import ADDED, CHANGED, GONE, REMOVED, aligned, applied, at, diff, same, without, written
from gateway.rules.rewrites import path_of

LEAVES = st.none() | st.booleans() | st.integers(-3, 3) | st.decimals(-9, 9, places=1) | st.text("ab", max_size=2)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3), max_leaves=20
)
ROWS = st.lists(st.sampled_from("abc"), max_size=8)

CHANGES: tuple[tuple[Any, Any, list[tuple[str, str, Any, Any]]], ...] = (
    ({"a": 1}, {"a": 2}, [(CHANGED, "a", 1, 2)]),
    ({"a": 1}, {"a": True}, [(CHANGED, "a", 1, True)]),
    ({"a": 1}, {}, [(REMOVED, "a", 1, None)]),
    ({}, {"a": None}, [(ADDED, "a", None, None)]),
    ([1, 2, 3], [2, 3], [(REMOVED, "[0]", 1, None)]),
    ([2, 3], [1, 2, 3], [(ADDED, "[0]", None, 1)]),
    ([{"v": 1, "u": "A"}], [{"v": 2, "u": "A"}], [(CHANGED, "[0].v", 1, 2)]),
    ({"a": [1]}, {"a": "1"}, [(CHANGED, "a", [1], "1")]),
    ({"a": {"b": [0, {"c": 1}]}}, {"a": {"b": [0, {}]}}, [(REMOVED, "a.b[1].c", 1, None)]),
)


@given(VALUES, VALUES)
def test_the_changes_lead_from_one_value_to_the_other(one: Any, other: Any) -> None:
    assert same(applied(diff(one, other), one), other)


@given(VALUES)
def test_what_is_the_same_differs_in_nothing(value: Any) -> None:
    assert diff(value, value) == ()


@given(VALUES, VALUES)
def test_both_places_of_a_change_hold_what_it_says(one: Any, other: Any) -> None:
    for change in diff(one, other):
        if change.kind != ADDED:
            assert at(one, change.path) is change.before
        if change.kind != REMOVED:
            assert at(other, change.there) is change.after


@pytest.mark.parametrize(("one", "other", "changes"), CHANGES)
def test_changes_are_as_small_as_they_can_be(one: Any, other: Any, changes: list[Any]) -> None:
    assert [(each.kind, written(each.path), each.before, each.after) for each in diff(one, other)] == changes


def longest(left: str, right: str) -> int:
    """By its definition (Wagner and Fischer)."""

    @lru_cache(None)
    def of(i: int, j: int) -> int:
        if i == len(left) or j == len(right):
            return 0
        return 1 + of(i + 1, j + 1) if left[i] == right[j] else max(of(i + 1, j), of(i, j + 1))

    return of(0, 0)


@given(ROWS, ROWS)
def test_as_many_as_can_be_are_beside_their_like(left: list[str], right: list[str]) -> None:
    pairs = aligned(left, right)
    both = [(i, j) for i, j in pairs if i is not None and j is not None]
    assert [i for i, _ in pairs if i is not None] == list(range(len(left)))
    assert [j for _, j in pairs if j is not None] == list(range(len(right)))
    assert all(left[i] == right[j] for i, j in both)
    assert len(both) == longest("".join(left), "".join(right))


@given(VALUES, VALUES)
def test_rows_too_long_for_the_table_are_still_told_whole(one: Any, other: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "MOST_CELLS", 0)
        assert same(applied(diff(one, other), one), other)


@pytest.mark.parametrize(
    ("path", "left"),
    [
        ("a", {"b": [{"c": 1, "d": 2}, {"c": 3}]}),
        ("b[*].c", {"a": 0, "b": [{"d": 2}, {}]}),
        ("b[1]", {"a": 0, "b": [{"c": 1, "d": 2}, None]}),
        ("x.y", None),
    ],
)
def test_what_is_ignored_is_left_out(path: str, left: Any) -> None:
    value = {"a": 0, "b": [{"c": 1, "d": 2}, {"c": 3}]}
    assert without(value, [path_of(path)]) == (value if left is None else left)


def test_nothing_stands_where_a_path_leads_nowhere() -> None:
    assert at({"a": [1]}, ("a", 1)) is at({"a": [1]}, ("b",)) is at(1, ("a",)) is GONE

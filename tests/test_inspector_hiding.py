"""What the API hides, and what somebody means who has changed what was shown."""

from typing import Any

import pytest

from gateway.inspector.hiding import restored

ONE, TWO = "idtag:AAAAAAAAAA", "idtag:BBBBBBBBBB"
HIDDEN = {"tags": [{"idTag": "TAG1"}, {"idTag": "TAG2"}], "meter": 1}
SHOWN = {"tags": [{"idTag": ONE}, {"idTag": TWO}], "meter": 1}


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (SHOWN, HIDDEN),
        ({**SHOWN, "meter": 2}, {**HIDDEN, "meter": 2}),
        ({"tags": [{"idTag": TWO}]}, {"tags": [{"idTag": "TAG2"}]}),
        ({"tags": [{"idTag": TWO}, {"idTag": ONE}, {"idTag": ONE}]}, {"tags": [{"idTag": t} for t in ("TAG2", "TAG1", "TAG1")]}),
        ({"tags": [{"idTag": "TAG3"}], "parent": ONE}, {"tags": [{"idTag": "TAG3"}], "parent": "TAG1"}),
        ({"tags": ONE}, {"tags": "TAG1"}),
        ([1, None], [1, None]),
    ],
)
def test_pseudonyms_stand_for_what_they_hide_wherever_they_are_put(given: Any, meant: Any) -> None:
    assert restored(given, SHOWN, HIDDEN) == meant


def test_null_that_is_given_stays_null() -> None:
    assert restored({"idTag": None, "new": None}, {"idTag": ONE}, {"idTag": "TAG1"}) == {"idTag": None, "new": None}


def test_what_stands_for_many_is_only_known_by_its_place() -> None:
    shown, hidden = {"a": "removed", "b": "removed"}, {"a": "x", "b": "y"}
    assert restored({"b": "removed", "c": "removed"}, shown, hidden) == {"b": "y", "c": "removed"}

"""gateway.replay.sessions: two sessions that went alike are alike, whatever their times and numbers."""

from dataclasses import replace
from typing import Any

import pytest

from gateway.replay import sessions
from gateway.replay.diff import written
from gateway.rules.rewrites import path_of
from gateway.traffic.exchanges import Exchange
from tests.replays import passed, session


def later(exchanges: list[Exchange], hours: int) -> list[Exchange]:
    """The same, so many hours later."""
    moved = [replace(each, at=each.at + hours * 3600, legs=list(each.legs)) for each in exchanges]
    for each in moved:
        leg = each.legs[0]
        assert leg.call is not None
        raw = leg.call.raw.replace(b"T10:", b"T%02d:" % (10 + hours))
        each.legs[0] = replace(leg, call=replace(leg.call, raw=raw))
    return moved


def told(left: list[Exchange], right: list[Exchange], *ignored: str) -> list[Any]:
    """Each row that differs: by paths, or by what stands alone."""
    rows = [row for row in sessions.compared(left, right, [path_of(path) for path in ignored]) if row.differs]
    return [
        [written(change.path) for change in row.changes]
        if row.left and row.right
        else (row.left and row.left.action, row.right and row.right.action)
        for row in rows
    ]


def test_times_and_numbers_are_those_of_the_session() -> None:
    assert told(session(number=7), later(session("CP-9", number=99), 2)) == []


def test_another_number_where_the_same_is_due_is_a_difference() -> None:
    right = session(number=7)
    right[4] = session(number=8)[4]
    assert told(session(), right) == [["call.transactionId"]]


def test_what_only_one_session_has_stands_alone() -> None:
    left, right = session(), session()
    right.insert(2, passed("Heartbeat", {}, {"currentTime": "x"}, 1.5))
    assert told(left, right) == [(None, "Heartbeat")]
    assert told(right, left) == [("Heartbeat", None)]


@pytest.mark.parametrize(("ignored", "left"), [((), [["answer.idTagInfo.status"]]), (("answer.idTagInfo",), [])])
def test_other_answers_are_told_unless_they_are_ignored(ignored: tuple[str, ...], left: list[Any]) -> None:
    one = [passed("Authorize", {"idTag": "TAG1"}, {"idTagInfo": {"status": "Accepted"}})]
    other = [passed("Authorize", {"idTag": "TAG1"}, {"idTagInfo": {"status": "Blocked"}})]
    assert told(one, other, *ignored) == left


def test_a_command_and_a_call_of_one_action_are_not_the_same() -> None:
    up, down = (passed("DataTransfer", {"vendorId": "V"}, {"status": "Accepted"}, up=up) for up in (True, False))
    assert told([up], [down]) == [("DataTransfer", None), (None, "DataTransfer")]


def test_empty_sessions_are_alike() -> None:
    assert sessions.compared([], []) == []

"""gateway.state.overdue: which answers may still come, to whom, and how many of them are waited for."""

from dataclasses import replace

import pytest

from gateway.exchange import Unanswered
from gateway.state import overdue as module
from gateway.state.overdue import PATIENCE, Due, Overdue
from translations.messages import Call, Error, Result

WAITED = 30.0


def due(n: int = 1, key: bytes = b"k", connector: int | None = 1, at: float = 0.0) -> Due:
    call = Call("StartTransaction", {"connectorId": connector, "meterStart": 5}, f"g{n}", "CP-1")
    return Due(key, call, connector, Unanswered("InternalError", backend="csms", waited=WAITED), at)


def table(*dues: Due) -> Overdue:
    overdue = Overdue()
    for each in dues:
        overdue.add(each)
    return overdue


async def test_for_a_while_it_counts_as_under_way() -> None:
    overdue = table(one := due(at=100.0))
    end = 100.0 + PATIENCE * WAITED
    assert [overdue.get(b"k", at) for at in (100.0, end - 1, end)] == [one, one, None]
    assert overdue.get(b"other", 100.0) is None


async def test_only_the_backend_that_heard_it_can_answer_it_and_however_late() -> None:
    overdue = table(one := due(at=-1e9))
    assert [overdue.find(*asked) for asked in (("csms", "g1"), ("audit", "g1"), ("csms", "g2"))] == [one, None, None]


async def test_an_answer_is_for_those_who_wait_and_ends_it() -> None:
    overdue = table(one := due())
    overdue.answered(one, answer := Result({}, "g1"))
    assert (one.came.result(), len(overdue), overdue.get(b"k", 0.0)) == (answer, 0, None)


async def test_a_result_is_for_those_too_who_wait_for_the_same_that_was_passed_on_since() -> None:
    overdue = table(old := due(1), new := due(2, at=100.0))
    overdue.answered(old, answer := Result({}, "g1"))
    assert (new.came.result(), len(overdue), overdue.newest(new)) == (answer, 0, False)


async def test_an_error_says_nothing_of_what_was_passed_on_since() -> None:
    overdue = table(old := due(1), new := due(2, at=100.0))
    overdue.answered(old, Error("InternalError", "g1"))
    assert (new.came.done(), overdue.get(b"k", 100.0), overdue.newest(new)) == (False, new, True)


async def test_the_newest_at_a_connector_is_so_until_something_happens_there() -> None:
    overdue = table(old := due(1), new := due(2, b"l"), other := due(3, b"m", connector=2))
    assert [overdue.newest(each) for each in (old, new, other)] == [False, True, True]
    overdue.passed("cp-1", 1)
    overdue.passed("cp-1", None)
    assert [overdue.newest(each) for each in (old, new, other)] == [False, False, True]


async def test_the_oldest_are_forgotten_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST", 2)
    overdue = table(*(due(n, bytes([n]), n) for n in range(5)))
    assert [overdue.get(bytes([n]), 0.0) is not None for n in range(5)] == [False] * 3 + [True] * 2
    assert (len(overdue), len(overdue._by_key), len(overdue._by_place)) == (2, 2, 2)


async def test_of_the_call_only_what_is_needed_is_held() -> None:
    start = {"connectorId": 1, "meterStart": 5}  # with it a transaction begins, whenever that is answered
    assert due().call == Call("StartTransaction", start, "g1", "CP-1")
    stop = Call("StopTransaction", {"transactionId": 5, "transactionData": [1] * 1000}, "g2", "CP-1")
    assert Due(b"2", stop, None, due().error, 0.0).call == replace(stop, payload={})


async def test_at_the_end_nobody_waits_any_more_and_answers_are_still_taken() -> None:
    overdue = table(one := due())
    overdue.close()
    overdue.add(two := due(2))
    assert (one.came.cancelled(), two.came.cancelled()) == (True, True)
    assert overdue.find("csms", "g1") is one
    overdue.answered(one, Result({}, "g1"))

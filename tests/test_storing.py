"""gateway.routing.storing: what an answer leaves on disk before it is heard, and what becomes of it if it cannot."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.exchange import Durable
from gateway.routing.storing import Storing
from gateway.state.letters import Rank
from tests.cores import CP, House, start
from translations.messages import Call, Result

ANSWER = Result({"transactionId": 1}, "1", "StartTransaction")
CALL = Call("StartTransaction", start(), "1", CP)
ROW = ("UPDATE transactions SET owner = ?", ("a",))


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with House(tmp_path / "state.db", answer=("a",), listen=("y", "z"), stores=("a", "z")) as house:
        house.down("a", "y", "z")
        yield house


def lanes(house: House) -> list[str]:
    return [lane.backend for lane in house.core.outbox._out.lanes.values() if lane.letters]


async def test_an_answer_for_which_nothing_is_stored_stays_as_it_is(house: House) -> None:
    assert Storing(house.core.outbox).answer(ANSWER) is ANSWER


async def test_what_is_in_memory_alone_is_there_at_once(house: House) -> None:
    storing = Storing(house.core.outbox)
    storing.post(house.core.legs["y"], CALL, Rank.MONEY)
    assert (storing.answer(ANSWER), lanes(house)) == (ANSWER, ["y"])


@pytest.mark.parametrize(("strict", "ok", "stands"), [(True, True, True), (True, False, False), (False, False, True)])
async def test_what_is_on_disk_first(house: House, strict: bool, ok: bool, stands: bool) -> None:
    done: list[str] = []
    storing = Storing(house.core.outbox, strict, lambda: done.append("undone"))
    storing.post(house.core.legs["a"], CALL, Rank.MONEY)
    storing.then(lambda: done.append("then"))
    answer = storing.answer(ANSWER)
    assert isinstance(answer, Durable) and answer.landed and answer.strict is strict and done == []
    answer.landed(ok)
    assert (done, lanes(house)) == (["then"], ["a"]) if stands else (["undone"], [])


@pytest.mark.parametrize(("ok", "left"), [(True, ["a", "z", "y"]), (False, [])])
async def test_listeners_stand_and_fall_with_an_answer_that_has_to_be_on_disk(house: House, ok: bool, left: Any) -> None:
    first, then, memory = Storing(house.core.outbox, strict=True), Storing(house.core.outbox), Storing(house.core.outbox)
    first.post(house.core.legs["a"], CALL, Rank.MONEY)
    then.post(house.core.legs["z"], CALL, Rank.MONEY)
    then.then(lambda: [memory.post(house.core.legs["y"], CALL, Rank.MONEY)].clear())
    answer = then.answer(first.answer(ANSWER))
    assert isinstance(answer, Durable) and answer.strict and answer.landed and len(answer.rows) == 2
    answer.landed(ok)
    assert lanes(house) == left


async def test_rows_of_all_are_one_commit_in_their_order(house: House) -> None:
    first, second = Storing(house.core.outbox), Storing(house.core.outbox)
    first.rows.append(ROW)
    second.rows.append((ROW[0], ("b",)))
    answer = second.answer(first.answer(ANSWER))
    assert isinstance(answer, Durable) and [values for _, values in answer.rows] == [("a",), ("b",)]
    assert not answer.strict


async def test_an_earlier_attempt_that_is_on_disk_stays(house: House) -> None:
    await house.say("StartTransaction", start())
    storing = Storing(house.core.outbox, strict=True)
    storing.post(house.core.legs["a"], CALL, Rank.MONEY)
    storing.landed(False)
    assert lanes(house) == ["a", "z", "y"]


async def test_what_is_stored_anyway_is_on_disk_by_and_by(house: House) -> None:
    storing = Storing(house.core.outbox)
    storing.post(house.core.legs["z"], CALL, Rank.MONEY, number=1)
    storing.anyway(house.core.running.note)
    await house.quiet()
    assert house.letters() == [("z", "StartTransaction", 1)]

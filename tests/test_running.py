"""gateway.routing.running: which transactions there are, and which one a message means."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.routing.running import AT_HAND, EACH, KEEP, LEAST, MOST_NUMBER, OURS, Running
from gateway.state.ledger import Ledger
from gateway.state.numbers import Transaction
from tests.cores import CP, NOW, Store, meter, start, stop
from translations.messages import Call, Payload


class Life:
    """One life of the gateway."""

    def __init__(self, path: Path) -> None:
        self.path, self.now = path, NOW

    async def begin(self) -> "Life":
        self.store = Store(self.path)
        self.store.open()
        self.ledger = Ledger(self.store, 86_400)
        await self.ledger.open(10)
        self.running = Running(self.ledger, lambda: self.now)
        await self.running.open()
        return self

    async def end(self) -> None:
        await self.ledger.close()
        self.store.close()

    async def again(self) -> None:
        await self.end()
        await self.begin()

    async def start(self, theirs: int | None = None, connector: int = 1, owner: str = "a", **more: Any) -> Transaction:
        late = more.pop("late", False)
        begun = await self.running.begin(call(start(connector, **more)), owner, theirs, late=late)
        await self.ledger.keep(rows=(begun.row(),))
        return begun

    @property
    def open(self) -> list[int]:
        return [each.number for each in self.running.open_at("cp-1")]


def call(payload: Payload, action: str = "StartTransaction") -> Call:
    return Call(action, payload, "1", CP)


@pytest.fixture
async def life(tmp_path: Path) -> AsyncIterator[Life]:
    life = await Life(tmp_path / "state.db").begin()
    yield life
    await life.end()


# --- which number the charger hears


@pytest.mark.parametrize("theirs", [LEAST, 5, MOST_NUMBER])
async def test_the_charger_hears_the_number_of_the_backend(life: Life, theirs: int) -> None:
    assert (await life.start(theirs)).number == theirs


@pytest.mark.parametrize("theirs", [None, 0, -1, MOST_NUMBER + 1, 2**63 - 1, 10**30])
async def test_else_it_hears_one_of_ours(life: Life, theirs: int | None) -> None:
    assert OURS <= (await life.start(theirs)).number <= MOST_NUMBER


@pytest.mark.parametrize("over", [False, True])
@pytest.mark.parametrize("owner", ["a", "b"])
@pytest.mark.parametrize("restarted", [False, True])
async def test_no_number_means_two_things(life: Life, over: bool, owner: str, restarted: bool) -> None:
    first = await life.start(5)
    if over:
        await life.ledger.keep(rows=(life.running.over(first),))
    if restarted:
        await life.again()
    second = await life.start(5, 2, owner)
    assert second.number >= OURS
    await life.again()
    assert [(await life.running.find(CP, each.number)).ids for each in (first, second)] == [{"a": 5}, {owner: 5}]  # type: ignore[union-attr]


async def test_numbers_of_other_chargers_are_their_own(life: Life) -> None:
    await life.start(5)
    assert (await life.running.begin(Call("StartTransaction", start(), "1", "CP-2"), "a", 5)).number == 5


# --- the same start again

AGAIN = [
    # given the first time, given now, owner, more, whether it is the same transaction
    (5, 5, "a", {}, True),
    (0, 0, "a", {}, True),
    (None, None, "a", {}, True),
    (5, 6, "a", {}, False),
    (5, None, "a", {}, False),
    (5, 5, "b", {}, False),
    (5, 5, "a", {"meter": 1}, False),
]


@pytest.mark.parametrize(("first", "now", "owner", "more", "same"), AGAIN)
async def test_the_same_start_again(life: Life, first: Any, now: Any, owner: str, more: Any, same: bool) -> None:
    known = await life.start(first)
    assert ((begun := await life.start(now, owner=owner, **more)) is known) is same
    assert life.open == [begun.number]


async def test_what_is_over_does_not_begin_again(life: Life) -> None:
    life.running.over(known := await life.start(5))
    assert (await life.start(5)).number != known.number


# --- what is open


async def test_the_next_start_at_a_connector_ends_what_was_open_there(life: Life) -> None:
    await life.start(1)
    await life.start(2, 2)
    await life.start(3, meter=9)
    assert life.open == [2, 3]
    await life.again()
    assert sorted(life.open) == [2, 3]


async def test_a_charger_that_goes_on_has_ended_what_was_open_there(life: Life) -> None:
    await life.start(1)
    life.running.goes_on(call(start()))
    assert life.open == [1]  # it repeats its start
    life.running.goes_on(call(start(2)))
    assert life.open == [1]
    life.running.goes_on(call(start(meter=9)))
    assert life.open == []


async def test_what_is_heard_of_late_ends_nothing(life: Life) -> None:
    await life.start(2, meter=9)
    late = await life.start(1, late=True)
    assert (life.open, late.over) == ([2], life.now)
    assert (await life.start(4, 2, late=True)).over is None


@pytest.mark.parametrize(("connector", "is_open"), [(1, []), (2, [1]), (0, [1]), ("1", [1]), (None, [1])])
async def test_an_available_connector_has_nothing_open(life: Life, connector: Any, is_open: list[int]) -> None:
    await life.start(1)
    life.running.freed("cp-1", connector)
    assert life.open == is_open
    await life.again()
    assert life.open == is_open


async def test_what_is_undone_never_was(life: Life) -> None:
    life.running.undone(await life.start())
    assert life.open == []


@pytest.mark.parametrize("connector", [2**31, 2**63, 2**70, -(2**70), "1", True, None])
async def test_a_connector_that_nobody_can_hold_does_no_harm(life: Life, connector: Any) -> None:
    begun = await life.start(5, connector)
    assert (begun.connector, life.ledger.fault) == (None, "")
    await life.again()
    assert life.open == [5]


# --- bounds


async def test_of_too_many_at_a_charger_the_oldest_is_over_and_found_on_disk(life: Life) -> None:
    for i in range(EACH + 1):
        await life.start(i + 1, i + 1)
    assert len(life.open) == EACH and 1 not in life.open
    await life.again()
    assert len(life.open) == EACH
    found = await life.running.find(CP, 1)
    assert found is not None and found.over is not None


async def test_what_is_over_goes_before_what_is_open(life: Life) -> None:
    for i in range(EACH):
        await life.start(i + 1, i + 1)
    life.running.over(await life.running.find(CP, 9))  # type: ignore[arg-type]
    await life.start(EACH + 1, EACH + 1)
    assert len(life.open) == EACH and life.running.at_hand(CP, 9) is None


async def test_what_is_over_leaves_the_memory_and_later_the_disk(life: Life) -> None:
    await life.ledger.keep(rows=(life.running.over(await life.start(5)),))
    await life.start(6, 2)
    life.now += AT_HAND + 1
    life.running.tick()
    assert [life.running.at_hand(CP, each) is None for each in (5, 6)] == [True, False]
    assert await life.running.find(CP, 5) is not None
    life.now += KEEP
    life.running.tick()
    await life.ledger.keep()
    life.now += AT_HAND
    life.running.tick()
    assert [await life.running.find(CP, each) is None for each in (5, 6)] == [True, False]


@pytest.mark.parametrize("number", [0, -1, 2**31, 2**63, 10**30, "5", None, 2**62])
async def test_what_was_never_told_is_nothing(life: Life, number: Any) -> None:
    await life.start(5)
    assert await life.running.find(CP, number) is None


async def test_a_file_that_cannot_be_read_knows_nothing(life: Life) -> None:
    await life.start(5)
    life.store.close()
    assert [await life.running.find(CP, 6), await life.running.called(CP, "a", 6)] == [None, None]
    assert await life.running.find(CP, 5) is not None


# --- what a message without a number means

ODD = (-1, 0, 2**63 - 1, -(2**63), 2**31)
MEANT = [
    # action, payload, whether it means the transaction 7 at connector 1 (TAG1, from 100)
    ("StopTransaction", stop(-1, 100), True),
    ("StopTransaction", stop(-1, 99), False),
    ("StopTransaction", stop(-1, 200, idTag="TAG2"), False),
    ("StopTransaction", stop(-1, 200, idTag="tag1"), True),
    ("MeterValues", meter(-1), True),
    ("MeterValues", meter(-1, 2), False),
    ("MeterValues", meter(-1, 0), False),
]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize(("action", "payload", "means"), MEANT)
async def test_an_odd_number_means_the_only_transaction_that_it_can(
    life: Life, odd: int, action: str, payload: Payload, means: bool
) -> None:
    await life.start(7, meter=100)
    said = call(payload | {"transactionId": odd}, action)
    settled = await life.running.settled(said)
    assert settled.payload["transactionId"] == (7 if means else odd)
    assert [remark.rule for remark in settled.remarks] == (["numbers.odd"] if means else [])


@pytest.mark.parametrize(("others", "means"), [((2,), False), ((1,), True), ((), True)])
async def test_where_it_is_not_plain_it_passes_as_it_is(life: Life, others: tuple[int, ...], means: bool) -> None:
    for each in others:
        await life.start(50 + each, each)
    await life.start(7, meter=5)
    settled = await life.running.settled(call(stop(-1), "StopTransaction"))
    assert settled.payload["transactionId"] == (7 if means else -1)


@pytest.mark.parametrize("number", [7, 8, MOST_NUMBER])
async def test_a_usual_number_means_what_it_says(life: Life, number: int) -> None:
    await life.start(7)
    said = call(stop(number), "StopTransaction")
    assert await life.running.settled(said) is said

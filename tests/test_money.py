"""gateway.routing.money: who answers for a transaction, what is stored, and what listeners get."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Policy, Replay, Rewrite
from gateway.exchange import Broken, NotSent, Unanswered
from gateway.routing.running import LEAST, MOST_NUMBER, OURS
from tests.cores import ACCEPTED, CP, House, meter, number, refused, rules, start, stop
from translations.messages import Answer, Call, Error, Result

ERROR = Error("InternalError", "no")
NOT_SENT = NotSent("InternalError", "away")
BROKEN = Broken("InternalError", "closed")
UNANSWERED = Unanswered("InternalError", "slow", backend="a", waited=30.0)
BLOCKED = Result({"transactionId": 7, "idTagInfo": {"status": "Blocked"}})
YES = Result({"transactionId": 7, "idTagInfo": ACCEPTED})

Make = Callable[..., House]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return lambda **more: House(tmp_path / "state.db", **more)


# --- a start at the backend that answers

REFUSE = [
    # what it says, what the charger hears, what is open
    (YES, 7, [(7, 1, "a")]),
    (BLOCKED, 7, []),
    (Result({"idTagInfo": ACCEPTED}), None, []),
    (Result({"transactionId": "7", "idTagInfo": ACCEPTED}), "7", []),
    (ERROR, ERROR, []),
    (NOT_SENT, NOT_SENT, []),
    (BROKEN, BROKEN, []),
    (UNANSWERED, UNANSWERED, []),
]


@pytest.mark.parametrize(("says", "hears", "is_open"), REFUSE)
async def test_with_refuse_the_charger_hears_what_the_backend_said(make: Make, says: Answer, hears: Any, is_open: Any) -> None:
    async with make(listen=("z",)) as house:
        house.at["a"].says["StartTransaction"] = says
        answer = await house.say("StartTransaction", start())
        assert type(answer) is type(hears) if isinstance(hears, Error) else answer.payload.get("transactionId") == hears  # type: ignore[union-attr]
        assert (house.open, house.letters()) == (is_open, [])
        assert len(house.at["z"].heard) == (not isinstance(hears, Error))


STORE = [
    # what it says, how often it had it, seconds until it may have it again
    (ERROR, 1, 60.0),
    (NOT_SENT, 0, None),
    (BROKEN, 0, None),
    (UNANSWERED, 0, 90.0),
]


@pytest.mark.parametrize(("says", "attempts", "due"), STORE)
async def test_with_store_the_charger_hears_yes_and_the_letter_is_on_disk(
    make: Make, says: Answer, attempts: int, due: float | None
) -> None:
    async with make(stores=("a",), listen=("z",), route={"away_authorize": "all"}) as house:
        house.at["a"].says["StartTransaction"] = says
        said = number(await house.core.exchange(Call("StartTransaction", start(), "1", CP)))
        rows = house.rows("SELECT number, attempts, due FROM letters")
        assert OURS <= said <= MOST_NUMBER
        assert rows == [(said, attempts, 0.0 if due is None else house.now + due)]
        await house.quiet()
        assert (house.open, house.at["z"].told()) == ([(said, 1, "a")], [("StartTransaction",)])


async def test_what_a_backend_gave_no_answer_to_is_learnt_when_the_answer_comes(make: Make) -> None:
    async with make(stores=("a",), route={"away_authorize": "all"}) as house:
        house.at["a"].says["StartTransaction"] = UNANSWERED
        said = number(await house.say("StartTransaction", start(), "c-1"))
        house.core.late("a", Result({"transactionId": 77, "idTagInfo": ACCEPTED}, "c-1", "StartTransaction"))
        await house.quiet()
        await house.say("StopTransaction", stop(said))
        assert house.at["a"].told("transactionId") == [("StartTransaction", None), ("StopTransaction", 77)]
        assert house.letters() == []


async def test_a_late_answer_to_a_start_is_what_the_repetition_hears_and_listeners_hear_it_once(make: Make) -> None:
    async with make(listen=("z",)) as house:
        house.at["a"].says["StartTransaction"] = UNANSWERED
        await house.say("StartTransaction", start(), "c-1")
        assert house.at["z"].heard == []
        house.core.late("a", Result({"transactionId": 2**40, "idTagInfo": ACCEPTED}, "c-1", "StartTransaction"))
        said = number(await house.say("StartTransaction", start(), "c-2"))
        assert (len(house.at["a"].heard), house.open) == (1, [(said, 1, "a")])
        assert house.at["z"].told() == [("StartTransaction",)]


async def test_a_late_answer_to_a_stop_is_told_to_listeners_too(make: Make) -> None:
    async with make(listen=("z",), stores=("z",)) as house:
        said = number(await house.say("StartTransaction", start()))
        house.at["a"].says["StopTransaction"] = UNANSWERED
        assert refused(await house.say("StopTransaction", stop(said), "c-1"))
        assert house.open == []
        house.core.late("a", Result({}, "c-1", "StopTransaction"))
        assert not refused(await house.say("StopTransaction", stop(said), "c-2"))
        assert house.at["z"].told("meterStop") == [("StartTransaction", None), ("StopTransaction", 100)]


async def test_a_late_answer_does_not_end_what_began_since(make: Make) -> None:
    async with make() as house:
        house.at["a"].says["StartTransaction"] = UNANSWERED
        await house.say("StartTransaction", start(), "c-1")
        del house.at["a"].says["StartTransaction"]
        second = number(await house.say("StartTransaction", start(meter=5)))
        house.core.late("a", Result({"transactionId": 99, "idTagInfo": ACCEPTED}, "c-1", "StartTransaction"))
        await house.quiet()
        assert house.open == [(second, 1, "a")]
        assert (await house.core.running.find(CP, 99)) is not None


async def test_a_transaction_that_a_backend_did_not_accept_can_be_stopped(make: Make) -> None:
    async with make() as house:
        house.at["a"].says["StartTransaction"] = BLOCKED
        await house.say("StartTransaction", start())
        assert isinstance(await house.say("StopTransaction", stop(7)), Result)
        assert house.at["a"].told("transactionId")[-1] == ("StopTransaction", 7)


async def test_a_stored_start_of_a_tag_that_is_not_known_is_over_at_once(make: Make) -> None:
    async with make(stores=("a",)) as house:
        house.down("a")
        answer = await house.say("StartTransaction", start())
        assert isinstance(answer, Result) and answer.payload["idTagInfo"] == {"status": "Invalid"}
        assert house.open == []


# --- order


async def test_what_comes_while_letters_wait_stands_behind_them(make: Make) -> None:
    async with make(stores=("a",), route={"away_authorize": "all"}) as house:
        house.down("a")
        said = number(await house.say("StartTransaction", start()))
        house.at["a"].is_up = True  # and nobody has told the lane yet
        assert rules(await house.core.exchange(Call("MeterValues", meter(said), "2", CP))) == ["outbox.stored"]
        await house.up("a")
        await house.say("StopTransaction", stop(said))
        assert house.at["a"].told("transactionId") == [("StartTransaction", None), ("MeterValues", 1), ("StopTransaction", 1)]
        assert house.letters() == []


async def test_all_is_delivered_after_a_restart_under_the_numbers_the_backend_gives(make: Make) -> None:
    house = make(stores=("a",), route={"away_authorize": "all"})
    async with house:
        house.down("a")
        said = number(await house.say("StartTransaction", start()))
        await house.again()
        await house.say("StopTransaction", stop(said))
        await house.again()
        await house.up("a")
        assert house.at["a"].told("transactionId", "meterStop") == [("StartTransaction", None, None), ("StopTransaction", 1, 100)]


# --- a disk that is full


@pytest.mark.parametrize("action", ["StartTransaction", "MeterValues", "StopTransaction"])
async def test_what_cannot_be_stored_is_left_to_the_charger_and_nothing_is_left_of_it(make: Make, action: str) -> None:
    async with make(stores=("a", "z"), listen=("z", "y"), route={"away_authorize": "all"}) as house:
        said = number(await house.say("StartTransaction", start()))
        house.down("a", "z")
        before = [len(each.heard) for each in house.at.values()]
        house.store.full = True
        payload = {"StartTransaction": start(2), "MeterValues": meter(said), "StopTransaction": stop(said)}[action]
        assert isinstance(await house.say(action, payload), NotSent)
        assert house.core.outbox._out.lanes == {}
        assert [each for each in house.open if each[1] == 2] == []
        assert [len(each.heard) for each in house.at.values()] == before


async def test_a_full_lane_leaves_it_to_the_charger(make: Make) -> None:
    async with make(stores=("a",), replay=Replay(rate=1e6, most=1), route={"away_authorize": "all"}) as house:
        house.down("a")
        said = number(await house.say("StartTransaction", start()))
        assert isinstance(await house.say("StartTransaction", start(2)), NotSent)
        assert isinstance(await house.say("StopTransaction", stop(said)), NotSent)
        assert house.letters() == [("a", "StartTransaction", said)]


# --- whose a transaction is


async def test_messages_of_a_transaction_go_to_its_owner_whoever_is_up(make: Make) -> None:
    async with make(answer=("a", "b")) as house:
        said = number(await house.say("StartTransaction", start()))
        house.down("a")
        assert isinstance(await house.say("StopTransaction", stop(said)), NotSent)
        assert house.at["b"].heard == []
        await house.up("a")
        assert isinstance(await house.say("StopTransaction", stop(said)), Result)


async def test_with_failover_in_transaction_the_next_one_hears_the_start_first(make: Make) -> None:
    async with make(answer=("a", "b"), route={"failover_in_transaction": True}) as house:
        said = number(await house.say("StartTransaction", start()))
        house.down("a")
        await house.say("MeterValues", meter(said))
        await house.say("StopTransaction", stop(said))
        told = house.at["b"].told("transactionId")
        assert told == [("StartTransaction", None), ("MeterValues", 1001), ("StopTransaction", 1001)]
        assert house.at["b"].heard[0].payload == start()


async def test_a_transaction_whose_start_is_stored_does_not_move(make: Make) -> None:
    route = {"failover_in_transaction": True, "away_authorize": "all", "failover_after": 0.0}
    async with make(answer=("a", "b"), stores=("a",), route=route) as house:
        house.down("a", "b")
        said = number(await house.say("StartTransaction", start()))
        await house.up("b")
        await house.say("StopTransaction", stop(said))
        await house.up("a")
        assert (house.at["a"].told(), house.at["b"].heard) == ([("StartTransaction",), ("StopTransaction",)], [])


async def test_the_boot_is_stored_before_what_carries_money_and_never_in_its_way(make: Make) -> None:
    async with make(stores=("a",)) as house:
        house.down("a")
        for boot, ranks in (({"chargePointVendor": "\ud800"}, [2]), ({"chargePointVendor": "Volt"}, [2, 0, 2])):
            house.roster.booted(house.roster.get(CP), boot)  # type: ignore[arg-type]
            assert not refused(await house.say("StopTransaction", stop(5, len(ranks))))
            assert house.rows("SELECT rank FROM letters ORDER BY id") == [(rank,) for rank in ranks]


async def test_a_transaction_of_a_backend_that_is_gone_is_told_to_the_one_that_answers_now(make: Make, tmp_path: Path) -> None:
    async with make(answer=("b",)) as house:
        said = number(await house.say("StartTransaction", start()))
    async with House(tmp_path / "state.db", answer=("a",)) as house:
        assert isinstance(await house.say("StopTransaction", stop(said)), Result)
        assert house.at["a"].told("transactionId") == [("StartTransaction", None), ("StopTransaction", 1)]
        assert house.rows("SELECT owner, over IS NOT NULL FROM transactions") == [("a", 1)]


@pytest.mark.parametrize(("unknown", "heard"), [(None, True), ("pass", True), ("drop", False)])
async def test_a_transaction_of_which_nobody_knows(make: Make, unknown: str | None, heard: bool) -> None:
    async with make(peers={"a": {"unknown_transaction": unknown}}) as house:
        assert isinstance(await house.say("StopTransaction", stop(55)), Result)
        assert house.at["a"].told("transactionId") == ([("StopTransaction", 55)] if heard else [])


async def test_a_stop_weeks_later_finds_its_transaction(make: Make) -> None:
    async with make(answer=("a", "b"), listen=("z",)) as house:
        house.at["a"].says["StartTransaction"] = Result({"transactionId": 2**40, "idTagInfo": ACCEPTED})
        said = number(await house.say("StartTransaction", start()))
        await house.say("StatusNotification", {"connectorId": 1, "status": "Available", "errorCode": "NoError"})
        house.now += 25 * 86_400
        house.core.tick()
        await house.again()
        await house.say("StopTransaction", stop(said))
        assert house.at["a"].told("transactionId")[-1] == ("StopTransaction", 2**40)
        assert house.at["z"].told("transactionId")[-1] == ("StopTransaction", 2001)


# --- policies and rewrites

POLICIES = [
    # what is done for a, what the charger hears, who is asked
    ({"do": "forward"}, 1, "a"),
    ({"do": "answer", "payload": {"transactionId": 42, "idTagInfo": ACCEPTED}}, 42, ""),
    ({"do": "error", "code": "NotSupported"}, "NotSupported", ""),
    ({"do": "drop"}, 1001, "b"),
]


@pytest.mark.parametrize(("policy", "hears", "asked"), POLICIES)
@pytest.mark.parametrize("stores", [(), ("a", "b")])
@pytest.mark.parametrize("failover_after", [0.0, 10.0])
async def test_what_a_policy_makes_of_a_start(
    make: Make, policy: Any, hears: Any, asked: str, stores: Any, failover_after: float
) -> None:
    policies = (Policy(backends=("a",), actions=("StartTransaction",), **policy),)
    route = {"failover_after": failover_after}
    async with make(answer=("a", "b"), stores=stores, policies=policies, route=route) as house:
        answer = await house.say("StartTransaction", start())
        assert (answer.code if isinstance(answer, Error) else number(answer)) == hears
        assert [name for name, each in house.at.items() if each.heard] == list(asked)
        assert house.letters() == []


async def test_what_one_backend_is_not_to_hear_is_stored_for_the_next(make: Make) -> None:
    policies = (Policy(backends=("a",), actions=("StartTransaction",), do="drop"),)
    async with make(answer=("a", "b"), stores=("a", "b"), policies=policies) as house:
        house.down("b")
        await house.say("StartTransaction", start())
        assert [row[0] for row in house.letters()] == ["b"]
        await house.up("b")
        assert house.at["b"].told() == [("StartTransaction",)]


async def test_meter_values_that_the_owner_is_not_to_hear_do_not_move_the_transaction(make: Make) -> None:
    policies = (Policy(backends=("a",), actions=("MeterValues",), do="drop"),)
    async with make(answer=("a", "b"), policies=policies) as house:
        said = number(await house.say("StartTransaction", start()))
        await house.say("MeterValues", meter(said))
        assert house.open == [(said, 1, "a")]
        await house.say("StopTransaction", stop(said))
        assert house.at["a"].told() == [("StartTransaction",), ("StopTransaction",)]


BAD = Rewrite(name="bad", backends=("*",), actions=("StartTransaction",), set={"meterStart": "much"})


async def test_what_a_rewrite_makes_invalid_is_an_error_to_the_charger(make: Make) -> None:
    async with make(rewrites=(BAD,)) as house:
        assert refused(await house.say("StartTransaction", start()))
        assert house.at["a"].heard == []


@pytest.mark.parametrize("stores", ["a", "z"])
async def test_what_a_rewrite_makes_invalid_is_a_dead_letter_where_it_is_stored(make: Make, stores: str) -> None:
    rewrites = (BAD.model_copy(update={"backends": (stores,)}),)
    async with make(listen=("z",), stores=(stores,), rewrites=rewrites, route={"away_authorize": "all"}) as house:
        await house.say("StartTransaction", start())
        await house.up(stores, after=120.0)
        assert house.at[stores].heard == []
        assert [(each.backend, each.action) for each in await house.core.outbox.dead()] == [(stores, "StartTransaction")]


# --- listeners


@pytest.mark.parametrize("stores", [(), ("z",)])
async def test_listeners_have_numbers_of_their_own(make: Make, stores: Any) -> None:
    async with make(listen=("z",), stores=stores) as house:
        said = number(await house.say("StartTransaction", start()))
        await house.say("MeterValues", meter(said))
        await house.say("StopTransaction", stop(said))
        told = house.at["z"].told("transactionId")
        assert told == [("StartTransaction", None), ("MeterValues", 1001), ("StopTransaction", 1001)]


@pytest.mark.parametrize("action", ["StartTransaction", "StopTransaction"])
async def test_a_repeated_message_is_heard_once(make: Make, action: str) -> None:
    async with make(listen=("z",)) as house:
        said = number(await house.say("StartTransaction", start()))
        payload = start() if action == "StartTransaction" else stop(said)
        answers = [await house.say(action, payload) for _ in range(3)]
        assert len({str(answer.payload) for answer in answers if isinstance(answer, Result)}) == 1
        assert [each.told().count((action,)) for each in house.at.values()] == [1, 1]


@pytest.mark.parametrize("says", [ERROR, NOT_SENT, BROKEN, UNANSWERED])
async def test_what_the_charger_has_to_repeat_listeners_do_not_hear(make: Make, says: Answer) -> None:
    async with make(listen=("z", "y"), stores=("y",)) as house:
        house.at["a"].says |= dict.fromkeys(("StartTransaction", "MeterValues", "StopTransaction"), says)
        for action, payload in (("StartTransaction", start()), ("MeterValues", meter(5)), ("StopTransaction", stop(5))):
            assert refused(await house.say(action, payload))
        assert [house.at[name].heard for name in "zy"] == [[], []]
        assert house.letters() == []


async def test_a_listener_that_stores_hears_all_after_a_restart_and_one_with_refuse_is_introduced(make: Make) -> None:
    async with make(listen=("z", "y"), stores=("z",)) as house:
        house.down("z", "y")
        said = number(await house.say("StartTransaction", start()))
        await house.again()
        await house.say("StopTransaction", stop(said))
        await house.up("z", "y")
        for name, first in (("z", 1001), ("y", 2001)):
            assert house.at[name].told("transactionId") == [("StartTransaction", None), ("StopTransaction", first)]


@pytest.mark.parametrize(("unknown", "heard"), [(None, False), ("drop", False), ("pass", True)])
async def test_a_listener_and_a_transaction_that_began_before_the_gateway(make: Make, unknown: Any, heard: bool) -> None:
    async with make(listen=("z",), peers={"z": {"unknown_transaction": unknown}}) as house:
        await house.say("StopTransaction", stop(55))
        assert house.at["z"].told("transactionId") == ([("StopTransaction", 55)] if heard else [])
        assert house.core.legs["z"].dropped == (not heard)


async def test_old_letters_of_a_listener_keep_to_their_transaction_when_a_number_comes_again(make: Make) -> None:
    async with make(listen=("z",), stores=("z",)) as house:
        house.at["a"].says["StartTransaction"] = Result({"transactionId": 7, "idTagInfo": ACCEPTED})
        first = number(await house.say("StartTransaction", start()))
        house.down("z")
        await house.say("StopTransaction", stop(first))
        second = number(await house.say("StartTransaction", start(meter=100)))
        await house.say("StopTransaction", stop(second, 200))
        await house.up("z")
        told = house.at["z"].told("transactionId", "meterStop")
        assert [row for row in told if row[0] == "StopTransaction"] == [
            ("StopTransaction", 1001, 100),
            ("StopTransaction", 1002, 200),
        ]
        assert len(told) == 4


# --- numbers of the backend that answers

THEIRS = [
    # what it says, whether the charger hears the same
    (LEAST, True),
    (MOST_NUMBER, True),
    (0, False),
    (-1, False),
    (2**31, False),
    (2**40, False),
    (2**63 - 1, False),
    (-(2**63), False),
    (10**30, False),
]


@pytest.mark.parametrize(("theirs", "same"), THEIRS)
async def test_a_number_that_not_every_wire_carries_is_another_one_to_the_charger(make: Make, theirs: int, same: bool) -> None:
    async with make() as house:
        house.at["a"].says["StartTransaction"] = Result({"transactionId": theirs, "idTagInfo": ACCEPTED})
        said = number(await house.say("StartTransaction", start()))
        assert LEAST <= said <= MOST_NUMBER and (said == theirs) is same
        await house.again()
        await house.say("StopTransaction", stop(said))
        assert house.at["a"].told("transactionId")[-1] == ("StopTransaction", theirs)


async def test_a_backend_that_gives_one_number_again_and_again(make: Make) -> None:
    async with make() as house:
        house.at["a"].says["StartTransaction"] = Result({"transactionId": 7, "idTagInfo": ACCEPTED})
        said = [number(await house.say("StartTransaction", start(i % 2, i))) for i in range(4)]
        assert (said[0], len(set(said)), [each[0] for each in house.open]) == (7, 4, said[2:])
        for each in said:
            await house.say("StopTransaction", stop(each))
        assert house.at["a"].told("transactionId")[4:] == [("StopTransaction", 7)] * 4


async def test_a_start_that_its_backend_knows_again_is_the_same_transaction(make: Make) -> None:
    async with make() as house:
        house.at["a"].says["StartTransaction"] = Result({"transactionId": 7, "idTagInfo": ACCEPTED})
        await house.say("StartTransaction", start())
        house.now += 2 * 86_400  # nobody remembers what was answered
        assert number(await house.say("StartTransaction", start())) == 7
        assert house.open == [(7, 1, "a")]


# --- time


async def test_all_candidates_together_have_the_time_of_one_call(make: Make) -> None:
    async with make(answer=("a", "b"), route={"failover_in_transaction": True}) as house:
        said = number(await house.say("StartTransaction", start()))
        house.down("a")
        await house.say("MeterValues", meter(said))
        first, second = house.at["b"].within  # the start comes first
        assert first is not None and second is not None and second < first < house.config.server.answer_timeout


async def test_what_a_listener_has_no_room_for_is_counted(make: Make) -> None:
    async with make(listen=("z",), stores=("z",), replay=Replay(rate=1e6, most=1)) as house:
        house.down("z")
        said = number(await house.say("StartTransaction", start()))
        await house.say("StopTransaction", stop(said))
        assert house.core.outbox.tally.dropped == {("z", "full"): 1}


async def test_an_id_tag_info_that_no_backend_gave_is_remarked(make: Make) -> None:
    async with make(stores=("a",)) as house:
        house.down("a")
        assert rules(await house.say("StartTransaction", start())) == ["outbox.stored", "authorize.away"]


async def test_what_was_refused_as_often_as_it_may_be_is_a_dead_letter_at_once(make: Make) -> None:
    async with make(stores=("a",), route={"away_authorize": "all"}, replay=Replay(rate=1e6, attempts=1)) as house:
        house.at["a"].says["StartTransaction"] = ERROR
        assert not refused(await house.say("StartTransaction", start()))
        (dead,) = await house.core.outbox.dead()
        assert (house.at["a"].told(), dead.action) == ([("StartTransaction",)], "StartTransaction")
        assert dead.dead.startswith("refused once, with ")


async def test_what_a_rewrite_makes_invalid_is_a_dead_letter_at_once(make: Make) -> None:
    row = Rewrite(name="odd", actions=("StartTransaction",), message="answer", set={"transactionId": "none"})
    async with make(stores=("a",), rewrites=(row,), route={"away_authorize": "all"}) as house:
        assert not refused(await house.say("StartTransaction", start()))
        (dead,) = await house.core.outbox.dead()
        assert (house.at["a"].told(), "rewritten answer" in dead.dead) == ([("StartTransaction",)], True)

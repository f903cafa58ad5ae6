"""gateway.routing.leg: what stands between the router and one backend, step by step, and which sessions there are."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Policy, Rewrite
from gateway.exchange import NotSent, Silence, Unanswered
from gateway.outbox.outbox import Undeliverable
from tests.cores import ACCEPTED, CP, House, meter, number, refused, rules, start, stop
from translations.messages import Call, Error, Result

Make = Callable[..., House]
BOOT = {"chargePointVendor": "Volt", "chargePointModel": "A1"}
STATUS = {"connectorId": 1, "errorCode": "NoError"}
ALL = {"away_authorize": "all", "away_answers": ("BootNotification", "Heartbeat")}


@pytest.fixture
def make(tmp_path: Path) -> Make:
    return lambda **more: House(tmp_path / "state.db", **more)


def status(word: str, connector: int = 1) -> dict[str, Any]:
    return {**STATUS, "status": word, "connectorId": connector}


# --- sessions

PRESENCE = [
    # what happens, in order, and whether there is a session after each
    ("arrive leave arrive leave", "1010"),
    ("hold arrive leave free", "1110"),
    ("hold free arrive leave", "1010"),
    ("arrive hold free leave", "1110"),
    ("arrive hold leave free", "1110"),
    ("arrive hold leave arrive free leave", "111110"),
    ("hold hold free leave", "1100"),
    ("arrive arrive leave", "110"),
]


@pytest.mark.parametrize(("steps", "sessions"), PRESENCE)
async def test_there_is_a_session_while_somebody_wants_it(make: Make, steps: str, sessions: str) -> None:
    async with make() as house:
        leg, there = house.core.legs["a"], []
        do = {"arrive": leg.arrive, "leave": leg.leave}
        for step in steps.split():
            if step in do:
                do[step]("CP-2")
            else:
                leg.hold("cp-2", step == "hold")
            there.append(str(int("cp-2" in house.at["a"].sessions)))
        assert "".join(there) == sessions


async def test_a_session_stays_for_what_is_stored_and_no_longer(make: Make) -> None:
    async with make(stores=("a",), route=ALL) as house:
        house.down("a")
        await house.say("StartTransaction", start())
        house.leave()
        assert house.at["a"].sessions == {"cp-1"}
        await house.up("a")
        assert (house.at["a"].told(), house.at["a"].sessions) == ([("StartTransaction",)], set())


async def test_a_charger_that_leaves_while_it_is_answered_leaves_no_session(make: Make) -> None:
    async with make(listen=("z",), peers={"z": {"hear": "both"}}) as house:

        def leaves(_: Call) -> Result:
            house.leave()
            return Result({})

        house.at["a"].says["Heartbeat"] = leaves
        await house.say("Heartbeat")
        assert [each.sessions for each in house.at.values()] == [set(), set()]


# --- what listeners hear

HEAR = [("calls", ["Heartbeat"]), ("answers", ["DataTransfer"]), ("both", ["Heartbeat", "DataTransfer"])]


@pytest.mark.parametrize(("hear", "actions"), HEAR)
async def test_a_listener_hears_calls_or_answers_or_both(make: Make, hear: str, actions: list[str]) -> None:
    async with make(listen=("z",), peers={"z": {"hear": hear}}) as house:
        await house.say("Heartbeat", {}, "c-1")
        assert [call.action for call in house.at["z"].heard] == actions


@pytest.mark.parametrize("stores", [(), ("z",)])
@pytest.mark.parametrize("action", ["StatusNotification", "StartTransaction", "BootNotification"])
async def test_for_one_that_hears_answers_alone_no_call_is_stored(make: Make, stores: Any, action: str) -> None:
    async with make(listen=("z",), stores=stores, peers={"z": {"hear": "answers"}}) as house:
        house.down("z")
        payload = {"StatusNotification": status("Faulted"), "StartTransaction": start(), "BootNotification": BOOT}[action]
        await house.say(action, payload)
        assert (house.letters(), house.core.outbox._out.lanes) == ([], {})
        assert house.at["z"].told("messageId") == [("DataTransfer", f"{action}.conf")]


@pytest.mark.parametrize("error", [False, True])
async def test_an_answer_is_heard_as_the_frame_that_it_was(make: Make, error: bool) -> None:
    async with make(listen=("z",), peers={"z": {"hear": "answers"}}) as house:
        house.at["a"].says["Heartbeat"] = Error("InternalError", "TAG1 is unknown") if error else Result({"currentTime": "now"})
        await house.say("Heartbeat", {}, "c-1")
        told = house.at["z"].heard[0]
        assert (told.payload["vendorId"], told.payload["messageId"]) == ("ocpp-gateway", "Heartbeat.conf")
        frame = [4, "c-1", "InternalError", "", {}] if error else [3, "c-1", {"currentTime": "now"}]
        assert (json.loads(told.payload["data"]), told.id) == (frame, "c-1~")


async def test_what_is_changed_in_an_answer_for_a_listener_is_remarked(make: Make) -> None:
    row = Rewrite(name="when", backends=("z",), actions=("Heartbeat",), message="answer", set={"currentTime": "then"})
    async with make(listen=("z",), rewrites=(row,), peers={"z": {"hear": "answers"}}) as house:
        house.at["a"].says["Heartbeat"] = Result({"currentTime": "now"})
        await house.say("Heartbeat", {}, "c-1")
        told = house.at["z"].heard[0]
        assert json.loads(told.payload["data"]) == [3, "c-1", {"currentTime": "then"}]
        assert [remark.rule for remark in told.remarks] == ["rewrites.when"]


async def test_an_answer_that_json_cannot_say_reaches_the_charger_all_the_same(make: Make) -> None:
    async with make(listen=("z",), peers={"z": {"hear": "answers"}}) as house:
        house.at["a"].says["Heartbeat"] = Result({"currentTime": "\ud800"})
        assert isinstance(await house.say("Heartbeat"), Result)
        assert house.at["z"].heard == []


@pytest.mark.parametrize("do", ["drop", "error", "answer"])
@pytest.mark.parametrize("stores", [(), ("z",)])
async def test_a_policy_keeps_a_message_from_a_listener(make: Make, do: str, stores: Any) -> None:
    row = Policy(backends=("z",), actions=("Heartbeat", "StartTransaction"), do=do)  # type: ignore[arg-type]
    async with make(listen=("z",), stores=stores, policies=(row,), peers={"z": {"hear": "both"}}) as house:
        await house.say("Heartbeat")
        said = number(await house.say("StartTransaction", start()))
        await house.say("StopTransaction", stop(said))
        assert "StartTransaction" not in str(house.at["z"].told())
        assert [call.action for call in house.at["z"].heard] == ["DataTransfer"]  # it knows nothing of the transaction


# --- what was stored


@pytest.mark.parametrize("do", ["drop", "answer"])
async def test_a_policy_about_boots_does_not_stand_in_the_way_of_what_is_stored(make: Make, do: str) -> None:
    row = Policy(backends=("a",), actions=("BootNotification",), do=do, payload={} if do == "answer" else None)  # type: ignore[arg-type]
    async with make(stores=("a",), route=ALL) as house:
        house.down("a")
        await house.say("BootNotification", BOOT)
        await house.say("StartTransaction", start())
        house.config = house.config.model_copy(update={"policies": (row,)})
        await house.again()
        await house.up("a")
        assert (house.at["a"].told(), house.letters()) == ([("StartTransaction",)], [])


async def test_a_backend_that_gives_no_number_hears_the_start_once(make: Make) -> None:
    async with make(listen=("z",), stores=("z",)) as house:
        house.at["z"].says["StartTransaction"] = Result({})
        said = number(await house.say("StartTransaction", start()))
        await house.say("StopTransaction", stop(said))
        assert house.at["z"].told("transactionId") == [("StartTransaction", None), ("StopTransaction", said)]


async def test_a_start_that_was_introduced_meanwhile_is_not_told_again(make: Make) -> None:
    async with make(stores=("a",), route=ALL) as house:
        house.at["a"].says["StartTransaction"] = Error("InternalError", "no")
        said = number(await house.say("StartTransaction", start()))
        for _ in range(3):
            await house.up("a", after=500.0)
        (dead,) = await house.core.outbox.dead()
        del house.at["a"].says["StartTransaction"]
        await house.say("StopTransaction", stop(said))
        await house.core.outbox.replay([dead.id])
        await house.quiet()
        assert house.at["a"].told()[3:] == [("StartTransaction",), ("StopTransaction",)]
        assert house.letters() == []


async def test_the_late_answer_to_a_letter_is_read_as_one_in_time(make: Make) -> None:
    row = Rewrite(name="n", actions=("StartTransaction",), message="answer", map={"transactionId": {"5": 6}})
    async with make(stores=("a",), rewrites=(row,), route=ALL) as house:
        house.at["a"].says["StartTransaction"] = Unanswered("InternalError", "slow", backend="a", waited=30.0)
        said = number(await house.say("StartTransaction", start(), "c-1"))
        house.core.late("a", Result({"transactionId": 5, "idTagInfo": ACCEPTED}, "c-1"))
        await house.say("StopTransaction", stop(said))
        assert house.at["a"].told("transactionId")[-1] == ("StopTransaction", 6)


async def test_several_messages_at_a_time_introduce_a_transaction_once(make: Make) -> None:
    async with make(answer=("a", "b"), route={"failover_in_transaction": True}) as house:
        said = number(await house.say("StartTransaction", start()))
        house.down("a")
        await asyncio.gather(*(house.say("MeterValues", meter(said, value=str(i))) for i in range(5)))
        told = house.at["b"].told("transactionId")
        assert told == [("StartTransaction", None)] + [("MeterValues", 1001)] * 5


async def test_an_introduction_says_what_it_is_and_has_the_spelling_of_the_charger(make: Make) -> None:
    async with make(answer=("a", "b"), route={"failover_in_transaction": True}) as house:
        said = number(await house.say("StartTransaction", start()))
        await house.again()
        house.down("a")
        await house.say("StopTransaction", stop(said))
        first = house.at["b"].heard[0]
        assert (first.identity, [remark.rule for remark in first.remarks]) == (CP, ["numbers.introduced"])


@pytest.mark.parametrize("says", [Error("InternalError", "no"), NotSent("InternalError", "away")])
async def test_what_goes_wrong_with_an_introduction_is_the_answer(make: Make, says: Error) -> None:
    async with make(answer=("a", "b"), route={"failover_in_transaction": True}) as house:
        said = number(await house.say("StartTransaction", start()))
        house.down("a")
        house.at["b"].says["StartTransaction"] = says
        answer = await house.say("StopTransaction", stop(said), "c-9")
        assert (type(answer), answer.id, answer.action) == (type(says), "c-9", "StopTransaction")
        assert house.at["b"].told() == [("StartTransaction",)]


async def test_an_introduction_that_is_answered_late_is_not_repeated(make: Make) -> None:
    async with make(answer=("a", "b"), route={"failover_in_transaction": True}) as house:
        said = number(await house.say("StartTransaction", start()))
        house.down("a")
        house.at["b"].says["StartTransaction"] = Unanswered("InternalError", "slow", backend="b", waited=30.0)
        assert refused(await house.say("MeterValues", meter(said)))
        assert isinstance(await house.say("MeterValues", meter(said)), NotSent)
        assert house.core.legs["b"].late(Result({"transactionId": 9}, house.at["b"].heard[0].id))
        await house.say("MeterValues", meter(said))
        assert house.at["b"].told("transactionId") == [("StartTransaction", None), ("MeterValues", 9)]


async def test_an_introduction_that_is_never_answered_is_told_again_after_a_while(make: Make) -> None:
    async with make(answer=("a", "b"), route={"failover_in_transaction": True}) as house:
        said = number(await house.say("StartTransaction", start()))
        house.down("a")
        house.at["b"].says["StartTransaction"] = Unanswered("InternalError", "slow", backend="b", waited=30.0)
        await house.say("MeterValues", meter(said))
        del house.at["b"].says["StartTransaction"]
        house.now += 91
        await house.say("MeterValues", meter(said))
        assert house.at["b"].told() == [("StartTransaction",), ("StartTransaction",), ("MeterValues",)]


# --- names


async def tags(tmp_path: Path, rows: str, **more: Any) -> dict[str, Any]:
    path = tmp_path / "tags.toml"
    await asyncio.to_thread(path.write_text, rows)
    return {"id_tags_file": path, **more}


async def test_id_tags_are_the_backends_below_and_the_chargers_above(make: Make, tmp_path: Path) -> None:
    peers = {"a": await tags(tmp_path, '"TAG1" = "THEIRS"\n"PARENT" = "ABOVE"')}
    async with make(listen=("z",), peers=peers) as house:
        info = {"status": "Accepted", "parentIdTag": "ABOVE"}
        house.at["a"].says["StartTransaction"] = Result({"transactionId": 1, "idTagInfo": info})
        answer = await house.say("StartTransaction", start())
        assert isinstance(answer, Result) and answer.payload["idTagInfo"]["parentIdTag"] == "PARENT"
        assert [each.told("idTag") for each in house.at.values()] == [[("StartTransaction", each)] for each in ("THEIRS", "TAG1")]
        await house.command("a", "RemoteStartTransaction", idTag="THEIRS")
        assert house.link.asked[-1].payload["idTag"] == "TAG1"


async def test_a_stored_message_has_the_names_of_its_backend(make: Make, tmp_path: Path) -> None:
    peers = {"z": await tags(tmp_path, '"OTHER" = "X"', id_tag_other="DUMMY")}
    async with make(listen=("z",), stores=("z",), peers=peers) as house:
        house.down("z")
        said = number(await house.say("StartTransaction", start()))
        await house.say("StopTransaction", stop(said))
        await house.up("z")
        assert house.at["z"].told("idTag") == [("StartTransaction", "DUMMY"), ("StopTransaction", "DUMMY")]
        assert "DUMMY" not in str(house.rows("SELECT payload FROM letters"))


# --- rewrites

BAD = Rewrite(name="bad", actions=("StopTransaction", "Heartbeat"), set={"meterStop": "much"})


async def test_what_a_rewrite_has_made_invalid_is_said_to_nobody_even_of_an_unknown_transaction(make: Make) -> None:
    async with make(rewrites=(BAD,)) as house:
        assert isinstance(await house.say("StopTransaction", stop(55)), Undeliverable)
        assert house.at["a"].heard == []


async def test_a_listener_does_not_hear_what_a_rewrite_has_made_invalid(make: Make) -> None:
    async with make(listen=("z",), rewrites=(BAD.model_copy(update={"backends": ("z",)}),)) as house:
        assert isinstance(await house.say("Heartbeat"), Result)
        assert house.at["z"].heard == []


@pytest.mark.parametrize("message", ["call", "answer"])
@pytest.mark.parametrize(("word", "valid"), [("Soft", True), ("Rejected", True), ("Wet", False)])
async def test_rewrites_of_commands_and_their_answers(make: Make, message: str, word: str, valid: bool) -> None:
    field = "type" if message == "call" else "status"
    row = Rewrite(name="n", actions=("Reset",), direction="down", message=message, set={field: word})  # type: ignore[arg-type]
    async with make(rewrites=(row,)) as house:
        answer = await house.command("a", "Reset", type="Hard")
        fits = valid and (word == "Soft") is (message == "call")
        assert isinstance(answer, Result) is fits
        assert bool(house.link.asked) is (fits or message == "answer")


async def test_the_answer_of_a_backend_that_a_rewrite_has_made_invalid_is_an_error(make: Make) -> None:
    row = Rewrite(name="n", actions=("StartTransaction",), message="answer", set={"transactionId": "x"})
    async with make(rewrites=(row,)) as house:
        assert refused(await house.say("StartTransaction", start()))


# --- commands

DOWN = [
    ({"do": "forward"}, Result, True),
    ({"do": "answer", "payload": {"status": "Rejected"}}, Result, False),
    ({"do": "error", "code": "NotSupported"}, Error, False),
    ({"do": "drop"}, Silence, False),
]


@pytest.mark.parametrize(("policy", "kind", "asked"), DOWN)
async def test_what_a_policy_makes_of_a_command(make: Make, policy: Any, kind: type, asked: bool) -> None:
    async with make(policies=(Policy(actions=("Reset",), direction="down", **policy),)) as house:
        answer = await house.command("a", "Reset", type="Hard")
        assert (type(answer), bool(house.link.asked)) == (kind, asked)


# --- storms


async def test_who_boots_beyond_the_rate_is_told_to_come_again_each_later(make: Make) -> None:
    async with make(peers={"a": {"boot_rate": 0.01}}) as house:
        said = [await house.core.legs["a"].ask(Call("BootNotification", BOOT, str(i), CP)) for i in range(4)]
        told = [(each.payload["status"], each.payload["interval"]) for each in said if isinstance(each, Result)]
        assert len(house.at["a"].heard) == 1
        assert [status for status, _ in told] == ["Accepted"] + ["Rejected"] * 3
        assert rules(said[1]) == ["boot.spread"] and told[1][1] < told[2][1] < told[3][1]


async def test_chargers_that_come_before_their_time_are_not_put_off_for_days(make: Make) -> None:
    async with make(peers={"a": {"boot_rate": 0.01}}) as house:
        answers = [await house.say("BootNotification", dict(BOOT)) for _ in range(50)]
        assert isinstance(answers[-1], Result) and answers[-1].payload["interval"] == 3601


async def test_a_session_that_a_transaction_was_introduced_over_ends_with_the_charger(make: Make) -> None:
    async with make(answer=("a", "b")) as house:
        said = number(await house.say("StartTransaction", start()))
        house.leave()
        house.down("b")
        answer = await house.core.legs["b"].ask(Call("MeterValues", meter(said), "m-1", CP))
        assert (refused(answer), house.at["b"].sessions) == (True, set())

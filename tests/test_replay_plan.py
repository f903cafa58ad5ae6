"""gateway.replay.plan: what is played, with which numbers and times."""

import pytest

from gateway.replay import plan as module
from gateway.replay.plan import Lost, Numbers, TooMuch, planned, shifted
from gateway.traffic.exchanges import Exchange, Half, Leg
from tests.replays import ACCEPTED, START, passed, session
from translations.messages import Error, Result, Version

REFUSED = Exchange(0, "x", START, "CP-1", legs=[Leg("charger", True, "json", "1.6", call=Half(START, b"["), refused=True)])
OWN = Exchange(
    0, "y", START, "CP-1", action="BootNotification", legs=[Leg("csms", False, "json", "1.6", call=Half(START, b"[]"))]
)

TIMES = (
    ("2024-05-01T10:00:00Z", 3600, "2024-05-01T11:00:00Z"),
    ("2024-05-01T10:00:00.25Z", 0.5, "2024-05-01T10:00:00.75Z"),
    ("2024-05-01T10:00:00.000+02:00", -1, "2024-05-01T09:59:59.000+02:00"),
    ("2024-12-31T23:59:59", 1, "2025-01-01T00:00:00"),
    ("2024-05-01T10:00:00.123456789Z", 1, "2024-05-01T10:00:01.123456000Z"),
    ("yesterday", 1, "yesterday"),
    ("9999-12-31T23:59:59Z", 1e6, "9999-12-31T23:59:59Z"),
    ("2024-02-31T10:00:00Z", 1, "2024-02-31T10:00:00Z"),
)


def test_each_charger_has_a_lane_and_its_commands_are_waited_for() -> None:
    plan = planned([*session("CP-2"), *session("CP-1")])
    actions = ["BootNotification", "StartTransaction", "MeterValues", "StopTransaction"]
    assert [(lane.identity, [step.call.action for step in lane.steps]) for lane in plan.lanes] == [
        ("CP-2", actions),
        ("CP-1", actions),
    ]
    assert [[command.action for command in lane.commands] for lane in plan.lanes] == [["UnlockConnector"]] * 2
    assert plan.start == START


def test_one_identity_may_stand_for_all_chargers() -> None:
    (lane,) = planned([*session("CP-1"), *session("CP-2")], identity="TEST").lanes
    assert lane.identity == "TEST"
    assert len(lane.steps) == 8
    assert [step.exchange.at for step in lane.steps] == sorted(step.exchange.at for step in lane.steps)


def test_what_no_charger_said_is_left_out_and_told() -> None:
    down = passed("Reset", {"type": "Soft"}, {"status": "Accepted"}, charger="CP-9", up=False)
    plan = planned([REFUSED, OWN, passed("Heartbeat", {}, {"currentTime": "x"}), down])
    reasons = ["no message", "the charger did not say it", "a command to a charger that makes no call"]
    assert [each.reason for each in plan.left_out] == reasons
    assert len(plan.steps) == 1


def test_an_answer_of_the_backend_that_is_asked_again_counts_before_what_the_charger_heard() -> None:
    exchanges = [passed("Authorize", {"idTag": "TAG1"}, ACCEPTED, csms={"idTagInfo": {"status": "Blocked"}})]
    (one,), (other,) = planned(exchanges).steps, planned(exchanges, backend="csms").steps
    assert isinstance(one.answer, Result)
    assert isinstance(other.answer, Result)
    assert one.answer.payload == ACCEPTED
    assert other.answer.payload == {"idTagInfo": {"status": "Blocked"}}


def test_the_version_of_an_envelope_is_the_chargers() -> None:
    exchange = passed("Heartbeat", {}, {"currentTime": "x"})
    exchange.legs[0].version = "1.2"
    assert planned([exchange]).lanes[0].version is Version.V12


@pytest.mark.parametrize("name", ["MOST", "MOST_CHARGERS"])
def test_more_than_may_be_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(module, name, 1)
    with pytest.raises(TooMuch, match="expected at most 1 "):
        planned([*session("CP-1"), *session("CP-2")])


def test_later_messages_of_a_transaction_have_the_number_that_the_target_gave() -> None:
    steps = planned(session(number=7)).steps
    numbers = Numbers(steps)
    numbers.heard(steps[1], Result({"transactionId": 4711}))
    assert [numbers.of(step).payload.get("transactionId") for step in steps] == [None, None, 4711, 4711]
    assert steps[2].call.payload["transactionId"] == 7


def test_numbers_of_two_chargers_are_told_apart() -> None:
    (lane,) = planned([*session("CP-1"), *session("CP-2")], identity="TEST").lanes
    numbers = Numbers(lane.steps)
    for new, step in enumerate((step for step in lane.steps if step.grants), 100):
        numbers.heard(step, Result({"transactionId": new}))
    stops = {step.exchange.charger: numbers.of(step).payload for step in lane.steps if step.call.action == "StopTransaction"}
    assert {charger: payload["transactionId"] for charger, payload in stops.items()} == {"CP-1": 100, "CP-2": 101}


@pytest.mark.parametrize("answer", [None, Error("InternalError"), Result({"idTagInfo": {"status": "Invalid"}})])
def test_a_transaction_that_was_not_begun_again_is_not_ended(answer: Result | Error | None) -> None:
    steps = planned(session()).steps
    numbers = Numbers(steps)
    numbers.heard(steps[1], answer)
    with pytest.raises(Lost, match="gave no transactionId"):
        numbers.of(steps[3])


def test_a_transaction_that_began_before_keeps_its_number() -> None:
    steps = planned(session()[2:]).steps
    assert [Numbers(steps).of(step) for step in steps] == [step.call for step in steps]


@pytest.mark.parametrize(("text", "seconds", "moved"), TIMES)
def test_times_move_as_they_are_written(text: str, seconds: float, moved: str) -> None:
    payload = {"timestamp": text, "expiryDate": text, "meterValue": [{"timestamp": text, "sampledValue": []}]}
    told = {"timestamp": moved, "expiryDate": text, "meterValue": [{"timestamp": moved, "sampledValue": []}]}
    assert shifted(payload, seconds) == told


@pytest.mark.parametrize(("tag", "hidden"), [("idtag:ABCDEFGHIJ", True), ("TAG1", False), ("idtag:short", False)])
def test_pseudonyms_are_seen(tag: str, hidden: bool) -> None:
    assert planned(session(tag=tag)).hidden is hidden

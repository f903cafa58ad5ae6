"""gateway.rpc: one end of an OCPP-J connection, without the connection."""

from dataclasses import replace

import pytest

from gateway.exchange import Ids
from gateway.rpc import (
    BINARY,
    DEAR,
    REMEMBERED,
    Answered,
    Ended,
    Event,
    Late,
    Limits,
    Malformed,
    Received,
    Refused,
    Send,
    Serve,
    Session,
)
from translations.errors import GenericError, PropertyConstraintViolation
from translations.messages import Call, Error, Kind, Remark, Result, Side, Version
from translations.tongue import Tongue

HEARTBEAT = '[2,"c1","Heartbeat",{}]'


def session(**limits: int) -> Session:
    return Session(Ids(), "CP-1", Side.CENTRAL_SYSTEM, Limits(**limits))


def call(call_id: str) -> Call:
    return Call("Reset", {"type": "Soft"}, call_id, side=Side.CHARGE_POINT)


def frames(events: list[Event]) -> list[bytes]:
    return [event.data for event in events if isinstance(event, Send)]


def fates(events: list[Event]) -> list[str]:
    return [event.fate for event in events if isinstance(event, Received)]


def test_an_incoming_call_is_served_under_an_id_of_the_gateway() -> None:
    received, serve = session().receive(HEARTBEAT, 1.0)
    assert isinstance(received, Received)
    assert isinstance(serve, Serve)
    assert received.message.id == "c1"
    assert serve.call == Call("Heartbeat", {}, received.exchange, "CP-1", Side.CENTRAL_SYSTEM)


def test_an_answer_goes_out_under_the_id_of_the_wire() -> None:
    one = session()
    one.receive(HEARTBEAT, 1.0)
    (send,) = one.answer(Result({"currentTime": "now"}, "other"), 2.0)
    assert isinstance(send, Send)
    assert (send.data, send.message.action, send.since) == (b'[3,"c1",{"currentTime":"now"}]', "Heartbeat", 1.0)


def test_an_error_goes_out_as_a_callerror() -> None:
    one = session()
    one.receive(HEARTBEAT, 1.0)
    assert frames(one.answer(Error("InternalError", "away"), 2.0)) == [b'[4,"c1","InternalError","away",{}]']


def test_a_numeric_id_is_echoed_as_a_number() -> None:
    one = session()
    one.receive('[2,7,"Heartbeat",{}]', 1.0)
    assert frames(one.answer(Result({}), 2.0)) == [b"[3,7,{}]"]


def test_a_second_incoming_call_waits_for_the_answer_to_the_first() -> None:
    one = session()
    one.receive(HEARTBEAT, 1.0)
    (received,) = one.receive('[2,"c2","Authorize",{}]', 2.0)
    send, serve = one.answer(Result({}), 3.0)
    assert isinstance(received, Received)
    assert isinstance(serve, Serve)
    assert serve.call.id == received.exchange
    assert frames([send, *one.answer(Result({}), 4.0)]) == [b'[3,"c1",{}]', b'[3,"c2",{}]']


def test_more_unanswered_calls_than_the_limit_are_refused() -> None:
    one = session(queued=1)
    one.receive(HEARTBEAT, 1.0)
    one.receive('[2,"c2","Heartbeat",{}]', 1.0)
    events = one.receive('[2,"c3","Heartbeat",{}]', 1.0)
    assert frames(events) == [b'[4,"c3","GenericError","expected at most 1 unanswered calls of 1048576 bytes, got more",{}]']
    assert one.refused == 1


def test_more_unanswered_bytes_than_the_limit_are_refused() -> None:
    one = session(queued_size=50)
    one.receive(HEARTBEAT, 1.0)
    one.receive('[2,"c2","Heartbeat",{}]', 1.0)
    (refused,) = frames(one.receive('[2,"c3","DataTransfer",{"vendorId":"ACME"}]', 1.0))
    assert refused.startswith(b'[4,"c3","GenericError"')


def test_answering_what_was_not_asked_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(RuntimeError, match="expected a call to answer"):
        session().answer(Result({}), 1.0)


def test_only_one_call_of_ours_is_in_flight() -> None:
    one = session()
    assert frames(one.call(call("g1"), 1.0)) == [b'[2,"g1","Reset",{"type":"Soft"}]']
    assert one.call(call("g2"), 1.0) == []
    assert one.waiting == 1
    events = one.receive('[3,"g1",{}]', 2.0)
    assert frames(events) == [b'[2,"g2","Reset",{"type":"Soft"}]']


def test_calls_of_both_sides_cross() -> None:
    one = session()
    one.call(call("g1"), 1.0)
    one.receive(HEARTBEAT, 1.0)
    assert Answered(Result({}, "g1", "Reset")) in one.receive('[3,"g1",{}]', 2.0)
    assert frames(one.answer(Result({}), 3.0)) == [b'[3,"c1",{}]']


def test_an_answer_knows_the_action_and_the_time_of_its_call() -> None:
    one = session()
    one.call(call("g1"), 1.5)
    received, answered = one.receive('[4,"g1","NotSupported","no",{}]', 2.0)
    error = Error("NotSupported", "no", {}, "g1", "Reset")
    assert (received, answered) == (Received(error, "g1", 1.5), Answered(error))


def test_waiting_calls_are_bounded() -> None:
    one = session(waiting=1)
    one.call(call("g1"), 1.0)
    one.call(call("g2"), 1.0)
    with pytest.raises(GenericError, match="expected at most 1 waiting calls, got one more"):
        one.call(call("g3"), 1.0)


def test_a_call_that_is_given_up_makes_room_for_the_next() -> None:
    one = session()
    one.call(call("g1"), 1.0)
    one.call(call("g2"), 1.0)
    assert frames(one.forget("g1", 2.0)) == [b'[2,"g2","Reset",{"type":"Soft"}]']


def test_a_waiting_call_that_is_given_up_is_never_sent() -> None:
    one = session()
    one.call(call("g1"), 1.0)
    one.call(call("g2"), 1.0)
    assert one.forget("g2", 2.0) == []
    assert frames(one.receive('[3,"g1",{}]', 3.0)) == []


def test_a_late_answer_is_told_and_counted() -> None:
    one = session()
    one.call(call("g1"), 1.0)
    one.forget("g1", 2.0)
    answer = Result({}, "g1", "Reset")
    assert one.receive('[3,"g1",{}]', 3.0) == [Received(answer, "g1", 1.0, "late"), Late(answer)]
    assert one.late == 1


def test_a_double_answer_is_dropped_and_counted() -> None:
    one = session()
    one.call(call("g1"), 1.0)
    one.receive('[3,"g1",{}]', 2.0)
    assert fates(one.receive('[3,"g1",{}]', 3.0)) == ["double"]
    assert one.double == 1


def test_an_answer_to_nothing_is_dropped_and_never_answered() -> None:
    one = session()
    assert one.receive('[3,"zz",{}]', 1.0) == [Received(Result({}, "zz"), "", None, "unknown")]
    assert one.unknown == 1


def test_only_the_last_calls_given_up_are_remembered() -> None:
    one = session()
    for i in range(REMEMBERED + 1):
        one.call(call(f"g{i}"), 1.0)
        one.forget(f"g{i}", 1.0)
    assert fates(one.receive('[3,"g0",{}]', 2.0) + one.receive('[3,"g1",{}]', 2.0)) == ["unknown", "late"]


def given_up(one: Session, action: str, call_id: str) -> None:
    one.call(Call(action, {}, call_id), 1.0)
    one.forget(call_id, 1.0)


@pytest.mark.parametrize("action", sorted(DEAR))
def test_calls_that_are_worth_money_are_forgotten_last(action: str) -> None:
    one = session()
    given_up(one, action, "dear")
    for i in range(5 * REMEMBERED):
        given_up(one, "Heartbeat", f"g{i}")
    events = one.receive('[3,"dear",{}]', 2.0)
    assert (fates(events), events[-1]) == (["late"], Late(Result({}, "dear", action)))


def test_of_calls_that_are_worth_money_too_only_the_last_are_remembered() -> None:
    one = session()
    for i in range(REMEMBERED + 1):
        given_up(one, "StopTransaction", f"g{i}")
    given_up(one, "Heartbeat", "cheap")
    answers = [one.receive(f'[3,"{call_id}",{{}}]', 2.0) for call_id in ("g0", "g1", "cheap")]
    assert [fates(events) for events in answers] == [["unknown"], ["late"], ["unknown"]]


def test_a_malformed_call_is_answered_where_its_id_is_readable() -> None:
    malformed, send = session().receive('[2,"c1","Heartbeat",7]', 1.0)
    assert isinstance(malformed, Malformed)
    assert isinstance(send, Send)
    assert send.data == b'[4,"c1","FormationViolation","frame[3]: expected object, got integer",{}]'
    assert malformed.exchange == send.exchange


@pytest.mark.parametrize("frame", ["nonsense", "{}", '[2,null,"A",{}]', '[5,"1","A",{}]', '[3,"1",7]', '[4,"1"]'])
def test_other_malformed_frames_are_not_answered(frame: str) -> None:
    one = session()
    (event,) = one.receive(frame, 1.0)
    assert isinstance(event, Malformed)
    assert one.malformed == 1


def test_a_malformed_answer_is_an_error_for_the_call_it_means() -> None:
    one = session()
    one.call(call("g1"), 1.0)
    _, answered = one.receive('[3,"g1",[]]', 2.0)
    text = "expected an answer, got a malformed frame: frame[2]: expected object, got list"
    assert answered == Answered(Error("InternalError", text, {}, "g1", "Reset"))


def test_a_flood_of_malformed_frames_ends_the_session() -> None:
    one = session(malformed=2)
    assert [len(one.receive("nonsense", 1.0)) for _ in range(1)] == [1]
    assert one.receive("nonsense", 1.0)[-1] == Ended("2 malformed frames in a row")


def test_a_flood_of_calls_beyond_the_limit_ends_the_session() -> None:
    one = session(queued=0, refused=3)
    one.receive(HEARTBEAT, 1.0)
    ends = [[event for event in one.receive(HEARTBEAT, 1.0) if isinstance(event, Ended)] for _ in range(3)]
    assert ends == [[], [], [Ended("3 refused calls in a row", 1008)]]


def test_a_good_frame_ends_the_row_of_malformed_ones() -> None:
    one = session(malformed=2)
    for _ in range(5):
        assert not [e for e in one.receive("nonsense", 1.0) + one.receive('[3,"x",{}]', 1.0) if isinstance(e, Ended)]


@pytest.mark.parametrize("frame", ["nonsense", '[3,"x",{}]', '[3,"g",{}]'])
def test_good_frames_in_between_do_not_make_up_for_a_flood_of_frames_in_vain(frame: str) -> None:
    one = session(vain=6)
    ends = []
    for n in range(4):
        one.call(call(f"g{n}"), 1.0)
        events = [event for said in (f'[3,"g{n}",{{}}]', *[frame] * 3) for event in one.receive(said, 1.0)]
        ends.append({event for event in events if isinstance(event, Ended)})
    assert ends[:2] == [set(), set()]
    assert ends[2] == {Ended("6 frames that lead to nothing", 1008)}


def test_a_frame_in_vain_is_forgiven_each_second() -> None:
    one = session(vain=3)
    assert not [e for at in range(50) for e in one.receive('[3,"x",{}]', float(at)) if isinstance(e, Ended)]


def test_a_backend_that_asks_on_for_what_it_may_not_have_is_closed() -> None:
    one = Session(Ids(), "CP-1", Side.CHARGE_POINT, Limits(vain=3))
    for n in range(3):
        one.receive(f'[2,"c{n}","Reset",{{"type":"Hard"}}]', 1.0)
        events = one.answer(Error("SecurityError", "no"), 1.0)
        assert [e for e in events if isinstance(e, Ended)] == ([Ended("3 frames that lead to nothing", 1008)] if n == 2 else [])


@pytest.mark.parametrize("frame", ["", b""])
def test_an_empty_frame_is_a_keep_alive(frame: str | bytes) -> None:
    assert session().receive(frame, 1.0) == []


def test_a_binary_frame_is_read_and_marked() -> None:
    received, serve = session().receive(HEARTBEAT.encode(), 1.0)
    assert isinstance(received, Received)
    assert isinstance(serve, Serve)
    assert received.message.remarks == serve.call.remarks == (BINARY,)


# --- with a tongue -------------------------------------------------------------------------------------------------

NOW = "2026-01-02T03:04:05Z"
AT = "2024-05-01T10:00:00Z"
MENDABLE = '[2,"c1","Authorize",{"idTag":"TAG1","x":1}]'
BAD = '[2,"c1","Authorize",{"idTag":null}]'


def speaking(version: str = "1.6", **limits: int) -> Session:
    tongue = Tongue(Version(version), Side.CENTRAL_SYSTEM)
    return Session(Ids(), "CP-1", Side.CENTRAL_SYSTEM, Limits(**limits), tongue)


def test_a_call_that_is_mended_is_told_and_served_as_it_is_meant() -> None:
    received, serve = speaking().receive(MENDABLE, 1.0, NOW)
    assert isinstance(received, Received)
    assert isinstance(serve, Serve)
    assert (received.translated, received.message.id, serve.call.id) == (True, "c1", received.exchange)
    assert isinstance(received.message, Call)
    assert received.message.payload == serve.call.payload == {"idTag": "TAG1"}
    assert [r.rule for r in received.message.remarks] == [r.rule for r in serve.call.remarks] == ["quirks.unknown-field"]


def test_a_call_that_needs_no_mending_is_told_as_it_came() -> None:
    (received, _) = speaking().receive('[2,"c1","Authorize",{"idTag":"TAG1"}]', 1.0, NOW)
    assert isinstance(received, Received)
    assert not received.translated


def test_a_call_of_which_only_the_action_is_mended_is_told_so() -> None:
    (received, _) = speaking().receive('[2,"c1","authorize",{"idTag":"TAG1"}]', 1.0, NOW)
    assert isinstance(received, Received)
    assert (received.translated, received.message.action) == (True, "Authorize")


def test_a_date_that_cannot_be_is_that_of_the_receipt() -> None:
    frame = '[2,"c1","StatusNotification",{"connectorId":1,"status":"Available","errorCode":"NoError","timestamp":"soon"}]'
    (_, serve) = speaking().receive(frame, 1.0, NOW)
    assert isinstance(serve, Serve)
    assert serve.call.payload["timestamp"] == NOW


def test_a_call_that_is_refused_is_answered_and_no_malformed_frame() -> None:
    one = speaking(malformed=1)
    for _ in range(3):
        refused, send = one.receive(BAD, 1.0, NOW)
        assert isinstance(refused, Refused)
        assert (refused.error.code, refused.message.action) == ("OccurenceConstraintViolation", "Authorize")
        assert refused.exchange
    text = '[4,"c1","OccurenceConstraintViolation","Authorize.req idTag: expected it, found none",{}]'
    assert frames([send]) == [text.encode()]
    assert (one.refused, one.malformed) == (3, 0)


@pytest.mark.parametrize("waits", [False, True])
def test_a_call_that_is_taken_ends_the_row_of_refused_ones(waits: bool) -> None:
    one = speaking(refused=2)
    if waits:
        one.receive(HEARTBEAT, 1.0, NOW)
    for _ in range(5):
        one.receive(HEARTBEAT, 1.0, NOW)
        assert not [event for event in one.receive(BAD, 1.0, NOW) if isinstance(event, Ended)]
        one.answer(Result({"currentTime": AT}), 2.0)
    assert one.receive(BAD, 1.0, NOW)[-1] == Ended("2 refused calls in a row", 1008)


def test_a_numeric_id_is_a_number_in_a_refusal_too() -> None:
    assert frames(speaking().receive('[2,7,"Authorize",{"idTag":null}]', 1.0, NOW))[0].startswith(b'[4,7,"Occurence')


def test_an_answer_goes_out_as_the_peer_says_it() -> None:
    one = speaking("1.5")
    one.receive('[2,7,"BootNotification",{"chargePointVendor":"V","chargePointModel":"M"}]', 1.0, NOW)
    booted = {"status": "Pending", "currentTime": AT, "interval": 9}
    (send,) = one.answer(Result(booted), 2.0)
    assert isinstance(send, Send)
    assert send.data == f'[3,7,{{"status":"Rejected","currentTime":"{AT}","heartbeatInterval":9}}]'.encode()
    assert isinstance(send.canonical, Result)
    assert (send.canonical.payload, [r.path for r in send.remarks]) == (booted, ["status"])


def test_an_answer_that_is_not_valid_becomes_an_error() -> None:
    one = speaking()
    one.receive('[2,"c1","Heartbeat",{}]', 1.0, NOW)
    (send,) = one.answer(Result({}), 2.0)
    assert isinstance(send, Send)
    assert isinstance(send.message, Error)
    assert send.message.code == "InternalError"
    assert send.message.text.startswith("the backend's answer is not valid: Heartbeat.conf currentTime")


def test_a_call_of_ours_goes_out_as_the_peer_says_it() -> None:
    one = speaking("1.5")
    local = Call("SendLocalList", {"listVersion": 1, "updateType": "Full", "localAuthorizationList": [{"idTag": "TAG1"}]}, "g1")
    (send,) = one.call(local, 1.0)
    assert isinstance(send, Send)
    assert (
        send.data == b'[2,"g1","SendLocalList",{"updateType":"Full","listVersion":1,"localAuthorisationList":[{"idTag":"TAG1"}]}]'
    )
    assert (send.canonical, send.exchange) == (local, "g1")


def test_a_call_of_ours_that_cannot_be_said_is_not_sent() -> None:
    one = speaking()
    with pytest.raises(PropertyConstraintViolation):
        one.call(Call("Reset", {"type": "Warm"}, "g1"), 1.0)
    assert frames(one.call(call("g2"), 1.0)) == [b'[2,"g2","Reset",{"type":"Soft"}]']


def test_an_answer_to_our_call_is_heard_as_it_is_meant() -> None:
    one = speaking("1.5")
    one.call(Call("UnlockConnector", {"connectorId": 1}, "g1"), 1.0)
    answer = Result({"status": "Unlocked"}, "g1", "UnlockConnector")
    assert one.receive('[3,"g1",{"status":"Accepted"}]', 2.0, NOW) == [Received(answer, "g1", 1.0, "", True), Answered(answer)]


def test_an_answer_to_our_call_that_is_not_valid_is_an_error_for_it() -> None:
    one = speaking()
    one.call(call("g1"), 1.0)
    one.call(call("g2"), 1.0)
    refused, answered, send = one.receive('[3,"g1",{"status":"Perhaps"}]', 2.0, NOW)
    assert isinstance(refused, Refused)
    assert isinstance(answered, Answered)
    assert isinstance(answered.answer, Error)
    assert (answered.answer.code, answered.answer.id, refused.since) == ("InternalError", "g1", 1.0)
    assert answered.answer.text.startswith("the answer is not valid: Reset.conf status: expected one of Accepted, Rejected")
    assert frames([send]) == [b'[2,"g2","Reset",{"type":"Soft"}]']


def test_who_knows_better_has_the_last_word_on_a_call() -> None:
    def settled(call: Call) -> Call:
        assert (call.identity, call.action) == ("CP-1", "Heartbeat")
        return Call(call.action, {"settled": True}, call.id, call.identity, call.side, call.remarks)

    one = Session(Ids(), "CP-1", Side.CENTRAL_SYSTEM, Limits(), None, settled)
    received, serve = one.receive(HEARTBEAT, 1.0)
    assert isinstance(received, Received)
    assert isinstance(serve, Serve)
    assert received.message == Call("Heartbeat", {"settled": True}, "c1")
    assert (serve.call.payload, serve.call.id) == ({"settled": True}, received.exchange)


# --- what was remarked on the way, and what is not answered


HALVED = Remark(Kind.CHANGED, "type", "rewritten", "rewrites.ours")


@pytest.mark.parametrize("tongued", [False, True])
def test_what_was_remarked_on_a_call_of_ours_goes_with_it(tongued: bool) -> None:
    one = speaking() if tongued else session()
    (send,) = one.call(replace(call("g1"), remarks=(HALVED,)), 1.0)
    assert isinstance(send, Send)
    assert (send.canonical, send.remarks) == (None, (HALVED,))


def test_what_was_remarked_on_a_call_that_waits_goes_with_it() -> None:
    one = session()
    one.call(call("g1"), 1.0)
    one.call(replace(call("g2"), remarks=(HALVED,)), 1.0)
    *_, send = one.receive('[3,"g1",{}]', 2.0)
    assert isinstance(send, Send)
    assert send.remarks == (HALVED,)


def test_what_is_remarked_at_the_peer_s_own_words_comes_last() -> None:
    one = speaking("1.5")
    unlock = Call("UnlockConnector", {"connectorId": 1, "x": None}, "g1", side=Side.CHARGE_POINT, remarks=(HALVED,))
    (send,) = one.call(unlock, 1.0)
    assert isinstance(send, Send)
    assert [remark.rule for remark in send.remarks] == ["rewrites.ours", "quirks.unknown-field"]


@pytest.mark.parametrize("tongued", [False, True])
@pytest.mark.parametrize("answer", [Result({"currentTime": AT}, remarks=(HALVED,)), Error("GenericError", remarks=(HALVED,))])
def test_what_was_remarked_on_an_answer_goes_with_it(answer: Result | Error, tongued: bool) -> None:
    one = speaking() if tongued else session()
    one.receive(HEARTBEAT, 1.0, NOW)
    (send,) = one.answer(answer, 2.0)
    assert isinstance(send, Send)
    assert (send.canonical, send.remarks) == (None, (HALVED,))


def test_what_was_remarked_on_an_answer_comes_before_what_the_peer_s_words_add() -> None:
    one = speaking("1.5")
    one.receive('[2,7,"BootNotification",{"chargePointVendor":"V","chargePointModel":"M"}]', 1.0, NOW)
    booted = {"status": "Pending", "currentTime": AT, "interval": 9}
    (send,) = one.answer(Result(booted, remarks=(HALVED,)), 2.0)
    assert isinstance(send, Send)
    assert [remark.path for remark in send.remarks] == ["type", "status"]


def test_a_call_that_is_passed_over_makes_way_for_the_next() -> None:
    one = session()
    one.receive(HEARTBEAT, 1.0)
    (received,) = one.receive('[2,"c2","Authorize",{}]', 2.0)
    assert isinstance(received, Received)
    (serve,) = one.pass_over()
    assert isinstance(serve, Serve)
    assert (serve.call.id, frames(one.answer(Result({}), 3.0))) == (received.exchange, [b'[3,"c2",{}]'])
    with pytest.raises(RuntimeError, match="expected a call to pass over"):
        one.pass_over()

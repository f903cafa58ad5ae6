"""translations.ocppj: frames to messages and back."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from translations.errors import WIRES, FormationViolation, OcppError, ProtocolError
from translations.messages import Call, Error, Kind, Message, Remark, Result
from translations.ocppj import MAX_DEPTH, BadAnswer, NumericId, decode, encode

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
PAYLOADS = st.dictionaries(st.text(), VALUES, max_size=4)
IDS = st.text(min_size=1, max_size=36)


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        ('[2,"1","Heartbeat",{}]', Call("Heartbeat", {}, "1")),
        ('[2,"1","Heartbeat",null]', Call("Heartbeat", {}, "1")),
        (b'[3,"1",{"status":"Accepted"}]', Result({"status": "Accepted"}, "1")),
        ('[3,"1",null]', Result({}, "1")),
        ('[4,"1","InternalError","away",{"a":1}]', Error("InternalError", "away", {"a": 1}, "1")),
        ('[4,"1","InternalError",null,null]', Error("InternalError", "", {}, "1")),
    ],
)
def test_a_frame_is_read(frame: str | bytes, message: Message) -> None:
    assert decode(frame) == message


@pytest.mark.parametrize(
    ("frame", "text", "message_id"),
    [
        ("", "frame: expected JSON in UTF-8: input data was truncated", ""),
        ("hello", "frame: expected JSON in UTF-8: invalid character (byte 0)", ""),
        ('[2,"1","Heartbeat",{}', "frame: expected JSON in UTF-8: input data was truncated", ""),
        (b'[2,"1","\xff",{}]', "frame: expected JSON in UTF-8: not UTF-8", ""),
        ('[2,"1","\ud800",{}]', "frame: expected JSON in UTF-8: not UTF-8", ""),
        ('[2,"1","A",{"a":1e99999999999999999999}]', "frame: expected JSON in UTF-8: a number out of range", ""),
        ("{}", "frame: expected list, got object", ""),
        ('"2"', "frame: expected list, got text", ""),
        ("[]", "frame: expected message type number, got empty list", ""),
        ('["2","1","Heartbeat",{}]', "frame[0]: expected message type number, got text", ""),
        ('[true,"1","Heartbeat",{}]', "frame[0]: expected message type number, got boolean", ""),
        ('[2.0,"1","Heartbeat",{}]', "frame[0]: expected message type number, got number", ""),
        ('[[],"1","Heartbeat",{}]', "frame[0]: expected message type number, got list", ""),
        ("[2]", "frame[1]: expected message id, got nothing", ""),
        ('[2,null,"Heartbeat",{}]', "frame[1]: expected message id, got null", ""),
        ('[2,true,"Heartbeat",{}]', "frame[1]: expected message id, got boolean", ""),
        ('[2,"","Heartbeat",{}]', "frame[1]: expected message id, got empty text", ""),
        ('[2,"1","Heartbeat"]', "frame: expected 4 items, got 3", "1"),
        ('[2,"1","Heartbeat",{},1]', "frame: expected 4 items, got 5", "1"),
        ('[2,"1",7,{}]', "frame[2]: expected text, got integer", "1"),
        ('[2,"1","",{}]', "frame[2]: expected an action, got empty text", "1"),
        ('[2,"1","Heartbeat","{}"]', "frame[3]: expected object, got text", "1"),
    ],
)
def test_a_frame_that_is_no_call_is_a_formation_violation(frame: str | bytes, text: str, message_id: str) -> None:
    with pytest.raises(FormationViolation) as caught:
        decode(frame)
    assert (caught.value.text, caught.value.message_id) == (text, message_id)
    assert not isinstance(caught.value, BadAnswer)


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        ('[3,"1"]', "frame: expected 3 items, got 2"),
        ('[3,"1",[]]', "frame[2]: expected object, got list"),
        ('[4,"1","GenericError"]', "frame: expected 5 items, got 3"),
        ('[4,"1",1,"",{}]', "frame[2]: expected text, got integer"),
        ('[4,"1","GenericError",{},{}]', "frame[3]: expected text, got object"),
        ('[4,"1","GenericError","",[]]', "frame[4]: expected object, got list"),
    ],
)
def test_a_bad_answer_says_which_call_it_means_to_answer(frame: str, text: str) -> None:
    with pytest.raises(BadAnswer) as caught:
        decode(frame)
    assert (caught.value.text, caught.value.message_id) == (text, "1")


@pytest.mark.parametrize("kind", [0, 1, 5, 6, -2, 10**30])
def test_an_unknown_message_type_is_a_protocol_error_that_is_not_to_be_answered(kind: int) -> None:
    with pytest.raises(ProtocolError, match=r"frame\[0\]: expected 2, 3 or 4, got -?\d+") as caught:
        decode(f'[{kind},"1","Heartbeat",{{}}]')
    assert caught.value.message_id == ""


def test_digits_survive() -> None:
    frame = b'[2,"1","A",{"a":1.10,"b":0.1,"c":21,"d":-0.0,"e":3.141592653589793238462643383279}]'
    message = decode(frame)
    assert encode(message) == frame
    assert message == Call("A", {k: Decimal(v) for k, v in _numbers(frame).items()}, "1")


def _numbers(frame: bytes) -> dict[str, Any]:
    numbers: dict[str, Any] = json.loads(frame, parse_float=str)[3]
    return numbers


@pytest.mark.parametrize("number", ["1", "0", "-7", "1.50", "12345678901234567890"])
def test_an_id_that_came_as_a_number_is_text_and_is_echoed_as_that_number(number: str) -> None:
    call = decode(f'[2,{number},"Heartbeat",{{}}]')
    assert call.id == number
    assert isinstance(call.id, NumericId)
    assert encode(Result({}, call.id)) == f"[3,{number},{{}}]".encode()
    assert encode(Error("GenericError", "", {}, call.id)) == f'[4,{number},"GenericError","",{{}}]'.encode()


def test_an_id_that_came_as_text_of_digits_is_echoed_as_text() -> None:
    assert encode(Result({}, decode('[2,"1","Heartbeat",{}]').id)) == b'[3,"1",{}]'


@pytest.mark.parametrize(
    ("spelt", "code"),
    [
        ("FormatViolation", "FormationViolation"),
        ("OccurrenceConstraintViolation", "OccurenceConstraintViolation"),
        ("RpcFrameworkError", "FormationViolation"),
        ("Oops", "GenericError"),
    ],
)
def test_another_spelling_of_an_error_code_is_kept_in_a_remark(spelt: str, code: str) -> None:
    error = decode(json.dumps([4, "1", spelt, "", {}]))
    assert isinstance(error, Error)
    assert error.code == code
    assert error.remarks == (Remark(Kind.CHANGED, "errorCode", f"{spelt} read as {code}", "ocppj.error-code"),)


@pytest.mark.parametrize("code", sorted(WIRES))
def test_a_code_of_the_specification_needs_no_remark(code: str) -> None:
    assert decode(json.dumps([4, "1", code, "", {}])) == Error(code, "", {}, "1")


@pytest.mark.parametrize("depth", [MAX_DEPTH, 2_000, 200_000])
@pytest.mark.parametrize(("left", "right"), [("[", "]"), ('{"a":', "}")])
def test_deep_nesting_is_refused(depth: int, left: str, right: str) -> None:
    with pytest.raises(FormationViolation, match=f"at most {MAX_DEPTH} levels"):
        decode(f'[2,"1","A",{{"a":{left * depth}1{right * depth}}}]')


def test_many_values_that_are_not_deep_are_read() -> None:
    values = [{"value": str(i)} for i in range(1_000)]
    assert decode(json.dumps([2, "1", "MeterValues", {"values": values}])) == Call("MeterValues", {"values": values}, "1")


def test_what_json_cannot_say_is_refused_on_the_way_out() -> None:
    with pytest.raises(FormationViolation, match="A: expected text and numbers that JSON can carry"):
        encode(Call("A", {"a": "\ud800"}, "1"))


@given(message_id=IDS, action=st.text(min_size=1), payload=PAYLOADS)
def test_a_call_means_to_others_what_it_means_to_us(message_id: str, action: str, payload: dict[str, Any]) -> None:
    assert json.loads(encode(Call(action, payload, message_id))) == [2, message_id, action, payload]
    assert decode(json.dumps([2, message_id, action, payload])) == Call(action, payload, message_id)


@given(st.binary() | st.text() | st.builds(lambda value: json.dumps([2, value, value, value]), VALUES))
def test_whatever_comes_is_a_message_or_a_documented_error(data: str | bytes) -> None:
    try:
        decode(data)
    except OcppError as error:
        assert isinstance(error, FormationViolation | ProtocolError)

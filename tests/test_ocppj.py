"""translations.ocppj: frames to messages and back."""

import json
import timeit
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from translations import ocppj
from translations.errors import WIRES, FormationViolation, OcppError, ProtocolError
from translations.messages import Call, Error, Kind, Message, Remark, Result
from translations.ocppj import MAX_ACTION, MAX_DEPTH, MAX_DIGITS, MAX_ID, MAX_VALUES, BadAnswer, NumericId, decode, encode

VECTORS = Path(__file__).parent / "vectors"

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


# --- what a parser would lose in silence, and what has no bounds -------------------------------------------------------


def refusal_of(frame: str | bytes) -> FormationViolation:
    with pytest.raises(FormationViolation) as caught:
        decode(frame)
    return caught.value


@pytest.mark.parametrize(
    ("payload", "key"),
    [
        ('{"idTag":"A","idTag":"B"}', "idTag"),
        ('{"idTag":"A","idTag":"A"}', "idTag"),
        ('{"idTag":"A","connectorId":1,"idTag":"B"}', "idTag"),
        ('{"idTag" : "A" , "idTag"\t:\n"B"}', "idTag"),
        ('{"idTag":"A","idT\\u0061g":"B"}', "idTag"),
        ('{"idTag":"A","other":"\\":","idTag":"B"}', "idTag"),
        ('{"":1,"":2}', ""),
        ('{"a":[{"b":{"c":1,"c":2}}]}', "c"),
        ('{"a":{"b":1},"a":{"c":1}}', "a"),
        ('{"a b":1,"a b":2}', "a b"),
    ],
)
def test_a_key_that_comes_twice_is_refused(payload: str, key: str) -> None:
    refused = refusal_of(f'[2,"7","Authorize",{payload}]')
    assert (refused.text, refused.message_id) == (f"frame: expected each key once, got {key!r} twice", "7")
    assert not isinstance(refused, BadAnswer)


@pytest.mark.parametrize("frame", ['[3,"7",{"a":1,"a":2}]', '[4,"7","GenericError","",{"a":1,"a":2}]'])
def test_a_key_that_comes_twice_in_an_answer_makes_it_none(frame: str) -> None:
    refused = refusal_of(frame)
    assert isinstance(refused, BadAnswer)
    assert refused.message_id == "7"


@pytest.mark.parametrize(
    "payload",
    [
        '{"a":{"b":1},"b":{"a":1}}',
        '[{"a":1},{"a":1}]',
        '{"a":"b","b":"a"}',
        '{"a b":1,"ab":2}',
        '{"a":1,"A":1}',
        r'{"a":"\":","b":"\u0022:"}',
        '{"a":"x \\" : y","b":"2024-05-01T10:00:00Z"}',
        '{ "a" : 1 ,\n\t"b" : [ ] }',
        '{"a":"\\/","b":"\\u00E9","c":1E1,"d":-0}',
        '{"a":"' + "1" * 500 + '"}',
    ],
)
def test_keys_that_come_once_are_read_however_they_are_written(payload: str) -> None:
    call = decode(f'[2,"7","A",{{"data":{payload}}}]')
    assert isinstance(call, Call)
    assert json.dumps(call.payload["data"], default=float) == json.dumps(json.loads(payload))


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "c", "", " ", '"', ":", "\\", "é", "a:", '":']), st.integers(0, 1))))
def test_keys_are_counted_as_another_parser_counts_them(pairs: list[tuple[str, int]]) -> None:
    keys = [key for key, _ in pairs]
    for separators in ((",", ":"), (", ", ": "), (" ,\n", "\t: ")):
        inside = separators[0].join(f"{json.dumps(key)}{separators[1]}{value}" for key, value in pairs)
        try:
            decode(f'[2,"7","A",{{{inside}}}]')
        except FormationViolation:
            assert len(set(keys)) < len(keys)
        else:
            assert len(set(keys)) == len(keys)


MOST = "1" * MAX_DIGITS


@pytest.mark.parametrize(
    "number", [MOST, f"-{MOST}", f"0.{MOST}"[:-1], "1e99", "1E-99", "0.1000000000000000055511151231257827021181583404541015625"]
)
def test_the_largest_numbers_are_read(number: str) -> None:
    call = decode(f'[2,"7","A",{{"a":{number}}}]')
    assert isinstance(call, Call)
    assert Decimal(call.payload["a"]) == Decimal(number)


@pytest.mark.parametrize(
    ("number", "text", "message_id"),
    [
        (f"{MOST}1", "frame: expected numbers of at most 100 digits, got 101", "7"),
        (f"-{MOST}1", "frame: expected numbers of at most 100 digits, got 101", "7"),
        (MOST * 43, "frame: expected numbers of at most 100 digits, got 4300", "7"),
        (MOST * 44, "frame: expected JSON in UTF-8: integer value out of range", ""),
        (f"1.{MOST}", "frame: expected JSON in UTF-8: a number out of range", ""),
        ("1e100", "frame: expected JSON in UTF-8: a number out of range", ""),
        ("1e-100", "frame: expected JSON in UTF-8: a number out of range", ""),
        ("-1e999999999", "frame: expected JSON in UTF-8: a number out of range", ""),
        ("0e999999999", "frame: expected JSON in UTF-8: a number out of range", ""),
        ("NaN", "frame: expected JSON in UTF-8: invalid character", ""),
        ("-Infinity", "frame: expected JSON in UTF-8: invalid character", ""),
    ],
)
@pytest.mark.parametrize("after", ["", ',"b":1', ',"b":"\\u00e9"'])
def test_numbers_without_measure_are_refused(number: str, text: str, message_id: str, after: str) -> None:
    refused = refusal_of(f'[2,"7","A",{{"a":{number}{after}}}]')
    assert (refused.text[: len(text)], refused.message_id) == (text, message_id)


@pytest.mark.parametrize("shift", range(0, 45, 4))
def test_too_many_digits_are_found_wherever_they_stand(shift: int) -> None:
    refused = refusal_of(f'[2,"{"x" * (shift + 1)}","A",{{"a":{MOST}1}}]')
    assert refused.text == "frame: expected numbers of at most 100 digits, got 101"


@pytest.mark.parametrize(
    ("message_id", "read"), [("x" * MAX_ID, True), ("x" * (MAX_ID + 1), False), ("9" * 100, True), ("\U0001f50c" * MAX_ID, True)]
)
def test_message_ids_are_bounded(message_id: str, read: bool) -> None:
    frame = json.dumps([2, message_id, "Heartbeat", {}])
    if read:
        assert decode(frame).id == message_id
    else:
        refused = refusal_of(frame)
        assert (refused.text, refused.message_id) == ("frame[1]: expected message id of at most 255 characters, got 256", "")


def test_actions_are_bounded() -> None:
    assert decode(json.dumps([2, "7", "A" * MAX_ACTION, {}])).action == "A" * MAX_ACTION
    refused = refusal_of(json.dumps([2, "7", "A" * (MAX_ACTION + 1), {}]))
    assert (refused.text, refused.message_id) == ("frame[2]: expected an action of at most 100 characters, got 101", "7")


VALUED = [
    ("[" + "[]," * (MAX_VALUES - 7) + "[]]", True),
    ("[" + "[]," * (MAX_VALUES - 6) + "[]]", False),
    ("[" + "1," * MAX_VALUES + "1]", False),
    ("{" + ",".join(f'"{i}":1' for i in range(MAX_VALUES)) + "}", False),
    ('"' + "," * 2 * MAX_VALUES + '"', True),
    ('"' + "[{" * 2 * MAX_VALUES + '"', True),
]


@pytest.mark.parametrize(("data", "read"), VALUED, ids=range(len(VALUED)))
def test_values_are_counted_and_what_stands_in_text_is_none(data: str, read: bool) -> None:
    frame = f'[2,"7","A",{{"data":{data}}}]'
    if read:
        assert decode(frame).id == "7"
    else:
        assert refusal_of(frame).text == f"frame: expected at most {MAX_VALUES} values, got more"


@pytest.mark.parametrize("text", ["\\ud800", "\\udc00", "\\ud800x", "\\udc00\\ud800", "\\ud800\\u0041"])
@pytest.mark.parametrize(
    "place", ['[2,"{}","A",{{}}]', '[2,"7","{}",{{}}]', '[2,"7","A",{{"a":"{}"}}]', '[2,"7","A",{{"{}":1}}]']
)
def test_half_a_surrogate_pair_is_refused_wherever_it_stands(text: str, place: str) -> None:
    assert refusal_of(place.format(text)).text.startswith("frame: expected JSON in UTF-8: ")


@pytest.mark.parametrize("bad", [b"\xff", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80", b"\xc3"])
@pytest.mark.parametrize("place", [b'[2,"%s","A",{}]', b'[2,"7","%s",{}]', b'[2,"7","A",{"a":"%s"}]', b'[2,"7","A",{"%s":1}]'])
def test_other_bytes_than_utf_8_are_refused_wherever_they_stand(bad: bytes, place: bytes) -> None:
    assert refusal_of(place % bad).text == "frame: expected JSON in UTF-8: not UTF-8"


def test_looking_for_keys_that_come_twice_costs_little() -> None:
    frame = (VECTORS / "1.6/centralsystem/BootNotification.req.json").read_bytes()
    raw = msgspec.json.encode(msgspec.json.decode(frame)["frame"])
    parsed = msgspec.json.decode(raw)
    alone = min(timeit.repeat(lambda: msgspec.json.decode(raw), number=2000, repeat=5))
    looked = min(timeit.repeat(lambda: ocppj._whole(raw, parsed), number=2000, repeat=5))
    assert looked < 5 * alone  # a microsecond, where the rest of a frame's way takes a hundred


# --- depth -------------------------------------------------------------------------------------------------------------


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


@given(message_id=IDS, action=st.text(min_size=1, max_size=MAX_ACTION), payload=PAYLOADS)
def test_a_call_means_to_others_what_it_means_to_us(message_id: str, action: str, payload: dict[str, Any]) -> None:
    assert json.loads(encode(Call(action, payload, message_id))) == [2, message_id, action, payload]
    assert decode(json.dumps([2, message_id, action, payload])) == Call(action, payload, message_id)


@given(st.binary() | st.text() | st.builds(lambda value: json.dumps([2, value, value, value]), VALUES))
def test_whatever_comes_is_a_message_or_a_documented_error(data: str | bytes) -> None:
    try:
        decode(data)
    except OcppError as error:
        assert isinstance(error, FormationViolation | ProtocolError)

"""Traces, judged by what the schema and the rules of conformance of Open OCPP Trace 1.1 ask for, and by the way back."""

import io
import json
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given

from gateway.traffic.exchanges import Exchange
from gateway.traffic.formats import har, pcapng, table, trace
from gateway.traffic.imports import imported
from tests.excerpts import BEAT, FAILED, SAMPLES, exchanges, hostile, json_exchange, refused, soap_exchange

TEXTS = ("schemaVersion", "ocppVersion", "chargePointId", "messageId", "action", "raw")
# The facts of schema/trace-v1.schema.json; `pattern` is what its format date-time comes to in UTC.
SCHEMA = {
    "type": "object",
    "required": ["schemaVersion", "timestamp", "transport", "direction", "messageType"],
    "properties": {name: {"type": "string"} for name in TEXTS}
    | {
        "timestamp": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"},
        "transport": {"enum": ["json", "soap"]},
        "connectorId": {"type": "integer", "minimum": 0},
        "direction": {"enum": ["cp-to-csms", "csms-to-cp"]},
        "messageType": {"enum": ["CALL", "CALLRESULT", "CALLERROR"]},
        "error": {"type": "object", "properties": {"code": {"type": "string"}, "description": {"type": "string"}}},
        "meta": {"type": "object"},
    },
    "allOf": [
        {"if": {"properties": {"messageType": {"const": "CALL"}}}, "then": {"required": ["action"]}},
        {
            "if": {"properties": {"messageType": {"const": "CALLERROR"}}},
            "then": {"required": ["error"]},
            "else": {"properties": {"error": False}},
        },
    ],
}
DECLARED = {*TEXTS, "timestamp", "transport", "connectorId", "direction", "messageType", "payload", "error", "meta"}
JUDGE = jsonschema.Draft202012Validator(SCHEMA)
KINDS = {2: "CALL", 3: "CALLRESULT", 4: "CALLERROR"}


def records(*made: Exchange) -> list[dict[str, Any]]:
    return [json.loads(line) for line in trace.lines(made)]


def assert_conforms(record: dict[str, Any]) -> None:
    JUDGE.validate(record)
    assert record.keys() <= DECLARED
    if record["transport"] == "json" and "raw" in record:
        frame = json.loads(record["raw"])
        assert (KINDS[frame[0]], frame[1]) == (record["messageType"], record.get("messageId", ""))
        written = {2: frame[2:4], 3: frame[2:3], 4: frame[2:3]}[frame[0]]
        error = record.get("error", {})
        told = {2: [record.get("action"), record.get("payload")], 3: [record.get("payload")], 4: [error.get("code")]}[frame[0]]
        assert written == told


@given(exchanges())
def test_every_line_conforms(made: list[Exchange]) -> None:
    for line in trace.lines(made):
        assert line.endswith(b"\n") and line.count(b"\n") == 1
        assert_conforms(json.loads(line))


@given(exchanges())
def test_a_trace_that_is_imported_is_what_was_exported(made: list[Exchange]) -> None:
    assert list(imported(io.BytesIO(b"".join(trace.lines(made))))) == made


def test_samples_and_harm_come_back_as_they_were() -> None:
    made = [*SAMPLES, *hostile()]
    back = list(imported(io.BytesIO(b"".join(trace.lines(made))), "trace"))
    for exchange in made:
        exchange.id = 0
    assert back == made


def test_an_answer_is_found_by_the_rule_of_correlation() -> None:
    lines = records(*SAMPLES)
    for place, record in enumerate(lines):
        if record["messageType"] != "CALL":
            calls = [c for c in lines[:place] if c["messageType"] == "CALL" and c["messageId"] == record["messageId"]]
            assert calls[-1]["meta"]["exchange"] == record["meta"]["exchange"]
            assert calls[-1]["meta"]["leg"] == record["meta"]["leg"]
            assert (calls[-1]["direction"], calls[-1]["action"]) != (record["direction"], None)
            assert calls[-1]["direction"] != record["direction"] and calls[-1]["action"] == record["action"]


def test_a_soap_message_has_its_envelope_as_raw_and_its_payload_in_json() -> None:
    call, answer, *_ = records(soap_exchange())
    assert call["transport"] == "soap" and call["raw"].lstrip().startswith("<") and call["ocppVersion"] == "1.5"
    assert call["payload"] == call["meta"]["canonical"][3]
    assert answer["messageId"] == call["messageId"] and answer["meta"]["messageId"] == "urn:ocpp:x-1"
    assert call["meta"]["remarks"] == [{"kind": "lost", "path": "reason", "detail": "no field for it", "rule": "delta"}]
    assert (call["meta"]["leg"], call["meta"]["exchange"], answer["meta"]["latency"]) == ("charger", "x-1", 0.25)


def test_an_error_has_code_description_and_details() -> None:
    call, answer = records(FAILED)
    assert (call["direction"], answer["direction"]) == ("csms-to-cp", "cp-to-csms")
    assert answer["error"] == {"code": "GenericError", "description": "no", "details": {"a": 1.5}}
    assert b'"details":{"a":1.50}' in b"".join(trace.lines([FAILED]))


def test_the_time_is_that_of_each_message() -> None:
    assert [record["timestamp"] for record in records(BEAT)] == ["2024-05-01T10:00:00.000000Z", "2024-05-01T10:00:00.500000Z"]


@pytest.mark.parametrize("raw", [b"{", b'[2,1,"Heartbeat",{}]', b'[2,"1"]', b'[3,"1",{}]', b"\xff"], ids=repr)
def test_what_is_no_call_is_told_beside(raw: bytes) -> None:
    (record,) = records(refused(raw))
    assert_conforms(record)
    assert "raw" not in record and record["meta"]["refused"] and record["meta"]["note"] == "frame: expected JSON"
    assert record["meta"].get("raw", "").encode() == raw or record["meta"]["rawBase64"] == "/w=="


def test_a_frame_on_many_lines_is_one_line() -> None:
    (call,) = records(json_exchange(b'[\n 2,"1",\n"Heartbeat",\r\n{"a":\n1.0}]', None))
    assert call["payload"] == {"a": 1.0} and call["raw"].count("\n") == 4


def test_no_line_carries_what_a_terminal_obeys() -> None:
    text = b"".join(trace.lines(hostile())).decode()
    assert not set(text) & set("\x00\x07\x1b\x7f\x9b\u2028\u202e")


def test_it_streams() -> None:
    waiting = iter([BEAT, FAILED])
    next(trace.lines(waiting))
    assert next(waiting) is FAILED


def test_half_a_surrogate_pair_ends_no_export() -> None:
    made = soap_exchange(charger="CP\ud800")
    assert {record["chargePointId"] for record in records(made)} == {"CP?"}
    for module in (har, pcapng, table):
        assert b"".join(module.lines([made]))

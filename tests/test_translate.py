"""translations.translate: one message from one wire to the other, and one line of many."""

import base64
import json
from typing import Any

import pytest
from lxml import etree

from tests.peers.envelopes import envelope
from translations import translate as module
from translations.errors import OcppError
from translations.messages import Kind, Remark, Side
from translations.translate import Wish, line, remark, translate

BOOT = (
    "<bootNotificationRequest><chargePointVendor>V</chargePointVendor><chargePointModel>M</chargePointModel>{}"
    "</bootNotificationRequest>"
)
NOW = "2026-01-02T03:04:05Z"


def frame_of(data: bytes, **wish: Any) -> list[Any]:
    done = translate(data, Wish(**wish))
    assert done.is_json
    frame: list[Any] = json.loads(done.message)
    return frame


def body_of(frame: str, **wish: Any) -> etree._Element:
    done = translate(frame.encode(), Wish(**wish))
    assert not done.is_json
    return etree.fromstring(done.message)[1][0]


def refusal_of(data: bytes, **wish: Any) -> tuple[str, str]:
    with pytest.raises(OcppError) as caught:
        translate(data, Wish(**wish))
    return caught.value.code, caught.value.text


def answered(request: dict[str, Any] | list[Any] | str | bytes, received: str = "") -> dict[str, Any]:
    text = request if isinstance(request, bytes) else json.dumps(request).encode()
    answer: dict[str, Any] = json.loads(line(text, received))
    return answer


def refused(request: dict[str, Any] | list[Any] | str | bytes) -> tuple[str, str]:
    answer = answered(request)
    assert list(answer) == ["refused"]
    return answer["refused"]["code"], answer["refused"]["detail"]


# --- one message ---------------------------------------------------------------------------------------------------------


def test_a_request_becomes_a_compact_frame_in_the_order_of_the_contract() -> None:
    done = translate(envelope(BOOT.format("<iccid>I</iccid>")))
    assert done.message == b'[2,"urn:uuid:1","BootNotification",{"chargePointVendor":"V","chargePointModel":"M","iccid":"I"}]'
    assert (done.version, done.identity, done.remarks) == ("1.5", "CP-1", ())


def test_a_response_becomes_a_result() -> None:
    data = envelope("<authorizeResponse><idTagInfo><status>Blocked</status></idTagInfo></authorizeResponse>")
    assert frame_of(data.replace(b"MessageID", b"RelatesTo")) == [3, "urn:uuid:1", {"idTagInfo": {"status": "Blocked"}}]


def test_a_fault_becomes_an_error() -> None:
    fault = '<s:Fault xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Reason><s:Text>no</s:Text></s:Reason></s:Fault>'
    kind, _, code, text, details = frame_of(envelope(fault))
    assert (kind, code, text, details["transport"]) == (4, "GenericError", "no", "soap")


def test_a_message_without_an_id_gets_one_that_is_always_the_same() -> None:
    data = envelope(message_id="")
    first = frame_of(data)[1]
    assert first
    assert len(first) <= 36
    assert frame_of(data)[1] == first
    assert frame_of(envelope(message_id="", identity="CP-2"))[1] != first


@pytest.mark.parametrize(
    ("frame", "wish", "element"),
    [
        ('[2,"1","Heartbeat",{}]', {"to": "soap-1.2"}, "{urn://Ocpp/Cs/2010/08/}heartbeatRequest"),
        ('\n [2,"1","Reset",{"type":"Hard"}]\n', {"to": "soap-1.6"}, "{urn://Ocpp/Cp/2015/10/}resetRequest"),
        ('\ufeff[3,"1",{"status":"Accepted"}]', {"to": "soap-1.5", "action": "Reset"}, "{urn://Ocpp/Cp/2012/06/}resetResponse"),
        ('[2,"1","DataTransfer",{"vendorId":"V"}]', {"to": "soap-1.5"}, "{urn://Ocpp/Cs/2012/06/}dataTransferRequest"),
        (
            '[2,"1","DataTransfer",{"vendorId":"V"}]',
            {"to": "soap-1.5", "side": Side.CHARGE_POINT},
            "{urn://Ocpp/Cp/2012/06/}dataTransferRequest",
        ),
        ('[4,"1","NotSupported","no",{}]', {"to": "soap-1.5"}, "{http://www.w3.org/2003/05/soap-envelope}Fault"),
    ],
)
def test_a_frame_becomes_an_envelope(frame: str, wish: dict[str, Any], element: str) -> None:
    assert body_of(frame, **wish).tag == element


def test_ids_and_identity_go_into_the_headers() -> None:
    call = translate(b'[2,"17","Heartbeat",{}]', Wish("soap-1.6", identity="CP-9")).message
    assert b">17</a:MessageID>" in call
    assert b">CP-9</cs:chargeBoxIdentity>" in call
    answer = translate(b'[3,"17",{}]', Wish("soap-1.6", "StatusNotification")).message
    assert b">17</a:RelatesTo>" in answer
    assert b"</a:MessageID>" in answer
    assert b">17</a:MessageID>" not in answer


@pytest.mark.parametrize(
    ("data", "wish", "code", "text"),
    [
        (b'[2,"1","Heartbeat",{}]', {}, "FormationViolation", "to: expected soap-1.2, soap-1.5, soap-1.6, got ''"),
        (
            b'[2,"1","Heartbeat",{}]',
            {"to": "soap-2.0"},
            "FormationViolation",
            "to: expected soap-1.2, soap-1.5, soap-1.6, got 'soap-2.0'",
        ),
        (
            b'[3,"1",{}]',
            {"to": "soap-1.6"},
            "FormationViolation",
            "action: expected the action that the result answers, got none",
        ),
        (b"[", {"to": "soap-1.6"}, "FormationViolation", "frame: expected JSON in UTF-8: input data was truncated"),
        (b"hello", {}, "ProtocolError", "expected XML: Start tag expected, '<' not found, line 1, column 1 (<string>, line 1)"),
        (b'{"a":1}', {}, "ProtocolError", "expected XML: Start tag expected, '<' not found, line 1, column 1 (<string>, line 1)"),
    ],
)
def test_what_cannot_be_translated_is_refused(data: bytes, wish: dict[str, Any], code: str, text: str) -> None:
    assert refusal_of(data, **wish) == (code, text)


# --- strict --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (envelope(BOOT.format("<iccid/>")), "iccid: empty, taken as absent (quirks.empty)"),
        (envelope(BOOT.format("<x/>")), "x: unknown element (quirks.unknown-element)"),
        (b"\n" + envelope(), "message: white space before the envelope (quirks.leading-text)"),
        (envelope(message_id=""), "MessageID: none given (quirks.no-id)"),
    ],
)
def test_strict_refuses_what_would_need_a_repair(data: bytes, text: str) -> None:
    assert translate(data).remarks
    assert refusal_of(data, strict=True) == ("FormationViolation", text)


def test_strict_refuses_repairs_of_frames_too() -> None:
    frame = b'[2,"1","Reset",{"type":"hard"}]'
    text = "Reset.req type: expected Hard or Soft, got another text"
    assert refusal_of(frame, to="soap-1.6", strict=True) == ("PropertyConstraintViolation", text)
    assert translate(frame, Wish("soap-1.6")).remarks[0].rule == "quirks.case"


def test_strict_takes_what_a_version_lacks() -> None:
    status = '[2,"1","StatusNotification",{"connectorId":1,"errorCode":"NoError","status":"Charging"}]'
    done = translate(status.encode(), Wish("soap-1.5", strict=True))
    assert [r.kind for r in done.remarks] == [Kind.CHANGED]


# --- a line of many ------------------------------------------------------------------------------------------------------


def test_a_line_with_an_envelope_is_answered_with_a_frame() -> None:
    answer = answered({"message": envelope().decode()})
    assert answer == {"message": [2, "urn:uuid:1", "Heartbeat", {}], "version": "1.5", "identity": "CP-1", "remarks": []}


def test_a_line_with_a_frame_is_answered_with_an_envelope() -> None:
    answer = answered({"message": [2, "1", "Heartbeat", {}], "to": "soap-1.2", "identity": "CP-7"})
    assert list(answer) == ["message", "version", "identity", "remarks"]
    assert answer["message"].startswith("<s:Envelope ")
    assert (answer["version"], answer["identity"], answer["remarks"]) == ("1.2", "CP-7", [])


def test_a_frame_may_come_as_text() -> None:
    assert answered({"message": '[2,"1","Heartbeat",{}]', "to": "soap-1.2"})["version"] == "1.2"


def test_bytes_come_in_base64() -> None:
    data = envelope(identity="Säule").decode().encode("utf-16")
    assert answered({"base64": base64.b64encode(data).decode()})["identity"] == "Säule"


def test_remarks_stand_in_the_answer() -> None:
    answer = answered({"message": envelope(BOOT.format("<iccid/>")).decode()})
    assert answer["remarks"] == [
        {"kind": "repaired", "path": "iccid", "detail": "empty, taken as absent", "rule": "quirks.empty"}
    ]


def test_a_fault_may_be_of_no_version() -> None:
    fault = '<s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope"><s:Body><s:Fault/></s:Body></s:Envelope>'
    assert answered({"message": fault})["version"] is None


def test_digits_of_numbers_survive_a_line() -> None:
    period = '{"startPeriod":0,"limit":16.0}'
    schedule = f'{{"chargingRateUnit":"A","chargingSchedulePeriod":[{period}]}}'
    frame = f'[3,"1",{{"status":"Accepted","chargingSchedule":{schedule}}}]'
    answer = answered(f'{{"message":{frame},"to":"soap-1.6","action":"GetCompositeSchedule"}}'.encode())
    assert "<cp:limit>16.0</cp:limit>" in answer["message"]
    assert frame.encode() in line(json.dumps({"message": answer["message"]}).encode())


def test_the_time_of_receipt_is_used_where_one_is_needed() -> None:
    body = "<bootNotificationResponse><status>Accepted</status></bootNotificationResponse>"
    request = {"message": envelope(body, version="1.2").decode()}
    assert answered(request, NOW)["message"][2]["currentTime"] == NOW
    assert refused(request)[0] == "OccurenceConstraintViolation"


def test_strict_is_per_line() -> None:
    message = envelope(BOOT.format("<iccid/>")).decode()
    assert refused({"message": message, "strict": True}) == ("FormationViolation", "iccid: empty, taken as absent (quirks.empty)")
    assert "message" in answered({"message": message, "strict": False})


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (b"", "line: expected a JSON object"),
        (b"\xff", "line: expected a JSON object"),
        (b'{"a":1e99999999999999999999}', "line: expected a JSON object"),
        (b"[" * 100_000, "line: expected a JSON object"),
        ([], "line: expected a JSON object"),
        ("x", "line: expected a JSON object"),
        ({}, "line: expected message or base64"),
        ({"message": "<a/>", "base64": ""}, "line: expected message or base64"),
        ({"message": None}, "line: expected message or base64"),
        ({"message": 7}, "message: expected an envelope as text or a frame as list"),
        ({"message": {}}, "message: expected an envelope as text or a frame as list"),
        ({"base64": "%%"}, "base64: expected text in base64"),
        ({"base64": "é"}, "base64: expected text in base64"),
        ({"base64": 7}, "base64: expected text in base64"),
        ({"message": "<a/>", "verbose": True, "version": 1}, "line: expected no key 'verbose'"),
        ({"message": "<a/>", "to": 7}, "to: expected text"),
        ({"message": "<a/>", "action": 7}, "action: expected text"),
        ({"message": "<a/>", "identity": []}, "identity: expected text"),
        ({"message": "<a/>", "side": "north"}, "side: expected central-system or charge-point"),
        ({"message": "<a/>", "side": []}, "side: expected central-system or charge-point"),
        ({"message": "<a/>", "strict": "true"}, "strict: expected true or false"),
        ({"message": [2, "1", "Heartbeat", {}]}, "to: expected soap-1.2, soap-1.5, soap-1.6, got ''"),
    ],
)
def test_a_line_that_asks_for_nothing_sensible_is_refused(request_: Any, text: str) -> None:
    assert refused(request_) == ("FormationViolation", text)


def test_a_refusal_stands_on_one_line() -> None:
    out = line(json.dumps({"message": "<\n>"}).encode())
    assert b"\n" not in out
    assert json.loads(out)["refused"]["code"] == "ProtocolError"


def test_a_remark_is_said_as_json_has_it() -> None:
    assert remark(Remark(Kind.LOST, "a[0].b", "why", "rule")) == {
        "kind": "lost",
        "path": "a[0].b",
        "detail": "why",
        "rule": "rule",
    }


def test_targets_are_the_versions() -> None:
    assert sorted(module.TARGETS) == ["soap-1.2", "soap-1.5", "soap-1.6"]


def test_null_is_absent() -> None:
    absent = {"to": None, "action": None, "identity": None, "side": None}
    assert answered({"message": envelope().decode()} | absent) == answered({"message": envelope().decode()})
    assert refused({"message": [2, "1", "Heartbeat", {}]} | absent)[0] == "FormationViolation"


STRANGE = "<value>1</value><value {}>2</value>"


@pytest.mark.parametrize("attribute", ['unit="Furlong"', 'context="Moon"'])
def test_the_strict_leave_nothing_out(attribute: str) -> None:
    group = f"<values><timestamp>{NOW}</timestamp>{STRANGE.format(attribute)}</values>"
    data = envelope(f"<meterValuesRequest><connectorId>1</connectorId>{group}</meterValuesRequest>")
    assert frame_of(data)[3]["meterValue"][0]["sampledValue"][0] == {"value": "1"}
    assert refusal_of(data, strict=True)[1].endswith("(quirks.unknown-word)")

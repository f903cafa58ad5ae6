"""Exchanges as JSON lines."""

import itertools
import json
from typing import Any

import pytest

from gateway.traffic import export
from gateway.traffic.exchanges import Finding
from gateway.traffic.record import Record
from tests.exchanges import exchange
from translations.messages import Kind, Remark

REMARK = Remark(Kind.ASSUMED, "meterStart", "no value, took 0", "default")
SAMPLE = Record(
    at=1_714_557_600.1234,
    exchange="x-1",
    charger="CP-1",
    leg="charger",
    direction=">",
    wire="soap",
    version="1.5",
    kind="result",
    action="Heartbeat",
    message_id="m-1",
    raw=b"<a/>",
    canonical=[3, "m-1", {"currentTime": "2024-05-01T10:00:00Z"}],
    remarks=(REMARK,),
    outcome="ok",
    latency=0.0123456,
    peer="10.0.0.9:4711",
    note="n",
    tenant="acme",
)


CALL = SAMPLE._replace(at=1_714_557_600.0, direction="<", kind="call", outcome="", latency=None, note="", remarks=(), raw=b"<b/>")
SENT = CALL._replace(
    at=1_714_557_600.01, leg="csms", direction=">", wire="json", version="1.6", message_id="x-1", raw=b'[2,"x-1"]'
)
ANSWER = SENT._replace(at=1_714_557_600.06, direction="<", kind="result", raw=b'[3,"x-1",{}]', outcome="ok", latency=0.05)


def exported(*records: Record) -> dict[str, Any]:
    line = export.line(export.as_object(exchange(*records)))
    assert line.count(b"\n") == 1
    found: dict[str, Any] = json.loads(line)
    return found


def half(**changes: Any) -> dict[str, Any]:
    """An answer as it is told."""
    found: dict[str, Any] = exported(SAMPLE._replace(**changes))["legs"][0]["answer"]
    return found


def test_every_field_has_its_name() -> None:
    call = CALL._replace(headers=(("content-type", "text/xml"),), canonical=[2, "m-1", "Heartbeat", {"connectorId": 2}])
    assert exported(call, SAMPLE) == {
        "id": 1,
        "name": "x-1",
        "at": "2024-05-01T10:00:00.000Z",
        "charger": "CP-1",
        "tenant": "acme",
        "action": "Heartbeat",
        "direction": "up",
        "outcome": "ok",
        "ok": True,
        "latencyMs": 12.346,
        "connector": 2,
        "transaction": None,
        "legs": [
            {
                "name": "charger",
                "attempt": 1,
                "direction": "in",
                "wire": "soap",
                "version": "1.5",
                "peer": "10.0.0.9:4711",
                "outcome": "ok",
                "refused": False,
                "latencyMs": 12.346,
                "call": {
                    "at": "2024-05-01T10:00:00.000Z",
                    "messageId": "m-1",
                    "raw": "<b/>",
                    "canonical": [2, "m-1", "Heartbeat", {"connectorId": 2}],
                    "remarks": [],
                    "headers": {"content-type": "text/xml"},
                    "note": "",
                },
                "answer": {
                    "at": "2024-05-01T10:00:00.123Z",
                    "messageId": "m-1",
                    "raw": "<a/>",
                    "canonical": [3, "m-1", {"currentTime": "2024-05-01T10:00:00Z"}],
                    "remarks": [{"kind": "assumed", "path": "meterStart", "detail": "no value, took 0", "rule": "default"}],
                    "headers": {},
                    "note": "n",
                },
            }
        ],
        "timeline": [
            {"step": "received", "leg": "charger", "attempt": 1, "at": "2024-05-01T10:00:00.000Z", "latencyMs": None},
            {"step": "returned", "leg": "charger", "attempt": 1, "at": "2024-05-01T10:00:00.123Z", "latencyMs": 123.4},
        ],
        "findings": [],
    }


def test_a_timeline_tells_every_step_and_how_long_it_took() -> None:
    late = ANSWER._replace(at=1_714_557_601.0, leg="b", latency=0.9)
    found = exported(CALL, SENT, SENT._replace(leg="b"), ANSWER, SAMPLE, late)["timeline"]
    assert [(step["step"], step["leg"], step["latencyMs"]) for step in found] == [
        ("received", "charger", None),
        ("sent", "csms", 10.0),
        ("sent", "b", 10.0),
        ("answered", "csms", 50.0),
        ("returned", "charger", 63.4),
        ("answered", "b", 900.0),
    ]


def test_an_exchange_without_an_answer_says_so() -> None:
    found = exported(CALL)
    assert (found["outcome"], found["ok"], found["latencyMs"], found["legs"][0]["answer"]) == ("", False, None, None)


def test_findings_are_objects() -> None:
    found = exchange(CALL)
    found.findings = (Finding("no-boot", "warning", "no boot"),)
    assert export.as_object(found)["findings"] == [{"rule": "no-boot", "severity": "warning", "text": "no boot"}]


def test_without_a_tenant_there_is_none() -> None:
    assert exported(SAMPLE._replace(tenant=""))["tenant"] is None


def test_bytes_that_are_not_utf8_are_base64() -> None:
    found = half(raw=b"\xff\x00")
    assert (found["rawBase64"], "raw" in found) == ("/wA=", False)


def test_what_is_not_there_is_null_or_empty() -> None:
    found = half(canonical=None, remarks=())
    assert (found["canonical"], found["remarks"], found["headers"]) == (None, [], {})


def test_a_json_message_is_its_own_canonical_form() -> None:
    raw = '[2, "m-1",\n "Heartbeat", {"value": 1.50, "text": "é\u009b"}]'.encode()
    line = export.line(export.as_object(exchange(CALL._replace(wire="json", canonical=None, raw=raw))))
    assert b'"canonical":[2,"m-1","Heartbeat",{"value":1.50,' in line
    assert json.loads(line)["legs"][0]["call"]["canonical"] == json.loads(raw)


@pytest.mark.parametrize("raw", [b"[2, nonsense", b'{"no": "frame"}', b"", b'["\xff"]', b"[" * 100_000])
def test_what_is_no_frame_has_no_canonical_form(raw: bytes) -> None:
    assert half(wire="json", canonical=None, raw=raw)["canonical"] is None


def test_a_refused_message_has_no_canonical_form() -> None:
    assert (
        exported(CALL._replace(wire="json", canonical=None, raw=b"[2]", kind="refused"))["legs"][0]["call"]["canonical"] is None
    )


def test_a_terminal_finds_nothing_to_obey_in_a_line() -> None:
    evil = "\x1b[2J\x07\x7f\x9b31m\u202e\u2028é"
    said = CALL._replace(action=evil, raw=evil.encode(), canonical=[evil], note=evil, headers=(("server", evil),))
    line = export.line(export.as_object(exchange(said)))
    assert not set("\x1b\x07\x7f\x9b\u202e\u2028") & set(line.decode())
    found = json.loads(line)
    call = found["legs"][0]["call"]
    assert [found["action"], call["raw"], call["note"], call["headers"]["server"]] == [evil] * 4
    assert call["canonical"] == [evil]


def test_a_delete_character_alone_is_escaped_too() -> None:
    assert export.line("a\x7f") == b'"a\\u007f"\n'


def test_lines_are_made_one_at_a_time() -> None:
    endless = (exchange(CALL, id=n) for n in itertools.count())
    assert [json.loads(line)["id"] for line in itertools.islice(export.lines(endless), 2)] == [0, 1]

"""Messages as JSON lines."""

import itertools
import json
from typing import Any

import pytest

from gateway.traffic import export
from gateway.traffic.record import Record
from gateway.traffic.row import Row, from_columns, to_columns
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


def row(**changes: Any) -> Row:
    return from_columns((1, *to_columns(SAMPLE._replace(**changes))))


def exported(**changes: Any) -> dict[str, Any]:
    line = export.line(export.as_object(row(**changes)))
    assert line.count(b"\n") == 1
    found: dict[str, Any] = json.loads(line)
    return found


def test_every_field_has_its_name() -> None:
    assert exported() == {
        "id": 1,
        "at": "2024-05-01T10:00:00.123Z",
        "exchange": "x-1",
        "charger": "CP-1",
        "tenant": "acme",
        "leg": "charger",
        "direction": "out",
        "wire": "soap",
        "version": "1.5",
        "kind": "result",
        "action": "Heartbeat",
        "messageId": "m-1",
        "raw": "<a/>",
        "canonical": [3, "m-1", {"currentTime": "2024-05-01T10:00:00Z"}],
        "remarks": [{"kind": "assumed", "path": "meterStart", "detail": "no value, took 0", "rule": "default"}],
        "outcome": "ok",
        "latencyMs": 12.346,
        "peer": "10.0.0.9:4711",
        "note": "n",
    }


def test_without_a_tenant_there_is_none() -> None:
    assert exported(tenant="")["tenant"] is None


def test_bytes_that_are_not_utf8_are_base64() -> None:
    found = exported(raw=b"\xff\x00")
    assert (found["rawBase64"], "raw" in found) == ("/wA=", False)


def test_what_is_not_there_is_null_or_empty() -> None:
    found = exported(canonical=None, latency=None, remarks=(), direction="<")
    assert (found["canonical"], found["latencyMs"], found["remarks"], found["direction"]) == (None, None, [], "in")


def test_a_json_message_is_its_own_canonical_form() -> None:
    raw = '[2, "m-1",\n "Heartbeat", {"value": 1.50, "text": "é\u009b"}]'.encode()
    line = export.line(export.as_object(row(wire="json", canonical=None, raw=raw)))
    assert b'"canonical":[2,"m-1","Heartbeat",{"value":1.50,' in line
    assert json.loads(line)["canonical"] == json.loads(raw)


@pytest.mark.parametrize("raw", [b"[2, nonsense", b'{"no": "frame"}', b"", b'["\xff"]', b"[" * 100_000])
def test_what_is_no_frame_has_no_canonical_form(raw: bytes) -> None:
    assert exported(wire="json", canonical=None, raw=raw)["canonical"] is None


def test_a_refused_message_has_no_canonical_form() -> None:
    assert exported(wire="json", canonical=None, raw=b"[2]", kind="refused")["canonical"] is None


def test_a_terminal_finds_nothing_to_obey_in_a_line() -> None:
    evil = "\x1b[2J\x07\x7f\x9b31m\u202e\u2028é"
    line = export.line(export.as_object(row(action=evil, raw=evil.encode(), canonical=[evil], note=evil)))
    assert not set("\x1b\x07\x7f\x9b\u202e\u2028") & set(line.decode())
    found = json.loads(line)
    assert (found["action"], found["raw"], found["canonical"], found["note"]) == (evil, evil, [evil], evil)


def test_a_delete_character_alone_is_escaped_too() -> None:
    assert export.line("a\x7f") == b'"a\\u007f"\n'


def test_lines_are_made_one_at_a_time() -> None:
    endless = (row(message_id=str(n)) for n in itertools.count())
    assert [json.loads(line)["messageId"] for line in itertools.islice(export.lines(endless), 2)] == ["0", "1"]

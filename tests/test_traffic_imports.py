"""Traffic that others have kept, as exchanges."""

import base64
import io
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.traffic import export, imports
from gateway.traffic.exchanges import OK, Exchange, Half
from gateway.traffic.imports import imported, pairing, sources
from gateway.traffic.imports.found import time_in
from tests.excerpts import AT, BEAT, ESCAPES, FAILED, PENDING, refused, soap_exchange, vector
from tests.strategies import Form
from translations.messages import Kind, Side, Version

CALL = '[2,"1","Heartbeat",{}]'
RESULT = '[3,"1",{"currentTime":"2024-05-01T10:00:00Z"}]'
DOWN = '[2,"9","Reset",{"type":"Hard"}]'
BOTH = '[2,"5","DataTransfer",{"vendorId":"a"}]'


def read(*lines: str | bytes, kind: str = "auto", **given: Any) -> list[Exchange]:
    data = b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)
    return list(imported(io.BytesIO(data), kind, **given))


def call_of(exchange: Exchange) -> Half:
    half = exchange.legs[0].call
    assert half is not None
    return half


def answer_of(exchange: Exchange) -> Half:
    half = exchange.legs[0].answer
    assert half is not None
    return half


# --- logs of frames ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "charger"),
    [
        ("{frame}", ""),
        ("2024-05-01T10:00:00.000Z CP-1 < {frame}", "CP-1"),
        ("2024-05-01 10:00:00,000 INFO ocpp CP_1: receive message {frame}", "CP_1"),
        ("INFO:ocpp:CP_1: receive message {frame}", "CP_1"),
        (
            "[INFO ] 2024-05-01 10:00:00,000 a.b.WebSocketLogger (qtp-21) - [chargeBoxId=CP1, sessionId=ab-12] Received: {frame}",
            "CP1",
        ),
        ("2024-05-01T12:00:00+02:00 CP1 -> CSMS: {frame}", "CP1"),
        ("1714557600.000 charger=CP1 rx {frame}", "CP1"),
        ("1714557600000 [CP1] IN  {frame} [24 bytes]", "CP1"),
        ("[2024-05-01T10:00:00Z][CP1][recv] {frame}", "CP1"),
        ("20240501T100000Z\tDE*ABC*E1\t<<\t{frame}", "DE*ABC*E1"),
    ],
)
def test_layouts_of_logs(layout: str, charger: str) -> None:
    (exchange,) = read(layout.format(frame=CALL))
    assert (exchange.charger, exchange.action, exchange.up) == (charger, "Heartbeat", True)
    assert call_of(exchange).raw == CALL.encode() and call_of(exchange).canonical is None
    assert exchange.at == AT or [r.rule for r in call_of(exchange).remarks] == ["imports.time"]


def test_call_and_answer_are_one_exchange() -> None:
    (exchange,) = read(f"2024-05-01T10:00:00Z CP1 < {CALL}", f"2024-05-01T10:00:00.250Z CP1 > {RESULT}")
    assert (exchange.outcome, exchange.latency, exchange.name) == (OK, 0.25, exchange.name)
    assert (exchange.legs[0].name, exchange.legs[0].inward, exchange.legs[0].wire) == ("charger", True, "json")
    assert answer_of(exchange).raw == RESULT.encode() and not exchange.legs[0].refused


def test_an_error_ends_an_exchange_with_its_code() -> None:
    (exchange,) = read(DOWN, '[4,"9","NotSupported","no such thing",{}]')
    assert (exchange.up, exchange.outcome, answer_of(exchange).note) == (False, "NotSupported", "no such thing")


def test_ids_are_those_of_a_charger_and_of_a_direction() -> None:
    lines = (f"CP1 {CALL}", f"CP2 {CALL}", 'CP1 [2,"1","Reset",{"type":"Soft"}]')
    answers = ('CP1 > [3,"1",{"currentTime":"t"}]', 'CP1 < [3,"1",{"status":"Accepted"}]')
    one, two, down = read(*lines, *answers)
    assert (two.charger, two.outcome) == ("CP2", "")
    assert b"currentTime" in answer_of(one).raw and b"status" in answer_of(down).raw


def test_whose_log_it_is_shows_in_who_calls() -> None:
    beat, data = read(f"CP1 sent {CALL}", f"CP1 sent {BOTH}")
    assert (beat.up, data.up) == (True, True)
    beat, data = read(f"CP1 received {CALL}", f"CP1 sent {BOTH}")
    assert (beat.up, data.up) == (True, False)


def test_a_direction_that_nobody_knows_is_assumed_and_said() -> None:
    (exchange,) = read(BOTH)
    assert exchange.up and "imports.direction" in [remark.rule for remark in call_of(exchange).remarks]


def test_numbers_are_found_in_call_and_answer() -> None:
    payload = {"connectorId": 2, "idTag": "TAG1", "meterStart": 0, "timestamp": "2024-05-01T10:00:00Z"}
    start = json.dumps([2, "1", "StartTransaction", payload])
    (exchange,) = read(start, '[3,"1",{"transactionId":4711,"idTagInfo":{"status":"Accepted"}}]')
    assert (exchange.connector, exchange.transaction) == (2, 4711)


def test_an_answer_without_its_call_says_so() -> None:
    (exchange,) = read(RESULT)
    assert exchange.legs[0].call is None and answer_of(exchange).note == "answers no call that is here"
    assert exchange.outcome == OK


def test_lines_without_a_frame_are_counted() -> None:
    beat, rest = read("INFO starting", CALL, "INFO connected", "bye", kind="frames")
    assert beat.action == "Heartbeat" and rest.legs[0].refused
    assert call_of(rest).note == "3 lines without a frame were left out, the first is line 1"


@pytest.mark.parametrize(
    ("line", "note"),
    [
        (b'CP1 [2,"1"]', "line 2: frame: expected 4 items, got 2"),
        (b'[2,"1","Heartbeat",{}', "line 2: frame: expected JSON in UTF-8"),
        (b'CP1 {"a":', "line 2: expected a frame"),
        (b'{"a":', "line 2: expected a JSON object"),
        (b'{"a":1}', "line 2: expected raw, or messageType"),
        (b'[2,"\xff","Heartbeat",{}]', "line 2: frame: expected JSON in UTF-8"),
        (b"[" * 5000, "line 2: expected a frame"),
        (b'{"a":' * 5000, "line 2: expected a JSON object"),
    ],
)
def test_bad_lines_are_refused_and_end_nothing(line: bytes, note: str) -> None:
    one, bad, two = read(CALL, line, DOWN)
    assert (one.action, two.action) == ("Heartbeat", "Reset")
    assert bad.legs[0].refused and bad.outcome == "FormationViolation" and call_of(bad).note.startswith(note)
    assert line.endswith(call_of(bad).raw)


def test_a_line_that_is_too_long_is_cut_and_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "LONGEST", 100)
    monkeypatch.setattr(imports, "LONGEST", 100)
    one, bad, two = read(CALL, f'[2,"1","Heartbeat",{{"a":"{"x" * 5000}"}}]', DOWN)
    assert call_of(bad).note == "line 2: expected at most 100 bytes, got more" and len(call_of(bad).raw) == 101
    assert (one.action, two.action) == ("Heartbeat", "Reset")


# --- traces ------------------------------------------------------------------------------------------------------------


def record(**fields: Any) -> str:
    usual = {
        "schemaVersion": "1.1",
        "timestamp": "2024-05-01T10:00:00.000Z",
        "ocppVersion": "1.6",
        "transport": "json",
        "chargePointId": "CP1",
        "direction": "cp-to-csms",
        "messageType": "CALL",
        "messageId": "1",
        "action": "Heartbeat",
        "payload": {},
    }
    return json.dumps({key: value for key, value in (usual | fields).items() if value is not None})


def test_a_trace_of_others_is_paired_by_id_and_direction() -> None:
    answer = record(
        direction="csms-to-cp",
        messageType="CALLRESULT",
        action=None,
        payload={"currentTime": "t"},
        timestamp="2024-05-01T10:00:02Z",
    )
    (exchange,) = read(record(raw=CALL), answer)
    assert (exchange.charger, exchange.at, exchange.latency, exchange.legs[0].version) == ("CP1", AT, 2.0, "1.6")
    assert (call_of(exchange).raw, call_of(exchange).canonical) == (CALL.encode(), None)
    # What was on the wire is not known, and not made up.
    assert (answer_of(exchange).raw, answer_of(exchange).canonical) == (b"", b'[3,"1",{"currentTime": "t"}]')


def test_an_error_of_a_trace_has_code_and_text() -> None:
    error = record(direction="csms-to-cp", messageType="CALLERROR", error={"code": "InternalError", "description": "oh"})
    (exchange,) = read(record(), error)
    assert (exchange.outcome, answer_of(exchange).note) == ("InternalError", "oh")


def test_unknown_fields_are_kept_in_the_note() -> None:
    (exchange,) = read(record(meta={"site": "north"}, color="red"))
    assert call_of(exchange).note == 'also given: meta: {"site": "north"}, color: "red"'


def test_missing_fields_are_borne() -> None:
    line = record(timestamp=None, chargePointId=None, direction=None, schemaVersion=None, messageId=None, ocppVersion=None)
    (exchange,) = read(line)
    assert (exchange.action, exchange.up, exchange.charger) == ("Heartbeat", True, "")
    assert [remark.kind for remark in call_of(exchange).remarks] == [Kind.ASSUMED]


@pytest.mark.parametrize(
    "line",
    [
        {"time": "2024-05-01T10:00:00Z", "charger": "CP1", "frame": CALL},
        {"ts": 1714557600000, "cpId": "CP1", "message": json.loads(CALL)},
        {"@timestamp": 1714557600, "chargeBoxId": "CP1", "data": CALL, "level": "info"},
    ],
)
def test_other_names_of_fields_are_known(line: dict[str, Any]) -> None:
    (exchange,) = read(json.dumps(line))
    assert (exchange.at, exchange.charger, exchange.action) == (AT, "CP1", "Heartbeat")
    assert json.loads(call_of(exchange).raw) == json.loads(CALL)


def test_envelopes_in_a_trace_are_translated() -> None:
    raw, frame = vector(Form(Version.V15, Side.CENTRAL_SYSTEM, "StartTransaction", False))
    (exchange,) = read(record(transport="soap", raw=raw.decode(), payload=None, chargePointId=None))
    assert json.loads(call_of(exchange).canonical or b"")[2:] == frame[2:]
    assert (exchange.legs[0].wire, exchange.legs[0].version, exchange.action) == ("soap", "1.5", "StartTransaction")
    assert exchange.charger


@given(st.lists(st.binary(max_size=60) | st.sampled_from([CALL.encode(), RESULT.encode(), record().encode()]), max_size=8))
def test_no_bytes_end_an_import(lines: list[bytes]) -> None:
    for kind in imports.KINDS:
        for exchange in imported(io.BytesIO(b"\n".join(lines)), kind):
            assert exchange.legs[0].call or exchange.legs[0].answer


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda v: st.lists(v, max_size=3),
)
FIELDS = [*json.loads(record()), "raw", "error", "meta", "time", "frame", "legs", "name", "at"]


@given(st.dictionaries(st.sampled_from(FIELDS), json_values, max_size=6))
def test_no_object_ends_an_import(fields: dict[str, Any]) -> None:
    for line in (json.dumps(fields), record(**fields), record(meta={"exchange": "a"} | fields)):
        assert len(read(line)) == 1


# --- envelopes ---------------------------------------------------------------------------------------------------------


def write(folder: Path, name: str, form: Form, at: float = AT, **changes: str) -> bytes:
    data, _ = vector(form)
    for old, new in changes.items():
        data = data.replace(old.encode(), new.encode())
    (folder / name).write_bytes(data)
    os.utime(folder / name, (at, at))
    return data


def form(action: str, response: bool = False, side: Side = Side.CENTRAL_SYSTEM) -> Form:
    return Form(Version.V15, side, action, response)


def test_a_folder_of_envelopes_is_read_in_order_of_time(tmp_path: Path) -> None:
    write(tmp_path, "b.xml", form("Heartbeat"), AT + 5)
    write(tmp_path, "a.xml", form("BootNotification"), AT + 9)
    write(tmp_path, "2024-05-01T10-00-01.500Z-boot.xml", form("Authorize"), AT + 99)
    (tmp_path / "readme.txt").write_text("no envelope")
    found = list(imported(tmp_path))
    assert [exchange.action for exchange in found] == ["Authorize", "Heartbeat", "BootNotification"]
    assert [exchange.at - AT for exchange in found] == [1.5, 5, 9]


@pytest.mark.parametrize("action", ["StartTransaction", "Heartbeat", "StatusNotification"])
def test_call_and_answer_of_a_folder_are_one_exchange(tmp_path: Path, action: str) -> None:
    asked = write(tmp_path, "1.xml", form(action), AT)
    said = write(tmp_path, "2.xml", form(action, response=True), AT + 0.5)
    found = list(imported(tmp_path))
    answers = [exchange for exchange in found if exchange.legs[0].answer]
    assert call_of(found[0]).raw == asked and answer_of(answers[0]).raw == said
    assert json.loads(answer_of(answers[0]).canonical or b"")[2] == vector(form(action, response=True))[1][2]


def test_an_answer_that_relates_to_nothing_is_paired_by_order(tmp_path: Path) -> None:
    write(tmp_path, "1.xml", form("Heartbeat"), AT)
    write(tmp_path, "2.xml", form("Authorize"), AT + 1)
    write(tmp_path, "3.xml", form("Heartbeat", response=True), AT + 2, RelatesTo="FaultTo")
    beat, authorize = imported(tmp_path)
    assert (beat.outcome, beat.latency, authorize.outcome) == (OK, 2.0, "")


def test_remarks_of_the_translation_are_kept(tmp_path: Path) -> None:
    write(tmp_path, "1.xml", form("Heartbeat"), AT, MessageID="FaultTo")
    (exchange,) = imported(tmp_path)
    assert [remark.rule for remark in call_of(exchange).remarks] == ["quirks.no-id"]
    assert json.loads(call_of(exchange).canonical or b"")[1] == exchange.name


@pytest.mark.parametrize("data", [b"", b"<a>", b"\xff\xfe", b"<!DOCTYPE a><a/>", ESCAPES.encode()], ids=repr)
def test_a_file_that_is_no_envelope_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "bad.xml").write_bytes(data)
    write(tmp_path, "good.xml", form("Heartbeat"), AT)
    good, bad = imported(tmp_path)
    assert good.action == "Heartbeat" and bad.legs[0].refused and call_of(bad).raw == data
    assert call_of(bad).note.startswith("bad.xml: ") and bad.outcome == "ProtocolError"


def test_a_single_envelope_is_read_too(tmp_path: Path) -> None:
    data = write(tmp_path, "1.xml", form("Heartbeat"))
    (exchange,) = imported(tmp_path / "1.xml")
    assert (exchange.action, call_of(exchange).raw, exchange.at) == ("Heartbeat", data, AT)


def test_an_envelope_that_is_too_long_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.traffic.imports.envelopes.LONGEST", 100)
    write(tmp_path, "1.xml", form("Heartbeat"))
    (exchange,) = imported(tmp_path)
    assert call_of(exchange).note == "1.xml: expected at most 100 bytes, got more"


# --- our own export ----------------------------------------------------------------------------------------------------

OURS: dict[str, Any] = {
    "id": 7,
    "name": "x-1",
    "at": "2024-05-01T10:00:00Z",
    "charger": "CP-1",
    "tenant": None,
    "action": "Heartbeat",
    "direction": "up",
    "outcome": "ok",
    "latencyMs": 250.0,
    "findings": [{"rule": "a", "severity": "note", "text": "b"}],
    "legs": [
        {
            "name": "charger",
            "direction": "in",
            "wire": "soap",
            "version": "1.5",
            "peer": "10.0.0.9:1",
            "outcome": "ok",
            "call": {"at": "2024-05-01T10:00:00Z", "raw": "<a/>", "canonical": [2, "1", "Heartbeat", {}], "messageId": "m"},
            "answer": {"at": "2024-05-01T10:00:00.250Z", "rawBase64": base64.b64encode(b"\xff").decode(), "canonical": None},
        }
    ],
}


def test_an_export_of_exchanges_is_read_back() -> None:
    (exchange,) = read(json.dumps(OURS, separators=(",", ":")))
    assert (exchange.id, exchange.name, exchange.at, exchange.latency) == (0, "x-1", AT, 0.25)
    assert (call_of(exchange).raw, call_of(exchange).canonical) == (b"<a/>", b'[2,"1","Heartbeat",{}]')
    assert (answer_of(exchange).raw, answer_of(exchange).canonical, answer_of(exchange).at) == (b"\xff", None, AT + 0.25)
    assert exchange.findings[0].rule == "a"


def test_what_we_export_as_json_comes_back() -> None:
    posted = soap_exchange()
    made = [BEAT, FAILED, PENDING, refused(b"\xff"), refused(b"{"), replace(posted, legs=posted.legs[:1])]
    back = list(imported(io.BytesIO(b"".join(export.lines(made)))))
    assert back == [replace(exchange, id=0) for exchange in made]


def test_what_is_no_such_exchange_is_refused() -> None:
    (exchange,) = read(json.dumps(OURS | {"legs": 3}), kind="exchanges")
    assert call_of(exchange).note == "line 1: expected an exchange as our JSON export has it"


# --- bounds and progress -----------------------------------------------------------------------------------------------


def test_progress_tells_bytes_and_their_sum(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    path = tmp_path / "a.log"
    path.write_text(f"{CALL}\n" * 30_000)
    assert sum(1 for _ in imported(path, progress=lambda done, total: told.append((done, total)))) == 30_000
    size = path.stat().st_size
    assert len(told) > 2 and told[-1] == (size, size) and {total for _, total in told} == {size}
    assert told == sorted(told)


def test_progress_of_a_folder(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    sizes = [len(write(tmp_path, f"{n}.xml", form("Heartbeat"))) for n in range(3)]
    list(imported(tmp_path, progress=lambda done, total: told.append((done, total))))
    assert [done for done, _ in told] == [sum(sizes[: n + 1]) for n in range(3)]


@pytest.mark.parametrize(("name", "bound"), [("MOST", 10), ("HELD", 5000)])
def test_calls_that_wait_are_bounded(monkeypatch: pytest.MonkeyPatch, name: str, bound: int) -> None:
    monkeypatch.setattr(pairing, name, bound)
    stream = io.BytesIO("\n".join(f'[2,"{n}","Heartbeat",{{}}]' for n in range(1000)).encode())
    assert call_of(next(imported(stream))).message_id == "0"
    assert stream.tell() < 1000


def test_names_are_given_to_those_without() -> None:
    names = iter("ab")
    assert [exchange.name for exchange in read(CALL, DOWN, ids=lambda: next(names))] == ["a", "b"]


def test_a_kind_that_is_none_is_told() -> None:
    with pytest.raises(ValueError, match="kind: expected auto, trace, exchanges, frames, envelopes, got 'x'"):
        imported(io.BytesIO(), "x")


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59-23:00", "0001-01-01T00:00:00+10:00", 1e300])
def test_a_time_that_is_no_date_in_utc_is_refused(at: str | float) -> None:
    [found] = read(json.dumps({"name": "x", "at": at, "legs": []}))
    assert found.legs[0].refused


def test_numbers_that_no_column_holds_are_left_out() -> None:
    leg = {"name": "charger", "direction": "in", "attempt": 2**70}
    [found] = read(json.dumps({"name": "x", "at": 0, "connector": 2**70, "transaction": 2**70, "legs": [leg]}))
    assert (found.connector, found.transaction, found.legs[0].attempt) == (None, None, 1)


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("2024-05-01T10:00:00Z", AT),
        ("2024-05-01 10:00:00.5", AT + 0.5),
        ("2024-05-01 10:00:00,123456", AT + 0.123456),
        ("2024-05-01T12:00:00+0200", AT),
        ("20240501_100000", AT),
        ("x-20240501100000123.xml", AT + 0.123),
        ("1714557600", AT),
        ("1714557600.25", AT + 0.25),
        ("1714557600250", AT + 0.25),
        ("CP-1714", None),
        ("2024-13-01T10:00:00Z", None),
        ("2024-02-31T10:00:00Z", None),
        ("9999-12-31T23:59:59-10:00", None),
    ],
)
def test_times_are_read_as_they_are_written(text: str, at: float | None) -> None:
    found = time_in(text)
    assert (found and found[0]) == (None if at is None else pytest.approx(at, abs=1e-6))

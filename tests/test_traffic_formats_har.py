"""HAR, judged by what the schema of HAR 1.2 asks for, and by what Chrome's developer tools take of it."""

import base64
import json
import math
from collections.abc import Iterable
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given

from gateway.traffic.exchanges import Exchange
from gateway.traffic.formats import har
from tests.excerpts import AT, BEAT, PENDING, SAMPLES, exchanges, hostile, json_exchange, refused, soap_exchange

TEXT, NUMBER, INTEGER = {"type": "string"}, {"type": "number", "minimum": -1}, {"type": "integer", "minimum": -1}
TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$"}


def _object(optional: dict[str, Any] | None = None, **required: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": required | (optional or {}) | {"comment": TEXT}}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


PAIRS = _list(_object(name=TEXT, value=TEXT))
SIZES = {"headersSize": INTEGER, "bodySize": INTEGER}
POSTED = _object(mimeType=TEXT, text=TEXT, params=PAIRS)
REQUEST = _object(
    {"postData": POSTED}, method=TEXT, url=TEXT, httpVersion=TEXT, cookies=PAIRS, headers=PAIRS, queryString=PAIRS, **SIZES
)
CONTENT = _object({"text": TEXT, "encoding": TEXT}, size={"type": "integer"}, mimeType=TEXT)
RESPONSE = _object(
    status=INTEGER, statusText=TEXT, httpVersion=TEXT, cookies=PAIRS, headers=PAIRS, content=CONTENT, redirectURL=TEXT, **SIZES
)
TIMINGS = _object(dict.fromkeys(("dns", "connect", "blocked", "ssl"), NUMBER), send=NUMBER, wait=NUMBER, receive=NUMBER)
# What Chrome reads besides: front_end/models/har/HARFormat.ts and Importer.ts, which pass over a frame that lacks any of these.
FRAME = _object(type={"enum": ["send", "receive"]}, time=NUMBER, opcode={"enum": [1, 2]}, data=TEXT)
ENTRY = _object(
    {
        "serverIPAddress": {"anyOf": [{"format": "ipv4"}, {"format": "ipv6"}]},
        "connection": TEXT,
        "_resourceType": {"enum": ["websocket", "xhr"]},
        "_webSocketMessages": _list(FRAME),
    },
    startedDateTime=TIME,
    time={"type": "number", "minimum": 0},
    request=REQUEST,
    response=RESPONSE,
    cache={"type": "object"},
    timings=TIMINGS,
)
CREATOR = _object(name=TEXT, version=TEXT)
JUDGE = jsonschema.Draft202012Validator(
    _object(log=_object(version={"const": "1.2"}, creator=CREATOR, pages=_list({}), entries=_list(ENTRY))),
    format_checker=jsonschema.FormatChecker(),
)


def entries(made: Iterable[Exchange]) -> list[dict[str, Any]]:
    document = json.loads(b"".join(har.lines(made)))
    JUDGE.validate(document)
    found: list[dict[str, Any]] = document["log"]["entries"]
    for entry in found:
        assert_chrome_takes(entry)
    return found


def assert_chrome_takes(entry: dict[str, Any]) -> None:
    assert not math.isnan(datetime.fromisoformat(entry["startedDateTime"]).timestamp())
    assert urlsplit(entry["request"]["url"]).hostname
    spent = [entry["timings"][name] for name in ("blocked", "dns", "connect", "send", "wait", "receive")]
    assert sum(time for time in spent if time > 0) == pytest.approx(entry["time"])
    assert ("_webSocketMessages" in entry) == (entry["_resourceType"] == "websocket")


@given(exchanges())
def test_every_document_is_valid(made: list[Exchange]) -> None:
    found = entries(made)
    legs = [leg for exchange in made for leg in exchange.legs]
    assert sum("_webSocketMessages" not in entry for entry in found) == sum(leg.wire == "soap" for leg in legs)


def test_a_post_is_an_entry_with_what_was_said() -> None:
    made = soap_exchange()
    post = next(entry for entry in entries([made]) if entry["_resourceType"] == "xhr")
    charger = made.legs[0]
    assert charger.call and charger.answer
    assert post["request"]["postData"]["text"].encode() == charger.call.raw
    assert post["response"]["content"]["text"].encode() == charger.answer.raw
    assert (post["request"]["url"], post["response"]["status"]) == ("http://gateway.example:9000/CP-1", 200)
    assert (post["time"], post["startedDateTime"]) == (250.0, "2024-05-01T10:00:00.000000Z")
    assert post["_remarks"] == ["lost reason: no field for it (delta)"] and "exchange x-1" in post["comment"]


def test_a_callback_is_posted_to_the_charger() -> None:
    post = next(entry for entry in entries([SAMPLES[1]]) if entry["_resourceType"] == "xhr")
    assert post["request"]["url"] == "http://10.0.0.9:8080/ocpp?a=1"
    assert post["request"]["queryString"] == [{"name": "a", "value": "1"}]
    assert post["serverIPAddress"] == "10.0.0.9"


def test_the_frames_of_a_socket_are_one_entry_in_order_of_time() -> None:
    later = json_exchange(b'[2,"z","Heartbeat",{}]', b'[3,"z",{}]', at=AT + 0.25)
    down = json_exchange(b'[2,"y","Reset",{}]', b'[3,"y",{}]', at=AT + 9, up=False)
    (socket,) = entries([BEAT, later, down])
    frames = socket["_webSocketMessages"]
    assert [frame["time"] - AT for frame in frames] == [0, 0.25, 0.5, 0.75, 9, 9.5]
    assert [frame["type"] for frame in frames] == ["send", "send", "receive", "receive", "receive", "send"]
    assert frames[2]["data"].encode() == (BEAT.legs[0].answer or BEAT.legs[0].call).raw  # type: ignore[union-attr]
    assert (socket["response"]["status"], socket["time"]) == (101, 9500.0)


def test_each_charger_and_leg_has_its_own_socket() -> None:
    found = [entry for entry in entries([*SAMPLES]) if entry["_resourceType"] == "websocket"]
    assert [(entry["_leg"], entry["comment"]) for entry in found] == [
        ("csms", "charger CP-1, leg csms"),
        ("charger", "charger CP-2, leg charger"),
    ]
    assert len({entry["connection"] for entry in found}) == 2


def test_what_no_answer_came_to_has_no_status() -> None:
    (post,) = entries([refused(b"<a>", "soap")])
    assert (post["response"]["status"], post["response"]["_error"]) == (0, "no response")
    assert [frame["type"] for frame in entries([PENDING])[0]["_webSocketMessages"]] == ["send"]


def test_bytes_that_are_no_text_are_base64_and_say_so() -> None:
    (post,) = entries([refused(b"\xff\xfe", "soap")])
    assert base64.b64decode(post["request"]["postData"]["text"]) == b"\xff\xfe"
    assert post["request"]["postData"]["_encoding"] == "base64"
    (socket,) = entries([refused(b"\xff\xfe")])
    assert (socket["_webSocketMessages"][0]["opcode"], socket["_webSocketMessages"][0]["data"]) == (2, "//4=")


def test_an_error_has_the_status_of_its_code() -> None:
    made = soap_exchange()
    made.legs[0].outcome = "InternalError"
    assert entries([made])[0]["response"]["status"] == 500
    assert made.legs[0].answer
    made.legs[0].answer.headers = ((":status", "429"),)
    response = entries([made])[0]["response"]
    assert (response["status"], response["statusText"], response["headers"]) == (429, "Too Many Requests", [])


def test_frames_that_are_too_many_to_hold_become_another_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(har, "HELD", 1000)
    found = entries(json_exchange(b'[2,"z","Heartbeat",{}]', None, at=AT + n) for n in range(20))
    assert len(found) > 2 and sum(len(entry["_webSocketMessages"]) for entry in found) == 20
    assert len({entry["connection"] for entry in found}) == 1


def test_no_document_carries_what_a_terminal_obeys() -> None:
    text = b"".join(har.lines(hostile())).decode()
    assert not set(text) & set("\x00\x07\x1b\x7f\x9b\u2028\u202e") and entries(hostile())


def test_nothing_is_a_document_too() -> None:
    assert entries([]) == []

"""Captures, judged by tshark: what it dissects, what it finds wrong, and what it reads of times and comments."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from gateway.traffic.exchanges import Exchange
from gateway.traffic.formats import pcapng
from tests.excerpts import AT, BEAT, FAILED, PENDING, SAMPLES, exchanges, hostile, json_exchange, refused, soap_exchange

TSHARK = shutil.which("tshark")
pytestmark = pytest.mark.skipif(TSHARK is None and "REQUIRE_ALL_PEERS" not in os.environ, reason="tshark is not installed")

CHECKED = ("-o", "ip.check_checksum:TRUE", "-o", "tcp.check_checksum:TRUE")
# What TCP does not do: gaps, what was not seen, what comes twice, bad checksums; and what nobody can dissect.
WRONG = (
    "_ws.malformed or ip.checksum.status==0 or tcp.checksum.status==0 or tcp.analysis.lost_segment or "
    "tcp.analysis.ack_lost_segment or tcp.analysis.retransmission or tcp.analysis.out_of_order or tcp.analysis.window_full or "
    "tcp.analysis.duplicate_ack"
)


def tshark(path: Path, *args: str) -> str:
    assert TSHARK, "tshark is not installed"
    done = subprocess.run([TSHARK, "-n", "-r", path, *CHECKED, *args], capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode("utf-8", "replace")


def captured(folder: Path, made: Iterable[Exchange]) -> Path:
    path = folder / "excerpt.pcapng"
    path.write_bytes(b"".join(pcapng.lines(made)))
    return path


def fields(path: Path, condition: str, *names: str) -> list[list[str]]:
    shown = [arg for name in names for arg in ("-e", name)]
    text = tshark(path, "-Y", condition, "-T", "fields", "-E", "separator=|", *shown)
    return [line.split("|") for line in text.splitlines()]


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    return captured(tmp_path, sorted(SAMPLES, key=lambda exchange: exchange.at))


LENGTHS = tuple(f"websocket.payload_length{more}" for more in ("", "_ext_16", "_ext_64"))


def sizes(path: Path) -> list[int]:
    """Of the frames: RFC 6455, 5.2 has longer lengths apart."""
    return [int(row[2] or row[1] or row[0]) for row in fields(path, "websocket", *LENGTHS)]


def test_nothing_is_malformed_and_every_checksum_is_right(capture: Path) -> None:
    assert tshark(capture, "-Y", WRONG) == ""
    assert len(fields(capture, "tcp.checksum.status==1", "frame.number")) == len(tshark(capture).splitlines())


def test_posts_are_http_with_their_envelopes(capture: Path) -> None:
    asked = fields(capture, "http.request.method==POST", "http.request.uri", "http.host", "http.file_data")
    assert [(row[0], row[1]) for row in asked] == [("/CP-1", "gateway.example:9000"), ("/ocpp?a=1", "10.0.0.9:8080")]
    assert all("Envelope" in row[2] for row in asked)
    answered = fields(capture, "http.response.code==200", "http.time", "frame.time_epoch")
    assert [float(row[0]) for row in answered] == [0.25, 0.25]


def test_the_body_of_a_post_is_what_was_on_the_wire(capture: Path) -> None:
    call = SAMPLES[0].legs[0].call
    (row,) = fields(capture, 'http.request.uri=="/CP-1"', "http.content_length")
    assert call and row == [str(len(call.raw))]
    assert tshark(capture, "-Y", "xml", "-T", "fields", "-e", "xml.tag").count("Envelope") >= 4


def test_sockets_have_their_handshake_and_their_frames(capture: Path) -> None:
    shaken = fields(capture, "http.upgrade and http.request", "http.request.uri", "http.sec_websocket_protocol")
    assert shaken == [["/CP-2", "ocpp1.6"], ["/ocpp", "ocpp1.6"]]
    legs = [leg for exchange in SAMPLES for leg in exchange.legs if leg.wire == "json"]
    said = [half for leg in legs for half in (leg.call, leg.answer) if half]
    assert sorted(sizes(capture)) == sorted(len(half.raw) for half in said)


def test_what_the_client_says_is_masked_and_read(capture: Path) -> None:
    rows = fields(capture, "websocket and ipv6", "websocket.mask", "ipv6.src", "websocket.payload.text")
    texts = {bytes.fromhex(text).decode() if _is_hex(text) else text: (mask, source) for mask, source, text in rows}
    assert texts['[2,"a","Heartbeat",{}]'] == ("1", "2001:db8::9")
    assert texts['[2,"b","Reset",{"type":"Hard"}]'] == ("0", "2001:db8::1")


def _is_hex(text: str) -> bool:
    return all(c in "0123456789abcdef" for c in text)


def test_the_time_of_a_packet_is_that_of_its_message(capture: Path) -> None:
    rows = fields(capture, "websocket and ip", "frame.time_epoch")
    assert [round(float(row[0]) - AT, 6) for row in rows][:2] == [0.0625, 0.1875]


def test_packets_are_in_order_of_time(capture: Path) -> None:
    times = [float(row[0]) for row in fields(capture, "frame", "frame.time_epoch")]
    assert times == sorted(times)


def test_comments_name_exchange_leg_and_remarks(capture: Path) -> None:
    comments = [row[0] for row in fields(capture, 'frame.comment contains "exchange x-1"', "frame.comment")]
    assert len(comments) == 4 and "lost reason: no field for it (delta)" in comments[0]
    assert "charger CP-1; leg charger; StartTransaction call" in comments[0]


def test_connections_begin_and_end(capture: Path) -> None:
    streams = {row[0] for row in fields(capture, "tcp.flags.syn==1 and tcp.flags.ack==0", "tcp.stream")}
    assert len(streams) == 4  # two posts, a socket to the backend, one from the other charger
    assert {row[0] for row in fields(capture, "tcp.flags.fin==1", "tcp.stream")} == streams


def test_long_messages_go_in_segments(tmp_path: Path) -> None:
    long = b'[2,"1","DataTransfer",{"vendorId":"a","data":"' + b"x" * 200_000 + b'"}]'
    short = long[:2000] + b'"}]'
    posted = soap_exchange()
    call = posted.legs[0].call
    assert call
    call.raw = call.raw.replace(b"</", b" " * 100_000 + b"</", 1)
    made = [posted, json_exchange(long, b'[3,"1",{}]'), json_exchange(short, b'[3,"1",{}]', at=AT + 2)]
    path = captured(tmp_path, made)
    assert tshark(path, "-Y", WRONG) == ""
    assert {len(long), len(short)} <= set(sizes(path))
    assert max(int(row[0]) for row in fields(path, "tcp", "tcp.len")) == 1460


def test_messages_that_overlap_on_a_socket_keep_the_order_of_time(tmp_path: Path) -> None:
    made = [json_exchange(b'[2,"%d","Heartbeat",{}]' % n, b'[3,"%d",{}]' % n, at=AT + n / 10) for n in range(20)]
    path = captured(tmp_path, made)
    assert tshark(path, "-Y", WRONG) == ""
    times = [float(row[0]) for row in fields(path, "websocket", "frame.time_epoch")]
    assert times == sorted(times) and len(times) == 40


def test_what_is_no_text_is_a_binary_frame(tmp_path: Path) -> None:
    path = captured(tmp_path, [refused(b"\xff\xfe\x00")])
    assert fields(path, "websocket", "websocket.opcode", "websocket.payload_length") == [["2", "3"]]


def test_harm_stays_harmless(tmp_path: Path) -> None:
    path = captured(tmp_path, hostile())
    assert tshark(path, "-Y", WRONG) == ""
    comments = "".join(row[0] for row in fields(path, "frame.comment", "frame.comment"))
    assert not set(comments) & set("\x00\x07\x1b\x7f\x9b\u2028\u202e")


def test_headers_cannot_make_headers(tmp_path: Path) -> None:
    made = soap_exchange(charger="CP\r\nX-Evil: 1")
    call = made.legs[0].call
    assert call
    call.headers = (("x-a", "b\r\nX-Evil: 1"), ("host", "h\r\nX-Evil: 1"))
    path = captured(tmp_path, [made])
    lines = tshark(path, "-Y", "http.request.method==POST", "-T", "json", "-e", "http.request.line")
    found: list[str] = json.loads(lines)[0]["_source"]["layers"]["http.request.line"]
    assert not [line for line in found if line.lower().startswith("x-evil")]


def test_a_gap_in_the_log_is_told(tmp_path: Path) -> None:
    gap = refused(b"", "", note="28 messages were not recorded")
    path = captured(tmp_path, [BEAT, gap, FAILED, PENDING])
    assert fields(path, 'frame.comment contains "28 messages were not recorded"', "frame.number")


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=exchanges())
def test_whatever_passed_tcp_is_right(tmp_path: Path, made: list[Exchange]) -> None:
    made.sort(key=lambda exchange: exchange.at)
    path = captured(tmp_path, made)
    assert tshark(path, "-Y", "ip.checksum.status==0 or tcp.checksum.status==0 or tcp.analysis.lost_segment") == ""


def test_nothing_is_a_capture_too(tmp_path: Path) -> None:
    assert tshark(captured(tmp_path, [])) == ""


def test_it_holds_no_more_than_what_may_come_before(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[Any] = []
    monkeypatch.setattr(pcapng, "HELD", 1000)
    made = (taken.append(n) or json_exchange(b'[2,"1","Heartbeat",{}]', None, at=AT + n) for n in range(50))  # type: ignore[func-returns-value]
    blocks = pcapng.lines(made)
    next(blocks), next(blocks)
    assert len(taken) == 2

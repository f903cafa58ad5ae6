"""What filters say of an exchange, condition by condition."""

import time
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.traffic import glob
from gateway.traffic.exchanges import Exchange, Finding, Half, Leg
from gateway.traffic.language import parsed
from gateway.traffic.predicate import compiled, payload_text, result_text
from tests.filtered import NOW
from translations.messages import Kind, Remark

_CALL = (
    b'[2, "1", "StopTransaction", {"idTag": "0012", "meterStop": 4711, "data": [{"v": 1.50, "on": true}], "x": null, "e": ""}]'
)
_LOST = Remark(Kind.LOST, "idTag", "", "clip")


def _exchange() -> Exchange:
    soap, answer = Half(NOW - 60, b"<Envelope/>", _CALL), Half(NOW - 58, b"<E/>", b'[3,"1",{"s":"Accepted"}]')
    frame = Half(NOW - 60, _CALL, remarks=(_LOST, _LOST))
    return Exchange(
        id=7,
        name="ab-CD",
        at=NOW - 60,
        charger="CP7",
        action="StopTransaction",
        outcome="ok",
        latency=2.0,
        transaction=4711,
        legs=[
            Leg(
                "charger",
                True,
                "soap",
                "1.5",
                "10.0.0.7",
                soap,
                answer,
                "ok",
                False,
                2.0,
            ),
            Leg("csms-a", False, "json", "1.6", "", frame, Half(NOW - 59, b'[3,"1",{}]'), "ok", False, 0.5),
            Leg("csms-b", False, "json", "1.6", "", frame, Half(NOW, b"[4]", note="Too late"), "GenericError", True, 60.0),
        ],
        findings=(Finding("gap", "note", ""), Finding("skew", "warning", "")),
    )


_HOLDS = """
    charger == cp7
    charger == C?[0-9]
    charger != CP8
    charger ~ p7
    charger in (CP1, cp*)
    not tenant
    not tenant == north
    not tenant != north
    not tenant == *
    action in (starttransaction, stoptransaction)
    id == 7
    name == ab-CD
    direction == up
    ok
    ok and not refused or ok
    outcome == OK
    latency >= 2s and latency < 2001ms
    not connector
    not connector == 1
    not connector != 1
    not connector in (1, 2)
    transaction == 4711
    since 1m
    not since 59s
    until 59s
    at < 2100-01-01
    payload.idTag == 0012
    payload.idTag == "0012"
    payload.idTag == 00*
    payload.idTag != 12
    payload.meterStop == 4711.0
    not payload.meterStop == "4711"
    payload.meterStop in (1, 4711)
    payload.meterStop > 4710
    not payload.idTag > 1
    payload.data[0].v == 1.5
    payload.data[0].on == true
    payload.data[0].on != 1
    payload.data
    payload.e
    payload.e == ""
    not payload.x
    not payload.x != 1
    not payload.data[1]
    not payload.data.v
    result.s == accepted
    result.s ~ CEPT
    expert
    expert.severity == warning
    not expert.severity == note
    expert.severity < error
    expert.rule == gap
    expert.rule != gap
    remark
    remark == 2
    remark == 0
    remark.lost >= 2
    not remark.changed
    remark.rule == CLIP
    not remark.rule != clip
    wire == soap and wire == json
    version != 1.6
    peer == 10.0.*
    note ~ "too LATE"
    refused
    leg == csms-b and not ok and refused
    leg == csms-b and latency > 2s and remark.lost
    leg == csms-a and ok and wire == json
    leg != charger and outcome == GenericError
    leg and wire == soap
    not leg == csms-c
    charger == CP7 and (leg == csms-c or leg == csms-a)
    "stop" or "metersTOP"
    '"idTag":"0012"'
    text ~ accepted
    not "StopTransaction"
"""
_FAILS = """
    tenant == north
    tenant != north
    name == AB-cd
    direction == down
    connector != 1
    payload.nothing != 1
    payload.x
    leg == csms-b and ok
    leg == csms-c
    leg == charger and remark
    leg == csms-a and wire == soap
    wire == soap and leg == csms-a
    not refused
    not (wire == json)
    expert.rule == "g"
    "nowhere"
"""


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.strip().splitlines()]


@pytest.mark.parametrize("text", _lines(_HOLDS))
def test_it_holds(text: str) -> None:
    assert compiled(parsed(text), NOW)(_exchange()) is True


@pytest.mark.parametrize("text", _lines(_FAILS))
def test_it_does_not_hold(text: str) -> None:
    assert compiled(parsed(text), NOW)(_exchange()) is False


def test_the_empty_expression_holds() -> None:
    assert compiled(parsed(""), NOW)(Exchange(1, "x", NOW)) is True


_ODD = (
    b"",
    b"<soap/>",
    b"\xff",
    b"[]",
    b"{}",
    b"[2]",
    b'[2,"1","A",3]',
    b'[3,"1",{}]',
    b'[2,"1","A",{"a":"\\ud800"}]',
    b'[2,"1","A",{"a":1e99999999999999999999}]',
    b'[2,"1","A",{"a":' + b"[" * 300 + b"]" * 300 + b"}]",
    b"[" * 100_000,
)


@pytest.mark.parametrize("raw", _ODD)
def test_what_is_no_call_has_no_payload(raw: bytes) -> None:
    exchange = Exchange(1, "x", NOW, legs=[Leg("charger", True, "json", "1.6", call=Half(NOW, raw), answer=Half(NOW, raw[:2]))])
    assert payload_text(exchange) is None
    assert result_text(exchange) is None
    assert compiled(parsed('not payload.a and not "a"'), NOW)(exchange)


def test_many_values_are_not_deep() -> None:
    raw = b'[2,"1","A",{"a":[' + b'{"b":"[["},' * 500 + b"1]}]"
    exchange = Exchange(1, "x", NOW, legs=[Leg("charger", True, "json", "1.6", call=Half(NOW, raw))])
    assert compiled(parsed("payload.a[500] == 1"), NOW)(exchange)


_PARTS = ("*", "?", "a", "b", "é", "[[]", "[]a]", "[a-b]", "[!a]", "[!]-]")
_TEXTS = st.text(alphabet="ab]-^é\n*[", max_size=6)


@given(st.lists(st.sampled_from(_PARTS), max_size=6).map("".join), _TEXTS)
def test_globs_are_those_of_the_shell(said: str, text: str) -> None:
    assert (glob.as_pattern(glob.pieces(said)).fullmatch(text) is not None) == fnmatchcase(text, said)


def test_no_glob_takes_long() -> None:
    hostile = compiled(parsed(f'charger == "{"*a" * 900}b"'), NOW)
    start = time.process_time()
    assert not hostile(Exchange(1, "x", NOW, charger="a" * 20_000))
    assert time.process_time() - start < 0.5

"""gateway.expert: what is found in scripts of exchanges, that every rule is documented, and that no input breaks it."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.expert import memory
from gateway.expert.documented import DOCUMENTED
from gateway.expert.expert import Expert
from gateway.traffic.exchanges import Exchange, Finding, Half, Leg
from tests.expert_vectors import START, Vector, exchanges, vectors
from translations.messages import Kind, Remark

PAGE = (Path(__file__).parents[1] / "docs" / "topics" / "expert.md").read_text()
ACTIONS = (
    "Authorize",
    "BootNotification",
    "ChangeConfiguration",
    "FirmwareStatusNotification",
    "Heartbeat",
    "MeterValues",
    "RemoteStartTransaction",
    "StartTransaction",
    "StatusNotification",
    "StopTransaction",
    "",
)
FIELDS = (
    "connectorId",
    "transactionId",
    "idTag",
    "idTagInfo",
    "status",
    "meterStart",
    "meterStop",
    "timestamp",
    "interval",
    "meterValue",
    "sampledValue",
    "value",
    "unit",
    "measurand",
    "errorCode",
    "reason",
    "key",
    "chargePointSerialNumber",
    "chargePointVendor",
    "chargePointModel",
    "firmwareVersion",
    "transactionData",
)
HOUR = 3600.0


def expert(most: int = 1000) -> Expert:
    return Expert(clock=lambda: START + 30 * 86_400, most=most)


def found(script: str) -> list[list[Any]]:
    looking = expert()
    return [[int(each.at - START), one.rule, one.text] for each in exchanges(script) for one in looking.look(each)]


# --- vectors, rules and page


@pytest.mark.parametrize("vector", vectors(), ids=lambda vector: vector.name)
def test_a_script_has_these_findings(vector: Vector) -> None:
    assert found(vector.script) == vector.found


@pytest.mark.parametrize("rule", DOCUMENTED)
def test_each_rule_has_a_script_in_which_it_fires_and_one_in_which_it_must_not(rule: str) -> None:
    fires = [any(each[1] == rule for each in vector.found) for vector in vectors() if vector.rule == rule]
    assert set(fires) == {True, False}


def test_all_vectors_are_of_documented_rules() -> None:
    assert {vector.rule for vector in vectors()} == set(DOCUMENTED)


def test_the_page_has_every_rule_as_it_is() -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| (\w+) \| (.*) \| (.*) \|$", PAGE, re.MULTILINE)
    assert [(name, severity, text, why) for name, severity, text, why in rows] == [tuple(rule) for rule in DOCUMENTED.values()]


def test_severities_are_three() -> None:
    assert {rule.severity for rule in DOCUMENTED.values()} == {"note", "warning", "error"}


# --- telling


def test_what_lasts_is_told_again_after_an_hour() -> None:
    script = "0 up Heartbeat {} = {}\n1800 up Heartbeat {} = {}\n3599 up Heartbeat {} = {}\n3600 up Heartbeat {} = {}"
    assert [each[0] for each in found(script)] == [0, 3600]


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        ("0 up Heartbeat {} = {} | times=1200; every=0.4", "flood"),
        ("0 boot | times=12; every=290", "boot-loop"),
        ('0 up Authorize {"idTag": "TAG1"} ! InternalError | times=60; every=10', "retry-storm"),
    ],
)
def test_what_goes_on_from_one_window_to_the_next_is_told_once(line: str, rule: str) -> None:
    assert [each[1] for each in found(f"0 boot\n{line}")].count(rule) == 1


def test_findings_are_counted_by_rule_and_severity() -> None:
    looking = expert()
    for each in exchanges("0 up Heartbeat {} = {}\n60 up Heartbeat {} = {}\n9999 up Heartbeat {} = {}"):
        looking.look(each)
    assert looking.counts == {("no-boot", "note"): 2}


def test_an_identity_in_another_case_is_the_same_charger() -> None:
    assert found("0 boot | charger=CP1\n60 up Heartbeat {} = {} | charger=cp1") == []


def test_chargers_of_two_tenants_are_two() -> None:
    assert [each[1] for each in found("0 boot | tenant=north\n60 up Heartbeat {} = {} | tenant=south")] == ["no-boot"]


def test_what_is_under_way_is_not_complained_of() -> None:
    script = '0 boot\n60 down Reset {"type": "Soft"} ?'
    early = Expert(clock=lambda: START + 61)
    assert [early.look(each) for each in exchanges(script)] == [(), ()]
    assert [each[1] for each in found(script)] == ["unanswered-command"]


def test_what_is_under_way_is_looked_at_when_it_is_finished() -> None:
    looking = Expert(clock=lambda: START + 61)
    early, late = exchanges('60 up Heartbeat {} ?\n60 up Heartbeat {} = {"currentTime": "@60"}')
    assert looking.look(early) == ()
    assert [each.rule for each in looking.look(late)] == ["no-boot"]


def test_what_a_listener_answers_later_is_looked_at_once_more() -> None:
    looking = expert()
    (boot,) = exchanges("0 boot")
    (early,) = exchanges("60 up Heartbeat {} = {} | latency=0.1\n     csms-b - ?")
    (late,) = exchanges("60 up Heartbeat {} = {} | latency=0.1\n     csms-b {} | latency=7")
    assert [looking.look(each) for each in (boot, early)] == [(), ()]
    late.findings = looking.look_again(late)
    assert [each.rule for each in late.findings] == ["slow-backend"]
    assert looking.look_again(late) == ()


def test_no_text_has_an_id_tag_an_address_or_what_a_terminal_obeys() -> None:
    hostile = "\\u001b[31mPLANTED<script>\\u0000"
    script = f"""
0 up Authorize {{"idTag": "PLANTED"}} = {{"idTagInfo": {{"status": "{hostile}"}}}}
1 up Authorize {{"idTag": "PLANTED"}} = {{"idTagInfo": {{"status": "Invalid"}}}}
2 up Authorize {{"idTag": "PLANTED"}} = {{"idTagInfo": {{"status": "Invalid"}}}}
3 up StartTransaction {{"connectorId": 1, "idTag": "PLANTED", "meterStart": 1, "timestamp": "PLANTED"}} = {{"transactionId": 7}}
4 up StatusNotification {{"connectorId": 1, "status": "PLANTED", "errorCode": "PLANTED"}} = {{}}
5 up StopTransaction {{"transactionId": 7, "meterStop": 0, "reason": "PLANTED"}} = {{}}
6 down Reset {{}} = {{"status": "Accepted"}} | wire=soap; peer=http://u:PLANTED@192.0.2.1/
7 up PLANTED {{}} x NotImplemented
8 down Reset {{}} = {{"status": "Accepted"}} | wire=soap; peer=http://u:PLANTED@192.0.2.2/
"""
    texts = [each[2] for each in found(script)]
    assert len(texts) > 5
    assert not [text for text in texts if re.search("PLANTED|192|[<>\x00-\x1f]", text)]


# --- bounds


def test_as_many_chargers_are_remembered_as_may_be() -> None:
    looking = expert(most=2)
    script = "\n".join(f"{at} up Heartbeat {{}} = {{}} | charger=CP{at % 3}" for at in range(30))
    assert sum(len(looking.look(each)) for each in exchanges(script)) == 30  # each is forgotten before it comes again


def test_those_who_are_turned_away_drive_out_nobody() -> None:
    looking = expert(most=1)
    [looking.look(each) for each in exchanges("0 boot")]
    strangers = "\n".join(f"{at} up Heartbeat {{}} x SecurityError | charger=X{at}" for at in range(1, 30))
    [looking.look(each) for each in exchanges(strangers)]
    assert [looking.look(each) for each in exchanges("60 up Heartbeat {} = {}")] == [()]


def test_what_is_remembered_of_one_charger_is_bounded() -> None:
    state = memory.State()
    for number in range(1000):
        state.connector(number)
        state.watch("rule", number, 0.0)
        memory.put(state.told, str(number), 0.0, memory.TOLD)
    assert (len(state.connectors), len(state.watches), len(state.told)) == (memory.CONNECTORS, memory.WATCHES, memory.TOLD)


# --- any input

odd = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=6),
    st.sampled_from(
        ["Accepted", "Pending", "Available", "Charging", "Faulted", "2026-01-01T12:00:00Z", "0001-01-01T00:00:00+14:00"]
    ),
    st.sampled_from(
        ["1e999", "nan", "9" * 400, "EX-10442", "PowerLoss", "NoError", "kWh", "HeartbeatInterval", "DownloadFailed"]
    ),
)
payloads: st.SearchStrategy[Any] = st.recursive(
    odd, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6), max_leaves=12
)
bodies = st.dictionaries(st.sampled_from(FIELDS), payloads, max_size=8)
remarks = st.lists(
    st.builds(Remark, st.sampled_from(Kind), st.sampled_from(["status", ""]), st.text(max_size=3), st.text(max_size=60)),
    max_size=2,
).map(tuple)
outcomes = st.sampled_from(["ok", "ok", "ok", "", "late", "double", "unknown", "GenericError", "SecurityError", "\x1b[1m"])


@st.composite
def halves(draw: st.DrawFn, kind: int) -> Half | None:
    body = draw(st.one_of(bodies, bodies, payloads))
    frame = draw(st.sampled_from([[kind, "x", body], [kind, "x", "A", body], body, [kind]]))
    raw = draw(st.one_of(st.just(msgspec.json.encode(frame)), st.just(b"[" * 5000), st.binary(max_size=20)))
    note = draw(
        st.sampled_from(["", "charger unreachable: it is not connected", "no answer in 30 s", "expected at most 9 bytes"])
    )
    half = Half(START, raw, None, "x", draw(remarks), note)
    return draw(st.sampled_from([half, half, half, None]))


@st.composite
def legs(draw: st.DrawFn, name: str) -> Leg:
    wire, version = draw(st.sampled_from(["soap", "json"])), draw(st.sampled_from(["1.5", "1.6", "", "\x00"]))
    leg = Leg(name, draw(st.booleans()), wire, version, draw(st.sampled_from(["", "192.0.2.1:1", "x"])))
    leg.call, leg.answer, leg.outcome = draw(halves(2)), draw(halves(3)), draw(outcomes)
    leg.refused, leg.latency = draw(st.booleans()), draw(st.sampled_from([None, 0.1, 1e9, -1.0]))
    return leg


@st.composite
def passed(draw: st.DrawFn) -> Exchange:
    names = draw(st.lists(st.sampled_from(["charger", "charger", "csms-a", "csms-b"]), max_size=3))
    at = draw(st.one_of(st.floats(), st.floats(START, START + 2 * HOUR)))
    exchange = Exchange(0, "x", at, draw(st.sampled_from(["CP1", "CP2", ""])), "", draw(st.sampled_from(ACTIONS)))
    exchange.up, exchange.outcome = draw(st.sampled_from([True, True, False])), draw(outcomes)
    exchange.legs = [draw(legs(name)) for name in names]
    return exchange


@pytest.mark.parametrize("value", ["9" * 5000, "-" + "9" * 30, "1e400", "[" * 5000, '"' + "9" * 5000 + '"', "NaN", '"\\ud800"'])
@pytest.mark.parametrize("field", ["connectorId", "transactionId", "idTag", "meterStart", "timestamp", "key"])
def test_no_value_breaks_it(field: str, value: str) -> None:
    looking = expert()
    for each in exchanges("\n".join(f"0 up {action} {{}} = {{}}" for action in ACTIONS if action)):
        each.legs[0].call = Half(START, f'[2,"x","{each.action}",{{"{field}":{value}}}]'.encode())
        looking.look(each)
    assert looking.counts["no-boot", "note"] == 1


@settings(max_examples=200, deadline=None)
@given(st.lists(passed(), max_size=12))
def test_no_input_breaks_it(script: list[Exchange]) -> None:
    looking = expert(most=2)
    for each in script:
        for finding in (*looking.look(each), *looking.look_again(each)):
            assert isinstance(finding, Finding)
            assert finding.rule in DOCUMENTED
            assert finding.text.isprintable()
            assert len(finding.text) < 400


@settings(max_examples=200, deadline=None)
@given(bodies, bodies, st.sampled_from(ACTIONS))
def test_no_payload_breaks_a_charge(said: Any, heard: Any, action: str) -> None:
    looking = expert()
    charge = exchanges(
        '0 boot\n60 up StartTransaction {"connectorId": 1, "meterStart": 5} = {"transactionId": 1}\n90 up Heartbeat {}'
    )
    odd = replace(charge[2], action=action, outcome="ok")
    odd.legs = [replace(charge[2].legs[0], outcome="ok")]
    odd.legs[0].call = Half(odd.at, msgspec.json.encode([2, "x", action, said]))
    odd.legs[0].answer = Half(odd.at, msgspec.json.encode([3, "x", heard]))
    for each in (*charge, odd, odd):
        looking.look(each)

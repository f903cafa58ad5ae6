"""gateway.redaction: nothing that is planted survives in any form, pseudonyms hold, and what holds no secret is left alone."""

import copy
import json
import timeit
from base64 import b64encode
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from gateway.config import Config, Redaction, Server
from gateway.redaction.redactor import UNREADABLE, Redactor
from gateway.traffic.exchanges import Exchange, Finding, Half, Leg
from tests.judges import assert_valid_by_contracts, body_of, validator
from tests.peers.envelopes import envelope
from translations.messages import Kind, Remark, Side, Version

KEY = bytes(range(32))
PEM = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIPlanted\n-----END EC PRIVATE KEY-----"
AUTHORIZE = "<authorizeRequest><idTag>{}</idTag></authorizeRequest>"


def redactor(rules: tuple[dict[str, str], ...] = (), server: dict[str, Any] | None = None, **section: Any) -> Redactor:
    return Redactor(Config(server=Server(**server or {}), redaction=Redaction(rules=rules, **section)), KEY)  # type: ignore[arg-type]


HIDING = redactor()


def exchange(action: str, soap: bytes, frame: bytes, **half: Any) -> Exchange:
    """A call of a SOAP charger that went on to a backend."""
    charger = Leg("charger", True, "soap", "1.5", "192.0.2.7:40000", Half(0, soap, frame, **half))
    return Exchange(1, "x-1", 0, "CP-1", action=action, legs=[charger, Leg("csms", False, "json", "1.6", call=Half(0, frame))])


def frame(action: str, payload: Any) -> bytes:
    return json.dumps([2, "m-1", action, payload], ensure_ascii=False).encode()


def alone(raw: bytes, action: str = "", wire: str = "json", version: str = "1.6") -> Exchange:
    """An exchange of nothing but one call."""
    return Exchange(1, "x-1", 0, "CP-1", action=action, legs=[Leg("charger", True, wire, version, call=Half(0, raw))])


def told(exchange: Exchange, by: Redactor = HIDING) -> bytes:
    """The first call as it is shown."""
    call = by.exchange(exchange).legs[0].call
    assert call is not None
    return call.raw


def everything(exchange: Exchange) -> str:
    """All that is told of an exchange, with bytes as text."""
    return repr(exchange).replace("\\\\", "\\")


# --- what is planted


TAGS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=6, max_size=12).map(lambda text: f"Q{text}7")
ODD = st.text("ABCxyz019 .:&<>\"'/%äß漢", min_size=3, max_size=12).map(lambda text: f"Qz{text}7")


def forms(value: str) -> set[str]:
    """A value as it may be written."""
    escaped = "".join(f"\\u{ord(sign):04x}" for sign in value)
    basic = b64encode(f"CP-1:{value}".encode()).decode()
    return {value, escape(value), json.dumps(value)[1:-1], escaped, quote(value, safe=""), basic}


def survivors(value: str, exchange: Exchange) -> set[str]:
    said = everything(exchange).lower()
    return {form for form in forms(value) if form.lower() in said}


@given(ODD)
def test_an_id_tag_survives_nowhere(tag: str) -> None:
    remark = Remark(Kind.CHANGED, "idTag", f"was {tag}", "rewrites.x")
    planted = exchange(
        "Authorize",
        envelope(AUTHORIZE.format(escape(tag))),
        frame("Authorize", {"idTag": tag}),
        note=f"nobody knows {tag}",
        remarks=(remark,),
    )
    planted.findings = (Finding("x", "note", f"{tag} again"),)
    assert survivors(tag, HIDING.exchange(planted)) == set()


@given(TAGS)
def test_an_id_tag_in_escapes_survives_nowhere(tag: str) -> None:
    written = "".join(f"\\u{ord(sign):04X}" for sign in tag)
    entities = "".join(f"&#x{ord(sign):x};" for sign in tag)
    key = "".join(f"\\u{ord(sign):04X}" for sign in "idTag")
    planted = exchange("Authorize", envelope(AUTHORIZE.format(entities)), f'[2,"1","Authorize",{{"{key}":"{written}"}}]'.encode())
    assert survivors(tag, HIDING.exchange(planted)) == set()
    assert entities.encode() not in told(planted)


SECRETS: dict[str, tuple[str, Any]] = {
    "a setting": ("ChangeConfiguration", {"key": "AuthorizationKey", "value": "$"}),
    "a setting with its value first": ("ChangeConfiguration", {"value": "$", "key": "BasicAuthPassword"}),
    "a setting that is read": (
        "GetConfiguration",
        {"configurationKey": [{"key": "WifiPassword", "readonly": False, "value": "$"}]},
    ),
    "a URL": ("UpdateFirmware", {"location": "ftp://me:$@ftp.example/fw.bin", "retrieveDate": "2026-01-01T00:00:00Z"}),
    "a query": ("GetDiagnostics", {"location": "https://up.example/x?a=1&Signature=$&b=2"}),
    "a field of a maker": ("DataTransfer", {"vendorId": "v", "data": '{"user":{"api_key":"$"}}'}),
    "a text of a maker": ("DataTransfer", {"vendorId": "v", "data": "connect; password=$; now"}),
    "a text of a maker, in short": ("DataTransfer", {"vendorId": "v", "data": "connect; pw=$; now"}),
    "XML of a maker": ("DataTransfer", {"vendorId": "v", "data": "<a><Password>$</Password></a>"}),
    "a list of tags": ("SendLocalList", {"listVersion": 1, "localAuthorizationList": [{"idTag": "$"}]}),
    "a parent": ("StartTransaction", {"idTagInfo": {"status": "Accepted", "parentIdTag": "$"}}),
    "a field that is none": ("Authorize", {"idToken": {"idToken": "$", "type": "Central"}}),
}


@pytest.mark.parametrize("name", SECRETS)
@given(value=TAGS)
def test_a_secret_in_a_frame_survives_nowhere(name: str, value: str) -> None:
    action, payload = SECRETS[name]
    raw = frame(action, payload).replace(b"$", value.encode())
    assert survivors(value, HIDING.exchange(alone(raw, action))) == set()
    assert json.loads(told(alone(raw, action)))[:3] == [2, "m-1", action]


@pytest.mark.parametrize("name", SECRETS)
@given(value=TAGS, cut=st.integers(1, 30))
def test_a_secret_in_half_a_frame_survives_nowhere(name: str, value: str, cut: int) -> None:
    action, payload = SECRETS[name]
    raw = frame(action, payload).replace(b"$", value.encode())[:-1]
    assert survivors(value, HIDING.exchange(alone(raw, action))) == set()
    shorter = raw[: raw.find(value.encode()) + len(value)]
    if "first" not in name:  # then the name that tells it is not there
        assert survivors(value, HIDING.exchange(alone(shorter, action))) == set()


SETTING = "<changeConfigurationRequest><key>AuthorizationKey</key><value>$</value></changeConfigurationRequest>"
ENVELOPES = {
    "a tag": envelope(AUTHORIZE.format("$")),
    "a tag in CDATA": envelope(AUTHORIZE.format("<![CDATA[$]]>")),
    "a tag in a list": envelope("<x><list><idTag>$</idTag><idTagInfo><parentIdTag>$</parentIdTag></idTagInfo></list></x>"),
    "a setting": envelope(SETTING),
    "a setting in 1.6": envelope(SETTING, version="1.6"),
    "a comment": envelope("<a><!-- password=$ --></a>"),
    "an instruction": envelope("<a/>") + b"<?x token='$'?>",
    "an attribute": envelope("<a password='$'/>"),
    "a text": envelope("<dataTransferRequest><data>{&quot;token&quot;:&quot;$&quot;}</data></dataTransferRequest>"),
    "an address": envelope(sender="http://me:$@192.0.2.9:8080/x"),
    "no namespace": b"<Envelope><Body><authorizeRequest><idTag>$</idTag></authorizeRequest></Body></Envelope>",
}
BROKEN = {
    "half an envelope": lambda raw: raw[:-20],
    "a prefix that nobody declared": lambda raw: raw.replace(b"<s:Header>", b"<s:Header><zz:y/>").replace(
        b"<Body>", b"<Body><zz:y/>"
    ),
    "a document type": lambda raw: b"<!DOCTYPE x>" + raw,
    "bytes that are no UTF-8": lambda raw: raw.replace(b"Body", b"\xffBody", 1),
    "UTF-16": lambda raw: raw.decode().encode("utf-16"),
    "half of UTF-16": lambda raw: raw.decode().encode("utf-16")[:-40],
}


@pytest.mark.parametrize("name", ENVELOPES)
@given(value=TAGS)
def test_a_secret_in_an_envelope_survives_nowhere(name: str, value: str) -> None:
    raw = ENVELOPES[name].replace(b"$", value.encode())
    etree.fromstring(told(alone(raw, wire="soap", version="1.5")))
    assert survivors(value, HIDING.exchange(alone(raw, wire="soap", version="1.5"))) == set()


@pytest.mark.parametrize("how", BROKEN)
@pytest.mark.parametrize("name", ENVELOPES)
def test_a_secret_in_a_broken_envelope_survives_nowhere(name: str, how: str) -> None:
    raw = BROKEN[how](ENVELOPES[name].replace(b"$", b"QPLANTED7"))
    said = told(alone(raw, wire="soap", version="1.5")).replace(b"\x00", b"")
    assert b"QPLANTED7" not in said


def test_what_cannot_be_searched_is_not_shown() -> None:
    assert told(alone("[2,{idTag:1".encode("utf-16-le"))) == UNREADABLE


@pytest.mark.parametrize("wire", ["soap", "json"])
def test_private_keys_are_taken_out_of_any_text(wire: str) -> None:
    data = envelope(f"<dataTransferRequest><data>{PEM}</data></dataTransferRequest>")
    raw = data if wire == "soap" else frame("DataTransfer", {"data": PEM})
    said = told(alone(raw, "DataTransfer", wire))
    assert b"MHcCAQ" not in said
    assert b"private-key:removed" in said


def test_a_key_that_comes_twice_hides_nothing() -> None:
    assert b"QPLANTED7" not in told(alone(b'[2,"1","X",{"data":"password=QPLANTED7","data":"x"}]'))
    assert b"QPLANTED7" not in told(alone(b'[2,"1","X",{"idTag":"QPLANTED7","idTag":1}]'))


# --- callback hosts, headers, peers, paths


def test_the_host_of_a_callback_is_hidden_its_port_and_path_are_kept() -> None:
    said = told(alone(envelope(sender="http://192.0.2.9:8080/cp/x"), wire="soap", version="1.5")).decode()
    address = etree.fromstring(said).findtext(".//{*}From/{*}Address", default="")
    assert address.startswith("http://host-")
    assert address.endswith(":8080/cp/x")
    assert "192.0.2.9" not in said


ADDRESSES = [
    ("http://www.w3.org/2005/08/addressing/anonymous", True),
    ("http://www.w3.org/2005/08/addressing/none", True),
    ("http://10.0.0.7:8080/x", False),
    ("http://[2001:db8::7]:8080/x", False),
    ("10.0.0.7:8080", False),
    ("10.0.0.7", False),
    ("2001:db8::7", False),
    ("charger.example/x", False),
]


@pytest.mark.parametrize(("address", "kept"), ADDRESSES)
def test_what_stands_for_nobody_is_kept(address: str, kept: bool) -> None:
    said = HIDING.address(address)
    assert (said == address) is kept
    assert kept or not {"10.0.0.7", "2001:db8::7", "charger.example"} & {part for part in (address, said) if part in said}


def test_a_host_that_was_hidden_is_hidden_in_notes_too() -> None:
    planted = exchange(
        "Heartbeat", envelope(sender="http://192.0.2.9:8080/"), frame("Heartbeat", {}), note="192.0.2.9 is unreachable"
    )
    assert "192.0.2.9" not in everything(HIDING.exchange(planted))


def test_headers_tell_no_credentials() -> None:
    basic = b64encode(b"CP-1:hush").decode()
    headers = (("authorization", f"Basic {basic}"), ("cookie", "sid=abc123"), ("content-type", "text/xml"))
    said = dict(HIDING.headers(headers))
    assert said["authorization"].startswith("Basic secret:")
    assert said["cookie"].startswith("secret:")
    assert said["content-type"] == "text/xml"


def test_peers_are_kept_or_not_as_configured() -> None:
    assert HIDING.peer("192.0.2.7:40000") == "192.0.2.7:40000"
    said = redactor(peers="pseudonym").peer("192.0.2.7:40000")
    assert said.startswith("host-")
    assert said.endswith(":40000")


def test_the_address_where_a_charger_is_called_is_hidden_as_a_peer_too() -> None:
    said = HIDING.peer("http://user:hush9@cp7.example:8080/cb?token=hush9")
    assert "hush9" not in said
    assert "cp7" not in said
    assert HIDING.address("http://cp7.example:8080/cb").removeprefix("http://") in said


def test_a_reason_does_not_name_the_host_that_is_called() -> None:
    half = Half(0, b"", note="its callback address cp7.example is unknown")
    leg = Leg("charger", False, "soap", "1.6", "http://cp7.example:8080/cb", call=half)
    [told] = HIDING.exchange(Exchange(1, "x", 0, "CP1", legs=[leg])).legs
    assert told.call is not None
    assert "cp7" not in told.peer + told.call.note


@pytest.mark.parametrize("text", ["GET /soap/acme/hush9 is odd", "http://gw.example/soap/acme/hush9", '"/soap/acme/hush9"'])
def test_tokens_in_paths_are_hidden(text: str) -> None:
    by = redactor(server={"soap_paths": ("/soap/{tenant}/{token}",)})
    assert "hush9" not in by.text(text)
    assert "/soap/acme/" in by.text(text)


# --- pseudonyms


def test_a_value_has_the_same_pseudonym_everywhere() -> None:
    soap = told(alone(envelope(AUTHORIZE.format("Tag0001")), "Authorize", "soap", "1.5"))
    json_frame = told(alone(frame("Authorize", {"idTag": "TAG0001"}), "Authorize"))
    pseudonym = HIDING.tag("tag0001").encode()
    assert pseudonym in soap
    assert pseudonym in json_frame
    assert HIDING.text("idTag=tAG0001") == f"idTag={pseudonym.decode()}"


@given(ODD)
def test_pseudonyms_fit_into_an_id_tag(tag: str) -> None:
    assert len(HIDING.tag(tag)) <= 20
    assert HIDING.tag(tag) != Redactor(Config(), bytes(32)).tag(tag)


def test_secrets_differ_by_case() -> None:
    assert HIDING.secret("Hush") != HIDING.secret("hush")


def test_what_is_hidden_already_stays() -> None:
    once = HIDING.text("idTag=QPLANTED7 password=hush9 http://me:hush9@h/?token=x9")
    assert HIDING.text(once) == once


# --- what is left alone


CLEAN = [
    (frame("Heartbeat", {}), "json"),
    (b'[2, "1",  "BootNotification", {"chargePointVendor": "V\\u00e4x", "chargePointModel": "M"}]', "json"),
    (
        b'[2,"1","MeterValues",{"connectorId":1,"meterValue":[{"sampledValue":[{"value":"1.50","unit":"Wh"}],"n":1.50e1}]}]',
        "json",
    ),
    (b'[3,"1",{"idTagInfo":{"status":"Accepted"}}]', "json"),
    (b'[4,"1","InternalError","expected idTag: none",{}]', "json"),
    (b'[2,"1","GetConfiguration",{"key":["AuthorizationKey","HeartbeatInterval"]}]', "json"),
    (b'[3,"1",{"configurationKey":[{"key":"HeartbeatInterval","readonly":false,"value":"300"}]}]', "json"),
    (envelope(), "soap"),
    (
        envelope(
            "<bootNotificationRequest>\n <!-- x --> <chargePointVendor a='b'>V</chargePointVendor></bootNotificationRequest>"
        ),
        "soap",
    ),
    (b"<not xml", "soap"),
    (b"\x00\x01 nothing", "json"),
]


@pytest.mark.parametrize(("raw", "wire"), CLEAN[:-1])
def test_what_holds_no_secret_stays_byte_for_byte(raw: bytes, wire: str) -> None:
    clean = alone(raw, wire=wire)
    assert HIDING.exchange(clean) is clean


def test_digits_and_the_order_of_keys_are_kept() -> None:
    said = told(alone(b'[2,"1","X",{"z":1.50,"idTag":"TAG1","a":1e2,"n":12345678901234567890123}]'))
    assert said == b'[2,"1","X",{"z":1.50,"idTag":"%s","a":1e2,"n":12345678901234567890123}]' % HIDING.tag("TAG1").encode()


def test_an_exchange_is_never_changed_itself() -> None:
    planted = exchange(
        "Authorize", envelope(AUTHORIZE.format("QPLANTED7")), frame("Authorize", {"idTag": "QPLANTED7"}), note="QPLANTED7"
    )
    before = copy.deepcopy(planted)
    assert HIDING.exchange(planted) != before
    assert planted == before


def test_words_of_ocpp_are_no_secrets_elsewhere() -> None:
    planted = alone(b'[3,"1",{"idTagInfo":{"status":"Accepted","parentIdTag":"Accepted"}}]', "Authorize")
    assert b'"status":"Accepted"' in told(planted)


def test_signed_meter_values_are_kept() -> None:
    value = 'OCMF|{"ID":"TAG0001","password":"x"}|{"SD":"00"}'
    raw = frame("MeterValues", {"sampledValue": [{"value": value, "format": "SignedData"}]})
    assert told(alone(raw, "MeterValues")) == raw


# --- what is shown stays valid


VECTORS = sorted(path for version in Version for path in (Path(__file__).parent / "vectors" / version).rglob("*.xml"))
SIDES = {"centralsystem": Side.CENTRAL_SYSTEM, "chargepoint": Side.CHARGE_POINT}


@pytest.mark.parametrize("path", VECTORS, ids=lambda path: "/".join(path.parts[-3:]))
def test_what_is_shown_is_valid_by_the_schemas(path: Path) -> None:
    (version, service), (action, kind) = path.parts[-3:-1], path.stem.split(".")
    envelope_of = HIDING.body(path.read_bytes(), "soap", action)
    assert_valid_by_contracts(body_of(envelope_of), Version(version), SIDES[service])
    written = json.loads(path.with_suffix(".json").read_text("utf-8"))["frame"]
    frame_of = json.loads(HIDING.body(json.dumps(written).encode(), "json", action), parse_float=Decimal)
    validator(action, kind == "conf").validate(frame_of[3 if kind == "req" else 2])


# --- rules


RULES = [
    ({"action": "Boot*", "path": "iccid", "do": "last4"}, {"iccid": "89490200001234567890"}, {"iccid": "****7890"}),
    ({"path": "iccid", "do": "remove"}, {"iccid": "8949", "imsi": "1"}, {"iccid": "removed", "imsi": "1"}),
    ({"path": "a[*].b", "do": "remove"}, {"a": [{"b": 5}, {"b": "x", "c": "y"}]}, {"a": [{"b": 0}, {"b": "removed", "c": "y"}]}),
    ({"path": "a[1]", "do": "remove"}, {"a": ["x", "y"]}, {"a": ["x", "removed"]}),
    ({"path": "a", "do": "remove"}, {"a": {"b": "x", "c": [1, True]}}, {"a": {"b": "removed", "c": [0, True]}}),
    ({"path": "idTag", "do": "keep"}, {"idTag": "TAG1"}, {"idTag": "TAG1"}),
    ({"action": "Authorize", "path": "iccid", "do": "remove"}, {"iccid": "8949"}, {"iccid": "8949"}),
]


@pytest.mark.parametrize(("rule", "payload", "becomes"), RULES)
def test_rules_say_what_becomes_of_a_value(rule: dict[str, str], payload: Any, becomes: Any) -> None:
    said = told(alone(frame("BootNotification", payload), "BootNotification"), redactor((rule,)))
    assert json.loads(said)[3] == becomes


def test_rules_hold_for_envelopes() -> None:
    body = "<bootNotificationRequest><iccid>89490200001234567890</iccid></bootNotificationRequest>"
    raw = alone(envelope(body), "BootNotification", "soap", "1.5")
    assert b"<iccid>****7890</iccid>" in told(raw, redactor(({"path": "iccid", "do": "last4"},)))


@pytest.mark.parametrize(("what", "said"), [("keep", "free"), ("remove", "removed"), ("scan", "free"), ("pseudonym", "secret:")])
@pytest.mark.parametrize("wire", ["soap", "json"])
def test_what_makers_send_is_hidden_as_configured(what: str, said: str, wire: str) -> None:
    soap = envelope("<dataTransferRequest><vendorId>v</vendorId><data>free</data></dataTransferRequest>")
    raw = soap if wire == "soap" else frame("DataTransfer", {"data": "free"})
    assert said.encode() in told(alone(raw, "DataTransfer", wire), redactor(data_transfer=what))


# --- values and speed


def test_values_of_the_api_are_hidden_too() -> None:
    said = HIDING.value({"idTag": "TAG1", "n": Decimal("1.50"), "list": [{"password": "x"}]})
    assert said == {"idTag": HIDING.tag("TAG1"), "n": Decimal("1.50"), "list": [{"password": HIDING.secret("x")}]}


def test_a_small_exchange_takes_little_time() -> None:
    soap, json_frame = envelope(AUTHORIZE.format("TAG00001")), frame("Authorize", {"idTag": "TAG00001"})
    planted = exchange("Authorize", soap, json_frame)
    yardstick = min(timeit.repeat(lambda: (etree.fromstring(soap), json.loads(json_frame)), number=50, repeat=7))
    assert min(timeit.repeat(lambda: HIDING.exchange(planted), number=50, repeat=7)) < 20 * yardstick


@pytest.mark.parametrize(
    "piece", ["<idTagInfo>", '"idTag', "idTag idTag", '\\"password\\":', "key: password ", "http://", "[{", "basic ", "a"]
)
def test_the_time_grows_with_the_length_only(piece: str) -> None:
    text = piece * (200_000 // len(piece))
    assert min(timeit.repeat(lambda: HIDING.text(text), number=1, repeat=2)) < 3

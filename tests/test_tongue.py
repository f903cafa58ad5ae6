"""translations.tongue: what a session hears and says, by version and by how closely it is judged."""

from decimal import Decimal
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.judges import validator
from translations.deltas import known_actions
from translations.errors import InternalError, NotSupported, OcppError
from translations.manners import USUAL
from translations.messages import Call, Error, Kind, Message, Payload, Remark, Result, Side, Version
from translations.tongue import EMPTY_METER_VALUES, Tongue, tongue

NOW = "2026-01-02T03:04:05Z"
AT = "2024-05-01T10:00:00Z"
UP, DOWN = Side.CENTRAL_SYSTEM, Side.CHARGE_POINT
START = {"connectorId": 1, "idTag": "TAG1", "meterStart": 0, "timestamp": AT}
CERTIFICATE = {"hashAlgorithm": "SHA256", "issuerNameHash": "a", "issuerKeyHash": "b", "serialNumber": "c"}
BOOTED = {"status": "Accepted", "currentTime": AT, "interval": 300}


def of(version: str = "1.6", **manner: Any) -> Tongue:
    return Tongue(Version(version), UP, USUAL._replace(**manner))


def call(action: str, payload: Payload, *remarks: Remark) -> Call:
    return Call(action, payload, "c1", "CP-1", UP, remarks)


def heard(version: str, message: Message, action: str = "", **manner: Any) -> Message:
    return of(version, **manner).heard(message, action, NOW)


def payload_of(message: Message) -> Payload:
    assert not isinstance(message, Error)
    return message.payload


def rules(message: Message) -> list[str]:
    return [remark.rule for remark in message.remarks]


VALID: list[Message] = [
    call("StartTransaction", START),
    Result({"status": "Accepted"}, "g1", "Reset"),
    call("SecurityEventNotification", {"type": "x", "timestamp": AT}),
    call("AcmeDance", {"none": None, "list": []}),
    Error("NotSupported", "no", {}, "g1"),
]


@pytest.mark.parametrize("message", VALID)
@pytest.mark.parametrize("validation", ["repair", "strict", "off"])
def test_what_is_as_it_should_be_goes_on_untouched(message: Message, validation: str) -> None:
    assert heard("1.6", message, validation=validation) is message


@pytest.mark.parametrize("message", [call("Reset", {"type": "Soft"}), Result(BOOTED, "c1", "BootNotification")])
def test_what_can_be_said_as_it_is_goes_out_untouched(message: Message) -> None:
    assert of().said(message) is message


@pytest.mark.parametrize("payload", [{"type": "Soft"}, {"type": None}])
def test_an_action_that_is_not_addressed_to_this_side_is_refused(payload: Payload) -> None:
    with pytest.raises(NotSupported, match="Reset is not addressed to the central-system"):
        of().heard(call("Reset", payload), "Reset")


def test_what_is_mended_keeps_who_and_what_it_is() -> None:
    earlier = Remark(Kind.REPAIRED, "frame", "binary", "ocppj.binary")
    message = heard("1.6", call("StartTransaction", START | {"meterStart": "5"}, earlier))
    assert isinstance(message, Call)
    assert (message.id, message.identity, message.side, message.payload) == ("c1", "CP-1", UP, START | {"meterStart": 5})
    assert rules(message) == ["ocppj.binary", "quirks.number-as-text"]


def test_an_action_in_another_case_is_the_one_that_is_meant() -> None:
    message = heard("1.6", call("startTransaction", START))
    assert isinstance(message, Call)
    assert (message.action, message.payload) == ("StartTransaction", START)
    assert message.payload is not None
    assert [(r.path, r.rule) for r in message.remarks] == [("action", "quirks.case")]


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ({"type": "x", "timestamp": AT, "techInfo": None}, {"type": "x", "timestamp": AT}),
        ({"type": "", "timestamp": AT, "techInfo": None}, {"type": "", "timestamp": AT}),
    ],
)
def test_actions_that_only_schemas_know_are_mended_of_what_is_empty(given: Payload, left: Payload) -> None:
    message = heard("1.6", call("SecurityEventNotification", given))
    assert (payload_of(message), rules(message)) == (left, ["quirks.empty"])


@pytest.mark.parametrize(
    ("given", "left"),
    [
        ({"status": "NotFound", "certificateHashData": []}, {"status": "NotFound"}),
        ({"status": "Accepted", "certificateHashData": [CERTIFICATE, {}]}, None),
        ({"status": ""}, None),
    ],
)
def test_what_is_required_and_empty_is_refused(given: Payload, left: Payload | None) -> None:
    if left is not None:
        assert payload_of(heard("1.6", Result(given, "g1"), "GetInstalledCertificateIds")) == left
        return
    with pytest.raises(OcppError, match=r"GetInstalledCertificateIds\.conf"):
        heard("1.6", Result(given, "g1"), "GetInstalledCertificateIds")


def test_a_refusal_says_where_and_has_the_id() -> None:
    with pytest.raises(OcppError) as caught:
        heard("1.6", call("StartTransaction", START | {"idTag": "x" * 21}))
    error = caught.value
    assert (error.code, error.message_id) == ("PropertyConstraintViolation", "c1")
    assert error.text == "StartTransaction.req idTag: expected at most 20 characters, got 21"


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("1.6", call("StartTransaction", START | {"meterStart": "5"})),
        ("1.6", call("startTransaction", START)),
        ("1.6", call("SecurityEventNotification", {"type": "x", "timestamp": AT, "techInfo": None})),
        ("1.5", call("StartTransaction", START | {"meterStart": "5"})),
        ("1.5", call("MeterValues", {"connectorId": 1, "values": [{"timestamp": AT, "values": [{"value": "1"}]}]})),
        ("1.5", call("SecurityEventNotification", {"type": "x", "timestamp": AT})),
    ],
)
def test_strict_refuses_what_would_need_mending(version: str, message: Message) -> None:
    assert heard(version, message).remarks
    with pytest.raises(OcppError):
        heard(version, message, validation="strict")


def test_off_passes_everything_and_translates_older_versions_still() -> None:
    wrong = call("startTransaction", {"idTag": None})
    assert heard("1.6", wrong, validation="off") is wrong
    older = heard("1.5", call("MeterValues", {"values": [{"timestamp": "x", "value": "1"}], "odd": []}), validation="off")
    assert payload_of(older) == {"meterValue": [{"timestamp": "x", "sampledValue": [{"value": "1"}]}], "odd": []}


@pytest.mark.parametrize("validation", ["repair", "strict"])
def test_meter_values_without_values_are_for_the_door_to_answer(validation: str) -> None:
    message = heard("1.6", call("MeterValues", {"connectorId": 1, "meterValue": []}), validation=validation)
    assert payload_of(message)["meterValue"] == []
    assert rules(message) == [EMPTY_METER_VALUES]
    older = heard("1.5", call("MeterValues", {"connectorId": 1}))
    assert rules(older)[-1] == EMPTY_METER_VALUES


def test_a_charger_may_mean_something_else_by_a_bare_value() -> None:
    meant = (("measurand", "Power.Active.Import"), ("unit", "kW"))
    bare = {"connectorId": 1, "meterValue": [{"timestamp": AT, "sampledValue": [{"value": "7"}]}]}
    message = heard("1.6", call("MeterValues", bare), meter=meant)
    sample = {"value": "7", "measurand": "Power.Active.Import", "unit": "kW"}
    assert payload_of(message)["meterValue"][0]["sampledValue"] == [sample]
    assert rules(message) == ["quirks.meter"]
    start = call("StartTransaction", START)
    assert heard("1.6", start, meter=meant) is start


def test_answers_of_older_versions_are_canonical() -> None:
    message = heard("1.5", Result({"status": "Accepted"}, "g1"), "UnlockConnector")
    assert message == Result({"status": "Unlocked"}, "g1", "UnlockConnector")


def test_newer_actions_of_an_older_charger_are_taken() -> None:
    one = of("1.5")
    message = one.heard(call("SecurityEventNotification", {"type": "x", "timestamp": AT}), "", NOW)
    assert rules(message) == ["quirks.other-version"]
    answer = Result({}, "c1", "SecurityEventNotification")
    assert one.said(answer) is answer


# --- saying --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "left", "rule"),
    [
        ({"key": "K", "value": 300}, {"key": "K", "value": "300"}, "quirks.number-as-text"),
        ({"key": "K", "value": "3", "why": 1}, {"key": "K", "value": "3"}, "quirks.unknown-field"),
    ],
)
def test_what_a_backend_says_is_mended_where_that_is_sure(given: Payload, left: Payload, rule: str) -> None:
    message = of().said(call("ChangeConfiguration", given))
    assert (payload_of(message), rules(message)) == (left, [rule])
    jsonschema.validate(left, validator("ChangeConfiguration", False).schema)


@pytest.mark.parametrize("version", ["1.6", "1.5"])
@pytest.mark.parametrize(
    ("action", "payload", "code"),
    [
        ("Reset", {"type": "Warm"}, "PropertyConstraintViolation"),
        ("Reset", {}, "OccurenceConstraintViolation"),
        ("ChangeConfiguration", {"key": "K" * 51, "value": "x"}, "PropertyConstraintViolation"),
    ],
)
def test_a_call_that_would_have_to_be_guessed_is_refused(version: str, action: str, payload: Payload, code: str) -> None:
    with pytest.raises(OcppError) as caught:
        of(version).said(call(action, payload))
    assert (caught.value.code, caught.value.message_id) == (code, "c1")


def test_strict_says_nothing_that_would_need_mending() -> None:
    with pytest.raises(OcppError, match="value: expected string, got integer"):
        of(validation="strict").said(call("ChangeConfiguration", {"key": "K", "value": 300}))


def test_off_says_what_it_is_told() -> None:
    message = call("Reset", {"type": "Warm"})
    assert of(validation="off").said(message) is message


@pytest.mark.parametrize("version", ["1.6", "1.5", "1.2"])
def test_an_answer_of_a_backend_that_is_not_valid_is_its_own_mistake(version: str) -> None:
    with pytest.raises(InternalError) as caught:
        of(version).said(Result({"currentTime": "soon"}, "c1"), "Heartbeat")
    assert caught.value.text.startswith("the backend's answer is not valid: Heartbeat.conf currentTime: expected a date")


def test_an_older_charger_is_told_by_the_contract_of_its_version() -> None:
    message = of("1.5").said(Result(BOOTED | {"status": "Pending"}, "c1"), "BootNotification")
    assert payload_of(message) == {"status": "Rejected", "currentTime": AT, "heartbeatInterval": 300}
    assert [(r.kind, r.path, r.detail) for r in message.remarks] == [(Kind.CHANGED, "status", "Pending became Rejected")]


@pytest.mark.parametrize(("version", "action"), [("1.5", "TriggerMessage"), ("1.2", "ReserveNow"), ("1.5", "GetLog")])
def test_what_a_version_does_not_have_is_not_supported(version: str, action: str) -> None:
    with pytest.raises(NotSupported) as caught:
        of(version).said(call(action, {}))
    assert caught.value.text == f"{action} does not exist in OCPP {version}"
    assert caught.value.details == {"version": version, "transport": "json"}


def test_actions_of_vendors_are_said_in_every_version() -> None:
    message = call("AcmeSing", {"x": None})
    assert [of(version).said(message) is message for version in ("1.2", "1.5", "1.6")] == [True] * 3


def test_dates_are_said_as_the_charger_wants_them() -> None:
    message = of(date="milliseconds").said(Result({"currentTime": AT}, "c1"), "Heartbeat")
    assert payload_of(message) == {"currentTime": "2024-05-01T10:00:00.000Z"}


def test_the_same_tongue_serves_all_who_talk_alike() -> None:
    assert tongue(Version.V15, UP, USUAL) is tongue(Version.V15, UP, USUAL)
    assert tongue(Version.V16, UP, USUAL._replace(validation="off")) is None
    assert tongue(Version.V15, UP, USUAL._replace(validation="off")) is not None


def test_remarks_are_bounded_however_much_is_wrong() -> None:
    given = START | {f"odd{i}": i for i in range(5000)} | {"x" * 10_000: 1}
    message = heard("1.6", call("StartTransaction", given))
    assert len(message.remarks) == 101
    assert all(len(remark.path) <= 200 for remark in message.remarks)


# --- whatever comes ------------------------------------------------------------------------------------------------

ACTIONS = sorted(known_actions(UP))
NAMES = [
    *("connectorId", "idTag", "meterStart", "meterStop", "transactionId", "timestamp", "status", "errorCode", "reason"),
    *("meterValue", "sampledValue", "values", "value", "transactionData", "unit", "measurand", "phase", "context"),
    *("chargePointVendor", "chargePointModel", "data", "vendorId", "techInfo", "type", "requestId", "Values", "x"),
]
WORDS = [
    "",
    " ",
    "TAG1",
    "12",
    "12.0",
    "-1",
    AT,
    "2022-02-30T10:00:00Z",
    "Available",
    "occupied",
    "kWh",
    "Wh",
    "nonsense",
    "x" * 600,
]
LEAVES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**40), 2**40),
    st.decimals(-1000, 1000, places=2),
    st.sampled_from([Decimal("1E+90"), Decimal("1E-90")]),
    st.sampled_from(WORDS),
)
VALUES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=6), max_leaves=20
)
OBJECTS = st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=8)


@settings(max_examples=150)
@given(
    st.sampled_from(["1.2", "1.5", "1.6"]),
    st.sampled_from(ACTIONS),
    st.sampled_from(["", "Available", "NoError"]),
    OBJECTS,
)
def test_whatever_comes_is_valid_afterwards_or_refused(version: str, action: str, status: str, given: Payload) -> None:
    given |= {"connectorId": 1, "idTag": "TAG1", "timestamp": AT, "status": status} if status else {}
    try:
        payload = payload_of(heard(version, call(action, given)))
    except OcppError as error:
        assert error.message_id == "c1"
        return
    if payload.get("meterValue") != []:
        assert not list(validator(action, False).iter_errors(payload))


@settings(max_examples=100)
@given(
    st.sampled_from(["1.2", "1.5", "1.6"]), st.sampled_from(ACTIONS), st.dictionaries(st.sampled_from(NAMES), VALUES, max_size=8)
)
def test_what_is_not_judged_is_never_refused(version: str, action: str, given: Payload) -> None:
    one = of(version, validation="off")
    one.heard(call(action, given), "", NOW)
    one.said(Result(given, "c1"), action)

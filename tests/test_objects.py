"""translations.objects: JSON objects of every version, mended on the way in, strict on the way out."""

from decimal import Decimal
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest

from tests.judges import validator
from translations import objects
from translations.deltas import Form, dialect
from translations.errors import NotSupported, OcppError
from translations.manners import USUAL
from translations.messages import Kind, Payload, Side, Version
from translations.step import Step

NOW = "2026-01-02T03:04:05Z"
AT = "2024-05-01T10:00:00Z"
UP, DOWN = Side.CENTRAL_SYSTEM, Side.CHARGE_POINT
START = {"connectorId": 1, "idTag": "TAG1", "meterStart": 0, "timestamp": AT}
STOP = {"transactionId": 7, "meterStop": 10, "timestamp": AT}
STATUS = {"connectorId": 1, "status": "Available", "errorCode": "NoError"}
BOOT = {"chargePointVendor": "V", "chargePointModel": "M"}


def form_of(version: str, action: str, response: bool = False, side: Side = UP) -> Form:
    spoken = dialect(Version(version), side)
    return (spoken.responses if response else spoken.requests)[action]


def mended(version: str, action: str, given: Payload, **manner: Any) -> tuple[Payload, Step]:
    form = form_of(version, action)
    step = Step(form.title, NOW, USUAL._replace(**manner))
    return objects.read(given, form.shape, step), step


def rules(step: Step) -> list[tuple[str, str]]:
    return [(remark.path, remark.rule) for remark in step.said()]


def metered(*samples: Any) -> Payload:
    return {"connectorId": 1, "meterValue": [{"timestamp": AT, "sampledValue": list(samples)}]}


# action, what came, what is different in the canonical form (None: is not there), path and rule of the remark
MENDED: list[tuple[str, Payload, Payload, tuple[str, str]]] = [
    ("BootNotification", BOOT | {"iccid": None}, {"iccid": None}, ("iccid", "quirks.empty")),
    ("BootNotification", BOOT | {"iccid": ""}, {"iccid": None}, ("iccid", "quirks.empty")),
    ("BootNotification", BOOT | {"imsi": 12}, {"imsi": "12"}, ("imsi", "quirks.number-as-text")),
    ("BootNotification", BOOT | {"IMSI": "12"}, {"IMSI": None, "imsi": "12"}, ("imsi", "quirks.case")),
    (
        "BootNotification",
        BOOT | {"firmwareVersion": "x" * 51},
        {"firmwareVersion": "x" * 50},
        ("firmwareVersion", "quirks.too-long"),
    ),
    ("BootNotification", BOOT | {"colour": "red"}, {"colour": None}, ("colour", "quirks.unknown-field")),
    ("BootNotification", {"chargePointVendor": "V"}, {"chargePointModel": "unknown"}, ("chargePointModel", "quirks.missing")),
    ("StartTransaction", START | {"connectorId": "1"}, {"connectorId": 1}, ("connectorId", "quirks.number-as-text")),
    ("StartTransaction", START | {"meterStart": Decimal("100.0")}, {"meterStart": 100}, ("meterStart", "quirks.whole-number")),
    ("StartTransaction", START | {"idTag": 1234}, {"idTag": "1234"}, ("idTag", "quirks.number-as-text")),
    (
        "StartTransaction",
        START | {"timestamp": "2022-02-29T10:00:00Z"},
        {"timestamp": NOW},
        ("timestamp", "quirks.time-of-receipt"),
    ),
    ("StartTransaction", START | {"timestamp": "2024-05-01 10:00:00"}, {"timestamp": AT}, ("timestamp", "quirks.timestamp")),
    (
        "StartTransaction",
        START | {"timestamp": 1714557600123},
        {"timestamp": "2024-05-01T10:00:00.123Z"},
        ("timestamp", "quirks.timestamp"),
    ),
    ("StopTransaction", STOP | {"transactionId": "7"}, {"transactionId": 7}, ("transactionId", "quirks.number-as-text")),
    ("StopTransaction", STOP | {"reason": "evdisconnected"}, {"reason": "EVDisconnected"}, ("reason", "quirks.case")),
    ("StopTransaction", STOP | {"reason": "Bored"}, {"reason": "Other"}, ("reason", "quirks.unknown-word")),
    ("StopTransaction", STOP | {"transactionData": []}, {"transactionData": None}, ("transactionData", "quirks.empty")),
    (
        "StatusNotification",
        STATUS | {"errorCode": "E42"},
        {"errorCode": "OtherError", "vendorErrorCode": "E42"},
        ("errorCode", "quirks.unknown-error-code"),
    ),
    (
        "StatusNotification",
        STATUS | {"errorCode": "E42", "vendorErrorCode": "7"},
        {"errorCode": "OtherError", "vendorErrorCode": "7", "info": "E42"},
        ("errorCode", "quirks.unknown-error-code"),
    ),
    ("StatusNotification", STATUS | {"status": "available"}, {"status": "Available"}, ("status", "quirks.case")),
    ("DataTransfer", {"vendorId": "V", "data": {"a": [1]}}, {"data": '{"a":[1]}'}, ("data", "quirks.object-as-text")),
    ("DataTransfer", {"vendorId": "V", "data": True}, {"data": "true"}, ("data", "quirks.number-as-text")),
]


@pytest.mark.parametrize(("action", "given", "changes", "remark"), MENDED)
def test_what_is_sure_is_mended_and_remarked(action: str, given: Payload, changes: Payload, remark: tuple[str, str]) -> None:
    read, step = mended("1.6", action, given)
    wanted = {name: value for name, value in (given | changes).items() if value is not None}
    assert read == wanted
    assert remark in rules(step)
    jsonschema.validate(read, validator(action, False).schema, type(validator(action, False)))


# action, what came, code, path and beginning of the reason
REFUSED: list[tuple[str, Payload, str, str]] = [
    ("StartTransaction", START | {"idTag": None}, "OccurenceConstraintViolation", "idTag: expected it"),
    ("StartTransaction", START | {"idTag": "x" * 21}, "PropertyConstraintViolation", "idTag: expected at most 20 characters"),
    ("StartTransaction", START | {"idTag": Decimal("1E+5")}, "TypeConstraintViolation", "idTag: expected text, got number"),
    ("StartTransaction", START | {"idTag": True}, "TypeConstraintViolation", "idTag: expected text, got boolean"),
    ("StartTransaction", START | {"idTag": ["TAG1"]}, "TypeConstraintViolation", "idTag: expected text, got list"),
    ("StartTransaction", START | {"meterStart": Decimal("5.5")}, "TypeConstraintViolation", "meterStart: expected an integer"),
    ("StartTransaction", START | {"meterStart": ""}, "OccurenceConstraintViolation", "meterStart: expected a value"),
    ("StartTransaction", START | {"meterStart": True}, "TypeConstraintViolation", "meterStart: expected an integer, got boolean"),
    ("StartTransaction", START | {"timestamp": {}}, "TypeConstraintViolation", "timestamp: expected a date and time, got object"),
    ("StopTransaction", STOP | {"transactionId": None}, "OccurenceConstraintViolation", "transactionId: expected it"),
    ("StopTransaction", STOP | {"meterStop": "much"}, "TypeConstraintViolation", "meterStop: expected an integer"),
    ("StartTransaction", START | {"IdTag": "TAG2"}, "OccurenceConstraintViolation", "idTag: expected it once"),
    ("StatusNotification", STATUS | {"status": "Dancing"}, "PropertyConstraintViolation", "status: expected one of"),
]


@pytest.mark.parametrize(("action", "given", "code", "text"), REFUSED)
def test_money_and_identity_are_refused_and_never_guessed(action: str, given: Payload, code: str, text: str) -> None:
    with pytest.raises(OcppError) as caught:
        mended("1.6", action, given)
    assert caught.value.code == code
    assert caught.value.text.startswith(f"{action}.req {text}")


def test_keys_stand_in_the_order_of_the_contract() -> None:
    read, _ = mended("1.6", "StartTransaction", {"timestamp": AT, "meterStart": "1", "idTag": "TAG1", "connectorId": 1})
    assert list(read) == ["connectorId", "idTag", "timestamp", "meterStart"]


# what stands for a sample, what is left of it, and the rule of the remark
SAMPLES: list[tuple[Any, Any, str]] = [
    ({"value": Decimal("12.50")}, {"value": "12.50"}, "quirks.number-as-text"),
    ({"value": "1", "unit": "kwh"}, {"value": "1", "unit": "kWh"}, "quirks.case"),
    ({"value": "1", "location": "Moon"}, {"value": "1"}, "quirks.unknown-word"),
    ({"value": "1", "measurand": "Luck"}, None, "quirks.unknown-word"),
    ({"value": "1", "unit": "Smoots"}, None, "quirks.unknown-word"),
    ({"value": ""}, None, "quirks.unusable-value"),
    ({"value": None}, None, "quirks.unusable-value"),
    ({"value": [1]}, None, "quirks.unusable-value"),
    ({"value": False}, None, "quirks.unusable-value"),
    (7, {"value": "7"}, "quirks.other-shape"),
    (None, None, "quirks.empty"),
]


@pytest.mark.parametrize(("sample", "left", "rule"), SAMPLES)
def test_what_nobody_can_use_of_a_sample_is_left_out(sample: Any, left: Any, rule: str) -> None:
    read, step = mended("1.6", "MeterValues", metered({"value": "0"}, sample))
    assert read == metered({"value": "0"}, *([left] if left else []))
    assert rule in [remark.rule for remark in step.said()]
    assert all(remark.path.startswith("meterValue[0].sampledValue[1]") for remark in step.said())


def test_a_group_without_samples_is_left_out_and_the_others_stay() -> None:
    group = {"timestamp": AT, "sampledValue": [{"value": "1"}]}
    given = {"connectorId": 1, "meterValue": [{"timestamp": AT, "sampledValue": [{"value": None}]}, group]}
    read, step = mended("1.6", "MeterValues", given)
    assert read["meterValue"] == [group]
    assert ("meterValue[0]", "quirks.no-samples") in rules(step)


def test_a_list_of_one_may_come_without_its_list() -> None:
    read, step = mended("1.6", "MeterValues", {"connectorId": 1, "meterValue": {"timestamp": AT, "sampledValue": {"value": "1"}}})
    assert read == metered({"value": "1"})
    assert [rule for _, rule in rules(step)] == ["quirks.not-a-list"] * 2


def test_the_zone_of_the_manner_is_that_of_dates_without_one() -> None:
    read, _ = mended("1.6", "StartTransaction", START | {"timestamp": "2024-05-01T10:00:00"}, zone="Europe/Paris")
    assert read["timestamp"] == "2024-05-01T10:00:00+02:00"


# --- the dialects --------------------------------------------------------------------------------------------------

SAMPLE = {"value": "12", "measurand": "Energy.Active.Import.Register", "unit": "kWh"}
TWO = [SAMPLE, {"value": "3"}]
METER_VALUES: list[tuple[str, Any, Any]] = [
    ("1.5", {"values": [{"timestamp": AT, "value": TWO}]}, TWO),
    ("1.5", {"values": [{"timestamp": AT, "values": TWO}]}, TWO),
    ("1.5", {"values": [{"timestamp": AT, **SAMPLE}]}, [SAMPLE]),
    ("1.5", {"values": [{"timestamp": AT, "value": SAMPLE}]}, [SAMPLE]),
    ("1.5", {"values": [{"timestamp": AT, "value": "12"}]}, [{"value": "12"}]),
    ("1.5", {"values": [{"timestamp": AT, "value": 12}]}, [{"value": "12"}]),
    ("1.5", {"values": [{"timestamp": AT, "value": ["12", 3]}]}, [{"value": "12"}, {"value": "3"}]),
    ("1.5", {"values": {"timestamp": AT, "value": TWO}}, TWO),
    ("1.5", {"meterValue": [{"timestamp": AT, "sampledValue": TWO}]}, TWO),
    ("1.5", {"values": [{"timestamp": AT, "value": [{"value": "5", "unit": "Amp"}]}]}, [{"value": "5", "unit": "A"}]),
    ("1.5", {"values": [{"timestamp": AT, "value": [{"value": "5", "phase": "L1"}]}]}, [{"value": "5", "phase": "L1"}]),
    ("1.2", {"values": [{"timestamp": AT, "value": 12}]}, [{"value": "12"}]),
    ("1.2", {"values": [{"timestamp": AT, "value": "12"}]}, [{"value": "12"}]),
    ("1.2", {"values": [{"timestamp": AT, "value": Decimal("12.5")}]}, [{"value": "12.5"}]),
    ("1.2", {"values": [{"timestamp": AT, "value": [SAMPLE]}]}, [SAMPLE]),
    ("1.2", {"meterValue": [{"timestamp": AT, "sampledValue": [SAMPLE]}]}, [SAMPLE]),
]


@pytest.mark.parametrize(("version", "given", "samples"), METER_VALUES)
def test_meter_values_are_read_in_every_shape(version: str, given: Payload, samples: Any) -> None:
    read, _ = mended(version, "MeterValues", {"connectorId": 1, **given})
    assert read == {"connectorId": 1, "meterValue": [{"timestamp": AT, "sampledValue": samples}]}
    jsonschema.validate(read, validator("MeterValues", False).schema)


GROUP = {"timestamp": AT, "value": TWO}
TRANSACTION_DATA: list[tuple[Any, Any]] = [
    ([{"values": [GROUP]}], TWO),
    ([GROUP], TWO),
    ([{"values": [{"timestamp": AT, "values": TWO}]}], TWO),
    ([{"timestamp": AT, "values": TWO}], TWO),
    ([{"timestamp": AT, **SAMPLE}], [SAMPLE]),
    ({"values": GROUP}, TWO),
    ([{"timestamp": AT, "sampledValue": TWO}], TWO),
]


@pytest.mark.parametrize(("given", "samples"), TRANSACTION_DATA)
def test_transaction_data_is_read_in_every_shape(given: Any, samples: Any) -> None:
    read, _ = mended("1.5", "StopTransaction", STOP | {"transactionData": given})
    assert read["transactionData"] == [{"timestamp": AT, "sampledValue": samples}]


def test_what_stands_beside_an_unusable_value_goes_with_it() -> None:
    given = [{"timestamp": AT, "value": "1", "measurand": "Luck"}, {"timestamp": AT, "value": "2"}]
    read, step = mended("1.5", "MeterValues", {"connectorId": 1, "values": given})
    assert read["meterValue"] == [{"timestamp": AT, "sampledValue": [{"value": "2"}]}]
    assert ("meterValue[0].sampledValue[0]", "quirks.unknown-word") in rules(step)


def test_of_several_values_nobody_knows_to_which_belongs_what_stands_beside_them() -> None:
    groups = [{"timestamp": AT, "value": TWO, "unit": "kWh"}, {"timestamp": AT, "value": TWO}]
    read, step = mended("1.5", "MeterValues", {"connectorId": 1, "values": groups})
    assert read["meterValue"] == [{"timestamp": AT, "sampledValue": TWO}]
    assert ("meterValue[0].sampledValue", "quirks.unusable-value") in rules(step)
    assert ("meterValue[0]", "quirks.no-samples") in rules(step)


def test_words_of_older_versions_are_canonical_words() -> None:
    read, step = mended("1.5", "StatusNotification", STATUS | {"status": "Occupied", "errorCode": "Mode3Error"})
    assert (read["status"], read["errorCode"]) == ("Charging", "EVCommunicationError")
    assert [remark.kind for remark in step.said()] == [Kind.ASSUMED]


def test_unjudged_messages_keep_what_nobody_knows() -> None:
    given = {"connectorId": "x", "status": "Dancing", "errorCode": "E42", "colour": None}
    assert mended("1.5", "StatusNotification", given, validation="off")[0] == given
    garbage = {"values": [{"value": "1"}, 5, {"value": {}}]}
    read, _ = mended("1.5", "MeterValues", garbage, validation="off")
    assert read == {"meterValue": [{"sampledValue": [{"value": "1"}]}, 5, {"sampledValue": [{}]}]}


# --- writing -------------------------------------------------------------------------------------------------------


def written(version: str, action: str, payload: Payload, response: bool = False, side: Side = DOWN, **manner: Any) -> Any:
    form = form_of(version, action, response, side)
    step = Step(form.title, "", USUAL._replace(**manner))
    return objects.write(payload, form.shape, step), step


def test_the_answer_to_a_boot_has_the_names_and_words_of_its_version() -> None:
    said, step = written("1.5", "BootNotification", {"interval": 300, "currentTime": AT, "status": "Pending"}, True, UP)
    assert list(said.items()) == [("status", "Rejected"), ("currentTime", AT), ("heartbeatInterval", 300)]
    assert [(r.kind, r.path, r.detail) for r in step.said()] == [(Kind.CHANGED, "status", "Pending became Rejected")]


def test_the_local_list_is_spelt_as_in_its_version() -> None:
    entry = {"idTag": "TAG1", "idTagInfo": {"status": "Accepted"}}
    said, _ = written("1.5", "SendLocalList", {"listVersion": 2, "updateType": "Full", "localAuthorizationList": [entry]})
    assert said == {"updateType": "Full", "listVersion": 2, "localAuthorisationList": [entry]}


@pytest.mark.parametrize("spelling", ["localAuthorisationList", "localAuthorizationList"])
def test_both_spellings_of_the_local_list_are_read(spelling: str) -> None:
    form = form_of("1.5", "SendLocalList", side=DOWN)
    given = {"updateType": "Full", "listVersion": 2, "hash": "x", spelling: [{"idTag": "TAG1"}]}
    step = Step(form.title)
    assert objects.read(given, form.shape, step)["localAuthorizationList"] == [{"idTag": "TAG1"}]
    assert ("hash", "ocpp15.SendLocalListRequest.hash") in rules(step)


def test_what_a_version_cannot_say_is_left_out_or_refused() -> None:
    said, step = written("1.5", "StopTransaction", STOP | {"reason": "Local"}, side=UP)
    assert said == STOP
    assert [(r.kind, r.path) for r in step.said()] == [(Kind.LOST, "reason")]
    with pytest.raises(NotSupported, match=r"FirmwareStatusNotification\.req status: Idle cannot be said in this version"):
        written("1.5", "FirmwareStatusNotification", {"status": "Idle"}, side=UP)


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        ({"idTag": 5}, "TypeConstraintViolation"),
        ({"idTag": "x" * 21}, "PropertyConstraintViolation"),
        ({"connectorId": 1}, "OccurenceConstraintViolation"),
    ],
)
def test_what_no_contract_allows_is_not_written(payload: Payload, code: str) -> None:
    with pytest.raises(OcppError) as caught:
        written("1.5", "RemoteStartTransaction", payload)
    assert caught.value.code == code


def test_a_bare_value_of_1_2_is_one_that_means_what_a_bare_value_means() -> None:
    samples = [{"value": "1.5", "unit": "kWh"}, {"value": "230", "measurand": "Voltage", "unit": "V"}, {"value": "7"}]
    said, step = written("1.2", "MeterValues", metered(*samples), side=UP)
    assert said["values"] == [{"timestamp": AT, "value": 1500}, {"timestamp": AT, "value": 7}]
    assert (Kind.LOST, "meterValue[0].sampledValue[1]") in [(r.kind, r.path) for r in step.said()]


def test_meter_values_of_1_5_have_their_particulars_beside_the_text() -> None:
    samples = [{"value": "1", "unit": "A", "measurand": "Current.Import"}, {"value": "50", "measurand": "Frequency"}]
    said, _ = written("1.5", "MeterValues", metered(*samples), side=UP)
    assert said["values"] == [{"timestamp": AT, "value": [{"value": "1", "measurand": "Current.Import", "unit": "Amp"}]}]


def test_transaction_data_of_1_5_has_its_wrapper() -> None:
    group = {"timestamp": AT, "sampledValue": [{"value": "1"}]}
    said, _ = written("1.5", "StopTransaction", STOP | {"transactionData": [group, group]}, side=UP)
    bare = {"timestamp": AT, "value": [{"value": "1"}]}
    assert said["transactionData"] == [{"values": [bare, bare]}]


def test_dates_are_written_as_the_manner_wants_them() -> None:
    said, _ = written("1.5", "Heartbeat", {"currentTime": "2024-05-01T12:00:00+02:00"}, True, UP, date="seconds")
    assert said == {"currentTime": AT}


def test_unjudged_messages_are_written_with_what_nobody_knows() -> None:
    said, _ = written("1.5", "BootNotification", {"status": "Odd", "interval": "x", "new": [1]}, True, UP, validation="off")
    assert said == {"status": "Odd", "heartbeatInterval": "x", "new": [1]}

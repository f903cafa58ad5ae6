"""translations.elements: read in any order and by local name, written in the order of the contract."""

from typing import Any

import pytest
from lxml import etree

from translations import elements
from translations.deltas import dialect
from translations.errors import OcppError
from translations.messages import Payload, Side, Version
from translations.step import Step

ZONED = "2024-05-01T10:00:00Z"
CS, CP = Side.CENTRAL_SYSTEM, Side.CHARGE_POINT
Marks = list[tuple[str, str, str]]


class Message:
    """One message of one version, read and written alone."""

    def __init__(self, version: Version, side: Side, action: str, response: bool = False) -> None:
        spoken = dialect(version, side)
        self.namespace = spoken.contract.namespace
        self.form = (spoken.responses if response else spoken.requests)[action]

    def read(self, inner: str, received: str = "") -> tuple[Payload, Marks]:
        step = Step(self.form.title, received)
        node = etree.fromstring(f'<x xmlns="{self.namespace}">{inner}</x>')
        return elements.read(node, self.form.shape, step), marks(step)

    def write(self, payload: Payload) -> tuple[str, Marks]:
        step, out = Step(self.form.title), list[str]()
        elements.write(payload, self.form.shape, out, step)
        return "".join(out).replace("cs:", "").replace("cp:", ""), marks(step)


def marks(step: Step) -> Marks:
    return [(str(r.kind), r.path, r.rule) for r in step.remarks]


BOOT = Message(Version.V16, CS, "BootNotification")
BOOTED_12 = Message(Version.V12, CS, "BootNotification", response=True)
AUTHORIZED = Message(Version.V16, CS, "Authorize", response=True)
METER_12 = Message(Version.V12, CS, "MeterValues")
METER_15 = Message(Version.V15, CS, "MeterValues")
METER_16 = Message(Version.V16, CS, "MeterValues")
STOP_15 = Message(Version.V15, CS, "StopTransaction")
STATUS_15 = Message(Version.V15, CS, "StatusNotification")
LIST_15 = Message(Version.V15, CP, "SendLocalList")
KEYS = Message(Version.V16, CP, "GetConfiguration")
FIRMWARE_15 = Message(Version.V15, CS, "FirmwareStatusNotification")


def refusal_of(call: Any, *args: Any) -> tuple[str, str]:
    with pytest.raises(OcppError) as caught:
        call(*args)
    return caught.value.code, caught.value.text


def samples(*texts: str, stamp: str = ZONED) -> str:
    return f"<meterValue><timestamp>{stamp}</timestamp>{''.join(f'<sampledValue>{t}</sampledValue>' for t in texts)}</meterValue>"


# --- reading -----------------------------------------------------------------------------------------------------------


def test_any_order_is_read_and_keys_are_in_that_of_the_contract() -> None:
    payload, remarks = BOOT.read("<chargePointVendor>V</chargePointVendor><iccid>I</iccid><chargePointModel>M</chargePointModel>")
    order = [name for name in BOOT.form.shape.names if name in payload]
    assert (list(payload), remarks) == (order, [])


def test_a_list_may_be_torn_apart() -> None:
    payload, _ = KEYS.read("<key>a</key><key>b</key>")
    assert payload == {"key": ["a", "b"]}
    torn, _ = METER_16.read(f"{samples('<value>1</value>')}<connectorId>1</connectorId>{samples('<value>2</value>')}")
    assert [group["sampledValue"][0]["value"] for group in torn["meterValue"]] == ["1", "2"]


def test_one_item_is_a_list_too() -> None:
    assert KEYS.read("<key>a</key>")[0] == {"key": ["a"]}


@pytest.mark.parametrize(
    ("inner", "mark"),
    [
        ("<ChargePointVendor>V</ChargePointVendor>", ("repaired", "chargePointVendor", "quirks.case")),
        ('<chargePointVendor xmlns="">V</chargePointVendor>', ("repaired", "chargePointVendor", "quirks.namespace")),
        (
            "<chargePointVendor>V</chargePointVendor><vendorExtra><a>1</a></vendorExtra>",
            ("lost", "vendorExtra", "quirks.unknown-element"),
        ),
        (
            "<chargePointVendor>V</chargePointVendor><chargePointVendor>V</chargePointVendor>",
            ("repaired", "chargePointVendor", "quirks.twice"),
        ),
        ("<chargePointVendor>V</chargePointVendor><iccid/>", ("repaired", "iccid", "quirks.empty")),
    ],
)
def test_what_is_a_little_wrong_is_repaired(inner: str, mark: tuple[str, str, str]) -> None:
    payload, remarks = BOOT.read(f"<chargePointModel>M</chargePointModel>{inner}")
    assert payload == {"chargePointVendor": "V", "chargePointModel": "M"}
    assert remarks == [mark]


def test_a_foreign_namespace_is_told_once() -> None:
    inner = '<chargePointModel xmlns="">M</chargePointModel><chargePointVendor xmlns="">V</chargePointVendor>'
    assert len(BOOT.read(inner)[1]) == 1


@pytest.mark.parametrize(
    ("message", "inner", "text"),
    [
        (BOOT, "<chargePointModel>M</chargePointModel>", "BootNotification.req chargePointVendor: expected it, found none"),
        (
            BOOT,
            "<chargePointModel>M</chargePointModel><chargePointModel>N</chargePointModel>",
            "BootNotification.req chargePointModel: expected it once, found two different values",
        ),
        (
            AUTHORIZED,
            "<idTagInfo><status>Invalid</status></idTagInfo><idTagInfo><status>Accepted</status></idTagInfo>",
            "Authorize.conf idTagInfo: expected it once, found it again",
        ),
        (AUTHORIZED, "<idTagInfo/>", "Authorize.conf idTagInfo.status: expected it, found none"),
        (
            METER_16,
            f"<connectorId>1</connectorId>{samples('<value>1</value>')}{samples('<value>1</value>', '<unit>Wh</unit>')}",
            "MeterValues.req meterValue[1].sampledValue[1].value: expected it, found none",
        ),
    ],
)
def test_too_few_or_too_many_are_refused_with_the_path(message: Message, inner: str, text: str) -> None:
    assert refusal_of(message.read, inner) == ("OccurenceConstraintViolation", text)


def test_the_path_of_a_wrong_value_goes_into_lists() -> None:
    inner = f"<connectorId>1</connectorId>{samples('<value>1</value>')}{samples('<value>1</value><unit>Furlong</unit>')}"
    code, text = refusal_of(METER_16.read, inner)
    assert code == "PropertyConstraintViolation"
    assert text.startswith("MeterValues.req meterValue[1].sampledValue[0].unit: expected one of ")


# --- what 1.5 has otherwise --------------------------------------------------------------------------------------------


def reading(value: str) -> str:
    return f"<connectorId>1</connectorId><values><timestamp>{ZONED}</timestamp>{value}</values>"


@pytest.mark.parametrize(
    ("value", "sample", "remarks"),
    [
        ("<value>1</value>", {"value": "1"}, []),
        (
            '<value unit="Amp" context="Trigger">1</value>',
            {"value": "1", "context": "Trigger", "unit": "A"},
            ["quirks.other-version"],
        ),
        ('<value UNIT="Volt">1</value>', {"value": "1", "unit": "V"}, ["quirks.case"]),
        ('<value q:measurand="Voltage" xmlns:q="urn:q">1</value>', {"value": "1", "measurand": "Voltage"}, ["quirks.namespace"]),
        ('<value phase="L1">1</value>', {"value": "1"}, ["quirks.unknown-attribute"]),
        ('<value unit="">1</value>', {"value": "1"}, ["quirks.empty"]),
        ("<value> 1 </value>", {"value": "1"}, ["quirks.padding"]),
    ],
)
def test_samples_with_attributes(value: str, sample: dict[str, str], remarks: list[str]) -> None:
    payload, left = METER_15.read(reading(value))
    assert payload["meterValue"] == [{"timestamp": ZONED, "sampledValue": [sample]}]
    assert list(payload["meterValue"][0]["sampledValue"][0]) == list(sample)
    assert [rule for _, _, rule in left] == remarks


def test_an_attribute_may_not_stand_twice_in_two_namespaces() -> None:
    payload, left = METER_15.read(reading('<value unit="Wh" q:unit="kWh" xmlns:q="urn:q">1</value>'))
    assert payload["meterValue"][0]["sampledValue"] == [{"value": "1", "unit": "Wh"}]
    assert left == [("lost", "meterValue[0].sampledValue[0].unit", "quirks.unknown-attribute")]


@pytest.mark.parametrize(
    ("sample", "written", "lost"),
    [
        ({"phase": "L1"}, "<value>2</value>", "[0].sampledValue[1].phase"),
        ({"context": "Trigger"}, "<value>2</value>", "[0].sampledValue[1].context"),
        ({"location": "Cable", "unit": "A"}, '<value unit="Amp">2</value>', "[0].sampledValue[1].location"),
        ({"unit": "K"}, "", "[0].sampledValue[1]"),
        ({"measurand": "SoC", "phase": "L1"}, "", "[0].sampledValue[1]"),
    ],
)
def test_what_a_sample_cannot_say_is_lost_and_told(sample: Payload, written: str, lost: str) -> None:
    payload = {"connectorId": 1, "meterValue": [{"timestamp": ZONED, "sampledValue": [{"value": "1"}, {"value": "2"} | sample]}]}
    text, left = METER_15.write(payload)
    assert f"<value>1</value>{written}</values>" in text
    assert [(kind, path) for kind, path, _ in left] == [("lost", f"meterValue{lost}")]


def test_a_group_goes_with_its_last_sample() -> None:
    group = {"timestamp": ZONED, "sampledValue": [{"value": "1", "unit": "K"}, {"value": "2", "measurand": "SoC"}]}
    text, left = METER_15.write({"connectorId": 1, "meterValue": [group]})
    assert text == "<connectorId>1</connectorId>"
    assert [path for _, path, _ in left] == ["meterValue[0].sampledValue[0]", "meterValue[0].sampledValue[1]"]


def test_wrappers_without_meaning_are_joined_and_written_as_one() -> None:
    group = f"<values><timestamp>{ZONED}</timestamp><value>1</value></values>"
    head = f"<transactionId>1</transactionId><timestamp>{ZONED}</timestamp><meterStop>7</meterStop>"
    inner = f"{head}<transactionData>{group}</transactionData><transactionData>{group}<x/></transactionData>"
    payload, left = STOP_15.read(inner)
    assert len(payload["transactionData"]) == 2
    assert [(path, rule) for _, path, rule in left] == [("transactionData[2].x", "quirks.unknown-element")]
    assert STOP_15.write(payload)[0].count("<transactionData>") == 1


def test_nothing_in_a_wrapper_is_nothing() -> None:
    payload, _ = STOP_15.read(
        f"<transactionId>1</transactionId><timestamp>{ZONED}</timestamp><meterStop>7</meterStop><transactionData/>"
    )
    assert "transactionData" not in STOP_15.write(payload)[0]


def test_the_hash_of_a_list_is_lost_and_none_is_made_up() -> None:
    payload, left = LIST_15.read("<updateType>Full</updateType><listVersion>1</listVersion><hash>h</hash>")
    assert payload == {"listVersion": 1, "updateType": "Full"}
    assert left == [("lost", "hash", "ocpp15.SendLocalListRequest.hash")]
    written, left = LIST_15.write(payload | {"": "h", "hash": "h"})
    assert written == "<updateType>Full</updateType><listVersion>1</listVersion>"
    assert sorted(path for _, path, _ in left) == ["", "hash"]


@pytest.mark.parametrize(
    ("taken", "written"),
    [
        ({}, "<vendorErrorCode>InternalError</vendorErrorCode>"),
        ({"vendorErrorCode": "E7"}, "<vendorErrorCode>E7</vendorErrorCode>"),
    ],
)
def test_an_error_code_that_changes_is_kept_where_there_is_room(taken: Payload, written: str) -> None:
    payload = {"connectorId": 1, "errorCode": "InternalError", "status": "Faulted", "vendorId": "V"} | taken
    text, left = STATUS_15.write(payload)
    assert f"<vendorId>V</vendorId>{written}" in text
    assert "<errorCode>OtherError</errorCode>" in text
    assert left == [("changed", "errorCode", "ocpp15.StatusNotificationRequest.errorCode")]


def test_a_status_without_an_equal_is_not_guessed() -> None:
    assert refusal_of(FIRMWARE_15.write, {"status": "Downloading"}) == (
        "NotSupported",
        "FirmwareStatusNotification.req status: Downloading cannot be said in this version",
    )


# --- what 1.2 has otherwise --------------------------------------------------------------------------------------------


def energy(*values: Any, **more: Any) -> Payload:
    return {"connectorId": 1, "meterValue": [{"timestamp": ZONED, "sampledValue": [{"value": v} | more for v in values]}]}


@pytest.mark.parametrize(
    ("sample", "text", "mark"),
    [
        ({"value": "12"}, "12", None),
        ({"value": "12", "unit": "Wh", "location": "Outlet", "format": "Raw"}, "12", None),
        ({"value": "-7"}, "-7", None),
        ({"value": "12.0"}, "12", ("changed", "value")),
        ({"value": "007"}, "7", ("changed", "value")),
        ({"value": "12.6"}, "13", ("changed", "value")),
        ({"value": "1.5", "unit": "kWh"}, "1500", ("changed", "unit")),
        ({"value": "12", "context": "Sample.Clock"}, "12", ("lost", "context")),
    ],
)
def test_a_bare_value_is_what_is_left_of_a_sample(sample: Payload, text: str, mark: tuple[str, str] | None) -> None:
    written, left = METER_12.write({"connectorId": 1, "meterValue": [{"timestamp": ZONED, "sampledValue": [sample]}]})
    assert f"<value>{text}</value>" in written
    assert [(kind, path.removeprefix("meterValue[0].sampledValue[0].")) for kind, path, _ in left] == ([mark] if mark else [])


@pytest.mark.parametrize(
    "sample",
    [
        {"value": "12", "measurand": "Voltage"},
        {"value": "12", "phase": "L1"},
        {"value": "12", "unit": "W"},
        {"value": "1.0005", "unit": "kWh"},
        {"value": "2147483648"},
        {"value": "3000000", "unit": "kWh"},
        {"value": "NaN"},
        {"value": "1_000"},
        {"value": "\u0661"},
        {"value": "1E999999"},
        {"value": "1E999999999"},
        {"value": ""},
        {"value": None},
    ],
)
def test_a_sample_that_a_bare_value_cannot_say_is_left_out(sample: Payload) -> None:
    payload = {"connectorId": 1, "meterValue": [{"timestamp": ZONED, "sampledValue": [{"value": "5"}, sample]}]}
    written, left = METER_12.write(payload)
    assert written.count("<value>") == 1
    assert left == [("lost", "meterValue[0].sampledValue[1]", "ocpp12.MeterValue.value")]


def test_each_sample_is_a_value_of_its_own() -> None:
    written, left = METER_12.write(energy("1", "2"))
    assert (written.count(f"<values><timestamp>{ZONED}</timestamp>"), left) == (2, [])


def test_what_1_2_may_leave_out_is_assumed() -> None:
    payload, left = BOOTED_12.read("<status>Accepted</status>", received=ZONED)
    assert payload == {"status": "Accepted", "currentTime": ZONED, "interval": 0}
    assert sorted((kind, path) for kind, path, _ in left) == [("assumed", "currentTime"), ("assumed", "interval")]


def test_no_time_is_made_up_where_none_is_known() -> None:
    code, text = refusal_of(BOOTED_12.read, "<status>Accepted</status>")
    assert (code, text) == ("OccurenceConstraintViolation", "BootNotification.conf currentTime: expected it, found none")


@pytest.mark.parametrize("message", [METER_12, METER_15, METER_16])
def test_meter_values_may_have_none(message: Message) -> None:
    payload, left = message.read("<connectorId>1</connectorId>")
    assert payload == {"connectorId": 1, "meterValue": []}
    assert [(kind, path) for kind, path, _ in left] == [("assumed", "meterValue")]
    assert message.write(payload) == ("<connectorId>1</connectorId>", [])


# --- writing -----------------------------------------------------------------------------------------------------------


def test_fields_are_written_in_the_order_of_the_contract() -> None:
    written, _ = BOOT.write({"chargePointVendor": "V", "iccid": "I", "chargePointModel": "M"})
    found = [str(node.tag) for node in etree.fromstring(f"<x>{written}</x>")]
    assert found == [slot.wire for slot in BOOT.form.shape.slots if slot.wire in found]


@pytest.mark.parametrize(
    ("value", "mark"),
    [
        ({"iccid": None}, ("repaired", "iccid", "quirks.empty")),
        ({"color": "red"}, ("lost", "color", "quirks.unknown-field")),
    ],
)
def test_fields_that_are_not_written_are_told(value: Payload, mark: tuple[str, str, str]) -> None:
    payload = {"chargePointVendor": "V", "chargePointModel": "M"} | value
    written, left = BOOT.write(payload)
    assert written == BOOT.write({"chargePointVendor": "V", "chargePointModel": "M"})[0]
    assert left == [mark]


@pytest.mark.parametrize(
    ("message", "payload", "code", "text"),
    [
        (BOOT, {"chargePointModel": "M"}, "Occurence", "BootNotification.req chargePointVendor: expected it, found none"),
        (AUTHORIZED, {"idTagInfo": []}, "Type", "Authorize.conf idTagInfo: expected object, got list"),
        (AUTHORIZED, {"idTagInfo": {}}, "Occurence", "Authorize.conf idTagInfo.status: expected it, found none"),
        (KEYS, {"key": "a"}, "Type", "GetConfiguration.req key: expected list, got text"),
        (METER_16, {"connectorId": 1, "meterValue": [1]}, "Type", "MeterValues.req meterValue[0]: expected object, got integer"),
        (METER_15, {"connectorId": 1, "meterValue": {}}, "Type", "MeterValues.req meterValue: expected list, got object"),
        (
            METER_16,
            {"connectorId": 1, "meterValue": [{"timestamp": ZONED, "sampledValue": []}]},
            "Occurence",
            "MeterValues.req meterValue[0].sampledValue: expected at least one, found none",
        ),
        (
            METER_15,
            energy("1") | {"meterValue": [{"timestamp": ZONED, "sampledValue": [{"unit": "A"}]}]},
            "Occurence",
            "MeterValues.req meterValue[0].sampledValue[0].value: expected it, found none",
        ),
        (
            METER_16,
            {"connectorId": 1, "meterValue": [{"timestamp": ZONED, "sampledValue": [{"value": "1"}, {"value": 2}]}]},
            "Type",
            "MeterValues.req meterValue[0].sampledValue[1].value: expected text, got integer",
        ),
        (
            METER_12,
            {"connectorId": 1, "meterValue": [{"timestamp": ZONED}]},
            "Occurence",
            "MeterValues.req meterValue[0].sampledValue: expected a list with at least one item",
        ),
    ],
)
def test_what_the_contract_does_not_allow_is_not_written(message: Message, payload: Payload, code: str, text: str) -> None:
    assert refusal_of(message.write, payload) == (f"{code}ConstraintViolation", text)

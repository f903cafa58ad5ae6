"""translations.reading and writing: read in any order and by local name, written in the order of the contract."""

from typing import Any

import pytest
from lxml import etree

from translations import reading, writing
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
        return reading.read(node, self.form.shape, step), marks(step)

    def write(self, payload: Payload) -> tuple[str, Marks]:
        step, out = Step(self.form.title), list[str]()
        writing.write(payload, self.form.shape, out, step)
        return "".join(out).replace("cs:", "").replace("cp:", ""), marks(step)


def marks(step: Step) -> Marks:
    return [(str(r.kind), r.path, r.rule) for r in step.remarks]


VENDOR, MODEL = "<chargePointVendor>V</chargePointVendor>", "<chargePointModel>M</chargePointModel>"
BOOT = Message(Version.V16, CS, "BootNotification")
BOOTED_12 = Message(Version.V12, CS, "BootNotification", response=True)
AUTHORIZED = Message(Version.V16, CS, "Authorize", response=True)
METER_12 = Message(Version.V12, CS, "MeterValues")
METER_15 = Message(Version.V15, CS, "MeterValues")
METER_16 = Message(Version.V16, CS, "MeterValues")
STOP_15 = Message(Version.V15, CS, "StopTransaction")
STOP_16 = Message(Version.V16, CS, "StopTransaction")
STATUS_15 = Message(Version.V15, CS, "StatusNotification")
LIST_15 = Message(Version.V15, CP, "SendLocalList")
KEYS = Message(Version.V16, CP, "GetConfiguration")
CONFIGURED = Message(Version.V16, CP, "GetConfiguration", response=True)
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
    assert (list(payload), remarks) == (order, [("repaired", "", "quirks.order")])


def test_a_list_may_be_torn_apart() -> None:
    payload, _ = KEYS.read("<key>a</key><key>b</key>")
    assert payload == {"key": ["a", "b"]}
    torn, remarks = METER_16.read(f"{samples('<value>1</value>')}<connectorId>1</connectorId>{samples('<value>2</value>')}")
    assert [group["sampledValue"][0]["value"] for group in torn["meterValue"]] == ["1", "2"]
    assert remarks == [("repaired", "", "quirks.order")]


def test_another_order_is_told_once_for_each_element() -> None:
    group = f"<meterValue><sampledValue><unit>Wh</unit><value>1</value></sampledValue><timestamp>{ZONED}</timestamp></meterValue>"
    payload, remarks = METER_16.read(f"<connectorId>1</connectorId>{group}")
    assert payload["meterValue"] == [{"timestamp": ZONED, "sampledValue": [{"value": "1", "unit": "Wh"}]}]
    paths = ["meterValue[0].sampledValue[0]", "meterValue[0]"]
    assert remarks == [("repaired", path, "quirks.order") for path in paths]


@pytest.mark.parametrize(
    ("inner", "remarks"),
    [
        ("<updateType>Full</updateType><listVersion>1</listVersion>", []),
        ("<listVersion>1</listVersion><updateType>Full</updateType>", [("repaired", "", "quirks.order")]),
    ],
)
def test_the_order_is_that_of_the_version_not_of_the_canonical_form(inner: str, remarks: Marks) -> None:
    assert LIST_15.read(inner) == ({"listVersion": 1, "updateType": "Full"}, remarks)


def test_one_item_is_a_list_too() -> None:
    assert KEYS.read("<key>a</key>")[0] == {"key": ["a"]}


@pytest.mark.parametrize(
    ("inner", "mark"),
    [
        (f"<ChargePointVendor>V</ChargePointVendor>{MODEL}", ("repaired", "chargePointVendor", "quirks.case")),
        (f'<chargePointVendor xmlns="">V</chargePointVendor>{MODEL}', ("repaired", "chargePointVendor", "quirks.namespace")),
        (f"{VENDOR}{MODEL}<vendorExtra><a>1</a></vendorExtra>", ("lost", "vendorExtra", "quirks.unknown-element")),
        (f"{VENDOR}{VENDOR}{MODEL}", ("repaired", "chargePointVendor", "quirks.twice")),
        (f"{VENDOR}{MODEL}<iccid/>", ("repaired", "iccid", "quirks.empty")),
    ],
)
def test_what_is_a_little_wrong_is_repaired(inner: str, mark: tuple[str, str, str]) -> None:
    payload, remarks = BOOT.read(inner)
    assert payload == {"chargePointVendor": "V", "chargePointModel": "M"}
    assert remarks == [mark]


def test_a_foreign_namespace_is_told_once() -> None:
    inner = '<chargePointVendor xmlns="">V</chargePointVendor><chargePointModel xmlns="">M</chargePointModel>'
    assert len(BOOT.read(inner)[1]) == 1


@pytest.mark.parametrize(
    ("message", "inner", "text"),
    [
        (STOP_16, "<transactionId>1</transactionId>", "StopTransaction.req timestamp: expected it, found none"),
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
    ],
)
def test_too_few_or_too_many_are_refused_with_the_path(message: Message, inner: str, text: str) -> None:
    assert refusal_of(message.read, inner) == ("OccurenceConstraintViolation", text)


def test_the_path_of_a_wrong_value_goes_into_lists() -> None:
    whole, half = "<key>a</key><readonly>true</readonly>", "<key>b</key>"
    inner = f"<configurationKey>{whole}</configurationKey><configurationKey>{half}</configurationKey>"
    text = "GetConfiguration.conf configurationKey[1].readonly: expected it, found none"
    assert refusal_of(CONFIGURED.read, inner) == ("OccurenceConstraintViolation", text)


# --- what a meter reading goes without -----------------------------------------------------------------------------------

WORD, VALUE, NOTHING = "quirks.unknown-word", "quirks.unusable-value", "quirks.no-samples"


@pytest.mark.parametrize(
    ("sample", "rule"),
    [
        ("<value>2</value><unit>Furlong</unit>", WORD),
        ("<value>2</value><measurand>Luck</measurand>", WORD),
        ("<value>2</value><format>Morse</format>", WORD),
        ("<value>2</value><phase>L9</phase>", WORD),
        ("<value/>", VALUE),
        ("<unit>Wh</unit>", VALUE),
    ],
)
def test_a_sample_that_cannot_be_used_is_left_out(sample: str, rule: str) -> None:
    inner = f"<connectorId>1</connectorId>{samples('<value>1</value>', sample, sample, '<value>3</value>')}"
    payload, left = METER_16.read(inner)
    assert [said["value"] for said in payload["meterValue"][0]["sampledValue"]] == ["1", "3"]
    assert left == [("lost", f"meterValue[0].sampledValue[{i}]", rule) for i in (1, 2)]


def test_the_remark_says_what_was_wrong_in_a_few_words() -> None:
    step, inner = Step(METER_15.form.title), group_15('<value unit="F">1</value>')
    reading.read(etree.fromstring(f'<x xmlns="{METER_15.namespace}">{inner}</x>'), METER_15.form.shape, step)
    first, second = (remark.detail for remark in step.remarks[:2])
    assert first == "left out: unit: unknown word 'F'"
    assert second == "left out: sampledValue: expected at least one sample, found none"


@pytest.mark.parametrize("name", ["context", "location"])
def test_a_field_that_a_sample_can_go_without_is_left_out_alone(name: str) -> None:
    payload, left = METER_16.read(f"<connectorId>1</connectorId>{samples(f'<value>1</value><{name}>Moon</{name}>')}")
    assert payload["meterValue"][0]["sampledValue"] == [{"value": "1"}]
    assert left == [("lost", f"meterValue[0].sampledValue[0].{name}", WORD)]


@pytest.mark.parametrize(
    ("attribute", "kept", "mark"),
    [
        ('unit="Furlong"', False, ("lost", "meterValue[0].sampledValue[1]", WORD)),
        ('measurand="Luck"', False, ("lost", "meterValue[0].sampledValue[1]", WORD)),
        ('format="Morse"', False, ("lost", "meterValue[0].sampledValue[1]", WORD)),
        ('UNIT="Furlong"', False, ("lost", "meterValue[0].sampledValue[1]", WORD)),
        ('context="Moon"', True, ("lost", "meterValue[0].sampledValue[1].context", WORD)),
        ('location="Moon"', True, ("lost", "meterValue[0].sampledValue[1].location", WORD)),
    ],
)
def test_attributes_of_a_sample_are_treated_alike(attribute: str, kept: bool, mark: tuple[str, str, str]) -> None:
    payload, left = METER_15.read(group_15(f"<value>1</value><value {attribute}>2</value>"))
    assert payload["meterValue"][0]["sampledValue"] == [{"value": "1"}] + [{"value": "2"}] * kept
    assert left[-1] == mark


@pytest.mark.parametrize("value", ["5.5", "", "many", "99999999999"])
def test_a_bare_value_that_is_none_leaves_its_group_out(value: str) -> None:
    groups = "".join(f"<values><timestamp>{ZONED}</timestamp><value>{v}</value></values>" for v in ("1", value, "3"))
    payload, left = METER_12.read(f"<connectorId>1</connectorId>{groups}")
    assert [group["sampledValue"] for group in payload["meterValue"]] == [[{"value": "1"}], [{"value": "3"}]]
    assert left == [("lost", "meterValue[1].sampledValue[0]", VALUE), ("lost", "meterValue[1]", NOTHING)]


@pytest.mark.parametrize("message", [METER_12, METER_15])
def test_a_group_without_samples_is_left_out(message: Message) -> None:
    payload, left = message.read(f"<connectorId>1</connectorId><values/><values><timestamp>{ZONED}</timestamp></values>")
    assert payload == {"connectorId": 1, "meterValue": []}
    assert [(kind, path) for kind, path, _ in left] == [
        ("repaired", "meterValue"),
        ("lost", "meterValue[0]"),
        ("assumed", "meterValue"),
    ]


STAMP = f"<timestamp>{ZONED}</timestamp>"


@pytest.mark.parametrize(
    "stamp", ["", "<timestamp/>", "<timestamp>soon</timestamp>", f"{STAMP}<timestamp>2024-05-01T11:00:00Z</timestamp>"]
)
def test_a_group_of_which_nobody_knows_when_is_left_out(stamp: str) -> None:
    good, bad = samples("<value>1</value>"), f"<meterValue>{stamp}<sampledValue><value>2</value></sampledValue></meterValue>"
    payload, left = METER_16.read(f"<connectorId>1</connectorId>{good}{bad}{good}")
    assert payload == {"connectorId": 1, "meterValue": [{"timestamp": ZONED, "sampledValue": [{"value": "1"}]}] * 2}
    assert left == [("lost", "meterValue[1]", VALUE)]


@pytest.mark.parametrize("value", ["1\u00a0", "\u00a01", "\u20031"])
def test_space_that_is_none_of_xml_makes_a_bare_value_unusable(value: str) -> None:
    payload, left = METER_12.read(f"<connectorId>1</connectorId><values>{STAMP}<value>{value}</value></values>")
    assert payload["meterValue"] == []
    assert left[0] == ("lost", "meterValue[0].sampledValue[0]", VALUE)


@pytest.mark.parametrize(
    ("message", "opening", "closing"),
    [(STOP_15, "<transactionData><values>", "</values></transactionData>"), (STOP_16, "<transactionData>", "</transactionData>")],
)
def test_readings_that_cannot_be_used_never_cost_a_bill(message: Message, opening: str, closing: str) -> None:
    head = f"<transactionId>1</transactionId><timestamp>{ZONED}</timestamp><meterStop>7</meterStop>"
    name = "value" if message is STOP_15 else "sampledValue"
    payload, left = message.read(f"{head}{opening}<timestamp>{ZONED}</timestamp><{name}/>{closing}")
    assert payload == {"transactionId": 1, "timestamp": ZONED, "meterStop": 7}
    assert left == [("lost", "transactionData[0].sampledValue[0]", VALUE), ("lost", "transactionData[0]", NOTHING)]


NIL = '<transactionData xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:nil="true"/>'


@pytest.mark.parametrize(("wrapper", "told"), [("<transactionData/>", 1), ("<transactionData/><transactionData/>", 2), (NIL, 1)])
def test_a_wrapper_of_nothing_is_absent(wrapper: str, told: int) -> None:
    head = f"<transactionId>1</transactionId><timestamp>{ZONED}</timestamp><meterStop>7</meterStop>"
    payload, left = STOP_15.read(head + wrapper)
    assert "transactionData" not in payload
    assert left == [("repaired", "transactionData", "quirks.empty")] * told


def test_fields_of_the_message_itself_are_never_left_out() -> None:
    head = f"<transactionId>1</transactionId><timestamp>{ZONED}</timestamp><meterStop>much</meterStop>"
    assert refusal_of(STOP_16.read, head)[0] == "TypeConstraintViolation"


def test_a_stop_is_worth_more_than_its_reason() -> None:
    head = f"<transactionId>1</transactionId><timestamp>{ZONED}</timestamp><meterStop>7</meterStop>"
    payload, left = STOP_16.read(head + "<reason>Boredom</reason>")
    assert (payload["reason"], left) == ("Other", [("changed", "reason", "quirks.unknown-word")])


@pytest.mark.parametrize(
    ("version", "taken", "kept"),
    [
        (Version.V12, "", {"vendorErrorCode": "F" * 50}),
        (Version.V15, "", {"vendorErrorCode": "F" * 50}),
        (Version.V15, "<vendorErrorCode>E7</vendorErrorCode>", {"info": "F" * 50, "vendorErrorCode": "E7"}),
        (Version.V16, "<info>i</info><vendorErrorCode>E7</vendorErrorCode>", {"info": "i", "vendorErrorCode": "E7"}),
    ],
)
def test_an_unknown_error_code_is_another_error(version: Version, taken: str, kept: dict[str, str]) -> None:
    message = Message(version, CS, "StatusNotification")
    inner = f"<connectorId>1</connectorId><status>Faulted</status><errorCode>{'F' * 60}</errorCode>{taken}"
    if version is Version.V12:
        inner = inner.replace("Faulted", "Unavailable")
    payload, left = message.read(inner)
    assert {k: payload[k] for k in kept} == kept
    assert payload["errorCode"] == "OtherError"
    assert list(payload) == [name for name in message.form.shape.names if name in payload]
    assert left == [("changed", "errorCode", "quirks.unknown-error-code")]


# --- what 1.5 has otherwise --------------------------------------------------------------------------------------------


def group_15(value: str) -> str:
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
        ('<value phase="L1">1</value>', {"value": "1", "phase": "L1"}, ["quirks.other-version"]),
        ('<value colour="red">1</value>', {"value": "1"}, ["quirks.unknown-attribute"]),
        ('<value unit="">1</value>', {"value": "1"}, ["quirks.empty"]),
        ("<value> 1 </value>", {"value": "1"}, ["quirks.padding"]),
    ],
)
def test_samples_with_attributes(value: str, sample: dict[str, str], remarks: list[str]) -> None:
    payload, left = METER_15.read(group_15(value))
    assert payload["meterValue"] == [{"timestamp": ZONED, "sampledValue": [sample]}]
    assert list(payload["meterValue"][0]["sampledValue"][0]) == list(sample)
    assert [rule for _, _, rule in left] == remarks


def test_an_attribute_may_not_stand_twice_in_two_namespaces() -> None:
    payload, left = METER_15.read(group_15('<value unit="Wh" q:unit="kWh" xmlns:q="urn:q">1</value>'))
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
    assert [(path, rule) for _, path, rule in left] == [("transactionData[1].x", "quirks.unknown-element")]
    assert STOP_15.write(payload)[0].count("<transactionData>") == 1


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

"""translations.leaves: single values, read with tolerance and written with none."""

from decimal import Decimal
from typing import Any

import pytest
from lxml import etree

from translations import reading, writing
from translations.deltas import Shape, dialect
from translations.errors import OcppError
from translations.leaves import escape
from translations.messages import Payload, Side, Version
from translations.step import Step

ZONED = "2024-05-01T10:00:00Z"
Marks = list[tuple[str, str, str]]


def shape_of(action: str, side: Side, version: Version = Version.V16, response: bool = False) -> tuple[Shape, str, str]:
    spoken = dialect(version, side)
    form = (spoken.responses if response else spoken.requests)[action]
    return form.shape, spoken.contract.namespace, form.title


STOP = shape_of("StopTransaction", Side.CENTRAL_SYSTEM)
DATA = shape_of("DataTransfer", Side.CENTRAL_SYSTEM)
KEYS = shape_of("GetConfiguration", Side.CHARGE_POINT, response=True)
PERIOD = shape_of("GetCompositeSchedule", Side.CHARGE_POINT, response=True)
STATUS = shape_of("StatusNotification", Side.CENTRAL_SYSTEM, Version.V15)
RESET = shape_of("Reset", Side.CHARGE_POINT)
UPDATE = shape_of("UpdateFirmware", Side.CHARGE_POINT)


def read(at: tuple[Shape, str, str], inner: str) -> tuple[Payload, Marks]:
    shape, namespace, title = at
    step = Step(title)
    payload = reading.read(etree.fromstring(f'<x xmlns="{namespace}">{inner}</x>'), shape, step)
    return payload, [(str(r.kind), r.path, r.rule) for r in step.remarks]


def write(at: tuple[Shape, str, str], payload: Payload) -> tuple[str, Marks]:
    step, out = Step(at[2]), list[str]()
    writing.write(payload, at[0], out, step)
    return "".join(out), [(str(r.kind), r.path, r.rule) for r in step.remarks]


def stop(**texts: str) -> str:
    said = {"transactionId": "1", "timestamp": ZONED, "meterStop": "7"} | texts
    return "".join(f"<{name}>{text}</{name}>" for name, text in said.items())


def refusal_of(call: Any, *args: Any) -> tuple[str, str]:
    with pytest.raises(OcppError) as caught:
        call(*args)
    return caught.value.code, caught.value.text


# --- integers ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("-12", -12),
        ("+12", 12),
        ("007", 7),
        ("-0", 0),
        (" 12\n", 12),
        ("2147483647", 2**31 - 1),
        ("-2147483648", -(2**31)),
    ],
)
def test_integers_are_read_in_every_lawful_form(text: str, value: int) -> None:
    payload, remarks = read(STOP, stop(meterStop=text))
    assert (payload["meterStop"], type(payload["meterStop"]), remarks) == (value, int, [])


@pytest.mark.parametrize(("text", "value"), [("100.0", 100), ("-3.", -3), ("+5.00", 5)])
def test_a_whole_number_with_a_point_is_repaired(text: str, value: int) -> None:
    payload, remarks = read(STOP, stop(meterStop=text))
    assert payload["meterStop"] == value
    assert remarks == [("repaired", "meterStop", "quirks.whole-number")]


@pytest.mark.parametrize(
    ("text", "code", "what"),
    [
        ("1_000", "TypeConstraintViolation", "expected an integer, got '1_000'"),
        ("1,000", "TypeConstraintViolation", "expected an integer, got '1,000'"),
        ("100.5", "TypeConstraintViolation", "expected an integer, got '100.5'"),
        ("1e3", "TypeConstraintViolation", "expected an integer, got '1e3'"),
        ("0x10", "TypeConstraintViolation", "expected an integer, got '0x10'"),
        ("\u0661\u0662", "TypeConstraintViolation", "expected an integer, got '\u0661\u0662'"),
        ("1 2", "TypeConstraintViolation", "expected an integer, got '1 2'"),
        ("", "OccurenceConstraintViolation", "expected a value, found none"),
        ("2147483648", "PropertyConstraintViolation", "expected an integer of 32 bits, got a larger one"),
        ("-2147483649", "PropertyConstraintViolation", "expected an integer of 32 bits, got a larger one"),
        ("9" * 40, "PropertyConstraintViolation", "expected an integer of 32 bits, got a larger one"),
    ],
)
def test_what_is_no_integer_is_refused(text: str, code: str, what: str) -> None:
    assert refusal_of(read, STOP, stop(meterStop=text)) == (code, f"StopTransaction.req meterStop: {what}")


def test_a_long_text_is_shown_in_part() -> None:
    _, text = refusal_of(read, STOP, stop(meterStop="9" * 5000))
    assert text == f"StopTransaction.req meterStop: expected an integer, got '{'9' * 40}'"


@pytest.mark.parametrize(
    ("value", "text", "rule"),
    [
        (7, "7", None),
        (-(2**31), "-2147483648", None),
        (Decimal("7.0"), "7", "quirks.whole-number"),
        ("7", "7", "quirks.number-as-text"),
        (" +07 ", "7", "quirks.number-as-text"),
    ],
)
def test_integers_are_written_plainly(value: Any, text: str, rule: str | None) -> None:
    written, remarks = write(STOP, {"meterStop": value, "timestamp": ZONED, "transactionId": 1})
    assert f"<cs:meterStop>{text}</cs:meterStop>" in written
    assert [r for _, _, r in remarks] == ([rule] if rule else [])


@pytest.mark.parametrize(
    ("value", "code", "what"),
    [
        (True, "TypeConstraintViolation", "expected an integer, got boolean"),
        (Decimal("7.5"), "TypeConstraintViolation", "expected an integer, got number"),
        (Decimal("1E+30"), "TypeConstraintViolation", "expected an integer, got number"),
        ("1_000", "TypeConstraintViolation", "expected an integer, got text"),
        ("\u0661", "TypeConstraintViolation", "expected an integer, got text"),
        ([], "TypeConstraintViolation", "expected an integer, got list"),
        (2**31, "PropertyConstraintViolation", "expected an integer of 32 bits, got a larger one"),
        (Decimal(2**31), "PropertyConstraintViolation", "expected an integer of 32 bits, got a larger one"),
    ],
)
def test_what_is_no_integer_is_not_written(value: Any, code: str, what: str) -> None:
    payload = {"meterStop": value, "timestamp": ZONED, "transactionId": 1}
    assert refusal_of(write, STOP, payload) == (code, f"StopTransaction.req meterStop: {what}")


# --- decimals ----------------------------------------------------------------------------------------------------------


def period(limit: str) -> str:
    inner = f"<startPeriod>0</startPeriod><limit>{limit}</limit>"
    schedule = f"<chargingRateUnit>A</chargingRateUnit><chargingSchedulePeriod>{inner}</chargingSchedulePeriod>"
    return f"<status>Accepted</status><chargingSchedule>{schedule}</chargingSchedule>"


def scheduled(limit: Any) -> Payload:
    inner = {"chargingRateUnit": "A", "chargingSchedulePeriod": [{"startPeriod": 0, "limit": limit}]}
    return {"status": "Accepted", "chargingSchedule": inner}


@pytest.mark.parametrize(
    ("text", "digits"), [("16", "16"), ("16.0", "16.0"), ("+16.5", "16.5"), (" 7.25 ", "7.25"), (".5", "0.5"), ("-0.1", "-0.1")]
)
def test_decimals_keep_their_digits(text: str, digits: str) -> None:
    payload, _ = read(PERIOD, period(text))
    assert str(payload["chargingSchedule"]["chargingSchedulePeriod"][0]["limit"]) == digits


@pytest.mark.parametrize("text", ["1e3", "NaN", "INF", "1,5", "1_0", "\u0661", "0x1", "9" * 41])
def test_what_is_no_decimal_is_refused(text: str) -> None:
    code, what = refusal_of(read, PERIOD, period(text))
    assert code == "TypeConstraintViolation"
    path = "chargingSchedule.chargingSchedulePeriod[0].limit"
    assert what == f"GetCompositeSchedule.conf {path}: expected a decimal number, got {text[:40]!r}"


@pytest.mark.parametrize(
    ("value", "text"),
    [(16, "16"), (Decimal("16.0"), "16.0"), (Decimal("1.6E+1"), "16.0"), (0.1, "0.1"), (Decimal("-0.50"), "-0.5")],
)
def test_decimals_are_written_with_one_digit_and_no_exponent(value: Any, text: str) -> None:
    assert f"<cp:limit>{text}</cp:limit>" in write(PERIOD, scheduled(value))[0]


@pytest.mark.parametrize(
    ("value", "code", "what"),
    [
        (Decimal("0.15"), "PropertyConstraintViolation", "expected a multiple of 0.1, got 0.15"),
        (Decimal("NaN"), "TypeConstraintViolation", "expected a decimal number, got number"),
        (Decimal("1E+400"), "TypeConstraintViolation", "expected a decimal number, got number"),
        (10**15, "TypeConstraintViolation", "expected a decimal number, got integer"),
        (True, "TypeConstraintViolation", "expected a decimal number, got boolean"),
        ("16", "TypeConstraintViolation", "expected a decimal number, got text"),
    ],
)
def test_what_is_no_decimal_is_not_written(value: Any, code: str, what: str) -> None:
    path = "chargingSchedule.chargingSchedulePeriod[0].limit"
    assert refusal_of(write, PERIOD, scheduled(value)) == (code, f"GetCompositeSchedule.conf {path}: {what}")


# --- booleans ----------------------------------------------------------------------------------------------------------


def key(readonly: str) -> str:
    return f"<configurationKey><key>K</key><readonly>{readonly}</readonly></configurationKey>"


@pytest.mark.parametrize(("text", "value"), [("true", True), ("false", False), ("1", True), ("0", False), (" true ", True)])
def test_booleans_are_read_in_every_lawful_form(text: str, value: bool) -> None:
    payload, remarks = read(KEYS, key(text))
    assert (payload["configurationKey"][0]["readonly"], remarks) == (value, [])


@pytest.mark.parametrize("text", ["TRUE", "False"])
def test_booleans_in_another_case_are_repaired(text: str) -> None:
    assert read(KEYS, key(text))[1] == [("repaired", "configurationKey[0].readonly", "quirks.case")]


@pytest.mark.parametrize("text", ["yes", "on", "2", "-1", "truee"])
def test_what_is_no_boolean_is_refused(text: str) -> None:
    said = f"GetConfiguration.conf configurationKey[0].readonly: expected true or false, got {text!r}"
    assert refusal_of(read, KEYS, key(text)) == ("TypeConstraintViolation", said)


@pytest.mark.parametrize("value", [1, 0, "true"])
def test_what_is_no_boolean_is_not_written(value: Any) -> None:
    code, _ = refusal_of(write, KEYS, {"configurationKey": [{"key": "K", "readonly": value}]})
    assert code == "TypeConstraintViolation"


# --- dates -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", [ZONED, "2024-05-01T10:00:00.123456Z", "2024-05-01T10:00:00+02:00", "1970-01-01T00:00:00Z", f"\n {ZONED} "]
)
def test_dates_keep_their_form(text: str) -> None:
    payload, remarks = read(STOP, stop(timestamp=text))
    assert (payload["timestamp"], remarks) == (text.strip(), [])


@pytest.mark.parametrize(
    ("text", "value", "kind"),
    [
        ("2024-05-01T10:00:00", ZONED, "assumed"),
        ("2024-05-01 10:00:00Z", ZONED, "repaired"),
        ("2024-05-01T10:00Z", ZONED, "repaired"),
        ("2024-05-01T10:00:00+02", "2024-05-01T10:00:00+02:00", "repaired"),
        ("2024-04-30T24:23:23Z", "2024-05-01T00:23:23Z", "repaired"),
        ("1714557600000", "2024-05-01T10:00:00.000Z", "repaired"),
        ("0001-01-01T00:00:00", "0001-01-01T00:00:00Z", "assumed"),
    ],
)
def test_dates_in_another_form_are_repaired_both_ways(text: str, value: str, kind: str) -> None:
    payload, remarks = read(STOP, stop(timestamp=text))
    assert (payload["timestamp"], remarks) == (value, [(kind, "timestamp", "quirks.timestamp")])
    written, remarks = write(STOP, {"meterStop": 7, "timestamp": text, "transactionId": 1})
    assert f"<cs:timestamp>{value}</cs:timestamp>" in written
    assert remarks == [(kind, "timestamp", "quirks.timestamp")]


@pytest.mark.parametrize(
    "text", ["2024-05-01", "10000-01-01T00:00:00Z", "-1", "2024-05-01T25:00:00Z", "2024-13-01T00:00:00Z", "soon"]
)
def test_what_is_no_date_is_refused_both_ways(text: str) -> None:
    said = ("TypeConstraintViolation", f"StopTransaction.req timestamp: expected a date and time, got {text!r}")
    assert refusal_of(read, STOP, stop(timestamp=text)) == said
    assert refusal_of(write, STOP, {"meterStop": 7, "timestamp": text, "transactionId": 1}) == said


def test_a_number_is_no_date() -> None:
    said = "StopTransaction.req timestamp: expected a date and time as text, got integer"
    assert refusal_of(write, STOP, {"meterStop": 7, "timestamp": 1714557600000, "transactionId": 1})[1] == said


# --- words -------------------------------------------------------------------------------------------------------------


def status(word: str) -> str:
    return f"<connectorId>1</connectorId><status>{word}</status><errorCode>NoError</errorCode>"


@pytest.mark.parametrize(
    ("word", "value", "remarks"),
    [
        ("Available", "Available", []),
        (" Available\n", "Available", [("repaired", "status", "quirks.padding")]),
        ("AVAILABLE", "Available", [("repaired", "status", "quirks.case")]),
        ("SuspendedEV", "SuspendedEV", [("repaired", "status", "quirks.other-version")]),
        ("suspendedEV", "SuspendedEV", [("repaired", "status", "quirks.other-version")]),
        ("Occupied", "Charging", [("assumed", "status", "ocpp15.StatusNotificationRequest.status")]),
    ],
)
def test_words_are_read(word: str, value: str, remarks: Marks) -> None:
    payload, left = read(STATUS, status(word))
    assert (payload["status"], left) == (value, remarks)


def test_an_ambiguous_word_in_another_case_leaves_both_remarks() -> None:
    payload, remarks = read(STATUS, status("occupied"))
    assert (payload["status"], [kind for kind, _, _ in remarks]) == ("Charging", ["repaired", "assumed"])


def test_an_unknown_word_is_refused_with_those_that_are_known() -> None:
    known = "expected one of Available, Faulted, Reserved, Unavailable, Occupied, got 'Broken'"
    assert refusal_of(read, STATUS, status("Broken")) == (
        "PropertyConstraintViolation",
        f"StatusNotification.req status: {known}",
    )


def test_an_empty_word_where_one_is_needed_is_refused() -> None:
    assert refusal_of(read, STATUS, status(" ")) == (
        "OccurenceConstraintViolation",
        "StatusNotification.req status: expected a value, found none",
    )


@pytest.mark.parametrize(
    ("value", "code", "what"),
    [
        ("Medium", "PropertyConstraintViolation", "expected one of Hard, Soft, got 'Medium'"),
        (7, "TypeConstraintViolation", "expected text, got integer"),
        (["Hard"], "TypeConstraintViolation", "expected text, got list"),
        (None, "OccurenceConstraintViolation", "expected it, found none"),
    ],
)
def test_an_unknown_word_is_not_written(value: Any, code: str, what: str) -> None:
    assert refusal_of(write, RESET, {"type": value}) == (code, f"Reset.req type: {what}")


def test_a_word_in_another_case_is_written_as_it_should_be() -> None:
    assert write(RESET, {"type": "hard"}) == ("<cp:type>Hard</cp:type>", [("repaired", "type", "quirks.case")])


# --- text --------------------------------------------------------------------------------------------------------------


def data(inner: str) -> str:
    return f"<vendorId>V</vendorId><data>{inner}</data>"


@pytest.mark.parametrize(
    ("inner", "text"),
    [
        ("{&quot;a&quot;: 1}", '{"a": 1}'),
        ("<![CDATA[<b>&amp;</b>]]>", "<b>&amp;</b>"),
        ("a<![CDATA[ b ]]>c", "a b c"),
        ("  padded\n\t", "  padded\n\t"),
        (" ", " "),
        ("", ""),
        ("a&#13;b&#x1F600;", "a\rb\N{GRINNING FACE}"),
        ("a\x7fb", "a\x7fb"),
    ],
)
def test_data_is_kept_to_the_letter(inner: str, text: str) -> None:
    payload, remarks = read(DATA, data(inner))
    assert (payload["data"], remarks) == (text, [])
    assert read(DATA, write(DATA, payload)[0].replace("cs:", "")) == (payload, [])


def test_elements_in_data_are_kept_as_text() -> None:
    payload, remarks = read(DATA, data('<x xmlns="" a="1">y</x> tail <z xmlns="urn:z"/>'))
    assert payload["data"] == '<x xmlns="" a="1">y</x> tail <z xmlns="urn:z"/>'
    assert remarks == [("repaired", "data", "quirks.markup")]


def test_markup_declares_the_namespaces_it_uses_and_no_others() -> None:
    around = '<q:wrap xmlns:q="urn:q" xmlns:r="urn:r">{}</q:wrap>'
    payload, _ = read(DATA, data('<q:a xmlns:q="urn:q" xmlns:r="urn:r"><q:b/></q:a>'))
    assert payload["data"] == '<q:a xmlns:q="urn:q" xmlns:r="urn:r"><q:b/></q:a>'
    shape, namespace, title = DATA
    outer = etree.fromstring(around.format(f'<x xmlns="{namespace}">{data("<q:a/><q:a/>")}</x>'))
    assert reading.read(outer[0], shape, Step(title))["data"] == '<q:a xmlns:q="urn:q"/>' * 2


def test_markup_is_no_bomb() -> None:
    many = " ".join(f'xmlns:b{i}="urn:{i}"' for i in range(500))
    shape, namespace, title = DATA
    node = etree.fromstring(f'<x xmlns="{namespace}" {many}>{data("<b7:a/>" * 10_000)}</x>')
    assert len(reading.read(node, shape, Step(title))["data"]) < 300_000


def test_markup_that_grows_too_much_is_refused() -> None:
    shape, namespace, title = DATA
    node = etree.fromstring(f'<x xmlns="{namespace}" xmlns:c="urn:{"c" * 9_000}">{data("<c:a/>" * 9_000)}</x>')
    code, text = refusal_of(reading.read, node, shape, Step(title))
    assert (code, text) == (
        "PropertyConstraintViolation",
        "DataTransfer.req data: expected markup of at most 1048576 characters",
    )


@pytest.mark.parametrize(
    ("inner", "value", "rules"),
    [
        ("<messageId> m </messageId>", "m", ["quirks.padding"]),
        ("<messageId/>", None, ["quirks.empty"]),
        ("<messageId> </messageId>", None, ["quirks.empty"]),
        ('<messageId xmlns:i="http://www.w3.org/2001/XMLSchema-instance" i:nil="true"/>', None, ["quirks.empty"]),
        (f"<messageId>{'m' * 51}</messageId>", "m" * 50, ["quirks.too-long"]),
        (f"<messageId>{'m' * 49} mm</messageId>", "m" * 49, ["quirks.too-long"]),
        (f"<messageId>{chr(0x1F600) * 50}</messageId>", chr(0x1F600) * 50, []),
    ],
)
def test_other_text_is_trimmed_and_cut(inner: str, value: str | None, rules: list[str]) -> None:
    payload, remarks = read(DATA, f"<vendorId>V</vendorId>{inner}")
    assert (payload.get("messageId"), [rule for _, _, rule in remarks]) == (value, rules)


def test_who_it_is_is_never_cut() -> None:
    code, text = refusal_of(read, STOP, stop(idTag="T" * 21))
    assert (code, text) == ("PropertyConstraintViolation", "StopTransaction.req idTag: expected at most 20 characters, got 21")


@pytest.mark.parametrize(
    ("value", "code", "what"),
    [
        ("m" * 51, "PropertyConstraintViolation", "messageId: expected at most 50 characters, got 51"),
        (7, "TypeConstraintViolation", "messageId: expected text, got integer"),
        ({}, "TypeConstraintViolation", "messageId: expected text, got object"),
        ("a\x00b", "PropertyConstraintViolation", "messageId: U+0000 cannot be said in XML"),
        ("a\ud800b", "PropertyConstraintViolation", "messageId: U+D800 cannot be said in XML"),
        ("a\uffffb", "PropertyConstraintViolation", "messageId: U+FFFF cannot be said in XML"),
    ],
)
def test_text_that_cannot_be_said_is_not_written(value: Any, code: str, what: str) -> None:
    assert refusal_of(write, DATA, {"vendorId": "V", "messageId": value}) == (code, f"DataTransfer.req {what}")


def test_markup_is_escaped() -> None:
    written, _ = write(DATA, {"vendorId": "V", "data": "<a b='\"'>&amp;]]>\r\n\t"})
    assert written.endswith("<cs:data>&lt;a b='\"'&gt;&amp;amp;]]&gt;&#13;\n\t</cs:data>")


def test_text_for_an_attribute_has_no_line_ends() -> None:
    assert escape('<"\n\t\r&>') == "&lt;&quot;&#10;&#9;&#13;&amp;&gt;"
    assert refusal_of(escape, "\x1b") == ("PropertyConstraintViolation", "U+001B cannot be said in XML")


@pytest.mark.parametrize("location", ["ftp://user:p%20w@10.0.0.1:21/a;b?c=1&d=2", "http://[::1]/", "not a uri at all"])
def test_locations_pass_as_they_are(location: str) -> None:
    inner = f"<retrieveDate>{ZONED}</retrieveDate><location>{escape(location)}</location>"
    payload, remarks = read(UPDATE, inner)
    assert (payload["location"], remarks) == (location, [])
    assert f"<cp:location>{escape(location)}</cp:location>" in write(UPDATE, payload)[0]

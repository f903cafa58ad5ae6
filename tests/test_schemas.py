"""translations.schemas: the judge, its words, and its one exception."""

from decimal import Decimal
from typing import Any

import pytest

from translations.contracts import contract
from translations.deltas import known_actions
from translations.errors import OcppError
from translations.messages import Side, Version
from translations.schemas import fits, judge, validators

START = {"connectorId": 1, "idTag": "T", "meterStart": 0, "timestamp": "2024-05-01T10:00:00Z"}
PERIOD = {"startPeriod": 0, "limit": Decimal("16.0")}
SCHEDULE = {"chargingRateUnit": "A", "chargingSchedulePeriod": [PERIOD]}


def composite(**changes: Any) -> dict[str, Any]:
    return {"status": "Accepted", "chargingSchedule": SCHEDULE | changes}


def test_every_action_is_judged_both_ways() -> None:
    actions = {action for side in Side for action in known_actions(side)}
    assert set(validators()) == {(action, response) for action in actions for response in (False, True)}
    assert set(contract(Version.V16, Side.CENTRAL_SYSTEM).requests) < actions


@pytest.mark.parametrize(
    ("payload", "code", "text"),
    [
        (START | {"meterStart": "0"}, "TypeConstraintViolation", "meterStart: expected integer, got text"),
        (START | {"idTag": "x" * 21}, "PropertyConstraintViolation", "idTag: expected at most 20 characters, got 21"),
        (
            START | {"timestamp": "2024-02-30T10:00:00Z"},
            "PropertyConstraintViolation",
            "timestamp: expected a date-time, got another text",
        ),
        (START | {"vendor": 1}, "FormationViolation", "vendor: expected no such field"),
        (
            {"connectorId": 1, "meterStart": 0, "timestamp": "2024-05-01T10:00:00Z"},
            "OccurenceConstraintViolation",
            "idTag: expected it, found none",
        ),
    ],
)
def test_a_fault_is_told_with_its_path(payload: dict[str, Any], code: str, text: str) -> None:
    with pytest.raises(OcppError) as caught:
        judge("StartTransaction", False, payload)
    assert (caught.value.code, caught.value.text) == (code, f"StartTransaction.req {text}")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"chargingRateUnit": "V"}, "chargingRateUnit: expected A or W, got another text"),
        ({"minChargingRate": Decimal("0.15")}, "minChargingRate: expected a multiple of 0.1, got another number"),
        ({"chargingSchedulePeriod": PERIOD}, "chargingSchedulePeriod: expected array, got object"),
        ({"chargingSchedulePeriod": [{"limit": 1}]}, "chargingSchedulePeriod[0].startPeriod: expected it, found none"),
        ({"chargingSchedulePeriod": [PERIOD | {"l" * 90: 1}]}, f"chargingSchedulePeriod[0].{'l' * 80}: expected no such field"),
    ],
)
def test_a_fault_says_what_was_expected(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(OcppError) as caught:
        judge("GetCompositeSchedule", True, composite(**changes))
    assert caught.value.text == f"GetCompositeSchedule.conf chargingSchedule.{text}"


def test_what_is_of_the_wrong_size_is_told_with_its_size() -> None:
    group: dict[str, Any] = {"timestamp": START["timestamp"], "sampledValue": []}
    with pytest.raises(OcppError) as caught:
        judge("MeterValues", False, {"connectorId": 1, "meterValue": [group]})
    assert caught.value.text == "MeterValues.req meterValue[0].sampledValue: expected at least 1 items, got 0"


def test_a_message_that_is_wrong_as_a_whole_has_no_path() -> None:
    with pytest.raises(OcppError) as caught:
        judge("Heartbeat", False, [])  # type: ignore[arg-type]
    assert caught.value.text == "Heartbeat.req: expected object, got list"


@pytest.mark.parametrize(
    ("payload", "code", "path"),
    [
        (composite(minChargingRate=Decimal("0.15")), "PropertyConstraintViolation", "chargingSchedule.minChargingRate"),
        (composite(chargingRateUnit="V"), "PropertyConstraintViolation", "chargingSchedule.chargingRateUnit"),
        (
            composite(chargingSchedulePeriod=[PERIOD, PERIOD | {"limit": "16"}]),
            "TypeConstraintViolation",
            "chargingSchedule.chargingSchedulePeriod[1].limit",
        ),
    ],
)
def test_the_path_goes_into_lists(payload: dict[str, Any], code: str, path: str) -> None:
    with pytest.raises(OcppError) as caught:
        judge("GetCompositeSchedule", True, payload)
    assert caught.value.code == code
    assert caught.value.text.startswith(f"GetCompositeSchedule.conf {path}: ")


def test_tenths_are_exact() -> None:
    for tenths in range(1000):
        judge("GetCompositeSchedule", True, composite(minChargingRate=Decimal(tenths).scaleb(-1)))


def test_meter_values_may_be_empty() -> None:
    judge("MeterValues", False, {"connectorId": 1, "meterValue": []})


def test_samples_may_not_be_empty() -> None:
    with pytest.raises(OcppError) as caught:
        judge("MeterValues", False, {"connectorId": 1, "meterValue": [{"timestamp": START["timestamp"], "sampledValue": []}]})
    assert caught.value.code == "OccurenceConstraintViolation"


def test_what_has_no_schema_is_not_judged() -> None:
    judge("RequestStartTransaction", False, {"x": 1})


@pytest.mark.parametrize(
    ("action", "payload", "fitting"),
    [
        ("StartTransaction", START, True),
        ("StartTransaction", START | {"timestamp": "2024-05-01T10:00:00"}, False),
        ("StartTransaction", START | {"timestamp": "2024-02-29T10:00:00Z"}, True),
        ("GetDiagnostics", {"location": "ftp://example.com/up"}, True),
        ("GetDiagnostics", {"location": "over there"}, False),
        ("MeterValues", {"connectorId": 1, "meterValue": []}, False),
        ("RequestStartTransaction", {}, False),
    ],
)
def test_what_fits_may_go_on_as_it_is(action: str, payload: dict[str, Any], fitting: bool) -> None:
    assert fits(action, False, payload) is fitting

"""What a charger did, told in order."""

import pytest

from gateway.traffic.exchanges import Exchange
from gateway.traffic.stories import Story
from tests.excerpts import FAILED, PENDING, hostile, refused
from tests.traffic_cases import BOOT, LATER, SESSION, STORY, said


def told(*exchanges: Exchange) -> list[str]:
    story = Story()
    return [event.text for exchange in exchanges for event in story.tell(exchange)]


def test_a_session_is_told_from_the_boot_to_the_stop() -> None:
    assert told(*STORY) == [
        "boots: Acme Wall 2, firmware 1.2.3: Accepted, heartbeat every 300 s",
        "connector 1 is Preparing",
        "connector 2 is Preparing",
        "authorizes TAG1: Accepted",
        "authorizes TAG2: Accepted",
        "starts transaction 4711 at connector 1 with TAG1, meter 1.000 kWh: Accepted",
        "connector 1 is Charging",
        "connector 1 reads 4.000 kWh, 7.2 kW, 3.000 kWh so far",
        "is told to unlock connector 1: NotSupported",
        "connector 1 is Faulted: GroundFailure",
        "stops transaction 4711: 12.345 kWh in 1 h 02 min, reason Local: Accepted",
        "transaction 4711 of 62 min without meter values (no-meter-values)",
        "connector 1 is Available",
    ]


@pytest.mark.parametrize(
    ("exchange", "expected"),
    [
        (FAILED, ["is told to reset, Hard; failed: GenericError"]),
        (PENDING, ["Heartbeat; no answer"]),
        (refused(b"x"), ["a message was refused: FormationViolation (frame: expected JSON)"]),
        (said("DataTransfer", {"vendorId": "v", "data": {}}, {"status": "Accepted"}, 0), ["DataTransfer (vendorId v): Accepted"]),
        (said("ClearCache", {}, {"status": "Accepted"}, 0, up=False), ["is told ClearCache: Accepted"]),
        (SESSION[-1], ["stops transaction 4711: meter 13.345 kWh, reason Local: Accepted", *told(SESSION[-1])[1:]]),
        (said("MeterValues", {"connectorId": 2, "meterValue": "x"}, {}, 0), ["connector 2 sends meter values"]),
        (said("StartTransaction", {"meterStart": "9" * 400}, {}, 0), ["starts a transaction at the charger with no idTag"]),
    ],
)
def test_what_stands_alone_is_told_too(exchange: Exchange, expected: list[str]) -> None:
    assert told(exchange) == expected


def test_faults_failures_and_findings_are_marked() -> None:
    story = Story()
    marked = [(event.kind, event.severity) for each in (*STORY, FAILED) for event in story.tell(each) if event.severity]
    assert marked == [("StatusNotification", "warning"), ("finding", "note"), ("Reset", "error")]


@pytest.mark.parametrize("exchange", [*hostile(), BOOT, LATER])
def test_nothing_that_is_said_ends_the_story(exchange: Exchange) -> None:
    assert all(isinstance(text, str) for text in told(exchange))


@pytest.mark.parametrize("value", [None, True, 1e300, "NaN", "1e999999", [], {}, -5, "\ud800", 10**4000])
@pytest.mark.parametrize(
    "action", ["BootNotification", "StartTransaction", "StopTransaction", "MeterValues", "StatusNotification"]
)
def test_odd_values_are_told_without_harm(action: str, value: object) -> None:
    names = ("connectorId", "idTag", "meterStart", "meterStop", "timestamp", "status", "errorCode", "interval", "idTagInfo")
    sample = {"value": value, "unit": value, "measurand": value}
    payload = dict.fromkeys(names, value) | {"meterValue": [value, {"sampledValue": [value, sample]}]}
    assert len(told(said(action, payload, payload, 0, transaction=1))) <= 1

"""A SOAP charger made with zeep talks to a JSON CSMS made with the ocpp package: both understand the same."""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
from zeep import Client

from tests.peers.csms import NOW, WELCOME, Csms
from tests.peers.soap_charger import contract_url, soap_charger

Payload = dict[str, Any]
START, STOP = "2024-05-01T08:01:12Z", "2024-05-01T11:42:00+02:00"


class Step(NamedTuple):
    """What the charger says, what that is in canonical form, and what it hears of the CSMS's usual answer."""

    action: str
    said: Payload
    canonical: Payload | None = None  # None: what was said
    heard: Mapping[str, Any] = MappingProxyType({})


BOOT: Payload = {
    "chargePointVendor": "Élan & Fils",
    "chargePointModel": "Duo <22>",
    "chargePointSerialNumber": "0001",
    "chargeBoxSerialNumber": "CB-1",
    "firmwareVersion": "2.14 b@7",
    "iccid": "8931440301234567890",
    "imsi": "204046661234567",
    "meterType": "EM340",
    "meterSerialNumber": "0001-5523",
}
OLD_BOOT = Step("BootNotification", BOOT, heard={"status": "Accepted", "currentTime": NOW, "heartbeatInterval": 300})
TRANSACTION = {"connectorId": 2, "idTag": "B4F62CEF", "timestamp": START, "meterStart": 1204310}
RESERVED = TRANSACTION | {"reservationId": 0}
STOPPED = {"transactionId": 4711, "idTag": "B4F62CEF", "timestamp": STOP, "meterStop": 1216880}
STARTED = {"transactionId": 4711, **WELCOME}
TRANSFER = {"vendorId": "org.example", "messageId": "tariff", "data": '{"price": 0.10, "text": "<ä>"}'}
REPORT = {"info": "door open", "timestamp": START, "vendorId": "org.example", "vendorErrorCode": "E-7"}

PLAIN = [
    Step("Authorize", {"idTag": "B4F62CEF"}, heard=WELCOME),
    Step("Heartbeat", {}, heard={"currentTime": NOW}),
    Step("FirmwareStatusNotification", {"status": "DownloadFailed"}),
    Step("DiagnosticsStatusNotification", {"status": "Uploaded"}),
]
SAMPLE_16 = {
    "value": "10.80",
    "context": "Sample.Periodic",
    "format": "Raw",
    "measurand": "Current.Import",
    "phase": "L1",
    "location": "Outlet",
    "unit": "A",
}
SAMPLE_15 = {key: value for key, value in SAMPLE_16.items() if key not in ("value", "phase")} | {
    "_value_1": "10.80",
    "unit": "Amp",
}
AS_16 = {key: value for key, value in SAMPLE_16.items() if key != "phase"}
METERED = [{"timestamp": START, "sampledValue": [AS_16, {"value": "5531244"}]}]
METERED_15 = [{"timestamp": START, "value": [SAMPLE_15, {"_value_1": "5531244"}]}]
METERED_16 = [{"timestamp": START, "sampledValue": [SAMPLE_16, {"value": "5531244"}]}]

JOURNEYS: Mapping[str, list[Step]] = {
    "1.2": [
        OLD_BOOT,
        *PLAIN,
        Step("StartTransaction", TRANSACTION, heard=STARTED),
        Step(
            "MeterValues",
            {"connectorId": 2, "values": [{"timestamp": START, "value": 1204500}, {"timestamp": STOP, "value": 1210025}]},
            {
                "connectorId": 2,
                "meterValue": [
                    {"timestamp": START, "sampledValue": [{"value": "1204500"}]},
                    {"timestamp": STOP, "sampledValue": [{"value": "1210025"}]},
                ],
            },
        ),
        Step("StopTransaction", STOPPED, heard=WELCOME),
        Step(
            "StatusNotification",
            {"connectorId": 2, "status": "Occupied", "errorCode": "Mode3Error"},
            {"connectorId": 2, "status": "Finishing", "errorCode": "EVCommunicationError"},
        ),
    ],
    "1.5": [
        OLD_BOOT,
        *PLAIN,
        Step("StartTransaction", RESERVED, heard=STARTED),
        Step(
            "MeterValues",
            {"connectorId": 2, "transactionId": 4711, "values": METERED_15},
            {"connectorId": 2, "transactionId": 4711, "meterValue": METERED},
        ),
        Step(
            "StopTransaction",
            STOPPED | {"transactionData": [{"values": METERED_15}]},
            STOPPED | {"transactionData": METERED},
            WELCOME,
        ),
        Step("StatusNotification", {"connectorId": 2, "status": "Reserved", "errorCode": "NoError"} | REPORT),
        Step("DataTransfer", TRANSFER, heard={"status": "Accepted", "data": "thanks & <regards>"}),
    ],
    "1.6": [
        Step("BootNotification", BOOT, heard={"status": "Accepted", "currentTime": NOW, "interval": 300}),
        *PLAIN,
        Step("StartTransaction", RESERVED, heard=STARTED),
        Step("MeterValues", {"connectorId": 2, "transactionId": 4711, "meterValue": METERED_16}),
        Step("StopTransaction", STOPPED | {"reason": "EVDisconnected", "transactionData": METERED_16}, heard=WELCOME),
        Step("StatusNotification", {"connectorId": 2, "status": "SuspendedEVSE", "errorCode": "OverVoltage"} | REPORT),
        Step("DataTransfer", TRANSFER, heard={"status": "Accepted", "data": "thanks & <regards>"}),
    ],
}


@pytest.mark.parametrize("version", JOURNEYS)
async def test_charger_and_csms_understand_the_same(port: int, csms: Csms, version: str) -> None:
    async with soap_charger(port, version, "CP Ä/1") as charger:
        heard = [await charger.make(step.action, step.said) for step in JOURNEYS[version]]
    assert heard == [step.heard for step in JOURNEYS[version]]
    assert csms.told("CP Ä/1") == [(s.action, s.said if s.canonical is None else s.canonical) for s in JOURNEYS[version]]


@pytest.mark.parametrize("version", JOURNEYS)
async def test_the_journey_takes_in_every_operation_of_the_contract(port: int, version: str) -> None:
    async with soap_charger(port, version) as charger:
        assert {step.action for step in JOURNEYS[version]} == charger.operations


@pytest.mark.parametrize(("version", "operations"), [("1.2", 9), ("1.5", 15), ("1.6", 19)])
async def test_the_contract_of_the_charger_is_served_too(port: int, version: str, operations: int) -> None:
    client = await asyncio.to_thread(Client, contract_url(port, version, "ChargePointService"))
    assert len(list(client.service._operations)) == operations


async def test_versions_may_be_mixed_among_chargers(port: int, csms: Csms) -> None:
    async with soap_charger(port, "1.2", "A") as old, soap_charger(port, "1.6", "B") as new:
        await old.make("Heartbeat", {})
        await new.make("Heartbeat", {})
    assert csms.told("A") == csms.told("B") == [("Heartbeat", {})]


async def test_an_identity_is_one_charger_in_whatever_case_it_is_spelt(port: int, csms: Csms) -> None:
    async with soap_charger(port, "1.5", "Cp-1") as first, soap_charger(port, "1.5", "CP-1") as second:
        await first.make("Heartbeat", {})
        await second.make("Heartbeat", {})
    assert [handshake.identity for handshake in csms.handshakes] == ["Cp-1"]
    assert csms.told("Cp-1") == [("Heartbeat", {})] * 2


@pytest.mark.parametrize("version", ["1.2", "1.5"])
async def test_a_status_that_the_version_lacks_becomes_one_it_has(port: int, csms: Csms, version: str) -> None:
    csms.answers["BootNotification"]["status"] = "Pending"
    async with soap_charger(port, version) as charger:
        heard = await charger.make("BootNotification", BOOT)
    assert heard["status"] == "Rejected"


@pytest.mark.parametrize("transaction", [0, -1, 2**31 - 1, -(2**31), 2**40, 2**63 - 1])
async def test_each_end_sees_a_transaction_id_that_it_can_bear(port: int, csms: Csms, transaction: int) -> None:
    csms.answers["StartTransaction"]["transactionId"] = transaction
    async with soap_charger(port, "1.5") as charger:
        started = await charger.make("StartTransaction", TRANSACTION)
        await charger.make("StopTransaction", STOPPED | {"transactionId": started["transactionId"]})
    assert csms.told("CP-S")[-1][1]["transactionId"] == transaction
    assert 0 < started["transactionId"] < 2**31
    assert (started["transactionId"] == transaction) is (0 < transaction < 2**31)

"""JSON chargers of every version and with every habit talk to a CSMS that takes nothing but valid OCPP 1.6."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest
from ocpp.exceptions import NotSupportedError, OCPPError
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from gateway.config import Route
from tests.conftest import OpenGateway
from tests.journeys.log import passed
from tests.peers.csms import NOW, WELCOME, Csms
from tests.peers.seen import DEADLINE
from tests.peers.stack16 import exact, refusing, saying

Payload = dict[str, Any]
AT = "2024-05-01T10:00:00Z"
SAMPLE = {"value": "12", "measurand": "Energy.Active.Import.Register", "unit": "kWh"}
START = {"connectorId": 1, "idTag": "TAG1", "meterStart": 5, "timestamp": AT}
STOP = {"transactionId": 4711, "meterStop": 9, "timestamp": AT}
BOOT = {"chargePointVendor": "V", "chargePointModel": "M"}


class Charger:
    """A charger that writes its frames by hand."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    async def hear(self) -> Any:
        async with asyncio.timeout(DEADLINE):
            return exact(await self.connection.recv())

    async def say(self, *frame: Any) -> Any:
        """Send a frame, and give the next that arrives."""
        await self.connection.send(json.dumps(frame))
        return await self.hear()

    async def tell(self, action: str, payload: Any) -> Payload:
        """Make a call; its result."""
        kind, call_id, result = await self.say(2, "c1", action, payload)
        assert (kind, call_id) == (3, "c1"), result
        return dict(result)


@asynccontextmanager
async def charger(port: int, *subprotocols: str) -> AsyncIterator[Charger]:
    offered = [Subprotocol(name) for name in subprotocols] or None
    async with connect(f"ws://127.0.0.1:{port}/ocpp/CP-1", subprotocols=offered, compression=None, proxy=None) as connection:
        yield Charger(connection)


def judged(validation: Literal["strict", "off"]) -> dict[str, Any]:
    return {"routes": (Route(chargers="*", answer=("csms",), validation=validation),)}


SHAPES: list[tuple[str, Any]] = [
    ("ocpp1.5", {"values": [{"timestamp": AT, "value": [SAMPLE]}]}),
    ("ocpp1.5", {"values": [{"timestamp": AT, "values": [SAMPLE]}]}),
    ("ocpp1.5", {"values": [{"timestamp": AT, **SAMPLE}]}),
    ("ocpp1.5", {"values": [{"timestamp": AT, "value": SAMPLE}]}),
    ("ocpp1.5", {"meterValue": [{"timestamp": AT, "sampledValue": [SAMPLE]}]}),
    ("ocpp1.2", {"values": [{"timestamp": AT, "value": [SAMPLE]}]}),
    ("ocpp1.6", {"meterValue": [{"timestamp": AT, "sampledValue": [SAMPLE]}]}),
    ("ocpp1.6", {"MeterValue": {"timestamp": "2024-05-01 10:00", "sampledValue": [SAMPLE | {"value": 12}]}}),
]


@pytest.mark.parametrize(("subprotocol", "values"), SHAPES)
async def test_meter_values_arrive_whatever_their_shape(port: int, csms: Csms, subprotocol: str, values: Payload) -> None:
    async with charger(port, subprotocol) as one:
        assert await one.tell("MeterValues", {"connectorId": 1, "transactionId": 7, **values}) == {}
    canonical = {"connectorId": 1, "transactionId": 7, "meterValue": [{"timestamp": AT, "sampledValue": [SAMPLE]}]}
    assert csms.told("CP-1") == [("MeterValues", canonical)]


async def test_a_day_of_a_charger_of_1_5(port: int, csms: Csms) -> None:
    occupied = {"connectorId": 1, "status": "Occupied", "errorCode": "Mode3Error"}
    async with charger(port, "ocpp1.5") as one:
        booted = {"status": "Accepted", "currentTime": NOW, "heartbeatInterval": 300}
        assert await one.tell("BootNotification", BOOT) == booted
        assert (await one.tell("StartTransaction", START))["transactionId"] == 4711
        assert await one.tell("StatusNotification", occupied) == {}
        data = [{"values": [{"timestamp": AT, "value": [{"value": "9"}]}]}]
        assert await one.tell("StopTransaction", STOP | {"transactionData": data}) == WELCOME
    told = [payload for _, payload in csms.told("CP-1")]
    assert told[2] == occupied | {"status": "Charging", "errorCode": "EVCommunicationError"}
    assert told[3]["transactionData"] == [{"timestamp": AT, "sampledValue": [{"value": "9"}]}]


async def test_a_day_of_a_charger_of_1_2(port: int, csms: Csms) -> None:
    async with charger(port, "ocpp1.2", "ocpp1.6") as one:
        assert (await one.tell("BootNotification", BOOT))["heartbeatInterval"] == 300
        assert await one.tell("MeterValues", {"connectorId": 1, "values": [{"timestamp": AT, "value": 12}]}) == {}
    assert csms.told("CP-1")[1][1]["meterValue"] == [{"timestamp": AT, "sampledValue": [{"value": "12"}]}]


async def test_a_backend_that_is_not_sure_yet_has_rejected_an_older_charger(port: int, csms: Csms) -> None:
    csms.answers["BootNotification"] = {"status": "Pending", "currentTime": NOW, "interval": 60}
    async with charger(port, "ocpp1.5") as one:
        assert await one.tell("BootNotification", BOOT) == {"status": "Rejected", "currentTime": NOW, "heartbeatInterval": 60}


# subprotocol, what the CSMS says, what the charger hears and answers, and what the CSMS hears
COMMANDS: list[tuple[str, str, Payload, Payload, Payload, Payload]] = [
    ("ocpp1.5", "UnlockConnector", {"connectorId": 1}, {"connectorId": 1}, {"status": "Accepted"}, {"status": "Unlocked"}),
    (
        "ocpp1.5",
        "SendLocalList",
        {"listVersion": 3, "updateType": "Full", "localAuthorizationList": [{"idTag": "TAG1"}]},
        {"listVersion": 3, "updateType": "Full", "localAuthorisationList": [{"idTag": "TAG1"}]},
        {"status": "HashError"},
        {"status": "Failed"},
    ),
    ("ocpp1.2", "Reset", {"type": "Soft"}, {"type": "Soft"}, {"status": "accepted"}, {"status": "Accepted"}),
    ("ocpp1.6", "GetLocalListVersion", {}, {}, {"listVersion": "5"}, {"listVersion": 5}),
]


@pytest.mark.parametrize(("subprotocol", "action", "said", "heard", "answer", "told"), COMMANDS)
async def test_commands_reach_chargers_in_their_own_words(
    port: int, csms: Csms, subprotocol: str, action: str, said: Payload, heard: Payload, answer: Payload, told: Payload
) -> None:
    async with charger(port, subprotocol) as one:
        asked = asyncio.ensure_future(csms.command("CP-1", action, said))
        kind, call_id, name, payload = await one.hear()
        assert (kind, name, payload) == (2, action, heard)
        await one.connection.send(json.dumps([3, call_id, answer]))
        assert await asked == told


async def test_what_a_charger_cannot_be_told_is_refused_without_asking_it(port: int, csms: Csms) -> None:
    async with charger(port, "ocpp1.5") as one:
        with pytest.raises(NotSupportedError):
            await csms.command("CP-1", "TriggerMessage", {"requestedMessage": "Heartbeat"})
        assert await one.tell("Heartbeat", {}) == {"currentTime": NOW}  # nothing else came


async def test_an_answer_that_no_one_can_mean_is_an_error_for_the_backend(port: int, csms: Csms) -> None:
    async with charger(port, "ocpp1.6") as one:
        asked = asyncio.ensure_future(csms.command("CP-1", "Reset", {"type": "Soft"}))
        _, call_id, *_ = await one.hear()
        await one.connection.send(json.dumps([3, call_id, {"status": "Perhaps"}]))
        with pytest.raises(OCPPError, match=r"the answer is not valid: Reset\.conf status"):
            await asked


HABITS: list[tuple[str, Payload, Payload]] = [
    (
        "BootNotification",
        {"chargePointVendor": None, "chargePointModel": "M", "iccid": None},
        BOOT | {"chargePointVendor": "unknown"},
    ),
    ("bootNotification", BOOT | {"imsi": 12, "meterType": "", "colour": "red"}, BOOT | {"imsi": "12"}),
    ("StartTransaction", START | {"meterStart": 5.0, "reservationId": None}, START),
    ("StopTransaction", STOP | {"transactionId": "4711", "reason": "local", "transactionData": []}, STOP | {"reason": "Local"}),
    (
        "StatusNotification",
        {"connectorId": 0, "status": "Faulted", "errorCode": "E42", "info": None},
        {"connectorId": 0, "status": "Faulted", "errorCode": "OtherError", "vendorErrorCode": "E42"},
    ),
]


@pytest.mark.parametrize(("action", "said", "told"), HABITS)
async def test_habits_of_chargers_are_mended(port: int, csms: Csms, action: str, said: Payload, told: Payload) -> None:
    async with charger(port, "ocpp1.6") as one:
        await one.tell(action, said)
    assert [payload for _, payload in csms.told("CP-1")] == [told]


async def test_money_that_is_not_told_is_not_guessed(port: int, csms: Csms) -> None:
    async with charger(port, "ocpp1.6") as one:
        for i in range(25):  # more than the malformed frames that would end the connection
            kind, call_id, code, text, _ = await one.say(2, f"c{i}", "StartTransaction", START | {"meterStart": None})
        assert (kind, call_id, code) == (4, "c24", "OccurenceConstraintViolation")
        assert text == "StartTransaction.req meterStart: expected it, found none"
        assert await one.tell("Heartbeat", {}) == {"currentTime": NOW}
    assert [action for action, _ in csms.told("CP-1")] == ["Heartbeat"]


async def test_frames_of_chargers_that_read_the_specification_otherwise(port: int, csms: Csms) -> None:
    async with charger(port, "ocpp1.6") as one:
        await one.connection.send("")
        await one.connection.send(b"")
        assert await one.say(2, 17, "Heartbeat", None) == [3, 17, {"currentTime": NOW}]


@pytest.mark.parametrize(
    ("spelling", "code"),
    [
        ("OccurrenceConstraintViolation", "OccurenceConstraintViolation"),
        ("FormatViolation", "FormationViolation"),
        ("NotSupported", "NotSupported"),
    ],
)
async def test_error_codes_are_known_by_both_spellings(port: int, csms: Csms, spelling: str, code: str) -> None:
    csms.manner = refusing(spelling)
    async with charger(port, "ocpp1.5") as one:
        assert await one.say(2, "c1", "Heartbeat", {}) == [4, "c1", code, "no", {}]
        csms.manner = saying()
        session = await csms.charger("CP-1")
        await session.connection.send('[2,"g1","Reset",{"type":"Soft"}]')
        _, call_id, *_ = await one.hear()
        answered = asyncio.get_running_loop().create_future()

        async def listening(_: Any, raw: str) -> None:
            answered.set_result(exact(raw))

        csms.manner = listening
        await one.connection.send(json.dumps([4, call_id, spelling, "", {}]))
        assert (await answered)[:3] == [4, "g1", code]


async def test_a_charger_that_offers_no_version_speaks_its_usual_one(port: int, csms: Csms) -> None:
    async with charger(port) as one:
        assert one.connection.subprotocol is None
        assert await one.tell("Heartbeat", {}) == {"currentTime": NOW}


async def test_the_usual_version_of_a_charger_may_be_another(open_gateway: OpenGateway, csms: Csms) -> None:
    gateway = await open_gateway(quirks=({"name": "old", "identity": "cp-*", "subprotocol": "ocpp1.5"},))
    async with charger(gateway.ports[0]) as one:
        assert "heartbeatInterval" in await one.tell("BootNotification", BOOT)


async def test_a_strict_route_refuses_what_would_need_mending(open_gateway: OpenGateway, csms: Csms) -> None:
    gateway = await open_gateway(**judged("strict"))
    async with charger(gateway.ports[0], "ocpp1.6") as one:
        kind, _, code, text, _ = await one.say(2, "c1", "StartTransaction", START | {"meterStart": "5"})
        assert (kind, code) == (4, "TypeConstraintViolation")
        assert text == "StartTransaction.req meterStart: expected integer, got text"
        assert (await one.tell("StartTransaction", START))["transactionId"] == 4711
    assert csms.told("CP-1") == [("StartTransaction", START)]


async def test_a_route_without_validation_passes_what_comes(open_gateway: OpenGateway, csms: Csms) -> None:
    gateway = await open_gateway(**judged("off"))
    csms.manner = saying('[3,"$id",{"odd":null}]')
    async with charger(gateway.ports[0], "ocpp1.6") as one:
        assert await one.tell("startTransaction", {"meterStart": None, "x": []}) == {"odd": None}
    assert csms.told("CP-1") == [("startTransaction", {"meterStart": None, "x": []})]


async def test_an_answer_of_the_backend_that_is_not_valid_never_reaches_a_charger(port: int, csms: Csms) -> None:
    csms.manner = saying('[3,"$id",{"currentTime":"soon"}]')
    async with charger(port, "ocpp1.6") as one:
        kind, _, code, text, _ = await one.say(2, "c1", "Heartbeat", {})
    assert (kind, code) == (4, "InternalError")
    assert text.startswith("the backend's answer is not valid: Heartbeat.conf currentTime: expected a date and time")


async def test_the_log_has_what_came_what_was_meant_and_why(open_gateway: OpenGateway, csms: Csms) -> None:
    gateway = await open_gateway()
    async with charger(gateway.ports[0], "ocpp1.5") as one:
        await one.tell("MeterValues", {"connectorId": 1, "values": [{"timestamp": AT, "values": [SAMPLE]}]})
    came = next(row for row in await passed(gateway) if row.leg == "charger" and row.kind == "call")
    assert (came.version, came.action) == ("1.5", "MeterValues")
    assert b'"values"' in came.raw
    assert exact(came.canonical or "")[3]["meterValue"] == [{"timestamp": AT, "sampledValue": [SAMPLE]}]
    assert [(remark.path, remark.rule) for remark in came.remarks] == [("meterValue[0].sampledValue", "quirks.other-shape")]

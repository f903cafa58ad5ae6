"""A JSON charger talks through the gateway to a JSON CSMS: nothing is added, nothing taken away, nothing rewritten."""

import asyncio
from typing import Any

import pytest
from ocpp.exceptions import OCPPError

from gateway.config import Route
from tests.conftest import OpenGateway
from tests.journeys.commands import COMMANDS, SECURITY
from tests.peers.csms import NOW, WELCOME, Csms
from tests.peers.json_charger import json_charger
from tests.peers.stack16 import Stack16, exact, properly, refusing, saying, silently

Payload = dict[str, Any]
START = "2024-05-01T10:01:12+02:00"
METERED = [{"timestamp": START, "sampledValue": [{"value": "10.80", "unit": "A", "measurand": "Current.Import"}]}]

# What a charger says, and what it hears of the CSMS's usual answer.
CALLS: list[tuple[str, Payload, Payload]] = [
    (
        "BootNotification",
        {"chargePointVendor": "Élan", "chargePointModel": "<22>", "imsi": "204046661234567"},
        {"status": "Accepted", "currentTime": NOW, "interval": 300},
    ),
    ("Authorize", {"idTag": "B4F62CEF"}, WELCOME),
    (
        "StartTransaction",
        {"connectorId": 1, "idTag": "A", "meterStart": -1, "timestamp": START, "reservationId": 0},
        {"transactionId": 4711} | WELCOME,
    ),
    ("MeterValues", {"connectorId": 1, "transactionId": 4711, "meterValue": METERED}, {}),
    (
        "StopTransaction",
        {"meterStop": 9, "timestamp": START, "transactionId": 4711, "reason": "Reboot", "transactionData": METERED},
        WELCOME,
    ),
    ("StatusNotification", {"connectorId": 0, "errorCode": "NoError", "status": "Finishing", "info": "ä"}, {}),
    ("DataTransfer", {"vendorId": "x", "data": '{"a": 1.50}'}, {"status": "Accepted", "data": "thanks & <regards>"}),
    ("FirmwareStatusNotification", {"status": "Idle"}, {}),
    ("DiagnosticsStatusNotification", {"status": "Uploading"}, {}),
    ("Heartbeat", {}, {"currentTime": NOW}),
    ("LogStatusNotification", {"status": "Uploaded", "requestId": 7}, {}),
    ("SecurityEventNotification", {"type": "StartupOfTheDevice", "timestamp": START, "techInfo": "v2"}, {}),
    ("SignCertificate", {"csr": "PEM"}, {"status": "Accepted"}),
    ("SignedFirmwareStatusNotification", {"status": "InvalidSignature", "requestId": 8}, {}),
]


async def test_every_call_reaches_the_csms_and_its_answer_the_charger(port: int, csms: Csms) -> None:
    async with json_charger(port, "CP-J") as charger:
        heard = [await charger.make(action, said) for action, said, _ in CALLS]
    assert heard == [answer for _, _, answer in CALLS]
    assert csms.told("CP-J") == [(action, said) for action, said, _ in CALLS]


async def test_every_command_reaches_the_charger_and_its_answer_the_csms(port: int, csms: Csms) -> None:
    async with json_charger(port, "CP-J") as charger:
        for command in COMMANDS + SECURITY:
            charger.answers[command.action] = command.answered
            result = await csms.command("CP-J", command.action, command.said)
            assert (command.action, result) == (command.action, command.answered)
    heard = [(call.action, call.payload) for call in charger.heard]
    assert heard == [(command.action, command.said) for command in COMMANDS + SECURITY]


async def test_the_session_is_opened_when_the_charger_connects_and_closed_when_it_leaves(port: int, csms: Csms) -> None:
    async with json_charger(port, "CP-J"):
        await csms.charger("CP-J")
        assert not len(csms.closed)
    assert await csms.closed.wait() == "CP-J"


ODD = (
    '{"tempo":1.10,"huge":123456789012345678901234567890,"tiny":1E-30,"exact":0.1000000000000000055511151231257827,'
    '"nested":{"empty":{},"none":null,"list":[1,[2.50,"ä\U0001f50c"]]},"late":true}'
)


async def test_vendor_actions_pass_whole(port: int, csms: Csms) -> None:
    csms.manner = saying(f'[3,"$id",{ODD}]')
    async with json_charger(port) as charger:
        answer = await charger.say(f'[2,"vendor-1","AcmeDance",{ODD}]')
    assert answer == f'[3,"vendor-1",{ODD}]'
    assert csms.heard[0].raw.endswith(f'"AcmeDance",{ODD}]')


async def test_vendor_fields_of_known_actions_pass_whole_where_nothing_is_judged(open_gateway: OpenGateway, csms: Csms) -> None:
    port = (await open_gateway(routes=(Route(answer=("csms",), validation="off"),))).ports[0]
    csms.manner = saying(f'[3,"$id",{{"currentTime":"{NOW}","customData":{ODD}}}]')
    async with json_charger(port) as charger:
        answer = await charger.say(f'[2,"1","Heartbeat",{{"customData":{ODD}}}]')
    assert answer == f'[3,"1",{{"currentTime":"{NOW}","customData":{ODD}}}]'
    assert csms.heard[0].raw.endswith(f'"Heartbeat",{{"customData":{ODD}}}]')


async def test_vendor_commands_pass_whole(port: int, csms: Csms) -> None:
    async with json_charger(port) as charger:
        charger.manner = saying(f'[3,"$id",{ODD}]')
        session = await csms.charger("CP-J")
        answered = asyncio.get_running_loop().create_future()

        async def listening(end: Stack16, raw: str) -> None:
            answered.set_result(raw)

        csms.manner = listening
        await session.connection.send(f'[2,"v-2","AcmeSing",{ODD}]')
        assert await answered == f'[3,"v-2",{ODD}]'
    assert charger.heard[0].raw.endswith(f'"AcmeSing",{ODD}]')


@pytest.mark.parametrize("code", ["NotImplemented", "SecurityError", "FormationViolation", "OccurenceConstraintViolation"])
async def test_a_callerror_of_the_csms_reaches_the_charger(port: int, csms: Csms, code: str) -> None:
    csms.manner = saying(f'[4,"$id","{code}","because",{{"cause":"ä"}}]')
    async with json_charger(port) as charger:
        assert exact(await charger.say('[2,"1","Heartbeat",{}]')) == [4, "1", code, "because", {"cause": "ä"}]


@pytest.mark.parametrize("code", ["NotImplemented", "NotSupported", "InternalError", "GenericError"])
async def test_a_callerror_of_the_charger_reaches_the_csms(port: int, csms: Csms, code: str) -> None:
    async with json_charger(port) as charger:
        charger.manner = refusing(code, "because")
        with pytest.raises(OCPPError) as caught:
            await csms.command("CP-J", "Reset", {"type": "Hard"})
    assert (caught.value.code, caught.value.description) == (code, "because")


async def test_calls_may_cross(port: int, csms: Csms) -> None:
    release = asyncio.Event()

    async def holding(end: Stack16, raw: str) -> None:
        if exact(raw)[0] == 2:
            await release.wait()
        await properly(end, raw)

    csms.manner = holding
    async with json_charger(port) as charger:
        starting = asyncio.create_task(charger.make(*CALLS[2][:2]))
        await csms.opened.wait()
        assert await csms.command("CP-J", "Reset", {"type": "Soft"}) == {"status": "Accepted"}
        assert not starting.done()
        release.set()
        assert (await starting)["transactionId"] == 4711


async def test_a_charger_that_does_not_answer_is_an_error_for_the_csms(open_gateway: Any, csms: Csms) -> None:
    gateway = await open_gateway(server={"answer_timeout": 0.2})
    async with json_charger(gateway.ports[0]) as charger:
        charger.manner = silently
        with pytest.raises(OCPPError) as caught:
            await csms.command("CP-J", "Reset", {"type": "Hard"})
    assert (caught.value.code, caught.value.description) == ("GenericError", "no answer in 0.2 s")


async def test_a_charger_that_leaves_in_the_middle_is_an_error_for_the_csms(port: int, csms: Csms) -> None:
    async with json_charger(port) as charger:
        charger.manner = _leaving
        with pytest.raises(OCPPError) as caught:
            await csms.command("CP-J", "Reset", {"type": "Hard"})
    assert caught.value.code == "GenericError"


async def _leaving(end: Stack16, raw: str) -> None:
    await end.connection.close()

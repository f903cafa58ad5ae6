"""gateway.backends.embedded: the accept-all CSMS, judged by the published schemas."""

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import ocpp.messages
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from gateway.backends import Backend
from gateway.backends.embedded import Csms, EmbeddedBackend
from gateway.config import Embedded
from gateway.exchange import Ids
from gateway.traffic.record import Record
from tests.ws import DEADLINE
from translations.messages import Answer, Call, Error, Result

CALLS: dict[str, dict[str, Any]] = {
    "Authorize": {"idTag": "T"},
    "BootNotification": {"chargePointVendor": "V", "chargePointModel": "M"},
    "DataTransfer": {"vendorId": "V"},
    "DiagnosticsStatusNotification": {"status": "Idle"},
    "FirmwareStatusNotification": {"status": "Idle"},
    "Heartbeat": {},
    "LogStatusNotification": {"status": "Idle"},
    "MeterValues": {"connectorId": 1, "meterValue": []},
    "SecurityEventNotification": {"type": "T", "timestamp": "2026-01-02T03:04:05Z"},
    "SignCertificate": {"csr": "C"},
    "SignedFirmwareStatusNotification": {"status": "Idle"},
    "StartTransaction": {"connectorId": 1, "idTag": "T", "meterStart": 0, "timestamp": "2026-01-02T03:04:05Z"},
    "StatusNotification": {"connectorId": 1, "errorCode": "NoError", "status": "Available"},
    "StopTransaction": {"transactionId": 1, "meterStop": 0, "timestamp": "2026-01-02T03:04:05Z"},
}


class Rig:
    def __init__(self) -> None:
        self.records = list[Record]()
        config = Embedded(kind="embedded", name="embedded", interval=77)
        self.backend = EmbeddedBackend(config, self.refuse, self.records.append, Ids(), drain=1)

    async def refuse(self, name: str, call: Call) -> Answer:
        raise AssertionError(f"{name} commands nothing")

    async def ask(self, action: str, **payload: Any) -> dict[str, Any]:
        answer = await self.backend.exchange(Call(action, payload, "", "CP-1"))
        assert isinstance(answer, Result)
        return answer.payload


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    await rig.backend.start()
    yield rig
    await rig.backend.close()


@pytest.mark.parametrize("action", sorted(CALLS))
async def test_every_answer_is_valid_by_the_published_schema(rig: Rig, action: str) -> None:
    payload = await rig.ask(action, **CALLS[action])
    result = ocpp.messages.CallResult("1", payload, action)
    await ocpp.messages.validate_payload(result, "1.6")


async def test_a_boot_is_accepted_with_the_configured_interval(rig: Rig) -> None:
    payload = await rig.ask("BootNotification", **CALLS["BootNotification"])
    assert list(payload) == ["status", "currentTime", "interval"]
    assert (payload["status"], payload["interval"]) == ("Accepted", 77)
    assert datetime.strptime(payload["currentTime"], "%Y-%m-%dT%H:%M:%S.%fZ")
    assert len(payload["currentTime"]) == len("2026-01-02T03:04:05.678Z")


async def test_transaction_ids_increase(rig: Rig) -> None:
    first, second = [(await rig.ask("StartTransaction", **CALLS["StartTransaction"]))["transactionId"] for _ in "ab"]
    assert second == first + 1
    assert 0 < first < 2**31 - 1


async def test_transaction_ids_begin_elsewhere_after_a_restart() -> None:
    start = Call("StartTransaction", {}, "1")
    first = {csms.answer(start).payload["transactionId"] for csms in (Csms(1), Csms(1), Csms(1))}  # type: ignore[union-attr]
    assert len(first) > 1


async def test_a_stop_tells_of_the_tag_only_if_one_came(rig: Rig) -> None:
    assert await rig.ask("StopTransaction", **CALLS["StopTransaction"]) == {}
    accepted = {"idTagInfo": {"status": "Accepted"}}
    assert await rig.ask("StopTransaction", idTag="T", **CALLS["StopTransaction"]) == accepted


async def test_an_unknown_action_is_not_implemented(rig: Rig) -> None:
    answer = await rig.backend.exchange(Call("Dance", {}, "g1", "CP-1"))
    text = "expected an action of OCPP 1.6 for a central system, got Dance"
    assert answer == Error("NotImplemented", text, {}, "g1", "Dance")


async def test_it_is_reached_over_a_socket_like_any_other_backend(rig: Rig) -> None:
    backend: Backend = rig.backend
    backend.arrive("CP-1")
    assert backend.up("CP-1")
    await rig.ask("Heartbeat")
    assert [(r.leg, r.direction, r.wire) for r in rig.records] == [("embedded", ">", "json"), ("embedded", "<", "json")]


async def test_a_listener_may_leave(rig: Rig) -> None:
    rig.backend.offer(Call("Heartbeat", {}, "", "CP-1"))
    rig.backend.leave("CP-1")
    assert not rig.backend.up("CP-1")


async def test_a_charger_without_a_gateway_between_is_told_what_is_wrong() -> None:
    csms = Csms(1)
    url = (await csms.start()).replace("{identity}", "CP-1")
    async with connect(url, subprotocols=[Subprotocol("ocpp1.6")], proxy=None) as socket, asyncio.timeout(DEADLINE):
        await socket.send("nonsense")
        with pytest.raises(ConnectionClosed, match="expected JSON"):
            await socket.recv()
    await csms.close()


def test_nothing_is_exchanged_before_the_start() -> None:
    with pytest.raises(RuntimeError, match="expected backend embedded to be started"):
        Rig().backend.up("CP-1")

"""A SOAP charger has no connection; towards the CSMS the gateway holds one for it, and keeps to OCPP's rules of booting."""

import time
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest
import time_machine
from ocpp.exceptions import OCPPError
from zeep.exceptions import Fault

from gateway import app
from gateway.config import Ocppj, Policy, Presence, Rewrite, Route
from tests.conftest import ChargePoints, OpenGateway
from tests.peers.csms import Csms, running_csms
from tests.peers.envelopes import envelope, post
from tests.peers.json_charger import json_charger
from tests.peers.soap_charger import soap_charger

BOOT = {"chargePointVendor": "Élan", "chargePointModel": "Duo", "firmwareVersion": "1.10"}
BOOT_CALL = ("BootNotification", BOOT)
RESET = {"type": "Soft"}
ACCEPTED = {"status": "Accepted"}
REMOTE_START = {"idTag": "A", "connectorId": 1}


@pytest.fixture
def quick_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the gateway look at silent chargers often."""
    monkeypatch.setattr(app, "TICK", 0.02)


async def test_the_session_is_opened_by_the_first_message_and_kept(open_gateway: OpenGateway, csms: Csms, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("geheim\n")
    gateway = await open_gateway(backend={"password_file": secret})
    assert not len(csms.handshakes)
    for _ in range(3):
        assert (await post(gateway.ports[0], envelope(identity="CP Ä/1"))).status == 200
    (handshake,) = csms.handshakes
    assert (handshake.identity, handshake.subprotocols) == ("CP Ä/1", ("ocpp1.6",))
    assert handshake.authorization == f"Basic {b64encode('CP Ä/1:geheim'.encode()).decode()}"


async def test_without_a_password_no_credentials_are_sent(port: int, csms: Csms) -> None:
    await post(port, envelope())
    assert csms.handshakes[0].authorization == ""


@pytest.mark.usefixtures("quick_ticks")
async def test_the_session_is_closed_when_the_charger_has_been_silent(open_gateway: OpenGateway, csms: Csms) -> None:
    gateway = await open_gateway(presence=Presence(offline_after=600))
    await post(gateway.ports[0], envelope())
    with time_machine.travel(time.time() + 590):
        await post(gateway.ports[0], envelope())
    with time_machine.travel(time.time() + 1180):
        gateway.roster.sweep()
        assert gateway.backends["csms"].up("CP-1")
    with time_machine.travel(time.time() + 1200):
        assert await csms.closed.wait() == "CP-1"


@pytest.mark.usefixtures("quick_ticks")
async def test_by_default_three_heartbeats_may_be_missed(open_gateway: OpenGateway, csms: Csms) -> None:
    csms.answers["BootNotification"]["interval"] = 3600
    gateway = await open_gateway()
    async with soap_charger(gateway.ports[0], "1.6", "CP-1") as charger:
        await charger.make(*BOOT_CALL)
    with time_machine.travel(time.time() + 3 * 3600 - 10):
        gateway.roster.sweep()
        assert gateway.backends["csms"].up("CP-1")
    with time_machine.travel(time.time() + 3 * 3600 + 10):
        assert await csms.closed.wait() == "CP-1"


@pytest.mark.usefixtures("quick_ticks")
async def test_a_charger_that_comes_back_gets_a_session_again(open_gateway: OpenGateway, csms: Csms) -> None:
    gateway = await open_gateway()
    await post(gateway.ports[0], envelope())
    with time_machine.travel(time.time() + 1000):
        await csms.closed.wait()
        assert (await post(gateway.ports[0], envelope())).status == 200
    assert len(csms.opened) == 2


async def test_a_charger_may_change_its_wire_and_change_it_back(port: int, csms: Csms, charge_point: ChargePoints) -> None:
    point = charge_point("1.6")
    for _ in range(2):
        await post(port, envelope(version="1.6", sender=point.url))
        await csms.command("CP-1", "Reset", RESET)
        async with json_charger(port, "CP-1") as charger:
            await csms.command("CP-1", "Reset", RESET)
        assert [call.action for call in charger.heard] == ["Reset"]
        await csms.closed.wait()
    assert [action for action, *_ in point.heard] == ["Reset", "Reset"]


# --- restarts


async def restarted(open_gateway: OpenGateway, csms: Csms, callback: str = "", **changes: Any) -> None:
    """A SOAP charger boots, then the gateway stops and another starts on the same state."""
    gateway = await open_gateway(**changes)
    async with soap_charger(gateway.ports[0], "1.5", "CP-1", callback) as charger:
        await charger.make(*BOOT_CALL)
    await gateway.stop()
    await csms.closed.wait()
    seen = len(csms.opened)
    await open_gateway(**changes)
    await csms.opened.wait(since=seen)


async def test_after_a_restart_the_session_is_opened_without_a_message(open_gateway: OpenGateway, csms: Csms) -> None:
    await restarted(open_gateway, csms)
    assert [handshake.identity for handshake in csms.handshakes] == ["CP-1", "CP-1"]
    assert csms.told("CP-1") == [BOOT_CALL]


async def test_after_a_restart_the_charger_is_announced_where_that_is_configured(open_gateway: OpenGateway, csms: Csms) -> None:
    await restarted(open_gateway, csms, backend={"announce": True})
    await csms.heard.wait(since=1)
    assert csms.told("CP-1") == [BOOT_CALL, BOOT_CALL]


async def test_a_reconnect_announces_the_charger_again(open_gateway: OpenGateway, csms: Csms) -> None:
    gateway = await open_gateway(backend={"announce": True})
    async with soap_charger(gateway.ports[0], "1.6", "CP-1") as charger:
        await charger.make(*BOOT_CALL)
        await (await csms.charger("CP-1")).connection.close()
        await csms.heard.wait(since=1)
        await charger.make("Heartbeat", {})
    assert csms.told("CP-1") == [BOOT_CALL, BOOT_CALL, ("Heartbeat", {})]


@pytest.mark.parametrize("status", ["Pending", "Rejected"])
async def test_an_announcement_that_is_not_accepted_locks_nobody_out(
    open_gateway: OpenGateway, csms: Csms, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    monkeypatch.setattr("gateway.app.ANNOUNCE_AGAIN", 0.02)
    gateway = await open_gateway(backend={"announce": True})
    async with soap_charger(gateway.ports[0], "1.6", "CP-1") as charger:
        await charger.make(*BOOT_CALL)
        csms.answers["BootNotification"] |= {"status": status, "interval": 0}
        await (await csms.charger("CP-1")).connection.close()
        await csms.heard.wait(since=2)  # announced, and announced again
        await charger.make("Heartbeat", {})
    assert csms.told("CP-1")[:3] == [BOOT_CALL] * 3


async def test_after_a_restart_commands_reach_the_charger(
    open_gateway: OpenGateway, csms: Csms, charge_point: ChargePoints
) -> None:
    point = charge_point("1.5")
    await restarted(open_gateway, csms, point.url)
    assert await csms.command("CP-1", "Reset", RESET) == {"status": "Accepted"}
    assert point.heard == [("Reset", "CP-1", RESET)]


# --- registration


@pytest.mark.parametrize("status", ["Pending", "Rejected"])
async def test_before_it_is_accepted_a_charger_may_only_boot(port: int, csms: Csms, status: str) -> None:
    csms.answers["BootNotification"]["status"] = status
    async with soap_charger(port, "1.6", "CP-1") as charger:
        assert (await charger.make(*BOOT_CALL))["status"] == status
        assert await fault(charger, "Heartbeat") == "SecurityError"
        csms.answers["BootNotification"]["status"] = "Accepted"
        await charger.make(*BOOT_CALL)
        await charger.make("Heartbeat", {})
    assert csms.told("CP-1") == [BOOT_CALL, BOOT_CALL, ("Heartbeat", {})]


async def fault(charger: Any, action: str, payload: dict[str, Any] | None = None) -> str:
    """The subcode of the fault that answers a call."""
    with pytest.raises(Fault) as caught:
        await charger.make(action, payload or {})
    return str(caught.value.subcodes[0].localname)


async def test_the_gate_holds_for_json_chargers_too(port: int, csms: Csms) -> None:
    csms.answers["BootNotification"]["status"] = "Rejected"
    async with json_charger(port) as charger:
        await charger.make(*BOOT_CALL)
        with pytest.raises(OCPPError) as caught:
            await charger.make("Heartbeat", {})
    assert caught.value.code == "SecurityError"
    assert csms.told("CP-J") == [BOOT_CALL]


async def test_the_gate_survives_a_restart(open_gateway: OpenGateway, csms: Csms) -> None:
    csms.answers["BootNotification"]["status"] = "Pending"
    gateway = await open_gateway()
    async with soap_charger(gateway.ports[0], "1.6", "CP-1") as charger:
        await charger.make(*BOOT_CALL)
    await gateway.stop()
    again = await open_gateway()
    async with soap_charger(again.ports[0], "1.6", "CP-1") as charger:
        assert await fault(charger, "Heartbeat") == "SecurityError"


@pytest.mark.parametrize(
    ("status", "action", "payload", "passes"),
    [
        ("Pending", "RemoteStartTransaction", REMOTE_START, False),
        ("Pending", "RemoteStopTransaction", {"transactionId": 1}, False),
        ("Pending", "Reset", RESET, True),
        ("Pending", "GetConfiguration", {}, True),
        ("Rejected", "Reset", RESET, False),
        ("Accepted", "RemoteStartTransaction", REMOTE_START, True),
    ],
)
async def test_what_a_csms_may_command_before_it_accepts(
    port: int, csms: Csms, charge_point: ChargePoints, status: str, action: str, payload: dict[str, Any], passes: bool
) -> None:
    csms.answers["BootNotification"]["status"] = status
    point = charge_point("1.6")
    point.answer("GetConfiguration", {})
    async with soap_charger(port, "1.6", "CP-1", point.url) as charger:
        await charger.make(*BOOT_CALL)
    try:
        await csms.command("CP-1", action, payload)
    except OCPPError as error:
        assert error.code == "SecurityError"
    assert [heard[0] for heard in point.heard] == [action] * passes


async def test_a_triggered_message_passes_while_pending(port: int, csms: Csms, charge_point: ChargePoints) -> None:
    csms.answers["BootNotification"]["status"] = "Pending"
    point = charge_point("1.6")
    async with soap_charger(port, "1.6", "CP-1", point.url) as charger:
        await charger.make(*BOOT_CALL)
        await csms.command("CP-1", "TriggerMessage", {"requestedMessage": "Heartbeat"})
        await charger.make("Heartbeat", {})
        assert await fault(charger, "Authorize", {"idTag": "A"}) == "SecurityError"
    assert csms.told("CP-1") == [BOOT_CALL, ("Heartbeat", {})]


async def test_a_trigger_that_the_charger_refuses_opens_nothing(port: int, csms: Csms, charge_point: ChargePoints) -> None:
    csms.answers["BootNotification"]["status"] = "Pending"
    point = charge_point("1.6")
    point.answer("TriggerMessage", {"status": "Rejected"})
    async with soap_charger(port, "1.6", "CP-1", point.url) as charger:
        await charger.make(*BOOT_CALL)
        await csms.command("CP-1", "TriggerMessage", {"requestedMessage": "Heartbeat"})
        assert await fault(charger, "Heartbeat") == "SecurityError"


async def test_an_announcement_is_in_the_backends_words(open_gateway: OpenGateway, csms: Csms) -> None:
    row = Rewrite(name="model", actions=("BootNotification",), set={"chargePointModel": "other"})
    await restarted(open_gateway, csms, backend={"announce": True}, rewrites=(row,))
    await csms.heard.wait(since=1)
    assert [payload["chargePointModel"] for _, payload in csms.told("CP-1")] == ["other", "other"]


async def test_a_backend_that_is_not_to_hear_of_boots_hears_no_announcement(open_gateway: OpenGateway, csms: Csms) -> None:
    row = Policy(actions=("BootNotification",), do="answer", payload={**ACCEPTED, "currentTime": "{now}", "interval": 300})
    gateway = await open_gateway(backend={"announce": True}, policies=(row,))
    async with soap_charger(gateway.ports[0], "1.6", "CP-1") as charger:
        await charger.make(*BOOT_CALL)
        await (await csms.charger("CP-1")).connection.close()
        await csms.opened.wait(since=1)
        await charger.make("Heartbeat", {})
    assert csms.told("CP-1") == [("Heartbeat", {})]


async def test_a_listener_that_is_told_of_a_charger_does_not_register_it(open_gateway: OpenGateway, csms: Csms) -> None:
    csms.answers["BootNotification"]["status"] = "Rejected"
    async with running_csms() as audit:
        listener = Ocppj(kind="ocppj", name="audit", url=audit.url, announce=True, backoff_min=0.02, backoff_max=0.05)
        gateway = await open_gateway(others=(listener,), routes=(Route(answer=("csms",), listen=("audit",)),))
        async with soap_charger(gateway.ports[0], "1.6", "CP-1") as charger:
            await charger.make(*BOOT_CALL)
            await audit.heard.wait(since=1)  # the announcement, and what it listens to
            await (await audit.charger("CP-1")).connection.close()
            await audit.heard.wait(since=2)
            with pytest.raises(OCPPError, match="only listens"):  # what it answered before has arrived by then
                await audit.command("CP-1", "Reset", RESET)
            assert await fault(charger, "Heartbeat") == "SecurityError"

"""Several backends: one answers, the others only hear, and neither waits for the other."""

from collections.abc import AsyncIterator

import pytest
from ocpp.exceptions import OCPPError

from gateway.config import Ocppj, Route
from tests.conftest import OpenGateway
from tests.peers.csms import Csms, running_csms
from tests.peers.envelopes import envelope, post
from tests.peers.json_charger import json_charger
from tests.peers.stack16 import refusing, silently


@pytest.fixture
async def audit() -> AsyncIterator[Csms]:
    """A second CSMS."""
    async with running_csms() as audit:
        yield audit


def listening(audit: Csms) -> dict[str, object]:
    """A configuration in which it hears."""
    other = Ocppj(kind="ocppj", name="audit", url=audit.url, backoff_min=0.02, backoff_max=0.05)
    return {"others": (other,), "routes": (Route(answer=("csms",), listen=("audit",)),)}


def standing_in(audit: Csms) -> dict[str, object]:
    """A configuration in which it answers when the first cannot."""
    return listening(audit) | {"routes": (Route(answer=("csms", "audit"), failover_after=0),)}


@pytest.mark.parametrize("manner", [silently, refusing("InternalError")])
async def test_a_listener_hears_what_passes_and_its_answer_counts_for_nothing(
    open_gateway: OpenGateway, csms: Csms, audit: Csms, manner: object
) -> None:
    audit.manner = manner  # type: ignore[assignment]
    gateway = await open_gateway(**listening(audit))
    assert (await post(gateway.ports[0], envelope())).status == 200
    assert (await audit.heard.wait()).action == "Heartbeat"
    assert csms.told("CP-1") == [("Heartbeat", {})]


async def test_a_listener_that_is_down_is_not_missed(open_gateway: OpenGateway, csms: Csms, audit: Csms) -> None:
    await audit.stop()
    gateway = await open_gateway(**listening(audit))
    assert (await post(gateway.ports[0], envelope())).status == 200


async def test_a_listener_may_not_command(open_gateway: OpenGateway, csms: Csms, audit: Csms) -> None:
    gateway = await open_gateway(**listening(audit))
    async with json_charger(gateway.ports[0], "CP-1") as charger:
        with pytest.raises(OCPPError) as caught:
            await audit.command("CP-1", "Reset", {"type": "Hard"})
        assert caught.value.code == "SecurityError"
        assert await csms.command("CP-1", "Reset", {"type": "Soft"}) == {"status": "Accepted"}
    assert [call.payload for call in charger.heard] == [{"type": "Soft"}]


async def test_the_next_backend_answers_while_the_first_is_away(open_gateway: OpenGateway, csms: Csms, audit: Csms) -> None:
    await csms.stop()
    gateway = await open_gateway(**standing_in(audit))
    assert (await post(gateway.ports[0], envelope())).status == 200
    await csms.start()
    with pytest.raises(OCPPError):  # it has told no address; but now the session is known to be open at both ends
        await csms.command("CP-1", "ClearCache", {})
    assert (await post(gateway.ports[0], envelope())).status == 200
    assert len(csms.told("CP-1")) == 1


async def test_a_charger_that_no_route_fits_is_told(open_gateway: OpenGateway, csms: Csms) -> None:
    gateway = await open_gateway(routes=(Route(chargers="CP-*", answer=("csms",)),))
    assert (await post(gateway.ports[0], envelope(identity="other"))).status == 500
    assert (await post(gateway.ports[0], envelope(identity="cp-9"))).status == 200

"""A JSON charger made with the ocpp package over a websockets client."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from tests.peers.seen import DEADLINE, Seen
from tests.peers.stack16 import Heard, Manner, Payload, Stack16, properly

LATER = "2024-05-01T12:00:00.000Z"
SCHEDULE: Payload = {
    "chargingRateUnit": "A",
    "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 16.0}, {"startPeriod": 60, "limit": 6.5, "numberPhases": 1}],
    "minChargingRate": 0.1,
}


def answers() -> dict[str, Payload]:
    """What an obliging charger says."""
    return {
        "CancelReservation": {"status": "Accepted"},
        "CertificateSigned": {"status": "Accepted"},
        "ChangeAvailability": {"status": "Scheduled"},
        "ChangeConfiguration": {"status": "RebootRequired"},
        "ClearCache": {"status": "Accepted"},
        "ClearChargingProfile": {"status": "Unknown"},
        "DataTransfer": {"status": "UnknownMessageId", "data": "äöü 充電"},
        "DeleteCertificate": {"status": "NotFound"},
        "ExtendedTriggerMessage": {"status": "NotImplemented"},
        "GetCompositeSchedule": {
            "status": "Accepted",
            "connectorId": 1,
            "scheduleStart": LATER,
            "chargingSchedule": SCHEDULE,
        },
        "GetConfiguration": {
            "configurationKey": [{"key": "HeartbeatInterval", "readonly": False, "value": "0300"}],
            "unknownKey": ["Frobnicate"],
        },
        "GetDiagnostics": {"fileName": "diagnostics.zip"},
        "GetInstalledCertificateIds": {"status": "NotFound"},
        "GetLocalListVersion": {"listVersion": -1},
        "GetLog": {"status": "Accepted", "filename": "security.log"},
        "InstallCertificate": {"status": "Rejected"},
        "RemoteStartTransaction": {"status": "Accepted"},
        "RemoteStopTransaction": {"status": "Rejected"},
        "ReserveNow": {"status": "Occupied"},
        "Reset": {"status": "Accepted"},
        "SendLocalList": {"status": "VersionMismatch"},
        "SetChargingProfile": {"status": "NotSupported"},
        "SignedUpdateFirmware": {"status": "AcceptedCanceled"},
        "TriggerMessage": {"status": "Accepted"},
        "UnlockConnector": {"status": "UnlockFailed"},
        "UpdateFirmware": {},
    }


class JsonCharger(Stack16):
    """The charger. `make` calls the central system; `say` sends a raw frame, `frames` is what came raw."""

    def __init__(self, identity: str, connection: ClientConnection) -> None:
        self.answers = answers()
        self.manner: Manner = properly
        self.frames: Seen[str] = Seen()
        super().__init__(identity, connection, self.answers, Seen[Heard]())

    async def say(self, text: str) -> str:
        """Send a frame and give the next that arrives."""
        before = len(self.frames)
        await self.connection.send(text)
        return await self.frames.wait(since=before)

    async def run(self) -> None:
        """Read until the socket is closed."""
        async with asyncio.TaskGroup() as tasks:
            with suppress(ConnectionClosed):
                async for raw in self.connection:
                    self.frames.add(str(raw))
                    tasks.create_task(self.manner(self, str(raw)))


@asynccontextmanager
async def json_charger(port: int, identity: str = "CP-J", **options: Any) -> AsyncIterator[JsonCharger]:
    """A charger with an open socket at the gateway."""
    url = f"ws://127.0.0.1:{port}/ocpp/{identity}"
    async with connect(url, subprotocols=[Subprotocol("ocpp1.6")], compression=None, proxy=None, **options) as connection:
        charger = JsonCharger(identity, connection)
        reading = asyncio.create_task(charger.run())
        yield charger
        await connection.close()
        async with asyncio.timeout(DEADLINE):
            await reading

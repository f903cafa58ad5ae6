"""A CSMS made with the ocpp package on a websockets server: accepts all, keeps what it hears, commands chargers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from tests.peers.seen import Seen
from tests.peers.stack16 import Heard, Manner, Payload, Stack16, properly

NOW = "2024-05-01T10:00:00Z"
WELCOME: Payload = {"idTagInfo": {"status": "Accepted", "expiryDate": "2026-12-31T23:00:00Z", "parentIdTag": "FLEET-7"}}


def answers() -> dict[str, Payload]:
    """What a CSMS that is content with everything says."""
    return {
        "Authorize": dict(WELCOME),
        "BootNotification": {"status": "Accepted", "currentTime": NOW, "interval": 300},
        "DataTransfer": {"status": "Accepted", "data": "thanks & <regards>"},
        "DiagnosticsStatusNotification": {},
        "FirmwareStatusNotification": {},
        "Heartbeat": {"currentTime": NOW},
        "LogStatusNotification": {},
        "MeterValues": {},
        "SecurityEventNotification": {},
        "SignCertificate": {"status": "Accepted"},
        "SignedFirmwareStatusNotification": {},
        "StartTransaction": {"transactionId": 4711, **WELCOME},
        "StatusNotification": {},
        "StopTransaction": dict(WELCOME),
    }


@dataclass(frozen=True, slots=True)
class Handshake:
    """How a charger's session was opened."""

    identity: str
    subprotocols: tuple[str, ...]
    authorization: str


class Csms:
    """The central system. `manner` is what it does with frames, `refusal` the status it refuses handshakes with."""

    def __init__(self) -> None:
        self.answers = answers()
        self.manner: Manner = properly
        self.refusal: HTTPStatus | None = None
        self.heard: Seen[Heard] = Seen()
        self.handshakes: Seen[Handshake] = Seen()
        self.opened: Seen[Stack16] = Seen()
        self.closed: Seen[str] = Seen()
        self.port = 0
        self._server: Server | None = None

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}/ocpp/{{identity}}"

    async def start(self) -> None:
        """Listen, again on the same port after a stop."""
        if self._server is not None:
            return
        self._server = await serve(
            self._talk,
            "127.0.0.1",
            self.port,
            subprotocols=[Subprotocol("ocpp1.6")],
            process_request=self._greet,
            compression=None,
            close_timeout=0.2,
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            self._server = None

    async def charger(self, identity: str) -> Stack16:
        """The newest session that stands for a charger, as soon as there is one."""
        await self.opened.wait(lambda end: end.id == identity)
        return [end for end in self.opened if end.id == identity][-1]

    async def command(self, identity: str, action: str, payload: Payload, **options: Any) -> Payload:
        """Make a call to a charger and give its result; raises the package's exception for a CALLERROR."""
        return await (await self.charger(identity)).make(action, payload, **options)

    def told(self, identity: str) -> list[tuple[str, Payload]]:
        """Every call of a charger, without the announcements of nobody."""
        return [(call.action, call.payload) for call in self.heard if call.identity == identity]

    def _greet(self, connection: ServerConnection, request: Request) -> Response | None:
        offered = request.headers.get("Sec-WebSocket-Protocol", "")
        names = tuple(name.strip() for name in offered.split(","))
        self.handshakes.add(Handshake(_identity(request), names, request.headers.get("Authorization", "")))
        return None if self.refusal is None else connection.respond(self.refusal, "go away\n")

    async def _talk(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        end = Stack16(_identity(connection.request), connection, self.answers, self.heard)
        self.opened.add(end)
        async with asyncio.TaskGroup() as tasks:
            with suppress(ConnectionClosed):
                async for raw in connection:
                    tasks.create_task(self._take(end, str(raw)))
        self.closed.add(end.id)

    async def _take(self, end: Stack16, raw: str) -> None:
        with suppress(ConnectionClosed):
            await self.manner(end, raw)


def _identity(request: Request) -> str:
    return unquote(request.path.rpartition("/")[2])


@asynccontextmanager
async def running_csms() -> AsyncIterator[Csms]:
    """A CSMS on a free port."""
    csms = Csms()
    await csms.start()
    try:
        yield csms
    finally:
        await csms.stop()

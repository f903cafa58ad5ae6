"""A small accept-all CSMS inside the gateway, reached over a real WebSocket like any other.

It remembers nothing: it is what the gateway runs on without a configuration, and what examples and tests talk to.
"""

import itertools
import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from gateway.backends import Commands
from gateway.backends.ocppj import OcppjBackend
from gateway.config import Embedded, Ocppj
from gateway.dial import FRAME_LIMIT, SUBPROTOCOL
from gateway.exchange import Ids, Standing
from gateway.traffic.record import Tap
from translations import ocppj
from translations.errors import NotImplemented_, OcppError
from translations.messages import Answer, Call, Payload, Result

ACCEPTED: Mapping[str, str] = MappingProxyType({"status": "Accepted"})


class EmbeddedBackend:
    """The CSMS and the backend that reaches it. `options` are those of OcppjBackend."""

    def __init__(self, config: Embedded, commands: Commands, tap: Tap, ids: Ids, **options: Any) -> None:
        self.name = config.name
        self._csms = Csms(config.interval, options.get("frame_limit", FRAME_LIMIT))
        self._commands, self._tap, self._ids, self._options = commands, tap, ids, options
        self._started: OcppjBackend | None = None

    async def start(self) -> None:
        """Open the CSMS's port; nothing can be exchanged before."""
        url = await self._csms.start()
        config = Ocppj(kind="ocppj", name=self.name, url=url)
        self._started = OcppjBackend(config, self._commands, self._tap, self._ids, **self._options)

    @property
    def backend(self) -> OcppjBackend:
        """The backend proper, for its counters too."""
        if self._started is None:
            raise RuntimeError(f"expected backend {self.name} to be started")
        return self._started

    def arrive(self, identity: str) -> None:
        self.backend.arrive(identity)

    def leave(self, identity: str) -> None:
        self.backend.leave(identity)

    def up(self, identity: str) -> bool:
        return self.backend.up(identity)

    def standing(self, identity: str) -> Standing:
        return self.backend.standing(identity)

    async def exchange(self, call: Call, within: float | None = None) -> Answer:
        return await self.backend.exchange(call, within)

    def offer(self, call: Call) -> None:
        self.backend.offer(call)

    async def close(self, drain: float | None = None) -> None:
        if self._started:
            await self._started.close(drain)
        await self._csms.close()


class Csms:
    """Says yes to everything that OCPP 1.6 lets a charger ask."""

    def __init__(self, interval: int, frame_limit: int = FRAME_LIMIT) -> None:
        # A restart begins elsewhere, so that chargers do not see a transaction id again. Ids are 32 bits wide in most.
        self._transactions = itertools.count(random.randrange(1, 2**30))  # noqa: S311 - not a secret
        self._interval, self._frame_limit = interval, frame_limit
        self._server: Server | None = None
        self._answers: Mapping[str, Callable[[Payload], Payload]] = {
            "Authorize": _accept_tag,
            "BootNotification": self._boot,
            "DataTransfer": _accept,
            "DiagnosticsStatusNotification": _nothing,
            "FirmwareStatusNotification": _nothing,
            "Heartbeat": _heartbeat,
            "LogStatusNotification": _nothing,
            "MeterValues": _nothing,
            "SecurityEventNotification": _nothing,
            "SignCertificate": _accept,
            "SignedFirmwareStatusNotification": _nothing,
            "StartTransaction": self._start_transaction,
            "StatusNotification": _nothing,
            "StopTransaction": _stop_transaction,
        }

    async def start(self) -> str:
        """Listen on a free loopback port; gives the URL with a place for the identity."""
        self._server = await serve(
            self._serve,
            "127.0.0.1",
            0,
            subprotocols=[SUBPROTOCOL],
            compression=None,
            ping_interval=None,  # the other end, in this process, pings
            max_size=self._frame_limit,
        )
        port = self._server.sockets[0].getsockname()[1]
        return f"ws://127.0.0.1:{port}/{{identity}}"

    async def close(self) -> None:
        """Close the port and what is connected to it."""
        if self._server:
            self._server.close()
            await self._server.wait_closed()

    async def _serve(self, socket: ServerConnection) -> None:
        try:
            async for frame in socket:
                message = ocppj.decode(frame)
                if isinstance(message, Call):
                    await socket.send(ocppj.encode(self.answer(message)), text=True)
        except ConnectionClosed:
            return
        except OcppError as error:
            await socket.close(1002, error.text[:100])

    def answer(self, call: Call) -> Answer:
        """The answer to one call."""
        try:
            return Result(self._find(call.action)(call.payload), call.id, call.action)
        except OcppError as error:
            return error.as_error(call.id, call.action)

    def _find(self, action: str) -> Callable[[Payload], Payload]:
        answer = self._answers.get(action)
        if answer is None:
            raise NotImplemented_(f"expected an action of OCPP 1.6 for a central system, got {action}")
        return answer

    def _boot(self, payload: Payload) -> Payload:
        return {"status": "Accepted", "currentTime": _now(), "interval": self._interval}

    def _start_transaction(self, payload: Payload) -> Payload:
        return {"transactionId": next(self._transactions), "idTagInfo": dict(ACCEPTED)}


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _heartbeat(payload: Payload) -> Payload:
    return {"currentTime": _now()}


def _accept(payload: Payload) -> Payload:
    return dict(ACCEPTED)


def _accept_tag(payload: Payload) -> Payload:
    return {"idTagInfo": dict(ACCEPTED)}


def _stop_transaction(payload: Payload) -> Payload:
    return _accept_tag(payload) if "idTag" in payload else {}


def _nothing(payload: Payload) -> Payload:
    return {}

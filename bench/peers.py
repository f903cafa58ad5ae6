"""The bare relays that the gateway is measured against: the same libraries, and nothing between them.

`python -m bench.peers PORT CSMS_PORT` runs until it is terminated.
"""

import asyncio
import sys

import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from bench import samples
from translations import ocppj, soap
from translations.messages import Result, Side, Version

ACCEPTED = {"status": "Accepted", "currentTime": "2026-01-01T00:00:00Z", "interval": 86_400}


class BareSoap:
    """POST -> the charger's upstream socket -> a fixed answer, as one writes it with Starlette."""

    def __init__(self, csms: int) -> None:
        self._csms = csms
        self._sockets: dict[str, ClientConnection] = {}
        self._call = ocppj.encode(soap.decode(samples.small("BootNotification", Version.V15))[1]).decode()
        self._answer = soap.encode(Result(ACCEPTED, "1", "BootNotification"), Version.V15, Side.CENTRAL_SYSTEM).body

    async def post(self, request: Request) -> Response:
        """Take a call, unread."""
        await request.body()
        socket = await self._socket(request.path_params["charger"])
        await socket.send(self._call)
        await socket.recv()
        return Response(self._answer, media_type="application/soap+xml; charset=utf-8")

    async def _socket(self, charger: str) -> ClientConnection:
        socket = self._sockets.get(charger)
        if socket is None:
            socket = self._sockets[charger] = await _dial(self._csms, charger)
        return socket


class BareJson:
    """A charger's frame -> its upstream socket -> the answer's frame, one at a time, unread."""

    def __init__(self, csms: int) -> None:
        self._csms = csms

    async def relay(self, charger: WebSocket) -> None:
        """Run one charger's connection."""
        socket = await _dial(self._csms, charger.path_params["charger"])
        await charger.accept(subprotocol="ocpp1.6")
        try:
            while True:
                await socket.send(await charger.receive_text())
                answer = await socket.recv()
                assert isinstance(answer, str)
                await charger.send_text(answer)
        except WebSocketDisconnect:
            await socket.close()


async def _dial(csms: int, charger: str) -> ClientConnection:
    return await connect(
        f"ws://127.0.0.1:{csms}/ocpp/{charger}",
        subprotocols=[Subprotocol("ocpp1.6")],
        compression=None,
        proxy=None,
        ping_interval=30,
        ping_timeout=20,
        max_size=1024 * 1024,
    )


async def _bare(port: int, csms: int) -> None:
    routes = [
        Route("/soap/{charger}", BareSoap(csms).post, methods=["POST"]),
        WebSocketRoute("/ocpp/{charger}", BareJson(csms).relay),
    ]
    # As in gateway.listener.
    config = uvicorn.Config(
        Starlette(routes=routes),
        host="127.0.0.1",
        port=port,
        http="httptools",
        ws="websockets-sansio",
        ws_max_size=1024 * 1024,
        ws_ping_interval=30,
        ws_ping_timeout=30,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=75,
        backlog=2048,
    )
    await uvicorn.Server(config).serve()


def main(arguments: list[str]) -> None:
    """Be the bare relay."""
    port, csms = map(int, arguments)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_bare(port, csms))


if __name__ == "__main__":
    main(sys.argv[1:])

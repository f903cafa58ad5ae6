"""Both doors on one port, and what is told to whoever knocks at neither."""

from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway.chargers.ocppj import JsonDoor, refuse_http
from gateway.chargers.soap import SoapDoor
from gateway.config import Server
from gateway.gate import Gate
from gateway.paths import shown


class Doors:
    """Both doors on one port. What is on the way of every message is looked for first."""

    def __init__(self, gate: Gate, soap: SoapDoor, json: JsonDoor, config: Server) -> None:
        self._gate, self._soap, self._json = gate, soap, json
        self._others: ASGIApp = _elsewhere(config)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._gate.soap(scope) is not None:
            await self._soap(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._json(scope, receive, send)
        elif self._gate.busy(scope):
            await _too_many(scope, receive, send)
        elif self._gate.json(scope) is not None:
            await refuse_http(scope, receive, send)
        else:
            await self._others(scope, receive, send)


_too_many = PlainTextResponse("expected fewer requests from this address\n", status_code=429)


def _elsewhere(server: Server) -> PlainTextResponse:
    soap, json = shown(server.soap_paths), shown(server.json_paths)
    text = f"there is nothing here: SOAP chargers POST to {soap}, JSON chargers open a WebSocket at {json}\n"
    return PlainTextResponse(text, status_code=404)

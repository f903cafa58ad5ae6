"""The doors that show what passed."""

from collections.abc import Callable
from functools import partial
from urllib.parse import unquote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.inspector.filters import LISTED, wanted
from gateway.inspector.hiding import Hiding
from gateway.inspector.log import Log
from gateway.traffic import export
from gateway.traffic.exchanges import Exchange
from gateway.traffic.filters import Filter
from gateway.traffic.log import TrafficReader

_JSON = "application/json"

Hide = Callable[[Exchange], Exchange]
"""What is to be done to an exchange before it is shown."""


class Traffic:
    """Exchanges, as the command `traffic export` writes them."""

    def __init__(self, log: Log, hiding: Hiding) -> None:
        self._log, self._hiding = log, hiding

    async def all(self, request: Request) -> Response:
        """The newest that the filter lets through, or with `after` the next."""
        found = wanted(request.query_params, LISTED)
        hide = await self._hiding.of(request)
        return Response(await self._log.read(partial(_exchanges, wanted=found, hide=hide)), media_type=_JSON)

    async def one(self, request: Request) -> Response:
        """One exchange."""
        name = unquote(request.path_params["id"])
        found = await self._log.read(partial(_one, name=name, hide=await self._hiding.of(request)))
        if found is None:
            raise HTTPException(404, f"expected the number or the name of an exchange in the log, got {name[:60]}")
        return Response(found, media_type=_JSON)


def _exchanges(log: TrafficReader, wanted: Filter, hide: Hide) -> bytes:
    found = log.newest(wanted)
    told = {"exchanges": [export.as_object(hide(exchange)) for exchange in found.exchanges]}
    return export.line(told if found.searched is None else {**told, "searched": found.searched})


def _one(log: TrafficReader, name: str, hide: Hide) -> bytes | None:
    found = log.one(name)
    return None if found is None else export.line(export.as_object(hide(found)))

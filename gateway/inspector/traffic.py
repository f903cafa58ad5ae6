"""The doors that show what passed."""

import sqlite3
from functools import partial
from urllib.parse import unquote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.inspector.filters import LISTED, wanted
from gateway.inspector.log import Log
from gateway.traffic import export, query

_JSON = "application/json"


class Traffic:
    """Messages, as the command `traffic export` writes them."""

    def __init__(self, log: Log) -> None:
        self._log = log

    async def all(self, request: Request) -> Response:
        """The newest that the filter lets through, or with `after` the next."""
        found = wanted(request.query_params, LISTED)
        return Response(await self._log.read(partial(_messages, wanted=found)), media_type=_JSON)

    async def one(self, request: Request) -> Response:
        """Every message of an exchange."""
        name = unquote(request.path_params["id"])
        found = await self._log.read(partial(_exchange, name=name))
        if found is None:
            raise HTTPException(404, f"expected the id of a message or an exchange in the log, got {name[:60]}")
        return Response(found, media_type=_JSON)


def _messages(connection: sqlite3.Connection, wanted: query.Filter) -> bytes:
    return export.line({"messages": [export.as_object(row) for row in query.messages(connection, wanted)]})


def _exchange(connection: sqlite3.Connection, name: str) -> bytes | None:
    rows = query.exchange(connection, name)
    if not rows:
        return None
    return export.line({"exchange": rows[0].exchange, "messages": [export.as_object(row) for row in rows]})

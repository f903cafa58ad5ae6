"""The page, the documentation and their files, as they lie in the package."""

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

_HERE = Path(__file__).parent
_TYPES: Mapping[str, str] = MappingProxyType({".css": "text/css", ".js": "text/javascript"})


def openapi() -> dict[str, Any]:
    """The description of the API."""
    found: dict[str, Any] = json.loads((_HERE / "openapi.json").read_bytes())
    return found


class Pages:
    """What a browser loads; read once, sent from memory."""

    def __init__(self) -> None:
        self._openapi = (_HERE / "openapi.json").read_bytes()
        self._files = {p.name: p.read_bytes() for p in (_HERE / "static").iterdir() if p.is_file()}

    async def index(self, request: Request) -> Response:
        """The inspector."""
        return HTMLResponse(self._files["index.html"])

    async def docs(self, request: Request) -> Response:
        """The description of the API, for people."""
        return HTMLResponse(self._files["docs.html"])

    async def description(self, request: Request) -> Response:
        """The description of the API, for programs."""
        return Response(self._openapi, media_type="application/json")

    async def file(self, request: Request) -> Response:
        """A script or a style."""
        name = request.path_params["name"]
        kind = _TYPES.get(Path(name).suffix)
        if kind is None or name not in self._files:
            raise HTTPException(404, f"expected the name of a script or a style, got {name[:60]}")
        return Response(self._files[name], media_type=kind)

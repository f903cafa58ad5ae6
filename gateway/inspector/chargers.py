"""The doors that show the roster."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.inspector.replies import answer
from gateway.roster import Charger, Roster


class Chargers:
    """Who is here."""

    def __init__(self, roster: Roster) -> None:
        self._roster = roster

    async def all(self, request: Request) -> Response:
        """Every charger, by identity."""
        chargers = sorted(self._roster, key=lambda c: c.identity.casefold())
        return answer({"chargers": [as_object(c) for c in chargers]})

    async def one(self, request: Request) -> Response:
        """One charger."""
        return answer(as_object(find(self._roster, request)))


def find(roster: Roster, request: Request) -> Charger:
    """The charger that the path names."""
    identity = unquote(request.path_params["identity"])
    charger = roster.get(identity)
    if charger is None:
        raise HTTPException(404, f"expected a charger that has been here, got {identity[:255]}")
    return charger


def as_object(charger: Charger) -> dict[str, Any]:
    """The charger as JSON names it; null where it has not told."""
    boot = charger.boot or {}
    return {
        "identity": charger.identity,
        "wire": charger.wire,
        "version": charger.version,
        "state": charger.state,
        "lastSeen": _iso(charger.last_seen) if charger.last_seen else None,
        "peer": charger.peer or None,
        "callback": charger.callback or None,
        "registration": charger.registration or None,
        "interval": charger.interval or None,
        "vendor": boot.get("chargePointVendor"),
        "model": boot.get("chargePointModel"),
        "firmware": boot.get("firmwareVersion"),
    }


def _iso(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

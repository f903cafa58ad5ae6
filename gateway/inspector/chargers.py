"""The doors that show the roster."""

from collections.abc import Callable
from typing import Any
from urllib.parse import unquote

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.inspector.filters import told
from gateway.inspector.hiding import Hiding
from gateway.inspector.replies import answer
from gateway.inspector.situation import Situation, Tie
from gateway.redaction.redactor import Redactor
from gateway.roster import Charger, Roster
from gateway.state.numbers import Transaction
from gateway.traffic.export import iso

Look = Callable[[str], Situation]
"""Gives how the charger of an identity stands with its backends."""


class Chargers:
    """Who is here."""

    def __init__(self, roster: Roster, look: Look, hiding: Hiding) -> None:
        self._roster, self._look, self._hiding = roster, look, hiding

    async def all(self, request: Request) -> Response:
        """Every charger, or every one of a tenant, by identity."""
        tenant = told(request.query_params, ("tenant",)).get("tenant", "").casefold()
        redactor = await self._hiding.shown(request)
        found = (c for c in self._roster if not tenant or c.tenant.casefold() == tenant)
        chargers = sorted(found, key=lambda c: c.identity.casefold())
        return answer({"chargers": [as_object(c, redactor) for c in chargers]})

    async def one(self, request: Request) -> Response:
        """One charger, with how it stands with its backends."""
        charger = find(self._roster, request)
        backends, transactions = self._look(charger.identity)
        return answer(
            {
                **as_object(charger, await self._hiding.shown(request)),
                "backends": [_tie(each) for each in backends],
                "transactions": [_transaction(each) for each in transactions],
            }
        )


def find(roster: Roster, request: Request) -> Charger:
    """The charger that the path names."""
    identity = unquote(request.path_params["identity"])
    charger = roster.get(identity)
    if charger is None:
        raise HTTPException(404, f"expected a charger that has been here, got {identity[:255]}")
    return charger


def as_object(charger: Charger, redactor: Redactor | None) -> dict[str, Any]:
    """The charger as JSON names it; null where it has not told."""
    peer, callback = charger.peer, charger.callback
    if redactor is not None:
        peer, callback = redactor.peer(peer), redactor.address(callback)
    boot = charger.boot or {}
    return {
        "identity": charger.identity,
        "tenant": charger.tenant or None,
        "wire": charger.wire,
        "version": charger.version,
        "state": charger.state,
        "lastSeen": iso(charger.last_seen) if charger.last_seen else None,
        "peer": peer or None,
        "callback": callback or None,
        "registration": charger.registration or None,
        "interval": charger.interval or None,
        "vendor": boot.get("chargePointVendor"),
        "model": boot.get("chargePointModel"),
        "firmware": boot.get("firmwareVersion"),
    }


def _tie(tie: Tie) -> dict[str, Any]:
    return {
        "backend": tie.backend,
        "role": tie.role,
        "seat": tie.seat,
        "up": tie.up,
        "since": iso(tie.since),
        "letters": tie.letters,
    }


def _transaction(transaction: Transaction) -> dict[str, Any]:
    return {
        "number": transaction.number,
        "connector": transaction.connector,
        "owner": transaction.owner,
        "begun": iso(transaction.begun),
        "ids": transaction.ids,
    }

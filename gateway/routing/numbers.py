"""Numbers in messages: each backend sees its own, the charger one. Which fields hold which is one table.

Of transactions `running` knows. Reservations and charging profiles have numbers that backends choose, each for itself; where two
choose the same one, or one that not every wire carries, the charger is told another. The version of the local list is of the one
backend whose list it is.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple

from gateway.routing.running import LEAST, MOST_NUMBER, Running, minted
from gateway.state.ledger import Ledger
from gateway.state.numbers import Number, Transaction, numbers
from translations.messages import Answer, Call, Kind, Payload, Remark, Result

TRANSACTION, RESERVATION, PROFILE, LIST = "transaction", "reservation", "profile", "list"
MOST = 1_000_000
EACH = 200  # of a kind and a charger; the oldest are forgotten
MAPPED, UNKNOWN, FOREIGN = "numbers.mapped", "numbers.unknown", "numbers.foreign"


class Field(NamedTuple):
    """Where a number stands, and of what it is."""

    path: tuple[str, ...]
    kind: str


# In calls of chargers.
UP: Mapping[str, tuple[Field, ...]] = MappingProxyType(
    {
        "StartTransaction": (Field(("reservationId",), RESERVATION),),
        "StopTransaction": (Field(("transactionId",), TRANSACTION),),
        "MeterValues": (Field(("transactionId",), TRANSACTION),),
    }
)
# In calls of backends.
DOWN: Mapping[str, tuple[Field, ...]] = MappingProxyType(
    {
        "RemoteStopTransaction": (Field(("transactionId",), TRANSACTION),),
        "RemoteStartTransaction": (Field(("chargingProfile", "chargingProfileId"), PROFILE),),
        "SetChargingProfile": (
            Field(("csChargingProfiles", "transactionId"), TRANSACTION),  # first: where it means nothing, nothing is made
            Field(("csChargingProfiles", "chargingProfileId"), PROFILE),
        ),
        "ClearChargingProfile": (Field(("id",), PROFILE),),
        "ReserveNow": (Field(("reservationId",), RESERVATION),),
        "CancelReservation": (Field(("reservationId",), RESERVATION),),
    }
)
# What a command is answered whose number means nothing here, or something of another backend's (OCPP 1.6, 6 and 7).
_NONE_SUCH: Mapping[str, str] = MappingProxyType(
    {
        "RemoteStopTransaction": "Rejected",
        "SetChargingProfile": "Rejected",
        "ClearChargingProfile": "Unknown",
        "CancelReservation": "Rejected",
    }
)
_MAKES = frozenset({"RemoteStartTransaction", "SetChargingProfile", "ReserveNow"})
SEND_LIST, LIST_VERSION = "SendLocalList", "GetLocalListVersion"


class Missing(NamedTuple):
    """The backend has not heard of a transaction that the gateway knows."""

    transaction: Transaction


class Strange(NamedTuple):
    """Nobody here has heard of the transaction: it began before the gateway was there."""

    number: int


class Numbers:
    """The numbers of all chargers and backends."""

    def __init__(self, running: Running, ledger: Ledger, clock: Callable[[], float] = time.time) -> None:
        self._running, self._ledger, self._clock = running, ledger, clock
        self._known: dict[tuple[str, str], dict[int, Number]] = {}

    async def open(self) -> None:
        """Take over what an earlier run knew. Raises StateError."""
        for known in await numbers(self._ledger, MOST):
            self._known.setdefault((known.kind, known.charger), {})[known.ours] = known

    def abandon(self, identity: str) -> None:
        """Forget all numbers of a charger."""
        charger = identity.casefold()
        gone = [own for kind in (RESERVATION, PROFILE, LIST) if (own := self._known.pop((kind, charger), None))]
        self._ledger.note(rows=[each.gone() for own in gone for each in own.values()])

    # --- up

    async def up(self, call: Call, backend: str) -> Call | Missing | Strange:
        """A charger's call in the backend's numbers."""
        for field in UP.get(call.action, ()):
            ours = _get(call.payload, field.path)
            if not isinstance(ours, int):
                continue
            if field.kind == RESERVATION:
                call = self._reserved(call, backend, ours)
                continue
            known = await self._running.find(call.identity, ours)
            if known is None:
                return Strange(ours)
            if backend not in known.ids:
                return Missing(known)
            call = _told(call, field.path, known.ids[backend], backend)
        return call

    def _reserved(self, call: Call, backend: str, ours: int) -> Call:
        known = self._known.get((RESERVATION, call.identity.casefold()), {}).get(ours)
        if known is None:
            return call
        if known.backend == backend:
            return _told(call, ("reservationId",), known.theirs, backend)
        remark = Remark(Kind.LOST, "reservationId", f"the reservation is of {known.backend}", FOREIGN)
        payload = {name: value for name, value in call.payload.items() if name != "reservationId"}
        return replace(call, payload=payload, remarks=(*call.remarks, remark))

    # --- down

    async def down(self, call: Call, backend: str) -> Call | Result:
        """A backend's call in the charger's numbers, on disk before the charger hears it; or what it is answered at once."""
        if call.action == SEND_LIST:
            return self._list_sent(call, backend)
        for field in DOWN.get(call.action, ()):
            theirs = _get(call.payload, field.path)
            if not isinstance(theirs, int):
                continue
            ours = await self._ours(call, field.kind, backend, theirs)
            if ours is None:
                remark = Remark(Kind.LOST, ".".join(field.path), f"{theirs} is nothing of {backend} here: not passed on", FOREIGN)
                return Result({"status": _NONE_SUCH[call.action]}, call.id, call.action, (remark,))
            call = _told(call, field.path, ours, "the charger")
        return call

    async def _ours(self, call: Call, kind: str, backend: str, theirs: int) -> int | None:
        """What the charger calls it; None where it knows that number as something else."""
        if kind == TRANSACTION:
            return await self._transaction(call.identity, backend, theirs)
        own = self._known.get((kind, call.identity.casefold()), {})
        known = next((each for each in reversed(own.values()) if (each.backend, each.theirs) == (backend, theirs)), None)
        if known is not None:
            return known.ours
        if call.action in _MAKES:
            return await self._made(call.identity, kind, backend, theirs)
        return None if theirs in own else theirs

    async def _transaction(self, identity: str, backend: str, theirs: int) -> int | None:
        known = await self._running.called(identity, backend, theirs)
        if known is not None:
            return known.number
        return None if await self._running.find(identity, theirs) else theirs

    async def _made(self, identity: str, kind: str, backend: str, theirs: int) -> int:
        key = (kind, identity.casefold())
        own = self._known.setdefault(key, {})
        ours = theirs if LEAST <= theirs <= MOST_NUMBER and theirs not in own else minted(own)
        own[ours] = made = Number(*key, ours, backend, theirs)
        rows = [made.row(self._clock())]
        if len(own) > EACH:
            rows.append(own.pop(next(iter(own))).gone())
        await self._ledger.keep(rows=rows)
        return ours

    # --- the local list

    def _list_sent(self, call: Call, backend: str) -> Call | Result:
        current, wanted = self._list(call.identity), call.payload.get("listVersion")
        if current is None or not isinstance(wanted, int):
            return call
        if current.backend == backend:
            ahead = current.ours - current.theirs
            return _told(call, ("listVersion",), _carried(wanted + ahead), "the charger") if ahead else call
        if call.payload.get("updateType") == "Differential":  # OCPP 1.6, 5.15: it adds to a list that is not there
            remark = Remark(Kind.CHANGED, "", f"the list at the charger is of {current.backend}: not passed on", FOREIGN)
            return Result({"status": "VersionMismatch"}, call.id, call.action, (remark,))
        return _told(call, ("listVersion",), _carried(wanted if wanted > current.ours else current.ours + 1), "the charger")

    def answered(self, asked: Call, said: Call, answer: Answer, backend: str) -> Answer:
        """A charger's answer in the backend's numbers. `asked` is the call as the backend made it, `said` as it went down."""
        if not isinstance(answer, Result):
            return answer
        if asked.action == SEND_LIST and answer.payload.get("status") == "Accepted":
            self._list_accepted(asked, said, backend)
        if asked.action == LIST_VERSION:
            return self._list_version(asked.identity, answer, backend)
        return answer

    def _list_accepted(self, asked: Call, said: Call, backend: str) -> None:
        theirs, ours = asked.payload.get("listVersion"), said.payload.get("listVersion")
        if not isinstance(theirs, int) or not isinstance(ours, int) or abs(ours) > MOST_NUMBER:
            return
        former = self._list(asked.identity)
        if former is not None and (former.backend, former.ours, former.theirs) == (backend, ours, theirs):
            return
        key = (LIST, asked.identity.casefold())
        now = Number(*key, ours, backend, theirs)
        self._known[key] = {ours: now}
        self._ledger.note(rows=[*([former.gone()] if former else []), now.row(self._clock())])

    def _list_version(self, identity: str, answer: Result, backend: str) -> Result:
        current = self._list(identity)
        if current is None or answer.payload.get("listVersion") != current.ours:
            return answer
        theirs = current.theirs if current.backend == backend else 0
        if theirs == current.ours:
            return answer
        why = MAPPED if current.backend == backend else FOREIGN
        remark = Remark(Kind.CHANGED, "listVersion", f"{current.ours} became {theirs}: the list is of {current.backend}", why)
        return replace(answer, payload=answer.payload | {"listVersion": theirs}, remarks=(*answer.remarks, remark))

    def _list(self, identity: str) -> Number | None:
        return next(iter(self._known.get((LIST, identity.casefold()), {}).values()), None)


def _carried(version: int) -> int:
    """A version that every wire carries; beyond, it begins anew, and the next full list is taken over."""
    return version if LEAST <= version <= MOST_NUMBER else LEAST


def _told(call: Call, path: tuple[str, ...], value: int, whom: str) -> Call:
    """The call with another number in it; the same object where it is the same number."""
    before = _get(call.payload, path)
    if before == value:
        return call
    remark = Remark(Kind.CHANGED, ".".join(path), f"{before} is {value} to {whom}", MAPPED)
    return replace(call, payload=_with(call.payload, path, value), remarks=(*call.remarks, remark))


def _get(payload: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        if not isinstance(payload, dict):
            return None
        payload = payload.get(name)
    return payload


def _with(payload: Payload, path: tuple[str, ...], value: int) -> Payload:
    name, *rest = path
    return payload | {name: _with(payload[name], tuple(rest), value) if rest else value}

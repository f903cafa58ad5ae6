"""Who is here: each charger's version, wire, address, registration and presence. Presence is a table of states."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from itertools import islice
from types import MappingProxyType
from typing import Any, Protocol

import structlog

from gateway.config import Presence as PresenceConfig
from translations import soap
from translations.errors import InternalError, SecurityError
from translations.messages import Answer, Call, Payload, Version

LEAST_SILENCE = 15 * 60.0  # seconds; a heartbeat may be lost, and modems are slow
HEARTBEATS_MISSED = 3
AT_ONCE = 2_000
LONGEST_BOOT = 4096  # characters; all that OCPP has a place for is 500
MOST = 100_000  # whoever reaches the door can invent identities

logger = structlog.get_logger(__name__)


class Link(Protocol):
    """Where calls for a charger go."""

    async def call(self, call: Call, timeout: float) -> Answer:
        """Make the call; whatever goes wrong is an Error."""


class State(StrEnum):
    """Where a charger is."""

    GONE = "gone"
    HERE = "here"  # a SOAP charger that was heard lately
    LINKED = "linked"  # a JSON charger with an open WebSocket


class Event(StrEnum):
    """What can happen to a charger's presence."""

    HEARD = "heard"
    SILENT = "silent"
    LINK_UP = "link up"
    LINK_DOWN = "link down"


class Effect(StrEnum):
    """What follows for those who watch."""

    NONE = "none"
    ARRIVED = "arrived"
    LEFT = "left"


PRESENCE: Mapping[tuple[State, Event], tuple[Effect, State]] = MappingProxyType(
    {
        (State.GONE, Event.HEARD): (Effect.ARRIVED, State.HERE),
        (State.GONE, Event.LINK_UP): (Effect.ARRIVED, State.LINKED),
        (State.HERE, Event.SILENT): (Effect.LEFT, State.GONE),
        (State.HERE, Event.LINK_UP): (Effect.NONE, State.LINKED),
        (State.LINKED, Event.LINK_UP): (Effect.NONE, State.LINKED),
        (State.LINKED, Event.LINK_DOWN): (Effect.LEFT, State.GONE),
    }
)


class Registration(StrEnum):
    """What the answering backend last said to a BootNotification (OCPP 1.6, 4.2)."""

    UNKNOWN = ""
    ACCEPTED = "Accepted"
    PENDING = "Pending"
    REJECTED = "Rejected"


@dataclass(slots=True)
class Charger:
    """One charger as the gateway knows it. Times are unix seconds."""

    identity: str
    wire: str = "soap"
    version: Version = Version.V16
    state: State = State.GONE
    last_seen: float = 0.0
    peer: str = ""
    callback: str = ""
    tenant: str = ""  # whose it is, by the path through which it came
    spelt: str = ""  # what a SOAP charger calls itself, where its path says that it is somebody else
    boot: Payload | None = None
    registration: Registration = Registration.UNKNOWN
    interval: int = 0
    manner: soap.Manner = soap.USUAL
    link: Link | None = None
    triggered: set[str] = field(default_factory=set)


class Roster:
    """All chargers by identity; identities are compared without case (OCPP 1.6, 3.16) and kept as first spelt."""

    def __init__(self, config: PresenceConfig = PresenceConfig(), clock: Callable[[], float] = time.time) -> None:  # noqa: B008 - frozen
        self._chargers: dict[str, Charger] = {}
        self._config = config
        self._clock = clock
        self.on_move: Callable[[str], None] | None = None  # hears of chargers that have come under another tenant
        self._watchers: list[Callable[[Charger, Effect], None]] = []
        self._changed: set[str] = set()

    def __iter__(self) -> Iterator[Charger]:
        return iter(self._chargers.values())

    def __len__(self) -> int:
        return len(self._chargers)

    def get(self, identity: str) -> Charger | None:
        """The charger, in whatever case its identity is spelt."""
        return self._chargers.get(identity) or self._chargers.get(identity.casefold())

    def watch(self, watcher: Callable[[Charger, Effect], None]) -> None:
        """Have arrivals and departures told."""
        self._watchers.append(watcher)

    def taken(self, identity: str, tenant: str) -> bool:
        """Whether the charger is here under another tenant, so that nobody may come as it under this one."""
        charger = self.get(identity)
        return charger is not None and charger.state is not State.GONE and not _same(charger.tenant, tenant)

    def heard(
        self,
        identity: str,
        version: Version,
        peer: str,
        callback: str,
        manner: soap.Manner = soap.USUAL,
        spelt: str = "",
        tenant: str = "",
    ) -> Charger:
        """A SOAP charger said something. `callback` is the address it can be called at, empty where it told none; `spelt` is
        what it calls itself, `tenant` whose path it took.

        Raises SecurityError where it is `taken`, InternalError where there are too many chargers; nothing has changed then.
        """
        charger = self._come(identity, tenant)
        charger.last_seen = self._clock()
        self._changed.add(charger.identity)  # when it was last seen decides who is here after a restart
        if charger.state is State.LINKED:
            return charger  # whoever posts under the name of a connected charger does not move it
        charger.wire, charger.version, charger.peer = "soap", version, peer
        charger.callback = callback or charger.callback
        charger.manner, charger.spelt = manner, spelt
        if charger.state is State.GONE:
            self._happen(charger, Event.HEARD)
        return charger

    def touch(self, charger: Charger) -> None:
        """It said something."""
        charger.last_seen = self._clock()

    def linked(self, identity: str, link: Link, peer: str, version: Version, tenant: str = "") -> Charger:
        """A JSON charger's socket is open. Raises what `heard` raises."""
        charger = self._come(identity, tenant)
        charger.last_seen = self._clock()
        charger.wire, charger.version, charger.peer, charger.link = "json", version, peer, link
        self._changed.add(charger.identity)
        self._happen(charger, Event.LINK_UP)
        return charger

    def unlinked(self, identity: str, link: Link) -> None:
        """A JSON charger's socket is gone; of no matter if another has taken its place."""
        charger = self.get(identity)
        if charger is not None and charger.link is link:
            charger.link = None
            charger.last_seen = self._clock()
            self._changed.add(charger.identity)
            self._happen(charger, Event.LINK_DOWN)

    def booted(self, charger: Charger, payload: Payload) -> None:
        """Keep the BootNotification, to announce the charger again with it; but none that is longer than any can be."""
        size = sum(len(name) + len(str(value)) for name, value in payload.items())
        charger.boot = payload if size <= LONGEST_BOOT else None
        self._changed.add(charger.identity)

    def registered(self, charger: Charger, status: str, interval: Any) -> None:
        """Keep what was answered to it."""
        charger.registration = Registration(status) if status in tuple(Registration) else Registration.UNKNOWN
        charger.interval = seconds(interval)
        charger.triggered.clear()
        self._changed.add(charger.identity)

    def silence(self, charger: Charger) -> float:
        """Seconds without a word after which a SOAP charger counts as gone."""
        return self._config.offline_after or max(LEAST_SILENCE, HEARTBEATS_MISSED * charger.interval)

    def sweep(self) -> None:
        """Let those go who have been silent for too long."""
        now = self._clock()
        for charger in self._chargers.values():
            if charger.state is State.HERE and now - charger.last_seen > self.silence(charger):
                self._happen(charger, Event.SILENT)

    def restore(self, chargers: Iterable[Charger]) -> None:
        """Take over what an earlier run knew. SOAP chargers that would still count as present are present."""
        now = self._clock()
        for charger in chargers:
            self._chargers[charger.identity.casefold()] = charger
            if charger.wire == "soap" and now - charger.last_seen <= self.silence(charger):
                self._happen(charger, Event.HEARD)

    def changes(self) -> list[Charger]:
        """Those that changed and were not told of yet, so many at once that the event loop hardly notices."""
        some = list(islice(self._changed, AT_ONCE))
        self._changed.difference_update(some)
        return [self._chargers[identity.casefold()] for identity in some]

    def unsaved(self, chargers: Iterable[Charger]) -> None:
        """They could not be saved: they count as changed again."""
        self._changed.update(charger.identity for charger in chargers)

    def _come(self, identity: str, tenant: str) -> Charger:
        charger = self.get(identity)
        if charger is None:
            return self._new(identity, tenant)
        if charger.tenant == tenant:
            return charger
        if charger.state is State.GONE:
            if _move(charger, tenant) and self.on_move is not None:
                self.on_move(charger.identity)
        elif not _same(charger.tenant, tenant):
            raise SecurityError("expected a charger that is not here under another tenant")
        return charger

    def _new(self, identity: str, tenant: str) -> Charger:
        if len(self._chargers) >= MOST:
            raise InternalError(f"expected at most {MOST} chargers, this is one more")
        charger = self._chargers[identity.casefold()] = Charger(identity, tenant=tenant)
        return charger

    def _happen(self, charger: Charger, event: Event) -> None:
        effect, charger.state = PRESENCE[charger.state, event]
        if effect is not Effect.NONE:
            for watcher in self._watchers:
                watcher(charger, effect)


def _same(tenant: str, other: str) -> bool:
    return tenant == other or tenant.casefold() == other.casefold()  # paths change their case


def _move(charger: Charger, tenant: str) -> bool:
    """What it told under one tenant, and what it was told there, is nothing that another tenant's backends may use."""
    before, charger.tenant = charger.tenant, tenant
    if _same(before, tenant):
        return False
    charger.callback, charger.boot, charger.registration, charger.interval = "", None, Registration.UNKNOWN, 0
    charger.triggered.clear()
    logger.info("charger.moved", charger=charger.identity, tenant=tenant, before=before)
    return True


def seconds(interval: Any) -> int:
    """The heartbeat interval that a backend told, also as `300.0` or `"300"`; 0 where it told none."""
    try:
        seconds = Decimal(interval) if isinstance(interval, int | str | Decimal) else Decimal(0)
    except (ArithmeticError, ValueError):
        return 0
    # Compared first: to make an integer of 1e300000 takes seconds.
    return int(seconds) if seconds.is_finite() and 0 <= seconds < 2**31 else 0

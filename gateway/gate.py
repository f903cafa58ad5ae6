"""The gate that all doors share: where a visitor comes from, which way it takes, whether it may come in, and how fast."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Callable
from urllib.parse import quote

import structlog
from starlette.types import Scope

from gateway.admission import Admission, Refusal, Visitor
from gateway.config import Config
from gateway.pace import Pace, Penalties
from gateway.paths import Paths, Way
from gateway.source import Sources, neighbourhood
from gateway.tls import Certificate

WAITING, WAITING_OF_ONE = 512, 16  # refusals that are held back at once, in all and of one source
LOGGED, LOGGED_AT_ONCE = 0.1, 5  # refusals of one source for one reason that are told: a second, and at once
PATIENCE = 60.0  # seconds; longest wait that a rate can impose
# RFC 6585, 4
BUSY = Refusal(429, "expected fewer requests from this address", "source_rate is exceeded")
HURRIED = Refusal(429, "expected fewer requests of this charger", "charger_rate is exceeded")
_COUNTED = (BUSY.reason, HURRIED.reason)  # where they are found
_INSISTENT = "expected fewer attempts from this address"
logger = structlog.get_logger(__name__)


class Gate:
    """One for all doors of a gateway. `clock` gives seconds that never go back. `refused` counts refusals by their reason."""

    def __init__(self, config: Config, admission: Admission, clock: Callable[[], float] = time.monotonic) -> None:
        bounds = config.bounds
        self._admission, self._clock = admission, clock
        self._soap, self._json = Paths(config.server.soap_paths), Paths(config.server.json_paths)
        self.source = Sources(config.server.trusted_proxies).of
        self._of_charger = Pace(bounds.charger_rate, bounds.charger_burst) if bounds.charger_rate else None
        self._of_source = Pace(bounds.source_rate, bounds.source_burst) if bounds.source_rate else None
        self._penalties = Penalties(config.admission.slow_down)
        self.refused: Counter[str] = Counter()
        self._told = Pace(LOGGED, LOGGED_AT_ONCE)
        self._untold = 0
        self._waiting: Counter[str] = Counter()
        self._closed = asyncio.Event()

    def soap(self, scope: Scope) -> Way | None:
        """Who the path names, if it belongs to the door for SOAP chargers."""
        return self._soap.match(_raw_path(scope))

    def json(self, scope: Scope) -> Way | None:
        """Who the path names, if it belongs to the door for JSON chargers."""
        return self._json.match(_raw_path(scope))

    def busy(self, scope: Scope) -> bool:
        """Whether more comes from there than `bounds.source_rate` allows; to be asked once for each request or handshake."""
        if self._of_source is None or self._of_source.take(neighbourhood(self.source(scope)), self._clock()):
            return False
        self.refused[BUSY.reason] += 1
        return True

    async def pace(self, identity: str, patience: float | None = None) -> bool:
        """Wait until `bounds.charger_rate` allows one more message of a charger.

        For those that can come many at once there is `patience`: False, and at once, where the wait would be longer.
        """
        if self._of_charger is None:
            return True
        limit = float("inf") if patience is None else patience
        wait = self._of_charger.wait(identity.casefold(), self._clock(), limit)
        if wait > limit:
            self.refused[HURRIED.reason] += 1
            return False
        if wait:
            await self._pause(min(wait, PATIENCE))
        return True

    async def admit(self, scope: Scope, way: Way, identity: str) -> Refusal | None:
        """None for those who may come in. Refusals are told to the log, and come late to those who come again and again."""
        if self._admission.free:
            return None
        source = self.source(scope)
        authorization = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        visitor = Visitor(identity, source, way.token, way.tenant, authorization, _certificate(scope))
        refusal = self._admission.judge(visitor)
        return None if refusal is None else await self._refused(refusal, visitor)

    def tell(self, refusal: Refusal, scope: Scope, identity: str = "") -> Refusal:
        """Tell the log of what a door refuses for itself; `told` of what comes back says whether it was, as with `admit`."""
        if refusal.reason not in _COUNTED:
            self.refused[refusal.reason] += 1
        return self._tell(refusal, self.source(scope), identity)

    def close(self) -> None:
        """End all waits."""
        self._closed.set()

    async def _refused(self, refusal: Refusal, visitor: Visitor) -> Refusal:
        self.refused[refusal.reason] += 1
        refusal = self._tell(refusal, visitor.source, visitor.identity)
        if not refusal.guess:
            return refusal
        key = neighbourhood(visitor.source)
        wait = self._penalties.failed(key, self._clock())
        if self._waiting[key] >= WAITING_OF_ONE or self._waiting.total() >= WAITING:
            return refusal._replace(status=429, text=_INSISTENT, challenge=False)
        self._waiting[key] += 1
        try:
            await self._pause(wait)
        finally:
            self._waiting -= Counter((key,))  # which drops those that are zero
        return refusal

    def _tell(self, refusal: Refusal, source: str, identity: str) -> Refusal:
        # By reason too, so that clients who want to be asked for their password hide nobody who comes from where they do.
        if not self._told.take(f"{neighbourhood(source)} {refusal.reason}", self._clock()):
            self._untold += 1
            return refusal._replace(told=False)
        more = {"untold": self._untold} if self._untold else {}
        self._untold = 0
        who = {"charger": identity} if identity else {}
        logger.info("charger.refused", **who, peer=source, reason=refusal.reason, **more)
        return refusal

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._closed.wait()


def _raw_path(scope: Scope) -> bytes:
    raw_path: bytes | None = scope.get("raw_path")
    return quote(scope["path"]).encode() if raw_path is None else raw_path  # ASGI: optional


def _certificate(scope: Scope) -> Certificate | None:
    tls = (scope.get("extensions") or {}).get("tls") or {}
    certificate: Certificate | None = tls.get("certificate")
    return certificate

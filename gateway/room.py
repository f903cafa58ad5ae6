"""How many connections there may be, in all and from one address."""

import ipaddress
import time
from collections.abc import Callable, Collection

import structlog

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

logger = structlog.get_logger(__name__)


class Seldom:
    """Says one thing at most once a second, and how often it would have been said."""

    def __init__(self, say: Callable[..., object], event: str) -> None:
        self._say, self._event = say, event
        self._times, self._next = 0, 0.0

    def __call__(self, **facts: object) -> None:
        self._times += 1
        now = time.monotonic()
        if now >= self._next:
            self._say(self._event, times=self._times, **facts)
            self._times, self._next = 0, now + 1


class Room:
    """How many connections there may be: in all, and from one address. Ports may share one.

    `proxies` are networks whose addresses stand for many chargers each, and so have no bound of their own.
    """

    def __init__(self, connections: int, source_connections: int | None = None, proxies: Collection[Network] = ()) -> None:
        self.taken = 0
        self.refused = 0  # since the start
        self._most, self._most_of_one, self._proxies = connections, source_connections, proxies
        self._sources: dict[str, int] = {}
        self._tell = Seldom(logger.warning, "connections.refused")

    def enter(self, source: str) -> bool:
        """Take a place for a connection from an address, if there is one."""
        if self.taken >= self._most:
            return self._refuse(source, f"expected at most {self._most} connections")
        if self._most_of_one is not None:
            there = self._sources.get(source, 0)
            if there >= self._most_of_one and not self._is_proxy(source):
                return self._refuse(source, f"expected at most {self._most_of_one} connections from one address")
            self._sources[source] = there + 1
        self.taken += 1
        return True

    def leave(self, source: str) -> None:
        """Give a place back."""
        self.taken -= 1
        if self._most_of_one is not None:
            self._sources[source] -= 1
            if not self._sources[source]:
                del self._sources[source]

    def _refuse(self, source: str, reason: str) -> bool:
        self.refused += 1
        self._tell(source=source, reason=reason)
        return False

    def _is_proxy(self, source: str) -> bool:
        try:
            address = ipaddress.ip_address(source)
        except ValueError:
            return False
        if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:  # of a port for both families
            address = address.ipv4_mapped
        return any(address in network for network in self._proxies)

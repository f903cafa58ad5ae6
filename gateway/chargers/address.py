"""Where a SOAP charger can be called: what it says of itself, made usable, and whether we may dial it."""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from functools import lru_cache
from urllib.parse import quote, urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult
from starlette.types import Scope

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_NOWHERE = frozenset({"", "localhost", "127.0.0.1", "0.0.0.0", "::1", "::"})  # noqa: S104 - what chargers write, not where we listen


class NotAllowed(OSError):
    """An address outside `callbacks.allow`."""


def peer_of(scope: Scope) -> str:
    """Who is at the other end of an ASGI connection, as host:port."""
    host, port = scope.get("client") or ("", 0)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@lru_cache(maxsize=16_384)
def callback_address(sender: str, reply_to: str, source: str) -> str:
    """The first usable of wsa:From and ReplyTo as an absolute URL; empty where neither is. `source` is the sender's host.

    A host that only the charger itself can reach (seen: `http://:8082/`, `http://localhost:8080/`, `http://0.0.0.0:28080`) is
    replaced by the address that its request came from.
    """
    return next((url for url in (_usable(sender, source), _usable(reply_to, source)) if url), "")


def _usable(written: str, source: str) -> str:
    if not written or len(written) > 1000 or "anonymous" in written.lower() or not written.isprintable():
        return ""
    url = written if "://" in written else f"http://{written}"
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or parts.username or parts.password or " " in url:
        return ""
    if host not in _NOWHERE:
        return url
    if not port or not source:
        return ""
    # The path is kept to the letter: some chargers listen on one only.
    return parts._replace(netloc=f"{source}:{port}").geturl()


def made_address(template: str, peer: str, identity: str) -> str:
    """A configured address with `{source}`, the host of the charger's last request, and `{identity}` filled in."""
    source = peer.rpartition(":")[0]
    if not template or ("{source}" in template and not source):
        return ""
    return template.replace("{source}", source).replace("{identity}", quote(identity, safe=""))


def source_address(peer: str, port: int, path: str) -> str:
    """The address of the charger's last request with a configured port."""
    host = peer.rpartition(":")[0]
    return f"http://{host}:{port}{path}" if host else ""


def allowed(address: str, networks: Iterable[Network]) -> bool:
    """Whether an IP address lies in one of the networks."""
    ip = ipaddress.ip_address(address)
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
        ip = ip.ipv4_mapped
    return any(ip in network for network in networks)


class AllowedResolver(AbstractResolver):
    """Resolves names and lets only allowed addresses out; what it returns is what is dialled, so nobody can rebind it."""

    def __init__(self, networks: Iterable[Network]) -> None:
        self._networks = tuple(networks)

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """Every allowed address of a name. Raises NotAllowed if it has only others."""
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        results = [
            ResolveResult(hostname=host, host=str(where[0]), port=port, family=kind, proto=0, flags=socket.AI_NUMERICHOST)
            for kind, _, _, _, where in found
            if allowed(str(where[0]), self._networks)
        ]
        if not results:
            raise NotAllowed(f"no address of {host} lies in callbacks.allow")
        return results

    async def close(self) -> None:
        """Nothing to close."""

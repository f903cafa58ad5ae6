"""Where a visitor comes from: the peer of the connection, or, behind proxies that are trusted, whom they say they speak for.

`X-Forwarded-For` and `Forwarded` (RFC 7239) are read from the right: the last entry is the proxy's own, and whatever stands
left of the first address that is not a trusted proxy may have been written by anybody.
"""

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache

from starlette.types import Scope

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_NOBODY = ("", 0)
_PAIR = re.compile(r"""[ \t]*([\w!#$%&'*+.^`|~-]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s",;]*))[ \t]*([;,]|\Z)""", re.ASCII)
_NODE = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+))(?::(\d{1,5}))?")


class Sources:
    """Tells sources as `host:port`, an IPv6 host in brackets; `:0` is a source that nobody knows, port 0 one nobody told."""

    def __init__(self, proxies: Iterable[Network] = ()) -> None:
        self._proxies = tuple(proxies)

    def of(self, scope: Scope) -> str:
        """The source of an ASGI connection."""
        host, port = scope.get("client") or _NOBODY
        if self._proxies and self._trusted(host):
            host, port = self._told(scope, host, port)
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def _told(self, scope: Scope, host: str, port: int) -> tuple[str, int]:
        headers: dict[bytes, list[bytes]] = {}
        for name, value in scope["headers"]:
            if name in (b"x-forwarded-for", b"forwarded"):
                headers.setdefault(name, []).append(value)
        lists = [_READERS[name](b",".join(values).decode("latin-1")) for name, values in headers.items()]
        told = [self._visitor(entries) for entries in lists]
        if not told:
            return host, port
        # A proxy that writes one of them passes the other one on as the visitor wrote it, and nobody knows which it is.
        return told[0] if len({host for host, _ in told}) == 1 else _NOBODY

    def _visitor(self, entries: list[str]) -> tuple[str, int]:
        """The rightmost that is no trusted proxy, or the leftmost."""
        host, port = _NOBODY
        for entry in reversed(entries):
            host, port = _node(entry)
            if not self._trusted(host):
                break
        return host, port

    def _trusted(self, host: str) -> bool:
        return within(host, self._proxies)


def within(host: str, networks: Iterable[Network]) -> bool:
    """Whether a host lies in one of the networks; what is no address lies in none."""
    address = _address(host)
    return address is not None and any(address in network for network in networks)


def host_of(source: str) -> str:
    """The host of a source, without brackets."""
    return source.rpartition(":")[0].strip("[]")


def neighbourhood(source: str) -> str:
    """What counts as one source: an IPv4 address, or the /64 of an IPv6 address, which one visitor can have whole."""
    host = host_of(source)
    address = _address(host) if ":" in host else None
    if not isinstance(address, ipaddress.IPv6Address):
        return str(address or host)
    return str(ipaddress.IPv6Address(int(address) >> 64 << 64))


@lru_cache(maxsize=16_384)
def _address(host: str) -> Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _forwarded_for(text: str) -> list[str]:
    return [entry for entry in (part.strip() for part in text.split(",")) if entry]


def _forwarded(text: str) -> list[str]:
    """The value of `for` in each element; none of them where the whole is not as RFC 7239, 4 has it."""
    entries, entry, at = [], "", 0
    while at < len(text):
        pair = _PAIR.match(text, at)
        if pair is None:
            return [""]
        name, quoted, token, end = pair.groups()
        if name.lower() == "for":
            entry = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else token
        if end != ";":
            entries.append(entry)
            entry = ""
        at = pair.end()
    return [*entries, entry] if entry else entries


_READERS = {b"x-forwarded-for": _forwarded_for, b"forwarded": _forwarded}


def _node(entry: str) -> tuple[str, int]:
    """RFC 7239, 6; in X-Forwarded-For IPv6 addresses have no brackets, and some proxies add ports."""
    found = _NODE.fullmatch(entry)
    bare = entry if "%" not in entry else ""  # a zone may be any text
    address = _address((found[1] or found[2]) if found else bare)
    port = int(found[3] or 0) if found else 0
    return (str(address), port if port <= 65535 else 0) if address is not None else _NOBODY

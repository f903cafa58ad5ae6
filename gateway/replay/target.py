"""Whom a replay goes to: a backend of the configuration, a WebSocket, or the SOAP door of a gateway."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit, urlunsplit

import aiohttp
from pydantic import ValidationError

from gateway.config import Config, Ocppj
from gateway.dial import Dialler
from gateway.replay.wires import Opening, Posts, Sockets
from gateway.rules.names import Names

OURSELVES = "the gateway of this configuration"
_PORTS = {"ws": 80, "http": 80, "wss": 443, "https": 443}


class NoTarget(ValueError):
    """It cannot be replayed to; the text says why."""


class Target(NamedTuple):
    """`backend` is the configuration's, or one made for an address; None: `url` is a SOAP door.

    `name` is the backend's in the configuration, also where only the address is the same. `used` is what people are asked about,
    since what is played there is real; empty: a scratch gateway, or a CSMS that the configuration does not know.
    """

    url: str
    backend: Ocppj | None
    name: str = ""
    used: str = ""

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Opening]:
        """What opens connections to it. Raises OSError or ValueError for names and certificates that cannot be read."""
        if self.backend is None:
            async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar(), trust_env=False) as http:
                yield Posts(self.url, http).open
            return
        names = Names(self.backend)
        yield Sockets(Dialler(self.backend), self.backend.connect_timeout, names).open


def target(to: str, config: Config, password_env: str | None = None) -> Target:
    """The target of that name or address. Raises NoTarget."""
    named = {backend.name: backend for backend in config.backends}
    if to in named:
        backend = named[to]
        if not isinstance(backend, Ocppj):
            raise NoTarget(f"--to: expected a backend that can be connected to, got {to}, which answers inside the gateway")
        return Target(backend.url, backend, to, to)
    parts = _split(to)
    if parts.scheme in ("ws", "wss"):
        return Target(to, _made(parts, password_env), *_known(parts, config))
    if parts.scheme in ("http", "https") and parts.hostname:
        return Target(to, None, *_known(parts, config))
    names = ", ".join(sorted(name for name, backend in named.items() if isinstance(backend, Ocppj))) or "none is configured"
    raise NoTarget(f"--to: expected ws://..., wss://..., http://... or a backend of the configuration ({names}), got {to}")


def _split(to: str) -> SplitResult:
    try:
        parts = urlsplit(to)
        _ = parts.port
    except ValueError as error:
        raise NoTarget(f"--to: expected a URL: {str(error)[:1].lower()}{str(error)[1:]}") from None
    return parts


def _made(parts: SplitResult, password_env: str | None) -> Ocppj:
    """A backend at that address. Without a place for it the identity is put at the end of the path (OCPP-J 1.6, 3.1.1)."""
    url = urlunsplit(parts)
    if "{identity}" not in url:
        url = urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{{identity}}"))
    try:
        return Ocppj(kind="ocppj", name="replay", url=url, password_env=password_env)
    except ValidationError as error:
        problem = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
        raise NoTarget(f"--to: {problem[:1].lower()}{problem[1:]}") from None


def _known(parts: SplitResult, config: Config) -> tuple[str, str]:
    """The backend of the configuration at the same host and port, and what is used there."""
    backends = [backend for backend in config.backends if isinstance(backend, Ocppj)]
    name = next((backend.name for backend in backends if _place(urlsplit(backend.url)) == _place(parts)), "")
    return name, name or (OURSELVES if backends and _ours(parts, config) else "")


def _ours(parts: SplitResult, config: Config) -> bool:
    """Whether the gateway of this configuration listens there: what it hears goes on to its backends."""
    server = config.server
    if server.public_url and _place(parts) == _place(urlsplit(server.public_url)):
        return True
    host, port = _place(parts)
    return port in (server.port, config.tls.port) and host in ("localhost", "127.0.0.1", "::1", server.host)


def _place(parts: SplitResult) -> tuple[str | None, int | None]:
    return parts.hostname, parts.port or _PORTS.get(parts.scheme)

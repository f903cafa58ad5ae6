"""What stands before every door: who may come in, and what a browser is told about the answer.

Whoever reaches the port can call chargers, and a browser on the same machine reaches it on behalf of any page. So
names that are not ours are refused (DNS rebinding), and so is what pages of other origins send.
"""

import hmac
import re
from ipaddress import ip_address
from urllib.parse import quote

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.config import Admin, ConfigError, secret
from gateway.inspector.replies import HEADERS, problem

_PROBES = ("/healthz", "/readyz")
_PAGES = ("/", "/docs")  # they tell nothing by themselves, and ask for the token
_ASSETS = "/static/"
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[0-9a-zA-Z._-]+)(?::[0-9]{1,5})?", re.ASCII)


class Hardened:
    """Adds the headers to every answer."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def hardened(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(HEADERS)
            await send(message)

        await self._app(scope, receive, hardened)


class EncodedPath:
    """Has the routes look at the path as it was sent, so that %2F in an identity parts nothing."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
            scope = {**scope, "path": raw.decode("latin-1")}
        await self._app(scope, receive, send)


class Guard:
    """Lets in who may come in."""

    def __init__(self, app: ASGIApp, *, host: str, token: bytes | None) -> None:
        self._app, self._host, self._token = app, host, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope["path"], Headers(scope=scope)) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, path: str, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        if not self._known(host):
            return problem(421, f"expected a loopback address or {self._host} as Host, got {host[:255] or 'none'}")
        if not _own(headers.getlist("origin"), host):
            return problem(403, f"expected requests of pages of {host} only, got one of another origin")
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and headers.get("sec-fetch-mode") != "navigate":
            return problem(403, f"expected requests of pages of {host} only, got one of another site")
        if not self._allowed(path, headers.get("authorization", "")):
            return problem(401, "expected Authorization: Bearer with the token of the admin API", {"WWW-Authenticate": "Bearer"})
        return None

    def _known(self, host: str) -> bool:
        if self._token is not None:
            return True
        name = _name(host)
        return bool(name) and (name == self._host.lower() or _loopback(name))

    def _allowed(self, path: str, authorization: str) -> bool:
        if self._token is None or path in _PROBES or path in _PAGES or path.startswith(_ASSETS):
            return True
        scheme, _, token = authorization.partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(token.strip().encode("latin-1"), self._token)


def token(admin: Admin) -> bytes | None:
    """The token that opens the doors; None where there is none to ask for. Raises ConfigError."""
    if admin.token_env is None and admin.token_file is None:
        return None
    found = secret(admin.token_env, admin.token_file)
    if not found or found != found.strip():
        key = "token_file" if admin.token_file else "token_env"
        raise ConfigError([f"admin.{key}: expected a token without white space around it"])
    return found.encode()


def _own(origins: list[str], host: str) -> bool:
    """Whether the page that asks is ours. A proxy may speak TLS for us, so the scheme does not count."""
    return all(o.lower() in (f"http://{host}".lower(), f"https://{host}".lower()) for o in origins)


def _name(host: str) -> str:
    """The name in a Host header, without its port; nothing where it is none."""
    found = _HOST.fullmatch(host)
    return found[1].strip("[]").lower() if found else ""


def _loopback(name: str) -> bool:
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"

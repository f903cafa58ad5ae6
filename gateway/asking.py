"""How commands ask the API of a running gateway. What goes wrong ends the command with a line on stderr."""

import http.client
import os
import re
import urllib.error
import urllib.request
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, NamedTuple, NoReturn, TypeVar
from urllib.parse import quote

import msgspec
import typer

from gateway.config import Config, ConfigError, secret
from gateway.loading import found, load
from gateway.traffic import render

TIMEOUT = 60.0  # seconds for what asks no charger
ANSWER_LIMIT = 16 << 20

_API = re.compile(r"https?://[^\s/?#@]+(?:/[^\s?#]*)?", re.ASCII)

ApiUrl = Annotated[str, typer.Option("--api", help="Where the gateway's API is; without it, where the configuration says.")]
TokenEnv = Annotated[
    str,
    typer.Option("--token-env", help="The environment variable with the API's token; with --api the only source of one."),
]
ConfigPath = Annotated[
    Path | None, typer.Option("--config", "-c", help="The configuration; without it gateway.toml, if it is there.")
]

T = TypeVar("T")


class Api(NamedTuple):
    """Where the API is, and what opens it."""

    url: str
    token: str | None


class Problem(msgspec.Struct):
    """Why there is no answer."""

    title: str
    detail: str = ""
    code: str = ""

    def __str__(self) -> str:
        return f"{self.code or self.title}: {self.detail or 'no reason was given'}"


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the token elsewhere, and make a GET of the call."""

    def redirect_request(self, *_: Any) -> None:
        return None


def reached(api: str, token_env: str, config: Path | None) -> Api:
    """The API that the options name."""
    if token_env and token_env not in os.environ:
        fail(f"--token-env: expected the environment variable {token_env} to be set", 2)
    url, token = (_url(api), None) if api else _configured(config)
    return Api(url, os.environ[token_env] if token_env else token)


def ask(api: Api, method: str, path: str, body: bytes | None = None, timeout: float = TIMEOUT) -> bytes | Problem:
    """What the API answers."""
    status, answer = _asked(api, method, path, body, timeout)
    if status == HTTPStatus.OK:
        return answer
    try:
        return msgspec.json.decode(answer, type=Problem)
    except (ValueError, RecursionError):
        fail(f"{api.url}: expected the API of a gateway, got another answer with HTTP status {status}")


def answered(api: Api, method: str, path: str, body: bytes | None = None, timeout: float = TIMEOUT) -> bytes:
    """What the API answers; a problem ends the command."""
    answer = ask(api, method, path, body, timeout)
    if isinstance(answer, Problem):
        fail(str(answer))
    return answer


def understood(api: Api, answer: bytes | msgspec.Raw, kind: type[T]) -> T:
    """The answer as what it should be."""
    try:
        return msgspec.json.decode(answer, type=kind)
    except (ValueError, RecursionError):
        fail(f"{api.url}: expected the API of a gateway, got another answer")


def payload(text: str) -> bytes:
    """A payload of the command line as it was written, so that numbers keep their digits."""
    try:
        body = text.encode("utf-8", "surrogateescape")
        msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (ValueError, RecursionError) as error:
        fail(f"JSON: expected an object: {str(error)[:1].lower()}{str(error)[1:]}", 2)
    return body


def quoted(text: str) -> str:
    """As it stands in a path or a query."""
    return quote(text, safe="", errors="surrogateescape")


def fail(text: str, code: int = 1) -> NoReturn:
    """End the command."""
    typer.echo(render.visible(text), err=True)
    raise typer.Exit(code)


def _url(api: str) -> str:
    if not _API.fullmatch(api):
        fail(f"--api: expected a URL like http://127.0.0.1:9001, got {api}", 2)
    return api.rstrip("/")


def _configured(path: Path | None) -> tuple[str, str | None]:
    try:
        config = load(found(path))
        return _address(config), secret(config.admin.token_env, config.admin.token_file)
    except ConfigError as error:
        typer.echo(render.visible(str(error), "\n"), err=True)
        raise typer.Exit(1) from None
    except (OSError, UnicodeDecodeError) as error:
        fail(f"admin.token_file: cannot be read: {_reason(error)}")


def _address(config: Config) -> str:
    host = config.admin.host
    try:
        address = ip_address(host)
    except ValueError:
        return f"http://{host}:{config.admin.port}"
    if address.is_unspecified:  # a server listens there, but nobody can be reached there
        address = ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"http://{f'[{address}]' if address.version == 6 else address}:{config.admin.port}"


def _asked(api: Api, method: str, path: str, body: bytes | None, timeout: float) -> tuple[int, bytes]:
    headers = {} if body is None else {"Content-Type": "application/json"}
    request = urllib.request.Request(api.url + path, body, headers, method=method)  # noqa: S310 - http only
    if api.token:
        request.add_header("Authorization", f"Bearer {api.token}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects)
    try:
        with opener.open(request, timeout=timeout) as response:
            return response.status, response.read(ANSWER_LIMIT)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(ANSWER_LIMIT)
    except (OSError, http.client.HTTPException, ValueError) as error:
        fail(f"{api.url}: cannot be reached: {_reason(error)}; is the gateway running?")


def _reason(error: BaseException) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    text = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    text = text or type(cause).__name__
    return text[:1].lower() + text[1:]

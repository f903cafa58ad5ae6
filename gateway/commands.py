"""The command `ocpp-gateway call`: asks a running gateway to call a charger."""

import http.client
import os
import re
import sys
import urllib.error
import urllib.request
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Any, NoReturn
from urllib.parse import quote

import msgspec
import typer

from gateway.config import Config, ConfigError, found, load, secret
from gateway.traffic import export, render

LONGEST = 300.0
GRACE = 5.0  # the gateway keeps the deadline; this is for the case that it does not
ANSWER_LIMIT = 16 << 20

_API = re.compile(r"https?://[^\s/?#@]+(?:/[^\s?#]*)?", re.ASCII)


class _Answer(msgspec.Struct):
    result: msgspec.Raw


class _Problem(msgspec.Struct):
    title: str
    detail: str = ""
    code: str = ""


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the token elsewhere, and make a GET of the call."""

    def redirect_request(self, *_: Any) -> None:
        return None


def call(
    identity: Annotated[str, typer.Argument(help="The charger's identity.")],
    action: Annotated[str, typer.Argument(help="The action, such as Reset.")],
    payload: Annotated[str, typer.Argument(metavar="[JSON]", help="The payload, OCPP 1.6 JSON.")] = "{}",
    api: Annotated[str, typer.Option(help="Where the gateway's API is; without it, where the configuration says.")] = "",
    token_env: Annotated[
        str, typer.Option(help="The environment variable with the API's token; with --api the only source of one.")
    ] = "",
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="The configuration; without it gateway.toml, if it is there.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, max=LONGEST, help="Seconds to wait for the charger's answer.")] = 30.0,
) -> None:
    """Call a charger through a running gateway, and print its answer."""
    body = _body(payload)
    if token_env and token_env not in os.environ:
        _fail(f"--token-env: expected the environment variable {token_env} to be set", 2)
    url, token = (_url(api), None) if api else _configured(config)
    token = os.environ[token_env] if token_env else token
    path = f"/api/v1/chargers/{_quoted(identity)}/calls/{_quoted(action)}?timeout={timeout:g}"
    status, answer = _post(url, path, body, token, timeout + GRACE)
    if status != HTTPStatus.OK:
        _fail(_problem(url, status, answer))
    sys.stdout.buffer.write(export.line(_result(url, answer)))
    sys.stdout.buffer.flush()


def _body(payload: str) -> bytes:
    """As it was written, so that numbers keep their digits."""
    try:
        body = payload.encode("utf-8", "surrogateescape")
        msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except (ValueError, RecursionError) as error:
        _fail(f"JSON: expected an object: {str(error)[:1].lower()}{str(error)[1:]}", 2)
    return body


def _quoted(text: str) -> str:
    return quote(text, safe="", errors="surrogateescape")


def _url(api: str) -> str:
    if not _API.fullmatch(api):
        _fail(f"--api: expected a URL like http://127.0.0.1:9001, got {api}", 2)
    return api.rstrip("/")


def _configured(path: Path | None) -> tuple[str, str | None]:
    try:
        config = load(found(path))
        return _address(config), secret(config.admin.token_env, config.admin.token_file)
    except ConfigError as error:
        typer.echo(render.visible(str(error), "\n"), err=True)
        raise typer.Exit(1) from None
    except (OSError, UnicodeDecodeError) as error:
        _fail(f"admin.token_file: cannot be read: {_reason(error)}")


def _address(config: Config) -> str:
    host = config.admin.host
    try:
        address = ip_address(host)
    except ValueError:
        return f"http://{host}:{config.admin.port}"
    if address.is_unspecified:  # a server listens there, but nobody can be reached there
        address = ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"http://{f'[{address}]' if address.version == 6 else address}:{config.admin.port}"


def _post(url: str, path: str, body: bytes, token: str | None, timeout: float) -> tuple[int, bytes]:
    request = urllib.request.Request(url + path, body, {"Content-Type": "application/json"})  # noqa: S310 - http only
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects)
    try:
        with opener.open(request, timeout=timeout) as response:
            return response.status, response.read(ANSWER_LIMIT)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(ANSWER_LIMIT)
    except (OSError, http.client.HTTPException, ValueError) as error:
        _fail(f"{url}: cannot be reached: {_reason(error)}; is the gateway running?")


def _result(url: str, answer: bytes) -> msgspec.Raw:
    try:
        return msgspec.Raw(msgspec.json.format(msgspec.json.decode(answer, type=_Answer).result, indent=-1))
    except (ValueError, RecursionError):
        _fail(f"{url}: expected the API of a gateway, got another answer")


def _problem(url: str, status: int, answer: bytes) -> str:
    try:
        problem = msgspec.json.decode(answer, type=_Problem)
    except (ValueError, RecursionError):
        return f"{url}: expected the API of a gateway, got another answer with HTTP status {status}"
    return f"{problem.code or problem.title}: {problem.detail or 'no reason was given'}"


def _reason(error: BaseException) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    text = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
    text = text or type(cause).__name__
    return text[:1].lower() + text[1:]


def _fail(text: str, code: int = 1) -> NoReturn:
    typer.echo(render.visible(text), err=True)
    raise typer.Exit(code)

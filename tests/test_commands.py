"""`ocpp-gateway call` against a served admin door."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import typer
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route
from typer.testing import CliRunner
from typer.testing import Result as Outcome

from gateway.commands import call
from gateway.config import Admin
from tests.admin import Asked, admin
from tests.ws import serving
from translations.messages import Error, Result


async def run(*arguments: str, **environment: str) -> Outcome:
    """The command, in a thread of its own, as the server runs in the loop."""
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(call)
    return await asyncio.to_thread(CliRunner().invoke, app, list(arguments), env=environment)


@asynccontextmanager
async def api(asked: Asked | None = None, **options: Any) -> AsyncIterator[str]:
    async with admin(call=asked or Asked(), **options) as ask:
        yield f"http://127.0.0.1:{ask.port}"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


async def test_the_result_is_one_line_of_json() -> None:
    asked = Asked()
    async with api(asked) as url:
        done = await run("DC/2", "Reset", '{"type": "Soft"}', "--api", url, "--timeout", "7")
    assert (done.exit_code, done.stdout, done.stderr) == (0, '{"status":"Accepted"}\n', "")
    made, timeout = asked.calls[0]
    assert (made.identity, made.action, made.payload, timeout) == ("DC/2", "Reset", {"type": "Soft"}, 7.0)


async def test_without_a_payload_it_is_empty() -> None:
    asked = Asked()
    async with api(asked) as url:
        assert (await run("CP-1", "ClearCache", "--api", url + "/")).exit_code == 0
    assert asked.calls[0][0].payload == {}


async def test_numbers_keep_their_digits() -> None:
    asked = Asked(Result({"limit": Decimal("1.50")}))
    async with api(asked) as url:
        done = await run("CP-1", "Reset", '{"limit": 16.10}', "--api", url)
    assert (str(asked.calls[0][0].payload["limit"]), done.stdout) == ("16.10", '{"limit":1.50}\n')


async def test_a_result_is_harmless_to_the_terminal() -> None:
    async with api(Asked(Result({"data": "\x1b[2J\x9b\u202e\n"}))) as url:
        done = await run("CP-1", "Reset", "--api", url)
    assert done.stdout.rstrip("\n").isprintable()
    assert json.loads(done.stdout) == {"data": "\x1b[2J\x9b\u202e\n"}


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (Error("NotSupported", "not in OCPP 1.2"), "NotSupported: not in OCPP 1.2\n"),
        (Error("InternalError"), "InternalError: no reason was given\n"),
        (Error("GenericError", "two\nlines \x1b[2J"), "GenericError: two\\x0alines \\x1b[2J\n"),
    ],
)
async def test_an_error_is_told_with_its_code(error: Error, told: str) -> None:
    async with api(Asked(error)) as url:
        done = await run("CP-1", "Reset", "--api", url)
    assert (done.exit_code, done.stdout, done.stderr) == (1, "", told)


async def test_an_unknown_charger_is_told() -> None:
    async with api() as url:
        done = await run("CP-9", "Reset", "--api", url)
    assert (done.exit_code, done.stderr) == (1, "Not Found: expected a charger that has been here, got CP-9\n")


@pytest.mark.parametrize("payload", ["{", "[]", "1", "", '{"a":NaN}', "\udcff"])
async def test_a_payload_that_is_no_object_is_wrong_usage(payload: str) -> None:
    done = await run("CP-1", "Reset", payload, "--api", "http://127.0.0.1:1")
    assert (done.exit_code, done.stderr[:25]) == (2, "JSON: expected an object:")


@pytest.mark.parametrize("url", ["127.0.0.1:9001", "ftp://127.0.0.1", "http://", "http://u:p@127.0.0.1", "http://127.0.0.1/?a"])
async def test_an_api_that_is_no_url_is_wrong_usage(url: str) -> None:
    done = await run("CP-1", "Reset", "--api", url)
    assert (done.exit_code, done.stderr) == (2, f"--api: expected a URL like http://127.0.0.1:9001, got {url}\n")


@pytest.mark.parametrize("timeout", ["0", "301", "soon"])
async def test_a_timeout_out_of_bounds_is_wrong_usage(timeout: str) -> None:
    assert (await run("CP-1", "Reset", "--timeout", timeout)).exit_code == 2


async def test_a_gateway_that_does_not_run_is_told() -> None:
    with socket.socket() as taken:  # bound and not listening: nobody else can answer there
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        done = await run("CP-1", "Reset", "--api", url)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == f"{url}: cannot be reached: connection refused; is the gateway running?\n"


async def test_the_address_and_the_token_come_from_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("open\n")
    async with api(section=Admin(token_file=tmp_path / "token")) as url:
        port = url.rpartition(":")[2]
        (tmp_path / "gateway.toml").write_text(f'[admin]\nhost = "0.0.0.0"\nport = {port}\ntoken_file = "token"\n')
        assert (await run("CP-1", "Reset")).exit_code == 0
        assert (await run("CP-1", "Reset", "-c", "gateway.toml")).exit_code == 0
        assert (await run("CP-1", "Reset", "--api", url)).stderr.startswith("Unauthorized: expected Authorization")


async def test_a_token_may_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_ADMIN_TOKEN", "open")
    async with api(section=Admin(token_env="TEST_ADMIN_TOKEN")) as url:
        done = await run("CP-1", "Reset", "--api", url, "--token-env", "TEST_ADMIN_TOKEN")
    assert done.exit_code == 0


async def test_an_environment_variable_that_is_not_set_is_wrong_usage() -> None:
    done = await run("CP-1", "Reset", "--token-env", "NOT_SET_HERE")
    expected = "--token-env: expected the environment variable NOT_SET_HERE to be set\n"
    assert (done.exit_code, done.stderr) == (2, expected)


async def test_a_configuration_with_complaints_is_told(tmp_path: Path) -> None:
    (tmp_path / "bad.toml").write_text("[admin]\nprot = 1\nhots = 2\n")
    done = await run("CP-1", "Reset", "-c", "bad.toml")
    assert (done.exit_code, len(done.stderr.splitlines())) == (1, 2)
    assert "bad.toml: admin.prot: expected no such key" in done.stderr.splitlines()


async def test_no_proxy_is_asked() -> None:
    async with api() as url:
        done = await run("CP-1", "Reset", "--api", url, http_proxy="http://127.0.0.1:1", no_proxy="")
    assert done.exit_code == 0


async def other(request: Request) -> Response:
    return PlainTextResponse("hello")


async def away(request: Request) -> Response:
    return RedirectResponse("/other", 302)


@pytest.mark.parametrize(
    ("identity", "told"), [("other", "got another answer\n"), ("away", "got another answer with HTTP status 302\n")]
)
async def test_what_is_no_gateway_is_told(identity: str, told: str) -> None:
    routes = [
        Route("/api/v1/chargers/other/calls/Reset", other, methods=["POST"]),
        Route("/api/v1/chargers/away/calls/Reset", away, methods=["POST"]),
    ]
    async with serving(Starlette(routes=routes)) as port:
        done = await run(identity, "Reset", "--api", f"http://127.0.0.1:{port}")
    assert (done.exit_code, done.stderr) == (1, f"http://127.0.0.1:{port}: expected the API of a gateway, {told}")

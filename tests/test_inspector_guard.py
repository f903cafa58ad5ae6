"""Who may come in at the admin port, and what a browser is told."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Admin, ConfigError
from gateway.inspector.guard import token
from gateway.inspector.replies import HEADERS
from tests.admin import Asked, Visitor, admin
from tests.ws import DEADLINE

CHARGERS = "/api/v1/chargers"
RESET = f"{CHARGERS}/CP-1/calls/Reset"
GUARDED = Admin(token_env="TEST_ADMIN_TOKEN")


@pytest.fixture(autouse=True)
def word(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_ADMIN_TOKEN", "open-sésame")


# --- Host


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:9001", "127.0.0.1:9001", "127.8.8.8", "[::1]:9001", "[::1]"])
async def test_a_loopback_host_is_let_in(host: str) -> None:
    async with admin() as ask:
        assert (await ask(CHARGERS, Host=host)).status == 200


@pytest.mark.parametrize(
    "host",
    [
        "rebound.example",
        "localhost.rebound.example",
        "127.0.0.1.rebound.example:9001",
        "localhost@rebound.example",
        "rebound.example#localhost",
        "localhost:x",
        "192.0.2.1",
        "[::2]",
        "::1",
        "",
    ],
)
@pytest.mark.parametrize("path", [CHARGERS, "/", "/healthz"])
async def test_another_host_is_misdirected(host: str, path: str) -> None:
    async with admin() as ask:
        reply = await ask(path, Host=host)
    assert (reply.status, reply.headers["Content-Type"]) == (421, "application/problem+json")
    assert reply.json["detail"].startswith("expected a loopback address or 127.0.0.1 as Host, got ")


async def test_the_configured_host_is_let_in() -> None:
    async with admin(section=Admin(host="gw.example")) as ask:
        assert (await ask(CHARGERS, Host="GW.example:9001")).status == 200


async def test_with_a_token_any_host_is_let_in() -> None:
    async with admin(section=GUARDED) as ask:
        assert (await ask(CHARGERS, Host="gw.example", Authorization="Bearer open-sésame")).status == 200


async def test_a_request_without_a_host_is_misdirected() -> None:
    async with admin() as ask, asyncio.timeout(DEADLINE):
        reader, writer = await asyncio.open_connection("127.0.0.1", ask.port)
        writer.write(b"GET /api/v1/chargers HTTP/1.0\r\n\r\n")
        assert b" 421 " in await reader.readline()
        writer.close()
        await writer.wait_closed()


# --- Origin


def own(ask: Visitor) -> str:
    return f"http://127.0.0.1:{ask.port}"


async def test_the_own_page_may_call() -> None:
    async with admin() as ask:
        assert (await ask(RESET, "POST", Origin=own(ask))).status == 200
        assert (await ask(RESET, "POST", Origin=own(ask).replace("http:", "https:"))).status == 200


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:1", "http://127.0.0.1", "file://", "", "ftp://127.0.0.1"]
)
async def test_a_page_of_another_origin_calls_nobody(origin: str) -> None:
    asked = Asked()
    async with admin(call=asked) as ask:
        reply = await ask(RESET, "POST", b"{}", Origin=origin, Content_Type="application/json")
    assert (reply.status, asked.calls) == (403, [])


async def test_a_token_does_not_let_another_origin_in() -> None:
    async with admin(section=GUARDED) as ask:
        reply = await ask(CHARGERS, Origin="http://evil.example", Authorization="Bearer open-sésame")
    assert reply.status == 403


@pytest.mark.parametrize(
    ("site", "mode", "status"),
    [
        ("cross-site", "no-cors", 403),
        ("same-site", "no-cors", 403),
        ("cross-site", "navigate", 200),
        ("same-origin", "cors", 200),
        ("none", "navigate", 200),
    ],
)
async def test_what_a_browser_says_of_the_asking_site_counts(site: str, mode: str, status: int) -> None:
    async with admin() as ask:
        assert (await ask(CHARGERS, Sec_Fetch_Site=site, Sec_Fetch_Mode=mode)).status == status


async def test_a_preflight_of_another_origin_is_refused() -> None:
    async with admin() as ask:
        reply = await ask(RESET, "OPTIONS", Origin="http://evil.example", Access_Control_Request_Method="POST")
    assert reply.status == 403
    assert not [name for name in reply.headers if name.lower().startswith("access-control")]


# --- the token


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer ", "Bearer wrong", "Bearer open-s", "Basic open-sésame", "open-sésame", "Bearer open-sésame2"],
)
@pytest.mark.parametrize("path", [CHARGERS, "/metrics", "/api/openapi.json", "/api/v1/traffic", "/nothing", "/static"])
async def test_without_the_token_a_door_is_shut(authorization: str, path: str) -> None:
    async with admin(section=GUARDED) as ask:
        reply = await ask(path, Authorization=authorization)
    assert (reply.status, reply.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert "sésame" not in reply.body.decode()


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/", "/docs", "/static/index.js", "/static/style.css"])
async def test_probes_and_empty_pages_need_no_token(path: str) -> None:
    async with admin(section=GUARDED) as ask:
        assert (await ask(path)).status == 200


@pytest.mark.parametrize("path", ["/%61pi/v1/chargers", "//api/v1/chargers", "/static/../api/v1/chargers", "/docs/../metrics"])
async def test_no_spelling_of_a_path_goes_round_the_token(path: str) -> None:
    async with admin(section=GUARDED) as ask:
        assert (await ask(path)).status in (401, 404)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
async def test_the_token_opens(scheme: str) -> None:
    async with admin(section=GUARDED) as ask:
        assert (await ask(CHARGERS, Authorization=f"{scheme} open-sésame")).status == 200


async def test_a_token_may_come_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from-a-file\n")
    async with admin(section=Admin(token_file=tmp_path / "token")) as ask:
        assert (await ask(CHARGERS, Authorization="Bearer from-a-file")).status == 200
        assert (await ask(CHARGERS)).status == 401


@pytest.mark.parametrize("content", ["", "\n", "  ", " padded"])
def test_an_empty_token_is_a_complaint_and_no_open_door(tmp_path: Path, content: str) -> None:
    (tmp_path / "token").write_text(content)
    with pytest.raises(ConfigError, match=r"^admin\.token_file: expected a token without white space around it$"):
        token(Admin(token_file=tmp_path / "token"))


# --- headers


@pytest.mark.parametrize("path", ["/", "/docs", "/static/index.js", CHARGERS, "/healthz", "/nothing", f"{CHARGERS}/x"])
async def test_every_answer_carries_the_headers(path: str) -> None:
    async with admin() as ask:
        reply = await ask(path)
    assert HEADERS.items() <= reply.headers.items()
    assert "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'" in HEADERS["Content-Security-Policy"]


@pytest.mark.parametrize("headers", [{"Host": "evil.example"}, {"Origin": "http://evil.example"}])
async def test_a_refusal_carries_the_headers_too(headers: dict[str, Any]) -> None:
    async with admin() as ask:
        assert HEADERS.items() <= (await ask("/", **headers)).headers.items()

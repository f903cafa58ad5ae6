"""The page in a real browser, where there is one."""

import asyncio
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.config import Admin
from gateway.inspector.pages import openapi
from gateway.roster import Roster
from tests.admin import CALL, FAILED, WHOLE, Visitor, admin, write
from translations.messages import Version

CHROMIUM = shutil.which("chromium")
HOSTILE = "<img src=x onerror=\"document.title='owned'\">\u202e"
SHOWN = "&lt;img src=x onerror=\"document.title='owned'\"&gt;\\u202e"

pytestmark = pytest.mark.skipif(CHROMIUM is None and "REQUIRE_ALL_PEERS" not in os.environ, reason="chromium is not installed")


async def dom(ask: Visitor, path: str, profile: Path, options: Sequence[str] = ()) -> str:
    """The page's elements after its scripts have run for a while."""
    assert CHROMIUM is not None, "chromium is not installed"
    where = [f"--user-data-dir={profile}", "--no-sandbox", "--headless", "--disable-gpu", "--disable-dev-shm-usage"]
    browser = await asyncio.create_subprocess_exec(
        CHROMIUM,
        *where,
        "--virtual-time-budget=1500",
        "--dump-dom",
        *options,
        str(ask.url(path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(60):
            return (await browser.communicate())[0].decode()
    finally:
        if browser.returncode is None:
            browser.kill()
            await browser.wait()


async def test_the_page_shows_chargers_and_traffic(tmp_path: Path) -> None:
    write(tmp_path / "traffic.db", *WHOLE, FAILED)
    async with admin(tmp_path / "traffic.db") as ask:
        page = await dom(ask, "/", tmp_path / "profile")
    assert page.count("<tr>") == 2 + 2 + 2  # two headings, two chargers, two exchanges
    assert '<td class="failed">InternalError</td>' in page
    assert '<td class="name">DC/2</td>' in page


async def test_what_a_charger_sent_is_shown_and_not_obeyed(tmp_path: Path) -> None:
    roster = Roster()
    roster.booted(roster.heard(HOSTILE, Version.V16, "", ""), {"chargePointVendor": HOSTILE})
    write(tmp_path / "traffic.db", CALL._replace(charger=HOSTILE, action=HOSTILE))
    async with admin(tmp_path / "traffic.db", roster=roster) as ask:
        page = await dom(ask, "/", tmp_path / "profile")
    assert page.count(SHOWN) == 4
    assert "<title>OCPP gateway</title>" in page


async def test_an_empty_gateway_says_so(tmp_path: Path) -> None:
    write(tmp_path / "traffic.db")
    async with admin(tmp_path / "traffic.db", roster=Roster()) as ask:
        page = await dom(ask, "/", tmp_path / "profile")
    assert '<p id="chargers-empty" class="empty">' in page
    assert '<p id="traffic-empty" class="empty">' in page


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_a_page_asks_for_the_token(tmp_path: Path, path: str) -> None:
    (tmp_path / "token").write_text("open")
    async with admin(tmp_path / "traffic.db", section=Admin(token_file=tmp_path / "token")) as ask:
        page = await dom(ask, path, tmp_path / "profile")
    assert '<form id="login">' in page


async def test_the_description_is_shown(tmp_path: Path) -> None:
    async with admin() as ask:
        page = await dom(ask, "/docs", tmp_path / "profile")
    operations = [method for item in openapi()["paths"].values() for method in item if method != "parameters"]
    assert page.count('<b class="method">') == len(operations)
    assert "/api/v1/chargers/{identity}/calls/{action}" in page

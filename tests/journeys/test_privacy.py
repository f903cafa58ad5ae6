"""Secrets are planted in all that a gateway is told, and everything that leaves it towards people is searched for them.

What leaves is the table LEAVING: who makes another way out adds a row.
"""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, STDOUT
from base64 import b64encode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any

import aiohttp
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from tests.peers.csms import Csms
from tests.peers.envelopes import Response, envelope, post
from tests.peers.subprocess_gateway import SubprocessGateway

TAG, LONG_TAG, PARENT = "QTAG4711", "QLONGTAG4711-QLONGTAG4711", "QPARENT4711"
PASSWORD, SETTING, TOKEN, URL_PASSWORD = "qpassword4711", "QSETTING4711QSETTING", "qtoken4711", "qurl4711"
ADMIN, UPSTREAM, KEY = "qadmin4711", "qupstream4711", "MHcCAQEEIQKEY4711"
PEM = f"-----BEGIN EC PRIVATE KEY-----\n{KEY}\n-----END EC PRIVATE KEY-----"
BASIC = b64encode(f"JSON-1:{PASSWORD}".encode()).decode()
PLANTED = (TAG, LONG_TAG, PARENT, PASSWORD, SETTING, TOKEN, URL_PASSWORD, ADMIN, UPSTREAM, KEY, BASIC)
CONFIGURATION = """
[server]
port = 0
drain = 1
soap_paths = ["/soap", "/bound/{{token}}"]
[admin]
port = 0
token_file = "admin-token"
[log]
level = "debug"
format = "{form}"
[callbacks]
timeout = "2s"
[[backends]]
kind = "ocppj"
name = "csms"
url = "{url}"
password_file = "password"
[[backends]]
kind = "ocppj"
name = "away"
url = "ws://127.0.0.1:1/{{identity}}"
away = "store"
[[routes]]
answer = ["csms"]
listen = ["away"]
"""
TAGGED = "<authorizeRequest><idTag>{}</idTag></authorizeRequest>"
START = f"<startTransactionRequest><connectorId>1</connectorId><idTag>{TAG}</idTag><timestamp>2026-05-01T10:00:00Z</timestamp>"
START += "<meterStart>1</meterStart></startTransactionRequest>"
SAID = f"password={PASSWORD}; {PEM}"
POSTS: tuple[tuple[str, bytes], ...] = (
    ("/soap", envelope(TAGGED.format(TAG))),
    ("/soap", envelope(START)),
    ("/soap", envelope(TAGGED.format(LONG_TAG), version="1.6")),
    ("/soap", envelope(TAGGED.format(TAG))[:-20]),
    ("/soap", envelope(TAGGED.format(f"<idTag>{TAG}</idTag>"))),
    ("/soap", envelope(f"<danceRequest><password>{PASSWORD}</password></danceRequest>")),
    ("/soap", envelope(f"<dataTransferRequest><vendorId>v</vendorId><data>{SAID}</data></dataTransferRequest>")),
    ("/soap", envelope(sender=f"http://me:{URL_PASSWORD}@192.0.2.1/x?token={TOKEN}")),
    ("/soap", f"<idTag>{TAG} password={PASSWORD}".encode()),
    (f"/bound/{TOKEN}", envelope(TAGGED.format(TAG), sender=f"http://192.0.2.1/bound/{TOKEN}")),
    (f"/bound/{TOKEN}", b"<x/>"),
    (f"/elsewhere/{TOKEN}?password={PASSWORD}", envelope()),
)
FRAMES: tuple[Any, ...] = (
    [2, "1", "Authorize", {"idTag": TAG}],
    [2, "2", "Authorize", {"idTag": LONG_TAG}],
    [2, "3", "Authorize", {"idTag": {"id": TAG}}],
    [2, "4", "Authorize", {"idTag": TAG, "password": PASSWORD}],
    [2, "5", "DataTransfer", {"vendorId": "v", "data": SAID}],
    [2, "6", "StopTransaction", {"transactionId": 1, "idTag": [TAG], "meterStop": 1, "timestamp": "2026-05-01T10:00:00Z"}],
    [2, "7", "StartTransaction", {"connectorId": "one", "idTag": TAG, "meterStart": 1, "timestamp": "2026-05-01T10:00:00Z"}],
)
UNKNOWN = json.dumps([2, "9", f"password={PASSWORD}", {"idTag": TAG}])  # what the CSMS says of it is the charger's


class Leaving:
    """A gateway with secrets in it, what it answered to bad input, and a visitor with the token of the API."""

    def __init__(self, gateway: SubprocessGateway, http: aiohttp.ClientSession) -> None:
        self.gateway, self._http = gateway, http
        self.answers: list[bytes] = []

    async def get(self, path: str) -> bytes:
        return await self.ask("GET", path)

    async def ask(self, method: str, path: str, body: Any = None, *, token: str = ADMIN) -> bytes:
        url, headers = f"http://127.0.0.1:{self.gateway.admin}{path}", {"Authorization": f"Bearer {token}"}
        async with self._http.request(method, url, json=body, headers=headers) as answer:
            return repr(dict(answer.headers)).encode() + await answer.read()


Way = Callable[[Leaving], Awaitable[bytes]]


def api(path: str) -> Way:
    """What the API says at that path."""

    async def way(leaving: Leaving) -> bytes:
        return await leaving.get(path)

    return way


def command(*words: str) -> Way:
    """What a command of the terminal says."""

    async def way(leaving: Leaving) -> bytes:
        given = (sys.executable, "-m", "gateway", "traffic", *words)
        process = await asyncio.create_subprocess_exec(*given, cwd=leaving.gateway.folder, stdout=PIPE, stderr=STDOUT)
        said, _ = await process.communicate()
        assert process.returncode == 0, said.decode(errors="replace")
        return said

    return way


async def the_log(leaving: Leaving) -> bytes:
    return leaving.gateway.log.encode()


async def faults_and_errors(leaving: Leaving) -> bytes:
    return b"\n".join(leaving.answers)


async def who_is_refused(leaving: Leaving) -> bytes:
    return await leaving.ask("GET", f"/api/v1/chargers?token={TOKEN}", token=PASSWORD)


async def a_command_that_is_refused(leaving: Leaving) -> bytes:
    call = {"connectorId": "one", "idTag": LONG_TAG}
    return await leaving.ask("POST", "/api/v1/chargers/JSON-1/calls/RemoteStartTransaction", call)


LEAVING: Mapping[str, Way] = MappingProxyType(
    {
        "stderr": the_log,
        "faults and CALLERRORs": faults_and_errors,
        "chargers": api("/api/v1/chargers"),
        "a charger": api("/api/v1/chargers/CP-1"),
        "traffic": api("/api/v1/traffic?limit=1000"),
        "an exchange": api("/api/v1/traffic/1"),
        "traffic list": command("list", "--limit", "1000"),
        "traffic show": command("show", "1"),
        "traffic show --json": command("show", "2", "--json"),
        "traffic follow": command("follow", "--charger", "JSON-1"),
        "traffic stats": command("stats"),
        **{f"traffic export, {form}": command("export", "--format", form) for form in ("jsonl", "trace", "har", "csv", "pcapng")},
        "letters": api("/api/v1/letters"),
        "letters that wait": api("/api/v1/letters/waiting"),
        "metrics": api("/metrics"),
        "health": api("/healthz"),
        "readiness": api("/readyz"),
        "description": api("/api/openapi.json"),
        "page": api("/"),
        "a visitor without the token": who_is_refused,
        "a refused command": a_command_that_is_refused,
    }
)


async def soap_traffic(leaving: Leaving) -> None:
    for path, body in POSTS:
        response: Response = await post(leaving.gateway.port, body, path)
        leaving.answers += [response.body] if response.status != 200 else []


async def json_traffic(leaving: Leaving) -> None:
    url, headers = f"ws://127.0.0.1:{leaving.gateway.port}/ocpp/JSON-1", {"Authorization": f"Basic {BASIC}"}
    async with connect(url, subprotocols=[Subprotocol("ocpp1.6")], additional_headers=headers, proxy=None) as charger:
        for frame in FRAMES:
            await charger.send(json.dumps(frame))
            said = str(await charger.recv())
            leaving.answers += [said.encode()] if said.startswith("[4") else []
        await charger.send(UNKNOWN)
        await charger.recv()
        await charger.send(f'[2,"8","Authorize",{{"idTag":"{TAG}","password":"{PASSWORD}"')
        await commands(leaving, charger)


async def commands(leaving: Leaving, charger: ClientConnection) -> None:
    """What the API is told for a charger, and an answer that nobody waits for."""
    setting = {"key": "AuthorizationKey", "value": SETTING}
    firmware = {"location": f"ftp://me:{URL_PASSWORD}@192.0.2.1/x", "retrieveDate": "2026-05-01T10:00:00Z"}
    for action, payload in (("ChangeConfiguration", setting), ("UpdateFirmware", firmware)):
        await leaving.ask("POST", f"/api/v1/chargers/CP-1/calls/{action}", payload)
    await charger.send(json.dumps([3, "nobody-asked", {"idTag": TAG}]))


def check(what: str, said: bytes) -> None:
    text = said.decode("utf-8", "replace").lower()
    assert (what, [each for each in PLANTED if each.lower() in text]) == (what, [])


@asynccontextmanager
async def planted(folder: Path, csms: Csms, form: str) -> AsyncIterator[Leaving]:
    csms.answers["Authorize"] = {"idTagInfo": {"status": "Accepted", "parentIdTag": PARENT}}
    (folder / "admin-token").write_text(ADMIN)
    (folder / "password").write_text(UPSTREAM)
    timeout = aiohttp.ClientTimeout(total=20)
    async with (
        SubprocessGateway(folder, CONFIGURATION.format(form=form, url=csms.url)) as gateway,
        aiohttp.ClientSession(timeout=timeout, trust_env=False) as http,
    ):
        leaving = Leaving(gateway, http)
        await soap_traffic(leaving)
        await json_traffic(leaving)
        yield leaving


@pytest.mark.parametrize("form", ["text", "json"])
async def test_nothing_that_leaves_tells_a_secret(tmp_path: Path, csms: Csms, form: str) -> None:
    async with planted(tmp_path, csms, form) as leaving:
        assert leaving.answers
        for what, way in LEAVING.items():
            check(what, await way(leaving))
        await leaving.gateway.stop()
        check("the log when it has stopped", await the_log(leaving))
        assert "Authorize" in leaving.gateway.log

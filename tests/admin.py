"""The admin door for tests: served on a free port, over a roster and a log that the test fills, and a client for it."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
from yarl import URL

from gateway.config import Admin, Config, Redaction, Replay
from gateway.exchange import Ids
from gateway.inspector.api import admin_app
from gateway.inspector.hiding import Hiding
from gateway.inspector.situation import Situation
from gateway.outbox.outbox import Outbox
from gateway.redaction.audit import Audit, RevealRight
from gateway.redaction.redactor import Redactor
from gateway.roster import Roster
from gateway.state.ledger import Ledger
from gateway.state.store import StateStore
from gateway.traffic import query
from gateway.traffic.record import Record
from tests.exchanges import write as write
from tests.ws import DEADLINE, serving
from translations.messages import Answer, Call, Kind, Remark, Result, Version

REMARK = Remark(Kind.LOST, "iccid", "not in 1.2", "drop")
CALL = Record(
    1_714_557_600.0, "x-1", "CP-1", "charger", "<", "soap", "1.5", "call", "Heartbeat", "m-1", b"<heartbeat/>"
)._replace(canonical=[2, "m-1", "Heartbeat", {}], remarks=(REMARK,), peer="192.0.2.1:4000")
SENT = CALL._replace(
    at=1_714_557_601.0, leg="csms", direction=">", wire="json", version="1.6", raw=b'[2,"a","Heartbeat",{}]', canonical=None
)
ANSWER = SENT._replace(at=1_714_557_602.0, direction="<", kind="result", raw=b'[3,"a",{}]', outcome="ok", latency=0.0125)
REPLY = CALL._replace(
    at=1_714_557_602.5, direction=">", kind="result", raw=b"<ok/>", canonical=[3, "m-1", {}], remarks=()
)._replace(outcome="ok", latency=0.02)
WHOLE = (CALL, SENT, ANSWER, REPLY)
FAILED = ANSWER._replace(
    exchange="x-2", charger="DC/2", tenant="Acme", kind="error", action="Authorize", outcome="InternalError", remarks=()
)
REDACTOR = Redactor(Config(), bytes(32))


def filled_roster() -> Roster:
    """Two chargers; one has told little, and has a slash in its identity."""
    roster = Roster(clock=lambda: 1_714_557_600.0)
    charger = roster.heard("CP-1", Version.V15, "192.0.2.1:4000", "http://192.0.2.1:8080/")
    roster.booted(charger, {"chargePointVendor": "Volt", "chargePointModel": "A1", "firmwareVersion": "1.2.3"})
    roster.registered(charger, "Accepted", 300)
    roster.heard("DC/2", Version.V12, "", "", tenant="Acme")
    return roster


def alone(identity: str) -> Situation:
    """A charger without backends."""
    return Situation((), ())


def no_letters() -> Outbox:
    """An outbox with nothing in it, and no disk below it."""
    return Outbox(Replay(), Ledger(StateStore(Path("never-opened.db")), 60), Ids())


class Asked:
    """Stands behind the door for calls: keeps what was asked, and answers."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.calls: list[tuple[Call, float]] = []
        self.answer: Answer = answer or Result({"status": "Accepted"})

    async def __call__(self, call: Call, timeout: float) -> Answer:
        self.calls.append((call, timeout))
        return self.answer


@dataclass(frozen=True)
class Reply:
    """What a door answered."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def hiding(token: str | None = None) -> Hiding:
    """What hides, with a key that is known. Whoever has the token may see what is hidden; no line is kept of it."""
    return Hiding(REDACTOR, Unkept(Path(), str), RevealRight(token))


class Unkept(Audit):
    """An audit that keeps nothing."""

    def revealed(self, who: str, asked: str, count: int | None, *, now: datetime | None = None) -> None:
        """Keep nothing."""


class Visitor:
    """A client of a served admin door."""

    def __init__(self, port: int, http: aiohttp.ClientSession) -> None:
        self.port, self.http = port, http

    def url(self, path: str) -> URL:
        return URL(f"http://127.0.0.1:{self.port}{path}", encoded=True)

    async def __call__(self, path: str, method: str = "GET", data: bytes | None = None, **headers: str) -> Reply:
        said = {name.replace("_", "-"): value for name, value in headers.items()}
        skip = () if "Content-Type" in said else ("Content-Type",)
        body = None if data is None else BytesIO(data)
        async with self.http.request(method, self.url(path), data=body, headers=said, skip_auto_headers=skip) as response:
            return Reply(response.status, dict(response.headers), await response.read())


@asynccontextmanager
async def admin(
    path: Path | None = None, *, section: Admin | None = None, redaction: Redaction | None = None, **options: Any
) -> AsyncIterator[Visitor]:
    """Serve the admin door."""
    said = {"roster": filled_roster(), "look": alone, "letters": no_letters(), "call": Asked(), "ready": list}
    config = Config(admin=section or Admin(), redaction=redaction or Redaction())
    given = {**said, "metrics": lambda: b"up 1\n", "redactor": REDACTOR, **options}
    app = admin_app(config=config, traffic=None if path is None else partial(query.open_to_read, path), **given)
    timeout = aiohttp.ClientTimeout(total=DEADLINE)
    async with serving(app) as port, aiohttp.ClientSession(timeout=timeout) as http:
        yield Visitor(port, http)

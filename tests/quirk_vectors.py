"""Vectors of quirks: what they are, and what the gateway makes of one.

`vectors/quirks/<quirk>-<wire>.toml` has `quirk`, the rule that repairs it, empty where nothing needs repair; `evidence`, where it
was seen; `wire`; `before`, an envelope or a frame, `before_base64` where it is no UTF-8; and one of `after` with `action`,
`error`, `refused` or, for what the gateway writes, `after_envelope` as XPath and value, or `unwritten` where it writes nothing.
`remarks` are complete. `who` is what is known of the charger, `row` an operator's own row, `answers` the action of the call that
it answers, `received` the time of receipt, `charset` that of the transport, `headers` those of HTTP, `source` its address and
`callback` where it can be called.
"""

import asyncio
import base64
import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.chargers.soap import SoapDoor
from gateway.config import Quirk as Row
from gateway.config import Server
from gateway.exchange import Ids
from gateway.roster import Roster
from translations import ocppj, soap
from translations.deltas import known_actions
from translations.errors import OcppError
from translations.manners import Manner, Quirk, Who, manner_of
from translations.messages import Answer, Call, Message, Result, Side, Version
from translations.tongue import Tongue

FOLDER = Path(__file__).parent / "vectors" / "quirks"
WRITTEN = ("after_envelope", "unwritten")
ENDINGS = ("after", "error", "refused", *WRITTEN)
ABOUT = ("quirk", "evidence", "wire", "charset", "headers", "who", "row", "answers", "received", "source")
FOUND = ("action", "identity", "id", "callback", "remarks")
KEYS = {*ABOUT, *FOUND, *ENDINGS, "before", "before_base64"}
ADDRESSES = soap.Addresses("urn:uuid:2", "urn:uuid:1", "http://192.0.2.9:8080/", "http://192.0.2.1:9000/soap")


@dataclass(frozen=True)
class Vector:
    """One file."""

    name: str
    given: Mapping[str, Any]

    @property
    def version(self) -> Version:
        return Version(self.given["wire"].partition("-")[2])

    @property
    def is_soap(self) -> bool:
        return str(self.given["wire"]).startswith("soap-")

    @property
    def before(self) -> bytes:
        coded = self.given.get("before_base64")
        return base64.b64decode(coded) if coded else str(self.given["before"]).encode()

    @property
    def after(self) -> Any:
        return json.loads(self.given["after"], parse_float=Decimal)

    @property
    def answers(self) -> str:
        """The action of the call that this answers; empty for a call."""
        return str(self.given.get("answers", ""))

    @property
    def service(self) -> Side:
        """The service that the message, or the call that it answers, is addressed to."""
        said = json.loads(self.before)[2] if any(ending in self.given for ending in WRITTEN) else ""
        commanded = (self.answers or said) in known_actions(Side.CHARGE_POINT)
        return Side.CHARGE_POINT if commanded else Side.CENTRAL_SYSTEM

    def manner(self, validation: str = "repair") -> Manner:
        known = {"identity": "CP-1", "version": str(self.version)} | self.given.get("who", {})
        rows = [Row(**self.given["row"])] if "row" in self.given else []
        return manner_of(Who(**known), tuple(Quirk.from_row(r.model_dump(exclude_none=True)) for r in rows), validation)


VECTORS = [Vector(path.stem, tomllib.loads(path.read_text("utf-8"))) for path in sorted(FOLDER.glob("*.toml"))]


def each(*keys: str, quirk: bool | None = None) -> pytest.MarkDecorator:
    """Every vector that has one of these keys; with `quirk` those that need a repair, or those that need none."""
    found = [v for v in VECTORS if any(k in v.given for k in keys) and quirk in (None, bool(v.given["quirk"]))]
    return pytest.mark.parametrize("vector", found, ids=[v.name for v in found])


# --- the gateway, in one place


def heard(vector: Vector, validation: str = "repair") -> Message:
    """What the gateway understands. Raises OcppError."""
    if "headers" in vector.given:
        return asyncio.run(posted(vector, validation))
    received, manner = str(vector.given.get("received", "")), vector.manner(validation)
    if vector.is_soap:
        return soap.read(opened(vector), received, manner)
    tongue = Tongue(vector.version, Side.CENTRAL_SYSTEM, manner)
    return tongue.heard(ocppj.decode(vector.before), vector.answers, received)


def opened(vector: Vector) -> soap.Envelope:
    return soap.parse(vector.before, vector.given.get("charset"), vector.service)


async def posted(vector: Vector, validation: str) -> Message:
    """The message behind the door for SOAP chargers, called as ASGI calls it; a refusal is raised again."""
    calls: list[Call] = []

    async def exchange(call: Call) -> Answer:
        calls.append(call)
        return Result({"currentTime": "2024-05-01T12:00:00Z"})

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": vector.before, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    sent: list[Any] = []
    lines = [(name.lower().encode(), value.encode()) for name, value in vector.given["headers"].items()]
    scope = {"type": "http", "method": "POST", "query_string": b"", "headers": lines, "client": ("192.0.2.7", 41000)}
    config = Server.model_validate({})
    door = SoapDoor(exchange, Roster(), lambda _: None, Ids(), config, terms=lambda *_: vector.manner(validation))
    await door(scope, receive, send)
    if not calls:
        raise OcppError(f"HTTP {sent[0]['status']}")
    return calls[0]


def written(vector: Vector) -> soap.Written:
    """What the gateway writes. Raises OcppError."""
    message, manner = ocppj.decode(vector.before), vector.manner()
    where = ADDRESSES if isinstance(message, Call) else ADDRESSES._replace(relates_to=message.id)
    action = "" if isinstance(message, Call) else vector.answers
    return soap.encode(message, vector.version, vector.service, action=action, identity="CP-1", addresses=where, manner=manner)


def again(message: Call | Result, version: Version, side: Side) -> Message:
    """A message said by the contract and heard again; by that of 1.6 where its own version cannot say all of it."""
    said = soap.encode(message, version, side, action=message.action, identity="CP-1", addresses=ADDRESSES)
    if said.remarks:
        return again(message, Version.V16, side) if version is not Version.V16 else soap.decode(said.body, role=side)[1]
    return soap.decode(said.body, role=side)[1]

"""Chargers that say everything again, with a new message id, until they have heard the answer; SOAP 1.5 and JSON, by hand."""

import asyncio
import json
import random
from asyncio import Event
from collections.abc import Callable, Mapping
from itertools import count
from types import MappingProxyType
from typing import Any, Protocol

import aiohttp
from lxml import etree
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidMessage, WebSocketException
from websockets.typing import Subprotocol

from tests.peers.book import MONEY, STATUS, Deed, Gist, gist
from tests.peers.envelopes import NAMESPACES, SOAP_TYPE, envelope
from tests.peers.stack16 import Payload
from tests.peers.work import BOOT, Clock, charge, in_15, status

PATIENCE = 3.0  # seconds until a charger says it again
PAUSE = 0.05  # seconds before that
OUTAGES = (OSError, TimeoutError, WebSocketException, InvalidHandshake, InvalidMessage, aiohttp.ClientError)
_INTEGERS = frozenset({"transactionId", "heartbeatInterval"})
Where = Callable[[], int]


class Wire(Protocol):
    """How a charger says something once."""

    async def once(self, action: str, payload: Payload) -> Payload | None:
        """The answer; None for an error. Raises one of OUTAGES."""

    async def close(self) -> None:
        """No more."""


class JsonWire:
    """A socket, opened when it is needed."""

    def __init__(self, identity: str, where: Where) -> None:
        self._identity, self._where, self._ids = identity, where, count(1)
        self._socket: ClientConnection | None = None

    async def once(self, action: str, payload: Payload) -> Payload | None:
        try:
            async with asyncio.timeout(PATIENCE):
                return await self._once(action, payload)
        except OUTAGES:
            await self.close()
            raise

    async def _once(self, action: str, payload: Payload) -> Payload | None:
        socket = self._socket = self._socket or await self._connected()
        message_id = f"{action}-{next(self._ids)}"
        await socket.send(json.dumps([2, message_id, action, payload]))
        while True:
            kind, answered, *rest = json.loads(await socket.recv())
            if answered == message_id:
                return rest[0] if kind == 3 else None

    async def _connected(self) -> ClientConnection:
        url = f"ws://127.0.0.1:{self._where()}/ocpp/{self._identity}"
        return await connect(url, subprotocols=[Subprotocol("ocpp1.6")], compression=None, proxy=None, close_timeout=0.2)

    async def close(self) -> None:
        if self._socket is not None:
            await self._socket.close()
            self._socket = None


class SoapWire:
    """A request over HTTP."""

    def __init__(self, identity: str, where: Where) -> None:
        self._identity, self._where, self._ids = identity, where, count(1)
        self._http = aiohttp.ClientSession(trust_env=False, timeout=aiohttp.ClientTimeout(PATIENCE))

    async def once(self, action: str, payload: Payload) -> Payload | None:
        element = f"{action[:1].lower()}{action[1:]}Request"
        body = envelope(_xml(element, in_15(action, payload)), identity=self._identity, message_id=f"urn:x:{next(self._ids)}")
        url = f"http://127.0.0.1:{self._where()}/soap"
        async with self._http.post(url, data=body, headers={"Content-Type": SOAP_TYPE}) as response:
            answer = await response.read()
        return _read(answer) if response.status == 200 else None

    async def close(self) -> None:
        await self._http.close()


def _xml(name: str, value: Any) -> str:
    if isinstance(value, list):
        return "".join(_xml(name, each) for each in value)
    inner = "".join(_xml(*each) for each in value.items()) if isinstance(value, dict) else str(value)
    return f"<{name}>{inner}</{name}>"


def _read(answer: bytes) -> Payload:
    """The leaves of an answer, by their names."""
    leaves = etree.fromstring(answer).iter(f"{{{NAMESPACES['1.5']}}}*")
    named = {etree.QName(leaf).localname: leaf.text for leaf in leaves}
    return {name: int(str(text)) if name in _INTEGERS else text for name, text in named.items()}


WIRES: Mapping[str, Callable[[str, Where], Wire]] = MappingProxyType({"json": JsonWire, "soap": SoapWire})


class Stubborn:
    """The charger; `deeds` is what it did, `again` what of that it has said more than once."""

    def __init__(self, kind: str, identity: str, where: Where, chance: random.Random) -> None:
        self.identity, self.deeds = identity, list[Deed]()
        self.again: set[Gist] = set()
        self.last: Payload = {}  # the newest status that somebody has said yes to
        self._wire, self._chance, self._clock = WIRES[kind](identity, where), chance, Clock()

    async def say(self, action: str, payload: Payload) -> Payload:
        """Until it is heard."""
        while True:
            await asyncio.sleep(self._chance.uniform(0, PAUSE))  # what makes the load what it is
            try:
                answer = await self._wire.once(action, payload)
            except OUTAGES:
                answer = None
            if answer is not None:
                return answer
            if action in MONEY:
                self.again.add(gist(self.identity, action, payload))

    async def work(self, over: Event) -> None:
        """Boot, and charge one car after the other until it is over; then finish the last."""
        while (await self.say("BootNotification", BOOT))["status"] != "Accepted":
            pass
        for number in count(1):
            await self._status("Preparing")
            tag = f"{self.identity}-{number}"
            await charge(self.say, self.identity, self._clock, tag=tag, readings=self._chance.randint(0, 3), deeds=self.deeds)
            if over.is_set():
                break
        await self._status("Available")

    async def _status(self, word: str) -> None:
        told = status(1, word, self._clock())
        await self.say(STATUS, told)
        self.last = told

    async def close(self) -> None:
        await self._wire.close()

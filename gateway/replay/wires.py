"""The other end of a replay: a CSMS or a gateway over a WebSocket, or a gateway's SOAP door."""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Protocol
from urllib.parse import quote

import aiohttp

from gateway.dial import FAULTS, Dialler, reason
from gateway.exchange import Ids
from gateway.link import Closed, Link
from gateway.replay.plan import Lane
from gateway.rules.names import Names
from translations import soap
from translations.errors import OcppError
from translations.messages import Answer, Call, Error, Side

ANSWER_LIMIT = 16 << 20  # bytes of an envelope


class NoReply(Exception):
    """There is no answer; the text says why."""


class Peer(Protocol):
    """Whom the calls of one charger are made to."""

    @property
    def seen(self) -> Counter[str]:
        """How many calls it has made, by action."""

    async def ask(self, call: Call, timeout: float) -> Answer:
        """Make a call; an Error is the peer's. Its remarks are also those of how the call was said. Raises NoReply."""

    async def heard(self, wanted: Counter[str], timeout: float) -> None:
        """Wait until it has made these calls, or the time is over."""


Opening = Callable[[Lane], AbstractAsyncContextManager[Peer]]
"""Opens the connection of a charger. Raises NoReply."""


# --- WebSocket ------------------------------------------------------------------------------------------------------------


class Sockets:
    """Connections to a backend, named in the configuration or not; `names` is what it calls chargers and idTags."""

    def __init__(self, dialler: Dialler, connect_timeout: float, names: Names | None = None) -> None:
        self._dialler, self._names, self._connect_timeout = dialler, names, connect_timeout
        self._ids = Ids()

    @asynccontextmanager
    async def open(self, lane: Lane) -> AsyncIterator[Peer]:
        """The connection of one charger, as `Opening` has it."""
        called = self._names.identity(lane.identity, lane.tenant) if self._names else lane.identity
        try:
            socket = await self._dialler.dial(lane.identity, called, lane.tenant)
        except FAULTS as fault:
            raise NoReply(reason(fault, self._connect_timeout)) from None
        peer = _Session(lane, self._names)
        peer.link = Link(
            socket,
            peer.answer,
            lambda record: None,
            identity=lane.identity,
            leg="replay",
            side=Side.CHARGE_POINT,
            ids=self._ids,
            peer=socket.peer,
            tenant=lane.tenant,
        )
        reading = asyncio.create_task(peer.link.run())
        try:
            yield peer
        finally:
            await peer.link.close()
            socket.abort()
            await reading


class _Session:
    """One open WebSocket."""

    link: Link

    def __init__(self, lane: Lane, names: Names | None) -> None:
        self.seen: Counter[str] = Counter()
        self._names = names
        self._answers: dict[str, deque[Answer]] = {}
        self._news = asyncio.Event()
        for command in lane.commands:
            if command.answer is not None:
                self._answers.setdefault(command.action, deque()).append(command.answer)

    async def ask(self, call: Call, timeout: float) -> Answer:
        try:
            return await self.link.ask(self._names.up(call) if self._names else call, timeout)
        except TimeoutError:
            raise NoReply(f"no answer in {timeout:g} s") from None
        except Closed as closed:
            raise NoReply(f"connection {closed}") from None
        except OcppError as error:
            raise NoReply(f"{error.code}: {error.text}") from None

    async def answer(self, call: Call) -> Answer:
        """What the charger answered to a command of this action, the first time, the second time, and so on."""
        self.seen[call.action] += 1
        self._news.set()
        recorded = self._answers.get(call.action)
        if not recorded:
            return Error("NotSupported", "nothing was recorded that could answer this", {}, call.id, call.action)
        return _to(recorded.popleft(), call)

    async def heard(self, wanted: Counter[str], timeout: float) -> None:
        try:
            async with asyncio.timeout(timeout):
                while wanted - self.seen:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            return


def _to(answer: Answer, call: Call) -> Answer:
    """The answer under the id of another call."""
    if isinstance(answer, Error):
        return Error(answer.code, answer.text, answer.details, call.id, call.action)
    return type(answer)(answer.payload, call.id, call.action)


# --- SOAP -----------------------------------------------------------------------------------------------------------------


class Posts:
    """Envelopes to a SOAP door. They name no callback address, so no command can come."""

    def __init__(self, url: str, http: aiohttp.ClientSession) -> None:
        self._url, self._http, self._ids = url, http, Ids()

    @asynccontextmanager
    async def open(self, lane: Lane) -> AsyncIterator[Peer]:
        """The door as one charger sees it, as `Opening` has it."""
        filled = self._url.replace("{identity}", quote(lane.identity, safe="")).replace("{tenant}", quote(lane.tenant, safe=""))
        yield _Door(filled, lane, self._http, self._ids)


class _Door:
    def __init__(self, url: str, lane: Lane, http: aiohttp.ClientSession, ids: Ids) -> None:
        self.seen: Counter[str] = Counter()
        self._url, self._lane, self._http, self._ids = url, lane, http, ids

    async def ask(self, call: Call, timeout: float) -> Answer:
        addresses = soap.Addresses(message_id=f"urn:replay:{self._ids()}", to=self._url)
        try:
            written = soap.encode(
                call, self._lane.version, Side.CENTRAL_SYSTEM, identity=self._lane.identity, addresses=addresses
            )
            body = await self._post(written.body, timeout)
            _, message = soap.decode(body, role=Side.CENTRAL_SYSTEM)
        except OcppError as error:
            raise NoReply(f"{error.code}: {error.text}") from None
        if isinstance(message, Call):
            raise NoReply("expected an answer, got a call")
        return replace(message, remarks=written.remarks + message.remarks)

    async def heard(self, wanted: Counter[str], timeout: float) -> None:
        return

    async def _post(self, envelope: bytes, timeout: float) -> bytes:
        headers = {"Content-Type": soap.CONTENT_TYPES[soap.SOAP12]}
        limits = aiohttp.ClientTimeout(total=timeout)
        try:
            async with self._http.post(
                self._url, data=envelope, headers=headers, timeout=limits, allow_redirects=False
            ) as response:
                body = await _read(response)
                if body.lstrip()[:1] != b"<" or "html" in response.content_type:
                    raise NoReply(f"HTTP {response.status}")
                return body
        except TimeoutError:
            raise NoReply(f"no answer in {timeout:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise NoReply(_reason(error)) from None


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for part in response.content.iter_chunked(65536):
        body += part
        if len(body) > ANSWER_LIMIT:
            raise NoReply(f"expected an answer of at most {ANSWER_LIMIT} bytes, got more")
    return bytes(body)


def _reason(error: Exception) -> str:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    return ((cause.strerror if isinstance(cause, OSError) else "") or str(cause) or type(cause).__name__).lower()

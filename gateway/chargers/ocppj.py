"""The south door for JSON chargers: one WebSocket per charger at /ocpp/{identity}.

A raw ASGI endpoint, because an idle charger should cost no more than its socket and its link. The server below does
the pings and bounds the size of a frame.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes

import structlog
from starlette.responses import PlainTextResponse
from starlette.types import Receive, Scope, Send

from gateway.admission import Refusal
from gateway.chargers.address import peer_of
from gateway.chargers.refusal import TAKEN, refuse_handshake
from gateway.chargers.subprotocols import SUBPROTOCOLS, WANTED, chosen, shown
from gateway.exchange import Ids, NotSent
from gateway.gate import BUSY
from gateway.link import OVERSIZED, Closed, Limits, Link, Oversized
from gateway.paths import LONGEST, Way, usable
from gateway.traffic.record import CHARGER_LEG, Tap
from translations.manners import USUAL, Manner
from translations.messages import Answer, Call, Result, Side, Version
from translations.tongue import EMPTY_METER_VALUES, tongue

PROTOCOL_ERROR, GOING_AWAY, REPLACED = 1002, 1001, 1008  # RFC 6455, 7.4.1
TRY_AGAIN_LATER = 1013  # https://www.iana.org/assignments/websocket
NAMELESS = Refusal(404, "", "no identity in the path")
STRANGE = Refusal(400, "", "no subprotocol in common")


logger = structlog.get_logger(__name__)

# For plain HTTP requests where chargers open WebSockets: RFC 9110, 15.5.22.
refuse_http = PlainTextResponse(
    f"this address is for chargers that speak OCPP over WebSocket: expected a WebSocket handshake with the subprotocol "
    f"{WANTED}, got a plain HTTP request; a SOAP charger is to be given the address /soap instead\n",
    status_code=426,
    headers={"upgrade": "websocket", "connection": "upgrade"},
)


class Arrivals(Protocol):
    """What the door tells of chargers, and whom it asks for answers."""

    def taken(self, identity: str, tenant: str) -> bool:
        """Whether the charger is here under another tenant: it may not arrive under this one."""

    def arrived(self, identity: str, link: Link, peer: str, version: str, tenant: str) -> None:
        """A charger's socket is open. `link` takes calls until `departed`, or until another one arrives for the charger."""

    def departed(self, identity: str, link: Link) -> None:
        """The charger's socket is gone, and no other one of the same charger has taken its place."""

    async def exchange(self, call: Call) -> Answer:
        """Answer a charger's call."""


class Gate(Protocol):
    """Who may come in by which path, and how fast."""

    def json(self, scope: Scope) -> Way | None:
        """What the path names, if it is one for JSON chargers."""

    def busy(self, scope: Scope) -> bool:
        """Whether too many come from there."""

    async def admit(self, scope: Scope, way: Way, identity: str) -> Refusal | None:
        """None for those who may come in."""

    def source(self, scope: Scope) -> str:
        """Who is at the other end, as host:port."""

    def tell(self, refusal: Refusal, scope: Scope, identity: str = "") -> object:
        """Tell the log of what the door refuses for itself."""

    async def pace(self, identity: str) -> object:
        """Wait until the charger may send one more message."""


Terms = Callable[[str, str, str], Manner]
"""(identity, version, tenant) -> how the charger talks; the version is empty where it is not known yet."""


def as_they_are(identity: str, version: str, tenant: str) -> Manner:
    """Terms for chargers of OCPP 1.6 whose messages are neither judged nor mended."""
    return USUAL._replace(validation="off")


class JsonDoor:
    """ASGI endpoint for the websocket scope. Without a gate everybody may come in, as the last part of the path names them."""

    def __init__(
        self,
        arrivals: Arrivals,
        tap: Tap,
        ids: Ids,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        gate: Gate | None = None,
        terms: Terms = as_they_are,
        settle: Callable[[Call], Call] | None = None,
    ) -> None:
        self._arrivals, self._tap, self._ids, self._limits = arrivals, tap, ids, limits
        self._gate, self._terms, self._settle = gate or _Open(), terms, settle
        self._pace: Callable[[str], Awaitable[object]] | None = gate.pace if gate else None
        self._links: dict[str, Link] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (await receive())["type"] != "websocket.connect":
            return
        if self._gate.busy(scope):
            self._gate.tell(BUSY, scope)
            await refuse_handshake(scope, receive, send, BUSY.status, f"{BUSY.text}\n")
            return
        way = self._gate.json(scope)
        if way is None or not way.identity:
            await self._lost(scope, receive, send)
            return
        refusal = await self._gate.admit(scope, way, way.identity)
        if refusal is None and self._taken(way, scope):
            refusal = TAKEN
        if refusal is not None:
            await refuse_handshake(scope, receive, send, refusal.status, f"{refusal.text}\n", refusal.headers)
            return
        await self._welcome(way, scope, receive, send)

    def _taken(self, way: Way, scope: Scope) -> bool:
        if taken := self._arrivals.taken(way.identity, way.tenant):
            self._gate.tell(TAKEN, scope, way.identity)
        return taken

    async def _lost(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._gate.tell(NAMELESS, scope)
        text = (
            "expected the charger's identity as the last part of the path, percent-encoded UTF-8 of at most "
            f"{LONGEST} printable characters without white space at its ends, as in /ocpp/CP-1; "
            f"got {scope['raw_path'].decode('ascii', 'replace')[:200]}\n"
        )
        await refuse_handshake(scope, receive, send, NAMELESS.status, text)

    async def close(self, drain: float = 0) -> None:
        """Close every charger's socket, once what is in flight on it has finished."""
        closing = [link.close(GOING_AWAY, "the gateway is shutting down", drain) for link in self._links.values()]
        await asyncio.gather(*closing)

    async def _welcome(self, way: Way, scope: Scope, receive: Receive, send: Send) -> None:
        """Settle on a version, and speak it."""
        identity, offers, peer = way.identity, scope["subprotocols"], self._gate.source(scope)
        if odd := (scope.get("extensions") or {}).get("odd"):
            logger.info("charger.odd_handshake", charger=identity, peer=peer, odd=[str(what)[:80] for what in odd])
        version, echo = chosen(offers)
        if version is None and any(offers):
            self._gate.tell(STRANGE, scope, identity)
            await _turn_away(offers, send)
            return
        if version is None:
            version = SUBPROTOCOLS[self._terms(identity, "", way.tenant).subprotocol]
        if echo not in SUBPROTOCOLS:
            logger.info("charger.odd_subprotocol", charger=identity, peer=peer, offered=shown(offers), spoken=f"ocpp{version}")
        await send({"type": "websocket.accept", "subprotocol": echo})
        socket = AsgiSocket(receive, send)
        if self._taken(way, scope):  # it came elsewhere in the meantime
            with contextlib.suppress(Closed):
                await socket.close(REPLACED, TAKEN.text)
            return
        await self._talk(way, version, peer, socket)

    async def _talk(self, way: Way, version: Version, peer: str, socket: "AsgiSocket") -> None:
        link = Link(
            socket,
            self._exchange,
            self._tap,
            identity=way.identity,
            tenant=way.tenant,
            leg=CHARGER_LEG,
            side=Side.CENTRAL_SYSTEM,
            ids=self._ids,
            version=version,
            peer=peer,
            limits=self._limits,
            tongue=tongue(version, Side.CENTRAL_SYSTEM, self._terms(way.identity, version, way.tenant)),
            pace=self._pace,
            settle=self._settle,
        )
        self._arrive(link)
        try:
            await link.run()
        finally:
            self._depart(link)

    async def _exchange(self, call: Call) -> Answer:
        if call.remarks and any(remark.rule == EMPTY_METER_VALUES for remark in call.remarks):
            return Result({}, call.id, call.action)
        answer = await self._arrivals.exchange(call)
        if type(answer) is NotSent and _of_a_transaction(call):
            self._send_away(call, answer)
        if call.action == "BootNotification":  # now its maker is known
            self._adapt(call.identity)
        return answer

    def _send_away(self, call: Call, error: NotSent) -> None:
        """Close the charger's socket in place of an answer."""
        # OCPP 2.0.1, part 4, 6: a local controller that has lost the CSMS closes its chargers' sockets, so that they queue what
        # they have to say. A CALLERROR would end what carries money: few chargers try again after one.
        link = self._links.get(call.identity.casefold())
        if link is not None:
            logger.warning("charger.sent_away", charger=call.identity, action=call.action, reason=error.text)
            link.end(TRY_AGAIN_LATER, f"{call.action} was not taken, please come again: {error.text}")

    def _adapt(self, identity: str) -> None:
        link = self._links.get(identity.casefold())
        if link is not None:
            version = Version(link.version)
            link.tongue = tongue(version, Side.CENTRAL_SYSTEM, self._terms(identity, version, link.tenant))

    def _arrive(self, link: Link) -> None:
        # Identities are CiStrings (OCPP 1.6, 3.16). The newest connection is the one that works: a charger that lost
        # its network comes back long before the old socket is found dead. It never was away, so nobody is told that it was.
        old = self._links.get(link.identity.casefold())
        self._links[link.identity.casefold()] = link
        self._arrivals.arrived(link.identity, link, link.peer, link.version, link.tenant)
        if old:
            old.end(REPLACED, "replaced by a newer connection of the same charger")

    def _depart(self, link: Link) -> None:
        key = link.identity.casefold()
        if self._links.get(key) is link:
            del self._links[key]
            self._arrivals.departed(link.identity, link)


class _Open:
    """The gate that is none."""

    def json(self, scope: Scope) -> Way | None:
        return Way(_identity(scope["raw_path"]))

    def busy(self, scope: Scope) -> bool:
        return False

    async def admit(self, scope: Scope, way: Way, identity: str) -> Refusal | None:
        return None

    def source(self, scope: Scope) -> str:
        return peer_of(scope)

    def tell(self, refusal: Refusal, scope: Scope, identity: str = "") -> object:
        logger.info("charger.refused", charger=identity, peer=peer_of(scope), reason=refusal.reason)
        return None

    async def pace(self, identity: str) -> object:
        return None


class AsgiSocket:
    """A WebSocket as ASGI has it."""

    __slots__ = ("_closed", "_receive", "_send")

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive, self._send = receive, send
        self._closed = False

    def send_now(self, data: str | bytes, /) -> bool:
        """Never: ASGI has no such thing."""
        return False

    async def send(self, data: str | bytes, /) -> None:
        """Send one text message. Raises Closed."""
        text = data if isinstance(data, str) else data.decode()
        await self._pass({"type": "websocket.send", "text": text})

    def listen(self, take: Callable[[str], None], /) -> None:
        """Nothing: ASGI gives messages to who asks."""

    async def receive(self) -> str | bytes:
        """The next message. Raises Closed."""
        event = await self._receive()
        if event["type"] == "websocket.disconnect":
            self._closed = True
            raise _closed(event.get("code") or 1005, event.get("reason") or "")
        text = event.get("text")
        data: str | bytes = text if text is not None else event.get("bytes") or b""
        return data

    async def close(self, code: int, reason: str) -> None:
        """Close; again: nothing."""
        if not self._closed:
            await self._pass({"type": "websocket.close", "code": code, "reason": reason})
            self._closed = True

    async def _pass(self, event: MutableMapping[str, Any]) -> None:
        if self._closed:
            raise Closed(1006)
        try:
            await self._send(event)
        except OSError as error:  # ASGI, "Disconnected Client"
            self._closed = True
            raise Closed(1006) from error


def _of_a_transaction(call: Call) -> bool:
    if call.action == "MeterValues":
        return call.payload.get("transactionId") is not None
    return call.action in ("StartTransaction", "StopTransaction")


def _identity(raw_path: bytes) -> str:
    """The last part of the path (OCPP-J 1.6, 3.1.1), decoded once; empty if it is none that can be shown or written."""
    try:
        identity = unquote_to_bytes(raw_path.rpartition(b"/")[2]).decode()
    except UnicodeDecodeError:
        return ""
    return identity if usable(identity) else ""


def _closed(code: int, reason: str) -> Closed:
    # ASGI does not say which end closed. This is the text that the server has for a frame above its limit.
    ours = code == OVERSIZED and reason.startswith("frame ") and "exceeds limit of" in reason
    return Oversized(reason) if ours else Closed(code, reason)


async def _turn_away(offers: Iterable[str], send: Send) -> None:
    # OCPP-J 1.6, 3.2: without a common subprotocol the server "MUST complete the WebSocket handshake with a response
    # without a Sec-WebSocket-Protocol header and then immediately close the WebSocket connection".
    reason = f"expected subprotocol {WANTED}, got {shown(offers)}"
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.close", "code": PROTOCOL_ERROR, "reason": reason})

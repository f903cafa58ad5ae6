"""Exchanges as a pcapng capture: TCP connections made up around what was really said, so that Wireshark dissects it.

HTTP and WebSocket stand as they would on a wire without TLS. Addresses are the real ones where a leg tells them, else of ranges
that are set aside for documentation and tests. Ports, sequence numbers and keys are made; all packets of a message have its time.
A file is as draft-ietf-opsawg-pcapng has it: a section, one interface of raw IP, a block for each packet.
"""

import heapq
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import count
from urllib.parse import quote, urlsplit

from gateway.traffic.exchanges import Exchange, Half, Leg
from gateway.traffic.formats import halves, posted_by_peer, said, to_csms, visible
from gateway.traffic.formats.har import NOWHERE, SOAP_TYPE, reason_of, status_of
from gateway.traffic.formats.packets import GATEWAY, Connection, address, head
from gateway.traffic.formats.packets import websocket_frame as frame
from gateway.traffic.record import CHARGER_LEG

HELD = 16 << 20  # bytes of messages that wait for those before them
CLOSED_AFTER = 20_000  # WebSockets that are open at once; the eldest is ended for the next
_MADE = frozenset({"content-length", "transfer-encoding", "content-encoding", "connection"})  # headers that we write ourselves

_Step = tuple[float, int, int, Callable[[], Iterator[bytes]]]  # time, number, size, what makes the packets


def lines(exchanges: Iterable[Exchange]) -> Iterator[bytes]:
    """The blocks of the file. Packets are in order of time if exchanges are in order of their first message."""
    yield head()
    capture = _Capture()
    for exchange in exchanges:
        yield from capture.until(exchange.at)
        capture.add(exchange)
    yield from capture.end()


class _Capture:
    """Connections that are open, and messages that wait because those of later exchanges may come before them."""

    def __init__(self) -> None:
        self._ports, self._numbers = count(), count()
        self._sockets: dict[tuple[str, ...], Connection] = {}
        self._steps: list[_Step] = []
        self._held = 0
        self._last = 0.0

    def add(self, exchange: Exchange) -> None:
        for leg in exchange.legs:
            if leg.wire == "soap":
                self._post(exchange, leg)
            else:
                for half, is_answer in halves(leg):
                    self._push(half.at, len(half.raw), partial(self._frame, exchange, leg, half, is_answer))

    def until(self, at: float) -> Iterator[bytes]:
        """The packets of all that was said before a time."""
        while self._steps and (self._steps[0][0] < at or self._held > HELD):
            self._last, _, size, packets = heapq.heappop(self._steps)
            self._held -= size
            yield from packets()

    def end(self) -> Iterator[bytes]:
        """The rest, and the ends of what is still open."""
        yield from self.until(float("inf"))
        for connection in self._sockets.values():
            yield from connection.close(self._last, by_client=True)

    def _push(self, at: float, size: int, packets: Callable[[], Iterator[bytes]]) -> None:
        heapq.heappush(self._steps, (at, next(self._numbers), size, packets))
        self._held += size

    # --- SOAP: a connection for each POST

    def _post(self, exchange: Exchange, leg: Leg) -> None:
        connection = self._connection(exchange, leg)
        call, answer = leg.call, leg.answer
        if call is not None:
            self._push(call.at, len(call.raw), partial(_request, connection, exchange, leg, call, answer is None))
        if answer is not None:
            self._push(answer.at, len(answer.raw), partial(_response, connection, exchange, leg, answer))

    # --- WebSocket: a connection for each charger and leg

    def _frame(self, exchange: Exchange, leg: Leg, half: Half, is_answer: bool) -> Iterator[bytes]:
        key = (exchange.tenant, exchange.charger, leg.name)
        connection = self._sockets.get(key)
        if connection is None:
            if len(self._sockets) >= CLOSED_AFTER:
                yield from self._sockets.pop(next(iter(self._sockets))).close(half.at, by_client=True)
            connection = self._sockets[key] = self._connection(exchange, leg)
            yield from _upgrade(connection, exchange, leg, half.at)
        from_client = to_csms(exchange, is_answer)
        data = frame(half.raw or half.canonical or b"", masked=from_client)
        yield from connection.send(half.at, data, from_client, _comment(exchange, leg, half, is_answer))

    def _connection(self, exchange: Exchange, leg: Leg) -> Connection:
        peer = address(leg.peer, exchange.charger if leg.name == CHARGER_LEG else leg.name, leg.name == CHARGER_LEG)
        ours = GATEWAY[peer.version]
        client, server = (peer, ours) if posted_by_peer(leg) else (ours, peer)
        return Connection(client, server, next(self._ports))


def _request(to: Connection, exchange: Exchange, leg: Leg, half: Half, is_last: bool) -> Iterator[bytes]:
    path, host = f"/{quote(exchange.charger, safe='', errors='replace')}", dict(half.headers).get("host", NOWHERE)
    if not posted_by_peer(leg):
        path, host = _target(leg.peer)
    start = f"POST {path} HTTP/1.1"
    data = _http(start, half, (("Host", host),))
    yield from to.open(half.at)
    yield from to.send(half.at, data, True, _comment(exchange, leg, half, False))
    if is_last:
        yield from to.close(half.at, by_client=True)


def _response(to: Connection, exchange: Exchange, leg: Leg, half: Half) -> Iterator[bytes]:
    yield from to.open(half.at)
    status = status_of(leg)
    data = _http(f"HTTP/1.1 {status} {reason_of(status)}", half, ())
    yield from to.send(half.at, data, False, _comment(exchange, leg, half, True))
    yield from to.close(half.at, by_client=False)


def _http(start: str, half: Half, first: tuple[tuple[str, str], ...]) -> bytes:
    names = _MADE | {name.lower() for name, _ in first}
    kept = [(name, value) for name, value in half.headers if name not in names and name[:1] != ":"]
    if not any(name == "content-type" for name, _ in kept):
        kept.append(("content-type", SOAP_TYPE))
    return _heading(start, (*first, *kept, ("content-length", str(len(half.raw))))) + half.raw


def _upgrade(to: Connection, exchange: Exchange, leg: Leg, at: float) -> Iterator[bytes]:
    path, host = f"/{quote(exchange.charger, safe='', errors='replace')}", NOWHERE
    if leg.name != CHARGER_LEG:
        path, host = _target(leg.peer)
    same = (("Upgrade", "websocket"), ("Connection", "Upgrade"))
    subprotocol = (("Sec-WebSocket-Protocol", f"ocpp{leg.version}"),) if leg.version else ()
    asked = (("Host", host), *same, ("Sec-WebSocket-Key", to.key), ("Sec-WebSocket-Version", "13"), *subprotocol)
    answered = (*same, ("Sec-WebSocket-Accept", to.accept), *subprotocol)
    comment = f"charger {exchange.charger}; leg {leg.name}; the handshake is made up"
    yield from to.open(at)
    yield from to.send(at, _heading(f"GET {path} HTTP/1.1", asked), True, visible(comment))
    yield from to.send(at, _heading("HTTP/1.1 101 Switching Protocols", answered), False)


def _heading(start: str, headers: Iterable[tuple[str, str]]) -> bytes:
    rows = [start, *(f"{_token(name)}: {_plain(value)}" for name, value in headers)]
    return ("\r\n".join(rows) + "\r\n\r\n").encode("utf-8", "replace")


def _plain(value: str) -> str:
    return visible(value).replace("\n", " ").strip()


def _token(name: str) -> str:
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "-" for c in name) or "-"


def _target(url: str) -> tuple[str, str]:
    """Path with query, and host with port, of a URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "/", NOWHERE
    path = quote(parts.path or "/", safe="/%:@", errors="replace") + (
        f"?{quote(parts.query, safe='=&%', errors='replace')}" if parts.query else ""
    )
    return path, (parts.netloc.rpartition("@")[2] if parts.scheme else "") or NOWHERE


def _comment(exchange: Exchange, leg: Leg, half: Half, is_answer: bool) -> str:
    what = leg.outcome or "answer" if is_answer else "refused" if leg.refused else "call"
    facts = [f"exchange {exchange.name}", f"charger {exchange.charger or '-'}", f"leg {leg.name}"]
    facts += [f"{exchange.action or '-'} {what}", *([half.note] if half.note else [])]
    if not half.raw and half.canonical:
        facts.append("what was on the wire is not known; this is what was understood")
    return visible("; ".join(facts) + "".join(f"\n{said(remark)}" for remark in half.remarks))

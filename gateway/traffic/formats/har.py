"""Exchanges as HAR 1.2, as browsers' developer tools open it: an entry for each SOAP POST, one for each WebSocket.

The frames of a WebSocket stand in `_webSocketMessages` of its entry, as Chrome writes and reads them. They are gathered until
there are too many to hold; then the entry is written, and another one goes on with the same `connection`.
"""

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import ip_address
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from gateway.traffic.exchanges import OK, PENDING, Exchange, Half, Leg
from gateway.traffic.formats import as_text, halves, iso, line, posted_by_peer, said, to_csms
from gateway.traffic.record import CHARGER_LEG
from translations.errors import WIRES, known_code

HELD = 32 << 20  # bytes of frames that wait for the end of their entry
NOWHERE = "gateway.invalid"  # RFC 2606, 2: stands for a host that nobody told
SOAP_TYPE = "application/soap+xml; charset=utf-8"
_FRAME_COST = 200  # bytes that a frame takes besides its own


@dataclass(slots=True)
class _Socket:
    """One WebSocket, and those of its frames that are not written yet."""

    exchange: Exchange
    leg: Leg
    name: str
    frames: list[tuple[float, int, dict[str, Any]]] = field(default_factory=list)
    held: int = 0


def lines(exchanges: Iterable[Exchange]) -> Iterator[bytes]:
    """The document in parts, each entry on a line of its own."""
    yield b'{"log":{"version":"1.2","creator":{"name":"ocpp-gateway","version":"1"},"pages":[],"entries":[\n'
    entries = _entries(exchanges)
    for count, entry in enumerate(entries):
        yield (b",\n" if count else b"") + line(entry)
    yield b"\n]}}\n"


def _entries(exchanges: Iterable[Exchange]) -> Iterator[dict[str, Any]]:
    sockets: dict[tuple[str, ...], _Socket] = {}
    held = 0
    for exchange in exchanges:
        for leg in exchange.legs:
            if leg.wire == "soap":
                yield _post(exchange, leg)
                continue
            key = (exchange.tenant, exchange.charger, leg.name)
            socket = sockets.get(key) or sockets.setdefault(key, _Socket(exchange, leg, f"websocket-{len(sockets) + 1}"))
            before = socket.held
            _gather(socket, exchange, leg)
            held += socket.held - before
        if held > HELD:
            for socket in heapq.nlargest(max(1, len(sockets) // 2), sockets.values(), key=lambda one: one.held):
                held -= socket.held
                yield _websocket(socket)
    yield from (_websocket(socket) for socket in sockets.values() if socket.frames)


# --- SOAP --------------------------------------------------------------------------------------------------------------


def _post(exchange: Exchange, leg: Leg) -> dict[str, Any]:
    url = _post_url(exchange, leg)
    waited = round((leg.latency or 0.0) * 1000, 3)
    first = leg.call or leg.answer
    entry = {
        "startedDateTime": iso(first.at if first else exchange.at),
        "time": waited,
        "request": _request("POST", url, leg.call),
        "response": _response(leg),
        "cache": {},
        "timings": _timings(waited),
        "comment": _comment(exchange, leg),
        "_resourceType": "xhr",
        "_exchange": exchange.name,
        "_leg": leg.name,
        "_remarks": [said(remark) for half, _ in halves(leg) for remark in half.remarks],
    }
    return entry | ({} if posted_by_peer(leg) else _server(url))


def _post_url(exchange: Exchange, leg: Leg) -> str:
    if not posted_by_peer(leg):
        return leg.peer if _is_url(leg.peer) else f"http://{_host(leg.peer)}/"
    host = dict(leg.call.headers).get("host", "") if leg.call else ""
    return f"http://{_host(host)}/{quote(exchange.charger, safe='', errors='replace')}"


def _request(method: str, url: str, half: Half | None) -> dict[str, Any]:
    headers = _headers(half)
    request: dict[str, Any] = {
        "method": method,
        "url": url,
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": headers,
        "queryString": [{"name": k, "value": v} for k, v in parse_qsl(urlsplit(url).query, keep_blank_values=True)],
        "headersSize": -1,
        "bodySize": len(half.raw) if half else 0,
    }
    if half and method == "POST":
        text, is_base64 = as_text(half.raw)
        # HAR has no encoding here as it has for the content of a response.
        odd = {"_encoding": "base64", "comment": "base64: the bytes are no UTF-8"} if is_base64 else {}
        request["postData"] = {"mimeType": _type(half), "params": [], "text": text, **odd}
    return request


def _response(leg: Leg) -> dict[str, Any]:
    half = leg.answer
    status = status_of(leg)
    raw = half.raw if half else b""
    text, is_base64 = as_text(raw)
    content = {"size": len(raw), "mimeType": _type(half) if half else "x-unknown", "text": text}
    return _answered(status, _headers(half), content | ({"encoding": "base64"} if is_base64 else {}), len(raw) if half else -1)


def _answered(status: int, headers: list[dict[str, str]], content: dict[str, Any], size: int) -> dict[str, Any]:
    return {
        "status": status,
        "statusText": reason_of(status),
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": headers,
        "content": content,
        "redirectURL": "",
        "headersSize": -1,
        "bodySize": size,
    } | ({} if status else {"_error": "no response"})


def status_of(leg: Leg) -> int:
    """The status of a response: as it is told among its headers, or else what its outcome goes with; 0 where none came."""
    if leg.answer is None:
        return 0
    told = dict(leg.answer.headers).get(":status", "")
    if told.isdecimal() and len(told) == 3:
        return int(told)
    return 200 if leg.outcome in (OK, PENDING) else WIRES[known_code(leg.outcome)].status


def reason_of(status: int) -> str:
    """The words that go with a status."""
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else ""


# --- WebSocket ---------------------------------------------------------------------------------------------------------


def _gather(socket: _Socket, exchange: Exchange, leg: Leg) -> None:
    for half, is_answer in halves(leg):
        data = half.raw or half.canonical or b""
        text, is_base64 = as_text(data)
        frame: dict[str, Any] = {
            # By whom the connection was opened: the charger to us, and we to a backend.
            "type": "send" if to_csms(exchange, is_answer) else "receive",
            "time": half.at,
            "opcode": 2 if is_base64 else 1,  # Chrome has the data of binary frames as base64
            "data": text,
            "_exchange": exchange.name,
        }
        if half.note:
            frame["_note"] = half.note
        if half.remarks:
            frame["_remarks"] = [said(remark) for remark in half.remarks]
        socket.frames.append((half.at, len(socket.frames), frame))
        socket.held += len(data) + _FRAME_COST


def _websocket(socket: _Socket) -> dict[str, Any]:
    exchange, leg = socket.exchange, socket.leg
    frames = [frame for _, _, frame in sorted(socket.frames)]
    socket.frames, socket.held = [], 0
    lasted = round((frames[-1]["time"] - frames[0]["time"]) * 1000, 3) if frames else 0.0
    url = (
        leg.peer
        if _is_url(leg.peer) and leg.name != CHARGER_LEG
        else f"ws://{NOWHERE}/{quote(exchange.charger, safe='', errors='replace')}"
    )
    subprotocol = [{"name": "Sec-WebSocket-Protocol", "value": f"ocpp{leg.version}"}] if leg.version else []
    request = _request("GET", url, None)
    request["headers"] = subprotocol
    entry = {
        "startedDateTime": iso(frames[0]["time"] if frames else exchange.at),
        "time": lasted,
        "request": request,
        "response": _answered(101, subprotocol, {"size": 0, "mimeType": "x-unknown"}, 0),
        "cache": {},
        "timings": _timings(lasted),
        "connection": socket.name,
        "comment": f"charger {exchange.charger}, leg {leg.name}",
        "_resourceType": "websocket",
        "_leg": leg.name,
        "_webSocketMessages": frames,
    }
    return entry | (_server(url) if leg.name != CHARGER_LEG else {})


# --- both --------------------------------------------------------------------------------------------------------------


def _timings(waited: float) -> dict[str, float]:
    return {"blocked": -1, "dns": -1, "connect": -1, "ssl": -1, "send": 0, "wait": waited, "receive": 0}


def _comment(exchange: Exchange, leg: Leg) -> str:
    notes = [half.note for half, _ in halves(leg) if half.note]
    return "; ".join((f"exchange {exchange.name}", f"{exchange.action or 'no action'}: {leg.outcome or 'no answer'}", *notes))


def _headers(half: Half | None) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in (half.headers if half else ()) if not name.startswith(":")]


def _type(half: Half) -> str:
    return dict(half.headers).get("content-type", SOAP_TYPE)


def _server(url: str) -> dict[str, str]:
    try:
        return {"serverIPAddress": str(ip_address(urlsplit(url).hostname or ""))}
    except ValueError:
        return {}


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https", "ws", "wss") and bool(parts.hostname) and text.isascii() and text.isprintable()
    except ValueError:
        return False


def _host(text: str) -> str:
    return text if text and _is_url(f"http://{text}/") and "/" not in text else NOWHERE

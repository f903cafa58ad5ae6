"""The south door for SOAP chargers: an HTTP POST is a call, its response is the answer.

A raw ASGI endpoint. Every request ends in exactly one envelope, or in a text for people where there is no envelope to
answer; both directions are recorded.
"""

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs, quote

from starlette.types import Receive, Scope, Send

from gateway.admission import Refusal
from gateway.chargers.address import callback_address, peer_of
from gateway.chargers.body import BodyError, read_body, unpack
from gateway.chargers.refusal import TAKEN, refuse_handshake
from gateway.config import Server
from gateway.exchange import Exchange, Ids, NotSent
from gateway.gate import BUSY, HURRIED, Gate
from gateway.paths import LONGEST, Way, shown, usable
from gateway.roster import Roster
from gateway.traffic.record import CHARGER_LEG, Record, Tap, kept_headers
from translations import soap
from translations.contracts import wsdl_text
from translations.errors import (
    WIRES,
    InternalError,
    OccurenceConstraintViolation,
    OcppError,
    ProtocolError,
    SecurityError,
    known_code,
)
from translations.leaves import escape
from translations.messages import Answer, Call, Error, Kind, Remark, Result, Side, Version

_TEXT = b"text/plain; charset=utf-8"
_XML_TYPES = ("application/soap+xml", "text/xml", "application/xml", "")
_SERVICES = {
    "centralsystem": Side.CENTRAL_SYSTEM,
    "centralsystemservice": Side.CENTRAL_SYSTEM,
    "chargepoint": Side.CHARGE_POINT,
    "chargepointservice": Side.CHARGE_POINT,
}


_UNREAD = soap.Envelope()
_UNNAMED = Way()
ELSEWHERE = Refusal(404, "", "a WebSocket where SOAP chargers post")
UNAVAILABLE = 503  # RFC 9110, 15.6.4
AWAY = 30  # seconds after which a charger may try again what no backend heard


@dataclass(slots=True)
class _Visit:
    """One request on its way: what is known of it so far, for the answer and the record."""

    exchange: str
    at: float  # unix time
    started: float
    peer: str
    way: Way = _UNNAMED
    raw: bytes = b""
    packed: str = ""  # how the body was packed on the wire, if it was
    headers: tuple[tuple[str, str], ...] = ()
    envelope: soap.Envelope = _UNREAD
    terms: soap.Manner = soap.USUAL
    call: Call | None = None

    @property
    def message_id(self) -> str:
        """Of our answer."""
        return f"urn:ocpp:{self.exchange}"

    @property
    def answered(self) -> tuple[tuple[str, str], ...]:
        """The header of our answer that says what it is."""
        return (("content-type", soap.CONTENT_TYPES[self.envelope.soap]),)

    @property
    def kept(self) -> bytes:
        """What came, as it is recorded: without the token of the path, which many repeat in wsa:To."""
        return _masked(self.raw, self.way.token) if self.way.token else self.raw

    @property
    def addresses(self) -> soap.Addresses:
        return soap.Addresses(self.message_id, self.envelope.message_id)

    @property
    def manner(self) -> soap.Manner:
        envelope, terms = self.envelope, self.terms
        # It is answered in the words in which it spoke.
        same = envelope.soap == terms.soap and envelope.wsa == terms.wsa
        return terms if same else terms._replace(soap=envelope.soap, wsa=envelope.wsa)


class NotAdmitted(SecurityError):
    """A charger that is turned away; `status` and `headers` are the HTTP of it."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.text)
        self.status, self.headers, self.told = refusal.soap_status, refusal.headers, refusal.told


class SoapDoor:
    """ASGI endpoint for the http scope.

    `gate` says who may come, `terms` how the gateway deals with a charger, `settle` what an assumed status really is.
    """

    def __init__(
        self,
        exchange: Exchange,
        roster: Roster,
        tap: Tap,
        ids: Ids,
        config: Server,
        gate: Gate | None = None,
        terms: Callable[[str, str, str], soap.Manner] | None = None,
        settle: Callable[[Call], Call] | None = None,
    ) -> None:
        self._exchange, self._roster, self._tap, self._ids, self._config = exchange, roster, tap, ids, config
        self._gate, self._terms, self._settle = gate, terms, settle

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await self._refuse_socket(scope, receive, send)
        elif scope["method"] == "POST":
            await self._post(scope, receive, send)
        elif self._gate is not None and self._gate.busy(scope):
            await _reply(send, 429, _TEXT, f"{BUSY.text}\n".encode())
        elif scope["method"] in ("GET", "HEAD"):
            await self._get(scope, send)
        else:
            await _reply(send, 405, _TEXT, b"expected POST with a SOAP envelope\n", [(b"allow", b"GET, HEAD, POST")])

    # --- POST

    async def _post(self, scope: Scope, receive: Receive, send: Send) -> None:
        gate = self._gate
        peer = gate.source(scope) if gate else peer_of(scope)
        way = gate.soap(scope) if gate else None
        visit = _Visit(self._ids(), time.time(), time.perf_counter(), peer, way or _UNNAMED)
        extra: list[tuple[bytes, bytes]] = []
        try:
            self._not_busy(scope)
            await self._read(visit, scope, receive)
            answer = await self._answered(visit)
            status, written = self._written(visit, answer)
        except BodyError as error:
            visit.raw = visit.raw or error.data
            status, written = error.status, self._refused(visit, ProtocolError(error.text))
        except NotAdmitted as error:
            status, written, extra = error.status, self._refused(visit, error), error.headers
        except OcppError as error:
            status, written = WIRES[error.code].status, self._refused(visit, error)
        content_type = soap.CONTENT_TYPES[visit.envelope.soap].encode()
        if status in (408, 413, 429):
            extra = [*extra, (b"connection", b"close")]
        elif status == UNAVAILABLE:
            extra = [*extra, (b"retry-after", str(AWAY).encode())]
        await _reply(send, status, content_type, written.body, extra)

    async def _read(self, visit: _Visit, scope: Scope, receive: Receive) -> None:
        """Bytes to call. Raises BodyError or OcppError; what was understood until then stands in the visit."""
        headers = dict(scope["headers"])
        visit.headers = kept_headers(headers)
        length = headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > self._config.body_limit:
            raise BodyError(413, f"expected at most {self._config.body_limit} bytes, got {int(length)}")
        visit.raw = await read_body(receive, self._config.body_limit, self._config.body_timeout)
        odd: list[Remark] = []
        coding = headers.get(b"content-encoding", b"").decode("latin-1")
        if coding:
            size = len(visit.raw)
            visit.raw, encoded = unpack(visit.raw, coding, self._config.body_limit)
            visit.packed = f"{coding[:20]}, {size} bytes on the wire" if encoded else ""
            if not encoded and coding.lower() != "identity":
                odd.append(Remark(Kind.REPAIRED, "", f"said to be {coding[:20]}, and is not", "quirks.false-encoding"))
        kind, charset = _content_type(headers.get(b"content-type", b""))
        if kind not in _XML_TYPES:
            if visit.raw.lstrip()[:1] != b"<":
                raise BodyError(415, f"expected Content-Type application/soap+xml, got {kind[:60]!r}")
            odd.append(Remark(Kind.REPAIRED, "", f"sent as {kind[:60]}", "quirks.content-type"))
        try:
            visit.envelope = soap.parse(visit.raw, charset, Side.CENTRAL_SYSTEM)
        except soap.Malformed as error:
            visit.envelope = error.envelope or visit.envelope
            raise
        if odd:
            visit.envelope = visit.envelope._replace(remarks=(*odd, *visit.envelope.remarks))
        await self._admit(visit, scope)
        self._understand(visit, scope)

    def _not_busy(self, scope: Scope) -> None:
        if self._gate is not None and self._gate.busy(scope):
            raise NotAdmitted(self._gate.tell(BUSY, scope))

    async def _admit(self, visit: _Visit, scope: Scope) -> None:
        """Find out who it is, and whether it may come. Raises NotAdmitted, or ProtocolError for who is nobody."""
        gate = self._gate
        identity = visit.way.identity or visit.envelope.identity
        if not identity:
            raise ProtocolError("expected the header chargeBoxIdentity, found none")
        if not usable(identity):
            text = f"expected a chargeBoxIdentity of at most {LONGEST} printable characters that can stand in a path"
            raise ProtocolError(text)
        if gate is not None:
            if refusal := await gate.admit(scope, visit.way, identity):
                raise NotAdmitted(refusal)
            self._not_taken(visit, scope, identity)  # before the pace, which is the charger's own
            if not await gate.pace(identity, self._config.answer_timeout):
                raise NotAdmitted(gate.tell(HURRIED, scope, identity))

    def _not_taken(self, visit: _Visit, scope: Scope, identity: str) -> None:
        if self._gate is not None and self._roster.taken(identity, visit.way.tenant):
            raise NotAdmitted(self._gate.tell(TAKEN, scope, identity))

    def _understand(self, visit: _Visit, scope: Scope) -> None:
        envelope, tenant = visit.envelope, visit.way.tenant
        identity = visit.way.identity or envelope.identity
        self._not_taken(visit, scope, identity)  # it may have come elsewhere while this one waited
        if self._terms is not None:
            visit.terms = self._terms(identity, envelope.version or "", tenant)
        message = soap.read(envelope, _stamp(int(visit.at)), visit.terms)
        if not isinstance(message, Call):
            raise ProtocolError("expected a request, got a response or a fault")
        if message.side is not Side.CENTRAL_SYSTEM:
            raise soap.not_here(message.action, Side.CENTRAL_SYSTEM)
        assert envelope.version is not None
        callback = callback_address(envelope.sender, envelope.reply_to, visit.peer.rpartition(":")[0])
        charger = self._roster.heard(identity, envelope.version, visit.peer, callback, visit.manner, envelope.identity, tenant)
        remarks = message.remarks
        if envelope.identity and envelope.identity.casefold() != identity.casefold():
            remarks += (Remark(Kind.CHANGED, "chargeBoxIdentity", "the identity is that of the path", "doors.identity"),)
        call = Call(message.action, message.payload, visit.exchange, charger.identity, message.side, remarks)
        visit.call = self._settle(call) if self._settle else call
        frame = [2, visit.exchange, message.action, visit.call.payload]
        self._record(visit, "call", canonical=frame, remarks=visit.call.remarks, note=visit.packed)

    async def _answered(self, visit: _Visit) -> Answer:
        call = visit.call
        assert call is not None
        if call.action == "MeterValues" and not call.payload["meterValue"]:
            # Something stood where the readings should, and nobody knows what. Inside of readings it would be another matter.
            if any(r.rule == "quirks.unknown-element" and not {".", "["} & set(r.path) for r in call.remarks):
                raise OccurenceConstraintViolation("MeterValues.req meterValue: expected readings, found what is none")
            # JSON cannot say it (the schema wants one item), and there is nothing to tell anyone.
            remark = Remark(Kind.LOST, "meterValue", "no values: answered here, not passed on", "soap.empty-meter-values")
            return Result({}, call.id, call.action, (remark,))
        return await self._exchange(call)  # which has its deadline from the backend that is asked

    def _written(self, visit: _Visit, answer: Answer) -> tuple[int, soap.Written]:
        """The answer as an envelope, in the version and the manner of the call."""
        call, envelope = visit.call, visit.envelope
        assert call is not None and envelope.version is not None
        if isinstance(answer, NotSent):  # the charger is to keep it, and to come again
            return UNAVAILABLE, self._fault(visit, answer)
        if isinstance(answer, Error):
            return WIRES[known_code(answer.code)].status, self._fault(visit, answer)
        try:
            written = soap.encode(
                answer, envelope.version, call.side, action=call.action, addresses=visit.addresses, manner=visit.manner
            )
        except OcppError as error:
            # The backend's mistake, not the charger's: it must not take it for its own.
            wrong = InternalError(f"the backend's answer is not valid: {error.text}")
            return 500, self._fault(visit, wrong.as_error(call.id, call.action))
        frame = [3, call.id, answer.payload]
        remarks = answer.remarks + written.remarks
        self._record(visit, "result", ">", written.body, canonical=frame, remarks=remarks, outcome="ok")
        return 200, written

    def _fault(self, visit: _Visit, error: Error) -> soap.Written:
        envelope = visit.envelope
        written = soap.fault(error, envelope.version, Side.CENTRAL_SYSTEM, visit.addresses, visit.manner)
        frame = [4, visit.exchange, error.code, error.text, dict(error.details)]
        remarks = error.remarks + written.remarks
        self._record(visit, "error", ">", written.body, canonical=frame, remarks=remarks, outcome=error.code, note=error.text)
        return written

    def _refused(self, visit: _Visit, error: OcppError) -> soap.Written:
        """What could not be taken: recorded as it came, and a fault that says why."""
        if isinstance(error, NotAdmitted) and not error.told:  # of those who come again and again
            return soap.fault(error.as_error(), visit.envelope.version, Side.CENTRAL_SYSTEM, visit.addresses, visit.manner)
        if visit.call is None:
            self._record(visit, "refused", outcome=error.code, note=error.text, remarks=visit.envelope.remarks)
        return self._fault(visit, error.as_error())

    def _record(
        self,
        visit: _Visit,
        kind: str,
        direction: str = "<",
        raw: bytes | None = None,
        *,
        canonical: Any = None,
        remarks: tuple[Remark, ...] = (),
        outcome: str = "",
        note: str = "",
    ) -> None:
        envelope, form = visit.envelope, visit.envelope.form
        self._tap(
            Record(
                at=time.time(),
                exchange=visit.exchange,
                charger=visit.call.identity if visit.call else visit.way.identity or envelope.identity,
                leg=CHARGER_LEG,
                direction=direction,
                wire="soap",
                version=str(envelope.version or ""),
                kind=kind,
                action=form.action if form else "",
                message_id=envelope.message_id if direction == "<" else visit.message_id,
                raw=visit.kept if raw is None else raw,
                canonical=canonical,
                remarks=remarks,
                outcome=outcome,
                latency=None if direction == "<" else time.perf_counter() - visit.started,
                peer=visit.peer,
                note=note,
                tenant=visit.way.tenant,
                headers=visit.headers if direction == "<" else visit.answered,
            )
        )

    async def _refuse_socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell whoever opens a WebSocket here where the right place is."""
        await receive()
        gate = self._gate
        if gate is not None and gate.busy(scope):
            gate.tell(BUSY, scope)
            await refuse_handshake(scope, receive, send, BUSY.status, f"{BUSY.text}\n")
            return
        if gate is not None:
            gate.tell(ELSEWHERE, scope)
        place = shown(self._config.json_paths)
        text = f"expected a JSON charger at {place}, with its identity percent-encoded; here SOAP chargers POST\n"
        await refuse_handshake(scope, receive, send, ELSEWHERE.status, text)

    # --- GET

    async def _get(self, scope: Scope, send: Send) -> None:
        query = {k.lower(): v[0] for k, v in parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True).items()}
        if "wsdl" in query:
            await self._wsdl(scope, query, send)
            return
        text = (
            f"this address is for OCPP chargers that speak SOAP: expected POST with an envelope, got {scope['method']}\n"
            f"the contracts: {self._address(scope)}?wsdl&version=1.5&service=CentralSystemService\n"
        )
        await _reply(send, 405, _TEXT, text.encode(), [(b"allow", b"POST")])

    async def _wsdl(self, scope: Scope, query: dict[str, str], send: Send) -> None:
        service = _SERVICES.get(query.get("service", "CentralSystemService").lower())
        version = query.get("version", Version.V16)
        if service is None or version not in tuple(Version):
            text = f"expected version={'|'.join(Version)} and service=CentralSystemService|ChargePointService\n"
            await _reply(send, 404, _TEXT, text.encode())
            return
        document = soap.wsdl_at(wsdl_text(Version(version), service), self._address(scope))
        await _reply(send, 200, b"text/xml; charset=utf-8", document)

    def _address(self, scope: Scope) -> str:
        path = quote(scope["path"])
        host = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
        if self._config.public_url or not host or not host.isprintable():
            return self._config.url + path
        return f"{scope.get('scheme', 'http')}://{host}{path}"


def _content_type(header: bytes) -> tuple[str, str | None]:
    """Media type and charset, both in lower case."""
    kind, _, rest = header.decode("latin-1").partition(";")
    for part in rest.split(";"):
        name, _, value = part.partition("=")
        if name.strip().lower() == "charset":
            return kind.strip().lower(), value.strip(" \"'").lower() or None
    return kind.strip().lower(), None


@lru_cache(maxsize=4)
def _stamp(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(second))


async def _reply(send: Send, status: int, kind: bytes, body: bytes, headers: list[tuple[bytes, bytes]] | None = None) -> None:
    every = [(b"content-type", kind), (b"content-length", str(len(body)).encode()), *(headers or ())]
    await send({"type": "http.response.start", "status": status, "headers": every})
    await send({"type": "http.response.body", "body": body})


def _masked(raw: bytes, token: str) -> bytes:
    """The bytes without a token, however it is written where an address ends with it."""
    for form in {token, quote(token, safe=""), escape(token)}:
        raw = re.sub(b"/" + re.escape(form.encode()) + rb"(?=[/?<\"'\s]|$)", b"/***", raw, flags=re.IGNORECASE)
        for wide in ("utf-16-le", "utf-16-be"):
            raw = raw.replace(f"/{form}<".encode(wide), "/***<".encode(wide))
    return raw

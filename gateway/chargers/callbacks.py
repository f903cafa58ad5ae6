"""Calls down to SOAP chargers: an HTTP POST to the charger's callback address, one at a time for each charger."""

import asyncio
import ipaddress
import os
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import aiohttp
from yarl import URL

from gateway.chargers.address import AllowedResolver, NotAllowed, allowed, made_address, source_address
from gateway.chargers.body import BodyError, unpack
from gateway.config import Config
from gateway.exchange import Ids
from gateway.roster import Charger, Effect
from gateway.traffic.record import CHARGER_LEG, Headers, Record, Tap, kept_headers
from translations import soap
from translations.errors import STATUSES, GenericError, InternalError, OcppError, ProtocolError
from translations.messages import Answer, Call, Error, Result, Side

_BEFORE = b" \t\r\n\x00\xef\xbb\xbf\xfe\xff"  # white space and byte order marks
# OCPP-S 1.6, 4.3: SOAP 1.2 over HTTP. Some chargers' servers dispatch on the action parameter, and few bear chunks or keep-alive.
_HEADERS: Mapping[str, str] = {"Connection": "close", "Accept-Encoding": "identity", "User-Agent": "ocpp-gateway"}


class _Response(NamedTuple):
    status: int
    kind: str  # Content-Type without its parameters
    body: bytes  # unpacked
    headers: Headers  # those that are recorded


_NONE = _Response(0, "", b"", ())


class SoapCalls:
    """The HTTP client for all SOAP chargers. `adopt` gives a charger its link; `terms` says how each talks."""

    def __init__(self, config: Config, tap: Tap, ids: Ids, terms: Callable[[str, str, str], soap.Manner] | None = None) -> None:
        self._config, self._tap, self._ids, self._terms = config, tap, ids, terms
        self._http: aiohttp.ClientSession | None = None
        self.sender = ""  # our own address as chargers may reach it, told once the doors are open

    def adopt(self, charger: Charger, effect: Effect) -> None:
        """A watcher of the roster: a SOAP charger that arrives can be called."""
        if effect is Effect.ARRIVED and charger.wire == "soap" and charger.link is None:
            charger.link = SoapLink(charger, self)

    async def close(self) -> None:
        """Close the client."""
        if self._http is not None:
            await self._http.close()

    def address(self, charger: Charger) -> str:
        """Configured; else what the charger last said; else where it came from, with a configured port. Raises GenericError."""
        row = self._config.charger(charger.identity)
        port = row.callback_port or self._config.callbacks.port
        url = (
            row.callback_url
            or made_address(self.manner(charger).callback_url, charger.peer, charger.identity)
            or charger.callback
        )
        url = url or (source_address(charger.peer, port, self._config.callbacks.path) if port else "")
        if not url:
            raise GenericError("charger unreachable: it has told no callback address, and none is configured")
        self._check(url)
        return url

    def manner(self, charger: Charger) -> soap.Manner:
        """How this charger talks, in the words in which it last did."""
        if self._terms is None:
            return charger.manner
        return self._terms(charger.identity, charger.version, charger.tenant)._replace(
            soap=charger.manner.soap, wsa=charger.manner.wsa
        )

    def _check(self, url: str) -> None:
        """Names are checked by the resolver; numbers never reach it.

        The host is read as the client reads it: to others `①②⑦.0.0.1` is a name.
        """
        try:
            host = URL(url).raw_host or ""
        except ValueError:
            raise GenericError("charger unreachable: its callback address is no URL") from None
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return
        if not allowed(host, self._config.callbacks.allow):
            raise GenericError(f"charger unreachable: its callback address {host} does not lie in callbacks.allow")

    async def post(self, url: str, headers: Mapping[str, str], envelope: bytes, timeout: float) -> _Response:
        """What the charger responds. Raises GenericError."""
        limits = aiohttp.ClientTimeout(total=timeout, sock_connect=self._config.callbacks.connect_timeout)
        try:
            async with self._client().post(
                url, data=envelope, headers=headers, timeout=limits, allow_redirects=False
            ) as response:
                body = await self._body(response)
                return _Response(response.status, response.content_type, body, _kept(response.headers.items()))
        except aiohttp.ConnectionTimeoutError:
            raise GenericError("charger unreachable: no connection in time") from None
        except TimeoutError:
            # It may have heard the call, and done what it says.
            raise GenericError(f"charger gave no answer in {timeout:.0f} s") from None
        except NotAllowed as error:
            raise GenericError(f"charger unreachable: {error}") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise GenericError(f"charger unreachable: {_reason(error)}") from None

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        limit = self._config.server.body_limit
        parts, size = [], 0
        async for part in response.content.iter_chunked(65536):
            parts.append(part)
            size += len(part)
            if size > limit:
                raise GenericError(f"expected at most {limit} bytes from the charger, got more")
        try:
            return unpack(b"".join(parts), response.headers.get("Content-Encoding", ""), limit)[0]
        except BodyError as error:
            raise GenericError(error.text) from None

    def _client(self) -> aiohttp.ClientSession:
        if self._http is None:
            # auto_decompress off: we unpack within a bound. trust_env off: no proxy may carry what is checked here.
            resolver = AllowedResolver(self._config.callbacks.allow)
            connector = aiohttp.TCPConnector(resolver=resolver, use_dns_cache=False, force_close=True, limit=512)
            self._http = aiohttp.ClientSession(
                connector=connector, headers=_HEADERS, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False
            )
        return self._http

    def record(self, charger: Charger, call: Call, at: str, **facts: Any) -> None:
        """Record one message of the charger's leg."""
        record = Record(
            at=time.time(),
            exchange=call.id,
            charger=charger.identity,
            leg=CHARGER_LEG,
            wire="soap",
            version=str(charger.version),
            action=call.action,
            peer=at,
            tenant=charger.tenant,
            **facts,
        )
        self._tap(record)

    @property
    def config(self) -> Config:
        return self._config


class SoapLink:
    """Calls for one SOAP charger."""

    __slots__ = ("_calls", "_charger", "_turn", "_waiting")

    def __init__(self, charger: Charger, calls: SoapCalls) -> None:
        self._charger, self._calls = charger, calls
        self._turn: asyncio.Lock | None = None
        self._waiting = 0

    async def call(self, call: Call, timeout: float) -> Answer:
        """Make the call; whatever goes wrong is an Error. What this version cannot say is decided without asking the charger."""
        deadline = asyncio.get_running_loop().time() + timeout
        try:
            soap.find_form(call.action, False, self._charger.version, Side.CHARGE_POINT)
            url = self._calls.address(self._charger)
            manner = self._calls.manner(self._charger)
            written = soap.encode(
                call,
                self._charger.version,
                Side.CHARGE_POINT,
                identity=self._charger.spelt or self._charger.identity,
                addresses=soap.Addresses(f"urn:ocpp:{call.id}", "", url, self._calls.sender),
                manner=manner,
            )
            turn = await self._my_turn(deadline)
            try:
                return await self._asked(call, url, written, deadline, manner)
            finally:
                self._pass_on(turn)
        except OcppError as error:
            return error.as_error(call.id, call.action)

    async def _my_turn(self, deadline: float) -> asyncio.Lock:
        """One call at a time, in the order they came: a Reset may keep a charger's small server busy for long."""
        if self._waiting > self._calls.config.callbacks.waiting:
            raise GenericError("charger busy: too many calls wait for it")
        turn = self._turn = self._turn or asyncio.Lock()
        self._waiting += 1
        try:
            async with asyncio.timeout_at(deadline):
                await turn.acquire()
        except TimeoutError:
            self._leave()
            raise GenericError("charger busy: an earlier call took all the time there was") from None
        except BaseException:
            self._leave()
            raise
        return turn

    def _pass_on(self, turn: asyncio.Lock) -> None:
        turn.release()
        self._leave()

    def _leave(self) -> None:
        self._waiting -= 1
        if not self._waiting:
            self._turn = None  # thousands of idle chargers need no lock

    async def _asked(self, call: Call, url: str, written: soap.Written, deadline: float, manner: soap.Manner) -> Answer:
        calls, charger = self._calls, self._charger
        frame = [2, call.id, call.action, call.payload]
        headers = _headers(call.action, manner)
        calls.record(
            charger,
            call,
            url,
            direction=">",
            kind="call",
            message_id=f"urn:ocpp:{call.id}",
            raw=written.body,
            canonical=frame,
            remarks=written.remarks,
            headers=_kept(headers.items()),
        )
        started = time.perf_counter()
        response = _NONE
        envelope = soap.Envelope()
        try:
            left = max(deadline - asyncio.get_running_loop().time(), 0.05)
            response = await calls.post(url, headers, written.body, left)
            envelope, answer = _answer(call, response.status, response.kind, response.body, manner)
        except OcppError as error:
            answer = error.as_error(call.id, call.action)
        self._record(call, url, answer, envelope, response, time.perf_counter() - started)
        return answer

    def _record(self, call: Call, url: str, answer: Answer, envelope: soap.Envelope, response: _Response, latency: float) -> None:
        is_result = isinstance(answer, Result)
        frame: list[Any] = (
            [3, call.id, answer.payload]
            if isinstance(answer, Result)
            else [4, call.id, answer.code, answer.text, dict(answer.details)]
        )
        self._calls.record(
            self._charger,
            call,
            url,
            direction="<",
            kind="result" if is_result else "error",
            message_id=envelope.message_id,
            raw=response.body,
            canonical=frame,
            headers=response.headers,
            remarks=answer.remarks,
            outcome="ok" if isinstance(answer, Result) else answer.code,
            latency=latency,
            note="" if isinstance(answer, Result) else answer.text,
        )


def _kept(headers: Iterable[tuple[str, str]]) -> Headers:
    return kept_headers({name.lower().encode(): value.encode("utf-8", "replace") for name, value in headers})


def _headers(action: str, manner: soap.Manner) -> dict[str, str]:
    kind = soap.CONTENT_TYPES[manner.soap]
    if manner.soap == soap.SOAP11:  # SOAP 1.1, 6.1.1
        return {"Content-Type": kind, "SOAPAction": f'"/{action}"'}
    return {"Content-Type": f'{kind}; action="/{action}"' if manner.content_type_action else kind}


def _answer(call: Call, status: int, kind: str, body: bytes, manner: soap.Manner) -> tuple[soap.Envelope, Answer]:
    """What the charger's response says. Raises OcppError for what is no answer."""
    if body.lstrip(_BEFORE)[:1] != b"<" or b"<html" in body[:1000].lower() or b"<!DOCTYPE" in body[:1000]:
        raise _no_envelope(status, kind, body)
    try:
        envelope = soap.parse(body, None, Side.CHARGE_POINT)
    except ProtocolError as error:
        if status != 200:
            raise _no_envelope(status, kind, body) from None
        raise GenericError(error.text, {"transport": "soap", "httpStatus": status}) from None
    try:
        message = soap.read(envelope, "", manner)
    except OcppError as error:
        text = f"the charger's answer is not valid: {error.text}"
        raise InternalError(text, {"transport": "soap", "httpStatus": status}) from None
    if isinstance(message, Error):
        details = {**message.details, "httpStatus": status, "reason": message.text}
        return envelope, Error(message.code, message.text, details, call.id, call.action, message.remarks)
    if not isinstance(message, Result) or message.action != call.action:
        raise ProtocolError(f"expected the answer to {call.action}, got another message", {"transport": "soap"})
    return envelope, Result(message.payload, call.id, call.action, message.remarks)


def _no_envelope(status: int, kind: str, body: bytes) -> OcppError:
    code = STATUSES.get(status, "GenericError")
    what = "an HTML page" if b"<html" in body[:1000].lower() else f"{len(body)} bytes of {kind or 'nothing'}"
    error = GenericError(
        f"expected an envelope from the charger, got HTTP {status} with {what}", {"transport": "soap", "httpStatus": status}
    )
    error.code = code
    return error


def _reason(error: Exception) -> str:
    cause = error.__cause__ or error
    if isinstance(cause, NotAllowed):
        return str(cause)
    if isinstance(cause, OSError) and cause.strerror:
        # asyncio writes the address into strerror; the numbers of getaddrinfo are negative and have texts of their own.
        known = cause.errno if cause.errno and cause.errno > 0 else None
        return (os.strerror(known) if known else cause.strerror).lower()
    return type(error).__name__

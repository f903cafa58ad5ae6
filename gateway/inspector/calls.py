"""The door through which people call chargers."""

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import replace
from decimal import Decimal
from math import isfinite

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.inspector.chargers import find
from gateway.inspector.hiding import Hiding
from gateway.inspector.replies import answer, error_problem
from gateway.roster import Roster
from translations.messages import Answer, Call, Error, Payload, Result, Side

MakeCall = Callable[[Call, float], Awaitable[Answer]]
"""Takes a call to a charger and the seconds it may take."""

BODY_LIMIT = 1 << 20
BODY_TIMEOUT = 30.0
LONGEST = 300.0
GRACE = 2.0  # whoever makes the call keeps its deadline; this is for the case that it does not
EARLY = 0.05  # timers may ring a little before their time

_ACTION = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}", re.ASCII)
_decoder = msgspec.json.Decoder(Payload, float_hook=Decimal)


class Calls:
    """Makes calls on behalf of people."""

    def __init__(self, roster: Roster, call: MakeCall, timeout: float, hiding: Hiding) -> None:
        self._roster, self._call, self._timeout, self._hiding = roster, call, timeout, hiding

    async def make(self, request: Request) -> Response:
        """The charger's answer to the call in the path."""
        charger = find(self._roster, request)
        action = _action(request.path_params["action"])
        timeout = _seconds(request.query_params.get("timeout"), self._timeout)
        call = Call(action, await payload(request), identity=charger.identity, side=Side.CHARGE_POINT)
        started = asyncio.get_running_loop().time()
        found = await self._answer(call, timeout)
        if isinstance(found, Result):
            return answer({"result": await self._hiding.value(request, found.payload, action)})
        hide = self._hiding.redactor
        found = replace(found, text=hide.text(found.text), details=hide.value(dict(found.details), action))
        return error_problem(found, late=asyncio.get_running_loop().time() - started >= timeout - EARLY)

    async def _answer(self, call: Call, timeout: float) -> Answer:
        try:
            async with asyncio.timeout(timeout + GRACE):
                return await self._call(call, timeout)
        except TimeoutError:
            return Error("GenericError", f"no answer in {timeout:g} s", action=call.action)


def _action(text: str) -> str:
    if not _ACTION.fullmatch(text):
        raise HTTPException(400, f"expected the name of an action, got {text[:64]}")
    return text


def _seconds(text: str | None, default: float) -> float:
    try:
        value = default if text is None else float(text)
    except ValueError:
        value = 0.0
    if not (isfinite(value) and 0 < value <= LONGEST):
        raise HTTPException(400, f"timeout: expected seconds above 0, {LONGEST:g} at most, got {(text or '')[:20]}")
    return value


async def payload(request: Request) -> Payload:
    """The body as a JSON object; without a body an empty one."""
    content_type = request.headers.get("content-type", "")
    kind = content_type.partition(";")[0].strip().lower()
    if kind not in ("application/json", ""):  # a form of another site can send no JSON
        raise HTTPException(415, f"expected Content-Type application/json, got {kind[:60]}")
    body = await _body(request)
    if body and not kind:
        raise HTTPException(415, "expected Content-Type application/json, got none")
    try:
        return _decoder.decode(body) if body else {}
    except RecursionError:
        raise HTTPException(400, "expected a JSON object, got one that is too deep") from None
    except ValueError as error:
        raise HTTPException(400, f"expected a JSON object: {str(error)[:1].lower()}{str(error)[1:]}") from None


async def _body(request: Request) -> bytes:
    body = bytearray()
    try:
        async with asyncio.timeout(BODY_TIMEOUT):
            async for part in request.stream():
                body += part
                if len(body) > BODY_LIMIT:
                    raise HTTPException(413, f"expected at most {BODY_LIMIT} bytes", {"Connection": "close"})
    except TimeoutError:
        raise HTTPException(408, f"expected the whole body within {BODY_TIMEOUT:g} s", {"Connection": "close"}) from None
    return bytes(body)

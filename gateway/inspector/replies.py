"""What the doors answer with: JSON, and problems as RFC 9457 has them."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from translations.messages import Error

PROBLEM = "application/problem+json"
TEXT = "text/plain; charset=utf-8"
CSP = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'"

# What a browser is told with every answer. Traffic names people's cards, so nothing is kept in a cache.
HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Content-Security-Policy": f"{CSP}; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Cache-Control": "no-store",
    }
)

# What an error that answers a call is in HTTP. A violation may be found by us or by the charger; either way it is the
# payload that cannot be taken. Where no answer came in time, it is 504 whatever stands here.
STATUSES: Mapping[str, int] = MappingProxyType(
    {
        "NotImplemented": 501,
        "NotSupported": 501,
        "InternalError": 502,
        "GenericError": 502,
        "SecurityError": 403,
        "ProtocolError": 502,
        "FormationViolation": 422,
        "PropertyConstraintViolation": 422,
        "OccurenceConstraintViolation": 422,
        "TypeConstraintViolation": 422,
    }
)

_encoder = msgspec.json.Encoder(decimal_format="number", enc_hook=str)


def as_json(value: object) -> bytes:
    """JSON of whatever a peer may have sent, half surrogate pairs and huge integers too."""
    try:
        return _encoder.encode(value)
    except (ValueError, ArithmeticError):
        return json.dumps(value, default=str, separators=(",", ":")).encode()


def answer(value: object) -> Response:
    """The value as JSON."""
    return Response(as_json(value), media_type="application/json")


def problem(status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any) -> Response:
    """Why there is no answer, for programs and people."""
    title = HTTPStatus(status).phrase
    body = as_json({"type": "about:blank", "title": title, "status": status, "detail": detail, **more})
    return Response(body, status, headers, PROBLEM)


def error_problem(error: Error, *, late: bool) -> Response:
    """The problem that an error in answer to a call is; `late` where all the time there was had passed."""
    status = 504 if late and error.code == "GenericError" else STATUSES.get(error.code, 502)
    return problem(status, error.text, code=error.code, details=dict(error.details))


async def refused(request: Request, error: Exception) -> Response:
    """What the doors refuse by an exception."""
    assert isinstance(error, HTTPException)
    return problem(error.status_code, _detail(request, error), error.headers)


def _detail(request: Request, error: HTTPException) -> str:
    """The routes themselves refuse with no more than a status."""
    if error.detail != HTTPStatus(error.status_code).phrase:
        return error.detail
    if error.status_code == 405:
        return f"expected {(error.headers or {}).get('Allow', 'another method')}, got {request.method}"
    return f"expected a path of /api/openapi.json, got {request.url.path[:255]}"


async def failed(request: Request, error: Exception) -> Response:
    """A mistake of ours, which the server logs; whoever asked gets no details. Passes no other layer on its way out."""
    return problem(500, "the gateway failed", HEADERS)

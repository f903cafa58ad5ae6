"""HTTP bodies within bounds: how much, how long, and what they come to when they are unpacked."""

import asyncio
import zlib
from collections.abc import MutableMapping
from typing import Any

from starlette.types import Receive

MEMBERS = 100


class BodyError(Exception):
    """A body that is not taken; `status` is the HTTP status that says so."""

    def __init__(self, status: int, text: str, data: bytes = b"") -> None:
        super().__init__(text)
        self.status = status
        self.text = text
        self.data = data


async def read_body(receive: Receive, limit: int, timeout: float) -> bytes:
    """The whole body of an ASGI request. Raises BodyError."""
    try:
        async with asyncio.timeout(timeout):
            message = await receive()
            if message["type"] == "http.disconnect":
                raise _gone()
            data: bytes = message.get("body", b"")
            if not message.get("more_body") and len(data) <= limit:
                return data
            return await _read_more(receive, data, message, limit)
    except TimeoutError:
        raise BodyError(408, f"expected the whole body within {timeout:g} s") from None


async def _read_more(receive: Receive, first: bytes, message: MutableMapping[str, Any], limit: int) -> bytes:
    parts, size = [first], len(first)
    while message.get("more_body") and size <= limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _gone(b"".join(parts))
        parts.append(message.get("body", b""))
        size += len(parts[-1])
    if size > limit:
        raise BodyError(413, f"expected at most {limit} bytes", b"".join(parts)[:limit])
    return b"".join(parts)


def _gone(data: bytes = b"") -> BodyError:
    return BodyError(400, "the sender went away before the end of the body", data)


def unpack(data: bytes, coding: str, limit: int) -> tuple[bytes, bool]:
    """A body as it was before its Content-Encoding, and whether it really was encoded. Raises BodyError.

    All OCPP versions demand gzip and deflate. Deflate comes with and without its zlib header, and some peers name a
    coding that they did not apply.
    """
    coding = coding.strip().lower()
    if coding in ("", "identity"):
        return data, False
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise BodyError(415, f"expected Content-Encoding gzip or deflate, got {coding[:40]!r}", data)
    for window in (zlib.MAX_WBITS | 32, -zlib.MAX_WBITS):
        try:
            return _inflate(data, window, limit), True
        except zlib.error:
            continue
    if data.lstrip()[:1] == b"<":
        return data, False
    raise BodyError(400, f"expected a body in {coding}", data)


def _inflate(data: bytes, window: int, limit: int) -> bytes:
    parts: list[bytes] = []
    size, rest = 0, data
    while rest or not parts:
        if len(parts) > MEMBERS:  # each is a look at all that follow
            raise BodyError(413, f"expected at most {MEMBERS} members in a compressed body", data)
        stream = zlib.decompressobj(window)
        parts.append(stream.decompress(rest, limit + 1 - size))
        size += len(parts[-1])
        if size > limit:
            raise BodyError(413, f"expected at most {limit} bytes after decompression", data)
        if not stream.eof:
            raise zlib.error
        rest = stream.unused_data.lstrip(b"\0")  # a gzip body may have several members (RFC 1952, 2.2)
    return b"".join(parts)

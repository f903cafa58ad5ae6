"""gateway.chargers.body: how much is read, how long it may take, and what it comes to unpacked."""

import asyncio
import gzip
import zlib
from collections.abc import MutableMapping
from typing import Any

import pytest
from starlette.types import Receive

from gateway.chargers.body import BodyError, read_body, unpack

TEXT = b"<envelope>" + b"x" * 90 + b"</envelope>"
LIMIT = 200


def part(body: bytes, more: bool = False) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


GONE: dict[str, Any] = {"type": "http.disconnect"}


def said(*messages: dict[str, Any]) -> Receive:
    """The receiving side of ASGI: these messages, and then silence."""
    left = list(messages)

    async def receive() -> MutableMapping[str, Any]:
        if not left:
            await asyncio.Event().wait()
        return left.pop(0)

    return receive


async def refused(*messages: dict[str, Any], timeout: float = 5) -> BodyError:
    with pytest.raises(BodyError) as error:
        await read_body(said(*messages), 10, timeout)
    assert str(error.value) == error.value.text
    return error.value


# --- reading


@pytest.mark.parametrize(
    "messages",
    [
        [part(b"0123456789")],
        [part(b"01234", more=True), part(b"56789")],
        [part(b"", more=True), part(b"0123456789", more=True), part(b"")],
        [{"type": "http.request", "body": b"0123456789"}],
    ],
)
async def test_a_body_comes_whole_in_however_many_parts(messages: list[dict[str, Any]]) -> None:
    assert await read_body(said(*messages), 10, 5) == b"0123456789"


async def test_a_request_may_have_no_body() -> None:
    assert await read_body(said({"type": "http.request"}), 10, 5) == b""


@pytest.mark.parametrize(
    "messages",
    [
        [part(b"0123456789a")],
        [part(b"0123456789a", more=True)],  # what else would come is not waited for
        [part(b"01234", more=True), part(b"56789", more=True), part(b"a", more=True)],
    ],
)
async def test_a_body_over_the_limit_is_refused_as_soon_as_it_is(messages: list[dict[str, Any]]) -> None:
    error = await refused(*messages)
    assert (error.status, error.text, error.data) == (413, "expected at most 10 bytes", b"0123456789")


@pytest.mark.parametrize("messages", [[], [part(b"01234", more=True)]])
async def test_a_body_that_does_not_come_in_time_is_refused(messages: list[dict[str, Any]]) -> None:
    error = await refused(*messages, timeout=0.01)
    assert (error.status, error.text) == (408, "expected the whole body within 0.01 s")


@pytest.mark.parametrize(("messages", "came"), [([GONE], b""), ([part(b"01234", more=True), GONE], b"01234")])
async def test_a_sender_that_goes_away_is_told_of(messages: list[dict[str, Any]], came: bytes) -> None:
    error = await refused(*messages)
    assert (error.status, error.text, error.data) == (400, "the sender went away before the end of the body", came)


# --- unpacking


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize("coding", ["gzip", "x-gzip", "deflate", "GZIP", " deflate "])
@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, raw_deflate])
def test_a_packed_body_is_unpacked_whichever_coding_is_named(pack: Any, coding: str) -> None:
    assert unpack(pack(TEXT), coding, LIMIT) == (TEXT, True)


@pytest.mark.parametrize("coding", ["", "identity", "gzip", "deflate"])
def test_a_body_that_is_not_packed_is_taken_whatever_is_named(coding: str) -> None:
    assert unpack(b" \r\n" + TEXT, coding, LIMIT) == (b" \r\n" + TEXT, False)


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "x" * 100])
def test_a_coding_that_nobody_knows_is_refused(coding: str) -> None:
    with pytest.raises(BodyError) as error:
        unpack(TEXT, coding, LIMIT)
    assert (error.value.status, error.value.data) == (415, TEXT)
    assert error.value.text == f"expected Content-Encoding gzip or deflate, got {coding[:40]!r}"


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, raw_deflate])
def test_a_body_may_be_as_large_as_the_limit_and_no_larger(pack: Any) -> None:
    assert unpack(pack(b"x" * LIMIT), "gzip", LIMIT) == (b"x" * LIMIT, True)
    with pytest.raises(BodyError, match=r"^expected at most 200 bytes after decompression$") as error:
        unpack(pack(b"x" * (LIMIT + 1)), "gzip", LIMIT)
    assert error.value.status == 413


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress, raw_deflate])
def test_a_bomb_is_refused(pack: Any) -> None:
    bomb = pack(bytes(50_000_000))
    with pytest.raises(BodyError, match="after decompression") as error:
        unpack(bomb, "deflate", LIMIT)
    assert error.value.data == bomb


@pytest.mark.parametrize("data", [b"", b"what", gzip.compress(TEXT)[:-9], gzip.compress(TEXT)[:-8] + b"\0" * 8])
def test_what_cannot_be_unpacked_is_refused(data: bytes) -> None:
    with pytest.raises(BodyError, match=r"^expected a body in gzip$") as error:
        unpack(data, "gzip", LIMIT)
    assert (error.value.status, error.value.data) == (400, data)

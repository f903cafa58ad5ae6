"""The traffic log of a running gateway, read as a person would: from the file."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from typing import NamedTuple

from gateway.app import Gateway
from gateway.traffic.exchanges import Exchange, Half, Leg
from gateway.traffic.export import frame_of
from gateway.traffic.query import Filter, open_to_read
from translations.messages import Remark


class Passed(NamedTuple):
    """One message of an exchange on one leg."""

    at: float
    exchange: str
    charger: str
    tenant: str
    action: str
    leg: str
    direction: str  # "<" the gateway received it, ">" the gateway sent it
    wire: str
    version: str
    kind: str
    outcome: str
    latency: float | None
    message_id: str
    raw: bytes
    canonical: str | None
    remarks: tuple[Remark, ...]
    note: str
    headers: dict[str, str]


async def exchanged(gateway: Gateway) -> list[Exchange]:
    """Every exchange, oldest first."""
    return await asyncio.to_thread(_read, gateway)


async def passed(gateway: Gateway) -> list[Passed]:
    """Every message, in the order in which they passed."""
    return sorted((one for exchange in await exchanged(gateway) for one in _messages(exchange)), key=lambda one: one.at)


def _read(gateway: Gateway) -> list[Exchange]:
    assert gateway.traffic.flush()
    with closing(open_to_read(gateway.config.traffic.path)) as log:
        return list(log.each(Filter()))


def _messages(exchange: Exchange) -> Iterator[Passed]:
    for leg in exchange.legs:
        if leg.call is not None:
            yield _one(exchange, leg, leg.call, leg.inward, "refused" if leg.refused else "call")
        if leg.answer is not None:
            kind = "error" if b"[4," in (leg.answer.canonical or leg.answer.raw)[:4] else "result"
            yield _one(exchange, leg, leg.answer, not leg.inward, kind)


def _one(exchange: Exchange, leg: Leg, half: Half, came: bool, kind: str) -> Passed:
    frame = frame_of(leg, half, refused=kind == "refused")
    return Passed(
        half.at,
        exchange.name,
        exchange.charger,
        exchange.tenant,
        exchange.action,
        leg.name,
        "<" if came else ">",
        leg.wire,
        leg.version,
        kind,
        "" if kind == "call" else leg.outcome,
        None if kind in ("call", "refused") else leg.latency,
        half.message_id,
        half.raw,
        None if frame is None else frame.decode(),
        half.remarks,
        half.note,
        dict(half.headers),
    )

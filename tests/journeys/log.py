"""The traffic log of a running gateway, read as a person would: from the file."""

import asyncio
from contextlib import closing

from gateway.app import Gateway
from gateway.traffic.query import Row, connect_to_read, messages


async def passed(gateway: Gateway) -> list[Row]:
    """Every message, oldest first."""
    return await asyncio.to_thread(_read, gateway)


def _read(gateway: Gateway) -> list[Row]:
    assert gateway.traffic.flush()
    with closing(connect_to_read(gateway.config.traffic.path)) as connection:
        return list(messages(connection))

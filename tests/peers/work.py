"""What chargers do all day: transactions, each with words of its own, so that books can be compared with what was done."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import count

from tests.peers.book import METER, START, STATUS, STOP, Deed
from tests.peers.stack16 import Payload

BOOT: Payload = {"chargePointVendor": "Volt", "chargePointModel": "A1"}
BEGIN = datetime(2024, 5, 1, 8, 0, tzinfo=UTC)

Say = Callable[[str, Payload], Awaitable[Payload]]
"""Says something in canonical form, as often as is necessary, and gives the answer."""


class Clock:
    """A charger's: later each time that it is looked at."""

    def __init__(self, begin: datetime = BEGIN) -> None:
        self._moments = (begin + timedelta(seconds=7 * n) for n in count())

    def __call__(self) -> str:
        return next(self._moments).strftime("%Y-%m-%dT%H:%M:%SZ")


def reading(connector: int, at: str, value: int, number: int | None) -> Payload:
    """One meter value."""
    group = {"timestamp": at, "sampledValue": [{"value": str(value)}]}
    return {"connectorId": connector, "transactionId": number, "meterValue": [group]}


def status(connector: int, word: str, at: str) -> Payload:
    return {"connectorId": connector, "status": word, "errorCode": "NoError", "timestamp": at}


async def charge(
    say: Say,
    charger: str,
    clock: Callable[[], str],
    *,
    tag: str = "TAG1",
    connector: int = 1,
    readings: int = 2,
    deeds: list[Deed] | None = None,
    pause: float = 0,
) -> Deed:
    """One transaction, from its start to its stop, with so many seconds before each reading; in `deeds` from the beginning."""
    start = {"connectorId": connector, "idTag": tag, "meterStart": 100, "timestamp": clock()}
    deed = Deed(charger, start)
    if deeds is not None:
        deeds.append(deed)
    deed.number = (await say(START, start))["transactionId"]
    for n in range(readings):
        await asyncio.sleep(pause)
        metered = reading(connector, clock(), 110 + n, deed.number)
        deed.readings.append(metered)
        await say(METER, metered)
    deed.stop = {"transactionId": deed.number, "idTag": tag, "meterStop": 900, "timestamp": clock()}
    await say(STOP, deed.stop)
    return deed


async def day(say: Say, charger: str) -> Deed:
    """A boot, a greeting, an authorization, one transaction, and what the connector is meanwhile."""
    clock = Clock()
    await say("BootNotification", BOOT)
    await say(STATUS, status(1, "Available", clock()))
    await say("Authorize", {"idTag": "TAG1"})
    deed = await charge(say, charger, clock)
    await say(STATUS, status(1, "Available", clock()))
    return deed


def in_15(action: str, payload: Payload) -> Payload:
    """A payload in the names of OCPP-S 1.5, as far as chargers of this file say such things."""
    if action != METER:
        return payload
    values = [
        {"timestamp": group["timestamp"], "value": [sample["value"] for sample in group["sampledValue"]]}
        for group in payload["meterValue"]
    ]
    return {name: each for name, each in payload.items() if name != "meterValue"} | {"values": values}

"""The gateway is killed again and again under load, while backends come and go: nothing is lost, nothing doubled in vain.

`GATEWAY_KILLS` says how often (8), `GATEWAY_SEED` at which moments (each time others).
"""

import asyncio
import os
import random
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path

import pytest

from tests.peers.book import METER, Book, Deed, Entry, complaints, cut_off
from tests.peers.keeper import Keeper, keeper
from tests.peers.plain_csms import PlainCsms, plain_csms
from tests.peers.stubborn import Stubborn
from tests.peers.subprocess_gateway import SubprocessGateway

KILLS = int(os.environ.get("GATEWAY_KILLS", "8"))
UPTIME = (0.1, 1.6)  # seconds that a run lives
DRAIN = 15.0  # seconds that backends have in the end
ENOUGH = 60.0 + 5 * KILLS  # seconds after which something hangs
CHARGERS = {"json": 6, "soap": 4}
CONFIGURATION = """
[server]
port = 0
drain = 1
[admin]
port = 0
[state]
path = "state.db"
[traffic]
enabled = false
[log]
level = "warning"
[replay]
rate = 2000
retry_interval = 0.5
[[routes]]
answer = ["csms"]
listen = ["other"]
away_authorize = "all"
away_answers = ["BootNotification", "Heartbeat"]
"""
BACKEND = """
[[backends]]
kind = "ocppj"
name = "{name}"
url = "{url}"
away = "store"
connect_timeout = 2
timeout = 2
backoff_min = 0.05
backoff_max = 0.3
"""


@pytest.fixture
def chance() -> random.Random:
    """Says its seed, so that a failure can be looked at again."""
    seed = int(os.environ.get("GATEWAY_SEED", secrets.randbelow(10**9)))
    print(f"GATEWAY_SEED={seed}")  # noqa: T201
    return random.Random(seed)  # noqa: S311


@asynccontextmanager
async def fleet(gateway: SubprocessGateway, chance: random.Random) -> AsyncIterator[tuple[list[Stubborn], asyncio.Event]]:
    """Chargers at work, until the event is set; they have finished what they were at when the context ends."""
    kinds = [kind for kind, many in CHARGERS.items() for _ in range(many)]
    chargers = [Stubborn(kind, f"CP-{n}", lambda: gateway.port, chance) for n, kind in enumerate(kinds)]
    over = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for charger in chargers:
            tasks.create_task(charger.work(over))
        yield chargers, over
        over.set()
    for charger in chargers:
        await charger.close()


@asynccontextmanager
async def weather(chance: random.Random, *backends: Keeper | PlainCsms) -> AsyncIterator[None]:
    """Backends go away and come back; in the end all are there."""

    async def change() -> None:
        while True:
            backend = chance.choice(backends)
            await asyncio.sleep(chance.uniform(0.5, 2))
            await backend.stop()
            await asyncio.sleep(chance.uniform(0.2, 1.5))
            await backend.start()

    changing = asyncio.create_task(change())
    try:
        yield
    finally:
        changing.cancel()
        await asyncio.wait({changing})
        for backend in backends:
            await backend.start()


async def complete(book: Book, deeds: list[Deed], chargers: list[Stubborn]) -> None:
    """Wait until a backend knows all that was done and how connectors are, or will not know it any more."""

    def known(book: Book) -> bool:
        newest = all(book.statuses.get((each.identity.casefold(), 1)) == each.last for each in chargers)
        return newest and all(gist in book.heard for deed in deeds for gist in deed.gists())

    with suppress(TimeoutError):
        await book.wait(known, DRAIN)


def untold(book: Book, chargers: list[Stubborn]) -> list[str]:
    """Connectors of which a backend believes something old."""
    return [each.identity for each in chargers if book.statuses.get((each.identity.casefold(), 1)) != each.last]


async def test_nothing_is_lost_and_nothing_doubled_in_vain(tmp_path: Path, chance: random.Random) -> None:
    async with asyncio.timeout(ENOUGH), keeper() as csms, plain_csms(count(900_001)) as other:
        backends = "".join(BACKEND.format(name=name, url=end.url) for name, end in (("csms", csms), ("other", other)))
        async with SubprocessGateway(tmp_path, CONFIGURATION + backends) as gateway:
            async with fleet(gateway, chance) as (chargers, over), weather(chance, csms, other):
                for _ in range(KILLS):
                    await asyncio.sleep(chance.uniform(*UPTIME))
                    await gateway.kill()
                    await gateway.start()
                over.set()
            deeds = [deed for charger in chargers for deed in charger.deeds]
            for end in (csms, other):
                await complete(end.book, deeds, chargers)
            await gateway.stop()
    books = {"csms": csms.book, "other": other.book}
    numbers = [(deed.charger, deed.number) for deed in deeds]
    assert len(set(numbers)) == len(numbers) > len(chargers)
    again = {each for charger in chargers for each in charger.again}

    def excused(book: Book, entry: Entry) -> bool:
        """A reading that its charger has said again is told again: of those the gateway keeps no answers."""
        return cut_off(book, entry) or (entry.action == METER and entry.gist in again)

    wrong = [f"{name}: {each}" for name, book in books.items() for each in complaints(deeds, book, excused)]
    print(gateway.log, *wrong, sep="\n")  # noqa: T201 - who looks at a failure wants all of it
    assert wrong == []
    assert [untold(book, chargers) for book in books.values()] == [[], []]

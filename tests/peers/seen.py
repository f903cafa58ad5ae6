"""What a peer has seen, in order, for tests that wait for it."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

DEADLINE = 5.0
Item = TypeVar("Item")


class Seen(Generic[Item]):
    """A list that grows, and tells those who wait for more."""

    def __init__(self) -> None:
        self._items: list[Item] = []
        self._grown = asyncio.Event()

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, index: int) -> Item:
        return self._items[index]

    def add(self, item: Item) -> None:
        self._items.append(item)
        self._grown.set()

    async def wait(self, wanted: Callable[[Item], bool] = lambda _: True, since: int = 0) -> Item:
        """The first item from `since` on that is wanted. Raises TimeoutError."""
        async with asyncio.timeout(DEADLINE):
            while True:
                for item in self._items[since:]:
                    if wanted(item):
                        return item
                self._grown.clear()
                await self._grown.wait()

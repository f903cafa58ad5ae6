"""The CSMS of the ocpp package with a book, which gives every transaction a number of its own."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count
from typing import Any
from urllib.parse import unquote

from tests.peers.book import START, Book, Noted
from tests.peers.csms import Csms
from tests.peers.stack16 import Payload


class _Numbering(dict[str, Payload]):
    """Answers, of which each to a start tells another number."""

    def __init__(self, answers: dict[str, Payload], numbers: Iterator[int]) -> None:
        super().__init__(answers)
        self._numbers = numbers

    def __getitem__(self, action: str) -> Payload:
        answer = super().__getitem__(action)
        return {**answer, "transactionId": next(self._numbers)} if action == START else answer


class Keeper(Csms):
    """The central system."""

    def __init__(self, numbers: Iterator[int]) -> None:
        super().__init__()
        self.answers = _Numbering(self.answers, numbers)
        self.book = Book()

    async def _talk(self, connection: Any) -> None:
        identity = unquote(connection.request.path.rpartition("/")[2])
        await super()._talk(Noted(connection, identity, self.book))  # type: ignore[arg-type]


@asynccontextmanager
async def keeper(numbers: Iterator[int] | None = None) -> AsyncIterator[Keeper]:
    """Such a CSMS on a free port."""
    csms = Keeper(numbers or count(1))
    await csms.start()
    try:
        yield csms
    finally:
        await csms.stop()

"""The traffic log, read in threads of its own number, so that neither the event loop nor anything else waits for it."""

import asyncio
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.exceptions import HTTPException

from gateway.traffic import query

READERS = 4
DEADLINE = 10.0
_STEPS = 20_000  # of SQLite's machine, between two looks at the clock

T = TypeVar("T")


class Log:
    """Answers questions about the traffic."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._readers = CapacityLimiter(READERS)

    async def read(self, ask: Callable[[sqlite3.Connection], T]) -> T:
        """What the question finds in the log. Raises HTTPException where it cannot be asked."""
        if self._path is None:
            raise HTTPException(404, "expected traffic.enabled, no traffic is kept")
        try:
            async with asyncio.timeout(2 * DEADLINE):
                return await to_thread.run_sync(_asked, self._path, ask, limiter=self._readers, abandon_on_cancel=True)
        except TimeoutError:
            raise HTTPException(503, "the traffic log is busy: too many want to read it") from None
        except query.FormatError as error:
            raise HTTPException(503, str(error)) from None
        except sqlite3.Error as error:
            raise HTTPException(503, _reason(error)) from None


def _asked(path: Path, ask: Callable[[sqlite3.Connection], T]) -> T:
    until = time.monotonic() + DEADLINE
    with closing(query.connect_to_read(path)) as connection:
        connection.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
        return ask(connection)


def _reason(error: sqlite3.Error) -> str:
    if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT:
        return f"the traffic log gave no answer in {DEADLINE:g} s: expected a narrower filter"
    return f"the traffic log cannot be read: {error}"

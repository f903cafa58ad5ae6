"""The traffic log, read in threads of its own number, so that neither the event loop nor anything else waits for it."""

import asyncio
from collections.abc import Callable
from contextlib import closing
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from starlette.exceptions import HTTPException

from gateway.traffic.log import BoundedReader, FormatError, Interrupted, LogError, TrafficReader

READERS = 4
DEADLINE = 10.0

T = TypeVar("T")


class Log:
    """Answers questions about the traffic."""

    def __init__(self, opened: Callable[[], BoundedReader] | None) -> None:
        self._opened = opened
        self._readers = CapacityLimiter(READERS)

    async def read(self, ask: Callable[[TrafficReader], T]) -> T:
        """What the question finds in the log. Raises HTTPException where it cannot be asked."""
        if self._opened is None:
            raise HTTPException(404, "expected traffic.enabled, no traffic is kept")
        try:
            async with asyncio.timeout(2 * DEADLINE):
                return await to_thread.run_sync(_asked, self._opened, ask, limiter=self._readers, abandon_on_cancel=True)
        except TimeoutError:
            raise HTTPException(503, "the traffic log is busy: too many want to read it") from None
        except Interrupted:
            reason = f"the traffic log gave no answer in {DEADLINE:g} s: expected a narrower filter"
            raise HTTPException(503, reason) from None
        except FormatError as error:
            raise HTTPException(503, str(error)) from None
        except LogError as error:
            raise HTTPException(503, f"the traffic log {error}") from None


def _asked(opened: Callable[[], BoundedReader], ask: Callable[[TrafficReader], T]) -> T:
    with closing(opened()) as log:
        log.interrupt_after(DEADLINE)
        return ask(log)

"""North doors: one file for each kind of backend."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from gateway.exchange import Standing
from translations.messages import Answer, Call

Commands = Callable[[str, Call], Awaitable[Answer]]
"""Takes (name of the backend, its call to a charger) and answers; the router's face towards backends."""


class Backend(Protocol):
    """What the router asks of a backend. Each charger has a session of its own."""

    name: str

    def arrive(self, identity: str) -> None:
        """A charger is here: hold a session for it, opened in the background. Again for the same charger: nothing."""

    def leave(self, identity: str) -> None:
        """The charger is gone: close its session."""

    def up(self, identity: str) -> bool:
        """Whether a call for this charger could be sent now, or is about to be (a first attempt to connect is under way)."""

    def standing(self, identity: str) -> Standing:
        """`up`, and since when (event loop time) it is so, or not so. A backend that is away for all is so for a new charger."""

    async def exchange(self, call: Call, within: float | None = None) -> Answer:
        """Send the charger's call and wait for the answer, within the backend's deadline, or so many seconds if that is less.

        Never raises for the peer's faults.

        An error is NotSent where the backend never heard the call, Unanswered where it may still answer, Broken where its
        connection ended first, and a plain Error where it is the backend's own.
        """

    def offer(self, call: Call) -> None:
        """Let a listener hear the call; its answer is recorded and dropped. Never blocks; bounded."""

    async def close(self, drain: float | None = None) -> None:
        """Close every session. What is in flight has `drain` seconds to finish; by default those it was made with."""

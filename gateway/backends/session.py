"""What a backend keeps of one charger: where its session stands, and what waits for it. Connecting is not its business."""

import asyncio
from collections import deque
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from gateway.link import Link
from translations.messages import Call


class State(StrEnum):
    """Where a charger's session with the CSMS stands."""

    IDLE = "idle"
    CONNECTING = "connecting"
    UP = "up"
    BACKING_OFF = "backing off"


class Step(StrEnum):
    """What happens to a session."""

    ARRIVE = "arrive"
    OPEN = "open"
    FAIL = "fail"
    LOSE = "lose"
    RETRY = "retry"
    BREAK = "break"  # a mistake of ours ended it
    LEAVE = "leave"


# What is absent cannot happen.
MOVES: Mapping[tuple[State, Step], State] = MappingProxyType(
    {
        (State.IDLE, Step.ARRIVE): State.CONNECTING,
        (State.CONNECTING, Step.OPEN): State.UP,
        (State.CONNECTING, Step.FAIL): State.BACKING_OFF,
        (State.UP, Step.LOSE): State.BACKING_OFF,
        (State.BACKING_OFF, Step.RETRY): State.CONNECTING,
        (State.CONNECTING, Step.BREAK): State.BACKING_OFF,
        (State.UP, Step.BREAK): State.BACKING_OFF,
        (State.BACKING_OFF, Step.BREAK): State.BACKING_OFF,
        (State.CONNECTING, Step.LEAVE): State.IDLE,
        (State.UP, Step.LEAVE): State.IDLE,
        (State.BACKING_OFF, Step.LEAVE): State.IDLE,
    }
)


class Session:
    """What is kept of one charger. Small: there are thousands."""

    __slots__ = (
        "attempts",
        "booting",
        "changed",
        "first",
        "former",
        "heard",
        "identity",
        "link",
        "pending",
        "pump",
        "reason",
        "state",
        "task",
    )

    def __init__(self, identity: str, former: asyncio.Task[None] | None = None) -> None:
        self.identity = identity
        self.former = former  # the end of the session before
        self.state = State.IDLE
        self.reason = ""  # why the last attempt or connection ended
        self.first = True  # until the first attempt has ended
        self.attempts = 0  # since a connection last held
        self.booting = 0  # boot notifications that wait for the connection
        self.pending = 0  # calls under way
        self.link: Link | None = None
        self.task: asyncio.Task[None] | None = None
        self.changed: asyncio.Future[None] | None = None  # made when somebody waits for the attempt to end
        self.heard: deque[Call] | None = None  # what a listener is still to hear
        self.pump: asyncio.Task[None] | None = None

    def move(self, step: Step) -> None:
        """Take the step, and wake who waits for the attempt to end."""
        self.state = MOVES[self.state, step]
        if self.changed and not self.changed.done():
            self.changed.set_result(None)
        self.changed = None

    def ended(self, step: Step) -> None:
        """The attempt or the connection is over; nothing moves any more once the charger has left."""
        self.first = False
        if self.state is not State.IDLE:
            self.move(step)

    async def settled(self) -> None:
        """Wait until the attempt to connect that is under way has ended."""
        while self.state is State.CONNECTING:
            if self.changed is None:
                self.changed = asyncio.get_running_loop().create_future()
            await asyncio.wait({self.changed})

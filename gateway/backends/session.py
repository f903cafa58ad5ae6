"""What a backend keeps of one charger: where its session stands, and what waits for it. Connecting is not its business."""

import asyncio
from collections import deque
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from gateway.exchange import Standing
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
    REFUSE = "refuse"  # the backend is there, and will not have this charger
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
        (State.CONNECTING, Step.REFUSE): State.BACKING_OFF,
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
_NO_FAILURE = frozenset({Step.OPEN, Step.REFUSE, Step.LEAVE})


class Front:
    """What the sessions with one backend say of it as a whole: it is away while none is open and attempts fail."""

    __slots__ = ("away", "failing", "open", "since")

    def __init__(self) -> None:
        self.open = 0
        self.failing = 0  # sessions whose last attempt failed
        self.away, self.since = False, 0.0  # since when (event loop time)

    def moved(self, opened: int, failing: int, now: float) -> None:
        """So many sessions more, or fewer, are open, and fail."""
        self.open += opened
        self.failing += failing
        away = not self.open and self.failing > 0
        if away is not self.away:
            self.away, self.since = away, now


class Session:
    """What is kept of one charger. Small: there are thousands."""

    __slots__ = (
        "attempts",
        "booting",
        "changed",
        "failing",
        "first",
        "former",
        "front",
        "heard",
        "identity",
        "link",
        "name",
        "pending",
        "reason",
        "since",
        "state",
        "task",
        "telling",
        "up",
    )

    def __init__(self, identity: str, front: Front, former: asyncio.Task[None] | None = None) -> None:
        self.identity = identity
        self.front = front
        self.former = former  # the end of the session before
        self.state = State.IDLE
        self.reason = ""  # why the last attempt or connection ended
        self.first = True  # until the first attempt has ended
        self.failing = False  # the last attempt failed
        self.up, self.since = False, 0.0  # connected, or the first attempt is under way; since when (event loop time)
        self.attempts = 0  # since a connection last held
        self.booting = 0  # boot notifications that wait for the connection
        self.pending = 0  # calls under way
        self.link: Link | None = None
        self.name: tuple[str, str] | None = None  # under which it was dialled: as the backend calls the charger, and its tenant
        self.task: asyncio.Task[None] | None = None
        self.changed: asyncio.Future[None] | None = None  # made when somebody waits for the attempt to end
        self.heard: deque[Call] | None = None  # what a listener is still to hear
        self.telling = False  # whether a listener is hearing something

    def move(self, step: Step) -> None:
        """Take the step, and wake who waits for the attempt to end."""
        was, self.state = self.state, MOVES[self.state, step]
        self._stand(step, (self.state is State.UP) - (was is State.UP))
        if self.changed and not self.changed.done():
            self.changed.set_result(None)
        self.changed = None

    def _stand(self, step: Step, opened: int) -> None:
        now = asyncio.get_running_loop().time()
        up = self.state is State.UP or (self.state is State.CONNECTING and self.first)
        if up is not self.up:
            self.up, self.since = up, now
        failed = self.failing
        self.failing = step is Step.FAIL or (failed and step not in _NO_FAILURE)
        self.front.moved(opened, self.failing - failed, now)

    def standing(self) -> Standing:
        """Whether the charger's calls reach the backend. That it is away as a whole holds for a first attempt too."""
        front = self.front
        if not front.away:  # nobody was up while it was
            return Standing(self.up, max(self.since, front.since) if self.up else self.since)
        return Standing(False, front.since if self.up else min(front.since, self.since))

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

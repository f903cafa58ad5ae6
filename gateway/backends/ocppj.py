"""A CSMS that speaks OCPP-J 1.6: one WebSocket for each charger, opened when it arrives, kept while it is there.

A charger's session moves between the states of `MOVES`. Nothing is invented while the CSMS is away: calls are answered
with an error, at once when it is known to be away.
"""

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import partial
from types import MappingProxyType

import structlog

from gateway.backends import Commands, NotSent
from gateway.config import Ocppj
from gateway.dial import FAULTS, Dialler, Socket, reason
from gateway.exchange import Ids
from gateway.link import CLOSE_GRACE, Closed, Limits, Link
from gateway.traffic.record import Tap
from translations.errors import OcppError
from translations.messages import Answer, Call, Error, Side

BOOT = "BootNotification"

logger = structlog.get_logger(__name__)


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
    LEAVE = "leave"


# What is absent cannot happen.
MOVES: Mapping[tuple[State, Step], State] = MappingProxyType(
    {
        (State.IDLE, Step.ARRIVE): State.CONNECTING,
        (State.CONNECTING, Step.OPEN): State.UP,
        (State.CONNECTING, Step.FAIL): State.BACKING_OFF,
        (State.UP, Step.LOSE): State.BACKING_OFF,
        (State.BACKING_OFF, Step.RETRY): State.CONNECTING,
        (State.CONNECTING, Step.LEAVE): State.IDLE,
        (State.UP, Step.LEAVE): State.IDLE,
        (State.BACKING_OFF, Step.LEAVE): State.IDLE,
    }
)


class _Session:
    """What is kept of one charger. Small: there are thousands."""

    __slots__ = ("booting", "changed", "first", "heard", "identity", "link", "pending", "pump", "reason", "state", "task")

    def __init__(self, identity: str) -> None:
        self.identity = identity
        self.state = State.IDLE
        self.reason = ""  # why the last attempt or connection ended
        self.first = True  # until the first attempt has ended
        self.booting = 0  # boot notifications that wait for the connection
        self.pending = 0  # calls under way
        self.link: Link | None = None
        self.task: asyncio.Task[None] | None = None
        self.changed: asyncio.Future[None] | None = None  # made when somebody waits for the attempt to end
        self.heard: deque[Call] | None = None  # what a listener is still to hear
        self.pump: asyncio.Task[None] | None = None

    def move(self, step: Step) -> None:
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


class OcppjBackend:
    """The sessions of all chargers with one CSMS.

    `on_open` is asked, whenever a socket has opened and no charger's own BootNotification waits for it, for the one to
    announce the charger with; the answer goes to `on_announced`.
    """

    def __init__(
        self,
        config: Ocppj,
        commands: Commands,
        tap: Tap,
        ids: Ids,
        *,
        on_open: Callable[[str], Call | None] | None = None,
        on_announced: Callable[[str, Answer], None] | None = None,
        connect_concurrency: int = 64,
        malformed_limit: int = 20,
        drain: float = 10,
    ) -> None:
        self.name = config.name
        self.dropped = 0  # calls that a listener never heard
        self._config, self._tap, self._ids = config, tap, ids
        self._exchange = partial(commands, config.name)
        self._on_open, self._on_announced = on_open, on_announced
        self._handshakes = asyncio.Semaphore(connect_concurrency)  # a fleet that comes back at once
        self._limits = Limits(waiting=config.waiting, malformed=malformed_limit)
        self._drain = drain
        self._dialler = Dialler(config)
        self._sessions: dict[str, _Session] = {}
        self._leaving: set[asyncio.Task[None]] = set()

    def arrive(self, identity: str) -> None:
        self._session(identity)

    def leave(self, identity: str) -> None:
        if session := self._sessions.pop(identity.casefold(), None):
            task = asyncio.get_running_loop().create_task(self._end(session, "the charger has left"))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)

    def up(self, identity: str) -> bool:
        session = self._sessions.get(identity.casefold())
        return session is not None and (session.state is State.UP or (session.state is State.CONNECTING and session.first))

    def state(self, identity: str) -> State:
        """Where a charger's session stands."""
        session = self._sessions.get(identity.casefold())
        return session.state if session else State.IDLE

    def states(self) -> Counter[State]:
        """How many sessions stand where."""
        return Counter(session.state for session in self._sessions.values())

    def queued(self) -> int:
        """How many calls are under way or wait to be heard."""
        return sum(session.pending + len(session.heard or ()) for session in self._sessions.values())

    async def exchange(self, call: Call) -> Answer:
        session = self._session(call.identity)
        if session.pending > self._config.waiting:
            return self._error(call, f"has {session.pending} unanswered calls of this charger")
        session.pending += 1
        try:
            if session.state is State.CONNECTING:
                return await self._ask_once_settled(session, call)
            return await self._ask(session, call, self._config.timeout)
        except TimeoutError:
            if session.link:
                return self._error(call, f"gave no answer in {self._config.timeout:g} s")
            return self._error(call, f"is not reachable: no connection in {self._config.timeout:g} s", NotSent)
        finally:
            session.pending -= 1

    async def _ask_once_settled(self, session: _Session, call: Call) -> Answer:
        """Wait for the attempt to connect that is under way, and ask; all within one deadline."""
        boots = call.action == BOOT
        session.booting += boots
        try:
            async with asyncio.timeout(self._config.timeout):
                await session.settled()
                session.booting -= boots
                boots = False
                return await self._ask(session, call, self._config.timeout)
        finally:
            session.booting -= boots

    def offer(self, call: Call) -> None:
        session = self._session(call.identity)
        if session.heard is None:
            session.heard = deque(maxlen=self._config.waiting)
        self.dropped += len(session.heard) == session.heard.maxlen
        session.heard.append(call)
        self._start_pump(session)

    async def close(self) -> None:
        sessions, self._sessions = self._sessions, {}
        await asyncio.gather(*(self._end(session, "the gateway is shutting down") for session in sessions.values()))
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=self._drain + CLOSE_GRACE)

    def _session(self, identity: str) -> _Session:
        key = identity.casefold()
        session = self._sessions.get(key)
        if session is None:
            session = self._sessions[key] = _Session(identity)
            session.move(Step.ARRIVE)
            session.task = asyncio.get_running_loop().create_task(self._live(session))
        return session

    async def _ask(self, session: _Session, call: Call, timeout: float) -> Answer:
        if session.link is None:
            return self._error(call, f"is not reachable: {session.reason}", NotSent)
        try:
            return await session.link.ask(call, timeout)
        except Closed:
            return self._error(call, "closed the connection before the answer")
        except OcppError as error:
            return self._error(call, f"cannot take the call: {error.text}")

    def _error(self, call: Call, text: str, kind: type[Error] = Error) -> Error:
        return kind("InternalError", f"backend {self.name} {text}", {}, call.id, call.action)

    async def _live(self, session: _Session) -> None:
        """Connect, talk, wait, and again, until the session is ended."""
        attempt = 0
        while True:
            lasted = await self._once(session, attempt)
            if session.state is State.IDLE:
                return
            if lasted >= self._config.backoff_max:  # not for a CSMS that takes us in only to throw us out
                attempt = 0
            await asyncio.sleep(self._pause(attempt))
            attempt += 1
            session.move(Step.RETRY)

    async def _once(self, session: _Session, attempt: int) -> float:
        """One connection, from the attempt to its end; says for how many seconds it was open."""
        clock = asyncio.get_running_loop().time
        log = logger.bind(backend=self.name, charger=session.identity)
        try:
            async with self._handshakes:
                socket = await self._dialler.dial(session.identity)
        except FAULTS as fault:
            session.reason = reason(fault, self._config.connect_timeout)
            (log.debug if attempt else log.warning)("backend.unreachable", reason=session.reason)
            session.ended(Step.FAIL)
            return 0.0
        opened = clock()
        log.info("backend.connected")
        try:
            session.reason = str(await self._talk(session, socket))
        finally:
            socket.abort()
        log.info("backend.disconnected", reason=session.reason)
        session.ended(Step.LOSE)
        return clock() - opened

    def _pause(self, attempt: int) -> float:
        low, high = self._config.backoff_min, self._config.backoff_max
        return random.uniform(min(low, high), min(high, low * 2.0 ** min(attempt + 1, 30)))  # noqa: S311 - jitter

    async def _talk(self, session: _Session, socket: Socket) -> Closed:
        session.link = self._link(session.identity, socket)
        announced = self._announcement(session)
        if announced is None:
            self._opened(session)
            return await self._run(session)
        announcing = asyncio.get_running_loop().create_task(self._announce(session, session.link, announced))
        try:
            return await self._run(session)
        finally:
            announcing.cancel()

    async def _run(self, session: _Session) -> Closed:
        assert session.link is not None
        try:
            return await session.link.run()
        finally:
            session.link = None

    def _link(self, identity: str, socket: Socket) -> Link:
        return Link(
            socket,
            self._exchange,
            self._tap,
            identity=identity,
            leg=self.name,
            side=Side.CHARGE_POINT,
            ids=self._ids,
            peer=socket.peer,
            limits=self._limits,
        )

    def _announcement(self, session: _Session) -> Call | None:
        return self._on_open(session.identity) if self._on_open and not session.booting else None

    def _opened(self, session: _Session) -> None:
        session.move(Step.OPEN)
        self._start_pump(session)

    async def _announce(self, session: _Session, link: Link, call: Call) -> None:
        # No await between the two: the link sends in order, so the announcement goes before all that was waiting.
        self._opened(session)
        answer = await link.call(call, self._config.timeout)
        if self._on_announced:
            self._on_announced(session.identity, answer)

    def _start_pump(self, session: _Session) -> None:
        if session.heard and session.state is State.UP and session.pump is None:
            session.pump = asyncio.get_running_loop().create_task(self._pump(session))

    async def _pump(self, session: _Session) -> None:
        """Let a listener hear what is queued, one after the other; what a closing connection takes with it is lost."""
        try:
            while session.heard and session.state is State.UP:
                self.dropped += not await self._tell(session, session.heard.popleft())
        finally:
            session.pump = None

    async def _tell(self, session: _Session, call: Call) -> bool:
        try:
            if session.link:
                await session.link.ask(call, self._config.timeout)
        except TimeoutError:
            return True  # heard, if not answered
        except (Closed, OcppError):
            return False
        return session.link is not None

    async def _end(self, session: _Session, text: str) -> None:
        session.reason = text
        session.move(Step.LEAVE)
        if session.link:
            await session.link.close(1001, text, self._drain)
        tasks = {task for task in (session.task, session.pump) if task}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_GRACE)

"""A CSMS that speaks OCPP-J 1.6: one WebSocket for each charger, opened when it arrives, kept while it is there.

A charger's session moves between the states of `session.MOVES`. Nothing is invented while the CSMS is away: calls are answered
with an error, at once when it is known to be away.
"""

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable
from functools import partial

import structlog
from websockets.exceptions import InvalidStatus

from gateway.backends import Commands
from gateway.backends.session import Front, Session, State, Step
from gateway.config import Ocppj
from gateway.dial import FAULTS, FRAME_LIMIT, Dialler, Nameless, Socket, reason
from gateway.exchange import Broken, Ids, NotSent, Standing, Unanswered
from gateway.link import CLOSE_GRACE, Closed, Limits, Link, NoAnswer, Unsent
from gateway.pace import Pace
from gateway.traffic.record import Tap
from translations.errors import GenericError, OcppError
from translations.messages import Answer, Call, Error, Side

BOOT = "BootNotification"
LEAST = 0.05  # seconds that there always are for a call
_OF_ONE = frozenset({401, 403, 404})  # HTTP statuses that say nothing of other chargers

logger = structlog.get_logger(__name__)


class OcppjBackend:
    """The sessions of all chargers with one CSMS.

    `on_open` is asked, whenever a socket has opened and no charger's own BootNotification waits for it, for the one to
    announce the charger with; the answer goes to `on_announced`. `on_late` hears, with the backend's name, the answers that come
    after the deadline of their calls. `on_up` hears, with the backend's name, of each socket that has opened, as soon as the
    announcement, or the charger's own BootNotification, has its place before all else. `name_of` says what the CSMS calls a
    charger, and whose tenant it is.
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
        on_late: Callable[[str, Answer], None] | None = None,
        on_up: Callable[[str, str], None] | None = None,
        name_of: Callable[[str], tuple[str, str]] | None = None,
        connect_concurrency: int = 64,
        malformed_limit: int = 20,
        drain: float = 10,
        frame_limit: int = FRAME_LIMIT,
    ) -> None:
        self.name = config.name
        self.dropped = 0  # calls that a listener never heard
        self._config, self._tap, self._ids = config, tap, ids
        self._exchange = partial(commands, config.name)
        self._on_open, self._on_announced = on_open, on_announced
        self._on_late = partial(on_late, config.name) if on_late else None
        self._on_up = partial(on_up, config.name) if on_up else None
        self._name_of = name_of or _as_it_is
        self._handshakes = asyncio.Semaphore(connect_concurrency)  # a fleet that comes back at once
        self._line = Line(config.connect_rate) if config.connect_rate else None
        self._limits = Limits(waiting=config.waiting, malformed=malformed_limit)
        self._drain = drain
        self._dialler = Dialler(config, frame_limit)
        self._front = Front()
        self._sessions: dict[str, Session] = {}
        self._leaving: dict[str, asyncio.Task[None]] = {}

    def arrive(self, identity: str) -> None:
        if self._session(identity).name not in (None, self._name_of(identity)):
            # Opened for what was stored while the charger was gone; it has come under another tenant.
            self.leave(identity)
            self._session(identity)

    def leave(self, identity: str) -> None:
        key = identity.casefold()
        if session := self._sessions.pop(key, None):
            task = asyncio.get_running_loop().create_task(self._end(session, "the charger has left"))
            self._leaving[key] = task
            task.add_done_callback(partial(self._left, key))

    def _left(self, key: str, task: asyncio.Task[None]) -> None:
        if self._leaving.get(key) is task:
            del self._leaving[key]

    def up(self, identity: str) -> bool:
        session = self._sessions.get(identity.casefold())
        return session is not None and session.standing().up

    def standing(self, identity: str) -> Standing:
        session = self._sessions.get(identity.casefold())
        if session is not None:
            return session.standing()
        return Standing(False, self._front.since if self._front.away else asyncio.get_running_loop().time())

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

    async def exchange(self, call: Call, within: float | None = None) -> Answer:
        timeout = self._config.timeout if within is None else min(self._config.timeout, max(within, LEAST))
        session = self._session(call.identity)
        if session.pending > self._config.waiting:
            return self._error(call, f"has {session.pending} unanswered calls of this charger", NotSent)
        session.pending += 1
        try:
            if session.state is State.CONNECTING:
                return await self._ask_once_settled(session, call, timeout)
            return await self._ask(session, call, timeout)
        except NoAnswer:
            return self._unanswered(call, timeout)
        except TimeoutError:
            what = "is busy: no turn" if session.link else "is not reachable: no connection"
            return self._error(call, f"{what} in {timeout:g} s", NotSent)
        finally:
            session.pending -= 1

    async def _ask_once_settled(self, session: Session, call: Call, timeout: float) -> Answer:
        """Wait for the attempt to connect that is under way, and ask; all within one deadline."""
        clock, boots = asyncio.get_running_loop().time, call.action == BOOT
        over = clock() + timeout
        session.booting += boots
        try:
            async with asyncio.timeout_at(over):
                await session.settled()
        finally:
            session.booting -= boots
            if boots and not session.booting and session.state is State.UP:
                # Behind the boot, which is sent in this turn.
                asyncio.get_running_loop().call_soon(self._tell_up, session.identity)
        return await self._ask(session, call, over - clock())

    def offer(self, call: Call) -> None:
        session = self._session(call.identity)
        if session.heard is None:
            session.heard = deque(maxlen=self._config.waiting)
        self.dropped += len(session.heard) == session.heard.maxlen
        session.heard.append(call)
        self._pump(session)

    async def close(self, drain: float | None = None) -> None:
        self._drain = self._drain if drain is None else drain
        sessions, self._sessions = self._sessions, {}
        await asyncio.gather(*(self._end(session, "the gateway is shutting down") for session in sessions.values()))
        if self._leaving:
            await asyncio.wait(self._leaving.values(), timeout=self._drain + CLOSE_GRACE)

    def _session(self, identity: str) -> Session:
        key = identity.casefold()
        session = self._sessions.get(key)
        if session is None:
            session = self._sessions[key] = Session(identity, self._front, self._leaving.get(key))
            session.move(Step.ARRIVE)
            self._begin(session)
        return session

    def _begin(self, session: Session) -> None:
        session.task = asyncio.get_running_loop().create_task(self._live(session))
        session.task.add_done_callback(partial(self._broken, session))

    def _broken(self, session: Session, task: asyncio.Task[None]) -> None:
        """A session that a mistake of ours has ended begins again, after a pause."""
        fault = None if task.cancelled() else task.exception()
        if fault is None:
            return
        logger.error("backend.session.failed", backend=self.name, charger=session.identity, exc_info=fault)
        session.link, session.reason = None, "the gateway failed"
        session.ended(Step.BREAK)
        if session.state is not State.IDLE:
            self._begin(session)

    async def _ask(self, session: Session, call: Call, timeout: float) -> Answer:
        if session.link is None:
            return self._error(call, f"is not reachable: {session.reason}", NotSent)
        try:
            return await session.link.ask(call, timeout)
        except Unsent:
            return self._error(call, "closed the connection before the call", NotSent)
        except Closed:
            return self._error(call, "closed the connection before the answer", Broken)
        except OcppError as error:
            crowded = isinstance(error, GenericError)
            return self._error(call, f"cannot take the call: {error.text}", NotSent if crowded else Error)

    def _error(self, call: Call, text: str, kind: type[Error] = Error) -> Error:
        return kind("InternalError", f"backend {self.name} {text}", {}, call.id, call.action)

    def _unanswered(self, call: Call, timeout: float) -> Unanswered:
        text = f"backend {self.name} gave no answer in {timeout:g} s"
        return Unanswered("InternalError", text, {}, call.id, call.action, backend=self.name, waited=timeout)

    async def _live(self, session: Session) -> None:
        """Connect, talk, wait, and again, until the session is ended."""
        await self._alone(session)
        while session.state is not State.IDLE:
            if session.state is State.BACKING_OFF:
                await asyncio.sleep(self._pause(session.attempts))
                session.attempts += 1
                session.move(Step.RETRY)
            lasted = await self._once(session, session.attempts)
            if lasted >= self._config.backoff_max:  # not for a CSMS that takes us in only to throw us out
                session.attempts = 0

    async def _alone(self, session: Session) -> None:
        """Wait for the end of the session before: a CSMS may refuse a second connection of one identity."""
        if session.former:
            await asyncio.wait({session.former}, timeout=self._drain + CLOSE_GRACE)
            session.former = None

    async def _once(self, session: Session, attempt: int) -> float:
        """One connection, from the attempt to its end; says for how many seconds it was open."""
        clock = asyncio.get_running_loop().time
        log = logger.bind(backend=self.name, charger=session.identity)
        try:
            async with self._handshakes:
                if self._line:
                    await self._line.turn()
                session.name = called, tenant = self._name_of(session.identity)
                socket = await self._dialler.dial(session.identity, called, tenant)
        except FAULTS as fault:
            session.reason = reason(fault, self._config.connect_timeout)
            (log.debug if attempt else log.warning)("backend.unreachable", reason=session.reason)
            session.ended(Step.REFUSE if _of_one(fault) else Step.FAIL)
            return 0.0
        opened = clock()
        log.info("backend.connected")
        try:
            session.reason = str(await self._talk(session, socket, tenant))
        finally:
            socket.abort()
        log.info("backend.disconnected", reason=session.reason)
        session.ended(Step.LOSE)
        return clock() - opened

    def _pause(self, attempt: int) -> float:
        low, high = self._config.backoff_min, self._config.backoff_max
        return random.uniform(min(low, high), min(high, low * 2.0 ** min(attempt + 1, 30)))  # noqa: S311 - jitter

    async def _talk(self, session: Session, socket: Socket, tenant: str) -> Closed:
        session.link = self._link(session.identity, socket, tenant)
        call = self._announcement(session)
        session.move(Step.OPEN)
        # No await since the link was there, and the link sends in order: the announcement goes before all that waits.
        announcing = self._announce(session, session.link, call) if call else None
        if not session.booting:
            self._tell_up(session.identity)
        asyncio.get_running_loop().call_soon(self._pump, session)  # behind the announcement
        try:
            return await self._run(session)
        finally:
            if announcing:
                announcing.cancel()

    async def _run(self, session: Session) -> Closed:
        assert session.link is not None
        try:
            return await session.link.run()
        finally:
            session.link = None

    def _link(self, identity: str, socket: Socket, tenant: str) -> Link:
        return Link(
            socket,
            self._exchange,
            self._tap,
            identity=identity,
            leg=self.name,
            side=Side.CHARGE_POINT,
            ids=self._ids,
            peer=socket.peer,
            tenant=tenant,
            limits=self._limits,
            on_late=self._on_late,
        )

    def _tell_up(self, identity: str) -> None:
        if self._on_up:
            self._on_up(identity)

    def _announcement(self, session: Session) -> Call | None:
        return self._on_open(session.identity) if self._on_open and not session.booting else None

    def _announce(self, session: Session, link: Link, call: Call) -> asyncio.Task[Answer]:
        task = asyncio.get_running_loop().create_task(_asked(link, call, self._config.timeout))
        task.add_done_callback(partial(self._announced, session.identity))
        return task

    def _announced(self, identity: str, task: asyncio.Task[Answer]) -> None:
        if task.cancelled():
            return
        if fault := task.exception():
            reason = str(fault) or f"no answer in {self._config.timeout:g} s"
            logger.warning("backend.announcement.unanswered", backend=self.name, charger=identity, reason=reason)
        elif self._on_announced:
            self._on_announced(identity, task.result())

    def _pump(self, session: Session) -> None:
        """Let a listener hear what is queued, one after the other; what a closing connection takes with it is lost."""
        while session.heard and session.link and not session.telling and session.state is State.UP:
            call = session.heard.popleft()
            session.telling = True
            try:
                session.link.tell(call, self._config.timeout, partial(self._told, session))
            except Closed:  # the next connection is for the rest
                session.telling = False
                session.heard.appendleft(call)
                return
            except OcppError:
                session.telling = False
                self.dropped += 1

    def _told(self, session: Session, heard: bool) -> None:
        session.telling = False
        self.dropped += not heard
        self._pump(session)

    async def _end(self, session: Session, text: str) -> None:
        session.reason = text
        session.move(Step.LEAVE)
        if session.link:
            await session.link.close(1001, text, self._drain)
        tasks = {session.task} if session.task else set()
        for task in tasks:
            task.cancel()
        if session.former:
            tasks.add(session.former)
        if tasks:
            await asyncio.wait(tasks, timeout=self._drain + CLOSE_GRACE)


class Line:
    """Where those stand who want to connect: so many a second may. Whoever leaves while waiting takes no turn."""

    def __init__(self, rate: float) -> None:
        self._pace = Pace(rate, burst=1, most=1)
        self._first = asyncio.Lock()  # fair: first come, first served

    async def turn(self) -> None:
        """Back when it is the caller's turn."""
        async with self._first:
            await asyncio.sleep(self._pace.wait("", asyncio.get_running_loop().time()))


def _as_it_is(identity: str) -> tuple[str, str]:
    return identity, ""


async def _asked(link: Link, call: Call, timeout: float) -> Answer:
    return await link.ask(call, timeout)


def _of_one(fault: Exception) -> bool:
    return isinstance(fault, Nameless) or (isinstance(fault, InvalidStatus) and fault.response.status_code in _OF_ONE)

"""The only wiring: puts the doors, the router, the backends and the stores together, and takes them apart in order."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import structlog

from gateway.admission import Admission
from gateway.backends.embedded import EmbeddedBackend
from gateway.backends.ocppj import OcppjBackend
from gateway.chargers.callbacks import SoapCalls
from gateway.chargers.ocppj import JsonDoor
from gateway.chargers.soap import SoapDoor
from gateway.config import Config, ConfigError, Embedded, Traffic
from gateway.core import Core
from gateway.doors import Doors
from gateway.exchange import Ids
from gateway.expert.expert import Expert
from gateway.expert.watch import Watch
from gateway.garbage import Garbage
from gateway.gate import Gate
from gateway.inspector.api import admin_app
from gateway.link import Limits, Link
from gateway.listener import Listener
from gateway.log import MessageLog
from gateway.metrics import Metrics
from gateway.redaction.redactor import Redactor
from gateway.room import Room
from gateway.roster import AT_ONCE, Charger, Effect, Registration, Roster, State, seconds
from gateway.routing.leg import BOOT
from gateway.state.store import StateError, StateStore, row
from gateway.terms import Terms
from gateway.tls import Certificates
from gateway.traffic import stores
from gateway.traffic.record import Record
from gateway.traffic.store import TrafficStore
from translations.messages import Answer, Call, Result, Version

ANNOUNCE_AGAIN = 60.0  # seconds at least between two announcements of a charger that is not accepted
GATHER = 0.05  # seconds in which lines of the log are gathered
LEAST_DRAIN = 0.5  # seconds that backends are left with when the doors took all the time there was
FOLLOW = 0.5  # seconds between two looks of those who watch the traffic
_ANYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound
GRACE = 1.0  # seconds for answers to be written when those who should have given them are gone
TICK = 1.0  # seconds between two looks at silent chargers and unsaved changes
logger = structlog.get_logger("gateway")


class Gateway:
    """One running gateway. `start`, then `stop`; everything in between happens by itself."""

    def __init__(self, config: Config, redactor: Redactor | None = None) -> None:
        self.config = config
        self.ids = Ids()
        self.roster = Roster(config.presence)
        self.state = StateStore(config.state.path)
        self.redactor = redactor or Redactor.configured(config)
        self.expert = Watch(Expert())
        self.traffic = _traffic(config.traffic, self.expert)
        self.metrics = Metrics(self._gauges)
        self._message_log = MessageLog(config.log, later=_a_moment_later, hide=self.redactor.text)
        self.core = self._core()
        self.backends: dict[str, OcppjBackend | EmbeddedBackend] = {}
        self.terms = Terms(config, self.roster)
        self.admission = Admission(config.admission)
        self.gate = Gate(config, self.admission)
        self.room = Room(config.bounds.connections, config.bounds.source_connections, config.server.trusted_proxies)
        self.certificates = Certificates(config.tls) if config.tls.cert_file else None
        self.soap_calls = SoapCalls(config, self.tap, self.ids, self.terms)
        limits = Limits(malformed=config.server.malformed_limit)
        settle = self.core.transactions.settle
        self.json_door = JsonDoor(self, self.tap, self.ids, limits, self.gate, self.terms, settle)
        self.soap_door = SoapDoor(
            self.core.exchange, self.roster, self.tap, self.ids, config.server, self.gate, self.terms, settle
        )
        self.garbage = Garbage()
        self._servers: list[Listener] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._announcing: set[asyncio.Task[None]] = set()
        self._saving = self._fault = ""
        self.stopping = False
        self._stop = asyncio.Event()

    def _core(self) -> Core:
        try:
            return Core(self.config, self.roster, self.state, self.ids)
        except ValueError as error:
            raise ConfigError([str(error)]) from None

    # --- what the doors tell

    def tap(self, record: Record) -> None:
        """Take every message that crosses a wire."""
        self.metrics(record)
        self._message_log(record)
        if self.config.traffic.enabled:
            self.traffic.record(record)

    def taken(self, identity: str, tenant: str) -> bool:
        """Whether a charger is here under another tenant."""
        return self.roster.taken(identity, tenant)

    def arrived(self, identity: str, link: Link, peer: str, version: str, tenant: str) -> None:
        """A JSON charger's socket is open. Raises SecurityError where it is `taken`."""
        known = self.roster.get(identity)
        if known is not None and known.state is State.LINKED:
            self.garbage.departed()  # the socket that is replaced
            self.garbage.arrived()
        self.roster.linked(identity, link, peer, Version(version), tenant)
        logger.info("charger.connected", charger=identity, peer=peer, version=version)

    def departed(self, identity: str, link: Link) -> None:
        """A JSON charger's socket is gone."""
        self.roster.unlinked(identity, link)
        logger.info("charger.disconnected", charger=identity)

    async def exchange(self, call: Call) -> Answer:
        """Answer a JSON charger's call."""
        return await self.core.exchange(call)

    # --- life

    async def start(self) -> None:
        """Open everything, doors last. Raises ConfigError, StateError or OSError."""
        await self.admission.start()
        await asyncio.to_thread(self.state.open)
        known = await asyncio.to_thread(self.state.load)
        await self.core.open()
        if self.config.traffic.enabled:
            self.traffic.open()
        await self._open_backends()
        await self.core.connect(self.backends)
        self.roster.watch(self.soap_calls.adopt)
        self.roster.watch(self._counted)
        self.roster.restore(known)
        for charger in self.roster:
            self.soap_calls.adopt(charger, Effect.ARRIVED)  # who is silent can still be called by hand
        await self._open_doors()
        self._tasks.append(asyncio.create_task(self._ticking()))
        self.garbage.start()

    async def stop(self) -> None:
        """Close the doors, let what is in flight finish within `server.drain`, then close what stood behind them."""
        self.stopping = True
        self._stop.set()
        loop, drain = asyncio.get_running_loop(), self.config.server.drain
        over = loop.time() + drain
        for server in self._servers:
            server.refuse()
        self.gate.close()
        for task in self._announcing:
            task.cancel()
        await asyncio.gather(*self._tasks)  # not cancelled: a thread that saves cannot be
        await self.json_door.close(max(over - loop.time(), 0))
        doors = [asyncio.create_task(server.stop(2 * drain + GRACE)) for server in self._servers]
        if doors:
            await asyncio.wait(doors, timeout=max(over - loop.time(), 0))
        # A backend that is closed answers what still waits for it with an error: every request ends in an envelope.
        left = max(over - loop.time(), LEAST_DRAIN)
        await asyncio.gather(*(backend.close(left) for backend in self.backends.values()))
        self.core.transactions.release()
        await asyncio.gather(*doors)
        await self.soap_calls.close()
        await self.core.close()
        await self.admission.refresh()
        for _ in range(len(self.roster) // AT_ONCE + 1):
            await self._save()
        await asyncio.to_thread(self.state.close)
        if self.config.traffic.enabled:
            await asyncio.to_thread(self.traffic.close)
        self._message_log.flush()

    async def _open_backends(self) -> None:
        for config in self.config.backends:
            server = self.config.server
            options: dict[str, Any] = {
                "malformed_limit": server.malformed_limit,
                "drain": server.drain,
                "frame_limit": server.body_limit,
                "on_late": self.core.late,
                "on_up": self.core.came_up,
                "name_of": partial(self.core.name_of, config.name),
            }
            if isinstance(config, Embedded):
                embedded = EmbeddedBackend(config, self.core.command, self.tap, self.ids, **options)
                await embedded.start()
                self.backends[config.name] = embedded
                continue
            if config.announce:
                options |= {
                    "on_open": partial(self._announcement, config.name),
                    "on_announced": partial(self._heard_back, config.name),
                }
            # Nobody behind the doors may take longer than a charger is let wait.
            timeout = min(config.timeout, self.config.server.answer_timeout)
            config = config.model_copy(update={"timeout": timeout})
            self.backends[config.name] = OcppjBackend(config, self.core.command, self.tap, self.ids, **options)

    def _announcement(self, backend: str, identity: str) -> Call | None:
        call = self._boot(identity)
        return None if call is None else self.core.legs[backend].worded(call)

    def _boot(self, identity: str) -> Call | None:
        charger = self.roster.get(identity)
        if charger is None or charger.boot is None:
            return None
        return Call(BOOT, charger.boot, self.ids(), charger.identity)

    def _heard_back(self, backend: str, identity: str, answer: Answer) -> None:
        self._announced(backend, identity, self.core.legs[backend].inward(Call(BOOT, {}, "", identity), answer))

    def _announced(self, backend: str, identity: str, answer: Answer) -> None:
        """Accepted is good news, where the backend answers the charger. Anything else does not bind a charger that has not asked:
        it is announced again, later.
        """
        charger = self.roster.get(identity)
        if charger is None or self.stopping:
            return
        if isinstance(answer, Result) and answer.payload.get("status") == Registration.ACCEPTED:
            if self.core.router.answers(charger, backend):
                self.core.router.registered(charger, answer)
            return
        told = answer.payload.get("status") if isinstance(answer, Result) else answer.code
        logger.warning("charger.not_accepted", charger=identity, backend=backend, answer=str(told))
        wait = seconds(answer.payload.get("interval")) if isinstance(answer, Result) else 0
        task = asyncio.create_task(self._announce_again(backend, identity, max(wait, ANNOUNCE_AGAIN)))
        self._announcing.add(task)
        task.add_done_callback(self._announcing.discard)

    async def _announce_again(self, backend: str, identity: str, wait: float) -> None:
        if await self._over(wait):
            return
        call = self._boot(identity)
        charger = self.roster.get(identity)
        if call is not None and charger is not None and charger.state is not State.GONE:
            self._announced(backend, identity, await self.core.legs[backend].ask(call))

    async def _open_doors(self) -> None:
        config = self.config
        doors = Doors(self.gate, self.soap_door, self.json_door, config.server)
        admin = admin_app(
            config=config,
            roster=self.roster,
            look=self.core.told,
            letters=self.core.outbox,
            call=self.core.router.down,
            traffic=partial(stores.open_to_read, config.traffic) if config.traffic.enabled else None,
            ready=self._not_ready,
            metrics=self.metrics.text,
            redactor=self.redactor,
            follow=self._follow,
        )
        self._servers = [*self._listeners(doors), Listener(admin, config.admin.host, config.admin.port)]
        for server in self._servers:
            await server.start()
        if config.server.host not in _ANYWHERE or config.server.public_url:
            # A path with a token in it is nobody else's to know.
            path = next((path for path in config.server.soap_paths if "{" not in path), "")
            self.soap_calls.sender = self.url + path
        else:
            reason = "server.host is no address that chargers can reach: set server.public_url to tell them one"
            logger.warning("gateway.nameless", reason=reason)

    def _listeners(self, doors: Doors) -> Iterator[Listener]:
        """One port for chargers, or two: in plain and encrypted."""
        server, tls = self.config.server, self.config.tls
        ping = (server.ping_interval, server.ping_timeout)
        if server.plain:
            yield Listener(doors, server.host, server.port, ping, server.body_limit, room=self.room)
        if self.certificates is not None:
            found = self.certificates
            yield Listener(doors, server.host, tls.port, ping, server.body_limit, room=self.room, contexts=lambda: found.context)

    @property
    def url(self) -> str:
        """The address of the doors, without a path."""
        return self.config.server.model_copy(update={"port": self.ports[0]}).url

    @property
    def ports(self) -> tuple[int, int]:
        """The ports that the doors and the admin door really have."""
        return self._servers[0].port, self._servers[-1].port

    @property
    def tls_port(self) -> int:
        """The port of the encrypted doors; 0 where there are none."""
        return self._servers[-2].port if self.certificates else 0

    async def _follow(self) -> bool:
        await asyncio.sleep(FOLLOW)
        return not self.stopping

    def _not_ready(self) -> list[str]:
        reasons = ["stopping"] if self.stopping else []
        if self._fault:
            reasons.append(self._fault)
        if self.core.ledger.fault:
            reasons.append(f"state: {self.core.ledger.fault}")
        if self.config.traffic.enabled and self.traffic.fault:
            reasons.append(f"traffic log: {self.traffic.fault}")
        if self._saving:
            reasons.append(f"state: {self._saving}")
        return reasons

    # --- by and by

    def _counted(self, _: Charger, effect: Effect) -> None:
        if effect is Effect.ARRIVED:
            self.garbage.arrived()
        else:
            self.garbage.departed()

    async def _ticking(self) -> None:
        while not self.stopping:
            try:
                await self._tick()
            except Exception as fault:  # a mistake of ours must not end all looks; it is told, and readiness tells it too
                logger.exception("gateway.tick_failed")
                self._fault = f"{type(fault).__name__} in what is done by and by"

    async def _tick(self) -> None:
        while not await self._over(TICK):
            self.roster.sweep()
            self.garbage.tick()
            self.core.tick()
            await self._save()
            await self.core.refresh()
            await self.admission.refresh()
            if self.certificates is not None:
                await asyncio.to_thread(self.certificates.reload_if_changed)
            self._fault = ""

    async def _over(self, seconds: float) -> bool:
        """Whether the gateway stops within so many seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), seconds)
        return self.stopping

    async def _save(self) -> None:
        changed = self.roster.changes()
        if not changed:
            return
        try:
            await asyncio.to_thread(self.state.save, [row(charger) for charger in changed])
            self._saving = ""
        except StateError as error:
            if not self._saving:
                logger.error("state.unwritable", reason=str(error))
            self._saving = str(error)
            self.roster.unsaved(changed)

    def _gauges(self) -> Mapping[str, Mapping[tuple[str, ...], float]]:
        chargers = Counter((charger.wire, str(charger.state)) for charger in self.roster)
        proper = [b.backend if isinstance(b, EmbeddedBackend) else b for b in self.backends.values()]
        return {
            **self._letter_gauges(),
            "ocpp_gateway_chargers": {(wire, state): n for (wire, state), n in chargers.items()},
            "ocpp_gateway_backend_sessions": {(b.name, str(s)): n for b in proper for s, n in b.states().items()},
            "ocpp_gateway_backend_queue": {(b.name,): b.queued() for b in proper},
            "ocpp_gateway_listener_dropped_total": {(b.name,): b.dropped for b in proper},
            "ocpp_gateway_refused_total": {(reason,): n for reason, n in self.gate.refused.items()},
            "ocpp_gateway_connections": {(): self.room.taken},
            "ocpp_gateway_connections_refused_total": {(): self.room.refused},
            "ocpp_gateway_tls_handshakes_failed_total": {(): sum(server.failed_handshakes for server in self._servers)},
            "ocpp_gateway_expert_findings_total": self.expert.counts,
            "ocpp_gateway_traffic_queue": {(): self.traffic.depth},
            "ocpp_gateway_traffic_shed_total": {(): self.traffic.shed},
            "ocpp_gateway_moves_total": {(old, new): n for (old, new), n in self.core.router.seats.moved.items()},
            "ocpp_gateway_transactions": {(): self.core.running.count()},
            "ocpp_gateway_unknown_transactions_total": {(leg.name,): leg.dropped for leg in self.core.legs.values()},
        }

    def _letter_gauges(self) -> Mapping[str, Mapping[tuple[str, ...], float]]:
        counts, tally = self.core.outbox.counts(), self.core.outbox.tally
        stored = [(name, state, n) for name, count in counts.items() for state, n in (("live", count.live), ("dead", count.dead))]
        return {
            "ocpp_gateway_letters": {(name, state): n for name, state, n in stored},
            "ocpp_gateway_letters_in_flight": {(name,): count.in_flight for name, count in counts.items()},
            "ocpp_gateway_letters_oldest_seconds": {(name,): count.oldest for name, count in counts.items()},
            "ocpp_gateway_letters_delivered_total": {(name,): n for name, n in tally.delivered.items()},
            "ocpp_gateway_letters_retried_total": {(name,): n for name, n in tally.retried.items()},
            "ocpp_gateway_letters_repeated_total": {(name,): n for name, n in tally.repeated_after_unanswered.items()},
            "ocpp_gateway_letters_dead_total": {(name, why): n for (name, why), n in tally.dead.items()},
            "ocpp_gateway_letters_dropped_total": {(name, why): n for (name, why), n in tally.dropped.items()},
        }


def _traffic(config: Traffic, expert: Watch) -> TrafficStore:
    open_log = partial(stores.open_to_write, config)
    return TrafficStore(
        config.path, config.queue, config.keep, max_size=config.max_size, observe=expert.findings, open_log=open_log
    )


def _a_moment_later(work: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(GATHER, work)

"""gateway.backends.ocppj and gateway.dial, towards real CSMSs on loopback."""

import asyncio
import ssl
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, cast

import ocpp.v16
import pytest
import trustme
from ocpp.routing import on
from ocpp.v16 import call, call_result
from ocpp.v16.enums import Action, RegistrationStatus, ResetType
from structlog.testing import capture_logs
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from gateway.backends import Backend
from gateway.backends.ocppj import OcppjBackend
from gateway.backends.session import MOVES, State, Step
from gateway.config import Ocppj
from gateway.dial import Dialler, Socket
from gateway.exchange import Broken, Ids, NotSent, Unanswered
from gateway.traffic.record import Record
from tests.ws import DEADLINE
from translations.messages import Answer, Call, Error, Result, Side

Talk = Callable[[ServerConnection], Awaitable[None]]


def boot(identity: str = "CP-1") -> Call:
    return Call("BootNotification", {"chargePointVendor": "V", "chargePointModel": "M"}, "g0", identity)


def heartbeat(call_id: str = "g1", identity: str = "CP-1") -> Call:
    return Call("Heartbeat", {}, call_id, identity)


async def agree(socket: ServerConnection) -> None:
    """Answers every call with an empty result."""
    async for frame in socket:
        await socket.send(f"[3,{str(frame).split(',')[1]},{{}}]")


async def be_silent(socket: ServerConnection) -> None:
    await socket.wait_closed()


class Csms:
    """A raw CSMS: what it was asked for, and the sockets that are open."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.paths: list[str] = []
        self.authorizations: list[str] = []
        self.frames: asyncio.Queue[str] = asyncio.Queue()
        self.sockets: asyncio.Queue[ServerConnection] = asyncio.Queue()
        self.refusal = 0

    def gate(self, socket: ServerConnection, request: Request) -> Response | None:
        self.paths.append(request.path)
        self.authorizations.append(request.headers.get("Authorization", ""))
        return socket.respond(self.refusal, "no\n") if self.refusal else None

    async def opened(self, socket: ServerConnection) -> None:
        self.sockets.put_nowait(socket)
        await self.talk(socket)

    async def socket(self) -> ServerConnection:
        async with asyncio.timeout(DEADLINE):
            return await self.sockets.get()

    def listen(self, port: int = 0, subprotocol: str | None = "ocpp1.6", **options: Any) -> AbstractAsyncContextManager[Server]:
        names = [Subprotocol(subprotocol)] if subprotocol else None
        return serve(self.opened, "127.0.0.1", port, process_request=self.gate, subprotocols=names, compression=None, **options)


class Rig:
    """A backend, the CSMS that it is to reach, and what it recorded."""

    def __init__(self, csms: Csms, port: int, **options: Any) -> None:
        self.csms, self.port, self.records = csms, port, list[Record]()
        self.commands: list[tuple[str, Call]] = []
        hooks: dict[str, Any] = {
            key: options.pop(key)
            for key in ("on_open", "on_announced", "on_late", "on_up", "name_of", "connect_concurrency", "drain", "frame_limit")
            if key in options
        }
        scheme = options.pop("scheme", "ws")
        settings = {"backoff_min": 0.001, "backoff_max": 0.01, "timeout": DEADLINE} | options
        url = f"{scheme}://127.0.0.1:{port}{settings.pop('path', '/ocpp/{identity}?x=1')}"
        config = Ocppj(kind="ocppj", name="csms", url=url, **settings)
        self.backend = OcppjBackend(config, self.obey, self.records.append, Ids(), **{"drain": 0.1} | hooks)

    async def obey(self, name: str, call: Call) -> Answer:
        self.commands.append((name, call))
        return Result({"status": "Accepted"})

    async def until(self, state: State, identity: str = "CP-1") -> None:
        async with asyncio.timeout(DEADLINE):
            while self.backend.state(identity) is not state:  # noqa: ASYNC110 - a table, without an event to wait for
                await asyncio.sleep(0.001)


def port_of(server: Server) -> int:
    return cast(int, server.sockets[0].getsockname()[1])


@asynccontextmanager
async def rigged(talk: Talk = agree, listen: dict[str, Any] | None = None, **options: Any) -> AsyncIterator[Rig]:
    csms = Csms(talk)
    async with AsyncExitStack() as stack:
        rig = Rig(csms, port_of(await stack.enter_async_context(csms.listen(**(listen or {})))), **options)
        stack.push_async_callback(rig.backend.close)
        yield rig


@asynccontextmanager
async def away(**options: Any) -> AsyncIterator[Rig]:
    """A CSMS that is not there, on a port that was free a moment ago."""
    csms = Csms(agree)
    async with csms.listen() as server:
        port = port_of(server)
    rig = Rig(csms, port, **options)
    yield rig
    await rig.backend.close()


class Central(ocpp.v16.ChargePoint):  # type: ignore[misc]
    """A CSMS of another stack; it checks every message by the published schemas."""

    @on(Action.boot_notification)  # type: ignore[untyped-decorator]
    def on_boot(self, charge_point_vendor: str, charge_point_model: str, **rest: Any) -> call_result.BootNotification:
        return call_result.BootNotification("2026-01-02T03:04:05Z", 300, RegistrationStatus.accepted)


async def test_a_csms_of_another_stack_accepts_a_boot_and_commands_the_charger() -> None:
    statuses: asyncio.Queue[str] = asyncio.Queue()

    async def talk(socket: ServerConnection) -> None:
        central = Central("CP-1", socket, response_timeout=DEADLINE)
        running = asyncio.ensure_future(central.start())
        statuses.put_nowait((await central.call(call.Reset(ResetType.soft))).status)
        await socket.wait_closed()
        await asyncio.wait({running})
        running.exception()

    async with rigged(talk) as rig, asyncio.timeout(DEADLINE):
        answer = await rig.backend.exchange(boot())
        assert isinstance(answer, Result)
        assert answer.payload["status"] == "Accepted"
        assert await statuses.get() == "Accepted"


async def test_the_first_exchange_waits_for_the_connection() -> None:
    async with rigged() as rig:
        assert rig.backend.state("CP-1") is State.IDLE
        assert await rig.backend.exchange(heartbeat()) == Result({}, "g1", "Heartbeat")
        assert rig.backend.states() == {State.UP: 1}
    assert [(r.leg, r.direction, r.exchange, r.message_id) for r in rig.records] == [
        ("csms", ">", "g1", "g1"),
        ("csms", "<", "g1", "g1"),
    ]


async def test_a_backend_is_what_the_router_expects() -> None:
    async with rigged() as rig:
        backend: Backend = rig.backend
        assert backend.name == "csms"


@pytest.mark.parametrize(
    ("identity", "path"),
    [("CP-1", "CP-1"), ("RDAM 123", "RDAM%20123"), ("a/b", "a%2Fb"), ("S:Ä", "S%3A%C3%84"), ("100%", "100%25")],
)
async def test_the_identity_is_percent_encoded(identity: str, path: str) -> None:
    async with rigged() as rig:
        await rig.backend.exchange(heartbeat(identity=identity))
    assert rig.csms.paths == [f"/ocpp/{path}?x=1"]


async def test_the_address_names_the_charger_as_the_csms_does_and_its_tenant() -> None:
    def name_of(identity: str) -> tuple[str, str]:
        return f"their/{identity}", "Acme {identity}"

    async with rigged(path="/{tenant}/{identity}?t={tenant}", name_of=name_of) as rig:
        await rig.backend.exchange(heartbeat())
    assert rig.csms.paths == ["/Acme%20%7Bidentity%7D/their%2FCP-1?t=Acme%20%7Bidentity%7D"]
    assert {(record.charger, record.tenant) for record in rig.records} == {("CP-1", "Acme {identity}")}


async def test_a_charger_that_arrives_under_another_name_has_another_session() -> None:
    names = {"CP-1": ("CP-1", "acme")}
    async with rigged(path="/{tenant}/{identity}", name_of=lambda identity: names[identity]) as rig:
        await rig.backend.exchange(heartbeat())
        rig.backend.arrive("CP-1")
        names["CP-1"] = ("CP-1", "other")
        rig.backend.arrive("CP-1")
        assert await rig.backend.exchange(heartbeat("g2")) == Result({}, "g2", "Heartbeat")
    assert rig.csms.paths == ["/acme/CP-1", "/other/CP-1"]


async def test_the_password_is_that_of_the_charger_and_the_user_that_of_the_csms(tmp_path: Path) -> None:
    file = tmp_path / "passwords.toml"
    file.write_text('"CP-1" = "hush"\n"theirs" = "other"\n')
    options: dict[str, Any] = {"username": "{tenant}-{identity}", "passwords_file": file}
    async with rigged(name_of=lambda identity: ("theirs", "{identity}"), **options) as rig:
        assert await seen(rig, "CP-1") == "Basic:{identity}-theirs:hush"


@pytest.mark.parametrize(
    ("key", "options"),
    [("url", {"path": "/{tenant}/{identity}"}), ("username", {"username": "{tenant}", "password_env": "CSMS_PASSWORD"})],
)
async def test_without_a_tenant_nobody_is_dialled_where_one_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, key: str, options: dict[str, Any]
) -> None:
    monkeypatch.setenv("CSMS_PASSWORD", "hush")
    async with rigged(backoff_min=60, backoff_max=60, **options) as rig:
        answer = await rig.backend.exchange(heartbeat())
        known_to_be_away = rig.backend._front.away
    text = f"backend csms is not reachable: expected a charger with a tenant, for {{tenant}} in {key}, got one without"
    assert answer == NotSent("InternalError", text, {}, "g1", "Heartbeat")
    assert (rig.csms.paths, known_to_be_away) == ([], False)  # to others it may well be there


async def test_each_charger_has_one_connection_of_its_own() -> None:
    async with rigged() as rig:
        chargers = ("A", "B", "a", "A")
        await asyncio.gather(*(rig.backend.exchange(heartbeat(str(i), c)) for i, c in enumerate(chargers)))
    assert sorted(rig.csms.paths) == ["/ocpp/A?x=1", "/ocpp/B?x=1"]


async def test_a_command_comes_down_with_the_charger_it_is_for() -> None:
    async with rigged(be_silent) as rig:
        rig.backend.arrive("CP-1")
        socket = await rig.csms.socket()
        await socket.send('[2,"s1","Reset",{"type":"Soft"}]')
        async with asyncio.timeout(DEADLINE):
            answer = await socket.recv()
    ((name, command),) = rig.commands
    assert answer == '[3,"s1",{"status":"Accepted"}]'
    assert (name, command.identity, command.side, command.action) == ("csms", "CP-1", Side.CHARGE_POINT, "Reset")


async def test_calls_of_both_sides_cross() -> None:
    async with rigged(be_silent) as rig, asyncio.timeout(DEADLINE):
        task = asyncio.ensure_future(rig.backend.exchange(heartbeat()))
        socket = await rig.csms.socket()
        assert await socket.recv() == '[2,"g1","Heartbeat",{}]'
        await socket.send('[2,"s1","Reset",{}]')
        assert str(await socket.recv()).startswith('[3,"s1",')
        await socket.send('[3,"g1",{"currentTime":"now"}]')
        assert await task == Result({"currentTime": "now"}, "g1", "Heartbeat")


async def test_an_error_of_the_csms_is_the_answer() -> None:
    async def talk(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send('[4,"g1","SecurityError","not yet",{}]')
        await socket.wait_closed()

    async with rigged(talk) as rig:
        answer = await rig.backend.exchange(heartbeat())
    assert answer == Error("SecurityError", "not yet", {}, "g1", "Heartbeat")


async def test_a_csms_that_is_not_there_is_told_at_once() -> None:
    async with away(backoff_min=60, backoff_max=60) as rig:
        first = await rig.backend.exchange(heartbeat("g1"))
        second = await asyncio.wait_for(rig.backend.exchange(heartbeat("g2")), 0.05)
        assert rig.backend.state("CP-1") is State.BACKING_OFF
        assert not rig.backend.up("CP-1")
    text = "backend csms is not reachable: connection refused"
    assert first == NotSent("InternalError", text, {}, "g1", "Heartbeat")
    assert second == NotSent("InternalError", text, {}, "g2", "Heartbeat")


async def test_a_csms_that_comes_back_is_reached_again() -> None:
    async with away() as rig:
        assert isinstance(await rig.backend.exchange(heartbeat("g1")), Error)
        async with rig.csms.listen(port=rig.port):
            await rig.until(State.UP)
            assert await rig.backend.exchange(heartbeat("g2")) == Result({}, "g2", "Heartbeat")
            await rig.backend.close()


async def test_a_lost_connection_is_opened_again() -> None:
    async with rigged() as rig:
        await rig.backend.exchange(heartbeat("g1"))
        (await rig.csms.socket()).transport.abort()
        await rig.csms.socket()
        await rig.until(State.UP)
        assert await rig.backend.exchange(heartbeat("g2")) == Result({}, "g2", "Heartbeat")


@pytest.mark.parametrize("status", [401, 403, 404, 503])
async def test_a_refused_handshake_backs_off_and_tries_again(status: int) -> None:
    async with rigged() as rig:
        rig.csms.refusal = status
        answer = await rig.backend.exchange(heartbeat())
        assert isinstance(answer, Error)
        assert answer.text == f"backend csms is not reachable: HTTP {status}"
        rig.csms.refusal = 0
        await rig.until(State.UP)


@pytest.mark.parametrize(
    ("subprotocol", "reason"),
    [(None, "expected subprotocol ocpp1.6, got none"), ("ocpp2.0.1", "expected subprotocol ocpp1.6, got none")],
)
async def test_a_csms_that_does_not_agree_to_the_subprotocol_is_not_used(subprotocol: str | None, reason: str) -> None:
    listen = {"subprotocol": subprotocol, "select_subprotocol": lambda *_: None}
    async with rigged(be_silent, listen, backoff_min=60, backoff_max=60) as rig:
        answer = await rig.backend.exchange(heartbeat())
    assert answer == NotSent("InternalError", f"backend csms is not reachable: {reason}", {}, "g1", "Heartbeat")


async def test_a_csms_that_picks_another_subprotocol_is_not_used() -> None:
    listen = {"subprotocol": "ocpp2.0.1", "select_subprotocol": lambda *_: "ocpp2.0.1"}
    async with rigged(be_silent, listen, backoff_min=60, backoff_max=60) as rig:
        answer = await rig.backend.exchange(heartbeat())
    assert isinstance(answer, Error)
    assert answer.text == "backend csms is not reachable: unsupported subprotocol: ocpp2.0.1"


async def test_a_slow_csms_is_an_error_at_the_deadline() -> None:
    async with rigged(be_silent, timeout=0.2) as rig:
        answers = [await rig.backend.exchange(heartbeat(f"g{i}")) for i in range(2)]  # before and after it is connected
    text = "backend csms gave no answer in 0.2 s"
    assert answers == [Unanswered("InternalError", text, {}, f"g{i}", "Heartbeat", backend="csms", waited=0.2) for i in range(2)]


async def test_an_answer_after_the_deadline_is_told_with_the_name_of_the_backend() -> None:
    late: asyncio.Queue[tuple[str, Answer]] = asyncio.Queue()
    async with rigged(be_silent, timeout=0.05, on_late=lambda *told: late.put_nowait(told)) as rig, asyncio.timeout(DEADLINE):
        await rig.backend.exchange(heartbeat())
        await (await rig.csms.socket()).send('[3,"g1",{"currentTime":"now"}]')
        assert await late.get() == ("csms", Result({"currentTime": "now"}, "g1", "Heartbeat"))


async def test_a_call_of_which_the_csms_has_heard_nothing_is_not_waited_for() -> None:
    async with rigged(be_silent, timeout=0.2) as rig:
        rig.backend.arrive("CP-1")
        await rig.until(State.UP)
        link = rig.backend._sessions["cp-1"].link
        assert link is not None
        first = asyncio.ensure_future(link.ask(heartbeat("g1"), DEADLINE))
        answer = await rig.backend.exchange(heartbeat("g2"))
        first.cancel()
    assert answer == NotSent("InternalError", "backend csms is busy: no turn in 0.2 s", {}, "g2", "Heartbeat")


async def test_the_deadline_includes_the_time_to_connect() -> None:
    async def stall(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # to the end
        writer.close()

    async with await asyncio.start_server(stall, "127.0.0.1", 0) as server:
        rig = Rig(Csms(agree), server.sockets[0].getsockname()[1], timeout=0.1)
        answer = await rig.backend.exchange(heartbeat())
        await rig.backend.close()
    assert isinstance(answer, Error)
    assert answer.text == "backend csms is not reachable: no connection in 0.1 s"


async def test_a_csms_that_closes_in_the_middle_is_an_error() -> None:
    async def talk(socket: ServerConnection) -> None:
        await socket.recv()

    async with rigged(talk) as rig:
        answer = await rig.backend.exchange(heartbeat())
    text = "backend csms closed the connection before the answer"
    assert answer == Broken("InternalError", text, {}, "g1", "Heartbeat")


@pytest.mark.parametrize("frame", ['[3,"g1",[]]', '[3,"g1",{},1]', '[3,"g1"]', '[4,"g1"]'])
async def test_nonsense_with_our_id_is_an_error_at_once(frame: str) -> None:
    async def talk(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send(frame)
        await socket.wait_closed()

    async with rigged(talk) as rig:
        answer = await rig.backend.exchange(heartbeat())
    assert isinstance(answer, Error)
    assert (answer.code, answer.text[:44]) == ("InternalError", "expected an answer, got a malformed frame: f")


async def test_waiting_calls_are_bounded() -> None:
    async with rigged(be_silent, waiting=1, timeout=0.2) as rig:
        tasks = [asyncio.ensure_future(rig.backend.exchange(heartbeat(f"g{i}"))) for i in range(3)]
        texts = [answer.text for answer in await asyncio.gather(*tasks) if isinstance(answer, Error)]
    assert texts[2] == "backend csms has 2 unanswered calls of this charger"
    assert texts[:2] == ["backend csms gave no answer in 0.2 s"] * 2


async def test_a_charger_that_leaves_closes_its_session() -> None:
    async with rigged() as rig:
        await rig.backend.exchange(heartbeat())
        rig.backend.leave("CP-1")
        await (await rig.csms.socket()).wait_closed()
        assert rig.backend.states() == {}
        rig.backend.leave("CP-1")


async def test_closing_lets_what_is_in_flight_be_answered() -> None:
    async with rigged(be_silent, drain=DEADLINE) as rig:
        task = asyncio.ensure_future(rig.backend.exchange(heartbeat()))
        socket = await rig.csms.socket()
        await socket.recv()
        closing = asyncio.ensure_future(rig.backend.close())
        await socket.send('[3,"g1",{}]')
        await closing
        assert await task == Result({}, "g1", "Heartbeat")
        assert socket.close_code == 1001


async def test_a_listener_hears_what_was_offered_in_order() -> None:
    async with rigged() as rig:
        for i in range(3):
            rig.backend.offer(heartbeat(f"g{i}"))
        assert rig.backend.queued() == 3
        assert await rig.backend.exchange(heartbeat("last")) == Result({}, "last", "Heartbeat")
        async with asyncio.timeout(DEADLINE):
            while len(rig.records) < 8:  # noqa: ASYNC110 - records come by a plain callback
                await asyncio.sleep(0.001)
    assert [r.message_id for r in rig.records if r.direction == ">" and r.message_id != "last"] == ["g0", "g1", "g2"]
    assert rig.backend.dropped == 0


async def test_a_listener_that_is_away_loses_the_oldest_first() -> None:
    async with away(waiting=2, backoff_min=60, backoff_max=60) as rig:
        for i in range(5):
            rig.backend.offer(heartbeat(f"g{i}"))
        assert (rig.backend.queued(), rig.backend.dropped) == (2, 3)


def announcing(identity: str) -> Call | None:
    return boot(identity)


async def test_a_connection_that_a_boot_opened_is_not_announced() -> None:
    async with rigged(on_open=announcing) as rig:
        await rig.backend.exchange(boot())
    assert [r.action for r in rig.records] == ["BootNotification"] * 2


async def test_any_other_connection_is_announced_before_what_waits_for_it() -> None:
    announced: list[tuple[str, Answer]] = []
    async with rigged(on_open=announcing, on_announced=lambda *a: announced.append(a)) as rig:
        await rig.backend.exchange(heartbeat())
    assert [r.action for r in rig.records] == ["BootNotification"] * 2 + ["Heartbeat"] * 2
    assert announced == [("CP-1", Result({}, "g0", "BootNotification"))]


async def test_a_reconnect_after_a_boot_is_announced() -> None:
    async with rigged(on_open=announcing) as rig:
        await rig.backend.exchange(boot())
        (await rig.csms.socket()).transport.abort()
        await rig.csms.socket()
        await rig.until(State.UP)
        await rig.backend.exchange(heartbeat())
    assert [r.action for r in rig.records if r.kind == "call"] == ["BootNotification", "BootNotification", "Heartbeat"]


async def test_handshakes_are_bounded() -> None:
    running = most = 0

    async def gate(*_: Any) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.005)
        running -= 1

    csms = Csms(agree)
    csms.gate = gate  # type: ignore[assignment, method-assign]
    async with csms.listen() as server:
        rig = Rig(csms, port_of(server), connect_concurrency=2)
        await asyncio.gather(*(rig.backend.exchange(heartbeat(identity=f"CP-{i}")) for i in range(8)))
        await rig.backend.close()
    assert most == 2


async def seen(rig: Rig, identity: str = "AL1000") -> str:
    await rig.backend.exchange(heartbeat(identity=identity))
    scheme, _, credentials = rig.csms.authorizations[-1].partition(" ")
    return f"{scheme}:{b64decode(credentials).decode()}"


async def test_the_csms_sees_basic_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CSMS_PASSWORD", "p:ä")
    async with rigged(password_env="CSMS_PASSWORD", username="cp-{identity}") as rig:
        assert await seen(rig) == "Basic:cp-AL1000:p:ä"


async def test_without_a_password_no_credentials_are_sent() -> None:
    async with rigged() as rig:
        assert await seen(rig) == ":"


async def test_a_charger_has_its_own_password(tmp_path: Path) -> None:
    (table := tmp_path / "passwords.toml").write_text('AL1000 = "one"\n"RDAM 123" = "two"\n')
    (common := tmp_path / "password").write_text("common\n")
    async with rigged(passwords_file=table, password_file=common) as rig:
        assert await seen(rig) == "Basic:AL1000:one"
        assert await seen(rig, "RDAM 123") == "Basic:RDAM 123:two"
        assert await seen(rig, "other") == "Basic:other:common"


async def test_a_changed_password_is_read_again(tmp_path: Path) -> None:
    (table := tmp_path / "passwords.toml").write_text('A = "one"\n')
    async with rigged(passwords_file=table) as rig:
        assert await seen(rig, "A") == "Basic:A:one"
        table.write_text('A = "one"\nB = "two"\n')
        assert await seen(rig, "B") == "Basic:B:two"


@pytest.mark.parametrize("text", ['A = "sec', "A = 5\n"])
async def test_an_unreadable_password_file_is_told_without_its_content(tmp_path: Path, text: str) -> None:
    (table := tmp_path / "passwords.toml").write_text(text)
    async with rigged(passwords_file=table, backoff_min=60, backoff_max=60) as rig:
        answer = await rig.backend.exchange(heartbeat())
    assert isinstance(answer, Error)
    assert answer.text.startswith("backend csms is not reachable: passwords.toml: expected ")
    assert "sec" not in answer.text


def tls(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    ca.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


async def test_tls_with_a_client_certificate(tmp_path: Path) -> None:
    ca = trustme.CA()
    ca.cert_pem.write_to_path(ca_file := tmp_path / "ca.pem")
    client = ca.issue_cert("gateway.example.com")
    client.private_key_pem.write_to_path(key := tmp_path / "key.pem")
    client.cert_chain_pems[0].write_to_path(cert := tmp_path / "cert.pem")
    options = {"ca_file": ca_file, "client_cert": cert, "client_key": key}
    async with rigged(agree, {"ssl": tls(ca)}, scheme="wss", **options) as rig:
        assert await rig.backend.exchange(heartbeat()) == Result({}, "g1", "Heartbeat")


async def test_a_csms_with_a_certificate_of_another_authority_is_not_used() -> None:
    async with rigged(agree, {"ssl": tls(trustme.CA())}, scheme="wss", backoff_min=60, backoff_max=60) as rig:
        answer = await rig.backend.exchange(heartbeat())
    assert isinstance(answer, Error)
    assert answer.text.startswith("backend csms is not reachable: TLS failed: ")


def test_every_state_can_be_left_and_only_an_arrival_leaves_idle() -> None:
    assert {state for state, _ in MOVES} == set(State)
    assert [step for state, step in MOVES if state is State.IDLE] == [Step.ARRIVE]


async def unused(name: str, call: Call) -> Answer:
    raise AssertionError(name)


def test_back_off_doubles_with_jitter_up_to_its_maximum() -> None:
    config = Ocppj(kind="ocppj", name="csms", url="ws://x/{identity}", backoff_min=1, backoff_max=60)
    backend = OcppjBackend(config, unused, lambda record: None, Ids())
    for attempt, ceiling in ((0, 2), (1, 4), (4, 32), (5, 60), (10_000, 60)):
        pauses = [backend._pause(attempt) for _ in range(200)]
        assert 1 <= min(pauses) < ceiling / 2 + 0.5 < max(pauses) <= ceiling


async def test_what_a_closing_connection_takes_from_a_listener_is_counted() -> None:
    async with rigged(be_silent) as rig:
        rig.backend.offer(heartbeat())
        socket = await rig.csms.socket()
        await socket.recv()
        socket.transport.abort()
        await rig.csms.socket()
        assert (rig.backend.dropped, rig.backend.queued()) == (1, 0)


class SlowDialler(Dialler):
    """So slow that the CSMS has closed the socket before it is looked at."""

    async def dial(self, identity: str, called: str, tenant: str) -> Socket:
        socket = await super().dial(identity, called, tenant)
        await socket._socket.wait_closed()
        return socket


async def test_a_csms_that_takes_us_in_and_throws_us_out_at_once_is_tried_again() -> None:
    async def talk(socket: ServerConnection) -> None:
        await socket.close(1001)

    with capture_logs() as logs:
        async with rigged(talk, on_open=announcing) as rig:
            rig.backend._dialler = SlowDialler(rig.backend._config)
            rig.backend.arrive("CP-1")
            for _ in range(3):
                await rig.csms.socket()
    assert [line["event"] for line in logs if line["log_level"] == "error"] == []


async def test_a_session_that_a_mistake_of_ours_ends_is_logged_and_begins_again() -> None:
    mistakes = [KeyError("mistake")]

    def on_open(identity: str) -> Call | None:
        if mistakes:
            raise mistakes.pop()
        return None

    with capture_logs() as logs:
        async with rigged(on_open=on_open) as rig:
            rig.backend.arrive("CP-1")
            await rig.until(State.UP)
            assert await rig.backend.exchange(heartbeat()) == Result({}, "g1", "Heartbeat")
    assert [line["event"] for line in logs if line["log_level"] == "error"] == ["backend.session.failed"]


async def test_an_announcement_goes_before_what_a_listener_is_to_hear() -> None:
    async with rigged(on_open=announcing) as rig:
        rig.backend.offer(heartbeat("g1"))
        await rig.until(State.UP)
        await rig.backend.exchange(heartbeat("g2"))
    assert [r.action for r in rig.records if r.kind == "call"][:2] == ["BootNotification", "Heartbeat"]


async def test_a_charger_that_comes_back_is_dialled_when_its_former_connection_is_closed() -> None:
    async with rigged(be_silent, drain=DEADLINE) as rig, asyncio.timeout(DEADLINE):
        task = asyncio.ensure_future(rig.backend.exchange(heartbeat()))
        first = await rig.csms.socket()
        await first.recv()
        rig.backend.leave("CP-1")
        rig.backend.arrive("CP-1")
        await first.send('[2,"s1","Reset",{}]')
        await first.recv()
        assert len(rig.csms.paths) == 1
        await first.send('[3,"g1",{}]')
        await task
        await rig.csms.socket()
        assert first.close_code == 1001


async def test_a_call_on_a_closing_connection_was_not_sent() -> None:
    async with rigged(be_silent, timeout=DEADLINE) as rig, asyncio.timeout(DEADLINE):
        tasks = [asyncio.ensure_future(rig.backend.exchange(heartbeat(f"g{i}"))) for i in range(2)]
        socket = await rig.csms.socket()
        await socket.recv()
        await socket.close()
        answers = await asyncio.gather(*tasks)
    assert [type(answer) for answer in answers] == [Broken, NotSent]


async def test_a_frame_above_the_limit_is_recorded() -> None:
    async def talk(socket: ServerConnection) -> None:
        await socket.send("x" * 2000)
        await socket.wait_closed()

    async with rigged(talk, frame_limit=1000) as rig:
        rig.backend.arrive("CP-1")
        await (await rig.csms.socket()).wait_closed()
        await rig.csms.socket()
    assert (rig.records[0].kind, rig.records[0].outcome) == ("refused", "FormationViolation")
    assert rig.records[0].note == "frame with 2000 bytes exceeds limit of 1000 bytes"


async def test_what_the_library_has_to_say_of_a_connection_stays_out_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    async with rigged(be_silent) as rig:
        config = Ocppj(kind="ocppj", name="csms", url=f"ws://127.0.0.1:{rig.port}/{{identity}}")
        socket = await Dialler(config).dial("CP-1", "CP-1", "")
        socket._socket.logger.error("keepalive ping failed")
        socket.abort()
    assert caplog.records == []


@pytest.mark.parametrize("identity", [".", ".."])
async def test_an_identity_that_is_no_name_in_a_path_is_not_dialled(identity: str) -> None:
    async with rigged(backoff_min=60, backoff_max=60) as rig:
        answer = await rig.backend.exchange(heartbeat(identity=identity))
    text = f"backend csms is not reachable: expected a name that can be a part of a path, got {identity}"
    assert answer == NotSent("InternalError", text, {}, "g1", "Heartbeat")
    assert rig.csms.paths == []


# --- since when it is up or away


async def test_a_first_attempt_counts_as_up_and_being_connected_changes_nothing() -> None:
    async with rigged() as rig:
        rig.backend.arrive("CP-1")
        first = rig.backend.standing("cp-1")
        await rig.until(State.UP)
        assert first.up
        assert rig.backend.standing("CP-1") == first


async def test_a_backend_is_away_since_the_first_failure_whatever_is_tried_after_it() -> None:
    async with away() as rig:
        before = asyncio.get_running_loop().time()
        await rig.backend.exchange(heartbeat())
        failed = rig.backend.standing("CP-1")
        await rig.until(State.CONNECTING)
        await rig.until(State.BACKING_OFF)
        assert not failed.up
        assert before <= failed.since <= asyncio.get_running_loop().time()
        assert rig.backend.standing("CP-1") == failed


async def test_a_lost_connection_is_away_since_then_and_up_since_the_next_one() -> None:
    async with rigged(backoff_min=0.05, backoff_max=0.05) as rig:
        await rig.backend.exchange(heartbeat())
        first = rig.backend.standing("CP-1")
        (await rig.csms.socket()).transport.abort()
        await rig.until(State.BACKING_OFF)
        lost = rig.backend.standing("CP-1")
        await rig.until(State.UP)
        again = rig.backend.standing("CP-1")
    assert (first.up, lost.up, again.up) == (True, False, True)
    assert first.since < lost.since < again.since


async def test_a_backend_that_is_away_for_all_is_so_for_a_new_charger_too() -> None:
    async with away(backoff_min=60, backoff_max=60) as rig:
        await rig.backend.exchange(heartbeat(identity="A"))
        whole = rig.backend.standing("A")
        assert rig.backend.standing("B") == whole
        rig.backend.arrive("B")
        assert (rig.backend.standing("B"), rig.backend.up("B")) == (whole, False)
        await rig.until(State.BACKING_OFF, "B")
        assert rig.backend.standing("B") == whole


async def test_one_connection_shows_that_the_backend_is_not_away_for_all() -> None:
    async with rigged(backoff_min=60, backoff_max=60) as rig:
        rig.csms.refusal = 503
        await rig.backend.exchange(heartbeat(identity="A"))
        rig.csms.refusal = 0
        await rig.backend.exchange(heartbeat(identity="B"))
        rig.backend.arrive("C")
        assert [rig.backend.standing(identity).up for identity in "ABC"] == [False, True, True]


async def test_nobody_was_up_while_the_backend_was_away_for_all() -> None:
    async with away(backoff_min=0.01, backoff_max=0.01) as rig:
        await rig.backend.exchange(heartbeat(identity="A"))
        rig.backend.arrive("B")
        before = asyncio.get_running_loop().time()
        async with rig.csms.listen(port=rig.port):
            await rig.until(State.UP, "B")
            up, since = rig.backend.standing("B")
            assert (up, since > before) == (True, True)
            await rig.backend.close()


@pytest.mark.parametrize(("status", "up"), [(401, True), (403, True), (404, True), (429, False), (502, False)])
async def test_a_charger_that_is_not_wanted_says_nothing_of_others(status: int, up: bool) -> None:
    async with rigged(backoff_min=60, backoff_max=60) as rig:
        rig.csms.refusal = status
        await rig.backend.exchange(heartbeat(identity="A"))
        rig.backend.arrive("B")
        assert (rig.backend.standing("A").up, rig.backend.standing("B").up) == (False, up)


async def test_when_the_last_that_failed_has_left_nothing_is_known_of_the_backend() -> None:
    async with away(backoff_min=60, backoff_max=60) as rig:
        await rig.backend.exchange(heartbeat(identity="A"))
        rig.backend.leave("A")
        await asyncio.sleep(0)  # it ends in the background
        before = asyncio.get_running_loop().time()
        assert (rig.backend.standing("A").up, rig.backend.standing("A").since >= before) == (False, True)
        rig.backend.arrive("B")
        assert rig.backend.standing("B").up


# --- who hears that it is up


def telling(rig_of: list[Rig]) -> Callable[[str, str], None]:
    """Sends a call of its own, as soon as it is told; the answer is of no interest."""
    tasks: list[asyncio.Task[Answer]] = []

    def on_up(name: str, identity: str) -> None:
        tasks.append(
            asyncio.ensure_future(rig_of[0].backend.exchange(Call("StatusNotification", {}, f"u{len(tasks)}", identity)))
        )

    return on_up


@pytest.mark.parametrize("call", [heartbeat(), boot()])
async def test_what_is_sent_as_soon_as_it_is_up_goes_behind_the_boot_or_the_announcement(call: Call) -> None:
    rigs: list[Rig] = []
    async with rigged(on_open=announcing, on_up=telling(rigs)) as rig, asyncio.timeout(DEADLINE):
        rigs.append(rig)
        await rig.backend.exchange(call)
        await rig.backend.exchange(heartbeat("g9"))
    calls = [r.action for r in rig.records if r.kind == "call"]
    assert calls[0] == "BootNotification"
    assert calls.count("BootNotification") == calls.count("StatusNotification") == 1


async def test_each_socket_that_opens_is_told_with_the_names_of_the_backend_and_the_charger() -> None:
    told: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    async with rigged(on_up=lambda *names: told.put_nowait(names)) as rig, asyncio.timeout(DEADLINE):
        await rig.backend.exchange(heartbeat())
        assert (await told.get(), told.empty()) == (("csms", "CP-1"), True)
        (await rig.csms.socket()).transport.abort()
        assert (await told.get(), told.empty()) == (("csms", "CP-1"), True)


# --- how often it is dialled


async def test_handshakes_have_a_rate() -> None:
    times: list[float] = []

    class Clocked(Dialler):
        async def dial(self, identity: str, *names: str) -> Socket:
            times.append(asyncio.get_running_loop().time())
            return await super().dial(identity, *names)

    async with rigged(connect_rate=50) as rig:
        rig.backend._dialler = Clocked(rig.backend._config)
        begun = asyncio.get_running_loop().time()
        await asyncio.gather(*(rig.backend.exchange(heartbeat(identity=f"CP-{i}")) for i in range(5)))
    assert len(times) == 5
    assert times[-1] - begun >= 4 / 50 - 0.001


async def test_whoever_leaves_while_it_waits_for_its_turn_takes_none() -> None:
    async with rigged(connect_rate=20) as rig:
        for i in range(100):
            rig.backend.arrive(f"CP-{i}")
        await rig.until(State.UP, "CP-0")
        for i in range(1, 99):
            rig.backend.leave(f"CP-{i}")
        await rig.until(State.UP, "CP-99")
    assert len(rig.csms.paths) <= 4

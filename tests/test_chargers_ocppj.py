"""gateway.chargers.ocppj: the door as chargers see it, on uvicorn, with real clients."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import ocpp.v16
import pytest
from ocpp.routing import on
from ocpp.v16 import call, call_result
from ocpp.v16.enums import Action, RegistrationStatus, ResetStatus, ResetType
from starlette.applications import Starlette
from starlette.routing import Route, WebSocketRoute
from starlette.types import Scope
from structlog.testing import capture_logs
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.http11 import Response
from websockets.typing import Subprotocol

from gateway.admission import Refusal
from gateway.chargers.ocppj import JsonDoor, refuse_http
from gateway.chargers.subprotocols import chosen
from gateway.exchange import Ids, NotSent
from gateway.link import Limits, Link
from gateway.paths import Way
from gateway.traffic.record import Record
from tests.ws import DEADLINE, serving
from translations.manners import USUAL, Manner
from translations.messages import Answer, Call, Error, Result, Side, Version

HEARTBEAT = '[2,"c1","Heartbeat",{}]'
BOOT_CONF = {"status": "Accepted", "currentTime": "2026-01-02T03:04:05.678Z", "interval": 300}


class Arrivals:
    """Notes who comes and goes, and answers every call."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.events: list[tuple[str, str]] = []
        self.links: asyncio.Queue[Link] = asyncio.Queue()
        self.gone: asyncio.Queue[str] = asyncio.Queue()
        self.asked, self.release = asyncio.Event(), asyncio.Event()
        self.release.set()
        self.away: Error | None = None
        self.elsewhere: Iterator[bool] = itertools.repeat(False)

    def taken(self, identity: str, tenant: str) -> bool:
        return next(self.elsewhere)

    def arrived(self, identity: str, link: Link, peer: str, version: str, tenant: str) -> None:
        assert (peer, version, tenant) == (link.peer, link.version, link.tenant)
        self.events.append(("arrived", identity))
        self.links.put_nowait(link)

    def departed(self, identity: str, link: Link) -> None:
        self.events.append(("departed", identity))
        self.gone.put_nowait(identity)

    async def exchange(self, call: Call) -> Answer:
        self.calls.append(call)
        self.asked.set()
        await self.release.wait()
        if self.away is not None:
            return self.away
        return Result(BOOT_CONF if call.action == "BootNotification" else {})


class Gateway:
    """A served door."""

    def __init__(self, limits: Limits, **parts: Any) -> None:
        self.arrivals, self.records = Arrivals(), list[Record]()
        self.door = JsonDoor(self.arrivals, self.records.append, Ids(), limits, **parts)
        self.port = 0

    def url(self, path: str) -> str:
        return f"ws://127.0.0.1:{self.port}{path}"

    def connect(self, identity: str = "CP-1", *subprotocols: str) -> connect:
        offered = [Subprotocol(name) for name in subprotocols or ("ocpp1.6",)]
        return connect(self.url(f"/ocpp/{identity}"), subprotocols=offered, compression=None, proxy=None)

    async def link(self) -> Link:
        async with asyncio.timeout(DEADLINE):
            return await self.arrivals.links.get()


@asynccontextmanager
async def served(limits: Limits | None = None, parts: Mapping[str, Any] | None = None, **options: Any) -> AsyncIterator[Gateway]:
    gateway = Gateway(limits or Limits(), **(parts or {}))
    routes = [
        WebSocketRoute("/ocpp/{identity:path}", gateway.door),
        Route("/ocpp/{identity:path}", refuse_http),
    ]
    async with serving(Starlette(routes=routes), **options) as gateway.port:
        yield gateway


@pytest.fixture
async def gateway() -> AsyncIterator[Gateway]:
    async with served() as gateway:
        yield gateway


async def recv(socket: ClientConnection) -> str | bytes:
    async with asyncio.timeout(DEADLINE):
        return await socket.recv()


class Charger(ocpp.v16.ChargePoint):  # type: ignore[misc]
    """A charger of another stack; it checks every message by the published schemas."""

    @on(Action.reset)  # type: ignore[untyped-decorator]
    def on_reset(self, type: ResetType) -> call_result.Reset:
        return call_result.Reset(ResetStatus.accepted)


async def test_a_charger_of_another_stack_boots_and_is_reset(gateway: Gateway) -> None:
    async with gateway.connect() as socket:
        charger = Charger("CP-1", socket, response_timeout=DEADLINE)
        running = asyncio.ensure_future(charger.start())
        booted = await charger.call(call.BootNotification("Model", "Vendor"))
        answer = await (await gateway.link()).call(Call("Reset", {"type": "Soft"}), DEADLINE)
        running.cancel()
    assert booted.status == RegistrationStatus.accepted
    assert isinstance(answer, Result)
    assert answer.payload == {"status": "Accepted"}


async def test_a_call_reaches_the_exchange_whole(gateway: Gateway) -> None:
    async with gateway.connect() as socket:
        assert socket.subprotocol == "ocpp1.6"
        await socket.send('[2,"c1","VendorThing",{"x":[1,null],"y":0.10}]')
        assert await recv(socket) == '[3,"c1",{}]'
    (seen,) = gateway.arrivals.calls
    assert (seen.action, seen.identity, seen.side) == ("VendorThing", "CP-1", Side.CENTRAL_SYSTEM)
    assert str(seen.payload) == "{'x': [1, None], 'y': Decimal('0.10')}"
    assert gateway.records[0].raw == b'[2,"c1","VendorThing",{"x":[1,null],"y":0.10}]'
    assert gateway.records[0].peer.startswith("127.0.0.1:")


@pytest.mark.parametrize(
    ("path", "identity"),
    [
        ("CP-1", "CP-1"),
        ("RDAM%20123", "RDAM 123"),
        ("a%2Fb", "a/b"),
        ("100%2525", "100%25"),
        ("tenant/CP-1", "CP-1"),
        ("x:y%3Az", "x:y:z"),
        ("S%C3%A4ule", "Säule"),
        ("CP-1?token=x", "CP-1"),
    ],
)
async def test_the_identity_is_the_last_part_of_the_path_decoded_once(gateway: Gateway, path: str, identity: str) -> None:
    async with gateway.connect(path):
        assert (await gateway.link()).identity == identity


@pytest.mark.parametrize("path", ["", "tenant/", "%20", "%FF", "a%00b", "a%7Fb", ".", "..", "%2E%2e", "x" * 256])
async def test_without_an_identity_the_handshake_is_refused_with_advice(gateway: Gateway, path: str) -> None:
    with pytest.raises(InvalidStatus) as caught:
        await gateway.connect(path)
    assert caught.value.response.status_code == 404
    assert b"expected the charger's identity as the last part of the path" in (caught.value.response.body or b"")


async def test_a_plain_http_request_is_told_to_upgrade(gateway: Gateway) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(b"GET /ocpp/CP-1 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    response = (await reader.read()).decode()
    writer.close()
    await writer.wait_closed()
    assert response.startswith("HTTP/1.1 426 ")
    assert "expected a WebSocket handshake with the subprotocol ocpp1.6, ocpp1.5 or ocpp1.2" in response


@pytest.mark.parametrize(
    ("offers", "spoken"),
    [
        (("ocpp1.6",), "ocpp1.6"),
        (("ocpp2.0.1", "ocpp1.6"), "ocpp1.6"),
        (("ocpp1.6", "ocpp1.5"), "ocpp1.6"),
        (("ocpp1.5", "ocpp1.6"), "ocpp1.5"),
        (("ocpp1.2", "ocpp1.5", "ocpp1.6"), "ocpp1.2"),
    ],
)
async def test_the_first_subprotocol_that_both_speak_is_echoed(gateway: Gateway, offers: tuple[str, ...], spoken: str) -> None:
    with capture_logs() as logs:
        async with gateway.connect("CP-1", *offers) as socket:
            assert socket.subprotocol == spoken
            assert f"ocpp{(await gateway.link()).version}" == spoken
    assert logs == []


async def handshake(gateway: Gateway, subprotocols: str | None) -> dict[str, str]:
    """The headers of the answer to a handshake that no library would write."""
    lines = ["GET /ocpp/CP-1 HTTP/1.1", "Host: x", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13"]
    lines += ["Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=="]
    lines += [] if subprotocols is None else [f"Sec-WebSocket-Protocol: {subprotocols}"]
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write("\r\n".join([*lines, "", ""]).encode())
    async with asyncio.timeout(DEADLINE):
        status, *headers = (await reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
    assert status.startswith("HTTP/1.1 101")
    assert (await gateway.link()).identity == "CP-1"
    writer.close()
    await writer.wait_closed()
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in headers)}


@pytest.mark.parametrize(
    ("offered", "echoed", "spoken"),
    [
        (None, None, "ocpp1.5"),
        (",ocpp1.6", "ocpp1.6", ""),
        ("OCPP1.6", "OCPP1.6", "ocpp1.6"),
        ("ocpp16", "ocpp16", "ocpp1.6"),
        ("ocpp1.6 ,  ocpp1.5", "ocpp1.6", ""),
    ],
)
async def test_an_odd_offer_is_taken_for_what_it_means(offered: str | None, echoed: str | None, spoken: str) -> None:
    def terms(identity: str, version: str, tenant: str) -> Manner:
        return USUAL._replace(subprotocol="ocpp1.5")

    with capture_logs() as logs:
        async with served(parts={"terms": terms}) as gateway:
            headers = await handshake(gateway, offered)
    assert headers.get("sec-websocket-protocol") == echoed
    assert [line["spoken"] for line in logs if line["event"] == "charger.odd_subprotocol"] == ([spoken] if spoken else [])


@pytest.mark.parametrize(
    ("offers", "found"),
    [
        (["", "ocpp2.1 ocpp1.5"], (Version.V15, None)),  # which of the two it was cannot be echoed
        (["", ""], (None, None)),
        (["", "ocpp1.2"], (Version.V12, "ocpp1.2")),
        (["1.6", "ocpp", "ocpp1.66"], (None, None)),
    ],
)
def test_names_are_known_by_what_they_mean(offers: list[str], found: tuple[Version | None, str | None]) -> None:
    assert chosen(offers) == found


async def test_without_a_common_subprotocol_the_socket_is_opened_and_closed_at_once(gateway: Gateway) -> None:
    async with gateway.connect("CP-1", "ocpp2.0.1", "ocpp2.1") as socket:
        assert socket.subprotocol is None
        with pytest.raises(ConnectionClosed) as caught:
            await recv(socket)
    assert caught.value.rcvd
    assert caught.value.rcvd.code == 1002
    assert caught.value.rcvd.reason == "expected subprotocol ocpp1.6, ocpp1.5 or ocpp1.2, got ocpp2.0.1, ocpp2.1"
    assert gateway.arrivals.events == []


async def test_an_offer_that_is_too_long_for_a_reason_is_cut(gateway: Gateway) -> None:
    async with gateway.connect("CP-1", "x" * 500) as socket:
        with pytest.raises(ConnectionClosed, match=r"expected subprotocol ocpp1\.6, ocpp1\.5 or ocpp1\.2, got x{65}$"):
            await recv(socket)


async def test_a_second_connection_of_the_same_identity_replaces_the_first(gateway: Gateway) -> None:
    async with gateway.connect("CP-1") as first:
        task = asyncio.ensure_future((await gateway.link()).call(Call("Reset", {}, "g1"), DEADLINE))
        await recv(first)
        async with gateway.connect("cp-1") as second:
            assert await task == Error("GenericError", "connection closed before the answer", {}, "g1", "Reset")
            with pytest.raises(ConnectionClosed, match="replaced by a newer connection"):
                await recv(first)
            await second.send(HEARTBEAT)
            assert await recv(second) == '[3,"c1",{}]'
    async with asyncio.timeout(DEADLINE):
        await gateway.arrivals.gone.get()
    # The charger never was away, so nobody is told that the first one is gone.
    assert gateway.arrivals.events == [("arrived", "CP-1"), ("arrived", "cp-1"), ("departed", "cp-1")]


async def test_a_charger_that_goes_departs(gateway: Gateway) -> None:
    async with gateway.connect():
        link = await gateway.link()
    async with asyncio.timeout(DEADLINE):
        assert await gateway.arrivals.gone.get() == "CP-1"
    assert isinstance(await link.call(Call("Reset", {}), DEADLINE), Error)


async def test_a_charger_that_drops_the_connection_departs(gateway: Gateway) -> None:
    socket = await gateway.connect()
    task = asyncio.ensure_future((await gateway.link()).call(Call("Reset", {}, "g1"), DEADLINE))
    await recv(socket)
    socket.transport.abort()
    assert isinstance(await task, Error)
    async with asyncio.timeout(DEADLINE):
        assert await gateway.arrivals.gone.get() == "CP-1"


async def test_calls_of_both_sides_cross(gateway: Gateway) -> None:
    gateway.arrivals.release.clear()
    async with gateway.connect() as socket:
        await socket.send(HEARTBEAT)
        task = asyncio.ensure_future((await gateway.link()).call(Call("Reset", {}, "g1"), DEADLINE))
        assert await recv(socket) == '[2,"g1","Reset",{}]'
        await socket.send('[3,"g1",{"status":"Accepted"}]')
        assert await task == Result({"status": "Accepted"}, "g1", "Reset")
        gateway.arrivals.release.set()
        assert await recv(socket) == '[3,"c1",{}]'


async def test_binary_frames_are_read_and_answered_as_text(gateway: Gateway) -> None:
    async with gateway.connect() as socket:
        await socket.send(HEARTBEAT.encode())
        assert await recv(socket) == '[3,"c1",{}]'
    assert [remark.rule for remark in gateway.records[0].remarks] == ["ocppj.binary"]


async def test_a_flood_of_malformed_frames_ends_the_connection() -> None:
    async with served(Limits(malformed=3)) as gateway, gateway.connect() as socket:
        for _ in range(3):
            await socket.send("nonsense")
        with pytest.raises(ConnectionClosed, match="3 malformed frames in a row"):
            await recv(socket)


async def test_a_frame_above_the_limit_ends_the_connection() -> None:
    async with served(ws_max_size=1000) as gateway, gateway.connect() as socket:
        await socket.send("x" * 2000)
        with pytest.raises(ConnectionClosed) as caught:
            await recv(socket)
    assert caught.value.rcvd
    assert caught.value.rcvd.code == 1009
    assert [(r.kind, r.outcome, r.note) for r in gateway.records] == [
        ("refused", "FormationViolation", "frame with 2000 bytes exceeds limit of 1000 bytes")
    ]


async def test_a_refused_handshake_is_no_error_of_the_server(gateway: Gateway, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(InvalidStatus):
        await gateway.connect("")
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


async def test_closing_the_door_answers_first(gateway: Gateway) -> None:
    gateway.arrivals.release.clear()
    async with gateway.connect() as socket:
        await socket.send(HEARTBEAT)
        await gateway.arrivals.asked.wait()
        closing = asyncio.ensure_future(gateway.door.close(DEADLINE))
        gateway.arrivals.release.set()
        assert await recv(socket) == '[3,"c1",{}]'
        with pytest.raises(ConnectionClosed, match="the gateway is shutting down"):
            await recv(socket)
        await closing


# --- the gate ------------------------------------------------------------------------------------------------------


class Doorman:
    """A gate for tests: knows one path and one charger."""

    def __init__(self) -> None:
        self.full, self.refusal = False, Refusal(401, "expected other credentials", "wrong password", True)
        self.paced: list[str] = []
        self.told: list[str] = []

    def json(self, scope: Scope) -> Way | None:
        _, kind, *rest = scope["path"].split("/")
        return Way(rest[0], "depot", "secret") if kind == "ocpp" else None

    def busy(self, scope: Scope) -> bool:
        return self.full

    async def admit(self, scope: Scope, way: Way, identity: str) -> Refusal | None:
        assert (way.tenant, way.token) == ("depot", "secret")
        return None if identity == "CP-1" else self.refusal

    def source(self, scope: Scope) -> str:
        return "192.0.2.7:4000"

    def tell(self, refusal: Refusal, scope: Scope, identity: str = "") -> None:
        self.told.append(refusal.reason)

    async def pace(self, identity: str) -> None:
        self.paced.append(identity)


async def refused(gateway: Gateway, identity: str) -> Response:
    with pytest.raises(InvalidStatus) as caught:
        await gateway.connect(identity)
    return caught.value.response


async def test_who_may_come_in_comes_in_and_is_paced() -> None:
    async with served(parts={"gate": (doorman := Doorman())}) as gateway, gateway.connect("CP-1/rest") as socket:
        assert (await gateway.link()).peer == "192.0.2.7:4000"
        await socket.send(HEARTBEAT)
        assert await recv(socket) == '[3,"c1",{}]'
    assert doorman.paced[0] == "CP-1"


async def test_who_may_not_come_in_is_told_how_to_show_who_it_is() -> None:
    async with served(parts={"gate": Doorman()}) as gateway:
        response = await refused(gateway, "CP-2")
    assert (response.status_code, response.headers["www-authenticate"]) == (401, 'Basic realm="ocpp"')
    assert response.body == b"expected other credentials\n"
    assert gateway.arrivals.events == []


async def test_who_is_not_known_is_not_asked_for_credentials() -> None:
    doorman = Doorman()
    doorman.refusal = Refusal(404, "expected a known charger", "unknown")
    async with served(parts={"gate": doorman}) as gateway:
        response = await refused(gateway, "CP-2")
    assert (response.status_code, "www-authenticate" in response.headers) == (404, False)


async def test_where_too_many_come_from_they_wait_outside() -> None:
    doorman = Doorman()
    doorman.full = True
    async with served(parts={"gate": doorman}) as gateway:
        assert (await refused(gateway, "CP-1")).status_code == 429


async def test_who_comes_under_a_tenant_is_of_that_tenant_in_all_that_is_told() -> None:
    asked: set[str] = set()

    def terms(identity: str, version: str, tenant: str) -> Manner:
        asked.add(tenant)
        return USUAL

    async with served(parts={"gate": Doorman(), "terms": terms}) as gateway, gateway.connect() as socket:
        await socket.send('[2,"c1","BootNotification",{"chargePointVendor":"V","chargePointModel":"M"}]')
        await recv(socket)
        await socket.send("[")
        await socket.send(HEARTBEAT)
        await recv(socket)
    assert asked == {"depot"}
    assert {record.tenant for record in gateway.records} == {"depot"}


async def test_who_is_here_under_another_tenant_does_not_come_in() -> None:
    async with served(parts={"gate": (doorman := Doorman())}) as gateway:
        gateway.arrivals.elsewhere = itertools.repeat(True)
        response = await refused(gateway, "CP-1")
    assert (response.status_code, response.body) == (403, b"expected a charger that may come this way\n")
    assert (doorman.told, gateway.arrivals.events) == (["here under another tenant"], [])


async def test_who_came_under_another_tenant_during_the_handshake_stays() -> None:
    async with served(parts={"gate": (doorman := Doorman())}) as gateway:
        gateway.arrivals.elsewhere = iter((False, True))
        async with gateway.connect() as socket:
            await socket.wait_closed()
    assert (socket.close_code, doorman.told) == (1008, ["here under another tenant"])
    assert gateway.arrivals.events == []


# --- what is said --------------------------------------------------------------------------------------------------


def repairing(identity: str, version: str, tenant: str) -> Manner:
    return USUAL


async def test_what_a_charger_means_is_asked_and_what_the_backend_says_is_translated() -> None:
    async with served(parts={"terms": repairing}) as gateway, gateway.connect("CP-1", "ocpp1.5") as socket:
        await socket.send('[2,7,"bootNotification",{"chargePointVendor":null,"chargePointModel":"M"}]')
        answer = '[3,7,{"status":"Accepted","currentTime":"2026-01-02T03:04:05.678Z","heartbeatInterval":300}]'
        assert await recv(socket) == answer
    (call,) = gateway.arrivals.calls
    assert (call.action, call.payload) == ("BootNotification", {"chargePointVendor": "unknown", "chargePointModel": "M"})


@pytest.mark.parametrize(
    ("subprotocol", "payload"), [("ocpp1.6", '{"connectorId":1,"meterValue":[]}'), ("ocpp1.5", '{"connectorId":1}')]
)
async def test_meter_values_without_values_are_answered_at_the_door(subprotocol: str, payload: str) -> None:
    async with served(parts={"terms": repairing}) as gateway, gateway.connect("CP-1", subprotocol) as socket:
        await socket.send(f'[2,"c1","MeterValues",{payload}]')
        assert await recv(socket) == '[3,"c1",{}]'
    assert gateway.arrivals.calls == []
    assert gateway.records[0].remarks[-1].rule == "ocppj.empty-meter-values"


async def test_a_charger_is_understood_better_once_its_maker_is_known() -> None:
    known: list[str] = []

    def terms(identity: str, version: str, tenant: str) -> Manner:
        assert (identity, version, tenant) == ("CP-1", "1.6", "")
        return USUAL._replace(date="seconds" if known else "as-given")

    async with served(parts={"terms": terms}) as gateway, gateway.connect() as socket:
        known.append("a maker")
        await socket.send('[2,"c1","BootNotification",{"chargePointVendor":"V","chargePointModel":"M"}]')
        assert '"currentTime":"2026-01-02T03:04:05Z"' in str(await recv(socket))


async def test_the_gateway_has_the_last_word_on_what_a_charger_says() -> None:
    def settle(call: Call) -> Call:
        return replace(call, payload=call.payload | {"status": "Finishing"})

    frame = '[2,"c1","StatusNotification",{"connectorId":1,"status":"Occupied","errorCode":"NoError"}]'
    parts = {"terms": repairing, "settle": settle}
    async with served(parts=parts) as gateway, gateway.connect("CP-1", "ocpp1.5") as socket:
        await socket.send(frame)
        assert await recv(socket) == '[3,"c1",{}]'
    assert gateway.arrivals.calls[0].payload["status"] == "Finishing"
    assert gateway.records[0].canonical[3]["status"] == "Finishing"


async def test_oddities_of_the_handshake_are_told() -> None:
    scope = {"subprotocols": ["ocpp1.6"], "extensions": {"odd": ("no Upgrade in Connection",)}, "raw_path": b"/ocpp/CP-1"}
    inbox = iter([{"type": "websocket.connect"}, {"type": "websocket.disconnect", "code": 1000}])

    async def receive() -> Any:
        return next(inbox)

    async def send(event: Any) -> None:
        assert event == {"type": "websocket.accept", "subprotocol": "ocpp1.6"}

    with capture_logs() as logs:
        await JsonDoor(Arrivals(), list[Record]().append, Ids())(scope, receive, send)
    assert [(line["event"], line["odd"]) for line in logs] == [("charger.odd_handshake", ["no Upgrade in Connection"])]


# --- what no backend heard


AWAY = NotSent("InternalError", "backend csms is not reachable")
STOP = '[2,"c1","StopTransaction",{"transactionId":1,"meterStop":2,"timestamp":"2026-01-02T03:04:05Z"}]'
KEPT = [
    '[2,"c1","StartTransaction",{"connectorId":1,"idTag":"TAG1","meterStart":1,"timestamp":"2026-01-02T03:04:05Z"}]',
    '[2,"c1","MeterValues",{"connectorId":1,"transactionId":7,"meterValue":[]}]',
    STOP,
]


@pytest.mark.parametrize("frame", KEPT)
async def test_what_carries_money_is_left_to_the_charger_by_closing_its_socket(gateway: Gateway, frame: str) -> None:
    gateway.arrivals.away = AWAY
    with capture_logs() as logs:
        async with gateway.connect() as socket:
            await socket.send(frame)
            await socket.send(HEARTBEAT)
            with pytest.raises(ConnectionClosed) as caught:
                await recv(socket)
    assert caught.value.rcvd
    action = json.loads(frame)[2]
    assert (caught.value.rcvd.code, caught.value.rcvd.reason) == (1013, f"{action} was not taken, please come again: {AWAY.text}")
    assert [each.action for each in gateway.arrivals.calls] == [action]
    assert {record.direction for record in gateway.records} == {"<"}
    assert [(line["event"], line["action"], line["reason"]) for line in logs] == [("charger.sent_away", action, AWAY.text)]


@pytest.mark.parametrize("frame", [HEARTBEAT, '[2,"c1","MeterValues",{"connectorId":1,"meterValue":[]}]'])
async def test_what_carries_none_is_answered_with_an_error(gateway: Gateway, frame: str) -> None:
    gateway.arrivals.away = AWAY
    async with gateway.connect() as socket:
        await socket.send(frame)
        assert await recv(socket) == f'[4,"c1","InternalError","{AWAY.text}",{{}}]'


async def test_an_error_of_the_backend_is_answered_even_where_money_is_carried(gateway: Gateway) -> None:
    gateway.arrivals.away = Error("InternalError", "no")
    async with gateway.connect() as socket:
        await socket.send(STOP)
        assert await recv(socket) == '[4,"c1","InternalError","no",{}]'

"""gateway.chargers.callbacks, towards chargers that are HTTP servers on loopback."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from lxml import etree

from gateway.chargers.callbacks import SoapCalls, SoapLink
from gateway.config import Callbacks, Config, Server
from gateway.config import Charger as Row
from gateway.exchange import Ids
from gateway.roster import Charger, Effect
from gateway.traffic.record import Record
from tests.peers.bare import BareServer, bare_server, closed_port, http
from tests.peers.envelopes import SOAP12, WSA
from tests.peers.seen import DEADLINE
from translations import soap
from translations.messages import Answer, Call, Error, Result, Side, Version

CP15 = "urn://Ocpp/Cp/2012/06/"
FAULT = (
    f'<s:Fault><s:Code><s:Value>s:Sender</s:Value><s:Subcode><s:Value xmlns:f="{CP15}">f:SecurityError</s:Value></s:Subcode>'
    '</s:Code><s:Reason><s:Text xml:lang="en">not for you</s:Text></s:Reason></s:Fault>'
)
HTML = b"<!DOCTYPE html>\n<html><body>Sign in</body></html>"


def said(body: str) -> bytes:
    header = "<a:RelatesTo>urn:ocpp:c-1</a:RelatesTo><a:MessageID>m-9</a:MessageID>"
    text = (
        f'<s:Envelope xmlns:s="{SOAP12}" xmlns:a="{WSA}"><s:Header>{header}</s:Header>'
        f'<s:Body xmlns="{CP15}">{body}</s:Body></s:Envelope>'
    )
    return text.encode()


ACCEPTED = said("<resetResponse><status>Accepted</status></resetResponse>")
OK = http("200 OK", ACCEPTED)


class Rig:
    """The client, and what it recorded."""

    def __init__(self, allow: str = "127.0.0.0/8", rows: tuple[Row, ...] = (), server: Any = None, **options: Any) -> None:
        callbacks = Callbacks.model_validate({"allow": [allow], "timeout": 5, "connect_timeout": 2} | options)
        public = Server.model_validate({"public_url": "http://gw.example.com:9000/"} | (server or {}))
        self.records: list[Record] = []
        self.calls = SoapCalls(Config(callbacks=callbacks, server=public, chargers=rows), self.records.append, Ids())
        self.calls.sender = f"{public.url}/soap"

    def charger(self, callback: str, **facts: Any) -> Charger:
        charger = Charger("CP-1", "soap", Version.V15, callback=callback, **facts)
        self.calls.adopt(charger, Effect.ARRIVED)
        return charger

    async def reset(self, charger: Charger, call_id: str = "c-1", timeout: float = DEADLINE) -> Answer:
        assert charger.link is not None
        return await charger.link.call(Call("Reset", {"type": "Soft"}, call_id, "CP-1", Side.CHARGE_POINT), timeout)

    async def refused(self, callback: str, **facts: Any) -> str:
        answer = await self.reset(self.charger(callback, **facts))
        assert isinstance(answer, Error)
        return answer.text


@asynccontextmanager
async def rigged(**options: Any) -> AsyncIterator[Rig]:
    rig = Rig(**options)
    try:
        yield rig
    finally:
        await rig.calls.close()


async def answered(response: bytes, **options: Any) -> Answer:
    """What comes of a charger's response."""
    async with rigged(**options) as rig, bare_server(response) as bare:
        return await rig.reset(rig.charger(bare.url))


# --- what a charger hears


async def heard(bare: BareServer) -> tuple[dict[str, str], Any]:
    head, _, body = (await bare.visits.wait()).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /ocpp HTTP/1.1"
    return dict(line.split(": ", 1) for line in lines[1:]), etree.fromstring(body)


async def test_a_charger_hears_what_small_servers_can_bear() -> None:
    async with rigged() as rig, bare_server(OK) as bare:
        await rig.reset(rig.charger(bare.url))
        headers, _ = await heard(bare)
    assert headers["Content-Type"] == 'application/soap+xml; charset=utf-8; action="/Reset"'
    assert (headers["Connection"], headers["Accept-Encoding"]) == ("close", "identity")
    assert int(headers["Content-Length"])
    assert not {"Transfer-Encoding", "Cookie", "Expect"} & set(headers)


async def test_a_charger_hears_who_is_meant_and_where_we_are() -> None:
    async with rigged() as rig, bare_server(OK) as bare:
        await rig.reset(rig.charger(bare.url))
        _, envelope = await heard(bare)
    names = {"a": WSA, "c": CP15}
    told = [envelope.findtext(f".//{path}", namespaces=names) for path in ("c:chargeBoxIdentity", "a:MessageID", "a:To")]
    assert told == ["CP-1", "urn:ocpp:c-1", bare.url]
    assert envelope.findtext(".//a:From/a:Address", namespaces=names) == "http://gw.example.com:9000/soap"
    assert envelope.findtext(".//c:resetRequest/c:type", namespaces=names) == "Soft"


async def test_a_charger_is_called_in_the_manner_in_which_it_speaks() -> None:
    async with rigged() as rig, bare_server(OK) as bare:
        await rig.reset(rig.charger(bare.url, manner=soap.Manner(soap.SOAP11)))
        headers, envelope = await heard(bare)
    assert (headers["Content-Type"], headers["SOAPAction"]) == ("text/xml; charset=utf-8", '"/Reset"')
    assert envelope.tag == f"{{{soap.SOAP11}}}Envelope"


async def test_what_the_version_cannot_say_is_decided_without_the_charger() -> None:
    async with rigged() as rig, bare_server(OK) as bare:
        link = rig.charger(bare.url).link
        assert link is not None
        answer = await link.call(Call("TriggerMessage", {"requestedMessage": "Heartbeat"}, "c-1"), 1)
        assert isinstance(answer, Error)
        assert (answer.code, answer.id, len(bare.visits), rig.records) == ("NotSupported", "c-1", 0, [])


# --- what a charger answers


async def test_a_result_is_a_result() -> None:
    assert await answered(OK) == Result({"status": "Accepted"}, "c-1", "Reset")


@pytest.mark.parametrize("body", [b"\r\n " + ACCEPTED, b"\xef\xbb\xbf" + ACCEPTED, ACCEPTED.decode().encode("utf-16")])
async def test_a_result_may_start_oddly(body: bytes) -> None:
    assert isinstance(await answered(http("200 OK", body)), Result)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
async def test_a_packed_result_is_unpacked(coding: str) -> None:
    response = http("200 OK", gzip.compress(ACCEPTED), "application/soap+xml", f"Content-Encoding: {coding}")
    assert isinstance(await answered(response), Result)


async def test_a_fault_is_an_error() -> None:
    details = {"transport": "soap", "soapCode": "Sender", "subcode": "SecurityError", "httpStatus": 400, "reason": "not for you"}
    assert await answered(http("400 Bad Request", said(FAULT))) == Error("SecurityError", "not for you", details, "c-1", "Reset")


NO_ANSWERS = [
    (
        http("200 OK", said("<clearCacheResponse><status>Accepted</status></clearCacheResponse>")),
        ("ProtocolError", "expected the answer to Reset, got another message"),
    ),
    (
        http("200 OK", said("<resetRequest><type>Soft</type></resetRequest>")),
        ("ProtocolError", "expected the answer to Reset, got another message"),
    ),
    (
        http("200 OK", HTML, "text/html"),
        ("GenericError", "expected an envelope from the charger, got HTTP 200 with an HTML page"),
    ),
    (
        http("401 Unauthorized", HTML, "text/html"),
        ("SecurityError", "expected an envelope from the charger, got HTTP 401 with an HTML page"),
    ),
    (
        http("404 Not Found", b"nothing here", "text/plain"),
        ("NotSupported", "expected an envelope from the charger, got HTTP 404 with 12 bytes of text/plain"),
    ),
    (
        http("500 Oops", b"<oops/>", "text/xml"),
        ("GenericError", "expected an envelope from the charger, got HTTP 500 with 7 bytes of text/xml"),
    ),
    (http("200 OK", b"<oops/>"), ("GenericError", "expected a SOAP envelope, got 'oops'")),
    (
        http("200 OK", b""),
        ("GenericError", "expected an envelope from the charger, got HTTP 200 with 0 bytes of application/soap+xml"),
    ),
    (http("200 OK", ACCEPTED[:-9]), ("GenericError", "expected XML: ")),
    (
        http("200 OK", said("<resetResponse><status>Perhaps</status></resetResponse>")),
        ("InternalError", "the charger's answer is not valid: "),
    ),
    (b"what?\r\n\r\n", ("GenericError", "charger unreachable: ")),
    (b"", ("GenericError", "charger unreachable: ")),
    (OK[:-5], ("GenericError", "charger unreachable: ")),
]


@pytest.mark.parametrize(("response", "expected"), NO_ANSWERS)
async def test_what_is_no_answer_is_an_error(response: bytes, expected: tuple[str, str]) -> None:
    answer = await answered(response)
    assert isinstance(answer, Error)
    assert (answer.code, answer.text[: len(expected[1])], answer.id) == (*expected, "c-1")


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Again", "308 Moved"])
async def test_a_redirect_is_not_followed(status: str) -> None:
    async with rigged() as rig, bare_server(OK) as elsewhere:
        async with bare_server(http(status, b"", "text/plain", f"Location: {elsewhere.url}")) as bare:
            text = await rig.refused(bare.url)
        assert text == f"expected an envelope from the charger, got HTTP {status[:3]} with 0 bytes of text/plain"
        assert len(elsewhere.visits) == 0


@pytest.mark.parametrize(
    ("response", "text"),
    [
        (http("200 OK", b"<" + b"x" * 2000), "expected at most 1000 bytes from the charger, got more"),
        (
            http("200 OK", gzip.compress(bytes(10_000_000))[:900], "text/xml", "Content-Encoding: gzip"),
            "expected at most 1000 bytes after decompression",
        ),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"7d0\r\n" + b"x" * 2000 + b"\r\n0\r\n\r\n",
            "expected at most 1000 bytes from the charger, got more",
        ),
    ],
    ids=["large", "bomb", "chunks"],
)
async def test_an_answer_over_the_limit_is_not_taken(response: bytes, text: str) -> None:
    answer = await answered(response, server={"body_limit": 1000})
    assert isinstance(answer, Error)
    assert answer.text == text


# --- when a charger cannot be asked


async def test_nobody_listens() -> None:
    async with rigged() as rig:
        text = await rig.refused(f"http://127.0.0.1:{closed_port()}/")
    assert text == "charger unreachable: connection refused"


async def test_silence_ends_with_the_deadline() -> None:
    async with rigged() as rig, bare_server(b"", hold=True) as bare:
        answer = await rig.reset(rig.charger(bare.url), timeout=0.05)
    assert isinstance(answer, Error)
    assert answer.text.startswith("charger gave no answer in ")


ELSEWHERE = ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "①②⑦.0.0.1", "127。0。0。1", "10.0.0.1@127.0.0.1"]
ODD = ["2130706433", "127.1", "0x7f000001", "0177.0.0.1", "localhost", "127.0.0.1.", "10.0.0.1\\@127.0.0.1"]


@pytest.mark.parametrize("host", [*ELSEWHERE, *ODD])
async def test_no_spelling_of_an_address_outside_the_list_is_dialled(host: str) -> None:
    async with rigged(allow="10.0.0.0/8") as rig, bare_server(OK) as bare:
        text = await rig.refused(f"http://{host}:{bare.port}/")
        assert len(bare.visits) == 0
    assert text.startswith("charger unreachable: ")


@pytest.mark.parametrize(
    ("host", "text"),
    [
        ("[::ffff:127.0.0.1]", "its callback address ::ffff:7f00:1 does not lie in callbacks.allow"),
        ("127.0.0.1", "its callback address 127.0.0.1 does not lie in callbacks.allow"),
        ("localhost", "no address of localhost lies in callbacks.allow"),
    ],
)
async def test_an_address_that_is_not_allowed_is_named(host: str, text: str) -> None:
    async with rigged(allow="10.0.0.0/8") as rig:
        assert await rig.refused(f"http://{host}:8080/") == f"charger unreachable: {text}"


async def test_a_name_with_an_allowed_address_is_dialled() -> None:
    async with rigged() as rig, bare_server(OK) as bare:
        assert isinstance(await rig.reset(rig.charger(f"http://localhost:{bare.port}/")), Result)


async def test_no_proxy_of_the_environment_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
    assert isinstance(await answered(OK), Result)


# --- which address


ROW = Row(match="CP-*", callback_url="http://127.0.0.1:1/row", callback_port=2)
TOLD, PEER = "http://127.0.0.1:3/told", "127.0.0.1:40000"


@pytest.mark.parametrize(
    ("rows", "told", "port", "address"),
    [
        ((ROW,), TOLD, 4, "http://127.0.0.1:1/row"),
        ((), TOLD, 4, TOLD),
        ((ROW.model_copy(update={"callback_url": None}),), "", 4, "http://127.0.0.1:2/cp"),
        ((), "", 4, "http://127.0.0.1:4/cp"),
    ],
)
def test_the_address_is_configured_or_told_or_the_source(rows: tuple[Row, ...], told: str, port: int, address: str) -> None:
    rig = Rig(rows=rows, port=port, path="/cp")
    assert rig.calls.address(rig.charger(told, peer=PEER)) == address


async def test_a_charger_whose_address_nobody_knows_is_unreachable() -> None:
    text = await Rig().refused("", peer=PEER)
    assert text == "charger unreachable: it has told no callback address, and none is configured"


# --- who has a link


@pytest.mark.parametrize(
    ("wire", "effect", "linked"), [("soap", Effect.ARRIVED, True), ("soap", Effect.LEFT, False), ("json", Effect.ARRIVED, False)]
)
def test_soap_chargers_get_a_link_when_they_arrive(wire: str, effect: Effect, linked: bool) -> None:
    charger = Charger("CP-1", wire)
    Rig().calls.adopt(charger, effect)
    assert isinstance(charger.link, SoapLink) is linked


def test_a_charger_keeps_its_link() -> None:
    rig = Rig()
    charger = rig.charger("")
    link = charger.link
    rig.calls.adopt(charger, Effect.ARRIVED)
    assert charger.link is link


# --- one at a time


class Slow(BareServer):
    """Answers when it is let; counts how many wait at once."""

    def __init__(self) -> None:
        super().__init__(OK)
        self.inside = self.most = 0
        self.let = asyncio.Semaphore(0)

    async def meet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        self.visits.add(await reader.readexactly(length))
        self.inside += 1
        self.most = max(self.most, self.inside)
        await self.let.acquire()
        self.inside -= 1
        writer.write(OK)
        writer.close()

    def order(self) -> list[str]:
        return [visit.split(b"urn:ocpp:")[1].split(b"<")[0].decode() for visit in self.visits]


class Queue:
    """A slow charger, and calls for it."""

    def __init__(self, rig: Rig, slow: Slow) -> None:
        self.rig, self.slow = rig, slow
        self.charger = rig.charger(slow.url)

    def ask(self, call_id: str, timeout: float = DEADLINE) -> "asyncio.Task[Answer]":
        return asyncio.create_task(self.rig.reset(self.charger, call_id, timeout))

    async def first(self) -> "asyncio.Task[Answer]":
        """A call that has reached the charger."""
        task = self.ask("first")
        await self.slow.visits.wait()
        return task


@pytest.fixture
async def queue() -> AsyncIterator[Queue]:
    async with AsyncExitStack() as stack:
        rig = await stack.enter_async_context(rigged(waiting=2))
        slow = Slow()
        server = await asyncio.start_server(slow.meet, "127.0.0.1", 0)
        slow.port = server.sockets[0].getsockname()[1]
        stack.callback(server.close)
        yield Queue(rig, slow)


def text(answer: Answer) -> str:
    return answer.text if isinstance(answer, Error) else "ok"


async def test_a_charger_is_asked_one_thing_at_a_time_in_order(queue: Queue) -> None:
    tasks = [await queue.first(), queue.ask("second"), queue.ask("third")]
    for _ in tasks:
        queue.slow.let.release()
    assert [text(answer) for answer in await asyncio.gather(*tasks)] == ["ok", "ok", "ok"]
    assert (queue.slow.order(), queue.slow.most) == (["first", "second", "third"], 1)


async def test_only_so_many_calls_wait(queue: Queue) -> None:
    tasks = [await queue.first(), queue.ask("second"), queue.ask("third")]
    assert text(await queue.ask("fourth")) == "charger busy: too many calls wait for it"
    for _ in tasks:
        queue.slow.let.release()
    await asyncio.gather(*tasks)
    queue.slow.let.release()
    assert text(await queue.ask("fifth")) == "ok"


async def test_who_waits_for_too_long_gives_up_its_place(queue: Queue) -> None:
    first = await queue.first()
    late = [text(await queue.ask(call_id, 0.01)) for call_id in ("second", "third", "fourth")]
    assert late == ["charger busy: an earlier call took all the time there was"] * 3
    queue.slow.let.release()
    assert text(await first) == "ok"
    assert queue.slow.order() == ["first"]


async def test_who_is_cancelled_gives_up_its_place(queue: Queue) -> None:
    first = await queue.first()
    for call_id in ("second", "third", "fourth"):
        task = queue.ask(call_id)
        await asyncio.wait({task}, timeout=0.001)
        task.cancel()
        await asyncio.wait({task})
    queue.slow.let.release()
    assert (text(await first), queue.slow.order()) == ("ok", ["first"])


async def test_chargers_do_not_wait_for_each_other(queue: Queue) -> None:
    first = await queue.first()
    async with bare_server(OK) as bare:
        assert text(await queue.rig.reset(queue.rig.charger(bare.url))) == "ok"
    queue.slow.let.release()
    await first


async def test_a_call_that_ran_out_of_time_makes_room(queue: Queue) -> None:
    assert text(await queue.ask("first", 0.05)).startswith("charger gave no answer")
    queue.slow.let.release()
    queue.slow.let.release()
    assert text(await queue.ask("second")) == "ok"


# --- records


async def test_both_directions_are_recorded_as_they_were() -> None:
    async with rigged() as rig, bare_server(OK) as bare:
        await rig.reset(rig.charger(bare.url))
        call, answer = rig.records
        _, _, body = bare.visits[0].partition(b"\r\n\r\n")
    assert (call.direction, call.kind, call.raw, call.message_id, call.peer) == (">", "call", body, "urn:ocpp:c-1", bare.url)
    assert call.canonical == [2, "c-1", "Reset", {"type": "Soft"}]
    assert (answer.direction, answer.kind, answer.raw, answer.message_id, answer.outcome) == (
        "<",
        "result",
        ACCEPTED,
        "m-9",
        "ok",
    )
    assert (answer.canonical, answer.note) == ([3, "c-1", {"status": "Accepted"}], "")
    assert answer.latency is not None and answer.latency > 0
    for record in rig.records:
        facts = (record.exchange, record.charger, record.leg, record.wire, record.version, record.action)
        assert facts == ("c-1", "CP-1", "charger", "soap", "1.5", "Reset")


async def test_the_records_are_of_the_tenant_of_the_charger() -> None:
    async with rigged() as rig, bare_server(OK) as bare:
        charger = rig.charger(bare.url)
        charger.tenant = "acme"
        await rig.reset(charger)
    assert [record.tenant for record in rig.records] == ["acme", "acme"]


async def test_an_unpacked_answer_is_recorded() -> None:
    async with rigged() as rig, bare_server(http("200 OK", gzip.compress(ACCEPTED), "a/b", "Content-Encoding: gzip")) as bare:
        await rig.reset(rig.charger(bare.url))
    assert rig.records[1].raw == ACCEPTED


@pytest.mark.parametrize(
    ("response", "code", "raw"),
    [
        (http("400 No", said(FAULT)), "SecurityError", said(FAULT)),
        (http("200 OK", HTML, "text/html"), "GenericError", HTML),
    ],
)
async def test_an_error_is_recorded_with_its_reason(response: bytes, code: str, raw: bytes) -> None:
    async with rigged() as rig, bare_server(response) as bare:
        answer = await rig.reset(rig.charger(bare.url))
    record = rig.records[1]
    assert isinstance(answer, Error)
    assert (record.kind, record.outcome, record.note, record.raw) == ("error", code, answer.text, raw)
    assert record.canonical == [4, "c-1", code, answer.text, dict(answer.details)]


async def test_a_call_that_nobody_took_is_recorded_with_its_error() -> None:
    async with rigged() as rig:
        await rig.refused(f"http://127.0.0.1:{closed_port()}/")
    assert [(r.direction, r.kind, r.outcome) for r in rig.records] == [(">", "call", ""), ("<", "error", "GenericError")]

"""Callback addresses as weapons: whatever is written, only allowed addresses are dialled, and nothing secret goes there."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.chargers.address import callback_address
from gateway.chargers.callbacks import SoapCalls
from gateway.config import Callbacks, Config
from gateway.exchange import Ids
from gateway.roster import Charger, Effect
from tests.peers.bare import BareServer, http
from tests.peers.envelopes import SOAP12
from tests.peers.seen import DEADLINE
from translations.messages import Answer, Call, Error, Result, Side, Version

ALLOWED, FORBIDDEN = "127.0.0.2", "127.0.0.1"
BODY = "<resetResponse xmlns='urn://Ocpp/Cp/2012/06/'><status>Accepted</status></resetResponse>"
ACCEPTED = f"<s:Envelope xmlns:s='{SOAP12}'><s:Body>{BODY}</s:Body></s:Envelope>".encode()
BAIT = ("Set-Cookie: session=1; Path=/", 'WWW-Authenticate: Basic realm="charger"', "Authentication-Info: nextnonce=1")
OK = http("200 OK", ACCEPTED)


class Names:
    """Stands for the system's resolver: names have the addresses given, one list after the other; numbers are read as ever."""

    def __init__(self, **answers: list[list[str]]) -> None:
        self.answers = {name.replace("_", "."): lists for name, lists in answers.items()}
        self.asked: list[str] = []

    async def getaddrinfo(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked.append(host)
        if lists := self.answers.get(host):
            addresses = lists.pop(0) if len(lists) > 1 else lists[0]
            return [info for each in addresses for info in self._numeric(each, port)]
        return self._numeric(host, port)

    def _numeric(self, host: str, port: int) -> list[Any]:
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)


class Net:
    """A server at an allowed address, one at a forbidden address with the same port, and the gateway's client."""

    def __init__(self, config: Config) -> None:
        self.allowed, self.forbidden = BareServer(OK), BareServer(OK)
        self.calls = SoapCalls(config, lambda _: None, Ids())

    @property
    def port(self) -> int:
        return self.allowed.port

    async def reset(self, url: str) -> Answer:
        """Call a charger that has told this address."""
        charger = Charger("CP-1", "soap", Version.V15, callback=url)
        self.calls.adopt(charger, Effect.ARRIVED)
        assert charger.link is not None
        return await charger.link.call(Call("Reset", {"type": "Soft"}, "c-1", "CP-1", Side.CHARGE_POINT), DEADLINE)


@pytest.fixture
async def net() -> AsyncIterator[Net]:
    callbacks = Callbacks.model_validate({"allow": [f"{ALLOWED}/32"], "timeout": 2, "connect_timeout": 1})
    net = Net(Config(callbacks=callbacks))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(net.calls.close)
        net.allowed.port = net.forbidden.port = await stack.enter_async_context(_both(net))
        yield net


@asynccontextmanager
async def _both(net: Net) -> AsyncIterator[int]:
    """Both servers, on one port that is free at both addresses."""
    while True:
        allowed = await asyncio.start_server(net.allowed.meet, ALLOWED, 0)
        port = int(allowed.sockets[0].getsockname()[1])
        try:
            forbidden = await asyncio.start_server(net.forbidden.meet, FORBIDDEN, port)
        except OSError:  # somebody else has it there
            allowed.close()
            continue
        async with allowed, forbidden:
            yield port
        return


@pytest.fixture
def resolving(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Names]:
    """Has the event loop resolve names so."""

    def resolve(**answers: list[list[str]]) -> Names:
        names = Names(**answers)
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", names.getaddrinfo)
        return names

    return resolve


# --- names that turn


async def test_a_name_that_turns_is_dialled_only_where_it_was_checked(net: Net, resolving: Callable[..., Names]) -> None:
    names = resolving(charger_example=[[ALLOWED], [FORBIDDEN]])
    url = f"http://charger.example:{net.port}/"
    first, second = await net.reset(url), await net.reset(url)
    assert isinstance(first, Result)
    assert isinstance(second, Error)
    assert second.text == "charger unreachable: no address of charger.example lies in callbacks.allow"
    assert names.asked == ["charger.example"] * 2  # once for each call: what was checked is what was dialled
    assert (net.allowed.connections, net.forbidden.connections) == (1, 0)


@pytest.mark.parametrize(
    "answer", [[FORBIDDEN, ALLOWED], [ALLOWED, FORBIDDEN], ["::1", ALLOWED], [f"::ffff:{FORBIDDEN}", ALLOWED]], ids=" ".join
)
async def test_of_several_addresses_only_the_allowed_one_is_dialled(
    net: Net, resolving: Callable[..., Names], answer: list[str]
) -> None:
    resolving(charger_example=[answer])
    assert isinstance(await net.reset(f"http://charger.example:{net.port}/"), Result)
    assert (net.allowed.connections, net.forbidden.connections) == (1, 0)


async def test_where_the_allowed_address_does_not_answer_no_other_is_tried(net: Net, resolving: Callable[..., Names]) -> None:
    resolving(charger_example=[[ALLOWED, FORBIDDEN]])
    net.allowed.response = b""
    assert isinstance(await net.reset(f"http://charger.example:{net.port}/"), Error)
    assert net.forbidden.connections == 0


@pytest.mark.parametrize("address", ["169.254.169.254", "0.0.0.0", "::", "::1", "fe80::1", "64:ff9b::7f00:1", "::127.0.0.1"])
async def test_a_name_with_an_address_of_this_machine_is_refused(net: Net, resolving: Callable[..., Names], address: str) -> None:
    resolving(metadata_internal=[[address]])
    answer = await net.reset(f"http://metadata.internal:{net.port}/")
    assert isinstance(answer, Error)
    assert answer.text == "charger unreachable: no address of metadata.internal lies in callbacks.allow"


# --- addresses that read differently to different readers

DISGUISES = [
    "http://127.0.0.1:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://[0:0:0:0:0:ffff:127.0.0.1]:{port}/",
    "http://[::127.0.0.1]:{port}/",
    "http://[64:ff9b::127.0.0.1]:{port}/",
    "http://[::1%25lo]:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f000001:{port}/",
    "http://0x7f.1:{port}/",
    "http://017700000001:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://127.1:{port}/",
    "http://127.0.1:{port}/",
    "http://127.0.0.1.:{port}/",
    "http://127.0.0.1%2e:{port}/",
    "http://%31%32%37.0.0.1:{port}/",
    "http://①②⑦.⓪.⓪.①:{port}/",
    "http://１２７.０.０.１:{port}/",
    "http://١٢٧.٠.٠.١:{port}/",
    "http://127。0。0。1:{port}/",
    "http://127．0．0．1:{port}/",
    "http://localhost.:{port}/",
    "http://loc\u00adalhost:{port}/",
    "http://ｌｏｃａｌｈｏｓｔ:{port}/",
    "http://ip6-localhost:{port}/",
    "http://127.0.0.2@127.0.0.1:{port}/",
    "http://127.0.0.2:80@127.0.0.1:{port}/",
    "http://127.0.0.2%40127.0.0.1:{port}/",
    "http://127.0.0.2%2F@127.0.0.1:{port}/",
    "http://127.0.0.2\\@127.0.0.1:{port}/",
    "http://127.0.0.2\\.127.0.0.1:{port}/",
    "http://127.0.0.2\t@127.0.0.1:{port}/",
    "http://127.0.0.2\u2028@127.0.0.1:{port}/",
    "http://127.0.0.2?@127.0.0.1:{port}/",
    "http://127.0.0.2#@127.0.0.1:{port}/",
    "http://127.0.0.2:{port}@127.0.0.1:{port}/",
    "http:127.0.0.1:{port}/",
    "http:/127.0.0.1:{port}/",
    "http:///127.0.0.1:{port}/",
    "//127.0.0.1:{port}/",
    "127.0.0.1:{port}",
]


@pytest.mark.parametrize("disguise", DISGUISES)
async def test_no_disguise_has_a_forbidden_address_dialled(net: Net, resolving: Callable[..., Names], disguise: str) -> None:
    local = [[FORBIDDEN, "::1"]]
    resolving(localhost=local, localhost_=local, **{"ip6-localhost": local})
    url = callback_address(disguise.format(port=net.port), "", ALLOWED)
    answer = await net.reset(url)
    assert net.forbidden.connections == 0
    assert isinstance(answer, Result) == (net.allowed.connections == 1)


@pytest.mark.parametrize("disguise", DISGUISES)
async def test_no_disguise_in_the_configuration_or_the_roster_does_either(
    net: Net, resolving: Callable[..., Names], disguise: str
) -> None:
    resolving(localhost=[[FORBIDDEN]], localhost_=[[FORBIDDEN]], **{"ip6-localhost": [[FORBIDDEN]]})
    await net.reset(disguise.format(port=net.port))
    assert net.forbidden.connections == 0


@pytest.mark.parametrize(
    "address",
    [
        *("ftp://127.0.0.2/", "file:///etc/hostname", "gopher://127.0.0.2:70/_x", "ws://127.0.0.2/", "data:,x", "javascript:x"),
        *(
            "http+unix://%2Frun%2Fx.sock/",
            "unix:///run/x.sock",
            "dict://127.0.0.2:11211/",
            "jar:http://127.0.0.2!/",
            "HTTPX://127.0.0.2/",
        ),
        *(
            "http://127.0.0.2:0x50/",
            "http://127.0.0.2:٨٠٨٠/",
            "http://127.0.0.2:-1/",
            "http://127.0.0.2:65536/",
            "http://127.0.0.2:1e3/",
        ),
        *(
            "http://u@127.0.0.2/",
            "http://u:p@127.0.0.2/",
            "http://:p@127.0.0.2/",
            "http://127.0.0.2/\r\nX: y",
            "http://127.0.0.2/\x00",
        ),
    ],
)
def test_what_is_no_plain_http_address_is_of_no_use(address: str) -> None:
    assert callback_address(address, "", ALLOWED) == ""


@pytest.mark.parametrize("port", [0, 1, 65535])
async def test_odd_ports_are_errors_and_nothing_else(net: Net, port: int) -> None:
    answer = await net.reset(f"http://{ALLOWED}:{port}/")
    assert isinstance(answer, Error)
    assert answer.text.startswith("charger unreachable: ")


# --- what goes there, and what comes back


async def heard(net: Net, number: int) -> set[str]:
    """The names of the headers of a request."""
    head = (await net.allowed.visits.wait(since=number)).partition(b"\r\n\r\n")[0].decode()
    return {line.partition(":")[0].lower() for line in head.split("\r\n")[1:]}


@pytest.mark.parametrize("status", ["200 OK", "401 Unauthorized", "407 Proxy Authentication Required"])
async def test_no_cookie_and_no_password_ever_leaves(
    net: Net, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, status: str
) -> None:
    (tmp_path / "netrc").write_text(f"machine {ALLOWED} login charger password hush\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    net.allowed.response = http(status, ACCEPTED, "application/soap+xml", *BAIT)
    for number in range(2):
        await net.reset(f"http://{ALLOWED}:{net.port}/")
        names = await heard(net, number)
        assert names == {"host", "connection", "accept-encoding", "user-agent", "accept", "content-type", "content-length"}
    assert len(net.allowed.visits) == 2


@pytest.mark.parametrize("status", ["300 Choose", "301 Moved", "302 Found", "303 See Other", "307 Again", "308 Moved", "401 No"])
@pytest.mark.parametrize("header", ["Location: {}", "Refresh: 0; url={}", "Content-Location: {}", "Link: <{}>; rel=next"])
async def test_nobody_is_sent_elsewhere(net: Net, status: str, header: str) -> None:
    net.allowed.response = http(status, b"", "text/plain", header.format(f"http://{FORBIDDEN}:{net.port}/"))
    assert isinstance(await net.reset(f"http://{ALLOWED}:{net.port}/"), Error)
    assert (net.allowed.connections, net.forbidden.connections) == (1, 0)


@pytest.mark.parametrize(
    "response",
    [
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000,
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n<a/>",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n<a/>",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n<a/>",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 2_000,
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n<a/>",
        b"\x16\x03\x01" + bytes(1000),
        bytes(100_000),
    ],
    ids=["headers", "a header", "a length", "no length", "a chunk", "continues", "two lengths", "TLS", "NUL"],
)
async def test_a_hostile_answer_is_an_error(net: Net, response: bytes) -> None:
    net.allowed.response = response
    answer = await net.reset(f"http://{ALLOWED}:{net.port}/")
    assert isinstance(answer, Error)
    assert len(answer.text) <= 255
    assert answer.text.isprintable()

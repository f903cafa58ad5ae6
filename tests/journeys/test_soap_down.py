"""A JSON CSMS commands SOAP chargers made with spyne: every command, and every way in which one can fail."""

import asyncio
import socket
import time
from typing import Any

import pytest
from ocpp.exceptions import OCPPError

from tests.conftest import ChargePoints, OpenGateway
from tests.journeys.commands import COMMANDS, SECURITY, Command
from tests.peers.bare import bare_server, closed_port, http
from tests.peers.csms import Csms
from tests.peers.envelopes import SOAP12, envelope, post
from tests.peers.stack16 import Stack16, exact, properly

RESET = {"type": "Soft"}
BOTH = [(version, command) for version in ("1.2", "1.5", "1.6") for command in COMMANDS]
SUPPORTED = [pair for pair in BOTH if pair[0] in pair[1].versions]
LACKING = [pair for pair in BOTH if pair[0] not in pair[1].versions] + [("1.6", command) for command in SECURITY]


def name(value: Any) -> str:
    return value.action if isinstance(value, Command) else str(value)


async def appear(port: int, callback: str, version: str = "1.6") -> None:
    """The charger CP-1 says that it is there, and where it can be called."""
    response = await post(port, envelope(version=version, sender=callback))
    assert response.status == 200, response.body


async def refusal(csms: Csms, action: str = "Reset", payload: dict[str, Any] = RESET) -> OCPPError:
    """The CALLERROR that answers a command to CP-1."""
    with pytest.raises(OCPPError) as caught:
        await csms.command("CP-1", action, payload)
    return caught.value


async def test_no_version_has_more_or_fewer_commands_than_its_contract() -> None:
    assert [len([v for v, _ in SUPPORTED if v == version]) for version in ("1.2", "1.5", "1.6")] == [9, 15, 19]


@pytest.mark.parametrize("version", ["1.2", "1.5", "1.6"])
async def test_every_command_reaches_the_charger_and_its_answer_the_csms(
    port: int, csms: Csms, charge_point: ChargePoints, version: str
) -> None:
    point = charge_point(version)
    await appear(port, point.url, version)
    for command in [command for v, command in SUPPORTED if v == version]:
        point.answer(command.action, command.given.get(version, command.answered))
        result = await csms.command("CP-1", command.action, command.said)
        heard = command.heard.get(version, command.said)
        assert (result, point.heard[-1]) == (command.answered, (command.action, "CP-1", heard))


@pytest.mark.parametrize("version", ["1.2", "1.5", "1.6"])
async def test_what_the_version_lacks_is_not_supported_and_the_charger_hears_nothing(
    port: int, csms: Csms, charge_point: ChargePoints, version: str
) -> None:
    point = charge_point(version)
    await appear(port, point.url, version)
    lacking = [command for v, command in LACKING if v == version]
    codes = [(await refusal(csms, command.action, command.said)).code for command in lacking]
    assert codes == ["NotSupported"] * len(lacking)
    assert point.heard == []


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        ("Client.SecurityError", "SecurityError"),
        ("Client.IdentityMismatch", "GenericError"),
        ("Client.ProtocolError", "ProtocolError"),
        ("Server.InternalError", "InternalError"),
        ("Server.NotSupported", "NotSupported"),
        ("Client.SomethingElse", "GenericError"),
        ("Client", "GenericError"),
        ("Server", "InternalError"),
    ],
)
async def test_a_fault_of_the_charger_is_a_callerror(
    port: int, csms: Csms, charge_point: ChargePoints, fault: str, code: str
) -> None:
    point = charge_point("1.5")
    await appear(port, point.url, "1.5")
    point.fault = (fault, "the door is open")
    error = await refusal(csms)
    assert (error.code, error.description) == (code, "the door is open")
    assert error.details["subcode"] == fault.partition(".")[2]


CONF = '<resetResponse xmlns="urn://Ocpp/Cp/2015/10/"><status>{}</status></resetResponse>'


def answer(body: str) -> bytes:
    return f'<s:Envelope xmlns:s="{SOAP12}"><s:Body>{body}</s:Body></s:Envelope>'.encode()


REQUEST = '<resetRequest xmlns="urn://Ocpp/Cp/2015/10/"><type>Soft</type></resetRequest>'
HTML = b"<!DOCTYPE html><html><body><h1>Oops</h1></body></html>"
ACCEPTED = answer(CONF.format("Accepted"))

FAILURES = {
    "401": (http("401 Unauthorized", b"", "text/plain"), "SecurityError"),
    "403 with a page": (http("403 Forbidden", HTML, "text/html"), "SecurityError"),
    "404": (http("404 Not Found", b"no\n", "text/plain"), "NotSupported"),
    "404 with a page": (http("404 Not Found", HTML, "text/html"), "NotSupported"),
    "500 with a page": (http("500 Internal Server Error", HTML, "text/html"), "GenericError"),
    "502 without a body": (http("502 Bad Gateway", b"", "text/plain"), "GenericError"),
    "a page": (http("200 OK", HTML, "text/html"), "GenericError"),
    "nothing": (http("200 OK", b""), "GenericError"),
    "half an envelope": (http("200 OK", ACCEPTED[:80]), "GenericError"),
    "fewer bytes than promised": (http("200 OK", ACCEPTED).replace(b"Length: ", b"Length: 9"), "GenericError"),
    "no HTTP": (b"\x00\x01\x02\r\n\r\n", "GenericError"),
    "an unknown status": (http("200 OK", answer(CONF.format("Perhaps"))), "InternalError"),
    "no status": (http("200 OK", answer(CONF.format("").replace("<status></status>", ""))), "InternalError"),
    "another answer": (http("200 OK", answer(CONF.format("Accepted").replace("reset", "clearCache"))), "ProtocolError"),
    "a request": (http("200 OK", answer(REQUEST)), "ProtocolError"),
    "two answers": (http("200 OK", answer(CONF.format("Accepted") * 2)), "GenericError"),
    "too much": (http("200 OK", ACCEPTED + b" " * 5000), "GenericError"),
    "an unknown coding": (http("200 OK", ACCEPTED, "text/xml", "Content-Encoding: br"), "GenericError"),
}


@pytest.mark.parametrize("failure", FAILURES)
async def test_what_is_no_answer_is_a_callerror(open_gateway: OpenGateway, csms: Csms, failure: str) -> None:
    response, code = FAILURES[failure]
    gateway = await open_gateway(server={"body_limit": 4096})
    async with bare_server(response) as charger:
        await appear(gateway.ports[0], charger.url)
        error = await refusal(csms)
    assert error.code == code
    assert len(charger.visits) == 1


async def test_a_coding_that_was_not_applied_does_no_harm(port: int, csms: Csms) -> None:
    async with bare_server(http("200 OK", ACCEPTED, "text/xml", "Content-Encoding: deflate")) as charger:
        await appear(port, charger.url)
        assert await csms.command("CP-1", "Reset", RESET) == {"status": "Accepted"}


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 200 OK\r\n", http("200 OK", ACCEPTED)[:-20]], ids=["all", "after a line", "mid-body"]
)
async def test_silence_is_an_error_by_the_deadline(open_gateway: OpenGateway, csms: Csms, said: bytes) -> None:
    gateway = await open_gateway(callbacks={"timeout": 0.3})
    async with bare_server(said, hold=True) as charger:
        await appear(gateway.ports[0], charger.url)
        started = time.monotonic()
        error = await refusal(csms)
    assert error.code == "GenericError"
    assert "no answer in" in error.description
    assert 0.3 <= time.monotonic() - started < 2


async def test_a_charger_that_is_not_there_is_unreachable_at_once(port: int, csms: Csms) -> None:
    await appear(port, f"http://127.0.0.1:{closed_port()}/")
    error = await refusal(csms)
    assert (error.code, error.description) == ("GenericError", "charger unreachable: connection refused")


async def test_a_charger_without_an_address_is_unreachable(port: int, csms: Csms) -> None:
    await appear(port, "")
    error = await refusal(csms)
    assert error.code == "GenericError"
    assert error.description.startswith("charger unreachable")


async def test_commands_wait_for_each_other(port: int, csms: Csms, charge_point: ChargePoints) -> None:
    point = charge_point("1.6")
    await appear(port, point.url)
    charger = await csms.charger("CP-1")
    results = await asyncio.gather(*(charger.make("Reset", RESET) for _ in range(5)))
    assert results == [{"status": "Accepted"}] * 5


async def test_a_command_may_cross_a_call_of_the_charger(port: int, csms: Csms, charge_point: ChargePoints) -> None:
    async def commanding(end: Stack16, raw: str) -> None:
        if exact(raw)[0] == 2:
            await end.make("Reset", RESET)
        await properly(end, raw)

    csms.manner = commanding
    point = charge_point("1.6")
    await appear(port, point.url)
    assert point.heard == [("Reset", "CP-1", RESET)]


async def test_without_allowed_networks_nobody_is_called_back(open_gateway: OpenGateway, csms: Csms) -> None:
    gateway = await open_gateway(callbacks={"allow": ()})
    async with bare_server(http("200 OK", ACCEPTED)) as charger:
        await appear(gateway.ports[0], charger.url)
        error = await refusal(csms)
    assert (error.code, charger.connections) == ("GenericError", 0)
    assert "callbacks.allow" in error.description


async def test_a_charger_that_moves_is_called_at_its_new_address(port: int, csms: Csms) -> None:
    async with bare_server(http("200 OK", ACCEPTED)) as old, bare_server(http("200 OK", ACCEPTED)) as new:
        await appear(port, old.url)
        await appear(port, new.url)
        await csms.command("CP-1", "Reset", RESET)
    assert (old.connections, new.connections) == (0, 1)


ELSEWHERE = ("10.0.0.0/8", "::1/128")
LOOPBACKS = ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::ffff:127.0.0.1]", "127.0.0.1."]
DISGUISED = ["①②⑦.0.0.1", "１２７.0.0.1", "127。0。0。1", "%31%32%37.0.0.1", "charger.example", "10.0.0.1@127.0.0.1", "0", "[::]"]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name server that calls the loopback charger.example."""
    real = socket.getaddrinfo

    def getaddrinfo(host: str, *more: Any, **options: Any) -> Any:
        return real("127.0.0.1" if host == "charger.example" else host, *more, **options)

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)


@pytest.mark.usefixtures("names")
async def test_no_address_outside_the_allowed_networks_is_ever_dialled(open_gateway: OpenGateway, csms: Csms) -> None:
    gateway = await open_gateway(callbacks={"allow": ELSEWHERE, "connect_timeout": 0.3, "timeout": 0.5})
    async with bare_server(http("200 OK", ACCEPTED)) as charger:
        for host in LOOPBACKS + DISGUISED:
            await appear(gateway.ports[0], f"http://{host}:{charger.port}/")
            assert (host, (await refusal(csms)).code) == (host, "GenericError")
    assert charger.connections == 0


@pytest.mark.usefixtures("names")
async def test_a_name_in_the_allowed_networks_is_dialled(port: int, csms: Csms) -> None:
    async with bare_server(http("200 OK", ACCEPTED)) as charger:
        await appear(port, f"http://charger.example:{charger.port}/")
        assert await csms.command("CP-1", "Reset", RESET) == {"status": "Accepted"}


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "307 Temporary Redirect", "308 Permanent Redirect"])
async def test_redirects_are_not_followed(port: int, csms: Csms, status: str) -> None:
    async with bare_server(http("200 OK", ACCEPTED)) as other, bare_server(b"") as charger:
        charger.response = http(status, b"", "text/plain", f"Location: {other.url}")
        await appear(port, charger.url)
        error = await refusal(csms)
    assert error.code == "GenericError"
    assert (charger.connections, other.connections) == (1, 0)

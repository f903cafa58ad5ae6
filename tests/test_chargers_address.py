"""gateway.chargers.address: which address a charger is called back at, and which may be dialled."""

import asyncio
import ipaddress
import socket
from typing import Any

import pytest

from gateway.chargers.address import AllowedResolver, NotAllowed, allowed, callback_address, source_address

PEER = "192.0.2.7:41000"
SOURCE = PEER.rpartition(":")[0]
ANONYMOUS = "http://www.w3.org/2005/08/addressing/anonymous"
URL = "http://192.0.2.7:8080/ocpp"


# --- what a charger says of itself


@pytest.mark.parametrize(
    ("sender", "address"),
    [
        (URL, URL),
        ("HTTPS://charger.example/", "HTTPS://charger.example/"),
        ("192.0.2.7:8080/ocpp", URL),
        ("http://[2001:db8::7]:8080/", "http://[2001:db8::7]:8080/"),
        ("http://10.0.0.5/", "http://10.0.0.5/"),
        # only the charger itself can reach these
        ("http://:8082/", "http://192.0.2.7:8082/"),
        ("http://localhost:8080/CP?x=1", "http://192.0.2.7:8080/CP?x=1"),
        ("http://LocalHost:8080/", "http://192.0.2.7:8080/"),
        ("http://127.0.0.1:8080", "http://192.0.2.7:8080"),
        ("https://0.0.0.0:28080//a/", "https://192.0.2.7:28080//a/"),
        ("http://[::1]:8080/", "http://192.0.2.7:8080/"),
        ("http://[::]:8080/", "http://192.0.2.7:8080/"),
        # no use
        ("", ""),
        (ANONYMOUS, ""),
        ("http://schemas.xmlsoap.org/ws/2004/08/addressing/role/Anonymous", ""),
        ("http://localhost/", ""),
        ("http://", ""),
        ("ftp://192.0.2.7/", ""),
        ("file:///etc/passwd", ""),
        ("urn://192.0.2.7/", ""),
        ("http://me:hush@192.0.2.7/", ""),
        ("http://me@192.0.2.7/", ""),
        ("http://192.0.2.7:http/", ""),
        ("http://192.0.2.7:99999/", ""),
        ("http://[192.0.2.7/", ""),
        ("http://192.0.2.7/a b", ""),
        ("http://192.0.2.7/\r\nHost: x", ""),
        ("http://192.0.2.7/" + "a" * 1000, ""),
    ],
)
def test_what_a_charger_says_of_itself_is_made_usable(sender: str, address: str) -> None:
    assert callback_address(sender, "", SOURCE) == address


def test_from_wins_over_reply_to() -> None:
    assert callback_address(URL, "http://other/", SOURCE) == URL


@pytest.mark.parametrize("sender", ["", ANONYMOUS, "ftp://192.0.2.7/"])
def test_reply_to_counts_where_from_is_of_no_use(sender: str) -> None:
    assert callback_address(sender, URL, SOURCE) == URL


def test_the_address_of_an_ipv6_peer_keeps_its_brackets() -> None:
    assert callback_address("http://localhost:8080/", "", "[2001:db8::7]") == "http://[2001:db8::7]:8080/"


def test_nobody_knows_where_a_peer_without_an_address_is() -> None:
    assert callback_address("http://localhost:8080/", "", "") == source_address("", 8080, "/") == ""


@pytest.mark.parametrize(("peer", "host"), [(PEER, "192.0.2.7"), ("[2001:db8::7]:4", "[2001:db8::7]")])
def test_the_source_address_has_a_configured_port_and_path(peer: str, host: str) -> None:
    assert source_address(peer, 8080, "/ocpp") == f"http://{host}:8080/ocpp"


# --- what may be dialled

NETWORKS = [ipaddress.ip_network(text) for text in ("10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32")]


@pytest.mark.parametrize(
    ("address", "lies_in_them"),
    [
        ("10.1.2.3", True),
        ("192.0.2.7", True),
        ("2001:db8::1", True),
        ("::ffff:10.1.2.3", True),  # IPv4-mapped
        ("::ffff:a01:203", True),
        ("11.0.0.1", False),
        ("192.0.2.8", False),
        ("127.0.0.1", False),
        ("2001:db9::1", False),
        ("::1", False),
        ("::ffff:127.0.0.1", False),
        ("::10.1.2.3", False),  # IPv4-compatible, which nobody routes
        ("fe80::1%eth0", False),
    ],
)
def test_an_address_may_be_dialled_if_a_network_holds_it(address: str, lies_in_them: bool) -> None:
    assert allowed(address, NETWORKS) is lies_in_them


def test_without_networks_nothing_may_be_dialled() -> None:
    assert not allowed("127.0.0.1", [])


def test_a_mapped_address_does_not_slip_into_a_network_of_ipv6() -> None:
    assert not allowed("::ffff:127.0.0.1", [ipaddress.ip_network("::/0")])


# --- names


async def resolved(monkeypatch: pytest.MonkeyPatch, *addresses: str) -> list[str]:
    """What is let out of a name with these addresses."""

    async def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        kinds = [socket.AF_INET6 if ":" in address else socket.AF_INET for address in addresses]
        return [(kind, 1, 6, "", (address, port)) for kind, address in zip(kinds, addresses, strict=True)]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    results = await AllowedResolver(NETWORKS).resolve("charger.example", 8080)
    assert {(r["hostname"], r["port"], r["flags"]) for r in results} == {("charger.example", 8080, socket.AI_NUMERICHOST)}
    return [r["host"] for r in results]


async def test_a_name_gives_its_allowed_addresses_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    found = await resolved(monkeypatch, "127.0.0.1", "10.0.0.1", "::1", "2001:db8::1")
    assert found == ["10.0.0.1", "2001:db8::1"]


async def test_a_name_with_other_addresses_alone_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NotAllowed, match=r"^no address of charger\.example lies in callbacks\.allow$"):
        await resolved(monkeypatch, "127.0.0.1", "::ffff:169.254.169.254")


async def test_a_name_of_this_machine_is_resolved_by_the_system() -> None:
    resolver = AllowedResolver([ipaddress.ip_network("127.0.0.0/8")])
    assert {r["host"] for r in await resolver.resolve("localhost", 80)} == {"127.0.0.1"}
    await resolver.close()

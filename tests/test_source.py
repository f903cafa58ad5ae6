"""gateway.source: where a visitor comes from, whatever it writes into headers."""

from collections.abc import MutableMapping
from ipaddress import ip_network
from typing import Any

import pytest

from gateway.source import Sources, host_of, neighbourhood, within

BEHIND = Sources([ip_network("10.0.0.0/8"), ip_network("2001:db8:a::/48")])
PROXY = ("10.0.0.1", 4000)


def scope(client: tuple[str, int] | None = PROXY, **headers: str) -> MutableMapping[str, Any]:
    named = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return {"type": "http", "client": client, "headers": named}


def forwarded(*values: str) -> MutableMapping[str, Any]:
    return {"type": "http", "client": PROXY, "headers": [(b"forwarded", value.encode()) for value in values]}


@pytest.mark.parametrize(
    ("client", "source"),
    [
        (("192.0.2.7", 41000), "192.0.2.7:41000"),
        (("2001:db8::7", 4), "[2001:db8::7]:4"),
        (("::ffff:192.0.2.7", 4), "[::ffff:192.0.2.7]:4"),
        (None, ":0"),
    ],
)
def test_without_trusted_proxies_the_peer_is_the_source(client: tuple[str, int] | None, source: str) -> None:
    assert Sources().of(scope(client, x_forwarded_for="198.51.100.1", forwarded="for=198.51.100.2")) == source


def test_somebody_who_is_no_trusted_proxy_is_not_believed() -> None:
    assert BEHIND.of(scope(("192.0.2.7", 5), x_forwarded_for="198.51.100.1")) == "192.0.2.7:5"


def test_a_trusted_proxy_that_says_nothing_is_the_source() -> None:
    assert BEHIND.of(scope()) == "10.0.0.1:4000"


def test_a_trusted_proxy_in_ipv6_clothing_is_trusted() -> None:
    assert BEHIND.of(scope(("::ffff:10.0.0.1", 1), x_forwarded_for="192.0.2.7")) == "192.0.2.7:0"


@pytest.mark.parametrize(
    ("value", "source"),
    [
        ("192.0.2.7", "192.0.2.7:0"),
        ("198.51.100.1, 192.0.2.7", "192.0.2.7:0"),  # the left one was written by the visitor
        ("198.51.100.1, 192.0.2.7, 10.2.3.4", "192.0.2.7:0"),
        ("10.9.9.9,192.0.2.7", "192.0.2.7:0"),
        ("10.9.9.9, 10.2.3.4", "10.9.9.9:0"),
        ("192.0.2.7:5555", "192.0.2.7:5555"),  # Azure
        ("2001:db8::7", "[2001:db8::7]:0"),
        ("[2001:db8::7]:5555", "[2001:db8::7]:5555"),
        ("2001:db8:a::1", "[2001:db8:a::1]:0"),
        ("192.0.2.7, 2001:db8:a::1", "192.0.2.7:0"),
        ("::ffff:192.0.2.7", "192.0.2.7:0"),
        ("<script>, 192.0.2.7", "192.0.2.7:0"),
        (" , 192.0.2.7 , ", "192.0.2.7:0"),
        ("192.0.2.7:99999", "192.0.2.7:0"),
    ],
)
def test_the_rightmost_that_is_no_trusted_proxy_is_the_source(value: str, source: str) -> None:
    assert BEHIND.of(scope(x_forwarded_for=value)) == source


@pytest.mark.parametrize(
    "value", ["unknown", "198.51.100.1, unknown", "", "fe80::1%x", "192.0.2.7x", "1.2.3", "\xff", "a" * 60_000]
)
def test_what_a_proxy_hides_nobody_knows(value: str) -> None:
    assert BEHIND.of(scope(x_forwarded_for=value)) == ":0"


@pytest.mark.parametrize(
    ("value", "source"),
    [
        # RFC 7239, 4
        ("for=192.0.2.43, for=198.51.100.17", "198.51.100.17:0"),
        ("for=192.0.2.60;proto=http;by=203.0.113.43", "192.0.2.60:0"),
        ('For="[2001:db8:cafe::17]:4711"', "[2001:db8:cafe::17]:4711"),
        ('for="192.0.2.7:5555" ; host=x', "192.0.2.7:5555"),
        ('for="192.0.2.7:5555";host="a,b;for=198.51.100.1"', "192.0.2.7:5555"),
        ('for=192.0.2.7;host="\\",for=198.51.100.1"', "192.0.2.7:0"),
        ("for=198.51.100.1, for=192.0.2.7, for=10.1.1.1", "192.0.2.7:0"),
        ("for=192.0.2.7;", "192.0.2.7:0"),
        # hidden, or not as it is written
        ("for=_hidden", ":0"),
        ("for=198.51.100.1, for=unknown", ":0"),
        ("for=198.51.100.1, proto=http", ":0"),
        ('for="198.51.100.1, for=192.0.2.7', ":0"),
        ("192.0.2.7", ":0"),
        ("", ":0"),
    ],
)
def test_forwarded_is_read_as_the_rfc_has_it(value: str, source: str) -> None:
    assert BEHIND.of(forwarded(value)) == source


def test_lines_of_one_header_are_one_list() -> None:
    assert BEHIND.of(forwarded("for=198.51.100.1", "for=192.0.2.7")) == "192.0.2.7:0"


def test_two_headers_that_agree_are_believed() -> None:
    assert BEHIND.of(scope(forwarded='for="192.0.2.7:5"', x_forwarded_for="192.0.2.7")) == "192.0.2.7:5"


def test_of_two_headers_that_differ_neither_is_believed() -> None:
    assert BEHIND.of(scope(forwarded="for=192.0.2.7", x_forwarded_for="198.51.100.1")) == ":0"


@pytest.mark.parametrize("unit", ['"', '\\"', '"\\"', "for=", "a=;", "a=,", " ", "=", '="'])
def test_a_long_header_is_read_in_a_moment(unit: str) -> None:
    assert BEHIND.of(forwarded(unit * (60_000 // len(unit)))) == ":0"


@pytest.mark.parametrize(
    ("source", "one"),
    [
        ("192.0.2.7:5", "192.0.2.7"),
        ("[::ffff:192.0.2.7]:5", "192.0.2.7"),
        ("[2001:db8:1:2:3:4:5:6]:5", "2001:db8:1:2::"),
        ("[2001:db8:1:2::9]:5", "2001:db8:1:2::"),
        (":0", ""),
    ],
)
def test_an_ipv6_network_of_64_bits_counts_as_one_source(source: str, one: str) -> None:
    assert neighbourhood(source) == one


@pytest.mark.parametrize(
    ("source", "inside"),
    [("10.1.2.3:4", True), ("[::ffff:10.1.2.3]:4", True), ("11.1.2.3:4", False), ("[2001:db8::1]:4", False), (":0", False)],
)
def test_a_source_lies_in_a_network_or_not(source: str, inside: bool) -> None:
    assert within(host_of(source), [ip_network("10.0.0.0/8")]) == inside

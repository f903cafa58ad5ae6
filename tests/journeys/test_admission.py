"""Who may come: tokens, tenants and identities in paths, Basic, certificates, networks, rates, on both wires."""

import re
import ssl
import tomllib
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from gateway.app import Gateway
from gateway.config import Admission, Bounds, Tls
from tests.conftest import OpenGateway
from tests.journeys.log import passed
from tests.peers.csms import Csms
from tests.peers.envelopes import SOAP_TYPE, Response, envelope, post

KEY = "0001020304050607FFFFFFFFFFFFFFFFFFFFFFFF"
CHARGERS = f"""
["CP-1"]
password = "{KEY}"
["CP-2"]
token = "T-2"
["CP-3"]
networks = ["192.0.2.0/24"]
["CP-4"]
tenant = "north"
["CP-5"]
certificate = "{{identity}}"
["CP-6"]
"""

Guarded = Callable[..., Any]


@pytest.fixture
def guarded(open_gateway: OpenGateway, tmp_path: Path) -> Guarded:
    """Opens gateways with the chargers above; `mode` is that of the admission."""
    file = tmp_path / "chargers.toml"
    file.write_text(CHARGERS)

    async def open_one(mode: Any = "known", server: dict[str, Any] | None = None, **sections: Any) -> Gateway:
        admission = Admission(mode=mode, file=file, slow_down=0.01)
        return await open_gateway(server=server, admission=admission, **sections)

    return open_one


def basic(user: str, password: bytes) -> str:
    return "Basic " + b64encode(user.encode() + b":" + password).decode()


async def status_of_handshake(port: int, path: str, **options: Any) -> int:
    scheme = "wss" if "ssl" in options else "ws"
    try:
        async with connect(f"{scheme}://localhost:{port}{path}", subprotocols=[Subprotocol("ocpp1.6")], **options):
            return 101
    except InvalidStatus as refused:
        return refused.response.status_code


def refused(response: Response) -> tuple[int, str]:
    return response.status, response.fault.subcode.rpartition("}")[2]


async def test_who_is_not_known_is_told_so_on_each_wire(guarded: Guarded) -> None:
    port = (await guarded()).ports[0]
    assert refused(await post(port, envelope(identity="CP-9"))) == (400, "SecurityError")
    assert await status_of_handshake(port, "/ocpp/CP-9") == 404  # OCPP-J 1.6, 3.2


async def test_who_is_known_by_name_comes_in_on_each_wire(guarded: Guarded, csms: Csms) -> None:
    port = (await guarded()).ports[0]
    assert (await post(port, envelope(identity="cp-6"))).status == 200
    assert await status_of_handshake(port, "/ocpp/CP-6") == 101


async def test_a_refusal_is_in_the_traffic_log_and_nobody_was_asked(guarded: Guarded, csms: Csms) -> None:
    gateway = await guarded()
    await post(gateway.ports[0], envelope(identity="CP-9"))
    (record,) = [row for row in await passed(gateway) if row.kind == "refused"]
    assert (record.charger, record.outcome) == ("CP-9", "SecurityError")
    assert gateway.roster.get("CP-9") is None


@pytest.mark.parametrize("password", [KEY.encode(), KEY.lower().encode(), bytes.fromhex(KEY)], ids=["text", "lower", "bytes"])
async def test_a_password_comes_as_text_or_as_the_bytes_it_stands_for(guarded: Guarded, password: bytes) -> None:
    port = (await guarded()).ports[0]
    shown = {"Authorization": basic("CP-1", password)}
    assert (await post(port, envelope(identity="CP-1"), **shown)).status == 200
    assert await status_of_handshake(port, "/ocpp/CP-1", additional_headers=shown) == 101


@pytest.mark.parametrize(
    "shown", [{}, {"Authorization": basic("CP-1", b"guess")}, {"Authorization": basic("CP-6", KEY.encode())}]
)
async def test_without_its_password_a_charger_is_asked_for_it(guarded: Guarded, shown: dict[str, str]) -> None:
    port = (await guarded()).ports[0]
    assert refused(await post(port, envelope(identity="CP-1"), **shown)) == (401, "SecurityError")
    assert await status_of_handshake(port, "/ocpp/CP-1", additional_headers=shown) == 401


async def test_the_challenge_says_what_is_wanted(guarded: Guarded) -> None:
    url = f"http://127.0.0.1:{(await guarded()).ports[0]}/soap"
    async with aiohttp.ClientSession() as http, http.post(url, data=envelope(), headers={"Content-Type": SOAP_TYPE}) as response:
        assert response.headers["WWW-Authenticate"] == 'Basic realm="ocpp"'


async def test_a_charger_may_be_bound_to_a_token_in_its_path(guarded: Guarded) -> None:
    paths = {"soap_paths": ["/soap/{token}"], "json_paths": ["/ocpp/{token}/{identity}"]}
    port = (await guarded(server=paths)).ports[0]
    assert (await post(port, envelope(identity="CP-2"), "/soap/T-2")).status == 200
    assert refused(await post(port, envelope(identity="CP-2"), "/soap/T-3")) == (400, "SecurityError")
    assert await status_of_handshake(port, "/ocpp/T-2/CP-2") == 101
    assert await status_of_handshake(port, "/ocpp/T-3/CP-2") == 403


async def test_a_charger_may_be_bound_to_a_tenant(guarded: Guarded) -> None:
    paths = {"soap_paths": ["/soap/{tenant}"], "json_paths": ["/ocpp/{tenant}/{identity}"]}
    port = (await guarded(server=paths)).ports[0]
    assert (await post(port, envelope(identity="CP-4"), "/SOAP/North")).status == 200
    assert await status_of_handshake(port, "/ocpp/south/CP-4") == 403


async def test_a_charger_may_be_bound_to_networks(guarded: Guarded) -> None:
    port = (await guarded()).ports[0]
    assert refused(await post(port, envelope(identity="CP-3"))) == (400, "SecurityError")
    assert await status_of_handshake(port, "/ocpp/CP-3") == 403


async def test_a_trusted_proxy_says_where_a_charger_comes_from(guarded: Guarded) -> None:
    port = (await guarded(server={"trusted_proxies": ["127.0.0.0/8"]})).ports[0]
    assert (await post(port, envelope(identity="CP-3"), X_Forwarded_For="192.0.2.7")).status == 200


async def test_anybody_else_does_not(guarded: Guarded) -> None:
    port = (await guarded()).ports[0]
    assert (await post(port, envelope(identity="CP-3"), X_Forwarded_For="192.0.2.7")).status == 400


async def test_the_path_may_say_who_it_is_whatever_the_header_says(guarded: Guarded) -> None:
    gateway = await guarded(server={"soap_paths": ["/soap/{identity}"]})
    assert (await post(gateway.ports[0], envelope(identity="PROD"), "/soap/CP-6")).status == 200
    (record,) = [row for row in await passed(gateway) if row.kind == "call" and row.leg == "charger"]
    assert record.charger == "CP-6"
    assert [r.rule for r in record.remarks] == ["doors.identity"]


async def test_the_addresses_of_the_page_lead_where_it_says(guarded: Guarded, csms: Csms) -> None:
    page = (Path(__file__).parents[2] / "docs" / "howto" / "know-your-chargers.md").read_text("utf-8")
    (example,) = re.findall(r"(?ms)^```toml\n(\[server\]\nsoap_paths.*?)^```", page)
    port = (await guarded(server=tomllib.loads(example)["server"])).ports[0]
    assert (await post(port, envelope(identity="PROD"), "/soap/at/CP-6")).status == 200
    assert (await post(port, envelope(identity="CP-2"), "/soap/acme/T-2")).status == 200
    assert (await post(port, envelope(identity="CP-6"), "/soap/CentralSystemService")).status == 200
    assert await status_of_handshake(port, "/ocpp/acme/T-2/CP-2") == 101


@pytest.mark.parametrize("almost", ["CP-6%20", "x%2F..%2FCP-6", "CP-6%E2%80%8B"])
async def test_who_is_almost_a_known_charger_is_not_let_in_as_another(guarded: Guarded, almost: str) -> None:
    port = (await guarded("open")).ports[0]
    assert await status_of_handshake(port, f"/ocpp/{almost}") == 404


async def test_whoever_is_new_is_learnt(guarded: Guarded, tmp_path: Path) -> None:
    gateway = await guarded("learn")
    assert (await post(gateway.ports[0], envelope(identity="CP-9"))).status == 200
    await gateway.stop()
    assert '["CP-9"]' in (tmp_path / "chargers.toml").read_text()


async def test_a_rate_makes_a_charger_wait_or_refuses_it(guarded: Guarded) -> None:
    bounds = Bounds(charger_rate=0.001, charger_burst=2)
    port = (await guarded(bounds=bounds)).ports[0]
    statuses = [(await post(port, envelope(identity="CP-6"))).status for _ in range(3)]
    assert statuses == [200, 200, 429]


async def test_a_source_that_comes_too_often_is_refused(guarded: Guarded) -> None:
    bounds = Bounds(source_rate=0.001, source_burst=2)
    port = (await guarded(bounds=bounds)).ports[0]
    assert [(await post(port, envelope(identity="CP-6"))).status for _ in range(3)] == [200, 200, 429]
    assert await status_of_handshake(port, "/ocpp/CP-6") == 429


# --- TLS


@pytest.fixture
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(ca: trustme.CA, tmp_path: Path) -> Tls:
    own = ca.issue_cert("localhost")
    cert, key, authority = tmp_path / "own.pem", tmp_path / "own.key", tmp_path / "ca.pem"
    own.cert_chain_pems[0].write_to_path(cert)
    own.private_key_pem.write_to_path(key)
    ca.cert_pem.write_to_path(authority)
    return Tls(port=0, cert_file=cert, key_file=key, client_ca_file=authority)


def client(ca: trustme.CA, name: str = "") -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=ca.cert_pem.bytes().decode())
    if name:
        ca.issue_cert(name, common_name=name).configure_cert(context)
    return context


@pytest.mark.parametrize(("name", "soap", "json"), [("CP-5", 200, 101), ("CP-6", 400, 403), ("", 400, 403)])
async def test_a_charger_may_be_bound_to_its_certificate(
    guarded: Guarded, ca: trustme.CA, tls: Tls, name: str, soap: int, json: int
) -> None:
    port = (await guarded(tls=tls)).tls_port
    context = client(ca, name)
    url = f"https://localhost:{port}/soap"
    async with aiohttp.ClientSession() as http, http.post(url, data=envelope(identity="CP-5"), ssl=context) as response:
        assert response.status == soap
    assert await status_of_handshake(port, "/ocpp/CP-5", ssl=context) == json


async def test_the_plain_port_may_be_left_out(guarded: Guarded, ca: trustme.CA, tls: Tls) -> None:
    gateway = await guarded(tls=tls, server={"plain": False})
    assert gateway.tls_port == gateway.ports[0]
    assert await status_of_handshake(gateway.tls_port, "/ocpp/CP-6", ssl=client(ca)) == 101

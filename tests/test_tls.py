"""gateway.tls, with the listener that uses it: by real handshakes, on both event loops."""

import asyncio
import errno
import hashlib
import json
import os
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme
import uvloop
from cryptography.hazmat.primitives import serialization
from structlog.testing import capture_logs
from websockets.asyncio.client import connect

from gateway.config import Tls
from gateway.listener import Listener
from gateway.tls import Certificates, Unusable, faults
from tests.served import DEADLINE, Loop, said, served

NAME = "gateway.example.com"
GET = b"GET / HTTP/1.1\r\nhost: x\r\n"
LAST = GET + b"connection: close\r\n\r\n"


class Files:
    """The files of a gateway in a directory, and the authority that its certificates are of."""

    def __init__(self, directory: Path) -> None:
        self.ca, self.makers = trustme.CA(), trustme.CA()
        self.tls = Tls(cert_file=directory / "cert.pem", key_file=directory / "key.pem")
        self._times = 0
        self.issue()

    def issue(self, **options: Any) -> None:
        cert = self.ca.issue_cert(NAME, **options)
        self.write(self.tls.key_file, cert.private_key_pem.bytes())
        self.write(self.tls.cert_file, b"".join(pem.bytes() for pem in cert.cert_chain_pems))

    def write(self, file: Path | None, data: bytes) -> None:
        assert file
        file.write_bytes(data)
        self._times += 1  # files that are written within a tick of the clock differ too
        os.utime(file, (self._times, self._times))

    def ask(self, who: str, directory: Path) -> Tls:
        """Ask for client certificates of the makers."""
        self.tls = self.tls.model_copy(update={"client_ca_file": directory / "clients.pem", "client_certificates": who})
        self.write(self.tls.client_ca_file, self.makers.cert_pem.bytes())
        return self.tls


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@pytest.fixture(params=[None, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def loop(request: pytest.FixtureRequest) -> Loop:
    chosen: Loop = request.param
    return chosen


@pytest.fixture
def certificates(files: Files) -> Certificates:
    return Certificates(files.tls)


@pytest.fixture
def listener(certificates: Certificates, loop: Loop) -> Iterator[Listener]:
    with served(loop=loop, contexts=lambda: certificates.context) as listener:
        yield listener


def trusting(files: Files, shown: trustme.LeafCert | None = None) -> dict[str, Any]:
    context = ssl.create_default_context()
    files.ca.configure_trust(context)
    if shown:
        shown.configure_cert(context)
    return {"ssl": context, "server_hostname": NAME}


def told(heard: bytes) -> Any:
    return json.loads(heard.partition(b"\r\n\r\n")[2])


def fingerprint(pem: bytes) -> str:
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.decode())).hexdigest()


async def shown_by(port: int, files: Files) -> str:
    """The fingerprint of the certificate that a new connection is shown."""
    _, writer = await asyncio.open_connection("127.0.0.1", port, **trusting(files))
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.transport.abort()
    return hashlib.sha256(der).hexdigest()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_request_over_tls_is_answered(listener: Listener, files: Files, version: ssl.TLSVersion) -> None:
    options = trusting(files)
    options["ssl"].minimum_version = options["ssl"].maximum_version = version
    scope = told(await said(listener.port, LAST, **options))
    assert scope == {"scheme": "https", "subprotocols": None, "extensions": {"tls": {"certificate": None}}}


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
async def test_tls_1_1_is_refused(certificates: Certificates, files: Files, loop: Loop) -> None:
    options = trusting(files)
    options["ssl"].minimum_version = options["ssl"].maximum_version = ssl.TLSVersion.TLSv1_1
    options["ssl"].set_ciphers("ALL@SECLEVEL=0")
    with capture_logs() as log, served(loop=loop, contexts=lambda: certificates.context) as listener, pytest.raises(OSError):
        await said(listener.port, LAST, **options)
    assert [line["reason"] for line in log] == ["expected TLS 1.2 or newer, got an older one"]


async def test_a_charger_without_forward_secrecy_is_served(files: Files, loop: Loop) -> None:
    files.issue(key_type=trustme.KeyType.RSA)
    certificates, options = Certificates(files.tls), trusting(files)
    options["ssl"].maximum_version = ssl.TLSVersion.TLSv1_2
    options["ssl"].set_ciphers("AES128-GCM-SHA256")
    with served(loop=loop, contexts=lambda: certificates.context) as listener:
        assert told(await said(listener.port, LAST, **options))["scheme"] == "https"


async def test_a_new_certificate_is_for_new_handshakes_and_old_connections_go_on(
    listener: Listener, certificates: Certificates, files: Files
) -> None:
    async with connect(f"wss://127.0.0.1:{listener.port}/", proxy=None, **trusting(files)) as old:
        before = await shown_by(listener.port, files)
        assert not certificates.reload_if_changed()
        files.issue()
        assert certificates.reload_if_changed()
        assert await shown_by(listener.port, files) != before
        await old.recv()
        await old.send("still there")
        assert await old.recv() == "heard"


BROKEN = {"no certificate": ("cert_file", b"nothing"), "another key": ("key_file", trustme.CA().private_key_pem.bytes())}


@pytest.mark.parametrize(("key", "data"), BROKEN.values(), ids=BROKEN)
async def test_a_broken_file_is_told_once_and_the_old_one_kept(
    certificates: Certificates, files: Files, key: str, data: bytes
) -> None:
    before = certificates.context
    with capture_logs() as log:
        files.write(getattr(files.tls, key), data)
        assert [certificates.reload_if_changed() for _ in range(3)] == [False] * 3
        assert certificates.context is before
        files.issue()
        assert certificates.reload_if_changed()
    assert [line["event"] for line in log] == ["tls.unreadable", "tls.reloaded"]
    assert log[0]["reason"].startswith(f"tls.{key}: expected ")


async def test_a_file_that_is_gone_is_told_and_nothing_else_happens(certificates: Certificates, files: Files) -> None:
    assert files.tls.cert_file
    files.tls.cert_file.unlink()
    with capture_logs() as log:
        assert not certificates.reload_if_changed()
    assert log[0]["reason"].endswith("no such file or directory")


async def test_another_client_ca_decides_on_the_next_handshake(files: Files, tmp_path: Path, loop: Loop) -> None:
    certificates, charger = Certificates(files.ask("required", tmp_path)), trustme.CA()
    options = trusting(files, charger.issue_cert("CP-1"))
    with served(loop=loop, contexts=lambda: certificates.context) as listener:
        assert not await said(listener.port, LAST, **options)
        files.write(files.tls.client_ca_file, charger.cert_pem.bytes())
        assert certificates.reload_if_changed()
        assert told(await said(listener.port, LAST, **options))["extensions"]["tls"]["certificate"]
    assert listener.failed_handshakes == 1


WHO = [("optional", None, True), ("optional", "ours", True), ("optional", "other", False)]
WHO += [("required", None, False), ("required", "ours", True), ("required", "other", False)]
REASONS = {None: "expected a client certificate, got none", "other": "expected a client certificate of a CA in client_ca_file, "}


@pytest.mark.parametrize(("who", "shown", "served_then"), WHO)
async def test_client_certificates(
    files: Files, tmp_path: Path, loop: Loop, who: str, shown: str | None, served_then: bool, caplog: pytest.LogCaptureFixture
) -> None:
    certificates = Certificates(files.ask(who, tmp_path))
    ca = files.makers if shown == "ours" else trustme.CA()
    options = trusting(files, ca.issue_cert("CP-1") if shown else None)
    with capture_logs() as log, served(loop=loop, contexts=lambda: certificates.context) as listener:
        assert bool(await said(listener.port, LAST, **options)) is served_then
    assert [line["reason"].startswith(REASONS[shown]) for line in log] == [True] * (not served_then)
    assert listener.room.taken == 0
    assert not caplog.records


async def test_who_a_charger_is_stands_in_the_scope(files: Files, tmp_path: Path, loop: Loop) -> None:
    certificates = Certificates(files.ask("required", tmp_path))
    charger = files.makers.issue_cert("cp-1.example.com", "192.0.2.1", "cp-2.example.com", common_name="CP-1")
    expected = [["CP-1", "cp-1.example.com", "cp-2.example.com"], fingerprint(charger.cert_chain_pems[0].bytes())]
    options = trusting(files, charger)
    with served(loop=loop, contexts=lambda: certificates.context) as listener:
        assert told(await said(listener.port, LAST, **options))["extensions"] == {"tls": {"certificate": expected}}
        async with connect(f"wss://127.0.0.1:{listener.port}/", proxy=None, **options) as charger_socket:
            assert json.loads(await charger_socket.recv())["extensions"]["tls"] == {"certificate": expected}


async def test_an_intermediate_authority_alone_is_enough(files: Files, tmp_path: Path, loop: Loop) -> None:
    files.makers = trustme.CA().create_child_ca()
    certificates = Certificates(files.ask("required", tmp_path))
    options = trusting(files, files.makers.issue_cert("CP-1"))
    with served(loop=loop, contexts=lambda: certificates.context) as listener:
        assert told(await said(listener.port, LAST, **options))["scheme"] == "https"


async def test_plain_http_on_the_encrypted_port_costs_a_line(
    certificates: Certificates, loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    with capture_logs() as log, served(loop=loop, contexts=lambda: certificates.context) as listener:
        for _ in range(3):
            await said(listener.port, LAST)
    assert (listener.failed_handshakes, listener.room.taken) == (3, 0)
    assert [line["reason"] for line in log] == ["expected TLS, got plain HTTP"]
    assert not caplog.records


@pytest.mark.parametrize("part", [b"", b"\x16\x03\x01"], ids=["nothing", "the beginning of a hello"])
async def test_a_handshake_that_does_not_come_ends_the_connection(
    monkeypatch: pytest.MonkeyPatch, certificates: Certificates, loop: Loop, part: bytes
) -> None:
    monkeypatch.setattr("gateway.listener.HANDSHAKE_TIMEOUT", 0.05)
    with capture_logs() as log, served(loop=loop, contexts=lambda: certificates.context) as listener:
        assert await said(listener.port, part) == b""
    assert [line["reason"] for line in log] == ["expected a handshake within 0.05 s"]
    assert listener.room.taken == 0


async def test_a_handshake_under_way_does_not_keep_the_listener_from_stopping(certificates: Certificates, loop: Loop) -> None:
    with served(loop=loop, contexts=lambda: certificates.context) as listener:
        reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
        await said(listener.port, LAST)  # so that the first one is known to be taken
    async with asyncio.timeout(DEADLINE):
        assert await reader.read() == b""
    writer.close()


async def test_without_files_left_nothing_is_taken_for_a_moment(
    monkeypatch: pytest.MonkeyPatch, certificates: Certificates, files: Files, loop: Loop
) -> None:
    accept, faults_left = socket.socket.accept, [OSError(errno.EMFILE, "too many open files")]

    def scarce(listening: socket.socket) -> Any:
        if faults_left:
            raise faults_left.pop()
        return accept(listening)

    monkeypatch.setattr("socket.socket.accept", scarce)
    monkeypatch.setattr("gateway.listener.PAUSE", 0.01)
    with capture_logs() as log, served(loop=loop, contexts=lambda: certificates.context) as listener:
        assert told(await said(listener.port, LAST, **trusting(files)))["scheme"] == "https"
    assert [line["event"] for line in log] == ["connections.not_taken"]


async def test_who_comes_and_goes_is_not_told(certificates: Certificates, loop: Loop) -> None:
    with capture_logs() as log, served(loop=loop, contexts=lambda: certificates.context) as listener:
        socket.create_connection(("127.0.0.1", listener.port)).close()
        await said(listener.port, LAST)
    assert [line["reason"] for line in log] == ["expected TLS, got plain HTTP"]


def at_once(port: int, context: ssl.SSLContext) -> bytes:
    """Send the end of the handshake and a request in one segment; the first of what is answered."""
    inward, outward = ssl.MemoryBIO(), ssl.MemoryBIO()
    secured = context.wrap_bio(inward, outward, server_hostname=NAME)
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as plain:
        while True:
            try:
                secured.do_handshake()
                break
            except ssl.SSLWantReadError:
                plain.sendall(outward.read())
                inward.write(plain.recv(65536))
        secured.write(LAST)
        plain.sendall(outward.read())
        while True:
            try:
                return secured.read(65536)
            except ssl.SSLWantReadError:
                inward.write(plain.recv(65536))


async def test_a_request_right_behind_the_handshake_is_not_lost(listener: Listener, files: Files) -> None:
    heard = await asyncio.to_thread(at_once, listener.port, trusting(files)["ssl"])
    assert heard.startswith(b"HTTP/1.1 200 ")


def locked(files: Files) -> bytes:
    assert files.tls.key_file
    key = serialization.load_pem_private_key(files.tls.key_file.read_bytes(), None)
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.BestAvailableEncryption(b"passphrase"))


def test_files_that_can_be_used_have_no_faults(files: Files, tmp_path: Path) -> None:
    assert not [*faults(files.tls), *faults(files.ask("optional", tmp_path))]


FAULTS = {
    "cert_file": (b"nothing", "cert_file", "expected certificates (PEM) that can be read, {} has none"),
    "key_file": (b"nothing", "key_file", "expected the key (PEM) of cert_file, {} is not: "),
    "client_ca_file": (b"", "client_ca_file", "expected certificates (PEM) that can be read, {} has none"),
}


@pytest.mark.parametrize("key", FAULTS)
def test_a_file_that_cannot_be_used_is_complained_about(files: Files, tmp_path: Path, key: str) -> None:
    tls = files.ask("optional", tmp_path)
    data, _, what = FAULTS[key]
    file: Path = getattr(tls, key)
    file.write_bytes(data)
    [(found, said_of_it)] = faults(tls)
    assert found == key
    assert said_of_it.startswith(what.format(file))


def test_the_key_of_another_certificate_is_complained_about(files: Files) -> None:
    files.write(files.tls.key_file, trustme.CA().issue_cert(NAME).private_key_pem.bytes())
    assert dict(faults(files.tls))["key_file"].endswith("is not: key values mismatch")


def test_certificates_are_not_required_where_nobody_could_judge_them(files: Files) -> None:
    blind = files.tls.model_copy(update={"client_certificates": "required"})
    assert list(faults(blind)) == [("client_certificates", "expected client_ca_file too, by which they are judged")]
    with pytest.raises(Unusable, match=r"^tls.client_certificates: expected client_ca_file too"):
        Certificates(blind)


def test_a_passphrase_is_complained_about_and_not_asked_for(files: Files) -> None:
    files.write(files.tls.key_file, locked(files))
    assert dict(faults(files.tls))["key_file"].startswith("expected a key without a passphrase, ")


def test_without_usable_files_there_are_no_certificates(files: Files) -> None:
    files.write(files.tls.cert_file, b"nothing")
    with pytest.raises(Unusable, match=r"^tls.cert_file: expected certificates "):
        Certificates(files.tls)

"""How connections are secured: those to backends, and those of chargers, whose certificates are read again when they change."""

import hashlib
import ssl
from asyncio import BaseTransport
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn

import structlog

if TYPE_CHECKING:
    from gateway.config import Tls

# OCPP 1.6 security whitepaper: a central system has these beside those with forward secrecy. They come last.
_OF_WEAK_CHARGERS = ("AES128-GCM-SHA256", "AES256-GCM-SHA384")
_REASONS = {
    "HTTP_REQUEST": "expected TLS, got plain HTTP",
    "WRONG_VERSION_NUMBER": "expected TLS, got something else",
    "UNSUPPORTED_PROTOCOL": "expected TLS 1.2 or newer, got an older one",
    "NO_SHARED_CIPHER": "expected a cipher that both ends have, got others",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "expected a client certificate, got none",
}

UNJUDGED = "expected client_ca_file too, by which they are judged"
logger = structlog.get_logger(__name__)


def tls(ca_file: Path | None, client_cert: Path | None, client_key: Path | None) -> ssl.SSLContext:
    """What connections are opened with. Raises OSError, of which ssl.SSLError is one, for files that are of no use."""
    context = ssl.create_default_context(cafile=ca_file)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if client_cert:
        context.load_cert_chain(client_cert, client_key, password="")  # nobody is there to be asked for one
    return context


class Certificate(NamedTuple):
    """What a charger's certificate says: common names and DNS names, and the SHA-256 of its DER in lower-case hex."""

    names: tuple[str, ...]
    fingerprint: str


class Unusable(OSError):
    """What cannot be used for TLS, mostly a file. `key` is its key in the section tls."""

    def __init__(self, key: str, what: str) -> None:
        super().__init__(f"tls.{key}: {what}")
        self.key, self.what = key, what


class Certificates:
    """What chargers are shown, and by what they are judged. Raises Unusable, at the start only."""

    def __init__(self, tls: "Tls") -> None:
        self._tls = tls
        self._seen = self._stamps()
        self.context = server_context(tls)  # of handshakes from now on

    def reload_if_changed(self) -> bool:
        """Read the files again if they are not as they were last seen; whether there is a new context. Blocks."""
        stamps = self._stamps()
        if stamps == self._seen:
            return False
        self._seen = stamps  # before they are read: what is written meanwhile is seen the next time
        try:
            self.context = server_context(self._tls)
        except Unusable as fault:
            logger.warning("tls.unreadable", reason=str(fault), kept="what was read before")
            return False
        logger.info("tls.reloaded")
        return True

    def _stamps(self) -> list[tuple[int, ...]]:
        files = (self._tls.cert_file, self._tls.key_file, self._tls.client_ca_file)
        return [_stamp(file) for file in files if file]


def _stamp(file: Path) -> tuple[int, ...]:
    """What differs as soon as a file is another one."""
    try:
        found = file.stat()
    except OSError:
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino


def server_context(tls: "Tls") -> ssl.SSLContext:
    """What chargers' handshakes are made with. Raises Unusable."""
    context = _bare_context()
    _load_own(context, tls)
    _load_authorities(context, tls)
    return context


def faults(tls: "Tls") -> Iterator[tuple[str, str]]:
    """What is wrong with the files of the section tls: the key, and what was expected."""
    for load in (_load_own, _load_authorities):
        try:
            load(_bare_context(), tls)
        except Unusable as fault:
            yield fault.key, fault.what


def _bare_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION  # work that a peer could ask for without end
    usual = [cipher["name"] for cipher in context.get_ciphers() if not cipher["name"].startswith("TLS_")]  # those are of 1.3
    context.set_ciphers(":".join((*usual, *_OF_WEAK_CHARGERS)))
    return context


def _load_own(context: ssl.SSLContext, tls: "Tls") -> None:
    if not tls.cert_file or not tls.key_file:
        raise Unusable("cert_file", "expected cert_file and key_file")
    _load_certificates(_bare_context(), "cert_file", tls.cert_file)
    try:
        with tls.key_file.open("rb"):
            context.load_cert_chain(tls.cert_file, tls.key_file, password=_locked)
    except _Locked:
        raise Unusable("key_file", f"expected a key without a passphrase, {tls.key_file} has one") from None
    except ssl.SSLError as error:
        raise Unusable("key_file", f"expected the key (PEM) of cert_file, {tls.key_file} is not: {_said(error)}") from None
    except OSError as error:
        raise _unreadable("key_file", tls.key_file, error) from None


def _load_authorities(context: ssl.SSLContext, tls: "Tls") -> None:
    if not tls.client_ca_file:
        if tls.client_certificates == "required":
            raise Unusable("client_certificates", UNJUDGED)  # without it OpenSSL would ask nobody for one
        return
    _load_certificates(context, "client_ca_file", tls.client_ca_file)
    context.verify_mode = ssl.CERT_REQUIRED if tls.client_certificates == "required" else ssl.CERT_OPTIONAL
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # a maker's sub-CA is trusted without the CA above it


def _load_certificates(context: ssl.SSLContext, key: str, file: Path) -> None:
    try:
        context.load_verify_locations(file)
    except ssl.SSLError:
        raise Unusable(key, f"expected certificates (PEM) that can be read, {file} has none") from None
    except OSError as error:
        raise _unreadable(key, file, error) from None


def _unreadable(key: str, file: Path, error: OSError) -> Unusable:
    return Unusable(key, f"expected a readable file, {file}: {(error.strerror or str(error)).lower()}")


class _Locked(Exception):
    """A key has a passphrase."""


def _locked() -> NoReturn:
    raise _Locked  # nobody is there to be asked for one


def certificate_of(transport: BaseTransport) -> Certificate | None:
    """The certificate that the other end of a TLS connection has shown, and proven to be its own."""
    der = transport.get_extra_info("ssl_object").getpeercert(binary_form=True)
    if der is None:
        return None
    told: dict[str, Any] = transport.get_extra_info("peercert") or {}
    common = [value for names in told.get("subject", ()) for key, value in names if key == "commonName"]
    others = [value for key, value in told.get("subjectAltName", ()) if key == "DNS"]
    names = dict.fromkeys((*common, *others))
    return Certificate(tuple(names), hashlib.sha256(der).hexdigest())


def handshake_fault(error: OSError, deadline: float) -> str:
    """Why a TLS handshake has failed, in words. `deadline` is in seconds."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"expected a client certificate of a CA in client_ca_file, got another: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return _REASONS.get(error.reason, _said(error))
    return f"expected a handshake within {deadline:g} s" if isinstance(error, ConnectionAbortedError) else str(error)


def _said(error: ssl.SSLError) -> str:
    return (error.reason or "unreadable").lower().replace("_", " ")

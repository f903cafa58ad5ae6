"""Who may come, and whether a visitor has shown that it is who it says. Judges by the file of chargers; waits for nobody."""

import asyncio
import binascii
import hmac
import re
from base64 import b64decode
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

import structlog

from gateway.config import Admission as AdmissionConfig
from gateway.config import ConfigError
from gateway.known import NOTHING, SHA256, ChargersError, Known, Row, Stamp, append, load, stamp
from gateway.paths import usable
from gateway.source import host_of, within
from gateway.tls import Certificate

MOST_LEARNT = 100_000
_CHALLENGE = (b"www-authenticate", b'Basic realm="ocpp"')
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")
logger = structlog.get_logger(__name__)


class Visitor(NamedTuple):
    """Somebody at a door, and what it brings. `source` is host:port, `authorization` the header as it came."""

    identity: str
    source: str = ""
    token: str = ""
    tenant: str = ""
    authorization: bytes = b""
    certificate: Certificate | None = None


class Refusal(NamedTuple):
    """Why somebody may not come in: for the peer a status and a text that helps nobody to guess, for the log a reason.

    `guess` says whether it may have been one, which is answered late; `told` whether it is to be recorded in full, as only
    some of many are.
    """

    status: int
    text: str
    reason: str  # one of a few, as metrics have it
    challenge: bool = False
    guess: bool = True
    told: bool = True

    @property
    def soap_status(self) -> int:
        """The status of the fault that says it, which is Sender/SecurityError: 401 and 429 mean the same on both wires."""
        return self.status if self.status in (401, 429) else 400

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """What belongs to the status (RFC 9110, 11.6.1)."""
        return [_CHALLENGE] if self.challenge else []


_FORBIDDEN = "expected a charger that may come this way"
# OCPP-J 1.6, 3.2: a server that does not recognize the identity "SHOULD send an HTTP response with status 404".
UNKNOWN = Refusal(404, "expected a charger that is known", "not known")
_UNPROVEN = "expected the charger's credentials (HTTP Basic)"
UNPROVEN = Refusal(401, _UNPROVEN, "a wrong password", challenge=True)
# RFC 9110, 11.7.1 has clients send credentials once they are asked for them. Those of .NET and Java do, with every message.
ASKED = Refusal(401, _UNPROVEN, "no password", challenge=True, guess=False)
STRAY = Refusal(403, _FORBIDDEN, "from another network")
UNCERTIFIED = Refusal(403, _FORBIDDEN, "no certificate, or another one")
FOREIGN = Refusal(403, _FORBIDDEN, "by the path of another tenant")
TOKENLESS = Refusal(403, _FORBIDDEN, "no token in the path, or a wrong one")


class Admission:
    """Judges visitors. `start`, then `refresh` about once a second."""

    def __init__(self, config: AdmissionConfig) -> None:
        self._mode, self._file = config.mode, config.file
        self._patterns = dict.fromkeys(config.known, NOTHING)
        self._known = Known(self._patterns)
        self._learnt: dict[str, str] = {}  # as spelt, by identity without case; those that the file as read does not have
        self._unwritten: list[str] = []
        self._stamp: Stamp | None = None
        self._seen, self._fault = False, ""
        self._full = self._unwritable = False
        self.free = self._everyone()

    def judge(self, visitor: Visitor) -> Refusal | None:
        """None for those who may come in; in the mode `learn` this is where they are learnt."""
        if self.free:
            return None
        row = self._known.row(visitor.identity)
        if row is None:
            return self._stranger(visitor.identity)
        if row is NOTHING:
            return None
        return next((refusal for holds, refusal in _CHECKS if not holds(row, visitor)), None)

    def _stranger(self, identity: str) -> Refusal | None:
        if self._mode == "learn":
            self._learn(identity)
        return UNKNOWN if self._mode == "known" else None

    def _learn(self, identity: str) -> None:
        folded = identity.casefold()
        if folded in self._learnt or not usable(identity):
            return
        if len(self._learnt) + len(self._known) < MOST_LEARNT:
            self._learnt[folded] = identity
            self._unwritten.append(identity)
        elif not self._full:
            self._full = True
            logger.error("admission.full", file=str(self._file), reason=f"at most {MOST_LEARNT} chargers are learnt")

    def _everyone(self) -> bool:
        return self._mode == "open" and not self._known.asks

    # --- the file

    async def start(self) -> None:
        """Read the file. Raises ConfigError where it is of no use."""
        await self.refresh()
        if self._fault:
            raise ConfigError([f"{self._file}: {line}" for line in self._fault.splitlines()])

    async def refresh(self) -> None:
        """Take over what has changed in the file, and add who was learnt. A file that is of no use leaves all as it was."""
        if self._file is not None:
            await self._read(self._file)
            if self._unwritten and not self._fault:
                await self._write(self._file)

    async def _read(self, file: Path) -> None:
        try:
            now = await asyncio.to_thread(stamp, file)
            if now == self._stamp:
                return
            self._take_over(await asyncio.to_thread(_load, file, self._patterns))
        except ChargersError as error:
            self._complain(str(error))
        except OSError as error:
            # Without a file there is nothing to be read until somebody is learnt; a file that is gone is to come back.
            if self._mode != "learn" or self._seen or not isinstance(error, FileNotFoundError):
                self._complain(f"cannot be read: {(error.strerror or str(error)).lower()}")
            self._stamp = None
            return
        self._stamp = now  # of before: what is written while it is read shows at the next look

    def _take_over(self, known: Known) -> None:
        self._known, self._seen, self._fault = known, True, ""
        self._unwritten = [identity for identity in self._unwritten if known.row(identity) is None]
        self._learnt = {identity.casefold(): identity for identity in self._unwritten}
        self.free = self._everyone()
        logger.info("admission.loaded", file=str(self._file), rows=len(known))

    def _complain(self, what: str) -> None:
        if what != self._fault:
            logger.error("admission.unusable", file=str(self._file), reason=what)
        self._fault = what

    async def _write(self, file: Path) -> None:
        writing, self._unwritten = self._unwritten, []
        written: Stamp | None = None
        try:
            written = await asyncio.to_thread(append, file, self._stamp, writing)
        except OSError as error:
            if not self._unwritable:
                logger.error("admission.unwritable", file=str(file), reason=(error.strerror or str(error)).lower())
            self._unwritable = True
        if written is None:  # next time; if somebody else has written the file, it is read before
            self._unwritten = writing + self._unwritten
            return
        self._stamp, self._seen, self._unwritable = written, True, False
        logger.info("admission.learnt", file=str(file), chargers=len(writing))


def _load(file: Path, patterns: Mapping[str, Row]) -> Known:
    return Known({**patterns, **load(file)})


# --- what has to hold


def _network(row: Row, visitor: Visitor) -> bool:
    return row.networks is None or within(host_of(visitor.source), row.networks)


def _certificate(row: Row, visitor: Visitor) -> bool:
    wanted, shown = row.certificate, visitor.certificate
    if wanted is None or shown is None:
        return wanted is None
    if wanted.startswith(SHA256):
        return hmac.compare_digest(wanted.removeprefix(SHA256), shown.fingerprint)
    return wanted.replace("{identity}", visitor.identity).casefold() in [name.casefold() for name in shown.names]


def _tenant(row: Row, visitor: Visitor) -> bool:
    return row.tenant is None or row.tenant.casefold() == visitor.tenant.casefold()  # paths change their case


def _token(row: Row, visitor: Visitor) -> bool:
    return row.token is None or hmac.compare_digest(row.token.encode(), visitor.token.encode())


def _asked(row: Row, visitor: Visitor) -> bool:
    return row.password is None or visitor.authorization != b""


def _password(row: Row, visitor: Visitor) -> bool:
    if row.password is None:
        return True
    shown = _shown_password(visitor.authorization, visitor.identity)
    return shown is not None and _same(shown, row.password)


_CHECKS: tuple[tuple[Callable[[Row, Visitor], bool], Refusal], ...] = (
    (_network, STRAY),
    (_certificate, UNCERTIFIED),
    (_tenant, FOREIGN),
    (_token, TOKENLESS),
    (_asked, ASKED),
    (_password, UNPROVEN),
)


def _shown_password(authorization: bytes, identity: str) -> bytes | None:
    """The password of HTTP Basic, if its user name is the identity. The name is known, so that it may hold colons."""
    scheme, _, coded = authorization.strip().partition(b" ")
    if scheme.lower() != b"basic":
        return None
    coded = coded.strip().rstrip(b"=")
    try:
        plain = b64decode(coded + b"=" * (-len(coded) % 4), validate=True)
    except binascii.Error:
        return None
    name = plain[: len(identity.encode("utf-8", "replace"))]
    rest = plain[len(name) :]
    same = name.decode("utf-8", "replace").casefold() == identity.casefold()
    return rest[1:] if same and rest[:1] == b":" else None


def _same(shown: bytes, wanted: str) -> bool:
    """OCPP-J 1.6, 6.2: the key is written in hex and sent as the bytes it stands for; many chargers send it as it is typed."""
    text = wanted.encode()
    equal = [hmac.compare_digest(shown, text)]
    if _HEX.fullmatch(wanted):
        equal.append(hmac.compare_digest(shown, bytes.fromhex(wanted)))
        equal.append(hmac.compare_digest(shown.lower(), text.lower()))
    return any(equal)

"""Takes out of all that leaves what it should not tell: idTags, secrets, and where chargers can be called."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import msgspec

from gateway.redaction.documents import Documents
from gateway.redaction.fields import HOST, SECRET, TAG, is_credential
from gateway.redaction.frames import Frames
from gateway.redaction.job import Job, Rule, names_of
from gateway.redaction.pseudonyms import Pseudonyms, key_from
from gateway.redaction.texts import Texts, unescaped
from gateway.rules.globs import fits
from gateway.rules.rewrites import path_of

if TYPE_CHECKING:
    from gateway.config import Config
    from gateway.traffic.exchanges import Exchange, Half, Leg

UNREADABLE = b"(removed: bytes that nobody can read)"
_DEEPEST = 3  # of JSON in texts in JSON
_DECODER = msgspec.json.Decoder(float_hook=Decimal)
_ENCODER = msgspec.json.Encoder(decimal_format="number")


class Redactor:
    """Hides by the configuration, with the pseudonyms of one key. Changes nothing that it is given; may be used by any thread."""

    def __init__(self, config: "Config", key: bytes) -> None:
        section = config.redaction
        self._texts = Texts(Pseudonyms(key), (*config.server.soap_paths, *config.server.json_paths))
        self._rows = tuple((row.action, Rule(path_of(row.path), names_of(path_of(row.path)), row.do)) for row in section.rules)
        self._peers, self._data = section.peers == "pseudonym", section.data_transfer
        self._rules = lru_cache(maxsize=256)(self._rules_of)
        self._frames, self._documents = Frames(self._nested), Documents(self._nested)

    @classmethod
    def configured(cls, config: "Config") -> "Redactor":
        """With the key of this installation, which is made where there is none yet. Raises KeyFileError."""
        return cls(config, key_from(config.redaction_key_file))

    # --- what is asked of it

    def exchange(self, exchange: "Exchange") -> "Exchange":
        """The exchange without what it should not tell; itself where there is nothing.

        Bodies stay well-formed, and valid by the schema of their version but for what a rule of the configuration does. What was
        found in one place of the exchange is hidden in every other place of it too.
        """
        job = self._job(exchange.action)
        for leg in exchange.legs:
            if "://" in leg.peer:  # where a charger is called: the reason why it could not be may name the host
                job.address(leg.peer)
        bodies = {id(half): self._bodies(half, leg, job) for leg in exchange.legs for half in (leg.call, leg.answer) if half}
        if forms := job.look_again():
            for leg in exchange.legs:
                for half in (leg.call, leg.answer):
                    if half and _left(bodies[id(half)], forms):
                        bodies[id(half)] = self._bodies(half, leg, job)
        legs = [self._leg(leg, bodies, job) for leg in exchange.legs]
        findings = tuple(finding._replace(text=job.prose(finding.text)) for finding in exchange.findings)
        # A peer may say that its action, or itself, is anything.
        action, charger, outcome = job.prose(exchange.action), self.text(exchange.charger), job.prose(exchange.outcome)
        same = (action, charger, outcome) == (exchange.action, exchange.charger, exchange.outcome)
        if same and findings == exchange.findings and all(map(_same, legs, exchange.legs)):
            return exchange
        return replace(exchange, legs=legs, findings=findings, action=action, charger=charger, outcome=outcome)

    def text(self, text: str) -> str:
        """A line of a log, an error, whatever people are told. Hosts are kept."""
        return self._texts.hidden(text)

    def value(self, value: Any, action: str = "") -> Any:
        """A value of JSON: a payload of that action, or anything else that is made of objects, lists and texts."""
        job = self._job(action)
        told = self._frames.hidden(_ENCODER.encode(value), job, exact=True)
        return _DECODER.decode(told) if told is not None else self.text(str(value))

    def body(self, raw: bytes, wire: str = "", action: str = "") -> bytes:
        """One message as it was on its wire, alone."""
        return self._body(raw, self._job(action), wire, exact=False)

    def tag(self, id_tag: str) -> str:
        """What stands for an idTag, to look for it in what was hidden."""
        return self._texts.of(TAG, id_tag)

    def secret(self, value: str) -> str:
        """What stands for a secret."""
        return self._texts.of(SECRET, value)

    def address(self, url: str) -> str:
        """Where a charger can be called, with a pseudonym for the host."""
        return self._texts.host(url)

    def peer(self, peer: str) -> str:
        """The address of a peer, as the configuration has it. Of a URL, where a charger is called, the host is always hidden."""
        return self._texts.host(peer) if peer and (self._peers or "://" in peer) else peer

    def headers(self, headers: tuple[tuple[str, str], ...], job: Job | None = None) -> tuple[tuple[str, str], ...]:
        """Headers of HTTP."""
        return tuple((name, self._header(name, value, job or self._job(""))) for name, value in headers)

    # --- an exchange

    def _job(self, action: str) -> Job:
        return Job(self._texts, action, self._rules(action), self._data)

    def _rules_of(self, action: str) -> tuple[Rule, ...]:
        return tuple(rule for glob, rule in self._rows if fits(glob, action))

    def _bodies(self, half: "Half", leg: "Leg", job: Job) -> tuple[bytes, bytes | None]:
        exact = leg.wire == "json" and leg.version == "1.6"
        raw = self._body(half.raw, job, leg.wire, exact)
        return raw, None if half.canonical is None else self._body(half.canonical, job, "json", exact=True)

    def _body(self, raw: bytes, job: Job, wire: str, exact: bool) -> bytes:
        if not raw or (wire != "soap" and b"\x00" not in raw and job.quiet(raw.lower().decode("latin-1"))):
            return raw
        readers: list[Callable[[], bytes | None]] = [
            lambda: self._frames.hidden(raw, job, exact),
            lambda: self._documents.hidden(raw, job),
        ]
        for read in reversed(readers) if wire == "soap" else readers:
            if (told := read()) is not None:
                return told
        return self._broken(raw, job)

    def _broken(self, raw: bytes, job: Job) -> bytes:
        """What is no message. Where characters are wider than a byte nothing can be searched, so nothing is left."""
        if b"\x00" in raw:
            return UNREADABLE
        try:
            text, coding = raw.decode(), "utf-8"
        except UnicodeDecodeError:
            text, coding = raw.decode("latin-1"), "latin-1"
        plain = unescaped(text)
        told = job.prose(plain)
        return raw if told == plain else told.encode(coding)

    def _nested(self, text: str, job: Job, depth: int = 0) -> str:
        """A text that may itself be JSON or XML."""
        if depth < _DEEPEST and text.lstrip()[:1] in ("{", "[", "<") and not job.quiet(text.lower()):
            deeper = partial(self._nested, depth=depth + 1)
            raw = text.encode("utf-8", "replace")
            reader = (
                Documents(deeper).hidden(raw, job) if text.lstrip()[0] == "<" else Frames(deeper).hidden(raw, job, exact=False)
            )
            if reader is not None:
                return text if reader == raw else reader.decode()
        return job.free(text)

    def _leg(self, leg: "Leg", bodies: dict[int, tuple[bytes, bytes | None]], job: Job) -> "Leg":
        call = self._half(leg.call, bodies, job)
        answer = self._half(leg.answer, bodies, job)
        peer, outcome = self.peer(leg.peer), job.prose(leg.outcome)
        if call is leg.call and answer is leg.answer and (peer, outcome) == (leg.peer, leg.outcome):
            return leg
        return replace(leg, call=call, answer=answer, peer=peer, outcome=outcome)

    def _half(self, half: "Half | None", bodies: dict[int, tuple[bytes, bytes | None]], job: Job) -> "Half | None":
        if half is None:
            return None
        raw, canonical = bodies[id(half)]
        told: dict[str, Any] = {
            "raw": raw,
            "canonical": canonical,
            "message_id": job.prose(half.message_id),
            "remarks": tuple(self._remark(remark, job) for remark in half.remarks),
            "note": job.prose(half.note),
            "headers": self.headers(half.headers, job),
        }
        return half if all(getattr(half, name) == value for name, value in told.items()) else replace(half, **told)

    def _remark(self, remark: Any, job: Job) -> Any:
        path, detail = job.prose(remark.path), job.prose(remark.detail)
        return remark if (path, detail) == (remark.path, remark.detail) else replace(remark, path=path, detail=detail)

    def _header(self, name: str, value: str, job: Job) -> str:
        if is_credential(name):
            scheme, _, credentials = value.strip().partition(" ")
            return (
                f"{scheme} {self._texts.of(SECRET, credentials)}"
                if credentials.strip() and "=" not in scheme
                else self.secret(value)
            )
        if self._peers and name.lower() in ("forwarded", "x-forwarded-for", "x-real-ip"):
            return self._texts.of(HOST, value)
        return job.free(value)


def _left(bodies: tuple[bytes, bytes | None], forms: tuple[bytes, ...]) -> bool:
    """Whether a value that was found may still stand in a message, or is hidden by how it is written."""
    return any(_may_tell(body, forms) for body in bodies if body)


def _may_tell(body: bytes, forms: tuple[bytes, ...]) -> bool:
    if b"\\u" in body or b"&#" in body or b"%" in body:
        return True
    lowered = body.lower()
    return any(form in lowered for form in forms)


def _same(one: object, other: object) -> bool:
    return one is other

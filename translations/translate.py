"""One message from one wire to the other, statelessly: the face behind `ocpp-gateway translate`."""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import msgspec

from translations import ocppj, soap
from translations.deltas import known_actions
from translations.errors import FormationViolation, OcppError
from translations.manners import Manner, Quirk, Who, manner_of
from translations.messages import Call, Error, Message, Remark, Result, Side, Version
from translations.step import refuse_repairs

TARGETS: Mapping[str, Version] = {f"soap-{version}": version for version in Version}
_TEXTS = ("to", "action", "identity", "maker", "model", "firmware")
_KEYS = {"message", "base64", "side", "strict", *_TEXTS}
_ENCODER = msgspec.json.Encoder(decimal_format="number")
_LINE = msgspec.json.Decoder(dict[str, msgspec.Raw])
_DECODER = msgspec.json.Decoder(float_hook=Decimal)


@dataclass(frozen=True, slots=True)
class Wish:
    """How a message shall be translated; `to` and `action` matter for JSON alone.

    `maker`, `model` and `firmware` are what the charger said of itself when it booted, `quirks` rows before those known.
    """

    to: str = ""
    action: str = ""
    identity: str = ""
    maker: str = ""
    model: str = ""
    firmware: str = ""
    side: Side | None = None
    strict: bool = False
    received: str = ""
    quirks: tuple[Quirk, ...] = ()

    def manner(self, identity: str, version: Version | None) -> Manner:
        """How the charger talks that the message is from, or for."""
        who = Who(identity, self.maker, self.model, self.firmware, str(version or ""))
        return manner_of(who, self.quirks, "strict" if self.strict else "repair")


@dataclass(frozen=True, slots=True)
class Translated:
    """`message` is an OCPP-J frame as compact JSON, or an envelope."""

    message: bytes
    is_json: bool
    version: str
    identity: str
    remarks: tuple[Remark, ...]


def translate(data: bytes, wish: Wish = Wish()) -> Translated:
    """Translate by the first byte that is not white space: `[` is an OCPP-J frame, anything else an envelope."""
    text = data.lstrip(b" \t\r\n\xef\xbb\xbf")
    if text[:1] == b"[":
        return _to_soap(ocppj.decode(text.rstrip()), wish)
    return _to_json(data, wish)


def _to_json(data: bytes, wish: Wish) -> Translated:
    envelope = soap.parse(data, role=wish.side)
    message = soap.read(envelope, wish.received, wish.manner(envelope.identity, envelope.version))
    if wish.strict:
        refuse_repairs(message.remarks)
    named = _named(message, data)
    version = str(envelope.version or "")
    return Translated(ocppj.encode(named), True, version, envelope.identity, message.remarks)


def _named(message: Message, data: bytes) -> Message:
    """The message with an id: an OCPP-J frame cannot go without, so one is made of the bytes where the envelope has none."""
    if message.id:
        return message
    made = hashlib.blake2b(data, digest_size=12).hexdigest()
    if isinstance(message, Call):
        return Call(message.action, message.payload, made)
    return (
        Result(message.payload, made) if isinstance(message, Result) else Error(message.code, message.text, message.details, made)
    )


def _to_soap(message: Message, wish: Wish) -> Translated:
    version = TARGETS.get(wish.to)
    if version is None:
        raise FormationViolation(f"to: expected {', '.join(TARGETS)}, got {wish.to[:40]!r}")
    action = message.action or wish.action
    if isinstance(message, Result) and not action:
        raise FormationViolation("action: expected the action that the result answers, got none")
    side = _side(action, wish.side)
    manner = wish.manner(wish.identity, version)
    where = _addresses(message)
    written = soap.encode(message, version, side, action=action, identity=wish.identity, addresses=where, manner=manner)
    remarks = message.remarks + written.remarks
    if wish.strict:
        refuse_repairs(remarks)
    return Translated(written.body, False, str(version), wish.identity, remarks)


def _addresses(message: Message) -> soap.Addresses:
    if isinstance(message, Call):
        return soap.Addresses(message_id=message.id)
    # OCPP-S 1.6, 4.2 wants a MessageID on answers too; this one is the same for the same answer.
    made = hashlib.blake2b(message.id.encode(), digest_size=16, person=b"answer").hexdigest()
    return soap.Addresses(message_id=made, relates_to=message.id)


def _side(action: str, wished: Side | None) -> Side:
    homes = [side for side in Side if action in known_actions(side)]
    if len(homes) == 1:
        return homes[0]
    return wished or Side.CENTRAL_SYSTEM


# --- bulk ------------------------------------------------------------------------------------------------------------


def line(text: bytes, received: str = "", quirks: tuple[Quirk, ...] = ()) -> bytes:
    """One line of `translate --lines`: a JSON object in, a JSON object out, whatever came in."""
    try:
        data, wish = _request(text, received, quirks)
        done = translate(data, wish)
    except OcppError as error:
        return _ENCODER.encode({"refused": {"code": error.code, "detail": error.text}})
    return _ENCODER.encode(
        {
            "message": msgspec.Raw(done.message) if done.is_json else done.message.decode(),
            "version": done.version or None,
            "identity": done.identity,
            "remarks": [remark(r) for r in done.remarks],
        }
    )


def remark(said: Remark) -> dict[str, str]:
    """A remark as JSON has it."""
    return {"kind": str(said.kind), "path": said.path, "detail": said.detail, "rule": said.rule}


def _request(text: bytes, received: str, quirks: tuple[Quirk, ...]) -> tuple[bytes, Wish]:
    try:
        # The message stays as it is written: what is said twice in it must not be said once here.
        raw = _LINE.decode(text)
        given: dict[str, Any] = {key: _DECODER.decode(value) for key, value in raw.items() if key != "message"}
    except (msgspec.DecodeError, RecursionError, ValueError, ArithmeticError):
        raise FormationViolation("line: expected a JSON object") from None
    message = bytes(raw.get("message", b"null"))
    unknown = given.keys() - _KEYS
    if unknown:
        raise FormationViolation(f"line: expected no key {sorted(unknown)[0][:40]!r}")
    for key in _TEXTS:
        if given.get(key) is None:
            given[key] = ""
        elif not isinstance(given[key], str):
            raise FormationViolation(f"{key}: expected text")
    if not isinstance(given.get("strict", False), bool):
        raise FormationViolation("strict: expected true or false")
    texts = {key: given[key] for key in _TEXTS}
    strict = given.get("strict", False)
    data = _bytes(message, given.get("base64"))
    return data, Wish(**texts, side=_side_named(given.get("side")), strict=strict, received=received, quirks=quirks)


def _side_named(name: Any) -> Side | None:
    if name is None:
        return None
    if name not in tuple(Side):
        raise FormationViolation(f"side: expected {' or '.join(Side)}")
    return Side(name)


def _bytes(written: bytes, coded: Any) -> bytes:
    if (written == b"null") == (coded is None):
        raise FormationViolation("line: expected message or base64")
    if coded is not None:
        try:
            return base64.b64decode(coded, validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise FormationViolation("base64: expected text in base64") from None
    if written[:1] == b"[":
        return written
    if written[:1] != b'"':
        raise FormationViolation("message: expected an envelope as text or a frame as list")
    text: str = _DECODER.decode(written)
    return text.encode("utf-8", "surrogatepass")

"""Letters: messages that wait for a backend, or that were given up, and how they stand on disk."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import IntEnum
from typing import Any

import msgspec

from gateway.state.digest import digest
from gateway.state.store import Row, StateError
from translations.errors import PropertyConstraintViolation
from translations.messages import Call, Kind, Payload, Remark

START, STOP = "StartTransaction", "StopTransaction"
DELAYED = "outbox.delayed"  # the rule of a remark: the message was stored, and is heard later than it was said
PAGE = 10_000  # rows that are read at once
PORTION = 32  # payloads that are read at once

# What is not money is told apart by what it says, and there is little of it; the payloads of the rest stay on disk.
_HEAD = "id, backend, charger, rank, key, action, CASE WHEN rank < 2 THEN payload END, at, number, attempts, due, dead, exchange"
_FULL = "id, backend, charger, rank, key, action, payload, at, number, attempts, due, dead, exchange"
GREATEST = "SELECT coalesce(max(id), 0) FROM letters"
HEADS = f"SELECT {_HEAD} FROM letters WHERE id > ? ORDER BY id LIMIT {PAGE}"  # noqa: S608 - constants
ONE = f"SELECT {_FULL} FROM letters WHERE id = ?"  # noqa: S608 - constants
PAYLOADS = f"SELECT id, payload FROM letters WHERE id IN ({', '.join('?' * PORTION)})"  # noqa: S608 - placeholders
# A letter can be written twice, where a charger repeats what is on its way to disk; what became of it meanwhile stands.
_INSERT = "INSERT INTO letters VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING"
_AGAIN = "UPDATE letters SET attempts = ?, due = ? WHERE id = ?"
_BURY = "UPDATE letters SET attempts = ?, dead = ? WHERE id = ?"
_REVIVE = "UPDATE letters SET attempts = 0, due = 0, at = ?, dead = NULL WHERE id = ?"
_CHANGE = "UPDATE letters SET payload = ?, key = ?, number = ? WHERE id = ?"
_DELETE = "DELETE FROM letters WHERE id = ?"

_ENCODER = msgspec.json.Encoder(decimal_format="number")
_DECODER = msgspec.json.Decoder(Payload, float_hook=Decimal)


class Rank(IntEnum):
    """What goes before what."""

    BOOT = 0
    STATUS = 1
    MONEY = 2


class Letter:
    """One message for one backend. Times are unix seconds."""

    __slots__ = (
        "action",
        "asked",
        "at",
        "attempts",
        "backend",
        "before",
        "dead",
        "doubtful",
        "due",
        "durable",
        "exchange",
        "hopeless",
        "id",
        "identity",
        "key",
        "landed",
        "number",
        "over",
        "payload",
        "pending",
        "rank",
        "slot",
    )

    def __init__(self, id: int, backend: str, identity: str, rank: Rank, key: bytes, action: str, payload: bytes | None) -> None:
        self.id, self.backend, self.identity, self.rank = id, backend, identity, rank
        self.key, self.action = key, action
        self.payload = payload  # as JSON; None: it is on disk only
        self.hopeless = ""  # why it is not to be sent at all
        self.exchange = ""  # the id under which it has not been sent yet: that of the call it was, for its first sending
        self.at = 0.0  # when it was accepted, or when a person sent it off again
        self.number: int | None = None  # the transaction as the charger calls it
        self.attempts, self.due = 0, 0.0
        self.dead = ""  # why it was given up
        self.durable = self.landed = True
        self.slot = ""  # of those of one slot only the newest is kept
        self.pending = 0  # writings of it under way
        self.before: tuple[Letter, ...] = ()  # what it stands for as soon as it has landed
        self.over = False  # whether it was heard, replaced or withdrawn: there is nothing left to do for it
        self.doubtful = False  # whether the backend may have heard it
        self.asked: tuple[str, ...] = ()  # the ids under which it got no answer in time

    @property
    def call(self) -> Call:
        """What is to be heard, without an id. Its payload is at hand; raises ValueError where that is no JSON object."""
        payload = _DECODER.decode(self.payload or b"")
        since = datetime.fromtimestamp(int(self.at), UTC).isoformat().replace("+00:00", "Z")
        delayed = Remark(Kind.CHANGED, "", f"not heard at once, stored at {since}", DELAYED)
        return Call(self.action, payload, "", self.identity, remarks=(delayed,))


def written(id: int, backend: str, call: Call, rank: Rank) -> Letter:
    """A letter that says this. Raises PropertyConstraintViolation for what JSON cannot say."""
    key = digest(call)
    if key is None:
        raise PropertyConstraintViolation(f"{call.action}.req: expected what JSON can say")
    letter = Letter(id, backend, call.identity, rank, key, call.action, _ENCODER.encode(call.payload))
    letter.slot = _slot(rank, call.payload)
    letter.exchange = call.id
    return letter


def read(row: Sequence[Any]) -> Letter:
    """A letter as it stands on disk, with its payload where the row has it. Raises StateError."""
    id_, backend, identity, rank, key, action, payload, at, number, attempts, due, dead, exchange = row
    try:
        letter = Letter(id_, backend, identity, Rank(rank), key, action, payload)
        if letter.rank is not Rank.MONEY:
            letter.slot = _slot(letter.rank, _DECODER.decode(payload))
    except ValueError as error:
        raise StateError(f"letter {id_} cannot be read: {error}") from None
    letter.at, letter.number, letter.attempts, letter.due, letter.dead = at, number, attempts, due, dead or ""
    letter.exchange = exchange
    return letter


def changed(letter: Letter, payload: Payload) -> Letter:
    """The same letter with another payload. Raises PropertyConstraintViolation for what JSON cannot say."""
    other = written(letter.id, letter.backend, Call(letter.action, payload, "", letter.identity), letter.rank)
    other.at, other.attempts, other.due, other.dead = letter.at, letter.attempts, letter.due, letter.dead
    told = payload.get("transactionId")
    other.number = storable(told) if isinstance(told, int) else letter.number
    return other


def storable(number: int | None) -> int | None:
    """The number, where SQLite can hold it. No transaction that the gateway has numbered is beyond that."""
    return number if number is not None and -(2**63) <= number < 2**63 else None


# --- rows


def insert(letter: Letter) -> Row:
    """Put it there; with what it stands for in its place, see `delete`."""
    head = letter.id, letter.backend, letter.identity, int(letter.rank), letter.key, letter.action, letter.payload
    return _INSERT, (*head, letter.at, letter.number, letter.attempts, letter.due, letter.dead or None, letter.exchange)


def again(letter: Letter) -> Row:
    """It is to be sent again."""
    return _AGAIN, (letter.attempts, letter.due, letter.id)


def bury(letter: Letter) -> Row:
    """It is dead."""
    return _BURY, (letter.attempts, letter.dead, letter.id)


def revive(letter: Letter) -> Row:
    """It is not dead any more."""
    return _REVIVE, (letter.at, letter.id)


def change(letter: Letter) -> Row:
    """It says something else."""
    return _CHANGE, (letter.payload, letter.key, letter.number, letter.id)


def delete(letter: Letter) -> Row:
    """It is gone."""
    return _DELETE, (letter.id,)


def _slot(rank: Rank, payload: Payload) -> str:
    if rank is Rank.MONEY:
        return ""
    return "boot" if rank is Rank.BOOT else f"status {payload.get('connectorId')}"

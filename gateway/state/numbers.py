"""What must survive of transactions, and of the numbers that backends gave to reservations, charging profiles and local lists."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, NamedTuple

import msgspec

from gateway.state.ledger import Ledger
from gateway.state.store import Row, StateError
from translations.messages import Payload

_COLUMNS = "SELECT charger, number, connector, owner, begun, over, start, ids FROM transactions"
_OPEN = f"{_COLUMNS} WHERE over IS NULL"
_ONE = f"{_COLUMNS} WHERE charger = ? AND number = ?"
_OF_CHARGER = f"{_COLUMNS} WHERE charger = ? ORDER BY begun DESC LIMIT ?"
_SAVE = "INSERT OR REPLACE INTO transactions VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_PRUNE = "DELETE FROM transactions WHERE over < ?"
_FORGET_ALL = "DELETE FROM transactions WHERE charger = ?"
_NUMBERS = "SELECT kind, charger, ours, backend, theirs FROM numbers ORDER BY at DESC LIMIT ?"
_NUMBER = "INSERT OR REPLACE INTO numbers VALUES (?, ?, ?, ?, ?, ?)"
_FORGET = "DELETE FROM numbers WHERE kind = ? AND charger = ? AND ours = ?"

_ENCODER = msgspec.json.Encoder(decimal_format="number")
_PAYLOAD = msgspec.json.Decoder(Payload, float_hook=Decimal)
_IDS = msgspec.json.Decoder(dict[str, int])
NEWEST = 100  # transactions of one charger that are looked through


@dataclass(slots=True)
class Transaction:
    """One transaction. `number` is what the charger calls it, `ids` what each backend does; times are unix seconds."""

    charger: str  # without case
    number: int
    connector: int | None
    owner: str  # the backend that answers for it
    begun: float
    start: Payload | None = None  # its StartTransaction, as the charger said it
    ids: dict[str, int] = field(default_factory=dict)
    over: float | None = None
    used: float = 0.0  # when it was last looked at; not written

    def row(self) -> Row:
        """What writes it."""
        start = None if self.start is None else _json(self.start)
        ids = _ENCODER.encode(self.ids).decode()
        return _SAVE, (self.charger, self.number, self.connector, self.owner, self.begun, self.over, start, ids)


class Number(NamedTuple):
    """What a backend calls something of a charger's, and what the charger calls it."""

    kind: str
    charger: str  # without case
    ours: int
    backend: str
    theirs: int

    def row(self, at: float) -> Row:
        """What writes it, as of `at`, unix seconds."""
        return _NUMBER, (self.kind, self.charger, self.ours, self.backend, str(self.theirs), at)

    def gone(self) -> Row:
        """What takes it out."""
        return _FORGET, (self.kind, self.charger, self.ours)


def pruned(before: float) -> Row:
    """What forgets transactions that were over before then, unix seconds."""
    return _PRUNE, (before,)


def forgotten(charger: str) -> Row:
    """What forgets all transactions of a charger."""
    return _FORGET_ALL, (charger,)


async def open_transactions(ledger: Ledger) -> Iterable[Transaction]:
    """Those that are not over. Raises StateError."""
    return list(_read(await ledger.read(_OPEN)))


async def transaction(ledger: Ledger, charger: str, number: int) -> Transaction | None:
    """The one that the charger calls so, over or not. Raises StateError."""
    return next(_read(await ledger.read(_ONE, (charger, number))), None)


async def newest(ledger: Ledger, charger: str) -> Iterable[Transaction]:
    """The newest of a charger, over or not. Raises StateError."""
    return list(_read(await ledger.read(_OF_CHARGER, (charger, NEWEST))))


async def numbers(ledger: Ledger, most: int) -> Iterable[Number]:
    """The newest, so many at most, the oldest of them first. Raises StateError."""
    rows = await ledger.read(_NUMBERS, (most,))
    return [Number(kind, charger, ours, backend, int(theirs)) for kind, charger, ours, backend, theirs in reversed(rows)]


def _json(payload: Payload) -> bytes | None:
    """The JSON; None where JSON cannot say it: no backend can be told of it either."""
    try:
        return _ENCODER.encode(payload)
    except (ValueError, ArithmeticError, RecursionError):
        return None


def _read(rows: Iterable[tuple[Any, ...]]) -> Iterator[Transaction]:
    for charger, number, connector, owner, begun, over, start, ids in rows:
        try:
            said = None if start is None else _PAYLOAD.decode(start)
            yield Transaction(charger, number, connector, owner, begun, said, _IDS.decode(ids), over)
        except msgspec.DecodeError as error:
            raise StateError(f"transaction {number} of {charger} cannot be read: {error}") from None

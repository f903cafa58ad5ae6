"""What does not simply pass between chargers and a backend: by row it is answered, refused or dropped here.

Knows which rows fit a message; what a rewrite row does to it is the subject of `rewrites`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from gateway.rules.globs import fits
from translations import schemas
from translations.deltas import known_actions
from translations.errors import OcppError
from translations.messages import Answer, Call, Error, Kind, Payload, Remark, Result, Side

if TYPE_CHECKING:
    from gateway.config import Policy

KINDS = 4_096  # kinds of messages (backend, action, direction) whose rows are at hand; peers can make up actions
IDENTITIES = 65_536  # identities of which is at hand what globs they match; peers can make these up too
LONGEST_TEXT = 255  # characters; OCPP-J 1.6, 4.2.3

Place = tuple[int | str, ...]
"""The path of a key below its section: number of the row, key."""
RULED = Remark(Kind.ASSUMED, "", "answered by the configuration, not passed on", "policies.ruled")
NOW = "{now}"  # in a payload: when it is sent
_SOME_TIME = "2026-01-31T12:00:00Z"


class Row(Protocol):
    """What every row says of the messages that it is for. Globs compare without case."""

    @property
    def backends(self) -> tuple[str, ...]: ...
    @property
    def chargers(self) -> str: ...
    @property
    def actions(self) -> tuple[str, ...]: ...
    @property
    def direction(self) -> str: ...


R = TypeVar("R", bound=Row)
T = TypeVar("T")


class Fitting(Generic[R, T]):
    """Finds what `made` makes of the rows that fit a message, in their order; None without any, or where it makes nothing.

    Identities count only where a row asks for them, and then by the globs that they match: ten thousand chargers are as
    few entries as one. All that is kept is bounded.
    """

    def __init__(self, rows: Sequence[R], made: Callable[[tuple[R, ...]], T | None]) -> None:
        self._rows, self._made = tuple(rows), made
        self._globs = tuple(dict.fromkeys(row.chargers.casefold() for row in rows if row.chargers != "*"))
        self._candidates: Callable[[str, str, str], tuple[int, ...]] = lru_cache(KINDS)(self._fit)
        self._matched: Callable[[str], int] = lru_cache(IDENTITIES)(self._match)
        self._found: Callable[[tuple[int, ...], int], T | None] = lru_cache(KINDS)(self._find)

    def __call__(self, backend: str, identity: str, action: str, direction: str) -> T | None:
        """What is to be done with a message, of rows whose globs match its backend, charger and action."""
        if not self._rows:
            return None
        candidates = self._candidates(backend, action, direction)
        if not candidates:
            return None
        return self._found(candidates, self._matched(identity) if self._globs else 0)

    def _fit(self, backend: str, action: str, direction: str) -> tuple[int, ...]:
        """The numbers of the rows that fit, whoever the charger is."""
        return tuple(
            i
            for i, row in enumerate(self._rows)
            if row.direction == direction and _any(row.backends, backend) and _any(row.actions, action)
        )

    def _match(self, identity: str) -> int:
        """The globs of chargers that an identity matches, as bits."""
        return sum(1 << i for i, glob in enumerate(self._globs) if fnmatchcase(identity.casefold(), glob))

    def _find(self, candidates: tuple[int, ...], matched: int) -> T | None:
        globs = {"*", *(glob for i, glob in enumerate(self._globs) if matched >> i & 1)}
        rows = tuple(row for row in map(self._rows.__getitem__, candidates) if row.chargers.casefold() in globs)
        return self._made(rows) if rows else None


def _any(globs: tuple[str, ...], name: str) -> bool:
    return any(fits(glob, name) for glob in globs)


class Policies:
    """The rows of the configuration. The first that fits wins."""

    def __init__(self, rows: "Sequence[Policy]") -> None:
        self._fitting: Fitting[Policy, Policy] = Fitting(rows, _first)

    def find(self, backend: str, identity: str, action: str, direction: str) -> "Policy | None":
        """The row that a message is to be `carried_out` by; None: forward it. `direction` is up or down, that of the call."""
        return self._fitting(backend, identity, action, direction)


def _first(rows: "tuple[Policy, ...]") -> "Policy | None":
    return rows[0] if rows[0].do != "forward" else None


def carried_out(policy: "Policy", call: Call, now: str) -> Answer | None:
    """The answer that a row gives to a call; None where the call is dropped. A row that forwards is not carried out here.

    The payload is a new one each time, with `now`, a date as OCPP has it, wherever the row says {now}.
    """
    if policy.do == "answer":
        return Result(_payload(policy, now), call.id, call.action, (RULED,))
    if policy.do == "error":
        text = policy.text or f"{call.action} is refused by configuration"
        return Error(policy.code or "NotSupported", text, {}, call.id, call.action, (RULED,))
    return None


def _payload(policy: "Policy", now: str) -> Payload:
    payload: Payload = _dated(canonical(policy.payload or {}), now)
    return payload


def _dated(value: Any, now: str) -> Any:
    if isinstance(value, dict):
        return {name: _dated(item, now) for name, item in value.items()}
    if isinstance(value, list):
        return [_dated(item, now) for item in value]
    return now if value == NOW else value


def canonical(value: Any) -> Any:
    """A value of the configuration as messages have it: numbers with a fraction are Decimal, dates and times are text."""
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, datetime | date | time):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return {str(name): canonical(item) for name, item in value.items()}
    return [canonical(item) for item in value] if isinstance(value, list | tuple) else value


# --- what is wrong with rows


def examine(rows: "Sequence[Policy]") -> Iterator[tuple[Place, str]]:
    """What is wrong with rows, each with the path of its key below `policies`."""
    for i, row in enumerate(rows):
        for key, what in _examined(row):
            yield (i, key), what


def _examined(row: "Policy") -> Iterator[tuple[str, str]]:
    if row.payload is not None and row.do != "answer":
        yield "payload", f'expected none, or do = "answer", got do = "{row.do}"'
    for key in ("code", "text"):
        if getattr(row, key) and row.do != "error":
            yield key, f'expected none, or do = "error", got do = "{row.do}"'
    if len(row.text) > LONGEST_TEXT:
        yield "text", f"expected at most {LONGEST_TEXT} characters, got {len(row.text)}"
    if row.do == "answer":
        yield from (("payload", what) for what in _invalid(row))


def _invalid(row: "Policy") -> Iterator[str]:
    """What the schemas have against the payload as an answer, for the first action for which they have something."""
    side = Side.CENTRAL_SYSTEM if row.direction == "up" else Side.CHARGE_POINT
    for action in sorted(known_actions(side)):
        if _any(row.actions, action):
            try:
                schemas.judge(action, True, _payload(row, _SOME_TIME))
            except OcppError as error:
                yield f"expected an answer to {action}: {error.text}"
                return

"""What travels: calls, results, errors, and the remarks that say what happened to them on the way.

The payload of each is the canonical form, OCPP 1.6 JSON: plain dicts, lists, text, integers, booleans, and
`decimal.Decimal` where a number has a fraction, so that its digits survive.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Payload = dict[str, Any]


class Version(StrEnum):
    """An OCPP version."""

    V12 = "1.2"
    V15 = "1.5"
    V16 = "1.6"


class Side(StrEnum):
    """Which of the two services a call is addressed to."""

    CENTRAL_SYSTEM = "central-system"
    CHARGE_POINT = "charge-point"

    @property
    def other(self) -> "Side":
        """The service at the other end."""
        return Side.CHARGE_POINT if self is Side.CENTRAL_SYSTEM else Side.CENTRAL_SYSTEM


class Kind(StrEnum):
    """What a remark tells of a value."""

    LOST = "lost"
    CHANGED = "changed"
    ASSUMED = "assumed"
    REPAIRED = "repaired"


@dataclass(frozen=True, slots=True)
class Remark:
    """One lossy, assumed or repaired step: where (`path`, from the payload's root), what, and by which rule."""

    kind: Kind
    path: str
    detail: str
    rule: str


@dataclass(frozen=True, slots=True)
class Call:
    """A request. `id` is the wire's own id where one was read; the gateway mints its own for each leg."""

    action: str
    payload: Payload
    id: str = ""
    identity: str = ""
    side: Side = Side.CENTRAL_SYSTEM
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to a call that was understood."""

    payload: Payload
    id: str = ""
    action: str = ""
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True, slots=True)
class Error:
    """The answer to a call that failed. `code` is one of OCPP-J 1.6, 4.2.3, spelt as there."""

    code: str
    text: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    id: str = ""
    action: str = ""
    remarks: tuple[Remark, ...] = ()


Message = Call | Result | Error
Answer = Result | Error


def title_of(action: str, response: bool) -> str:
    """A message as the specifications print it, like `StopTransaction.conf`."""
    return f"{action}.{'conf' if response else 'req'}"

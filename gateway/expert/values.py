"""Values of payloads as rules may use them: whatever a charger has sent, these take it, and None is what cannot be used."""

from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import msgspec

from translations.deltas import known_actions
from translations.messages import Side

LARGEST = 1 << 20  # bytes of a frame that is looked into
MOST = 1e15  # no meter has come so far
SHOWN = 48  # characters of a name in a text
_DECODER = msgspec.json.Decoder()
# What answers of OCPP 1.6 say.
_WORDS = frozenset(
    {
        *("Accepted", "Blocked", "ConcurrentTx", "Expired", "Invalid", "Pending", "Rejected", "Failed", "Faulted", "Idle"),
        *("NotImplemented", "NotSupported", "Occupied", "RebootRequired", "Scheduled", "Unavailable", "UnlockFailed", "Unlocked"),
        *("UnknownMessageId", "UnknownVendorId", "Unknown", "VersionMismatch"),
    }
)
_HARMLESS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-+/:=# ")


def body(frame: bytes | None) -> dict[str, Any]:
    """The payload of a call or of a result; empty for all else."""
    if not frame or len(frame) > LARGEST:
        return {}
    try:
        found = _DECODER.decode(frame)
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {}
    if not isinstance(found, list) or len(found) not in (3, 4) or found[0] not in (2, 3):
        return {}
    return table(found[-1])


def table(value: Any) -> dict[str, Any]:
    """An object; empty for what is none."""
    return value if isinstance(value, dict) else {}


def listing(value: Any, most: int) -> list[Any]:
    """The last items of a list, at most so many."""
    return value[-most:] if isinstance(value, list) else []


def text(value: Any) -> str:
    """A text; empty for what is none."""
    return value if isinstance(value, str) else ""


def integer(value: Any) -> int | None:
    """A whole number of 32 bits."""
    return value if type(value) is int and -(2**31) <= value < 2**31 else None


def number(value: Any) -> float | None:
    """A number that a meter may show, also in quotes."""
    if isinstance(value, str):
        if len(value) > 40:
            return None
    elif type(value) is not int and type(value) is not float:
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if abs(found) < MOST else None


def moment(value: Any) -> float | None:
    """A date as unix time; without a zone it is taken as UTC."""
    if not isinstance(value, str) or len(value) > 40:
        return None
    try:
        found = datetime.fromisoformat(value)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def plain(value: Any) -> str:
    """A name that others chose, as it may stand in a text: short, and nothing that a terminal or a page would obey."""
    return "".join(c if c in _HARMLESS else "?" for c in text(value)[:SHOWN])


def word(value: Any) -> str:
    """A status as it may stand in a text; empty where there is none."""
    return value if isinstance(value, str) and value in _WORDS else "something that OCPP does not have" if value else ""


@lru_cache(maxsize=1)
def _actions() -> frozenset[str]:
    return frozenset(known_actions(Side.CENTRAL_SYSTEM) | known_actions(Side.CHARGE_POINT))


def titled(action: str) -> str:
    """An action as it may stand in a text."""
    return action if action in _actions() else "an action that OCPP does not have" if action else "what is no message"

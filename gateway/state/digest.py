"""Under which key an answer is kept: the digest of what was said and of who said it, so that a repetition is found by it."""

import re
from collections.abc import Iterable
from copy import deepcopy
from hashlib import blake2b
from typing import Any

import msgspec

from translations.messages import Call, Kind, Payload, Remark

RECEIPT = "quirks.time-of-receipt"  # the rule of a remark: no date was given, and the time of receipt stands for it
MORE = "quirks.more"  # the rule of a remark: there are more than are told

_CANONICAL = msgspec.json.Encoder(decimal_format="number", order="deterministic")
_PART = re.compile(r"[^.\[\]]+")


def digest(call: Call) -> bytes | None:
    """Not of the message id, of the order of keys, and of the case of the identity. 32 bytes.

    None where JSON cannot say it (half a surrogate pair): no backend hears that.
    """
    content: tuple[Any, ...] = (call.identity.casefold(), call.action, call.payload)
    try:
        if call.remarks and (receipts := [remark for remark in call.remarks if remark.rule == RECEIPT]):
            content = (*content[:2], *_as_said(call, receipts))
        return blake2b(_CANONICAL.encode(content), digest_size=32).digest()
    except (ValueError, ArithmeticError, RecursionError):
        return None


def heard(identity: str, transaction: int) -> bytes:
    """Under which it is kept that a charger has heard of a transaction. 32 bytes, of no answer."""
    return blake2b(_CANONICAL.encode((identity.casefold(), transaction)), digest_size=32, person=b"heard").digest()


def clockless(call: Call) -> bool:
    """Whether the charger does not know the time: its date is none, or from before there was OCPP."""
    return str(call.payload.get("timestamp")) < "2009" or dateless(call)


def dateless(call: Call) -> bool:
    """Whether a date was missing, and the time of receipt stands for it."""
    return any(remark.rule == RECEIPT for remark in call.remarks)


def _as_said(call: Call, receipts: Iterable[Remark]) -> tuple[Payload, list[tuple[str, str]]]:
    """The payload without the times of receipt, and what the charger said in their places: its repetition comes at another
    time, but says the same.
    """
    payload = deepcopy(call.payload)
    found = [_take(payload, remark.path) for remark in receipts]
    if not all(found) or any(map(_unsettling, call.remarks)):
        payload = _undated(payload)  # nobody knows which it is: what else a stop says will do
    return payload, [(remark.path, remark.detail) for remark in receipts]


def _unsettling(remark: Remark) -> bool:
    """Whether it leaves open where others stand: there are more of them, or the items behind one that is lost have moved up."""
    return remark.rule == MORE or (remark.kind is Kind.LOST and remark.path.endswith("]"))


def _take(value: Any, path: str) -> bool:
    """Take out what is at a path like `transactionData[0].timestamp`; whether something was."""
    *way, last = (int(part) if part.isdecimal() else part for part in _PART.findall(path))
    try:
        for part in way:
            value = value[part]
        del value[last]
    except (LookupError, TypeError):
        return False
    return True


def _undated(value: Any) -> Any:
    if isinstance(value, list):
        return [_undated(item) for item in value]
    if isinstance(value, dict):
        return {name: _undated(item) for name, item in value.items() if name != "timestamp"}
    return value

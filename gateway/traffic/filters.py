"""Which exchanges are asked for, as the plain options of commands and doors say it; the times that people write."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from gateway.traffic.tree import EVERYTHING, Tree

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)(ms|s|m|h|d)", re.ASCII)
_AGO = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)


@dataclass(frozen=True, slots=True)
class Filter:
    """What an exchange must be to be asked for; what is empty or None asks for nothing.

    With `leg`, outcome and remark are those of that leg; else outcome is the exchange's own, and any leg may carry the remark.
    """

    charger: str = ""  # a glob on the identity, in any case
    action: str = ""
    leg: str = ""
    outcome: str = ""  # "ok", "failed", or an error code
    remark: str = ""  # the kind of a remark it carries
    since: float | None = None
    until: float | None = None
    exchange: str = ""  # its name
    text: str = ""  # somewhere in the payload of the call or of the answer, in any case
    tenant: str = ""  # in any case
    limit: int | None = None  # the newest so many; with `after_id` the next so many
    after_id: int | None = None
    before_id: int | None = None
    tree: Tree = EVERYTHING  # an expression of the filter language, besides


def moment(text: str, now: float) -> float:
    """Unix time of `10m` (so long ago), `1h30m`, or ISO 8601, which is UTC unless it says otherwise."""
    if _AGO.fullmatch(text):
        return now - sum(float(n) * _UNITS[unit] for n, unit in _PART.findall(text))
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(f'expected a time like "10m" (ago) or "2024-05-01T10:00:00Z", got "{text}"') from None

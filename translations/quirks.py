"""Repairs of single values that real chargers send, by declared type. Each leaves a remark; what costs money or says who
it is, is never guessed.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

from translations.manners import zone_named

# xs:dateTime with a zone, as RFC 3339 has it: what both wires accept.
# The 29th of February is left to those who look closer.
TIMESTAMP = re.compile(
    r"(?!0000)\d{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12]\d|3[01])|(?:0[469]|11)-(?:0[1-9]|[12]\d|30)|02-(?:0[1-9]|1\d|2[0-8]))"
    r"T(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d(?:\.\d+)?(?:Z|[+-](?:0\d|1[0-3]):[0-5]\d|[+-]14:00)",
    re.ASCII,
)
INTEGER = re.compile(r"[+-]?\d{1,40}", re.ASCII)
DECIMAL = re.compile(r"[+-]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})", re.ASCII)
NUMBER = re.compile(DECIMAL.pattern + r"(?:[eE][+-]?\d{1,2})?", re.ASCII)
_WHOLE = re.compile(r"([+-]?\d{1,40})\.0*", re.ASCII)
_CENTURY = (946_684_800_000, 4_102_444_800_000)  # 2000-01-01 to 2100-01-01, milliseconds
_ZONE = re.compile(r"Z|[+-](?:0\d|1[0-3]):[0-5]\d|[+-]14:00", re.ASCII)
_LOOSE = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d)[Tt ](?P<hour>\d\d):(?P<minute>\d\d)(?::(?P<second>\d\d))?"
    r"(?P<fraction>\.\d+)?\s*(?P<zone>Z|z|[+-]\d\d(?::?\d\d)?)?",
    re.ASCII,
)


def whole(text: str) -> str | None:
    """`100.0` where an integer stands; anything else is not for guessing."""
    found = _WHOLE.fullmatch(text)
    return found[1] if found else None


def boolean(text: str) -> str | None:
    """`TRUE`, `False`: the words in another case."""
    folded = text.lower()
    return folded if folded in ("true", "false") else None


def word(text: str, words: Iterable[str]) -> str | None:
    """An enumeration value in another case."""
    folded = text.casefold()
    return next((w for w in words if w.casefold() == folded), None)


def timestamp(text: str, zone: str = "Z") -> tuple[str, str] | None:
    """A date in another form, as (RFC 3339, what was done); None where nothing sure can be made of it.

    `zone` is that of a date without one, as in `Manner`.
    """
    if re.fullmatch(r"\d{12,14}", text, re.ASCII):
        return _digits(text, zone)
    found = _LOOSE.fullmatch(text)
    return _loose(found, zone) if found else None


def _offset(moment: datetime, zone: str) -> str:
    """The offset of a zone at a local time. Where clocks are put back and it comes twice, the first of the two."""
    found = zone_named(zone)
    if found is None:
        return zone
    written = f"{moment.replace(tzinfo=found):%z}"[:5]
    return f"{written[:3]}:{written[3:]}"


def in_utc(text: str, fraction: bool) -> str | None:
    """An RFC 3339 date in UTC with milliseconds, or with whole seconds; None for a day that does not exist."""
    try:
        moment = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return f"{moment:%Y-%m-%dT%H:%M:%S}" + (f".{moment.microsecond // 1000:03}Z" if fraction else "Z")


def _digits(text: str, zone: str) -> tuple[str, str] | None:
    """Milliseconds, or YYYYMMDDhhmmss: whichever falls into this century. No digits do both."""
    number = int(text)
    if _CENTURY[0] <= number < _CENTURY[1]:
        moment = datetime.fromtimestamp(number // 1000, UTC)
        return f"{moment:%Y-%m-%dT%H:%M:%S}.{number % 1000:03}Z", "milliseconds since 1970"
    if not (len(text) == 14 and text.startswith("20")):
        return None
    try:
        moment = datetime.strptime(text, "%Y%m%d%H%M%S")
    except ValueError:
        return None
    return f"{moment:%Y-%m-%dT%H:%M:%S}{_offset(moment, zone)}", f"no zone, taken as {zone}"


def _loose(found: re.Match[str], zone: str) -> tuple[str, str] | None:
    hour, minute, second = int(found["hour"]), int(found["minute"]), int(found["second"] or 0)
    try:
        moment = datetime.fromisoformat(found["date"]) + timedelta(
            days=hour // 24, hours=hour % 24, minutes=minute, seconds=second
        )
    except (ValueError, OverflowError):
        return None
    if hour > 24 or minute > 59 or second > 59:
        return None
    written, what = found["zone"], "another form of the date"
    if not written:
        written, what = _offset(moment, zone), f"no zone, taken as {zone}"
    elif len(written) in (3, 5):
        written = f"{written[:3]}:{written[3:] or '00'}"
    if not _ZONE.fullmatch(written.upper()):
        return None
    return f"{moment.isoformat(timespec='seconds')}{found['fraction'] or ''}{written.upper()}", "hour 24" if hour == 24 else what

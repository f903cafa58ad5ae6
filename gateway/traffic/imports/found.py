"""One message as a source has it, before it is known what it belongs to; and times in the ways in which sources write them."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

from gateway.traffic.record import CHARGER_LEG
from translations import ocppj
from translations.deltas import known_actions
from translations.errors import OcppError
from translations.messages import Call, Error, Kind, Message, Remark, Result, Side

NO_TIME = Remark(Kind.ASSUMED, "at", "no time given, took the last one, or that of the file", "imports.time")
NO_DIRECTION = Remark(Kind.ASSUMED, "direction", "not known who made the call, took the charger", "imports.direction")
_TIME = re.compile(
    r"(?<!\d)(\d{4})-?([01]\d)-?([0-3]\d)[T_ -]?([0-2]\d)[:.-]?([0-5]\d)[:.-]?([0-5]\d)(?:[.,_-]?(\d{1,9}))?(?!\d)"
    r"(?:\s?(Z|UTC|[+-][01]\d:?[0-5]\d))?"
)
LATEST = 253_402_300_799  # unix time; later there is no date of four digits
_SINCE_1970 = re.compile(r"(?<![\d.])(1\d{9})(?:\.(\d{1,9})|(\d{3})|(\d{6}))?(?![\d])")


@dataclass(slots=True)
class Found:
    """A message. `pairs_by` is the id that call and answer share, empty where order alone can tell; `code` is that of a refusal.

    `canonical` is the frame where `raw` is not it; one of a SOAP message is made where it is None.
    """

    at: float
    raw: bytes
    message: Message | None = None
    wire: str = "json"
    version: str = ""
    charger: str = ""
    action: str = ""
    to_csms: bool | None = None
    pairs_by: str = ""
    message_id: str = ""
    canonical: bytes | None = None
    remarks: tuple[Remark, ...] = ()
    note: str = ""
    code: str = ""
    timed: bool = True
    leg: str = CHARGER_LEG
    peer: str = ""

    @property
    def is_call(self) -> bool:
        return isinstance(self.message, Call)

    @property
    def outcome(self) -> str:
        """Of an answer, or of a refusal."""
        if isinstance(self.message, Error):
            return self.message.code
        return "ok" if isinstance(self.message, Result) else self.code


def refusal(at: float, raw: bytes, note: str, code: str = "FormationViolation") -> Found:
    """What is no message."""
    return Found(at, raw, code=code, note=note)


def frame(at: float, raw: bytes, where: str) -> Found:
    """An OCPP-J frame, or the refusal of what is none."""
    try:
        message = ocppj.decode(raw)
    except OcppError as error:
        return Found(at, raw, code=error.code, note=f"{where}: {error.text}", message_id=str(error.message_id))
    found = Found(at, raw, message, action=message.action, pairs_by=str(message.id), message_id=str(message.id))
    found.remarks = message.remarks
    if isinstance(message, Call):
        found.to_csms = called(message.action)
    elif isinstance(message, Error):
        found.note = message.text
    return found


def called(action: str) -> bool | None:
    """Whether a call of that action goes to the central system; None where both take it, or nobody."""
    here, there = (action in known_actions(side) for side in (Side.CENTRAL_SYSTEM, Side.CHARGE_POINT))
    return None if here == there else here


def time_in(text: str) -> tuple[float, tuple[int, int]] | None:
    """The first time in a text and where it stands: ISO 8601 and what is near it, UTC unless it says otherwise; or unix time."""
    if found := _TIME.search(text):
        try:
            return _unix(found), found.span()
        except ValueError:
            return None
    if found := _SINCE_1970.search(text):
        fraction = next((part for part in found.groups()[1:] if part), "0")
        return float(f"{found[1]}.{fraction}"), found.span()
    return None


def _unix(found: re.Match[str]) -> float:
    parts = [int(part) for part in found.groups()[:6]]
    micros = int((found[7] or "0")[:6].ljust(6, "0"))
    return within(datetime(*parts[:6], micros, tzinfo=_zone(found[8] or "")).timestamp())  # type: ignore[misc,arg-type]


def within(at: float) -> float:
    """The unix time, if it can be told as a date in UTC, whatever zone it was told in. Raises ValueError."""
    if not 0 <= at <= LATEST:
        raise ValueError(f"expected a time from 1970 to 9999, got {at:g}")
    return at


def _zone(text: str) -> timezone:
    if text[:1] not in ("+", "-"):
        return UTC
    offset = timedelta(hours=int(text[1:3]), minutes=int(text[-2:]))
    return timezone(-offset if text[0] == "-" else offset)

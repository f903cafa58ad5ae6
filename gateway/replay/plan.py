"""What is replayed: the calls of chargers, in order, with what was answered to them. Pure; playing is not its business."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from gateway.replay import spoken
from gateway.traffic.exchanges import Exchange, Leg
from gateway.traffic.record import CHARGER_LEG
from translations.messages import Answer, Call, Version

MOST = 20_000  # exchanges of one replay
MOST_CHARGERS = 1_000  # connections of one replay

# What stands for a value that was hidden.
_HIDDEN = re.compile(rb"(?:(?:idtag|secret):[A-Z2-7]{10}|host-[a-z2-7]{10}|private-key:removed)(?![A-Za-z0-9])")
_TIME = re.compile(r"(?P<digits>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(?P<fraction>\d{1,9}))?(?P<zone>Z|[+-]\d\d:?\d\d)?", re.ASCII)


class TooMuch(ValueError):
    """More than one replay takes; the text says of what."""


class Lost(ValueError):
    """The call is of a transaction that the target has not begun."""


class Step(NamedTuple):
    """One call to be made again."""

    exchange: Exchange
    call: Call  # as the charger made it
    answer: Answer | None  # what it is compared with
    grants: int | None  # the transactionId that the charger was given for it


class Command(NamedTuple):
    """A call that the charger was sent. It is waited for, and answered as the charger did; it is never sent."""

    exchange: Exchange
    action: str
    answer: Answer | None


@dataclass(slots=True)
class Lane:
    """All that goes over one connection, in the order in which it passed."""

    identity: str
    tenant: str
    version: Version  # for an envelope
    steps: list[Step] = field(default_factory=list)
    commands: list[Command] = field(default_factory=list)


class LeftOut(NamedTuple):
    """An exchange that cannot be played, and why."""

    exchange: Exchange
    reason: str


@dataclass(frozen=True, slots=True)
class Plan:
    """`start` is the unix time of the first call."""

    lanes: tuple[Lane, ...]
    left_out: tuple[LeftOut, ...]
    start: float

    @property
    def steps(self) -> list[Step]:
        """All of them, by time."""
        return sorted((step for lane in self.lanes for step in lane.steps), key=lambda step: step.exchange.at)

    @property
    def hidden(self) -> bool:
        """Whether something in the calls was hidden, so that they are not what the charger said."""
        return any(_hides(step.call.payload) for lane in self.lanes for step in lane.steps)


def planned(exchanges: Iterable[Exchange], *, identity: str = "", backend: str = "") -> Plan:
    """What is played of these exchanges: one lane for each charger, or one as `identity` for all of them.

    Compared is with what `backend` answered, where it was asked; else with what the charger heard. Raises TooMuch.
    """
    lanes: dict[tuple[str, str], Lane] = {}
    left_out: list[LeftOut] = []
    for exchange in sorted(_bounded(exchanges), key=lambda exchange: exchange.at):
        read = _read(exchange, backend)
        if isinstance(read, str):
            left_out.append(LeftOut(exchange, read))
            continue
        lane = _lane(lanes, exchange, identity)
        if isinstance(read, Step):
            lane.steps.append(read)
        else:
            lane.commands.append(read)
    played = tuple(lane for lane in lanes.values() if lane.steps)
    idle = (command for lane in lanes.values() if not lane.steps for command in lane.commands)
    left_out += (LeftOut(command.exchange, "a command to a charger that makes no call") for command in idle)
    if len(played) > MOST_CHARGERS:
        raise TooMuch(f"expected at most {MOST_CHARGERS} chargers, got {len(played)}")
    return Plan(played, tuple(left_out), min((lane.steps[0].exchange.at for lane in played), default=0.0))


def _bounded(exchanges: Iterable[Exchange]) -> list[Exchange]:
    taken: list[Exchange] = []
    for exchange in exchanges:
        if len(taken) == MOST:
            raise TooMuch(f"expected at most {MOST} exchanges, got more")
        taken.append(exchange)
    return taken


def _read(exchange: Exchange, backend: str) -> Step | Command | str:
    charger = exchange.leg(CHARGER_LEG)
    if not exchange.up:
        answer = spoken.answer_of(charger) if charger else None
        return Command(exchange, exchange.action, answer) if exchange.action else "no message"
    leg = charger if charger and charger.inward else next((leg for leg in exchange.legs if leg.inward), None)
    if leg is None:
        return "the charger did not say it"
    call = spoken.call_of(leg)
    if call is None:
        return "no message"
    heard = spoken.answer_of(leg)
    asked = exchange.leg(backend) if backend else None
    answer = (spoken.answer_of(asked) if asked else None) or heard
    return Step(exchange, call, answer, spoken.granted(heard) if call.action == "StartTransaction" else None)


def _lane(lanes: dict[tuple[str, str], Lane], exchange: Exchange, identity: str) -> Lane:
    key = ("", "") if identity else (exchange.charger.casefold(), exchange.tenant.casefold())
    lane = lanes.get(key)
    if lane is None:
        lane = lanes[key] = Lane(identity or exchange.charger, exchange.tenant, Version.V16)
    if not lane.steps:
        lane.version = _version(exchange.leg(CHARGER_LEG))
    return lane


def _version(leg: Leg | None) -> Version:
    return next((version for version in Version if leg and version == leg.version), Version.V16)


def _hides(payload: Any) -> bool:
    if isinstance(payload, dict):
        return any(map(_hides, payload.values()))
    if isinstance(payload, list):
        return any(map(_hides, payload))
    return isinstance(payload, str) and _HIDDEN.search(payload.encode("utf-8", "replace")) is not None


# --- what is said otherwise ---------------------------------------------------------------------------------------------


class Numbers:
    """The transactionIds of one lane: those that chargers were given, and what the target gave for the same transactions."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self._begun = frozenset(_number(step, step.grants) for step in steps if step.grants is not None)
        self._new: dict[tuple[str, int], int] = {}

    def heard(self, step: Step, answer: Answer | None) -> None:
        """Take what the target answered to a StartTransaction."""
        if step.grants is None:
            return
        new = spoken.granted(answer)
        if new is None:
            self._new.pop(_number(step, step.grants), None)
        else:
            self._new[_number(step, step.grants)] = new

    def of(self, step: Step) -> Call:
        """The call with the target's number. A transaction that began before all that is played keeps its own. Raises Lost."""
        said = step.call.payload.get("transactionId")
        if type(said) is not int or _number(step, said) not in self._begun:
            return step.call
        new = self._new.get(_number(step, said))
        if new is None:
            raise Lost("the target gave no transactionId for its StartTransaction")
        return replace(step.call, payload={**step.call.payload, "transactionId": new})


def _number(step: Step, number: int) -> tuple[str, int]:
    return step.exchange.charger.casefold(), number


def shifted(value: Any, seconds: float) -> Any:
    """The payload with every `timestamp` moved, written as it was: as many digits, in its zone. What is no time stays."""
    if isinstance(value, dict):
        return {
            key: _moved(inner, seconds) if key == "timestamp" and isinstance(inner, str) else shifted(inner, seconds)
            for key, inner in value.items()
        }
    return [shifted(inner, seconds) for inner in value] if isinstance(value, list) else value


def _moved(text: str, seconds: float) -> str:
    found = _TIME.fullmatch(text)
    if found is None:
        return text
    fraction = found["fraction"] or ""
    try:
        moment = datetime.fromisoformat(f"{found['digits']}.{fraction[:6].ljust(6, '0')}").replace(tzinfo=UTC)
        moved = (moment + timedelta(seconds=seconds)).isoformat(timespec="microseconds")
    except (ValueError, OverflowError):
        return text
    digits = f".{moved[20:26].ljust(len(fraction), '0')[: len(fraction)]}" if fraction else ""
    return f"{moved[:19]}{digits}{found['zone'] or ''}"

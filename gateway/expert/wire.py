"""Rules on what crosses the wire: what was no message, what had to be mended, what is said again and again."""

from types import MappingProxyType

from gateway.expert.memory import REPEATS, Repeat, put
from gateway.expert.sight import Sight
from gateway.expert.values import plain, titled
from gateway.traffic.exchanges import Half, Leg
from translations.errors import known_code
from translations.messages import Kind, Remark

MALFORMED = 3  # in a row
STORM, STORM_WITHIN = 5, 60.0
# What chargers say in the same words because there are no others.
_ALIKE = frozenset({"Heartbeat", "DiagnosticsStatusNotification", "FirmwareStatusNotification"})
_INVALID = "the charger's answer is not valid"  # over SOAP this is told in an error of the gateway
STRAY = frozenset({"late", "double", "unknown"})
# Remarks that have a rule of their own; of all others the kind decides. An empty name: they are looked at elsewhere.
REMARKED = MappingProxyType(
    {
        "transactions.repeated": "",
        "outbox.stored": "message-stored",
        "outbox.delayed": "message-delivered-late",
        "away.answered": "answered-alone",
        "authorize.away": "answered-alone",
        "boot.spread": "boot-put-off",
        "numbers.odd": "odd-number",
        "numbers.unknown": "unmapped-id",
        "numbers.foreign": "unmapped-id",
        "doors.identity": "identity-in-header",
        "quirks.time-of-receipt": "odd-timestamp",
        "quirks.unusable-date": "odd-timestamp",
        "quirks.too-long": "text-cut",
    }
)


def remarks(sight: Sight) -> None:
    """What had to be done to messages, told once for each action and rule."""
    for leg in sight.exchange.legs:
        if (call := leg.call) is not None and call.remarks:
            _remarked(sight, call)
        if (answer := leg.answer) is not None and answer.remarks:
            _remarked(sight, answer)


def _remarked(sight: Sight, half: Half) -> None:
    action = titled(sight.exchange.action)
    for by in {remark.rule: remark for remark in half.remarks}.values():
        if rule := _rule(by):
            sight.lasts(rule, True, key=f"{action} {by.rule[:40]}", action=action, what=plain(by.rule))


def _rule(remark: Remark) -> str:
    found = REMARKED.get(remark.rule)
    if found is not None:
        return found
    if remark.kind is Kind.LOST:
        return "value-lost"
    mended = remark.kind is Kind.REPAIRED or (remark.kind is Kind.ASSUMED and remark.rule.startswith("quirks."))
    return "repaired-violation" if mended else ""


def refusals(sight: Sight) -> None:
    """What was not taken."""
    leg, state = sight.leg, sight.state
    if leg is None:
        return
    if not leg.refused:
        if state.malformed and sight.exchange.up:
            state.malformed = 0
            sight.lasts("malformed-in-a-row", False)
        return
    if leg.outcome == "SecurityError":
        sight.lasts("not-admitted", True, key=f"{hash(sight.who)}")
    elif _oversize(_note(leg)):
        sight.lasts("oversize", True)
    else:
        _no_message(sight, leg)


def _no_message(sight: Sight, leg: Leg) -> None:
    action, code = sight.exchange.action, known_code(leg.outcome)
    what = titled(action)
    sight.lasts("refused-message", True, key=f"{what} {code}", what=what, code=code)
    if not action and sight.who[1]:
        sight.state.malformed += 1
        count = sight.state.malformed
        sight.lasts("malformed-in-a-row", count >= MALFORMED, count=count)


def _note(leg: Leg) -> str:
    return (leg.call.note if leg.call else "") or (leg.answer.note if leg.answer else "")


def _oversize(note: str) -> bool:
    """Both doors say so in their own words, and the WebSocket servers in theirs."""
    return "exceeds limit of" in note or (note.startswith("expected at most ") and " bytes" in note and "unanswered" not in note)


def invalid(leg: Leg) -> bool:
    """Whether the answer was a result that could not be taken for one."""
    if leg.answer is None or leg.outcome in ("", "ok", "late", "double", "unknown"):
        return False
    return leg.answer.note.startswith(_INVALID) or (leg.wire == "json" and leg.answer.raw.lstrip().startswith(b"[3"))


def strays(sight: Sight) -> None:
    """Answers that nobody waits for."""
    for leg in sight.exchange.legs:
        if leg.outcome not in STRAY:
            continue
        if leg.outcome == "late":
            sight.tell("late-answer", leg=plain(leg.name))
        elif leg.outcome == "double":
            sight.tell("double-answer", leg=plain(leg.name))
        else:
            sight.tell("stray-answer", leg=plain(leg.name))


def storm(sight: Sight) -> None:
    """The same words again and again: nobody has told the charger what it wants to hear."""
    action, call = sight.exchange.action[:40], sight.leg.call if sight.leg else None
    if call is None or action in _ALIKE:
        return
    frame = call.canonical or call.raw
    said = hash(frame[frame.find(b"{") :])  # without the id
    known = sight.state.repeats.get(action)
    if known is None or known.said != said:
        if known is None:
            put(sight.state.repeats, action, Repeat(sight.at, 1, 0, said), REPEATS)
        else:
            known.since, known.count, known.before, known.said = sight.at, 1, 0, said
        sight.lasts("retry-storm", False, key=action)
        return
    often = known.often(sight.at, STORM_WITHIN, STORM)
    sight.lasts("retry-storm", often, key=action, action=titled(action) if often else "", count=known.count)

"""Rules on backends: slow ones, silent ones, and those that do not agree."""

from gateway.expert.sight import Sight, said
from gateway.expert.values import plain, table, titled, word
from gateway.expert.wire import STRAY, invalid
from gateway.traffic.exchanges import Leg
from gateway.traffic.record import CHARGER_LEG
from translations.errors import known_code

SLOW = 5.0  # seconds
_DELAYED = "outbox.delayed"


def asked(sight: Sight) -> None:
    """How each backend took the call."""
    legs = [leg for leg in sight.exchange.legs if leg.name != CHARGER_LEG and not leg.inward and leg.outcome not in STRAY]
    for leg in legs:
        slow = leg.latency is not None and leg.latency > SLOW
        silent = leg.answer is None and _waited(sight, leg)
        if slow or silent or sight.state.told:
            name = plain(leg.name)
            sight.lasts("slow-backend", slow, key=name, backend=name, latency=f"{leg.latency or 0:.1f}")
            sight.lasts("silent-backend", silent, key=name, backend=name)
        if leg.answer is not None and leg.outcome not in ("", "ok"):
            _erred(sight, leg, plain(leg.name))
    if len(legs) > 1:
        _agree(sight, legs)


def _waited(sight: Sight, leg: Leg) -> bool:
    """Whether the charger was told so, or had its answer long after this backend was asked; before that it may still answer."""
    answer = sight.leg.answer if sight.leg else None
    if answer is None or leg.call is None:
        return False
    return answer.at - leg.call.at >= SLOW or answer.note.startswith(f"backend {leg.name} gave no answer")


def _erred(sight: Sight, leg: Leg, name: str) -> None:
    action, code = titled(sight.exchange.action), known_code(leg.outcome)
    delayed = leg.call is not None and any(remark.rule == _DELAYED for remark in leg.call.remarks)
    rule = "invalid-answer-of-backend" if invalid(leg) else "letter-refused" if delayed else "backend-error"
    sight.lasts(rule, True, key=f"{name} {action} {code}", backend=name, action=action, code=code)


def _agree(sight: Sight, legs: list[Leg]) -> None:
    """Those that were asked the same have to come to the same verdict."""
    verdicts = {plain(leg.name): _verdict(leg) for leg in legs if leg.answer is not None and not invalid(leg)}
    if len(set(verdicts.values())) > 1:
        told = ", ".join(f"{name}: {verdict}" for name, verdict in verdicts.items())
        sight.tell("backends-disagree", action=titled(sight.exchange.action), verdicts=told)


def _verdict(leg: Leg) -> str:
    if leg.outcome != "ok":
        return known_code(leg.outcome)
    result = said(leg.answer)
    return word(table(result.get("idTagInfo")).get("status") or result.get("status")) or "ok"

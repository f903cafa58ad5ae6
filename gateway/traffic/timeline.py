"""An exchange as its steps, in the order in which they happened."""

from typing import NamedTuple

from gateway.traffic.exchanges import Exchange, Half, Leg

RECEIVED, SENT, ANSWERED, RETURNED = "received", "sent", "answered", "returned"


class Step(NamedTuple):
    """One message of an exchange. `latency`: seconds since what it followed, None of the first.

    `received`: the call, by the gateway; `sent`: the call, from it; `answered`: the answer, by a peer; `returned`: the answer,
    from the gateway. What is sent follows what was received, an answer its call, and what is returned the last answer before.
    """

    step: str
    leg: Leg
    half: Half
    latency: float | None


def timeline(exchange: Exchange) -> list[Step]:
    """Every message, by time."""
    steps = sorted((step for leg in exchange.legs for step in _of(leg)), key=lambda step: step.half.at)
    told: list[Step] = []
    for step in steps:
        told.append(step._replace(latency=_latency(step, told)))
    return told


def _of(leg: Leg) -> list[Step]:
    names = (RECEIVED, RETURNED) if leg.inward else (SENT, ANSWERED)
    return [Step(name, leg, half, None) for name, half in zip(names, (leg.call, leg.answer), strict=True) if half is not None]


def _latency(step: Step, before: list[Step]) -> float | None:
    if step.step == ANSWERED and step.leg.latency is not None:
        return step.leg.latency
    follows = {RECEIVED: (), SENT: (RECEIVED,), ANSWERED: (SENT,), RETURNED: (ANSWERED, RECEIVED)}[step.step]
    last = next((each for each in reversed(before) if each.step in follows), None)
    return None if last is None else max(step.half.at - last.half.at, 0.0)

"""One exchange as the rules see it: read when it is needed, with what is remembered of its charger, and what was found."""

from typing import Any

from gateway.expert.documented import DOCUMENTED
from gateway.expert.memory import TOLD, Memory, State, Who, put
from gateway.expert.values import body
from gateway.traffic.exchanges import Exchange, Finding, Half, Leg

AGAIN = 3600.0  # seconds after which a condition that lasts is told again


class Sight:
    """What one call of `look` works with. `leg` is the charger's, if the exchange has one. In unix time `at` is when it began,
    and `now` when it is looked at.
    """

    __slots__ = ("_payload", "_result", "at", "exchange", "found", "leg", "memory", "now", "state", "who")

    def __init__(
        self, exchange: Exchange, leg: Leg | None, who: Who, state: State, memory: Memory, at: float, now: float
    ) -> None:
        self.exchange, self.leg, self.who, self.state, self.memory = exchange, leg, who, state, memory
        self.at, self.now = at, now
        self.found: list[Finding] = []
        self._payload: dict[str, Any] | None = None
        self._result: dict[str, Any] | None = None

    @property
    def payload(self) -> dict[str, Any]:
        """What the call says on the charger's leg; empty where that cannot be read."""
        if self._payload is None:
            self._payload = said(self.leg.call if self.leg else None)
        return self._payload

    @property
    def result(self) -> dict[str, Any]:
        """What was answered on the charger's leg; empty where that was no result."""
        if self._result is None:
            self._result = said(self.leg.answer) if self.leg and self.leg.outcome == "ok" else {}
        return self._result

    def remarked(self, rule: str) -> bool:
        """Whether there is a remark by this rule on the charger's leg."""
        halves = (self.leg.call, self.leg.answer) if self.leg else ()
        return any(remark.rule == rule for half in halves if half for remark in half.remarks)

    def tell(self, rule: str, **facts: object) -> None:
        """This has happened."""
        row = DOCUMENTED[rule]
        self.found.append(Finding(rule, row.severity, row.text.format(**facts)))

    def lasts(self, rule: str, on: bool | None, key: str = "", **facts: object) -> None:
        """This is so, or is no longer: told when it begins, and each hour while it lasts. `key` tells apart what may be so
        several times at once; None says that nobody knows yet.
        """
        told = self.state.told
        if on is None or (not on and not told):
            return
        name = f"{rule} {key}" if key else rule
        if not on:
            told.pop(name, None)
            return
        before = told.get(name)
        if before is None or self.at - before >= AGAIN:
            told.pop(name, None)
            put(told, name, self.at, TOLD)
            self.tell(rule, **facts)


def said(half: Half | None) -> dict[str, Any]:
    """The payload of a message as it was understood."""
    return {} if half is None else body(half.canonical or half.raw)

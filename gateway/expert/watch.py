"""When the expert looks at an exchange: once it is answered, or was for long enough not; and again when more of it comes."""

from collections import OrderedDict
from collections.abc import Sequence

from gateway.expert.expert import Expert
from gateway.traffic.exchanges import PENDING, Exchange, Finding

MOST = 50_000  # exchanges without an answer


class Watch:
    """What the writer of the traffic log asks of each exchange, in its thread."""

    def __init__(self, expert: Expert) -> None:
        self._expert = expert
        self._unanswered: OrderedDict[str, None] = OrderedDict()

    @property
    def counts(self) -> dict[tuple[str, ...], float]:
        """How often each rule, of which severity, has found something. For other threads too."""
        return {key: count for key, count in self._expert.counts.copy().items()}  # noqa: C416 - another type

    def findings(self, exchange: Exchange) -> Sequence[Finding]:
        """What is new to say of an exchange. One that has an id was stored before."""
        if exchange.id and exchange.name not in self._unanswered:
            return self._expert.look_again(exchange)
        if exchange.outcome == PENDING:
            self._wait(exchange.name)
            return ()
        self._unanswered.pop(exchange.name, None)
        return self._expert.look(exchange)

    def _wait(self, name: str) -> None:
        self._unanswered[name] = None
        if len(self._unanswered) > MOST:
            self._unanswered.popitem(last=False)

"""One transaction in the log: where it began and ended, and which exchanges belong to its story."""

from dataclasses import dataclass

import msgspec

from gateway.traffic.exchanges import OK, Exchange
from gateway.traffic.filters import Filter
from gateway.traffic.language import all_of, option
from gateway.traffic.log import TrafficReader
from gateway.traffic.predicate import payload_text
from gateway.traffic.tree import Tree

BEFORE, AFTER = 300.0, 120.0  # seconds around it in which the plug, the card and the last status belong to it
SEARCHED = 5_000  # exchanges of one number that are looked at


class SessionError(Exception):
    """There is no such transaction, or several; the text says so."""


class _Call(msgspec.Struct):
    idTag: str | None = None


@dataclass(slots=True)
class Session:
    """A transaction of a charger. Times are unix seconds; `until` is None while it is open."""

    transaction: int
    charger: str
    tenant: str
    begun: float
    connector: int | None = None
    tag: str = ""
    until: float | None = None

    @property
    def tree(self) -> Tree:
        """What finds all that may belong to it."""
        charger = option("charger", "==", _literal(self.charger)) if self.charger else all_of()
        return all_of(charger, option("tenant", "==", _literal(self.tenant)) if self.tenant else all_of())

    @property
    def since(self) -> float:
        """From when on something may belong to it."""
        return self.begun - BEFORE

    def takes(self, exchange: Exchange) -> bool:
        """Whether the exchange belongs to its story. Notes its end."""
        if exchange.at < self.since or (self.until is not None and exchange.at > self.until + AFTER):
            return False
        if exchange.transaction is not None:
            if exchange.transaction != self.transaction or exchange.at < self.begun:
                return False
            if _ends(exchange):
                self.until = exchange.at
            return True
        return self._around(exchange)

    def _around(self, exchange: Exchange) -> bool:
        """Whether it is of the same card or connector, or of the whole charger while the transaction lasts."""
        if exchange.action in ("Authorize", "RemoteStartTransaction"):
            return bool(self.tag) and _tag(exchange) == self.tag
        if exchange.connector:
            return exchange.connector == self.connector
        return exchange.at >= self.begun and (self.until is None or exchange.at <= self.until)


def session(log: TrafficReader, transaction: int, chargers: Tree) -> Session:
    """The newest transaction of that number, among those of the exchanges that the tree takes. SessionError, LogError."""
    tree = all_of(chargers, option("transaction", "==", str(transaction)))
    found = log.newest(Filter(tree=tree, limit=SEARCHED)).exchanges
    whose = {(exchange.tenant, exchange.charger) for exchange in found}
    if not found:
        raise SessionError(f"expected a transaction in the log, got {transaction}, of which nothing is there")
    if len(whose) > 1:
        named = ", ".join(sorted("/".join(filter(None, one)) for one in whose)[:5])
        raise SessionError(
            f"expected the transaction of one charger, got {transaction} of several: {named}; --charger says which"
        )
    return _session(transaction, found)


def _session(transaction: int, found: list[Exchange]) -> Session:
    starts = [each for each in found if each.action == "StartTransaction" and each.up and each.outcome == OK]
    first = starts[-1] if starts else found[0]
    ends = [each.at for each in found if _ends(each) and each.at >= first.at]
    connector = first.connector or next((each.connector for each in found if each.connector and each.at >= first.at), None)
    tag = _tag(first) if starts else ""
    return Session(transaction, first.charger, first.tenant, first.at, connector, tag, ends[0] if ends else None)


def _ends(exchange: Exchange) -> bool:
    return exchange.up and exchange.action == "StopTransaction" and exchange.outcome == OK


def _tag(exchange: Exchange) -> str:
    try:
        return (msgspec.json.decode(payload_text(exchange) or "{}", type=_Call).idTag or "").strip().casefold()
    except (ValueError, RecursionError):
        return ""


def _literal(text: str) -> str:
    """The text as a glob that nothing else fits."""
    return "".join(f"[{char}]" if char in "*?[" else char for char in text)

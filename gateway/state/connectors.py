"""What is known of each charger's connectors, to say what `Occupied` means: OCPP 1.6 has several words for it."""

from collections import OrderedDict
from collections.abc import Iterable, Sequence

from gateway.state.store import Connector

MOST = 1_000_000
EACH = 100  # of one charger; chargers can invent numbers


class Connectors:
    """The newest transaction of each connector. Where there are too many, the oldest are forgotten.

    What changes something gives what is to be written: for whatever is forgotten a Connector without a transaction.
    """

    def __init__(self, most: int = MOST, each: int = EACH) -> None:
        self.most, self._each = most, each
        self._chargers: OrderedDict[str, dict[int, Connector]] = OrderedDict()
        self._count = 0

    def restore(self, known: Iterable[Connector]) -> None:
        """Take over what an earlier run knew."""
        for connector in known:
            self._put(connector)

    def started(self, identity: str, connector: int | None, transaction: int | None) -> Sequence[Connector]:
        """A transaction has begun there."""
        if connector is None or transaction is None:
            return ()
        begun = Connector(identity.casefold(), connector, transaction, False)
        self._put(begun)
        return (begun, *self._crowded(begun.identity))

    def stopped(self, identity: str, transaction: int | None) -> int | None:
        """The charger has stopped the transaction. Says at which connector, if that is known."""
        own = self._chargers.get(identity.casefold(), {})
        found = next((c for c in reversed(own.values()) if c.transaction == transaction and not c.over), None)
        if found is None:
            return None
        own[found.connector] = found._replace(over=True)
        return found.connector

    def freed(self, identity: str, connector: int | None) -> Sequence[Connector]:
        """It is Available. Nothing less ends what is known: a Faulted one charges on when the fault has gone, and chargers that
        resume a transaction after a restart say Unavailable first.
        """
        own = self._chargers.get(identity.casefold())
        if own is None or connector not in own:
            return ()
        return (self._forget(own, connector),)

    def now(self, identity: str, connector: int | None) -> Sequence[Connector]:
        """What is known of it; nothing for none, and for one of which nothing is known."""
        known = self._chargers.get(identity.casefold(), {}).get(connector) if connector is not None else None
        return () if known is None else (known,)

    def occupied(self, identity: str, connector: int | None) -> tuple[str, str]:
        """What `Occupied` means there, and why."""
        own = self._chargers.get(identity.casefold())
        known = own.get(connector) if own and connector is not None else None
        if known is None:
            return "Preparing", "no transaction is known there"
        return ("Finishing", "its transaction is over") if known.over else ("Charging", "a transaction is open there")

    def _put(self, connector: Connector) -> None:
        own = self._chargers.setdefault(connector.identity, {})
        self._chargers.move_to_end(connector.identity)
        self._count += own.pop(connector.connector, None) is None
        own[connector.connector] = connector

    def _crowded(self, identity: str) -> list[Connector]:
        own, gone = self._chargers[identity], []
        if len(own) > self._each:
            gone.append(self._forget(own, next(iter(own))))
        while self._count > self.most:
            oldest = next(iter(self._chargers.values()))
            gone.append(self._forget(oldest, next(iter(oldest))))
        return gone

    def _forget(self, own: dict[int, Connector], connector: int) -> Connector:
        known = own.pop(connector)
        self._count -= 1
        if not own:
            del self._chargers[known.identity]
        return known._replace(transaction=None)

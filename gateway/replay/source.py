"""Which exchanges are replayed or compared: those of the traffic log, or of a file that somebody has handed over."""

import time
from pathlib import Path
from typing import NamedTuple

from gateway.replay.plan import MOST
from gateway.traffic.exchanges import Exchange
from gateway.traffic.imports import imported
from gateway.traffic.log import TrafficReader
from gateway.traffic.options import asked, wanted
from gateway.traffic.predicate import compiled
from gateway.traffic.reading import fail
from gateway.traffic.sessions import SessionError, session
from gateway.traffic.tree import Tree, written


class Wanted(NamedTuple):
    """What was asked for: the number or the name of an exchange, or a filter; or a transaction."""

    text: str = ""
    transaction: int | None = None
    charger: str = ""

    @property
    def tree(self) -> Tree:
        """All of it as a filter; ends the command where the text is none."""
        return asked(self.text, charger=self.charger, transaction=self.transaction)

    @property
    def by_name(self) -> bool:
        """Whether the text may be the name of one exchange."""
        alone = self.transaction is None and not self.charger
        return alone and bool(self.text) and not any(char.isspace() or char in "\"'=<>~()" for char in self.text)

    def __str__(self) -> str:
        return self.text if self.by_name else written(self.tree)


def one(log: TrafficReader, name: str) -> Exchange:
    """The exchange of that number or name; ends the command where there is none."""
    found = log.one(name)
    if found is None:
        fail(f"expected the number or the name of an exchange in the log, got {name}")
    return found


def chosen(log: TrafficReader, asking: Wanted) -> list[Exchange]:
    """Exchanges of the log, oldest first."""
    if asking.by_name:
        if found := log.one(asking.text):
            return [found]
        if asking.text.isdecimal():
            return [one(log, asking.text)]
    if asking.transaction is None:
        return found_by(log, asking.tree, MOST)
    try:
        whole = session(log, asking.transaction, asking._replace(transaction=None).tree)
    except SessionError as error:
        fail(str(error))
    return [each for each in found_by(log, asking.tree, MOST) if whole.takes(each)]


def found_by(log: TrafficReader, tree: Tree, most: int) -> list[Exchange]:
    """What a filter finds, oldest first; more than `most` end the command."""
    found = log.newest(wanted(tree, most + 1)).exchanges
    if len(found) > most:
        fail(f"expected at most {most} exchanges, got more; narrow the filter")
    return sorted(found, key=lambda exchange: exchange.at)


def from_file(path: Path, asking: Wanted) -> list[Exchange]:
    """Exchanges of a file or folder, in the order in which they began; ends the command where it cannot be read."""
    holds = compiled(asking.tree, time.time())
    found: list[Exchange] = []
    try:
        for exchange in imported(path):
            if (asking.by_name and exchange.name == asking.text) or holds(exchange):
                found.append(exchange)
            if len(found) > MOST:
                fail(f"{path}: expected at most {MOST} exchanges, got more; narrow the filter")
    except OSError as error:
        fail(f"{path}: cannot be read: {(error.strerror or str(error)).lower()}")
    return sorted(found, key=lambda exchange: exchange.at)

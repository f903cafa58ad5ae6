"""What the rules remember: of each charger little, of all of them a bounded number, and who was heard last is kept longest."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

Who = tuple[str, str]  # a charger: tenant and identity, in lower case

# How many of each are remembered of one charger; the oldest goes first.
CONNECTORS, OPEN, CLOSED, STARTS, TOLD, WATCHES, REPEATS, TAGS = 24, 24, 16, 16, 32, 12, 8, 8


def put(known: dict[K, V], key: K, value: V, most: int) -> None:
    """Remember one thing more, and forget the oldest where there are too many."""
    if len(known) >= most and key not in known:
        del known[next(iter(known))]
    known[key] = value


@dataclass(slots=True)
class Window:
    """How often something happened since the first time within so many seconds; and in the window just before."""

    since: float = 0.0
    count: int = 0
    before: int = 0

    def add(self, at: float, seconds: float) -> int:
        """Count once more; how often it was."""
        lasted = at - self.since
        if not 0 <= lasted < seconds:
            self.before = self.count if 0 <= lasted < 2 * seconds else 0
            self.since, self.count = at, 0
        self.count += 1
        return self.count

    def often(self, at: float, seconds: float, many: int) -> bool | None:
        """Count once more; whether it was so often. None while it was so in the window before, and may be so again."""
        if self.add(at, seconds) >= many:
            return True
        return None if self.before >= many else False


@dataclass(slots=True)
class Connector:
    """What is known of one connector. Registers are in Wh; what is stamped is by the charger's clock."""

    status: str = ""
    stamped: float = 0.0
    changes: Window | None = None
    faults: Window | None = None
    register: float | None = None
    read_at: float = 0.0


@dataclass(slots=True)
class Transaction:
    """One that is open. `began` and `read_at` are by the charger's clock; a start that was not seen left no meter."""

    connector: int | None
    began: float
    meter: int | None = None
    seen: bool = True  # whether its start was
    readings: int = 0
    read_at: float = 0.0
    long: bool = False


@dataclass(slots=True)
class Repeat(Window):
    """A call that came before: what it said, and how often it did."""

    said: int = 0


@dataclass(slots=True)
class State:
    """What is remembered of one charger. Times are unix time by the gateway's clock."""

    name: str = ""  # its identity as it was first spelt
    heard: float = 0.0
    booted: bool = False
    interval: int = 0  # seconds between heartbeats, as it was told
    not_accepted: float = 0.0  # since when its registration is not
    boots: Window = field(default_factory=Window)
    minute: Window = field(default_factory=Window)
    version: str = ""
    wire: str = ""
    firmware: str = ""
    unit: int = 0  # digest of its serial numbers
    callback: int = 0  # digest of the address where it is called
    lag: float = 0.0  # seconds that its clock is behind, and since when it is so many
    lag_since: float = 0.0
    malformed: int = 0  # in a row
    next_watch: float = 0.0
    connectors: dict[int, Connector] = field(default_factory=dict)
    open: dict[int, Transaction] = field(default_factory=dict)
    closed: dict[int, float] = field(default_factory=dict)
    starts: dict[int, int] = field(default_factory=dict)  # digests of starts, and their transactions
    told: dict[str, float] = field(default_factory=dict)
    watches: dict[tuple[str, int], float] = field(default_factory=dict)
    repeats: dict[str, Repeat] = field(default_factory=dict)
    tags: dict[int, Window] = field(default_factory=dict)

    def connector(self, number: int) -> Connector:
        """What is known of the connector; new if need be."""
        known = self.connectors.get(number)
        if known is None:
            known = Connector()
            put(self.connectors, number, known, CONNECTORS)
        return known

    def open_at(self, number: int | None) -> int | None:
        """The transaction that is open at the connector, or may be there."""
        return next((each for each, known in self.open.items() if known.connector in (number, None)), None)

    def watch(self, rule: str, number: int, due: float) -> None:
        """Look again at what does not mean anything yet."""
        if (rule, number) not in self.watches:
            put(self.watches, (rule, number), due, WATCHES)
            self.next_watch = min(self.watches.values())


class Recent(OrderedDict[K, V], Generic[K, V]):
    """A table in which the last that were used are kept."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self._most = most

    def keep(self, key: K, value: V) -> None:
        """Remember it as the newest."""
        self[key] = value
        self.move_to_end(key)
        if len(self) > self._most:
            self.popitem(last=False)


class Memory:
    """All that is remembered: of `most` chargers, and as many units and places where one of them was."""

    def __init__(self, most: int) -> None:
        self.chargers: Recent[Who, State] = Recent(most)
        self.units: Recent[int, Who] = Recent(most)  # digest of a serial number: who had it last
        self.places: Recent[int, Who] = Recent(most)  # digest of a source, a maker and a model: who booted there last
        self._nobody = State()

    def name(self, who: Who) -> str:
        """The identity as it was spelt, if that is still known."""
        known = self.chargers.get(who)
        return known.name if known is not None else who[1]

    def state(self, who: Who, name: str, stranger: bool) -> State:
        """What is known of a charger. Strangers, who were turned away, share one: they must not drive out who is known."""
        found = self.chargers.get(who)
        if found is None:
            if stranger or not who[1]:
                return self._nobody
            found = State(name)
            self.chargers.keep(who, found)
        else:
            self.chargers.move_to_end(who)
        return found

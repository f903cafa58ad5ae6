"""The faces of a store of exchanges: what writes it, what reads it, and what can be wrong with it."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from gateway.traffic.exchanges import Exchange
from gateway.traffic.filters import Filter


class LogError(Exception):
    """The log cannot be used; the text says why."""


class FormatError(LogError):
    """What is there is no traffic log of a format that is known here."""


class Unfit(LogError):
    """These exchanges cannot be stored, now or later. Others can."""


class Corrupt(LogError):
    """What is stored cannot be read any more."""


class Interrupted(LogError):
    """The question took longer than it may."""


class Found(NamedTuple):
    """Exchanges, oldest first. `searched`: free text was looked for in so many of the newest and no further; None: everywhere."""

    exchanges: list[Exchange]
    searched: int | None = None


@dataclass(frozen=True, slots=True)
class Count:
    """How many calls of an action had an outcome on a leg; it is empty where there was no answer."""

    leg: str
    action: str
    outcome: str
    calls: int


@dataclass(frozen=True, slots=True)
class RemarkCount:
    """How many remarks of a kind a rule left."""

    kind: str
    rule: str
    remarks: int


@dataclass(frozen=True, slots=True)
class FindingCount:
    """In how many exchanges a rule found something."""

    severity: str
    rule: str
    findings: int


@dataclass(frozen=True, slots=True)
class Latency:
    """How long answers took, in seconds."""

    leg: str
    action: str
    answers: int
    p50: float
    p99: float


@dataclass(frozen=True, slots=True)
class Stats:
    """What passed, in numbers; `first` and `last` are unix times."""

    exchanges: int
    first: float | None
    last: float | None
    counts: tuple[Count, ...]
    remarks: tuple[RemarkCount, ...]
    latencies: tuple[Latency, ...]
    findings: tuple[FindingCount, ...] = ()


class TrafficReader(Protocol):
    """A store, read while it is being written. Every method may raise LogError."""

    def newest(self, wanted: Filter) -> Found:
        """The newest that are wanted, `wanted.limit` at most; with `after_id` the next ones instead, by id."""

    def each(self, wanted: Filter) -> Iterator[Exchange]:
        """All that are wanted and were there when it began, as they passed; with `limit` the newest of them."""

    def one(self, name: str) -> Exchange | None:
        """The exchange of that name, or of that id."""

    def stats(self, wanted: Filter) -> Stats:
        """The numbers of all that are wanted; a limit counts for nothing here."""

    def last(self) -> int:
        """The greatest id; 0 of an empty store."""

    def first_since(self, at: float) -> int:
        """The least id of what passed from that time on; one more than the greatest where nothing did."""

    @property
    def files(self) -> Sequence[Path]:
        """The files that belong to it, whether they exist or not; none where it has none."""

    def close(self) -> None:
        """Read no more."""


class BoundedReader(TrafficReader, Protocol):
    """A store, read by somebody who does not wait for ever."""

    def interrupt_after(self, seconds: float) -> None:
        """Have what takes longer raise Interrupted."""


class TrafficWriter(Protocol):
    """A store, as the one thread that writes it sees it. Every method may raise LogError, and then has changed nothing."""

    def named(self, names: Collection[str]) -> dict[str, Exchange]:
        """Those of these exchanges that are stored, by name."""

    def write(self, exchanges: Sequence[Exchange]) -> None:
        """Store them all, or none. What has no id gets the next one; what has one takes the place of what was stored under it."""

    def prune(self, before: float, size: int, limit: int) -> int:
        """Remove at most `limit` of the oldest: from before that time, or while more than `size` bytes are stored; how many."""

    def remove(self, ids: Sequence[int]) -> None:
        """Remove these."""

    def there(self) -> bool:
        """Whether it still is where it was opened."""

    def close(self) -> None:
        """Write no more."""


class TrafficLog(TrafficReader, TrafficWriter, Protocol):
    """A whole store of exchanges."""

"""Exchanges for tests, made of the messages that crossed the wires, and written as the gateway writes them."""

import contextlib
from collections.abc import Iterable
from itertools import groupby
from pathlib import Path

from gateway.traffic.assembly import assembled
from gateway.traffic.exchanges import Exchange
from gateway.traffic.record import Record
from gateway.traffic.writer import Keeping, LogWriter


def exchange(*records: Record, id: int = 1) -> Exchange:
    """The exchange of these messages."""
    made = assembled(records)
    made.id = id
    return made


def exchanges(records: Iterable[Record]) -> list[Exchange]:
    """An exchange for each run of messages of one name."""
    return [assembled(list(some)) for _, some in groupby(records, lambda record: record.exchange or id(record))]


def write(path: Path, *records: Record, keeping: Keeping = Keeping()) -> None:  # noqa: B008
    """Into the log, as the gateway does; each run of messages of one name is an exchange of its own."""
    with contextlib.closing(LogWriter(path, keeping)) as log:
        log.write(exchanges(records))

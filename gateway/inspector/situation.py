"""How a charger stands with its backends, as people want to see it."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

from gateway.state.numbers import Transaction

Role = Literal["answer", "listen"]


class Tie(NamedTuple):
    """One backend of a charger."""

    backend: str
    role: Role
    seat: bool  # whether it is the one that answers now
    up: bool  # whether a call of this charger would reach it
    since: float  # since when that is so, unix seconds
    letters: int  # that wait there, or are in flight


class Situation(NamedTuple):
    """Its backends in the order of the route, and its open transactions, the oldest first."""

    backends: Sequence[Tie]
    transactions: Sequence[Transaction]

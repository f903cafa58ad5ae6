"""The one shape of all that answers: a router, a backend, a charger's link, a recorder around any of them."""

import itertools
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from translations.messages import Answer, Call, Error, Result

Exchange = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class NotSent(Error):
    """An error that says besides: nobody heard the call. Another backend may be asked, or the charger asked to keep it."""


@dataclass(frozen=True, slots=True)
class Broken(Error):
    """An error that says besides: the backend may have heard the call, but the connection ended before it answered."""


@dataclass(frozen=True, slots=True)
class Unanswered(Error):
    """An error that says besides: `backend` heard the call, gave no answer in so many seconds, and may still answer."""

    backend: str = ""
    waited: float = 0.0


@dataclass(frozen=True, slots=True)
class Durable(Result):
    """A result that may be heard once `rows` are on disk. `landed` hears, once, whether they came there.

    If `strict`, there is no such answer without the disk: the charger is to keep what it said.
    """

    rows: tuple[tuple[str, tuple[Any, ...]], ...] = ()
    landed: Callable[[bool], None] | None = None
    strict: bool = False


@dataclass(frozen=True, slots=True)
class Silence(Error):
    """An answer that is not given: whoever made the call hears nothing."""


class Standing(NamedTuple):
    """Whether a backend is there for a charger, and since when that is so (event loop time)."""

    up: bool
    since: float


class Ids:
    """Ids that no leg has seen before: random per process, counted within it. 36 characters at most (OCPP-J 1.6, 4.1.4)."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(8)
        self._count = itertools.count(1)

    def __call__(self) -> str:
        return f"{self._prefix}-{next(self._count):x}"

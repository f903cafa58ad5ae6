"""The one shape of all that answers: a router, a backend, a charger's link, a recorder around any of them."""

import itertools
import secrets
from collections.abc import Awaitable, Callable

from translations.messages import Answer, Call

Exchange = Callable[[Call], Awaitable[Answer]]


class Ids:
    """Ids that no leg has seen before: random per process, counted within it. 36 characters at most (OCPP-J 1.6, 4.1.4)."""

    def __init__(self) -> None:
        self._prefix = secrets.token_hex(8)
        self._count = itertools.count(1)

    def __call__(self) -> str:
        return f"{self._prefix}-{next(self._count):x}"

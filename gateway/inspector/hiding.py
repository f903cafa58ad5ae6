"""What the API hides: what is personal or secret, unless somebody who may see it asks for it, which leaves a line."""

import asyncio
from collections.abc import Callable, Iterator
from itertools import chain, repeat
from re import fullmatch
from typing import Any

from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException
from starlette.requests import Request

from gateway.redaction.audit import Audit, AuditError, RevealRight
from gateway.redaction.pseudonyms import FORM
from gateway.redaction.redactor import Redactor
from gateway.traffic.exchanges import Exchange
from gateway.traffic.tree import written
from gateway.traffic.unnamed import unnamed

HEADER = "reveal-token"
_NOTHING = object()  # what was shown where nothing was


class Hiding:
    """What is shown of exchanges and payloads to whoever asks. The header `Reveal-Token` asks for it in clear."""

    def __init__(self, redactor: Redactor, audit: Audit, right: RevealRight) -> None:
        self.redactor, self._audit, self._right = redactor, audit, right

    async def shown(self, request: Request) -> Redactor | None:
        """What takes out what is hidden; None for those who may see it, and asked for it. Raises HTTPException."""
        return None if await self._revealed(request) else self.redactor

    async def of(self, request: Request) -> Callable[[Exchange], Exchange]:
        """What is to be done to each exchange before it is shown. Raises HTTPException for those who may not ask in clear."""
        return _as_it_is if await self._revealed(request) else self.redactor.exchange

    async def value(self, request: Request, value: Any, action: str) -> Any:
        """A payload as it is shown. Raises HTTPException as `of` does."""
        return value if await self._revealed(request) else self.redactor.value(value, action)

    async def _revealed(self, request: Request) -> bool:
        given = request.headers.get(HEADER)
        if given is None:
            return False
        if not self._right.held(given):
            raise HTTPException(403, "expected the token of those who may see what is hidden")
        who = request.client.host if request.client else "somebody"
        asked = f"{request.method} {request.url.path}?{self._asked(request.query_params)}".removesuffix("?")
        try:
            await asyncio.to_thread(self._audit.revealed, who, asked, None)
        except AuditError as error:
            raise HTTPException(503, str(error)) from None
        return True

    def _asked(self, parameters: QueryParams) -> str:
        """The parameters without those whom they look for."""
        return "&".join(f"{name}={self._unnamed(name, said)}" for name, said in parameters.multi_items())

    def _unnamed(self, name: str, said: str) -> str:
        if name == "text":
            return self.redactor.tag(said)
        if name != "filter":
            return said
        from gateway.traffic.language import FilterError, parsed  # the parser takes a moment to import

        try:
            return written(unnamed(parsed(said), self.redactor))
        except FilterError:
            return "(no filter)"


def _as_it_is(exchange: Exchange) -> Exchange:
    return exchange


def restored(given: Any, shown: Any, hidden: Any) -> Any:
    """What somebody means who has changed a payload that was shown with pseudonyms: they stand for what they hide."""
    return _restored(given, shown, hidden, dict(_standing(shown, hidden)))


def _restored(given: Any, shown: Any, hidden: Any, stands: dict[str, Any]) -> Any:
    """First by its place, where it was left as it was shown; else, since items of lists move, by the pseudonym itself."""
    if given == shown:
        return hidden
    if isinstance(given, dict):
        pairs = _by_name(shown, hidden)
        return {name: _restored(each, *pairs.get(name, (_NOTHING, None)), stands) for name, each in given.items()}
    if isinstance(given, list):
        items = chain(_by_place(shown, hidden), repeat((_NOTHING, None)))
        return [_restored(each, *pair, stands) for each, pair in zip(given, items, strict=False)]
    return stands.get(given, given) if isinstance(given, str) else given


def _by_name(shown: Any, hidden: Any) -> dict[str, tuple[Any, Any]]:
    if not (isinstance(shown, dict) and isinstance(hidden, dict)):
        return {}
    return {name: (shown[name], hidden[name]) for name in shown.keys() & hidden.keys()}


def _by_place(shown: Any, hidden: Any) -> list[tuple[Any, Any]]:
    return list(zip(shown, hidden, strict=False)) if isinstance(shown, list) and isinstance(hidden, list) else []


def _standing(shown: Any, hidden: Any) -> Iterator[tuple[str, Any]]:
    """Each pseudonym, with what it stands for."""
    for pair in (*_by_name(shown, hidden).values(), *_by_place(shown, hidden)):
        yield from _standing(*pair)
    if isinstance(shown, str) and shown != hidden and fullmatch(FORM, shown):
        yield shown, hidden

"""The filters of the traffic doors, as query parameters."""

import time
from collections.abc import Collection

from starlette.datastructures import QueryParams
from starlette.exceptions import HTTPException

from gateway.traffic.filters import Filter, moment
from gateway.traffic.tree import EVERYTHING, Tree, settled
from translations.messages import Kind

DEFAULT_LIMIT = 100
MOST = 1000
LONGEST = 300
LONGEST_FILTER = 2_000
GREATEST_ID = 2**63 - 1  # SQLite's

_TEXTS = ("charger", "tenant", "action", "leg", "outcome", "remark", "exchange", "text")
_TIMES = ("since", "until")
FOLLOWED = (*_TEXTS, *_TIMES, "after", "filter")
LISTED = (*FOLLOWED, "limit")


def wanted(parameters: QueryParams, names: Collection[str]) -> Filter:
    """The filter that the parameters ask for; only those names may be there. Raises HTTPException."""
    said = told(parameters, names)
    if said.get("remark", "") not in ("", *Kind):
        raise HTTPException(400, f"remark: expected {', '.join(Kind)}, got {said['remark']}")
    limit = number(said, "limit", 1, MOST)
    return Filter(
        charger=said.get("charger", ""),
        tenant=said.get("tenant", ""),
        action=said.get("action", ""),
        leg=said.get("leg", ""),
        outcome=said.get("outcome", ""),
        remark=said.get("remark", ""),
        exchange=said.get("exchange", ""),
        text=said.get("text", ""),
        since=_time(said, "since"),
        until=_time(said, "until"),
        limit=DEFAULT_LIMIT if limit is None else limit,
        after_id=number(said, "after", 0, GREATEST_ID),
        tree=_tree(said.get("filter", "")),
    )


def _tree(text: str) -> Tree:
    if not text:
        return EVERYTHING
    from gateway.traffic.language import FilterError, parsed  # the parser takes a moment to import

    try:
        return settled(parsed(text), time.time())
    except FilterError as error:
        raise HTTPException(400, f"filter: {error.problem}, at character {error.position + 1}") from None


def told(parameters: QueryParams, names: Collection[str]) -> dict[str, str]:
    """What each parameter says, once; only those names may be there. Raises HTTPException."""
    return {name: _one(parameters, name, names) for name in parameters}


def _one(parameters: QueryParams, name: str, names: Collection[str]) -> str:
    if name not in names:
        raise HTTPException(400, f"expected the parameters {', '.join(names)}, got {name[:60]}")
    values = parameters.getlist(name)
    if len(values) > 1:
        raise HTTPException(400, f"{name}: expected one value, got {len(values)}")
    longest = LONGEST_FILTER if name == "filter" else LONGEST
    if len(values[0]) > longest:
        raise HTTPException(400, f"{name}: expected at most {longest} characters, got {len(values[0])}")
    return values[0]


def _time(said: dict[str, str], name: str) -> float | None:
    if not said.get(name):
        return None
    try:
        return moment(said[name], time.time())
    except ValueError as error:
        raise HTTPException(400, f"{name}: {error}") from None


def number(said: dict[str, str], name: str, least: int, most: int) -> int | None:
    """The whole number that a parameter says; None: it says nothing. Raises HTTPException."""
    text = said.get(name, "")
    if not text:
        return None
    value = int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else -1
    if not least <= value <= most:
        raise HTTPException(400, f"{name}: expected a whole number from {least} to {most}, got {text[:20]}")
    return value

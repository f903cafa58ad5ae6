"""Frames of strangers, and what a session makes of them: `python -m fuzz.frames`."""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

with atheris.instrument_imports(include=["translations"]):
    from fuzz import mutations
    from fuzz.contract import STAMP, check, check_writing, made
    from fuzz.run import frames, start
    from translations import ocppj
    from translations.deltas import known_actions
    from translations.messages import Error, Message, Result, Side, Version
    from translations.tongue import Tongue

TONGUES = tuple(Tongue(version, side) for version in Version for side in Side)


def one_input(data: bytes) -> None:
    """A frame is a message that says what another parser reads in it, or an OcppError; and so it is in every tongue."""
    message = made(lambda: ocppj.decode(data))
    if message is None:
        return
    check_reading(message, data)
    for tongue in TONGUES:
        action = message.id if isinstance(message, Result) else message.action
        heard = made(_hearing(tongue, message, action))
        if heard is not None:
            check(heard, not _known(heard, tongue.side))
            check_writing(heard)
            made(_saying(tongue, heard, action))


def _known(message: Message, side: Side) -> bool:
    """Whether the schema has a say in it: what is not addressed to this side is of a vendor, who knows what it means."""
    asked = next(s for s in Side if s is not side) if isinstance(message, Result) else side
    return message.action in known_actions(asked)


def _hearing(tongue: Tongue, message: Message, action: str) -> Callable[[], Message]:
    return lambda: tongue.heard(message, action, STAMP)


def _saying(tongue: Tongue, message: Message, action: str) -> Callable[[], bytes]:
    return lambda: ocppj.encode(tongue.said(message, action))


def check_reading(message: Message, data: bytes) -> None:
    """Nothing of the frame is lost in silence, and what is written again says the same."""
    frame = json.loads(data, parse_float=Decimal, object_pairs_hook=_once)
    said = dict(message.details) if isinstance(message, Error) else message.payload
    assert said == (frame[-1] or {})
    assert json.loads(ocppj.encode(message), parse_float=Decimal)[-1] == said
    again = ocppj.decode(ocppj.encode(message))
    assert ocppj.encode(again) == ocppj.encode(message)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


if __name__ == "__main__":
    start("frames", one_input, frames(), mutations.frame)

"""What the CSMS and the JSON charger share: one end of OCPP-J 1.6 made with the ocpp package, judged by its schemas.

Answers come from a table in canonical form; calls and answers that arrive are kept as they were on the wire.
"""

import json
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ocpp.charge_point import camel_to_snake_case, remove_nones, serialize_as_dict, snake_to_camel_case
from ocpp.v16 import ChargePoint, call, call_result

from tests.peers.seen import Seen

Payload = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Heard:
    """One call that arrived."""

    identity: str
    action: str
    payload: Payload
    raw: str


def exact(text: str | bytes) -> Any:
    """JSON with the digits of its fractions."""
    return json.loads(text, parse_float=Decimal)


class Stack16(ChargePoint):  # type: ignore[misc]
    """One end of a connection."""

    def __init__(self, identity: str, connection: Any, answers: Mapping[str, Payload], heard: Seen[Heard]) -> None:
        super().__init__(identity, connection, response_timeout=20)
        self.connection = connection
        self.heard = heard
        self.route_map = {action: {"_on_action": _answering(action, answers)} for action in answers}

    async def take(self, raw: str) -> None:
        """Let the package have one frame."""
        frame = exact(raw)
        if frame[0] == 2:
            self.heard.add(Heard(self.id, frame[2], frame[3], raw))
        await self.route_message(raw)

    async def make(self, action: str, payload: Payload, **options: Any) -> Payload:
        """Make a call in canonical form; raises the package's exception for a CALLERROR."""
        request = getattr(call, action)(**camel_to_snake_case(payload))
        result = await self.call(request, suppress=False, **options)
        return dict(snake_to_camel_case(remove_nones(serialize_as_dict(result))))


def _answering(action: str, answers: Mapping[str, Payload]) -> Callable[..., Any]:
    """What the package calls when `action` arrives."""

    def answer(**_: Any) -> Any:
        return getattr(call_result, action)(**camel_to_snake_case(answers[action]))

    return answer


Manner = Callable[[Stack16, str], Coroutine[Any, Any, None]]
"""What an end does with a frame that arrives."""


async def properly(end: Stack16, raw: str) -> None:
    """As the package has it."""
    await end.take(raw)


async def silently(end: Stack16, raw: str) -> None:
    """Hears calls and answers none; takes answers."""
    frame = exact(raw)
    if frame[0] == 2:
        end.heard.add(Heard(end.id, frame[2], frame[3], raw))
    else:
        await end.route_message(raw)


async def hanging_up(end: Stack16, raw: str) -> None:
    """Closes the connection in the middle of a call."""
    await silently(end, raw)
    await end.connection.close(1011, "goodbye")


def saying(*frames: str) -> Manner:
    """Answers each call with these frames; `$id` in them is the id of the call."""

    async def manner(end: Stack16, raw: str) -> None:
        await silently(end, raw)
        frame = exact(raw)
        for text in frames if frame[0] == 2 else ():
            await end.connection.send(text.replace("$id", frame[1]))

    return manner


def refusing(code: str, text: str = "no") -> Manner:
    """Answers each call with a CALLERROR."""
    return saying(json.dumps([4, "$id", code, text, {}]))

"""What an exchange says: its call and its answer as they were understood, on the leg that counts."""

from typing import Any

from gateway.traffic.exchanges import Exchange, Half, Leg
from gateway.traffic.export import frame_of
from translations import ocppj
from translations.errors import OcppError
from translations.messages import Answer, Call, Error, Message, Result

OUTCOME = "outcome"
OK = "ok"


def first(exchange: Exchange) -> Leg | None:
    """The leg where the call came in; of a call that the gateway made by itself, the first."""
    return next((leg for leg in exchange.legs if leg.inward), exchange.legs[0] if exchange.legs else None)


def call_of(leg: Leg) -> Call | None:
    """The call; None of what was refused, or cannot be read."""
    message = None if leg.refused else _message(leg, leg.call)
    return message if isinstance(message, Call) else None


def answer_of(leg: Leg) -> Answer | None:
    """The answer; None where there is none, or none that can be read."""
    message = _message(leg, leg.answer)
    return None if isinstance(message, Call) else message


def _message(leg: Leg, half: Half | None) -> Message | None:
    frame = None if half is None else frame_of(leg, half)
    try:
        return None if frame is None else ocppj.decode(frame)
    except OcppError:
        return None


def answer_value(answer: Answer | None) -> dict[str, Any]:
    """An answer as a value to compare: the payload with its outcome; of an error the code alone, for texts are for people."""
    if answer is None:
        return {OUTCOME: ""}
    return {OUTCOME: answer.code} if isinstance(answer, Error) else {OUTCOME: OK, **answer.payload}


def value_of(exchange: Exchange, leg: Leg | None) -> dict[str, Any]:
    """An exchange as a value to compare."""
    call, answer = (None, None) if leg is None else (call_of(leg), answer_of(leg))
    return {"action": exchange.action, "call": call.payload if call else None, "answer": answer_value(answer)}


def granted(answer: Answer | None) -> int | None:
    """The transactionId that an answer gives."""
    found = answer.payload.get("transactionId") if isinstance(answer, Result) else None
    return found if type(found) is int else None

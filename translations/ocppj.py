"""The OCPP-J frames [2, ...], [3, ...] and [4, ...]: bytes to messages and back. The payload passes whole.

What would be lost on the way is refused: of a key that comes twice, JSON parsers keep one, and not all the same one.
"""

import json
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from translations.errors import FormationViolation, ProtocolError, known_code
from translations.messages import Call, Error, Kind, Message, Remark, Result
from translations.step import shown

CALL, RESULT, ERROR = 2, 3, 4
MAX_DEPTH = 100  # OCPP needs seven levels; what comes after us walks payloads recursively
MAX_VALUES = 50_000  # parsed, a value takes some thirty times the bytes that it was written in; a full local list has 10,000
MAX_DIGITS, MAX_EXPONENT = 100, 99  # Java's BigDecimal(0.1) has 55 digits; int() of 1e999999999 would take all memory
MAX_ID = 255  # characters; OCPP-J 1.6, 4.1.4 has 36, and longer ones are seen
MAX_ACTION = 100

_SPACE = b" \t\r\n"  # RFC 8259, 2
_STRIDE = MAX_DIGITS // 5
_DIGITS_AS_ZEROS = bytes.maketrans(b"123456789", b"000000000")


def _number(text: str) -> Decimal:
    value = Decimal(text)
    if len(text) > MAX_DIGITS and len(value.as_tuple().digits) > MAX_DIGITS:
        raise OverflowError
    if not -MAX_EXPONENT <= value.adjusted() <= MAX_EXPONENT:
        raise OverflowError
    return value


_DECODER = msgspec.json.Decoder(float_hook=_number)
_ENCODER = msgspec.json.Encoder(decimal_format="number")


class NumericId(str):
    """A message id that came as a JSON number: text to all who look at it, a number again when it is echoed.

    OCPP-J 1.6, 4.1.4 wants text; mobilityhouse/ocpp accepts and echoes numbers, so there are peers that send them.
    """

    __slots__ = ()


class BadAnswer(FormationViolation):
    """A frame that says it answers `message_id` but is no answer. It is never answered itself."""


def decode(data: str | bytes) -> Message:
    """Read one frame. Raises FormationViolation or ProtocolError, with `message_id` set where it may be answered."""
    try:
        raw = data.encode() if isinstance(data, str) else data
    except UnicodeEncodeError:  # half a surrogate pair
        raise _no_json("not UTF-8") from None
    frame = _parse(raw)
    if type(frame) is not list:
        raise FormationViolation(f"frame: expected list, got {_name(frame)}")
    if not frame:
        raise FormationViolation("frame: expected message type number, got empty list")
    kind = frame[0]
    if type(kind) is not int:
        raise FormationViolation(f"frame[0]: expected message type number, got {_name(kind)}")
    reader = _READERS.get(kind)
    if reader is None:
        # OCPP-J 1.6, 4.1.3: "When a server receives a message with a Message Type Number not in this list, it SHALL
        # ignore the message payload." So no id: what the second item means is not known.
        raise ProtocolError(f"frame[0]: expected 2, 3 or 4, got {kind}"[:80])
    message = reader(frame)
    if not _whole(raw, frame):
        _look_closer(raw, message)
    return message


def encode(message: Message) -> bytes:
    """Write one frame: compact, keys in the order given. Raises FormationViolation for what JSON cannot say."""
    try:
        return _ENCODER.encode(_frame(message))
    except RecursionError:
        raise _too_deep() from None
    except (ValueError, ArithmeticError):  # half a surrogate pair; an integer beyond 64 bits
        raise FormationViolation(f"{message.action}: expected text and numbers that JSON can carry") from None


def _frame(message: Message) -> tuple[Any, ...]:
    if isinstance(message, Result):
        return (RESULT, _wire_id(message.id), message.payload)
    if isinstance(message, Call):
        return (CALL, _wire_id(message.id), message.action, message.payload)
    return (ERROR, _wire_id(message.id), message.code, message.text, dict(message.details))


def _wire_id(message_id: str) -> str | msgspec.Raw:
    return msgspec.Raw(message_id.encode()) if isinstance(message_id, NumericId) else message_id


def _parse(raw: bytes) -> Any:
    try:
        frame = _DECODER.decode(raw)
    except RecursionError:
        raise _too_deep() from None
    except (ValueError, ArithmeticError) as error:  # bad JSON, bad UTF-8, a number out of bounds
        raise _no_json(_reason(error)) from None
    brackets = raw.count(b"[") + raw.count(b"{")
    if brackets > MAX_DEPTH and _deep(frame):
        raise _too_deep()
    if len(raw) > MAX_VALUES and raw.count(b",") + brackets > MAX_VALUES and _many(frame):
        raise FormationViolation(f"frame: expected at most {MAX_VALUES} values, got more")
    return frame


def _no_json(reason: str) -> FormationViolation:
    return FormationViolation(f"frame: expected JSON in UTF-8: {reason}")


def _reason(error: Exception) -> str:
    if isinstance(error, msgspec.DecodeError):
        text = str(error).removeprefix("JSON is malformed: ")
        return text[:1].lower() + text[1:120]
    return "not UTF-8" if isinstance(error, UnicodeError) else "a number out of range"


# --- what a parser loses in silence ------------------------------------------------------------------------------------


def _whole(raw: bytes, frame: Any) -> bool:
    """Whether what was parsed is surely all that was written, which is so where it is written again in the same characters.

    Without the spaces that will do too: those inside of text go on both sides, and neither keys nor their quotes do.
    """
    written = _ENCODER.encode(frame)
    if written != raw and written.translate(None, _SPACE) != raw.translate(None, _SPACE):
        return False
    # A number with too many digits covers so many places of every so many.
    return b"00000" not in raw[::_STRIDE].translate(_DIGITS_AS_ZEROS)


def _look_closer(raw: bytes, message: Message) -> None:
    """Refuse a key that comes twice, and a number of too many digits. Raises FormationViolation; slow."""
    kind = FormationViolation if isinstance(message, Call) else BadAnswer

    def once(pairs: list[tuple[str, Any]]) -> None:
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise kind(f"frame: expected each key once, got {shown(key)} twice", message_id=message.id)
            seen.add(key)

    def few(digits: str) -> None:
        found = len(digits.lstrip("-"))
        if found > MAX_DIGITS:
            raise kind(f"frame: expected numbers of at most {MAX_DIGITS} digits, got {found}", message_id=message.id)

    json.loads(raw, object_pairs_hook=once, parse_int=few, parse_float=len)


def _too_deep() -> FormationViolation:
    return FormationViolation(f"frame: expected at most {MAX_DEPTH} levels of nesting, got more")


def _deep(frame: Any) -> bool:
    level = [frame]
    for _ in range(MAX_DEPTH):
        level = [
            child
            for node in level
            for child in (node.values() if type(node) is dict else node)
            if type(child) is dict or type(child) is list
        ]
        if not level:
            return False
    return True


def _many(frame: Any) -> bool:
    found = 0
    nodes: list[Any] = [[frame]]
    for node in nodes:  # which grows meanwhile
        found += len(node)
        if found > MAX_VALUES:
            return True
        nodes += [child for child in (node.values() if type(node) is dict else node) if type(child) in (dict, list)]
    return False


def _read_call(frame: list[Any]) -> Call:
    message_id = _id(frame)
    if len(frame) != 4:
        raise FormationViolation(f"frame: expected 4 items, got {len(frame)}", message_id=message_id)
    action, payload = frame[2], frame[3]
    if type(action) is not str:
        raise FormationViolation(f"frame[2]: expected text, got {_name(action)}", message_id=message_id)
    if not action:
        raise FormationViolation("frame[2]: expected an action, got empty text", message_id=message_id)
    if len(action) > MAX_ACTION:
        text = f"frame[2]: expected an action of at most {MAX_ACTION} characters, got {len(action)}"
        raise FormationViolation(text, message_id=message_id)
    if payload is None:  # OCPP-J 1.6, 4.2.1: null and {} both say that there is no payload
        payload = {}
    elif type(payload) is not dict:
        raise FormationViolation(f"frame[3]: expected object, got {_name(payload)}", message_id=message_id)
    return Call(action, payload, message_id)


def _read_result(frame: list[Any]) -> Result:
    message_id = _id(frame)
    _expect(len(frame) == 3, f"frame: expected 3 items, got {len(frame)}", message_id)
    payload = {} if frame[2] is None else frame[2]
    if type(payload) is not dict:
        raise BadAnswer(f"frame[2]: expected object, got {_name(payload)}", message_id=message_id)
    return Result(payload, message_id)


def _read_error(frame: list[Any]) -> Error:
    message_id = _id(frame)
    _expect(len(frame) == 5, f"frame: expected 5 items, got {len(frame)}", message_id)
    _, _, spelt, text, details = frame
    _expect(type(spelt) is str, f"frame[2]: expected text, got {_name(spelt)}", message_id)
    _expect(text is None or type(text) is str, f"frame[3]: expected text, got {_name(text)}", message_id)
    _expect(details is None or type(details) is dict, f"frame[4]: expected object, got {_name(details)}", message_id)
    code = known_code(spelt)
    detail = f"{spelt[:80]} read as {code}"
    remarks = () if code == spelt else (Remark(Kind.CHANGED, "errorCode", detail, "ocppj.error-code"),)
    return Error(code, text or "", details or {}, message_id, remarks=remarks)


_READERS: dict[int, Callable[[list[Any]], Message]] = {CALL: _read_call, RESULT: _read_result, ERROR: _read_error}


def _expect(holds: bool, text: str, message_id: str) -> None:
    if not holds:
        raise BadAnswer(text, message_id=message_id)


def _id(frame: list[Any]) -> str:
    if len(frame) < 2:
        raise FormationViolation("frame[1]: expected message id, got nothing")
    value = frame[1]
    if type(value) is int or type(value) is Decimal:
        value = NumericId(value)
    if isinstance(value, str) and value:
        if len(value) <= MAX_ID:
            return value
        raise FormationViolation(f"frame[1]: expected message id of at most {MAX_ID} characters, got {len(value)}")
    raise FormationViolation(f"frame[1]: expected message id, got {'empty text' if value == '' else _name(value)}")


_NAMES: dict[type, str] = {
    dict: "object",
    list: "list",
    str: "text",
    int: "integer",
    Decimal: "number",
    bool: "boolean",
    type(None): "null",
}


def _name(value: object) -> str:
    return _NAMES[type(value)]

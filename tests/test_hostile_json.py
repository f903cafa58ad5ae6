"""What hostile frames cost: of the size that is let in, each is taken or refused in a moment and a few dozen MiB."""

import os
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from types import MappingProxyType
from typing import Any

import pytest

from tests.cost import LIMIT, Meter, meter
from translations import ocppj, schemas, soap
from translations.errors import OcppError
from translations.messages import Call, Side, Version

Make = Callable[[], bytes]
OPEN, CLOSE = '[2,"1","DataTransfer",{"vendorId":"V","data":', "}]"


def filled(before: str, unit: str | Callable[[int], str], after: str, glue: str = ",") -> Make:
    """A frame that repeats `unit` until it has the size that is let in."""

    def make() -> bytes:
        room = LIMIT - len(before + after)
        whole = before + glue.join(_repeated(unit, room, len(glue))) + after
        assert LIMIT - 10_000 < len(whole.encode()) <= LIMIT
        return whole.encode()

    return make


def _repeated(unit: str | Callable[[int], str], room: int, glue: int) -> Iterator[str]:
    for count in range(room):
        part = unit if isinstance(unit, str) else unit(count)
        room -= len(part.encode()) + glue
        if room < 0:
            return
        yield part


def listed(unit: str | Callable[[int], str]) -> Make:
    return filled(f"{OPEN}[", unit, f"]{CLOSE}")


def keyed(unit: str | Callable[[int], str]) -> Make:
    return filled(f"{OPEN}{{", unit, f"}}{CLOSE}")


def texted(unit: str) -> Make:
    return filled(f'{OPEN}"', unit, f'"{CLOSE}', "")


def most(opening: str, unit: Callable[[int], str], closing: str) -> Make:
    """A frame with as many values as are let in."""
    count = ocppj.MAX_VALUES - 10
    return lambda: f"{OPEN}{opening}{','.join(map(unit, range(count)))}{closing}{CLOSE}".encode()


FRAMES: Mapping[str, Make] = MappingProxyType(
    {
        "empty lists": listed("[]"),
        "empty objects": listed("{}"),
        "lists of 90 levels": listed("[" * 90 + "]" * 90),
        "objects of 90 levels": listed('{"a":' * 90 + "1" + "}" * 90),
        "objects of one key": listed('{"a":1}'),
        "a wide object": keyed(lambda i: f'"{i:x}":0'),
        "a wide object with spaces": keyed(lambda i: f'"{i:x}" : 0'),
        "a wide object with escapes": keyed(lambda i: f'"\\u0061{i:x}":0'),
        "the same key": keyed('"a":0'),
        "the last key again": filled(f"{OPEN}{{", lambda i: f'"{i:x}":0', f',"1":1}}{CLOSE}'),
        "keys that come twice, in escapes": listed('{"a":1,"\\u0061":2}'),
        "keys in escapes": listed('{"\\u0061":2}'),
        "the most lists": most("[", lambda i: "[]", "]"),
        "the most objects": most("[", lambda i: "{}", "]"),
        "the most fractions": most("[", lambda i: f"{i}.5", "]"),
        "the most texts": most("[", lambda i: f'"{i:07}"', "]"),
        "the most keys": most("{", lambda i: f'"{i:07}":{i}', "}"),
        "the most keys, in escapes": most("{", lambda i: f'"\\u0061{i}":{i}', "}"),
        "the most keys, the last again": most("{", lambda i: f'"\\u0061{i}":0', ',"a0":1}'),
        "depth": filled("", "[", "", ""),
        "depth, objects": filled("", '{"a":', "", ""),
        "depth, closed": lambda: b"[" * (LIMIT // 2) + b"]" * (LIMIT // 2),
        "integers": listed("0"),
        "integers of 100 digits": listed("9" * 100),
        "integers of 4,300 digits": listed("9" * 4300),
        "an integer": filled(OPEN, "9", CLOSE, ""),
        "a fraction": filled(f"{OPEN}0.", "9", CLOSE, ""),
        "a fraction of zeros": filled(f"{OPEN}0.", "0", CLOSE, ""),
        "an exponent": filled(f"{OPEN}1e", "9", CLOSE, ""),
        "exponents": listed("1e99"),
        "exponents beyond": listed("1e999999999"),
        "fractions": listed("0.1"),
        "a text": texted("x"),
        "a text of four-byte characters": texted("\U0001f50c"),
        "a text of escapes": texted("\\u00e9"),
        "a text of NUL": texted("\\u0000"),
        "a text of half surrogates": texted("\\ud800"),
        "a text of quotes": texted('\\"'),
        "texts": listed('""'),
        "a message id": filled('[2,"', "x", '","Heartbeat",{}]', ""),
        "a message id of digits": filled("[2,", "9", ',"Heartbeat",{}]', ""),
        "an action": filled('[2,"1","', "x", '",{}]', ""),
        "an error text": filled('[4,"1","GenericError","', "x", '",{}]', ""),
        "an error code": filled('[4,"1","', "x", '","",{}]', ""),
        "items": filled("[2", "1", "]"),
        "white space": filled(OPEN, " ", f"1{CLOSE}", ""),
        "NUL": lambda: bytes(LIMIT),
        "noise": lambda: os.urandom(LIMIT),
        "no end": filled(f"{OPEN}[", "[]", "", ","),
    }
)


@pytest.fixture(scope="module")
def measuring(pytestconfig: pytest.Config) -> Iterator[Meter]:
    with meter(pytestconfig) as measuring:
        yield measuring


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_of_the_largest_size_costs_little(measuring: Meter, name: str) -> None:
    measuring.check(name, "frame", FRAMES[name]())


REFUSED = [
    ("the same key", "frame: expected each key once, got 'a' twice"),
    ("the most keys, the last again", "frame: expected each key once, got 'a0' twice"),
    ("empty lists", "frame: expected at most 50000 values, got more"),
    ("a wide object", "frame: expected at most 50000 values, got more"),
    ("fractions", "frame: expected at most 50000 values, got more"),
    ("integers of 4,300 digits", "frame: expected numbers of at most 100 digits, got 4300"),
    ("an integer", "frame: expected JSON in UTF-8: integer value out of range"),
    ("a fraction", "frame: expected JSON in UTF-8: a number out of range"),
    ("exponents beyond", "frame: expected JSON in UTF-8: a number out of range"),
    ("a text of half surrogates", "frame: expected JSON in UTF-8: "),
    ("a message id", "frame[1]: expected message id of at most 255 characters, got 10"),
    ("an action", "frame[2]: expected an action of at most 100 characters, got 10"),
    ("depth, closed", "frame: expected at most 100 levels of nesting, got more"),
]


@pytest.mark.parametrize(("name", "text"), REFUSED)
def test_what_would_be_lost_or_has_no_bounds_is_refused_in_words(measuring: Meter, name: str, text: str) -> None:
    assert measuring.measure(name, "frame", FRAMES[name]()).outcome.startswith(f"FormationViolation: {text}")


# --- what decoding lets through does no harm further on ----------------------------------------------------------------

NUMBERS = ["1E+99", "-1E+99", "1E-99", "0E+99", "9" * 100, "0." + "9" * 99, "1." + "0" * 98, "-0.0"]


def profile(limit: str) -> dict[str, Any]:
    period = [{"startPeriod": 0, "limit": "?"}]
    schedule = {"chargingRateUnit": "A", "chargingSchedulePeriod": period, "minChargingRate": "?"}
    kinds = {"chargingProfilePurpose": "TxProfile", "chargingProfileKind": "Absolute"}
    profiles = {"chargingProfileId": 1, "stackLevel": 1, **kinds, "chargingSchedule": schedule}
    text = ocppj.encode(Call("SetChargingProfile", {"connectorId": 1, "csChargingProfiles": profiles}, "1"))
    call = ocppj.decode(text.replace(b'"?"', limit.encode()))
    assert isinstance(call, Call)
    return call.payload


@pytest.mark.parametrize("number", NUMBERS)
def test_the_largest_numbers_are_written_or_refused(number: str) -> None:
    payload = profile(number)
    try:
        written = soap.encode(Call("SetChargingProfile", payload, "1"), Version.V16, Side.CHARGE_POINT)
    except OcppError as refused:
        assert len(refused.text) < 300
    else:
        assert len(written.body) < 2000


@pytest.mark.parametrize("number", NUMBERS)
def test_the_largest_numbers_are_judged(number: str) -> None:
    try:
        schemas.judge("SetChargingProfile", False, profile(number))
    except OcppError as refused:
        assert refused.code == "PropertyConstraintViolation"


@pytest.mark.parametrize("number", NUMBERS)
def test_the_largest_numbers_keep_their_value(number: str) -> None:
    payload = ocppj.decode(ocppj.encode(Call("SetChargingProfile", profile(number), "1"))).payload  # type: ignore[union-attr]
    assert Decimal(payload["csChargingProfiles"]["chargingSchedule"]["minChargingRate"]) == Decimal(number)


@pytest.mark.parametrize("text", ["\x00", "a\x00b", "\x1b[2J", "\u202e", "\ufeff", "\uffff", "\U0010ffff"])
def test_odd_characters_pass_from_frame_to_frame(text: str) -> None:
    call = Call("DataTransfer", {"vendorId": text, text: 1}, text)
    assert ocppj.decode(ocppj.encode(call)) == call


@pytest.mark.parametrize("text", ["\x00", "a\x00b", "\x1b[2J", "\uffff"])
def test_what_xml_cannot_hold_is_refused_on_the_way_to_it(text: str) -> None:
    for call in (Call("DataTransfer", {"vendorId": text}, "1"), Call("DataTransfer", {"vendorId": "V"}, text)):
        with pytest.raises(OcppError, match="cannot be said in XML"):
            soap.encode(call, Version.V16, Side.CHARGE_POINT)

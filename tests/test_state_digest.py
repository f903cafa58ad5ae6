"""gateway.state.digest: what is the same that was said before, told from messages as both wires give them."""

import json
from functools import partial
from typing import Any

import pytest

from gateway.state.digest import digest, heard
from tests.peers.envelopes import envelope
from translations import soap
from translations.messages import Call, Payload, Side, Version
from translations.tongue import Tongue

NOW, LATER = "2024-05-01T12:00:00Z", "2024-05-01T12:01:00Z"
START: Payload = {"connectorId": 1, "idTag": "TAG1", "timestamp": "0000-00-00T00:00:00Z", "meterStart": 100}
STOP: Payload = {"transactionId": 7, "timestamp": NOW, "meterStop": 900}


def readings(*times: str) -> Payload:
    return {"transactionData": [{"timestamp": time, "sampledValue": [{"value": "1"}]} for time in times]}


def over_json(action: str, payload: Payload, received: str) -> Call:
    heard = Tongue(Version.V16, Side.CENTRAL_SYSTEM).heard(Call(action, json.loads(json.dumps(payload))), action, received)
    assert isinstance(heard, Call)
    return heard


def over_soap(action: str, payload: Payload, received: str, between: str = "</transactionData><transactionData>") -> Call:
    fields = "".join(f"<{name}>{value}</{name}>" for name, value in payload.items() if name != "transactionData")
    times = [group["timestamp"] for group in payload.get("transactionData", ())]
    readings = [f"<values><timestamp>{time}</timestamp><value>1</value></values>" for time in times]
    fields += f"<transactionData>{between.join(readings)}</transactionData>" if readings else ""
    element = f"{action[:1].lower()}{action[1:]}Request"
    _, heard = soap.decode(envelope(f"<{element}>{fields}</{element}>"), received=received)
    assert isinstance(heard, Call)
    return heard


SAID: dict[str, tuple[str, Payload]] = {
    "a start without a date": ("StartTransaction", START),
    "a stop without a date": ("StopTransaction", STOP | {"timestamp": "1970-13-01"}),
    "a reading without a date": ("StopTransaction", STOP | readings(NOW, "now", NOW)),
    "readings without dates": ("StopTransaction", STOP | {"timestamp": "x"} | readings("x", "y", LATER)),
    "more of them than there are remarks": ("StopTransaction", STOP | {"timestamp": "x"} | readings(*(["x"] * 300))),
}
WIRES = pytest.mark.parametrize(
    "over", [over_json, over_soap, partial(over_soap, between="")], ids=["json", "soap", "soap, one list"]
)


@WIRES
@pytest.mark.parametrize("said", SAID)
def test_what_is_said_again_at_another_time_is_the_same(over: Any, said: str) -> None:
    first, again = (over(*SAID[said], received) for received in (NOW, LATER))
    assert first.payload != again.payload
    assert digest(first) == digest(again) is not None


OTHERS: dict[str, tuple[Payload, Payload]] = {
    "no date of another kind": (START, START | {"timestamp": "0000-00-00"}),
    "a date": (START, START | {"timestamp": NOW}),
    "another reading": (START, START | {"meterStart": 101}),
}


@WIRES
@pytest.mark.parametrize("other", OTHERS)
def test_what_is_said_otherwise_at_the_same_time_is_another(over: Any, other: str) -> None:
    first, second = (over("StartTransaction", payload, NOW) for payload in OTHERS[other])
    assert digest(first) != digest(second)


def test_it_matters_which_of_two_has_no_date() -> None:
    one, two = (over_json("StopTransaction", STOP | readings(*times), NOW) for times in (("x", NOW), (NOW, "x")))
    assert one.payload == two.payload
    assert digest(one) != digest(two)


def test_the_payload_stays_what_it_is() -> None:
    call = over_json("StartTransaction", START, NOW)
    digest(call)
    assert call.payload["timestamp"] == NOW


@pytest.mark.parametrize("more", [(), (NOW,)], ids=["the last", "one between"])
def test_a_reading_that_was_left_out_does_not_hide_that_another_has_no_date(more: tuple[str, ...]) -> None:
    stop = STOP | readings(NOW, "x", *more)
    stop["transactionData"][0]["sampledValue"][0] |= {"measurand": "Frequency", "unit": "V" * 60}
    first, again = (over_json("StopTransaction", stop, received) for received in (NOW, LATER))
    assert digest(first) == digest(again)


def test_what_json_cannot_say_has_none() -> None:
    assert digest(Call("StartTransaction", {"idTag": "\ud800"}, "1", "CP-1")) is None


def test_that_a_transaction_was_heard_of_is_of_one_charger_and_of_no_call() -> None:
    marks = {heard("CP-1", 7), heard("cp-1", 7), heard("CP-1", 8), heard("CP-2", 7)}
    assert [len(marks), {len(mark) for mark in marks}] == [3, {32}]

"""Messages become exchanges: which belong together, when they are handed on, what is read from them."""

import math
from decimal import Decimal
from typing import Any

import pytest

from gateway.traffic.assembly import SHED, Assembly, assembled, gap
from gateway.traffic.exchanges import Exchange
from gateway.traffic.record import Record
from translations.messages import Kind, Remark

CALL = Record(100.0, "x-1", "CP-1", "charger", "<", "soap", "1.5", "call", "Heartbeat", "m-1", b"<heartbeat/>")
SENT = CALL._replace(at=101.0, leg="csms", direction=">", wire="json", version="1.6", message_id="x-1", raw=b"[2]")
ANSWER = SENT._replace(at=102.0, direction="<", kind="result", raw=b"[3]", outcome="ok", latency=1.0)
REPLY = CALL._replace(at=103.0, direction=">", kind="result", message_id="m-2", raw=b"<ok/>", outcome="ok", latency=3.0)
WHOLE = (CALL, SENT, ANSWER, REPLY)
REFUSED = CALL._replace(kind="refused", action="", outcome="ProtocolError", note="expected XML")
FAULT = REPLY._replace(kind="error", action="", outcome="ProtocolError", note="expected XML")


def named(name: str, *records: Record) -> list[Record]:
    return [record._replace(exchange=name) for record in records]


def sizes(assembly: Assembly, now: float) -> list[int]:
    return [len(group.records) for group in assembly.take(now)]


def numbers(action: str, call: Any, answer: Any = None, **changes: Any) -> tuple[int | None, int | None]:
    """Connector and transaction of an exchange."""
    came = CALL._replace(action=action, canonical=[2, "m-1", action, call], **changes)
    went = REPLY._replace(action=action, canonical=[3, "m-1", answer or {}])
    found = assembled([came, went])
    return found.connector, found.transaction


# --- when they are handed on


def test_an_exchange_is_handed_on_once_all_its_calls_are_answered() -> None:
    assembly = Assembly()
    assembly.add(WHOLE[:3], 0)
    assert sizes(assembly, 0) == []
    assembly.add(WHOLE[3:], 0)
    assert (sizes(assembly, 0), len(assembly)) == ([4], 0)


def test_exchanges_do_not_mix() -> None:
    assembly = Assembly()
    assembly.add([r for both in zip(named("a", *WHOLE), named("b", *WHOLE), strict=True) for r in both], 0)
    assert [(g.name, {r.exchange for r in g.records}) for g in assembly.take(0)] == [("a", {"a"}), ("b", {"b"})]


def test_an_answer_that_takes_long_is_not_waited_for() -> None:
    assembly = Assembly(patience=1.0)
    assembly.add([CALL, SENT], 10)
    assert sizes(assembly, 10.9) == []
    assert sizes(assembly, 11.0) == [2]
    assembly.add([ANSWER], 30)
    [late] = assembly.take(30)
    assert (len(late.records), late.begins) == (1, False)


def test_a_listener_that_does_not_answer_keeps_an_exchange_for_a_moment_only() -> None:
    assembly = Assembly(patience=1.0)
    assembly.add([CALL, SENT, SENT._replace(leg="listener"), ANSWER, REPLY], 0)
    assert (sizes(assembly, 0.5), sizes(assembly, 1)) == ([], [5])


def test_there_are_so_many_under_way_and_no_more() -> None:
    assembly = Assembly(most=3)
    assembly.add([CALL._replace(exchange=str(n)) for n in range(5)], 0)
    assert ([g.name for g in assembly.take(0)], len(assembly)) == (["0", "1"], 3)


def test_what_has_no_name_is_an_exchange_of_its_own() -> None:
    assembly = Assembly()
    assembly.add(named("", REFUSED, REFUSED), 0)
    assert sizes(assembly, 0) == [1, 1]


def test_a_refusal_waits_for_the_fault_that_answers_it() -> None:
    assembly = Assembly()
    assembly.add([REFUSED], 0)
    assert sizes(assembly, 0) == []
    assembly.add([FAULT], 0)
    assert sizes(assembly, 0) == [2]


def test_all_are_taken_at_the_end() -> None:
    assembly = Assembly()
    assembly.add([CALL, *named("b", CALL)], 0)
    assert sizes(assembly, math.inf) == [1, 1]


# --- what they are made of


def test_call_and_answer_lie_on_their_legs() -> None:
    found = assembled(WHOLE)
    charger, csms = found.legs
    assert (found.name, found.at, found.charger, found.up, found.outcome, found.latency) == (
        "x-1",
        100.0,
        "CP-1",
        True,
        "ok",
        3.0,
    )
    assert (charger.name, charger.inward, charger.latency, csms.name, csms.inward, csms.latency) == (
        *("charger", True, 3.0),
        *("csms", False, 1.0),
    )
    halves = [half for leg in found.legs for half in (leg.call, leg.answer) if half]
    assert [half.raw for half in halves] == [b"<heartbeat/>", b"<ok/>", b"[2]", b"[3]"]
    assert [half.message_id for half in halves] == ["m-1", "m-2", "x-1", "x-1"]


@pytest.mark.parametrize(
    ("leg", "direction", "up"), [("charger", "<", True), ("csms", "<", False), ("charger", ">", False), ("csms", ">", True)]
)
def test_a_call_goes_up_or_down(leg: str, direction: str, up: bool) -> None:
    assert assembled([CALL._replace(leg=leg, direction=direction)]).up is up


def test_a_call_without_an_answer_has_no_outcome() -> None:
    found = assembled([CALL, SENT])
    assert (found.outcome, found.latency, found.legs[1].outcome, found.ok) == ("", None, "", False)


def test_a_refused_call_keeps_its_code_and_what_was_answered() -> None:
    found = assembled([REFUSED, FAULT])
    [leg] = found.legs
    assert (leg.refused, leg.outcome, found.outcome, leg.call and leg.call.note) == (
        *(True, "ProtocolError"),
        "ProtocolError",
        "expected XML",
    )
    assert leg.answer and leg.answer.raw == b"<ok/>"


def test_an_answer_that_was_no_message_is_the_answer() -> None:
    bad = ANSWER._replace(kind="refused", outcome="FormationViolation", raw=b"[3")
    leg = assembled([CALL, SENT, bad]).legs[1]
    assert (leg.refused, leg.outcome, leg.answer and leg.answer.raw) == (False, "FormationViolation", b"[3")


def test_a_letter_that_is_sent_again_is_another_attempt() -> None:
    again = SENT._replace(at=200.0)
    found = assembled([*WHOLE[:2], again, ANSWER._replace(at=201.0)])
    assert [(leg.name, leg.attempt, leg.answer is None) for leg in found.legs] == [
        ("charger", 1, True),
        ("csms", 1, True),
        ("csms", 2, False),
    ]


def test_an_answer_that_comes_twice_is_kept_twice() -> None:
    found = assembled([*WHOLE, ANSWER._replace(outcome="double", latency=None)])
    assert [(leg.name, leg.attempt, leg.outcome) for leg in found.legs[1:]] == [("csms", 1, "ok"), ("csms", 2, "double")]


def test_messages_are_added_to_an_exchange_that_is_there() -> None:
    found = assembled([CALL])
    found.id = 7
    assert assembled([SENT, ANSWER, REPLY], found) == Exchange(**{**as_dict(assembled(WHOLE)), "id": 7})


def as_dict(exchange: Exchange) -> dict[str, Any]:
    return {name: getattr(exchange, name) for name in exchange.__slots__}


@pytest.mark.parametrize(
    ("action", "call", "answer", "expected"),
    [
        ("StatusNotification", {"connectorId": 2}, {}, (2, None)),
        ("StartTransaction", {"connectorId": 1}, {"transactionId": 4711}, (1, 4711)),
        ("StopTransaction", {"transactionId": 4711}, {"transactionId": 9}, (None, 4711)),
        ("MeterValues", {"connectorId": 0, "transactionId": 5}, {}, (0, 5)),
        ("Heartbeat", {}, {"transactionId": 9}, (None, None)),
        ("MeterValues", {"connectorId": 2**80}, {}, (None, None)),
        ("MeterValues", {"connectorId": "1", "transactionId": True}, {}, (None, None)),
        ("MeterValues", {"transactionId": Decimal("1.5")}, {}, (None, None)),
        ("MeterValues", ["no object"], {}, (None, None)),
    ],
)
def test_connector_and_transaction_are_as_the_charger_says(
    action: str, call: Any, answer: Any, expected: tuple[int | None, int | None]
) -> None:
    assert numbers(action, call, answer) == expected


def test_they_are_read_from_a_frame_that_is_canonical_itself() -> None:
    call = CALL._replace(wire="json", action="StartTransaction", raw=b'[2,"1","StartTransaction",{"connectorId":3}]')
    answer = REPLY._replace(wire="json", action="StartTransaction", raw=b'[3,"1",{"transactionId":8}]')
    found = assembled([call, answer])
    assert (found.connector, found.transaction) == (3, 8)


def test_what_a_backend_calls_a_transaction_is_not_asked() -> None:
    call = CALL._replace(
        leg="csms", action="RemoteStopTransaction", canonical=[2, "1", "RemoteStopTransaction", {"transactionId": 1}]
    )
    down = call._replace(leg="charger", direction=">", canonical=[2, "1", "RemoteStopTransaction", {"transactionId": 4711}])
    assert assembled([call, down]).transaction == 4711


def test_remarks_notes_and_headers_stay_with_their_message() -> None:
    remark = Remark(Kind.LOST, "iccid", "not in 1.2", "drop")
    headers = (("content-type", "text/xml"),)
    [leg] = assembled([CALL._replace(remarks=(remark,), headers=headers), FAULT]).legs
    assert leg.call and leg.answer
    assert (leg.call.remarks, leg.call.headers, leg.call.note) == ((remark,), headers, "")
    assert (leg.answer.remarks, leg.answer.headers, leg.answer.note) == ((), (), "expected XML")


def test_half_characters_become_text() -> None:
    found = assembled([CALL._replace(charger="\ud800", action="\udfff", message_id="\ud800", note="\ud800", leg="\ud800")])
    [leg] = found.legs
    assert leg.call
    assert (found.charger, found.action, leg.name, leg.call.message_id, leg.call.note) == (
        *("\\ud800", "\\udfff", "\\ud800"),
        *("\\ud800", "\\ud800"),
    )


def test_a_gap_says_what_is_missing() -> None:
    found = gap(5.0, 12)
    assert (found.outcome, found.ok, found.at) == (SHED, False, 5.0)
    assert found.legs[0].call and found.legs[0].call.note == "12 messages were not recorded: the log could not keep up"

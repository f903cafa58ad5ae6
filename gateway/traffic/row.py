"""Exchanges as rows of the log's tables, and back."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import msgspec

from gateway.traffic.bodies import NONE, Four, Place
from gateway.traffic.exchanges import Exchange, Finding, Half, Leg
from gateway.traffic.frames import encoded
from gateway.traffic.predicate import payload_text, result_text
from translations.messages import Kind, Remark

Cell = str | bytes | float | None

SEVERITIES = ("", "note", "warning", "error")  # as numbers in the column
_CALL, _ANSWER = 0, 1


class ExchangeRow(NamedTuple):
    """The columns of the table `exchanges`."""

    id: int
    name: str
    at: float
    charger: str
    tenant: str
    action: str
    up: int
    outcome: str
    latency: float | None
    connector: int | None
    transaction_id: int | None
    severity: int
    findings: str | None
    payload: str | None
    result: str | None


class LegRow(NamedTuple):
    """The columns of the table `legs`. `at` is that of the exchange."""

    exchange: int
    position: int
    name: str
    attempt: int
    at: float
    inward: int
    wire: str
    version: str
    peer: str
    outcome: str
    refused: int
    latency: float | None
    lost: int
    changed: int
    assumed: int
    repaired: int
    remarks: str | None
    message_id: str
    answer_id: str
    call_note: str
    answer_note: str
    call_at: float | None
    answer_at: float | None
    headers: str | None
    block: int | None
    part: int | None


# The classes themselves take their arguments by name or by place, which costs as much as the rest of a row; and
# what is no plain int, float or text takes sqlite3 four times as long: truth is told as a number.
_row = tuple.__new__

_findings = msgspec.json.Decoder(tuple[Finding, ...]).decode
_remarks = msgspec.json.Decoder(list[tuple[int, Kind, str, str, str]]).decode
_headers = msgspec.json.Decoder(list[tuple[int, str, str]]).decode


def exchange_row(exchange: Exchange) -> ExchangeRow:
    """The exchange itself. Its id is given before."""
    findings = exchange.findings
    return _row(
        ExchangeRow,
        (
            exchange.id,
            exchange.name,
            exchange.at,
            exchange.charger,
            exchange.tenant,
            exchange.action,
            1 if exchange.up else 0,
            exchange.outcome,
            exchange.latency,
            exchange.connector,
            exchange.transaction,
            max(SEVERITIES.index(f.severity) for f in findings) if findings else 0,
            _json(findings) if findings else None,
            payload_text(exchange),
            result_text(exchange),
        ),
    )


def leg_rows(exchange: Exchange, places: Sequence[Place | None]) -> list[LegRow]:
    """Its legs, each with the place of its bodies."""
    id, at = exchange.id, exchange.at
    return [_leg_row(id, at, leg, n, place) for n, (leg, place) in enumerate(zip(exchange.legs, places, strict=True))]


def _leg_row(id: int, at: float, leg: Leg, position: int, place: Place | None) -> LegRow:
    call, answer = leg.call or _SILENT, leg.answer or _SILENT
    (lost, changed, assumed, repaired), remarks = _remarked(call, answer) if call.remarks or answer.remarks else _NO_REMARKS
    block, part = place or _NOWHERE
    return _row(
        LegRow,
        (
            id,
            position,
            leg.name,
            leg.attempt,
            at,
            1 if leg.inward else 0,
            leg.wire,
            leg.version,
            leg.peer,
            leg.outcome,
            1 if leg.refused else 0,
            leg.latency,
            lost,
            changed,
            assumed,
            repaired,
            remarks,
            call.message_id,
            answer.message_id,
            call.note,
            answer.note,
            None if call is _SILENT else call.at,
            None if answer is _SILENT else answer.at,
            _said_headers(call, answer) if call.headers or answer.headers else None,
            block,
            part,
        ),
    )


_KINDS = tuple(Kind)  # in the order of the columns
_Kinds = tuple[int, int, int, int]
_NO_REMARKS: tuple[_Kinds, None] = ((0, 0, 0, 0), None)
_SILENT = Half(0.0, b"")  # in the place of a half that is not there
_NOWHERE = (None, None)


def _remarked(call: Half, answer: Half) -> tuple[_Kinds, str | None]:
    found = [(_CALL, r) for r in call.remarks]
    found += [(_ANSWER, r) for r in answer.remarks]
    kinds = [r.kind for _, r in found]
    told = [(half, r.kind, r.path, r.detail, r.rule) for half, r in found]
    lost, changed, assumed, repaired = map(kinds.count, _KINDS)
    return (lost, changed, assumed, repaired), _json(told)


def _said_headers(call: Half, answer: Half) -> str | None:
    told = [(_CALL, name, value) for name, value in call.headers]
    told += [(_ANSWER, name, value) for name, value in answer.headers]
    return _json(told)


def _json(value: object) -> str | None:
    text = encoded(value)
    return None if text is None else text.decode()


def four(leg: Leg) -> Four:
    """The bodies of a leg."""
    call, answer = leg.call, leg.answer
    return (
        call.raw if call else None,
        answer.raw if answer else None,
        call.canonical if call else None,
        answer.canonical if answer else None,
    )


def exchange_of(values: tuple[Any, ...], legs: Iterable[tuple[Any, ...]], bodies: Callable[[Place], Four]) -> Exchange:
    """The exchange of the values of its row and of those of its legs, in the order of their columns."""
    row = ExchangeRow._make(values)
    return Exchange(
        row.id,
        row.name,
        row.at,
        row.charger,
        row.tenant,
        row.action,
        bool(row.up),
        row.outcome,
        row.latency,
        row.connector,
        row.transaction_id,
        [_leg(LegRow._make(leg), bodies) for leg in legs],
        _findings(row.findings) if row.findings else (),
    )


def _leg(row: LegRow, bodies: Callable[[Place], Four]) -> Leg:
    four = NONE if row.block is None or row.part is None else bodies(Place(row.block, row.part))
    call = answer = None
    if row.call_at is not None:
        call = _half(row, _CALL, row.call_at, row.message_id, row.call_note, four)
    if row.answer_at is not None:
        answer = _half(row, _ANSWER, row.answer_at, row.answer_id, row.answer_note, four)
    return Leg(
        row.name,
        bool(row.inward),
        row.wire,
        row.version,
        row.peer,
        call,
        answer,
        row.outcome,
        bool(row.refused),
        row.latency,
        row.attempt,
    )


def _half(row: LegRow, which: int, at: float, message_id: str, note: str, four: Four) -> Half:
    remarks: tuple[Remark, ...] = ()
    headers: tuple[tuple[str, str], ...] = ()
    if row.remarks:
        remarks = tuple(
            Remark(kind, path, detail, rule) for half, kind, path, detail, rule in _remarks(row.remarks) if half == which
        )
    if row.headers:
        headers = tuple((name, value) for half, name, value in _headers(row.headers) if half == which)
    return Half(at, four[which] or b"", four[which + 2], message_id, remarks, note, headers)

"""CSV, read back by the csv module, and safe in a spreadsheet."""

import csv
import io
import re

import pytest
from hypothesis import given

from gateway.traffic.exchanges import Exchange
from gateway.traffic.formats import table
from tests.excerpts import BEAT, FAILED, PENDING, SAMPLES, exchanges, hostile, refused, soap_exchange


def rows(made: list[Exchange]) -> list[dict[str, str]]:
    text = b"".join(table.lines(made)).decode()
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


@given(exchanges())
def test_there_is_a_row_for_each_leg_and_each_has_all_columns(made: list[Exchange]) -> None:
    found = rows(made)
    assert len(found) == sum(len(exchange.legs) for exchange in made)
    for row in found:
        assert tuple(row) == table.COLUMNS and None not in row.values()


@given(exchanges())
def test_no_cell_is_computed(made: list[Exchange]) -> None:
    numbers = {"id", "connector", "transaction", "latency_ms"}
    for row in rows([*made, *hostile()]):
        for name in row.keys() - numbers:
            assert not row[name].lstrip().startswith(("=", "+", "-", "@")) and row[name][:1] not in ("\t", "\r")


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@a", "\ta", " =1", "\n=1"])
def test_what_would_be_computed_has_an_apostrophe_before_it(cell: str) -> None:
    (row,) = rows([soap_exchange(charger=cell)])[:1]
    assert row["charger"] == f"'{cell}"


def test_a_row_tells_what_passed_on_a_leg() -> None:
    charger, backend = rows([soap_exchange(connector=1, transaction=4711)])
    assert (charger["time"], charger["exchange"], charger["charger"]) == ("2024-05-01T10:00:00.000000Z", "x-1", "CP-1")
    assert (charger["leg"], backend["leg"], charger["wire"], backend["wire"]) == ("charger", "csms", "soap", "json")
    assert (charger["latency_ms"], charger["connector"], charger["transaction"]) == ("250.0", "1", "4711")
    assert charger["remarks"] == "lost reason: no field for it (delta)"
    assert charger["call"].startswith('[2,"x-1","StartTransaction",{"connectorId":1,')
    assert charger["call"] == backend["call"]


def test_outcomes_and_directions() -> None:
    found = rows([BEAT, FAILED, PENDING, refused(b"x")])
    assert [row["outcome"] for row in found] == ["ok", "GenericError", "", "FormationViolation"]
    assert [row["direction"] for row in found] == ["up", "down", "up", "up"]
    assert [row["refused"] for row in found] == ["no", "no", "no", "yes"]


def test_lines_end_and_quote_as_rfc_4180_has_it() -> None:
    head, first, *_ = table.lines([soap_exchange(charger='a"b,c\nd')])
    assert head == ",".join(table.COLUMNS).encode() + b"\r\n"
    assert b'"a""b,c\nd"' in first and first.endswith(b"\r\n")


def test_a_byte_order_mark_comes_on_demand() -> None:
    assert next(table.lines([], bom=True)).startswith(b"\xef\xbb\xbftime,")
    assert next(table.lines([])).startswith(b"time,")


def test_bytes_that_are_no_text_are_base64_and_say_so() -> None:
    assert rows([refused(b"\xff\xfe")])[0]["call"] == "base64://4="


def test_control_characters_are_written_out() -> None:
    text = b"".join(table.lines([*SAMPLES, *hostile()])).decode()
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202e\u2028]", text)
    assert "\\u001b[31m" in text

"""translations.quirks: what is repaired, and what is not for guessing."""

import pytest

from translations import quirks


@pytest.mark.parametrize(
    ("text", "repaired"),
    [
        ("100.0", "100"),
        ("-3.", "-3"),
        ("+5.00", "+5"),
        ("100.5", None),
        ("1e2", None),
        ("1,0", None),
        ("", None),
        ("\u0661.0", None),
    ],
)
def test_whole_numbers(text: str, repaired: str | None) -> None:
    assert quirks.whole(text) == repaired


@pytest.mark.parametrize(
    ("text", "repaired"),
    [("TRUE", "true"), ("False", "false"), ("true", "true"), ("yes", None), ("on", None), ("", None), ("2", None)],
)
def test_booleans_in_another_case(text: str, repaired: str | None) -> None:
    assert quirks.boolean(text) == repaired


@pytest.mark.parametrize(("text", "known"), [("accepted", "Accepted"), ("ACCEPTED", "Accepted"), ("Accept", None), ("", None)])
def test_words_in_another_case(text: str, known: str | None) -> None:
    assert quirks.word(text, ("Accepted", "Rejected")) == known


@pytest.mark.parametrize(
    ("text", "repaired", "what"),
    [
        ("2024-05-01T10:00:00", "2024-05-01T10:00:00Z", "no zone, taken as Z"),
        ("2024-05-01 10:00:00Z", "2024-05-01T10:00:00Z", "another form of the date"),
        ("2024-05-01T10:00Z", "2024-05-01T10:00:00Z", "another form of the date"),
        ("2024-05-01T10:00:00z", "2024-05-01T10:00:00Z", "another form of the date"),
        ("2024-05-01T10:00:00+02", "2024-05-01T10:00:00+02:00", "another form of the date"),
        ("2024-05-01T10:00:00+0230", "2024-05-01T10:00:00+02:30", "another form of the date"),
        ("2024-05-01T10:00:00.250 +02:00", "2024-05-01T10:00:00.250+02:00", "another form of the date"),
        ("2024-12-31T24:00:00Z", "2025-01-01T00:00:00Z", "hour 24"),
        ("2023-02-28T24:23:23+01:00", "2023-03-01T00:23:23+01:00", "hour 24"),
        ("0001-01-01T00:00:00", "0001-01-01T00:00:00Z", "no zone, taken as Z"),
        ("1714557600000", "2024-05-01T10:00:00.000Z", "milliseconds since 1970"),
        ("946684800000", "2000-01-01T00:00:00.000Z", "milliseconds since 1970"),
        ("4102444799999", "2099-12-31T23:59:59.999Z", "milliseconds since 1970"),
        ("20240301101500", "2024-03-01T10:15:00Z", "no zone, taken as Z"),
        ("1714557600123", "2024-05-01T10:00:00.123Z", "milliseconds since 1970"),
    ],
)
def test_dates_in_another_form(text: str, repaired: str, what: str) -> None:
    assert quirks.timestamp(text) == (repaired, what)
    assert quirks.TIMESTAMP.fullmatch(repaired)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-1",
        "2024-05-01",
        "10:00:00",
        "10000-01-01T00:00:00Z",
        "2024-02-30T10:00:00",
        "2022-02-29 10:00:00Z",
        "2024-13-01T10:00:00Z",
        "2024-05-01T25:00:00Z",
        "2024-05-01T10:60:00Z",
        "2024-05-01T10:00:60Z",
        "9999-12-31T24:00:00Z",
        "2024-05-01T10:00:00Z:",
        "01.05.2024 10:00:00",
        "1714557600",
        "946684799999",
        "4102444800000",
        "202403011015",
        "20240230101500",
        "19990301101500",
        "99999999999999",
        "\u0662024-05-01T10:00:00",
    ],
)
def test_dates_that_are_not_for_guessing(text: str) -> None:
    assert quirks.timestamp(text) is None


def test_digits_may_be_a_leap_day() -> None:
    assert quirks.timestamp("20240229101500") == ("2024-02-29T10:15:00Z", "no zone, taken as Z")


def test_another_zone_may_be_meant() -> None:
    assert quirks.timestamp("2024-05-01T10:00:00", "+02:00") == ("2024-05-01T10:00:00+02:00", "no zone, taken as +02:00")


@pytest.mark.parametrize("text", ["0", "12", "-12.5", ".5", "5.", "1e3", "1.5E-3", "1" * 40])
def test_numbers(text: str) -> None:
    assert quirks.NUMBER.fullmatch(text)


@pytest.mark.parametrize("text", ["", "NaN", "Infinity", "1_000", "\u0661", "0x1", "1e999", "1" * 41, "1,5", "--1"])
def test_what_is_no_number(text: str) -> None:
    assert not quirks.NUMBER.fullmatch(text)

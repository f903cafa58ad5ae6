"""translations.manners: whom a row is for, which row counts, and what zone a date without one is in."""

import dataclasses
import tomllib
from importlib.resources import files
from typing import Any

import pytest

from gateway.config import Config
from gateway.config import Quirk as Row
from gateway.terms import rows
from translations import quirks
from translations.contracts import Type, contract
from translations.manners import USUAL, Manner, Quirk, Who, known_quirks, known_zone, manner_of, zone_named
from translations.messages import Side, Version

ACME = Who("CP-1", "ACME Ltd", "M1 Pro", "1.2.3-rc1", "1.5")
GLOBS = ("maker", "model", "firmware", "identity", "version")
BUILT_IN = tomllib.loads((files("translations") / "quirks.toml").read_text("utf-8"))["quirk"]


def settings(quirk: type[Any]) -> set[str]:
    return {f.name for f in dataclasses.fields(quirk)} - {"name", *GLOBS}


# --- whom a row is for


@pytest.mark.parametrize(
    ("globs", "fits"),
    [
        ({}, True),
        ({"maker": "ACME Ltd"}, True),
        ({"maker": "acme*"}, True),
        ({"maker": "*LTD"}, True),
        ({"maker": "acme"}, False),
        ({"model": "m? pro"}, True),
        ({"model": "M[12] Pro"}, True),
        ({"model": "M[!1] Pro"}, False),
        ({"firmware": "1.*"}, True),
        ({"firmware": "2.*"}, False),
        ({"identity": "cp-*"}, True),
        ({"identity": "CP-2"}, False),
        ({"version": "1.5"}, True),
        ({"version": "1.6"}, False),
        ({"maker": "acme*", "model": "m1*", "firmware": "*rc1", "identity": "*", "version": "1.5"}, True),
        ({"maker": "acme*", "model": "m2*"}, False),
    ],
)
def test_a_row_fits_where_each_of_its_globs_does_whatever_the_case(globs: dict[str, str], fits: bool) -> None:
    assert Quirk.from_row({"name": "row"} | globs).fits(ACME) is fits


@pytest.mark.parametrize("glob", GLOBS)
def test_what_is_not_known_of_a_charger_fits_no_row_that_asks_for_it(glob: str) -> None:
    assert not Quirk.from_row({"name": "any", glob: "*"}).fits(Who())
    assert Quirk("all").fits(Who())


def test_nobody_in_particular_talks_as_usual() -> None:
    assert manner_of(Who()) == USUAL
    assert manner_of(Who("CP-1", "Vendor", "Model", "1.0", "1.5")) == USUAL


# --- which row counts


def test_of_the_rows_that_fit_the_first_that_sets_a_key_counts() -> None:
    given = (Quirk("a", zone="+01:00"), Quirk("b", zone="+02:00", date="seconds"), Quirk("c", date="milliseconds"))
    assert manner_of(Who(), given) == USUAL._replace(zone="+01:00", date="seconds")


def test_a_row_that_does_not_fit_leaves_its_keys_to_others() -> None:
    given = (Quirk("a", maker="other", zone="+01:00"), Quirk("b", zone="+02:00"))
    assert manner_of(ACME, given).zone == "+02:00"


def test_an_operators_rows_come_before_those_that_are_built_in() -> None:
    nkt = Who("CP-1", "NKT", version="1.6")
    assert manner_of(nkt).prefixes == ("soapenv", "wsa", "ns1")
    ours = manner_of(nkt, (Quirk("ours", prefixes=("x", "y", "z")),))
    assert (ours.prefixes, ours.must_understand) == (("x", "y", "z"), ("Action", "To"))


@pytest.mark.parametrize(("key", "nothing"), [("must_understand", ()), ("meter", ())])
def test_a_row_may_say_that_there_is_to_be_nothing(key: str, nothing: tuple[str, ...]) -> None:
    qc45 = Who("CP-1", "Efacec", "QC45", version="1.6")
    assert getattr(manner_of(qc45), key)
    assert getattr(manner_of(qc45, (Quirk.from_row({"name": "ours", key: []}),)), key) == nothing


@pytest.mark.parametrize("validation", ["repair", "strict", "off"])
def test_how_strictly_is_for_the_route_to_say(validation: str) -> None:
    assert manner_of(ACME, (), validation) == USUAL._replace(validation=validation)


# --- rows as they are written


def test_the_configuration_and_the_table_have_the_same_keys() -> None:
    assert set(Row.model_fields) == {f.name for f in dataclasses.fields(Quirk)}


def test_every_setting_of_a_row_is_one_of_the_manner() -> None:
    assert settings(Quirk) == set(Manner._fields) - {"soap", "wsa", "validation"}


def test_a_row_of_the_configuration_says_what_it_says() -> None:
    row = {"name": "r", "maker": "A*", "zone": "Europe/Paris", "must_understand": ["To"], "prefixes": ["a", "b", "c"]}
    meter = {"unit": "kW", "measurand": "Power.Active.Import"}
    (quirk,) = rows(Config.model_validate({"quirks": [row | {"meter": meter}]}))
    assert (quirk.maker, quirk.zone, quirk.must_understand, quirk.prefixes) == ("A*", "Europe/Paris", ("To",), ("a", "b", "c"))
    assert dict(quirk.meter or ()) == meter
    assert (quirk.model, quirk.date, quirk.action, quirk.content_type_action) == (None, None, None, None)


@pytest.mark.parametrize("row", BUILT_IN, ids=[row["name"] for row in BUILT_IN])
def test_a_built_in_row_is_one_that_an_operator_could_write(row: dict[str, Any]) -> None:
    assert row["evidence"]
    assert settings(Quirk) & row.keys()
    Row.model_validate({key: value for key, value in row.items() if key != "evidence"})


def test_built_in_rows_have_names_of_their_own() -> None:
    assert len({row["name"] for row in BUILT_IN}) == len(BUILT_IN) == len(known_quirks())


def types(owner: Type) -> dict[str, Type]:
    return {owner.name: owner} | {name: t for f in owner.fields for name, t in types(f.type).items()}


@pytest.mark.parametrize("quirk", [q for q in known_quirks() if q.meter], ids=lambda quirk: quirk.name)
def test_what_a_value_is_said_to_mean_is_a_word_of_the_contract(quirk: Quirk) -> None:
    fields = types(contract(Version.V16, Side.CENTRAL_SYSTEM).messages["meterValuesRequest"])["SampledValue"].fields
    words = {f.name: f.type.values for f in fields}
    assert [(field, word) for field, word in quirk.meter or () if word not in words[field]] == []


# --- zones


@pytest.mark.parametrize(
    ("zone", "local", "moment"),
    [
        ("Z", "2024-07-01T10:00:00", "2024-07-01T10:00:00Z"),
        ("+05:30", "2024-07-01T10:00:00", "2024-07-01T10:00:00+05:30"),
        ("-03:00", "2024-07-01T10:00:00", "2024-07-01T10:00:00-03:00"),
        ("Europe/Paris", "2024-01-15T10:00:00", "2024-01-15T10:00:00+01:00"),
        ("Europe/Paris", "2024-07-15T10:00:00", "2024-07-15T10:00:00+02:00"),
        # 31 March, 02:00: clocks are put forward
        ("Europe/Paris", "2024-03-31T01:59:59", "2024-03-31T01:59:59+01:00"),
        ("Europe/Paris", "2024-03-31T02:30:00", "2024-03-31T02:30:00+01:00"),  # there is no such time: it is 03:30
        ("Europe/Paris", "2024-03-31T03:00:00", "2024-03-31T03:00:00+02:00"),
        # 27 October, 03:00: clocks are put back
        ("Europe/Paris", "2024-10-27T01:59:59", "2024-10-27T01:59:59+02:00"),
        ("Europe/Paris", "2024-10-27T02:30:00", "2024-10-27T02:30:00+02:00"),  # the first of the two
        ("Europe/Paris", "2024-10-27T03:00:00", "2024-10-27T03:00:00+01:00"),
        ("Australia/Sydney", "2024-01-15T10:00:00", "2024-01-15T10:00:00+11:00"),
        ("Australia/Sydney", "2024-07-15T10:00:00", "2024-07-15T10:00:00+10:00"),
        ("America/St_Johns", "2024-07-15 10:00", "2024-07-15T10:00:00-02:30"),
        ("Asia/Kolkata", "20240715100000", "2024-07-15T10:00:00+05:30"),
        ("Etc/UTC", "2024-07-15T10:00:00.5", "2024-07-15T10:00:00.5+00:00"),
    ],
)
def test_a_date_without_a_zone_is_in_that_of_the_row(zone: str, local: str, moment: str) -> None:
    assert quirks.timestamp(local, zone) == (moment, f"no zone, taken as {zone}")


@pytest.mark.parametrize("local", ["2024-07-01T10:00:00z", "2024-07-01 10:00:00Z", "2024-07-01T10:00Z"])
def test_a_date_with_a_zone_keeps_it(local: str) -> None:
    repaired = quirks.timestamp(local, "Europe/Paris")
    assert repaired == ("2024-07-01T10:00:00Z", "another form of the date")


@pytest.mark.parametrize("name", ["Z", "+02:00", "-14:00", "+14:00", "Europe/Paris", "Etc/UTC"])
def test_zones_are_known(name: str) -> None:
    assert known_zone(name)


@pytest.mark.parametrize(
    "name", ["", "z", "+2", "+0200", "+15:00", "CEST ", "Mars/Base", "Europe", "../../etc/passwd", "/etc", "a\0b"]
)
def test_what_is_no_zone_is_said_so(name: str) -> None:
    assert not known_zone(name)
    with pytest.raises(ValueError, match=r"^expected a time zone, got '"):
        zone_named(name)

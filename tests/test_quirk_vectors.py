"""Every quirk has a vector: what a peer sends, what the gateway makes of it, and what it remarks."""

import ast
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from lxml import etree

from gateway.chargers.address import callback_address
from tests.judges import assert_valid_by_contracts, body_of, validator
from tests.quirk_vectors import ENDINGS, KEYS, VECTORS, Vector, again, each, heard, opened, written
from tests.test_deploy import cells
from tests.test_vectors import PAIRS, decoded, spelled
from tests.test_vectors import Vector as Pair
from translations import manners, soap
from translations.deltas import known_actions
from translations.errors import OcppError
from translations.manners import Quirk, Who, manner_of
from translations.messages import Call, Error, Kind, Message, Result, Side, Version
from translations.tongue import Tongue

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "topics" / "quirks.md"
TABLES = tomllib.loads((ROOT / "translations" / "quirks.toml").read_text("utf-8"))
RULES = {row["name"]: row for row in TABLES["rule"]}


def left(message: Message | soap.Written) -> list[tuple[str, str, str]]:
    return sorted((r.path, str(r.kind), r.rule) for r in message.remarks)


def wanted(vector: Vector) -> list[tuple[str, str, str]]:
    return sorted((path, kind, rule) for kind, path, rule in vector.given["remarks"])


def repairs(message: Message | soap.Written) -> list[str]:
    return [r.rule for r in message.remarks if r.rule.startswith("quirks.")]


# --- the files


@pytest.mark.parametrize("vector", VECTORS, ids=[v.name for v in VECTORS])
def test_a_file_says_what_it_is(vector: Vector) -> None:
    assert set(vector.given) <= KEYS
    assert vector.given["evidence"]
    assert sum(ending in vector.given for ending in ENDINGS) == 1
    assert vector.name.endswith(str(vector.given["wire"]).removeprefix("soap-"))


@each("after", "error", "after_envelope")
def test_the_quirk_of_a_vector_is_among_its_remarks(vector: Vector) -> None:
    rules = {rule for _, _, rule in vector.given["remarks"] if rule.startswith("quirks.")}
    assert vector.given["quirk"] in rules or (vector.given["quirk"], rules) == ("", set())


# --- what is heard


@each("after")
def test_a_quirk_is_understood(vector: Vector) -> None:
    message = heard(vector)
    assert isinstance(message, Result if vector.answers else Call)
    assert (message.action, spelled(message.payload)) == (vector.given["action"], spelled(vector.after))


@each("error")
def test_an_error_of_any_shape_is_understood(vector: Vector) -> None:
    message = heard(vector)
    assert isinstance(message, Error)
    assert [message.code, message.text] == vector.given["error"]


@each("after", "error")
def test_each_repair_is_remarked_and_nothing_else(vector: Vector) -> None:
    assert left(heard(vector)) == wanted(vector)


@each("identity")
def test_who_it_is_comes_out_of_any_header(vector: Vector) -> None:
    assert opened(vector).identity == vector.given["identity"]


@each("id")
def test_an_id_goes_on_as_a_frame_can_carry_it(vector: Vector) -> None:
    assert heard(vector).id == vector.given["id"]


@each("callback")
def test_what_it_says_of_itself_is_made_an_address(vector: Vector) -> None:
    envelope = opened(vector)
    address = callback_address(envelope.sender, envelope.reply_to, vector.given["source"])
    assert address == vector.given["callback"]


@each("after")
def test_what_is_understood_is_valid_by_the_published_schema(vector: Vector) -> None:
    if vector.given["action"] not in known_actions(Side.CENTRAL_SYSTEM) | known_actions(Side.CHARGE_POINT):
        return  # a vendor's, which nobody judges
    errors = validator(vector.given["action"], bool(vector.answers)).iter_errors(heard(vector).payload)  # type: ignore[union-attr]
    # The Open Charge Alliance's own schema lets meterValue be empty; the copy in the package does not.
    assert [e for e in errors if (e.validator, list(e.path)) != ("minItems", ["meterValue"])] == []


@each("after")
def test_what_is_repaired_needs_no_second_repair(vector: Vector) -> None:
    message = heard(vector)
    assert isinstance(message, Call | Result)
    bare = Call(message.action, message.payload) if isinstance(message, Call) else Result(message.payload, "1", message.action)
    if vector.is_soap:
        second = again(bare, vector.version, vector.service)
    else:
        second = Tongue(Version.V16, Side.CENTRAL_SYSTEM).heard(bare, vector.answers)
    assert isinstance(second, Call | Result)
    assert (spelled(second.payload), repairs(second)) == (spelled(message.payload), [])


@each("after", "error", quirk=True)
def test_the_strict_refuse_what_needs_a_repair(vector: Vector) -> None:
    with pytest.raises(OcppError):
        heard(vector, "strict")


@each("after", quirk=False)
def test_the_strict_take_what_needs_none(vector: Vector) -> None:
    taken, message = heard(vector, "strict"), heard(vector)
    assert isinstance(taken, Call | Result)
    assert isinstance(message, Call | Result)
    assert (taken.payload, left(taken)) == (message.payload, left(message))


@each("after", "error")
def test_without_validation_nothing_is_refused_that_could_be_mended(vector: Vector) -> None:
    assert type(heard(vector, "off")) is type(heard(vector))


@each("refused")
def test_what_is_not_for_guessing_is_refused(vector: Vector) -> None:
    code, text = vector.given["refused"]
    with pytest.raises(OcppError) as caught:
        heard(vector)
    assert (caught.value.code, text in caught.value.text) == (code, True), caught.value.text


@each("refused")
def test_the_strict_refuse_it_too(vector: Vector) -> None:
    with pytest.raises(OcppError):
        heard(vector, "strict")


# --- what is written


@each("after_envelope")
def test_an_envelope_is_written_as_the_charger_reads_it(vector: Vector) -> None:
    root = etree.fromstring(written(vector).body)
    found = [(xpath, root.xpath(xpath)) for xpath, _ in vector.given["after_envelope"]]
    texts = [(xpath, f"{value:g}" if isinstance(value, float) else str(value)) for xpath, value in found]
    assert texts == [tuple(check) for check in vector.given["after_envelope"]]


@each("after_envelope")
def test_an_envelope_is_valid_by_the_contract_whatever_its_manner(vector: Vector) -> None:
    said = written(vector)
    assert_valid_by_contracts(body_of(said.body), vector.version, vector.service)
    assert (left(said), repairs(soap.decode(said.body, role=vector.service)[1])) == (wanted(vector), [])


@each("unwritten")
def test_what_would_have_to_be_guessed_or_cut_is_not_written(vector: Vector) -> None:
    code, text = vector.given["unwritten"]
    with pytest.raises(OcppError) as caught:
        written(vector)
    assert (caught.value.code, text in caught.value.text) == (code, True), caught.value.text


# --- ordinary messages

READING = [quirk for quirk in manners.known_quirks() if quirk.zone is not None or quirk.meter is not None]


def samples(payload: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name in ("meterValue", "transactionData"):
        for group in payload.get(name, ()):
            yield from group["sampledValue"]


@pytest.mark.parametrize("pair", PAIRS, ids=[f"{p.version}-{p.action}.{p.kind}" for p in PAIRS])
def test_a_row_changes_nothing_but_what_it_is_for(pair: Pair) -> None:
    _, plain = decoded(pair.envelope)
    assert isinstance(plain, Call | Result)
    for quirk in READING:
        _, message = soap.decode(pair.envelope, manner=manner_of(Who(), (Quirk(quirk.name, zone=quirk.zone, meter=quirk.meter),)))
        assert isinstance(message, Call | Result)
        for ours, theirs in zip(samples(plain.payload), samples(message.payload), strict=True):
            if ours.keys().isdisjoint(("measurand", "unit")):
                assert [theirs.pop(field) for field, _ in quirk.meter or () if field not in ours]
        assert spelled(message.payload) == spelled(plain.payload)


@pytest.mark.parametrize("version", Version)
def test_nobody_in_particular_is_heard_as_usual(version: Version) -> None:
    manner = manner_of(Who("CP-1", "Vendor", "Model", "1.0", version))
    assert (manner.zone, manner.meter, manner.validation) == ("Z", (), "repair")


# --- rules, vectors and the page


def rules_in_code() -> set[str]:
    """The text literals that name a rule."""
    paths = [*(ROOT / "translations").glob("*.py"), *(ROOT / "gateway").rglob("*.py")]
    nodes = (node for path in paths for node in ast.walk(ast.parse(path.read_text("utf-8"))))
    texts = {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {text for text in texts if text.startswith("quirks.") and text[7:].replace("-", "").isalpha()} - {"quirks.toml"}


def test_every_rule_of_the_code_has_a_table_and_nothing_else_has() -> None:
    assert sorted(RULES) == sorted(rules_in_code())


def test_every_rule_has_a_vector() -> None:
    assert sorted(RULES) == sorted({vector.given["quirk"] for vector in VECTORS} - {""})


def test_a_rule_says_what_it_does_and_of_which_kind_its_remarks_are() -> None:
    seen = {(rule, kind) for v in VECTORS for kind, _, rule in v.given.get("remarks", ()) if rule in RULES}
    assert all(set(row) == {"name", "what", "kinds"} and row["what"] for row in RULES.values())
    assert seen <= {(name, kind) for name, row in RULES.items() for kind in row["kinds"]}
    assert {kind for row in RULES.values() for kind in row["kinds"]} <= {str(kind) for kind in Kind}


def test_the_page_tells_every_rule_and_every_row() -> None:
    rules = {(name, row["what"], ", ".join(row["kinds"])) for name, row in RULES.items()}
    assert rules <= cells(PAGE)
    told = {(row[0], row[-1]) for row in cells(PAGE)}
    assert {(row["name"], row["evidence"]) for row in TABLES["quirk"]} <= told


def test_the_tests_that_the_page_names_exist() -> None:
    named = re.findall(r"`(tests/[^`]+)`", PAGE.read_text("utf-8"))
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_no_rule_is_on_the_page_that_is_not_in_the_code() -> None:
    assert set(re.findall(r"`(quirks\.[a-z-]+)`", PAGE.read_text("utf-8"))) - {"quirks.toml"} == set(RULES)

"""The filter language, read and written: what is understood, and what is said of what is not."""

import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.traffic.fields import FIELDS, Ago, Moment, Severity, Spelt, Value
from gateway.traffic.language import DEPTH, LENGTH, TERMS, FilterError, from_options, option, parsed
from gateway.traffic.tree import EVERYTHING, And, Compare, Has, In, Name, Not, Or, Tree, settled, written
from tests.filtered import trees


def _is(field: str, value: Value, sign: str = "==") -> Tree:
    return Compare(Name(FIELDS[field]), sign, value)


_OK = Has(Name(FIELDS["ok"]))
_TAG = Name(FIELDS["payload"], ("idTag",))

_TREES: dict[str, Tree] = {
    "": EVERYTHING,
    " \n": EVERYTHING,
    "ok": _OK,
    "NOT ok": Not(_OK),
    "!ok": Not(_OK),
    "ok == false": Not(_OK),
    "ok != false": _OK,
    "charger == CP7": _is("charger", "CP7"),
    "charger=CP7": _is("charger", "CP7"),
    "charger == 'C P\\u00e9\\n'": _is("charger", "C Pé\n"),
    "charger != CP*": _is("charger", "CP*", "!="),
    'charger == "and"': _is("charger", "and"),
    "charger == android": _is("charger", "android"),
    "ok or ok and ok": Or((_OK, And((_OK, _OK)))),
    "(ok || ok) && ok": And((Or((_OK, _OK)), _OK)),
    "ok and (ok and ok)": And((_OK, And((_OK, _OK)))),
    "not not ok": Not(Not(_OK)),
    "action in (Heartbeat, 'StopTransaction')": In(Name(FIELDS["action"]), ("Heartbeat", "StopTransaction")),
    "latency > 150ms": _is("latency", 0.15, ">"),
    "latency<=1m30s": _is("latency", 90.0, "<="),
    "connector == 2": _is("connector", 2),
    "remark.lost and remark > 2": And((Has(Name(FIELDS["remark.lost"])), _is("remark", 2, ">"))),
    "since 10m": _is("at", Ago(600.0), ">="),
    "Until 2026-01-31T12:00Z": _is("at", Moment(1769860800.0), "<"),
    "at >= 2026-01-31T13:00+01:00": _is("at", Moment(1769860800.0), ">="),
    "since 2026-01-31": _is("at", Moment(1769817600.0), ">="),
    "direction == UP": _is("direction", "up"),
    "expert.severity >= warning": _is("expert.severity", Severity.WARNING, ">="),
    "payload.idTag == 0012": Compare(_TAG, "==", Spelt("0012")),
    'payload.idTag == "0012"': Compare(_TAG, "==", "0012"),
    "payload.idTag in (a, true, 1.5)": In(_TAG, ("a", True, Spelt("1.5"))),
    "payload.a[0].b-c[12]": Has(Name(FIELDS["payload"], ("a", 0, "b-c", 12))),
    '"some words"': _is("text", "some words", "~"),
    "text ~ word": _is("text", "word", "~"),
    "peer ~ 10.0.0.": _is("peer", "10.0.0.", "~"),
}


@pytest.mark.parametrize(("text", "tree"), _TREES.items())
def test_it_is_understood(text: str, tree: Tree) -> None:
    assert parsed(text) == tree


_BEGINS = 'a field, a text in quotes, "not", "since", "until" or "("'
_GOES_ON = '"==", "!=", "<", "<=", ">", ">=", "~", "in", "and", "or" or the end'

_WRONG = (
    ("CP7", 0, 'expected a field, like charger, action, ok or latency, or a text in quotes, got "CP7"'),
    ("chager == x", 0, 'expected a field, got "chager"; did you mean charger?'),
    ("ok and Charger == x", 7, 'expected a field, got "Charger"; did you mean charger?'),
    ("payload == 1", 7, "expected a path after payload, like payload.idTag"),
    ("charger.x == 1", 0, 'expected a field, got "charger.x"; did you mean charger?'),
    ("charger == ", 11, "expected a value, got the end"),
    ("charger == and ok", 11, 'expected a value, got "and"'),
    ('charger == "abc', 11, 'expected a closing "'),
    ("charger == a b", 13, 'expected "and", "or" or the end, got "b"'),
    ("ok #", 3, f'expected {_GOES_ON}, got "#"'),
    ("ok)", 2, f'expected {_GOES_ON}, got ")"'),
    ("(ok", 3, f"expected {_GOES_ON.replace('the end', chr(34) + ')' + chr(34))}, got the end"),
    ("ok or", 5, f"expected {_BEGINS}, got the end"),
    ("and", 0, 'expected a field, like charger, action, ok or latency, or a text in quotes, got "and"'),
    ("== x", 0, 'expected a field, a text in quotes, "not", "since", "until", "(" or the end, got "=="'),
    ("action in ()", 11, 'expected a value, got ")"'),
    ("action in (a", 12, 'expected ")" or ",", got the end'),
    ("action in a", 10, 'expected "(", got "a"'),
    ("charger < 3", 8, 'expected "==", "!=", "~" or "in" after charger, which is a text'),
    ("latency > 2", 10, 'expected a duration like 2s, 150ms or 1m30s after latency, got "2"'),
    ("latency ~ 2s", 8, 'expected "==", "!=", "<", "<=", ">" or ">=" after latency, which is a duration like 2s, 150ms or 1m30s'),
    ("connector == one", 13, 'expected a number like 4711 after connector, got "one"'),
    ("id == 9999999999999999999", 6, 'expected a number like 4711 after id, got "9999999999999999999"'),
    ("since yesterday", 6, 'expected a time like 10m (ago) or 2026-01-31T12:00Z after at, got "yesterday"'),
    ("since 9999-12-31", 6, 'expected a time like 10m (ago) or 2026-01-31T12:00Z after at, got "9999-12-31"'),
    ("direction == left", 13, 'expected up or down after direction, got "left"'),
    ("direction", 9, 'expected "==" or "!=" after direction, which is up or down'),
    ("expert.severity > bad", 18, 'expected note, warning or error after expert.severity, got "bad"'),
    ("ok == maybe", 6, 'expected true or false after ok, got "maybe"'),
    ("payload.a > b", 12, 'expected a number after >, got "b"'),
    ("payload.a == null", 13, "expected a value; where there is none, say: not payload..."),
    ('note == ""', 8, "expected a text that is not empty; where there is none, say: not note"),
    ("charger == CP[7", 13, 'expected "]" after "[", which by itself is written "[[]"'),
    ("charger == CP[z-a]", 14, 'expected a range like "a-z" or "0-9" within "[...]"'),
    ('charger == "\\q"', 12, 'expected \\", \\\\, \\n, \\t or \\u00e9, got "\\q"'),
    ('"\\ud800"', 1, 'expected \\", \\\\, \\n, \\t or \\u00e9, got "\\ud800"'),
    ("ok\x1b[31m", 2, "expected text, got the character U+001B"),
    ("(" * 33 + "ok" + ")" * 33, 0, f'expected at most {DEPTH} parentheses and "not"s within each other'),
    (" or ".join(["ok"] * 201), 1200, f"expected at most {TERMS} conditions and values"),
    ("x" * 2001, LENGTH, "expected at most 2000 characters, got 2001"),
)


@pytest.mark.parametrize(("text", "position", "problem"), _WRONG)
def test_what_is_wrong_is_told_with_its_place(text: str, position: int, problem: str) -> None:
    with pytest.raises(FilterError) as caught:
        parsed(text)
    assert (caught.value.position, caught.value.problem) == (position, problem)


def test_a_caret_stands_under_what_is_wrong() -> None:
    with pytest.raises(FilterError) as caught:
        parsed("charger == '充電' and latency > 2")
    assert str(caught.value).splitlines()[1:] == ["charger == '充電' and latency > 2", " " * 32 + "^"]


def test_of_a_long_expression_the_part_around_is_shown() -> None:
    with pytest.raises(FilterError) as caught:
        parsed("ok and " * 100 + "\tbad" + " and ok" * 100)
    line, caret = str(caught.value).splitlines()[1:]
    assert len(line) == 100
    assert line[caret.index("^") :].startswith("bad and ok")


@settings(deadline=None, max_examples=500)
@given(trees)
def test_what_is_written_is_read_as_the_same(tree: Tree) -> None:
    text = written(tree)
    assert text.isprintable()
    assert parsed(text) == tree


_WORDS = ("and", "or", "not", "in", "since", "==", ">=", "10m", "1.5", "CP7", '"a b"', "é", "payload.a", " ")
_BITS = st.sampled_from([*FIELDS, *_WORDS, *"()[]\"'\\,~!=<>&|*?.-#\0\x1b"])
_GARBAGE = st.text() | st.lists(_BITS, max_size=20).map("".join) | st.lists(_BITS, max_size=20).map(" ".join)


@settings(deadline=None, max_examples=1000)
@given(_GARBAGE)
def test_garbage_is_refused_at_a_place_within_it(text: str) -> None:
    try:
        tree = parsed(text)
    except FilterError as error:
        assert 0 <= error.position <= len(text)
        lines = str(error).splitlines()
        assert len(lines) == 3
        assert lines[1].isprintable()
    else:
        assert parsed(written(tree)) == tree


@settings(deadline=None, max_examples=300)
@given(trees, st.data())
def test_a_harmed_expression_is_refused_or_read(tree: Tree, data: st.DataObject) -> None:
    text = written(tree)
    place = data.draw(st.integers(0, len(text)))
    harmed = text[:place] + data.draw(_BITS) + text[place + data.draw(st.integers(0, 2)) :]
    try:
        parsed(harmed)
    except FilterError as error:
        assert error.problem.startswith("expected ")


_SLOW = (
    "(" * LENGTH,
    "not " * 500,
    '"' * 1999,
    "a." * 1000,
    f"payload{'[1]' * 600}",
    f"at>{'1m' * 998}",
    "ok or " * 333,
    "!" * 2000,
)


@pytest.mark.parametrize("text", _SLOW)
def test_no_expression_takes_long(text: str) -> None:
    start = time.process_time()
    with suppress(FilterError):
        parsed(text)
    assert time.process_time() - start < 0.5


_OPTIONS: tuple[tuple[dict[str, object], str], ...] = (
    ({}, ""),
    ({"charger": "CP*"}, 'charger == "CP*"'),
    (
        {"charger": "CP7", "action": "Heartbeat", "tenant": "n"},
        'charger == "CP7" and action == "Heartbeat" and tenant == "n"',
    ),
    ({"leg": "csms-b", "failed": True}, 'leg == "csms-b" and outcome != "ok"'),
    ({"outcome": "failed"}, 'outcome != "ok"'),
    ({"outcome": "GenericError"}, 'outcome == "GenericError"'),
    ({"remark": "lost"}, "remark.lost"),
    ({"since": 1769860800.0000001, "until": "10m"}, "since 2026-01-31T12:00:00Z and until 10m"),
    ({"exchange": "4711"}, 'name == "4711" or id == 4711'),
    ({"exchange": "a1"}, 'name == "a1"'),
    ({"text": 'so "said" \\'}, '"so \\"said\\" \\\\"'),
)


@pytest.mark.parametrize(("options", "text"), _OPTIONS)
def test_options_are_an_expression(options: dict[str, object], text: str) -> None:
    assert written(from_options(**options)) == text  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"remark": "rule"}, {"since": "soon"}, {"charger": "["}, {"text": "\0"}, {"text": "\ud800"}])
def test_options_can_be_wrong(options: dict[str, str]) -> None:
    with pytest.raises(FilterError):
        from_options(**options)  # type: ignore[arg-type]


def test_the_value_of_an_option_is_taken_as_it_is() -> None:
    assert option("note", "~", 'x" or ok \\n') == _is("note", 'x" or ok \\n', "~")


def test_times_can_be_settled() -> None:
    tree = parsed("not since 10m and ok")
    assert settled(tree, 1769860800.0) == parsed("not since 2026-01-31T11:50Z and ok")


_REFERENCE = (Path(__file__).parent.parent / "docs/reference/filters.md").read_text()


@pytest.mark.parametrize("field", FIELDS)
def test_the_reference_has_every_field(field: str) -> None:
    assert f"`{field}" in _REFERENCE or f"`.{field.partition('.')[2]}`" in _REFERENCE


@pytest.mark.parametrize("text", _REFERENCE.split("```")[1].strip().splitlines())
def test_the_examples_of_the_reference_are_understood(text: str) -> None:
    assert parsed(text) != EVERYTHING

"""What holds for every message that the contracts allow, and what must not happen for anything else."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import jsonschema  # type: ignore[import-untyped]
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from lxml import etree

from tests.judges import assert_valid_by_contracts, body_of, tree, validator
from tests.strategies import Form, elements, enveloped, forms, harmed, payloads
from translations import ocppj, schemas, soap
from translations.errors import NotSupported, OcppError
from translations.messages import Call, Kind, Message, Payload, Remark, Result, Version
from translations.translate import TARGETS, Wish, line, translate

FORMS = forms(*Version)
NARROW = forms(Version.V12, Version.V15)
NOW = "2026-01-02T03:04:05Z"

# Only these have values that older versions cannot say and must not guess.
SPEECHLESS = {"DiagnosticsStatusNotification", "FirmwareStatusNotification"}

each_form = pytest.mark.parametrize("form", FORMS, ids=map(str, FORMS))
each_canonical = pytest.mark.parametrize("form", forms(Version.V16), ids=map(str, forms(Version.V16)))


def canonical(form: Form) -> st.SearchStrategy[Payload]:
    """Payloads of the message in canonical form, whichever version it shall go to."""
    return payloads(Form(Version.V16, form.side, form.action, form.response).type)


def message(form: Form, payload: Payload) -> Message:
    if form.response:
        return Result(payload, "m-1", form.action)
    return Call(form.action, payload, "m-1", "CP-1", form.side)


def said(form: Form, payload: Payload) -> soap.Written | None:
    """The payload as an envelope of the form's version; None where that has no word for it."""
    try:
        ids = soap.Addresses(relates_to="m-1")
        return soap.encode(message(form, payload), form.version, form.side, identity="CP-1", addresses=ids)
    except NotSupported:
        assert form.action in SPEECHLESS
        assert form.version != Version.V16
        return None


def heard(envelope: bytes) -> Call | Result:
    _, back = soap.decode(envelope, received=NOW)
    assert isinstance(back, Call | Result)
    return back


def spelled(value: Any) -> str:
    """A payload in which the digits of numbers count."""
    return json.dumps(value, sort_keys=True, default=lambda number: {"digits": str(number)})


def check_schema(form: Form, payload: Payload) -> list[str]:
    """Complaints by the published schema; the official one lets `meterValue` be empty."""
    errors = validator(form.action, form.response).iter_errors(payload)
    return [e.message for e in errors if (e.validator, list(e.path)) != ("minItems", ["meterValue"])]


# --- canonical to SOAP and back ----------------------------------------------------------------------------------------


@each_form
@given(data=st.data())
def test_what_is_written_is_valid_by_the_contract(form: Form, data: st.DataObject) -> None:
    payload = data.draw(canonical(form))
    assert check_schema(form, payload) == []
    written = said(form, payload)
    if written is not None:
        assert_valid_by_contracts(body_of(written.body), form.version, form.side)


@each_canonical
@given(data=st.data())
def test_version_1_6_says_everything(form: Form, data: st.DataObject) -> None:
    payload = data.draw(canonical(form))
    written = said(form, payload)
    assert written is not None
    back = heard(written.body)
    assert (spelled(back.payload), back.action, back.id) == (spelled(payload), form.action, "m-1")
    assert written.remarks + back.remarks == ()


@pytest.mark.parametrize("form", NARROW, ids=map(str, NARROW))
@given(data=st.data())
def test_remarks_stand_exactly_where_something_was_lost(form: Form, data: st.DataObject) -> None:
    payload = data.draw(canonical(form))
    written = said(form, payload)
    if written is None:
        return
    back = heard(written.body)
    original = spot(payload) if form.version == Version.V15 else bare(spot(payload))
    different = set(differences(original, back.payload, paths(written.remarks, Kind.LOST)))
    changed = paths(written.remarks, Kind.CHANGED)
    assert different - paths(back.remarks, Kind.ASSUMED) == changed - paths(back.remarks, Kind.ASSUMED)
    assert written.remarks or form.version == Version.V12 or spelled(back.payload) == spelled(payload)
    assert {r.kind for r in written.remarks} <= {Kind.LOST, Kind.CHANGED}


def paths(remarks: tuple[Remark, ...], kind: Kind) -> set[str]:
    return {remark.path for remark in remarks if remark.kind is kind}


@dataclass(frozen=True, slots=True)
class Spot:
    """A value of a payload, and where it stood."""

    path: str
    value: Any


def spot(value: Any, path: str = "") -> Spot:
    if isinstance(value, dict):
        return Spot(path, {name: spot(item, f"{path}.{name}".lstrip(".")) for name, item in value.items()})
    if isinstance(value, list):
        return Spot(path, [spot(item, f"{path}[{i}]") for i, item in enumerate(value)])
    return Spot(path, value)


MEANT = {"format": "Raw", "measurand": "Energy.Active.Import.Register", "location": "Outlet", "unit": "Wh"}


def bare(payload: Spot) -> Spot:
    """What OCPP 1.2 can make of meter values: one sample for each time, and what a bare value means goes without saying."""
    groups = payload.value.get("meterValue")
    if groups is None:
        return payload
    split = [
        Spot(group.path, group.value | {"sampledValue": Spot(group.value["sampledValue"].path, [_bare_sample(sample)])})
        for group in groups.value
        for sample in group.value["sampledValue"].value
    ]
    return Spot("", payload.value | {"meterValue": Spot(groups.path, split)})


def _bare_sample(sample: Spot) -> Spot:
    fields = {name: item for name, item in sample.value.items() if item.value != MEANT.get(name)}
    if "unit" in fields and fields["unit"].value == "kWh":  # the remark on the unit tells of the number too
        fields["value"] = Spot(fields["unit"].path, fields["value"].value)
    return Spot(sample.path, fields)


def differences(before: Spot, after: Any, lost: set[str]) -> Iterator[str]:
    """Where the two differ, apart from what was lost; a field that is said to be lost and is there, differs too."""
    if isinstance(before.value, dict):
        yield from _differing_fields(before.value, after, lost)
    elif isinstance(before.value, list):
        kept = [item for item in before.value if not _gone(item, lost)]
        if len(kept) != len(after):
            yield before.path
        for item, found in zip(kept, after, strict=False):
            yield from differences(item, found, lost)
    elif spelled(before.value) != spelled(after):
        yield before.path


def _differing_fields(before: dict[str, Spot], after: dict[str, Any], lost: set[str]) -> Iterator[str]:
    for name, item in before.items():
        if item.path in lost:
            if name in after:
                yield f"{item.path} is still there"
        elif name in after:
            yield from differences(item, after[name], lost)
        elif not (isinstance(item.value, list) and all(_gone(one, lost) for one in item.value)):
            yield item.path
    for name in after.keys() - before.keys():
        # An error code that had to change is kept beside it.
        if name != "vendorErrorCode" or after[name] != before["errorCode"].value:
            yield name


def _gone(item: Spot, lost: set[str]) -> bool:
    """Lost itself, or with all that it had to hold."""
    if item.path in lost:
        return True
    lists = (
        [field.value for field in item.value.values() if isinstance(field.value, list)] if isinstance(item.value, dict) else []
    )
    return any(all(_gone(one, lost) for one in values) for values in lists)


# --- SOAP to canonical and back ----------------------------------------------------------------------------------------


@each_form
@given(data=st.data())
def test_what_is_read_is_valid_by_the_json_schema_and_comes_back_as_it_was(form: Form, data: st.DataObject) -> None:
    payload = data.draw(elements(form))
    assert_valid_by_contracts(payload, form.version, form.side)
    before = tree(payload)
    read = heard(enveloped(payload))
    assert check_schema(form, read.payload) == []
    assert "quirks.order" not in {remark.rule for remark in read.remarks}
    written = soap.encode(read, form.version, form.side)
    assert tree(body_of(written.body)) == before or read.remarks
    assert paths(written.remarks, Kind.CHANGED) <= paths(read.remarks, Kind.ASSUMED)
    assert paths(written.remarks, Kind.LOST) == set()


# --- anything at all ---------------------------------------------------------------------------------------------------


def survives(data: bytes, wish: Wish) -> None:
    """Nothing but a refusal is raised, and what comes out is well-formed."""
    try:
        done = translate(data, wish)
    except OcppError as refused:
        assert refused.text
        assert "\n" not in refused.text
        return
    ocppj.decode(done.message) if done.is_json else etree.fromstring(done.message)


@given(st.binary(max_size=200) | st.text(max_size=100).map(str.encode))
@example(b"")
@example(b"<")
@example(b"\xff\xfe")
@example(b"<?xml version='1.0' encoding='undefined'?><a/>")
def test_arbitrary_bytes_are_translated_or_refused(data: bytes) -> None:
    survives(data, Wish(to="soap-1.6"))


SAMPLES = [elements(form).map(enveloped) for form in FORMS if form.type.fields]


@given(data=st.data())
def test_harmed_envelopes_are_translated_or_refused(data: st.DataObject) -> None:
    whole = data.draw(st.sampled_from(SAMPLES).flatmap(lambda one: one))
    harm = data.draw(harmed([whole]))
    survives(harm, Wish(received=NOW))
    assert msgspec.json.decode(line(msgspec.json.encode({"base64": harm})))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
_ACTIONS = st.sampled_from(sorted({form.action for form in FORMS})) | st.text(max_size=8)
_FRAMES = (
    st.tuples(st.just(2), st.text(max_size=40), _ACTIONS, _JSON)
    | st.tuples(st.just(3), st.text(max_size=40), _JSON)
    | st.tuples(st.just(4), st.text(max_size=40), st.text(max_size=20), st.text(max_size=300), _JSON)
    | st.lists(_JSON, max_size=5)
)


@given(_FRAMES, st.sampled_from(sorted(TARGETS)), _ACTIONS)
def test_arbitrary_frames_are_translated_or_refused(frame: Any, target: str, action: str) -> None:
    survives(json.dumps(frame).encode(), Wish(to=target, action=action))


@each_canonical
@given(data=st.data())
def test_broken_payloads_are_written_or_refused(form: Form, data: st.DataObject) -> None:
    payload = data.draw(broken(canonical(form)))
    for version in Version:
        try:
            etree.fromstring(soap.encode(message(form, payload), version, form.side).body)
        except OcppError as refused:
            assert refused.text


# --- the judge ---------------------------------------------------------------------------------------------------------

_WRONG: tuple[Any, ...] = (None, True, 7, 2**40, -1, Decimal("1.0"), Decimal("0.15"), "", "7", "x" * 600, [], {}, [[]], {"x": 1})


@st.composite
def broken(draw: st.DrawFn, whole: st.SearchStrategy[Payload]) -> Payload:
    """A payload in which one thing may be wrong, at any depth."""
    payload = draw(whole)
    at: Any = payload
    while isinstance(at, dict | list) and at and draw(st.booleans()):
        deeper = [item for item in (at.values() if isinstance(at, dict) else at) if isinstance(item, dict | list)]
        at = draw(st.sampled_from(deeper)) if deeper else at
    key = draw(st.sampled_from([*at, "x", ""])) if isinstance(at, dict) else 0
    if at or isinstance(at, dict):
        at[key] = draw(st.sampled_from(_WRONG))
    if isinstance(at, dict) and draw(st.booleans()):
        del at[key]
    return payload


FORMATS = jsonschema.FormatChecker(formats=())


@FORMATS.checks("date-time", ValueError)  # type: ignore[untyped-decorator]
def _is_moment(text: object) -> bool:
    return not isinstance(text, str) or datetime.fromisoformat(text).tzinfo is not None


@FORMATS.checks("uri")  # type: ignore[untyped-decorator]
def _is_uri(text: object) -> bool:
    return not isinstance(text, str) or bool(urlsplit(text).scheme)


@each_canonical
@given(data=st.data())
def test_judge_agrees_with_another_validator(form: Form, data: st.DataObject) -> None:
    payload = data.draw(canonical(form) | broken(canonical(form)))
    other = validator(form.action, form.response).evolve(format_checker=FORMATS)
    wrong = [e for e in other.iter_errors(payload) if (e.validator, list(e.path)) != ("minItems", ["meterValue"])]
    try:
        schemas.judge(form.action, form.response, payload)
    except OcppError:
        assert wrong
    else:
        assert wrong == []

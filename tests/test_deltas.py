"""translations.deltas: the rows say only what the contracts have, and are read both ways."""

from collections.abc import Iterator

import pytest

from translations.contracts import Type, contract
from translations.deltas import Form, Shape, Slot, dialect, json_only, known_actions, rows
from translations.messages import Kind, Side, Version

VERSIONS = pytest.mark.parametrize("version", list(Version))
OLD = pytest.mark.parametrize("version", [Version.V12, Version.V15])


def all_types(version: Version) -> dict[str, Type]:
    found: dict[str, Type] = {}

    def walk(kind: Type) -> None:
        found[kind.name] = kind
        for field in kind.fields + kind.attributes:
            walk(field.type)

    for side in Side:
        for kind in contract(version, side).messages.values():
            walk(kind)
    return found


def all_forms(version: Version) -> list[Form]:
    return [
        form
        for side in Side
        for way in (dialect(version, side).requests, dialect(version, side).responses)
        for form in way.values()
    ]


def all_shapes(version: Version) -> Iterator[Shape]:
    waiting = [form.shape for form in all_forms(version)]
    while waiting:
        shape = waiting.pop()
        yield shape
        waiting += [slot.shape for slot in shape.slots if slot.shape is not None]


def slot_of(version: Version, owner: str, wire: str) -> Slot:
    return next(
        s for shape in all_shapes(version) if shape.name == owner for s in shape.slots + shape.attributes if s.wire == wire
    )


@VERSIONS
def test_every_row_names_a_type_of_the_contract(version: Version) -> None:
    known = all_types(version)
    assert set(rows(version).get("types", {})) <= set(known)
    assert set(rows(version).get("enums", {})) <= set(known)


@VERSIONS
def test_every_renamed_or_flattened_field_exists(version: Version) -> None:
    for owner, deltas in rows(version).get("types", {}).items():
        fields = {field.name for field in all_types(version)[owner].fields}
        for verb in ("rename", "wrap", "flatten", "unwrap"):
            assert set(deltas.get(verb, {})) <= fields, owner


@OLD
def test_every_word_of_a_row_exists_on_its_side(version: Version) -> None:
    spoken, canonical = all_types(version), all_types(Version.V16)
    for name, deltas in rows(version)["enums"].items():
        assert "older" not in deltas, name
        up = deltas.get("same", {}) | deltas.get("up", {}) | deltas.get("guess", {})
        assert set(up) <= set(spoken[name].values), name
        assert set(up.values()) <= set(canonical[name].values), name
        assert set(deltas.get("down", {})) <= set(canonical[name].values), name
        assert set(deltas.get("down", {}).values()) <= set(spoken[name].values), name


def test_every_older_word_is_one_of_an_older_version() -> None:
    canonical, old = all_types(Version.V16), [all_types(Version.V12), all_types(Version.V15)]
    for name, deltas in rows(Version.V16)["enums"].items():
        older = deltas.get("older", {}) | deltas.get("guess", {})
        assert set(older) <= {word for types in old if name in types for word in types[name].values}, name
        assert set(older.values()) <= set(canonical[name].values), name
        assert not set(older) & set(canonical[name].values), name


@VERSIONS
def test_what_an_unknown_word_becomes_is_a_word(version: Version) -> None:
    canonical = all_types(Version.V16)
    for name, deltas in rows(version)["enums"].items():
        for verb in ("otherwise", "unknown"):
            assert deltas.get(verb, "item") in ("item", "field", *canonical[name].values), name


@VERSIONS
def test_fields_for_an_original_are_found(version: Version) -> None:
    kept = [dict(shape.keep) for shape in all_shapes(version) if shape.keep]
    assert kept == [{"vendorErrorCode": 50, "info": 50}]


@OLD
def test_no_row_says_what_goes_without_saying(version: Version) -> None:
    spoken, canonical = all_types(version), all_types(Version.V16)
    for name, deltas in rows(version)["enums"].items():
        common = set(spoken[name].values) & set(canonical[name].values)
        assert not common & set(deltas.get("down", {})), name
        assert not {w for w, c in deltas.get("same", {}).items() if w == c}, name


@VERSIONS
def test_words_that_are_the_same_go_both_ways(version: Version) -> None:
    for words in {s.words for shape in all_shapes(version) for s in shape.slots + shape.attributes if s.words}:
        assert {words.down[canonical]: canonical for canonical in words.up.values()} == dict(words.up)


@VERSIONS
def test_every_word_of_the_wire_is_understood(version: Version) -> None:
    for shape in all_shapes(version):
        for slot in (s for s in shape.slots + shape.attributes if s.words):
            assert slot.words is not None
            older = {word for word, (_, kind) in slot.words.up_marked.items() if version is Version.V16 or kind is Kind.REPAIRED}
            known = (set(slot.words.up) | set(slot.words.up_marked)) - older
            values = {
                f.name: f.type.values for f in all_types(version)[shape.name].fields + all_types(version)[shape.name].attributes
            }
            assert set(values[slot.wire]) == known, slot.rule


@VERSIONS
def test_every_operation_has_its_two_forms_by_tag(version: Version) -> None:
    for side in Side:
        spoken = dialect(version, side)
        namespace = contract(version, side).namespace
        for form in (*spoken.requests.values(), *spoken.responses.values()):
            assert spoken.by_tag[f"{{{namespace}}}{form.element}"] is form


def test_version_1_6_needs_no_change_of_names() -> None:
    slots = [slot for shape in all_shapes(Version.V16) for slot in shape.slots]
    assert all(slot.name == slot.wire and not slot.wrap and not slot.flatten for slot in slots)


@OLD
def test_only_the_hash_has_no_name_in_the_canonical_form(version: Version) -> None:
    nameless = {slot.wire for shape in all_shapes(version) for slot in shape.slots if not slot.name}
    assert nameless == ({"hash"} if version == Version.V15 else set())
    assert all(line[1] for shape in all_shapes(version) for line in shape.lines)


@pytest.mark.parametrize(
    ("version", "owner", "wire", "name"),
    [
        (Version.V12, "BootNotificationResponse", "heartbeatInterval", "interval"),
        (Version.V12, "MeterValue", "value", "sampledValue"),
        (Version.V15, "BootNotificationResponse", "heartbeatInterval", "interval"),
        (Version.V15, "MeterValue", "value", "sampledValue"),
        (Version.V15, "SendLocalListRequest", "localAuthorisationList", "localAuthorizationList"),
        (Version.V15, "StopTransactionRequest", "transactionData", "transactionData"),
    ],
)
def test_renamed_fields(version: Version, owner: str, wire: str, name: str) -> None:
    assert slot_of(version, owner, wire).name == name


@pytest.mark.parametrize(
    ("version", "owner", "wire", "word", "canonical", "kind"),
    [
        (Version.V15, "StatusNotificationRequest", "status", "Occupied", "Charging", Kind.ASSUMED),
        (Version.V12, "StatusNotificationRequest", "status", "Occupied", "Charging", Kind.ASSUMED),
        (Version.V15, "SendLocalListResponse", "status", "HashError", "Failed", Kind.CHANGED),
    ],
)
def test_words_without_an_equal_are_marked(
    version: Version, owner: str, wire: str, word: str, canonical: str, kind: Kind
) -> None:
    words = slot_of(version, owner, wire).words
    assert words is not None
    assert words.up_marked[word] == (canonical, kind)
    assert word not in words.up


ALIKE = ("Preparing", "Charging", "SuspendedEV", "SuspendedEVSE", "Finishing")
NEW_CODES = (
    "GroundFailure",
    "InternalError",
    "LocalListConflict",
    "OtherError",
    "OverCurrentFailure",
    "OverVoltage",
    "UnderVoltage",
)


@pytest.mark.parametrize(
    ("version", "owner", "wire", "down"),
    [
        (Version.V15, "StatusNotificationRequest", "status", dict.fromkeys(ALIKE, "Occupied")),
        (Version.V12, "StatusNotificationRequest", "status", dict.fromkeys(ALIKE, "Occupied") | {"Reserved": "Unavailable"}),
        (
            Version.V15,
            "StatusNotificationRequest",
            "errorCode",
            dict.fromkeys(("InternalError", "LocalListConflict", "OverVoltage"), "OtherError"),
        ),
        (Version.V12, "StatusNotificationRequest", "errorCode", dict.fromkeys((*NEW_CODES, "WeakSignal"), "Mode3Error")),
        (Version.V12, "BootNotificationResponse", "status", {"Pending": "Rejected"}),
        (Version.V15, "BootNotificationResponse", "status", {"Pending": "Rejected"}),
        (Version.V15, "UnlockConnectorResponse", "status", {"NotSupported": "Rejected"}),
        (Version.V12, "ChangeConfigurationResponse", "status", {"RebootRequired": "Accepted"}),
        (Version.V12, "FirmwareStatusNotificationRequest", "status", {}),
        (Version.V15, "DiagnosticsStatusNotificationRequest", "status", {}),
    ],
)
def test_new_words_become_the_nearest_old_one_or_none(version: Version, owner: str, wire: str, down: dict[str, str]) -> None:
    words = slot_of(version, owner, wire).words
    assert words is not None
    assert dict(words.down_changed) == down


@pytest.mark.parametrize(
    ("version", "owner", "wire", "word", "canonical"),
    [
        (Version.V15, "ReadingValue", "unit", "Amp", "A"),
        (Version.V15, "ReadingValue", "unit", "Volt", "V"),
        (Version.V15, "StatusNotificationRequest", "errorCode", "Mode3Error", "EVCommunicationError"),
        (Version.V12, "StatusNotificationRequest", "errorCode", "Mode3Error", "EVCommunicationError"),
        (Version.V12, "UnlockConnectorResponse", "status", "Accepted", "Unlocked"),
        (Version.V15, "UnlockConnectorResponse", "status", "Rejected", "UnlockFailed"),
    ],
)
def test_words_that_mean_the_same(version: Version, owner: str, wire: str, word: str, canonical: str) -> None:
    words = slot_of(version, owner, wire).words
    assert words is not None
    assert (words.up[word], words.down[canonical]) == (canonical, word)


def test_security_extension_is_json_only() -> None:
    assert sum(len(json_only(side)) for side in Side) == 11
    for side in Side:
        assert json_only(side) <= known_actions(side)
        assert not json_only(side) & contract(Version.V16, side).requests.keys()

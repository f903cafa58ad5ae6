"""gateway.rules.names: what a backend calls chargers and idTags, files that change, and what is wrong with them."""

import importlib.resources
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Ocppj
from gateway.rules import names as made
from gateway.rules.names import TAGS, Names, examine
from tests.judges import validator
from translations.messages import Answer, Call, Error, Kind, Payload, Remark, Result, Side

TAGS_FILE = """
"TAG1" = "theirs-1"
"TAG2" = "theirs-2"
"TAG3" = "shared"
"TAG4" = "SHARED"
"TAG5" = "TAG5"
"""

Backend = Callable[..., Ocppj]


def peer(**values: Any) -> Ocppj:
    return Ocppj(kind="ocppj", name="csms", url="ws://127.0.0.1:1/{identity}", **values)


@pytest.fixture
def backend(tmp_path: Path) -> Backend:
    """A backend whose files hold these texts."""

    def made_of(*, id_tags: str | None = None, identities: str | None = None, **values: Any) -> Ocppj:
        for key, text in (("id_tags_file", id_tags), ("identities_file", identities)):
            if text is not None:
                values[key] = tmp_path / f"{key}.toml"
                values[key].write_text(text, "utf-8")
        return peer(**values)

    return made_of


def info(parent: str) -> Payload:
    return {"idTagInfo": {"status": "Accepted", "parentIdTag": parent}}


# --- identities


@pytest.mark.parametrize(
    ("form", "identity", "tenant", "theirs"),
    [
        ("{identity}", "CP-9", "acme", "CP-9"),
        ("{tenant}-{identity}", "CP-9", "acme", "acme-CP-9"),
        ("{tenant}-{identity}", "CP-1", "acme", "evse/1"),
        ("{tenant}-{identity}", "cp-1", "acme", "evse/1"),
        ("{identity}", "{tenant}", "acme", "{tenant}"),
        ("x{identity}", "CP-9", "", "xCP-9"),
    ],
)
def test_the_file_says_what_a_charger_is_called_and_else_the_template(
    backend: Backend, form: str, identity: str, tenant: str, theirs: str
) -> None:
    names = Names(backend(identities='"CP-1" = "evse/1"', identity=form))
    assert names.identity(identity, tenant) == theirs


# --- idTags

UP = [
    ("TAG1", "theirs-1"),
    ("tag1", "theirs-1"),
    ("TAG3", "shared"),
    ("TAG5", "TAG5"),
    ("TAG9", "TAG9"),
    ("", ""),
]
DOWN = [
    ("theirs-1", "TAG1"),
    ("THEIRS-1", "TAG1"),
    ("TAG9", "TAG9"),
    ("TAG5", "TAG5"),
]


@pytest.mark.parametrize(("ours", "theirs"), UP)
@pytest.mark.parametrize("action", ["Authorize", "StartTransaction", "StopTransaction"])
def test_a_call_of_a_charger_has_the_tags_of_the_backend(backend: Backend, action: str, ours: str, theirs: str) -> None:
    call = Call(action, {"idTag": ours, "connectorId": 1}, "m-1", "CP-1")
    after = Names(backend(id_tags=TAGS_FILE)).up(call)
    assert after.payload == {"idTag": theirs, "connectorId": 1}
    assert (after is call) == (ours == theirs)
    assert call.payload["idTag"] == ours


@pytest.mark.parametrize(("theirs", "ours"), DOWN)
@pytest.mark.parametrize("action", ["Authorize", "StartTransaction", "StopTransaction"])
def test_an_answer_of_the_backend_has_the_tags_of_the_charger(backend: Backend, action: str, theirs: str, ours: str) -> None:
    answer = Result(info(theirs), "m-1", action)
    after = Names(backend(id_tags=TAGS_FILE)).answered(action, answer)
    assert isinstance(after, Result)
    assert after.payload == info(ours)
    assert (after is answer) == (ours == theirs)


def entry(tag: str, parent: str) -> Payload:
    return {"idTag": tag, **info(parent)}


@pytest.mark.parametrize(
    ("action", "before", "after", "paths"),
    [
        ("RemoteStartTransaction", {"idTag": "theirs-1"}, {"idTag": "TAG1"}, ["idTag"]),
        (
            "ReserveNow",
            {"idTag": "theirs-1", "parentIdTag": "theirs-2", "reservationId": 1},
            {"idTag": "TAG1", "parentIdTag": "TAG2", "reservationId": 1},
            ["idTag", "parentIdTag"],
        ),
        (
            "SendLocalList",
            {"listVersion": 1, "localAuthorizationList": [entry("theirs-1", "x"), {"idTag": "theirs-2"}, entry("x", "theirs-1")]},
            {"listVersion": 1, "localAuthorizationList": [entry("TAG1", "x"), {"idTag": "TAG2"}, entry("x", "TAG1")]},
            [
                "localAuthorizationList[0].idTag",
                "localAuthorizationList[1].idTag",
                "localAuthorizationList[2].idTagInfo.parentIdTag",
            ],
        ),
    ],
)
def test_a_call_of_the_backend_has_the_tags_of_the_charger(
    backend: Backend, action: str, before: Payload, after: Payload, paths: list[str]
) -> None:
    call = Call(action, before, "m-1", "CP-1", Side.CHARGE_POINT)
    told = Names(backend(id_tags=TAGS_FILE)).down(call)
    assert told == replace(call, payload=after, remarks=told.remarks)
    assert [(remark.kind, remark.path, remark.rule) for remark in told.remarks] == [
        (Kind.CHANGED, path, "names.id-tag") for path in paths
    ]


@pytest.mark.parametrize(
    ("other", "theirs", "ours", "kind"),
    [
        (None, "shared", "shared", Kind.ASSUMED),
        (None, "Shared", "Shared", Kind.ASSUMED),
        ("dummy", "dummy", "dummy", Kind.ASSUMED),
        ("dummy", "DUMMY", "DUMMY", Kind.ASSUMED),
        ("theirs-1", "theirs-1", "TAG1", Kind.CHANGED),
        ("dummy", "unheard", "unheard", None),
    ],
)
def test_a_tag_that_stands_for_many_passes_with_a_remark(
    backend: Backend, other: str | None, theirs: str, ours: str, kind: Kind | None
) -> None:
    call = Call("RemoteStartTransaction", {"idTag": theirs}, side=Side.CHARGE_POINT)
    after = Names(backend(id_tags=TAGS_FILE, id_tag_other=other)).down(call)
    assert after.payload == {"idTag": ours}
    assert [remark.kind for remark in after.remarks] == ([kind] if kind else [])


@pytest.mark.parametrize("text", [TAGS_FILE, None])
def test_one_tag_can_stand_for_all_that_are_not_in_the_file(backend: Backend, text: str | None) -> None:
    names = Names(backend(id_tags=text, id_tag_other="dummy"))
    assert names.up(Call("Authorize", {"idTag": "TAG9"})).payload == {"idTag": "dummy"}
    assert names.up(Call("Authorize", {"idTag": "TAG1"})).payload == {"idTag": "theirs-1" if text else "dummy"}


def test_a_listener_hears_answers_with_its_own_tags(backend: Backend) -> None:
    answer = Names(backend(id_tags=TAGS_FILE)).heard("Authorize", Result(info("TAG1"), "m-1", "Authorize"))
    assert isinstance(answer, Result)
    assert answer.payload == info("theirs-1")


def test_remarks_are_added_to_those_that_were_there_and_name_no_tag(backend: Backend) -> None:
    before = Remark(Kind.REPAIRED, "x", "y", "z")
    after = Names(backend(id_tags=TAGS_FILE)).up(Call("Authorize", {"idTag": "TAG1"}, remarks=(before,)))
    assert after.remarks == (before, Remark(Kind.CHANGED, "idTag", "the backend's idTag for the charger's", "names.id-tag"))


@pytest.mark.parametrize(
    "call",
    [
        Call("Heartbeat", {}),
        Call("StopTransaction", {"transactionId": 1}),
        Call("Authorize", {"idTag": 7}),
        Call("SendLocalList", {"localAuthorizationList": "TAG1"}),
        Call("DataTransfer", {"idTag": "TAG1"}),
        Call("ReserveNow", {"idTagInfo": {"parentIdTag": "TAG1"}}),
    ],
)
def test_a_message_without_tags_in_their_places_is_the_same_object(backend: Backend, call: Call) -> None:
    names = Names(backend(id_tags=TAGS_FILE, id_tag_other="dummy"))
    assert names.up(call) is call
    assert names.down(call) is call


@pytest.mark.parametrize("answer", [Error("GenericError", "no"), Result({}), Result({"idTagInfo": {"status": "Invalid"}})])
def test_an_answer_without_tags_is_the_same_object(backend: Backend, answer: Answer) -> None:
    names = Names(backend(id_tags=TAGS_FILE, id_tag_other="dummy"))
    assert names.answered("Authorize", answer) is answer
    assert names.heard("Authorize", answer) is answer


def test_without_files_everything_is_the_same_object() -> None:
    names, call, answer = Names(peer()), Call("Authorize", {"idTag": "TAG1"}), Result(info("TAG1"))
    assert (names.up(call), names.down(call), names.answered("Authorize", answer)) == (call, call, answer)
    assert names.up(call) is call


def test_nothing_shows_a_tag(backend: Backend) -> None:
    names = Names(backend(id_tags=TAGS_FILE))
    shown = "".join(map(repr, (names, names._tags, names._tags.table, names.fault)))
    assert "TAG" not in shown
    assert "theirs" not in shown


def _schema_paths(schema: Any, path: str = "") -> Iterator[str]:
    """The paths of all fields of a published schema that hold an idTag."""
    for name, inner in schema.get("properties", {}).items():
        here = f"{path}.{name}".lstrip(".")
        if name in ("idTag", "parentIdTag"):
            yield here
        yield from _schema_paths(inner, here)
        yield from _schema_paths(inner.get("items", {}), f"{here}[*]")


def test_the_table_has_every_place_where_the_schemas_have_tags() -> None:
    folder = Path(str(importlib.resources.files("ocpp"))) / "v16" / "schemas"
    messages = {(path.stem.removesuffix("Response"), path.stem.endswith("Response")) for path in folder.glob("*.json")}
    found = {message: set(_schema_paths(validator(*message).schema)) for message in messages}
    assert {message: paths for message, paths in found.items() if paths} == {m: set(paths) for m, paths in TAGS.items()}


_TAGS = st.text(st.sampled_from("abAB1"), min_size=1, max_size=4)


@st.composite
def unique_tables(draw: st.DrawFn) -> dict[str, str]:
    rows = draw(st.lists(st.tuples(_TAGS, _TAGS), unique_by=(lambda r: r[0].casefold(), lambda r: r[1].casefold()), max_size=8))
    return dict(rows)


@given(unique_tables(), _TAGS)
def test_where_each_has_its_own_a_tag_comes_back_as_itself(
    tmp_path_factory: pytest.TempPathFactory, table: dict[str, str], tag: str
) -> None:
    path = tmp_path_factory.mktemp("names") / "tags.toml"
    path.write_text("".join(f'"{ours}" = "{theirs}"\n' for ours, theirs in table.items()))
    names = Names(peer(id_tags_file=path))
    up = names.up(Call("Authorize", {"idTag": tag})).payload["idTag"]
    down = names.down(Call("RemoteStartTransaction", {"idTag": up})).payload["idTag"]
    listed = tag.casefold() in map(str.casefold, table)
    taken = tag.casefold() in map(str.casefold, table.values())
    assert down.casefold() == tag.casefold() or (taken and not listed)


# --- files that change


def rewritten(path: Path, text: str) -> None:
    """Another file in the place of one, as editors and tools for configuration do it."""
    new = path.with_suffix(".new")
    new.write_text(text, "utf-8")
    os.replace(new, path)  # noqa: PTH105 - as it is done


def authorized(names: Names) -> Any:
    return names.up(Call("Authorize", {"idTag": "TAG1"})).payload["idTag"]


def test_files_are_read_again_when_they_have_changed(backend: Backend, tmp_path: Path) -> None:
    names = Names(backend(id_tags=TAGS_FILE, identities='"CP-1" = "one"'))
    rewritten(tmp_path / "id_tags_file.toml", '"TAG1" = "new"')
    rewritten(tmp_path / "identities_file.toml", '"CP-1" = "two"')
    assert (authorized(names), names.identity("CP-1", "")) == ("theirs-1", "one")
    names.refresh()
    assert (authorized(names), names.identity("CP-1", ""), names.fault) == ("new", "two", "")


def test_a_file_that_has_not_changed_is_not_read_again(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(backend(id_tags="", identities=""))
    monkeypatch.setattr(made, "_read", None)
    names.refresh()
    assert names.fault == ""


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('"TAG1" = "new', "id_tags_file: expected TOML, it is wrong at "),
        ('"TAG1" = 5\n"TAG2" = 6', "id_tags_file: row 1: expected text on both sides, "),
        (None, "id_tags_file: expected a file, "),
    ],
)
def test_a_file_that_has_become_wrong_leaves_the_old_table(
    backend: Backend, tmp_path: Path, text: str | None, fault: str
) -> None:
    names, path = Names(backend(id_tags=TAGS_FILE)), tmp_path / "id_tags_file.toml"
    path.unlink() if text is None else rewritten(path, text)
    names.refresh()
    assert names.fault.startswith(fault)
    assert "TAG" not in names.fault
    assert authorized(names) == "theirs-1"
    rewritten(path, '"TAG1" = "mended"')
    names.refresh()
    assert (authorized(names), names.fault) == ("mended", "")


def test_a_file_that_went_and_came_back_is_well_again(backend: Backend, tmp_path: Path) -> None:
    names, path = Names(backend(id_tags=TAGS_FILE)), tmp_path / "id_tags_file.toml"
    aside = path.rename(tmp_path / "aside")
    names.refresh()
    assert names.fault
    aside.rename(path)
    names.refresh()
    assert names.fault == ""


def test_a_file_that_cannot_be_read_for_now_is_tried_again(
    backend: Backend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = Names(backend(id_tags=TAGS_FILE))
    rewritten(tmp_path / "id_tags_file.toml", '"TAG1" = "new"')

    def refuse(_: Path) -> None:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patch:
        patch.setattr(made, "_read", refuse)
        names.refresh()
    assert (names.fault, authorized(names)) == ("id_tags_file: cannot be read: permission denied", "theirs-1")
    names.refresh()
    assert (names.fault, authorized(names)) == ("", "new")


# --- files that are wrong

WRONG = [
    ("id_tags_file", '"TAG1" = "', "expected TOML, it is wrong at "),
    ("id_tags_file", '"TAG1" = "x"\n"TAG1" = "y"', "expected TOML, it is wrong at "),
    ("id_tags_file", 'a = {TAG1 = "x", TAG1 = "y"}', "expected TOML, it is wrong at "),
    ("id_tags_file", "TAG1 = " + "1" * 5000, "expected TOML without integers of thousands of digits"),
    ("id_tags_file", "TAG1 = " + "[" * 5000, "expected TOML without "),
    ("id_tags_file", "TAG.1 = 'x'", 'row 1: expected text on both sides, as in "ours" = "theirs", none of it empty'),
    ("id_tags_file", '"TAG1" = ""', "row 1: expected text on both sides, "),
    ("id_tags_file", '"" = "TAG1"', "row 1: expected text on both sides, "),
    ("id_tags_file", '"TAG1" = "x"\n"tag1" = "y"', "row 2: expected an idTag that is not in row 1 already, and case "),
    ("id_tags_file", '"TAG1" = "xxxxxxxxxxxxxxxxxxxxx"', "row 1: expected idTags of at most 20 characters, got 21"),
    ("id_tags_file", '"TAG111111111111111111" = "x"', "row 1: expected idTags of at most 20 characters, got 21"),
    ("identities_file", '"CP-1" = "TAG"\n"cp-1" = "y"', "row 2: expected a charger that is not in row 1 already, "),
    ("identities_file", '"CP-1" = "TAG"\n"CP-2" = "tag"', "row 2: expected an identity that is not in row 1 already, "),
    ("identities_file", '"CP-1" = 1', "row 1: expected text on both sides, "),
]


@pytest.mark.parametrize(("key", "text", "what"), WRONG)
def test_a_wrong_file_is_a_complaint_that_tells_nothing_of_it(backend: Backend, key: str, text: str, what: str) -> None:
    config = backend(**{key.removesuffix("_file"): text})
    complaints = examine(config)
    assert [(where, told[: len(what)]) for where, told in complaints] == [(key, what)]
    with pytest.raises(ValueError, match=f"^{key}: ") as caught:
        Names(config)
    for told in (complaints[0][1], str(caught.value)):
        assert "tag1" not in told.casefold()
        assert "xx" not in told


def test_every_wrong_row_is_told_up_to_a_hundred(backend: Backend) -> None:
    config = backend(identities="\n".join(f'"CP-{i}" = "one"' for i in range(202)))
    complaints = [what for _, what in examine(config)]
    assert len(complaints) == 101
    assert complaints[-1] == "and 101 more complaints"
    with pytest.raises(ValueError, match=r", and 200 more complaints$"):
        Names(config)


def test_files_are_bounded(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(made, "LARGEST", 19)
    assert examine(backend(id_tags='"TAG1" = "theirs-1"\n')) == [("id_tags_file", "expected at most 19 bytes")]


def test_bytes_that_are_no_text_are_a_complaint(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b'"a" = "\xff"')
    assert examine(peer(identities_file=path)) == [("identities_file", "expected UTF-8 text")]


@pytest.mark.parametrize("name", ["missing", "."])
def test_what_is_no_file_is_a_complaint(tmp_path: Path, name: str) -> None:
    config = peer(id_tags_file=tmp_path / name)
    assert examine(config) == [("id_tags_file", f"expected a file, {tmp_path / name} is none")]
    with pytest.raises(ValueError, match=r"^id_tags_file: expected a file"):
        Names(config)


def test_nothing_is_wrong_with_files_that_can_be_used(backend: Backend) -> None:
    assert examine(backend(id_tags="\ufeff" + TAGS_FILE, identities='"CP-1" = "x"')) == []
    assert examine(peer()) == []

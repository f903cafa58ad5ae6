"""The example file, the reference and the links between pages, held against the code."""

import itertools
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer
from pydantic import BaseModel, ConfigDict, create_model
from pydantic.fields import FieldInfo

from gateway import cli
from gateway.config import Charger, Config, Embedded, Ocppj, Policy, Quirk, Rewrite, Route
from gateway.loading import load
from translations import deltas
from translations.errors import FAULTS, STATUSES, WIRES
from translations.messages import Side, Version

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "deploy" / "gateway.example.toml"
REFERENCE = ROOT / "docs" / "reference" / "configuration.md"
COMMANDS = ROOT / "docs" / "reference" / "commands.md"
PAGES = sorted(
    path
    for path in [
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        *(ROOT / "deploy").rglob("*.md"),
        *(ROOT / "wsdl").glob("*.md"),
    ]
)

# What the tables of the file stand for; the single sections are found in Config itself.
ROWS: dict[str, type[BaseModel]] = {
    "[[chargers]]": Charger,
    "[[quirks]]": Quirk,
    'kind = "ocppj"': Ocppj,
    'kind = "embedded"': Embedded,
    "[[routes]]": Route,
    "[[policies]]": Policy,
    "[[rewrites]]": Rewrite,
}
MODELS: dict[str, type[BaseModel]] = {
    f"[{name}]": type(field.default) for name, field in Config.model_fields.items() if isinstance(field.default, BaseModel)
} | ROWS
EXAMPLES = {"chargers", "quirks", "backends", "routes", "policies", "rewrites"}  # rows that the defaults do not have

every_model = pytest.mark.parametrize("heading", MODELS)
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def keys(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    yield from model.model_fields.items()


# --- the example file ------------------------------------------------------------------------------------------------


def written(text: str) -> dict[str, Any]:
    """The tables of the file by the names in MODELS."""
    values = tomllib.loads(text)
    tables = {f"[{name}]": table for name, table in values.items() if isinstance(table, dict)}
    tables |= {f'kind = "{backend["kind"]}"': backend for backend in values["backends"]}
    return tables | {f"[[{name}]]": values[name][0] for name in EXAMPLES - {"backends"}}


def switched_on() -> str:
    """The file with its switched-off keys switched on."""
    return re.sub(r"(?m)^#(?=[a-z_]+ = )", "", EXAMPLE.read_text("utf-8"))


def test_the_example_loads() -> None:
    assert load(EXAMPLE).backends


def test_the_example_equals_the_defaults_but_for_its_rows() -> None:
    assert load(EXAMPLE).model_dump(exclude=EXAMPLES) == Config().model_dump(exclude=EXAMPLES)


def test_every_key_of_the_example_exists() -> None:
    Config(**tomllib.loads(switched_on()))  # unknown keys are refused


@every_model
def test_every_key_is_in_the_example(heading: str) -> None:
    assert set(written(switched_on())[heading]) == set(MODELS[heading].model_fields)


@every_model
def test_keys_without_a_default_are_switched_off_in_the_example(heading: str) -> None:
    table = written(EXAMPLE.read_text("utf-8"))[heading]
    without = {name for name, field in keys(MODELS[heading]) if not field.is_required() and field.default is None}
    expected = without if heading not in ("[[chargers]]", "[[quirks]]") else set()  # a row of examples
    assert without - set(table) == expected


@pytest.mark.parametrize("kind", [Embedded, Ocppj])
def test_the_sample_backends_have_the_defaults(kind: type[Embedded] | type[Ocppj]) -> None:
    sample = next(backend for backend in load(EXAMPLE).backends if isinstance(backend, kind))
    optional = {name: field.default for name, field in keys(kind) if not field.is_required()}
    assert sample.model_dump(include=set(optional)) == optional


def test_every_key_of_the_example_has_a_comment() -> None:
    lines = EXAMPLE.read_text("utf-8").splitlines()
    bare = [line for before, line in itertools.pairwise(lines) if re.match(r"#?[a-z_]+ = ", line) and before[:2] != "# "]
    assert [line for line in bare if not line.startswith("kind")] == []


# --- the reference ---------------------------------------------------------------------------------------------------


def sections() -> dict[str, str]:
    """The text below each heading of the reference."""
    parts = re.split(r"(?m)^#{2,3} (.+)$", REFERENCE.read_text("utf-8"))
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def rows(text: str) -> dict[str, list[str]]:
    """The cells of each row by its key."""
    lines = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| `")]
    return {cells[0].strip(" `"): [cell.strip() for cell in cells[1:]] for cells in lines}


def one_key(model: type[BaseModel], name: str) -> type[BaseModel]:
    """A model of one key alone, for reading a default as the file is read."""
    field = model.model_fields[name]
    annotated: Any = (field.annotation, field)
    return create_model("Key", __config__=ConfigDict(extra="forbid"), **{name: annotated})


def test_the_reference_has_the_sections_that_exist() -> None:
    assert set(sections()) == set(MODELS) | {"[[backends]]"}


@every_model
def test_the_reference_has_the_keys_that_exist(heading: str) -> None:
    assert list(rows(sections()[heading])) == list(MODELS[heading].model_fields)


@every_model
def test_the_reference_tells_the_defaults(heading: str) -> None:
    model = MODELS[heading]
    for name, (kind, default, *_) in rows(sections()[heading]).items():
        field = model.model_fields[name]
        assert kind
        if field.is_required() or field.default is None:
            assert (name, default) == (name, "required" if field.is_required() else "none")
        else:
            read = one_key(model, name)(**tomllib.loads(f"{name} = {default.strip('`')}"))
            assert (name, getattr(read, name)) == (name, field.default)


@every_model
def test_the_reference_tells_every_choice(heading: str) -> None:
    for name, field in keys(MODELS[heading]):
        choices = [choice for choice in get_args(field.annotation) if isinstance(choice, str)]
        kind = rows(sections()[heading])[name][0]
        assert [choice for choice in choices if f'`"{choice}"`' not in kind] == []


# --- commands --------------------------------------------------------------------------------------------------------


def commands(command: Any, prefix: str) -> Iterator[tuple[str, Any]]:
    below = getattr(command, "commands", None)
    if below is None:
        yield prefix, command
        return
    for name, inner in below.items():
        yield from commands(inner, f"{prefix} {name}")


EVERY_COMMAND = dict(commands(typer.main.get_command(cli.app), "ocpp-gateway"))
every_command = pytest.mark.parametrize("name", EVERY_COMMAND)


@every_command
def test_every_command_is_in_the_reference(name: str) -> None:
    assert re.search(rf"(?m)^#+ {name}$", COMMANDS.read_text("utf-8"))


@every_command
def test_every_option_is_in_the_reference(name: str) -> None:
    below = COMMANDS.read_text("utf-8").split(f" {name}\n")[1].split("\n#")[0]
    shared = {" traffic ": "## Filters\n", " letters ": "## Letters\n"}
    heading = next((heading for group, heading in shared.items() if group in name), "")
    common = COMMANDS.read_text("utf-8").split(heading)[1].split("\n## ")[0] if heading else ""
    options = {opt for param in EVERY_COMMAND[name].params for opt in param.opts if opt.startswith("--")} - {"--help"}
    assert [opt for opt in sorted(options) if f"`{opt}" not in below + common] == []


# --- pages -----------------------------------------------------------------------------------------------------------


def anchor(heading: str) -> str:
    """A heading as Markdown viewers name it."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def anchors(page: Path) -> set[str]:
    return {anchor(heading) for heading in re.findall(r"(?m)^#+ (.+)$", page.read_text("utf-8"))}


def links(page: Path) -> list[str]:
    text = re.sub(r"(?ms)^```.*?^```|`[^`\n]+`", "", page.read_text("utf-8"))
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]


@every_page
def test_links_between_pages_resolve(page: Path) -> None:
    for link in links(page):
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert (link, target.exists()) == (link, True)
        assert not fragment or fragment in anchors(target), link


@every_page
def test_pages_speak_of_the_project_only(page: Path) -> None:
    text = page.read_text("utf-8")
    assert re.findall(r"(?i)issue #?\d|\.\./shared|domain/\w+\.md|/work/|/home/\w+|/tmp/\w+", text) == []


@every_page
def test_pages_have_one_title(page: Path) -> None:
    text = re.sub(r"(?ms)^```.*?^```", "", page.read_text("utf-8"))
    assert len(re.findall(r"(?m)^# ", text)) == 1


def test_every_page_of_the_docs_is_reachable_from_the_index() -> None:
    seen: set[Path] = set()
    waiting = [ROOT / "docs" / "index.md"]
    while waiting:
        page = waiting.pop()
        if page not in seen and page.suffix == ".md":
            seen.add(page)
            waiting += [(page.parent / path).resolve() for link in links(page) if (path := link.partition("#")[0])]
    assert sorted(set((ROOT / "docs").rglob("*.md")) - seen) == []


@every_page
def test_configurations_in_pages_load(page: Path) -> None:
    for block in re.findall(r"(?ms)^```toml\n(.*?)^```", page.read_text("utf-8")):
        Config(**tomllib.loads(block))


# --- tables that are written for people ------------------------------------------------------------------------------


def cells(page: Path) -> set[tuple[str, ...]]:
    """The rows of a page's tables."""
    lines = [line.strip("|").split("|") for line in page.read_text("utf-8").splitlines() if line.startswith("| ")]
    return {tuple(cell.strip(" `") for cell in line) for line in lines}


def test_the_page_of_errors_is_the_table() -> None:
    errors = {(code, row.soap, row.subcode, str(row.status)) for code, row in WIRES.items()}
    others = {*FAULTS.items(), *((str(status), code) for status, code in STATUSES.items())}
    assert errors | others <= cells(ROOT / "docs" / "reference" / "errors.md")


@pytest.mark.parametrize("version", [Version.V12, Version.V15])
def test_every_value_that_has_no_equal_is_on_the_page_of_losses(version: Version) -> None:
    page = (ROOT / "docs" / "topics" / "losses.md").read_text("utf-8")
    words = deltas.rows(version)["enums"].values()
    narrowed = {value for word in words for verb in ("down", "guess", "up") for value in word.get(verb, {})}
    assert {value for value in narrowed if f"`{value}`" not in page} == set()


def test_every_action_is_on_the_page_of_losses() -> None:
    page = (ROOT / "docs" / "topics" / "losses.md").read_text("utf-8")
    actions = {action for side in Side for action in deltas.known_actions(side)}
    assert {action for action in actions if action not in page} == set()


def test_every_verb_is_on_the_page_of_translation() -> None:
    page = (ROOT / "docs" / "topics" / "translation.md").read_text("utf-8")
    kinds = [deltas.rows(version).get(kind, {}) for version in Version for kind in ("types", "enums")]
    verbs = {verb for kind in kinds for rows_of in kind.values() for verb in rows_of}
    assert {verb for verb in verbs if f"`{verb}`" not in page} == set()

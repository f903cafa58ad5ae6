"""The commands of `ocpp-gateway letters`: what is stored for backends, seen and handled through a running gateway."""

import sys
from collections.abc import Iterable, Sequence
from io import TextIOWrapper
from typing import Annotated, NamedTuple
from urllib.parse import urlencode

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from gateway import asking
from gateway.asking import Api, ApiUrl, ConfigPath, Problem, TokenEnv, answered, reached, understood
from gateway.traffic import export, render

PATH = "/api/v1/letters"
LONG = 600.0  # seconds for what is done to many
WAITING = ("backend", "live", "in flight", "dead", "oldest")
LISTED = ("id", "time", "backend", "charger", "action", "transaction", "attempts", "reason")

app = typer.Typer(name="letters", help="See and handle what is stored for backends.", no_args_is_help=True)

Id = Annotated[int, typer.Argument(metavar="ID", min=1, help="Of a letter, from list.")]
Ids = Annotated[list[int] | None, typer.Argument(metavar="ID", min=1, help="Of dead letters, from list.")]
Backend = Annotated[str, typer.Option("--backend", help="Those for this backend.")]
Charger = Annotated[str, typer.Option("--charger", help="Those of this charger.")]
All = Annotated[bool, typer.Option("--all", help="Every one.")]
Json = Annotated[bool, typer.Option("--json", help="JSON lines instead of tables and words.")]


class _Count(msgspec.Struct, rename="camel"):
    backend: str
    live: int
    dead: int
    in_flight: int
    oldest_seconds: float


class _Letter(msgspec.Struct):
    id: int
    backend: str
    charger: str
    action: str
    at: str
    transaction: int | None
    attempts: int
    reason: str | None
    payload: msgspec.Raw = msgspec.Raw(b"null")


class _Counts(msgspec.Struct):
    backends: list[msgspec.Raw]


class _Letters(msgspec.Struct):
    letters: list[msgspec.Raw]


class _Refusal(msgspec.Struct):
    id: int
    detail: str


class _Done(msgspec.Struct, omit_defaults=True):
    """To how many it was done; how many could not be, and why."""

    replayed: int | None = None
    purged: int | None = None
    left: int = 0
    refused: list[_Refusal] = []


class _Deed(NamedTuple):
    """What is done to letters: how it is asked for one and for many, and what is said when it is done."""

    method: str
    suffix: str
    key: str
    told: str


_REPLAY = _Deed("POST", "/replay", "replayed", "sent again")
_PURGE = _Deed("DELETE", "", "purged", "purged")


@app.command()
def waiting(api: ApiUrl = "", token_env: TokenEnv = "", config: ConfigPath = None, json: Json = False) -> None:
    """Show how many letters there are for each backend, and how old the oldest is that waits."""
    door = reached(api, token_env, config)
    found = understood(door, answered(door, "GET", f"{PATH}/waiting"), _Counts).backends
    if json:
        _write(found)
    else:
        _put(WAITING, [_counted(understood(door, each, _Count)) for each in found])


@app.command("list")
def list_(
    backend: Backend = "",
    charger: Charger = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many, the oldest.")] = 100,
    after: Annotated[int, typer.Option(min=0, help="Only those with greater ids.")] = 0,
    api: ApiUrl = "",
    token_env: TokenEnv = "",
    config: ConfigPath = None,
    json: Json = False,
) -> None:
    """List dead letters by id, with the reason why each was given up."""
    door = reached(api, token_env, config)
    query = _query(backend=backend, charger=charger, limit=str(limit), after=str(after))
    found = understood(door, answered(door, "GET", f"{PATH}?{query}"), _Letters).letters
    if json:
        _write(found)
    else:
        _put(LISTED, [_row(understood(door, each, _Letter)) for each in found])


@app.command()
def show(id: Id, api: ApiUrl = "", token_env: TokenEnv = "", config: ConfigPath = None, json: Json = False) -> None:
    """Show a letter, live or dead, and what it says."""
    door = reached(api, token_env, config)
    _show(door, answered(door, "GET", f"{PATH}/{id}"), json)


@app.command()
def change(
    id: Id,
    said: Annotated[str, typer.Argument(metavar="JSON", help="The whole payload, OCPP 1.6 JSON, in the charger's words.")],
    api: ApiUrl = "",
    token_env: TokenEnv = "",
    config: ConfigPath = None,
    json: Json = False,
) -> None:
    """Have a dead letter say something else."""
    body = asking.payload(said)
    door = reached(api, token_env, config)
    _show(door, answered(door, "PATCH", f"{PATH}/{id}", body), json)


@app.command()
def replay(
    ids: Ids = None,
    backend: Backend = "",
    charger: Charger = "",
    all_: All = False,
    api: ApiUrl = "",
    token_env: TokenEnv = "",
    config: ConfigPath = None,
    json: Json = False,
) -> None:
    """Send dead letters again; each goes back to its place among those that wait."""
    query = _chosen(ids, backend, charger, all_)
    _report(_done(reached(api, token_env, config), _REPLAY, ids, query), _REPLAY, json)


@app.command()
def purge(
    ids: Ids = None,
    backend: Backend = "",
    charger: Charger = "",
    all_: All = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether it is meant.")] = False,
    api: ApiUrl = "",
    token_env: TokenEnv = "",
    config: ConfigPath = None,
    json: Json = False,
) -> None:
    """Forget dead letters, for good."""
    query = _chosen(ids, backend, charger, all_)
    if not yes:
        typer.confirm(f"Purge {_named(ids, backend, charger)} for good?", abort=True, err=True)
    _report(_done(reached(api, token_env, config), _PURGE, ids, query), _PURGE, json)


def _chosen(ids: list[int] | None, backend: str, charger: str, all_: bool) -> str:
    """The query that chooses; empty where ids do."""
    if (bool(ids), bool(backend or charger), all_).count(True) != 1:
        asking.fail("expected ids, or --backend or --charger, or --all", 2)
    return _query(backend=backend, charger=charger, all="true" if all_ else "")


def _query(**values: str) -> str:
    return urlencode({name: value for name, value in values.items() if value}, errors="surrogateescape")


def _named(ids: list[int] | None, backend: str, charger: str) -> str:
    if ids:
        return f"letter {', '.join(map(str, ids))}"
    whose = f"{f' for {backend}' if backend else ''}{f' of {charger}' if charger else ''}"
    return render.visible(f"every dead letter{whose}")


def _done(door: Api, deed: _Deed, ids: list[int] | None, query: str) -> _Done:
    """Do it. Of ids each is done by itself, so that one that cannot be keeps no other."""
    if not ids:
        return understood(door, answered(door, deed.method, f"{PATH}{deed.suffix}?{query}", timeout=LONG), _Done)
    refused = []
    for id in dict.fromkeys(ids):
        answer = asking.ask(door, deed.method, f"{PATH}/{id}{deed.suffix}")
        if isinstance(answer, Problem):
            refused.append(_Refusal(id, str(answer)))
    done = len(dict.fromkeys(ids)) - len(refused)
    return _Done(**{deed.key: done}, left=len(refused), refused=refused)


def _report(done: _Done, deed: _Deed, json: bool) -> None:
    if json:
        _write([msgspec.Raw(msgspec.json.encode(done))])
    else:
        count = getattr(done, deed.key) or 0
        render.put(_screen(), Text(f"{count} letter{'' if count == 1 else 's'} {deed.told}"))
        for each in done.refused:
            typer.echo(render.visible(each.detail), err=True)
        if done.left > len(done.refused):
            typer.echo(f"and {done.left - len(done.refused)} more", err=True)
    if done.left:
        raise typer.Exit(1)


def _show(door: Api, answer: bytes, json: bool) -> None:
    if json:
        _write([msgspec.Raw(answer)])
        return
    letter = understood(door, answer, _Letter)
    screen = _screen()
    heading = f"letter {letter.id}  {letter.at}  {letter.backend}  {letter.charger}  {letter.action}"
    whose = "" if letter.transaction is None else f"  transaction {letter.transaction}"
    render.put(screen, Text(render.visible(heading + whose), "bold"))
    render.put(screen, Text(render.visible(f"dead: {letter.reason}"), "red") if letter.reason else Text("waits"))
    render.put(screen, Text(render.visible(msgspec.json.format(bytes(letter.payload), indent=2).decode(), "\n"), "cyan"))


def _counted(count: _Count) -> Sequence[str]:
    oldest = _span(count.oldest_seconds) if count.live else ""
    return count.backend, str(count.live), str(count.in_flight), str(count.dead), oldest


def _row(letter: _Letter) -> Sequence[str]:
    number = "" if letter.transaction is None else str(letter.transaction)
    facts = (letter.at, letter.backend, letter.charger, letter.action, number, str(letter.attempts), letter.reason or "")
    return str(letter.id), *facts


def _span(seconds: float) -> str:
    units = ((86_400, "d"), (3_600, "h"), (60, "min"))
    return next((f"{seconds / size:.1f} {unit}" for size, unit in units if seconds >= size), f"{seconds:.0f} s")


def _put(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    render.put_table(_screen(), headings, [[Text(render.visible(cell)) for cell in row] for row in rows])


def _screen() -> Console:
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may know fewer characters than a charger
    return render.screen(sys.stdout)


def _write(lines: Iterable[msgspec.Raw]) -> None:
    sys.stdout.buffer.writelines(export.line(msgspec.Raw(msgspec.json.format(bytes(each), indent=-1))) for each in lines)
    sys.stdout.buffer.flush()

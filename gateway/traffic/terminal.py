"""The commands of `ocpp-gateway traffic`."""

import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, BinaryIO, NoReturn

import typer
from rich.console import Console

from gateway.config import ConfigError
from gateway.loading import found, load
from gateway.traffic import export, query, render
from gateway.traffic.query import Filter
from gateway.traffic.row import Row
from translations.messages import Kind

POLL_EVERY = 0.5

app = typer.Typer(name="traffic", help="Inspect the log of what passed.", no_args_is_help=True)


def _moment(text: str) -> float:
    try:
        return query.moment(text, time.time())
    except ValueError as error:
        raise typer.BadParameter(render.visible(str(error))) from None


Config = Annotated[
    Path | None, typer.Option("-c", "--config", help="The configuration; without it gateway.toml, if it is there.")
]
Database = Annotated[Path | None, typer.Option("--db", help="The log's file, whatever the configuration says.")]
Charger = Annotated[str, typer.Option("--charger", help="Only this charger; a glob such as 'CP-*'.")]
Tenant = Annotated[str, typer.Option("--tenant", help="Only chargers of this tenant.")]
Action = Annotated[str, typer.Option("--action", help="Only this action.")]
Leg = Annotated[str, typer.Option("--leg", help="Only this leg: charger, or the name of a backend.")]
Failed = Annotated[bool, typer.Option("--failed", help="Only errors and refusals.")]
Carries = Annotated[Kind | None, typer.Option("--remark", help="Only messages with a remark of this kind.")]
Since = Annotated[
    float | None,
    typer.Option("--since", parser=_moment, metavar="TIME", help="From then on: 10m (ago), or ISO 8601 in UTC."),
]
Until = Annotated[float | None, typer.Option("--until", parser=_moment, metavar="TIME", help="Before then: as for --since.")]
Json = Annotated[bool, typer.Option("--json", help="JSON lines instead of tables.")]


@app.command("list")
def list_(
    config_path: Config = None,
    db: Database = None,
    charger: Charger = "",
    tenant: Tenant = "",
    action: Action = "",
    leg: Leg = "",
    failed: Failed = False,
    remark: Carries = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 50,
    json: Json = False,
) -> None:
    """List messages, the newest last."""
    wanted = _filter(charger, tenant, action, leg, failed, remark, since, until, limit)
    with _reading(config_path, db) as log:
        rows = query.messages(log, wanted)
        if json:
            _write(sys.stdout.buffer, rows)
        else:
            render.put_table(_screen(), render.HEADINGS, map(render.cells, rows))


@app.command()
def tail(
    config_path: Config = None,
    db: Database = None,
    charger: Charger = "",
    tenant: Tenant = "",
    action: Action = "",
    leg: Leg = "",
    failed: Failed = False,
    remark: Carries = None,
    since: Since = None,
    until: Until = None,
    json: Json = False,
) -> None:
    """Show new messages as they come, with --since also those from then on, until Ctrl-C."""
    wanted = _filter(charger, tenant, action, leg, failed, remark, since, until)
    with _reading(config_path, db) as log:
        show = _line_writer() if json else _row_writer()
        try:
            for row in query.follow(log, wanted, wait=_pause):
                show(row)
        except KeyboardInterrupt:
            return


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="ID", help="Of a message, from list, or of an exchange.")],
    config_path: Config = None,
    db: Database = None,
    json: Json = False,
) -> None:
    """Show every message of an exchange, raw and understood."""
    with _reading(config_path, db) as log:
        rows = query.exchange(log, name)
        if not rows:
            _fail(f"expected the id of a message or an exchange in the log, got {name}")
        if json:
            _write(sys.stdout.buffer, rows)
        else:
            render.put_exchange(_screen(), rows)


@app.command("export")
def export_(
    config_path: Config = None,
    db: Database = None,
    charger: Charger = "",
    tenant: Tenant = "",
    action: Action = "",
    leg: Leg = "",
    failed: Failed = False,
    remark: Carries = None,
    since: Since = None,
    until: Until = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many, the newest.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="A file to write; else stdout.")] = None,
) -> None:
    """Write messages as JSON lines, the newest last."""
    wanted = _filter(charger, tenant, action, leg, failed, remark, since, until, limit)
    with _reading(config_path, db) as log, _output(output, log) as file:
        _write(file, query.messages(log, wanted))


@app.command()
def stats(
    config_path: Config = None,
    db: Database = None,
    charger: Charger = "",
    tenant: Tenant = "",
    action: Action = "",
    leg: Leg = "",
    since: Since = None,
    until: Until = None,
    json: Json = False,
) -> None:
    """Count messages and remarks, and say how long answers took."""
    with _reading(config_path, db) as log:
        found = query.stats(log, _filter(charger, tenant, action, leg, False, None, since, until))
        if json:
            sys.stdout.buffer.write(export.line(found))
        else:
            render.put_stats(_screen(), found)


def _filter(
    charger: str,
    tenant: str,
    action: str,
    leg: str,
    failed: bool,
    remark: Kind | None,
    since: float | None,
    until: float | None,
    limit: int | None = None,
) -> Filter:
    outcome = "failed" if failed else ""
    return Filter(charger, action, leg, outcome, remark or "", since, until, tenant=tenant, limit=limit)


@contextmanager
def _reading(config_path: Path | None, db: Path | None) -> Iterator[sqlite3.Connection]:
    """The log, open; what is wrong with it, or with where the output goes, ends the command in one line or none."""
    path = db or _configured(config_path)
    try:
        with closing(query.connect_to_read(path)) as connection:
            yield connection
            sys.stdout.flush()
    except query.FormatError as error:
        _fail(str(error))
    except sqlite3.Error as error:
        _fail(f"{path}: cannot be read: {error}")
    except BrokenPipeError:
        # Whoever read has gone. What is still buffered must not fail once more when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _configured(path: Path | None) -> Path:
    try:
        return load(found(path), secrets=False).traffic.path
    except ConfigError as error:
        _fail(*error.complaints)


def _fail(*lines: str) -> NoReturn:
    for text in lines:
        typer.echo(render.visible(text), err=True)
    raise typer.Exit(1)


def _screen() -> Console:
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may know fewer characters than a charger
    return render.screen(sys.stdout)


def _row_writer() -> Callable[[Row], None]:
    console = _screen()

    def write(row: Row) -> None:
        render.put_row(console, row)
        sys.stdout.flush()

    return write


def _line_writer() -> Callable[[Row], None]:
    return lambda row: _write(sys.stdout.buffer, [row])


def _write(file: BinaryIO, rows: Iterable[Row]) -> None:
    file.writelines(export.lines(rows))
    file.flush()


@contextmanager
def _output(path: Path | None, log: sqlite3.Connection) -> Iterator[BinaryIO]:
    if path is None:
        yield sys.stdout.buffer
        return
    if _same(path, query.files_of(log)):
        _fail(f"{path}: expected another file than the log itself")
    try:
        with open(path, "wb", opener=_private) as file:
            yield file
    except OSError as error:
        _fail(f"{path}: cannot be written: {(error.strerror or str(error)).lower()}")


def _same(path: Path, others: Iterable[Path]) -> bool:
    return any(path.resolve() == other or (path.exists() and other.exists() and path.samefile(other)) for other in others)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _pause() -> bool:
    time.sleep(POLL_EVERY)
    return True

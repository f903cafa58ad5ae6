"""The commands of `ocpp-gateway traffic` that show: list, tail, show, stats, follow, view. `moving` has those that move."""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Annotated

import typer

from gateway.traffic import export, moving, options, query, render, show
from gateway.traffic.exchanges import Exchange
from gateway.traffic.language import all_of, option
from gateway.traffic.options import asked, misused, wanted
from gateway.traffic.reading import Shown, fail, reading, screen
from gateway.traffic.sessions import AFTER, Session, SessionError, session
from gateway.traffic.stories import Event, Story
from gateway.traffic.tree import EVERYTHING, Tree

POLL_EVERY = 0.5
TOLD = 86400.0  # seconds that the story of a charger goes back unless it is said

app = typer.Typer(name="traffic", help="Inspect the log of what passed.", no_args_is_help=True)


@app.command("list")
@options.filtered
def list_(
    tree: Tree,
    config_path: options.Config = None,
    db: options.Database = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the newest.")] = 50,
    json: options.Json = False,
    reveal: options.Reveal = False,
) -> None:
    """List exchanges, the newest last."""
    with reading(config_path, db) as log:
        found = log.raw.newest(wanted(tree, limit))
        if reveal:
            log.reveal("list", tree, len(found.exchanges))
        told = map(log.told, found.exchanges)
        if json:
            moving.write(sys.stdout.buffer, export.lines(told))
        else:
            render.put_exchanges(screen(), told)
        _tell_bound(found.searched)


@app.command()
@options.filtered
def tail(
    tree: Tree,
    config_path: options.Config = None,
    db: options.Database = None,
    json: options.Json = False,
    reveal: options.Reveal = False,
) -> None:
    """Show new exchanges as they come, with --since also those from then on, until Ctrl-C."""
    with reading(config_path, db) as log:
        if reveal:
            log.reveal("tail", tree)
        put = _line_writer() if json else _row_writer()
        try:
            for exchange in query.follow(log, wanted(tree), wait=_pause):
                put(exchange)
        except KeyboardInterrupt:
            return


@app.command("show")
def show_(
    name: Annotated[str, typer.Argument(metavar="ID", help="Its number, from list, or its name.")],
    config_path: options.Config = None,
    db: options.Database = None,
    json: options.Json = False,
    reveal: options.Reveal = False,
) -> None:
    """Show an exchange: its timeline, and every message of it, raw and understood."""
    with reading(config_path, db) as log:
        found = log.raw.one(name)
        if found is None:
            fail(f"expected the number or the name of an exchange in the log, got {name}")
        if reveal:
            log.reveal(f"show {found.id}", count=1)
        if json:
            moving.write(sys.stdout.buffer, export.lines([log.told(found)]))
        else:
            show.put_exchange(screen(), log.told(found))


@app.command()
def stats(
    expression: options.Expression = "",
    config_path: options.Config = None,
    db: options.Database = None,
    charger: options.Charger = "",
    tenant: options.Tenant = "",
    action: options.Action = "",
    leg: options.Leg = "",
    since: options.Since = None,
    until: options.Until = None,
    json: options.Json = False,
) -> None:
    """Count exchanges, remarks and findings, and say how long answers took."""
    tree = asked(expression, charger=charger, tenant=tenant, action=action, since=since, until=until)
    with reading(config_path, db) as log:
        found = log.stats(wanted(tree, leg=leg))
        if json:
            moving.write(sys.stdout.buffer, [export.line(found)])
        else:
            render.put_stats(screen(), found)


# --- stories -----------------------------------------------------------------------------------------------------------


@app.command()
def follow(
    expression: options.Expression = "",
    config_path: options.Config = None,
    db: options.Database = None,
    transaction: Annotated[int | None, typer.Option("--transaction", help="The story of this transaction.")] = None,
    charger: options.Charger = "",
    tenant: options.Tenant = "",
    since: options.Since = None,
    until: options.Until = None,
    live: Annotated[bool, typer.Option("--live", help="Go on with what comes, until Ctrl-C or the end of it.")] = False,
    json: options.Json = False,
    reveal: options.Reveal = False,
) -> None:
    """Tell what happened in order, a line for each event, of a transaction or of a charger."""
    if transaction is None and not charger and not expression:
        misused("expected --transaction, --charger or a filter, got none")
    whose = asked("", charger=charger, tenant=tenant)
    tree = all_of(whose, asked(expression, since=since, until=until))
    with reading(config_path, db) as log:
        if reveal:
            log.reveal("follow", all_of(tree, _numbered(transaction)))
        put = _event_writer(json)
        of_one = None if transaction is None else _session(log, whose, transaction)
        try:
            for event in _story(log, tree, of_one, live):
                put(event)
        except KeyboardInterrupt:
            return


def _numbered(transaction: int | None) -> Tree:
    return EVERYTHING if transaction is None else option("transaction", "==", str(transaction))


def _story(log: Shown, tree: Tree, of_one: Session | None, live: bool) -> Iterator[Event]:
    story = Story()
    for exchange in _told(log, tree if of_one is None else all_of(of_one.tree, tree), of_one, live):
        if of_one is None or of_one.takes(exchange):
            yield from story.tell(log.told(exchange))


def _session(log: Shown, tree: Tree, transaction: int) -> Session:
    try:
        return session(log.raw, transaction, tree)
    except SessionError as error:
        fail(str(error))


def _told(log: Shown, tree: Tree, of_one: Session | None, live: bool) -> Iterator[Exchange]:
    """As they are: what belongs together is known by what is hidden."""
    seen, asks = log.last(), wanted(tree)
    if of_one is not None:
        asks = replace(asks, since=of_one.since, until=None if of_one.until is None else of_one.until + AFTER)
    elif asks.since is None:
        asks = replace(asks, since=time.time() - TOLD)
    yield from log.raw.each(replace(asks, before_id=seen + 1))
    if live:
        yield from query.follow(log.raw, replace(asks, after_id=seen), wait=partial(_goes_on, of_one))


def _goes_on(of_one: Session | None) -> bool:
    return _pause() and (of_one is None or of_one.until is None or time.time() < of_one.until + AFTER)


def _event_writer(json: bool) -> Callable[[Event], None]:
    if json:
        return lambda event: moving.write(sys.stdout.buffer, [export.line(_as_object(event))])
    console = screen()

    def put(event: Event) -> None:
        render.put_event(console, event)
        sys.stdout.flush()

    return put


def _as_object(event: Event) -> dict[str, object]:
    told = event._asdict()
    return {**told, "at": export.iso(event.at), "severity": event.severity or None}


# --- the view ----------------------------------------------------------------------------------------------------------


@app.command()
def view(
    expression: options.Expression = "",
    config_path: options.Config = None,
    db: options.Database = None,
    charger: options.Charger = "",
    tenant: options.Tenant = "",
    since: options.Since = None,
    reveal: options.Reveal = False,
) -> None:
    """Look at the log in a full screen: a list that grows, a filter, and the chosen exchange."""
    tree = asked(expression, charger=charger, tenant=tenant, since=since)
    try:
        from gateway.traffic.view.app import View  # takes a moment to import; the others need none of it
    except ImportError:
        fail("expected the package textual: pip install textual")
    with reading(config_path, db) as log:
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            fail("expected a terminal; list, tail and show write elsewhere")
        if reveal:
            log.reveal("view", tree)
        View(log, tree).run()


# --- writing -----------------------------------------------------------------------------------------------------------


def _tell_bound(searched: int | None) -> None:
    if searched is not None:
        typer.echo(f"looked for the text in the newest {searched:,} exchanges; traffic.full_text has an index of all", err=True)


def _row_writer() -> Callable[[Exchange], None]:
    console = screen()

    def write(exchange: Exchange) -> None:
        render.put_row(console, exchange)
        sys.stdout.flush()

    return write


def _line_writer() -> Callable[[Exchange], None]:
    return lambda exchange: moving.write(sys.stdout.buffer, export.lines([exchange]))


def _pause() -> bool:
    time.sleep(POLL_EVERY)
    return True


app.command("export")(moving.export_)
app.command("import")(moving.import_)
app.command("prune")(moving.prune)

"""The command `ocpp-gateway traffic diff`."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from rich.text import Text

from gateway.redaction.redactor import Redactor
from gateway.replay import sessions, shown, spoken
from gateway.replay.asked import Ignored, paths, write
from gateway.replay.diff import diff as differences
from gateway.replay.diff import without
from gateway.replay.source import found_by, one
from gateway.rules.rewrites import Path
from gateway.traffic import export
from gateway.traffic.exchanges import Exchange, Leg
from gateway.traffic.options import Config, Database, Json, asked, misused
from gateway.traffic.reading import configured, fail, reading, redactor, screen
from gateway.traffic.render import put, put_table


def diff(
    first: Annotated[str, typer.Argument(metavar="[A]", help="An exchange, by its number or name.")] = "",
    second: Annotated[str, typer.Argument(metavar="[B]", help="Another one.")] = "",
    legs: Annotated[str, typer.Option("--legs", metavar="X,Y", help="Compare what two legs of A answered.")] = "",
    left: Annotated[str, typer.Option("--session", metavar="FILTER", help="Compare a session, all that this finds,")] = "",
    right: Annotated[str, typer.Option("--with", metavar="FILTER", help="with another.")] = "",
    ignore: Ignored = None,
    config_path: Config = None,
    db: Database = None,
    json: Json = False,
) -> None:
    """Compare two exchanges, two backends' answers to the same call, or two sessions; exit with 1 if they differ."""
    if (bool(first and second and not legs), bool(first and legs and not second), bool(left and right)).count(True) != 1 or (
        first and (left or right)
    ):
        misused("expected two exchanges, or one and --legs, or --session and --with")
    settings, ignored = configured(config_path), paths(ignore)
    with reading(config_path, db) as log:
        hides = redactor(settings)
        if left:
            found = [found_by(log.raw, asked(text), sessions.MOST) for text in (left, right)]
            same = _sessions_put(found[0], found[1], hides, ignored, json)
        elif legs:
            same = _legs_put(one(log.raw, first), _two(legs), hides, ignored, json)
        else:
            same = _exchanges_put(one(log.raw, first), one(log.raw, second), hides, ignored, json)
    if not same:
        raise typer.Exit(1)


def _two(legs: str) -> tuple[str, str]:
    names = [name.strip() for name in legs.split(",")]
    if len(names) != 2 or not all(names):
        misused(f"--legs: expected two names with a comma between them, got {legs}")
    return names[0], names[1]


def _exchanges_put(one: Exchange, other: Exchange, hides: Redactor, ignored: Sequence[Path], json: bool) -> bool:
    values = [spoken.value_of(each, spoken.first(each)) for each in (one, other)]
    told = [spoken.value_of(each, spoken.first(each)) for each in map(hides.exchange, (one, other))]
    names = f"{one.id}  {export.iso(one.at)}  {one.charger}", f"{other.id}  {export.iso(other.at)}  {other.charger}"
    return _put(values, told, names, ignored, json)


def _legs_put(exchange: Exchange, names: tuple[str, str], hides: Redactor, ignored: Sequence[Path], json: bool) -> bool:
    legs = [_leg(exchange, name) for name in names]
    hidden = [_leg(hides.exchange(exchange), name) for name in names]
    values, told = ([spoken.answer_value(spoken.answer_of(leg)) for leg in each] for each in (legs, hidden))
    return _put(values, told, names, ignored, json)


def _leg(exchange: Exchange, name: str) -> Leg:
    """The last of that name, since that is the one that was answered."""
    found = next((leg for leg in reversed(exchange.legs) if leg.name == name), None)
    if found is None:
        fail(f"expected a leg of exchange {exchange.id}: {', '.join(leg.name for leg in exchange.legs)}, got {name}")
    return found


def _put(values: list[Any], told: list[Any], names: tuple[str, str], ignored: Sequence[Path], json: bool) -> bool:
    found = differences(*(without(value, ignored) for value in values))
    changes = shown.hidden(found, *told)
    if json:
        write(map(shown.change_object, changes))
    elif changes:
        shown.put_changes(screen(), changes, told[0], told[1], names)
    else:
        put(screen(), Text("no differences"))
    return not changes


def _sessions_put(left: list[Exchange], right: list[Exchange], hides: Redactor, ignored: Sequence[Path], json: bool) -> bool:
    for name, side in (("--session", left), ("--with", right)):
        if not side:
            fail(f"{name}: expected exchanges, found none")
    rows = sessions.compared(left, right, ignored)
    view = shown.SessionView(hides, left, right)
    if json:
        write(map(view.as_object, rows))
    else:
        put_table(screen(), shown.SESSIONS, map(view.cells, rows))
    return not any(row.differs for row in rows)

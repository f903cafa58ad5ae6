"""The command `ocpp-gateway traffic replay`."""

import asyncio
import math
import sys
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from gateway.config import Config as Settings
from gateway.replay import shown
from gateway.replay.asked import Ignored, paths, write
from gateway.replay.plan import Plan, TooMuch, planned
from gateway.replay.player import Commands, Pace, play
from gateway.replay.source import Wanted, chosen, from_file
from gateway.replay.target import NoTarget, Target, target
from gateway.replay.verdicts import Played, Verdict
from gateway.rules.rewrites import Path as ValueAt
from gateway.traffic.exchanges import Exchange
from gateway.traffic.options import Config, Database, Json, misused
from gateway.traffic.progress import progress
from gateway.traffic.reading import configured, fail, reading, redactor, screen, told_in_a_line
from gateway.traffic.render import put, put_table, visible

_DIFFERENT = (Verdict.DIFFERENT, Verdict.ERROR)
_INTERRUPTED = 130


def _speed(text: str) -> float:
    try:
        speed = math.inf if text == "max" else float(text)
    except ValueError:
        speed = math.nan
    if not speed > 0:
        raise typer.BadParameter(visible(f'expected a number like 1 or 10, or "max", got {text}'))
    return speed


def replay(
    to: Annotated[str, typer.Option("--to", help="A backend of the configuration, or ws://..., or http://.../soap.")],
    wanted: Annotated[str, typer.Argument(metavar="[ID|FILTER]", help="One exchange, or all that an expression finds.")] = "",
    transaction: Annotated[int | None, typer.Option("--transaction", help="Only this transaction, from its start.")] = None,
    charger: Annotated[str, typer.Option("--charger", help="Only this charger; a glob such as 'CP-*'.")] = "",
    file: Annotated[Path | None, typer.Option("--from", help="A trace, a log of frames, envelopes; not the traffic log.")] = None,
    identity: Annotated[str, typer.Option("--identity", help="Play all as this charger, over one connection.")] = "",
    speed: Annotated[
        float, typer.Option("--speed", parser=_speed, metavar="N|max", help="So many times as fast; max: as answers come.")
    ] = 1,
    now: Annotated[bool, typer.Option("--now", help="Move timestamps, so that the first call is now.")] = False,
    ignore: Ignored = None,
    timeout: Annotated[float, typer.Option(min=0.1, max=600, help="Seconds to wait for an answer.")] = 30.0,
    linger: Annotated[float, typer.Option(min=0, max=600, help="Seconds to wait for commands in the end.")] = 2.0,
    redacted: Annotated[bool, typer.Option("--redacted", help="Play pseudonyms as if they were idTags.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be played, and play nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask whether it is meant.")] = False,
    password_env: Annotated[str | None, typer.Option("--password-env", help="Variable with the password for ws://...")] = None,
    config_path: Config = None,
    db: Database = None,
    json: Json = False,
) -> None:
    """Make a charger's calls again, to another backend or a scratch gateway, and compare the answers."""
    asking = Wanted(wanted, transaction, charger)
    if asking == Wanted() and file is None:
        misused("expected an id, a filter, --transaction, --charger or --from, got none")
    settings = configured(config_path)
    goal = _target(to, settings, password_env)
    pace = Pace(None if math.isinf(speed) else speed, timeout, linger)
    with told_in_a_line(file or db or settings.traffic.path):
        if file is not None:
            plan = _plan(from_file(file, asking), identity, goal)
            view = shown.ReplayView(redactor(settings))
            if not dry_run:
                _expect_meant(plan, goal, redacted, yes)
        else:
            with reading(config_path, db) as log:
                plan = _plan(chosen(log.raw, asking), identity, goal)
                view = shown.ReplayView(redactor(settings))
                if not dry_run:
                    _expect_meant(plan, goal, redacted, yes)
                    tree = None if asking.by_name else asking.tree
                    asked = asking.text if asking.by_name else ""
                    log.reveal(f"traffic replay --to {to}: {asked}".rstrip(), tree, len(plan.steps))
        if dry_run:
            _put_plan(plan, view, json)
            return
        _put_played(plan, view, json, *_played(plan, goal, pace, now, paths(ignore)))


def _target(to: str, settings: Settings, password_env: str | None) -> Target:
    try:
        return target(to, settings, password_env)
    except NoTarget as error:
        misused(str(error))


def _plan(exchanges: Iterable[Exchange], identity: str, goal: Target) -> Plan:
    try:
        plan = planned(exchanges, identity=identity, backend=goal.name)
    except TooMuch as error:
        fail(f"{error}; narrow the filter")
    if not plan.lanes:
        fail("expected calls that a charger made, got none", *sorted({each.reason for each in plan.left_out}))
    if nameless := next((lane for lane in plan.lanes if not lane.identity), None):
        fail(f"expected exchanges that name their charger, got {nameless.steps[0].exchange.name}; --identity names one")
    return plan


def _expect_meant(plan: Plan, goal: Target, redacted: bool, yes: bool) -> None:
    if plan.hidden and not redacted:
        fail("expected what chargers said, got pseudonyms instead of idTags or secrets; --redacted plays them as they are")
    if goal.used and not yes:
        many = f"{len(plan.steps)} calls of {len(plan.lanes)} chargers"
        question = (
            f"Play {many} to {goal.used}? It books transactions, and may drop chargers that are connected under these names."
        )
        typer.confirm(visible(question), abort=True, err=True)


class _Heard:
    """What has been played so far."""

    def __init__(self) -> None:
        self.played: list[Played] = []
        self.commands: list[Commands] = []
        self.whole = False


def _played(plan: Plan, goal: Target, pace: Pace, now: bool, ignored: Sequence[ValueAt]) -> tuple[_Heard, Counter[Verdict]]:
    heard, total = _Heard(), len(plan.steps)
    if now:
        pace = Pace(pace.speed, pace.timeout, pace.linger, time.time() - plan.start)
    with progress("playing") as told:

        def tell(played: Played) -> None:
            heard.played.append(played)
            told(len(heard.played), total, f"{len(heard.played)} of {total} calls")

        async def run() -> None:
            async with goal.opened() as opening:
                heard.commands = await play(plan, opening, pace, tell, ignored)

        try:
            asyncio.run(run())
            heard.whole = True
        except KeyboardInterrupt:
            pass  # what was played is told
        except (OSError, ValueError) as error:  # a name table or a certificate of the backend
            fail(f"{goal.name or goal.url}: {error}")
    heard.played.sort(key=lambda played: played.step.exchange.at)
    return heard, Counter(played.verdict for played in heard.played)


def _put_played(plan: Plan, view: shown.ReplayView, json: bool, heard: _Heard, counts: Counter[Verdict]) -> None:
    if json:
        write(map(view.as_object, heard.played))
        write([shown.summary(counts, plan, heard.commands)])
    else:
        console = screen()
        put_table(console, shown.PLAYED, map(view.cells, heard.played))
        shown.put_rest(console, plan, heard.commands)
        put(console, Text())
        put(console, Text(", ".join(f"{counts[verdict]} {verdict}" for verdict in Verdict)))
    sys.stdout.flush()
    if not heard.whole:
        raise typer.Exit(_INTERRUPTED)
    if any(counts[verdict] for verdict in _DIFFERENT):
        raise typer.Exit(1)


def _put_plan(plan: Plan, view: shown.ReplayView, json: bool) -> None:
    expected = Counter((lane.identity, command.action) for lane in plan.lanes for command in lane.commands)
    commands = [Commands(charger, action, count, 0) for (charger, action), count in sorted(expected.items())]
    if json:
        write(map(view.planned_object, plan.steps))
        write([shown.summary(Counter(), plan, commands)])
        return
    console = screen()
    put_table(console, shown.PLANNED, map(view.planned, plan.steps))
    shown.put_rest(console, plan, commands)

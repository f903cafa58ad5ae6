"""What the commands of `ocpp-gateway traffic` are asked with: an expression, options, or both, as one filter."""

import time
from collections.abc import Callable
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from gateway.traffic import language, query, render
from gateway.traffic.fields import Ago, Moment, duration
from gateway.traffic.filters import Filter
from gateway.traffic.language import FilterError, all_of, from_options, parsed
from gateway.traffic.tree import AT, And, Compare, Tree, moment, settled
from translations.messages import Kind


def moment_of(text: str) -> float:
    """A time in unix seconds, as people write it."""
    try:
        return query.moment(text, time.time())
    except ValueError as error:
        raise typer.BadParameter(render.visible(str(error))) from None


def duration_of(text: str) -> float:
    """A duration in seconds, as people write it."""
    found = duration(text)
    if found is None:
        raise typer.BadParameter(render.visible(f'expected a duration like "30d" or "12h", got "{text}"'))
    return found


Expression = Annotated[str, typer.Argument(metavar="[FILTER]", help="An expression: 'charger == CP7 and not ok'.")]
Config = Annotated[
    Path | None, typer.Option("-c", "--config", help="The configuration; without it gateway.toml, if it is there.")
]
Database = Annotated[Path | None, typer.Option("--db", help="The log's file, whatever the configuration says.")]
Charger = Annotated[str, typer.Option("--charger", help="Only this charger; a glob such as 'CP-*'.")]
Tenant = Annotated[str, typer.Option("--tenant", help="Only chargers of this tenant.")]
Action = Annotated[str, typer.Option("--action", help="Only this action.")]
Leg = Annotated[str, typer.Option("--leg", help="Only this leg: charger, or the name of a backend.")]
Failed = Annotated[bool, typer.Option("--failed", help="Only errors and refusals.")]
Said = Annotated[str, typer.Option("--text", help="Only where this text was said, in any case.")]
Carries = Annotated[Kind | None, typer.Option("--remark", help="Only exchanges with a remark of this kind.")]
Since = Annotated[
    float | None,
    typer.Option("--since", parser=moment_of, metavar="TIME", help="From then on: 10m (ago), or ISO 8601 in UTC."),
]
Until = Annotated[float | None, typer.Option("--until", parser=moment_of, metavar="TIME", help="Before then: as for --since.")]
Json = Annotated[bool, typer.Option("--json", help="JSON lines instead of tables.")]
Reveal = Annotated[bool, typer.Option("--reveal", help="Show what is hidden; who did is kept in the audit file first.")]


def asked(
    expression: str,
    *,
    charger: str = "",
    tenant: str = "",
    action: str = "",
    leg: str = "",
    failed: bool = False,
    remark: Kind | None = None,
    since: float | None = None,
    until: float | None = None,
    text: str = "",
    transaction: int | None = None,
) -> Tree:
    """All of it as one tree, with times counted from now on. What is wrong is told with a caret, and the exit code is 2."""
    try:
        options = from_options(
            charger=charger,
            tenant=tenant,
            action=action,
            leg=leg,
            failed=failed,
            remark=remark or "",
            since=since,
            until=until,
            text=text,
        )
        numbered = () if transaction is None else (language.option("transaction", "==", str(transaction)),)
        return settled(all_of(options, *numbered, parsed(expression)), time.time())
    except FilterError as error:
        misused(str(error))


def _options(
    expression: Expression = "",
    charger: Charger = "",
    tenant: Tenant = "",
    action: Action = "",
    leg: Leg = "",
    failed: Failed = False,
    remark: Carries = None,
    since: Since = None,
    until: Until = None,
    text: Said = "",
) -> None:
    """What `filtered` gives a command, in this order."""


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """A command whose first argument is the tree of what it is asked for, with all options that make one before its own."""
    asking = signature(_options).parameters
    own = list(signature(command).parameters.values())[1:]

    @wraps(command)
    def run(**given: Any) -> None:
        command(asked(**{name: given.pop(name) for name in asking}), **given)

    parameters: list[Parameter] = [*asking.values(), *own]
    run.__dict__["__signature__"] = Signature(parameters)
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def wanted(tree: Tree, limit: int | None = None, leg: str = "") -> Filter:
    """The filter of a tree. Bounds of time are told besides, so that nothing is looked for outside of them."""
    parts = tree.parts if isinstance(tree, And) else (tree,)
    since = max((at for part in parts if (at := _bound(part, ">=")) is not None), default=None)
    until = min((at for part in parts if (at := _bound(part, "<")) is not None), default=None)
    return Filter(tree=tree, since=since, until=until, limit=limit, leg=leg)


def _bound(part: Tree, operator: str) -> float | None:
    if isinstance(part, Compare) and part.name == AT and part.operator == operator and isinstance(part.value, Ago | Moment):
        return moment(part.value, time.time())
    return None


def misused(text: str) -> NoReturn:
    """The command was asked in a way that it does not understand."""
    typer.echo(render.visible(text, "\n"), err=True)
    raise typer.Exit(2)

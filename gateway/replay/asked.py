"""What both commands are asked with, and how both write JSON."""

import sys
from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
import typer
from pydantic import TypeAdapter, ValidationError

from gateway.keys import ValuePath
from gateway.rules.rewrites import Path, path_of
from gateway.traffic import export
from gateway.traffic.render import visible

_ENCODER = msgspec.json.Encoder(decimal_format="number")


def _path(text: str) -> str:
    try:
        return str(TypeAdapter(ValuePath).validate_python(text))
    except ValidationError as error:
        raise typer.BadParameter(visible(str(error.errors()[0]["msg"]).removeprefix("Value error, "))) from None


Ignored = Annotated[
    list[str] | None,
    typer.Option(
        "--ignore", parser=_path, metavar="PATH", help="What is not compared, like idTagInfo.expiryDate; may be repeated."
    ),
]


def paths(texts: Iterable[str] | None) -> tuple[Path, ...]:
    """The options, read."""
    return tuple(map(path_of, texts or ()))


def write(values: Iterable[Any]) -> None:
    """Lines of JSON to stdout."""
    sys.stdout.buffer.writelines(export.line(msgspec.Raw(_ENCODER.encode(value))) for value in values)
    sys.stdout.buffer.flush()

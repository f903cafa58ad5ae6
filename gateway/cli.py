"""The command `ocpp-gateway`."""

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, BinaryIO, NoReturn

import msgspec
import typer

from gateway import letters
from gateway.commands import call
from gateway.config import Config, ConfigError
from gateway.loading import found, load
from gateway.replay.comparing import diff
from gateway.replay.replaying import replay
from gateway.terms import rows
from gateway.traffic import terminal
from translations.errors import OcppError
from translations.manners import Quirk
from translations.messages import Side
from translations.translate import TARGETS, Wish, line, remark, translate

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help="The OCPP gateway.")
terminal.app.command("replay")(replay)
terminal.app.command("diff")(diff)
app.add_typer(terminal.app, name="traffic", help="Inspect the traffic log.")
app.add_typer(letters.app, name="letters", help="See and handle what is stored for backends.")
app.command()(call)

ConfigPath = Annotated[
    Path | None, typer.Option("--config", "-c", help="The configuration; without it gateway.toml, if it is there.")
]
_MAX_LINE = 64 * 1024 * 1024


def main() -> None:
    """Run the command line."""
    app()


def _config(path: Path | None) -> Config:
    try:
        return load(path)
    except ConfigError as error:
        _fail(str(error))


def _fail(text: str, code: int = 1) -> NoReturn:
    print(text, file=sys.stderr)  # noqa: T201
    raise typer.Exit(code)


@app.command()
def check(config: ConfigPath = None) -> None:
    """Read the configuration and print every complaint."""
    path = found(config)
    _config(path)
    print(f"{path or 'embedded defaults'}: ok")  # noqa: T201


@app.command()
def serve(config: ConfigPath = None) -> None:
    """Run the gateway."""
    from gateway.serve import run  # the servers take a moment to import; other commands need none of them

    path = found(config)
    raise typer.Exit(run(_config(path), path))


@app.command(name="translate")
def translate_command(
    file: Annotated[Path | None, typer.Argument(help="The message; without it, standard input.")] = None,
    to: Annotated[str, typer.Option(help=f"What a frame becomes: {', '.join(TARGETS)}.")] = "",
    action: Annotated[str, typer.Option(help="The action that a result answers.")] = "",
    identity: Annotated[str, typer.Option(help="The charger's identity, for chargeBoxIdentity.")] = "",
    side: Annotated[
        Side | None, typer.Option(help="Which service the message is addressed to, where the action leaves it open.")
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Print each remark to stderr, a JSON object a line.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="Refuse what would need a repair.")] = False,
    lines: Annotated[bool, typer.Option("--lines", help="Bulk: a JSON object a line in, one a line out.")] = False,
    maker: Annotated[str, typer.Option(help="The charger's chargePointVendor, for quirks of its maker.")] = "",
    model: Annotated[str, typer.Option(help="Its chargePointModel.")] = "",
    firmware: Annotated[str, typer.Option(help="Its firmwareVersion.")] = "",
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="A configuration whose rows [[quirks]] count, before those known.")
    ] = None,
) -> None:
    """Translate one message: a SOAP envelope to an OCPP-J frame, or a frame to an envelope."""
    quirks = rows(_config(config)) if config else ()
    if lines:
        _lines(file, quirks)
        return
    data = _read(file)
    wish = Wish(to, action, identity, maker, model, firmware, side, strict, _now(), quirks)
    _require_options(data, wish)
    try:
        done = translate(data, wish)
    except OcppError as error:
        _fail(f"{error.code}: {error.text}")
    if explain:
        for said in done.remarks:
            sys.stderr.write(msgspec.json.encode(remark(said)).decode() + "\n")
    sys.stdout.buffer.write(done.message + b"\n")
    sys.stdout.buffer.flush()


def _read(file: Path | None) -> bytes:
    if file is None or str(file) == "-":
        return sys.stdin.buffer.read()
    try:
        return file.read_bytes()
    except OSError as error:
        _fail(_unreadable(file, error), 2)


def _require_options(data: bytes, wish: Wish) -> None:
    if not data.strip():
        _fail("expected an envelope or a frame, got nothing")
    start = data.lstrip(b" \t\r\n\xef\xbb\xbf")
    if start[:1] != b"[":
        return
    if wish.to not in TARGETS:
        _fail(f"--to: expected {', '.join(TARGETS)}, got {wish.to or 'none'}", 2)
    if start[1:].lstrip()[:1] == b"3" and not wish.action:
        _fail("--action: expected the action that the result answers, got none", 2)


def _lines(file: Path | None, quirks: tuple[Quirk, ...]) -> None:
    out = sys.stdout.buffer
    with _opened(file) as source:
        for text in _bounded(source):
            out.write(line(text, _now(), quirks) + b"\n")
            out.flush()


def _bounded(source: BinaryIO) -> Iterator[bytes]:
    """Each line; of one that is too long only the beginning, which no translation takes."""
    while text := source.readline(_MAX_LINE):
        rest = text
        while rest and not rest.endswith(b"\n"):
            rest = source.readline(_MAX_LINE)
        yield text


def _opened(file: Path | None) -> AbstractContextManager[BinaryIO]:
    if file is None or str(file) == "-":
        return nullcontext(sys.stdin.buffer)
    try:
        return file.open("rb")
    except OSError as error:
        _fail(_unreadable(file, error), 2)


def _unreadable(file: Path, error: OSError) -> str:
    return f"{file}: cannot be read: {(error.strerror or str(error)).lower()}"


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

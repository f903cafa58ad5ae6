"""The commands of `ocpp-gateway traffic` that move what is in the log: export, import, prune."""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from enum import StrEnum
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, BinaryIO, TypeVar

import msgspec
import typer

from gateway.config import Traffic
from gateway.traffic import export, file, options, query, stores, texts
from gateway.traffic.exchanges import Exchange
from gateway.traffic.filters import Filter
from gateway.traffic.formats import har, pcapng, table, trace
from gateway.traffic.imports import imported
from gateway.traffic.language import all_of, from_options
from gateway.traffic.log import Corrupt, LogError, TrafficWriter, Unfit
from gateway.traffic.options import asked, misused, wanted
from gateway.traffic.progress import Told, progress
from gateway.traffic.reading import Shown, configured, fail, place, reading, stored, told_in_a_line
from gateway.traffic.tree import EVERYTHING, Tree
from gateway.traffic.writer import LogWriter

BATCH = 500  # exchanges that are stored, or removed, at once
ATTEMPTS, AGAIN_AFTER = 10, 0.2  # while the gateway writes the same file
_NO_BOUND = 1 << 62

T = TypeVar("T")


class Format(StrEnum):
    """What an export is written as."""

    JSONL = "jsonl"
    TRACE = "trace"
    HAR = "har"
    CSV = "csv"
    PCAPNG = "pcapng"


class Kind(StrEnum):
    """What an import reads."""

    AUTO = "auto"
    TRACE = "trace"
    EXCHANGES = "exchanges"
    FRAMES = "frames"
    ENVELOPES = "envelopes"


_WRITERS: dict[Format, Callable[[Iterable[Exchange]], Iterator[bytes]]] = {
    Format.JSONL: export.lines,
    Format.TRACE: trace.lines,
    Format.HAR: har.lines,
    Format.CSV: table.lines,
    Format.PCAPNG: pcapng.lines,
}


def write(file: BinaryIO, lines: Iterable[bytes]) -> None:
    """All of it, at once for whoever reads."""
    file.writelines(lines)
    file.flush()


# --- out ---------------------------------------------------------------------------------------------------------------


@options.filtered
def export_(
    tree: Tree,
    config_path: options.Config = None,
    db: options.Database = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many, the newest.")] = None,
    format: Annotated[Format, typer.Option("--format", help="What it is written as.")] = Format.JSONL,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="A file to write; else stdout.")] = None,
    reveal: options.Reveal = False,
) -> None:
    """Write exchanges in a format that other tools open, the newest last."""
    if format is Format.PCAPNG and output is None and sys.stdout.isatty():
        misused("expected -o FILE, or a pipe: a capture is nothing for a terminal")
    with reading(config_path, db) as log:
        _expect_other(output, log.files)
        if reveal:
            log.reveal(f"export {format}", tree)
        with _output(output) as out, progress("export") as told:
            write(out, _WRITERS[format](_counted(log, wanted(tree, limit), told)))


def _counted(log: Shown, asks: Filter, told: Told) -> Iterator[Exchange]:
    """What is wanted, as it may be shown; how far that is shows in the times."""
    newest = log.raw.newest(Filter(until=asks.until, limit=1)).exchanges
    first: float | None = None
    for count, exchange in enumerate(log.each(asks), 1):
        first = exchange.at if first is None else first
        yield exchange
        told(exchange.at - first, newest[0].at - first if newest else 0, f"{count:,} exchanges")


def _expect_other(path: Path | None, files: Iterable[Path]) -> None:
    if path is not None and any(_same(path, other) for other in files):
        fail(f"{path}: expected another file than the log itself")


def _same(path: Path, other: Path) -> bool:
    return path.resolve() == other or (path.exists() and other.exists() and path.samefile(other))


@contextmanager
def _output(path: Path | None) -> Iterator[BinaryIO]:
    if path is None:
        yield sys.stdout.buffer
        return
    try:
        with open(path, "wb", opener=_private) as file:
            yield file
    except OSError as error:
        fail(f"{path}: cannot be written: {(error.strerror or str(error)).lower()}")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


# --- in ----------------------------------------------------------------------------------------------------------------


class _Count(msgspec.Struct):
    """How many were stored; how many were there already; how many of those stored are refusals."""

    imported: int = 0
    known: int = 0
    refused: int = 0


def import_(
    source: Annotated[Path, typer.Argument(help="A file, a folder of envelopes, or - for stdin.", allow_dash=True)],
    config_path: options.Config = None,
    db: Annotated[Path | None, typer.Option("--db", help="Into this file, made where it is not there.")] = None,
    kind: Annotated[Kind, typer.Option("--kind", help="What it is; else each line is taken for what it looks like.")] = Kind.AUTO,
    json: options.Json = False,
) -> None:
    """Store what others have kept: traces, our own exports, logs of frames, folders of envelopes."""
    if str(source) != "-" and not source.exists():
        fail(f"{source}: cannot be read: no such file or directory")
    to = stored(configured(config_path), db)
    count = _Count()
    with told_in_a_line(place(to)), closing(_writer(to)) as log, progress("import") as told:
        try:
            found = imported(
                sys.stdin.buffer if str(source) == "-" else source,
                kind,
                progress=lambda done, total: told(done, total, f"{count.imported:,} exchanges"),
            )
            while batch := list(islice(found, BATCH)):
                _store(log, batch, count)
        except OSError as error:
            fail(f"{source}: cannot be read: {(error.strerror or str(error)).lower()}")
    _tell_imported(count, json)


def _store(log: TrafficWriter, batch: list[Exchange], count: _Count) -> None:
    """Those that are new: what was imported before is known by its name and time."""
    known = log.named({exchange.name for exchange in batch if exchange.name})
    new: list[Exchange] = []
    for each in batch:
        there = known.setdefault(each.name, each) if each.name else each
        if there is each or abs(there.at - each.at) > 0.001:
            new.append(each)
    _insist(partial(log.write, new))
    count.known += len(batch) - len(new)
    count.imported += len(new)
    count.refused += sum(any(leg.refused for leg in exchange.legs) for exchange in new)


def _insist(do: Callable[[], T]) -> T:
    """Try again while another program writes."""
    for _ in range(ATTEMPTS - 1):
        try:
            return do()
        except (Unfit, Corrupt):
            raise
        except LogError:
            time.sleep(AGAIN_AFTER)
    return do()


def _writer(to: Traffic) -> TrafficWriter:
    """The log, to be written as it is kept already; a new one as the configuration says."""
    if to.kind == "sqlite" and to.path.exists() and to.path.stat().st_size:
        with closing(query.open_to_read(to.path)) as log:
            to = to.model_copy(update={"full_text": file.has(log.connection, texts.TABLE)})
    return stores.open_to_write(to)


def _tell_imported(count: _Count, json: bool) -> None:
    if json:
        write(sys.stdout.buffer, [export.line(count)])
        return
    more = [f"{count.known:,} were there already"] if count.known else []
    more += [f"{count.refused:,} could not be read, or were refused"] if count.refused else []
    typer.echo("; ".join([f"{count.imported:,} exchange{'' if count.imported == 1 else 's'} imported", *more]))


# --- away --------------------------------------------------------------------------------------------------------------


def prune(
    expression: options.Expression = "",
    config_path: options.Config = None,
    db: options.Database = None,
    before: Annotated[
        float | None,
        typer.Option("--before", parser=options.moment_of, metavar="TIME", help="What passed before: 30d (ago), or ISO 8601."),
    ] = None,
    keep: Annotated[
        float | None,
        typer.Option("--keep", parser=options.duration_of, metavar="DURATION", help="What is older than this, such as 30d."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: options.Json = False,
) -> None:
    """Remove exchanges from the log, for good."""
    tree = asked(expression)
    bounds = [at for at in (before, None if keep is None else time.time() - keep) if at is not None]
    if tree == EVERYTHING and not bounds:
        misused("expected --before, --keep or a filter, got none")
    of = stored(configured(config_path), db)
    if of.kind != "sqlite" and tree != EVERYTHING:
        misused("expected --before or --keep alone, got a filter: from PostgreSQL whole days are removed")
    old = from_options(until=min(bounds)) if bounds else EVERYTHING
    with reading(config_path, db) as log:
        asks = wanted(all_of(tree, old))
        many = log.stats(asks).exchanges
        if many and not yes:
            typer.confirm(f"remove {many:,} exchange{'' if many == 1 else 's'} from {place(of)}, for good?", abort=True, err=True)
        with closing(_writer(of)) as writer, progress("prune") as told:
            if tree != EVERYTHING and isinstance(writer, LogWriter):
                removed = _remove(log, writer, asks, many, told)
            else:
                removed = _prune(writer, min(bounds), many, told)
    if json:
        write(sys.stdout.buffer, [export.line({"removed": removed})])
    else:
        typer.echo(f"{removed:,} exchange{'' if removed == 1 else 's'} removed")


def _prune(log: TrafficWriter, before: float, many: int, told: Told) -> int:
    removed = 0
    while done := _insist(lambda: log.prune(before, _NO_BOUND, BATCH)):
        removed += done
        told(removed, many, f"{removed:,} exchanges")
    return removed


def _remove(log: Shown, writer: LogWriter, asks: Filter, many: int, told: Told) -> int:
    removed = 0
    found = log.raw.each(asks)
    while ids := [exchange.id for exchange in islice(found, BATCH)]:
        _insist(partial(writer.remove, ids))
        removed += len(ids)
        told(removed, many, f"{removed:,} exchanges")
    return removed

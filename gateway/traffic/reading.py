"""The log as the commands show it: opened, without what should not be told, and what is wrong with it said in a line."""

import getpass
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from io import TextIOWrapper
from pathlib import Path
from typing import NoReturn, TextIO

import typer
from rich.console import Console

from gateway.config import Config, ConfigError, Traffic
from gateway.loading import found, load
from gateway.redaction.audit import Audit, AuditError
from gateway.redaction.pseudonyms import KeyFileError
from gateway.redaction.redactor import Redactor
from gateway.traffic import query, render, stores
from gateway.traffic.exchanges import Exchange
from gateway.traffic.filters import Filter
from gateway.traffic.log import Found, LogError, Stats, TrafficReader
from gateway.traffic.tree import Tree, written
from gateway.traffic.unnamed import unnamed


class Shown:
    """The log, read, with what should not be told taken out. The face of a TrafficReader.

    `raw` is the log as it is: to look into, never to show.
    """

    def __init__(self, raw: TrafficReader, config: Config, redactor: Redactor, files: Sequence[Path] = ()) -> None:
        self.raw, self._config, self._redactor = raw, config, redactor
        self.files = files  # where it lies
        self._revealed = False

    def reveal(self, command: str, tree: Tree | None = None, count: int | None = None) -> None:
        """From now on show everything; that is kept first. Raises AuditError."""
        asked = command if tree is None else f"{command} {written(unnamed(tree, self._redactor))}".rstrip()
        Audit(self._config.audit_file, self._redactor.text).revealed(_who(), asked, count)
        self._revealed = True

    def told(self, exchange: Exchange) -> Exchange:
        """As it may be shown."""
        return exchange if self._revealed else self._redactor.exchange(exchange)

    def text(self, text: str) -> str:
        """Words about it as they may be shown."""
        return text if self._revealed else self._redactor.text(text)

    def newest(self, wanted: Filter) -> Found:
        found = self.raw.newest(wanted)
        return found._replace(exchanges=list(map(self.told, found.exchanges)))

    def each(self, wanted: Filter) -> Iterator[Exchange]:
        return map(self.told, self.raw.each(wanted))

    def one(self, name: str) -> Exchange | None:
        found = self.raw.one(name)
        return None if found is None else self.told(found)

    def stats(self, wanted: Filter) -> Stats:
        found = self.raw.stats(wanted)
        hide = self.text  # a peer may say that its action is anything
        counts = (replace(each, action=hide(each.action), outcome=hide(each.outcome)) for each in found.counts)
        latencies = (replace(each, action=hide(each.action)) for each in found.latencies)
        return replace(found, counts=tuple(counts), latencies=tuple(latencies))

    def last(self) -> int:
        return self.raw.last()

    def first_since(self, at: float) -> int:
        return self.raw.first_since(at)

    def close(self) -> None:
        self.raw.close()


@contextmanager
def reading(config_path: Path | None, db: Path | None) -> Iterator[Shown]:
    """The log, open; what is wrong with it, or with where the output goes, ends the command in one line or none."""
    settings = configured(config_path)
    asked = stored(settings, db)
    with told_in_a_line(place(asked)), closing(stores.open_to_read(asked)) as log:
        yield Shown(log, settings, redactor(settings), getattr(log, "files", ()))  # of a file: where it lies
        sys.stdout.flush()


def stored(settings: Config, db: Path | None) -> Traffic:
    """Which log is meant: the one that is configured, or that file."""
    return settings.traffic if db is None else settings.traffic.model_copy(update={"kind": "sqlite", "path": db})


def place(asked: Traffic) -> Path | str:
    """What people call it."""
    return asked.path if asked.kind == "sqlite" else "traffic log"


@contextmanager
def told_in_a_line(path: Path | str) -> Iterator[None]:
    """What goes wrong with the log of that path, with its key, its audit file, or the output."""
    try:
        yield
    except query.FormatError as error:
        fail(str(error))
    except LogError as error:
        fail(f"{path}: {error}")
    except AuditError as error:
        fail(str(error))
    except BrokenPipeError:
        # Whoever read has gone. What is still buffered must not fail once more when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def configured(path: Path | None) -> Config:
    """The configuration; its complaints end the command."""
    try:
        return load(found(path), secrets=False)
    except ConfigError as error:
        fail(*error.complaints)


def redactor(settings: Config) -> Redactor:
    """What hides. Without its key nothing is shown, since nobody else's pseudonyms would be the same."""
    try:
        return Redactor.configured(settings)
    except KeyFileError as error:
        fail(f"redaction.key_file: {error}; nothing is shown without it")


def fail(*lines: str) -> NoReturn:
    """It cannot be done; why."""
    for text in lines:
        typer.echo(render.visible(text), err=True)
    raise typer.Exit(1)


def screen(file: TextIO | None = None) -> Console:
    """Where tables go."""
    file = sys.stdout if file is None else file
    if isinstance(file, TextIOWrapper):
        file.reconfigure(errors="backslashreplace")  # a terminal may know fewer characters than a charger
    return render.screen(file)


def _who() -> str:
    """The account that runs the command; what the environment says could be anybody's."""
    try:
        import pwd
    except ImportError:  # not on Windows
        return getpass.getuser()
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return f"uid {os.getuid()}"

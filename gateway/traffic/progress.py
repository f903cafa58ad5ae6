"""How far long work has come, on stderr where that is a terminal."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

LONG = 1.0  # seconds of work that nobody has to be told about

Told = Callable[[float, float, str], None]
"""Hears how much is done, of how much (0: nobody knows), and that in words."""


@contextmanager
def progress(label: str, file: TextIO | None = None, after: float = LONG) -> Iterator[Told]:
    """A bar while the work lasts, gone afterwards. Only on a terminal, and only once the work is long."""
    file = sys.stderr if file is None else file
    if not file.isatty():
        yield lambda done, total, words: None
        return
    bar = _Bar(label, file, time.monotonic() + after)
    try:
        yield bar.told
    finally:
        bar.stop()


class _Bar:
    def __init__(self, label: str, file: TextIO, shown_from: float) -> None:
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), TextColumn("{task.fields[words]}", markup=False))
        self._progress = Progress(
            *columns, TimeRemainingColumn(), console=Console(file=file, force_terminal=True), transient=True
        )
        self._task: TaskID | None = None
        self._label, self._from = label, shown_from

    def told(self, done: float, total: float, words: str) -> None:
        if self._task is None:
            if time.monotonic() < self._from:
                return
            self._progress.start()
            self._task = self._progress.add_task(self._label, total=None, words="")
        self._progress.update(self._task, completed=done, total=total or None, words=words)

    def stop(self) -> None:
        if self._task is not None:
            self._progress.stop()

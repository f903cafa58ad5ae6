"""What the groups have in common: a figure with its target, tables of figures, and the machine they were taken on."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

_LIBRARIES = ("lxml", "msgspec", "jsonschema-rs", "starlette", "uvicorn", "httptools", "uvloop", "websockets")


@dataclass(frozen=True, slots=True)
class Target:
    """The bound a figure is to keep."""

    bound: float
    most: bool = True
    unit: str = ""

    def met(self, value: float) -> bool:
        return value <= self.bound if self.most else value >= self.bound

    def __str__(self) -> str:
        return f"{'≤' if self.most else '≥'} {self.bound:g}{self.unit}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of a table: what was measured, beside what, and the value that the target is about."""

    name: str
    ours: str
    yardstick: str
    value: float
    unit: str = ""
    target: Target | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        if self.target is None:
            return ""
        return "[green]yes" if self.target.met(self.value) else "[red]no"


def show(
    console: Console, title: str, columns: tuple[str, str, str], figures: Sequence[Figure], notes: Sequence[str] = ()
) -> None:
    """Print one table. `columns` names what was measured, its yardstick, and the value."""
    table = Table(title=title, title_justify="left", title_style="bold", pad_edge=False)
    table.add_column("figure")
    for name in (*columns, "target"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("met")
    table.add_column("note", style="dim")
    for figure in figures:
        value, target = f"{figure.value:,.2f}{figure.unit}", str(figure.target or "")
        table.add_row(figure.name, figure.ours, figure.yardstick, value, target, figure.verdict, figure.note)
    console.print(table)
    for note in notes:
        console.print(f"  {note}", style="dim", highlight=False)
    console.print()


def machine() -> str:
    """Two lines on the machine and the libraries."""
    load = ", ".join(f"{value:.2f}" for value in os.getloadavg())
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return (
        f"{_cpu()}, {os.cpu_count()} cores, {_memory()} GiB, {platform.system()} {platform.release()}, load {load}\n"
        f"Python {platform.python_version()}, {libraries}"
    )


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text("ascii", "replace").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _memory() -> int:
    return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30)

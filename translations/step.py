"""Where a translation of one message is, and what it has remarked so far."""

from collections.abc import Iterable
from typing import Any

from translations.errors import FormationViolation
from translations.manners import USUAL, Manner
from translations.messages import Kind, Remark

NAME_MOST = 80  # characters of a name of the peer's in a remark
MOST = 100  # remarks that one message keeps: a peer must not decide how much is stored

Part = str | int | tuple[str, list[Any]]
"""A part of a path: a field, an index, or a field and its list so far, whose next item this is."""


_MORE = "remarks.more"
_MORE_QUIRKS = "quirks.more"  # where a repair is among those that are not kept: who wants none must hear of it


class Step:
    """What a translation of one message gathers on its way: where it is, and the remarks so far."""

    __slots__ = (
        "aside",
        "date",
        "foreign",
        "marked",
        "noted",
        "off",
        "original",
        "path",
        "received",
        "remarks",
        "title",
        "unkept",
        "zone",
    )

    def __init__(self, title: str, received: str = "", manner: Manner = USUAL) -> None:
        self.title = title
        self.received = received  # the time to take where a date cannot be used
        self.zone, self.date, self.off = manner.zone, manner.date, manner.validation == "off"
        self.aside: dict[int, dict[str, Any]] = {}  # what stands beside its place, by the depth at which it does
        self.foreign = False
        self.marked = True  # whether there may be attributes besides those of namespaces
        self.path: list[Part] = []
        self.remarks: list[Remark] = []
        self.noted = 0
        self.unkept: Remark | None = None
        self.original = ""

    def at(self, *more: str | int) -> str:
        """The path of where we are, like `meterValue[0].sampledValue[1].unit`."""
        return "".join(map(_part, (*self.path, *more))).lstrip(".")

    def note(self, kind: Kind, detail: str, rule: str, *more: str | int) -> None:
        self.noted += 1
        if self.noted <= MOST:
            self.remarks.append(Remark(kind, self.at(*more), detail, rule))
        elif self.unkept is None or (rule.startswith("quirks.") and self.unkept.rule != _MORE_QUIRKS):
            self.unkept = Remark(kind, "", "", _MORE_QUIRKS if rule.startswith("quirks.") else _MORE)

    def forget(self, noted: int) -> None:
        """Take back what was noted since `noted` was read: what it was about is left out as a whole."""
        self.noted = noted
        del self.remarks[noted:]

    def said(self) -> tuple[Remark, ...]:
        """The remarks; the last says how many more there were."""
        if self.noted <= MOST or self.unkept is None:
            return tuple(self.remarks)
        last = Remark(self.unkept.kind, "", f"and {self.noted - MOST} more remarks", self.unkept.rule)
        return (*self.remarks, last)

    def text(self, what: str, *more: str | int) -> str:
        """An error's text: which message, where, what."""
        return f"{self.title} {self.at(*more)}: {what}"


def _part(part: Part) -> str:
    if isinstance(part, tuple):
        return f".{part[0]}[{len(part[1])}]"
    return f"[{part}]" if isinstance(part, int) else f".{part}"


def refuse_repairs(remarks: Iterable[Remark]) -> None:
    """Raise FormationViolation for the first remark that tells of a repair."""
    for remark in remarks:
        if remark.rule.startswith("quirks."):
            raise FormationViolation(f"{remark.path or 'message'}: {remark.detail} ({remark.rule})")


def shown(text: str) -> str:
    """A peer's value in an error: short, and nothing a terminal would obey."""
    return repr(text[:40])


def kind_of(value: object) -> str:
    """What a JSON value is, in words."""
    return _KINDS.get(type(value).__name__, type(value).__name__)


_KINDS = {
    "str": "text",
    "bool": "boolean",
    "int": "integer",
    "float": "number",
    "Decimal": "number",
    "list": "list",
    "dict": "object",
    "NoneType": "null",
}

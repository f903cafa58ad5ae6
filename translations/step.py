"""Where a translation of one message is, and what it has remarked so far."""

from typing import Any

from translations.messages import Kind, Remark

Part = str | int | tuple[str, list[Any]]
"""A part of a path: a field, an index, or a field and its list so far, whose next item this is."""


class Step:
    """What a translation of one message gathers on its way: where it is, and the remarks so far."""

    __slots__ = ("foreign", "path", "received", "remarks", "title")

    def __init__(self, title: str, received: str = "") -> None:
        self.title = title
        self.received = received
        self.foreign = False
        self.path: list[Part] = []
        self.remarks: list[Remark] = []

    def at(self, *more: str | int) -> str:
        """The path of where we are, like `meterValue[0].sampledValue[1].unit`."""
        return "".join(map(_part, (*self.path, *more))).lstrip(".")

    def note(self, kind: Kind, detail: str, rule: str, *more: str | int) -> None:
        self.remarks.append(Remark(kind, self.at(*more), detail, rule))

    def text(self, what: str, *more: str | int) -> str:
        """An error's text: which message, where, what."""
        return f"{self.title} {self.at(*more)}: {what}"


def _part(part: Part) -> str:
    if isinstance(part, tuple):
        return f".{part[0]}[{len(part[1])}]"
    return f"[{part}]" if isinstance(part, int) else f".{part}"


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

"""Globs over texts of the log: read once, then said as a regular expression, and as SQLite and PostgreSQL say them.

Whatever the glob, matching takes time in proportion to its length times that of the text.
"""

import re
from dataclasses import dataclass
from enum import Enum

_FOLDED = {upper: upper + 32 for upper in range(ord("A"), ord("Z") + 1)}
_WILD = frozenset("*?[")


class GlobError(ValueError):
    """No glob; `offset` is the place of what cannot stand there."""

    def __init__(self, problem: str, offset: int) -> None:
        super().__init__(problem)
        self.offset = offset


class Wild(Enum):
    """What stands for other characters."""

    MANY = "*"
    ONE = "?"


@dataclass(frozen=True, slots=True)
class OneOf:
    """One character of these, or, negated, one that is none of these."""

    chars: str
    ranges: tuple[tuple[str, str], ...] = ()
    negated: bool = False


Piece = str | Wild | OneOf


def fold(text: str) -> str:
    """Small letters for capital ones of ASCII, and for those alone, as databases fold them."""
    return text.lower() if text.isascii() else text.translate(_FOLDED)


def plain(text: str) -> bool:
    """Whether nothing in it stands for other characters."""
    return _WILD.isdisjoint(text)


def pieces(glob: str) -> list[Piece]:
    """What the glob is made of; each plain text is one character."""
    found: list[Piece] = []
    at = 0
    while at < len(glob):
        piece, at = _piece(glob, at)
        if piece is not Wild.MANY or found[-1:] != [piece]:
            found.append(piece)
    return found


def _piece(glob: str, at: int) -> tuple[Piece, int]:
    if glob[at] == "[":
        return _one_of(glob, at)
    return Wild(glob[at]) if glob[at] in "*?" else glob[at], at + 1


def _one_of(glob: str, start: int) -> tuple[OneOf, int]:
    negated = glob[start + 1 : start + 2] in ("!", "^")
    first = start + 1 + negated
    end = glob.find("]", first + 1)  # one that comes first is meant
    if end < 0:
        raise GlobError('expected "]" after "[", which by itself is written "[[]"', start)
    chars, ranges = _members(glob[first:end], first)
    return OneOf(chars, ranges, negated), end + 1


def _members(inner: str, offset: int) -> tuple[str, tuple[tuple[str, str], ...]]:
    chars, ranges, at = "", [], 0
    while at < len(inner):
        if inner[at + 1 : at + 2] == "-" and at + 2 < len(inner):
            ranges.append(_range(inner[at], inner[at + 2], offset + at))
            at += 3
        else:
            chars += inner[at]
            at += 1
    return chars, tuple(ranges)


def _range(low: str, high: str, offset: int) -> tuple[str, str]:
    if not (low.isascii() and low.isalnum() and high.isascii() and high.isalnum() and low <= high):
        raise GlobError('expected a range like "a-z" or "0-9" within "[...]"', offset)
    return low, high


def prefix(glob: list[Piece]) -> str:
    """The ASCII with which every match begins."""
    found = ""
    for piece in glob:
        if not isinstance(piece, str) or not piece.isascii():
            break
        found += piece
    return found


def as_pattern(glob: list[Piece]) -> re.Pattern[str]:
    """To be matched in full. What follows a star is looked for once, at its first place: going back could find nothing more."""
    parts: list[list[Piece]] = [[]]
    for piece in glob:
        if piece is Wild.MANY:
            parts.append([])
        else:
            parts[-1].append(piece)
    first, *between = ("".join(map(_as_regex, part)) for part in parts)
    last = f".*{between.pop()}" if between else ""
    return re.compile(first + "".join(f"(?>.*?{part})" for part in between) + last, re.DOTALL)


def as_sqlite(glob: list[Piece]) -> str:
    """For GLOB."""
    return "".join(_as_sqlite(piece) for piece in glob)


def as_like(glob: list[Piece]) -> str | None:
    r"""For LIKE, with `\` to escape; None where LIKE cannot say it."""
    if any(isinstance(piece, OneOf) for piece in glob):
        return None
    wild = {Wild.MANY: "%", Wild.ONE: "_"}
    return "".join(wild[piece] if isinstance(piece, Wild) else escaped_like(str(piece)) for piece in glob)


def escaped_like(text: str) -> str:
    """The text as LIKE takes it for itself."""
    return re.sub(r"([\\%_])", r"\\\1", text)


def as_postgres(glob: list[Piece]) -> str:
    """For `~`."""
    return f"^{''.join('.*' if piece is Wild.MANY else _as_regex(piece) for piece in glob)}$"


def _as_regex(piece: Piece) -> str:
    if isinstance(piece, OneOf):
        inner = "".join(map(_escaped, piece.chars)) + "".join(f"{low}-{high}" for low, high in piece.ranges)
        return f"[{'^' * piece.negated}{inner}]"
    return "." if piece is Wild.ONE else _escaped(str(piece))


def _escaped(char: str) -> str:
    return f"\\{char}" if char.isascii() and not char.isalnum() and not char.isspace() else char


def _as_sqlite(piece: Piece) -> str:
    if not isinstance(piece, OneOf):
        return str(piece.value) if isinstance(piece, Wild) else f"[{piece}]" if piece in _WILD else piece
    if not piece.ranges and not piece.negated and len(piece.chars) == 1:
        return _as_sqlite(piece.chars)
    # Within brackets these three mean themselves only at some places.
    inner = "]" * ("]" in piece.chars) + "".join(f"{low}-{high}" for low, high in piece.ranges)
    inner += "".join(char for char in piece.chars if char not in "]^-")
    tail = "^" * ("^" in piece.chars) + "-" * ("-" in piece.chars)
    return f"[{'^' * piece.negated}{inner}{tail if inner or piece.negated else tail[::-1]}]"

"""Which door a path belongs to, and who it names: the templates of `server.soap_paths` and `server.json_paths`."""

import re
from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

LONGEST = 255  # characters of what a path names
# What is printable to Python and yet shows nothing (Unicode: Default_Ignorable_Code_Point), and the blank of Braille.
_UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
# RFC 3986, 5.2.4: whoever resolves a path takes these away, and the part before the second with it.
_DOTS = frozenset({".", ".."})


class Way(NamedTuple):
    """What a path names; empty where its template has no such placeholder."""

    identity: str = ""
    tenant: str = ""
    token: str = ""


_UNNAMED = Way()


def usable(identity: str) -> bool:
    """Whether this can name a charger and nobody else: nothing in it is unseen, or taken away by whoever passes it on.

    At most 255 printable characters, no white space at the ends, no part between slashes that is `.` or `..`.
    """
    return (
        0 < len(identity) <= LONGEST
        and identity.isprintable()  # of white space only U+0020 is
        and identity[0] != " " != identity[-1]
        and (identity.isascii() or not _UNSEEN.search(identity))
        and ("." not in identity or _DOTS.isdisjoint(identity.split("/")))
    )


class Paths:
    """The templates of one door. Of those that match a path the one wins whose text, left to right, says more of it.

    So the order in which they are given does not matter: `/soap/at/{identity}` comes before `/soap/{tenant}/{token}`. A template
    with placeholders stands for paths of as many parts; `/soap` for itself and everything below it, and comes last.
    Empty parts do not count: addresses are typed with a slash at the end, and chargers add one of their own.
    """

    def __init__(self, templates: Iterable[str]) -> None:
        self._templates = tuple(sorted(map(_Template, templates), key=_Template.rank))
        # The door of every SOAP message: a plain path that is spelt as configured is looked at no closer.
        self._usual = self._templates[0].plain if self._templates else None
        self._below = self._usual + b"/" if self._usual else None

    def match(self, raw_path: bytes) -> Way | None:
        """Who a path names, still percent-encoded and without its query; None if no template matches."""
        if self._below is not None and (raw_path.startswith(self._below) or raw_path == self._usual):
            return _UNNAMED
        parts = [part for part in raw_path.split(b"/") if part]
        return next((way for template in self._templates if (way := template.match(parts)) is not None), None)


class _Template:
    def __init__(self, template: str) -> None:
        self._parts = _parts(template)
        self._open = not any(map(_placeholder, self._parts))
        self.plain = template.rstrip("/").encode() if self._open else None

    def rank(self) -> list[int]:
        """Less comes first: text before placeholders, and what stands for all below it after what says more."""
        return [*(int(_placeholder(part)) for part in self._parts), 2 * self._open]

    def match(self, parts: list[bytes]) -> Way | None:
        if len(parts) != len(self._parts) and not (self._open and len(parts) > len(self._parts)):
            return None
        found: dict[str, str] = {}
        for wanted, part in zip(self._parts, parts, strict=False):
            text = _decoded(part)
            if not _placeholder(wanted):
                if text.casefold() != wanted:  # Seen on DBT chargers: paths change their case
                    return None
            elif not usable(text):
                return None
            else:
                found[wanted[1:-1]] = text
        return Way(**found) if found else _UNNAMED


def shown(templates: Iterable[str]) -> str:
    """The one to tell everybody, which says least: tokens are for those who have one."""
    return min(templates, key=lambda template: template.count("{"))


def takes_in(outer: str, inner: str) -> bool:
    """Whether every path that the template `inner` stands for is one of `outer` too."""
    wide, narrow = _parts(outer), _parts(inner)
    as_long = len(wide) == len(narrow) or (len(wide) < len(narrow) and not any(map(_placeholder, wide)))
    return as_long and all(_placeholder(part) or part == other for part, other in zip(wide, narrow, strict=False))


def _parts(template: str) -> list[str]:
    parts = [part for part in template.split("/") if part]
    return [part if _placeholder(part) else _decoded(part.encode()).casefold() for part in parts]


def _placeholder(part: str) -> bool:
    return part[:1] == "{"


def _decoded(part: bytes) -> str:
    """Decoded once, as OCPP-J 1.6, 3.1.1 has it; what is not UTF-8 comes out unprintable."""
    return unquote_to_bytes(part).decode("utf-8", "surrogateescape")

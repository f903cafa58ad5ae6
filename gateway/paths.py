"""Which door a path belongs to, and who it names: the templates of `server.soap_paths` and `server.json_paths`."""

from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

LONGEST = 255  # characters of what a path names


class Way(NamedTuple):
    """What a path names; empty where its template has no such placeholder."""

    identity: str = ""
    tenant: str = ""
    token: str = ""


_UNNAMED = Way()


class Paths:
    """The templates of one door, in their order: the first that matches wins.

    `/soap` stands for itself and everything below it. A template with placeholders stands for paths of as many parts.
    Empty parts do not count: addresses are typed with a slash at the end, and chargers add one of their own.
    """

    def __init__(self, templates: Iterable[str]) -> None:
        self._templates = tuple(_Template(template) for template in templates)
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
        parts = [part for part in template.split("/") if part]
        self._parts = [part if _placeholder(part) else _decoded(part.encode()).casefold() for part in parts]
        self._open = not any(map(_placeholder, parts))
        self.plain = template.rstrip("/").encode() if self._open else None

    def match(self, parts: list[bytes]) -> Way | None:
        if len(parts) != len(self._parts) and not (self._open and len(parts) > len(self._parts)):
            return None
        found: dict[str, str] = {}
        for wanted, part in zip(self._parts, parts, strict=False):
            text = _decoded(part)
            if not _placeholder(wanted):
                if text.casefold() != wanted:  # Seen on DBT chargers: paths change their case
                    return None
            elif not _usable(text):
                return None
            else:
                found[wanted[1:-1]] = text
        return Way(**found) if found else _UNNAMED


def _placeholder(part: str) -> bool:
    return part[:1] == "{"


def _decoded(part: bytes) -> str:
    """Decoded once, as OCPP-J 1.6, 3.1.1 has it; what is not UTF-8 comes out unprintable."""
    return unquote_to_bytes(part).decode("utf-8", "surrogateescape")


def _usable(text: str) -> bool:
    # RFC 3986, 5.2.4: "." and ".." are no names in a path, so that a session upstream could not carry them.
    return text.isprintable() and len(text) <= LONGEST and text.strip() not in ("", ".", "..")

"""How one charger talks: the rows of `quirks.toml`, who they are for, and what they come to.

A row says for whom it is (maker, model, firmware, identity, version: globs without case) and what is different there.
Rows are asked in order; for each setting the first that matches and has it counts.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from fnmatch import fnmatchcase
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

SOAP12 = "http://www.w3.org/2003/05/soap-envelope"
WSA = "http://www.w3.org/2005/08/addressing"
_OFFSET = re.compile(r"Z|[+-](?:0\d|1[0-3]):[0-5]\d|[+-]14:00", re.ASCII)


class Manner(NamedTuple):
    """How one peer talks and likes to be talked to.

    `soap` and `wsa` are namespaces; `prefixes` those of the envelope, of its addressing and of the payload, empty for the
    usual one of the service; `must_understand` the headers marked so; `action` a template of wsa:Action with {action},
    {namespace} and {service}; `date` as-given, seconds or milliseconds; `zone` that of dates without one, `Z`, `+02:00` or
    `Europe/Paris`; `meter` what a bare meter value means, as pairs of field and word; `validation` repair, strict or off.
    """

    soap: str = SOAP12
    wsa: str = WSA
    prefixes: tuple[str, str, str] = ("s", "a", "")
    must_understand: tuple[str, ...] = ()
    action: str = "/{action}"
    content_type_action: bool = True
    date: str = "as-given"
    zone: str = "Z"
    meter: tuple[tuple[str, str], ...] = ()
    callback_url: str = ""
    subprotocol: str = "ocpp1.6"
    validation: str = "repair"


USUAL = Manner()


class Who(NamedTuple):
    """What is known of a charger; empty where it is not."""

    identity: str = ""
    maker: str = ""
    model: str = ""
    firmware: str = ""
    version: str = ""


@dataclass(frozen=True, slots=True)
class Quirk:
    """One row: for whom, and what is different there. None: it does not say."""

    name: str
    maker: str | None = None
    model: str | None = None
    firmware: str | None = None
    identity: str | None = None
    version: str | None = None
    zone: str | None = None
    meter: tuple[tuple[str, str], ...] | None = None
    prefixes: tuple[str, str, str] | None = None
    must_understand: tuple[str, ...] | None = None
    action: str | None = None
    content_type_action: bool | None = None
    date: str | None = None
    callback_url: str | None = None
    subprotocol: str | None = None

    def fits(self, who: Who) -> bool:
        """Whether it is for this charger. What is not known fits nothing but a row that does not ask for it."""
        return all(
            glob is None or (known != "" and fnmatchcase(known.casefold(), glob.casefold()))
            for glob, known in zip((self.identity, self.maker, self.model, self.firmware, self.version), who, strict=True)
        )

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> "Quirk":
        """A row as TOML has it."""
        settings: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}
        if isinstance(meter := settings.get("meter"), Mapping):
            settings["meter"] = tuple((field, word) for field, word in meter.items() if word is not None)
        return cls(**settings)


_SETTINGS = tuple(f.name for f in fields(Quirk) if f.name in Manner._fields)


@cache
def known_quirks() -> tuple[Quirk, ...]:
    """The rows of `quirks.toml`."""
    rows = tomllib.loads((files("translations") / "quirks.toml").read_text("utf-8")).get("quirk", [])
    return tuple(Quirk.from_row({k: v for k, v in row.items() if k != "evidence"}) for row in rows)


@lru_cache(maxsize=4096)
def manner_of(who: Who, quirks: tuple[Quirk, ...] = (), validation: str = "repair") -> Manner:
    """How this charger talks: by the given rows, then by those of `quirks.toml`."""
    found: dict[str, Any] = {}
    for quirk in (*quirks, *known_quirks()):
        if quirk.fits(who):
            for name in _SETTINGS:
                value = getattr(quirk, name)
                if value is not None:
                    found.setdefault(name, value)
    return USUAL._replace(validation=validation, **found)


@lru_cache(maxsize=256)
def zone_named(name: str) -> ZoneInfo | None:
    """A zone of the tz database; None for `Z` and offsets, which are their own names. Raises ValueError for none at all."""
    if _OFFSET.fullmatch(name):
        return None
    try:
        return ZoneInfo(name)
    except (KeyError, OSError, ValueError):
        raise ValueError(f"expected a time zone, got {name[:60]!r}") from None


def known_zone(name: str) -> bool:
    """Whether this names a zone."""
    try:
        zone_named(name)
    except ValueError:
        return False
    return True

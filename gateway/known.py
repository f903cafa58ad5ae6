"""The file of chargers: who is known, and what has to hold for each. Reads it, says what is wrong with it, adds to it.

TOML, one table per identity or glob of identities. It judges nobody; `admission` does.
"""

import errno
import ipaddress
import json
import os
import re
import tomllib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from fnmatch import translate
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Stamp = tuple[int, int, int]
"""What changes with a file: when it was written, its size, its inode."""

REMEMBERED = 16_384  # identities whose row is at hand
LARGEST = 16 * 1024 * 1024  # bytes; 100,000 chargers with a password each take seven million
MOST_COMPLAINTS = 100
SHA256 = "sha256:"
_HEAD = "# Chargers that are known, and what shows that it is they. Those who are new are added at the end.\n"
_LITERAL = re.compile(r"\[([*?[])\]")  # how globs spell their own signs
_SIGNS = re.compile(r"[*?[]")
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


class ChargersError(Exception):
    """The file is of no use; a complaint a line, none with a secret in it."""


@dataclass(frozen=True, slots=True)
class Row:
    """What has to hold for a charger; None: nothing."""

    password: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    networks: tuple[Network, ...] | None = None
    certificate: str | None = None  # a name, {identity} in it for the identity; or sha256: and lower-case hex
    tenant: str | None = None


NOTHING = Row()
KEYS = tuple(each.name for each in fields(Row))


class Known:
    """Rows by identity: exact ones before globs, then in their order. Identities compare without case (OCPP 1.6, 3.16).

    `asks` says whether anything has to hold for anybody. `row(identity)` is what all rows for it say together, None without any.
    """

    def __init__(self, rows: Mapping[str, Row] = MappingProxyType({})) -> None:
        self._exact: dict[str, Row] = {}
        self._globs: list[tuple[re.Pattern[str], Row]] = []
        for name, row in rows.items():
            if (identity := _identity(name)) is not None:
                self._exact[identity] = row
            else:
                self._globs.append((re.compile(translate(name.casefold())), row))
        self.asks = any(row != NOTHING for row in rows.values())
        self.row: Callable[[str], Row | None] = lru_cache(REMEMBERED)(self._row)

    def __len__(self) -> int:
        return len(self._exact) + len(self._globs)

    def _row(self, identity: str) -> Row | None:
        folded = identity.casefold()
        rows = [self._exact[folded]] if folded in self._exact else []
        rows += [row for glob, row in self._globs if glob.match(folded)]
        return _together(rows) if rows else None


def _together(rows: Iterable[Row]) -> Row:
    found: dict[str, Any] = {}
    for row in rows:
        found = {key: value for key in KEYS if (value := getattr(row, key)) is not None} | found
    return Row(**found) if found else NOTHING


def _identity(name: str) -> str | None:
    """The identity that a table is for, without case; None if it is a glob."""
    if "[" not in name:
        return None if _SIGNS.search(name) else name.casefold()
    return None if _SIGNS.search(_LITERAL.sub("", name)) else _LITERAL.sub(r"\1", name).casefold()


# --- reading


def parse(text: str) -> dict[str, Row]:
    """The rows of a file. Raises ChargersError with every complaint, or with the first hundred of them."""
    rows: dict[str, Row] = {}
    tables = _tables(text)
    complaints = list(_twice(tables))
    for name, table in tables.items():
        values, wrong = _read(name, table)
        rows[name] = Row(**values)
        complaints += wrong
    if complaints:
        left_out = len(complaints) - MOST_COMPLAINTS
        more = [f"and {left_out} more complaints"] if left_out > 0 else []
        raise ChargersError("\n".join(complaints[:MOST_COMPLAINTS] + more))
    return rows


def _tables(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ChargersError("expected TOML that is nested no deeper than tables of text and lists") from None
    except tomllib.TOMLDecodeError as error:
        raise ChargersError(f"expected TOML: {error}") from None
    except ValueError:  # sys.get_int_max_str_digits
        raise ChargersError("expected TOML without integers of thousands of digits") from None


def _twice(tables: Iterable[str]) -> Iterator[str]:
    seen: set[tuple[bool, str]] = set()
    for name in tables:
        identity = _identity(name)
        who = (identity is None, name.casefold() if identity is None else identity)
        if who in seen:
            yield f"{shown(name)}: expected each charger once, and case makes no other one"
        seen.add(who)


def _read(name: str, table: object) -> tuple[dict[str, Any], list[str]]:
    """The values of a table, and what is wrong with it."""
    values: dict[str, Any] = {}
    wrong = []
    if not isinstance(table, dict):
        return values, [f'{shown(name)}: expected a table for each charger, as in ["CP-1"]']
    for key, value in table.items():
        try:
            values[key] = _value(key, value)
        except ValueError as error:
            wrong.append(f"{shown(name)}.{shown(key)}: {error}")
    return {} if wrong else values, wrong


def _value(key: str, value: object) -> Any:
    if isinstance(value, dict):
        raise ValueError('expected identities in quotes, as in ["CP.1"]')  # noqa: TRY004 - as all that is wrong with a value
    if key not in _READERS:
        raise ValueError(f"expected one of {', '.join(KEYS)}")
    return _READERS[key](value)


def shown(name: str) -> str:
    """The name of a table, for people."""
    return name[:80] if name.isprintable() else name.encode("unicode_escape").decode()[:80]


def _text(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("expected text that is not empty")
    return value


def _networks(value: object) -> tuple[Network, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(each, str) for each in value):
        raise ValueError('expected a list of networks, as in ["10.0.0.0/8"]')
    try:
        return tuple(_network(each) for each in value)
    except ValueError as error:
        raise ValueError(f"expected networks without bits beyond their length: {error}") from None


@lru_cache(maxsize=1024)
def _network(text: str) -> Network:
    return ipaddress.ip_network(text)


def _certificate(value: object) -> str:
    text = _text(value)
    if text.lower().startswith(SHA256):
        fingerprint = text[len(SHA256) :].replace(":", "").lower()
        if not _FINGERPRINT.fullmatch(fingerprint):
            raise ValueError("expected 64 hex digits after sha256:")
        return SHA256 + fingerprint
    if set(re.findall(r"[{].*?[}]", text)) - {"{identity}"}:
        raise ValueError("expected a name, with no other placeholder than {identity}, or sha256: and 64 hex digits")
    return text


_READERS: Mapping[str, Callable[[object], Any]] = MappingProxyType(
    {"password": _text, "token": _text, "networks": _networks, "certificate": _certificate, "tenant": _text}
)


# --- the file


def stamp(path: Path) -> Stamp:
    """Raises OSError."""
    return _stamp(path.stat())


def load(path: Path) -> dict[str, Row]:
    """Raises ChargersError for a file that is of no use, OSError for one that cannot be read."""
    with path.open("rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ChargersError(f"expected at most {LARGEST} bytes")
    try:
        return parse(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ChargersError("expected UTF-8 text") from None


def examine(path: Path, *, may_be_absent: bool) -> tuple[dict[str, Row], list[str]]:
    """The rows of a file, and what is wrong with it."""
    try:
        return load(path), []
    except ChargersError as error:
        return {}, str(error).split("\n")
    except FileNotFoundError:
        there = may_be_absent and path.parent.is_dir()
        return {}, [] if there else [f"expected a file, {path} is not there"]
    except OSError as error:
        return {}, [f"cannot be read: {(error.strerror or str(error)).lower()}"]


def append(path: Path, seen: Stamp | None, identities: Iterable[str]) -> Stamp | None:
    """Add a table for each identity; the new stamp. All or nothing, and nothing if the file is no more what was `seen`.

    Without anything seen the file is made, for its owner alone. Raises OSError, also where it would be too long to be read.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC
    file = os.open(path, flags if seen else flags | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        before = os.fstat(file)
        if seen and _stamp(before) != seen:
            return None
        _write(file, before.st_size, "".join(f"[{_quoted(identity)}]\n" for identity in identities))
        return _stamp(os.fstat(file))
    finally:
        os.close(file)


def _write(file: int, size: int, text: str) -> None:
    ends = not size or os.pread(file, 1, size - 1) == b"\n"
    data = (text if size and ends else "\n" + text if size else _HEAD + text).encode()
    if size + len(data) > LARGEST:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
    try:
        while data:
            data = data[os.write(file, data) :]
        os.fsync(file)
    except OSError:
        os.ftruncate(file, size)  # half a table would make the whole file unreadable
        raise


def _quoted(identity: str) -> str:
    # The strings of JSON are strings of TOML too, for all that is printable.
    return json.dumps(re.sub(r"[*?[]", r"[\g<0>]", identity), ensure_ascii=False)


def _stamp(stat: os.stat_result) -> Stamp:
    return stat.st_mtime_ns, stat.st_size, stat.st_ino

"""Who was shown what is hidden. Nothing is shown before its line is on the disk."""

import hmac
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from gateway.config import Redaction

LONGEST = 4096  # characters of what was asked for


class AuditError(Exception):
    """It cannot be kept who is shown something, so nothing may be shown; the text says why."""


class Audit:
    """A file of JSON lines, readable by its owner alone. `hide` is `Redactor.text`: filters name idTags too."""

    def __init__(self, path: Path, hide: Callable[[str], str]) -> None:
        self._path, self._hide = path, hide

    def revealed(self, who: str, asked: str, count: int | None, *, now: datetime | None = None) -> None:
        """Keep that `who` is about to be shown what `asked` finds, so many exchanges; None: it is not known yet how many.

        Blocks until it is on the disk. Raises AuditError.
        """
        line = {
            "at": (now or datetime.now(UTC)).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "who": self._hide(who)[:LONGEST],
            "filter": self._hide(asked)[:LONGEST],
            "count": count,
        }
        try:
            self._append(msgspec.json.encode(line) + b"\n")
        except OSError as error:
            why = (error.strerror or str(error)).lower()
            raise AuditError(f"{self._path}: cannot be written, so nothing is revealed: {why}") from None

    def _append(self, line: bytes) -> None:
        new = not self._path.exists()
        file = os.open(self._path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        try:
            if os.write(file, line) != len(line):  # one write: lines of several processes do not mix
                raise OSError("disk is full")
            os.fsync(file)
        finally:
            os.close(file)
        if new:
            _sync_folder(self._path.parent)


def _sync_folder(folder: Path) -> None:
    """Have the name of a new file on the disk too."""
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


class RevealRight:
    """Who may see what is hidden over the API: those who show the token. Without a token nobody may.

    Raises ValueError for a token that is empty, has white space around it, or is the one that opens the API.
    """

    def __init__(self, token: str | None, opens: bytes | None = None) -> None:
        if token is not None and (not token or token != token.strip()):
            raise ValueError("expected a token without white space around it")
        self._token = None if token is None else token.encode()
        if self._token is not None and self._token == opens:
            raise ValueError("expected another token than that of the admin API")

    def held(self, given: str) -> bool:
        """Whether it is the token; compared in constant time."""
        shown = given.strip().encode("utf-8", "surrogatepass")
        return self._token is not None and hmac.compare_digest(shown, self._token)


def reveal_right(config: "Redaction", read: Callable[[str | None, Path | None], str | None], opens: bytes | None) -> RevealRight:
    """The right as the configuration has it. `read` is `gateway.config.secret`, `opens` the token of the admin API."""
    return RevealRight(read(config.reveal_token_env, config.reveal_token_file), opens)

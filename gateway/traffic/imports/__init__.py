"""Traffic that others have kept, as exchanges: traces, our own exports, logs of OCPP-J frames, folders of SOAP envelopes.

What cannot be read becomes a refused exchange that says in which line or file it stood; nothing ends an import.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from gateway.exchange import Ids
from gateway.traffic.exchanges import Exchange
from gateway.traffic.imports.envelopes import from_file, in_folder
from gateway.traffic.imports.found import refusal
from gateway.traffic.imports.logs import Log
from gateway.traffic.imports.objects import exchange_of
from gateway.traffic.imports.pairing import Pairing
from gateway.traffic.imports.sources import LONGEST, Line, Progress, lines_of
from gateway.traffic.imports.traces import Traces

KINDS = ("auto", "trace", "exchanges", "frames", "envelopes")
_SPACE = b" \t\r\n\x00\xef\xbb\xbf"


def imported(
    source: Path | str | BinaryIO,
    kind: str = "auto",
    *,
    progress: Progress | None = None,
    ids: Callable[[], str] | None = None,
) -> Iterator[Exchange]:
    """The exchanges of a file, a stream, or a folder of `*.xml`, about in the order in which they began; `id` is 0.

    With the kind "auto" each line is taken for what it looks like. `progress` hears bytes read and bytes in all, 0 where that is
    not known; `ids` names exchanges that have no name. Raises ValueError for a kind that is none, and OSError.
    """
    if kind not in KINDS:
        raise ValueError(f"kind: expected {', '.join(KINDS)}, got {kind[:40]!r}")
    pairing = Pairing(ids or Ids())
    if isinstance(source, (str, Path)):
        return _at(Path(source), kind, pairing, progress)
    return _read(source, 0, time.time(), kind, pairing, progress)


def _at(path: Path, kind: str, pairing: Pairing, progress: Progress | None) -> Iterator[Exchange]:
    if path.is_dir():
        for found in in_folder(path, progress):
            pairing.add(found)
            yield from pairing.ready()
        yield from pairing.rest()
        return
    facts = path.stat()
    with path.open("rb") as stream:
        yield from _read(stream, facts.st_size, facts.st_mtime, kind, pairing, progress)


def _read(stream: BinaryIO, total: int, at: float, kind: str, pairing: Pairing, progress: Progress | None) -> Iterator[Exchange]:
    lines = lines_of(stream, total, progress)
    first = next(lines, None)
    if first is not None and (kind == "envelopes" or (kind == "auto" and first.text.lstrip(_SPACE)[:1] == b"<")):
        pairing.add(from_file(_whole(first, lines), at, getattr(stream, "name", "")))
    elif first is not None:
        reader = _Reader(kind, pairing, at)
        reader.read(first)
        for line in lines:
            reader.read(line)
            yield from pairing.ready()
        reader.end()
    yield from pairing.rest()


def _whole(first: Line, lines: Iterator[Line]) -> bytes:
    """One envelope on many lines; of more than may be, enough to be too much."""
    parts, size = [first.text], len(first.text)
    for line in lines:
        if size <= LONGEST:
            parts.append(line.text)
            size += len(line.text)
    return b"".join(parts)


class _Reader:
    """Lines of one source, each to the reader of its kind."""

    def __init__(self, kind: str, pairing: Pairing, at: float) -> None:
        self._kind, self._pairing = kind, pairing
        self._traces, self._log = Traces(pairing, at), Log(pairing, at)

    def read(self, line: Line) -> None:
        text = line.text.strip(_SPACE)
        if not text:
            return
        if line.cut:
            note = f"line {line.number}: expected at most {LONGEST} bytes, got more"
            self._pairing.add(refusal(self._log.at, text, note))
        elif self._kind == "frames" or (self._kind == "auto" and text[:1] != b"{"):
            self._log.read(text, line.number)
        elif self._kind == "exchanges" or (self._kind == "auto" and b'"legs"' in text):
            self._exchange(text, line.number)
        else:
            self._traces.read(text, line.number)

    def _exchange(self, text: bytes, number: int) -> None:
        exchange = exchange_of(text)
        if exchange is not None:
            self._pairing.whole(exchange, len(text))
        elif self._kind == "auto":
            self._traces.read(text, number)
        else:
            note = f"line {number}: expected an exchange as our JSON export has it"
            self._pairing.add(refusal(self._log.at, text, note))

    def end(self) -> None:
        self._log.end()

"""Bytes from a stream, line by line, no line longer than may be."""

from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple

LONGEST = 16 << 20  # bytes of a line, or of an envelope
KEPT = 4096  # bytes that are kept of what is longer
_STEP = 1 << 18  # bytes between two calls of progress

Progress = Callable[[int, int], None]


class Line(NamedTuple):
    """A line with its end; `cut` if there was more of it than may be."""

    number: int
    text: bytes
    cut: bool = False


def lines_of(stream: BinaryIO, total: int = 0, progress: Progress | None = None) -> Iterator[Line]:
    """The lines, from number 1 on. `progress` hears bytes read and `total`, now and then and at the end."""
    told, done, number = 0, 0, 0
    while text := stream.readline(LONGEST + 1):
        number += 1
        done += len(text)
        cut = len(text) > LONGEST
        if cut:
            done += _pass_over(stream, text)
            text = text[:KEPT]
        yield Line(number, text, cut)
        if progress and done - told >= _STEP:
            told = done
            progress(done, total)
    if progress:
        progress(done, total or done)


def _pass_over(stream: BinaryIO, text: bytes) -> int:
    passed = 0
    while text and not text.endswith(b"\n"):
        text = stream.readline(1 << 20)
        passed += len(text)
    return passed

"""Starts libFuzzer on one target: seeds, words, and bounds of time and memory. Arguments of libFuzzer come last and win."""

import json
import random
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

from fuzz.mutations import Pick
from translations.contracts import Field, Type, contract
from translations.manners import SOAP12, WSA
from translations.messages import Side, Version

HOME = Path("build/fuzz")
VECTORS = Path("tests/vectors")
# Seconds and MiB that one input may cost, and its bytes. Atheris counts every line, which makes all of it slower.
BOUNDS = ("-timeout=10", "-rss_limit_mb=1024", "-max_len=32768", "-verbosity=0", "-print_final_stats=1")


Change = Callable[[bytes, Pick], bytes]


def start(name: str, target: Callable[[bytes], None], seeds: Iterable[bytes], change: Change) -> None:
    """Fuzz until the time is over or an input breaks the contract; then it lies in `build/fuzz` and the process fails.

    `change` is one change to the tree of an input; by far the most changes to bytes alone end in the parser.
    """
    corpus, words = HOME / name, HOME / f"{name}.dict"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number:03}").write_bytes(seed)
    words.write_text("".join(f'"{_escaped(word)}"\n' for word in sorted(set(_words()))), "ascii")
    options = [f"-dict={words}", f"-artifact_prefix={HOME}/{name}-", *BOUNDS]
    files = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    inputs = [] if files else [str(corpus)]  # files are run once each, as the one that broke something
    atheris.Setup([sys.argv[0], *options, *sys.argv[1:], *inputs], target, custom_mutator=_mutator(change))
    atheris.Fuzz()


def _mutator(change: Change) -> Callable[[bytes, int, int], bytes]:
    def mutate(data: bytes, most: int, seed: int) -> bytes:
        chance = random.Random(seed)
        for _ in range(chance.choice((0, 1, 1, 2, 3))):
            data = change(data, chance.choice)
        mutated: bytes = atheris.Mutate(data, most) if chance.random() < 0.3 else data
        return mutated[:most]

    return mutate


def envelopes() -> Iterator[bytes]:
    """Every envelope of the vectors."""
    for path in sorted(VECTORS.glob("*/*/*.xml")):
        yield path.read_bytes()


def frames() -> Iterator[bytes]:
    """Every frame of the vectors. The id of a result is the action that it answers."""
    for path in sorted(VECTORS.glob("**/*.json")):
        frame = json.loads(path.read_text("utf-8")).get("frame")
        if frame and frame[0] == 3:
            frame[1] = path.name.partition(".")[0]
        if frame:
            yield json.dumps(frame, separators=(",", ":")).encode()


def _words() -> Iterator[str]:
    yield from (SOAP12, WSA, "2024-05-01T10:00:00Z", "2147483648", "<![CDATA[", "<!DOCTYPE", 'xsi:nil="true"', "\\ud800", "1e99")
    for version in Version:
        for side in Side:
            spoken = contract(version, side)
            yield spoken.namespace
            for kind in spoken.messages.values():
                yield from _names(kind)


def _names(kind: Type) -> Iterator[str]:
    yield from kind.values
    fields: tuple[Field, ...] = (*kind.fields, *kind.attributes)
    for field in fields:
        yield field.name
        yield from _names(field.type)


def _escaped(word: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else f"\\x{ord(c):02x}" for c in word)

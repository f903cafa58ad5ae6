"""Group `translations`: the translators alone, against lxml reading the same bytes, and against spyne and zeep."""

import warnings
from collections.abc import Callable, Iterator
from statistics import median
from time import perf_counter

from lxml import etree
from rich.console import Console

from bench import samples, stacks
from bench.report import Figure, Target, show
from translations import ocppj, soap
from translations.messages import Call, Result, Side, Version

Work = Callable[[], object]

NOW = "2026-01-01T00:00:00Z"
BLOCK = 0.004  # seconds of one block: long enough for the clock, short enough that both see the same neighbours
BLOCKS = 12  # of which the best counts
UP_SMALL, UP_BIG, DOWN_SMALL, DOWN_BIG = Target(3.0), Target(4.0), Target(1.0), Target(2.0)


def run(console: Console, quick: bool) -> None:
    """Measure and print."""
    repeats = 3 if quick else 9
    columns = ("ours, µs", "lxml, µs", "ratio")
    up = [_up(*each, repeats) for each in _messages()]
    show(console, "SOAP bytes -> canonical JSON bytes, hardened and validated / lxml.etree.fromstring of them", columns, up)
    down = [_down(*each, repeats) for each in _messages()]
    show(console, "canonical message -> envelope / lxml.etree.fromstring of that envelope", columns, down)
    others, notes = _stacks(repeats)
    show(console, "BootNotification 1.5 / other SOAP libraries", ("ours, µs", "theirs, µs", "theirs / ours"), others, notes)


def _messages() -> Iterator[tuple[str, Version, bytes]]:
    for version in samples.VERSIONS:
        for action in samples.SMALL:
            yield action, version, samples.small(action, version)
        yield "MeterValues(40)", version, samples.meter_values(version)


def _up(action: str, version: Version, data: bytes, repeats: int) -> Figure:
    def ours() -> bytes:
        return ocppj.encode(soap.decode(data, None, NOW)[1])

    return _against_lxml(f"{action} {version}", ours, data, repeats, UP_BIG if "(" in action else UP_SMALL)


def _down(action: str, version: Version, data: bytes, repeats: int) -> Figure:
    message = soap.decode(data, None, NOW)[1]

    def ours() -> bytes:
        return soap.encode(message, version, Side.CENTRAL_SYSTEM, identity=samples.IDENTITY).body

    return _against_lxml(f"{action} {version}", ours, ours(), repeats, DOWN_BIG if "(" in action else DOWN_SMALL)


def _against_lxml(name: str, ours: Work, data: bytes, repeats: int, target: Target) -> Figure:
    mine, yardstick, ratio = compare(ours, lambda: etree.fromstring(data), repeats)
    return Figure(name, f"{mine:.1f}", f"{yardstick:.1f}", ratio, target=target, note=f"{len(data):,} B")


def _stacks(repeats: int) -> tuple[list[Figure], list[str]]:
    figures: list[Figure] = []
    notes: list[str] = []
    for measure in (_spyne, _zeep):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of old libraries, about themselves
                figures.append(measure(repeats))
        except ImportError as error:
            notes.append(f"{measure.__name__[1:]} cannot be imported here, so it is not measured: {error}")
    return figures, notes


def _spyne(repeats: int) -> Figure:
    theirs = stacks.spyne_answer()
    data = samples.small("BootNotification", Version.V15)
    accepted = Result({"status": "Accepted", "currentTime": NOW, "interval": 300}, "1", "BootNotification")

    def ours() -> bytes:
        ocppj.encode(soap.decode(data, None, NOW)[1])
        return soap.encode(accepted, Version.V15, Side.CENTRAL_SYSTEM).body

    return _against(ours, lambda: theirs(data), repeats, "spyne: decode the request, encode the answer", 10)


def _zeep(repeats: int) -> Figure:
    call = soap.decode(samples.small("BootNotification", Version.V15), None, NOW)[1]
    assert isinstance(call, Call)
    theirs = stacks.zeep_message("BootNotification", call.payload)
    frame = ocppj.encode(call)

    def ours() -> bytes:
        return soap.encode(ocppj.decode(frame), Version.V15, Side.CENTRAL_SYSTEM, identity=samples.IDENTITY).body

    return _against(ours, theirs, repeats, "zeep: create_message and its bytes", 25)


def _against(ours: Work, theirs: Work, repeats: int, name: str, least: float) -> Figure:
    mine, other, ratio = compare(ours, theirs, repeats)
    return Figure(name, f"{mine:.1f}", f"{other:.1f}", 1 / ratio, target=Target(least, most=False))


# --- the clock


def compare(ours: Work, yardstick: Work, repeats: int) -> tuple[float, float, float]:
    """Microseconds of the two and the ratio: the best of interleaved blocks in each repeat, the median of the repeats."""
    loops = _loops(ours), _loops(yardstick)
    pairs = [_best_of(ours, yardstick, loops) for _ in range(repeats)]
    mine, other = (median(times) for times in zip(*pairs, strict=True))
    return 1e6 * mine, 1e6 * other, median(a / b for a, b in pairs)


def _best_of(ours: Work, yardstick: Work, loops: tuple[int, int]) -> tuple[float, float]:
    blocks = [(_timed(ours, loops[0]), _timed(yardstick, loops[1])) for _ in range(BLOCKS)]
    return min(mine for mine, _ in blocks), min(other for _, other in blocks)


def _loops(work: Work) -> int:
    _timed(work, 50)  # warm
    return max(1, round(BLOCK / _timed(work, 50)))


def _timed(work: Work, loops: int) -> float:
    begin = perf_counter()
    for _ in range(loops):
        work()
    return (perf_counter() - begin) / loops

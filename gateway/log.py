"""What is told on stderr: for people in a terminal, as JSON where a machine reads it. Names no secret and no idTag."""

import json
import logging
import sys
import time
from collections.abc import Callable, MutableMapping
from functools import lru_cache, partial
from io import StringIO
from typing import Any, TextIO

import msgspec
import structlog

from gateway.config import Log
from gateway.traffic.record import CHARGER_LEG, Record

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_ENCODER = msgspec.json.Encoder(enc_hook=repr)
_OURS = frozenset({"level", "timestamp", "exc_info", "_record", "_from_structlog"})  # not what a peer may have said


Hide = Callable[[str], str]
"""Takes out of a text what it should not tell: `Redactor.text`."""


def _all(text: str) -> str:
    return text


def configure(config: Log, stream: TextIO = sys.stderr, hide: Hide = _all) -> None:
    """Set up structlog, and send what libraries log through it. All of it goes through `hide`, tracebacks too."""
    level = _LEVELS[config.level]
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        partial(_hidden, hide),
        _printable,
    ]
    renderer: list[Any] = (
        [structlog.processors.format_exc_info, partial(_hidden, hide), structlog.processors.JSONRenderer(serializer=_json)]
        if as_json(config)
        else [
            structlog.dev.ConsoleRenderer(
                colors=stream.isatty(),
                pad_event_to=24,
                exception_formatter=partial(_traceback, hide),
            )
        ]
    )
    structlog.configure(
        processors=[*shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[remove, *renderer]))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))


def as_json(config: Log) -> bool:
    """Whether lines are JSON."""
    return config.format == "json"


def _json(event: Any, **_: Any) -> str:
    return _ENCODER.encode(event).decode()


def _hidden(hide: Hide, _: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """No line may tell what is hidden. A key says what its value is, so both are looked at together."""
    for key, value in event.items():
        if key not in _OURS:
            event[key] = _told(hide, key, value)
    return event


def _told(hide: Hide, key: str, value: Any) -> Any:
    if isinstance(value, str):
        before = f"{key}="
        told = hide(before + value)
        return told[len(before) :] if told.startswith(before) else hide(value)
    if isinstance(value, list | tuple):
        return [_told(hide, key, each) for each in value]
    if isinstance(value, dict):
        return {name: _told(hide, str(name), each) for name, each in value.items()}
    return value


def _traceback(hide: Hide, stream: TextIO, exc_info: Any) -> None:
    """As it is by default without the library that shows local variables: payloads, passwords."""
    whole = StringIO()
    structlog.dev.plain_traceback(whole, exc_info)
    stream.write(hide(whole.getvalue()))


def _printable(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """No peer's text may steer the terminal."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable() and key != "exception":
            event[key] = value.encode("unicode_escape").decode()
    return event


Later = Callable[[Callable[[], None]], object]
"""Has something done a moment later."""


class MessageLog:
    """A tap that tells of each exchange in one line at `info`, of each message at `debug`.

    Written by hand, since it is on the way of every message: `<` came from that leg, `>` went to it.
    """

    def __init__(self, config: Log, stream: TextIO = sys.stderr, later: Later | None = None, hide: Hide = _all) -> None:
        self._level = _LEVELS[config.level]
        self._hide = hide
        self._text = _line_json if as_json(config) else _line
        self._stream, self._later = stream, later
        self._lines: list[str] = []
        self._refused = ""

    def __call__(self, record: Record) -> None:
        if record.kind == "refused":
            self._refused = record.exchange
            level = logging.WARNING
        elif record.kind == "call" or record.leg != CHARGER_LEG or record.exchange == self._refused:
            level = logging.DEBUG  # the fault that answers what was refused would say the same again
        else:
            level = logging.INFO if record.outcome == "ok" else logging.WARNING
        if level < self._level:
            return
        self._lines.append(self._text(record, level, self._hide))
        if self._later is None:
            self.flush()
        elif len(self._lines) == 1:
            self._later(self.flush)

    def flush(self) -> None:
        """Write what is gathered: one write for many lines."""
        lines, self._lines = self._lines, []
        self._stream.write("".join(lines))
        self._stream.flush()


def _facts(record: Record) -> list[str]:
    facts = [record.wire, record.version, record.kind]
    if record.outcome:
        facts.append(record.outcome)
    if record.latency is not None:
        facts.append(f"{record.latency * 1000:.1f} ms")
    if record.remarks:
        facts.append(f"{len(record.remarks)} remarks")
    return [fact for fact in facts if fact]


def _note(record: Record, hide: Hide) -> str:
    """Our own words. An error's text may be the peer's, with an idTag in it: that is for the traffic log."""
    return hide(record.note) if record.note and record.kind != "error" else ""


def _stamp(at: float) -> str:
    return f"{_second(int(at))}.{int(at * 1000) % 1000:03}Z"


@lru_cache(maxsize=16)
def _second(at: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))


def _line(record: Record, level: int, hide: Hide) -> str:
    charger, action = hide(record.charger) or "?", hide(record.action) or "?"  # whatever a peer says that they are
    text = f"{charger} {record.direction} {action} {record.leg} {' '.join(_facts(record))} {record.exchange}"
    if note := _note(record, hide):
        text += f" : {note}"
    if not text.isprintable():
        text = text.encode("unicode_escape").decode()
    return f"{_stamp(record.at)} [{logging.getLevelName(level).lower():7}] {text}\n"


def _line_json(record: Record, level: int, hide: Hide) -> str:
    said = {
        "event": "message",
        "level": logging.getLevelName(level).lower(),
        "timestamp": _stamp(record.at),
        "charger": hide(record.charger),
        "direction": record.direction,
        "leg": record.leg,
        "wire": record.wire,
        "version": record.version,
        "kind": record.kind,
        "action": hide(record.action),
        "outcome": record.outcome,
        "exchange": record.exchange,
        "ms": None if record.latency is None else round(record.latency * 1000, 1),
        "remarks": len(record.remarks),
        "note": _note(record, hide),
    }
    if all(value.isprintable() for value in said.values() if isinstance(value, str)):
        return _ENCODER.encode(said).decode() + "\n"
    return json.dumps(said, separators=(",", ":")) + "\n"  # ASCII: JSON itself lets some control characters stand

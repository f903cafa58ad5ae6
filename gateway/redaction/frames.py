"""What is hidden in JSON: OCPP-J frames, and JSON within texts. Keys keep their order and numbers their digits."""

from collections.abc import Callable
from typing import Any

import msgspec

from gateway.redaction.fields import kind_of
from gateway.redaction.job import SIGNED, Hiding, Job
from gateway.redaction.texts import unescaped

_SPACE = b" \t\r\n"
_PAYLOADS = {2: 3, 3: 2, 4: 4}


def _exactly(text: str) -> msgspec.Raw:
    return msgspec.Raw(text.encode())


_DECODER = msgspec.json.Decoder(float_hook=_exactly)
_ENCODER = msgspec.json.Encoder()

Nested = Callable[[str, Job], str]
"""Hides what is within a text that may itself be JSON or XML."""
Path = tuple[str | int, ...]


class Frames:
    """Hides in JSON. `nested` is asked for texts."""

    def __init__(self, nested: Nested) -> None:
        self._nested = nested

    def hidden(self, raw: bytes, job: Job, exact: bool) -> bytes | None:
        """The JSON without what it should not tell, the same bytes where that is nothing; None where it cannot be read."""
        try:
            frame = _DECODER.decode(raw)
            told = _Walk(job, self._nested, exact).frame(frame)
            written = _ENCODER.encode(told)
        except (ValueError, RecursionError):
            return None
        if told is not frame:
            return written
        return written if self._lost(raw, written, job) else raw

    def _lost(self, raw: bytes, written: bytes, job: Job) -> bool:
        """Whether something to hide is written that a parser leaves out: of a key that comes twice it has one."""
        if written == raw or written.translate(None, _SPACE) == raw.translate(None, _SPACE):
            return False
        text = unescaped(raw.decode("utf-8", "replace"))
        return job.tells(text.lower()) or job.texts.hidden(text) != text


class _Walk:
    """One walk. What does not change is the same object afterwards."""

    def __init__(self, job: Job, nested: Nested, exact: bool) -> None:
        self._job, self._nested, self._exact = job, nested, exact

    def frame(self, frame: Any) -> Any:
        place = _PAYLOADS.get(frame[0], 0) if isinstance(frame, list) and frame and type(frame[0]) is int else 0
        if not isinstance(frame, list) or not 0 < place < len(frame):
            return self._any(frame, (), None)
        items = [self._any(item, (), None) for item in frame]
        return frame if all(a is b for a, b in zip(items, frame, strict=True)) else items

    def _any(self, value: Any, path: Path, hiding: Hiding | None) -> Any:
        if isinstance(value, dict):
            return self._object(value, path, hiding)
        if isinstance(value, list):
            items = [
                self._any(item, (*path, i), self._said(path, i, hiding)) if self._job.rules else self._any(item, path, hiding)
                for i, item in enumerate(value)
            ]
            return value if all(a is b for a, b in zip(items, value, strict=True)) else items
        if hiding is not None:
            return self._job.put_any(hiding, value)
        return self._text(value) if isinstance(value, str) else value

    def _said(self, path: Path, index: int, hiding: Hiding | None) -> Hiding | None:
        """A rule may mean one item of a list."""
        return (self._job.of_field("", (*path, index), self._exact) if self._exact else None) or hiding

    def _object(self, fields: dict[str, Any], path: Path, hiding: Hiding | None) -> dict[str, Any]:
        job, changed = self._job, {}
        for name, value in fields.items():
            here = (*path, name) if job.particular else path
            said = job.of_field(name, here, self._exact) or hiding
            if said is None and name == "value":
                if fields.get("format") == SIGNED and isinstance(value, str):
                    continue
                said = _of_setting(job, fields)
            after = self._any(value, here, said)
            if after is not value:
                changed[name] = after
        renamed = {name: put for name in fields if not _plain(name, job) and (put := self._text(name)) is not name}
        if not changed and not renamed:
            return fields
        return {renamed.get(name, name): changed.get(name, value) for name, value in fields.items()}

    def _text(self, text: str) -> str:
        after = self._nested(text, self._job)
        return text if after == text else after


def _plain(name: str, job: Job) -> bool:
    """Whether a key is the name of a field, and nothing that a map has under it."""
    return name.isidentifier() and not job.tells(name.lower())


def _of_setting(job: Job, fields: dict[str, Any]) -> Hiding | None:
    """Settings are told by their names: {"key": "AuthorizationKey", "value": ...}."""
    key = fields.get("key")
    return job.of_field(key, (), False) if isinstance(key, str) and kind_of(key) else None

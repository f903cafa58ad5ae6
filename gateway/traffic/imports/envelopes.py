"""SOAP envelopes, translated on the way in: what they say, or why they say nothing."""

import time
from collections.abc import Iterator
from pathlib import Path

from gateway.traffic.imports.found import Found, time_in
from gateway.traffic.imports.sources import KEPT, LONGEST, Progress
from translations import soap
from translations.errors import OcppError
from translations.messages import Call, Error, Message, Side


def in_folder(folder: Path, progress: Progress | None = None) -> Iterator[Found]:
    """The `*.xml` of a folder and those below it, by the time in their names or else that of the file."""
    paths = [path for path in folder.rglob("*") if path.suffix.lower() == ".xml" and path.is_file()]
    files = sorted((_time(path), path.relative_to(folder).as_posix(), path) for path in paths)
    total, done = sum(path.stat().st_size for path in paths), 0
    for at, name, path in files:
        with path.open("rb") as stream:
            data = stream.read(LONGEST + 1)
        yield from_file(data, at, name)
        done += len(data)
        if progress:
            progress(min(done, total), total)


def _time(path: Path) -> float:
    told = time_in(path.name)
    return told[0] if told else path.stat().st_mtime


def from_file(data: bytes, at: float, name: str) -> Found:
    """The envelope of a file, as it is at the start of an exchange or at its end."""
    where = Path(str(name)).name or "line 1"
    if len(data) > LONGEST:
        note = f"{where}: expected at most {LONGEST} bytes, got more"
        return Found(at, data[:KEPT], wire="soap", code="ProtocolError", note=note)
    return envelope(data, at, where)


def envelope(data: bytes, at: float, where: str) -> Found:
    """What an envelope says; a refusal, with as much as was understood, where it is none or its message is not valid."""
    read = soap.Envelope()
    try:
        read = soap.parse(data)
        message = soap.read(read, time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(max(0, at))))
    except OcppError as error:
        read = getattr(error, "envelope", None) or read
        found = _found(data, at, read, None)
        found.code, found.note, found.remarks = error.code, f"{where}: {error.text}", read.remarks
        return found
    return _found(data, at, read, message)


def _found(data: bytes, at: float, read: soap.Envelope, message: Message | None) -> Found:
    is_call = isinstance(message, Call)
    return Found(
        at,
        data,
        message,
        wire="soap",
        version=str(read.version or ""),
        charger=read.identity,
        action=read.form.action if read.form else "",
        to_csms=_to_csms(read),
        pairs_by=read.message_id if is_call else read.relates_to,
        message_id=read.message_id,
        remarks=message.remarks if message else (),
        note=message.text if isinstance(message, Error) else "",
    )


def _to_csms(read: soap.Envelope) -> bool | None:
    """A form is of the service that is called; a fault has none."""
    return None if read.form is None else (read.form.side is Side.CENTRAL_SYSTEM) is not read.form.response

"""What one backend calls chargers and idTags, by tables in files. No idTag gets into a remark, a complaint or a repr.

A file is TOML, a line `"ours" = "theirs"` for each. Names compare without case: identities by OCPP 1.6, 3.16, idTags as CiString.
"""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from gateway.keys import LONGEST_TAG
from gateway.known import LARGEST, MOST_COMPLAINTS, Stamp, stamp
from gateway.rules.rewrites import path_of, walk
from translations.messages import Answer, Call, Kind, Payload, Remark, Result
from translations.step import Step

if TYPE_CHECKING:
    from gateway.config import Peer

RULE = "names.id-tag"

_ONE, _PARENT = "idTag", "idTagInfo.parentIdTag"
# Where idTags stand, by action and whether it is the answer: in both directions, for no action goes in both.
TAGS: Mapping[tuple[str, bool], tuple[str, ...]] = MappingProxyType(
    {
        ("Authorize", False): (_ONE,),
        ("StartTransaction", False): (_ONE,),
        ("StopTransaction", False): (_ONE,),
        ("Authorize", True): (_PARENT,),
        ("StartTransaction", True): (_PARENT,),
        ("StopTransaction", True): (_PARENT,),
        ("RemoteStartTransaction", False): (_ONE,),
        ("ReserveNow", False): (_ONE, "parentIdTag"),
        ("SendLocalList", False): (f"localAuthorizationList[*].{_ONE}", f"localAuthorizationList[*].{_PARENT}"),
    }
)
_PATHS = MappingProxyType({message: tuple(map(path_of, paths)) for message, paths in TAGS.items()})
_PLACEHOLDERS = re.compile(r"[{](identity|tenant)[}]")
_WHERE = re.compile(r"[(](at [a-z0-9, ]+)[)]$")  # all that may be told of what tomllib says: it quotes the file

Rows = Mapping[str, str]
T = TypeVar("T")


# --- files


def _read(path: Path) -> Rows:
    """The rows of a file. Raises ValueError, with nothing in it of what the file says, or OSError."""
    if not path.is_file():
        raise FileNotFoundError(path)
    with path.open("rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ValueError(f"expected at most {LARGEST} bytes")
    return _parsed(data)


def _parsed(data: bytes) -> Rows:
    try:
        return tomllib.loads(data.decode("utf-8-sig"))
    except UnicodeDecodeError:
        raise ValueError("expected UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        where = _WHERE.search(str(error))
        raise ValueError(f"expected TOML, it is wrong {where[1]}" if where else "expected TOML") from None
    except (ValueError, RecursionError):  # sys.get_int_max_str_digits, sys.getrecursionlimit
        raise ValueError("expected TOML without integers of thousands of digits and without deep nesting") from None


def _unlike_text(rows: Mapping[str, Any]) -> Iterator[str]:
    for number, (ours, theirs) in enumerate(rows.items(), 1):
        if not ours or not isinstance(theirs, str) or not theirs:
            yield f'row {number}: expected text on both sides, as in "ours" = "theirs", none of it empty'


def _twice(names: list[str], whose: str) -> Iterator[str]:
    seen: dict[str, int] = {}
    for number, name in enumerate(names, 1):
        if (first := seen.setdefault(name.casefold(), number)) != number:
            yield f"row {number}: expected {whose} that is not in row {first} already, and case makes no other one"


def _identity_faults(rows: Rows) -> Iterator[str]:
    yield from _twice(list(rows), "a charger")
    yield from _twice(list(rows.values()), "an identity")


def _tag_faults(rows: Rows) -> Iterator[str]:
    yield from _twice(list(rows), "an idTag")
    for number, tags in enumerate(rows.items(), 1):
        longer = max(map(len, tags))
        if longer > LONGEST_TAG:
            yield f"row {number}: expected idTags of at most {LONGEST_TAG} characters, got {longer}"


_FAULTS: Mapping[str, Callable[[Rows], Iterator[str]]] = MappingProxyType(
    {"identities_file": _identity_faults, "id_tags_file": _tag_faults}
)


def _judged(key: str, path: Path) -> tuple[Rows, list[str]]:
    """The rows of a file, and what is wrong with it, row by row where that can be said. Raises OSError."""
    try:
        rows = _read(path)
    except ValueError as error:
        return {}, [str(error)]
    return rows, list(_unlike_text(rows)) or list(_FAULTS[key](rows))


def _unread(path: Path, error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"expected a file, {path} is none"
    return f"cannot be read: {(error.strerror or type(error).__name__).lower()}"


def examine(config: "Peer") -> list[tuple[str, str]]:
    """What is wrong with the files of a backend: key, and what; nothing of what they say."""
    found: list[tuple[str, str]] = []
    for key in _FAULTS:
        if path := getattr(config, key):
            found += [(key, what) for what in _examined(key, path)]
    return found


def _examined(key: str, path: Path) -> list[str]:
    try:
        complaints = _judged(key, path)[1]
    except OSError as error:
        return [_unread(path, error)]
    left_out = len(complaints) - MOST_COMPLAINTS
    return complaints[:MOST_COMPLAINTS] + ([f"and {left_out} more complaints"] if left_out > 0 else [])


class _File(Generic[T]):
    """A file whose rows are kept as `made` has them, and read again when it has changed. Not for two threads at once."""

    def __init__(self, key: str, path: Path | None, made: Callable[[Rows], T]) -> None:
        self._key, self._path, self._made = key, path, made
        self._stamp: Stamp | None = None
        self.table = made({})
        self.fault = ""
        self.refresh()
        if self.fault:
            raise ValueError(self.fault)

    def refresh(self) -> None:
        """Read the file if it is another than the one read last. One that is wrong leaves the table as it was."""
        if self._path is None:
            return
        now = _stamped(self._path)
        if now is not None and now == self._stamp:
            return
        try:
            rows, complaints = _judged(self._key, self._path)
            self._stamp = now
        except OSError as error:
            rows, complaints = {}, [_unread(self._path, error)]
            self._stamp = None  # that it can be read again need not show in its stamp
        more = f", and {len(complaints) - 1} more complaints" if complaints[1:] else ""
        self.fault = f"{self._key}: {complaints[0]}{more}" if complaints else ""
        if not complaints:
            self.table = self._made(rows)


def _stamped(path: Path) -> Stamp | None:
    try:
        return stamp(path)
    except OSError:
        return None


# --- names


class _Tags:
    """IdTags in both directions, by their form without case."""

    __slots__ = ("down", "other", "up")

    def __init__(self, rows: Rows, other: str | None) -> None:
        self.other = other
        self.up = {ours.casefold(): theirs for ours, theirs in rows.items()}
        self.down: dict[str, str | None] = {}  # None: more than one
        for ours, theirs in rows.items():
            key = theirs.casefold()
            self.down[key] = None if key in self.down else ours
        if other is not None:
            self.down.setdefault(other.casefold(), None)


_Convert = Callable[[_Tags, str, Step], str]


def _theirs(tags: _Tags, tag: str, step: Step) -> str:
    theirs = tags.up.get(tag.casefold())
    if theirs is None:
        theirs, what = tags.other or tag, "the backend's idTag that stands for all that are not in its file"
    else:
        what = "the backend's idTag for the charger's"
    if theirs != tag:
        step.note(Kind.CHANGED, what, RULE)
    return theirs


def _ours(tags: _Tags, tag: str, step: Step) -> str:
    ours = tags.down.get(tag.casefold(), tag)
    if ours is None:
        step.note(Kind.ASSUMED, "the backend's idTag stands for more than one of the charger's, passed as it is", RULE)
        return tag
    if ours != tag:
        step.note(Kind.CHANGED, "the charger's idTag for the backend's", RULE)
    return ours


class Names:
    """The names of one backend. Raises ValueError where a file is missing or wrong, with nothing of what it says.

    `refresh` may run in another thread than the rest, but in one at a time.
    """

    def __init__(self, config: "Peer") -> None:
        other = config.id_tag_other
        self._form = config.identity
        self._identities = _File("identities_file", config.identities_file, _identities)
        self._tags = _File("id_tags_file", config.id_tags_file, lambda rows: _Tags(rows, other))
        self._mapped = config.id_tags_file is not None or other is not None

    def refresh(self) -> None:
        """Read again the files that have changed. What is wrong with one is told by `fault`; the old table stays."""
        self._identities.refresh()
        self._tags.refresh()

    @property
    def fault(self) -> str:
        """Why files are not read as they are now, key by key; empty: they are."""
        return "; ".join(filter(None, (self._identities.fault, self._tags.fault)))

    def identity(self, identity: str, tenant: str = "") -> str:
        """What the backend calls a charger: as the file says, or else as the template does."""
        if found := self._identities.table.get(identity.casefold()):
            return found
        filled = {"identity": identity, "tenant": tenant}
        return _PLACEHOLDERS.sub(lambda place: filled[place[1]], self._form)

    def up(self, call: Call) -> Call:
        """A charger's call with the backend's idTags; the same object where none changes."""
        return self._call(call, _theirs) if self._mapped else call

    def down(self, call: Call) -> Call:
        """A backend's call with the charger's idTags; the same object where none changes.

        A tag that stands for exactly one in the file is mapped back to that. One that stands for more, or for all others,
        passes as it is with a remark that says so; one of which nothing is said passes without.
        """
        return self._call(call, _ours) if self._mapped else call

    def answered(self, action: str, answer: Answer) -> Answer:
        """A backend's answer to a charger's call with the charger's idTags, as in `down`; the same object where none changes."""
        return self._answer(action, answer, _ours)

    def heard(self, action: str, answer: Answer) -> Answer:
        """The answer that a charger got, with the idTags of a backend that only listens; the same object where none changes."""
        return self._answer(action, answer, _theirs)

    def _call(self, call: Call, convert: _Convert) -> Call:
        payload, remarks = self._converted(call.payload, (call.action, False), convert)
        return replace(call, payload=payload, remarks=(*call.remarks, *remarks)) if remarks else call

    def _answer(self, action: str, answer: Answer, convert: _Convert) -> Answer:
        if not self._mapped or not isinstance(answer, Result):
            return answer
        payload, remarks = self._converted(answer.payload, (action, True), convert)
        return replace(answer, payload=payload, remarks=(*answer.remarks, *remarks)) if remarks else answer

    def _converted(self, payload: Payload, message: tuple[str, bool], convert: _Convert) -> tuple[Payload, tuple[Remark, ...]]:
        paths = _PATHS.get(message)
        if paths is None:
            return payload, ()
        tags, step = self._tags.table, Step("")

        def visit(value: Any, _: tuple[int, ...]) -> Any:
            return convert(tags, value, step) if isinstance(value, str) and value else value

        for path in paths:
            payload = walk(payload, path, visit, step)
        return payload, step.said()


def _identities(rows: Rows) -> Rows:
    return {ours.casefold(): theirs for ours, theirs in rows.items()}

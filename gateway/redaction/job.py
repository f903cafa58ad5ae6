"""What is known while one exchange is worked on: its rules, and what was found, to be hidden wherever else it stands."""

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import quote
from xml.sax.saxutils import escape

import msgspec

from gateway.redaction.fields import HOST, SECRET, TAG, kind_of
from gateway.redaction.texts import Texts, marked
from gateway.rules.rewrites import STAR, Path
from translations.contracts import contract
from translations.messages import Side, Version

KEEP = "keep"
GONE = "removed"
SIGNED = "SignedData"
SHORTEST, FEWEST_DIGITS, SURE = 4, 8, 8  # characters of values that are looked for; from SURE on in the midst of words too
MOST_FOUND = 10_000  # a full local list


class Hiding(NamedTuple):
    """What becomes of a value: `do` as in the configuration, `kind` names its pseudonym."""

    do: str
    kind: str


KEPT = Hiding(KEEP, "")
_BUILT_IN: Mapping[str, Hiding | None] = {"": None} | {kind: Hiding("pseudonym", kind) for kind in (TAG, SECRET, HOST)}


class Rule(NamedTuple):
    """A row of the configuration, for the actions that it fits. `names` is the path without indexes."""

    path: Path
    names: tuple[str, ...]
    do: str

    @property
    def hiding(self) -> Hiding:
        """What it does, with the pseudonym that the name of the field asks for."""
        return KEPT if self.do == KEEP else Hiding(self.do, kind_of(self.names[-1]) or SECRET)


class Job:
    """The work on one exchange. `found` has what was hidden, with what stands for it."""

    def __init__(self, texts: Texts, action: str, rules: tuple[Rule, ...], data: str) -> None:
        self.texts, self.action, self.rules = texts, action, rules
        self.found: dict[str, str] = {}
        self._forms: dict[str, str] = {}  # as they are looked for, and what stands for them
        self._known: re.Pattern[str] | None = None
        self.data = Hiding(data, SECRET) if action.lower() == "datatransfer" and data != "scan" else None  # of vendors
        self.particular = bool(self.rules) or self.data is not None  # whether it matters where a field stands

    # --- which

    def of_field(self, name: str, path: tuple[str | int, ...], exact: bool) -> Hiding | None:
        """What becomes of a field; None where nothing is said of it. `exact`: the message has the shape of OCPP 1.6 JSON."""
        if not self.particular:
            return _BUILT_IN[kind_of(name)]
        for rule in self.rules:
            if _fits(rule, path, exact):
                return rule.hiding
        if self.data and path == ("data",):
            return self.data
        return _BUILT_IN[kind_of(name)]

    # --- what becomes of it

    def put(self, hiding: Hiding, value: str) -> str:
        """What stands there instead of the text."""
        if hiding.do == KEEP or not value.strip():
            return value
        if hiding.do == "remove":
            put = GONE
        elif hiding.do == "last4" and len(value) > 2 * 4:
            put = f"****{value[-4:]}"
        else:
            put = self.texts.of(hiding.kind, value)
        if len(self.found) < MOST_FOUND and put != value:
            self.found[value.strip()] = put
        return put

    def put_any(self, hiding: Hiding, value: Any) -> Any:
        """The same for a value of JSON that is no object and no list. `msgspec.Raw` is a number with a fraction."""
        if hiding.do == KEEP or value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self.put(hiding, value)
        if hiding.kind == TAG or hiding.do == "pseudonym":
            return self.put(hiding, bytes(value).decode() if isinstance(value, msgspec.Raw) else str(value))
        return 0

    def address(self, url: str) -> str:
        """Where somebody can be called, with a pseudonym for the host."""
        put = self.texts.host(url)
        if put != url and (host := _host(url)) and (stands := _host(put)):
            self.found[host] = stands
        return put

    def free(self, text: str) -> str:
        """Text that says what it likes."""
        return self.texts.hidden(self._elsewhere(text))

    def prose(self, text: str) -> str:
        """Words about the exchange, in which hosts of chargers may be named."""
        return self.texts.hidden(self._elsewhere(text), hosts=True) if text else text

    def quiet(self, lowered: str) -> bool:
        """Whether there is surely nothing to hide in a body, given in lower case."""
        return not self.particular and not marked(lowered) and not self.tells(lowered)

    # --- the second look

    def look_again(self) -> tuple[bytes, ...]:
        """From now on what was found is hidden wherever it stands. Gives its forms, in lower case, to be looked for."""
        for value, put in self.found.items():
            if _telling(value):
                self._forms |= dict.fromkeys(_forms(value), put)
        return tuple(form.encode("utf-8", "surrogatepass") for form in self._forms)

    def tells(self, lowered: str) -> bool:
        """Whether a text, in lower case, has something that was found."""
        return bool(self._forms) and any(form in lowered for form in self._forms)

    def _elsewhere(self, text: str) -> str:
        if not self.tells(text.lower()):
            return text
        if self._known is None:
            self._known = _any_of(self._forms)
        return self._known.sub(lambda found: self._forms.get(found[0].lower(), GONE), text)


def _any_of(forms: Iterable[str]) -> re.Pattern[str]:
    """Finds what is long wherever it stands, and what is short where it is a word."""
    longest = sorted(forms, key=len, reverse=True)
    found = [re.escape(form) if len(form) >= SURE else rf"(?<![^\W_]){re.escape(form)}(?![^\W_])" for form in longest]
    return re.compile("|".join(found), re.IGNORECASE)


def _fits(rule: Rule, path: tuple[str | int, ...], exact: bool) -> bool:
    if exact:
        return len(path) == len(rule.path) and all(
            a == b or (a is STAR and isinstance(b, int)) for a, b in zip(rule.path, path, strict=True)
        )
    names = tuple(part for part in path if isinstance(part, str))
    if rule.do == KEEP:
        return names == rule.names
    return bool(names) and names[-1] == rule.names[-1]  # older versions nest otherwise: in doubt hidden


def names_of(path: Path) -> tuple[str, ...]:
    """A path without its indexes."""
    return tuple(part for part in path if isinstance(part, str))


def _telling(value: str) -> bool:
    """Whether a value that stands somewhere else is that value, and not by chance."""
    if len(value) < SHORTEST or (value.isdigit() and len(value) < FEWEST_DIGITS) or len(value) > 10_000:
        return False
    return value.lower() not in _words()


def _forms(value: str) -> Iterable[str]:
    """A value as it may be written, in lower case."""
    plain = value.lower()
    if plain.isalnum() and plain.isascii():
        return (plain,)
    said = msgspec.json.encode(value.encode("utf-8", "replace").decode()).decode()[1:-1]
    escaped = value.encode("ascii", "backslashreplace").decode()
    forms = (value, escape(value), escape(value, {'"': "&quot;", "'": "&apos;"}), said, escaped, quote(value, errors="replace"))
    return dict.fromkeys(form.lower() for form in (*forms, quote(value, safe="", errors="replace")))


@lru_cache(maxsize=1)
def _words() -> frozenset[str]:
    """What OCPP itself says: an idTag that is called Accepted cannot be looked for."""
    seen: set[str] = set()
    done: set[int] = set()
    waiting = [kind for version in Version for side in Side for kind in contract(version, side).messages.values()]
    while waiting:
        kind = waiting.pop()
        if id(kind) not in done:
            done.add(id(kind))
            seen.update(word.lower() for word in kind.values)
            waiting += [each.type for each in kind.fields]
    return frozenset(seen)


def _host(url: str) -> str:
    """The host in a URL, or in what is like one."""
    authority = re.split(r"[/?#]", url.strip().partition("://")[2] or url.strip(), maxsplit=1)[0].rpartition("@")[2]
    if authority.startswith("["):
        return authority[1:].partition("]")[0]
    return authority.partition(":")[0] if authority.count(":") < 2 else authority

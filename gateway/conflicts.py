"""What in a configuration works against itself: routes, backends that own the same thing, rows that never win or undo others."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import combinations
from types import MappingProxyType
from typing import TYPE_CHECKING

from gateway.keys import LONGEST_TAG
from gateway.rules.globs import chosen, covers, fits, meet, plain
from gateway.rules.policies import canonical
from gateway.rules.policies import examine as examine_policies
from gateway.rules.rewrites import examine as examine_rewrites
from gateway.rules.rewrites import path_of
from translations.contracts import Type, contract
from translations.deltas import known_actions
from translations.messages import Side, Version, title_of
from translations.schemas import against

if TYPE_CHECKING:
    from gateway.complaints import Found
    from gateway.config import Backend, Config, Policy, Rewrite, Route

# One of the backends is to have the say on these: a charger has one local list, one firmware, one set of keys. Charging
# profiles and reservations have ids, and ids are mapped.
OWNED = ("ChangeConfiguration", "SendLocalList", "UpdateFirmware")
_SIDES: Mapping[str, Side] = MappingProxyType({"up": Side.CENTRAL_SYSTEM, "down": Side.CHARGE_POINT})
_TAGS = frozenset({"idTag", "parentIdTag"})


# --- routes


def routes(config: "Config") -> "Found":
    """Names that are none, and keys of a route that do not go together."""
    for i, route in enumerate(config.routes):
        for check in (_names, _authorizers, _prefixes):
            for key, what in check(route, config):
                yield ("routes", i, *key), what
        if earlier := [j for j, other in enumerate(config.routes[:i]) if _wider(other, route)]:
            yield ("routes", i), f"expected chargers that routes[{earlier[0]}] leaves, it comes first and takes all of these"


_Keys = Iterator[tuple[tuple[int | str, ...], str]]


def _wider(earlier: "Route", later: "Route") -> bool:
    return covers(earlier.chargers, later.chargers) and covers(earlier.tenant, later.tenant)


def _names(route: "Route", config: "Config") -> _Keys:
    names = [backend.name for backend in config.backends]
    for key, wanted in (("answer", route.answer), ("listen", route.listen)):
        for name in wanted:
            if name not in names:
                yield (key,), f"expected the name of a backend ({', '.join(names)}), got {name}"
        for name in _twice(wanted):
            yield (key,), f"expected each backend once, got {name} again"
    if both := set(route.answer) & set(route.listen):
        yield ("listen",), f"expected backends that do not also answer, got {', '.join(sorted(both))}"


def _authorizers(route: "Route", _: "Config") -> _Keys:
    for name in route.authorizers:
        if name not in _members(route):
            yield ("authorizers",), f"expected a backend of the route ({', '.join(_members(route))}), got {name}"
    if route.authorizers and route.authorize != "first-accept":
        yield ("authorizers",), f'expected none, or authorize = "first-accept", got authorize = "{route.authorize}"'
    asked = set(route.authorizers or route.answer)
    if route.authorize == "first-accept" and len(asked) < 2:
        yield ("authorize",), "expected at least two backends to ask, in authorizers or in answer, found one"


def _prefixes(route: "Route", _: "Config") -> _Keys:
    for prefix, name in route.prefixes.items():
        if name not in _members(route):
            yield ("prefixes", prefix), f"expected a backend of the route ({', '.join(_members(route))}), got {name}"
        if len(prefix) > LONGEST_TAG:
            yield ("prefixes", prefix), f"expected at most {LONGEST_TAG} characters, no idTag is longer"
    for prefix in _twice(map(str.casefold, route.prefixes)):
        yield ("prefixes",), f"expected prefixes that differ by more than case, got {prefix} again"
    if route.prefixes and route.authorize != "prefix":
        yield ("prefixes",), f'expected none, or authorize = "prefix", got authorize = "{route.authorize}"'
    if route.authorize == "prefix" and not route.prefixes:
        yield ("authorize",), "expected prefixes too, which say what backend is asked"


def _members(route: "Route") -> tuple[str, ...]:
    return (*route.answer, *route.listen)


def _twice(names: Iterable[str]) -> list[str]:
    seen = list(names)
    return sorted({name for name in seen if seen.count(name) > 1})


def tenants(config: "Config") -> "Found":
    """Tenants asked for, where no charger can name one."""
    what = "expected {tenant} in server.soap_paths or server.json_paths too"
    if any("{tenant}" in path for path in (*config.server.soap_paths, *config.server.json_paths)):
        return
    for i, route in enumerate(config.routes):
        if not fits(route.tenant, ""):
            yield ("routes", i, "tenant"), what
    for i, backend in enumerate(config.backends):
        for key in ("identity", "url"):
            if "{tenant}" in getattr(backend, key, ""):
                yield ("backends", i, key), what


# --- backends


def backends(config: "Config") -> "Found":
    """Backends that own the same thing, and keys that mean nothing where their backend stands."""
    numbers = {backend.name: i for i, backend in enumerate(config.backends)}
    for i, backend in enumerate(config.backends):
        for key, what in (*_commands(backend), *_unheard(backend, config)):
            yield ("backends", i, *key), what
    for r, route in enumerate(config.routes):
        members = [config.backends[numbers[name]] for name in dict.fromkeys(_members(route)) if name in numbers]
        for one, other in combinations(sorted(members, key=lambda backend: numbers[backend.name]), 2):
            if what := _same(one, other):
                yield ("backends", numbers[other.name], "url"), f"{what}, with which it stands in routes[{r}]"
            if owned := _owned(one, other, route, config):
                told, rival = (one, other) if other.commands is None else (other, one)
                text = f"expected no {' and no '.join(owned)}: {rival.name} may send that to chargers of routes[{r}] too"
                yield ("backends", numbers[told.name], "commands"), text


def _commands(backend: "Backend") -> _Keys:
    for i, glob in enumerate(backend.commands or ()):
        if not chosen((glob,), known_actions(Side.CHARGE_POINT)):
            yield ("commands", i), f"expected a glob on actions that chargers know, got {glob}"


def _unheard(backend: "Backend", config: "Config") -> _Keys:
    if backend.hear != "calls" and not any(backend.name in route.listen for route in config.routes):
        yield ("hear",), "expected a route that has it in listen; as it is, it hears nothing"
    if backend.unknown_transaction and config.routes and not any(backend.name in _members(route) for route in config.routes):
        yield ("unknown_transaction",), "expected a route that has it in answer or in listen"


def _same(one: "Backend", other: "Backend") -> str:
    """Whether both are one CSMS, which takes both for the same charger."""
    if one.kind != "ocppj" or other.kind != "ocppj" or one.url != other.url:
        return ""
    if one.identity != other.identity or one.identities_file != other.identities_file:
        return ""
    return f"expected another url or identity than {one.name}"


def _owned(one: "Backend", other: "Backend", route: "Route", config: "Config") -> list[str]:
    """What both may send. Those that answer without a word on commands stand for one another, and may."""
    if one.commands is None and other.commands is None:
        return []
    return [action for action in OWNED if _may(one, action, route, config) and _may(other, action, route, config)]


def _may(backend: "Backend", action: str, route: "Route", config: "Config") -> bool:
    globs = ("*",) if backend.commands is None and backend.name in route.answer else backend.commands or ()
    return bool(chosen(globs, (action,))) and not any(_stops(row, backend.name, action, route) for row in config.policies)


def _stops(row: "Policy", backend: str, action: str, route: "Route") -> bool:
    here = row.direction == "down" and row.do != "forward" and covers(row.chargers, route.chargers)
    return here and bool(chosen(row.backends, (backend,)) and chosen(row.actions, (action,)))


# --- policies


def policies(config: "Config") -> "Found":
    """What is wrong with rows, and rows that never win."""
    names = [backend.name for backend in config.backends]
    for i, row in enumerate(config.policies):
        if row.do == "answer" and row.payload is None:
            yield ("policies", i, "payload"), 'expected a payload, with do = "answer"'
        for key, what in _globs(row, names):
            yield ("policies", i, *key), what
        if earlier := [j for j, other in enumerate(config.policies[:i]) if _before(other, row, names)]:
            yield ("policies", i), f"expected messages that policies[{earlier[0]}] leaves, it comes first and takes all of these"
    bare = {(i, "payload") for i, row in enumerate(config.policies) if row.payload is None}
    for place, what in examine_policies(config.policies):
        if place not in bare:
            yield ("policies", *place), what


def _globs(row: "Policy | Rewrite", names: list[str]) -> _Keys:
    """Globs that nothing fits."""
    for k, glob in enumerate(row.backends):
        if not chosen((glob,), names):
            yield ("backends", k), f"expected a glob on the names of backends ({', '.join(names)}), got {glob}"
    for k, glob in enumerate(row.actions):
        if not chosen((glob,), known_actions(_SIDES[row.direction])):
            yield ("actions", k), f"expected a glob on actions that go {row.direction}, got {glob}"


def _before(earlier: "Policy", later: "Policy", names: list[str]) -> bool:
    """Whether the earlier row takes all that the later one could."""
    return (
        earlier.direction == later.direction
        and bool(chosen(later.backends, names))
        and set(chosen(earlier.backends, names)) >= set(chosen(later.backends, names))
        and covers(earlier.chargers, later.chargers)
        and all(any(covers(wide, glob) for wide in earlier.actions) for glob in later.actions)
    )


# --- rewrites


def rewrites(config: "Config") -> "Found":
    """What is wrong with rows, paths that lead nowhere, and values that two rows own."""
    names = [backend.name for backend in config.backends]
    for place, what in examine_rewrites(config.rewrites):
        yield ("rewrites", *place), what
    for i, row in enumerate(config.rewrites):
        for key, what in (*_globs(row, names), *_nowhere(row), *_never(row), *_tags(row), *_undone(row)):
            yield ("rewrites", i, *key), what
        for j, other in enumerate(config.rewrites[:i]):
            if _together(other, row, names):
                for owner, path in _both(other, row):
                    yield ("rewrites", i, owner), f"expected no {path}: {other.name} (rewrites[{j}]) has the say on it"


def _paths(row: "Rewrite") -> Iterator[tuple[str, str]]:
    for key, paths in (("copies", row.copies), ("map", row.map), ("set", row.set), ("remove", row.remove)):
        yield from ((key, path) for path in paths)


def _nowhere(row: "Rewrite") -> _Keys:
    """Paths that are in no message of an action that is named."""
    paths = [*_paths(row), *(("copies", source) for source in row.copies.values())]
    for action in filter(plain, row.actions):
        title = title_of(action, row.message == "answer")
        message = _message(action, _SIDES[row.direction], row.message == "answer")
        for key, path in paths if message else ():
            if wrong := _wrong(message, path):
                yield (key,), f"expected a path in {title}, got {path[:80]}: {wrong}"


def _message(action: str, side: Side, response: bool) -> Type | None:
    """The type of a message, as the contract has it; None for an action that exists over JSON alone, and for a vendor's."""
    spoken = contract(Version.V16, side)
    elements = spoken.responses if response else spoken.requests
    known = next((name for name in elements if fits(action, name)), "")
    return spoken.messages[elements[known]] if known else None


def _wrong(kind: Type | None, path: str) -> str:
    """What the contract has against a path."""
    here, listed = kind, False
    for part in path_of(path):
        if not isinstance(part, str):
            if not listed:
                return f"{'[*]' if part is None else f'[{part}]'} is for lists"
            listed = False
            continue
        if listed:
            return f"[*] or a number is missing before {part}"
        found = next((field for field in here.fields if field.name == part), None) if here else None
        if found is None:
            return f"there is no {part}"
        here, listed = found.type, found.repeated
    return ""


def _never(row: "Rewrite") -> _Keys:
    """What no message of an action that is named may say, or be without: all of them would be lost."""
    response = row.message == "answer"
    for action in filter(plain, row.actions):
        for key, path, value in (*_values(row), *(("remove", path, None) for path in row.remove)):
            names = [part for part in path_of(path) if isinstance(part, str)]
            if len(names) == len(path_of(path)) and (wrong := against(action, response, names, value)):
                yield (key, path) if key != "remove" else (key,), f"{title_of(action, response)} {path[:80]}: {wrong}"


def _values(row: "Rewrite") -> list[tuple[str, str, object]]:
    values = [("set", path, canonical(value)) for path, value in row.set.items()]
    return values + [("map", path, canonical(value)) for path, words in row.map.items() for value in words.values()]


def _tags(row: "Rewrite") -> _Keys:
    for key, path, value in _values(row):
        if path.rpartition(".")[2] in _TAGS and not (isinstance(value, str) and 0 < len(value) <= LONGEST_TAG):
            yield (key, path), f"expected text of 1 to {LONGEST_TAG} characters for an idTag"


def _undone(row: "Rewrite") -> _Keys:
    """Values that a row sets, and changes by other means too."""
    for key, path in _paths(row):
        if key != "set" and path in row.set:
            yield (key,), f"expected no {path}, set says what it is"


def _together(one: "Rewrite", other: "Rewrite", names: list[str]) -> bool:
    """Whether some message fits both rows."""
    return (
        (one.direction, one.message) == (other.direction, other.message)
        and bool(set(chosen(one.backends, names)) & set(chosen(other.backends, names)))
        and meet(one.chargers, other.chargers)
        and any(meet(a, b) for a in one.actions for b in other.actions)
    )


def _both(one: "Rewrite", other: "Rewrite") -> Iterator[tuple[str, str]]:
    """Paths, by their keys in the other row, that both touch, and one of them sets."""
    touched = {path for _, path in _paths(one)}
    for key, path in _paths(other):
        if path in touched and (key == "set" or path in one.set):
            yield key, path

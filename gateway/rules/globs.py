"""Globs as the configuration has them: `*`, `?` and `[...]`, whatever the case; and what two of them have in common."""

from collections.abc import Iterable
from fnmatch import fnmatchcase

_WILD = frozenset("*?[")


def fits(glob: str, name: str) -> bool:
    """Whether a glob takes this name."""
    return fnmatchcase(name.casefold(), glob.casefold())


def plain(glob: str) -> bool:
    """Whether it stands for one name alone."""
    return _WILD.isdisjoint(glob)


def chosen(globs: Iterable[str], names: Iterable[str]) -> list[str]:
    """The names that one of the globs takes."""
    globs = tuple(globs)
    return [name for name in names if any(fits(glob, name) for glob in globs)]


def covers(wide: str, narrow: str) -> bool:
    """Whether all that `narrow` takes is taken by `wide`. Where that is not easily seen: no."""
    if wide == "*" or wide.casefold() == narrow.casefold():
        return True
    if plain(narrow):
        return fits(wide, narrow)
    # A star may stand for the other one's stars, a question mark for its question marks: the glob is read as if it were a name.
    readable = "[" not in wide + narrow and not ("?" in wide and "*" in narrow)
    return readable and fits(wide, narrow)


def meet(one: str, other: str) -> bool:
    """Whether some name is taken by both. Where that is not easily seen: no."""
    if covers(one, other) or covers(other, one):
        return True
    return "[" not in one + other and _common(one.casefold(), other.casefold())


def _common(one: str, other: str) -> bool:
    """Step by step through `other`: at which places in `one` a common beginning may have arrived."""
    places = _through_stars({0}, one)
    for sign in other:
        if sign == "*":
            places = set(range(min(places), len(one) + 1))
        else:
            places = _through_stars({after for place in places for after in _after(place, sign, one)}, one)
        if not places:
            return False
    return len(one) in places


def _after(place: int, sign: str, glob: str) -> Iterable[int]:
    if place < len(glob) and (glob[place] == "*" or "?" in (glob[place], sign) or glob[place] == sign):
        yield place if glob[place] == "*" else place + 1


def _through_stars(places: set[int], glob: str) -> set[int]:
    """Stars may stand for nothing."""
    found = set(places)
    for place in places:
        while place < len(glob) and glob[place] == "*":
            place += 1
            found.add(place)
    return found

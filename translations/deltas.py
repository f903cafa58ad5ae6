"""How a version differs from the canonical form, compiled with its contract into shapes that are read both ways.

A shape stands for a type of the contract, a slot for a field of it. The rows of `ocpp<v>.toml` are the few verbs in
which versions differ: rename, text, flatten, wrap (with means and scale), assume, and for shapes that only chargers have
also, spread and unwrap; for enumerations same, spelling, up, guess, older, down, keep, extra, otherwise, unknown. A field or
value that one side lacks needs no row: it is dropped, and remarked.
"""

import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from itertools import pairwise
from types import MappingProxyType
from typing import Any

from translations.contracts import Contract, Field, Type, contract
from translations.leaves import READERS, WRITERS, Reader, Writer
from translations.messages import Kind, Side, Version, title_of

PREFIXES: Mapping[Side, str] = MappingProxyType({Side.CENTRAL_SYSTEM: "cs", Side.CHARGE_POINT: "cp"})


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """The values of one enumeration on both wires. What is in no table is not known."""

    up: Mapping[str, str]
    down: Mapping[str, str]
    up_marked: Mapping[str, tuple[str, Kind]] = field(default_factory=dict)
    down_changed: Mapping[str, str] = field(default_factory=dict)
    canonical: frozenset[str] = frozenset()
    keep: tuple[str, ...] = ()
    otherwise: str = "refuse"
    unknown: str = "refuse"


Row = tuple["Slot", str, int, "Shape | None", bool, Any, Reader, int]
Line = tuple["Slot", str, bool, Mapping[str, str] | None, Writer, str, str]


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """One field. `wire` and `name` are what it is called there and in the canonical form; without a name only the wire has it.

    `place` and `order` are where it stands there and in the canonical form.
    """

    wire: str
    name: str
    order: int
    place: int
    base: str
    required: bool
    repeated: bool
    rule: str
    leaf: Reader
    pen: Writer
    limit: int | None = None
    wire_limit: int | None = None
    cut: bool = True
    event: bool = False
    verbatim: bool = False
    filled: bool = False
    assumed: bool = False
    words: Words | None = None
    shape: "Shape | None" = None
    flatten: str = ""
    unwrap: tuple[str, ...] = ()
    wrap: str = ""
    open: str = ""
    close: str = ""

    @property
    def odd(self) -> bool:
        """Whether its value cannot simply stand under its name."""
        return bool(self.wrap) or not self.name or self.repeated

    @property
    def plain(self) -> int:
        """The most characters of a text that needs no other look; 0 where every value does."""
        text = self.base in ("string", "anyURI") and self.words is None and not self.verbatim
        return 2**31 if text and self.limit is None else self.limit or 0 if text else 0

    def around(self, names: Collection[str], inner: "Shape") -> Collection[str]:
        """Those of an item's names, in lower case, that are wrappers; what has fields of its own is an item itself."""
        return () if inner.by_local.keys() & names else {self.flatten, *self.unwrap}.intersection(names)

    def line(self) -> Line:
        """What the writer needs of it at every field; the flag says that it holds more than one value."""
        words = self.words.down if self.words else None
        return self, self.name, self.repeated or self.shape is not None, words, self.pen, self.open, self.close

    def row(self) -> Row:
        """What the reader needs of it at every element, in one look-up."""
        words = self.words.up if self.words else None
        return self, self.name, self.order, self.shape, self.repeated or self.odd, words, self.leaf, self.plain


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """One type. `rows` finds a child's slot by its qualified name, `by_local` by its local name in lower case.

    `also` finds, by local name in lower case, what stands there in other shapes that peers send: an alias, or a field that
    only the canonical form has. `spread` is the field beside which peers put what belongs into its items, `beside` their shape.
    `aligned`: its fields stand in canonical order on the wire too. `sample`: an item that a list can go without; `holds` is
    the field with such items. `keep`: fields for the original of an unknown word, with their limits.
    """

    name: str
    slots: tuple[Slot, ...]
    lines: tuple[Line, ...]
    rows: Mapping[str, Row]
    by_local: Mapping[str, Slot]
    names: tuple[str, ...]
    required: frozenset[str]
    also: Mapping[str, Slot] = field(default_factory=dict)
    spread: Slot | None = None
    beside: "Shape | None" = None
    text: Slot | None = None
    attributes: tuple[Slot, ...] = ()
    marks: tuple[tuple[Slot, str, str, Mapping[str, str]], ...] = ()
    keepers: tuple[Slot, ...] = ()
    assume: Mapping[str, Any] = field(default_factory=dict)
    wrapped: Slot | None = None
    means: Mapping[str, str] = field(default_factory=dict)
    scale: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    rule: str = ""
    aligned: bool = True
    sample: bool = False
    holds: str = ""
    keep: Mapping[str, int | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Form:
    """One message of one version: what it is, and its shape."""

    version: Version
    side: Side
    action: str
    response: bool
    element: str
    shape: Shape
    title: str


@dataclass(frozen=True, slots=True, eq=False)
class Dialect:
    """All messages of one service of one version."""

    contract: Contract
    requests: Mapping[str, Form]
    responses: Mapping[str, Form]
    by_tag: Mapping[str, Form]


@cache
def rows(version: Version) -> Mapping[str, Any]:
    """The rows of `ocpp<version>.toml`."""
    name = f"ocpp{version.replace('.', '')}.toml"
    return MappingProxyType(tomllib.loads((files("translations") / name).read_text("utf-8")))


@cache
def json_only(side: Side) -> frozenset[str]:
    """Actions of OCPP 1.6 that exist over JSON alone."""
    return frozenset(rows(Version.V16)["json"][side])


@cache
def known_actions(side: Side) -> frozenset[str]:
    """Every action of OCPP 1.6 JSON that is addressed to this side."""
    return frozenset(contract(Version.V16, side).requests) | json_only(side)


@cache
def dialect(version: Version, side: Side, prefix: str = "") -> Dialect:
    """One service of one version, compiled; written with this prefix instead of the usual one."""
    spoken, canon = contract(version, side), contract(Version.V16, side)
    forms: dict[bool, dict[str, Form]] = {False: {}, True: {}}
    for response, elements, canonical in (
        (False, spoken.requests, canon.requests),
        (True, spoken.responses, canon.responses),
    ):
        for action, element in elements.items():
            shape = _Compiler(spoken, prefix or PREFIXES[side]).shape(spoken.messages[element], canon.messages[canonical[action]])
            forms[response][action] = Form(version, side, action, response, element, shape, title_of(action, response))
    by_tag = {f"{{{spoken.namespace}}}{f.element}": f for way in forms.values() for f in way.values()}
    return Dialect(spoken, MappingProxyType(forms[False]), MappingProxyType(forms[True]), MappingProxyType(by_tag))


@dataclass
class _Compiler:
    spoken: Contract
    prefix: str
    namespace: str = ""  # of another contract, in whose messages these types stand
    rows: Mapping[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.rows = rows(self.spoken.version)
        self._text, self._common = rows(Version.V16)["text"], rows(Version.V16)["missing"]
        self._short = f"ocpp{self.spoken.version.replace('.', '')}"
        self._newest = self.spoken.version is Version.V16

    def shape(self, wire: Type, canon: Type) -> Shape:
        deltas = self._types.get(wire.name, {})
        if wire.attributes:
            return self._text_shape(wire, canon, deltas)
        names = [f.name for f in canon.fields]
        deltas = self._assuming(wire, canon, deltas)
        slots = tuple(self._slot(f, canon, wire, deltas) for f in wire.fields)
        also = self._also(slots, wire, canon, deltas)
        return Shape(
            wire.name,
            slots,
            tuple(s.line() for s in slots if s.name),
            {f"{{{self.namespace or self.spoken.namespace}}}{s.wire}": s.row() for s in slots},
            MappingProxyType({s.wire.lower(): s for s in slots}),
            tuple(names),
            frozenset(s.name for s in slots if s.required and s.name)
            | frozenset(f.name for f in canon.fields if f.required and f.name in {s.name for s in slots})
            | frozenset(deltas.get("assume", {})),
            also=also,
            spread=(spread := next((s for s in slots if s.wire == deltas.get("spread")), None)),
            beside=(spread.shape or also[spread.name.lower()].shape) if spread else None,
            keepers=tuple(s for s in slots if s.words and set(s.words.keep[:1]) & {x.wire for x in slots}),
            assume=MappingProxyType(deltas.get("assume", {})),
            wrapped=next((s for s in slots if s.wrap), None),
            means=MappingProxyType(deltas.get("means", {})),
            scale=MappingProxyType(deltas.get("scale", {})),
            rule=f"{self._short}.{wire.name}",
            aligned=all(a.order <= b.order for a, b in pairwise(slots)),
            sample=_is_sample(slots),
            holds=next((s.name for s in slots if s.wrap or (s.shape and s.shape.sample)), ""),
            keep=_kept(slots, canon),
        )

    def _text_shape(self, wire: Type, canon: Type, deltas: Mapping[str, Any]) -> Shape:
        by_name = {f.name: f for f in canon.fields}
        names = list(by_name)
        text = Field(deltas["text"], Type("", base=wire.base), True, False)
        slots = [self._slot(f, canon, wire, deltas, attribute=True) for f in wire.attributes]
        value = self._slot(text, canon, wire, deltas)
        return Shape(
            wire.name,
            (),
            tuple(s.line() for s in sorted(slots, key=lambda s: s.order)),
            {},
            MappingProxyType({s.wire.lower(): s for s in slots}),
            tuple(names),
            frozenset(s.name for s in slots if s.required) | {value.name},
            also={**self._also((*slots, value), wire, canon, deltas), value.name.lower(): value},
            text=value,
            attributes=tuple(sorted(slots, key=lambda s: s.order)),
            marks=tuple((s, s.wire, s.name, s.words.up if s.words else {}) for s in sorted(slots, key=lambda s: s.order)),
            rule=f"{self._short}.{wire.name}",
            sample=_is_sample(slots),
        )

    def _also(self, slots: Iterable[Slot], wire: Type, canon: Type, deltas: Mapping[str, Any]) -> Mapping[str, Slot]:
        """What may stand in this type besides its own: fields of 1.6 that it lacks, and names that peers give to its own."""
        own = {s.wire: s for s in slots}
        lacking = [f for f in canon.fields if f.name not in own and not self._newest]
        newer = _Compiler(contract(Version.V16, self.spoken.side), self.prefix, self.spoken.namespace)
        found = {f.name.lower(): newer._slot(f, canon, canon, newer._types.get(canon.name, {})) for f in lacking}
        return found | {name.lower(): own[wanted] for name, wanted in deltas.get("also", {}).items()}

    @property
    def _types(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.rows.get("types", {})
        return found

    def _assuming(self, wire: Type, canon: Type, deltas: Mapping[str, Any]) -> Mapping[str, Any]:
        """With what is taken in every version for what is missing."""
        common = self._common.get(wire.name, {}) if wire.name == canon.name else {}
        return {**deltas, "assume": {**common, **deltas.get("assume", {})}} if common else deltas

    def _slot(self, f: Field, canon: Type, owner: Type, deltas: Mapping[str, Any], attribute: bool = False) -> Slot:
        name = deltas.get("rename", {}).get(f.name) or deltas.get("wrap", {}).get(f.name) or f.name
        known = {c.name: i for i, c in enumerate(canon.fields)}
        target = canon.fields[known[name]].type if name in known else None
        flatten = deltas.get("flatten", {}).get(f.name, "")
        wrap = "value" if f.name in deltas.get("wrap", {}) else ""
        inner = next(x for x in f.type.fields if x.name == flatten).type if flatten else f.type
        nested = self.shape(inner, target) if target and (inner.fields or inner.attributes) else None
        start = f' {f.name}="' if attribute else f"<{self.prefix}:{f.name}>"
        return Slot(
            wire=f.name,
            name=name if target else "",
            order=known.get(name, len(known)),
            place=next((i for i, x in enumerate(owner.fields) if x is f), 0),
            base=f.type.base,
            required=f.required,
            repeated=f.repeated,
            rule=f"{self._short}.{owner.name}.{f.name}",
            leaf=READERS["sample" if wrap else f.type.base or "string"],
            pen=WRITERS[f.type.base or "string"],
            limit=target.max_length if target else None,
            wire_limit=f.type.max_length,
            cut=not target or {target.name, f"{owner.name}.{f.name}"}.isdisjoint(self._text["uncut"]),
            event=f.name in self._text["event"],
            verbatim=f"{owner.name}.{f.name}" in self._text["verbatim"],
            filled=f"{canon.name}.{name}" in self._text["filled"] or bool(target and target.name in self._text["uncut"]),
            assumed=name in deltas.get("assume", {}),
            words=self._words(f.type, target) if f.type.values and target else None,
            shape=nested,
            flatten=flatten,
            unwrap=tuple(name.lower() for name in deltas.get("unwrap", {}).get(f.name, ())),
            wrap=wrap,
            open=start,
            close='"' if attribute else f"</{self.prefix}:{f.name}>",
        )

    def _words(self, wire: Type, canon: Type) -> Words:
        deltas = self.rows.get("enums", {}).get(wire.name, {})
        same = deltas.get("same", {})
        spelling = deltas.get("spelling", {})
        up = {w: same.get(w, w) for w in wire.values if same.get(w, w) in canon.values}
        return Words(
            up,
            {c: w for w, c in up.items()} | spelling,
            MappingProxyType(
                {w: (c, Kind.CHANGED) for w, c in deltas.get("up", {}).items()}
                | {w: (c, Kind.ASSUMED) for w, c in deltas.get("guess", {}).items()}
                | {w: (c, Kind.REPAIRED) for w, c in deltas.get("older", {}).items()}
            ),
            MappingProxyType(deltas.get("down", {})),
            frozenset(canon.values) | frozenset(spelling) | frozenset(deltas.get("extra", ())),
            tuple(deltas.get("keep", ())),
            deltas.get("otherwise", "refuse"),
            deltas.get("unknown", deltas.get("otherwise", "refuse")),
        )


def _is_sample(slots: Iterable[Slot]) -> bool:
    return any(s.words is not None and s.words.unknown == "item" for s in slots)


def _kept(slots: Iterable[Slot], canon: Type) -> Mapping[str, int | None]:
    limits = {f.name: f.type.max_length for f in canon.fields}
    words = [s.words for s in slots if s.words is not None and s.words.unknown in s.words.canonical]
    return MappingProxyType({name: limits[name] for w in words for name in w.keep if name in limits})

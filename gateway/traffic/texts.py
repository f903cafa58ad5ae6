"""The index of what was said, where the configuration wants one: of the payloads of calls and answers, by three letters each.

It keeps no text and no order of letters, so that it stays small: it leads to candidates, whose payloads then are looked into.
"""

from gateway.traffic.fields import FIELDS
from gateway.traffic.frames import printable
from gateway.traffic.tree import And, Compare, Name, Tree

TABLE = "exchange_texts"
MADE = (
    f"""CREATE VIRTUAL TABLE {TABLE} USING fts5 (
        payload, result, content = '', detail = none, columnsize = 0, tokenize = 'trigram')""",
    # The first exchange that is in it.
    f"CREATE TABLE {TABLE}_since AS "  # noqa: S608 - a constant
    "SELECT coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'exchanges'), 0) + 1 AS id",
)
UNMADE = (f"DROP TABLE IF EXISTS {TABLE}", f"DROP TABLE IF EXISTS {TABLE}_since")
# Of exchanges `e`; what they said has to be told again for it to be forgotten.
ADDED = f"INSERT INTO {TABLE} (rowid, payload, result) SELECT e.id, e.payload, e.result FROM exchanges e WHERE "  # noqa: S608
FORGOTTEN = f"""INSERT INTO {TABLE} ({TABLE}, rowid, payload, result)
    SELECT 'delete', e.id, e.payload, e.result FROM exchanges e WHERE e.id >= (SELECT id FROM {TABLE}_since) AND """  # noqa: S608
CANDIDATES = f"e.id IN (SELECT rowid FROM {TABLE} WHERE {TABLE} MATCH ? AND rowid >= ? AND rowid <= ?)"  # noqa: S608
_ENOUGH = 24  # more threes than these tell little


def spoken_of(text: str) -> Tree:
    """The condition that the text was said."""
    return Compare(Name(FIELDS["text"]), "~", text)


def searched(tree: Tree) -> list[str]:
    """The texts that must have been said for the tree to hold."""
    if isinstance(tree, And):
        return [text for part in tree.parts for text in searched(part)]
    return [printable(str(tree.value))] if isinstance(tree, Compare) and tree.name.field.name == "text" else []


def names_text(tree: Tree) -> bool:
    """Whether it asks for what was said, wherever in it."""
    parts = getattr(tree, "parts", None) or ((tree.part,) if hasattr(tree, "part") else ())
    return any(map(names_text, parts)) or (hasattr(tree, "name") and tree.name.field.name == "text")


def match(texts: list[str]) -> str | None:
    """How the index is asked for all of them; None where they are too short for it."""
    threes = {text[n : n + 3] for text in texts for n in range(len(text) - 2)}
    told = sorted(three for three in threes if three.isprintable())[:_ENOUGH]
    return " AND ".join(f'"{three.replace(chr(34), chr(34) * 2)}"' for three in told) or None

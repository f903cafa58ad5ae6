"""The tables of idTags that were accepted lately, by keyed digest, and of the key: neither says which idTags they are."""

import secrets

from gateway.state.ledger import Ledger
from gateway.state.store import Row

KEY_SIZE = 32  # bytes
_KEY = "SELECT value FROM secrets WHERE name = 'tags'"
_MAKE = "INSERT OR REPLACE INTO secrets VALUES ('tags', ?)"
_NEWEST = "SELECT key, at, until FROM tags WHERE until > ? ORDER BY at DESC LIMIT ?"
_ACCEPT = "INSERT OR REPLACE INTO tags VALUES (?, ?, ?)"
_FORGET = "DELETE FROM tags WHERE key = ?"
_PRUNE = "DELETE FROM tags WHERE until <= ? OR at < ?"


async def key(ledger: Ledger) -> bytes:
    """The key of the digests; made, and on disk, if there is none yet. Raises StateError."""
    if rows := await ledger.read(_KEY):
        return bytes(rows[0][0])
    made = secrets.token_bytes(KEY_SIZE)
    await ledger.accept([(_MAKE, (made,))])
    return made


async def newest(ledger: Ledger, now: float, most: int) -> dict[bytes, float]:
    """Digests and until when each holds (unix seconds), of so many accepted last at most, the newest last.

    All others are forgotten on disk too, by and by. Raises StateError.
    """
    rows = await ledger.read(_NEWEST, (now, most))
    oldest = rows[-1][1] if len(rows) == most else 0.0
    ledger.note(rows=[(_PRUNE, (now, oldest))])
    return {digest: until for digest, _, until in reversed(rows)}


def accepted(digest: bytes, at: float, until: float) -> Row:
    """It was accepted at, and holds until (unix seconds)."""
    return _ACCEPT, (digest, at, until)


def forgotten(digest: bytes) -> Row:
    """It is not accepted any more."""
    return _FORGET, (digest,)

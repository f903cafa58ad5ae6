"""gateway.state.tags: what of accepted idTags is on disk, as sqlite3 sees it."""

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gateway.state import tags
from gateway.state.ledger import Ledger
from gateway.state.store import StateError, StateStore

NOW = 1_714_550_400.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


@pytest.fixture
async def ledger(path: Path) -> AsyncIterator[Ledger]:
    store = StateStore(path)
    store.open()
    ledger = Ledger(store, 3600, lambda: NOW)
    await ledger.open(100)
    yield ledger
    await ledger.close()
    store.close()


def rows(path: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


async def remember(ledger: Ledger, *seen: tuple[bytes, float, float]) -> None:
    await ledger.keep(rows=[tags.accepted(*each) for each in seen])


async def test_the_key_is_made_once_and_is_on_disk(ledger: Ledger, path: Path) -> None:
    made = await tags.key(ledger)
    assert rows(path, "SELECT name, value FROM secrets") == [("tags", made)]
    assert await tags.key(ledger) == made
    assert len(made) == 32


async def test_a_key_that_cannot_be_stored_is_an_error(ledger: Ledger) -> None:
    await ledger.close()
    with pytest.raises(StateError):
        await tags.key(ledger)


@pytest.mark.parametrize(("most", "kept"), [(9, [b"c", b"a", b"d"]), (3, [b"c", b"a", b"d"]), (2, [b"a", b"d"])])
async def test_the_newest_that_have_not_expired_are_known_and_all_others_forgotten(
    ledger: Ledger, path: Path, most: int, kept: Sequence[bytes]
) -> None:
    await remember(ledger, (b"a", 3, NOW + 1), (b"b", 9, NOW), (b"c", 2, NOW + 9), (b"d", 5, NOW + 2))
    known = await tags.newest(ledger, NOW, most)
    await ledger.keep()  # what was noted before is on disk
    assert list(known) == kept
    assert rows(path, "SELECT key FROM tags ORDER BY at") == [(digest,) for digest in kept]


async def test_a_digest_is_there_once_and_can_be_forgotten(ledger: Ledger, path: Path) -> None:
    await remember(ledger, (b"a", 1.0, 2.0), (b"a", 3.0, 4.0), (b"b", 5.0, 6.0))
    assert rows(path, "SELECT * FROM tags") == [(b"a", 3.0, 4.0), (b"b", 5.0, 6.0)]
    await ledger.keep(rows=[tags.forgotten(b"a")])
    assert rows(path, "SELECT key FROM tags") == [(b"b",)]

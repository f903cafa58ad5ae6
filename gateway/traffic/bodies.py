"""What was said, packed: the bodies of many exchanges in one block, compressed together where that pays.

Chargers say the same things again and again, so that a block of many is a fraction of its parts compressed one by one, and
compressing many at once gives up the interpreter's lock once instead of for each.
"""

import zlib
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import msgspec

PARTS, BYTES = 128, 1 << 18  # of a block, about
_PAYS = 0.9

Four = tuple[bytes | None, bytes | None, bytes | None, bytes | None]
"""Of a leg: raw call, raw answer, canonical call, canonical answer."""

NONE: Four = (None, None, None, None)

_pack = msgspec.msgpack.Encoder().encode
_parts = msgspec.msgpack.Decoder(list[msgspec.Raw]).decode
_four = msgspec.msgpack.Decoder(Four).decode
# As a migration writes them in SQL: of a single leg, the raw ones in hexadecimal.
_read_migrated = msgspec.json.Decoder(tuple[str | None, str | None, str | None, str | None]).decode


class Place(NamedTuple):
    """Where the bodies of a leg lie: in which block, and as which of its parts."""

    block: int
    part: int


def packed(fours: Sequence[Four], compress: bool) -> bytes:
    """One block; its first byte says how it is packed."""
    plain = _pack(fours)
    if compress and len(plain) > 64:
        small = zlib.compress(plain, 1)
        if len(small) < _PAYS * len(plain):
            return b"Z" + small
    return b"P" + plain


def without(block: bytes, gone: Collection[int]) -> bytes | None:
    """The block without what lies in these places; None where nothing is left. All others lie where they were."""
    if block[:1] == b"J":
        return None
    fours = [NONE if part in gone else _four(said) for part, said in enumerate(_parts(_plain(block)))]
    return packed(fours, block[:1] == b"Z") if any(four != NONE for four in fours) else None


class Reader:
    """Finds bodies in blocks, each of which is unpacked once, and only where it is asked for."""

    def __init__(self, blocks: Mapping[int, bytes]) -> None:
        self._blocks = blocks
        self._parts: dict[int, list[msgspec.Raw]] = {}

    def __call__(self, place: Place) -> Four:
        """The bodies that lie there; none where the block is gone."""
        block = self._blocks.get(place.block)
        if block is None:
            return NONE
        if block[:1] == b"J":
            return _migrated(block)
        if place.block not in self._parts:
            self._parts[place.block] = _parts(_plain(block))
        found: Four = _four(self._parts[place.block][place.part])
        return found


def _plain(block: bytes) -> bytes:
    return zlib.decompress(memoryview(block)[1:]) if block[:1] == b"Z" else block[1:]


def _migrated(block: bytes) -> Four:
    call, answer, heard, said = _read_migrated(memoryview(block)[1:])
    return (
        bytes.fromhex(call or ""),
        bytes.fromhex(answer or ""),
        heard.encode() if heard else None,
        said.encode() if said else None,
    )

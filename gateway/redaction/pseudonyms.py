"""Names that stand for what is hidden: the same for the same value, so that joins still work; without the key no way back."""

import os
import secrets
from base64 import b32encode
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

from gateway.redaction.fields import HOST, SECRET, TAG

KEY_SIZE = 32
_SIZE = 10  # characters; with `idtag:` before them they fit into an idTag (20), and 50 bits part a million of them
_FORMS = {TAG: "idtag:{}", SECRET: "secret:{}", HOST: "host-{}"}
FORM = r"(?:(?:idtag|secret):[A-Z2-7]{10}|host-[a-z2-7]{10})"


class KeyFileError(OSError):
    """The key cannot be read or made; the text says why."""


class Pseudonyms:
    """Pseudonyms of one installation. Raises KeyFileError for a key of another size."""

    def __init__(self, key: bytes) -> None:
        if len(key) != KEY_SIZE:
            raise KeyFileError(f"expected a key of {KEY_SIZE} bytes, got {len(key)}")
        self._key = key
        self.of = lru_cache(maxsize=8192)(self._of)

    def _of(self, kind: str, value: str) -> str:
        """What stands for a value. Case and spaces around it do not count for idTags (OCPP 1.6, 7.29), nor case for hosts."""
        plain = value if kind == SECRET else value.strip().casefold()
        digest = blake2b(plain.encode("utf-8", "surrogatepass"), key=self._key, person=kind.encode(), digest_size=10).digest()
        name = _FORMS[kind].format(b32encode(digest).decode()[:_SIZE])
        return name.lower() if kind == HOST else name


def key_from(path: Path) -> bytes:
    """The key in that file, which is made by the first who needs it, for its owner alone. Raises KeyFileError."""
    try:
        if not path.exists():
            _make(path)
        key = path.read_bytes()
    except OSError as error:
        raise KeyFileError(f"{path}: cannot be read or made: {(error.strerror or str(error)).lower()}") from None
    if len(key) != KEY_SIZE:
        raise KeyFileError(f"{path}: expected a key of {KEY_SIZE} bytes, got {len(key)}")
    return key


def _make(path: Path) -> None:
    """Whole or not at all, whoever else makes it at the same time: a link takes no name that is taken."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    file = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(file, "wb") as opened:
            opened.write(secrets.token_bytes(KEY_SIZE))
            opened.flush()
            os.fsync(opened.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass  # another one was quicker
    finally:
        draft.unlink()

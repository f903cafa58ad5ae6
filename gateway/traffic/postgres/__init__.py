"""The traffic log in PostgreSQL, partitioned by day: the same faces as the SQLite file.

The driver is imported when a log is opened, so that those who keep a file need none.
"""

from typing import TYPE_CHECKING

from gateway.traffic.log import LogError

if TYPE_CHECKING:
    from gateway.traffic.postgres.reader import PostgresLog
    from gateway.traffic.postgres.writer import PostgresWriter

_NO_DRIVER = 'expected the package psycopg: pip install "ocpp-gateway[postgres]"'


def open_to_read(url: str) -> "PostgresLog":
    """The log of the database to which the connection string leads. Raises LogError."""
    try:
        from gateway.traffic.postgres.reader import opened
    except ImportError:
        raise LogError(_NO_DRIVER) from None
    return opened(url)


def open_to_write(url: str, *, full_text: bool = False, compress: bool = True) -> "PostgresWriter":
    """The same, for the one thread that writes; what is not there yet is made. Raises LogError."""
    try:
        from gateway.traffic.postgres.writer import PostgresWriter
    except ImportError:
        raise LogError(_NO_DRIVER) from None
    return PostgresWriter(url, full_text=full_text, compress=compress)

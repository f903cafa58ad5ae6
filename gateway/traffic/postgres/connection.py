"""One connection to the database, what it must never tell, and what goes wrong on it, in words."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from gateway.traffic.frames import printable
from gateway.traffic.log import FormatError as FormatError
from gateway.traffic.log import Interrupted, LogError, Unfit

NAMESPACE = "ocpp_traffic"  # the schema that holds the log, so that it can live beside other things
CONNECT_TIMEOUT = 5  # seconds

Connection = psycopg.Connection[tuple[object, ...]]

_FORM = "expected a connection string like postgresql://user@host/database"
# A peer that is gone is noticed within seconds, and not when the kernel gives up.
_WATCHED = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 20_000}
_SETTINGS = (
    f"SET search_path TO {NAMESPACE}",
    "SET jit TO off",  # compiling takes longer than these questions do
    "SET enable_partitionwise_join TO on",  # each day by what is known of it; the server learns nothing of all days together
    "SET client_min_messages TO warning",
    "SET timezone TO 'UTC'",
)


def connect(url: str, timeout: float) -> Connection:
    """A connection that commits each statement and gives each up after so many seconds. Raises LogError."""
    with reasons():
        connection = psycopg.connect(_checked(url), autocommit=True, prepare_threshold=None)
        try:
            for setting in (*_SETTINGS, f"SET statement_timeout TO {int(timeout * 1000)}"):
                connection.execute(setting)
        except BaseException:
            connection.close()
            raise
        return connection


def kept(text: str) -> str:
    """The text as the database can hold it: it has no U+0000, and no half of a character."""
    return printable(text.replace("\0", "\ufffd"))


def _checked(url: str) -> str:
    """The connection string with our deadlines. No complaint of the driver's is passed on that would repeat a password."""
    try:
        parts = conninfo_to_dict(url)
    except psycopg.ProgrammingError:
        raise LogError(_FORM) from None
    if "@" in str(parts.get("host", "")):
        raise LogError(f'{_FORM}, with each "@" of a password written as %40')
    ours: dict[str, str | int] = {"connect_timeout": CONNECT_TIMEOUT, "application_name": "ocpp-gateway", **_WATCHED}
    return make_conninfo(url, **{key: value for key, value in ours.items() if key not in parts})


@contextmanager
def reasons(wish: str = "a narrower filter") -> Iterator[None]:
    """What goes wrong in the database, in words; `wish`: what would help where it takes too long."""
    try:
        yield
    except psycopg.errors.QueryCanceled:
        raise Interrupted(f"the traffic log gave no answer in time: expected {wish}") from None
    except psycopg.errors.CheckViolation as error:  # the partition of a day is gone; it is made again
        raise LogError(_words(error)) from None
    except (psycopg.DataError, psycopg.IntegrityError, psycopg.errors.ProgramLimitExceeded) as error:
        raise Unfit(_words(error)) from None
    except psycopg.Error as error:
        raise LogError(_words(error)) from None


def _words(error: psycopg.Error) -> str:
    """The first line of what the server says; further ones may hold what was to be stored."""
    text = (error.diag.message_primary or str(error) or type(error).__name__).strip().splitlines()[0]
    return text[:1].lower() + text[1:]

"""The tables: how they are made and brought up to date, and their partitions, one a day of UTC."""

import math
from datetime import UTC, datetime, timedelta

from gateway.traffic.log import Unfit
from gateway.traffic.postgres.connection import NAMESPACE, Connection, FormatError

DAY = 86_400.0
EARLY, LATE = -1, 2_932_896  # all days before 1970, and all from the year 10000 on: clocks say such things
TABLES = ("exchanges", "legs", "bodies")

_LOCK = 0x0C9974AFF1C  # what whoever writes holds until it commits, so that ids appear in their order
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Texts are compared by their bytes. Those that are looked for without case have an index on what the filter language asks for.
# Entry n brings a log of format n to format n + 1; entries that were released are never changed.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        "CREATE SEQUENCE exchange_ids",
        "CREATE SEQUENCE block_ids",
        # `texts`: whether there is an index of all that was said on that day.
        "CREATE TABLE days (day INTEGER PRIMARY KEY, texts BOOLEAN NOT NULL)",
        # What is said, by three letters each, as the index has it; PostgreSQL's own trigrams know of words alone, and are an
        # extension. It costs what it says: nothing but the index should ever need it.
        """CREATE FUNCTION threes (said TEXT) RETURNS TEXT[] LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 10000 RETURN (
            SELECT array_agg(DISTINCT three) FROM (
                SELECT letter || lead(letter, 1) OVER on_from_here || lead(letter, 2) OVER on_from_here AS three
                FROM string_to_table(lower(said COLLATE "C"), NULL) WITH ORDINALITY AS letters (letter, place)
                WINDOW on_from_here AS (ORDER BY place)
            ) AS told WHERE three IS NOT NULL
        )""",
        """CREATE TABLE exchanges (
            id BIGINT NOT NULL,
            name TEXT COLLATE "C" NOT NULL,
            at DOUBLE PRECISION NOT NULL,
            charger TEXT COLLATE "C" NOT NULL,
            tenant TEXT COLLATE "C" NOT NULL,
            action TEXT COLLATE "C" NOT NULL,
            up BOOLEAN NOT NULL,
            outcome TEXT COLLATE "C" NOT NULL,
            latency DOUBLE PRECISION,
            connector BIGINT,
            transaction_id BIGINT,
            severity SMALLINT NOT NULL,
            findings TEXT COLLATE "C",
            payload TEXT COLLATE "C",
            result TEXT COLLATE "C",
            PRIMARY KEY (id, at)
        ) PARTITION BY RANGE (at)""",
        """CREATE TABLE legs (
            exchange BIGINT NOT NULL,
            position INTEGER NOT NULL,
            name TEXT COLLATE "C" NOT NULL,
            attempt INTEGER NOT NULL,
            at DOUBLE PRECISION NOT NULL,
            inward BOOLEAN NOT NULL,
            wire TEXT COLLATE "C" NOT NULL,
            version TEXT COLLATE "C" NOT NULL,
            peer TEXT COLLATE "C" NOT NULL,
            outcome TEXT COLLATE "C" NOT NULL,
            refused BOOLEAN NOT NULL,
            latency DOUBLE PRECISION,
            lost INTEGER NOT NULL,
            changed INTEGER NOT NULL,
            assumed INTEGER NOT NULL,
            repaired INTEGER NOT NULL,
            remarks TEXT COLLATE "C",
            message_id TEXT COLLATE "C" NOT NULL,
            answer_id TEXT COLLATE "C" NOT NULL,
            call_note TEXT COLLATE "C" NOT NULL,
            answer_note TEXT COLLATE "C" NOT NULL,
            call_at DOUBLE PRECISION,
            answer_at DOUBLE PRECISION,
            headers TEXT COLLATE "C",
            block BIGINT,
            part INTEGER,
            note TEXT COLLATE "C" GENERATED ALWAYS AS (CASE answer_note WHEN '' THEN call_note ELSE answer_note END) STORED,
            PRIMARY KEY (exchange, position, at)
        ) PARTITION BY RANGE (at)""",
        # `at` is that of the first exchange with bodies in the block; all of them are of one day.
        """CREATE TABLE bodies (
            id BIGINT NOT NULL, at DOUBLE PRECISION NOT NULL, data BYTEA NOT NULL, PRIMARY KEY (id, at)
        ) PARTITION BY RANGE (at)""",
        "ALTER TABLE bodies ALTER COLUMN data SET STORAGE EXTERNAL",  # compressed already
        "CREATE INDEX exchanges_at ON exchanges (at, id)",
        "CREATE INDEX exchanges_name ON exchanges (name)",
        'CREATE INDEX exchanges_charger ON exchanges (lower(charger COLLATE "C"), at)',
        'CREATE INDEX exchanges_action ON exchanges (lower(action COLLATE "C"), at)',
        'CREATE INDEX exchanges_outcome ON exchanges (lower(outcome COLLATE "C"), at)',
        "CREATE INDEX exchanges_latency ON exchanges (latency)",
        # Of no cost to what has none of these.
        "CREATE INDEX exchanges_failed ON exchanges (at) WHERE outcome <> 'ok'",
        "CREATE INDEX exchanges_severity ON exchanges (severity, at) WHERE severity > 0",
        """CREATE INDEX exchanges_tenant ON exchanges (lower(tenant COLLATE "C"), at) WHERE tenant <> ''""",
        "CREATE INDEX exchanges_transaction ON exchanges (transaction_id, at) WHERE transaction_id IS NOT NULL",
        'CREATE INDEX legs_outcome ON legs (lower(name COLLATE "C"), lower(outcome COLLATE "C"), at)',
        'CREATE INDEX legs_latency ON legs (lower(name COLLATE "C"), latency)',
        "CREATE INDEX legs_lost ON legs (at) WHERE lost > 0",
        "CREATE INDEX legs_changed ON legs (at) WHERE changed > 0",
        "CREATE INDEX legs_assumed ON legs (at) WHERE assumed > 0",
        "CREATE INDEX legs_repaired ON legs (at) WHERE repaired > 0",
        "CREATE INDEX legs_refused ON legs (at) WHERE refused",
    ),
)
FORMAT = len(MIGRATIONS)


def lock(connection: Connection) -> None:
    """Until the end of the transaction nobody else writes."""
    connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))


def migrate(connection: Connection) -> None:
    """Bring the log up to date, all steps or none."""
    if format_of(connection) == FORMAT:
        return
    with connection.transaction():
        lock(connection)
        found = format_of(connection)
        if found > FORMAT:
            raise FormatError(f"expected a traffic log of format {FORMAT} or older, got format {found}")
        if not found:
            connection.execute(f"CREATE SCHEMA {NAMESPACE}")
            connection.execute("CREATE TABLE format (version INTEGER NOT NULL)")
        for statement in (statement for step in MIGRATIONS[found:] for statement in step):
            connection.execute(statement)
        connection.execute("DELETE FROM format")
        connection.execute("INSERT INTO format VALUES (%s)", (FORMAT,))


def format_of(connection: Connection) -> int:
    """The number of the log's format; 0 where there is none."""
    if connection.execute("SELECT to_regnamespace(%s)", (NAMESPACE,)).fetchone() == (None,):
        return 0
    if connection.execute("SELECT to_regclass(%s)", (f"{NAMESPACE}.format",)).fetchone() == (None,):
        raise FormatError(f"expected a traffic log in the schema {NAMESPACE}, got something else")
    found = connection.execute("SELECT max(version) FROM format").fetchone()
    return int(str(found[0])) if found else 0


def said(table: str = "") -> str:
    """All that an exchange says, as the index has it; the columns are those of that table."""
    return f"coalesce({table}payload, '') || ' ' || coalesce({table}result, '')"


# --- days


def day_of(at: float) -> int:
    """The number of the day, counted from 1970, in which that time lies. Raises Unfit."""
    if math.isnan(at):
        raise Unfit("expected a time, got nan")
    return int(min(max(at, EARLY * DAY), LATE * DAY) // DAY)


def end_of(day: int) -> float:
    """When that day is over."""
    return math.inf if day == LATE else (day + 1) * DAY


def partitions(day: int) -> tuple[str, ...]:
    """The names of that day's tables."""
    name = {EARLY: "early", LATE: "late"}.get(day) or f"{_EPOCH + timedelta(days=day):%Y_%m_%d}"
    return tuple(f"{table}_{name}" for table in TABLES)


def days(connection: Connection) -> list[int]:
    """The days that have partitions, the oldest first."""
    return [int(str(day)) for (day,) in connection.execute("SELECT day FROM days ORDER BY day")]


def searchable_since(connection: Connection) -> float:
    """From when on there is an index of all that was said."""
    found = connection.execute("SELECT max(day) FROM days WHERE NOT texts").fetchone()
    return -math.inf if found is None or found[0] is None else end_of(int(str(found[0])))


def make_day(connection: Connection, day: int, full_text: bool = False) -> None:
    """Its partitions, within a transaction. A table that is made by itself and then attached hinders nobody who reads."""
    low = "MINVALUE" if day == EARLY else f"'{day * DAY!r}'"
    high = "MAXVALUE" if day == LATE else f"'{end_of(day)!r}'"
    for table, partition in zip(TABLES, partitions(day), strict=True):
        connection.execute(f"CREATE TABLE {partition} (LIKE {table} INCLUDING ALL)")
        connection.execute(f"ALTER TABLE {table} ATTACH PARTITION {partition} FOR VALUES FROM ({low}) TO ({high})")
    if full_text:
        connection.execute(f"CREATE INDEX ON {partitions(day)[0]} USING gin (threes({said()}))")
    connection.execute("INSERT INTO days VALUES (%s, %s)", (day, full_text))


def drop_day(connection: Connection, day: int) -> None:
    """All that passed on that day, within a transaction."""
    connection.execute(f"DROP TABLE {', '.join(partitions(day))}")
    connection.execute("DELETE FROM days WHERE day = %s", (day,))

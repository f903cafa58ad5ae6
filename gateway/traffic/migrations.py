"""How a file of an older format becomes one of the newest: numbered steps, each in plain SQL.

The third brings messages, of which each was a row, together to exchanges. It reads the whole
log, once, before anything is written.
"""

SLOW = 0.25  # seconds; a latency above is in an index, as conditions say it too

# Messages without an exchange are one each. The nth call on a leg lies beside the nth answer; the exchange has the number of its
# first message, and so has each block of bodies, so that no number is ever used twice.
_MESSAGES_TO_EXCHANGES = (
    """CREATE TEMP TABLE halves AS
        SELECT *, row_number() OVER (PARTITION BY first, leg, answers ORDER BY id) AS attempt,
            CASE WHEN json_valid(frame) AND json_type(frame) = 'array' THEN frame END AS read
        FROM (
            SELECT *, CASE exchange WHEN '' THEN id ELSE min(id) OVER (PARTITION BY exchange) END AS first,
                kind IN ('result', 'error') OR (kind = 'refused' AND latency IS NOT NULL) AS answers,
                CASE WHEN canonical IS NOT NULL THEN canonical
                    WHEN wire = 'json' AND kind <> 'refused' THEN CAST(raw AS TEXT) END AS frame
            FROM messages
        )""",
    "CREATE INDEX temp.halves_leg ON halves (first, leg, attempt)",
    "CREATE INDEX temp.halves_id ON halves (id)",
    """CREATE TEMP TABLE pairs AS
        SELECT first, leg, attempt, min(id) AS id,
            max(CASE WHEN NOT answers THEN id END) AS call, max(CASE WHEN answers THEN id END) AS answer
        FROM halves GROUP BY first, leg, attempt""",
    "CREATE INDEX temp.pairs_first ON pairs (first, leg, attempt)",
    """INSERT INTO legs (
            exchange, position, name, attempt, at, inward, wire, version, peer, outcome, refused, latency,
            lost, changed, assumed, repaired, remarks, message_id, answer_id, call_note, answer_note, call_at, answer_at,
            headers, block, part)
        SELECT p.first, row_number() OVER (PARTITION BY p.first ORDER BY p.id) - 1, p.leg, p.attempt,
            (SELECT at FROM halves WHERE id = p.first), coalesce(c.direction = '<', a.direction = '>'),
            coalesce(c.wire, a.wire), coalesce(c.version, a.version), coalesce(c.peer, a.peer),
            CASE WHEN c.kind = 'refused' THEN c.outcome ELSE coalesce(a.outcome, '') END,
            coalesce(c.kind = 'refused', 0), a.latency, 0, 0, 0, 0,
            (SELECT json_group_array(json_array(half, kind, path, detail, rule)) FROM (
                SELECT 0 AS half, value ->> 'kind' AS kind, value ->> 'path' AS path, value ->> 'detail' AS detail,
                    value ->> 'rule' AS rule FROM json_each(c.remarks)
                UNION ALL SELECT 1, value ->> 'kind', value ->> 'path', value ->> 'detail', value ->> 'rule'
                    FROM json_each(a.remarks))),
            coalesce(c.message_id, ''), coalesce(a.message_id, ''), coalesce(c.note, ''), coalesce(a.note, ''), c.at, a.at,
            NULL, p.id, 0
        FROM pairs p LEFT JOIN halves c ON c.id = p.call LEFT JOIN halves a ON a.id = p.answer""",
    "UPDATE legs SET remarks = NULL WHERE remarks = '[]'",
    """UPDATE legs SET lost = (SELECT count(*) FROM json_each(remarks) WHERE value ->> 1 = 'lost'),
            changed = (SELECT count(*) FROM json_each(remarks) WHERE value ->> 1 = 'changed'),
            assumed = (SELECT count(*) FROM json_each(remarks) WHERE value ->> 1 = 'assumed'),
            repaired = (SELECT count(*) FROM json_each(remarks) WHERE value ->> 1 = 'repaired')
        WHERE remarks IS NOT NULL""",
    """INSERT INTO bodies SELECT p.id, p.first,
            CAST('J' || json_array(hex(c.raw), hex(a.raw), c.canonical, a.canonical) AS BLOB)
        FROM pairs p LEFT JOIN halves c ON c.id = p.call LEFT JOIN halves a ON a.id = p.answer""",
    """INSERT INTO exchanges
        SELECT m.id, m.exchange, m.at, m.charger, m.tenant, m.action, l.inward = (m.leg = 'charger'), l.outcome, l.latency,
            CASE WHEN json_type(h.read, '$[3].connectorId') = 'integer' THEN h.read ->> '$[3].connectorId' END,
            CASE WHEN json_type(h.read, '$[3].transactionId') = 'integer' THEN h.read ->> '$[3].transactionId'
                WHEN json_type(b.read, '$[2].transactionId') = 'integer' AND m.action = 'StartTransaction'
                    THEN b.read ->> '$[2].transactionId' END,
            0, NULL,
            CASE WHEN o.read ->> 0 = 2 THEN o.read -> 3 END,
            (SELECT read -> 2 FROM halves WHERE id = p.answer AND read ->> 0 = 3)
        FROM (SELECT DISTINCT first FROM pairs) f
        JOIN messages m ON m.id = f.first
        JOIN legs l ON l.exchange = f.first AND l.position = 0
        JOIN pairs p ON p.first = f.first AND p.leg = l.name AND p.attempt = l.attempt
        LEFT JOIN halves o ON o.id = p.call
        LEFT JOIN halves h ON h.id = (SELECT call FROM pairs WHERE first = f.first AND leg = 'charger' AND attempt = 1)
        LEFT JOIN halves b ON b.id = (SELECT answer FROM pairs WHERE first = f.first AND leg = 'charger' AND attempt = 1)""",
    "INSERT INTO sqlite_sequence SELECT 'exchanges', 0 WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = 'exchanges')",
    """UPDATE sqlite_sequence SET seq = max(seq, coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'messages'), 0))
        WHERE name = 'exchanges'""",
    "DROP TABLE temp.pairs",
    "DROP TABLE temp.halves",
    "DROP TABLE messages",
)

# Entry n brings a file of format n to format n + 1; entries that were released are never changed.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE messages (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            at REAL NOT NULL,
            exchange TEXT NOT NULL,
            charger TEXT NOT NULL,
            leg TEXT NOT NULL,
            direction TEXT NOT NULL,
            wire TEXT NOT NULL,
            version TEXT NOT NULL,
            kind TEXT NOT NULL,
            action TEXT NOT NULL,
            message_id TEXT NOT NULL,
            raw BLOB NOT NULL,
            canonical TEXT,
            remarks TEXT,
            outcome TEXT NOT NULL,
            latency REAL,
            peer TEXT NOT NULL,
            note TEXT NOT NULL
        )""",
        "CREATE INDEX messages_at ON messages (at)",
        "CREATE INDEX messages_charger_at ON messages (charger, at)",
        "CREATE INDEX messages_exchange ON messages (exchange)",
    ),
    (
        "ALTER TABLE messages ADD COLUMN tenant TEXT NOT NULL DEFAULT ''",
        # Of no cost to those who have no tenants.
        "CREATE INDEX messages_tenant_at ON messages (tenant COLLATE NOCASE, at) WHERE tenant <> ''",
    ),
    (
        """CREATE TABLE exchanges (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            name TEXT NOT NULL,
            at REAL NOT NULL,
            charger TEXT NOT NULL COLLATE NOCASE,
            tenant TEXT NOT NULL COLLATE NOCASE,
            action TEXT NOT NULL COLLATE NOCASE,
            up INTEGER NOT NULL,
            outcome TEXT NOT NULL COLLATE NOCASE,
            latency REAL,
            connector INTEGER,
            transaction_id INTEGER,
            severity INTEGER NOT NULL,
            findings TEXT,
            payload TEXT,
            result TEXT
        )""",
        """CREATE TABLE legs (
            exchange INTEGER NOT NULL REFERENCES exchanges (id),
            position INTEGER NOT NULL,
            name TEXT NOT NULL COLLATE NOCASE,
            attempt INTEGER NOT NULL,
            at REAL NOT NULL,
            inward INTEGER NOT NULL,
            wire TEXT NOT NULL,
            version TEXT NOT NULL,
            peer TEXT NOT NULL,
            outcome TEXT NOT NULL COLLATE NOCASE,
            refused INTEGER NOT NULL,
            latency REAL,
            lost INTEGER NOT NULL,
            changed INTEGER NOT NULL,
            assumed INTEGER NOT NULL,
            repaired INTEGER NOT NULL,
            remarks TEXT,
            message_id TEXT NOT NULL,
            answer_id TEXT NOT NULL,
            call_note TEXT NOT NULL,
            answer_note TEXT NOT NULL,
            call_at REAL,
            answer_at REAL,
            headers TEXT,
            block INTEGER,
            part INTEGER,
            note TEXT GENERATED ALWAYS AS (CASE answer_note WHEN '' THEN call_note ELSE answer_note END) VIRTUAL,
            PRIMARY KEY (exchange, position)
        ) WITHOUT ROWID""",
        # `newest` is the greatest exchange that has bodies in the block: when that one is gone, so is the block.
        "CREATE TABLE bodies (id INTEGER PRIMARY KEY, newest INTEGER NOT NULL, data BLOB NOT NULL)",
        "ANALYZE bodies",  # makes the table of what is known of indices
        *_MESSAGES_TO_EXCHANGES,
        "CREATE INDEX exchanges_at ON exchanges (at)",
        "CREATE INDEX exchanges_name ON exchanges (name)",
        "CREATE INDEX exchanges_charger_at ON exchanges (charger, at)",
        "CREATE INDEX exchanges_action_at ON exchanges (action, at)",
        "CREATE INDEX exchanges_outcome_at ON exchanges (outcome, at)",
        "CREATE INDEX exchanges_severity_at ON exchanges (severity, at)",
        # Of no cost to what has none of these.
        "CREATE INDEX exchanges_tenant_at ON exchanges (tenant, at) WHERE tenant <> ''",
        "CREATE INDEX exchanges_transaction_at ON exchanges (transaction_id, at) WHERE transaction_id IS NOT NULL",
        "CREATE INDEX legs_name_outcome_at ON legs (name, outcome, at)",
        # Only of what is slow: where the others would have their place is chance, and that makes writing them dear.
        f"CREATE INDEX exchanges_latency ON exchanges (latency) WHERE latency > {SLOW}",
        f"CREATE INDEX legs_name_latency ON legs (name, latency) WHERE latency > {SLOW}",
        "CREATE INDEX legs_lost_at ON legs (at) WHERE lost > 0",
        "CREATE INDEX legs_changed_at ON legs (at) WHERE changed > 0",
        "CREATE INDEX legs_assumed_at ON legs (at) WHERE assumed > 0",
        "CREATE INDEX legs_repaired_at ON legs (at) WHERE repaired > 0",
        "CREATE INDEX legs_refused_at ON legs (at) WHERE refused",
        "CREATE INDEX bodies_newest ON bodies (newest)",
        # How many rows an index holds, and how many share its first column, the first two, ...: as in a large log of a
        # fleet, so that every log is asked in the same way, and none has to be analyzed.
        """INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES
            ('exchanges', 'exchanges_at', '1000000 1'),
            ('exchanges', 'exchanges_name', '1000000 1'),
            ('exchanges', 'exchanges_charger_at', '1000000 200 1'),
            ('exchanges', 'exchanges_action_at', '1000000 30000 1'),
            ('exchanges', 'exchanges_outcome_at', '1000000 5000 1'),
            ('exchanges', 'exchanges_severity_at', '1000000 10000 1'),
            ('exchanges', 'exchanges_latency', '10000 1'),
            ('exchanges', 'exchanges_tenant_at', '1000000 10000 1'),
            ('exchanges', 'exchanges_transaction_at', '100000 5 1'),
            ('legs', 'legs', '2500000 3 1'),
            ('legs', 'legs_name_outcome_at', '2500000 800000 5000 1 1 1'),
            ('legs', 'legs_name_latency', '20000 5000 1 1 1'),
            ('legs', 'legs_lost_at', '20000 1 1 1'),
            ('legs', 'legs_changed_at', '20000 1 1 1'),
            ('legs', 'legs_assumed_at', '20000 1 1 1'),
            ('legs', 'legs_repaired_at', '20000 1 1 1'),
            ('legs', 'legs_refused_at', '20000 1 1 1'),
            ('bodies', 'bodies_newest', '100000 1')""",
    ),
)

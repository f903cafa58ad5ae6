"""The log's file in numbers."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from gateway.traffic.log import Count, FindingCount, Latency, RemarkCount, Stats


def of(connection: sqlite3.Connection, condition: str, values: Sequence[Any], leg: str = "") -> Stats:
    """The numbers of the exchanges `e` for which the condition holds; of their legs all, or the one of that name."""
    of_leg = "AND l.name = ?" if leg else ""

    def rows(sql: str) -> list[tuple[Any, ...]]:
        told = (*values, leg) if leg and "{of_leg}" in sql else values
        return connection.execute(sql.format(where=condition, of_leg=of_leg), told).fetchall()

    [(total, first, last)] = rows(_TOTAL)
    return Stats(
        total,
        first,
        last,
        tuple(Count(*row) for row in rows(_COUNTS)),
        tuple(RemarkCount(*row) for row in rows(_REMARKS)),
        tuple(Latency(*row) for row in rows(_LATENCIES)),
        tuple(FindingCount(*row) for row in rows(_FINDINGS)),
    )


_TOTAL = "SELECT count(*), min(e.at), max(e.at) FROM exchanges e WHERE {where}"
_COUNTS = """
    SELECT l.name, e.action, l.outcome, count(*)
    FROM exchanges e CROSS JOIN legs l ON l.exchange = e.id WHERE {where} {of_leg}
    GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""
_REMARKS = """
    SELECT kept.value ->> 1, kept.value ->> 4, count(*)
    FROM exchanges e CROSS JOIN legs l ON l.exchange = e.id, json_each(l.remarks) AS kept WHERE {where} {of_leg}
    GROUP BY 1, 2 ORDER BY 1, 2"""
_FINDINGS = """
    SELECT kept.value ->> 1, kept.value ->> 0, count(DISTINCT e.id)
    FROM exchanges e, json_each(e.findings) AS kept WHERE e.findings IS NOT NULL AND {where}
    GROUP BY 1, 2 ORDER BY 1, 2"""
# Nearest rank: the smallest latency that at least so many percent of the answers do not exceed.
_LATENCIES = """
    SELECT name, action, n,
        max(CASE WHEN rank = (n * 50 + 99) / 100 THEN latency END),
        max(CASE WHEN rank = (n * 99 + 99) / 100 THEN latency END)
    FROM (
        SELECT l.name, e.action, l.latency, count(*) OVER (PARTITION BY l.name, e.action) AS n,
            row_number() OVER (PARTITION BY l.name, e.action ORDER BY l.latency) AS rank
        FROM exchanges e CROSS JOIN legs l ON l.exchange = e.id WHERE l.latency IS NOT NULL AND {where} {of_leg}
    ) GROUP BY name, action ORDER BY name, action"""

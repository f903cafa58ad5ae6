"""Which messages are asked for, and how that is said in SQL; the times that people write."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d{1,12}(?:\.\d{1,12})?)(ms|s|m|h|d)", re.ASCII)
_AGO = re.compile(rf"(?:{_PART.pattern})+", re.ASCII)

# Steps through the index (charger, at) from one identity to the next, so that a name is found in any case without
# a look at every row.
_NAMED = """charger IN (
    WITH RECURSIVE known (name) AS (
        SELECT min(charger) FROM messages
        UNION ALL SELECT (SELECT min(charger) FROM messages WHERE charger > name) FROM known WHERE name IS NOT NULL
    ) SELECT name FROM known WHERE lower(name) = lower(?))"""
_MATCHED = "lower(charger) GLOB lower(?)"
_FAILED = "(kind IN ('error', 'refused') OR outcome NOT IN ('', 'ok'))"

Clause = tuple[str, str | bytes | float]


@dataclass(frozen=True, slots=True)
class Filter:
    """What a message must be to be asked for; what is empty or None asks for nothing."""

    charger: str = ""  # a glob on the identity, in any case
    action: str = ""
    leg: str = ""
    outcome: str = ""  # "ok", "failed", or an error code
    remark: str = ""  # the kind of a remark it carries
    since: float | None = None
    until: float | None = None
    exchange: str = ""
    text: str = ""  # somewhere in the raw message, as it is spelt there
    tenant: str = ""  # in any case
    limit: int | None = None  # the newest so many; with `after_id` the next so many
    after_id: int | None = None
    before_id: int | None = None

    def where(self) -> tuple[str, list[str | bytes | float]]:
        """The condition, and its parameters."""
        clauses = list(self._clauses())
        said = [said for said, _ in clauses]
        if self.outcome == "failed":
            said.append(_FAILED)
        return " AND ".join(said) or "TRUE", [value for _, value in clauses]

    def _clauses(self) -> Iterator[Clause]:
        yield from self._time_clauses()
        if self.charger:
            yield self._charger_clause()
        if self.tenant:
            yield "tenant <> '' AND tenant = ? COLLATE NOCASE", self.tenant  # both, for the index to be of use
        if self.action:
            yield "action = ? COLLATE NOCASE", self.action
        if self.leg:
            yield "leg = ?", self.leg
        if self.outcome and self.outcome != "failed":
            yield "outcome = ? COLLATE NOCASE", self.outcome
        if self.remark:
            yield "instr(remarks, ?)", f'"kind":"{self.remark}"'
        if self.exchange:
            yield "exchange = ?", self.exchange
        if self.text:
            yield "instr(raw, ?)", self.text.encode("utf-8", "surrogateescape")

    def _time_clauses(self) -> Iterator[Clause]:
        if self.since is not None:
            yield "at >= ?", self.since
        if self.until is not None:
            yield "at < ?", self.until
        if self.after_id is not None:
            yield "id > ?", self.after_id
        if self.before_id is not None:
            yield "id < ?", self.before_id

    def _charger_clause(self) -> Clause:
        if any(c in self.charger for c in "*?["):
            return _MATCHED, self.charger.replace("[!", "[^")
        return _NAMED, self.charger


def moment(text: str, now: float) -> float:
    """Unix time of `10m` (so long ago), `1h30m`, or ISO 8601, which is UTC unless it says otherwise."""
    if _AGO.fullmatch(text):
        return now - sum(float(n) * _UNITS[unit] for n, unit in _PART.findall(text))
    try:
        found = datetime.fromisoformat(text)
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ValueError(f'expected a time like "10m" (ago) or "2024-05-01T10:00:00Z", got "{text}"') from None

"""Evaluates rules over rows of the normalized table in memory, with the SQL that a warehouse would run.

Invariant: DuckDB reads no file, starts no download and knows no table but the rows that were given.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, lines_of
from airflow_audit_provider.formats import arrow
from airflow_audit_provider.formats.normalized import columns as normalized
from airflow_audit_provider.formats.sigma.rules import DetectionRule, EachRecord, select
from airflow_audit_provider.formats.tables import NormalizedRows

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TABLE = "records"
# One thread, because a forked process has none of its parent's.
_CONFIG: dict[str, Any] = {"autoinstall_known_extensions": "false", "enable_external_access": "false", "threads": "1"}


class Match(NamedTuple):
    """A rule that fires, the record for which it does, and the record's event time."""

    rule: DetectionRule
    record_id: str
    event_at: datetime


def normalized_rows(version: ApiVersion, records: Sequence[AuditRecord]) -> Any:
    """Returns records as an Arrow table of the normalized schema."""
    import pyarrow as pa

    return pa.Table.from_batches([NormalizedRows(version, normalized.MINOR).to_arrow(records, lines_of(records))])


def find_matches(rules: Sequence[DetectionRule], rows: Any, since: datetime | None = None) -> tuple[Match, ...]:
    """Returns the records among ``rows`` for which rules fire, by time and id.

    ``rows`` is an Arrow table of the normalized schema. Rows before ``since`` are history for the rules that need it.
    """
    with _open(rows) as connection:
        found = [*_of_each_record(connection, rules), *_of_patterns(connection, rules)]
    instants = ((rule, record_id, _EPOCH + timedelta(microseconds=us)) for rule, record_id, us in found)
    matches = [Match(*one) for one in instants if since is None or one[2] >= since]
    return tuple(sorted(matches, key=lambda match: (match.event_at, match.record_id, match.rule.id)))


def _of_each_record(connection: Any, rules: Sequence[DetectionRule]) -> list[tuple[DetectionRule, str, int]]:
    """Evaluates the rules that judge each record alone in one scan of the rows."""
    alone = [rule for rule in rules if isinstance(rule.pattern, EachRecord)]
    if not alone:
        return []
    fired = ", ".join(f"coalesce({rule.event_filter}, false)" for rule in alone)
    judged = select(f"id, epoch_us(event_time) AS us, [{fired}] AS fired", _TABLE)
    rows = connection.execute(select("*", f"({judged})", "list_contains(fired, true)")).fetchall()
    return [
        (rule, record_id, us)
        for record_id, us, fired in rows
        for rule, fires in zip(alone, fired, strict=True)
        if fires
    ]


def _of_patterns(connection: Any, rules: Sequence[DetectionRule]) -> list[tuple[DetectionRule, str, int]]:
    return [
        (rule, record_id, us)
        for rule in rules
        if not isinstance(rule.pattern, EachRecord)
        for record_id, us in connection.execute(
            select("id, epoch_us(event_time)", f"({rule.to_sql(_TABLE)})")
        ).fetchall()
    ]


def objection(rule: DetectionRule) -> str | None:
    """Returns what DuckDB objects to in the SQL of a rule; None if it accepts it."""
    import duckdb

    with _open(arrow.normalized_layout(normalized.MINOR).schema.empty_table()) as connection:
        try:
            connection.execute(rule.to_sql(_TABLE))
        except duckdb.Error as error:
            return str(error).splitlines()[0]
    return None


@contextmanager
def _open(rows: Any) -> Iterator[Any]:
    """Opens a session in which the rows are a table; no other session sees it."""
    with _database(os.getpid()).cursor() as connection:
        connection.register(_TABLE, rows)
        yield connection


@lru_cache(maxsize=4)
def _database(_pid: int) -> Any:
    """Returns the empty database of this process; opening one takes longer than most evaluations."""
    import duckdb

    return duckdb.connect(":memory:", config=_CONFIG)

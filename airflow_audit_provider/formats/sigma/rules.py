"""Detection rules, and the SQL that finds the records for which one fires.

A rule looks at the records that its event filter accepts. It fires for each of them, for the one that completes a
number within a span, or for the first with a value within a span.

Invariant: whether a rule fires for a record depends only on that record and on those that its event filter accepts in
the ``needs_history`` before it. The windows in which records are evaluated change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple


class Advice(NamedTuple):
    """Text for the person who gets an alert of a rule; empty where the rule has none."""

    what_happened: str = ""
    why_it_matters: str = ""
    what_to_check: str = ""
    how_to_undo: str = ""


class EachRecord(NamedTuple):
    """The rule fires for each record that the event filter accepts."""

    @property
    def needs_history(self) -> timedelta:
        """Nothing."""
        return timedelta(0)

    def to_sql(self, table: str, event_filter: str) -> str:
        """Returns a query of the records for which the rule fires."""
        return select("id, event_time", table, event_filter)


class Counted(NamedTuple):
    """The rule fires for the record with which a count within ``span`` reaches ``at_least``, in its group.

    The count is that of records; with a ``value``, of distinct values; with several ``searches``, of searches that
    found a record. It fires again only after the count was lower.
    """

    searches: tuple[str, ...]
    group_by: tuple[str, ...]
    value: str | None
    at_least: int
    span: timedelta

    @property
    def needs_history(self) -> timedelta:
        """Two spans: one for the count at a record, and one for the count at the record before it."""
        return 2 * self.span

    def to_sql(self, table: str, event_filter: str) -> str:
        """Returns a query of the records for which the rule fires."""
        groups = [f"g{number}" for number in range(len(self.group_by))]
        found = " UNION ALL ".join(
            _values(table, search, self.group_by, str(number) if self.value is None else self.value)
            for number, search in enumerate(self._branches(event_filter))
        )
        counted = "count(*)" if self.value is None and len(self.searches) == 1 else "count(DISTINCT v)"
        frame = f"ORDER BY event_time RANGE BETWEEN {_seconds(self.span)} PRECEDING AND CURRENT ROW"
        reached = f"{counted} OVER ({_partition(groups)}{frame}) >= {self.at_least} AS reached"
        counts = select(", ".join(["id, event_time, v", *groups, reached]), f"({found})", _not_null(groups))
        # Records of one instant have the same count; the first of them by id is the one that reached it.
        before = f"lag(reached) OVER ({_partition(groups)}ORDER BY event_time, id, v)"
        fires = f"reached AND NOT coalesce({before}, false) AS fires"
        return select("id, event_time", f"({select(f'id, event_time, {fires}', f'({counts})')})", "fires")

    def _branches(self, event_filter: str) -> tuple[str, ...]:
        return (event_filter,) if len(self.searches) == 1 else self.searches


class FirstSeen(NamedTuple):
    """The rule fires for a record whose value is new in its group: no record within ``span`` before it has it.

    A group without any record in the span is new itself, and its first record does not fire.
    """

    value: str
    group_by: tuple[str, ...]
    span: timedelta

    @property
    def needs_history(self) -> timedelta:
        """The span."""
        return self.span

    def to_sql(self, table: str, event_filter: str) -> str:
        """Returns a query of the records for which the rule fires."""
        groups = [f"g{number}" for number in range(len(self.group_by))]
        found = select("*", f"({_values(table, event_filter, self.group_by, self.value)})", _not_null([*groups, "v"]))
        same = f"lag(event_time) OVER ({_partition([*groups, 'v'])}ORDER BY event_time, id) AS same_before"
        group = f"lag(event_time) OVER ({_partition(groups)}ORDER BY event_time, id) AS group_before"
        seen = select(f"id, event_time, {same}, {group}", f"({found})")
        oldest = f"event_time - {_seconds(self.span)}"
        is_new = f"group_before >= {oldest} AND (same_before IS NULL OR same_before < {oldest})"
        return select("id, event_time", f"({seen})", is_new)


Pattern = EachRecord | Counted | FirstSeen


@dataclass(frozen=True, slots=True)
class DetectionRule:
    """A rule that can be evaluated over rows of the normalized table of either API version.

    ``version`` is a digest of what the rule detects: it changes with its detection, and with the rules whose matches it
    counts, the filters that name it and the time zone, if it depends on them. It does not change with its title, level,
    text or tags.
    ``event_filter`` is the SQL condition of the records that the rule looks at.
    """

    id: str
    version: str
    title: str
    level: str
    status: str
    description: str
    advice: Advice
    tags: tuple[str, ...]
    references: tuple[str, ...]
    false_positives: tuple[str, ...]
    path: Path
    event_filter: str
    pattern: Pattern

    @property
    def needs_history(self) -> timedelta:
        """How far before a record the rule looks; zero if it judges each record alone."""
        return self.pattern.needs_history

    def to_sql(self, table: str) -> str:
        """Returns a query of ``id`` and ``event_time`` of the records for which the rule fires.

        ``table`` is the name of a table with the columns of the normalized schema, quoted where SQL asks for it, or a
        query in parentheses. It must hold the records of ``needs_history`` before the first one that is judged.
        """
        return self.pattern.to_sql(table, self.event_filter)


def select(columns: str, table: str, condition: str = "") -> str:
    """Returns a query."""
    return " ".join(["SELECT", columns, "FROM", table, *(["WHERE", condition] if condition else [])])


def _values(table: str, search: str, group_by: tuple[str, ...], value: str) -> str:
    columns = ["id", "event_time", *(f"{sql} AS g{number}" for number, sql in enumerate(group_by)), f"{value} AS v"]
    return select(", ".join(columns), table, search)


def _partition(columns: list[str]) -> str:
    return f"PARTITION BY {', '.join(columns)} " if columns else ""


def _not_null(columns: list[str]) -> str:
    """Returns the condition that leaves out records without a group, which belong to no one."""
    return " AND ".join(f"{column} IS NOT NULL" for column in columns)


def _seconds(span: timedelta) -> str:
    return f"INTERVAL '{int(span.total_seconds())} seconds'"

"""Turns the changes of a window into readable differences of the values before and after; pure.

Invariant: the number of changes, of lines and of characters is bounded. Texts are escaped by the template only.
"""

from __future__ import annotations

from itertools import islice
from typing import NamedTuple

from airflow_audit_provider._airflow.coverage_page.views import NONE, Fact
from airflow_audit_provider.core.api.difference import DifferenceLine, difference_of
from airflow_audit_provider.pipelines.window_changes import WindowChanges

_MOST_LINES = 20
_MOST_STATUSES = 20
_MOST_CHARACTERS = 100


class ChangeRowView(NamedTuple):
    """One record with the fields that it changed; ``more`` says that fields are left out."""

    record_id: str
    event_time: str
    status: str
    lines: tuple[DifferenceLine, ...]
    more: str


class ChangesView(NamedTuple):
    """The changes of a window, and the number of its records by how their values are known."""

    rows: tuple[ChangeRowView, ...]
    statuses: tuple[Fact, ...]
    note: str
    problem: str


def _cut(text: str) -> str:
    """Returns the start of a text: a record, and a file that anyone wrote, can have an id of any length."""
    return text if len(text) <= _MOST_CHARACTERS else f"{text[:_MOST_CHARACTERS]}…"


def changes_view(changes: WindowChanges) -> ChangesView:
    """Returns the changes as a page shows them."""
    rows = []
    for row in changes.rows:
        found = difference_of(row.before, row.after, _MOST_LINES)
        lines = tuple(DifferenceLine(one.path, one.before or NONE, one.after or NONE) for one in found.lines)
        more = f"Only the first {_MOST_LINES} fields are shown." if found.has_more else ""
        rows.append(ChangeRowView(_cut(row.id), _cut(row.event_time), _cut(row.history_status), lines, more))
    statuses = tuple(Fact(_cut(name), f"{count:,}") for name, count in islice(changes.statuses.items(), _MOST_STATUSES))
    note = f"{len(rows):,} of {changes.record_count:,} records; the files below _changes have all of them."
    return ChangesView(tuple(rows), statuses, note, changes.problem)

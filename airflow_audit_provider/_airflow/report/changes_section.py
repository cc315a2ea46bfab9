"""The section of a report about what the newest records changed: each field before and after; pure.

Invariant: the number of rows and of characters is bounded. Texts are escaped by the template only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from airflow_audit_provider._airflow.coverage_page.changes_view import ChangeRowView, changes_view
from airflow_audit_provider._airflow.coverage_page.views import Fact
from airflow_audit_provider._airflow.observability.log_lines import window_text
from airflow_audit_provider._airflow.report.document import Row, Section, bounded
from airflow_audit_provider.core.windows.window import TimeWindow, count_of
from airflow_audit_provider.pipelines.window_changes import WindowChanges

_HEADING = "What records of the newest windows changed"
_NONE = "The folder _changes has no changes of a current generation. The changes operator derives them."
_UNSEALED = (
    "The values were derived by the changes operator. No seal names the files below _changes, so anyone who can write "
    "to the destination can change them. The records themselves are in the parts."
)
_COLUMNS = ("Time", "How it is known", "Record", "Field", "Before", "After")
_MOST_STATUSES, _MOST_CHARACTERS = 20, 100


def changes_section(changes: Sequence[tuple[TimeWindow, WindowChanges]]) -> Section:
    """Returns the changes of some windows, the newest window first."""
    if not changes:
        return Section(_HEADING, (_NONE,))
    views = [changes_view(found) for _, found in changes]
    statuses: Counter[str] = Counter()
    for _, found in changes:
        statuses.update(found.statuses)
    facts = tuple(
        Fact(name[:_MOST_CHARACTERS], f"{count:,}") for name, count in sorted(statuses.items())[:_MOST_STATUSES]
    )
    shown = [row for view in views for row in view.rows]
    rows = [row for one in shown for row in _rows(one)]
    counts = f"The first {count_of(len(shown), 'record')} that changed something, in {count_of(len(changes), 'window')}"
    sentences = [
        f"{counts}: {', '.join(window_text(window) for window, _ in changes)}.",
        _UNSEALED,
        *(f"Problem: {view.problem}" for view in views if view.problem),
    ]
    tables = (bounded(_HEADING, _COLUMNS, rows, noun="field"),) if rows else ()
    return Section(_HEADING, tuple(sentences), facts, tables=tables)


def _rows(one: ChangeRowView) -> Iterator[Row]:
    for line in one.lines:
        yield Row((one.event_time, one.status, one.record_id, line.path, str(line.before), str(line.after)))
    if one.more:
        yield Row((one.event_time, one.status, one.record_id, one.more, "", ""))

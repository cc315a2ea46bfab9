"""Report of a reconciliation as text for people.

Invariant: nothing of a report is hidden by a character that a terminal would act on, because keys and ids are written
by others.
"""

from __future__ import annotations

from collections.abc import Iterator

from airflow_audit_provider.core.verification.findings import as_table, printable
from airflow_audit_provider.core.verification.reconcile.report import ListedRecord, ReconcileReport
from airflow_audit_provider.core.windows.window import TimeWindow, count_of, format_instant

# A terminal page of records, and of files; the JSON has up to a thousand of each.
_SHOWN = 20
_MEANINGS = {
    "missing_there": "missing in the archive",
    "missing_here": "missing in the dataset",
    "differing": "different",
    "double": "more than once in the archive",
    "late": "late",
}


def report_text(report: ReconcileReport) -> str:
    """Returns the counts of a report, its spans, and the first records of each kind."""
    time_range = TimeWindow(report.start, report.end)
    lines = [f"{report.dataset} of {time_range}: {'equal' if report.is_equal else 'not equal'}\n"]
    lines += [f"{name:22}{value}\n" for name, value in report.summary().items()]
    lines += [f"not committed: {TimeWindow(span.start, span.end)}\n" for span in report.uncommitted]
    lines += [
        f"Logpush was off: {TimeWindow(span.start, span.end)}, {count_of(span.record_count, 'record')}\n"
        for span in report.off
    ]
    shown = report.findings[:_SHOWN]
    lines += [f"{printable(one.key)}: {printable(one.detail)}\n" for one in shown]
    if report.archive.finding_count > len(shown):
        lines.append(f"These are {len(shown)} of {report.archive.finding_count} findings.\n")
    return "".join([*lines, *_tables(report)])


def _tables(report: ReconcileReport) -> Iterator[str]:
    for name, meaning in _MEANINGS.items():
        records = getattr(report, name)
        if records:
            count = getattr(report, f"{name}_count")
            yield f"\nRecords or rows that are {meaning}: {count}; the first of them:\n"
            yield as_table([("time", "id", "detail"), *map(_cells, records[:_SHOWN])])


def _cells(record: ListedRecord) -> tuple[str, str, str]:
    late = [] if record.late_seconds is None else [f"{record.late_seconds} s"]
    return record.event_time, record.id, ", ".join([*late, *record.fields, *record.files])


def range_text(report: ReconcileReport) -> str:
    """Returns the range of a report, as an error states it."""
    return f"[{format_instant(report.start)}, {format_instant(report.end)})"

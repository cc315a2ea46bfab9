"""Report of a reconciliation: what a Logpush archive lacks, has in addition, has twice, has late or has otherwise.

Invariant: equal comparisons have equal bytes. A report holds no time of writing, no host and no value of a record, only
ids, times, field names and the keys of files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from enum import StrEnum

import msgspec

from airflow_audit_provider.core.archive.manifest import canonical_json
from airflow_audit_provider.core.verification.reconcile.comparison import Comparison, Lateness
from airflow_audit_provider.core.verification.reconcile.fields import DATASETS
from airflow_audit_provider.core.verification.reconcile.listed import Counts, FirstRecords
from airflow_audit_provider.core.windows.window import SECOND_NS, TimeWindow, format_ns, from_seconds

REPORT_VERSION = 1
REPORT_PAYLOAD_TYPE = "application/vnd.airflow-audit-provider.reconcile+json"
# Cloudflare docs: a file is sent after at most 300 seconds (max_upload_interval_seconds).
OFF_AFTER_SECONDS = 300
_COUNTED = "record missing_there missing_here differing double late repaired undated uncommitted unidentified window"


class FileFindingKind(StrEnum):
    """What is wrong with a file of an archive; stable."""

    DAMAGED = "file_damaged"
    FOREIGN = "file_foreign"
    FOREIGN_LINES = "lines_foreign"
    GONE = "file_gone"


class FileFinding(msgspec.Struct, frozen=True, order=True):
    """A file of which not every line is a row: its key, and what was done."""

    key: str
    kind: FileFindingKind
    detail: str


class WindowCounts(msgspec.Struct, frozen=True):
    """A committed window with a count other than zero, and the counts of its records in the range."""

    start: datetime
    end: datetime
    record_count: int
    missing_there: int
    missing_here: int
    differing: int
    double: int
    late: int


class Span(msgspec.Struct, frozen=True):
    """A span of the range that no committed window covers, so that nothing was compared."""

    start: datetime
    end: datetime


class OffSpan(msgspec.Struct, frozen=True):
    """A span of which Logpush delivered no record.

    It goes from the first to the last minute in which the dataset has a record.
    """

    start: datetime
    end: datetime
    record_count: int


class ListedRecord(msgspec.Struct, frozen=True):
    """A record that is listed: the files that have it, the fields that differ, and how late it came."""

    event_time: str
    id: str
    files: tuple[str, ...]
    fields: tuple[str, ...]
    late_seconds: int | None


class DelayCount(msgspec.Struct, frozen=True):
    """Number of records whose delay is at most ``up_to_seconds``, and longer than the bound before it.

    ``up_to_seconds`` is None for the records whose delay is longer than the last bound.
    """

    up_to_seconds: int | None
    record_count: int


class Delays(msgspec.Struct, frozen=True):
    """Delays of the records. A delay is the time from the event to the delivery.

    The time of the delivery is that in the name of the file.
    """

    late_after_seconds: int
    maximum_seconds: int
    counts: tuple[DelayCount, ...]


class ArchiveFacts(msgspec.Struct, frozen=True):
    """The files that were read: how many, their rows and bytes, and the SHA-256 of their keys and sizes.

    ``skipped_count`` files were not read, because by the times in their keys they cannot have records of the range.
    ``finding_count`` is that of all findings.
    """

    file_count: int
    skipped_count: int
    finding_count: int
    row_count: int
    other_row_count: int
    size_bytes: int
    listing_sha256: str


class ReconcileReport(msgspec.Struct, frozen=True, kw_only=True):
    """Report of a reconciliation as ``reconcile --json`` prints it.

    docs/reference/reconcile-report.schema.json is its schema. ``missing_there`` are records of the dataset that the
    archive lacks, ``missing_here`` rows of the archive that the dataset lacks. ``repaired`` records are only in files
    of an earlier repair; ``unidentified`` ones have no id, so they are not compared, and ``is_equal`` is false. Each
    list has the first 1000 records, ``findings`` the first 1000 files; the counts are of all. ``windows`` has those
    with a count other than zero. ``manifests_sha256`` is the digest of the keys and digests of the manifests of all
    windows.
    """

    dataset: str
    start: datetime
    end: datetime
    is_equal: bool
    window_count: int
    record_count: int
    missing_there_count: int
    missing_here_count: int
    differing_count: int
    double_count: int
    late_count: int
    repaired_count: int
    undated_count: int
    uncommitted_count: int
    unidentified_count: int
    uncommitted: tuple[Span, ...]
    off: tuple[OffSpan, ...]
    delays: Delays
    windows: tuple[WindowCounts, ...]
    missing_there: tuple[ListedRecord, ...]
    missing_here: tuple[ListedRecord, ...]
    differing: tuple[ListedRecord, ...]
    double: tuple[ListedRecord, ...]
    late: tuple[ListedRecord, ...]
    compared_fields: tuple[str, ...]
    archive: ArchiveFacts
    manifests_sha256: str
    findings: tuple[FileFinding, ...]
    report_version: int = REPORT_VERSION

    def to_bytes(self) -> bytes:
        """Returns the report's canonical bytes, see :func:`canonical_json`."""
        return canonical_json(self)

    def summary(self) -> dict[str, int | str | bool]:
        """Returns the counts, for XComs and the command line."""
        counts = {f"{name}_count": getattr(self, f"{name}_count") for name in _COUNTED.split()}
        seconds = sum((span.end - span.start).total_seconds() for span in self.off)
        return {
            "is_equal": self.is_equal,
            **counts,
            "off_minutes": round(seconds / 60),
            "longest_delay_seconds": self.delays.maximum_seconds,
            "file_count": self.archive.file_count,
            "row_count": self.archive.row_count,
            "finding_count": self.archive.finding_count,
            "report_sha256": hashlib.sha256(self.to_bytes()).hexdigest(),
        }


def make_report(
    compared: Comparison, archive: ArchiveFacts, manifests_sha256: str, findings: Iterable[FileFinding]
) -> ReconcileReport:
    """Returns the report of a finished comparison."""
    counts, lists, time_range, windows = compared.counts, compared.lists, compared.time_range, compared.windows
    uncommitted = tuple(_gaps(time_range, windows))
    totals = {name: sum(getattr(one, name) for one in counts) for name in ("record_count", *_KINDS)}
    return ReconcileReport(
        dataset=DATASETS[compared.version].name,
        start=time_range.start,
        end=time_range.end,
        is_equal=all(one.is_equal for one in counts)
        and not (uncommitted or compared.undated_count or compared.unidentified_count),
        window_count=len(windows),
        record_count=totals["record_count"],
        missing_there_count=totals["missing_there"],
        missing_here_count=totals["missing_here"],
        differing_count=totals["differing"],
        double_count=totals["double"],
        late_count=totals["late"],
        repaired_count=compared.repaired_count,
        undated_count=compared.undated_count,
        uncommitted_count=compared.uncommitted_count,
        unidentified_count=compared.unidentified_count,
        uncommitted=uncommitted,
        off=tuple(_off_spans(compared)),
        delays=_delays(compared.lateness),
        windows=tuple(_window_counts(*pair) for pair in zip(windows, counts, strict=True) if not pair[1].is_plain),
        missing_there=_listed(lists.missing_there),
        missing_here=_listed(lists.missing_here),
        differing=_listed(lists.differing),
        double=_listed(lists.double),
        late=_listed(lists.late),
        compared_fields=tuple(compared.columns),
        archive=archive,
        manifests_sha256=manifests_sha256,
        findings=tuple(sorted(findings)),
    )


_KINDS = ("missing_there", "missing_here", "differing", "double", "late")


def _window_counts(window: TimeWindow, counts: Counts) -> WindowCounts:
    return WindowCounts(window.start, window.end, counts.record_count, *(getattr(counts, name) for name in _KINDS))


def _gaps(time_range: TimeWindow, windows: Sequence[TimeWindow]) -> Iterator[Span]:
    at = time_range.start
    for window in windows:
        if window.start > at:
            yield Span(at, window.start)
        at = max(at, window.end)
    if at < time_range.end:
        yield Span(at, time_range.end)


def _off_spans(compared: Comparison) -> Iterator[OffSpan]:
    for span in compared.minutes.silent_spans():
        if span.end_ns - span.start_ns >= OFF_AFTER_SECONDS * SECOND_NS:
            start, end = (from_seconds(instant // SECOND_NS) for instant in (span.start_ns, span.end_ns))
            yield OffSpan(start, end, span.record_count)


def _delays(lateness: Lateness) -> Delays:
    counts = tuple(DelayCount(bound, lateness.counts[bound]) for bound in (*Lateness.BOUNDS, None))
    return Delays(lateness.late_after_seconds, lateness.maximum_seconds, counts)


def _listed(records: FirstRecords) -> tuple[ListedRecord, ...]:
    return tuple(
        ListedRecord(format_ns(one.event_ns), one.id, one.files, one.columns, one.late_seconds) for one in records
    )

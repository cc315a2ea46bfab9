"""The results of coverage, verify and plan as documents, as their options ``--html`` write them; pure.

Invariant: a document says what the text of its command says; a table that is too long says how to get all rows.
"""

from __future__ import annotations

from datetime import datetime

from airflow_audit_provider import __version__
from airflow_audit_provider._airflow.coverage_page.periods import Bounds
from airflow_audit_provider._airflow.coverage_page.views import Fact, instant_text
from airflow_audit_provider._airflow.report.dataset_proof import unchecked_anchors
from airflow_audit_provider._airflow.report.document import (
    Dataset,
    Document,
    Row,
    Section,
    Verdict,
    bounded,
    findings_section,
    worst,
)
from airflow_audit_provider._airflow.report.freshness_section import lateness_section
from airflow_audit_provider.core.verification.coverage import Span
from airflow_audit_provider.core.verification.findings import severe
from airflow_audit_provider.core.verification.pass_records import verified_line
from airflow_audit_provider.core.windows.window import count_of, format_instant
from airflow_audit_provider.pipelines.coverage import DatasetCoverage, PublishedCoverage
from airflow_audit_provider.pipelines.plan_report import Plan, PlannedSpan, WindowState
from airflow_audit_provider.pipelines.verify import PublishedReport, TrustAnchors


def _notes(uri: str, now: datetime) -> tuple[str, ...]:
    return (
        f"Destination: {uri}",
        f"As read at {format_instant(now)}, by airflow-audit-provider {__version__}. All times are UTC.",
        "The option --json lists what a table leaves out.",
    )


def coverage_document(uri: str, found: PublishedCoverage, now: datetime) -> Document:
    """Returns what is committed, pending and missing in each dataset."""
    incomplete = [one for one in found.datasets if not one.is_complete]
    gap_count = sum(len(one.coverage.missing) for one in found.datasets)
    headline = f"Complete: {count_of(len(found.datasets), 'dataset')} without a gap in the range."
    if incomplete:
        foreign_count = sum(one.coverage.foreign_count for one in found.datasets)
        headline = (
            f"Not complete: {len(incomplete)} of {count_of(len(found.datasets), 'dataset')}; "
            f"{count_of(gap_count, 'gap')}, {count_of(foreign_count, 'window')} of another dataset."
        )
    if not found.datasets:
        headline = "The destination holds no committed window."
    verdict = Verdict.GAPS if incomplete or not found.datasets else Verdict.GOOD
    late = found.lateness or {}
    more = {folder: (lateness_section(one),) for folder, one in late.items()}
    datasets = tuple(
        Dataset(one.folder or "./", (*_coverage_sections(one), *more.get(one.folder, ()))) for one in found.datasets
    )
    return Document("Coverage of Cloudflare audit logs", verdict, headline, _notes(uri, now), datasets)


def _coverage_sections(found: DatasetCoverage) -> tuple[Section, ...]:
    one = found.coverage
    facts = (
        Fact("Audit log", str(found.dataset)),
        Fact("Range", f"{format_instant(one.start)} to {format_instant(one.end)}"),
        Fact("Windows", f"{one.window_count:,}, {one.empty_count:,} empty"),
        Fact("Records", f"{one.record_count:,}"),
        Fact("Gaps", f"{len(one.missing):,}"),
        Fact("Windows of another dataset", f"{one.foreign_count:,}"),
        Fact("Windows that were read once", f"{one.not_recounted_count:,}"),
        Fact("Complete without a gap up to", instant_text(one.complete_until_at)),
    )
    descriptor = () if found.has_descriptor else ("The dataset descriptor is missing.",)
    rows = [_span_row(span) for span in one.spans]
    columns = ("Start", "End", "State", "Read twice", "Windows", "Records")
    table = bounded("Spans", columns, rows, (4, 5), noun="span")
    return (
        Section("Totals", (*descriptor, f"{verified_line(found.verified).strip()}."), facts),
        Section("Spans", tables=(table,)),
        findings_section("Findings", found.findings),
    )


def _span_row(span: Span) -> Row:
    recounted = "" if not span.window_count else "yes" if span.is_recounted else "no"
    cells = (format_instant(span.start), format_instant(span.end), str(span.state), recounted)
    return Row((*cells, f"{span.window_count:,}", f"{span.record_count:,}"), span.state)


def verify_document(
    uri: str, report: PublishedReport, now: datetime, bounds: Bounds, anchors: TrustAnchors
) -> Document:
    """Returns the result of a verification of the windows that overlap a range."""
    bad = severe(report.findings)
    headline = (
        f"Something is wrong: {count_of(len(bad), 'severe finding')}."
        if bad
        else "Verified: there is no severe finding, and what was read agrees with its manifests: "
        f"{count_of(report.window_count, 'window')}, {count_of(report.part_count, 'part')} and "
        f"{count_of(report.record_count, 'record')}."
    )
    names = ("window_count", "part_count", "record_count", "seal_count", "severe_count", "mild_count")
    facts = [Fact(name.replace("_", " ").capitalize(), f"{getattr(report, name):,}") for name in names]
    facts.append(Fact("Newest seal", report.newest_seal_sha256 or "none"))
    rows = [
        Row(
            (
                str(one.number),
                str(one.day),
                instant_text(one.sealed_at, "not stated"),
                instant_text(one.timestamped_at),
                instant_text(one.proved_at, "not proved"),
            )
        )
        for one in reversed(report.seals)
    ]
    columns = ("Number", "Day", "Sealed, as stated", "Time stamp", "Proved to exist at")
    seals = bounded("Seals, the newest first", columns, rows, (0,), noun="earlier seal")
    sections = (
        Section("Totals", facts=tuple(facts)),
        findings_section("Findings", report.findings),
        Section("Seals", () if rows else ("There is no seal.",), tables=(seals,) if rows else ()),
    )
    verdict = Verdict.WRONG if bad else Verdict.GOOD
    title = "Verification of Cloudflare audit logs"
    start, end = (None if one is None else format_instant(one) for one in bounds)
    of_range = "All windows" if start is end is None else f"Windows from {start or 'the first'} to {end or 'the last'}"
    notes = (*_notes(uri, now), f"{of_range} were verified.", *unchecked_anchors(anchors))
    return Document(title, verdict, headline, notes, (Dataset("", sections),))


def plan_document(uri: str, plan: Plan) -> Document:
    """Returns the plan of a backfill."""
    missing, lost = plan.count(WindowState.MISSING), plan.count(WindowState.LOST)
    headline = f"Windows to backfill: {missing}. Windows that are lost for good: {lost}."
    verdict = worst(
        [
            Verdict.WRONG if plan.is_obstructed else Verdict.GOOD,
            Verdict.GAPS if missing else Verdict.GOOD,
        ]
    )
    due = [span for span in plan.spans if span.state is not WindowState.COMMITTED]
    columns = ("Start", "End", "State", "Windows", "Readable until")
    table = bounded("Spans that are not committed", columns, [_planned_row(one) for one in due], (3,), noun="span")
    sections = (
        Section("The plan", codes=(tuple(plan.text().splitlines()),)),
        Section("Spans that are not committed", () if due else ("None.",), tables=(table,) if due else ()),
        Section("Commands", () if plan.commands else ("None.",), codes=(plan.commands,) if plan.commands else ()),
    )
    title = "Plan of a backfill of Cloudflare audit logs"
    return Document(title, verdict, headline, _notes(uri, plan.planned_at), (Dataset("", sections),))


def _planned_row(span: PlannedSpan) -> Row:
    until = instant_text(span.expires_at, "")[:10]
    return Row(
        (format_instant(span.start), format_instant(span.end), str(span.state), f"{span.window_count:,}", until),
        span.state,
    )

"""The section of a report about how late the records were, and the settings that follow; pure.

Invariant: it has the same number of rows for any dataset.
"""

from __future__ import annotations

from collections.abc import Iterator

from airflow_audit_provider._airflow.report.document import Row, Section, bounded
from airflow_audit_provider.core.verification.lateness import Lateness, Proposal, Quantiles
from airflow_audit_provider.core.windows.window import count_of, format_instant, format_length
from airflow_audit_provider.pipelines.freshness import Freshness, FreshnessReport

HEADING = "How late the records were"
_NONE = "-"
_QUANTILES = ("p50", "p95", "p99", "p99.9", "longest")


def freshness_sections(found: FreshnessReport | str) -> Iterator[Section]:
    """Yields the section of what was measured, or of the reason why nothing was; none for an empty reason."""
    if isinstance(found, str):
        yield from [Section(HEADING, (f"It cannot be measured: {found}",))] if found else []
        return
    yield lateness_section(found.lateness, tuple(_sentences(found.freshness)))


def lateness_section(late: Lateness, sentences: tuple[str, ...] = ()) -> Section:
    """Returns the section of what was measured, behind some sentences."""
    rows = [_row("at least", late.at_least), _row("at most", late.at_most)]
    settings = [_setting("settle_delay", late.settle_delay), _setting("lookback", late.lookback)]
    columns = ("Setting", "Proposed", "Shortest that misses none", "Records measured", "Needed for a proposal")
    tables = [bounded("Proposals for 99.9 % of the records", columns, settings, (3, 4), noun="setting")]
    if late.at_most is not None:
        tables.insert(0, bounded("Lateness of late records", ("", *_QUANTILES), rows, noun="row"))
    measured = (
        f"{count_of(late.late_count, 'late record')}; {count_of(late.first_count, 'record')} in the first commit of a "
        f"window. Measured in {count_of(late.window_count - late.unknown_count, 'window')} with an entry in the commit "
        "log. Records that came later than the lookback are not in these figures."
    )
    return Section(HEADING, (*sentences, measured), tables=tuple(tables))


def _sentences(fresh: Freshness) -> Iterator[str]:
    if fresh.landed_until_at is not None and fresh.landed_lag_seconds is not None:
        landed_until, lag = format_instant(fresh.landed_until_at), format_length(fresh.landed_lag_seconds)
        yield f"Windows are landed up to {landed_until}, {lag} before the time of this report."
    if fresh.last_event_at is not None and fresh.last_event_age_seconds is not None:
        yield (
            f"The newest record is of {format_instant(fresh.last_event_at)}, "
            f"{format_length(fresh.last_event_age_seconds)} before that time."
        )


def _row(name: str, found: Quantiles | None) -> Row:
    lengths = () if found is None else (found.p50, found.p95, found.p99, found.p99_9, found.longest)
    return Row((name, *map(format_length, lengths)))


def _setting(name: str, one: Proposal) -> Row:
    lengths = (_NONE if length is None else format_length(length) for length in (one.proposed, one.none_missed))
    return Row((name, *lengths, f"{one.record_count:,}", f"{one.needed_count:,}"))

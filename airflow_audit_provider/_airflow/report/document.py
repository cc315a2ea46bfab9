"""A report as values: a verdict, and sections of sentences, figures, tables and a calendar; pure.

Invariant: nothing here is HTML, and each table has a bounded number of rows, so that a report of any history can be
opened.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from airflow_audit_provider._airflow.coverage_page.views import Bar, Fact, Month
from airflow_audit_provider.core.verification.findings import Finding, Severity
from airflow_audit_provider.core.windows.window import count_of

MOST_ROWS = 200


class Verdict(StrEnum):
    """What a report says at its head, the worst first."""

    WRONG = "wrong"
    GAPS = "gaps"
    GOOD = "good"


class Row(NamedTuple):
    """A row of a table; ``state`` is a state of the calendar or a severity, empty for none."""

    cells: tuple[str, ...]
    state: str = ""


class Table(NamedTuple):
    """A table; ``numbers`` are the columns that are aligned to the right, ``more`` says what was left out."""

    label: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    numbers: frozenset[int] = frozenset()
    more: str = ""


class Calendar(NamedTuple):
    """The newest eighteen months but those before the first window, a cell for each day, and their records as bars.

    ``skipped_count`` is how many months are left out.
    """

    months: tuple[Month, ...]
    skipped_count: int
    day_count: int
    bars: tuple[Bar, ...]
    bar_height: int
    bars_label: str
    legend: tuple[tuple[str, str, str], ...]


class Section(NamedTuple):
    """A part of a report; each of its contents may be missing."""

    heading: str
    sentences: tuple[str, ...] = ()
    facts: tuple[Fact, ...] = ()
    calendar: Calendar | None = None
    tables: tuple[Table, ...] = ()
    codes: tuple[tuple[str, ...], ...] = ()


class Dataset(NamedTuple):
    """The sections about one dataset; a document about one thing has a single one without a name."""

    name: str
    sections: tuple[Section, ...]


class Document(NamedTuple):
    """A report. ``notes`` say what it is about, when it was made, and by what."""

    title: str
    verdict: Verdict
    headline: str
    notes: tuple[str, ...]
    datasets: tuple[Dataset, ...]
    closing: tuple[Section, ...] = ()


def bounded(
    label: str, columns: Sequence[str], rows: Sequence[Row], numbers: Sequence[int] = (), *, noun: str
) -> Table:
    """Returns a table of the first rows; ``noun`` is what a row is, to say how many are left out."""
    left = len(rows) - MOST_ROWS
    more = f"{count_of(left, noun)} more." if left > 0 else ""
    return Table(label, tuple(columns), tuple(rows[:MOST_ROWS]), frozenset(numbers), more)


def findings_section(heading: str, findings: Sequence[Finding]) -> Section:
    """Returns the findings as a section, severe ones first."""
    ordered = sorted(findings, key=lambda one: one.severity is not Severity.SEVERE)
    rows = [Row((one.severity, one.kind, one.key, one.detail), one.severity) for one in ordered]
    if not rows:
        return Section(heading, ("None.",))
    table = bounded(heading, ("Severity", "Kind", "Object", "What was found, and what to do"), rows, noun="finding")
    return Section(heading, tables=(table,))


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """Returns the worst of some verdicts."""
    return min(verdicts, key=list(Verdict).index)

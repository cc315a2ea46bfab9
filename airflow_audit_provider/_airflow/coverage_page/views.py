"""Turns what was read into what the templates show: figures in words, a calendar, a histogram; pure.

Invariant: nothing here is HTML, so every text passes the templates' escaping.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from itertools import groupby, islice, takewhile
from typing import TYPE_CHECKING, NamedTuple

import pendulum

from airflow_audit_provider._airflow.coverage_page.backfills import Backfill, backfill_of, basis_of, length_text
from airflow_audit_provider._airflow.coverage_page.periods import (
    DAY,
    HOUR,
    MEANINGS,
    UNVERIFIED,
    UNVERIFIED_MEANING,
    WORDS,
    Bounds,
    History,
    Period,
    State,
    gaps,
    history,
    is_unverified,
    levels,
    midnight,
    periods,
    state_of,
    state_words,
)
from airflow_audit_provider._airflow.observability.log_lines import size_text, window_text
from airflow_audit_provider.core.api.endpoints import VERSIONS
from airflow_audit_provider.core.archive.dataset import Dataset
from airflow_audit_provider.core.archive.object_keys import WindowKeys
from airflow_audit_provider.core.archive.stitching import Stitching
from airflow_audit_provider.core.verification.coverage import Span
from airflow_audit_provider.core.windows.readiness import RETENTION_MONTHS, expires_at
from airflow_audit_provider.core.windows.window import TimeWindow, count_of, format_instant
from airflow_audit_provider.pipelines.overview import NewestSeal, Overview, SeenWindow
from airflow_audit_provider.pipelines.plan import DEFAULT_DAG_ID

if TYPE_CHECKING:
    # Reports use these views where Airflow is not installed; the sources import it.
    from airflow_audit_provider._airflow.coverage_page.sources import Source

BAR_HEIGHT = 60
_WEEK_DAYS = 7
_MOST_LISTED = 50
# A calendar of fewer months would not look like one.
_LEAST_MONTHS = 3
NONE = "none"


class Fact(NamedTuple):
    """A figure with its name."""

    name: str
    text: str


class Cell(NamedTuple):
    """One day or hour: its name, label in words, state, intensity from 0 to 4, whether a window is not verified."""

    name: str
    text: str
    label: str
    state: State
    level: int
    is_unverified: bool = False

    @property
    def classes(self) -> str:
        """The style classes of its colour and patterns."""
        return f"{self.state} v{self.level}{_mark(is_unverified=self.is_unverified)}"


class Month(NamedTuple):
    """A month: ``offset`` is the number of weekdays before its first day, Monday first."""

    name: str
    offset: int
    cells: tuple[Cell, ...]


class Bar(NamedTuple):
    """One bar of the histogram, from ``top`` to the bottom."""

    x: int
    top: float
    height: float


class Gap(NamedTuple):
    """A span without a committed window; ``backfill`` fills it, None if no whole window can be read."""

    start: str
    end: str
    state: State
    words: str
    until: str
    backfill: Backfill | None


class WindowRow(NamedTuple):
    """A window in a list; ``look`` are the style classes of its state."""

    name: str
    text: str
    look: str
    words: str
    records: str
    size: str
    generation: str
    verified: str


class DayView(NamedTuple):
    """A day: its hours and windows; ``more_count`` is how many windows are not listed."""

    name: str
    label: str
    hours: tuple[Cell, ...]
    windows: tuple[WindowRow, ...]
    more_count: int


class DatasetView(NamedTuple):
    """The page of a dataset.

    ``skipped_count`` is how many of the first months are not shown, because they are before the first window;
    ``day_count`` is how many days the others have.
    """

    facts: tuple[Fact, ...]
    months: tuple[Month, ...]
    skipped_count: int
    day_count: int
    bars: tuple[Bar, ...]
    bars_label: str
    gaps: tuple[Gap, ...]
    more_gaps: int
    damaged: tuple[Fact, ...]
    damaged_count: int
    problems: tuple[str, ...]

    @property
    def shown_months(self) -> tuple[Month, ...]:
        """The months of the calendar."""
        return self.months[self.skipped_count :]


class DatasetRow(NamedTuple):
    """A dataset in the list; ``facts`` are empty while it is read, and if it cannot be.

    ``versions`` are those of the API that it has: both for a stitched history.
    """

    id: str
    uri: str
    versions: tuple[str, ...]
    account: str
    facts: tuple[Fact, ...]
    error: str
    is_waiting: bool

    def is_chosen(self, version: str, account: str) -> bool:
        """Returns whether the filters let it through; one that is not read is never hidden."""
        return not self.facts or (version in ("", *self.versions) and account in ("", self.account))


class Choices(NamedTuple):
    """What the filters offer, and what they are set to; ``is_waiting`` while a dataset is being read."""

    versions: tuple[str, ...]
    accounts: tuple[str, ...]
    version: str
    account: str
    is_waiting: bool


class StreamView(NamedTuple):
    """A version of a stitched history: its row in the list, and its months, none if it is not read."""

    version: str
    row: DatasetRow
    months: tuple[Cell, ...]


def unread_row(source: Source, error: str) -> DatasetRow:
    """Returns a dataset that cannot be read for this reason, or was not read yet, as it is listed."""
    return DatasetRow(source.id, source.uri, (), "", (), error, not error)


def dataset_row(source: Source, seen: Overview, now: datetime) -> DatasetRow:
    """Returns a dataset as it is listed."""
    query = seen.dataset.query if seen.dataset else None
    if seen.stitching is not None:
        rows = tuple(_stitching_facts(seen.stitching))
        return DatasetRow(source.id, source.uri, VERSIONS, seen.stitching.account_id, rows, "", is_waiting=False)
    facts = tuple(_facts(seen, history(seen.windows, now, seen.bounds), now))
    versions, account = ((str(query.version),), query.scope_id or str(query.scope)) if query else ((), "")
    return DatasetRow(source.id, source.uri, versions, account, facts, "", is_waiting=False)


def choices(rows: Sequence[DatasetRow], version: str, account: str) -> Choices:
    """Returns the filters for some datasets."""
    versions = {one for row in rows for one in row.versions}
    accounts = {row.account for row in rows if row.account}
    is_waiting = any(row.is_waiting for row in rows)
    return Choices(tuple(sorted(versions)), tuple(sorted(accounts)), version, account, is_waiting)


def dataset_view(seen: Overview, now: datetime, dag_id: str | None = None, bounds: Bounds | None = None) -> DatasetView:
    """Returns the page of a dataset at an instant: 18 months up to today, in UTC; ``dag_id`` is that of backfills.

    ``bounds`` are those of :func:`~airflow_audit_provider._airflow.coverage_page.periods.history`, by default those of
    the overview.
    """
    bounds = bounds or seen.bounds
    found = history(seen.windows, now, bounds)
    absent = gaps(found, now, bounds)
    start = midnight(pendulum.instance(now).subtract(months=RETENTION_MONTHS)).replace(day=1)
    count = (midnight(now) - start).days + 1
    days = periods(start, count, DAY, seen.windows, absent)
    months = tuple(_months(days))
    skipped_count = _skipped_count(months)
    shown = days[sum(len(month.cells) for month in months[:skipped_count]) :]
    missing = [(span, state) for span, state in absent if state in (State.MISSING, State.LOST)]
    damaged = [one for one in seen.windows if one.problem]
    return DatasetView(
        facts=tuple(_facts(seen, found, now)),
        months=months,
        skipped_count=skipped_count,
        day_count=len(shown),
        bars=tuple(_bars(shown)),
        bars_label=_bars_label(shown),
        gaps=tuple(_gap_rows(missing, seen, dag_id or DEFAULT_DAG_ID, now)),
        more_gaps=max(0, len(missing) - _MOST_LISTED),
        damaged=tuple(Fact(window_text(one.window), one.problem) for one in damaged[:_MOST_LISTED]),
        damaged_count=len(damaged),
        problems=seen.problems,
    )


def band(view: DatasetView) -> tuple[Cell, ...]:
    """Returns the months of a dataset as one row, each with the worst state of its days."""
    order, cells = list(State), []
    for month in view.months:
        worst = min((cell.state for cell in month.cells), key=order.index)
        level = max(cell.level for cell in month.cells)
        count = sum(cell.state is worst for cell in month.cells)
        unverified = sum(cell.is_unverified for cell in month.cells)
        rest = f"; {UNVERIFIED}, {count_of(unverified, 'day')}" if unverified else ""
        label = f"{month.name}: {WORDS[worst]}, {count_of(count, 'day')} of {len(month.cells)}{rest}"
        cells.append(Cell(month.cells[0].name, month.name[:3], label, worst, level, unverified > 0))
    return tuple(cells)


def day_view(seen: Overview, day: date, now: datetime) -> DayView:
    """Returns the hours and windows of a UTC day."""
    start = midnight(now).replace(year=day.year, month=day.month, day=day.day)
    absent = gaps(history(seen.windows, now, seen.bounds), now, seen.bounds)
    (whole,) = periods(start, 1, DAY, seen.windows, absent)
    hours = periods(start, 24, HOUR, whole.windows, absent)
    cells = [
        Cell(
            f"{one.start:%H:%M}",
            f"{one.start:%H}",
            _label(one, f"{one.start:%H:%M}"),
            one.state,
            level,
            one.is_unverified,
        )
        for one, level in zip(hours, levels(hours), strict=True)
    ]
    rows = tuple(window_row(one) for one in whole.windows[:_MOST_LISTED])
    return DayView(str(day), _label(whole, str(day)), tuple(cells), rows, len(whole.windows) - len(rows))


def window_row(seen: SeenWindow) -> WindowRow:
    """Returns a window as a row of a list."""
    state, is_known = state_of(seen), seen.is_read and not seen.problem
    return WindowRow(
        name=WindowKeys(seen.window, seen.window.start.date()).name,
        text=window_text(seen.window),
        look=f"{state}{_mark(is_unverified=is_unverified(seen))}",
        words=state_words(state, is_unverified=is_unverified(seen)),
        records=f"{seen.record_count:,}" if is_known else "unknown",
        size=size_text(seen.size_bytes) if is_known else "unknown",
        generation=str(seen.generation),
        verified=instant_text(seen.verified_at, "not recorded"),
    )


def legend() -> list[tuple[str, str, str]]:
    """Returns the look of each state and of the mark beside it, with its name and meaning."""
    states: list[tuple[str, str, str]] = [(state, WORDS[state], MEANINGS[state]) for state in State]
    look = f"{State.COMMITTED}{_mark(is_unverified=True)}"
    return [*states, (look, f"a dot, on any state: {UNVERIFIED}", UNVERIFIED_MEANING)]


def _mark(*, is_unverified: bool) -> str:
    """Returns the style class of the dot on a state."""
    return " unverified" if is_unverified else ""


def log_text(dataset: Dataset | None) -> str:
    """Returns which audit log a dataset holds, in one line."""
    return "unknown" if dataset is None else str(dataset)


def _facts(seen: Overview, found: History | None, now: datetime) -> Iterator[Fact]:
    """Yields the figures above the calendar."""
    if seen.stitching is not None:
        yield from _stitching_facts(seen.stitching)
        return
    states = Counter(state_of(one) for one in seen.windows)
    own = [one for one in seen.windows if not one.is_foreign]
    # What was not read, or cannot be, has records, too.
    more = " or more" if states[State.UNREAD] or states[State.DAMAGED] else ""
    yield Fact("Audit log", log_text(seen.dataset))
    yield Fact("First committed instant", instant_text(found.first_at if found else None))
    yield Fact("Last committed instant", instant_text(found.last_at if found else None))
    yield Fact("Complete without a gap up to", instant_text(found.complete_until_at if found else None))
    yield Fact("Windows", f"{len(seen.windows):,}")
    for name, state in _COUNTED:
        if states[state]:
            yield Fact(name, f"{states[state]:,}")
    yield Fact("Not verified", f"{seen.verified.not_verified_count:,}")
    yield from _gap_facts(gaps(found, now), now)
    yield Fact("Records", f"{sum(one.record_count for one in own):,}{more}")
    yield Fact("Size", f"{size_text(sum(one.size_bytes for one in own))}{more}")
    yield Fact("Newest seal", _seal_text(seen.seal))
    yield Fact("Last verification that passed", instant_text(seen.verified.last_passed_at))


def _stitching_facts(stitching: Stitching) -> Iterator[Fact]:
    """Yields what the root of a stitched history states."""
    ends = "never" if stitching.overlap_seconds is None else format_instant(stitching.v1_ends_at)
    yield Fact("Audit log", f"account {stitching.account_id}, versions {' and '.join(VERSIONS)} of the API")
    yield Fact("Version 2 begins", format_instant(stitching.cut_over_at))
    yield Fact("Version 1 ends", ends)


_COUNTED = (
    ("Empty", State.EMPTY),
    ("Extended by late records", State.LATE),
    ("Damaged manifests", State.DAMAGED),
    ("Of another dataset", State.FOREIGN),
    ("Not read yet", State.UNREAD),
)


def _gap_facts(absent: Sequence[tuple[Span, State]], now: datetime) -> Iterator[Fact]:
    missing = [span for span, state in absent if state is State.MISSING]
    lost = [span for span, state in absent if state is State.LOST]
    yield Fact("Missing", _spans_text(missing))
    if missing:
        days = (expires_at(TimeWindow(missing[0].start, missing[0].end)) - now).days
        yield Fact("Oldest gap expires in", count_of(max(0, days), "day"))
    if lost:
        yield Fact("Beyond retention", _spans_text(lost))


def _spans_text(spans: Sequence[Span]) -> str:
    """Returns how many gaps there are and how long they are together."""
    if not spans:
        return NONE
    length = sum((span.end - span.start for span in spans), timedelta())
    return f"{count_of(len(spans), 'gap')}, {length_text(length)}"


def _seal_text(seal: NewestSeal | None) -> str:
    if seal is None:
        return NONE
    signed = "signed" if seal.is_signed else "not signed"
    return f"number {seal.number}, {signed}, {'with' if seal.is_timestamped else 'without'} a time stamp"


def _gap_rows(absent: Sequence[tuple[Span, State]], seen: Overview, dag_id: str, now: datetime) -> Iterator[Gap]:
    """Yields the gaps that are listed, each with its backfill if Cloudflare still has it."""
    basis, lost = basis_of(seen.windows), None
    for span, state in islice(absent, _MOST_LISTED):
        until, backfill = "", None
        if state is State.MISSING:
            until = format_instant(expires_at(TimeWindow(span.start, span.end)))[:10]
            lost_length = lost.end - lost.start if lost and lost.end == span.start else timedelta()
            backfill = backfill_of(span, basis, dag_id, now, lost_length)
        lost = span if state is State.LOST else None
        yield Gap(format_instant(span.start), format_instant(span.end), state, WORDS[state], until, backfill)


def _months(days: Sequence[Period]) -> Iterator[Month]:
    """Yields the months of the days."""
    pairs = zip(days, levels(days), strict=True)
    for name, group in groupby(pairs, key=lambda pair: f"{pair[0].start:%B %Y}"):
        cells = []
        listed = list(group)
        for one, level in listed:
            day = f"{one.start:%Y-%m-%d}"
            cells.append(Cell(day, str(one.start.day), _label(one, day), one.state, level, one.is_unverified))
        yield Month(name, listed[0][0].start.weekday(), tuple(cells))


def _skipped_count(months: Sequence[Month]) -> int:
    """Returns how many of the first months have nothing to show."""
    is_before = (all(cell.state is State.BEFORE for cell in month.cells) for month in months[:-_LEAST_MONTHS])
    return sum(1 for _ in takewhile(bool, is_before))


def _label(one: Period, name: str) -> str:
    """Returns the figures of a period as a sentence."""
    words = f"{name}: {state_words(one.state, is_unverified=one.is_unverified)}"
    if not one.windows:
        return words
    verified = sum(each.verified_at is not None for each in one.windows)
    about = "about " if one.is_share else ""
    return (
        f"{words}. {count_of(len(one.windows), 'window')}, "
        f"{about}{count_of(round(one.records), 'record')}, {size_text(round(one.size_bytes))}, {verified} verified"
    )


def _bars(days: Sequence[Period]) -> Iterator[Bar]:
    """Yields the bars of the histogram; a day with a record has a visible one."""
    most = max((one.records for one in days), default=0.0)
    for x, one in enumerate(days):
        if one.records > 0:
            height = round(max(1.0, BAR_HEIGHT * one.records / most), 1)
            yield Bar(x, BAR_HEIGHT - height, height)


def _bars_label(days: Sequence[Period]) -> str:
    busiest = max(days, key=lambda one: one.records, default=None)
    if busiest is None or not busiest.records:
        return "No records in these months"
    return (
        f"Records a day from {days[0].start:%Y-%m-%d} to {days[-1].start:%Y-%m-%d}; most on "
        f"{busiest.start:%Y-%m-%d}, {count_of(round(busiest.records), 'record')}"
    )


def instant_text(instant: datetime | None, missing: str = NONE) -> str:
    """Returns an instant in UTC, or what stands for none."""
    return missing if instant is None else format_instant(instant)

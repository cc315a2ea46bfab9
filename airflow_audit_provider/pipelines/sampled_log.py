"""Samples a log: requests single pages at chosen instants, and estimates from them what windows need.

Invariant: a page is requested once; an instant that an earlier page covers is not requested.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import NamedTuple

from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
from airflow_audit_provider.core.api.query import MAX_PAGE_SIZE, AuditQuery
from airflow_audit_provider.core.api.records import AuditRecord, lines_of
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.request_count import (
    PROBE_SECONDS,
    LogAnswers,
    lonely_requests,
    read_requests,
)
from airflow_audit_provider.core.paging.undated import only_dated
from airflow_audit_provider.core.paging.window_reader import SinglePageReader
from airflow_audit_provider.core.windows.density import DensityCurve, Expected, Sample
from airflow_audit_provider.core.windows.sampling import Interval, Stratum, follow_up_seconds, strata_of
from airflow_audit_provider.core.windows.window import TimeWindow, from_seconds
from airflow_audit_provider.formats.part_format import PartFormat

# So many records of the pages are kept for the estimate of bytes, about a kilobyte each.
_KEPT_RECORDS = 5_000
_HOUR_SECONDS, _DAY_SECONDS = 3_600, 86_400


class WindowNeed(NamedTuple):
    """Estimated need of one window, or of several together."""

    record_count: float = 0.0
    request_count: float = 0.0
    part_count: float = 0.0

    def plus(self, other: WindowNeed) -> WindowNeed:
        """Returns the sum."""
        return WindowNeed(*map(sum, zip(self, other, strict=True)))


class SampledLog:
    """A log as single pages of it show it; ``request_count``, ``record_count`` and ``trip_seconds`` are of the pages.

    ``spans`` are the sorted times to sample, at least one.
    """

    def __init__(self, reader: AuditLogReader, query: AuditQuery, spans: Sequence[TimeWindow]) -> None:
        self.request_count = self.record_count = 0
        self.trip_seconds = 0.0
        self.answers = LogAnswers()
        self._reader = reader
        self._query = query
        self._spans = spans
        self._kept: list[AuditRecord] = []
        self._curve: DensityCurve | None = None

    def sample(self, sample_count: int) -> None:
        """Requests at most so many pages; they replace those of a call before."""
        strata = strata_of(self._spans, sample_count)
        left = sample_count
        groups: list[list[Sample]] = []
        for stratum in strata:
            if groups and stratum.sample_second < groups[-1][0].interval.end_second:
                groups.append(groups[-1][:1])
                continue
            groups.append([self._page_at(stratum.sample_second)])
            left -= 1
        curve = DensityCurve(strata, groups)
        follow_ups = self._follow_ups(curve, strata)[:left]
        for number, second in follow_ups:
            groups[number].append(self._page_at(second))
        self._curve = DensityCurve(strata, groups) if follow_ups else curve

    @property
    def curve(self) -> DensityCurve:
        """The density of the log, once it is sampled."""
        if self._curve is None:
            raise RuntimeError("the log is not sampled yet")
        return self._curve

    def need_of(self, window: TimeWindow, *, is_sliced: bool) -> WindowNeed:
        """Returns what a window needs; pulls read it in slices, or one page after the other."""
        start, end = window.whole_seconds()
        expected = self.curve.expected(Interval(start, end))
        ratios = self._ratios(end - start) if expected.estimated_count else [1.0]
        needs = [self._need(expected, ratio, end - start, is_sliced=is_sliced) for ratio in ratios]
        before = self.curve.expected(Interval(start - PROBE_SECONDS, start))
        lonely = lonely_requests(
            expected.empty_probability, expected.single_probability, before.empty_probability, self.answers
        )
        request_count = sum(needs) / len(needs) + lonely
        return WindowNeed(expected.record_count, request_count, 1 - expected.empty_probability)

    def size_of(self, need: WindowNeed, part_format: PartFormat) -> int:
        """Returns the estimated bytes of windows in a form, from the kept records."""
        if not need.part_count or not self._kept:
            return 0
        # A part has a size of its own, and one for each record. Two parts of about the size in question show both.
        many_count = min(len(self._kept), max(20, round(2 * need.record_count / need.part_count)))
        few_count = max(1, many_count // 4)
        many, few = (self._encoded(part_format, self._kept[:count]) for count in (many_count, few_count))
        each = (many - few) / (many_count - few_count) if many_count > few_count else many / many_count
        return round(max(0.0, many - each * many_count) * need.part_count + each * need.record_count)

    def _follow_ups(self, curve: DensityCurve, strata: Sequence[Stratum]) -> list[tuple[int, int]]:
        return [
            (number, second)
            for number in curve.outliers()
            for second in follow_up_seconds(strata[number].sample_second, strata)
        ]

    def _page_at(self, second: int) -> Sample:
        """Requests the page that begins at a second; it covers what follows it if it is not full."""
        end = self._spans[-1].end
        request = ReadRequest(self._query.version, TimeWindow(from_seconds(second), end))
        page_reader = SinglePageReader(request)
        records = only_dated(list(chain.from_iterable(self._reader.read(self._query, page_reader))))
        page = page_reader.received
        self.request_count += 1
        self.trip_seconds += page_reader.trip_seconds
        self.record_count += len(records)
        self._kept += records[: _KEPT_RECORDS - len(self._kept)]
        goes_on = len(records) >= MAX_PAGE_SIZE or (page is not None and page.cursor is not None)
        self._note_answer(len(records), goes_on=goes_on, states_end=page is not None and page.states_end)
        seconds = [record.event_second for record in records]
        until = max(seconds[-1], second + 1) if goes_on and seconds else request.window.whole_seconds()[1]
        return Sample(Interval(second, until), tuple(one for one in seconds if second <= one < until))

    def _note_answer(self, row_count: int, *, goes_on: bool, states_end: bool) -> None:
        rows, stated = self.answers
        if goes_on and row_count:
            rows = min(rows, row_count)
        self.answers = LogAnswers(rows, stated or states_end)

    def _ratios(self, seconds: int) -> list[float]:
        """Returns how windows of a length differ: by the hour, by the day of the week, or not at all."""
        if seconds < _DAY_SECONDS - _HOUR_SECONDS:
            return self.curve.hourly_ratios()
        return self.curve.daily_ratios() if seconds <= 2 * _DAY_SECONDS else [1.0]

    def _need(self, expected: Expected, ratio: float, seconds: int, *, is_sliced: bool) -> float:
        record_count = expected.seen_count + expected.estimated_count * ratio
        return read_requests(record_count, seconds, self.answers, is_sliced=is_sliced)

    def _encoded(self, part_format: PartFormat, records: Sequence[AuditRecord]) -> int:
        encoder = part_format.open_encoder(self._query.version)
        return len(encoder.encode(records, lines_of(records))) + len(encoder.finish())

"""The comparison counts each record once, finds rows wherever they lie, and lists minutes without a delivery."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from airflow_audit_provider.adapters.spill_file import SpillFile
from airflow_audit_provider.core.api.odd_heads import OddKind
from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, OddRecord
from airflow_audit_provider.core.verification.reconcile.comparison import (
    UNREADABLE,
    ArchivedRow,
    ArchiveFile,
    Comparison,
    Minutes,
)
from airflow_audit_provider.core.verification.reconcile.file_names import (
    is_repair_name,
    may_hold,
    pushed_range,
    repair_name,
)
from airflow_audit_provider.core.verification.reconcile.listed import FirstRecords, Listed
from airflow_audit_provider.core.verification.reconcile.report import ArchiveFacts, make_report
from airflow_audit_provider.core.verification.reconcile.spilled_rows import SpilledRows
from airflow_audit_provider.core.windows.window import SECOND_NS, TimeWindow
from tests.hypothesis_profiles import examples


class TextRow(msgspec.Struct, array_like=True):
    """A row with nothing but a text."""

    text: str


START = datetime(2026, 10, 26, tzinfo=UTC)
HOUR = timedelta(hours=1)
RANGE = TimeWindow(START, START + 2 * HOUR)
WINDOWS = [TimeWindow(START, START + HOUR), TimeWindow(START + HOUR, START + 2 * HOUR)]
MINUTE_NS = 60 * SECOND_NS


def at(second: int) -> int:
    """Returns an instant of the range in nanoseconds."""
    return RANGE.start_ns + second * SECOND_NS


def row(record_id: str, second: int | None = 0, **fields: object) -> ArchivedRow:
    """Returns a row of an archive."""
    return ArchivedRow(record_id, None if second is None else at(second), SECOND_NS, dict(fields))


def record(record_id: str, second: int) -> AuditRecord:
    """Returns a record of the dataset."""
    return AuditRecord(at(second), record_id, json.dumps({"id": record_id}).encode())


def compared(records: dict[str, int], files: dict[str, list[ArchivedRow]]) -> Comparison:
    """Returns the finished comparison of records, by their second, with files."""
    comparison = Comparison(ApiVersion.V1, RANGE, WINDOWS, SpillFile())
    for number in range(len(WINDOWS)):
        mine = [record(name, second) for name, second in records.items() if second // 3600 == number]
        comparison.add_committed(number, mine)
    for key, rows in files.items():
        pushed = pushed_range(key)
        comparison.add_archived(ArchiveFile(key, None if pushed is None else pushed.end_ns, is_repair_name(key)), rows)
    comparison.finish()
    return comparison


def test_row_with_another_time_in_another_window_is_the_same_record() -> None:
    """Rows are joined by id, so one with a wrong time is different and neither missing nor unknown."""
    found = compared({"a": 10}, {"f": [row("a", 4000)]})
    assert [(one.missing_there, one.missing_here, one.differing) for one in found.counts] == [(0, 0, 1), (0, 0, 0)]
    assert [one.columns for one in found.lists.differing] == [("When",)]


def test_time_in_seconds_is_equal_however_it_is_rounded() -> None:
    """A time in whole seconds may be cut or rounded up; a whole second is a difference."""
    records = [AuditRecord(at(10) + 900_000_000, "a", b"{}")]
    for second, expected in ((10, 0), (11, 0), (12, 1), (9, 1)):
        comparison = Comparison(ApiVersion.V1, RANGE, WINDOWS, SpillFile())
        comparison.add_committed(0, records)
        comparison.add_archived(ArchiveFile("f"), [row("a", second)])
        comparison.finish()
        assert comparison.counts[0].differing == expected, second


def test_time_that_cannot_be_read_is_a_difference() -> None:
    """A row with an unreadable time differs from a dated record, and one without the field does not."""
    unreadable, absent = ArchivedRow("a", None, UNREADABLE, {}), ArchivedRow("a", None, 1, {})
    undated = OddRecord(at(10), "a", b'{"id":"a"}', OddKind.TIME)
    for one, rows, expected in (
        (record("a", 10), unreadable, 1),
        (record("a", 10), absent, 0),
        (undated, unreadable, 0),
        (undated, row("a", 4000), 0),
    ):
        comparison = Comparison(ApiVersion.V1, RANGE, WINDOWS, SpillFile())
        comparison.add_committed(0, [one])
        comparison.add_archived(ArchiveFile("f"), [rows])
        comparison.finish()
        assert comparison.counts[0].differing == expected
        assert comparison.columns == (["When"] if rows.event_ns else [])


def test_time_is_compared_in_its_own_unit() -> None:
    """A time that is off by its own unit is different, and one that is off by less is not."""
    for unit_ns, off_ns, expected in ((SECOND_NS, SECOND_NS, 1), (SECOND_NS, SECOND_NS - 1, 0), (1, 1, 1), (1, 0, 0)):
        comparison = Comparison(ApiVersion.V1, RANGE, WINDOWS, SpillFile())
        comparison.add_committed(0, [record("a", 10)])
        comparison.add_archived(ArchiveFile("f"), [ArchivedRow("a", at(10) + off_ns, unit_ns, {})])
        comparison.finish()
        assert comparison.counts[0].differing == expected, (unit_ns, off_ns)


def test_window_that_reaches_beyond_the_range_is_compared_within_it() -> None:
    """Records and rows outside of the range are left out on both sides."""
    comparison = Comparison(ApiVersion.V1, RANGE, [TimeWindow(START - HOUR, START + 3 * HOUR)], SpillFile())
    comparison.add_committed(0, [record("a", -1), record("b", 0), record("c", 7199), record("d", 7200)])
    comparison.add_archived(ArchiveFile("f"), [row("a", -1), row("b"), row("e", 7200)])
    comparison.finish()
    (counts,) = comparison.counts
    assert (counts.record_count, counts.missing_there, counts.missing_here) == (2, 1, 0)


def test_span_that_is_not_committed_is_not_equal() -> None:
    """A report with a span that is not compared, or with an undated row, is not equal."""
    facts = ArchiveFacts(0, 0, 0, 0, 0, 0, "")
    for windows, rows, expected in ((WINDOWS, [], True), (WINDOWS[:1], [], False), (WINDOWS, [row("a", None)], False)):
        comparison = Comparison(ApiVersion.V1, RANGE, windows, SpillFile())
        comparison.add_archived(ArchiveFile("f"), rows)
        comparison.finish()
        assert make_report(comparison, facts, "", []).is_equal is expected


def test_span_shorter_than_an_upload_interval_is_not_off() -> None:
    """A span of five minutes without a delivery is listed, and one of four is not."""
    for minutes, expected in ((4, []), (5, [timedelta(minutes=5)])):
        found = compared({str(minute): minute * 60 for minute in range(minutes)}, {})
        report = make_report(found, ArchiveFacts(0, 0, 0, 0, 0, 0, ""), "", [])
        assert [span.end - span.start for span in report.off] == expected


def test_unknown_row_is_counted_at_its_first_time() -> None:
    """An unknown id with two times is missing in the window of the earlier one, and once."""
    found = compared({}, {"f": [row("a", 4000), row("a", 10)]})
    assert [one.missing_here for one in found.counts] == [1, 0]


def test_unknown_row_is_found_in_windows_that_overlap() -> None:
    """A row behind a short window is of the long window around it, and one outside of both is not committed."""
    minute = timedelta(minutes=1)
    windows = [TimeWindow(START, START + HOUR), TimeWindow(START + minute, START + 2 * minute)]
    comparison = Comparison(ApiVersion.V1, RANGE, windows, SpillFile())
    comparison.add_archived(ArchiveFile("f"), [row("a", 90), row("b", 1800), row("c", 3700)])
    comparison.finish()
    assert [one.missing_here for one in comparison.counts] == [1, 1]
    assert comparison.uncommitted_count == 1


def test_record_without_an_id_is_not_equal() -> None:
    """A record that cannot be found in the archive keeps the report from saying that the two are equal."""
    raw = b'{"when":"2026-10-26T00:00:10Z"}'
    comparison = Comparison(ApiVersion.V1, RANGE, WINDOWS, SpillFile())
    comparison.add_committed(0, [AuditRecord(at(10), f"sha256:{hashlib.sha256(raw).hexdigest()}", raw)])
    comparison.finish()
    report = make_report(comparison, ArchiveFacts(0, 0, 0, 0, 0, 0, ""), "", [])
    assert (report.unidentified_count, report.missing_there_count, report.is_equal) == (1, 0, False)


def test_columns_are_those_of_any_row() -> None:
    """A column that only a later row of the same fields has is among the compared ones."""
    comparison = Comparison(ApiVersion.V2, RANGE, WINDOWS, SpillFile())
    rows = [row("a", Raw={"uri": "/a"}), row("b", Raw={"Method": "GET"})]
    comparison.add_archived(ArchiveFile("f"), rows)
    assert comparison.columns == ["ActionTimestamp", "Raw.method", "Raw.uri"]


def test_rows_around_the_range_are_left_out() -> None:
    """Unknown rows before and after the range are no findings, those without a time are counted apart."""
    found = compared({}, {"f": [row("a", -1), row("b", 7200), row("c", None), row("d", 7199)]})
    assert [one.missing_here for one in found.counts] == [0, 1]
    assert found.undated_count == 1


def test_row_in_a_repair_counts_as_repaired_and_not_as_delivered() -> None:
    """A record that only a repair has is not missing; its minute is still without a delivery."""
    repair = repair_name(START, START + HOUR, "0" * 64)
    found = compared({"a": 10, "b": 20, "c": 3600}, {repair: [row("a"), row("b", 20)], "f": [row("b", 20)]})
    assert found.repaired_count == 1
    assert [(one.missing_there, one.double) for one in found.counts] == [(0, 1), (1, 0)]


def test_delay_is_that_of_the_first_delivery() -> None:
    """Of two copies the earlier file counts; a delay beyond an hour is late."""
    names = ("20261026T000000Z_20261026T030000Z_a.log.gz", "20261026T000000Z_20261026T050000Z_b.log.gz")
    found = compared({"a": 0}, {names[1]: [row("a")], names[0]: [row("a")]})
    (late,) = found.lists.late
    assert (late.files, late.late_seconds) == ((names[0],), 3 * 3600)
    assert found.lateness.maximum_seconds == 3 * 3600


@given(st.lists(st.tuples(st.integers(0, 119), st.booleans()), max_size=30))
@examples(100)
def test_silent_spans_cover_the_minutes_without_a_delivery(added: list[tuple[int, bool]]) -> None:
    """A minute with records and no delivery is in exactly one span, and no span has a minute with a delivery."""
    minutes = Minutes(RANGE)
    for minute, is_delivered in added:
        minutes.add(RANGE.start_ns + minute * MINUTE_NS, is_delivered=is_delivered)
    counts = Counter(minute for minute, _ in added)
    delivered = {minute for minute, is_delivered in added if is_delivered}
    spans = list(minutes.silent_spans())
    covered = [
        minute
        for span in spans
        for minute in range((span.start_ns - RANGE.start_ns) // MINUTE_NS, (span.end_ns - RANGE.start_ns) // MINUTE_NS)
    ]
    assert len(covered) == len(set(covered))
    assert set(covered) >= counts.keys() - delivered
    assert not set(covered) & delivered
    assert sum(span.record_count for span in spans) == sum(counts[minute] for minute in counts.keys() - delivered)
    assert all(span.end_ns <= later.start_ns for span, later in pairwise(spans))


@given(st.lists(st.tuples(st.integers(0, 3), st.text(max_size=3)), max_size=40), st.integers(1, 9))
@examples(60)
def test_spilled_rows_come_back_by_bucket_in_order(added: list[tuple[int, str]], memory_rows: int) -> None:
    """Each bucket returns its rows in the order of their additions, however few of them fit in memory."""
    rows = SpilledRows(SpillFile(), TextRow, bucket_count=4, memory_rows=memory_rows)
    for bucket, text in added:
        rows.add(bucket, TextRow(text))
    for bucket in range(4):
        assert [one.text for one in rows.rows(bucket)] == [text for place, text in added if place == bucket]
    assert rows.count == len(added)


@given(st.lists(st.integers(0, 50), max_size=60), st.randoms())
@examples(60)
def test_first_records_do_not_depend_on_order(times: list[int], rng: Random) -> None:
    """The list has the first records by time, whatever order they come in, and counts all."""
    listed = [Listed(time, str(number)) for number, time in enumerate(times)]
    shuffled = sorted(listed, key=lambda _: rng.random())
    kept = FirstRecords(limit=10)
    for one in shuffled:
        kept.add(one)
    assert list(kept) == sorted(listed, key=lambda one: (one.event_ns, one.id))[:10]
    assert kept.count == len(times)


def test_files_are_selected_by_the_times_in_their_keys() -> None:
    """A file before the range is not read, one within the reach after it is, and one without a time always is."""
    day = timedelta(days=1)
    for key, expected in {
        "logs/20261025/20261025T225000Z_20261025T225500Z_a.log.gz": False,
        "logs/20261025/20261025T235500Z_20261026T000000Z_a.log.gz": True,
        "20261027T015900Z_20261027T020000Z_a.log.gz": True,
        "20261027T021000Z_20261027T021100Z_a.log.gz": False,
        "dt=2026-10-24/part.gz": False,
        "dt=20261026/part.gz": True,
        "since-20200101/20261026/part.gz": True,
        "20261025T235000Z_20261025T235600Z_a.log.gz": True,
        "20261025T235000Z_20261025T235400Z_a.log.gz": False,
        "20261027T020400Z_20261027T021000Z_a.log.gz": True,
        "20261027T020600Z_20261027T021000Z_a.log.gz": False,
        "audit/part-7.gz": True,
        "20269999T000000Z_20269999T000000Z_a.log.gz": True,
        "99999999/x.gz": True,
    }.items():
        assert may_hold(key, RANGE, day) is expected, key

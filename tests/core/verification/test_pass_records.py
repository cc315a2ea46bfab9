"""Records of verifications that passed: which windows they cover, and what coverage says about them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from airflow_audit_provider.core.archive.object_keys import WindowKeys, is_pass_record_key
from airflow_audit_provider.core.verification.pass_records import (
    PassRecord,
    Verified,
    pass_record,
    read_pass_record,
    verified_by,
    verified_line,
)
from airflow_audit_provider.core.windows.window import TimeWindow

START = datetime(2026, 11, 1, tzinfo=UTC)
DAY = timedelta(days=1)
NIGHT_1, NIGHT_2 = datetime(2026, 11, 20, 3, tzinfo=UTC), datetime(2026, 11, 21, 3, tzinfo=UTC)


def _window(day: int) -> TimeWindow:
    return TimeWindow(START + day * DAY, START + (day + 1) * DAY)


def _key(day: int, generation: int = 1) -> str:
    return WindowKeys(_window(day), _window(day).start.date()).manifest(generation)


def _record(at: datetime, *keys: str) -> PassRecord:
    return pass_record(at, keys, record_count=5, newest_seal_sha256=None)


def _windows(*keys: tuple[int, int]) -> dict[TimeWindow, str]:
    return {_window(day): _key(day, generation) for day, generation in keys}


def test_record_joins_adjacent_windows_and_lists_only_later_generations() -> None:
    """A year without gaps takes one range, and a window of the first generation no entry of its own."""
    record = _record(NIGHT_1, _key(3), _key(0), _key(1, 12))
    assert record.ranges == (TimeWindow(START, START + 2 * DAY), _window(3))
    assert record.later_generations == {"20261102T000000Z-20261103T000000Z": 12}
    assert (record.window_count, record.record_count) == (3, 5)


def test_record_is_read_as_it_was_written() -> None:
    """The key has the time and the digest, and the bytes give the same record."""
    record = _record(NIGHT_1, _key(0, 2))
    assert record.key.startswith("_verified/20261120T030000Z-")
    assert is_pass_record_key(record.key)
    assert read_pass_record(record.key, record.to_bytes()) == record


@pytest.mark.parametrize("damage", ["cut", "other time", "not JSON", "without zone", "other key", "added field"])
def test_damaged_record_is_none(damage: str) -> None:
    """Bytes that are not exactly the record of their key are no record."""
    record = _record(NIGHT_1, _key(0))
    content = record.to_bytes()
    other = msgspec.structs.replace(record, verified_at=NIGHT_2)
    key = other.key if damage == "other key" else record.key
    changed = {
        "cut": content[:-3],
        "other time": other.to_bytes(),
        "not JSON": b"\xff",
        "without zone": content.replace(b"03:00:00Z", b"03:00:00"),
        "other key": content,
        "added field": content[:-1] + b',"x":1}',
    }
    assert read_pass_record(key, changed[damage]) is None


def test_window_with_a_newer_generation_is_not_verified() -> None:
    """Late records, a replacement and a new window after the verification count as not verified."""
    record = _record(NIGHT_1, _key(0), _key(1, 2), _key(2))
    found = verified_by(_windows((0, 1), (1, 2), (2, 2), (3, 1)), [record])
    assert (found.verified_count, found.not_verified_count, found.last_passed_at) == (2, 2, NIGHT_1)
    assert [(span.window_count, span.verified_at) for span in found.spans] == [(2, NIGHT_1), (2, None)]
    assert (found.spans[0].start, found.spans[1].end) == (START, START + 4 * DAY)


def test_newest_record_that_covers_a_window_counts() -> None:
    """A verification of the last day leaves the older days with the time of theirs."""
    records = [_record(NIGHT_2, _key(2)), _record(NIGHT_1, _key(0), _key(1), _key(2))]
    found = verified_by(_windows((0, 1), (1, 1), (2, 1)), records)
    assert [span.verified_at for span in found.spans] == [NIGHT_1, NIGHT_2]
    assert (found.last_passed_at, found.not_verified_count) == (NIGHT_2, 0)


def test_no_older_record_is_read_than_needed() -> None:
    """Records are read only until every window is found."""
    record = _record(NIGHT_2, _key(0))
    records = iter([record, None])
    assert verified_by(_windows((0, 1)), records).unreadable_count == 0
    assert list(records) == [None]


def test_line_says_when_verify_last_passed() -> None:
    """The line has the time, the count of windows whose newest generation passed, and damaged records."""
    found = verified_by(_windows((0, 1), (1, 1)), [None, _record(NIGHT_1, _key(0))])
    assert verified_line(found) == (
        "verify last passed 2026-11-20T03:00:00Z; the newest generation of 1 of 2 windows has a record in _verified/; "
        "1 damaged record of verifications\n"
    )
    assert verified_line(Verified(None, (), 0, 2, 0)) == "no passed verification is recorded\n"

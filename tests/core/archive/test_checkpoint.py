"""Checkpoints: their resume key, when they can be used, and from where the next attempt continues."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest

from airflow_audit_provider.core.api.query import audit_query
from airflow_audit_provider.core.api.read_stats import ReadStats
from airflow_audit_provider.core.archive.checkpoint import Checkpoint, ResumeKey, best_checkpoint, read_checkpoint
from airflow_audit_provider.core.archive.commit import StagedPart
from airflow_audit_provider.core.archive.security_lake import SecurityLake
from airflow_audit_provider.core.privacy.rule import AppliedPrivacy
from airflow_audit_provider.core.windows.window import TimeWindow, to_ns

START = datetime(2026, 10, 26, tzinfo=UTC)
END = START + timedelta(days=1)
QUERY = audit_query("v1", None, account_id="0" * 32)
IDENTITY = ResumeKey(
    query=QUERY,
    window=TimeWindow(START, END),
    partition_date=date(2026, 10, 26),
    file_format="jsonl",
    compression="gzip",
    max_part_bytes=1 << 20,
    replace=False,
    base_sha256=None,
)


def _part(number: int, last_at: datetime = START) -> StagedPart:
    return StagedPart(f"_staging/w/one/part-{number}", 10 + number, "aa", 100, to_ns(START), to_ns(last_at))


def _checkpoint(part_count: int, **changes: Any) -> Checkpoint:
    identity = msgspec.structs.replace(IDENTITY, **changes)
    return Checkpoint(identity, tuple(map(_part, range(part_count))), ReadStats(request_count=3), END, END)


def _sizes(count: int) -> dict[str, int]:
    return {_part(number).staged_key: _part(number).size_bytes for number in range(count)}


OTHER: dict[str, Any] = {
    "query": audit_query("v1", None, account_id="1" * 32),
    "window": TimeWindow(START, END - timedelta(seconds=1)),
    "partition_date": date(2026, 10, 25),
    "file_format": "csv",
    "compression": "none",
    "max_part_bytes": 2 << 20,
    "replace": True,
    "base_sha256": "bb",
    "layout_version": 0,
    "schema": "normalized 1.0",
    "privacy": AppliedPrivacy("privacy", ("email",), (), "0123456789abcdef"),
    "layout": SecurityLake("s3://lake", "cf_audit", "eu-central-1", "external", "v1-01234567"),
}


def test_table_has_every_field_of_the_resume_key() -> None:
    """The table below has every field of the resume key."""
    assert set(OTHER) == set(ResumeKey.__struct_fields__)


@pytest.mark.parametrize("name", OTHER)
def test_checkpoint_with_another_resume_key_is_unusable(name: str) -> None:
    """A change of any field of the resume key makes a checkpoint unusable."""
    other = _checkpoint(2, **{name: OTHER[name]})
    assert best_checkpoint([other], IDENTITY, _sizes(2), END) is None
    assert best_checkpoint([other], other.resume_key, _sizes(2), END) == other


@pytest.mark.parametrize(
    "change",
    [
        {"version": "v2"},
        {"scope_id": "1" * 32},
        {"filters": (("action_type", "login"),)},
    ],
)
def test_checkpoint_of_another_query_is_unusable(change: dict[str, Any]) -> None:
    """A checkpoint of another version, scope or filter is unusable."""
    other = _checkpoint(1, query=msgspec.structs.replace(QUERY, **change))
    assert best_checkpoint([other], IDENTITY, _sizes(1), END) is None


@pytest.mark.parametrize(
    "sizes", [{}, _sizes(1), {**_sizes(2), _part(1).staged_key: 12}, {**_sizes(2), _part(0).staged_key: 9}]
)
def test_checkpoint_with_a_missing_part_is_unusable(sizes: dict[str, int]) -> None:
    """A staged part that is missing or has another size makes the checkpoint unusable."""
    assert best_checkpoint([_checkpoint(2)], IDENTITY, sizes, END) is None


@pytest.mark.parametrize("counts", [(0, 1, 3, 2), (3, 2, 1, 0)])
def test_the_furthest_checkpoint_wins(counts: tuple[int, ...]) -> None:
    """Of the usable checkpoints the one with the most records is taken, whatever their order."""
    found = [_checkpoint(count) for count in counts]
    assert best_checkpoint([None, *found, None], IDENTITY, _sizes(3), END) == _checkpoint(3)
    assert best_checkpoint(found, IDENTITY, _sizes(2), END) == _checkpoint(2)
    assert best_checkpoint([None], IDENTITY, _sizes(3), END) is None


@pytest.mark.parametrize(("late_by", "stands"), [(timedelta(0), True), (timedelta(microseconds=1), False)])
def test_checkpoint_of_an_unsettled_window_is_unusable(late_by: timedelta, stands: bool) -> None:
    """An attempt that begins before the window has settled may lack late records, so it is not resumed."""
    found = best_checkpoint([_checkpoint(2)], IDENTITY, _sizes(2), END + late_by)
    assert (found is not None) is stands


def test_checkpoint_is_read_back_from_its_bytes() -> None:
    """An encoded checkpoint is decoded to the same value."""
    checkpoint = _checkpoint(3, base_sha256="cc")
    assert read_checkpoint(checkpoint.to_bytes()) == checkpoint
    assert checkpoint.record_count == 300


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"{}",
        b"\xff\xfe",
        b"[1, 2]",
        _checkpoint(1).to_bytes()[:-1],
        _checkpoint(1).to_bytes().replace(b'"record_count":100', b'"record_count":"x"'),
        # The window rejects an end before its start; the decoder does not.
        _checkpoint(1).to_bytes().replace(b"2026-10-27T00:00:00Z", b"2026-10-25T00:00:00Z", 1),
    ],
)
def test_invalid_bytes_are_no_checkpoint(content: bytes | None) -> None:
    """Bytes that are missing, truncated or of another format give None and no error."""
    assert read_checkpoint(content) is None


def test_without_parts_the_whole_window_remains() -> None:
    """A checkpoint without parts leaves the whole window to be read."""
    assert _checkpoint(0).remainder == TimeWindow(START, END)


@pytest.mark.parametrize(
    ("last_at", "resumes_at"),
    [
        (START + timedelta(seconds=90), START + timedelta(seconds=90)),
        (START + timedelta(seconds=90, microseconds=999_999), START + timedelta(seconds=90)),
        (END - timedelta(microseconds=1), END - timedelta(seconds=1)),
    ],
)
def test_the_last_second_is_read_again(last_at: datetime, resumes_at: datetime) -> None:
    """The remainder starts with the whole second of the last staged record, which may be incomplete."""
    checkpoint = Checkpoint(IDENTITY, (_part(0), _part(1, last_at)), ReadStats(), END, END)
    assert checkpoint.remainder == TimeWindow(resumes_at, END)


def test_nothing_before_the_window_is_read_again() -> None:
    """A window that starts within a second is read again from its own start."""
    start = START + timedelta(milliseconds=500)
    identity = msgspec.structs.replace(IDENTITY, window=TimeWindow(start, END))
    checkpoint = Checkpoint(identity, (_part(0, start + timedelta(milliseconds=1)),), ReadStats(), END, END)
    assert checkpoint.remainder == TimeWindow(start, END)

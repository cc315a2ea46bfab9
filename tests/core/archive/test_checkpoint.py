"""Checkpoints: what one stands for, when it still stands, and from where the next try goes on."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest

from airflow_audit_provider.core.api.query import audit_query
from airflow_audit_provider.core.api.read_stats import ReadStats
from airflow_audit_provider.core.archive.checkpoint import Checkpoint, ResumeKey, best_checkpoint, read_checkpoint
from airflow_audit_provider.core.archive.commit import StagedPart
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
}


def test_every_field_of_the_identity_is_changed_below() -> None:
    """A field that is added to the identity has to be added to the table."""
    assert set(OTHER) == set(ResumeKey.__struct_fields__)


@pytest.mark.parametrize("name", OTHER)
def test_a_checkpoint_of_anything_else_is_worth_nothing(name: str) -> None:
    """A change of any single field of the identity makes a checkpoint worthless."""
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
def test_every_part_of_the_query_counts(change: dict[str, Any]) -> None:
    """Another version, scope or filter is another query."""
    other = _checkpoint(1, query=msgspec.structs.replace(QUERY, **change))
    assert best_checkpoint([other], IDENTITY, _sizes(1), END) is None


@pytest.mark.parametrize(
    "sizes", [{}, _sizes(1), {**_sizes(2), _part(1).staged_key: 12}, {**_sizes(2), _part(0).staged_key: 9}]
)
def test_a_checkpoint_whose_parts_are_not_all_there_is_worth_nothing(sizes: dict[str, int]) -> None:
    """A staged part that is missing or has another size takes the whole checkpoint with it."""
    assert best_checkpoint([_checkpoint(2)], IDENTITY, sizes, END) is None


@pytest.mark.parametrize("order", [(0, 1, 3, 2), (3, 2, 1, 0)])
def test_the_furthest_checkpoint_wins(order: tuple[int, ...]) -> None:
    """Of those that stand the one with the most records is taken, in whichever order they come."""
    found = [_checkpoint(count) for count in order]
    assert best_checkpoint([None, *found, None], IDENTITY, _sizes(3), END) == _checkpoint(3)
    assert best_checkpoint(found, IDENTITY, _sizes(2), END) == _checkpoint(2)
    assert best_checkpoint([None], IDENTITY, _sizes(3), END) is None


@pytest.mark.parametrize(("late_by", "stands"), [(timedelta(0), True), (timedelta(microseconds=1), False)])
def test_a_reading_that_began_before_the_window_was_settled_is_worth_nothing(late_by: timedelta, stands: bool) -> None:
    """A try under a shorter settle delay may lack what came late, so a longer one does not go on with it."""
    found = best_checkpoint([_checkpoint(2)], IDENTITY, _sizes(2), END + late_by)
    assert (found is not None) is stands


def test_a_checkpoint_survives_its_bytes() -> None:
    """What is written is what is read."""
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
        # A window that ends before it begins is refused by the window, not by the decoder.
        _checkpoint(1).to_bytes().replace(b"2026-10-27T00:00:00Z", b"2026-10-25T00:00:00Z", 1),
    ],
)
def test_bytes_that_are_no_checkpoint(content: bytes | None) -> None:
    """Bytes that are missing, cut or another thing's are no checkpoint, and no error."""
    assert read_checkpoint(content) is None


def test_without_parts_the_whole_window_remains() -> None:
    """A checkpoint of nothing leaves everything to be read."""
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
    """What remains begins with the whole second of the last staged record, which may not be staged whole."""
    checkpoint = Checkpoint(IDENTITY, (_part(0), _part(1, last_at)), ReadStats(), END, END)
    assert checkpoint.remainder == TimeWindow(resumes_at, END)


def test_nothing_before_the_window_is_read_again() -> None:
    """A window that begins inside a second is read on from its own start."""
    start = START + timedelta(milliseconds=500)
    identity = msgspec.structs.replace(IDENTITY, window=TimeWindow(start, END))
    checkpoint = Checkpoint(identity, (_part(0, start + timedelta(milliseconds=1)),), ReadStats(), END, END)
    assert checkpoint.remainder == TimeWindow(start, END)

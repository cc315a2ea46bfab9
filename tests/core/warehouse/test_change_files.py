"""Files of changes hold any value of a record, and are read row by row."""

from __future__ import annotations

import gzip
from typing import Any

import msgspec
import pytest

from airflow_audit_provider.core.archive.change_keys import (
    change_commit_key,
    change_file_key,
    change_generation,
    forbidden_key,
    is_change_key,
)
from airflow_audit_provider.core.archive.object_keys import WindowKeys
from airflow_audit_provider.core.warehouse.change_files import ChangeRow, change_file, read_rows, write_rows
from airflow_audit_provider.exceptions import VerificationError
from tests.pipelines.verify.dataset import DAY_1, window

PART = "dt=2026-10-26/window=x/part-0001-00000-0123456789abcdef.jsonl.gz"


def _row(before: Any, record_id: str = "r", status: str = "exact") -> ChangeRow:
    return ChangeRow(record_id, "2026-10-26T00:00:00.000000Z", status, "history", ("x",), before, {"a": 1})


def test_text_that_utf_8_cannot_hold_is_replaced() -> None:
    """Half of a surrogate pair becomes the replacement character, in a value and in an id, and a pair stays a pair."""
    rows = [_row({"a": "\ud800x", "n": float("inf")}, "\udc00"), _row({"a": "\U0001f600", "b": "\ud800"})]
    first, second = read_rows("k", write_rows(rows))
    assert (first.id, first.before) == ("\ufffd", {"a": "\ufffdx", "n": None})
    assert second.before == {"a": "\U0001f600", "b": "\ufffd"}


def test_file_is_read_row_by_row() -> None:
    """The first rows are read although the file is cut behind them, and the cut is an error at its place."""
    rows = [_row("x" * 300_000, f"r{number}") for number in range(20)]
    content = write_rows(rows)
    assert [row.id for row in read_rows("k", content)] == [row.id for row in rows]
    reading = read_rows("k", content[:-20])
    assert next(reading).id == "r0"
    with pytest.raises(VerificationError, match="missing or damaged"):
        list(reading)


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"text",
        write_rows([])[:-1],
        # Without a time, which is in the id of the case: each worker of a run collects the same ids.
        gzip.compress(b"{}\n", mtime=0),
        gzip.compress(b"7", mtime=0),
        write_rows([_row(1)]) + b"x",
    ],
)
def test_damaged_file_is_an_error(content: bytes | None) -> None:
    """A file that is gone, cut, foreign, without its last line end, or followed by other bytes is damaged."""
    with pytest.raises(VerificationError, match="missing or damaged"):
        list(read_rows("k", content))


def test_statuses_of_a_file_are_counted() -> None:
    """A commit states how many rows a file has by their status, and the digest of its bytes."""
    made = change_file("k", write_rows([_row(1), _row(2), _row(3, status="expired")]))
    assert made.statuses == {"exact": 2, "expired": 1}


@pytest.mark.parametrize("generation", [1, 9999, 10_000])
def test_keys_of_changes_are_known_and_no_other(generation: int) -> None:
    """Files and commits of any generation are recognized, also while histories are refused."""
    commit_key = change_commit_key(window(), WindowKeys(window(), DAY_1.date()).manifest(generation))
    keys = [commit_key, change_file_key(window(), PART, 3)]
    assert all(is_change_key(key) and is_change_key(forbidden_key(key)) for key in keys)
    assert [change_generation(one) for one in (commit_key, forbidden_key(commit_key), keys[1])] == [
        generation,
        generation,
        0,
    ]
    folder = commit_key.rpartition("/")[0]
    for name in ("g0001.jsonl.gz", "part-1-00000.json", "g1.json", "x/g0001.json", "part-1-00000-late.jsonl.gz", ""):
        assert not is_change_key(f"{folder}/{name}")
    assert not is_change_key(f"_changes/dt=2026-10-27/{window}/g0001.json")


def test_row_without_a_value_keeps_it_unknown() -> None:
    """A value that is not known has no field, which is another thing than null."""
    row = ChangeRow("r", "t", "expired", "history")
    (found,) = read_rows("k", write_rows([row]))
    assert (found.before, found.after) == (msgspec.UNSET, msgspec.UNSET)

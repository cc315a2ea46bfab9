"""The verdict about a landed destination finds manipulated and lost records."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path

import pytest

from demo.verdict import Truth, Verdict, judge
from harness.landed import landed_windows, tree_digest
from tests.demo.landed_tree import DAY, land, record

TRUE = [record(number) for number in range(5)]
FORMATS = ("jsonl", "parquet")


def truth(_start: datetime, _end: datetime) -> list[bytes]:
    """Returns the true records of the day."""
    return TRUE


def verdict_of(root: Path, known: Truth | None = truth) -> Verdict:
    """Returns the verdict about both formats of one day."""
    windows = [window for each in FORMATS for window in landed_windows(root / each)]
    return judge(windows, FORMATS, [date.fromisoformat(DAY)], known)


@pytest.mark.parametrize("known", [truth, None])
def test_whole_destination_is_equal(tmp_path: Path, known: Truth | None) -> None:
    """Two formats with all records have no difference, with or without the true records."""
    for each in FORMATS:
        land(tmp_path, each, TRUE)
    verdict = verdict_of(tmp_path, known)
    assert verdict.differences == []
    assert verdict.compared_count == 10
    assert all(status.startswith("equal") for status in verdict.status.values())


@pytest.mark.parametrize("broken_format", FORMATS)
@pytest.mark.parametrize(
    ("landed", "said"),
    [
        (TRUE[:-1], "id-004 is missing"),
        ([*TRUE, TRUE[0]], "id-000 is present 2 times"),
        ([TRUE[0].replace(b"rec_add", b"rec_del"), *TRUE[1:]], "id-000 is changed"),
    ],
)
def test_one_wrong_record_is_found_in_either_format(
    tmp_path: Path, broken_format: str, landed: list[bytes], said: str
) -> None:
    """A missing, duplicate or changed record is one difference, even if the manifest agrees with the part."""
    for each in FORMATS:
        land(tmp_path, each, landed if each == broken_format else TRUE)
    verdict = verdict_of(tmp_path)
    assert len(verdict.differences) == 1
    assert said in verdict.differences[0]
    assert verdict.status[broken_format, DAY] == "1 difference"


def test_missing_window_is_a_difference(tmp_path: Path) -> None:
    """A day without a manifest is a difference."""
    land(tmp_path, "jsonl", TRUE)
    assert verdict_of(tmp_path).differences == [f"parquet {DAY}: no manifest"]


def test_doubled_record_is_found_without_a_truth(tmp_path: Path) -> None:
    """For a real account, windows are searched for duplicate ids."""
    for each in FORMATS:
        land(tmp_path, each, [*TRUE, TRUE[1]])
    assert len(verdict_of(tmp_path, None).differences) == 2


@pytest.mark.parametrize("known", [truth, None])
def test_part_that_is_not_what_its_manifest_says_is_found(tmp_path: Path, known: Truth | None) -> None:
    """A part with other bytes and a missing part are each a difference."""
    changed, gone = (land(tmp_path, each, TRUE) for each in FORMATS)
    changed.write_bytes(changed.read_bytes() + b"\0")
    gone.unlink()
    said = "\n".join(verdict_of(tmp_path, known).differences)
    assert "does not have the SHA-256 digest" in said
    assert "does not exist" in said


def test_newest_generation_counts(tmp_path: Path) -> None:
    """Of two manifests of one window, the one with the higher generation is read."""
    land(tmp_path, "jsonl", TRUE[:2])
    land(tmp_path, "jsonl", TRUE, generation=2)
    assert [window.record_count for window in landed_windows(tmp_path / "jsonl")] == [5]


def test_tree_digest_sees_one_byte(tmp_path: Path) -> None:
    """The digest of a destination changes if one byte changes, but not if only staging changes."""
    path = land(tmp_path, "jsonl", TRUE)
    before = tree_digest(tmp_path)
    (tmp_path / "_staging").mkdir()
    (tmp_path / "_staging" / "x").write_bytes(b"1")
    assert tree_digest(tmp_path) == before
    path.write_bytes(path.read_bytes() + b"\0")
    assert tree_digest(tmp_path) != before

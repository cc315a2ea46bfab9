"""Tests of the comparison: it sees a record that is missing, added, changed or repeated."""

from __future__ import annotations

import gzip
import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random

import pytest

from tests.campaign.audit_records import ODD_KINDS, RecordWriter, Row, nanoseconds
from tests.campaign.logs import TrueLog
from tests.campaign.oracle import Difference, difference, landed_lines

START = datetime(2026, 7, 1, tzinfo=UTC)
END = START + timedelta(hours=1)


def row(number: int, minutes: float, *, is_dated: bool = True) -> Row:
    """Returns a row so many minutes after the start."""
    at_ns = nanoseconds(START + timedelta(minutes=minutes))
    return Row(number, at_ns, str(number), b'{"id":%d}' % number, is_dated)


def log_of(*rows: Row) -> TrueLog:
    """Returns a log with these rows."""
    return TrueLog("v1", START, END, END, rows)


LOG = log_of(row(0, -1), row(1, 0), row(2, 59.99), row(3, 60))


@pytest.mark.parametrize(
    ("landed", "expected"),
    [
        ([1, 2], Difference(0, 0, 0)),
        ([2, 1], Difference(0, 0, 0)),
        ([1], Difference(1, 0, 0)),
        ([1, 2, 3], Difference(0, 1, 0)),
        ([0, 1, 2], Difference(0, 1, 0)),
        ([1, 2, 2], Difference(0, 0, 1)),
        ([1, 9], Difference(1, 1, 0)),
    ],
)
def test_difference_counts_what_is_missing_added_and_repeated(landed: list[int], expected: Difference) -> None:
    """The window is half-open, and order does not matter."""
    assert difference(LOG, [b'{"id":%d}' % number for number in landed]) == expected


def test_optional_row_may_be_there_or_not() -> None:
    """A row that vanishes while a window is read is right either way."""
    both = [b'{"id":1}', b'{"id":2}']
    assert difference(LOG, both, frozenset({2})).is_exact
    assert difference(LOG, both[:1], frozenset({2})).is_exact
    assert not difference(LOG, both[1:], frozenset({2})).is_exact


def test_undated_row_may_land_only_where_no_dated_row_lies_between() -> None:
    """A record without a time is accepted next to the window, and not far from it."""
    near = log_of(row(1, 10), row(2, 61, is_dated=False))
    far = log_of(row(1, 10), row(3, 61), row(2, 62, is_dated=False))
    assert difference(near, [b'{"id":1}', b'{"id":2}']).is_exact
    assert difference(far, [b'{"id":1}', b'{"id":2}']) == Difference(0, 1, 0)


def write_commit(folder: Path, content: bytes, count: int, digest: str | None = None) -> None:
    """Writes a part and the manifest that names it."""
    (folder / "part.jsonl.gz").write_bytes(content)
    part = {"key": "part.jsonl.gz", "size_bytes": len(content)}
    part["sha256"] = digest or hashlib.sha256(content).hexdigest()
    (folder / "_manifests").mkdir()
    manifest = {"generation": 1, "record_count": count, "parts": [part]}
    (folder / "_manifests" / "one.json").write_text(json.dumps(manifest))


@pytest.mark.integration
def test_landed_lines_come_from_the_newest_manifest(tmp_path: Path) -> None:
    """Lines are read with standard modules; nothing is landed without a manifest."""
    assert landed_lines(tmp_path) is None
    write_commit(tmp_path, gzip.compress(b"a\nb\n"), 2)
    assert landed_lines(tmp_path) == [b"a", b"b"]


@pytest.mark.integration
@pytest.mark.parametrize(("count", "digest"), [(3, None), (2, "0" * 64)])
def test_damaged_commit_is_an_error(tmp_path: Path, count: int, digest: str | None) -> None:
    """A wrong count and a wrong digest are seen."""
    write_commit(tmp_path, gzip.compress(b"a\nb\n"), count, digest)
    with pytest.raises(ValueError, match="manifest"):
        landed_lines(tmp_path)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_every_record_of_a_writer_is_another_line(version: str) -> None:
    """Ordinary and odd records are single lines, all different."""
    writer = RecordWriter(Random(1), version)
    raws = [writer.row(number, nanoseconds(START)).raw for number in range(200)]
    raws += [writer.odd_row(number, nanoseconds(START), kind).raw for number, kind in enumerate(ODD_KINDS, 200)]
    assert len(set(raws)) == len(raws) == 200 + len(ODD_KINDS)
    assert not any(b"\n" in raw or b"\r" in raw for raw in raws)
    assert all(json.loads(raw)["id"] for raw in raws[:200])

"""Tests that both versions page through all records, with and without misbehaviours."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from itertools import pairwise

import pytest

from tests.testing.fake_requests import DAYS, V1, V2, envelope_of, fake_with, get, ids, pages, true_ids

VERSIONS = pytest.mark.parametrize("version", ["v1", "v2"])


@VERSIONS
@pytest.mark.parametrize("direction", ["asc", "desc"])
@pytest.mark.parametrize("by_offset", [True, False])
def test_every_record_once(version: str, direction: str, by_offset: bool) -> None:
    """All pages together are the true records in the requested direction."""
    fake = fake_with(cursor_by_offset=by_offset)
    found = ids(pages(fake, version, direction=direction))
    assert found == (true_ids(fake, version) if direction == "asc" else true_ids(fake, version)[::-1])


@VERSIONS
@pytest.mark.parametrize("spec", ["page_ceiling=20", "fewer_than_asked=7", "fewer_than_asked=random"])
def test_short_pages_lose_nothing(version: str, spec: str) -> None:
    """Returns every record on shorter pages."""
    fake = fake_with(spec)
    found = pages(fake, version)
    assert sorted(ids(found)) == sorted(true_ids(fake, version))
    assert all(len(page) <= 50 for page in found)
    assert any(len(page) < 50 for page in found[:-1])
    if spec == "page_ceiling=20":
        assert {len(page) for page in found[:-1]} == {20}


def test_ceiling_with_asked_offset_skips_rows() -> None:
    """Skips rows if a capped page counts its offset by the requested size."""
    fake = fake_with("page_ceiling_asked_offset=20")
    truth = true_ids(fake)[::-1]
    assert ids(pages(fake, "v1")) == [one for number, one in enumerate(truth) if number % 50 < 20]


@VERSIONS
def test_repeated_row(version: str) -> None:
    """The first record of each page repeats the last of the page before."""
    fake = fake_with("repeated_row")
    found = pages(fake, version)
    assert all(one[-1] == other[0] for one, other in pairwise(found) if len(one) == 50)
    assert set(ids(found)) == set(true_ids(fake, version))
    assert max(Counter(ids(found)).values()) == 2


def test_depth_cap() -> None:
    """Returns 400 beyond the cap, which is not the end of the list."""
    fake = fake_with("depth_cap=100")
    assert [get(fake, V1, per_page=50, page=page, **DAYS["v1"]).status for page in (1, 2, 3)] == [200, 200, 400]


def test_past_the_end() -> None:
    """Returns an empty list after the last page, or 400 if configured."""
    assert envelope_of(get(fake_with(), V1, page=99, **DAYS["v1"]))["result"] == []
    assert get(fake_with("past_end_is_400"), V1, page=99, **DAYS["v1"]).status == 400


def test_v1_totals_are_off_by_default() -> None:
    """Returns no result_info in version 1 unless it is switched on."""
    assert "result_info" not in envelope_of(get(fake_with(), V1, **DAYS["v1"]))
    fake = fake_with("v1_totals")
    assert envelope_of(get(fake, V1, **DAYS["v1"]))["result_info"]["total_count"] == len(true_ids(fake))


@VERSIONS
def test_expiring_edge(version: str) -> None:
    """Drops rows at the oldest end as the retention moves."""
    fake = fake_with("expiring_edge=10000", retention=timedelta(days=7, hours=12))
    found = ids(pages(fake, version, direction="asc", per_page=20, limit=20))
    assert len(found) < len(true_ids(fake, version))


def _late(version: str, by_offset: bool) -> list[str]:
    """Reads pages newest first, and inserts a record into page one's range before page two."""
    fake = fake_with(cursor_by_offset=by_offset)
    raw = b'{"id":"late","when":"%b","action":{"time":"%b"}}' % ((b"2026-10-27T23:59:59Z",) * 2)
    fake.add(raw, version, at_request=2)
    return ids(pages(fake, version))


@pytest.mark.parametrize(("version", "by_offset"), [("v1", False), ("v2", True)])
def test_late_record_pushes_rows_down(version: str, by_offset: bool) -> None:
    """With offsets, a record inserted while paging is missed and makes the last row of page one come twice."""
    found = _late(version, by_offset)
    assert "late" not in found
    assert found[49] == found[50]
    assert len(set(found)) == len(found) - 1


def test_late_record_is_missed_by_a_cursor() -> None:
    """With a cursor that continues after a row, no record is repeated and a late one is missed."""
    found = _late("v2", by_offset=False)
    assert "late" not in found
    assert len(set(found)) == len(found)


@VERSIONS
def test_late_rows(version: str) -> None:
    """Each affected request inserts one more record in the middle of its window, which is visible from then on."""
    fake = fake_with("late_rows,first=3")
    before = true_ids(fake, version)
    found = ids(pages(fake, version, per_page=1000, limit=1000))
    after = true_ids(fake, version)
    assert 1 <= len(set(after) - set(before)) <= 3
    assert set(found) <= set(after)
    assert set(found) - set(before)


def test_version_2_ignores_page_and_per_page() -> None:
    """Returns page one forever to a client that counts pages."""
    fake = fake_with()
    first, second = (envelope_of(get(fake, V2, page=page, per_page=5, **DAYS["v2"])) for page in (1, 2))
    assert first == second
    assert len(first["result"]) == 100

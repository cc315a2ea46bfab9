"""Misbehaviours that leave records out, or ignore what a request asks for."""

from __future__ import annotations

import pytest

from tests.testing.fake_requests import V1, V2, envelope_of, fake_with, get, ids, pages, true_ids

VERSIONS = ("v1", "v2")


@pytest.mark.parametrize("version", VERSIONS)
def test_no_records_is_an_empty_result(version: str) -> None:
    """The first response is empty although records match, and the next one is right."""
    fake = fake_with("no_records,first=1")
    path = V1 if version == "v1" else V2
    first = envelope_of(get(fake, path, since="2026-10-26T00:00:00Z", before="2026-10-27T00:00:00Z"))
    assert (first["success"], first["result"]) == (True, [])
    assert ids(pages(fake, version, direction="asc")) == true_ids(fake, version)


@pytest.mark.parametrize("version", VERSIONS)
def test_missing_row_moves_the_list_up(version: str) -> None:
    """The n-th record of the range is missing from every struck response."""
    fake = fake_with("missing_row=3")
    expected = true_ids(fake, version)
    assert ids(pages(fake, version, direction="asc")) == expected[:2] + expected[3:]


def test_missing_row_hides_another_one_behind_a_page_number() -> None:
    """A row that only the second page lacks hides the row that moves up."""
    fake = fake_with("missing_row,first=2,after=1")
    expected = true_ids(fake)
    assert set(expected) - set(ids(pages(fake, "v1", direction="asc"))) == {expected[50]}


@pytest.mark.parametrize("version", VERSIONS)
def test_lagging_replica_lacks_the_newest_records(version: str) -> None:
    """The newest records of the log are missing, whatever range is requested."""
    fake = fake_with("lagging_replica=5")
    params = {"since": "2026-10-01T00:00:00Z", "before": "2027-01-01T00:00:00Z", "direction": "desc"}
    path = V1 if version == "v1" else V2
    behind = [record["id"] for record in envelope_of(get(fake, path, **params))["result"]]
    fake.misbehave()
    newest = [record["id"] for record in envelope_of(get(fake, path, **params))["result"]]
    assert behind[:10] == newest[5:15]


@pytest.mark.parametrize("version", VERSIONS)
def test_ignored_before_returns_newer_records(version: str) -> None:
    """Records after the bound are returned."""
    fake = fake_with("ignored_before")
    found = ids([page[:1] for page in pages(fake, version, direction="desc")][:1])
    assert found
    assert found[0] not in true_ids(fake, version)


def test_ignored_not_returns_excluded_records() -> None:
    """Version 2 returns a record that id.not excludes."""
    fake = fake_with("ignored_not")
    excluded = true_ids(fake, "v2")[0]
    assert excluded in ids(pages(fake, "v2", direction="asc", **{"id.not": excluded}))

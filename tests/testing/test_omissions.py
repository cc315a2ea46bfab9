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


@pytest.mark.parametrize("version", VERSIONS)
def test_ignored_since_returns_older_records(version: str) -> None:
    """Records before the bound are returned."""
    fake, path = fake_with("ignored_since"), V1 if version == "v1" else V2
    day = {"since": "2026-10-26T00:00:00Z", "before": "2026-10-27T00:00:00Z", "direction": "asc"}
    assert envelope_of(get(fake, path, **day))["result"][0]["id"] not in true_ids(fake, version)


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("order", ["asc", "desc"])
def test_ignored_direction_returns_one_order(order: str, version: str) -> None:
    """Both directions return the same records in the same order."""
    fake = fake_with(f"ignored_direction={order}")
    expected = true_ids(fake, version)
    for direction in ("asc", "desc"):
        assert ids(pages(fake, version, direction=direction)) == (expected if order == "asc" else expected[::-1])


@pytest.mark.parametrize("version", VERSIONS)
def test_ignored_page_returns_the_first_page(version: str) -> None:
    """The second page is the first one."""
    fake, path = fake_with("ignored_page"), V1 if version == "v1" else V2
    day = {"since": "2026-10-26T00:00:00Z", "before": "2026-10-27T00:00:00Z"}
    first = envelope_of(get(fake, path, **day))
    position = {"page": "2"} if version == "v1" else {"cursor": first["result_info"]["cursor"]}
    assert envelope_of(get(fake, path, **day, **position))["result"] == first["result"]


@pytest.mark.parametrize("version", VERSIONS)
def test_ignored_size_returns_pages_of_one_size(version: str) -> None:
    """A page has as many records as the API chooses, whatever is requested."""
    fake, path = fake_with("ignored_size=7"), V1 if version == "v1" else V2
    name = "per_page" if version == "v1" else "limit"
    for size in ("1", "50"):
        day = {"since": "2026-10-26T00:00:00Z", "before": "2026-10-27T00:00:00Z", name: size}
        assert len(envelope_of(get(fake, path, **day))["result"]) == 7


def test_ignored_not_returns_excluded_records() -> None:
    """Version 2 returns a record that id.not excludes."""
    fake = fake_with("ignored_not")
    excluded = true_ids(fake, "v2")[0]
    assert excluded in ids(pages(fake, "v2", direction="asc", **{"id.not": excluded}))

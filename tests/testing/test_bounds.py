"""Tests which records since and before include, and how records of one instant are sorted."""

from __future__ import annotations

import pytest

from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.instants import parse_instant
from tests.testing.fake_requests import V1, V2, envelope_of, fake_with, get, ids, pages

TIMES = [
    "2026-10-26T10:00:00Z",
    "2026-10-26T10:00:00.000001Z",
    "2026-10-26T10:00:00.5Z",
    "2026-10-26T10:00:00.999999Z",
    "2026-10-26T10:00:01Z",
]
AT = TIMES[0]


def _fake(*specs: str) -> FakeCloudflare:
    """A fake with the five records and no others."""
    fake = fake_with(*specs, records_per_day=0)
    for number, when in enumerate(TIMES):
        fake.add(f'{{"id":"{number}","when":"{when}"}}'.encode())
        fake.add(f'{{"id":"{number}","action":{{"time":"{when}"}}}}'.encode(), "v2")
    return fake


def _since(version: str, *specs: str, since: str = AT) -> str:
    path, far = (V1, V2)[version == "v2"], "2026-10-27"
    found = envelope_of(get(_fake(*specs), path, since=since, before=far, direction="asc"))["result"]
    return "".join(record["id"] for record in found)


def _before(version: str, *specs: str, before: str = AT) -> str:
    path, far = (V1, V2)[version == "v2"], "2026-10-25"
    found = envelope_of(get(_fake(*specs), path, since=far, before=before, direction="asc"))["result"]
    return "".join(record["id"] for record in found)


@pytest.mark.parametrize(
    ("version", "specs", "since", "expected"),
    [
        ("v1", (), AT, "01234"),
        ("v1", (), TIMES[2], "01234"),  # cut to the second
        ("v1", ("since_edge=exclusive",), AT, "4"),
        ("v1", ("since_edge=exclusive", "grain=ms"), AT, "234"),
        ("v1", ("since_edge=exclusive", "grain=us"), AT, "1234"),
        ("v1", ("grain=ms",), TIMES[1], "01234"),
        ("v2", (), AT, "01234"),
        ("v2", (), TIMES[1], "1234"),
        ("v2", ("since_edge=exclusive",), AT, "1234"),
        ("v2", ("since_edge=exclusive", "grain=second"), AT, "4"),
        ("v2", ("since_edge=exclusive,version=v1",), AT, "01234"),
    ],
)
def test_since(version: str, specs: tuple[str, ...], since: str, expected: str) -> None:
    """Includes records as the configured kind and precision of the since bound require."""
    assert _since(version, *specs, since=since) == expected


@pytest.mark.parametrize(
    ("version", "specs", "before", "expected"),
    [
        ("v1", (), AT, "0123"),  # inclusive to the second
        ("v1", ("grain=us",), AT, "0"),
        ("v1", ("grain=ms",), AT, "01"),
        ("v1", ("before_edge=exclusive",), TIMES[4], "0123"),
        ("v2", (), AT, ""),
        ("v2", (), TIMES[2], "01"),
        ("v2", ("before_edge=inclusive",), AT, "0"),
        ("v2", ("before_edge=inclusive", "grain=second"), AT, "0123"),
    ],
)
def test_before(version: str, specs: tuple[str, ...], before: str, expected: str) -> None:
    """Includes records as the configured kind and precision of the before bound require."""
    assert _before(version, *specs, before=before) == expected


def test_bounds_accept_offsets_and_dates() -> None:
    """Applies a time offset, and reads a bare date as midnight UTC."""
    assert _since("v2", since="2026-10-26T12:00:00.5+02:00") == "234"
    assert _since("v2", since="2026-10-26") == "01234"
    assert get(_fake(), V1, since="2026-10-26T12:00:00").status == 400


TIED = [f'{{"id":"{letter}","when":"{AT}"}}'.encode() for letter in "abcdefgh"]


def _tied(spec: str, direction: str) -> str:
    fake = fake_with(spec, records_per_day=0)
    for raw in TIED:
        fake.add(raw)
    return "".join(ids(pages(fake, "v1", per_page=8, direction=direction)))


@pytest.mark.parametrize(
    ("spec", "ascending", "descending"),
    [
        ("tie_order=stable", "abcdefgh", "hgfedcba"),
        ("tie_order=id", "abcdefgh", "abcdefgh"),
        ("tie_order=reversed", "hgfedcba", "hgfedcba"),
    ],
)
def test_order_of_ties(spec: str, ascending: str, descending: str) -> None:
    """Records of one instant come in the order the switch names, whatever the direction."""
    assert (_tied(spec, "asc"), _tied(spec, "desc")) == (ascending, descending)


def test_random_ties_differ_from_request_to_request() -> None:
    """Random ties are shuffled for each request, and the same fake shuffles the same way again."""
    fake, same = (fake_with("tie_order=random", records_per_day=0) for _ in range(2))
    for raw in TIED:
        fake.add(raw)
        same.add(raw)
    bodies = [get(fake, V1).body for _ in range(5)]
    assert len(set(bodies)) > 1
    assert bodies == [get(same, V1).body for _ in range(5)]


@pytest.mark.integration
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_sort_by_second(version: str) -> None:
    """Sorts by whole seconds only; paging still yields each record once."""
    fake = fake_with("sort_by_second", records_per_day=3000)
    found = [record for page in pages(fake, version, per_page=500, limit=500, direction="asc") for record in page]
    times = [parse_instant(record.get("when") or record["action"]["time"]) for record in found]
    assert times != sorted(times)
    assert [time // 10**9 for time in times] == sorted(time // 10**9 for time in times)
    assert len({record["id"] for record in found}) == len(found)

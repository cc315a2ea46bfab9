"""Reshaped records keep their true time and id, and the truth shows the same bytes."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from airflow_audit_provider.testing.dataset import row_of
from airflow_audit_provider.testing.instants import parse_instant
from airflow_audit_provider.testing.misbehaviour import parse_switch
from tests.testing.fake_requests import DAYS, END, START, V1, fake_with, get, ids, pages, true_ids

VERSIONS = pytest.mark.parametrize("version", ["v1", "v2"])


def _when(record: dict[str, Any]) -> str:
    text: str = record.get("when") or record["action"]["time"]
    return text


@VERSIONS
def test_odd_timestamps(version: str) -> None:
    """Event times have every number of digits from 0 to 9 and many offsets, and are still in order."""
    fake = fake_with("odd_timestamps")
    found = [record for page in pages(fake, version, direction="asc") for record in page]
    texts = [_when(record) for record in found]
    assert {len(text[19:].split("+")[0].split("-")[0].rstrip("Z").lstrip(".")) for text in texts} == set(range(10))
    assert len({text[-6:] for text in texts if not text.endswith("Z")}) >= 5
    times = [parse_instant(text) for text in texts]
    assert times == sorted(times)
    assert any(time % 1000 for time in times)
    rows = list(fake.truth(version, None, START, END))
    assert [row_of(row.raw) for row in rows] == rows


@VERSIONS
def test_odd_fields(version: str) -> None:
    """Numeric ids, null metadata, missing parts and surprising values occur, and every record comes once."""
    fake = fake_with("odd_fields")
    found = [record for page in pages(fake, version) for record in page]
    assert [record["id"] for record in found] == true_ids(fake, version)[::-1]
    assert any(record["id"].isdecimal() for record in found)
    assert any("metadata" in record and record["metadata"] is None for record in found)
    assert any(("action" if version == "v1" else "actor") not in record for record in found)
    assert any("résumé" in record for record in found)


def test_huge_records() -> None:
    """Every so many records of a day one is huge, and it is the same in the page and in the truth."""
    fake = fake_with("huge_records=300000,every=100", even_days=True)
    raws = [row.raw for row in fake.truth("v1", None, START, END)]
    huge = [raw for raw in raws if len(raw) > 300_000]
    assert len(huge) == 4
    body = get(fake, V1, per_page=1000, direction="asc", **DAYS["v1"]).body
    assert all(raw in body for raw in huge)


def test_five_megabytes_is_the_default() -> None:
    """Without a value a huge record has five megabytes."""
    fake = fake_with("huge_records,every=190")
    assert max(len(row.raw) for row in fake.truth("v1", None, START, END)) > 5_000_000


def test_misbehaviour_may_change_on_the_way() -> None:
    """A running fake takes other misbehaviours, and behaves again when they are taken away."""
    fake = fake_with()
    plain = get(fake, V1, **DAYS["v1"])
    fake.misbehave(parse_switch("odd_fields"), parse_switch("status=500,every=3"))
    odd, failed = get(fake, V1, **DAYS["v1"]), get(fake, V1, **DAYS["v1"])
    assert (odd.status, failed.status) == (200, 500)
    assert odd.body != plain.body
    fake.misbehave()
    assert get(fake, V1, **DAYS["v1"]).body == plain.body


def test_explicit_records_alone() -> None:
    """With no generated records a fake serves exactly those added by hand."""
    fake = fake_with(records_per_day=0)
    fake.add(b'{"when":"2026-10-26T01:00:00Z","id":"b","x":[1,  2]}')
    fake.add(b'{"when":"2026-10-26T01:00:00Z","id":"a"}')
    assert ids(pages(fake, "v1", direction="asc")) == ["a", "b"]
    assert b'{"when":"2026-10-26T01:00:00Z","id":"b","x":[1,  2]}' in get(fake, V1, **DAYS["v1"]).body
    with pytest.raises(ValueError, match="needs an id"):
        fake.add(msgspec.json.encode({"id": "c"}))

"""Records of five megabytes land complete in every format."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from pathlib import Path
from random import Random

import msgspec
import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from tests.pipelines.pull.landing import END, START, fake_with, land, landed, pull_spec, reader_of

pytestmark = pytest.mark.integration

VERSIONS = ("v1", "v2")
FORMATS = [(name, kind) for name in ("jsonl", "csv", "parquet") for kind in ("gzip", "zstd", "none")]
HUGE_BYTES = 5_000_000


@cache
def _huge_text() -> str:
    """Returns five megabytes that hardly compress, with all characters that a format must escape."""
    noise = Random(5).randbytes(HUGE_BYTES // 2).hex()
    return noise[:2_000_000] + '",\n\r\t\\"; é€🦊\u2028' * 1000 + noise[2_000_000:]


def _huge(place: timedelta, record_id: str, version: str) -> bytes:
    when = f"{START + place:%Y-%m-%dT%H:%M:%SZ}"
    record = {"id": record_id, "action": {"type": "late", "time": when}, "newValue": _huge_text()}
    return msgspec.json.encode(record if version == "v2" else {**record, "when": when})


@cache
def _fake(version: str) -> FakeCloudflare:
    """Returns a day of 1200 records, six of them of five megabytes, also at its start and in its last second."""
    fake = fake_with(ManualClock(), f"huge_records={HUGE_BYTES},every=400", requests_per_window=None)
    for number, place in enumerate((timedelta(0), timedelta(hours=24, seconds=-1), timedelta(hours=24, seconds=-1))):
        fake.add(_huge(place, f"huge-{number}", version), version)
    return fake


# Each format in both versions at night; the version makes no difference to a format.
@pytest.mark.parametrize(
    ("file_format", "compression", "version"),
    [
        pytest.param(*form, version, marks=pytest.mark.nightly if version == "v1" and form[1] != "zstd" else [])
        for form in FORMATS
        for version in VERSIONS
    ],
)
def test_huge_records_land_unchanged(file_format: str, compression: str, version: str, tmp_path: Path) -> None:
    """Six records of five megabytes among small ones are read back with the bytes that the API sent."""
    clock, store, fake = ManualClock(), LocalStore(str(tmp_path)), _fake(version)
    spec = pull_spec(version, file_format=file_format, compression=compression, max_part_bytes=8 << 20)
    land(spec, reader_of(fake, clock), store)
    truth = [(row.id, row.raw) for row in fake.truth(version, None, START, END)]
    assert sum(len(raw) >= HUGE_BYTES for _, raw in truth) == 6
    assert [(record.id, bytes(record.raw)) for record in landed(spec, store)] == truth


@pytest.mark.parametrize("version", VERSIONS)
def test_page_of_huge_records_lands_unchanged(version: str, tmp_path: Path) -> None:
    """A window of twenty records of five megabytes each lands unchanged."""
    clock, store = ManualClock(), LocalStore(str(tmp_path))
    fake = fake_with(clock, f"huge_records={HUGE_BYTES},every=1", records_per_day=20)
    spec = pull_spec(version, compression="zstd")
    outcome = land(spec, reader_of(fake, clock), store)
    truth = [row.raw for row in fake.truth(version, None, START, END)]
    assert [bytes(record.raw) for record in landed(spec, store)] == truth
    assert outcome.manifest.record_count == 20

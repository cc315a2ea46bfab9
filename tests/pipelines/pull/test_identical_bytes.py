"""The same records give the same bytes, whatever the concurrency and the order of responses."""

from __future__ import annotations

import time
from datetime import timedelta
from functools import cache
from pathlib import Path
from random import Random

import pytest

from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.api.rate_limiter import RateLimiter
from airflow_audit_provider.core.api.retry import RetryLimits
from airflow_audit_provider.core.ports import Request, Response
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.in_process import DirectTransport
from tests.pipelines.pull.landing import END, START, fake_with, land, landed, pull_spec, record_at

pytestmark = pytest.mark.integration

VERSIONS = ("v1", "v2")
# Each format in one compression in `make test`, the other six pairs at night.
FORMATS = [("jsonl", "gzip"), ("csv", "none"), ("parquet", "zstd")]
NIGHTLY_FORMATS = [
    pytest.param(name, kind, marks=pytest.mark.nightly)
    for name in ("jsonl", "csv", "parquet")
    for kind in ("gzip", "zstd", "none")
    if (name, kind) not in FORMATS
]
Landed = tuple[dict[str, bytes], dict[str, object]]


class ReorderingTransport(DirectTransport):
    """Transport with random delays, so that responses arrive in another order for every seed."""

    def __init__(self, fake: FakeCloudflare, clock: ManualClock, seed: int) -> None:
        super().__init__(fake, clock)
        self._random = Random(seed)

    def send(self, request: Request) -> Response:
        time.sleep(self._random.choice((0.0, 0.0, 0.001, 0.004)))
        return super().send(request)


@cache
def _bursty(version: str) -> FakeCloudflare:
    """Returns a quiet day with 2000 records in five minutes and 1500 in one second, which is unsorted."""
    fake = fake_with(ManualClock(), "sort_by_second", records_per_day=3000, requests_per_window=None)
    for number in range(3500):
        place = timedelta(hours=7, seconds=number / 7)
        if number >= 2000:
            place = timedelta(hours=15, milliseconds=number % 9)
        when = f"{START + place:%Y-%m-%dT%H:%M:%S.%fZ}"
        fake.add(record_at(when, f"burst-{number % 97:02}-{number}", version), version)
    return fake


def _landed(version: str, file_format: str, compression: str, concurrency: int, path: Path) -> Landed:
    """Lands the day; returns its parts by key, and the facts of the manifest."""
    clock, store = ManualClock(), LocalStore(str(path))
    transport = ReorderingTransport(_bursty(version), clock, seed=concurrency)
    reader = AuditLogReader(transport, clock, RateLimiter(), RetryLimits())
    spec = pull_spec(version, file_format=file_format, compression=compression, concurrency=concurrency)
    manifest = land(spec, reader, store).manifest
    found = [(record.event_ns, record.id) for record in landed(spec, store)]
    assert found == [(row.time_ns, row.id) for row in _bursty(version).truth(version, None, START, END)]
    facts = {name: getattr(manifest, name) for name in ("parts", "record_count", "records_sha256", "query", "window")}
    return {part.key: store.read(part.key) or b"" for part in manifest.parts}, facts


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("file_format", "compression"), [*FORMATS, *NIGHTLY_FORMATS])
def test_the_bytes_do_not_depend_on_the_concurrency(
    file_format: str, compression: str, version: str, tmp_path: Path
) -> None:
    """Keys, bytes, digests and the order by event time and id are the same with a concurrency of 1 to 16."""
    first, *others = [
        _landed(version, file_format, compression, concurrency, tmp_path / str(concurrency))
        for concurrency in (1, 2, 4, 8, 16)
    ]
    assert len(first[0]) >= {("jsonl", "none"): 2}.get((file_format, compression), 1)
    for other in others:
        assert other == first


@pytest.mark.parametrize("version", VERSIONS)
def test_the_digest_of_the_records_does_not_depend_on_the_format(version: str, tmp_path: Path) -> None:
    """Every format and compression of one window has the same record digest, whatever the concurrency."""
    facts = [
        _landed(version, file_format, compression, 1 + place, tmp_path / f"{file_format}-{compression}")[1]
        for place, (file_format, compression) in enumerate(FORMATS)
    ]
    assert len({str(each["records_sha256"]) for each in facts}) == 1

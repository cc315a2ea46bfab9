"""Loads windows with odd records into every warehouse: none of them blocks the load, and each is one row."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.api.rate_limiter import RateLimiter
from airflow_audit_provider.core.api.retry import RetryLimits
from airflow_audit_provider.pipelines.verify import verify
from airflow_audit_provider.testing.clock import ManualClock
from tests.pipelines.load.warehouses import LoadTarget
from tests.pipelines.pull.landing import START, land, pull_spec
from tests.pipelines.pull.odd_log import OddLog, Row, odd_raws, ordinary

NOON = START + timedelta(hours=12)
SECOND = timedelta(seconds=1)


def _insider_raws(version: str, at: datetime) -> list[bytes]:
    """Returns records that the API's contract allows and that somebody with access to the account can cause."""
    when = at.isoformat().encode()
    time = b'"when":"%b"' % when if version == "v1" else b'"action":{"time":"%b"}' % when
    values = [
        b'"' + b"x" * 1_000_000 + b'"',
        b"[" * 900 + b"]" * 900,
        b"1" * 5000,
        b"1e999999",
        b'"\\ud83d"',
        b'"\\u0000\\u2028"',
        b'"\xef\xbb\xbf\xef\xbf\xbe"',
        b'{"a":1,"a":[2],"":3}',
    ]
    return [
        *(b'{"id":"in-%d",%b,"metadata":%b}' % (number, time, value) for number, value in enumerate(values)),
        b'{"id":"first","id":"in-last","metadata":1,"metadata":"2",%b}' % time,
    ]


def _log(version: str) -> OddLog:
    odd = [
        Row(at, odd_raws(version, at)[kind].replace(b'"odd"', b'"odd-%d"' % number))
        for number, kind in enumerate(odd_raws(version, NOON))
        for at in [NOON + number * SECOND]
    ]
    insider_at = NOON + timedelta(minutes=5)
    insider = [Row(insider_at, raw) for raw in _insider_raws(version, insider_at)]
    return OddLog(version, [*ordinary(version, NOON - 20 * SECOND, 80, SECOND), *odd, *insider], page_rows=60)


@pytest.mark.integration
@pytest.mark.parametrize(
    ("version", "file_format", "schema"), [("v1", "jsonl", "raw"), ("v2", "parquet", "ocsf")], ids=["raw", "ocsf"]
)
def test_odd_records_load_into_every_warehouse(
    target: LoadTarget, version: str, file_format: str, schema: str, tmp_path: Path
) -> None:
    """Each record is one row with its id, and a second load changes nothing."""
    store = LocalStore(str(tmp_path / "destination"))
    reader = AuditLogReader(_log(version), ManualClock(), RateLimiter(), RetryLimits(max_attempts=1))
    outcome = land(pull_spec(version, file_format=file_format, schema=schema), reader, store)
    report = verify(store)
    assert (report.record_count, report.severe_count) == (outcome.manifest.record_count, 0)
    assert target.load(store).record_count == outcome.manifest.record_count
    assert len(set(target.ids())) == len(target.ids()) == outcome.manifest.record_count
    assert target.load(store).unchanged_count == 1

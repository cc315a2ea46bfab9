"""Prints the peak memory of one pull in an interpreter of its own; run as a module.

Invariant: only the pull may use memory that grows with the window.
"""

from __future__ import annotations

import sys
import tempfile
from datetime import datetime, timedelta
from typing import NamedTuple

from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.api.rate_limiter import RateLimit, RateLimiter
from airflow_audit_provider.core.api.retry import RetryLimits
from airflow_audit_provider.core.ports import Request, Response
from airflow_audit_provider.testing.clock import ManualClock
from bench.meter import peak_bytes, resident_bytes
from tests.pipelines.pull.landing import START, land, pull_spec

PER_SECOND = 10
_FILLER = b"0123456789abcdef" * 48
_TEMPLATE = b'{"id":"record-%010d","when":"%b.%dZ","action":{"type":"late","result":true},"newValue":"%b%d"}'


class ComputedRecords(NamedTuple):
    """Transport that computes ten records a second from the start of the usual day when they are requested."""

    record_count: int

    def send(self, request: Request) -> Response:
        """Returns the requested page of version 1."""
        query = dict(request.params)
        since, before = (_index(query[name]) for name in ("since", "before"))
        places = range(max(0, since), min(self.record_count, before + PER_SECOND))
        if query["direction"] == "desc":
            places = places[::-1]
        size, page = int(query["per_page"]), int(query.get("page", "1"))
        rows = [_record(place) for place in places[size * (page - 1) : size * page]]
        return Response(200, {}, b'{"success":true,"errors":[],"result":[%b]}' % b",".join(rows))


def _index(when: str) -> int:
    """Returns the index of the first record at or after an instant."""
    return int((datetime.fromisoformat(when) - START).total_seconds()) * PER_SECOND


def _record(place: int) -> bytes:
    second, tenth = divmod(place, PER_SECOND)
    when = f"{START + timedelta(seconds=second):%Y-%m-%dT%H:%M:%S}".encode()
    return _TEMPLATE % (place, when, tenth, _FILLER, place * 2_654_435_761 % 2**32)


def peak_kibibytes(file_format: str, compression: str, record_count: int) -> int:
    """Lands a window of this many records; returns the peak memory beyond that of the imports."""
    clock = ManualClock()
    reader = AuditLogReader(ComputedRecords(record_count), clock, RateLimiter(RateLimit(100_000, 1)), RetryLimits())
    end = START + timedelta(seconds=record_count / PER_SECOND)
    spec = pull_spec(file_format=file_format, compression=compression, end=end, max_part_bytes=8 << 20, concurrency=4)
    before_bytes = resident_bytes()
    with tempfile.TemporaryDirectory() as path:
        assert land(spec, reader, LocalStore(path)).manifest.record_count == record_count
    return (peak_bytes() - before_bytes) >> 10


if __name__ == "__main__":
    print(peak_kibibytes(sys.argv[1], sys.argv[2], int(sys.argv[3])))

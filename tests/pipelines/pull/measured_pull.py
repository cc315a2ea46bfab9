"""One pull in an interpreter of its own, whose peak memory is printed; run as a module.

Invariant: nothing but the pull may take memory that grows with the window.
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
from tests.pipelines.pull.landing import START, land, order

PER_SECOND = 10
_FILLER = b"0123456789abcdef" * 48
_TEMPLATE = b'{"id":"record-%010d","when":"%b.%dZ","action":{"type":"late","result":true},"newValue":"%b%d"}'


class Arithmetic(NamedTuple):
    """A transport with so many records, ten a second from the start of the usual day on, made when asked for."""

    record_count: int

    def send(self, request: Request) -> Response:
        """Return the page asked for, of version 1."""
        asked = dict(request.params)
        since, before = (_index(asked[name]) for name in ("since", "before"))
        places = range(max(0, since), min(self.record_count, before + PER_SECOND))
        if asked["direction"] == "desc":
            places = places[::-1]
        size, page = int(asked["per_page"]), int(asked.get("page", "1"))
        rows = [_record(place) for place in places[size * (page - 1) : size * page]]
        return Response(200, {}, b'{"success":true,"errors":[],"result":[%b]}' % b",".join(rows))


def _index(when: str) -> int:
    """Return the place of the first record at an instant or after it."""
    return int((datetime.fromisoformat(when) - START).total_seconds()) * PER_SECOND


def _record(place: int) -> bytes:
    second, tenth = divmod(place, PER_SECOND)
    when = f"{START + timedelta(seconds=second):%Y-%m-%dT%H:%M:%S}".encode()
    return _TEMPLATE % (place, when, tenth, _FILLER, place * 2_654_435_761 % 2**32)


def peak_kibibytes(file_format: str, compression: str, record_count: int) -> int:
    """Land a window of so many records; return the most memory that took at any moment."""
    clock = ManualClock()
    source = AuditLogReader(Arithmetic(record_count), clock, RateLimiter(RateLimit(100_000, 1)), RetryLimits())
    end = START + timedelta(seconds=record_count / PER_SECOND)
    wanted = order(file_format=file_format, compression=compression, end=end, max_part_bytes=8 << 20, concurrency=4)
    before_bytes = resident_bytes()
    with tempfile.TemporaryDirectory() as path:
        assert land(wanted, source, LocalStore(path)).manifest.record_count == record_count
    return (peak_bytes() - before_bytes) >> 10


if __name__ == "__main__":
    print(peak_kibibytes(sys.argv[1], sys.argv[2], int(sys.argv[3])))

"""Fake Cloudflare that all contenders read from, in its own process.

Invariant: the whole day is generated before the first measurement, so that no contender waits for it.
"""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from bench.job import PRESENT, Job, whole_day

CACHE_MB = 3000


class Source(NamedTuple):
    """A running fake: the job that reads its day, and the URL of its control API."""

    job: Job
    truth_url: str

    def request_count(self) -> int:
        """Returns the number of requests so far."""
        return _line_count(self.truth_url.replace("/truth", "/requests"))

    def record_count(self) -> int:
        """Returns the number of records of the day; the first call generates them."""
        return _line_count(f"{self.truth_url}?start={self.job.start}&end={self.job.end}")


@contextmanager
def running_fake(records_per_day: int, latency_ms: int, present: str = PRESENT) -> Iterator[Source]:
    """Starts a fake with this number of records on every day, whose clock starts at ``present``; ends it afterwards."""
    options = f"--now {present} --even-days --requests-per-window 0 --cache-mb {CACHE_MB}".split()
    options += ["--records-per-day", str(records_per_day), "--latency-ms", str(latency_ms)]
    command = [sys.executable, "-m", "airflow_audit_provider.testing", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as fake:
        try:
            assert fake.stdout is not None
            said = json.loads(fake.stdout.readline())
            source = Source(whole_day(said["base_url"], said["account_id"], said["token"]), said["truth_url"])
            if source.record_count() != records_per_day:
                raise RuntimeError("The fake's day does not have the records it was asked for.")
            yield source
        finally:
            fake.terminate()


def _line_count(url: str) -> int:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=600) as answer:
        return sum(1 for _ in answer)

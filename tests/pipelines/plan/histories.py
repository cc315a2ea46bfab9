"""Five shapes of history, as records of a fake log, and the pulls of all their windows.

Invariant: the same shape, number of days and seed give the same records on every machine.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from math import exp
from random import Random
from typing import NamedTuple

import msgspec

from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.pipelines.pull_spec import PullSpec
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from tests.pipelines.pull.landing import fake_with, land, pull_spec

NOW = datetime(2026, 11, 2, 12, tzinfo=UTC)
HOURS = (2, 2, 3, 2, 2, 3, 6, 11, 15, 17, 16, 14, 11, 13, 16, 15, 13, 9, 6, 4, 4, 3, 3, 2)
WEEKDAYS = (1.2, 1.35, 1.3, 1.3, 1.15, 0.4, 0.3)
DAY = timedelta(days=1)


class History(NamedTuple):
    """A log of so many days until yesterday, with ``mean`` records a day."""

    shape: str
    days: int
    mean: float
    version: str = "v1"

    @property
    def start(self) -> datetime:
        """Midnight of the first day."""
        return NOW.replace(hour=0) - self.days * DAY

    @property
    def end(self) -> datetime:
        """Midnight behind the last day."""
        return NOW.replace(hour=0)

    def weights(self) -> list[float]:
        """Returns the weight of each hour, with a mean of about 1."""
        count = 24 * self.days
        first = self.start.weekday() * 24
        rhythm = [HOURS[hour % 24] / 8 * WEEKDAYS[(first + hour) // 24 % 7] for hour in range(count)]
        if self.shape == "even":
            return [1.0] * count
        if self.shape == "growing":
            return [weight * exp(2 * (hour / count - 0.5)) for hour, weight in enumerate(rhythm)]
        return self._disturbed(rhythm) if self.shape == "bursts" else rhythm

    def _disturbed(self, weights: list[float]) -> list[float]:
        """Adds a burst of half a day for every three weeks, and two outages."""
        rng = Random(7)
        for _ in range(self.days // 21):
            at = rng.randrange(len(weights) - 12)
            for hour in range(at, at + 12):
                weights[hour] += 6.0
        for share, length in ((0.2, 0.02), (0.62, 0.05)):
            at = int(share * len(weights))
            outage = int(length * len(weights))
            weights[at : at + outage] = [0.0] * outage
        return weights


def build(history: History, clock: ManualClock) -> FakeCloudflare:
    """Returns a fake that holds the history."""
    fake = fake_with(clock, records_per_day=0, requests_per_window=1200, latency_ms=100)
    rng, weights = Random(11), history.weights()
    for number, hour in enumerate(rng.choices(range(len(weights)), weights, k=round(history.mean * history.days))):
        at = history.start + timedelta(hours=hour, microseconds=rng.randrange(3_600_000_000))
        fake.add(_record(history.version, at, number, rng), history.version)
    return fake


def _record(version: str, at: datetime, number: int, rng: Random) -> bytes:
    when, person = f"{at:%Y-%m-%dT%H:%M:%S.%f}Z", rng.randrange(40)
    actor = {"id": f"{person:032x}", "email": f"person{person}@example.com", "type": "user"}
    resource = {"id": f"{rng.getrandbits(128):032x}", "type": rng.choice(("zone", "dns_record", "member", "token"))}
    facts = {"ip": f"192.0.2.{rng.randrange(250)}", "note": f"{rng.getrandbits(256):064x}"}
    identity = f"{number:08x}-{rng.getrandbits(64):016x}"
    kind = rng.choice(("add", "change", "delete", "login"))
    if version == "v2":
        action = {"time": when, "type": kind, "result": "success"}
        record = {"id": identity, "action": action, "actor": actor}
        return msgspec.json.encode({**record, "resource": resource, "raw": facts})
    record = {"id": identity, "when": when, "action": {"type": kind, "result": True}, "actor": actor}
    return msgspec.json.encode({**record, "resource": resource, "metadata": facts, "interface": "API"})


class Pulled(NamedTuple):
    """What a real backfill needed."""

    record_count: int
    request_count: int
    size_bytes: int


def pull_all(history: History, reader: AuditLogReader, fake: FakeCloudflare, store: Store) -> Pulled:
    """Pulls each day of a history as a task of a backfill does, and returns what all of them needed."""
    before = len(fake.requests)
    outcomes = [land(_spec(history, number), reader, store) for number in range(history.days)]
    return Pulled(
        sum(outcome.manifest.record_count for outcome in outcomes),
        len(fake.requests) - before,
        sum(part.size_bytes for outcome in outcomes for part in outcome.manifest.parts),
    )


def _spec(history: History, number: int) -> PullSpec:
    start = history.start + number * DAY
    return pull_spec(history.version, start=start, end=start + DAY, attempt_id=f"n{number}", compression="gzip")

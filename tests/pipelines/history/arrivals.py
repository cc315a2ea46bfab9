"""Days landed from the fake whose late records appear at seeded times, and the truth about them."""

from __future__ import annotations

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from airflow_audit_provider.adapters.storage.local_store import LocalStore
from airflow_audit_provider.core.windows.window import format_instant
from airflow_audit_provider.pipelines.late_records import pull_late_records
from airflow_audit_provider.pipelines.observer import NullObserver
from airflow_audit_provider.pipelines.pull_spec import PullSpec
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from tests.pipelines.pull.landing import fake_with, land, landed_ids, pull_spec, reader_of

FIRST = datetime(2026, 10, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SETTLE = timedelta(minutes=15)


class Late(NamedTuple):
    """A record that appears some time after its event."""

    id: str
    event_at: datetime
    visible_at: datetime

    @property
    def lateness(self) -> timedelta:
        """The true lateness."""
        return self.visible_at - self.event_at


def late_records(seed: int, days: int, count: int, shape: float = 0.35) -> list[Late]:
    """Returns records that come minutes to two and a half days late; the smaller the shape, the more come very late."""
    rng = random.Random(seed)
    found = []
    for number in range(count):
        event_at = FIRST + rng.random() * days * DAY
        lateness = timedelta(hours=min(60.0, rng.paretovariate(shape) / 4))
        found.append(Late(f"late-{number:06}", event_at, event_at + lateness))
    return found


def fake_of(clock: ManualClock, late: list[Late], version: str, records_per_day: int) -> FakeCloudflare:
    """Returns a fake in which each late record is visible from its time on."""
    fake = fake_with(clock, records_per_day=records_per_day)
    for one in late:
        when = format_instant(one.event_at)
        action = {"type": "late", "time": when} if version == "v2" else {"type": "late", "result": True}
        record = {"id": one.id, "action": action} | ({} if version == "v2" else {"when": when})
        fake.add(json.dumps(record).encode(), version, visible_at=one.visible_at)
    return fake


class History(NamedTuple):
    """A destination with days landed each night; the ids in the first commit of each day, and those of all commits."""

    store: LocalStore
    clock: ManualClock
    first_ids: frozenset[str]
    landed_ids: frozenset[str]


def landed_nightly(
    folder: Path, late: list[Late], days: int, lookback: timedelta, version: str = "v1", records_per_day: int = 0
) -> History:
    """Lands each day when it is settled, and reads the days of the lookback again, for some days after the last one."""
    clock, store = ManualClock(FIRST + DAY + SETTLE), LocalStore(str(folder))
    fake, first_ids = fake_of(clock, late, version, records_per_day), set[str]()
    for number in range(days + lookback // DAY + 1):
        spec, reader = _spec(number, version), reader_of(fake, clock)
        land(spec, reader, store)
        first_ids.update(landed_ids(spec, store))
        pull_late_records(spec, lookback, reader, store, NullObserver())
        clock.advance((FIRST + (number + 2) * DAY + SETTLE - clock.now()).total_seconds())
    landed = {record for number in range(days) for record in landed_ids(_spec(number, version), store)}
    return History(store, clock, frozenset(first_ids), frozenset(landed))


def _spec(number: int, version: str) -> PullSpec:
    start = FIRST + number * DAY
    # A pause before the second look would move the clock between the start of a reading and its end.
    return pull_spec(version, start=start, end=start + DAY, edges_pause=timedelta(0), settle_delay=SETTLE)

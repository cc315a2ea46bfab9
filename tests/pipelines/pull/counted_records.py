"""Fakes with a known number of records at known times.

Invariant: a fake has only the records added here, so that tests know all counts.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from tests.pipelines.pull.landing import START, fake_with, record_at


def add_every(fake: FakeCloudflare, seconds: float, count: int, version: str, name: str = "record") -> None:
    """Adds records at a fixed interval from the start of the usual day."""
    for number in range(count):
        when = START + timedelta(seconds=number * seconds)
        fake.add(record_at(f"{when:%Y-%m-%dT%H:%M:%S.%fZ}", f"{name}-{number:06}", version), version)


def spaced(
    seconds: float, count: int, version: str, *switches: str, clock: ManualClock | None = None, **settings: Any
) -> FakeCloudflare:
    """Returns a fake with only such records."""
    merged = {"records_per_day": 0, "requests_per_window": None, **settings}
    fake = fake_with(clock or ManualClock(), *switches, **merged)
    add_every(fake, seconds, count, version)
    return fake


def crowded_instant(version: str, count: int, *switches: str, clock: ManualClock | None = None) -> FakeCloudflare:
    """Returns a fake with many records at one instant and two hundred in the minutes around it."""
    fake = spaced(60, 200, version, *switches, clock=clock)
    when = START + timedelta(hours=1)
    for number in range(count):
        fake.add(record_at(f"{when:%Y-%m-%dT%H:%M:%S.5Z}", f"crowd-{number:06}", version), version)
    return fake

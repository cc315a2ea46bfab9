"""Fakes with a known number of records at known places.

Invariant: every record is put there by hand, so that counts are known beforehand.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from tests.pipelines.pull.landing import START, fake_with, record_at


def add_every(fake: FakeCloudflare, seconds: float, count: int, version: str, name: str = "record") -> None:
    """Add so many records from the start of the usual day on, one every so many seconds."""
    for number in range(count):
        when = START + timedelta(seconds=number * seconds)
        fake.add(record_at(f"{when:%Y-%m-%dT%H:%M:%S.%fZ}", f"{name}-{number:06}", version), version)


def spaced(
    seconds: float, count: int, version: str, *specs: str, clock: ManualClock | None = None, **settings: Any
) -> FakeCloudflare:
    """Return a fake with nothing else but such records."""
    chosen = {"records_per_day": 0, "requests_per_window": None, **settings}
    fake = fake_with(clock or ManualClock(), *specs, **chosen)
    add_every(fake, seconds, count, version)
    return fake


def crowd(version: str, count: int, *specs: str, clock: ManualClock | None = None) -> FakeCloudflare:
    """Return a fake with so many records at one instant, and two hundred in the minutes around it."""
    fake = spaced(60, 200, version, *specs, clock=clock)
    when = START + timedelta(hours=1)
    for number in range(count):
        fake.add(record_at(f"{when:%Y-%m-%dT%H:%M:%S.5Z}", f"crowd-{number:06}", version), version)
    return fake

"""Attempts that are killed and resumed, in one line each.

Invariant: the default concurrency is 1, so that an attempt is killed at the same place every time.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Any

import pytest

from airflow_audit_provider.core.archive.checkpoint import Checkpoint, read_checkpoint
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.pipelines.observer import PullOutcome
from airflow_audit_provider.pipelines.pull_spec import PullSpec
from airflow_audit_provider.pipelines.verify import verify
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.in_process import DirectTransport
from tests.pipelines.pull.crashing_store import CrashingTransport, CrashPoint, KilledError
from tests.pipelines.pull.landing import (
    fake_with,
    land,
    objects,
    pull_spec,
    reader_of,
    staged_keys,
)

MEDIUM_COUNT = 20_000
LARGE_COUNT = 120_000
# With concurrency 1 these take nine requests and one for the proof of the end; at the seventh, two parts are closed.
SMALL_COUNT = 8000
KILLED_AT = 7


def small_fake() -> FakeCloudflare:
    """Returns a fake of a few pages to which a test may add records."""
    return fake_with(ManualClock(), records_per_day=SMALL_COUNT, requests_per_window=None)


@cache
def fake_of(records_per_day: int) -> FakeCloudflare:
    """Returns a shared fake to which no test adds records."""
    return fake_with(ManualClock(), records_per_day=records_per_day, requests_per_window=None)


def resumable_spec(version: str = "v1", **changes: Any) -> PullSpec:
    """Returns a spec with concurrency 1."""
    return pull_spec(version, **{"concurrency": 1, **changes})


def attempt_pull(fake: FakeCloudflare, spec: PullSpec, store: Store, crash: CrashPoint) -> PullOutcome:
    """Pulls through a transport with this crash point."""
    clock = ManualClock()
    return land(spec, reader_of(fake, clock, CrashingTransport(DirectTransport(fake, clock), crash)), store)


def finish(fake: FakeCloudflare, spec: PullSpec, store: Store, attempt_id: str = "last") -> PullOutcome:
    """Runs an attempt to its end."""
    return attempt_pull(fake, spec._replace(attempt_id=attempt_id), store, CrashPoint())


def kill(fake: FakeCloudflare, spec: PullSpec, store: Store, at: int = KILLED_AT) -> None:
    """Runs an attempt that is killed at a request."""
    with pytest.raises(KilledError):
        attempt_pull(fake, spec, store, CrashPoint(at))


def visible_parts(store: Store) -> dict[str, bytes]:
    """Returns the published parts by key."""
    return {key: content for key, content in objects(store).items() if key.startswith("dt=")}


def checkpoint_in(store: Store) -> Checkpoint:
    """Returns the newest checkpoint in staging."""
    found = [read_checkpoint(store.read(key)) for key in staged_keys(store) if "/checkpoint-" in key]
    assert found[-1] is not None
    return found[-1]


def check_no_findings(store: Store) -> None:
    """Asserts that verification has no severe finding."""
    assert verify(store).severe_count == 0, verify(store).findings


def resume_point_of(store: Store) -> datetime:
    """Returns the instant from which the next attempt reads."""
    return checkpoint_in(store).remainder.start


def checkpoint_of(store: Store, attempt_id: str) -> Checkpoint:
    """Returns the newest checkpoint of an attempt."""
    keys = [key for key in staged_keys(store) if f"/{attempt_id}/checkpoint-" in key]
    checkpoint = read_checkpoint(store.read(keys[-1]))
    assert checkpoint is not None
    return checkpoint

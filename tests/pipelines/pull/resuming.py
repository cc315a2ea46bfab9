"""Tries that are killed and gone on with, in one line each.

Invariant: one reader, unless a test sets more, so that an attempt is killed at the same place every time.
"""

from __future__ import annotations

from datetime import datetime
from functools import cache
from typing import Any

import pytest

from airflow_audit_provider.core.archive.checkpoint import Checkpoint, read_checkpoint
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.pipelines import verify as auditing
from airflow_audit_provider.pipelines.observer import PullOutcome
from airflow_audit_provider.pipelines.pull_spec import PullSpec
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.in_process import DirectTransport
from tests.pipelines.pull.landing import (
    fake_with,
    land,
    objects,
    order,
    source_of,
    staged_keys,
)
from tests.pipelines.pull.mortal_store import Death, KilledError, MortalTransport

MEDIUM_COUNT = 20_000
LARGE_COUNT = 120_000
# A reader alone asks nine times for these, and once more to know the end; at the seventh, two parts are closed.
SMALL_COUNT = 8000
KILLED_AT = 7


def small_fake() -> FakeCloudflare:
    """Return a fake of a few pages that a test may add to."""
    return fake_with(ManualClock(), records_per_day=SMALL_COUNT, requests_per_window=None)


@cache
def fake_of(records_per_day: int) -> FakeCloudflare:
    """Return a fake that nobody adds to, made once."""
    return fake_with(ManualClock(), records_per_day=records_per_day, requests_per_window=None)


def resumable_order(version: str = "v1", **changes: Any) -> PullSpec:
    """Return an order for one reader."""
    return order(version, **{"concurrency": 1, **changes})


def try_landing(fake: FakeCloudflare, wanted: PullSpec, store: Store, death: Death) -> PullOutcome:
    """Land with somebody dying on the way to the API."""
    clock = ManualClock()
    return land(wanted, source_of(fake, clock, MortalTransport(DirectTransport(fake, clock), death)), store)


def finish(fake: FakeCloudflare, wanted: PullSpec, store: Store, attempt_id: str = "last") -> PullOutcome:
    """Let a try come to its end."""
    return try_landing(fake, wanted._replace(attempt_id=attempt_id), store, Death())


def kill(fake: FakeCloudflare, wanted: PullSpec, store: Store, at: int = KILLED_AT) -> None:
    """Let a try be killed at a request."""
    with pytest.raises(KilledError):
        try_landing(fake, wanted, store, Death(at))


def visible_parts(store: Store) -> dict[str, bytes]:
    """Return the parts that lie where readers look."""
    return {key: content for key, content in objects(store).items() if key.startswith("dt=")}


def checkpoint_in(store: Store) -> Checkpoint:
    """Return the newest checkpoint there is."""
    found = [read_checkpoint(store.read(key)) for key in staged_keys(store) if "/checkpoint-" in key]
    assert found[-1] is not None
    return found[-1]


def refuse_findings(store: Store) -> None:
    """Refuse what an audit finds severe."""
    assert auditing.verify(store).severe_count == 0, auditing.verify(store).findings


def midway_of(store: Store) -> datetime:
    """Return from when the next try reads."""
    return checkpoint_in(store).remainder.start


def checkpoint_of(store: Store, attempt_id: str) -> Checkpoint:
    """Return the newest checkpoint of a try."""
    keys = [key for key in staged_keys(store) if f"/{attempt_id}/checkpoint-" in key]
    checkpoint = read_checkpoint(store.read(keys[-1]))
    assert checkpoint is not None
    return checkpoint

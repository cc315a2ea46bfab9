"""A run of rules makes few calls, also with a long history: upper bounds, counted at the client of S3 and in memory."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_audit_provider.pipelines.detect import DetectSpec, detect
from airflow_audit_provider.pipelines.rule_runs import RuleEngine
from tests.adapters.storage.real_stores import Servers
from tests.pipelines.detect.detecting import ALL_TIME, ContainsRule, Runs, given, land, run
from tests.pipelines.history.counting_store import CountingStore
from tests.pipelines.history.generated import END, committed, windows
from tests.pipelines.pull.counted_calls import Bucket
from tests.pipelines.verify.dataset import records_in, window

ANY = ContainsRule("any")
NEVER = ContainsRule("never", b"no record has it")


@pytest.mark.integration
def test_detect_on_s3_makes_few_calls(servers: Servers) -> None:
    """A run with nothing new makes five calls on S3, and one with a new window with an alert at most thirteen."""
    bucket = Bucket(servers("s3-moto"))
    for number in range(3):
        land(bucket.store, window(number), records_in(window(number), 2))
    run(bucket.store, ANY)
    nothing = bucket.calls_of(lambda: run(bucket.store, ANY))
    print(f"nothing new: {len(nothing.calls)} calls, depth {nothing.depth}\n{nothing}")
    assert len(nothing.calls) <= 5, str(nothing)
    land(bucket.store, window(3), records_in(window(3), 2))
    new = bucket.calls_of(lambda: run(bucket.store, ANY))
    print(f"one window: {len(new.calls)} calls, depth {new.depth}\n{new}")
    assert len(new.calls) <= 13, str(new)


@pytest.mark.parametrize("per_day", [1, pytest.param(24, marks=pytest.mark.nightly)])
def test_detect_with_a_long_history_makes_as_few_calls(per_day: int) -> None:
    """With 540 windows or 12,960, a run with nothing new makes as many calls, and one window costs as many more."""
    of = windows(540, per_day)
    store = CountingStore(dict(committed(of[:-1])))
    land(store, window(30), records_in(window(30), 1))
    spec = DetectSpec((NEVER,), END + timedelta(days=40), END - ALL_TIME / 20, "one")
    detect(spec._replace(back_to_at=END + timedelta(days=20)), store, RuleEngine(Runs()), lambda _: None)
    store.calls.clear()
    assert not detect(spec._replace(back_to_at=spec.now), store, RuleEngine(Runs()), lambda _: None).commits
    assert store.call_count <= 5, store.calls
    land(store, window(31), records_in(window(31), 1), spec.now)
    store.calls.clear()
    outcome = detect(spec._replace(back_to_at=spec.now), store, RuleEngine(Runs()), lambda _: None)
    assert outcome.window_count == 1
    assert store.call_count <= 13, store.calls
    assert given(store) == []

"""The cost of sealing does not depend on how long the history is."""

from __future__ import annotations

from functools import partial

import pytest

from airflow_audit_provider.pipelines.seal import seal
from airflow_audit_provider.pipelines.verify import verify
from tests.pipelines.history.counted_calls import function_calls
from tests.pipelines.history.counting_store import CountingStore
from tests.pipelines.history.generated import END, committed, windows
from tests.pipelines.verify.dataset import DAY


@pytest.mark.integration
def test_first_seal_of_twice_the_days_takes_twice_the_calls() -> None:
    """Each day costs the same, however many days this run has sealed before it."""
    stores = [CountingStore(dict(committed(windows(days)))) for days in (60, 120)]
    half, whole = (function_calls(partial(seal, store)) for store in stores)
    assert whole < 2.1 * half
    assert [store.call_count / days for store, days in zip(stores, (60, 120), strict=True)] == pytest.approx(
        [5, 5], 0.05
    )


def _hourly_but_for_the_last_two(per_day: int) -> CountingStore:
    """Returns twelve sealed days, of which all but the last two have so many windows."""
    of = [window for window in windows(12, per_day) if window.end <= END - 2 * DAY] + windows(2)
    store = CountingStore(dict(committed(of)))
    seal(store)
    return store


def test_verification_of_a_day_does_not_decode_the_manifests_of_other_days() -> None:
    """Each seal of another day costs the same, however many windows it names."""
    few, many = (
        function_calls(partial(verify, _hourly_but_for_the_last_two(per_day), END - DAY, END)) for per_day in (1, 24)
    )
    assert many < few + 10

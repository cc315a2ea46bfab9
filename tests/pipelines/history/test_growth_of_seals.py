"""The cost of sealing does not depend on how long the history is."""

from __future__ import annotations

from functools import partial

import pytest

from airflow_audit_provider.pipelines.seal import seal
from tests.pipelines.history.counted_calls import function_calls
from tests.pipelines.history.counting_store import CountingStore
from tests.pipelines.history.generated import committed, windows


@pytest.mark.integration
def test_first_seal_of_twice_the_days_takes_twice_the_calls() -> None:
    """Each day costs the same, however many days this run has sealed before it."""
    stores = [CountingStore(dict(committed(windows(days)))) for days in (60, 120)]
    half, whole = (function_calls(partial(seal, store)) for store in stores)
    assert whole < 2.1 * half
    assert [store.call_count / days for store, days in zip(stores, (60, 120), strict=True)] == pytest.approx(
        [5, 5], 0.05
    )

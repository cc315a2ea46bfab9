"""The cost of the coverage of everything grows in proportion to the history."""

from __future__ import annotations

from functools import partial

import pytest

from airflow_audit_provider.core.archive.object_keys import WindowKeys
from airflow_audit_provider.core.verification.pass_records import pass_record
from airflow_audit_provider.pipelines.coverage import coverage
from airflow_audit_provider.pipelines.pass_records import read_passes, record_pass
from tests.pipelines.history.counted_calls import function_calls
from tests.pipelines.history.counting_store import CountingStore
from tests.pipelines.history.generated import END, committed, windows
from tests.pipelines.verify.dataset import DAY

_PER_DAY = 4


def _verified_nightly(days: int) -> CountingStore:
    """Returns a destination of which each night verified the day before."""
    of = windows(days, _PER_DAY)
    store = CountingStore(dict(committed(of)))
    for start in range(0, len(of), _PER_DAY):
        day = of[start : start + _PER_DAY]
        keys = [WindowKeys(one, one.start.date()).manifest(1) for one in day]
        record_pass(store, pass_record(day[-1].end, keys, 8, None))
    store.calls.clear()
    return store


@pytest.mark.integration
def test_coverage_of_twice_the_days_takes_twice_the_calls() -> None:
    """Each record of a nightly verification is compared with the windows that it states, and not with all."""
    stores = [_verified_nightly(days) for days in (60, 120)]
    half, whole = (function_calls(partial(coverage, store, END + DAY)) for store in stores)
    assert whole < 2.1 * half
    (found,) = coverage(stores[-1], END + DAY)
    assert (found.verified.verified_count, found.verified.not_verified_count) == (120 * _PER_DAY, 0)


def test_records_of_passes_are_read_a_few_at_a_time() -> None:
    """A caller that needs the newest record only costs one read, and one that needs all reads each once."""
    store = _verified_nightly(40)
    assert next(read_passes(store, "")) is not None
    assert store.calls["read"] == 1
    store.reads.clear()
    assert len(list(read_passes(store, ""))) == len(store.reads) == len(set(store.reads)) == 40

"""What holds for a pull of one window holds for each window of a range: scope, filters, privacy and seals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.api.query import audit_query
from airflow_audit_provider.pipelines.seal import seal
from airflow_audit_provider.pipelines.verify import verify
from airflow_audit_provider.testing.clock import ManualClock
from tests.pipelines.pull.landing import fake_with, objects, reader_of, record_at
from tests.pipelines.pull.many_windows import (
    DAY,
    FIRST,
    check_same_dataset,
    land_each,
    land_range,
    manifests,
    range_spec,
)
from tests.pipelines.pull.privacy_rules import EMAIL, rule

pytestmark = pytest.mark.integration

DAYS = 5


KINDS: dict[str, dict[str, Any]] = {
    "user": {"query": audit_query("v1", "user")},
    "filter": {"filters": {"action_type": "login"}},
    "filter that nothing matches": {"filters": {"actor_email": "nobody@example.net"}},
    "filter of version 2": {"version": "v2", "filters": {"action_result": "failure"}},
    "privacy": {"privacy": rule()},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("concurrency", [1, 6])
def test_range_of_each_kind_equals_a_pull_for_each_window(tmp_path: Path, kind: str, concurrency: int) -> None:
    """The log of a user, filtered and pseudonymized records lie in the same parts as after a pull of each day."""
    fake = fake_with(ManualClock(), records_per_day=300, even_days=False)
    shared, alone = LocalStore(str(tmp_path / "shared")), LocalStore(str(tmp_path / "alone"))
    ranged = range_spec(days=DAYS, concurrency=concurrency, **KINDS[kind])
    land_range(ranged, reader_of(fake, ManualClock()), shared)
    land_each(ranged, fake, alone)
    check_same_dataset(shared, alone)
    counts = [manifest.record_count for manifest in manifests(shared)]
    assert len(counts) == DAYS
    assert (sum(counts) == 0) == (kind == "filter that nothing matches")


def test_range_under_a_privacy_rule_writes_nothing_personal(tmp_path: Path) -> None:
    """No object of the destination has an e-mail address of the log, although the windows share pages."""
    fake = fake_with(ManualClock(), records_per_day=300)
    clear, hidden = LocalStore(str(tmp_path / "clear")), LocalStore(str(tmp_path / "hidden"))
    land_range(range_spec(days=DAYS), reader_of(fake, ManualClock()), clear)
    land_range(range_spec(days=DAYS, privacy=rule()), reader_of(fake, ManualClock()), hidden)
    assert any(EMAIL.search(content) for content in objects(clear).values())
    assert not any(EMAIL.search(content) for content in objects(hidden).values())


def test_days_of_a_range_are_sealed_and_late_records_are_added_to_them(tmp_path: Path) -> None:
    """Each day of a range gets a seal; a second run adds a late record beside the sealed parts, and is sealed too."""
    fake = fake_with(ManualClock(), records_per_day=300)
    store = LocalStore(str(tmp_path))
    land_range(range_spec(days=DAYS), reader_of(fake, ManualClock()), store)
    assert len(seal(store).created) == DAYS
    before = objects(store)
    fake.add(record_at(f"{FIRST + DAY:%Y-%m-%dT%H:%M:%SZ}", "late"))
    again = range_spec(days=DAYS, reads_again=True, attempt_id="two")
    assert land_range(again, reader_of(fake, ManualClock()), store).added_count == 1
    assert [created.day for created in seal(store).created] == [(FIRST + DAY).date()]
    assert not list(verify(store).findings)
    sealed_parts = {key: content for key, content in before.items() if key.startswith("dt=")}
    assert sealed_parts.items() <= objects(store).items()

"""A recount that differs is judged by what differs: records that vanish or arrive meanwhile do not fail the pull."""

from __future__ import annotations

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.exceptions import VerificationError
from airflow_audit_provider.testing.clock import ManualClock
from tests.pipelines.pull.counted_records import spaced
from tests.pipelines.pull.landing import land, landed_ids, pull_spec, reader_of, staged_keys, true_ids, visible_keys
from tests.pipelines.pull.resuming import check_no_findings

pytestmark = pytest.mark.integration

VERSIONS = ("v1", "v2")


@pytest.mark.parametrize(
    ("switches", "request_count"),
    [
        # Each reading of so few records takes two requests.
        (["lagging_replica=3,after=2,first=4"], 6),
        (["lagging_replica=3,after=2"], 6),
        (["lagging_replica=3,first=2"], 8),
        (["lagging_replica=3,after=2,first=4", "lagging_replica=5,after=4,first=6"], 10),
        ([], 4),
    ],
)
@pytest.mark.parametrize("version", VERSIONS)
def test_records_that_one_reading_lacked_are_landed(
    version: str, switches: list[str], request_count: int, clock: ManualClock, store: LocalStore
) -> None:
    """A third reading settles what the second one lacked; all else is read again from the start."""
    fake = spaced(60, 200, version, *switches, clock=clock)
    spec = pull_spec(version, verify="recount", concurrency=1)
    assert land(spec, reader_of(fake, clock), store).manifest.verified == "recount"
    assert len(fake.requests) == request_count
    fake.misbehave()
    assert landed_ids(spec, store) == true_ids(fake, version)
    assert not staged_keys(store)
    check_no_findings(store)


@pytest.mark.parametrize("version", VERSIONS)
def test_records_that_a_dropped_reading_showed_have_to_come_again(
    version: str, clock: ManualClock, store: LocalStore
) -> None:
    """Two equal readings are no agreement if both lack what an earlier one showed."""
    fake = spaced(60, 200, version, "lagging_replica=3,first=2", "lagging_replica=3,after=4", clock=clock)
    with pytest.raises(VerificationError, match="3 records of an earlier read came in neither"):
        land(pull_spec(version, verify="recount", concurrency=1), reader_of(fake, clock), store)
    assert not visible_keys(store)
    assert not staged_keys(store)


@pytest.mark.parametrize("version", VERSIONS)
def test_third_reading_begins_at_the_first_end(version: str, clock: ManualClock, store: LocalStore) -> None:
    """What ends two readings too early rarely leaves out the same records from both ends."""
    fake = spaced(60, 200, version, "lagging_replica=3,after=2", clock=clock)
    land(pull_spec(version, verify="recount", concurrency=1), reader_of(fake, clock), store)
    # The second request of each reading is the probe of its end, in the opposite direction.
    assert [dict(asked.params)["direction"] for asked in fake.requests[::2]] == ["asc", "desc", "asc"]

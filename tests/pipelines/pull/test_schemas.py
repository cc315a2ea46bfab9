"""Windows landed in a schema: the manifest says which, late records take it, another one is refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.archive.manifest import Manifest, TableSchema, describe
from airflow_audit_provider.exceptions import CommitConflictError
from airflow_audit_provider.formats.part_format import committed_format
from airflow_audit_provider.pipelines import part_writer as staging
from airflow_audit_provider.pipelines import verify as auditing
from airflow_audit_provider.pipelines.committed import latest_committed
from airflow_audit_provider.pipelines.pull_spec import PullSpec
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from tests.pipelines.pull.landing import (
    END,
    START,
    fake_with,
    keys_of,
    land,
    landed,
    landed_ids,
    objects,
    order,
    record_at,
    source_of,
    true_ids,
    visible_keys,
)
from tests.pipelines.pull.resuming import fake_of, finish, kill, resumable_order, visible_parts

CHOICES = [
    ("normalized", "jsonl"),
    ("normalized", "csv"),
    ("normalized", "parquet"),
    ("ocsf", "jsonl"),
    ("ocsf", "parquet"),
]
EACH_CHOICE = pytest.mark.parametrize(("schema", "file_format"), CHOICES)
ODD = b'{"id":"odd","when":"2026-10-26T12:00:00Z","action":{"result":"perhaps","type":["x"]},"actor":{"ip":{}}}'


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """An empty destination."""
    return LocalStore(str(tmp_path))


@pytest.fixture
def fake() -> FakeCloudflare:
    """A fake of few records."""
    return fake_with(ManualClock(), records_per_day=300)


def pull(fake: FakeCloudflare, store: LocalStore, wanted: PullSpec) -> Manifest:
    """Land, and return the manifest in force."""
    return land(wanted, source_of(fake, ManualClock()), store).manifest


@EACH_CHOICE
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_records_are_read_back_whole(
    schema: str, file_format: str, version: str, fake: FakeCloudflare, store: LocalStore
) -> None:
    """Whatever a schema makes of a record, its own bytes come back, and a second run changes nothing."""
    wanted = order(version, schema=schema, file_format=file_format, recount=True)
    manifest = pull(fake, store, wanted)
    assert manifest.table == TableSchema(schema, "1.0")
    truth = [(row.time_ns, row.id, row.raw) for row in fake.truth(version, None, START, END)]
    assert [(record.event_ns, record.id, record.raw) for record in landed(wanted, store)] == truth
    assert auditing.verify(store).findings == ()
    before = objects(store)
    pull(fake, store, wanted._replace(attempt_id="two"))
    assert objects(store) == before


@pytest.mark.integration
@EACH_CHOICE
def test_a_killed_try_is_gone_on_with(
    schema: str, file_format: str, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it staged in a schema is taken over, and the parts are those of an undisturbed run."""
    monkeypatch.setattr(staging, "PART_RECORDS", 500)
    monkeypatch.setattr(staging, "_GROUP_RECORDS", 500)
    fake = fake_of(2500)
    wanted = resumable_order(schema=schema, file_format=file_format)
    # At the third page a part of so few records is closed.
    kill(fake, wanted, store, at=3)
    outcome = finish(fake, wanted, store)
    assert outcome.manifest.fetch.resumed_count > 0
    undisturbed = LocalStore(str(tmp_path / "other"))
    finish(fake, wanted, undisturbed)
    assert visible_parts(store) == visible_parts(undisturbed)


@EACH_CHOICE
def test_late_records_are_added_and_type_mismatches_counted(
    schema: str, file_format: str, fake: FakeCloudflare, store: LocalStore
) -> None:
    """An odd value fails nothing: the manifest counts it in its window, and the record is whole."""
    wanted = order(schema=schema, file_format=file_format)
    pull(fake, store, wanted)
    fake.add(ODD)
    manifest = pull(fake, store, wanted._replace(attempt_id="two"))
    type_mismatches = {"action_succeeded": 1, "action_type": 1, "actor_ip": 1}
    assert (manifest.generation, manifest.table) == (2, TableSchema(schema, "1.0", type_mismatches))
    assert describe(manifest)["type_mismatch_count"] == 3
    assert landed_ids(wanted, store) == true_ids(fake)
    assert ODD in [record.raw for record in landed(wanted, store)]
    fake.add(record_at("2026-10-26T13:00:00Z", "plain"))
    assert pull(fake, store, wanted._replace(attempt_id="three")).table == manifest.table
    assert auditing.verify(store).findings == ()


@pytest.mark.parametrize(("first", "second"), [("raw", "normalized"), ("normalized", "raw"), ("normalized", "ocsf")])
def test_another_schema_needs_replacing(first: str, second: str, fake: FakeCloudflare, store: LocalStore) -> None:
    """A committed window is refused in another schema, before any request, and replaced by it on request."""
    pull(fake, store, order(schema=first))
    before, requests = objects(store), len(fake.requests)
    wanted = order(schema=second)
    with pytest.raises(CommitConflictError, match=f"committed in the schema {first}"):
        pull(fake, store, wanted._replace(attempt_id="two"))
    assert (objects(store), len(fake.requests)) == (before, requests)
    manifest = pull(fake, store, wanted._replace(attempt_id="three", replace=True))
    assert (manifest.generation, committed_format(manifest)) == (2, wanted.part_format)
    assert landed_ids(wanted, store) == true_ids(fake)
    assert auditing.verify(store).severe_count == 0


@EACH_CHOICE
def test_an_empty_window_has_no_part(schema: str, file_format: str, store: LocalStore) -> None:
    """Its manifest says the schema; a reader of the partition finds no file, not one without rows."""
    manifest = pull(fake_with(ManualClock(), records_per_day=0), store, order(schema=schema, file_format=file_format))
    assert (manifest.parts, manifest.table) == ((), TableSchema(schema, "1.0"))
    assert [key for key in visible_keys(store) if not key.startswith("_manifests/")] == []


def test_raw_says_nothing_new(fake: FakeCloudflare, store: LocalStore) -> None:
    """Without a schema and a rule the manifest has the bytes it always had."""
    pull(fake, store, order())
    content = msgspec.json.decode(next(text for key, text in objects(store).items() if key.startswith("_manifests/")))
    assert not {"table", "privacy"} & content.keys()


def test_late_records_take_the_committed_minor_version(fake: FakeCloudflare, store: LocalStore) -> None:
    """A window that an older provider committed keeps its columns, also for what is added to it."""
    wanted = order(schema="normalized")
    pull(fake, store, wanted)
    newer = wanted._replace(part_format=msgspec.structs.replace(wanted.part_format, schema_version="1.1"))
    fake.add(record_at("2026-10-26T13:00:00Z", "late"))
    manifest = pull(fake, store, newer._replace(attempt_id="two"))
    assert (manifest.generation, manifest.table) == (2, TableSchema("normalized", "1.0"))


def test_a_newer_version_is_left_alone(fake: FakeCloudflare, store: LocalStore) -> None:
    """What a newer provider committed is not added to, and is read and verified all the same."""
    wanted = order(schema="normalized")
    newer = wanted._replace(part_format=msgspec.structs.replace(wanted.part_format, schema_version="1.7"))
    pull(fake, store, newer)
    with pytest.raises(CommitConflictError, match=r"newer than normalized 1\.0\. Upgrade"):
        pull(fake, store, wanted._replace(attempt_id="two"))
    assert auditing.verify(store).findings == ()
    commit = latest_committed(store, keys_of(wanted))
    assert commit is not None
    assert committed_format(commit.manifest).schema_version == "1.7"

"""Windows landed in a schema: the manifest states it, late records take it, another one conflicts."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.archive.manifest import Manifest, TableSchema, describe
from airflow_audit_provider.core.archive.object_keys import DATASET_KEY
from airflow_audit_provider.exceptions import CommitConflictError
from airflow_audit_provider.formats.part_format import committed_format, part_format
from airflow_audit_provider.pipelines import part_writer
from airflow_audit_provider.pipelines.committed import latest_committed
from airflow_audit_provider.pipelines.pull_spec import PullSpec
from airflow_audit_provider.pipelines.verify import verify
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
    pull_spec,
    reader_of,
    record_at,
    true_ids,
    visible_keys,
)
from tests.pipelines.pull.resuming import fake_of, finish, kill, resumable_spec, visible_parts

CHOICES = [
    ("normalized", "jsonl"),
    ("normalized", "csv"),
    ("normalized", "parquet"),
    ("ocsf", "jsonl"),
    ("ocsf", "parquet"),
]
VERSIONS = {"normalized": "1.0", "ocsf": "2.0"}
EACH_CHOICE = pytest.mark.parametrize(("schema", "file_format"), CHOICES)
ODD = b'{"id":"odd","when":"2026-10-26T12:00:00Z","action":{"result":"perhaps","type":["x"]},"actor":{"ip":{}}}'


@pytest.fixture
def fake() -> FakeCloudflare:
    """A fake of few records."""
    return fake_with(ManualClock(), records_per_day=300)


def _describe(store: LocalStore, spec: PullSpec) -> None:
    """Makes the destination that of a spec: what it holds already is then foreign, as before 1.0.0rc1."""
    store.remove([DATASET_KEY])
    store.create(DATASET_KEY, spec.dataset.to_bytes())


def pull(fake: FakeCloudflare, store: LocalStore, spec: PullSpec) -> Manifest:
    """Pulls and returns the newest manifest."""
    return land(spec, reader_of(fake, ManualClock()), store).manifest


@pytest.mark.integration
@EACH_CHOICE
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_records_are_read_back_unchanged(
    schema: str, file_format: str, version: str, fake: FakeCloudflare, store: LocalStore
) -> None:
    """In every schema the bytes of each record are read back unchanged, and a second run changes nothing."""
    spec = pull_spec(version, schema=schema, file_format=file_format, verify="recount")
    manifest = pull(fake, store, spec)
    assert manifest.table == TableSchema(schema, VERSIONS[schema])
    truth = [(row.time_ns, row.id, row.raw) for row in fake.truth(version, None, START, END)]
    assert [(record.event_ns, record.id, record.raw) for record in landed(spec, store)] == truth
    assert verify(store).findings == ()
    before = objects(store)
    pull(fake, store, spec._replace(attempt_id="two"))
    assert objects(store) == before


@pytest.mark.integration
@EACH_CHOICE
def test_killed_attempt_is_resumed(
    schema: str, file_format: str, store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A killed attempt in a schema is resumed, and the parts are those of an undisturbed run."""
    monkeypatch.setattr(part_writer, "PART_RECORDS", 500)
    monkeypatch.setattr(part_writer, "GROUP_RECORDS", 500)
    fake = fake_of(2500)
    spec = resumable_spec(schema=schema, file_format=file_format)
    # With parts of this size, a part is closed at the third page.
    kill(fake, spec, store, at=3)
    outcome = finish(fake, spec, store)
    assert outcome.manifest.fetch.resumed_count > 0
    undisturbed = LocalStore(str(tmp_path / "other"))
    finish(fake, spec, undisturbed)
    assert visible_parts(store) == visible_parts(undisturbed)


@pytest.mark.integration
@pytest.mark.parametrize("schema", ["ocsf-1.3", "ocsf-1.1"])
def test_late_event_has_the_release_and_the_severities_of_its_task(
    schema: str, fake: FakeCloudflare, store: LocalStore
) -> None:
    """A window in an older release of OCSF stays in it, and the user's severities apply to late records, too."""
    form = part_format("jsonl", "none", schema, {"other": "Low", "*:rec_add": "Fatal"})
    spec = pull_spec()._replace(part_format=form)
    pull(fake, store, spec)
    fake.add(record_at("2026-10-26T13:00:00Z", "late"))
    manifest = pull(fake, store, spec._replace(attempt_id="two"))
    assert (manifest.generation, manifest.table) == (2, TableSchema(schema, "2.0"))
    events = [json.loads(line) for part in manifest.parts for line in (store.read(part.key) or b"").splitlines()]
    assert {event["metadata"]["version"] for event in events} == {f"{schema[-3:]}.0"}
    assert all((event["severity"] == "Fatal") == (event["api"]["operation"] == "rec_add") for event in events)
    assert "Informational" not in {event["severity"] for event in events}
    assert landed_ids(spec, store) == true_ids(fake)
    with pytest.raises(CommitConflictError, match="ocsf"):
        pull(fake, store, spec._replace(part_format=part_format("jsonl", "none", "ocsf"), attempt_id="three"))


@pytest.mark.integration
@EACH_CHOICE
def test_late_records_are_added_and_type_mismatches_counted(
    schema: str, file_format: str, fake: FakeCloudflare, store: LocalStore
) -> None:
    """A value of another type fails nothing: the manifest counts it, and the record is complete."""
    spec = pull_spec(schema=schema, file_format=file_format)
    pull(fake, store, spec)
    fake.add(ODD)
    manifest = pull(fake, store, spec._replace(attempt_id="two"))
    type_mismatches = {"action_succeeded": 1, "action_type": 1, "actor_ip": 1}
    assert (manifest.generation, manifest.table) == (2, TableSchema(schema, VERSIONS[schema], type_mismatches))
    assert describe(manifest)["type_mismatch_count"] == 3
    assert landed_ids(spec, store) == true_ids(fake)
    assert ODD in [record.raw for record in landed(spec, store)]
    fake.add(record_at("2026-10-26T13:00:00Z", "plain"))
    assert pull(fake, store, spec._replace(attempt_id="three")).table == manifest.table
    assert verify(store).findings == ()


@pytest.mark.integration
@pytest.mark.parametrize(("first", "second"), [("raw", "normalized"), ("normalized", "raw"), ("normalized", "ocsf")])
def test_committed_window_in_another_schema_must_be_replaced(
    first: str, second: str, fake: FakeCloudflare, store: LocalStore
) -> None:
    """Another schema conflicts before the first request, and ``replace`` rewrites only a foreign window."""
    pull(fake, store, pull_spec(schema=first))
    before, requests = objects(store), len(fake.requests)
    spec = pull_spec(schema=second)
    with pytest.raises(CommitConflictError, match=f"schema {first}( 1)?, not {second}"):
        pull(fake, store, spec._replace(attempt_id="two", replace=True))
    assert (objects(store), len(fake.requests)) == (before, requests)
    _describe(store, spec)
    with pytest.raises(CommitConflictError, match=f"committed in the schema {first}"):
        pull(fake, store, spec._replace(attempt_id="two"))
    manifest = pull(fake, store, spec._replace(attempt_id="three", replace=True))
    assert (manifest.generation, committed_format(manifest)) == (2, spec.part_format)
    assert landed_ids(spec, store) == true_ids(fake)
    assert verify(store).severe_count == 0


@EACH_CHOICE
def test_empty_window_has_no_part(schema: str, file_format: str, store: LocalStore) -> None:
    """The manifest of an empty window states the schema, and there is no part without rows."""
    manifest = pull(
        fake_with(ManualClock(), records_per_day=0), store, pull_spec(schema=schema, file_format=file_format)
    )
    assert (manifest.parts, manifest.table) == ((), TableSchema(schema, VERSIONS[schema]))
    assert [key for key in visible_keys(store) if key.startswith("dt=")] == []


def test_raw_manifest_has_no_table_and_privacy(fake: FakeCloudflare, store: LocalStore) -> None:
    """Without a schema and a privacy rule the manifest has neither field."""
    pull(fake, store, pull_spec())
    content = msgspec.json.decode(next(text for key, text in objects(store).items() if key.startswith("_manifests/")))
    assert not {"table", "privacy"} & content.keys()


@pytest.mark.integration
def test_late_records_take_the_committed_minor_version(fake: FakeCloudflare, store: LocalStore) -> None:
    """Late records take the minor version of the schema in which the window is committed."""
    spec = pull_spec(schema="normalized")
    pull(fake, store, spec)
    newer = spec._replace(part_format=msgspec.structs.replace(spec.part_format, schema_version="1.1"))
    fake.add(record_at("2026-10-26T13:00:00Z", "late"))
    manifest = pull(fake, store, newer._replace(attempt_id="two"))
    assert (manifest.generation, manifest.table) == (2, TableSchema("normalized", "1.0"))


def test_newer_schema_version_is_verified_but_not_added_to(fake: FakeCloudflare, store: LocalStore) -> None:
    """A window of a newer schema version gets no late records, but can be read and verified."""
    spec = pull_spec(schema="normalized")
    newer = spec._replace(part_format=msgspec.structs.replace(spec.part_format, schema_version="1.7"))
    pull(fake, store, newer)
    with pytest.raises(CommitConflictError, match=r"newer than normalized 1\.0\. Upgrade"):
        pull(fake, store, spec._replace(attempt_id="two"))
    assert verify(store).findings == ()
    commit = latest_committed(store, keys_of(spec))
    assert commit is not None
    assert committed_format(commit.manifest).schema_version == "1.7"

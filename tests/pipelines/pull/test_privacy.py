"""Pulls under a privacy rule: nothing personal is written, and everything else stays correct."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.archive.manifest import Manifest
from airflow_audit_provider.core.archive.object_keys import DATASET_KEY
from airflow_audit_provider.core.privacy.pseudonyms import Pseudonyms
from airflow_audit_provider.core.privacy.rule import PrivacyRule
from airflow_audit_provider.exceptions import CommitConflictError, ConfigurationError
from airflow_audit_provider.pipelines import part_writer
from airflow_audit_provider.pipelines.late_records import pull_late_records
from airflow_audit_provider.pipelines.observer import NullObserver
from airflow_audit_provider.pipelines.pull_spec import PullSpec
from airflow_audit_provider.pipelines.verify import verify
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.vocabulary import ADDRESSES
from tests.pipelines.pull.landing import END, fake_with, land, landed, objects, pull_spec, reader_of, true_ids
from tests.pipelines.pull.privacy_rules import EMAIL, KEY, rule
from tests.pipelines.pull.resuming import fake_of, finish, kill, resumable_spec, visible_parts

pytestmark = pytest.mark.integration

LATE = (
    b'{"id":"late","when":"2026-10-26T12:00:00Z","actor":{"email":"Alice@Example.com","ip":"192.0.2.1","type":"user"},'
    b'"newValue":"{\\"email\\":\\"alice\\\\u0040example.com\\"}","metadata":{"from":"192.0.2.1","session":"secret"},'
    b'"resource":{"id":"r","type":"DNS_record"},"newValueJson":{"content":"198.51.100.7"}}'
)
# The replacement character may hide another one, so the digest of the record's text is its id.
UNUSABLE_ID = '"late\ufffd"'.encode()
ADDRESS = re.compile(rb"(?<![\d.])(" + b"|".join(re.escape(one.encode()) for one in ADDRESSES) + rb")(?![\d.])")
FORMS = [("raw", "jsonl"), ("normalized", "parquet"), ("ocsf", "parquet"), ("normalized", "csv"), ("ocsf", "jsonl")]


# With parts of this size, a part is closed at the third page of these records.
FEW, KILLED_AT, PART_RECORDS = 2500, 3, 500


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small parts and groups, so that an attempt leaves a checkpoint after two pages."""
    monkeypatch.setattr(part_writer, "PART_RECORDS", PART_RECORDS)
    monkeypatch.setattr(part_writer, "GROUP_RECORDS", PART_RECORDS)


def pull(fake: FakeCloudflare, store: LocalStore, spec: PullSpec, attempt_id: str = "one") -> Manifest:
    """Pulls and returns the newest manifest."""
    return land(spec._replace(attempt_id=attempt_id), reader_of(fake, ManualClock()), store).manifest


def texts(store: LocalStore) -> Iterator[bytes]:
    """Yields every object of a store, decompressed and as text."""
    for content in objects(store).values():
        if content.startswith(b"PAR1"):
            yield repr(pq.read_table(pa.BufferReader(content)).to_pylist()).encode()
        else:
            yield gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content


def check_nothing_personal(store: LocalStore) -> None:
    """Asserts that no object has an e-mail address, an actor's IP address, a dropped value or the key."""
    for text in texts(store):
        assert not EMAIL.search(text)
        assert not ADDRESS.search(text)
        assert not re.search(rb'session\\*":', text)
        assert KEY not in text


@pytest.mark.parametrize(("schema", "file_format"), FORMS)
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_nothing_personal_lands(schema: str, file_format: str, version: str, store: LocalStore) -> None:
    """No object has a personal address, in any format, and every record lands."""
    fake = fake_with(ManualClock(), records_per_day=300)
    spec = pull_spec(version, schema=schema, file_format=file_format, privacy=rule(), verify="recount")
    manifest = pull(fake, store, spec)
    assert manifest.privacy == rule().manifest_entry
    check_nothing_personal(store)
    assert sorted(record.id for record in landed(spec, store)) == true_ids(fake, version)
    assert verify(store).findings == ()


def test_day_without_a_rule_has_addresses_in_clear(store: LocalStore) -> None:
    """Without a rule the same day has addresses, so the check can fail."""
    pull(fake_with(ManualClock(), records_per_day=300), store, pull_spec())
    with pytest.raises(AssertionError):
        check_nothing_personal(store)


def test_both_versions_have_the_same_pseudonyms(tmp_path: Path) -> None:
    """A person has the same pseudonym in both API versions."""
    reported = {}
    for version in ("v1", "v2"):
        store, spec = LocalStore(str(tmp_path / version)), pull_spec(version, privacy=rule())
        pull(fake_with(ManualClock(), records_per_day=300), store, spec)
        reported[version] = set(re.findall(rb"hmac:[0-9a-f]{32}", b"".join(texts(store))))
    alice = Pseudonyms(KEY, emails=True, addresses=True).of_email("alice@example.com").encode()
    assert alice in reported["v1"] & reported["v2"]


def test_late_record_is_pseudonymised_like_the_others(store: LocalStore) -> None:
    """A late record is added once, with pseudonyms in its text and in the JSON inside its text."""
    fake = fake_with(ManualClock(), records_per_day=300)
    spec = pull_spec(privacy=rule())
    pull(fake, store, spec)
    before = objects(store)
    assert pull(fake, store, spec, "two").generation == 1
    assert objects(store) == before
    fake.add(LATE)
    for attempt_id in ("three", "four"):
        manifest = pull(fake, store, spec, attempt_id)
        assert (manifest.generation, manifest.added_ids) == (2, ("late",))
    (late,) = [record.raw.decode() for record in landed(spec, store) if record.id == "late"]
    pseudonyms = Pseudonyms(KEY, emails=True, addresses=True)
    assert late.count(pseudonyms.of_email("alice@example.com")) == 2
    assert late.count(pseudonyms.of_address("192.0.2.1")) == 2
    assert "198.51.100.7" in late
    assert verify(store).findings == ()
    check_nothing_personal(store)


def test_late_records_that_differ_only_in_dropped_values_are_all_added(store: LocalStore) -> None:
    """Two late records without a usable id that differ only in a dropped value are both added."""
    fake, spec = fake_with(ManualClock(), records_per_day=30), pull_spec(privacy=rule())
    pull(fake, store, spec)
    for session in (b"secret-1", b"secret-2"):
        fake.add(LATE.replace(b'"late"', UNUSABLE_ID).replace(b"secret", session))
        pull(fake, store, spec, session.decode())
    manifest = pull(fake, store, spec, "again")
    assert (manifest.generation, manifest.record_count) == (3, 32)
    assert verify(store).findings == ()
    check_nothing_personal(store)


@pytest.mark.usefixtures("small_parts")
def test_killed_attempt_leaves_nothing_personal_and_is_resumed(store: LocalStore, tmp_path: Path) -> None:
    """Staged parts and checkpoints of a killed attempt have nothing personal, and the next attempt resumes it."""
    fake, spec = fake_of(FEW), resumable_spec(privacy=rule())
    kill(fake, spec, store, KILLED_AT)
    assert any("/checkpoint-" in key for key in objects(store))
    check_nothing_personal(store)
    outcome = finish(fake, spec, store)
    assert outcome.manifest.fetch.resumed_count > 0
    undisturbed = LocalStore(str(tmp_path / "other"))
    finish(fake, spec, undisturbed)
    assert visible_parts(store) == visible_parts(undisturbed)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("other", [None, rule(b"x" * 32), rule(drop=["metadata"]), rule(pseudonymise=["email"])])
def test_attempt_under_another_rule_is_not_resumed_and_must_be_replaced(
    other: PrivacyRule | None, store: LocalStore
) -> None:
    """Under another rule an attempt is not resumed, late records are not added and a lookback skips the window."""
    fake, spec = fake_of(FEW), resumable_spec(privacy=rule())
    kill(fake, spec, store, KILLED_AT)
    assert any("/checkpoint-" in key for key in objects(store))
    assert finish(fake, spec._replace(privacy=other), store).manifest.fetch.resumed_count == 0
    for changed in (spec, spec._replace(replace=True)):
        with pytest.raises(CommitConflictError, match=r"holds another dataset than this pull .*: privacy rule"):
            finish(fake, changed, store, "again")
    # Foreign windows, which a version before 1.0.0rc1 allowed, are left out and can be replaced.
    store.remove([DATASET_KEY])
    store.create(DATASET_KEY, spec.dataset.to_bytes())
    with pytest.raises(CommitConflictError, match="committed under"):
        finish(fake, spec, store, "again")
    tomorrow = pull_spec(start=END, end=END + (END - spec.run_window.window.start), privacy=rule())
    clock = ManualClock()
    day = spec.run_window.window.end - spec.run_window.window.start
    assert pull_late_records(tomorrow, day, reader_of(fake, clock), store, NullObserver()).outcomes == ()
    replaced = finish(fake, spec._replace(replace=True), store, "replacing").manifest
    assert (replaced.generation, replaced.privacy) == (2, rule().manifest_entry)
    check_nothing_personal(store)


def test_filter_by_a_personal_field_fails(store: LocalStore) -> None:
    """A filter by a personal field fails before the first request, because the manifest would contain it."""
    fake = fake_with(ManualClock(), records_per_day=300)
    with pytest.raises(ConfigurationError, match="would be in plain text in every manifest"):
        pull(fake, store, pull_spec(privacy=rule(), filters={"actor_email": "alice@example.com"}))
    assert (objects(store), len(fake.requests)) == ({}, 0)

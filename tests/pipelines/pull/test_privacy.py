"""Landing under a privacy rule: nothing personal is written anywhere, ever, and everything else stays right."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.archive.manifest import Manifest
from airflow_audit_provider.core.privacy.pseudonyms import Pseudonyms
from airflow_audit_provider.core.privacy.rule import PrivacyRule, read_privacy
from airflow_audit_provider.exceptions import CommitConflictError, ConfigurationError
from airflow_audit_provider.pipelines import part_writer as staging
from airflow_audit_provider.pipelines import verify as auditing
from airflow_audit_provider.pipelines.late_records import pull_late_records
from airflow_audit_provider.pipelines.observer import NullObserver
from airflow_audit_provider.pipelines.pull_spec import PullSpec
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.vocabulary import ADDRESSES
from tests.pipelines.pull.landing import END, fake_with, land, landed, objects, order, source_of, true_ids
from tests.pipelines.pull.resuming import fake_of, finish, kill, resumable_order, visible_parts

pytestmark = pytest.mark.integration

KEY = b"0123456789abcdef0123456789abcdef"
DROP = ["metadata.session", "newValueJson.policies"]
LATE = (
    b'{"id":"late","when":"2026-10-26T12:00:00Z","actor":{"email":"Alice@Example.com","ip":"192.0.2.1","type":"user"},'
    b'"newValue":"{\\"email\\":\\"alice\\\\u0040example.com\\"}","metadata":{"from":"192.0.2.1","session":"secret"},'
    b'"resource":{"id":"r","type":"DNS_record"},"newValueJson":{"content":"198.51.100.7"}}'
)
# A reader cannot tell it from a cut one, so the record is known by its text.
UNUSABLE_ID = '"late\ufffd"'.encode()
EMAIL = re.compile(rb"[\w.]+(?:@|\\u0040|%40)example\.com")
ADDRESS = re.compile(rb"(?<![\d.])(" + b"|".join(re.escape(one.encode()) for one in ADDRESSES) + rb")(?![\d.])")
FORMS = [("raw", "jsonl"), ("normalized", "parquet"), ("ocsf", "parquet"), ("normalized", "csv"), ("ocsf", "jsonl")]


# At the third page of these records a part of so few is closed.
FEW, KILLED_AT, PART_RECORDS = 2500, 3, 500


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a try leave something after two pages."""
    monkeypatch.setattr(staging, "PART_RECORDS", PART_RECORDS)
    monkeypatch.setattr(staging, "_GROUP_RECORDS", PART_RECORDS)


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """An empty destination."""
    return LocalStore(str(tmp_path))


def rule(key: bytes = KEY, **given: Any) -> PrivacyRule:
    """Return the usual rule with another key or changes."""
    request = read_privacy({"conn_id": "audit_privacy", "drop": DROP, **given})
    assert request is not None
    return PrivacyRule(request, key)


def pull(fake: FakeCloudflare, store: LocalStore, wanted: PullSpec, attempt_id: str = "one") -> Manifest:
    """Land, and return the manifest in force."""
    return land(wanted._replace(attempt_id=attempt_id), source_of(fake, ManualClock()), store).manifest


def texts(store: LocalStore) -> Iterator[bytes]:
    """Yield everything that lies in a store, unpacked."""
    for content in objects(store).values():
        if content.startswith(b"PAR1"):
            yield repr(pq.read_table(pa.BufferReader(content)).to_pylist()).encode()
        else:
            yield gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content


def refuse_personal(store: LocalStore) -> None:
    """Refuse an e-mail address, an actor's IP address or a dropped value in any object there is."""
    for text in texts(store):
        assert not EMAIL.search(text)
        assert not ADDRESS.search(text)
        assert not re.search(rb'session\\*":', text)
        assert KEY not in text


@pytest.mark.parametrize(("schema", "file_format"), FORMS)
@pytest.mark.parametrize("version", ["v1", "v2"])
def test_nothing_personal_lands(schema: str, file_format: str, version: str, store: LocalStore) -> None:
    """No object holds an address of a person, in no format, and every record is there."""
    fake = fake_with(ManualClock(), records_per_day=300)
    wanted = order(version, schema=schema, file_format=file_format, privacy=rule(), recount=True)
    manifest = pull(fake, store, wanted)
    assert manifest.privacy == rule().manifest_entry
    refuse_personal(store)
    assert sorted(record.id for record in landed(wanted, store)) == true_ids(fake, version)
    assert auditing.verify(store).findings == ()


def test_the_test_would_notice(store: LocalStore) -> None:
    """Without a rule the same day holds addresses."""
    pull(fake_with(ManualClock(), records_per_day=300), store, order())
    with pytest.raises(AssertionError):
        refuse_personal(store)


def test_both_versions_have_the_same_pseudonyms(tmp_path: Path) -> None:
    """A person is one pseudonym in either history."""
    reported = {}
    for version in ("v1", "v2"):
        store, wanted = LocalStore(str(tmp_path / version)), order(version, privacy=rule())
        pull(fake_with(ManualClock(), records_per_day=300), store, wanted)
        reported[version] = set(re.findall(rb"hmac:[0-9a-f]{32}", b"".join(texts(store))))
    alice = Pseudonyms(KEY, emails=True, addresses=True).of_email("alice@example.com").encode()
    assert alice in reported["v1"] & reported["v2"]


def test_late_records_are_found_and_told_alike(store: LocalStore) -> None:
    """A second run adds nothing; a late record is added once, pseudonyms in its text and in the JSON in its text."""
    fake = fake_with(ManualClock(), records_per_day=300)
    wanted = order(privacy=rule())
    pull(fake, store, wanted)
    before = objects(store)
    assert pull(fake, store, wanted, "two").generation == 1
    assert objects(store) == before
    fake.add(LATE)
    for attempt_id in ("three", "four"):
        manifest = pull(fake, store, wanted, attempt_id)
        assert (manifest.generation, manifest.added_ids) == (2, ("late",))
    (late,) = [record.raw.decode() for record in landed(wanted, store) if record.id == "late"]
    pseudonyms = Pseudonyms(KEY, emails=True, addresses=True)
    assert late.count(pseudonyms.of_email("alice@example.com")) == 2
    assert late.count(pseudonyms.of_address("192.0.2.1")) == 2
    assert "198.51.100.7" in late
    assert auditing.verify(store).findings == ()
    refuse_personal(store)


def test_late_records_without_a_usable_id_that_differ_in_what_is_dropped_are_all_added(store: LocalStore) -> None:
    """Nothing but the dropped value tells one from the other, and neither is taken for the other."""
    fake, wanted = fake_with(ManualClock(), records_per_day=30), order(privacy=rule())
    pull(fake, store, wanted)
    for session in (b"secret-1", b"secret-2"):
        fake.add(LATE.replace(b'"late"', UNUSABLE_ID).replace(b"secret", session))
        pull(fake, store, wanted, session.decode())
    manifest = pull(fake, store, wanted, "again")
    assert (manifest.generation, manifest.record_count) == (3, 32)
    assert auditing.verify(store).findings == ()
    refuse_personal(store)


@pytest.mark.usefixtures("small_parts")
def test_a_killed_try_leaves_nothing_personal_and_is_gone_on_with(store: LocalStore, tmp_path: Path) -> None:
    """Staging and checkpoints are under the rule too; the next try takes them over only under the same one."""
    fake, wanted = fake_of(FEW), resumable_order(privacy=rule())
    kill(fake, wanted, store, KILLED_AT)
    assert any("/checkpoint-" in key for key in objects(store))
    refuse_personal(store)
    outcome = finish(fake, wanted, store)
    assert outcome.manifest.fetch.resumed_count > 0
    undisturbed = LocalStore(str(tmp_path / "other"))
    finish(fake, wanted, undisturbed)
    assert visible_parts(store) == visible_parts(undisturbed)


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize("other", [None, rule(b"x" * 32), rule(drop=["metadata"]), rule(pseudonymise=["email"])])
def test_another_rule_takes_nothing_over_and_needs_replacing(other: PrivacyRule | None, store: LocalStore) -> None:
    """What lies there under one rule is not gone on with, added to or looked at again under another."""
    fake, wanted = fake_of(FEW), resumable_order(privacy=rule())
    kill(fake, wanted, store, KILLED_AT)
    assert any("/checkpoint-" in key for key in objects(store))
    assert finish(fake, wanted._replace(privacy=other), store).manifest.fetch.resumed_count == 0
    with pytest.raises(CommitConflictError, match="committed under"):
        finish(fake, wanted, store, "again")
    tomorrow = order(start=END, end=END + (END - wanted.run_window.window.start), privacy=rule())
    clock = ManualClock()
    day = wanted.run_window.window.end - wanted.run_window.window.start
    assert pull_late_records(tomorrow, day, source_of(fake, clock), store, NullObserver()).outcomes == ()
    replaced = finish(fake, wanted._replace(replace=True), store, "anew").manifest
    assert (replaced.generation, replaced.privacy) == (2, rule().manifest_entry)
    refuse_personal(store)


def test_a_filter_by_a_person_is_refused(store: LocalStore) -> None:
    """It would stand in the manifest; nothing is asked and nothing written."""
    fake = fake_with(ManualClock(), records_per_day=300)
    with pytest.raises(ConfigurationError, match="would stand in every manifest"):
        pull(fake, store, order(privacy=rule(), filters={"actor_email": "alice@example.com"}))
    assert (objects(store), len(fake.requests)) == ({}, 0)

"""Forgeries of what no seal covers yet: gaps, replacements before they are accepted, and checkpoints of attempts."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.signing import Ed25519Signer, Ed25519Verifier
from airflow_audit_provider.adapters.storage.local_store import LocalStore
from airflow_audit_provider.core.api.read_stats import ReadStats
from airflow_audit_provider.core.api.records import AuditRecord, parse_event_time
from airflow_audit_provider.core.archive.checkpoint import Checkpoint
from airflow_audit_provider.core.archive.object_keys import LONG_WINDOW_FOLDER
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.verification.findings import severe
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import VerificationError
from airflow_audit_provider.pipelines.committed import latest_committed
from airflow_audit_provider.pipelines.part_writer import PartWriter
from airflow_audit_provider.pipelines.pull_spec import PullSpec, plan_upon
from airflow_audit_provider.pipelines.seal import seal
from airflow_audit_provider.pipelines.seal_checks import Acceptance
from airflow_audit_provider.pipelines.verify import TrustAnchors, verify
from airflow_audit_provider.testing.clock import ManualClock
from tests.pipelines.pull.landing import (
    START,
    fake_with,
    keys_of,
    land,
    landed_ids,
    pull_spec,
    reader_of,
    record_at,
    true_ids,
)
from tests.pipelines.verify.dataset import DAY_1, PRIVATE_PEM, PUBLIC_PEM, commit, records_in, two_days, window
from tests.pipelines.verify.forgery import forge_replacement, newest
from tests.pipelines.verify.memory_store import MemoryStore
from tests.pipelines.verify.stated_times import SteppedAuthority

SIGNER, VERIFIER = Ed25519Signer(PRIVATE_PEM), Ed25519Verifier([PUBLIC_PEM])
IN_TIME, TOO_LATE = DAY_1 + timedelta(days=2.5), DAY_1 + timedelta(days=9)


@pytest.fixture
def store() -> MemoryStore:
    """Two landed, sealed, signed and time-stamped days; the second half of the second day is a gap."""
    made = MemoryStore()
    two_days(made)
    seal(made, signer=SIGNER, timestamper=SteppedAuthority(IN_TIME))
    return made


def severe_kinds(store: Store, anchors: TrustAnchors | None = None) -> set[str]:
    """Returns the kinds of severe findings, with the public key."""
    return {str(one.kind) for one in severe(verify(store, anchors=anchors or TrustAnchors(VERIFIER)).findings)}


GAPS = {
    "rest of a sealed day": window(1.5),
    "day before the first": window(-1, timedelta(days=1)),
    "weeks before the first": window(-30, timedelta(days=30)),
}


@pytest.mark.parametrize("record_count", [0, 2], ids=["empty", "with-records"])
@pytest.mark.parametrize("gap", GAPS)
def test_forged_window_in_a_gap_looks_genuine_once_the_owner_seals(
    store: MemoryStore, gap: str, record_count: int
) -> None:
    """A window can be forged where none is landed, also an empty one; only a time stamp after the limit shows it."""
    commit(store, GAPS[gap], records_in(GAPS[gap], record_count, "forged"))
    is_sealed_day = gap == "rest of a sealed day"
    assert severe_kinds(store) == ({"manifest_unsealed"} if is_sealed_day else set())
    authority = SteppedAuthority(TOO_LATE)
    digest = seal(store, signer=SIGNER, timestamper=authority).newest_seal_sha256
    assert severe_kinds(store, TrustAnchors(VERIFIER, digest)) == set()
    assert severe_kinds(store, TrustAnchors(VERIFIER, None, authority, timedelta(days=3))) == {"sealed_late"}


def test_replacement_that_was_changed_before_its_acceptance_is_sealed_and_listed(store: MemoryStore) -> None:
    """The owner accepts a manifest by name, so it can be changed until then; the seal counts the changed records."""
    key = forge_replacement(store, window(1), lambda records: records, keep_old=True)
    store.remove([key, *(part.key for part in newest(store, window(1)).parts)])
    assert forge_replacement(store, window(1), keep_old=True) == key
    digest = seal(store, signer=SIGNER, acceptance=Acceptance(frozenset([key]), "Ada")).newest_seal_sha256
    report = verify(store, anchors=TrustAnchors(VERIFIER, digest))
    assert severe(report.findings) == []
    (listed,) = (one for one in report.findings if one.kind == "replacement_accepted")
    assert "0 records removed, 0 added, 1 changed" in listed.detail


def forge_checkpoint(store: Store, spec: PullSpec, at: datetime) -> None:
    """Writes a checkpoint that an attempt at the window read it up to its last hour, where it found one record."""
    planned = plan_upon(spec, latest_committed(store, keys_of(spec)))
    folder = planned.keys.staging("forged")
    writer = PartWriter(store, folder, planned.spec.part_format, planned.spec.query.version, 1 << 20)
    when = "2026-10-26T23:00:00Z"
    writer.add([AuditRecord(parse_event_time(when), "forged", record_at(when, "forged"))])
    writer.finish()
    checkpoint = Checkpoint(planned.resume_key, tuple(writer.parts), ReadStats(), at, at)
    store.create(f"{folder}checkpoint-00001.json", checkpoint.to_bytes())


@pytest.mark.integration
@pytest.mark.parametrize("is_late_record", [False, True], ids=["first-landing", "late-records"])
def test_forged_checkpoint_makes_a_run_write_a_forged_record_and_miss_genuine_ones(
    tmp_path: Path, is_late_record: bool
) -> None:
    """The owner's own run resumes from it, so the window looks genuine before and after it is sealed."""
    fake, store = fake_with(ManualClock(), records_per_day=40, requests_per_window=None), LocalStore(str(tmp_path))
    if is_late_record:
        land(pull_spec(), reader_of(fake, ManualClock()), store)
        seal(store, signer=SIGNER)
        fake.add(record_at("2026-10-26T05:00:00Z", "late"))
    forge_checkpoint(store, pull_spec(), reader_of(fake, ManualClock()).clock.now())
    land(pull_spec(attempt_id="owner"), reader_of(fake, ManualClock()), store)
    landed, true = set(landed_ids(pull_spec(), store)), set(true_ids(fake))
    assert "forged" in landed
    assert true - landed
    digest = seal(store, signer=SIGNER).newest_seal_sha256
    assert severe_kinds(store, TrustAnchors(VERIFIER, digest)) == set()


@pytest.mark.integration
@pytest.mark.parametrize("is_late_record", [False, True], ids=["first-landing", "late-records"])
def test_forged_checkpoint_has_no_effect_with_a_recount(tmp_path: Path, is_late_record: bool) -> None:
    """A recount contradicts it or does not resume from it, so the window lands as the API has it, or in a retry."""
    fake, store = fake_with(ManualClock(), records_per_day=40, requests_per_window=None), LocalStore(str(tmp_path))
    spec = pull_spec(verify="recount")
    if is_late_record:
        land(spec, reader_of(fake, ManualClock()), store)
        fake.add(record_at("2026-10-26T05:00:00Z", "late"))
    forge_checkpoint(store, spec, reader_of(fake, ManualClock()).clock.now())
    if not is_late_record:
        with pytest.raises(VerificationError, match="disagree"):
            land(spec._replace(attempt_id="one"), reader_of(fake, ManualClock()), store)
    land(spec._replace(attempt_id="two"), reader_of(fake, ManualClock()), store)
    assert landed_ids(spec, store) == true_ids(fake)


@pytest.mark.integration
def test_removed_announcement_lets_no_overlap_pass_unnoticed(tmp_path: Path) -> None:
    """Without its announcement, a long window does not refuse a day inside it, but verify reports the overlap."""
    fake, store = fake_with(ManualClock(), records_per_day=40, requests_per_window=None), LocalStore(str(tmp_path))
    week = TimeWindow(START - timedelta(days=6), START + timedelta(days=1))
    land(pull_spec(start=week.start, end=week.end), reader_of(fake, ManualClock()), store)
    store.remove(list(store.list_keys(LONG_WINDOW_FOLDER)))
    assert severe_kinds(store, TrustAnchors()) == set()
    land(pull_spec(), reader_of(fake, ManualClock()), store)
    assert "windows_overlap" in severe_kinds(store, TrustAnchors())

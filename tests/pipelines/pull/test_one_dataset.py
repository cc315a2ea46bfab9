"""One destination holds one dataset: a pull of another query or form is refused before its first request."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.api.query import audit_query
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.privacy.rule import PrivacyRule, read_privacy
from airflow_audit_provider.exceptions import CommitConflictError, VerificationError
from airflow_audit_provider.formats.part_format import part_format
from airflow_audit_provider.pipelines.pull_spec import PullSpec
from airflow_audit_provider.pipelines.verify import verify
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.settings import ACCOUNT_ID
from tests.pipelines.pull.crashing_store import CrashingStore, CrashPoint
from tests.pipelines.pull.landing import END, START, fake_with, land, objects, pull_spec, reader_of, visible_keys
from tests.pipelines.pull.meanwhile import Meanwhile

DESCRIPTOR = "_dataset.json"
NEXT_DAY: dict[str, Any] = {"start": END, "end": END + timedelta(days=1)}


def _rule(key: bytes) -> PrivacyRule:
    request = read_privacy({"conn_id": "audit_privacy"})
    assert request is not None
    return PrivacyRule(request, key)


OTHERS: dict[str, tuple[dict[str, Any], str]] = {
    "filter": ({"filters": {"action_type": "rec_del"}}, "filters none, not action.type=rec_del"),
    "hidden user logs": ({"filters": {"hide_user_logs": True}}, "filters none, not hide_user_logs=true"),
    "account": ({"query": audit_query("v1", None, account_id="f" * 32)}, f"{ACCOUNT_ID}, not account {'f' * 32}"),
    "scope": ({"query": audit_query("v1", "user")}, f"audit log account {ACCOUNT_ID}, not the user"),
    "version": ({"query": audit_query("v2", None, account_id=ACCOUNT_ID)}, "API version v1, not v2"),
    "format": ({"file_format": "csv"}, "file format jsonl, not csv"),
    "schema": ({"schema": "normalized"}, "schema raw, not normalized 1"),
    "privacy": ({"privacy": _rule(b"k" * 32)}, r"rule none, not privacy \(pseudonymise email and ip, drop"),
}  # fmt: skip


@pytest.fixture
def fake() -> FakeCloudflare:
    """A fake with a few records a day."""
    return fake_with(ManualClock(), records_per_day=4)


def _land(fake: FakeCloudflare, spec: PullSpec, store: Store, attempt_id: str = "one") -> bool:
    return land(spec._replace(attempt_id=attempt_id), reader_of(fake, ManualClock()), store).committed


@pytest.mark.integration
@pytest.mark.parametrize("replace", [False, True])
@pytest.mark.parametrize("name", OTHERS)
def test_other_day_of_other_dataset_is_refused_before_the_first_request(
    name: str, replace: bool, fake: FakeCloudflare, store: LocalStore
) -> None:
    """Another query or form on another day is refused, in words, without a request or an object."""
    changes, words = OTHERS[name]
    _land(fake, pull_spec(), store)
    before, request_count = objects(store), len(fake.requests)
    with pytest.raises(CommitConflictError, match=words) as caught:
        _land(fake, pull_spec(replace=replace, **NEXT_DAY, **changes), store, "two")
    assert caught.value.key == DESCRIPTOR
    assert "Use another destination" in str(caught.value)
    assert (objects(store), len(fake.requests)) == (before, request_count)
    assert _land(fake, pull_spec(**NEXT_DAY), store, "three")


@pytest.mark.integration
@pytest.mark.parametrize(
    "changes",
    [
        {"compression": "gzip"},
        {"start": END, "end": END + timedelta(hours=1)},
        {"part_format": msgspec.structs.replace(part_format("jsonl", "none", "raw"), schema_version="1.3")},
    ],
    ids=["compression", "window length", "minor version"],
)
def test_compression_window_length_and_minor_version_may_change(
    changes: dict[str, Any], fake: FakeCloudflare, store: LocalStore
) -> None:
    """A change that leaves no record out of a query does not make another dataset."""
    _land(fake, pull_spec(), store)
    assert _land(fake, pull_spec(**{**NEXT_DAY, **changes}), store, "two")
    assert verify(store).findings == ()


@pytest.mark.integration
def test_first_commit_creates_the_descriptor_and_later_pulls_look_at_it_twice(
    fake: FakeCloudflare, store: LocalStore
) -> None:
    """The descriptor is created before the first manifest; a later pull reads it, and proves that it stays as it is."""
    first, second = CrashPoint(), CrashPoint()
    _land(fake, pull_spec(), CrashingStore(store, first))
    created = [name for name in first.operations if name.startswith("create ") and "_staging" not in name]
    # The entry is created twice, which proves that the store has conditional writes.
    proof = ["create _commit_log"] * 2
    assert [name.partition("/")[0] for name in created] == [*proof, f"create {DESCRIPTOR}", "create _manifests"]
    content = msgspec.json.decode(store.read(DESCRIPTOR) or b"")
    assert content == {
        "dataset_version": 1,
        "file_format": "jsonl",
        "privacy": None,
        "query": {"filters": [], "scope": "account", "scope_id": ACCOUNT_ID, "version": "v1"},
        "schema": "raw",
        "schema_major": 1,
    }
    _land(fake, pull_spec(**NEXT_DAY), CrashingStore(store, second), "two")
    assert [name for name in second.operations if DESCRIPTOR in name] == [
        f"{verb} {DESCRIPTOR}" for verb in ("read", "create")
    ]
    assert msgspec.json.decode(store.read(DESCRIPTOR) or b"") == content


@pytest.mark.integration
def test_destination_without_descriptor_gets_that_of_its_newest_window(fake: FakeCloudflare, store: LocalStore) -> None:
    """Windows without a descriptor, as before 1.0.0rc1, decide what it holds, also if a run adds nothing."""
    _land(fake, pull_spec(), store)
    expected = store.read(DESCRIPTOR)
    store.remove([DESCRIPTOR])
    with pytest.raises(CommitConflictError, match="file format jsonl, not csv") as caught:
        _land(fake, pull_spec(file_format="csv", **NEXT_DAY), store, "two")
    assert (caught.value.key or "").startswith("_manifests/")
    assert [found.kind for found in verify(store).findings] == ["dataset_missing"]
    assert not _land(fake, pull_spec(), store, "three")
    assert store.read(DESCRIPTOR) == expected
    assert verify(store).findings == ()


@pytest.mark.integration
def test_loser_of_two_first_commits_leaves_nothing_visible(fake: FakeCloudflare, store: LocalStore) -> None:
    """Two first commits with different queries race: one is committed, the other is refused before it publishes."""
    filtered = pull_spec(filters={"action_type": "rec_del"}, **NEXT_DAY)
    meanwhile = Meanwhile(fake, lambda: _land(fake, filtered, store, "winner"))
    with pytest.raises(CommitConflictError, match=r"filters action\.type=rec_del, not none"):
        land(pull_spec(), reader_of(fake, ManualClock(), meanwhile), store)
    assert not [key for key in visible_keys(store) if f"{START:%Y-%m-%d}" in key]
    assert verify(store).findings == ()


@pytest.mark.integration
def test_equal_first_commits_of_two_windows_both_land(fake: FakeCloudflare, store: LocalStore) -> None:
    """The loser of the create-only write continues if the descriptor states its own dataset."""
    meanwhile = Meanwhile(fake, lambda: _land(fake, pull_spec(**NEXT_DAY), store, "winner"))
    land(pull_spec(), reader_of(fake, ManualClock(), meanwhile), store)
    assert verify(store).window_count == 2


@pytest.mark.integration
def test_damaged_descriptor_stops_a_pull(fake: FakeCloudflare, store: LocalStore) -> None:
    """A pull fails if it cannot read the descriptor; the error names the descriptor and both remedies."""
    _land(fake, pull_spec(), store)
    for content, words in ((b"{", "cannot be decoded"), (None, "version 2, which this release")):
        newer = (store.read(DESCRIPTOR) or b"").replace(b'"dataset_version":1', b'"dataset_version":2')
        store.remove([DESCRIPTOR])
        store.create(DESCRIPTOR, content or newer)
        with pytest.raises(VerificationError, match=words):
            _land(fake, pull_spec(**NEXT_DAY), store, "two")
        store.remove([DESCRIPTOR])
        _land(fake, pull_spec(), store, "three")


@pytest.mark.integration
@pytest.mark.parametrize("changes", [{"file_format": "csv"}, {"schema": "normalized"}, {"privacy": _rule(b"k" * 32)}])
def test_foreign_window_is_found_and_replaced(changes: dict[str, Any], fake: FakeCloudflare, tmp_path: Path) -> None:
    """A day in another form, landed before 1.0.0rc1, is severe until it is replaced in the dataset's form."""
    store, other = LocalStore(str(tmp_path / "a")), LocalStore(str(tmp_path / "b"))
    _land(fake, pull_spec(), store)
    _land(fake, pull_spec(**NEXT_DAY, **changes), other)
    for key, content in objects(other).items():
        if key != DESCRIPTOR:
            store.create(key, content)
    (found,) = verify(store).findings
    assert (found.kind, found.severity, found.key.startswith("_manifests/")) == ("window_foreign", "severe", True)
    with pytest.raises(CommitConflictError, match="with replace=True to write it again"):
        _land(fake, pull_spec(**NEXT_DAY), store, "two")
    assert _land(fake, pull_spec(replace=True, **NEXT_DAY), store, "three")
    assert verify(store).severe_count == 0

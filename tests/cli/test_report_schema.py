"""What ``verify --json`` prints is valid under the published JSON Schema, whatever it finds."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from airflow_audit_provider.adapters.signing import Ed25519Signer
from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.adapters.timestamps import HttpTimestamper, TimestampAuthority
from airflow_audit_provider.cli.__main__ import main
from airflow_audit_provider.core.api.query import audit_query
from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.archive.manifest import Erasure, read_manifest
from airflow_audit_provider.core.ports import ObjectLock
from airflow_audit_provider.core.verification.findings import FindingKind
from airflow_audit_provider.formats.part_format import part_format
from airflow_audit_provider.pipelines.seal import seal
from airflow_audit_provider.pipelines.seal_checks import Acceptance
from airflow_audit_provider.pipelines.verify import LockCheck, verify
from tests.architecture.source_files import PROJECT
from tests.pipelines.verify.authority import Authority, served
from tests.pipelines.verify.dataset import (
    DAY,
    DAY_1,
    PRIVATE_PEM,
    PUBLIC_PEM,
    commit,
    record,
    records_in,
    two_days,
    window,
)
from tests.pipelines.verify.forgery import alter_one, committed_records, forge_replacement, newest

SCHEMA = json.loads((PROJECT / "docs/reference/verify-report.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())


def check_valid(report: dict[str, Any]) -> set[str]:
    """Checks a report against the schema, which names each of its fields; returns the kinds of its findings."""
    VALIDATOR.validate(report)
    fields = SCHEMA["$defs"]["PublishedReport"]
    assert set(fields["required"]) <= report.keys() <= fields["properties"].keys()
    for name, entries in (("Finding", report["findings"]), ("SealTime", report["seals"])):
        assert all(one.keys() == SCHEMA["$defs"][name]["properties"].keys() for one in entries)
    return {found["kind"] for found in report["findings"]}


def rewrite(store: LocalStore, key: str, **changes: Any) -> None:
    """Writes a manifest again with changes."""
    manifest = msgspec.structs.replace(read_manifest(key, store.read(key) or b""), **changes)
    store.remove([key])
    store.create(key, manifest.to_bytes())


def put(store: LocalStore, key: str, content: bytes) -> None:
    """Writes an object, over one that exists."""
    store.remove([key])
    store.create(key, content)


def manifest_key(generation: int = 1, day: str = "26", hours: str = "000000Z-20261026T12") -> str:
    """Returns the key of a manifest of the first window, or of another one."""
    return f"_manifests/dt=2026-10-{day}/202610{day}T{hours}0000Z.g{generation:04}.json"


def first_part(store: LocalStore) -> str:
    """Returns the key of the first part of the first window."""
    return newest(store, window()).parts[0].key


def flip(store: LocalStore, key: str) -> None:
    """Changes a byte of an object, and not its size."""
    content = store.read(key) or b""
    put(store, key, content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])


def forged_list(store: LocalStore) -> None:
    """Lists an erased part in the late generation of the first window."""
    rewrite(store, manifest_key(2), erased=Erasure("none", newest(store, window()).parts[:1]))


def accepted(store: LocalStore) -> None:
    """Replaces a sealed window, and seals that by name."""
    key = forge_replacement(store, window(), keep_old=True)
    seal(store, signer=Ed25519Signer(PRIVATE_PEM), acceptance=Acceptance(frozenset([key]), "Ada"))


def change_part(store: LocalStore, **changes: Any) -> None:
    """Changes what the newest manifest of the first window states about its first part."""
    first, *others = newest(store, window()).parts
    rewrite(store, manifest_key(2), parts=(msgspec.structs.replace(first, **changes), *others))


def replaced_before_seal(store: LocalStore) -> None:
    """Replaces a window of a day without a seal, and leaves the old part."""
    commit(store, window(5), records_in(window(5), 1))
    forge_replacement(store, window(5), keep_old=True)


def changed_sealed_part(store: LocalStore) -> None:
    """Replaces a sealed window, and changes the old part."""
    key = first_part(store)
    forge_replacement(store, window(), keep_old=True)
    flip(store, key)


def not_utf8(store: LocalStore) -> None:
    """Commits bytes that are not UTF-8 in a format that cannot keep them."""
    one = record(window(5).start, "x", "?")
    one = AuditRecord(one.event_ns, one.id, one.raw.replace(b"?", b"\xff"))
    commit(store, window(5), [one], format_=part_format("csv", "none"))


def nothing(_store: LocalStore) -> None:
    """Leaves the dataset as it is, for findings that the arguments of the check lead to."""


OTHER_QUERY = audit_query("v1", None, account_id="1" * 32)
DAMAGES: dict[str, Callable[[LocalStore], object]] = {
    "manifest_unreadable": lambda store: put(store, manifest_key(), b"{}"),
    "manifest_not_canonical": lambda store: put(store, manifest_key(), (store.read(manifest_key()) or b"") + b" "),
    "manifest_misplaced": lambda store: rewrite(store, manifest_key(), generation=5),
    "manifest_counts": lambda store: rewrite(store, manifest_key(), record_count=9),
    "generation_missing": lambda store: store.remove([manifest_key()]),
    "generation_unchained": lambda store: rewrite(store, manifest_key(2), previous_sha256="0" * 64),
    "generation_other_form": lambda store: rewrite(store, manifest_key(2), compression="gzip"),
    "parts_not_kept": lambda store: rewrite(
        store, manifest_key(2), parts=newest(store, window()).parts[1:], record_count=1
    ),
    "part_missing": lambda store: store.remove([first_part(store)]),
    "part_size": lambda store: put(store, first_part(store), b"x"),
    "part_changed": lambda store: flip(store, first_part(store)),
    "record_repeated": lambda store: commit(store, window(), alter_one(committed_records(store, window())[:1])),
    "records_changed": lambda store: rewrite(store, manifest_key(2), records_sha256="0" * 64),
    "added_ids": lambda store: rewrite(store, manifest_key(2), added_ids=("other",)),
    "windows_overlap": lambda store: put(store, manifest_key(1, hours="060000Z-20261026T18"), b"{}"),
    "dataset_missing": lambda store: store.remove(["_dataset.json"]),
    "dataset_unreadable": lambda store: put(store, "_dataset.json", b"{}"),
    "object_unexpected": lambda store: put(store, "_seals/note", b"x"),
    "object_foreign": lambda store: put(store, "note", b"x"),
    "staging_leftover": lambda store: put(store, "_staging/x/y/part-00000", b"x"),
    "seal_index_ignored": lambda store: put(store, "_seals/index/000001.json", b"x"),
    "manifest_index_ignored": lambda store: put(store, "_manifest_index/2026-10.jsonl.gz", b"x"),
    "seal_missing": lambda store: store.remove(["_seals/000001.json", "_seals/000001.sig"]),
    "seal_unreadable": lambda store: put(store, "_seals/000001.json", b"{}"),
    "seal_misplaced": lambda store: put(store, "_seals/000003.json", store.read("_seals/000002.json") or b""),
    "seal_unchained": lambda store: put(store, "_seals/000003.json", store.read("_seals/000002.json") or b""),
    "sealed_manifest_missing": lambda store: store.remove([manifest_key()]),
    "sealed_manifest_changed": lambda store: rewrite(store, manifest_key(), window_rule="x"),
    "manifest_unsealed": lambda store: commit(store, window(), [record(DAY_1, "later")]),
    "day_unsealed": lambda store: commit(store, window(5), []),
    "sealed_part_missing": lambda store: forge_replacement(store, window()),
    "replacement_not_accepted": lambda store: forge_replacement(store, window(), keep_old=True),
    "replacement_accepted": accepted,
    "parts_erased": forged_list,
    "erasure_inconsistent": forged_list,
    "erased_part_present": forged_list,
    "nothing_committed": lambda store: store.remove(list(store.list_keys("_manifests/"))),
    "nothing_sealed": lambda store: store.remove(list(store.list_keys("_seals/"))),
    "signature_invalid": lambda store: put(store, "_seals/000001.sig", b"{}"),
    "signature_missing": lambda store: store.remove(["_seals/000001.sig"]),
    "signature_orphaned": lambda store: store.remove(["_seals/000001.json"]),
    "generation_other_dataset": lambda store: rewrite(store, manifest_key(2), query=OTHER_QUERY),
    "window_foreign": lambda store: rewrite(store, manifest_key(2), query=OTHER_QUERY),
    "part_record_count": lambda store: change_part(store, record_count=9),
    "part_event_times": lambda store: change_part(store, first_event_ns=0),
    "part_unreadable": lambda store: rewrite(store, manifest_key(2), compression="gzip"),
    "record_outside": lambda store: commit(store, window(5), [record(DAY_1, "outside")]),
    "records_unprovable": not_utf8,
    "part_superseded": replaced_before_seal,
    "sealed_part_changed": changed_sealed_part,
    "seal_not_found": nothing,
    "timestamp_missing": nothing,
    "timestamp_invalid": lambda store: put(store, "_seals/000001.tsr", b"x"),
}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The certificate of an authority, which stamped nothing."""
    return Authority(tmp_path_factory.mktemp("authority")).folder / "root.pem"


@pytest.fixture
def destination(tmp_path: Path) -> tuple[Path, LocalStore]:
    """Two days, sealed and signed."""
    store = LocalStore(str(tmp_path / "archive"))
    two_days(store)
    seal(store, signer=Ed25519Signer(PRIVATE_PEM))
    (tmp_path / "seal.pub.pem").write_text(PUBLIC_PEM)
    return tmp_path, store


@pytest.mark.integration
@pytest.mark.parametrize("kind", DAMAGES)
def test_report_of_a_finding_is_valid(
    destination: tuple[Path, LocalStore], certificate: Path, kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A report of a damaged destination is valid and has the kind of the damage."""
    folder, store = destination
    DAMAGES[kind](store)
    arguments = ["--public-key", str(folder / "seal.pub.pem"), "--expect-seal", "0" * 64]
    main(["verify", str(folder / "archive"), "--json", *arguments, "--tsa-certificate", str(certificate)])
    assert kind in check_valid(json.loads(capsys.readouterr().out))


@pytest.mark.integration
def test_report_without_anchors_is_valid(
    destination: tuple[Path, LocalStore], capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a key or a certificate the report says what it did not check, and when no seal is proved."""
    folder, store = destination
    put(store, "_seals/000002.tsr", b"x")
    assert main(["verify", str(folder / "archive"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert check_valid(report) == {"signature_unchecked", "timestamp_unchecked"}
    assert [one["proved_at"] for one in report["seals"]] == [None, None]


@pytest.mark.integration
def test_report_of_proved_times_is_valid(
    destination: tuple[Path, LocalStore], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A stated time that the time stamp contradicts, and seals that are proved too late or too early, are valid."""
    folder, _ = destination
    store = LocalStore(str(folder / "stamped"))
    two_days(store)
    far = window(100 * 365)
    commit(store, far, records_in(far, 1))
    authority = Authority(tmp_path)
    with served(authority) as url:
        timestamper = HttpTimestamper(TimestampAuthority(url))
        seal(store, signer=Ed25519Signer(PRIVATE_PEM), sealed_at=DAY_1 - 900 * DAY, timestamper=timestamper)
    arguments = ["--tsa-certificate", str(tmp_path / "root.pem"), "--sealed-within", "0.01"]
    store.remove([f"_seals/00000{number}.sig" for number in (1, 2, 3)])
    assert main(["verify", str(folder / "stamped"), "--json", *arguments]) == 1
    report = json.loads(capsys.readouterr().out)
    assert check_valid(report) == {"sealed_at_contradicted", "sealed_late", "sealed_early"}
    assert all(one["proved_at"] and one["timestamped_at"] and one["sealed_at"] for one in report["seals"])


class NoLocks:
    """A store that could lock objects, and locked none."""

    def is_enabled(self) -> bool:
        """Returns True."""
        return True

    def read(self, keys: Iterable[str]) -> Iterator[tuple[str, ObjectLock]]:
        """Yields each key without a lock."""
        return ((key, ObjectLock()) for key in keys)


@pytest.mark.integration
def test_report_of_object_locks_is_valid(destination: tuple[Path, LocalStore]) -> None:
    """With a check of object locks, the report has their totals."""
    _, store = destination
    report = verify(store, lock_check=LockCheck(NoLocks(), DAY_1)).published()
    values = json.loads(msgspec.json.encode(report))
    assert "object_unlocked" in check_valid(values)
    assert (values["locked_count"], values["first_unlock_at"]) == (0, None)


def test_every_kind_has_a_real_report_and_is_in_the_schema() -> None:
    """The tests above print each kind that exists, and the schema names each."""
    times = {"timestamp_unchecked", "sealed_at_contradicted", "sealed_late", "sealed_early"}
    # Only coverage and seal write an index.
    others = {"object_unlocked", "signature_unchecked", "manifest_index_unwritten", "seal_index_unwritten", *times}
    assert others | DAMAGES.keys() == set(FindingKind) == set(SCHEMA["$defs"]["FindingKind"]["enum"])

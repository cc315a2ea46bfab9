"""Writes the records that a Logpush archive lacks as files in Logpush's own form, beside the archive.

Each file is created by one operation under a key that has the digest of its bytes, and is never changed. A later
reconciliation reads the files as part of the archive, so a repair that was killed continues where it stopped, and one
that is complete writes nothing.

Invariant: nothing that exists is overwritten or removed, in the archive or beside it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol

import msgspec

from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.verification.envelopes import Envelope
from airflow_audit_provider.core.verification.reconcile.file_names import repair_name
from airflow_audit_provider.core.verification.reconcile.report import REPORT_PAYLOAD_TYPE, ReconcileReport
from airflow_audit_provider.core.windows.window import from_seconds
from airflow_audit_provider.exceptions import ConfigurationError, StorageError
from airflow_audit_provider.formats.logpush.writer import default_layout, log_file
from airflow_audit_provider.pipelines.reconcile import Reconciliation, records_of

# Cloudflare docs: by default a file has at most 100,000 records. These are in memory at a time.
_MOST_RECORDS = 10_000
_SECOND = timedelta(seconds=1)


class RepairOutcome(msgspec.Struct, frozen=True):
    """What a repair wrote: files, records, and the first keys; ``existing_count`` files existed from an earlier run."""

    file_count: int
    existing_count: int
    record_count: int
    keys: tuple[str, ...]


class ReportSigner(Protocol):
    """Signs a document together with its type."""

    def sign(self, content: bytes, payload_type: str) -> Envelope:
        """Returns an envelope with ``content`` and the signature over both."""
        ...


class _RepairFile(NamedTuple):
    key: str
    content: bytes
    record_count: int


_LISTED_KEYS = 100


def repair_archive(compared: Reconciliation, target: Store) -> RepairOutcome:
    """Writes what a finished reconciliation found missing in the archive below ``target``.

    Raises ``ConfigurationError`` if the dataset has a privacy rule: the files would have pseudonyms where those of the
    job have the data. Raises ``StorageError`` if a key is taken by other bytes.
    """
    check_can_repair(compared)
    keys: list[str] = []
    created_count = existing_count = record_count = 0
    for file in _files(compared):
        is_created = target.create(file.key, file.content)
        if not is_created and target.read(file.key) != file.content:
            raise StorageError(
                f"The key {file.key} of the repair is taken by an object with other bytes. Move it elsewhere, and run "
                "the repair again."
            )
        created_count += is_created
        existing_count += not is_created
        record_count += file.record_count
        if len(keys) < _LISTED_KEYS:
            keys.append(file.key)
    return RepairOutcome(created_count, existing_count, record_count, tuple(keys))


def write_report(target: Store, report: ReconcileReport, signer: ReportSigner | None = None) -> str:
    """Keeps a report in a folder, with a signature beside it if there is a signer; returns the report's key.

    The key has the digest of the bytes, so equal reports are one object. The signature is a DSSE envelope.
    """
    content = report.to_bytes()
    texts = (f"{instant:%Y%m%dT%H%M%SZ}" for instant in (report.start, report.end))
    key = f"reconcile-{report.dataset}-{'-'.join(texts)}-{hashlib.sha256(content).hexdigest()[:16]}.json"
    target.create(key, content)
    if signer is not None:
        target.create(f"{key}.dsse.json", signer.sign(content, REPORT_PAYLOAD_TYPE).to_bytes())
    return key


def _files(compared: Reconciliation) -> Iterator[_RepairFile]:
    layout, version = compared.layout or default_layout(compared.version), compared.version
    for records in _groups(_missing_records(compared)):
        content = log_file(version, layout, compared.spec.form.renames, records)
        start, end = (from_seconds(records[place].event_second) for place in (0, -1))
        sha256 = hashlib.sha256(content).hexdigest()
        yield _RepairFile(repair_name(start, end + _SECOND, sha256), content, len(records))


def _missing_records(compared: Reconciliation) -> Iterator[AuditRecord]:
    """Yields the missing records in the order of windows, and sorted in each part of a window."""
    for number, commit in enumerate(compared.commits):
        ids = {row.id for row in compared.compared.missing.rows(number)}
        if ids:
            yield from (record for record in records_of(compared.dataset, commit) if record.id in ids)


def _groups(records: Iterable[AuditRecord]) -> Iterator[list[AuditRecord]]:
    """Yields the records of each file: of one UTC day, in order of time, and no more than are in memory."""
    group: list[AuditRecord] = []
    for record in records:
        if group and (len(group) >= _MOST_RECORDS or _day(record) != _day(group[-1]) or record < group[-1]):
            yield group
            group = []
        group.append(record)
    if group:
        yield group


def _day(record: AuditRecord) -> datetime:
    return from_seconds(record.event_second - record.event_second % 86400)


def check_can_repair(compared: Reconciliation) -> None:
    """Raises ``ConfigurationError`` if the dataset has a privacy rule; it can be asked before the comparison."""
    if any(commit.manifest.privacy for commit in compared.commits):
        raise ConfigurationError(
            "The dataset has a privacy rule, so its records cannot be written in the form of the Logpush job, whose "
            "files have the data itself. Reconcile without a repair, or with a dataset without a privacy rule."
        )

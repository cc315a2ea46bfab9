"""Reconciles a Logpush archive with a committed dataset: reads both once, and compares them by id and content.

::

    windows   the committed windows that overlap the range; their parts are read as verify reads them, by digest
    files     the files of the archive whose names or folders allow for events of the range, and all without such a name
    compare   by id over the whole range, see ``core/verification/reconcile/comparison``

The dataset is the side that is known to be complete, because each of its windows was proved when it was committed.
Nothing is requested from the API, and nothing is written.

Invariant: every file is read, or counted as skipped by its time; every line of a file that is read is counted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from typing import NamedTuple

from airflow_audit_provider.adapters.spill_file import SpillFile
from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord
from airflow_audit_provider.core.archive.commit import CommittedManifest
from airflow_audit_provider.core.archive.dataset import dataset_privacy, read_dataset
from airflow_audit_provider.core.archive.object_keys import DATASET_KEY, newest_manifests
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.privacy.rule import MaybeAppliedPrivacy, PrivacyRule
from airflow_audit_provider.core.verification.reconcile.comparison import ArchiveFile, Comparison, Lateness
from airflow_audit_provider.core.verification.reconcile.fields import DATASETS
from airflow_audit_provider.core.verification.reconcile.file_names import is_repair_name, may_hold, pushed_range
from airflow_audit_provider.core.verification.reconcile.report import (
    ArchiveFacts,
    FileFinding,
    FileFindingKind,
    ReconcileReport,
    make_report,
)
from airflow_audit_provider.core.windows.window import EARLIEST_AT, LATEST_AT, TimeWindow, count_of
from airflow_audit_provider.exceptions import ConfigurationError, NotCommittedError
from airflow_audit_provider.formats.logpush.files import ArchiveForm, LogFile, LogLayout
from airflow_audit_provider.formats.logpush.hidden import hidden_content
from airflow_audit_provider.formats.part_format import committed_format
from airflow_audit_provider.pipelines.committed import committed_manifest, read_part
from airflow_audit_provider.pipelines.neighbourhood import manifest_keys_around
from airflow_audit_provider.pipelines.side_by_side import read_each

DEFAULT_REACH = timedelta(days=1)
DEFAULT_LATE_AFTER = timedelta(hours=1)
# Keys are handed to the threads in groups, so that their contents never fill the memory.
_KEYS_AT_ONCE = 1000
_BYTES_AT_ONCE = 64 << 20
_MOST_FINDINGS = 1000


class ReconcileSpec(NamedTuple):
    """What is compared: the range, and what is known of the archive.

    A bound that is None is the start of the first or the end of the last committed window. Files that were delivered up
    to ``reach`` after the end of the range are read, too; a record that was delivered more than ``late_after`` after
    its event is late. ``form`` has the names of the archive's fields; its version is that of the dataset. ``privacy``
    is the dataset's rule with its key; without it, values that the rule would change are not compared.
    """

    start: datetime | None = None
    end: datetime | None = None
    form: ArchiveForm = ArchiveForm(ApiVersion.V1)
    reach: timedelta = DEFAULT_REACH
    late_after: timedelta = DEFAULT_LATE_AFTER
    privacy: PrivacyRule | None = None


class ListedFile(NamedTuple):
    """A file of the archive or of its repairs, as its store lists it."""

    store: Store
    key: str
    size_bytes: int


def reconcile(spec: ReconcileSpec, archive: Sequence[Store], dataset: Store) -> ReconcileReport:
    """Compares the files below some roots with a dataset.

    Raises ``NotCommittedError`` without a committed window, ``ConfigurationError`` if the archive has files and none of
    them has a row of the dataset, and ``VerificationError`` for a part that differs from its manifest.
    """
    with closing(SpillFile()) as spill:
        return Reconciliation(spec, dataset, spill).run(archive)


class Reconciliation:
    """One comparison; after :meth:`run`, ``compared`` has what it found and ``commits`` the windows it found it in."""

    def __init__(self, spec: ReconcileSpec, dataset: Store, spill: SpillFile) -> None:
        version = _version_of(dataset)
        self.commits = committed_windows(dataset, spec.start, spec.end)
        windows = [commit.manifest.window for commit in self.commits]
        start, end = spec.start or windows[0].start, spec.end or max(window.end for window in windows)
        self.time_range = TimeWindow(start, end)
        self.compared = Comparison(version, self.time_range, windows, spill)
        self.compared.lateness = Lateness(int(spec.late_after.total_seconds()))
        applied = self.commits[0].manifest.privacy
        _check_one_rule(self.commits)
        _check_rule(applied, spec.privacy)
        if applied:
            self.compared.hash_row = hidden_content(applied, spec.privacy).archived_hashes
        self.version = version
        # Of the job's file that was read last: in the order of their keys, that is usually the newest.
        self.layout: LogLayout | None = None
        self.spec = spec._replace(form=spec.form._replace(version=version))
        self.dataset = dataset
        self._findings: list[FileFinding] = []
        self._digest = hashlib.sha256()
        self._file_count = self._row_count = self._other_count = self._size_bytes = 0
        self._skipped_count = self._finding_count = 0

    def run(self, archive: Sequence[Store], repairs: Sequence[Store] = ()) -> ReconcileReport:
        """Reads both sides and returns the report; in ``repairs``, only files that a repair wrote are read."""
        for number, commit in enumerate(self.commits):
            self.compared.add_committed(number, records_of(self.dataset, commit))
        for file, content in _read(self._files(archive, repairs)):
            self._add_file(file, content)
        if self._file_count and not self._row_count:
            raise self._no_rows()
        self.compared.finish()
        facts = ArchiveFacts(
            self._file_count,
            self._skipped_count,
            self._finding_count,
            self._row_count,
            self._other_count,
            self._size_bytes,
            self._digest.hexdigest(),
        )
        return make_report(self.compared, facts, _manifests_sha256(self.commits), self._findings)

    def _files(self, archive: Sequence[Store], repairs: Sequence[Store]) -> Iterator[ListedFile]:
        """Yields the files that can hold events of the range; a repair that several roots list comes once."""
        seen: set[tuple[str, int]] = set()
        for number, store in enumerate((*archive, *repairs)):
            for key, size_bytes in store.list_sizes(""):
                name, is_repair = (key.rpartition("/")[2], size_bytes), is_repair_name(key)
                if name in seen or (number >= len(archive) and not is_repair):
                    continue
                if is_repair:
                    seen.add(name)
                if may_hold(key, self.time_range, self.spec.reach):
                    yield ListedFile(store, key, size_bytes)
                else:
                    self._skipped_count += 1

    def _add_file(self, file: ListedFile, content: bytes | None) -> None:
        if content is None:
            self._find(file.key, FileFindingKind.GONE, "It was listed and is gone; it was not compared.")
            return
        self._file_count += 1
        self._size_bytes += len(content)
        self._digest.update(f"{file.key}\0{len(content)}\n".encode())
        pushed, log_file = pushed_range(file.key), LogFile(self.spec.form, content)
        end_ns = None if pushed is None else pushed.end_ns
        archived = ArchiveFile(file.key, end_ns, is_repair_name(file.key))
        self.compared.add_archived(archived, log_file.rows())
        if self.layout is None or not archived.is_repair:
            self.layout = log_file.layout or self.layout
        self._row_count += log_file.row_count
        self._other_count += log_file.other_count
        self._note_damage(file.key, log_file)

    def _note_damage(self, key: str, log_file: LogFile) -> None:
        if log_file.is_foreign:
            fact = f"None of its lines is a row of {DATASETS[self.version].name}; it was skipped."
            self._find(key, FileFindingKind.FOREIGN, fact)
        elif log_file.foreign_lines:
            fact = (
                f"{count_of(log_file.foreign_lines, 'line')} without a row, the first is line {log_file.first_foreign}."
            )
            self._find(key, FileFindingKind.FOREIGN_LINES, f"{fact} They were skipped.")
        if log_file.damage:
            fact = f"The rows before the damage were compared: {log_file.damage}."
            self._find(key, FileFindingKind.DAMAGED, fact)

    def _find(self, key: str, kind: FileFindingKind, detail: str) -> None:
        self._finding_count += 1
        if len(self._findings) < _MOST_FINDINGS:
            self._findings.append(FileFinding(key, kind, detail))

    def _no_rows(self) -> ConfigurationError:
        wanted = DATASETS[self.version].name
        other = next(dataset.name for version, dataset in DATASETS.items() if version != self.version)
        if self._other_count:
            return ConfigurationError(
                f"The archive has {count_of(self._other_count, 'row')} of {other} and none of {wanted}, to which the "
                "records of the destination belong. Give the destination of the other version of the API, or an "
                f"archive of {wanted}."
            )
        return ConfigurationError(
            f"None of the {self._file_count} files that were read has a row of {wanted} with the field "
            f"{DATASETS[self.version].id_field}. Check the archive's URI. If the job renames fields, give the names; "
            "if the files are CSV without a header, give the names of their columns in order."
        )


def _read(files: Iterable[ListedFile]) -> Iterator[tuple[ListedFile, bytes | None]]:
    """Yields each file with its content, None if it is gone."""
    for group in _groups(files):
        contents = read_each(group[0].store, [file.key for file in group])
        yield from ((file, content) for file, (_, content) in zip(group, contents, strict=True))


def _groups(files: Iterable[ListedFile]) -> Iterator[list[ListedFile]]:
    """Yields files of one store, as many as are read at once."""
    group: list[ListedFile] = []
    size_bytes = 0
    for file in files:
        size_bytes += file.size_bytes
        is_full = len(group) >= _KEYS_AT_ONCE or size_bytes > _BYTES_AT_ONCE
        if group and (is_full or file.store is not group[0].store):
            yield group
            group, size_bytes = [], file.size_bytes
        group.append(file)
    if group:
        yield group


def _check_one_rule(commits: Sequence[CommittedManifest]) -> None:
    """Raises ``ConfigurationError`` for windows with different privacy rules: rows are hashed before they are joined.

    An erasure may give a window a rule that removes more.
    """
    usual = dataset_privacy(commits[0].manifest.privacy)
    for commit in commits:
        if dataset_privacy(commit.manifest.privacy) != usual:
            raise ConfigurationError(
                f"The window {commit.manifest.window} has another privacy rule than the first window of the range, as "
                "after an erasure, so the two cannot be compared together. Reconcile a range that ends before the "
                "window, and one that starts at it or after it."
            )


def _check_rule(applied: MaybeAppliedPrivacy, given: PrivacyRule | None) -> None:
    """Raises ``ConfigurationError`` for a rule or a key that is not that of the windows: pseudonyms would not match."""
    if given is not None and dataset_privacy(given.manifest_entry) != dataset_privacy(applied):
        stated = "no privacy rule" if not applied else f"the privacy rule {applied.name!r} with another key or content"
        raise ConfigurationError(
            f"The windows were written with {stated}, so their values cannot be compared under the privacy rule "
            "that you gave. Give the rule and the key of the land task, or none: then values that the rule changed are "
            "not compared."
        )


def _version_of(dataset: Store) -> ApiVersion:
    content = dataset.read(DATASET_KEY)
    if content is None:
        raise NotCommittedError(
            "The destination holds no dataset, so there is nothing to compare the archive with. Check the destination, "
            "or land the range first."
        )
    return read_dataset(content).query.version


def committed_windows(dataset: Store, start: datetime | None, end: datetime | None) -> list[CommittedManifest]:
    """Returns the newest manifests of the windows that overlap a range, sorted by window.

    Raises ``NotCommittedError`` if there is none.
    """
    time_range = TimeWindow(start or EARLIEST_AT, end or LATEST_AT)
    keys = manifest_keys_around(dataset, time_range)
    newest = {window: key for window, key in newest_manifests(keys).items() if window.overlaps(time_range)}
    if not newest:
        raise NotCommittedError(
            f"No window of {time_range} is committed, so there is nothing to compare the archive with. Land the range "
            "first, or give another range."
        )
    read = read_each(dataset, [newest[window] for window in sorted(newest)])
    return [committed_manifest(key, content) for key, content in read]


def records_of(dataset: Store, commit: CommittedManifest) -> Iterator[AuditRecord]:
    """Yields the records of a committed window, part by part."""
    part_format, version = committed_format(commit.manifest), commit.manifest.query.version
    for part in commit.manifest.parts:
        yield from read_part(dataset, part, part_format, version)


def _manifests_sha256(commits: Iterable[CommittedManifest]) -> str:
    digest = hashlib.sha256()
    for commit in commits:
        digest.update(f"{commit.key}\0{commit.sha256}\n".encode())
    return digest.hexdigest()

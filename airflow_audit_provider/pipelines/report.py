"""Reads what a report about a destination states: its datasets, their seals, and the records of verifications.

Manifests are compared with their seals. Parts are not read: ``verify`` proves what they hold, and the report has the
records of its runs.

Invariant: it writes nothing but the report, and a manifest, seal or record that cannot be used is in the result with
its reason.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import NamedTuple

from airflow_audit_provider.core.api.endpoints import V1, VERSIONS
from airflow_audit_provider.core.archive.change_keys import CHANGES_FOLDER, change_commit_key, forbidden_key
from airflow_audit_provider.core.archive.object_keys import MANIFEST_FOLDER, WindowKeys, report_key
from airflow_audit_provider.core.archive.stitching import Stitching, stream_folder
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.verification.findings import Finding, FindingKind
from airflow_audit_provider.core.verification.part_checks import overlap_findings
from airflow_audit_provider.core.verification.pass_records import PassRecord
from airflow_audit_provider.core.verification.seal_content import SealedManifest
from airflow_audit_provider.core.verification.seals import SealChain, sealed_findings
from airflow_audit_provider.core.verification.timestamps import SealTime, SealTimes
from airflow_audit_provider.core.windows.window import EARLIEST_AT, LATEST_AT, TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError, VerificationError
from airflow_audit_provider.pipelines.freshness import FreshnessReport, freshness_report
from airflow_audit_provider.pipelines.neighbourhood import dataset_folders
from airflow_audit_provider.pipelines.overview import Overview, overview
from airflow_audit_provider.pipelines.pass_records import read_passes
from airflow_audit_provider.pipelines.seal_objects import read_whole_chain
from airflow_audit_provider.pipelines.stitching import held_stitching
from airflow_audit_provider.pipelines.verify import TrustAnchors, anchor_findings, check_anchors
from airflow_audit_provider.pipelines.window_changes import MOST_CHANGES, WindowChanges, window_changes

MOST_PASSES = 50
_MOST_CHANGED_WINDOWS = 20
# The report says in words what it did not check, once and not for each seal.
_UNCHECKED = (FindingKind.SIGNATURE_UNCHECKED, FindingKind.TIMESTAMP_UNCHECKED)


class DatasetEvidence(NamedTuple):
    """What is known of the dataset in a folder, which is empty for the root and otherwise ends in a slash.

    ``required`` is what it has to cover as a version of a stitched history, None for any other dataset.
    ``unsealed_count`` is how many windows have a newest generation that no seal names. ``passes`` are the newest
    records of verifications, and ``damaged_pass_count`` is how many records beside them are damaged. ``has_key`` and
    ``has_certificate`` say whether signatures and time stamps were checked. ``changes`` are those of the newest windows
    that have some, the newest first, None if they are not wanted. ``freshness`` is how late records came, or why that
    cannot be measured.
    """

    folder: str
    required: TimeWindow | None
    overview: Overview
    chain: SealChain
    times: tuple[SealTime, ...]
    findings: tuple[Finding, ...]
    unsealed_count: int
    passes: tuple[PassRecord, ...]
    damaged_pass_count: int
    has_key: bool
    has_certificate: bool
    changes: tuple[tuple[TimeWindow, WindowChanges], ...] | None = None
    freshness: FreshnessReport | str = ""


class Evidence(NamedTuple):
    """What is known of a destination.

    ``unopened`` are the folders of datasets that cannot be opened, each with the reason. ``absent`` are the versions of
    a stitched history that have no window.
    """

    datasets: tuple[DatasetEvidence, ...]
    unopened: tuple[tuple[str, str], ...]
    stitching: Stitching | None
    absent: tuple[str, ...]
    anchors: TrustAnchors


class KeptReport(NamedTuple):
    """A report beside the data; ``is_new`` is False if a file with the same bytes was there."""

    key: str
    sha256: str
    size_bytes: int
    is_new: bool


def gather_evidence(
    root: Store,
    open_folder: Callable[[str], Store],
    anchors: TrustAnchors,
    now: datetime,
    *,
    with_changes: bool = False,
) -> Evidence:
    """Returns what is known of a destination; ``open_folder`` opens a dataset's folder as a store of its own.

    ``now`` decides how old the newest data is.

    ``with_changes`` reads what the newest records changed, too, which is the content of records.

    Raises ``StorageError`` if the store does not answer, and ``ConfigurationError`` for an expected seal where there is
    more than one dataset.
    """
    check_anchors(anchors)
    folders, stitching = list(dataset_folders(root)), held_stitching(root)
    if anchors.expected_seal_sha256 is not None and (len(folders) > 1 or stitching is not None):
        raise ConfigurationError(
            "An expected seal is given for a destination with several datasets, each of which has seals of its own. "
            "Make the report of one dataset's folder, with its own seal."
        )
    datasets, unopened = [], []
    for folder in folders:
        try:
            store = open_folder(folder) if folder else root
        except ConfigurationError as error:
            # Anyone who can write to the destination can choose a name that no URI can have.
            unopened.append((folder, error.message))
        else:
            found = _evidence(folder, store, _required(stitching, folder), anchors, with_changes=with_changes)
            datasets.append(found._replace(freshness=_freshness(store, now)))
    absent = () if stitching is None else tuple(one for one in VERSIONS if stream_folder(one) not in folders)
    return Evidence(tuple(datasets), tuple(unopened), stitching, absent, anchors)


def keep_report(store: Store, at: datetime, content: bytes) -> KeptReport:
    """Writes a report unless it is there; its key has the digest of its bytes, so nothing is ever overwritten.

    Raises ``VerificationError`` if an object with other bytes is there.
    """
    sha256 = _sha256(content)
    key = report_key(at, sha256)
    is_new = store.create(key, content)
    if not is_new and store.read(key) != content:
        raise VerificationError(
            f"The report {key} exists, but its bytes are not those whose digest is in its name: somebody changed it. "
            "Keep a copy of it, find out who wrote it, remove it, then run the task again."
        )
    return KeptReport(key, sha256, len(content), is_new)


def _required(stitching: Stitching | None, folder: str) -> TimeWindow | None:
    """Returns what a version of a stitched history has to cover, None for any other folder."""
    version = next((one for one in VERSIONS if stream_folder(one) == folder), V1)
    if stitching is None or stream_folder(version) != folder:
        return None
    return stitching.required(version, TimeWindow(EARLIEST_AT, LATEST_AT))


def _evidence(
    folder: str, store: Store, required: TimeWindow | None, anchors: TrustAnchors, *, with_changes: bool
) -> DatasetEvidence:
    # The seals are read first: what they name was committed before.
    sealed, digests = read_whole_chain(store), dict[str, str]()
    seen = overview(
        store, sys.maxsize, on_manifest=lambda key, content: digests.update({key: _sha256(content)}), is_strict=True
    )
    chain, times = sealed.chain, SealTimes(sealed.chain, anchors.timestamps)
    findings = [*sealed.findings, *chain.findings, *_manifest_findings(store, chain, seen, digests)]
    findings += [*chain.acceptance_findings(), *overlap_findings(_newest_by_window(seen))]
    findings += anchor_findings(chain, times, anchors)
    passes = list(islice(read_passes(store, ""), MOST_PASSES))
    found = tuple(one for one in passes if one is not None)
    return DatasetEvidence(
        folder=folder,
        required=required,
        overview=seen,
        chain=chain,
        times=times.times,
        findings=tuple(one for one in findings if one.kind not in _UNCHECKED),
        unsealed_count=sum(key not in chain.first_named for key in _newest_keys(seen)),
        passes=found,
        damaged_pass_count=len(passes) - len(found),
        has_key=anchors.verifier is not None,
        has_certificate=anchors.timestamps is not None,
        changes=tuple(_newest_changes(store, seen, digests)) if with_changes else None,
    )


def _freshness(store: Store, now: datetime) -> FreshnessReport | str:
    """Returns how late records came, or the reason why it cannot be measured."""
    try:
        return freshness_report(store, now)
    except VerificationError as error:
        return error.message


def _newest_changes(
    store: Store, seen: Overview, digests: Mapping[str, str]
) -> Iterator[tuple[TimeWindow, WindowChanges]]:
    """Yields the changes of the newest windows that have some, until there are enough windows or records."""
    listed, left = set(store.list_keys(CHANGES_FOLDER)), MOST_CHANGES
    window_count = 0
    for window, key in sorted(_newest_by_window(seen).items(), reverse=True):
        commit_key = change_commit_key(window, key)
        if listed.isdisjoint((commit_key, forbidden_key(commit_key))):
            continue
        found = window_changes(store, window, key, digests.get(key, ""), left)
        if found is not None:
            yield window, found
            left -= len(found.rows)
            window_count += 1
        if left <= 0 or window_count >= _MOST_CHANGED_WINDOWS:
            return


def _manifest_findings(store: Store, chain: SealChain, seen: Overview, digests: Mapping[str, str]) -> Iterator[Finding]:
    """Compares the newest manifests with the seals that name them, and reports sealed manifests that are gone."""
    counts = dict(zip(_newest_keys(seen), (one.record_count for one in seen.windows), strict=True))
    stored = {key: SealedManifest(key, sha256, counts.get(key, 0)) for key, sha256 in digests.items()}
    listed = set(store.list_keys(MANIFEST_FOLDER))
    # The report counts windows of a day that was never sealed in a sentence.
    found = sealed_findings(chain, stored, listed)
    yield from (one for one in found if one.kind is not FindingKind.DAY_UNSEALED)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _newest_by_window(seen: Overview) -> dict[TimeWindow, str]:
    return dict(zip((one.window for one in seen.windows), _newest_keys(seen), strict=True))


def _newest_keys(seen: Overview) -> Iterator[str]:
    for one in seen.windows:
        yield WindowKeys(one.window, one.window.start.date()).manifest(one.generation)

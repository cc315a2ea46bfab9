"""Verifies a stitched history: each version as a dataset of its own, and that its windows are those of the descriptor.

The descriptor is not sealed. A changed one leaves windows without a place, or spans that coverage finds missing.

Invariant: every finding of a version is in the whole report, with its folder in front of the key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec

from airflow_audit_provider.core.api.endpoints import V1, V2, VERSIONS
from airflow_audit_provider.core.archive.dataset import read_dataset
from airflow_audit_provider.core.archive.manifest import is_canonical
from airflow_audit_provider.core.archive.object_keys import (
    DATASET_KEY,
    REPORT_FOLDER,
    STAGING_FOLDER,
    read_manifest_key,
)
from airflow_audit_provider.core.archive.stitching import (
    STITCHING_KEY,
    Stitching,
    extends,
    read_stitching,
    stream_folder,
)
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.verification.findings import Finding, FindingKind, finding
from airflow_audit_provider.core.verification.object_locks import LockSummary
from airflow_audit_provider.core.windows.window import EARLIEST_AT, LATEST_AT, TimeWindow
from airflow_audit_provider.exceptions import CommitConflictError, ConfigurationError, VerificationError
from airflow_audit_provider.pipelines.verify import LockCheck, TrustAnchors, VerifyReport, verify

_FOLDERS = frozenset(VERSIONS)


class StitchedStores(NamedTuple):
    """The store of the root, and how to open the folder of a version as a store of its own."""

    root: Store
    open_stream: Callable[[str], Store]


class StitchedReport(NamedTuple):
    """The report over everything, and the report of each version."""

    whole: VerifyReport
    streams: Mapping[str, VerifyReport]


def verify_stitched(
    stores: StitchedStores,
    stitching: Stitching,
    bounds: tuple[datetime | None, datetime | None],
    anchors: TrustAnchors,
    lock_check_of: Callable[[Store], LockCheck | None],
) -> StitchedReport:
    """Verifies what each version has to cover of ``[start, end)``, the bounds; None is open.

    Raises ``ConfigurationError`` for an expected seal, because each version has seals of its own.
    """
    if anchors.expected_seal_sha256 is not None:
        raise ConfigurationError(
            "An expected seal is given for a stitched history, in which each version has seals of its own. Verify the "
            "folder of each version, v1 and v2 below the destination, with its own seal."
        )
    asked = TimeWindow(bounds[0] or EARLIEST_AT, bounds[1] or LATEST_AT)
    streams = {}
    for version in VERSIONS:
        if stitching.required(version, asked) is not None:
            store = stores.open_stream(version)
            streams[version] = verify(store, *bounds, anchors, lock_check_of(store))
    findings = [*_root_findings(stores.root, stitching)]
    for version in VERSIONS:
        findings += _log_findings(stores.root, stitching, version)
    for version, report in streams.items():
        findings += _stream_findings(stitching, version, report, _span_of_others(streams, version))
    return StitchedReport(_merged(list(streams.values()), tuple(findings)), streams)


def _root_findings(root: Store, stitching: Stitching) -> Iterator[Finding]:
    """Yields what is wrong with the root: its descriptor, and folders that no version has."""
    fact = _descriptor_fact(root.read(STITCHING_KEY), stitching)
    if fact is not None:
        yield finding(FindingKind.DATASET_UNREADABLE, STITCHING_KEY, fact)
    for name in root.list_folders(""):
        if name not in _FOLDERS and f"{name}/" not in (STAGING_FOLDER, REPORT_FOLDER):
            fact = "The root of a stitched history has a folder that belongs to neither version."
            yield finding(FindingKind.OBJECT_UNEXPECTED, f"{name}/", fact)


def _descriptor_fact(content: bytes | None, stitching: Stitching) -> str | None:
    """Returns what is wrong with a descriptor that was read as ``stitching`` before, None if nothing.

    A run may have made its overlap longer meanwhile.
    """
    if content is None:
        return "The descriptor was removed during the verification. Restore it from a copy."
    try:
        stored = read_stitching(content)
    except VerificationError as error:
        return error.message
    if not is_canonical(stored, content):
        return "The descriptor's bytes differ from the canonical bytes of its content. Restore it from a copy."
    try:
        extends(stitching, stored)
    except CommitConflictError:
        return "The descriptor was changed during the verification. Run verify again."
    return None


def _log_findings(root: Store, stitching: Stitching, version: str) -> Iterator[Finding]:
    """Yields a finding if a version's dataset is of another log than the history; its windows are compared with it."""
    content = root.read(f"{stream_folder(version)}{DATASET_KEY}")
    try:
        differences = [] if content is None else stitching.log_differences(version, read_dataset(content).query)
    except VerificationError:
        # The verification of the version reports it.
        return
    if differences:
        fact = (
            f"The dataset in the folder {stream_folder(version)} is of another log than the history: "
            f"{'; '.join(differences)}. Restore the descriptor that was changed from a copy."
        )
        yield finding(FindingKind.DATASET_UNREADABLE, STITCHING_KEY, fact)


def _stream_findings(
    stitching: Stitching, version: str, report: VerifyReport, others: TimeWindow | None
) -> Iterator[Finding]:
    """Yields the findings of a version, and those about its place in the history."""
    folder = stream_folder(version)
    for one in report.findings:
        # A version may have nothing yet, or no more, if the other one is all that the history needs.
        is_due = others is None or stitching.required(version, others) is not None
        if one.kind is not FindingKind.NOTHING_COMMITTED or is_due:
            yield msgspec.structs.replace(one, key=f"{folder}{one.key}")
    for key in report.newest_manifests:
        named = read_manifest_key(key)
        if named is not None and not stitching.has_place_for(version, named.window):
            fact = (
                f"The window lies outside of what the descriptor {STITCHING_KEY} gives to version {version} "
                f"({stitching}): the descriptor was changed, or a task without history landed the window. "
                "If the window is one of version 1 and may stay, run the history with a longer overlap."
            )
            yield finding(FindingKind.WINDOW_FOREIGN, f"{folder}{key}", fact)


def _span_of_others(streams: Mapping[str, VerifyReport], version: str) -> TimeWindow | None:
    """Returns the time from the first to the last window of the other version, None without one."""
    other = streams.get(V2 if version == V1 else V1)
    named = [read_manifest_key(key) for key in (other.newest_manifests if other is not None else ())]
    windows = [one.window for one in named if one is not None]
    return TimeWindow(min(windows).start, max(one.end for one in windows)) if windows else None


def _merged(reports: list[VerifyReport], findings: tuple[Finding, ...]) -> VerifyReport:
    return VerifyReport(
        window_count=sum(one.window_count for one in reports),
        part_count=sum(one.part_count for one in reports),
        record_count=sum(one.record_count for one in reports),
        size_bytes=sum(one.size_bytes for one in reports),
        seal_count=sum(one.seal_count for one in reports),
        newest_seal_sha256=None,
        findings=findings,
        locks=_merged_locks([one.locks for one in reports if one.locks is not None]),
        seals=tuple(seal for one in reports for seal in one.seals),
    )


def _merged_locks(locks: list[LockSummary]) -> LockSummary | None:
    if not locks:
        return None
    ends = [one.first_unlock_at for one in locks if one.first_unlock_at is not None]
    return LockSummary(
        locked_count=sum(one.locked_count for one in locks),
        unlocked_count=sum(one.unlocked_count for one in locks),
        governance_count=sum(one.governance_count for one in locks),
        first_unlock_at=min(ends, default=None),
    )

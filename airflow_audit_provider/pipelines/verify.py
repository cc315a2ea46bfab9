"""Verifies a destination: manifests, parts, records, unreferenced objects and seals.

Steps: list every object, or those around a range of some days; read the seals; read the manifests window by window;
read each part; check unreferenced objects; check seals.
Parts are read and checked side by side, with a bounded number of bytes in memory.

Invariant: verification reads and never writes.
"""

from __future__ import annotations

import hashlib
from collections import ChainMap, defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from itertools import groupby
from typing import NamedTuple

import msgspec
from msgspec import UNSET, UnsetType

from airflow_audit_provider.core.archive.dataset import dataset_of
from airflow_audit_provider.core.archive.manifest import Manifest, Part
from airflow_audit_provider.core.archive.object_keys import (
    DATASET_KEY,
    LONG_WINDOW_FOLDER,
    MANIFEST_FOLDER,
    PARTITION_START,
    SEAL_FOLDER,
    WindowKeys,
    partition_date_in,
    read_manifest_key,
    window_in,
)
from airflow_audit_provider.core.ports import ObjectLockReader, Store
from airflow_audit_provider.core.verification.dataset_check import DatasetCheck
from airflow_audit_provider.core.verification.envelopes import SignatureVerifier
from airflow_audit_provider.core.verification.findings import Finding, FindingKind, finding, severe
from airflow_audit_provider.core.verification.manifest_chain import Chain, Generation, StoredManifest, read_chain
from airflow_audit_provider.core.verification.object_locks import LockSummary, lock_findings, protected_keys
from airflow_audit_provider.core.verification.part_checks import (
    WindowCheck,
    erasure_findings,
    overlap_findings,
    sealed_part_finding,
    stray_findings,
)
from airflow_audit_provider.core.verification.pass_records import PassRecord, pass_record
from airflow_audit_provider.core.verification.replacements import erased_parts, parts_in_force
from airflow_audit_provider.core.verification.seal_content import SealedManifest
from airflow_audit_provider.core.verification.seals import (
    SealChain,
    as_sealed,
    believed_erasures,
    replacement_findings,
    sealed_findings,
)
from airflow_audit_provider.core.verification.timestamps import SealTime, SealTimes, TimestampVerifier
from airflow_audit_provider.core.windows.window import EARLIEST_AT, LATEST_AT, TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.pipelines.dataset import lake_in, read_descriptor
from airflow_audit_provider.pipelines.manifest_index import IndexCheck
from airflow_audit_provider.pipelines.neighbourhood import days_of, is_near, list_around, manifest_folder
from airflow_audit_provider.pipelines.parts_side_by_side import OpenWindow, PartsSideBySide
from airflow_audit_provider.pipelines.seal_objects import SealObjects, read_chain_by_index, read_whole_chain
from airflow_audit_provider.pipelines.side_by_side import each, list_each, read_each


class PublishedReport(msgspec.Struct, frozen=True):
    """Report of a verification as ``verify --json`` prints it; docs/reference/verify-report.schema.json is its schema.

    The counts are of windows, parts, records and seals, and of severe and mild findings. ``seals`` has an entry for
    each readable seal, oldest first. The last four are there only if object locks were checked, see ``LockSummary``.
    """

    window_count: int
    part_count: int
    record_count: int
    seal_count: int
    severe_count: int
    mild_count: int
    newest_seal_sha256: str | None
    findings: tuple[Finding, ...]
    seals: tuple[SealTime, ...]
    locked_count: int | UnsetType = UNSET
    unlocked_count: int | UnsetType = UNSET
    governance_count: int | UnsetType = UNSET
    first_unlock_at: datetime | UnsetType | None = UNSET


class VerifyReport(msgspec.Struct, frozen=True):
    """Totals and findings of a verification.

    ``size_bytes`` counts the bytes of parts that were read. Keep ``newest_seal_sha256`` outside of the store: a later
    verification can then prove that no seal was removed. ``newest_manifests`` are the keys of the verified generations.
    ``seals`` has what is known about the time of each seal.
    """

    window_count: int
    part_count: int
    record_count: int
    size_bytes: int
    seal_count: int
    newest_seal_sha256: str | None
    findings: tuple[Finding, ...]
    locks: LockSummary | None = None
    newest_manifests: tuple[str, ...] = ()
    seals: tuple[SealTime, ...] = ()

    @property
    def severe_count(self) -> int:
        """Number of severe findings."""
        return len(severe(self.findings))

    def passed(self, now: datetime) -> PassRecord | None:
        """Returns the record of this verification, None if it did not pass."""
        if self.severe_count:
            return None
        return pass_record(now, self.newest_manifests, self.record_count, self.newest_seal_sha256)

    def summary(self) -> dict[str, int | str | None]:
        """Returns the totals without the findings; those of object locks only if they were checked."""
        locks = msgspec.to_builtins(self.locks) if self.locks is not None else {}
        return {
            "window_count": self.window_count,
            "part_count": self.part_count,
            "record_count": self.record_count,
            "seal_count": self.seal_count,
            "severe_count": self.severe_count,
            "mild_count": len(self.findings) - self.severe_count,
            "newest_seal_sha256": self.newest_seal_sha256,
            **locks,
        }

    def published(self) -> PublishedReport:
        """Returns the totals, the findings and the times of seals."""
        return msgspec.convert({**self.summary(), "findings": self.findings, "seals": self.seals}, PublishedReport)


class LockCheck(NamedTuple):
    """The instant until which the store must lock every object, and how to read the locks."""

    reader: ObjectLockReader
    until: datetime


class TrustAnchors(NamedTuple):
    """What an auditor holds elsewhere: public keys, the SHA-256 of a seal, certificates of time stamp authorities.

    ``sealed_within`` is how soon after the end of its day the first seal of each window has to be proved by a time
    stamp.
    """

    verifier: SignatureVerifier | None = None
    expected_seal_sha256: str | None = None
    timestamps: TimestampVerifier | None = None
    sealed_within: timedelta | None = None


NO_TRUST_ANCHORS = TrustAnchors()
_TOP_LEVEL = (DATASET_KEY, LONG_WINDOW_FOLDER, MANIFEST_FOLDER, SEAL_FOLDER)


def verify(
    store: Store,
    start: datetime | None = None,
    end: datetime | None = None,
    anchors: TrustAnchors = NO_TRUST_ANCHORS,
    lock_check: LockCheck | None = None,
) -> VerifyReport:
    """Verifies every window that overlaps ``[start, end)``, unreferenced objects, and all seals.

    Of a range of some days, only the days around it are listed: see ``docs/auditors`` for what it does not find then.

    ``lock_check`` adds the locks of all objects that these need. A bound that is None is open. Damaged content becomes
    a finding; only a store that cannot be read raises (``StorageError``), and ``sealed_within`` without certificates
    (``ConfigurationError``).
    """
    check_anchors(anchors)
    time_range = TimeWindow(start or EARLIEST_AT, end or LATEST_AT)
    run = _Verifier(store, time_range, has_whole_seals=anchors.timestamps is not None)
    report = _report(run, anchors, lock_check)
    # A signature or time stamp that an index copies is proved only by itself: what looks wrong is read itself.
    if run.has_index and any(one.key.startswith(SEAL_FOLDER) for one in severe(report.findings)):
        return _report(_Verifier(store, time_range, by_index=False), anchors, lock_check)
    return report


def _report(run: _Verifier, anchors: TrustAnchors, lock_check: LockCheck | None) -> VerifyReport:
    run.check_windows()
    run.check_dataset()
    if not run.window_count:
        fact = "No window is committed in this range, so nothing was verified."
        run.findings.append(finding(FindingKind.NOTHING_COMMITTED, MANIFEST_FOLDER, fact))
    seals, times = run.seals, SealTimes(run.seals, anchors.timestamps)
    findings = [
        *run.findings,
        *run.stray_findings(),
        *run.index_findings(),
        *seals.findings,
        *seals.acceptance_findings(),
    ]
    findings += sealed_findings(seals, run.manifests, run.manifest_keys, run.is_listed)
    findings += anchor_findings(seals, times, anchors)
    locks = None
    if lock_check is not None:
        locks, unlocked = lock_findings(lock_check.reader.read(run.protected_keys()), lock_check.until)
        findings += unlocked
    return VerifyReport(
        window_count=run.window_count,
        part_count=run.part_count,
        record_count=run.record_count,
        size_bytes=run.size_bytes,
        seal_count=len(seals.contents),
        newest_seal_sha256=seals.newest_sha256,
        findings=tuple(findings),
        locks=locks,
        newest_manifests=tuple(run.newest_manifests),
        seals=times.times,
    )


def check_anchors(anchors: TrustAnchors) -> None:
    """Raises ``ConfigurationError`` for a limit of the time of seals that nothing can prove."""
    if anchors.sealed_within is not None and anchors.timestamps is None:
        raise ConfigurationError(
            "sealed_within is given without a certificate of the time stamp authority, so nothing proves when a day "
            "was sealed. Give both or none."
        )


def anchor_findings(seals: SealChain, times: SealTimes, anchors: TrustAnchors) -> Iterator[Finding]:
    """Yields what contradicts the trust anchors; with a key or certificate, a destination without a seal is severe."""
    if (anchors.verifier or anchors.timestamps) and not seals.contents:
        fact = "A public key or certificate was given, but the destination holds no seal, so nothing was proved."
        yield finding(FindingKind.NOTHING_SEALED, SEAL_FOLDER, fact)
    yield from seals.signature_findings(anchors.verifier)
    yield from times.findings
    if anchors.sealed_within is not None:
        yield from times.late_findings(anchors.sealed_within)
    if anchors.expected_seal_sha256 is not None:
        yield from seals.expected_seal_findings(anchors.expected_seal_sha256)


class _Verifier:
    """One pass over a destination, or over the days around a range of some days.

    The objects are listed first, so that a window committed during the pass is not reported as unreferenced.
    ``has_whole_seals`` is whether the windows that the seals of other days name are needed, too.
    """

    def __init__(
        self, store: Store, time_range: TimeWindow, *, by_index: bool = True, has_whole_seals: bool = False
    ) -> None:
        self._store = store
        self._range = time_range
        self._is_near = is_near(time_range)
        partitions = [f"{PARTITION_START}{day}/" for day in days_of(time_range)] if self._is_near else [""]
        self._sizes = self._list_all(partitions)
        self._top = store.present(_TOP_LEVEL) if self._is_near else dict.fromkeys(_TOP_LEVEL)
        # A range with ordinary parts has no others, so the descriptor need not be read for this.
        is_ordinary = bool(self._sizes) if self._is_near else DATASET_KEY not in self._sizes
        self._descriptor = None if is_ordinary or DATASET_KEY not in self._top else store.read(DATASET_KEY)
        self._lake = lake_in(self._descriptor)
        if self._lake is not None:
            partitions = self._lake.folders_of(time_range) if self._is_near else self._lake.folders()
            self._sizes |= self._list_all(partitions)
        # Sizes of parts in other partitions; an object there that no manifest names is not in the range.
        self._other_sizes: dict[str, int] = {}
        self._partitions = set(partitions)
        self._manifest_days: frozenset[date] = frozenset()
        self._manifest_folders: set[str] = set()
        # Read before the manifests are listed, see pipelines/manifest_index.
        self._index_check = IndexCheck(store, self._sizes)
        self.manifest_keys = set(self._list_manifests())
        self._dataset: DatasetCheck | None = None
        sealed = self._read_seals(by_index=by_index, has_whole_seals=has_whole_seals)
        self.has_index = sealed.index_number > 0
        self._sizes.update(sealed.sizes)
        self.seals = sealed.chain
        if self._list_sealed_windows():
            self.seals = self.seals.near(self._manifest_days)
        self.findings: list[Finding] = [*sealed.findings]
        self.manifests: dict[str, SealedManifest | None] = {}
        self.window_count = self.part_count = self.record_count = self.size_bytes = 0
        self.newest_manifests: list[str] = []
        self._referenced: set[str] = set()
        self._older_parts: dict[str, Part] = {}

    def _list_sizes(self, prefix: str) -> list[tuple[str, int]]:
        return list(self._store.list_sizes(prefix))

    def _list_all(self, prefixes: Iterable[str]) -> dict[str, int]:
        return dict(item for sizes in each(self._store, self._list_sizes, list(prefixes)) for item in sizes)

    def _list_manifests(self) -> list[str]:
        if not self._is_near:
            return list(self._store.list_keys(MANIFEST_FOLDER))
        found = list_around(self._store, self._range, has_long_windows=LONG_WINDOW_FOLDER in self._top)
        self._manifest_days = found.days
        self._manifest_folders = {manifest_folder(day) for day in found.days}
        return found.manifest_keys

    def _read_seals(self, *, by_index: bool, has_whole_seals: bool) -> SealObjects:
        """Reads the seals after the manifests were listed; those of a range of some days by their index."""
        if SEAL_FOLDER not in self._top:
            return SealObjects(SealChain({}), {})
        if by_index and self._is_near:
            days = days_of(self._range)
            return read_chain_by_index(self._store, days, None if has_whole_seals else {*days, *self._manifest_days})
        return read_whole_chain(self._store)

    def check_dataset(self, newest: Generation | None = None) -> DatasetCheck:
        """Returns the check of the descriptor, which the first call makes.

        The descriptor is created before the first manifest, so a listing before the manifests may lack it: then it is
        read itself. It need not be read if its listed digest is the one that the first window calls for.
        """
        if self._dataset is None:
            expected = dataset_of(newest.manifest) if newest is not None else None
            content = self._descriptor or read_descriptor(self._store, self._top.get(DATASET_KEY), expected)
            self._dataset = DatasetCheck(content)
            self._sizes.update({} if content is None else {DATASET_KEY: len(content)})
            self.findings[:0] = self._dataset.findings(self.manifest_keys)
        return self._dataset

    def _list_sealed_windows(self) -> bool:
        """Lists the folders of sealed windows that overlap the range and that no announcement has named.

        A manifest that is not there then is missing, also if its announcement was removed with it. Returns whether
        there was such a folder.
        """
        days: set[date] = set()
        if self._is_near:
            # Compares the texts of keys: a long history has thousands, and parsing them takes five times as long.
            range_keys = WindowKeys(self._range, self._range.start.date())
            sealed = (key for key in range_keys.overlapping(self.seals.first_named) if not self.is_listed(key))
            days = {window.start.date() for window in map(window_in, sealed) if window is not None}
            folders = [manifest_folder(day) for day in sorted(days)]
            self.manifest_keys.update(list_each(self._store, folders))
            self._manifest_days |= days
            self._manifest_folders.update(folders)
        return bool(days)

    def index_findings(self) -> Iterator[Finding]:
        """Yields findings about the index of manifests; a range of some days does not read it."""
        return self._index_check.findings(self.manifest_keys, self.manifests)

    def is_listed(self, key: str) -> bool:
        """Returns whether the folder of a manifest was listed."""
        return not self._is_near or f"{key.rpartition('/')[0]}/" in self._manifest_folders

    def check_windows(self) -> None:
        """Checks every window of the range."""
        parts = PartsSideBySide(self._store, ChainMap(self._sizes, self._other_sizes).get)
        for window in parts.checked(map(self._opened, self._windows())):
            self._close_window(window)
        self.size_bytes += parts.size_bytes

    def _windows(self) -> Iterator[list[StoredManifest]]:
        """Yields the manifests of each window in the range, and records overlapping windows as findings."""
        keys = _by_window(self.manifest_keys)
        first_keys = {window: min(of_one) for window, of_one in keys.items()}
        self.findings += [found for found in overlap_findings(first_keys) if self._is_in_range(found.key)]
        wanted = [key for window in sorted(keys) if window.overlaps(self._range) for key in sorted(keys[window])]
        stored = (StoredManifest(key, content) for key, content in read_each(self._store, wanted))
        # The generations of a window follow each other.
        for _, of_one in groupby(stored, key=lambda one: one.key.rpartition(".g")[0]):
            yield list(of_one)

    def _opened(self, stored: list[StoredManifest]) -> OpenWindow:
        """Checks a window's manifests, and lists where its parts are."""
        chain = read_chain(stored)
        self._list_partitions_of(chain)
        return OpenWindow(stored, chain, WindowCheck(chain))

    def _close_window(self, window: OpenWindow) -> None:
        """Adds what is known of a window when its parts were checked."""
        stored, chain, check = window
        self.manifests.update(as_sealed(stored, chain))
        self.findings += [*check.finish(), *self.check_dataset(check.newest).window_findings(check.newest)]
        self._check_sealed_parts(chain, {part.key for part in check.parts})
        self.newest_manifests += [check.newest.key] if check.newest else []
        self.window_count += 1
        self.part_count += len(check.parts)
        self.record_count += check.record_count
        self._referenced.update(part.key for part in check.parts)
        self._older_parts.update({part.key: part for one in chain.generations for part in one.manifest.parts})

    def _list_partitions_of(self, chain: Chain) -> None:
        """Lists the partitions of a window whose local date is not a date of the range."""
        partitions = {partition for one in chain.generations for partition in _partitions_of(one.manifest)}
        for partition in partitions - self._partitions if self._is_near else ():
            self._other_sizes.update(self._list_sizes(partition))
            self._partitions.add(partition)

    def stray_findings(self) -> Iterator[Finding]:
        """Yields findings for unreferenced objects; those of windows outside the range only in a partition of it."""
        keys = [key for key in {*self._sizes, *self.manifest_keys} if self._is_in_range(key)]
        keys += self._unnamed_in_partitions()
        unreferenced = (key for key in keys if key in self._older_parts and key not in self._referenced)
        superseded = [key for key in unreferenced if self._digest(key) == self._older_parts[key].sha256]
        return stray_findings(sorted(keys), self._referenced, superseded)

    def protected_keys(self) -> list[str]:
        """Returns the objects in the range that the dataset needs, and that exist."""
        keys = {*self._sizes, *self.manifest_keys}
        return protected_keys((key for key in keys if self._is_in_range(key)), self._referenced)

    def _check_sealed_parts(self, chain: Chain, in_force: set[str]) -> None:
        """Checks the parts that a seal covers and no reader reads any more, then replacements and erasures."""
        erased = believed_erasures(chain, self.seals)
        for key, part in parts_in_force(chain, self.seals.covered_keys, erased).items():
            if key not in in_force:
                content = self._store.read(key)
                self.size_bytes += len(content or b"")
                found = sealed_part_finding(part, content)
                self.findings += [found] if found else []
                self._referenced.add(key)
        self._referenced.update(erased_parts(chain))
        stored_parts = ChainMap(self._sizes, self._other_sizes)
        self.findings += [*replacement_findings(chain, self.seals), *erasure_findings(chain, stored_parts)]

    def _unnamed_in_partitions(self) -> list[str]:
        """Returns the objects in a partition of the range whose key states a window that does not name them.

        Only windows outside of the range count here.

        Readers of a whole partition read them. The partition of a window can differ from its UTC date, in another time
        zone, so the manifests of such windows are read.
        """
        found: dict[TimeWindow, list[str]] = defaultdict(list)
        for key in self._sizes:
            window = window_in(key)
            if window is not None and self._lake is not None and not window.overlaps(self._range):
                # A window has objects only in the folders of its own days, and those of the range were listed.
                found[window].append(key)
                continue
            day = partition_date_in(key)
            if window is None or day is None or day == window.start.date() or window.overlaps(self._range):
                continue
            starts_at = datetime.combine(day, time(), UTC)
            if TimeWindow(starts_at, starts_at + timedelta(days=1)).overlaps(self._range):
                found[window].append(key)
        return [key for window, keys in found.items() for key in set(keys) - self._named_by(window)]

    def _named_by(self, window: TimeWindow) -> set[str]:
        """Returns the keys of the parts that the manifests of a window name."""
        keys = WindowKeys(window, window.start.date())
        is_listed = not self._is_near or window.start.date() in self._manifest_days
        listed = self.manifest_keys if is_listed else self._store.list_keys(keys.manifest_prefix)
        manifests = [key for key in listed if keys.generation_of(key)]
        chain = read_chain([StoredManifest(key, self._store.read(key)) for key in manifests])
        return {part.key for one in chain.generations for part in one.manifest.parts}

    def _is_in_range(self, key: str) -> bool:
        window = window_in(key)
        return window is None or window.overlaps(self._range)

    def _digest(self, key: str) -> str:
        return hashlib.sha256(self._store.read(key) or b"").hexdigest()


def _partitions_of(manifest: Manifest) -> list[str]:
    keys = manifest.keys
    return [f"{PARTITION_START}{manifest.partition_date}/"] if keys.lake is None else keys.part_folders


def _by_window(keys: Iterable[str]) -> dict[TimeWindow, list[str]]:
    """Returns the keys of manifests by window; other keys are skipped."""
    found: dict[TimeWindow, list[str]] = defaultdict(list)
    for key in keys:
        parsed = read_manifest_key(key)
        if parsed is not None:
            found[parsed.window].append(key)
    return found

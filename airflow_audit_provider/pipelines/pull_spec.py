"""Input of a pull: the spec as requested, and the same spec planned upon what the destination already holds.

Invariant: equal specs upon equal committed manifests stage equal bytes, so one attempt can resume another.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from msgspec import UNSET

from airflow_audit_provider.core.api.query import AuditQuery
from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.archive.checkpoint import ResumeKey
from airflow_audit_provider.core.archive.commit import CommittedManifest
from airflow_audit_provider.core.archive.dataset import Dataset, dataset_with
from airflow_audit_provider.core.archive.object_keys import WindowKeys
from airflow_audit_provider.core.archive.security_lake import SecurityLake
from airflow_audit_provider.core.limits import (
    DEFAULT_CONCURRENCY,
    DEFAULT_EDGES_PAUSE,
    DEFAULT_MAX_PART_BYTES,
    KEEP_ODD_RECORDS,
)
from airflow_audit_provider.core.privacy.rule import MaybeAppliedPrivacy, PrivacyRule, privacy_entry
from airflow_audit_provider.core.verification.envelopes import SignatureVerifier
from airflow_audit_provider.core.windows.run_window import RunWindow
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.formats.part_format import PartFormat, committed_format


class PullSpec(NamedTuple):
    """Request for one pull; ``attempt_id`` is unique to the attempt and names its staging folder.

    ``history_starts_at`` is the instant before which the API version has no records, None if there is none.
    With ``erase_reason`` a replacement also removes parts that a seal covers, and its manifest lists them.
    ``verify`` is ``recount``, ``edges`` or ``none``; None chooses by the window's age when the pull is planned.
    ``edges_pause`` precedes the second look at the edges.
    ``odd_records`` says whether records that break the API's contract are kept or fail the pull.
    ``seal_verifier`` verifies the seals that accept an erasure, before a run that does not erase removes sealed parts.
    ``lake`` is where the parts go in Security Lake, None for the ordinary layout.
    ``run_id`` is what the ids of all attempts of the run begin with, None if there was no earlier attempt.
    """

    query: AuditQuery
    run_window: RunWindow
    part_format: PartFormat
    attempt_id: str
    settle_delay: timedelta = timedelta(0)
    max_part_bytes: int = DEFAULT_MAX_PART_BYTES
    replace: bool = False
    concurrency: int = DEFAULT_CONCURRENCY
    verify: str | None = None
    edges_pause: timedelta = DEFAULT_EDGES_PAUSE
    privacy: PrivacyRule | None = None
    history_starts_at: datetime | None = None
    erase_reason: str | None = None
    odd_records: str = KEEP_ODD_RECORDS
    seal_verifier: SignatureVerifier | None = None
    lake: SecurityLake | None = None
    run_id: str | None = None

    @property
    def privacy_entry(self) -> MaybeAppliedPrivacy:
        """The privacy rule as a manifest records it; unset if there is no rule."""
        return privacy_entry(self.privacy)

    @property
    def dataset(self) -> Dataset:
        """The dataset that the pulled window belongs to."""
        form = self.part_format
        layout = self.lake or UNSET
        return dataset_with(self.query, form.file_format, form.schema, form.schema_version, self.privacy_entry, layout)

    @property
    def lake_bucket(self) -> str | None:
        """The bucket of Security Lake that has the parts, None for the ordinary layout."""
        return None if self.lake is None else self.lake.bucket

    @property
    def is_erasure(self) -> bool:
        """Whether the pull removes what earlier generations of its window hold."""
        return self.erase_reason is not None

    def apply_privacy(self, records: list[AuditRecord]) -> list[AuditRecord]:
        """Applies the privacy rule, if any."""
        return records if self.privacy is None else self.privacy.apply(self.query.version, records)


class PlannedPull(NamedTuple):
    """A pull spec adjusted to the manifest in force; every step after planning reads this and not the original spec.

    ``committed`` is None before the window's first commit. ``keys`` are the window's object keys. Attempts with equal
    ``resume_key`` can resume each other. ``descriptor`` is the destination's dataset descriptor, None before its first
    commit. ``has_second_look`` is whether both edges of the window are requested again after a pause.
    """

    spec: PullSpec
    committed: CommittedManifest | None
    keys: WindowKeys
    resume_key: ResumeKey
    descriptor: bytes | None = None
    has_second_look: bool = False

    @property
    def window(self) -> TimeWindow:
        """The window to pull."""
        return self.spec.run_window.window

    @property
    def next_generation(self) -> int:
        """The generation that the pull commits, if it commits anything."""
        return 1 if self.committed is None else self.committed.manifest.generation + 1

    @property
    def is_addition(self) -> bool:
        """Whether the pull only adds late records to what is committed."""
        return self.committed is not None and not self.spec.replace


def plan_upon(spec: PullSpec, committed: CommittedManifest | None) -> PlannedPull:
    """Returns the pull that carries out a spec upon the manifest in force.

    A committed window keeps its partition date, whatever time zone the run uses. An addendum takes the committed
    version of its schema, so late records match the existing parts.
    """
    if committed is not None:
        manifest = committed.manifest
        spec = spec._replace(run_window=spec.run_window._replace(partition_date=manifest.partition_date))
        if manifest.table and not spec.replace:
            spec = spec._replace(part_format=committed_format(manifest, spec.part_format.severities))
    keys = WindowKeys(spec.run_window.window, spec.run_window.partition_date, spec.lake)
    return PlannedPull(spec, committed, keys, _resume_key(spec, committed))


def _resume_key(spec: PullSpec, committed: CommittedManifest | None) -> ResumeKey:
    return ResumeKey(
        query=spec.query,
        window=spec.run_window.window,
        partition_date=spec.run_window.partition_date,
        file_format=spec.part_format.file_format,
        compression=spec.part_format.compression,
        max_part_bytes=spec.max_part_bytes,
        replace=spec.replace,
        base_sha256=None if committed is None else committed.sha256,
        schema=spec.part_format.resume_name,
        privacy=spec.privacy_entry or None,
        layout=spec.lake,
    )

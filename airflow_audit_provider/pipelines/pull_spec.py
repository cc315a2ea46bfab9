"""What a pull is asked for.

Knows: the values. Must not know: how a window is pulled.
Its one rule: an order says everything that decides the outcome, so that the same order has the same outcome.
"""

from __future__ import annotations

from datetime import timedelta
from typing import NamedTuple

from airflow_audit_provider.core.api.query import AuditQuery
from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.archive.checkpoint import ResumeKey
from airflow_audit_provider.core.archive.commit import CommittedManifest
from airflow_audit_provider.core.archive.object_keys import WindowKeys
from airflow_audit_provider.core.limits import DEFAULT_CONCURRENCY, DEFAULT_MAX_PART_BYTES
from airflow_audit_provider.core.privacy.rule import MaybeAppliedPrivacy, PrivacyRule, applied_privacy
from airflow_audit_provider.core.windows.run_window import RunWindow
from airflow_audit_provider.formats.part_format import PartFormat, committed_format


class PullSpec(NamedTuple):
    """What one pull is to do. ``attempt_id`` is unique to this try; it keeps tries apart while they stage."""

    query: AuditQuery
    run_window: RunWindow
    part_format: PartFormat
    attempt_id: str
    settle_delay: timedelta = timedelta(0)
    max_part_bytes: int = DEFAULT_MAX_PART_BYTES
    replace: bool = False
    concurrency: int = DEFAULT_CONCURRENCY
    recount: bool = False
    privacy: PrivacyRule | None = None

    @property
    def keys(self) -> WindowKeys:
        """Where the window's objects lie."""
        return WindowKeys(self.run_window.window, self.run_window.partition_date)

    def in_partition_of(self, committed: CommittedManifest | None) -> PullSpec:
        """Return the order with the partition's date of what is committed: a window keeps its folder, whatever zone."""
        if committed is None:
            return self
        return self._replace(run_window=self.run_window._replace(partition_date=committed.manifest.partition_date))

    def resume_key(self, committed: CommittedManifest | None) -> ResumeKey:
        """Everything that decides what a try of this order stages upon a commit."""
        return ResumeKey(
            self.query,
            self.run_window.window,
            self.run_window.partition_date,
            self.part_format.file_format,
            self.part_format.compression,
            self.max_part_bytes,
            self.replace,
            None if committed is None else committed.sha256,
            self.part_format.schema_name,
            self.applied_privacy or None,
        )

    @property
    def applied_privacy(self) -> MaybeAppliedPrivacy:
        """What a manifest says of the privacy rule, unset without one."""
        return applied_privacy(self.privacy)

    def as_addendum_to(self, committed: CommittedManifest | None) -> PullSpec:
        """Return the order for what it adds to a commit: late records take the committed version of its schema."""
        if committed is None or self.replace or not committed.manifest.table:
            return self
        return self._replace(part_format=committed_format(committed.manifest))

    def apply_privacy(self, records: list[AuditRecord]) -> list[AuditRecord]:
        """Return records as they may be written: under the privacy rule, if there is one."""
        return records if self.privacy is None else self.privacy.applied(self.query.version, records)

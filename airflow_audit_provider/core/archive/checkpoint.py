"""Durable progress inside a window: what a killed try had staged, and from where the next one goes on.

Knows: what a checkpoint stands for, and when it still stands. Must not know: stores, the API.
Its one rule: a checkpoint whose identity differs in anything, or whose parts are not all there, is worth nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime

import msgspec

from airflow_audit_provider.core.api.query import AuditQuery
from airflow_audit_provider.core.api.read_stats import ReadStats
from airflow_audit_provider.core.archive.commit import StagedPart
from airflow_audit_provider.core.privacy.rule import AppliedPrivacy
from airflow_audit_provider.core.windows.window import TimeWindow, from_seconds, second_of
from airflow_audit_provider.exceptions import ConfigurationError

# Raised when the same records would be staged as other bytes or other parts.
LAYOUT_VERSION = 2


class ResumeKey(msgspec.Struct, frozen=True):
    """Everything that decides what a try stages; ``base_sha256`` is the digest of the manifest it builds upon."""

    query: AuditQuery
    window: TimeWindow
    partition_date: date
    file_format: str
    compression: str
    max_part_bytes: int
    replace: bool
    base_sha256: str | None
    schema: str = "raw"
    privacy: AppliedPrivacy | None = None
    layout_version: int = LAYOUT_VERSION


class Checkpoint(msgspec.Struct, frozen=True):
    """Written after every closed part: the parts so far, what reading them cost, when that began and it was written."""

    identity: ResumeKey
    parts: tuple[StagedPart, ...]
    fetch: ReadStats
    began_at: datetime
    saved_at: datetime

    @property
    def record_count(self) -> int:
        """How many records need not be asked for again."""
        return sum(part.record_count for part in self.parts)

    @property
    def remainder(self) -> TimeWindow:
        """The window still to be read: from the second of the last staged record, which may not be staged whole."""
        window = self.identity.window
        if not self.parts:
            return window
        resumes_at = from_seconds(second_of(self.parts[-1].last_event_ns))
        return TimeWindow(max(window.start, resumes_at), window.end)

    def to_bytes(self) -> bytes:
        """Return it as JSON."""
        return msgspec.json.encode(self)


def read_checkpoint(content: bytes | None) -> Checkpoint | None:
    """Return a checkpoint from its bytes; None for bytes that are none, such as another version's."""
    try:
        return msgspec.json.decode(content or b"", type=Checkpoint)
    except (msgspec.DecodeError, ValueError, ConfigurationError):
        return None


def best_checkpoint(
    found: Iterable[Checkpoint | None], identity: ResumeKey, sizes: Mapping[str, int], settled_at: datetime
) -> Checkpoint | None:
    """Return the furthest checkpoint of the same identity whose parts all lie in staging with their sizes.

    Its reading must have begun when the window was settled: one that began earlier, under a shorter settle delay, may
    lack what came late.
    """
    standing = [
        checkpoint
        for checkpoint in found
        if checkpoint is not None
        and checkpoint.identity == identity
        and checkpoint.began_at >= settled_at
        and all(sizes.get(part.staged_key) == part.size_bytes for part in checkpoint.parts)
    ]
    return max(standing, key=lambda checkpoint: checkpoint.record_count, default=None)

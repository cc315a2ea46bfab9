"""Checkpoint of an attempt: the parts it has staged, and from where the next attempt can resume.

Invariant: a checkpoint is used only if its resume key is equal in every field and all its parts are staged.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime

import msgspec

from airflow_audit_provider.core.api.query import AuditQuery
from airflow_audit_provider.core.api.read_stats import ReadStats
from airflow_audit_provider.core.archive.commit import StagedPart
from airflow_audit_provider.core.archive.security_lake import SecurityLake
from airflow_audit_provider.core.privacy.rule import AppliedPrivacy
from airflow_audit_provider.core.windows.window import TimeWindow, from_seconds, second_of
from airflow_audit_provider.exceptions import ConfigurationError

# Incremented when a release stages the same records as other bytes or other parts.
LAYOUT_VERSION = 3


class ResumeKey(msgspec.Struct, frozen=True):
    """The inputs that determine what an attempt stages; two attempts with equal keys can resume each other.

    ``base_sha256`` is the digest of the committed manifest that the attempt builds upon, None if there is none.
    """

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
    layout: SecurityLake | None = None


class Checkpoint(msgspec.Struct, frozen=True):
    """Written after every closed part: the closed parts and the cost of reading them.

    ``began_at`` is when the first attempt began to read, ``saved_at`` when the checkpoint was written.
    """

    resume_key: ResumeKey
    parts: tuple[StagedPart, ...]
    fetch: ReadStats
    began_at: datetime
    saved_at: datetime

    @property
    def record_count(self) -> int:
        """Number of staged records, which the next attempt need not request."""
        return sum(part.record_count for part in self.parts)

    @property
    def remainder(self) -> TimeWindow:
        """The window still to be read: from the second of the last staged record, which may not be staged whole."""
        window = self.resume_key.window
        if not self.parts:
            return window
        # Parts of several classes that were closed together overlap in time.
        resumes_at = from_seconds(second_of(max(part.last_event_ns for part in self.parts)))
        return TimeWindow(max(window.start, resumes_at), window.end)

    def to_bytes(self) -> bytes:
        """Returns the checkpoint as JSON."""
        return msgspec.json.encode(self)


def read_checkpoint(content: bytes | None) -> Checkpoint | None:
    """Returns None if the bytes are not a valid checkpoint, e.g. one written by another version."""
    try:
        return msgspec.json.decode(content or b"", type=Checkpoint)
    except (msgspec.DecodeError, ValueError, ConfigurationError):
        return None


def best_checkpoint(
    checkpoints: Iterable[Checkpoint | None], resume_key: ResumeKey, sizes: Mapping[str, int], settled_at: datetime
) -> Checkpoint | None:
    """Returns the checkpoint with most records whose key is equal and whose parts are all staged with their sizes.

    ``sizes`` are the staged objects' sizes in bytes, by key. A checkpoint whose attempt began before ``settled_at`` is
    left out: it was read under a shorter settle delay and may lack records that arrived late.
    """
    usable = [
        checkpoint
        for checkpoint in checkpoints
        if checkpoint is not None
        and checkpoint.resume_key == resume_key
        and checkpoint.began_at >= settled_at
        and all(sizes.get(part.staged_key) == part.size_bytes for part in checkpoint.parts)
    ]
    return max(usable, key=lambda checkpoint: checkpoint.record_count, default=None)

"""The documents that ``seal``, ``sweep``, ``pull`` and ``load`` print with ``--json``; tools write their JSON Schemas.

Invariant: each command prints these fields and no other; tests compare both.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from airflow_audit_provider.pipelines.observer import KeptReason
from airflow_audit_provider.pipelines.seal import SealReport


class Retained(msgspec.Struct, frozen=True):
    """An orphaned file that the store keeps.

    The field ``until`` has the end of its lock, and is null for a legal hold, which stays until somebody removes it.
    """

    key: str
    size_bytes: int
    until: datetime | None


class Kept(msgspec.Struct, frozen=True):
    """A part that no manifest in force names, and why it is kept."""

    key: str
    reason: KeptReason


class PublishedSweep(msgspec.Struct, frozen=True):
    """What ``sweep --json`` prints; docs/reference/sweep-result.schema.json is its schema.

    ``keys`` are the orphaned files, and ``size_bytes`` is their size together. ``removed`` is false with ``--dry-run``.
    ``retained`` are files under an object lock, ``kept`` are parts that the seals may still protect.
    """

    keys: list[str]
    size_bytes: int
    retained: list[Retained]
    kept: list[Kept]
    removed: bool


class PublishedPull(msgspec.Struct, frozen=True):
    """What ``pull --json`` prints; docs/reference/pull-result.schema.json is its schema.

    ``windows`` has the first hundred windows that the command has committed, each as its start, its number of records,
    and the key of its manifest. ``window_count`` counts all committed windows of the range, ``committed_count`` those
    that this command has committed, ``pending_count`` those that are not settled yet. If a signal interrupts the
    command, ``is_interrupted`` is true, and only ``committed_count`` is there beside it.
    """

    committed_count: int
    is_interrupted: bool
    window_start: datetime | msgspec.UnsetType = msgspec.UNSET
    window_end: datetime | msgspec.UnsetType = msgspec.UNSET
    partition_by: str | msgspec.UnsetType = msgspec.UNSET
    window_count: int | msgspec.UnsetType = msgspec.UNSET
    record_count: int | msgspec.UnsetType = msgspec.UNSET
    added_count: int | msgspec.UnsetType = msgspec.UNSET
    part_count: int | msgspec.UnsetType = msgspec.UNSET
    size_bytes: int | msgspec.UnsetType = msgspec.UNSET
    missing_count: int | msgspec.UnsetType = msgspec.UNSET
    odd_record_count: int | msgspec.UnsetType = msgspec.UNSET
    manifest_uri: str | msgspec.UnsetType | None = msgspec.UNSET
    committed: bool | msgspec.UnsetType = msgspec.UNSET
    windows: list[tuple[datetime, int, str]] | msgspec.UnsetType = msgspec.UNSET
    pending_count: int | msgspec.UnsetType = msgspec.UNSET


class PublishedLoad(msgspec.Struct, frozen=True):
    """What ``load --json`` prints; docs/reference/load-result.schema.json is its schema.

    ``record_count`` counts the records of the windows that this command has loaded, ``window_start`` and ``window_end``
    are the bounds of these windows, null if there is none. If a signal interrupts the command, ``is_interrupted`` is
    true, and only ``loaded_count`` is there beside it.
    """

    loaded_count: int
    is_interrupted: bool
    replaced_count: int | msgspec.UnsetType = msgspec.UNSET
    unchanged_count: int | msgspec.UnsetType = msgspec.UNSET
    record_count: int | msgspec.UnsetType = msgspec.UNSET
    window_start: datetime | msgspec.UnsetType | None = msgspec.UNSET
    window_end: datetime | msgspec.UnsetType | None = msgspec.UNSET


# The JSON Schema of each command, by its name in docs/reference/{name}-result.schema.json.
PUBLISHED: dict[str, type[msgspec.Struct]] = {
    "seal": SealReport,
    "sweep": PublishedSweep,
    "pull": PublishedPull,
    "load": PublishedLoad,
}

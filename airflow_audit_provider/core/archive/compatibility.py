"""Checks whether a run may add records to what is committed in a destination.

Invariant: all parts that one manifest names have one dataset, format, schema and privacy rule.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec
from msgspec import UnsetType

from airflow_audit_provider.core.api.query import AuditQuery
from airflow_audit_provider.core.archive.dataset import dataset_of, dataset_privacy
from airflow_audit_provider.core.archive.manifest import Manifest, TableSchema
from airflow_audit_provider.core.archive.object_keys import WindowKeys, window_in
from airflow_audit_provider.core.privacy.rule import MaybeAppliedPrivacy
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import CommitConflictError

# How many spans of a window an error lists.
_LISTED_COUNT = 5
_REPLACE = "Run the window with replace=True to write it again, or use another destination."


def check_no_overlap(keys: WindowKeys, listed: Iterable[str]) -> None:
    """Raises ``CommitConflictError`` if a listed key is the manifest of a window that overlaps this one.

    Windows of other lengths that overlap nothing are accepted, because a schedule can change. The error lists what is
    not committed of the window, so that a change of schedule leaves no gap.
    """
    overlapping = [key for key in listed if keys.overlaps(key)]
    if overlapping:
        rest = list(_not_covered(keys.window, filter(None, map(window_in, overlapping))))
        more = f" and {len(rest) - _LISTED_COUNT} more" if len(rest) > _LISTED_COUNT else ""
        raise CommitConflictError(
            f"The destination has a committed window that overlaps {keys.window} ({overlapping[0]}), so records would "
            f"be stored twice. Not committed in this window: {_listed(map(str, rest[:_LISTED_COUNT]))}{more}. After a "
            "change of schedule, land that range with window_start and window_end, and continue with windows that "
            "overlap nothing. For two schedules at the same time, such as days and hours, use two destinations.",
            key=overlapping[0],
        )


def check_no_overlap_after_commit(keys: WindowKeys, listed: Iterable[str]) -> None:
    """Raises ``CommitConflictError`` if an overlapping window was committed at the same time as this one."""
    overlapping = [key for key in listed if keys.overlaps(key)]
    if overlapping:
        raise CommitConflictError(
            f"Another run committed {overlapping[0]} while this one committed the overlapping window {keys.window}, so "
            "records are stored twice. Remove the manifest and the parts of one of the two windows from the "
            "destination. For two schedules at the same time, use two destinations.",
            key=overlapping[0],
        )


def _not_covered(window: TimeWindow, committed: Iterable[TimeWindow]) -> Iterator[TimeWindow]:
    """Yields the spans of a window that no committed window covers, in order."""
    reached_at = window.start
    for other in sorted(committed):
        if reached_at < other.start:
            yield TimeWindow(reached_at, other.start)
        reached_at = max(reached_at, other.end)
    if reached_at < window.end:
        yield TimeWindow(reached_at, window.end)


def check_same_dataset(committed: Manifest, query: AuditQuery, key: str) -> None:
    """Raises ``CommitConflictError`` if the window is committed for another account, API version or filter."""
    wanted = msgspec.structs.replace(committed, query=query)
    differences = dataset_of(committed).differences_from(dataset_of(wanted))
    if differences:
        raise CommitConflictError(
            f"The window {committed.window} is committed for another audit log: {'; '.join(differences)}. "
            "Use one destination for each account or organization, API version and set of filters.",
            key=key,
        )


def check_same_format(committed: Manifest, file_format: str, compression: str, key: str) -> None:
    """Raises ``CommitConflictError`` if late records would have another format than the committed ones."""
    if (committed.file_format, committed.compression) != (file_format, compression):
        raise CommitConflictError(
            f"The window {committed.window} is committed as {committed.file_format} with {committed.compression} "
            f"compression, not {file_format} with {compression}. {_REPLACE}",
            key=key,
        )


def check_compatible_schema(committed: Manifest, table: TableSchema | UnsetType, key: str) -> None:
    """Raises ``CommitConflictError`` if late records would have another schema than the committed ones.

    An older minor version is accepted and kept: late records are written in the committed version.
    """
    if _major_schema(committed.table) != _major_schema(table):
        raise CommitConflictError(
            f"The window {committed.window} is committed in the schema {_schema_name(committed.table)}, not "
            f"{_schema_name(table)}. {_REPLACE}",
            key=key,
        )
    if committed.table and table and _minor(committed.table) > _minor(table):
        raise CommitConflictError(
            f"The window {committed.window} is committed in the schema {_schema_name(committed.table)}, newer than "
            f"{_schema_name(table)}. Upgrade airflow-audit-provider.",
            key=key,
        )


def check_same_privacy(committed: Manifest, applied: MaybeAppliedPrivacy, key: str) -> None:
    """Raises ``CommitConflictError`` if late records would have another privacy rule or another key."""
    if committed.privacy == applied:
        return
    if committed.erased:
        raise CommitConflictError(
            f"An erasure wrote the window {committed.window} under {_rule_text(committed.privacy)}. This task has "
            f"{_rule_text(applied)}. To add late records, run the window with the rule of the erasure, replace=True, "
            "erase=True and erase_reason. With another rule, replace=True would write the erased data again.",
            key=key,
        )
    raise CommitConflictError(
        f"The window {committed.window} is committed under {_rule_text(committed.privacy)}, not "
        f"{_rule_text(applied)}. {_REPLACE}",
        key=key,
    )


def _major_schema(table: TableSchema | UnsetType) -> tuple[str, str]:
    return (table.schema, table.version.split(".")[0]) if table else ("raw", "")


def _minor(table: TableSchema) -> int:
    return int(table.version.split(".")[1])


def _schema_name(table: TableSchema | UnsetType) -> str:
    return f"{table.schema} {table.version}" if table else "raw"


def _rule_text(applied: MaybeAppliedPrivacy) -> str:
    privacy = dataset_privacy(applied)
    return f"version {applied.rule_version} of the privacy rule {privacy}" if applied else "no privacy rule"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names) or "nothing"

"""Checks whether a run may add to what is committed in a destination."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import UnsetType

from airflow_audit_provider.core.api.query import AuditQuery
from airflow_audit_provider.core.archive.manifest import Manifest, TableSchema
from airflow_audit_provider.core.archive.object_keys import WindowKeys
from airflow_audit_provider.core.privacy.rule import MaybeAppliedPrivacy
from airflow_audit_provider.exceptions import (
    CommitConflictError,
)


def check_no_overlap(keys: WindowKeys, listed: Iterable[str]) -> None:
    """Raise ``CommitConflictError`` when a listed manifest is of a window that overlaps: records would land twice."""
    for key in listed:
        if keys.overlaps(key):
            raise CommitConflictError(
                f"The destination holds a window that overlaps {keys.window}, so records would lie there twice. Give "
                "every division of time, such as days and hours, a destination of its own.",
                key=key,
            )


def check_same_dataset(committed: Manifest, query: AuditQuery, key: str) -> None:
    """Raise ``CommitConflictError`` when the destination holds the same window of another audit log or filter."""
    if committed.query != query:
        raise CommitConflictError(
            f"The destination holds this window of another audit log: {committed.query} and not {query}. "
            "Give every account, API version and filter a destination of its own.",
            key=key,
        )


def check_same_format(committed: Manifest, file_format: str, compression: str, key: str) -> None:
    """Raise ``CommitConflictError`` when late records would be added in another format than the committed ones."""
    if (committed.file_format, committed.compression) != (file_format, compression):
        raise CommitConflictError(
            f"The window is committed as {committed.file_format} with {committed.compression} compression, not "
            f"{file_format} with {compression}. Use another destination, or replace=True to write it anew.",
            key=key,
        )


def check_compatible_schema(committed: Manifest, table: TableSchema | UnsetType, key: str) -> None:
    """Raise ``CommitConflictError`` when late records would be added in another schema than the committed ones.

    A committed minor version that is older is none of those: it is written on as it is (see ``PullOrder.upon``).
    """
    if _lineage(committed.table) != _lineage(table):
        raise CommitConflictError(
            f"The window is committed in the schema {_named(committed.table)}, not {_named(table)}. Use another "
            "destination, or replace=True to write it anew.",
            key=key,
        )
    if committed.table and table and _minor(committed.table) > _minor(table):
        raise CommitConflictError(
            f"The window is committed in the schema {_named(committed.table)}, newer than {_named(table)}. Upgrade "
            "airflow-audit-provider.",
            key=key,
        )


def check_same_privacy(committed: Manifest, stamp: MaybeAppliedPrivacy, key: str) -> None:
    """Raise ``CommitConflictError`` when late records would be added under another privacy rule or another key."""
    if committed.privacy != stamp:
        raise CommitConflictError(
            f"The window is committed under {_ruled(committed.privacy)}, not {_ruled(stamp)}. Use another destination, "
            "or replace=True to write it anew.",
            key=key,
        )


def _lineage(table: TableSchema | UnsetType) -> tuple[str, str]:
    return (table.schema, table.version.split(".")[0]) if table else ("raw", "")


def _minor(table: TableSchema) -> int:
    return int(table.version.split(".")[1])


def _named(table: TableSchema | UnsetType) -> str:
    return f"{table.schema} {table.version}" if table else "raw"


def _ruled(stamp: MaybeAppliedPrivacy) -> str:
    if not stamp:
        return "no privacy rule"
    key = f" and key {stamp.key_id}" if stamp.key_id else ""
    return (
        f"the privacy rule {stamp.name!r} version {stamp.rule_version} (pseudonymise {list(stamp.pseudonymise)}, drop "
        f"{list(stamp.drop)}{key})"
    )

"""Commits of an Iceberg table: which of them landed, whatever the catalog reported, and a cheap transaction.

Invariant: what a landed commit references is never deleted. Pyiceberg deletes the manifests of a commit that the
catalog reports as a conflict, so a report is checked before pyiceberg sees it.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any


class CheckedCatalog:
    """The catalog of a table, for which a commit whose snapshot the table has is committed.

    If the response to a commit is lost, the library of a catalog, or a proxy, repeats the request. The catalog then
    reports a conflict with the commit that landed.
    """

    def __init__(self, catalog: Any) -> None:
        self._catalog = catalog
        self._snapshot_ids = set[int]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._catalog, name)

    def commit_table(self, table: Any, requirements: tuple[Any, ...], updates: tuple[Any, ...]) -> Any:
        """Commits as the catalog does; raises ``CommitFailedException`` only if the table has none of the snapshots."""
        from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException
        from pyiceberg.table import CommitTableResponse
        from pyiceberg.table.update import AddSnapshotUpdate

        ids = {update.snapshot.snapshot_id for update in updates if isinstance(update, AddSnapshotUpdate)}
        self._snapshot_ids |= ids
        try:
            return self._catalog.commit_table(table, requirements, updates)
        except CommitFailedException as error:
            try:
                read = self._catalog.load_table(table.name())
            except Exception as unread:
                raise CommitStateUnknownException(f"{error}; the table cannot be read: {unread}") from unread
            if ids.isdisjoint(_snapshot_ids(read)):
                raise
            return CommitTableResponse(**{"metadata": read.metadata, "metadata-location": read.metadata_location})

    def may_have_landed(self, table: Any) -> bool:
        """Returns whether the table has a snapshot that was committed here, or cannot be read."""
        # Each catalog has errors of its own library. The error that made the load fail counts.
        with suppress(Exception):
            return not self._snapshot_ids.isdisjoint(_snapshot_ids(self._catalog.load_table(table.name())))
        return True


def _snapshot_ids(table: Any) -> set[int]:
    return {snapshot.snapshot_id for snapshot in table.metadata.snapshots}


def checked_transaction(table: Any, commits: CheckedCatalog, *, is_short: bool) -> Any:
    """Returns a transaction that is committed through ``commits``.

    A short one is for one snapshot and then properties, neither of which depends on earlier changes in it: pyiceberg's
    own ``table_metadata`` applies the staged updates to a deep copy of the metadata at each access, some sixteen times
    for one commit, and the metadata grows with every snapshot.
    """
    from pyiceberg.table import Transaction

    class CheckedTransaction(Transaction):
        def commit_transaction(self) -> Any:
            # Not for longer: a scan that the server plans needs the catalog's own class.
            catalog = self._table.catalog
            self._table.catalog = commits  # type: ignore[assignment]  # no Catalog, but has all that a commit calls
            try:
                return super().commit_transaction()
            finally:
                self._table.catalog = catalog

    class ShortTransaction(CheckedTransaction):
        @property
        def table_metadata(self) -> Any:
            return self._table.metadata

    return ShortTransaction(table) if is_short else CheckedTransaction(table)

"""An Apache Iceberg table of audit records, in any catalog pyiceberg speaks to.

Knows: pyiceberg, imported when a catalog opens; snapshots, data files, table properties. Must not know: manifests of
windows, Airflow.
Its one rule: one commit of the catalog replaces a window's rows and enters it into the ledger; when somebody else
committed meanwhile, the claim is looked at again before the next attempt.

The ledger is in the table's properties, not in the snapshots, which are expired sooner or later: one property a window.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import Any

from airflow_audit_provider.adapters.warehouses.iceberg_schema import (
    by_day,
    facts_of,
    iceberg_schema,
    iceberg_type,
    is_of_one_window,
    ledger_entry,
    ledger_key,
    ledger_prefix,
    ledger_text,
    window_filter,
)
from airflow_audit_provider.core.ports import Clock
from airflow_audit_provider.core.warehouse.port import KEY_COLUMNS, LedgerEntry, LoadClaim, SqlColumn
from airflow_audit_provider.exceptions import ConfigurationError, WarehouseBusyError

# Rows wait in memory until they are worth a data file of their own.
_FILE_BYTES = 32 << 20
# How often a commit is tried while others commit to the same table; each needs some tens of milliseconds.
_MOST_COMMITS = 60
_PAUSE_SECONDS = 0.2
# Pyiceberg tries a refused commit again by itself, with the ledger's entry as it was: nobody would look at the claim.
_BLIND_RETRIES = "commit.retry.num-retries"
_NEW_TABLE = {
    _BLIND_RETRIES: "0",
    # Whole, not cut off after 16 characters: it says whether a data file belongs to one dataset.
    "write.metadata.metrics.column.dataset": "full",
    # A snapshot a window makes a manifest and a metadata file a window: a hundred manifests become one, old files go.
    "commit.manifest-merge.enabled": "true",
    "write.metadata.delete-after-commit.enabled": "true",
}


class IcebergWarehouse:
    """Satisfies :class:`~airflow_audit_provider.core.warehouse.port.Warehouse`; ``name`` is ``namespace.table``."""

    def __init__(self, catalog: Any, name: str, clock: Clock) -> None:
        self._catalog = catalog
        self._name = name
        self._clock = clock
        self._table: Any = None

    def prepare(self, columns: Iterable[SqlColumn]) -> None:
        """Make namespace and table, partitioned by the day of the event, or add columns that are new."""
        wanted = (*KEY_COLUMNS, *columns)
        namespace, _, table = self._name.rpartition(".")
        if not namespace or not table:
            raise ConfigurationError(f"The table {self._name!r} is no Iceberg table's name. Give namespace.table.")
        self._make_namespace(namespace)
        schema = iceberg_schema(wanted)
        self._table = self._catalog.create_table_if_not_exists(
            self._name,
            schema=schema,
            partition_spec=by_day(schema),
            properties=_NEW_TABLE,
        )
        self._refuse_weak_isolation()
        self._amend(wanted)

    def _make_namespace(self, namespace: str) -> None:
        try:
            self._catalog.create_namespace_if_not_exists(namespace)
        except Exception:
            # A catalog tells in its own library's words that another task was first; what counts is that it is there.
            if not self._catalog.namespace_exists(namespace):
                raise

    def _refuse_weak_isolation(self) -> None:
        for operation in ("delete", "update"):
            name = f"write.{operation}.isolation-level"
            if self._table.properties.get(name, "serializable") != "serializable":
                raise ConfigurationError(
                    f"The table {self._name} has {name} other than serializable, so that two loaders of a window could "
                    "both add its rows. Remove that property."
                )

    def _amend(self, columns: Sequence[SqlColumn]) -> None:
        """Add columns that are missing, and switch off retries that do not look at the ledger."""
        from pyiceberg.exceptions import CommitFailedException

        for attempt in range(1, _MOST_COMMITS + 1):
            missing = [column for column in columns if not self._has(column)]
            if not missing and self._table.properties.get(_BLIND_RETRIES) == "0":
                return
            try:
                with self._table.transaction() as transaction:
                    transaction.set_properties({_BLIND_RETRIES: "0"})
                    with transaction.update_schema() as update:
                        for column in missing:
                            update.add_column(column.name, iceberg_type(column))
            except CommitFailedException as error:
                if attempt == _MOST_COMMITS:
                    raise WarehouseBusyError(f"Others commit to {self._name} all the time ({error}).") from error
                self._look_again()

    def _has(self, column: SqlColumn) -> bool:
        """Say whether the table has a column; raise when it has one of another type."""
        found = {field.name: field.field_type for field in self._table.schema().fields}.get(column.name)
        if found not in {None, iceberg_type(column)}:
            raise ConfigurationError(
                f"The column {column.name} of {self._name} is {found}, and {iceberg_type(column)} is to be loaded. "
                "Give the name of a table that is not there yet."
            )
        return found is not None

    def _look_again(self) -> None:
        self._clock.sleep(_PAUSE_SECONDS * self._clock.jitter())
        self._table.refresh()

    def loaded(self, dataset: str) -> list[LedgerEntry]:
        """Return the newest entry of each window, from the table's properties."""
        self._table.refresh()
        prefix = ledger_prefix(dataset)
        return [ledger_entry(key, text) for key, text in self._table.properties.items() if key.startswith(prefix)]

    @contextmanager
    def replacing(self, claim: LoadClaim) -> Iterator[_WrittenRows]:
        """Give what takes the window's rows; commit them in one catalog commit at the block's end."""
        self._refuse_taken(claim)
        rows = _WrittenRows(self._table)
        try:
            yield rows
            rows.flush()
        except BaseException:
            rows.discard()
            raise
        try:
            self._commit(claim, rows.files)
        except WarehouseBusyError:
            # Only this says that no snapshot names the files; after any other error they are left alone.
            rows.discard()
            raise

    def _commit(self, claim: LoadClaim, files: Sequence[Any]) -> None:
        from pyiceberg.exceptions import CommitFailedException, ValidationException

        for attempt in range(1, _MOST_COMMITS + 1):
            try:
                return self._commit_once(claim, files)
            except (CommitFailedException, ValidationException) as error:
                # Both say for certain that nothing was committed.
                if attempt == _MOST_COMMITS:
                    raise WarehouseBusyError(f"Others commit to {self._name} all the time ({error}).") from error
            self._look_again()
            self._refuse_taken(claim)
        return None

    def _commit_once(self, claim: LoadClaim, files: Sequence[Any]) -> None:
        condition = window_filter(claim)
        doomed = self._planned(claim)
        facts = facts_of(claim)
        is_compacted = not all(is_of_one_window(file, self._table.schema()) for file in doomed)
        with self._table.transaction() if is_compacted else _short_transaction(self._table) as transaction:
            if is_compacted:
                # Somebody put files of several windows into one: what is another window's stays.
                transaction.delete(condition, snapshot_properties=facts)
                doomed = []
            snapshot = transaction.update_snapshot(snapshot_properties=facts)
            with snapshot.overwrite() if doomed else snapshot.merge_append() as change:
                for file in doomed:
                    change.delete_data_file(file)
                for file in files:
                    change.append_data_file(file)
            transaction.set_properties({ledger_key(claim.dataset, claim.window): ledger_text(claim.newest)})

    def _planned(self, claim: LoadClaim) -> list[Any]:
        """Return the files that hold rows of the window, by the table as it was last seen."""
        condition = window_filter(claim)
        try:
            return [task.file for task in self._table.scan(row_filter=condition).plan_files()]
        except FileNotFoundError:
            # Somebody expired the snapshot that was seen last, and with it its lists of files.
            self._table.refresh()
            self._refuse_taken(claim)
            return [task.file for task in self._table.scan(row_filter=condition).plan_files()]

    def _refuse_taken(self, claim: LoadClaim) -> None:
        """Refuse a claim when the ledger's entry of the window is another than the one the claim follows."""
        text = self._table.properties.get(ledger_key(claim.dataset, claim.window))
        found = 0 if text is None else int(text.split()[0])
        if found != claim.entries[0].generation - 1:
            raise WarehouseBusyError(
                f"Another loader entered {claim.window} first. Nothing of this one is in the table; run it again."
            )

    def close(self) -> None:
        """Close the catalog."""
        self._catalog.close()


def _short_transaction(table: Any) -> Any:
    """Return a transaction for one snapshot and then properties, neither of which looks at what was staged before.

    Pyiceberg's own makes a deep copy of the metadata, which grows with every snapshot, some sixteen times a commit.
    """
    from pyiceberg.table import Transaction

    class ShortTransaction(Transaction):
        @property
        def table_metadata(self) -> Any:
            return self._table.metadata

    return ShortTransaction(table)


class _WrittenRows:
    """One window's rows as data files that no snapshot names yet."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self._waiting: list[Any] = []
        self._waiting_bytes = 0
        self.files: list[Any] = []

    def add(self, rows: Any) -> None:
        """Keep rows until they are worth a file."""
        self._waiting.append(rows)
        self._waiting_bytes += rows.nbytes
        if self._waiting_bytes >= _FILE_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what waits, a file for each partition it falls into."""
        if not self._waiting:
            return
        # What Table.append calls, too; the public ways take all rows of a snapshot at once.
        from pyiceberg.io.pyarrow import _dataframe_to_data_files

        rows = importlib.import_module("pyarrow").concat_tables(self._waiting)
        self.files += _dataframe_to_data_files(self._table.metadata, rows, self._table.io)
        self._waiting, self._waiting_bytes = [], 0

    def count(self) -> int:
        """Count the rows by what the files' own footers say."""
        self.flush()
        return sum(file.record_count for file in self.files)

    def discard(self) -> None:
        """Remove the files; what cannot be removed is an orphan, which no reader sees."""
        for file in self.files:
            with suppress(OSError):
                self._table.io.delete(file.file_path)


def open_iceberg(properties: Mapping[str, str], catalog_name: str) -> Any:
    """Return the catalog that properties describe; raise ``ConfigurationError`` without pyiceberg or for wrong ones."""
    missing = [name for name in ("pyiceberg", "pyiceberg_core", "pyarrow") if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"Loading into Iceberg needs {', '.join(missing)}. Run: pip install 'airflow-audit-provider[iceberg]'."
        )
    from pyiceberg.catalog import load_catalog
    from pyiceberg.exceptions import NoSuchPropertyException

    try:
        return load_catalog(catalog_name, **properties)
    except (ValueError, NoSuchPropertyException) as error:
        raise ConfigurationError(f"The Iceberg catalog cannot be opened ({error}). Check its properties.") from error
    except Exception:  # noqa: BLE001 - what is wrong with the catalog is raised by the second look
        # An SQL catalog fails when another task makes its tables at the same moment; the second look finds them made.
        return load_catalog(catalog_name, **properties)

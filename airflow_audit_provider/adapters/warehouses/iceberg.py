"""Warehouse in an Apache Iceberg table, in any catalog that pyiceberg supports.

Invariant: one catalog commit replaces a window's rows and enters its claim in the load ledger. Before a commit that
lost the race is tried again, the ledger is read again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import Any

from airflow_audit_provider.adapters.warehouses.iceberg_schema import (
    iceberg_schema,
    iceberg_type,
    is_of_one_window,
    ledger_entry,
    ledger_key,
    ledger_prefix,
    ledger_value,
    partition_spec_by_day,
    snapshot_properties,
    window_filter,
)
from airflow_audit_provider.core.ports import Clock
from airflow_audit_provider.core.warehouse.port import KEY_COLUMNS, LedgerEntry, LoadClaim, SqlColumn
from airflow_audit_provider.exceptions import ConfigurationError, WarehouseBusyError

# Rows are buffered up to this size, so that a window does not become many small data files.
_FILE_BUFFER_BYTES = 32 << 20
# Attempts to commit while other writers commit to the same table; each takes some tens of milliseconds.
_MAX_COMMIT_ATTEMPTS = 60
_COMMIT_PAUSE_SECONDS = 0.2
# Pyiceberg retries a conflicting commit up to four times by default (``Transaction.commit_transaction``) with the same
# properties, so it would enter a claim without reading the ledger again. Every load sets this property to 0.
_PYICEBERG_RETRIES = "commit.retry.num-retries"
_NEW_TABLE_PROPERTIES = {
    _PYICEBERG_RETRIES: "0",
    # Bounds are cut off after 16 characters by default; ``is_of_one_window`` needs the whole name of the dataset.
    "write.metadata.metrics.column.dataset": "full",
    # Each window adds a snapshot with a manifest and a metadata file: merge manifests, delete old metadata files.
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
        """Creates namespace and table, partitioned by the day of the event, or adds new columns."""
        wanted = (*KEY_COLUMNS, *columns)
        namespace, _, table = self._name.rpartition(".")
        if not namespace or not table:
            raise ConfigurationError(f"{self._name!r} is not a valid Iceberg table name. Give namespace.table.")
        self._create_namespace(namespace)
        schema = iceberg_schema(wanted)
        self._table = self._catalog.create_table_if_not_exists(
            self._name,
            schema=schema,
            partition_spec=partition_spec_by_day(schema),
            properties=_NEW_TABLE_PROPERTIES,
        )
        self._check_isolation()
        self._update_table(wanted)

    def _create_namespace(self, namespace: str) -> None:
        try:
            self._catalog.create_namespace_if_not_exists(namespace)
        except Exception:
            # If another task creates the namespace at the same time, each catalog raises an error of its own library.
            if not self._catalog.namespace_exists(namespace):
                raise

    def _check_isolation(self) -> None:
        """Raises ``ConfigurationError`` if an isolation level of the table is weaker than serializable."""
        for operation in ("delete", "update"):
            name = f"write.{operation}.isolation-level"
            if self._table.properties.get(name, "serializable") != "serializable":
                raise ConfigurationError(
                    f"The table {self._name} has {name}={self._table.properties[name]!r}, so two concurrent loaders "
                    "of a window could both add its rows. Remove the property, or set it to 'serializable'."
                )

    def _update_table(self, columns: Sequence[SqlColumn]) -> None:
        """Adds missing columns and switches off pyiceberg's own commit retries."""
        from pyiceberg.exceptions import CommitFailedException

        for attempt in range(1, _MAX_COMMIT_ATTEMPTS + 1):
            missing = [column for column in columns if not self._has(column)]
            if not missing and self._table.properties.get(_PYICEBERG_RETRIES) == "0":
                return
            try:
                with self._table.transaction() as transaction:
                    transaction.set_properties({_PYICEBERG_RETRIES: "0"})
                    with transaction.update_schema() as update:
                        for column in missing:
                            update.add_column(column.name, iceberg_type(column))
            except CommitFailedException as error:
                if attempt == _MAX_COMMIT_ATTEMPTS:
                    raise self._busy_error(error) from error
                self._pause_and_refresh()

    def _has(self, column: SqlColumn) -> bool:
        """Returns whether the table has a column; raises ``ConfigurationError`` if it has another type."""
        known = {field.name: field.field_type for field in self._table.schema().fields}.get(column.name)
        if known not in {None, iceberg_type(column)}:
            raise ConfigurationError(
                f"The column {column.name} of {self._name} has type {known} instead of {iceberg_type(column)}. "
                "Give the name of a new table."
            )
        return known is not None

    def _busy_error(self, error: Exception) -> WarehouseBusyError:
        return WarehouseBusyError(
            f"The Iceberg table {self._name} had a conflicting commit by another writer in each of "
            f"{_MAX_COMMIT_ATTEMPTS} attempts ({error}). This load changed nothing. Run the task again when fewer "
            "writers are active."
        )

    def _pause_and_refresh(self) -> None:
        self._clock.sleep(_COMMIT_PAUSE_SECONDS * self._clock.jitter())
        self._table.refresh()

    def loaded(self, dataset: str) -> list[LedgerEntry]:
        """Returns the newest ledger entry of every window of a dataset, from the table's properties."""
        self._table.refresh()
        prefix = ledger_prefix(dataset)
        return [ledger_entry(key, value) for key, value in self._table.properties.items() if key.startswith(prefix)]

    @contextmanager
    def replacing(self, claim: LoadClaim) -> Iterator[_WrittenRows]:
        """Yields the sink for a window's rows; commits them in one catalog commit at the end of the block."""
        self._check_claim(claim)
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
            # Only after this error no snapshot references the files for certain; any other may follow a commit.
            rows.discard()
            raise

    def _commit(self, claim: LoadClaim, files: Sequence[Any]) -> None:
        from pyiceberg.exceptions import CommitFailedException, ValidationException

        for attempt in range(1, _MAX_COMMIT_ATTEMPTS + 1):
            try:
                return self._commit_once(claim, files)
            except (CommitFailedException, ValidationException) as error:
                # Both guarantee that nothing was committed.
                if attempt == _MAX_COMMIT_ATTEMPTS:
                    raise self._busy_error(error) from error
            self._pause_and_refresh()
            self._check_claim(claim)
        return None

    def _commit_once(self, claim: LoadClaim, files: Sequence[Any]) -> None:
        condition = window_filter(claim)
        replaced = self._files_of(claim)
        summary = snapshot_properties(claim)
        is_compacted = not all(is_of_one_window(file, self._table.schema()) for file in replaced)
        with self._table.transaction() if is_compacted else _short_transaction(self._table) as transaction:
            if is_compacted:
                # Compaction has merged files of several windows: rewrite them without the rows of this window.
                transaction.delete(condition, snapshot_properties=summary)
                replaced = []
            snapshot = transaction.update_snapshot(snapshot_properties=summary)
            with snapshot.overwrite() if replaced else snapshot.merge_append() as change:
                for file in replaced:
                    change.delete_data_file(file)
                for file in files:
                    change.append_data_file(file)
            transaction.set_properties({ledger_key(claim.dataset, claim.window): ledger_value(claim.entry)})

    def _files_of(self, claim: LoadClaim) -> list[Any]:
        """Returns the data files with rows of the window, by the table metadata as last read."""
        condition = window_filter(claim)
        try:
            return [task.file for task in self._table.scan(row_filter=condition).plan_files()]
        except FileNotFoundError:
            # The snapshot was expired meanwhile, and its manifests were deleted.
            self._table.refresh()
            self._check_claim(claim)
            return [task.file for task in self._table.scan(row_filter=condition).plan_files()]

    def _check_claim(self, claim: LoadClaim) -> None:
        """Raises ``WarehouseBusyError`` unless the ledger has the load before the claim's."""
        key = ledger_key(claim.dataset, claim.window)
        value = self._table.properties.get(key)
        load_number = 0 if value is None else ledger_entry(key, value).load_number
        if load_number != claim.entry.load_number - 1:
            raise WarehouseBusyError(
                f"Another loader loaded {claim.window} first. This load changed nothing. Run the task again."
            )

    def close(self) -> None:
        """Closes the catalog."""
        self._catalog.close()


def _short_transaction(table: Any) -> Any:
    """Returns a transaction for one snapshot and then properties, neither of which depends on earlier changes in it.

    Pyiceberg's own ``table_metadata`` applies the staged updates to a deep copy of the metadata at each access, some
    sixteen times for one commit, and the metadata grows with every snapshot.
    """
    from pyiceberg.table import Transaction

    class ShortTransaction(Transaction):
        @property
        def table_metadata(self) -> Any:
            return self._table.metadata

    return ShortTransaction(table)


class _WrittenRows:
    """Rows of one window, in data files that no snapshot references yet."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self._buffer: list[Any] = []
        self._buffered_bytes = 0
        self.files: list[Any] = []

    def add(self, rows: Any) -> None:
        """Buffers the rows of an Arrow table; writes data files when the buffer is full."""
        self._buffer.append(rows)
        self._buffered_bytes += rows.nbytes
        if self._buffered_bytes >= _FILE_BUFFER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Writes the buffered rows, one data file for each of their partitions."""
        if not self._buffer:
            return
        # Not public, but called by Table.append as well; the public methods take all rows of a snapshot at once. The
        # version of pyiceberg is bounded for this reason.
        import pyarrow as pa
        from pyiceberg.io.pyarrow import _dataframe_to_data_files

        rows = pa.concat_tables(self._buffer)
        self.files += _dataframe_to_data_files(self._table.metadata, rows, self._table.io)
        self._buffer, self._buffered_bytes = [], 0

    def count(self) -> int:
        """Returns the number of rows by the footers of the data files."""
        self.flush()
        return sum(file.record_count for file in self.files)

    def discard(self) -> None:
        """Deletes the data files; one that cannot be deleted stays as an orphaned file, which no reader sees."""
        for file in self.files:
            with suppress(OSError):
                self._table.io.delete(file.file_path)


def open_iceberg(properties: Mapping[str, str], catalog_name: str) -> Any:
    """Returns the catalog for its properties; raises ``ConfigurationError`` for wrong ones and without pyiceberg."""
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
        raise ConfigurationError(
            f"The Iceberg catalog {catalog_name!r} cannot be opened ({error}). Check its properties."
        ) from error
    except Exception:  # noqa: BLE001 - a lasting error is raised again by the second attempt
        # An SQL catalog fails if another task creates its tables at the same time; the second attempt finds them.
        return load_catalog(catalog_name, **properties)

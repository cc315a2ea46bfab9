"""Warehouse in an Apache Iceberg table, in any catalog that pyiceberg supports.

Invariant: one catalog commit replaces a window's rows and enters its claim in the load ledger. Before a commit that
lost the race is tried again, the ledger is read again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from importlib.util import find_spec
from typing import Any, NoReturn

from airflow_audit_provider.adapters.warehouses.iceberg_commits import CheckedCatalog, checked_transaction
from airflow_audit_provider.adapters.warehouses.iceberg_errors import (
    error_text,
    is_refused,
    lacks_rights,
    named_iceberg_error,
    named_iceberg_errors,
)
from airflow_audit_provider.adapters.warehouses.iceberg_schema import (
    iceberg_namespace,
    iceberg_schema,
    iceberg_type,
    in_lower_case,
    is_of_one_window,
    ledger_entry,
    ledger_key,
    ledger_prefix,
    partition_spec_by_day,
    snapshot_properties,
    window_filter,
)
from airflow_audit_provider.adapters.warehouses.iceberg_secrets import cause_without_secret
from airflow_audit_provider.adapters.warehouses.ledger_text import (
    ledger_value,
    load_position,
    position_key,
    position_value,
)
from airflow_audit_provider.core.ports import Clock
from airflow_audit_provider.core.warehouse.port import (
    KEY_COLUMNS,
    LedgerEntry,
    LoadClaim,
    LoadPosition,
    SqlColumn,
    TablePart,
)
from airflow_audit_provider.core.windows.window import TimeWindow
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
        self._commits = CheckedCatalog(catalog)
        self._name = name
        self._clock = clock
        self._table: Any = None

    def prepare(self, columns: Iterable[SqlColumn]) -> None:
        """Creates namespace and table, partitioned by the day of the event, or adds new columns."""
        wanted = (*KEY_COLUMNS, *columns)
        namespace = iceberg_namespace(self._name)
        with self._named_errors():
            self._table = self._found() or self._created(namespace, iceberg_schema(wanted))
            self._check_isolation()
            self._check_required(wanted)
            self._update_table(wanted)

    def _named_errors(self) -> AbstractContextManager[None]:
        return named_iceberg_errors(f"table {self._name}", self._catalog.properties)

    def _found(self) -> Any:
        """Returns the table, None if there is none.

        An SQL catalog writes a metadata file before it finds that a table of that name exists, so a table is only
        created if there is none. A credential may have no right to create one.
        """
        from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError

        try:
            return self._catalog.load_table(self._name)
        except (NoSuchTableError, NoSuchNamespaceError):
            return None

    def _created(self, namespace: str, schema: Any) -> Any:
        """Returns the new table, or the one that another task has created meanwhile."""
        from pyiceberg.exceptions import NoSuchTableError

        self._check_case(namespace)
        self._create_namespace(namespace)
        try:
            return self._catalog.create_table_if_not_exists(
                self._name,
                schema=schema,
                partition_spec=partition_spec_by_day(schema),
                properties=_NEW_TABLE_PROPERTIES,
            )
        except NoSuchTableError as error:
            raise ConfigurationError(
                f"The name {self._name} is taken in the Iceberg catalog, but not by a table: it may be a view. Give "
                "the name of a new table."
            ) from error

    def _check_case(self, namespace: str) -> None:
        """Raises ``ConfigurationError`` if there is a table whose name differs in case only."""
        levels = tuple(namespace.split("."))
        namespaces = self._listed(self._catalog.list_namespaces, levels[:-1])
        for name in namespaces:
            if name != levels and in_lower_case(name) == in_lower_case(levels) and levels not in namespaces:
                self._raise_other_case("namespace", namespace, name)
        if levels in namespaces:
            wanted = tuple(self._name.split("."))
            for name in self._listed(self._catalog.list_tables, levels):
                if in_lower_case(name) == in_lower_case(wanted):
                    self._raise_other_case("table", self._name, name)

    def _listed(self, list_names: Callable[[tuple[str, ...]], Any], within: tuple[str, ...]) -> list[tuple[str, ...]]:
        """Returns names in a namespace; none if the catalog cannot list them or the credential has no right to."""
        from pyiceberg.exceptions import NoSuchNamespaceError

        try:
            return [tuple(name) for name in list_names(within)]
        except (NotImplementedError, NoSuchNamespaceError):
            # Some catalogs of pyiceberg cannot list, and a namespace can be dropped meanwhile. The names only serve to
            # notice one in another case: without them, the load opens or creates the table by its exact name.
            return []
        except Exception as error:
            # Catalogs raise errors of any library. Only a missing right to list is no error, for the same reason.
            if not lacks_rights(error):
                raise
            return []

    def _raise_other_case(self, kind: str, wanted: str, found: tuple[str, ...]) -> NoReturn:
        raise ConfigurationError(
            f"The Iceberg {kind} {wanted} does not exist, but {'.'.join(found)} does, and the catalog distinguishes "
            f"case. Set the argument table to the existing spelling, or rename the existing {kind}."
        )

    def _create_namespace(self, namespace: str) -> None:
        try:
            self._catalog.create_namespace_if_not_exists(namespace)
        except Exception as error:
            # If another task creates the namespace at the same time, each catalog raises an error of its own library.
            if self._catalog.namespace_exists(namespace):
                return
            if not is_refused(error, self._catalog.properties):
                raise
            raise ConfigurationError(
                f"The namespace {namespace} of the Iceberg table does not exist, and the catalog does not let the load "
                f"create it ({error_text(error, self._catalog.properties)}). Create the namespace, grant the right to "
                "create it, or correct the argument table."
            ) from cause_without_secret(error, self._catalog.properties)

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
                    raise self._busy_error(error) from cause_without_secret(error, self._catalog.properties)
                self._pause_and_refresh()

    def _check_required(self, columns: Sequence[SqlColumn]) -> None:
        """Raises ``ConfigurationError`` for a required column of the table that rows may have no value for."""
        always = {column.name for column in columns if column.is_required}
        for field in self._table.schema().fields:
            if field.required and field.name not in always:
                raise ConfigurationError(
                    f"The column {field.name} of the Iceberg table {self._name} is required, but not every record has "
                    "a value for it. Make the column optional, or give the name of a new table."
                )

    def _has(self, column: SqlColumn) -> bool:
        """Returns whether the table has a column; raises ``ConfigurationError`` for another type or another case."""
        types = {field.name: field.field_type for field in self._table.schema().fields}
        known = types.get(column.name)
        if known is None and column.name in {name.lower() for name in types}:
            raise ConfigurationError(
                f"The Iceberg table {self._name} has the column {column.name} in another case. Query engines do not "
                "distinguish case. Rename the column, or give the name of a new table."
            )
        if known not in {None, iceberg_type(column)}:
            raise ConfigurationError(
                f"The column {column.name} of {self._name} has type {known} instead of {iceberg_type(column)}. "
                "Give the name of a new table."
            )
        return known is not None

    def _busy_error(self, error: Exception) -> WarehouseBusyError:
        quoted = error_text(error, self._catalog.properties)
        return WarehouseBusyError(
            f"The Iceberg table {self._name} had a conflicting commit by another writer in each of "
            f"{_MAX_COMMIT_ATTEMPTS} attempts ({quoted}). This load changed nothing. Run the task again when fewer "
            "writers are active."
        )

    def _pause_and_refresh(self) -> None:
        self._clock.sleep(_COMMIT_PAUSE_SECONDS * self._clock.jitter())
        self._table.refresh()

    def loaded(self, dataset: str, within: TimeWindow | None = None) -> list[LedgerEntry]:
        """Returns the newest ledger entry of every window of a dataset, or of those that overlap a range.

        The entries are the table's properties.
        """
        with self._named_errors():
            self._table.refresh()
        prefix = ledger_prefix(dataset)
        found = [ledger_entry(key, value) for key, value in self._table.properties.items() if key.startswith(prefix)]
        return [entry for entry in found if within is None or entry.window.overlaps(within)]

    def window_count(self, dataset: str) -> int:
        """Returns the number of windows of a dataset in the ledger, by the table as it was last read."""
        prefix = ledger_prefix(dataset)
        return sum(key.startswith(prefix) for key in self._table.properties)

    def position(self, dataset: str, destination: str) -> LoadPosition | None:
        """Returns the position that was remembered, None if there is none, by the table as it was last read."""
        value = self._table.properties.get(position_key(dataset, destination))
        return None if value is None else load_position(value)

    def remember(self, dataset: str, destination: str, position: LoadPosition) -> None:
        """Writes a position, unless another writer commits to the table at the same time."""
        from pyiceberg.exceptions import CommitFailedException

        with self._named_errors(), suppress(CommitFailedException), self._table.transaction() as transaction:
            transaction.set_properties({position_key(dataset, destination): position_value(position)})

    @contextmanager
    def replacing(self, claim: LoadClaim) -> Iterator[_WrittenRows]:
        """Yields the sink for a window's rows; commits them in one catalog commit at the end of the block."""
        from pyiceberg.exceptions import BadRequestError, ForbiddenError, UnauthorizedError

        self._check_claim(claim)
        rows = _WrittenRows(self._table, self._named_errors)
        try:
            yield rows
            rows.flush()
        except BaseException:
            rows.discard()
            raise
        with self._named_errors():
            try:
                self._commit(claim, rows.files)
            except (WarehouseBusyError, BadRequestError, UnauthorizedError, ForbiddenError):
                # Other errors may follow a commit that landed; so may these if the request was repeated.
                if not self._commits.may_have_landed(self._table):
                    rows.discard()
                raise

    def _commit(self, claim: LoadClaim, files: Sequence[Any]) -> None:
        from pyiceberg.exceptions import CommitFailedException, ValidationException

        for attempt in range(1, _MAX_COMMIT_ATTEMPTS + 1):
            snapshot_id = self._table.metadata.current_snapshot_id
            try:
                return self._commit_once(claim, files)
            except (CommitFailedException, ValidationException, FileNotFoundError) as error:
                # The first two guarantee that nothing was committed. A file is missing if another engine expired the
                # snapshot that this commit is based on; if that is still the current one, the table is damaged.
                if isinstance(error, FileNotFoundError) and self._is_current(snapshot_id):
                    raise
                if attempt == _MAX_COMMIT_ATTEMPTS:
                    raise self._busy_error(error) from cause_without_secret(error, self._catalog.properties)
            self._pause_and_refresh()
            self._check_claim(claim)
        return None

    def _is_current(self, snapshot_id: int | None) -> bool:
        self._table.refresh()
        return bool(self._table.metadata.current_snapshot_id == snapshot_id)

    def _commit_once(self, claim: LoadClaim, files: Sequence[Any]) -> None:
        condition = window_filter(claim)
        replaced = self._files_of(claim)
        summary = snapshot_properties(claim)
        is_compacted = not all(is_of_one_window(file, self._table.schema()) for file in replaced)
        with checked_transaction(self._table, self._commits, is_short=not is_compacted) as transaction:
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
        return [task.file for task in self._table.scan(row_filter=window_filter(claim)).plan_files()]

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
        with self._named_errors():
            self._catalog.close()


class _WrittenRows:
    """Rows of one window, in data files that no snapshot references yet."""

    def __init__(self, table: Any, named_errors: Callable[[], AbstractContextManager[None]]) -> None:
        self._table = table
        self._named_errors = named_errors
        self._buffer: list[Any] = []
        self._buffered_bytes = 0
        self.files: list[Any] = []

    def add(self, rows: Any) -> None:
        """Buffers the rows of an Arrow table; writes data files when the buffer is full."""
        self._buffer.append(rows)
        self._buffered_bytes += rows.nbytes
        if self._buffered_bytes >= _FILE_BUFFER_BYTES:
            self.flush()

    def add_part(self, part: TablePart) -> None:
        """Adds the rows of a part from its Arrow tables."""
        for rows in part.tables():
            self.add(rows)

    def flush(self) -> None:
        """Writes the buffered rows, one data file for each of their partitions."""
        if not self._buffer:
            return
        # Not public, but called by Table.append as well; the public methods take all rows of a snapshot at once. The
        # version of pyiceberg is bounded for this reason.
        import pyarrow as pa
        from pyiceberg.io.pyarrow import _dataframe_to_data_files

        rows = pa.concat_tables(self._buffer)
        with self._named_errors():
            self.files += _dataframe_to_data_files(self._table.metadata, rows, self._table.io)
        self._buffer, self._buffered_bytes = [], 0

    def count(self) -> int:
        """Returns the number of rows by the footers of the data files."""
        self.flush()
        return sum(file.record_count for file in self.files)

    def discard(self) -> None:
        """Deletes the data files; one that cannot be deleted stays as an orphaned file, which no reader sees."""
        for file in self.files:
            # Each kind of storage has errors of its own library. The error that made the load fail counts.
            with suppress(Exception):
                self._table.io.delete(file.file_path)


def open_iceberg(properties: Mapping[str, str], catalog_name: str) -> Any:
    """Returns the catalog for its properties; raises ``ConfigurationError`` for wrong ones and without pyiceberg."""
    missing = [name for name in ("pyiceberg", "pyiceberg_core", "pyarrow") if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"Loading into Iceberg needs {', '.join(missing)}. Run: pip install 'airflow-audit-provider[iceberg]'."
        )
    from pyiceberg.catalog import load_catalog

    try:
        # An SQL catalog fails if another task creates its tables at the same time; the second attempt finds them, or
        # raises what the first did.
        with suppress(Exception):
            return load_catalog(catalog_name, **properties)
        return load_catalog(catalog_name, **properties)
    except Exception as error:  # noqa: BLE001 - catalogs raise errors of any library; each is raised again, named
        if lacks_rights(error) or not is_refused(error, properties):
            raise named_iceberg_error(f"catalog {catalog_name!r}", properties, error) from cause_without_secret(
                error, properties
            )
        raise ConfigurationError(
            f"The Iceberg catalog {catalog_name!r} cannot be opened ({error_text(error, properties)}). Correct its "
            "properties."
        ) from cause_without_secret(error, properties)

"""Warehouse in a Delta Lake table, in a local folder or in an object store.

Invariant: one Delta commit removes a window's files, adds the new ones, and records the claim and the entry in the load
ledger. deltalake never repeats a refused commit on its own; before a load tries again, it reads the ledger again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import Any

from airflow_audit_provider.adapters.warehouses.delta_conditions import check_conditional_writes
from airflow_audit_provider.adapters.warehouses.delta_errors import delta_error_text, named_delta_errors
from airflow_audit_provider.adapters.warehouses.delta_files import (
    FoundFile,
    RowFileWriter,
    WrittenFile,
    add_other_rows,
    files_in,
    files_with,
)
from airflow_audit_provider.adapters.warehouses.delta_ledger import DeltaLedger, LedgerTransactions
from airflow_audit_provider.adapters.warehouses.delta_schema import (
    FIRST_LEDGER,
    LEDGER_PROPERTY,
    arrow_schema,
    check_table,
    commit_facts,
    delta_field,
    delta_schema,
    missing_columns,
)
from airflow_audit_provider.adapters.warehouses.iceberg_secrets import cause_without_secret
from airflow_audit_provider.adapters.warehouses.ledger_text import (
    load_position,
    position_key,
    position_value,
    window_name,
)
from airflow_audit_provider.core.ports import Clock
from airflow_audit_provider.core.warehouse.port import KEY_COLUMNS, LedgerEntry, LoadClaim, LoadPosition, SqlColumn
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import ConfigurationError, WarehouseBusyError

# Attempts to commit while other writers commit to the same table; each takes some tens of milliseconds.
_MAX_COMMIT_ATTEMPTS = 60
_COMMIT_PAUSE_SECONDS = 0.2
_LOG = "_delta_log"


class DeltaWarehouse:
    """Satisfies :class:`~airflow_audit_provider.core.warehouse.port.Warehouse`; ``uri`` is the table's folder."""

    def __init__(self, uri: str, options: Mapping[str, str], clock: Clock) -> None:
        self._uri = uri
        self._options = dict(options)
        self._clock = clock
        self._table: Any = None
        self._files: Any = None
        self._ledger: Any = None

    def prepare(self, columns: Iterable[SqlColumn]) -> None:
        """Creates the table without partitions, or adds new columns."""
        wanted = (*KEY_COLUMNS, *columns)
        with self._named_errors():
            self._files = files_in(self._uri, self._options)
            self._table = self._found() or self._created(wanted)
            self._add_columns(wanted)
            self._open_ledger()

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        with named_delta_errors(self._uri, self._options):
            yield

    def _found(self) -> Any:
        """Returns the table, None if the folder has none."""
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        try:
            return DeltaTable(self._uri, storage_options=self._options)
        except TableNotFoundError:
            return None

    def _created(self, columns: Sequence[SqlColumn]) -> Any:
        """Returns the new table, or the one that another task has created meanwhile."""
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError

        self._check_empty()
        check_conditional_writes(self._uri, self._options)
        try:
            return DeltaTable.create(
                self._uri,
                delta_schema(columns),
                mode="error",
                storage_options=self._options,
            )
        except DeltaError:
            found = self._found()
            if found is None:
                raise
            return found

    def _check_empty(self) -> None:
        """Raises ``ConfigurationError`` for a folder with other files, which Delta's VACUUM would delete."""
        from pyarrow.fs import FileSelector

        listed = self._files.get_file_info(FileSelector("", allow_not_found=True))
        others = sorted(file.base_name for file in listed if file.base_name != _LOG)
        if others:
            raise ConfigurationError(
                f"There is no Delta table at {self._uri}, but other files, such as {others[0]!r}. Delta's command "
                "VACUUM deletes all files in a table's folder that do not belong to the table. Give an empty folder."
            )

    def _add_columns(self, columns: Sequence[SqlColumn]) -> None:
        from deltalake.exceptions import CommitFailedError

        for attempt in range(1, _MAX_COMMIT_ATTEMPTS + 1):
            check_table(self._table, self._uri, columns)
            missing = [delta_field(column) for column in missing_columns(self._table, self._uri, columns)]
            if not missing:
                return
            try:
                self._table.alter.add_columns(missing, commit_properties=_commit_properties())
                self._table.update_incremental()
            except CommitFailedError as error:
                if attempt == _MAX_COMMIT_ATTEMPTS:
                    raise self._busy_error(error) from cause_without_secret(error, self._options)
                self._pause_and_refresh()

    def _open_ledger(self) -> None:
        name = self._table.metadata().configuration.get(LEDGER_PROPERTY, FIRST_LEDGER)
        self._ledger = DeltaLedger(self._files, name)
        self._ledger.read_to(self._table.version())

    def _busy_error(self, error: Exception) -> WarehouseBusyError:
        return WarehouseBusyError(
            f"The Delta table {self._uri} had a conflicting commit by another writer in each of "
            f"{_MAX_COMMIT_ATTEMPTS} attempts ({delta_error_text(error, self._options)}). This load changed nothing. "
            "Run the task again when fewer writers are active."
        )

    def _pause_and_refresh(self) -> None:
        self._clock.sleep(_COMMIT_PAUSE_SECONDS * self._clock.jitter())
        self._table.update_incremental()

    def _refresh(self) -> None:
        """Reads table and ledger as they are now."""
        if not self._ledger.has_its_last_commit():
            self._check_same_table()
        self._table.update_incremental()
        if self._table.metadata().configuration.get(LEDGER_PROPERTY, FIRST_LEDGER) != self._ledger.name:
            self._open_ledger()
        self._ledger.read_to(self._table.version())

    def _check_same_table(self) -> None:
        """Raises ``WarehouseBusyError`` if another table has taken the place of the one that was read.

        A commit upon the old one would get a number that the new log does not reach, and no reader would see it.
        """
        found = self._found()
        if found is None or found.metadata().id != self._table.metadata().id:
            raise WarehouseBusyError(
                f"The Delta table {self._uri} was dropped and created again while this load ran. Nothing more was "
                'written. Run the task again. If it has windows="run" or windows="events", also load the other windows '
                'into the new table, with windows="pending".'
            )

    def loaded(self, dataset: str, within: TimeWindow | None = None) -> list[LedgerEntry]:
        """Returns the newest ledger entry of every window of a dataset, or of those that overlap a range."""
        with self._named_errors():
            self._refresh()
        entries: list[LedgerEntry] = self._ledger.entries(dataset, within)
        return entries

    def window_count(self, dataset: str) -> int:
        """Returns the number of windows of a dataset in the ledger, by the table as it was last read."""
        count: int = self._ledger.window_count(dataset)
        return count

    def position(self, dataset: str, destination: str) -> LoadPosition | None:
        """Returns the position that was remembered, None if there is none, by the table as it was last read."""
        value = self._table.metadata().configuration.get(position_key(dataset, destination))
        return None if value is None else load_position(value)

    def remember(self, dataset: str, destination: str, position: LoadPosition) -> None:
        """Writes a position, unless another writer commits to the table at the same time."""
        from deltalake.exceptions import CommitFailedError

        properties = {position_key(dataset, destination): position_value(position)}
        with self._named_errors(), suppress(CommitFailedError):
            self._refresh()
            self._table.alter.set_table_properties(
                properties, raise_if_not_exists=False, commit_properties=_commit_properties()
            )

    @contextmanager
    def replacing(self, claim: LoadClaim) -> Iterator[RowFileWriter]:
        """Yields the sink for a window's rows; commits them in one Delta commit at the end of the block."""
        self._check_claim(claim)
        rows = RowFileWriter(self._files, window_name(claim.window), self._named_errors)
        try:
            yield rows
            files = rows.close()
        except BaseException:
            rows.discard()
            raise
        try:
            with self._named_errors():
                self._commit(claim, files)
        except WarehouseBusyError:
            # Nothing of this load landed; after any other error it may have.
            rows.discard()
            raise

    def _commit(self, claim: LoadClaim, files: Sequence[WrittenFile]) -> None:
        transactions = self._ledger.transactions(claim)
        for attempt in range(1, _MAX_COMMIT_ATTEMPTS + 1):
            self._refresh()
            self._check_claim(claim)
            conflict = self._commit_once(claim, files, transactions)
            if conflict is None:
                return
            if attempt == _MAX_COMMIT_ATTEMPTS:
                raise self._busy_error(conflict) from cause_without_secret(conflict, self._options)
            self._clock.sleep(_COMMIT_PAUSE_SECONDS * self._clock.jitter())

    def _commit_once(
        self, claim: LoadClaim, files: Sequence[WrittenFile], transactions: LedgerTransactions
    ) -> Exception | None:
        """Commits; returns the conflict with another writer's commit, None if the commit landed.

        An error does not say whether a commit landed: a store's library repeats a request whose response was lost, and
        the store then answers that the file exists; and a checkpoint can fail after its commit. So the ledger is read.
        """
        from deltalake.exceptions import CommitFailedError

        found = files_with(self._table.get_add_actions(flatten=True), claim)
        kept = self._rewritten(found, claim)
        try:
            self._write_commit(claim, found, [*files, *kept.close()], transactions)
        except Exception as error:
            self._refresh()
            if self._ledger.has(claim, transactions):
                return None
            if not isinstance(error, CommitFailedError):
                raise
            kept.discard()
            return error
        return None

    def _rewritten(self, found: Sequence[FoundFile], claim: LoadClaim) -> RowFileWriter:
        """Returns new files with the other rows of the files that another engine has merged with a window's."""
        kept = RowFileWriter(self._files, "kept", self._named_errors)
        try:
            for file in found:
                if not file.is_of_one_window:
                    add_other_rows(kept, self._files, arrow_schema(self._table), file, claim)
        except BaseException:
            kept.discard()
            raise
        return kept

    def _write_commit(
        self,
        claim: LoadClaim,
        removed: Sequence[FoundFile],
        added: Sequence[WrittenFile],
        transactions: LedgerTransactions,
    ) -> None:
        from deltalake.transaction import AddAction, RemoveAction, Transaction

        now_ms = int(self._clock.now().timestamp() * 1000)
        removals = [
            RemoveAction(file.path, data_change=True, deletion_timestamp=now_ms, size=file.size_bytes)
            for file in removed
        ]
        additions = [
            AddAction(file.path, file.size_bytes, {}, now_ms, data_change=True, stats=file.stats) for file in added
        ]
        ids = (transactions.claim_id, transactions.entry_id)
        self._table.create_write_transaction(
            [*removals, *additions],
            "append",
            self._table.schema(),
            commit_properties=_commit_properties(
                commit_facts(claim), [Transaction(app_id, transactions.load_number) for app_id in ids]
            ),
        )

    def _check_claim(self, claim: LoadClaim) -> None:
        """Raises ``WarehouseBusyError`` unless the ledger has the load before the claim's."""
        if self._ledger.load_number(claim) != claim.entry.load_number - 1:
            raise WarehouseBusyError(
                f"Another loader loaded {claim.window} first. This load changed nothing. Run the task again."
            )

    def close(self) -> None:
        """Holds no connection."""


def _commit_properties(facts: Mapping[str, str] | None = None, transactions: Sequence[Any] | None = None) -> Any:
    """Returns the properties of a commit that fails at the first conflict.

    deltalake itself would repeat up to 15 times without reading the ledger again.
    """
    from deltalake.transaction import CommitProperties

    return CommitProperties(
        custom_metadata=dict(facts or {}), max_commit_retries=0, app_transactions=list(transactions or ())
    )


def open_delta(uri: str, options: Mapping[str, str], clock: Clock) -> DeltaWarehouse:
    """Returns the table's warehouse; raises ``ConfigurationError`` without deltalake and for unsafe options."""
    missing = [name for name in ("deltalake", "pyarrow") if find_spec(name) is None]
    if missing:
        raise ConfigurationError(
            f"Loading into Delta Lake needs {', '.join(missing)}. Run: pip install 'airflow-audit-provider[delta]'."
        )
    for name, value in options.items():
        if _is_unsafe(name.lower(), str(value).lower()):
            raise ConfigurationError(
                f"The storage option {name} of the Delta table {uri} is set to {value!r}, so two loaders could "
                "overwrite each other's commit. Remove it: deltalake commits by a conditional write, which the object "
                "store must support."
            )
    return DeltaWarehouse(uri, options, clock)


def _is_unsafe(name: str, value: str) -> bool:
    """Returns whether a storage option gives up the write that fails if another writer was first.

    deltalake 1 has no lock in DynamoDB any more, so beside writers that take one a commit would be lost.
    """
    if name.endswith("allow_unsafe_rename"):
        return value in {"true", "1", "yes", "on"}
    if name.endswith("conditional_put"):
        return value != "etag"
    return name.endswith("s3_locking_provider")

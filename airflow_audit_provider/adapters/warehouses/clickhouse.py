"""Warehouse in ClickHouse: a table of rows, the load ledger in a second table, and a view of what is loaded.

ClickHouse has no transaction over two statements. What it writes as a whole is one INSERT of one row, and that row is
the entry in the ledger: rows are visible in the view from the moment at which the ledger names their attempt.

Invariant: an entry is inserted after all rows of its attempt, with a token of its window and load number, of which the
server keeps the first. Rows are deleted only if their load number is taken by another attempt; with replicas, only if
a later one is.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from typing import Any
from uuid import uuid4

from airflow_audit_provider.adapters.warehouses.clickhouse_http import ClickHouseClient, ClickHouseServer
from airflow_audit_provider.adapters.warehouses.clickhouse_tables import (
    ATTEMPT_COLUMNS,
    WINDOW,
    WINDOW_ROWS,
    ClickHouseNames,
    add_column,
    check_engines,
    check_ledger,
    create_ledger,
    create_positions,
    create_rows,
    create_view,
    missing_columns,
)
from airflow_audit_provider.adapters.warehouses.sql import TableName, newest_entries
from airflow_audit_provider.core.ports import Clock
from airflow_audit_provider.core.warehouse.port import (
    KEY_COLUMNS,
    LedgerEntry,
    LoadClaim,
    LoadPosition,
    SqlColumn,
    TablePart,
    settled_digests,
)
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import (
    AuditProviderError,
    ConfigurationError,
    WarehouseBusyError,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Each INSERT makes one part, which the server merges with others later.
_INSERT_BYTES = 16 << 20
# Tokens that an entry is tried with. A server remembers the token of an entry that a crash or a user has removed.
_MAX_TOKENS = 20
_PAUSE_SECONDS = 0.5


class ClickHouseWarehouse:
    """Satisfies :class:`~airflow_audit_provider.core.warehouse.port.Warehouse`; the name has its database."""

    def __init__(self, client: ClickHouseClient, name: TableName, clock: Clock) -> None:
        self._client = client
        self._names = ClickHouseNames(name)
        self._clock = clock
        self._has_replicas = False

    def prepare(self, columns: Iterable[SqlColumn]) -> None:
        """Creates tables and view, and adds new columns."""
        wanted, names = (*KEY_COLUMNS, *columns), self._names
        self._client.require_deduplication()
        check_engines(names, self._engines())
        for statement in (create_rows(names, wanted), create_ledger(names), create_positions(names)):
            self._client.execute(statement)
        self._has_replicas = any(engine.startswith("Replicated") for engine, _ in self._engines().values())
        rows, ledger, _ = names.tables()
        check_ledger(names, self._columns(ledger))
        for column in missing_columns(names.rows, wanted, self._columns(rows)):
            self._client.execute(add_column(names, column))
        shown = [name for name in self._columns(rows) if name not in ATTEMPT_COLUMNS]
        if list(self._columns(names.name.table)) != shown:
            self._client.execute(create_view(names, shown))

    def _engines(self) -> dict[str, tuple[str, str]]:
        """Returns engine, and engine with settings, of each object that has one of the names."""
        view, (rows, ledger, positions) = self._names.name.table, self._names.tables()
        found = self._client.execute(
            "SELECT name, engine, engine_full FROM system.tables WHERE database = {database:String} "
            "AND name IN ({view:String}, {rows:String}, {ledger:String}, {positions:String})",
            database=str(self._names.name.schema),
            view=view,
            rows=rows,
            ledger=ledger,
            positions=positions,
        )
        return {name: (engine, settings) for name, engine, settings in found}

    def _columns(self, table: str) -> dict[str, str]:
        """Returns the type of each column, in order."""
        rows = self._client.execute(
            "SELECT name, type FROM system.columns WHERE database = {database:String} AND table = {table:String} "
            "ORDER BY position",
            database=str(self._names.name.schema),
            table=table,
        )
        return {str(name): str(kind) for name, kind in rows}

    def loaded(self, dataset: str, within: TimeWindow | None = None) -> list[LedgerEntry]:
        """Returns the newest ledger entry of every window of a dataset, or of those that overlap a range."""
        condition, bounds = "", dict[str, int]()
        if within is not None:
            condition = (
                " AND window_start < fromUnixTimestamp64Micro({end:Int64}, 'UTC') "
                "AND window_end > fromUnixTimestamp64Micro({start:Int64}, 'UTC')"
            )
            bounds = {"start": _micros(within.start), "end": _micros(within.end)}
        rows = self._client.execute(
            "SELECT toUnixTimestamp64Micro(window_start), toUnixTimestamp64Micro(window_end), load_number, generation, "  # noqa: S608 - name checked by table_name
            f"manifest_sha256, first_sha256, record_count, destination FROM {self._names.ledger} "
            f"WHERE dataset = {{dataset:String}}{condition} ORDER BY load_number, loaded_at DESC, load_id DESC",
            dataset=dataset,
            **bounds,
        )
        return newest_entries((_instant(start), _instant(end), *facts) for start, end, *facts in rows)

    def window_count(self, dataset: str) -> int:
        """Returns the number of windows of a dataset in the ledger."""
        ((count,),) = self._client.execute(
            f"SELECT uniqExact(window_start, window_end) FROM {self._names.ledger} WHERE dataset = {{dataset:String}}",  # noqa: S608 - name checked by table_name
            dataset=dataset,
        )
        return int(count)

    def position(self, dataset: str, destination: str) -> LoadPosition | None:
        """Returns the position that was written last, None if there is none."""
        rows = self._client.execute(
            "SELECT toUnixTimestamp64Micro(seen_at), toUnixTimestamp64Micro(listed_at), window_count, settled "  # noqa: S608 - name checked by table_name
            f"FROM {self._names.positions} WHERE dataset = {{dataset:String}} AND destination = {{destination:String}} "
            "ORDER BY written_at DESC LIMIT 1",
            dataset=dataset,
            destination=destination,
        )
        for seen_at, listed_at, window_count, settled in rows:
            return LoadPosition(_instant(seen_at), _instant(listed_at), int(window_count), settled_digests(settled))
        return None

    def remember(self, dataset: str, destination: str, position: LoadPosition) -> None:
        """Writes a position; the newest one counts."""
        row = {
            "dataset": dataset,
            "destination": destination,
            "seen_at": _text(position.seen_at),
            "listed_at": _text(position.listed_at),
            "window_count": position.window_count,
            "settled": position.settled_text,
        }
        self._insert_row(self._names.positions, row, uuid4().hex)

    def _insert_row(self, table: str, row: dict[str, Any], token: str) -> None:
        columns = ", ".join(row)
        content = json.dumps(row, ensure_ascii=False).encode("utf-8", "replace")
        self._client.insert(f"INSERT INTO {table} ({columns}) FORMAT JSONEachRow", content, token)

    @contextmanager
    def replacing(self, claim: LoadClaim) -> Iterator[ClickHouseRows]:
        """Yields the sink for a window's rows; enters the claim, and so shows the rows, at the end of the block."""
        self._check_claim(claim)
        rows = ClickHouseRows(self._client, self._names, claim)
        try:
            yield rows
            rows.flush()
            self._check_claim(claim)
        except BaseException:
            rows.discard()
            raise
        self._enter(claim, rows)
        rows.delete_replaced(claim.entry.load_number - self._has_replicas)

    def _check_claim(self, claim: LoadClaim) -> None:
        """Raises ``WarehouseBusyError`` unless the ledger has the load before the claim's."""
        ((load_number,),) = self._client.execute(
            f"SELECT coalesce(max(load_number), 0) FROM {self._names.ledger} WHERE {WINDOW}",  # noqa: S608 - name checked by table_name
            **_key(claim),
        )
        if load_number != claim.entry.load_number - 1:
            raise _lost_race(claim)

    def _enter(self, claim: LoadClaim, rows: ClickHouseRows) -> None:
        """Inserts the entry; raises ``WarehouseBusyError`` if another attempt has the load number.

        After an error the ledger shows whether the entry is there. If nobody has the load number, the request may still
        run, so the rows stay: the view does not show them without an entry. They also stay if the table has replicas:
        two servers can show the entries of two attempts until one has the other's, so each attempt must be whole.
        """
        for number in range(_MAX_TOKENS):
            error = self._insert_entry(claim, rows.load_id, number)
            winner = self._winner(claim)
            if winner is None and error is None:
                self._clock.sleep(_PAUSE_SECONDS * (1 + self._clock.jitter()))
                winner = self._winner(claim)
            if winner == rows.load_id:
                return
            if winner is not None:
                if not self._has_replicas:
                    rows.discard()
                raise _lost_race(claim)
            if error is not None:
                raise error
        raise WarehouseBusyError(
            f"ClickHouse acknowledged the entry of {claim.window} in the load ledger {self._names.ledger} "
            f"{_MAX_TOKENS} times, but does not return it. Nothing of the window was changed. Connect to one server of "
            "the cluster instead of a load balancer, then run the task again."
        )

    def _insert_entry(self, claim: LoadClaim, load_id: str, number: int) -> AuditProviderError | None:
        """Inserts the entry with the token of a number; returns the error of a request whose result is unknown."""
        window, *_ = entry = claim.entry
        facts = entry._asdict()
        del facts["window"], facts["superseded"]
        start, end = _text(window.start), _text(window.end)
        row = {"dataset": claim.dataset, "window_start": start, "window_end": end, "load_id": load_id, **facts}
        token = f"{claim.dataset}|{start}|{end}|{entry.load_number}|{number}"
        try:
            self._insert_row(self._names.ledger, row, token)
        except AuditProviderError as error:
            return error
        return None

    def _winner(self, claim: LoadClaim) -> str | None:
        """Returns the attempt that has a claim's load number in the ledger, None if there is none."""
        rows = self._client.execute(
            f"SELECT load_id FROM {self._names.ledger} WHERE {WINDOW} AND load_number = {{load_number:Int64}} "  # noqa: S608 - name checked by table_name
            "ORDER BY loaded_at, load_id LIMIT 1",
            load_number=claim.entry.load_number,
            **_key(claim),
        )
        return rows[0][0] if rows else None

    def close(self) -> None:
        """Closes the client."""
        self._client.close()


class ClickHouseRows:
    """Rows of one attempt to load a window; the view shows them once the ledger names ``load_id``."""

    def __init__(self, client: ClickHouseClient, names: ClickHouseNames, claim: LoadClaim) -> None:
        self.load_id = uuid4().hex
        self._client = client
        self._names = names
        self._claim = claim
        self._gathered: list[Any] = []
        self._gathered_bytes = 0
        self._insert_count = 0

    def add(self, rows: Any) -> None:
        """Gathers the rows of an Arrow table for one INSERT."""
        self._gathered.append(rows)
        self._gathered_bytes += rows.nbytes
        if self._gathered_bytes >= _INSERT_BYTES:
            self.flush()

    def add_part(self, part: TablePart) -> None:
        """Adds the rows of a part as Arrow tables."""
        for rows in part.tables():
            self.add(rows)

    def flush(self) -> None:
        """Inserts the gathered rows."""
        gathered, self._gathered, self._gathered_bytes = self._gathered, [], 0
        if not gathered:
            return
        self._insert_count += 1
        columns = ", ".join(f'"{name}"' for name in (*gathered[0].column_names, *ATTEMPT_COLUMNS))
        content = _arrow_stream(gathered, self.load_id, self._claim.entry.load_number)
        statement = f"INSERT INTO {self._names.rows} ({columns}) FORMAT ArrowStream"
        self._client.insert(statement, content, f"{self.load_id}|{self._insert_count}")

    def count(self) -> int:
        """Returns the number of rows of this attempt."""
        self.flush()
        ((count,),) = self._client.execute(
            f"SELECT count() FROM {self._names.rows} WHERE {WINDOW_ROWS} AND load_id = {{load_id:String}}",  # noqa: S608 - name checked by table_name
            load_id=self.load_id,
            **_key(self._claim),
        )
        return int(count)

    def discard(self) -> None:
        """Deletes the rows of this attempt, as far as the server still can; the view never shows them."""
        if self._insert_count:
            with suppress(AuditProviderError):
                self._client.execute(
                    f"DELETE FROM {self._names.rows} WHERE {WINDOW_ROWS} AND load_id = {{load_id:String}}",  # noqa: S608 - name checked by table_name
                    load_id=self.load_id,
                    **_key(self._claim),
                )

    def delete_replaced(self, load_number: int) -> None:
        """Deletes the rows of other attempts up to a load number: replaced ones, and those that did not end."""
        condition = f"{WINDOW_ROWS} AND load_id != {{load_id:String}} AND load_number <= {{load_number:Int64}}"
        known = {"load_id": self.load_id, "load_number": load_number, **_key(self._claim)}
        ((count,),) = self._client.execute(f"SELECT count() FROM {self._names.rows} WHERE {condition}", **known)  # noqa: S608 - name checked by table_name
        if count:
            self._client.execute(f"DELETE FROM {self._names.rows} WHERE {condition}", **known)  # noqa: S608 - name checked by table_name


def _lost_race(claim: LoadClaim) -> WarehouseBusyError:
    return WarehouseBusyError(
        f"Another loader loaded {claim.window} first. This load changed nothing. Run the task again."
    )


def _arrow_stream(tables: Sequence[Any], load_id: str, load_number: int) -> memoryview:
    """Returns Arrow tables as one stream, with the columns of the attempt."""
    import pyarrow as pa

    facts: dict[str, Any] = {
        "load_id": pa.scalar(load_id, pa.string()),
        "load_number": pa.scalar(load_number, pa.int64()),
    }
    schema = tables[0].schema
    for name, value in facts.items():
        schema = schema.append(pa.field(name, value.type))
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, schema) as writer:
        for rows in tables:
            columns = [*rows.columns, *(pa.repeat(value, rows.num_rows) for value in facts.values())]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
    return memoryview(sink.getvalue())


def _key(claim: LoadClaim) -> dict[str, Any]:
    window = claim.window
    return {"dataset": claim.dataset, "window_start": _micros(window.start), "window_end": _micros(window.end)}


def _micros(instant: datetime) -> int:
    return (instant - _EPOCH) // timedelta(microseconds=1)


def _instant(micros: Any) -> datetime:
    return _EPOCH + timedelta(microseconds=int(micros))


def _text(instant: datetime) -> str:
    return instant.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")


def open_clickhouse(server: ClickHouseServer, name: TableName, clock: Clock) -> ClickHouseWarehouse:
    """Returns the table's warehouse; raises ``ConfigurationError`` without pyarrow."""
    if find_spec("pyarrow") is None:
        raise ConfigurationError(
            "Loading into ClickHouse needs pyarrow. Run: pip install 'airflow-audit-provider[clickhouse]'."
        )
    return ClickHouseWarehouse(ClickHouseClient(server), name, clock)

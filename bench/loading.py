"""``python -m bench.loading``: CPU time of a load into each engine, beside the engine's own simplest load.

The floor of DuckDB is ``INSERT … SELECT … FROM read_parquet`` of all parts, that of Iceberg and Delta the append of
one Arrow table, that of PostgreSQL a COPY of Arrow's CSV, a part at a time. PostgreSQL's figures are those of the
client. dlt loads the same files in the environment of ``make bench``; without that environment it is left out.

Invariant: floor, load and dlt take turns, each in a process of its own, on the same landed window.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.adapters.storage.local_store import LocalStore
from airflow_audit_provider.adapters.warehouses.clickhouse import ClickHouseWarehouse
from airflow_audit_provider.adapters.warehouses.clickhouse_http import ClickHouseClient, ClickHouseServer
from airflow_audit_provider.adapters.warehouses.clickhouse_tables import ClickHouseNames
from airflow_audit_provider.adapters.warehouses.delta import open_delta
from airflow_audit_provider.adapters.warehouses.duckdb import open_duckdb
from airflow_audit_provider.adapters.warehouses.iceberg import IcebergWarehouse, open_iceberg
from airflow_audit_provider.adapters.warehouses.postgres import PostgresSession
from airflow_audit_provider.adapters.warehouses.sql import SqlWarehouse, TableName, table_name
from airflow_audit_provider.core.warehouse.port import Warehouse
from airflow_audit_provider.formats.warehouse_rows import table_columns
from airflow_audit_provider.pipelines.load import LoadSpec, load_committed
from bench.contenders.ours import pull
from bench.fake_server import running_fake
from bench.job import DAY
from bench.meter import peak_bytes, read_meter, resident_bytes

FIGURES = Path(__file__).with_name("loading.json")
PAGE = Path(__file__).parents[1] / "docs/explanation/loading.md"
ENGINES = ("duckdb", "iceberg", "delta", "postgres", "clickhouse")
# Those that bench/contenders/dlt_load.py loads into.
DLT_ENGINES = ("duckdb", "iceberg", "postgres")
FLOOR, LOAD, DLT = "floor", "load", "dlt"
# The environment of the benchmark, which has dlt.
DLT_PYTHON = Path(__file__).parents[1] / ".bench/venv/bin/python"
NORMALIZED, OTHER = "parquet normalized", "jsonl.zst"
# A load's ratio to the floor may be this many times the committed one.
MOST_RATIO = 1.15
_TABLE = "audit_logs"
_KEY = ("bench", DAY, DAY + timedelta(days=1))


class _Measured(NamedTuple):
    cpu_seconds: float
    wall_seconds: float
    peak_mebibytes: int


class LoadFigure(NamedTuple):
    """Medians of one engine: of its floor or of a load."""

    engine: str
    kind: str
    micros: float
    wall_seconds: float
    peak_mebibytes: float

    @classmethod
    def of(cls, engine: str, kind: str, runs: list[_Measured], record_count: int) -> LoadFigure:
        """Returns the median of each figure."""
        return cls(
            engine,
            kind,
            round(median(run.cpu_seconds for run in runs) / record_count * 1e6, 2),
            round(median(run.wall_seconds for run in runs), 2),
            median(run.peak_mebibytes for run in runs),
        )


def main() -> int:
    """Prints a line for each engine and form."""
    asked = _arguments(None)
    if asked.check:
        return _check(asked)
    figures = _measured(asked)
    if asked.write:
        write(_results(asked, figures))
    return 0


def run(*arguments: str) -> dict[str, Any]:
    """Measures and prints what the arguments of the command ask for, and returns all figures."""
    asked = _arguments(arguments)
    return _results(asked, _measured(asked))


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.loading", description=__doc__)
    parser.add_argument("engines", nargs="*", default=list(ENGINES), help=", ".join(ENGINES))
    parser.add_argument("--records", type=int, default=1_000_000, help="size of the window")
    parser.add_argument("--runs", type=int, default=3, help="runs of each, of which the median counts")
    parser.add_argument("--form", default=NORMALIZED, help=f"{NORMALIZED!r}, or {OTHER!r} without a floor")
    parser.add_argument("--dlt", default=str(DLT_PYTHON), help="a Python that has dlt, which is left out without one")
    parser.add_argument("--landed", help="a folder that keeps the landed window for the next run")
    parser.add_argument("--write", action="store_true", help="write the figures and the page")
    parser.add_argument("--check", action="store_true", help="fail if a load costs more than the committed ratios say")
    return parser.parse_args(given)


def _measured(asked: argparse.Namespace) -> list[LoadFigure]:
    """Measures and prints the figures of each engine: floor, load and dlt in turns."""
    figures: list[LoadFigure] = []
    kept = TemporaryDirectory() if asked.landed is None else nullcontext(asked.landed)
    with kept as folder, _servers(asked.engines) as addresses:
        _land(asked.form, asked.records, Path(folder))
        for engine in asked.engines:
            kinds = _kinds(asked, engine)
            runs: dict[str, list[_Measured]] = {kind: [] for kind in kinds}
            for _ in range(asked.runs):
                for kind in kinds:
                    given = [engine, folder, addresses.get(engine, "")]
                    command = [sys.executable, "-m", "bench.loading", "--one", kind, *given]
                    dlt_command = [asked.dlt, "-m", "bench.contenders.dlt_load", *given]
                    runs[kind].append(_in_process(dlt_command if kind == DLT else command))
            for kind in kinds:
                print(_line(f"{engine} {kind}, {asked.form}", runs[kind], asked.records), flush=True)
                figures.append(LoadFigure.of(engine, kind, runs[kind], asked.records))
    return figures


def _kinds(asked: argparse.Namespace, engine: str) -> list[str]:
    """Returns what is measured of an engine."""
    if asked.form != NORMALIZED:
        return [LOAD]
    has_dlt = engine in DLT_ENGINES and not asked.check and Path(asked.dlt).exists()
    return [FLOOR, LOAD, DLT] if has_dlt else [FLOOR, LOAD]


def _check(asked: argparse.Namespace) -> int:
    """Returns 1 if an engine's ratio is too high in three measurements in a row, because a shared machine is noisy."""
    known = json.loads(FIGURES.read_text())
    for _ in range(3):
        found = list(regressions(_measured(asked), known))
        if not found:
            return 0
        print(*found, sep="\n", flush=True)
        asked.engines = [engine for engine in asked.engines if any(one.startswith(engine) for one in found)]
    return 1


def regressions(figures: list[LoadFigure], committed_figures: dict[str, Any]) -> Iterator[str]:
    """Yields a sentence for each engine whose load costs 15 % more of its floor than the committed figures say."""
    before = _ratios([LoadFigure(**figure) for figure in committed_figures["figures"]])
    for engine, ratio in _ratios(figures).items():
        known = before.get(engine, ratio)
        if ratio > known * MOST_RATIO:
            yield f"{engine}: a load takes {ratio:.2f} times the CPU time of the floor, {known:.2f} times before."


def _ratios(figures: list[LoadFigure]) -> dict[str, float]:
    micros = {(figure.engine, figure.kind): figure.micros for figure in figures}
    engines = dict.fromkeys(engine for engine, _ in micros)
    return {engine: micros[engine, LOAD] / micros[engine, FLOOR] for engine in engines}


HEAD = """# Loading: CPU of a load compared with the engine's own load

<!-- Written by `python -m bench.loading --write`; change bench/loading.py, not this page. -->

For each row of the table below, a landed window of {records:,} records, {form}, is loaded into an empty table.
The *floor* is the engine's own simplest way to load the same rows, without digests, ledger and transaction of this
provider. For DuckDB this is `INSERT … SELECT … FROM read_parquet`, for Iceberg the append of one Arrow table, for Delta
`write_deltalake` with one Arrow table, for PostgreSQL a `COPY` of Arrow's CSV, and for ClickHouse one INSERT of an
Arrow stream. For PostgreSQL and ClickHouse, CPU time and memory are those of the client, without the server. In place
of a ClickHouse server, its engine runs as a library behind a small HTTP server of the tests. Floor and load take turns.
Figures are medians of {runs} runs. The column to look at is *ratio*: the load's CPU time divided by the floor's in the
same run. Below 1, the load takes less CPU time than the floor.
"""
TABLE_HEAD = """
Measured on {measured_on}: {machine}.

| engine | floor, µs a record | load, µs a record | ratio | load, wall time in s | load, peak MiB |
|---|--:|--:|--:|--:|--:|
"""
DLT_HEAD = """
## Compared with dlt

dlt loads the same files, in turns with the loads above. It reads them with its `filesystem` source and `read_parquet`
(`use_pyarrow=True`). For each engine, it writes the form that costs it least: Parquet for DuckDB, CSV for PostgreSQL,
and for Iceberg a table in a folder. dlt does not check the digests of the files. The figures include the start of dlt.

| engine | load, µs a record | dlt, µs a record | dlt ÷ load | dlt, wall time in s | dlt, peak MiB |
|---|--:|--:|--:|--:|--:|
"""


def _results(asked: argparse.Namespace, figures: list[LoadFigure]) -> dict[str, Any]:
    return {
        "form": asked.form,
        "records": asked.records,
        "runs": asked.runs,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, CPython {platform.python_version()}",
        "measured_on": f"{datetime.now(UTC):%Y-%m-%d}",
        "figures": [figure._asdict() for figure in figures],
    }


def write(results: dict[str, Any]) -> None:
    """Writes the figures and the page; each engine needs its floor."""
    FIGURES.write_text(json.dumps(results, indent=1) + "\n")
    PAGE.write_text(document(json.loads(FIGURES.read_text())))


def document(results: dict[str, Any]) -> str:
    """Returns the page of these results."""
    found = {(figure["engine"], figure["kind"]): LoadFigure(**figure) for figure in results["figures"]}
    engines = dict.fromkeys(engine for engine, _ in found)
    page = (HEAD + TABLE_HEAD).format(**results)
    page += "".join(_row(engine, found[engine, FLOOR], found[engine, LOAD]) for engine in engines)
    compared = [engine for engine in engines if (engine, DLT) in found]
    page += DLT_HEAD if compared else ""
    return page + "".join(_row(engine, found[engine, LOAD], found[engine, DLT]) for engine in compared)


def _row(engine: str, compared: LoadFigure, measured: LoadFigure) -> str:
    """Returns a line with both costs, then what is known of the second one."""
    costs = f"{compared.micros:.1f} | {measured.micros:.1f} | {measured.micros / compared.micros:.2f}"
    return f"| {engine} | {costs} | {measured.wall_seconds:.1f} | {measured.peak_mebibytes:.0f} |\n"


def _line(name: str, runs: list[_Measured], record_count: int) -> str:
    micros = [run.cpu_seconds / record_count * 1e6 for run in runs]
    return (
        f"{name}: {median(micros):.1f} µs of CPU a record ({', '.join(f'{each:.1f}' for each in micros)}), "
        f"{median(run.wall_seconds for run in runs):.1f} s, {median(run.peak_mebibytes for run in runs):.0f} MB"
    )


@contextmanager
def _servers(engines: Sequence[str]) -> Iterator[dict[str, str]]:
    """Yields the addresses of the servers that run for this benchmark, by engine."""
    from tests.pipelines.load.clickhouse_server import clickhouse_server
    from tests.pipelines.load.postgres_server import postgres_server

    addresses: dict[str, str] = {}
    with ExitStack() as running:
        if "postgres" in engines:
            connection = running.enter_context(postgres_server())
            addresses["postgres"] = " ".join(f"{name}={value}" for name, value in connection.items())
        if "clickhouse" in engines:
            addresses["clickhouse"] = running.enter_context(clickhouse_server())
        yield addresses


def _land(form: str, record_count: int, folder: Path) -> None:
    """Lands a day of the fake, unless the folder has one."""
    if not (folder / "_manifests").exists():
        folder.mkdir(parents=True, exist_ok=True)
        with running_fake(record_count, 0) as source:
            pull(source.job._replace(form=form, folder=str(folder)))


def _in_process(command: list[str]) -> _Measured:
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
    # dlt may print before the figures.
    output = run.stdout.splitlines()[-1].split()
    return _Measured(float(output[0]), float(output[1]), int(output[2]))


# -- one measurement, in its own process -------------------------------------------------------------------------------


class _Engine(NamedTuple):
    """A warehouse with what lies below it: DuckDB's session, PostgreSQL's connection, Iceberg's catalog.

    Of a Delta table that is its folder, of ClickHouse its client.
    """

    warehouse: Warehouse
    below: Any
    table: str


def _measure(kind: str, engine: str, landed: str, address: str) -> _Measured:
    import pyarrow.parquet  # noqa: F401 - imported before the clock starts, so that neither floor nor load pays for it

    with TemporaryDirectory() as folder:
        opened = _opened(engine, folder, address)
        with closing(opened.warehouse):
            opened.warehouse.prepare(table_columns())
            files = sorted(str(path) for path in Path(landed).glob("dt=*/**/*.parquet"))
            before_bytes, before = resident_bytes(), read_meter()
            if kind == FLOOR:
                _FLOORS[engine](opened, files)
            else:
                spec = LoadSpec("bench", "file:///bench")
                load_committed(spec, LocalStore(landed), opened.warehouse, lambda _: None)
            after, peak = read_meter(), (peak_bytes() - before_bytes) >> 20
            return _Measured(after.cpu_seconds - before.cpu_seconds, after.wall_seconds - before.wall_seconds, peak)


def _opened(engine: str, folder: str, address: str) -> _Engine:
    if engine == "duckdb":
        session = open_duckdb(f"{folder}/audit.duckdb", SystemClock())
        return _Engine(SqlWarehouse(session, table_name(_TABLE)), session, _TABLE)
    if engine == "postgres":
        import psycopg

        own_table, connection = f"{_TABLE}_{os.getpid()}", psycopg.connect(address)
        return _Engine(SqlWarehouse(PostgresSession(connection), table_name(own_table)), connection, own_table)
    if engine == "clickhouse":
        from tests.pipelines.load.clickhouse_server import LOGIN, PASSWORD

        table = TableName("default", f"{_TABLE}_{os.getpid()}")
        client = ClickHouseClient(ClickHouseServer(address, LOGIN, PASSWORD))
        return _Engine(ClickHouseWarehouse(client, table, SystemClock()), client, ClickHouseNames(table).rows)
    if engine == "delta":
        uri = f"{folder}/{_TABLE}"
        return _Engine(open_delta(uri, {}, SystemClock()), uri, _TABLE)
    properties = {"type": "sql", "uri": f"sqlite:///{folder}/catalog.db", "warehouse": f"file://{folder}"}
    catalog, name = open_iceberg(properties, "bench"), f"bench.{_TABLE}"
    return _Engine(IcebergWarehouse(catalog, name, SystemClock()), catalog, name)


def _duckdb_floor(engine: _Engine, files: list[str]) -> None:
    with engine.below.transaction():
        engine.below.execute(
            f"INSERT INTO {engine.table} BY NAME "  # noqa: S608 - a constant of this module
            "SELECT ? AS dataset, ? AS window_start, ? AS window_end, * "
            "FROM read_parquet(?, hive_partitioning = false)",
            *_KEY,
            files,
        )


def _iceberg_floor(engine: _Engine, files: list[str]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    rows = pa.concat_tables([parquet.ParquetFile(file).read() for file in files])
    engine.below.load_table(engine.table).append(_with_key(rows))


def _delta_floor(engine: _Engine, files: list[str]) -> None:
    import pyarrow as pa
    from deltalake import write_deltalake
    from pyarrow import parquet

    rows = pa.concat_tables([parquet.ParquetFile(file).read() for file in files])
    write_deltalake(engine.below, _with_key(rows), mode="append")


def _postgres_floor(engine: _Engine, files: list[str]) -> None:
    from pyarrow import csv, parquet

    options = csv.WriteOptions(include_header=False, quoting_style="all_valid")
    with engine.below.cursor() as cursor:
        for file in files:
            rows, content = _with_key(parquet.ParquetFile(file).read()), io.BytesIO()
            csv.write_csv(rows, content, options)
            with cursor.copy(f"COPY {engine.table} FROM STDIN (FORMAT csv)") as copy:
                copy.write(content.getbuffer())
    engine.below.commit()


def _clickhouse_floor(engine: _Engine, files: list[str]) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    for file in files:
        rows, sink = _with_key(parquet.ParquetFile(file).read()), pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as writer:
            writer.write_table(rows)
        columns = ", ".join(rows.column_names)
        statement = f"INSERT INTO {engine.table} ({columns}) FORMAT ArrowStream"
        engine.below.insert(statement, memoryview(sink.getvalue()), file)


def _with_key(rows: Any) -> Any:
    """Returns the rows with the key columns in front, in the types of the table."""
    import pyarrow as pa

    instant = pa.timestamp("us", tz="UTC")
    types: dict[str, Any] = {"dataset": pa.string(), "window_start": instant, "window_end": instant}
    for place, (name, kind) in enumerate(types.items()):
        field = pa.field(name, kind, nullable=False)
        rows = rows.add_column(place, field, pa.repeat(pa.scalar(_KEY[place], kind), rows.num_rows))
    return rows.cast(pa.schema([field.remove_metadata() for field in rows.schema]))


_FLOORS: dict[str, Callable[[_Engine, list[str]], None]] = {
    "duckdb": _duckdb_floor,
    "iceberg": _iceberg_floor,
    "delta": _delta_floor,
    "postgres": _postgres_floor,
    "clickhouse": _clickhouse_floor,
}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(*_measure(*sys.argv[2:]))
    else:
        sys.exit(main())

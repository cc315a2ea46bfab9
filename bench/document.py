"""Writes the results of a benchmark as a Markdown page.

Invariant: every figure on the page comes from the results it is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bench.contenders import TITLES
from bench.plan import Lane
from bench.results import Median, Results
from bench.targets import judge

HEAD = """# Benchmarks: CPU, memory and throughput compared with other tools

<!-- Written by `make bench`; change bench/, not this page. -->

`make bench` measures this provider and four other ways to fetch the same records, on one machine:

- the official `cloudflare` SDK (auto-pagination),
- dlt (`rest_api` to `filesystem`),
- Airflow's `HttpOperator` with a `pagination_function`,
- a plain loop over httpx.

The tools write JSON Lines with gzip, JSON Lines with zstd, and Parquet, on a small and a large day (100,000 and
1,000,000 records) and at two latencies. dlt does not write JSON Lines with zstd. OCSF events and loads into tables are
measured only on the small day, without latency. Each row of these comparisons has the medians of several runs; the
column *runs* has their number. The benchmark takes about three hours on a quiet machine. `make bench GO_ON=1` continues
an interrupted benchmark, `make bench QUICK=1` measures only this provider, and `make bench PROFILE=1` shows where the
provider's CPU time goes. The figures of every run are in `bench/figures.json`.
"""
METHOD = """## How it is measured

- All tools fetch the same day of version 1 records of about 1 KB from the shipped fake Cloudflare
  (`python -m airflow_audit_provider.testing --even-days --requests-per-window 0`). It runs in a separate process and
  generates the whole day before the first request. Pages have 1,000 records. Latency is the time that the fake waits
  before each response.
- Each run is a new process. Imports, and a first pull of one minute of that day, come before the measurement.
- **CPU** is user and system time of that process (`getrusage`, including child processes that have ended), from the
  start of the measurement until the last byte is landed. It does not include the fake. **Memory** is the peak (`VmHWM`)
  above what the process used when the measurement began. **Records a second** is measured
  in wall time, while the fake and everything else on the machine use the same cores. Compare tools by CPU.
- Each figure of a comparison is the median of several runs; the column *runs* has their number ({runs}). The tools
  take turns, so that a busy minute affects all of them{breaks}.
- `pull_window` is the function that the operator's `execute` calls.
- This provider is measured alone on the machine. Each of the other tools uses one core at a time. If the system can
  pin processes to cores, several of these tools are measured at the same time: one on each core, on at most four cores.
  Each tool then shares its core with a fake of its own. If the system cannot pin processes, these tools are measured
  one after another. On the small day, the SDK is also measured alone, on all cores. The rows *measured alone* have
  these figures. The difference from the SDK's other rows is the effect of measuring several tools at the same time.
- Nothing is tuned: all tools run with defaults, this provider too (six requests in flight). The others write gzip by
  Python's library at level 9, and Parquet with snappy. `parquet` means each record's id, time and JSON, for every tool;
  typed columns are `parquet normalized`.
- The fake uses plain http, so no figure includes TLS. This provider loads no certificates for such a server; loading
  them, as the SDK and the httpx loop do within the measurement, takes about 30 ms of CPU a pull.
- Requests are counted by the fake. A ratio is the tool's figure divided by this provider's figure for the same output.
- For `duckdb` and `iceberg` this provider lands normalized Parquet first and loads it from there; time and bytes
  include both. dlt loads without landing. It flattens records into typed columns in every output, so its Parquet
  is compared with normalized Parquet. It does not keep the text of a record.
- The others compute no digests, do not prove the end, do not sort and do not commit. A tool that pages with the
  day's exact bounds also lands records of the next day's first second (the API's own `before` is inclusive): here
  up to {extra} too many.
"""
OTHERS = """## Other measurements

Each of these commands measures one part in one process. The page in the last column has the figures.

| part | command | figures |
|---|---|---|
| comparing a Logpush archive | `python -m bench.reconcile` | [Logpush](../how-to/repair-logpush.md#what-it-costs) |
| deriving changes | `python -m bench.changes` | [See what changed](../how-to/see-what-changed.md#what-it-costs) |
| detection rules | `python -m bench.detections` | [Rules](../reference/detection-rules.md) |
"""
TARGETS_INTRO = (
    "Each row compares a measured figure of this provider with its target. A comparison with the SDK uses the SDK's\n"
    "row *measured alone*, if the table of that day and latency has one."
)
TABLE_INTRO = (
    "Each row shows the medians of one tool with one output. A ratio is the figure divided by this provider's figure\n"
    "for the same output. Several of the other tools are measured at the same time, except in rows with *measured\n"
    "alone* ([how it is measured](#how-it-is-measured))."
)
TABLE_HEAD = (
    "| tool | output | CPU µs a record | ratio | records/s | ratio | peak MB | ratio | requests | ratio "
    "| bytes a record | runs |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
)
STAGES_HEAD = """## Where this provider's CPU time goes

The table shows µs of CPU per record by stage. The time of a stage excludes the stages that it calls. The figures are
medians of three pulls of 100,000 records. These pulls are measured apart from the runs in the tables above: all of them
run one after another in one process, and this provider uses one thread in them (Arrow starts threads of its own). A run
in the tables above is a new process, and this provider uses several threads. The row *all* can therefore be lower or
higher than the CPU time in the tables above. `make bench PROFILE=1` measures only these pulls.

The row *everything else* is the code outside of all stages; for duckdb and iceberg, it includes the load into the
table. The row *smaller stages together* is the sum of the stages that take less than 0.05 µs in every column.
"""
SMALLEST_STAGE = 0.05
# Stage names in figures that were stored before the stages were renamed.
EARLIER_STAGES = {
    "httpx: send, receive": "HTTP: send request, receive response",
    "envelope → raw records": "JSON: split a response into records",
    "raw records → id, time, bytes": "JSON: read id and time of each record",
    "page protocol: is_sorted": "paging: check the order",
    "page protocol: inside": "paging: select records in the range",
    "slices: put together": "combine slices fetched in parallel",
    "stage: filter, group": "write: filter and group records",
    "stage: digest of records": "write: digest of the records",
    "stage: digest of part, write": "write: digest of the part, write the file",
    "encode: jsonl": "encode: JSON Lines",
    "encode: parquet": "encode: Parquet",
    "encode: normalized arrays": "encode: Arrow arrays, normalized",
    "encode: normalized columns": "encode: compute normalized columns",
    "encode: ocsf events, arrays": "encode: OCSF events, Arrow arrays",
    "page protocol: take": "paging: process a page",
    "page protocol: absorb": "paging: remove duplicates",
    "reading: take": "window: process a page",
    "reading: sort": "window: sort records",
    "reading: inside": "window: select records in the range",
    "encode: parquet rows": "encode: Parquet row groups",
    "encode: parquet arrays": "encode: Arrow arrays, raw",
    "encode: schema": "encode: typed Parquet",
    "encode: schema rows": "encode: typed Parquet row groups",
}
PACKAGE = "`airflow_audit_provider` of commit"


def write_document(results: Results) -> str:
    """Returns the page."""
    made = f"Measured on {results.measured_on} by `{results.command}`: {results.machine}, {PACKAGE} {results.commit}."
    versions = "Versions: " + ", ".join(f"{name} {version}" for name, version in results.versions.items()) + "."
    scenes = [_scene(results, *scene) for scene in results.scenes()]
    if results.load is not None:
        made += f"\nMedian load average {results.load:.1f}, the benchmark itself included."
    costs = [*_stages(results.stages or {}), _imports(results)]
    return "\n".join([HEAD, made, versions, "", _targets(results), *scenes, *costs, OTHERS, _method(results)])


def _targets(results: Results) -> str:
    rows = [f"| {verdict.wanted} | {verdict.measured} | {verdict.word} |" for verdict in judge(results)]
    return "\n".join(["## Targets", "", TARGETS_INTRO, "", "| target | measured | |", "|---|--:|---|", *rows, ""])


def _scene(results: Results, record_count: int, latency_ms: int) -> str:
    medians = results.medians(record_count, latency_ms)
    rows = [_row(median, medians.get(Lane("ours", lane.form))) for lane, median in _sorted(medians)]
    return "\n".join(
        [f"## {record_count:,} records, {latency_ms} ms latency", "", TABLE_INTRO, "", TABLE_HEAD, *rows, ""]
    )


def _sorted(medians: dict[Lane, Median]) -> list[tuple[Lane, Median]]:
    places = {name: place for place, name in enumerate(TITLES)}
    return sorted(medians.items(), key=lambda item: (item[0].form, places[item[0].contender]))


def _row(median: Median, ours: Median | None) -> str:
    figures = [
        (f"{median.micros:.1f}", "micros"),
        (f"{median.records_per_second:,.0f}", "records_per_second"),
        (f"{median.peak_mb:.0f}", "peak_mb"),
        (f"{median.request_count:,.0f}", "request_count"),
    ]
    cells = [cell for text, name in figures for cell in (text, _ratio(median, ours, name))]
    ends = [f"{median.bytes_per_record:.0f}", str(median.run_count)]
    return _cells([TITLES[median.lane.contender], median.lane.form, *cells, *ends])


def _ratio(median: Median, ours: Median | None, name: str) -> str:
    if ours is None or not getattr(ours, name):
        return ""
    ratio = getattr(median, name) / getattr(ours, name)
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def _cells(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _stages(stages: dict[str, dict[str, float]]) -> Iterator[str]:
    """Yields the table of CPU time by stage, with a row for each stage above ``SMALLEST_STAGE``."""
    if not stages:
        return
    names = dict.fromkeys(name for micros in stages.values() for name in micros)
    highest = {name: max(micros.get(name, 0.0) for micros in stages.values()) for name in names}
    shown = sorted((name for name in names if highest[name] >= SMALLEST_STAGE), key=lambda name: -highest[name])
    yield STAGES_HEAD
    yield _cells(["stage", *stages])
    yield f"|---|{'--:|' * len(stages)}"
    for name in shown:
        yield _cells([EARLIER_STAGES.get(name, name), *(f"{micros.get(name, 0.0):.2f}" for micros in stages.values())])
    small = [sum(each for name, each in micros.items() if name not in shown) for micros in stages.values()]
    yield _cells(["smaller stages together", *(f"{each:.2f}" for each in small)])
    yield _cells(["**all**", *(f"**{sum(micros.values()):.2f}**" for micros in stages.values())])
    yield ""


def _imports(results: Results) -> str:
    rows = [
        f"| {'this provider' if name == 'ours' else f'`{name}`'} | {added_ms:.0f} |"
        for name, added_ms in results.imports_ms.items()
    ]
    about = (
        "The table shows how many milliseconds of CPU the import of the operator's module takes after `airflow.sdk`,\n"
        "`BaseOperator`, `BaseHook`, `BaseSensorOperator`, `ObjectStoragePath`, `conf` and `BaseTrigger` have been "
        "imported.\nThe figures are medians over new interpreters.\n"
    )
    return "\n".join(["## Importing", "", about, "| operator | ms |", "|---|--:|", *rows, ""])


def _method(results: Results) -> str:
    extra = max(_extra_counts(results), default=0)
    return METHOD.format(extra=extra, runs=_run_counts(results), breaks=_breaks(results))


def _breaks(results: Results) -> str:
    count = results.break_count
    times = f". This benchmark was interrupted and continued {count} time{'' if count == 1 else 's'}"
    turns = "After an interruption, only the tools with missing runs took turns"
    return f"{times}. {turns}. A busy minute after an interruption affected only these tools" if count else ""


def _run_counts(results: Results) -> str:
    """Returns how many runs the rows have, for each size of day and latency."""
    return "; ".join(
        f"{record_count:,} records at {latency_ms} ms: {_counts(results.medians(record_count, latency_ms).values())}"
        for record_count, latency_ms in results.scenes()
    )


def _counts(medians: Iterable[Median]) -> str:
    return " or ".join(map(str, sorted({each.run_count for each in medians})))


def _extra_counts(results: Results) -> Iterator[int]:
    return (run.landed_count - run.record_count for run in results.runs)

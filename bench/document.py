"""The results as a page of Markdown.

Knows: the page's sentences and tables. Must not know: how anything was measured.
Its one rule: every figure on the page comes from the results it is given.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from bench.contenders import TITLES
from bench.plan import Lane
from bench.results import Median, Results
from bench.targets import judge

HEAD = """# Benchmarks

<!-- Written by `make bench`; change bench/, not this page. -->

`make bench` measures, on one machine, this provider and four other ways to the same records: the official `cloudflare`
SDK (auto-pagination), dlt (`rest_api` to `filesystem`), Airflow's `HttpOperator` with a `pagination_function`, and a
plain loop over httpx: everybody in JSON Lines and Parquet on both days at both latencies, five times, and in tables
on the small day. It takes some three quiet hours; `make bench GO_ON=1` goes on with one that was broken off,
`make bench QUICK=1` measures only ours, `make bench PROFILE=1` shows where our own CPU time goes. Every run's figures
are in `bench/figures.json`.
"""
METHOD = """## How it is measured

- Everybody pulls the same day of version 1 records of about 1 KB from the shipped fake Cloudflare
  (`python -m airflow_audit_provider.testing --even-days --requests-per-window 0`), which runs in a process of its own
  and has made the whole day before anybody asks. Pages have 1,000 records. Latency is what the fake waits before each
  answer.
- Each run is a new process. Imports and a first pull of one minute of that day come before the measurement.
- **CPU** is user and system time of that process (`getrusage`, ended children included), from there to the last byte
  landed; the fake's own is not in it. **Memory** is the peak (`VmHWM`) above what the process held when the measurement
  began. **Records a second** is wall time, and shares the cores with the fake and with whatever else ran: judge by CPU.
- Figures are medians of as many runs as the last column says ({runs}). Contenders take turns, so that a busy minute
  falls on all{breaks}.
- This provider has the machine to itself. The others do one thing at a time, so where the system can keep a process on
  a core they run as many as there are cores, each with a server of its own on a core of its own; the SDK, on the small
  day also measured with nothing beside it, shows what that costs. Nothing is tuned: everybody runs on defaults, this
  provider too (six requests under way); gzip of the others is Python's, level 9, their Parquet is snappy. `parquet`
  has each record's id, time and JSON, theirs as ours; typed columns are `parquet normalized`.
- The fake speaks plain http, so no TLS is in any figure. This provider loads no certificates for such a server; to load
  them, as the SDK and the loop over httpx do within the measurement, takes some 30 ms of CPU a pull.
- Requests are those the fake counted. A ratio is that contender's figure divided by ours in the same form.
- `duckdb` and `iceberg` of this provider land normalized Parquet first and load it from there; both are counted, in
  time and in bytes. dlt loads without landing. It flattens records into typed columns whatever the form, so its Parquet
  stands beside the normalized one; it keeps no text of a record.
- The others compute no digests, prove no end, put nothing in order and commit nothing. Who pages with the day's bounds
  as they are also lands records of the next day's first second (`before` is inclusive): here up to {extra} too many.
"""
TABLE_HEAD = (
    "| contender | form | CPU µs a record | ratio | records/s | ratio | peak MB | ratio | requests | ratio "
    "| bytes a record | runs |\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"
)
STAGES_HEAD = """## Where our own CPU time goes

µs of CPU a record by stage, each without the stages it calls: medians of three pulls of 100,000 records by
`make bench PROFILE=1`, which keeps the pull in one thread. What is encoded comes after what is read, in every form.
"""
SMALLEST_STAGE = 0.05
PACKAGE = "`airflow_audit_provider` of commit"


def write_document(results: Results) -> str:
    """Return the page."""
    made = f"Measured on {results.measured_on} by `{results.command}`: {results.machine}, {PACKAGE} {results.commit}."
    versions = "Versions: " + ", ".join(f"{name} {version}" for name, version in results.versions.items()) + "."
    scenes = [_scene(results, *scene) for scene in results.scenes()]
    if results.load is not None:
        made += f"\nMedian load average {results.load:.1f}, the benchmark itself included."
    costs = [*_stages(results.stages or {}), _imports(results)]
    return "\n".join([HEAD, made, versions, "", _targets(results), *scenes, *costs, _method(results)])


def _targets(results: Results) -> str:
    rows = [f"| {verdict.wanted} | {verdict.measured} | {verdict.word} |" for verdict in judge(results)]
    return "\n".join(["## Targets", "", "| target | measured | |", "|---|--:|---|", *rows, ""])


def _scene(results: Results, record_count: int, latency_ms: int) -> str:
    medians = results.medians(record_count, latency_ms)
    rows = [_row(median, medians.get(Lane("ours", lane.form))) for lane, median in _sorted(medians)]
    return "\n".join([f"## {record_count:,} records, {latency_ms} ms latency", "", TABLE_HEAD, *rows, ""])


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
    """Show where our own time goes, a row for each stage that is worth one."""
    if not stages:
        return
    names = dict.fromkeys(name for micros in stages.values() for name in micros)
    dearest = {name: max(micros.get(name, 0.0) for micros in stages.values()) for name in names}
    shown = sorted((name for name in names if dearest[name] >= SMALLEST_STAGE), key=lambda name: -dearest[name])
    yield STAGES_HEAD
    yield _cells(["stage", *stages])
    yield f"|---|{'--:|' * len(stages)}"
    for name in shown:
        yield _cells([name, *(f"{micros.get(name, 0.0):.2f}" for micros in stages.values())])
    small = [sum(each for name, each in micros.items() if name not in shown) for micros in stages.values()]
    yield _cells(["smaller ones together", *(f"{each:.2f}" for each in small)])
    yield _cells(["**all**", *(f"**{sum(micros.values()):.2f}**" for micros in stages.values())])
    yield ""


def _imports(results: Results) -> str:
    rows = [f"| `{name}` | {added_ms:.0f} |" for name, added_ms in results.imports_ms.items()]
    told = (
        "CPU milliseconds that importing the operator's module adds after `airflow.sdk`, `BaseOperator`, `BaseHook`,\n"
    )
    told += "`BaseSensorOperator`, `ObjectStoragePath`, `conf` and `BaseTrigger`: medians over new interpreters.\n"
    return "\n".join(["## Importing", "", told, "| operator | ms |", "|---|--:|", *rows, ""])


def _method(results: Results) -> str:
    extra = max(_extra_counts(results), default=0)
    return METHOD.format(extra=extra, runs=_run_counts(results), breaks=_breaks(results))


def _breaks(results: Results) -> str:
    count = results.break_count
    told = f". This benchmark was broken off and gone on with ({count}): what came later took turns among itself"
    return told if count else ""


def _run_counts(results: Results) -> str:
    """Say how many runs the rows have, for each size of day and latency."""
    return "; ".join(
        f"{record_count:,} records at {latency_ms} ms: {_counts(results.medians(record_count, latency_ms).values())}"
        for record_count, latency_ms in results.scenes()
    )


def _counts(medians: Iterable[Median]) -> str:
    return " or ".join(map(str, sorted({each.run_count for each in medians})))


def _extra_counts(results: Results) -> Iterator[int]:
    return (run.landed_count - run.record_count for run in results.runs)

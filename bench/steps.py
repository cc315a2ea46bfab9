"""``python -m bench.steps``: CPU time of single steps that the large benchmark does not show.

Invariant: a figure is the median of several runs in one thread, in CPU time of the process. Only ``side_by_side``
measures wall time, and several threads.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import msgspec

from airflow_audit_provider.adapters.storage.lake_store import destination_from_uri
from airflow_audit_provider.adapters.storage.local_store import LocalStore
from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, in_order, lines_of, read_records
from airflow_audit_provider.core.archive.object_keys import MANIFEST_FOLDER, WindowKeys
from airflow_audit_provider.core.privacy.pseudonyms import Pseudonyms
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.formats.compression import open_plain
from airflow_audit_provider.formats.normalized import columns as normalized
from airflow_audit_provider.formats.part_format import part_format
from airflow_audit_provider.formats.tables import NormalizedRows
from airflow_audit_provider.pipelines.verify import verify
from airflow_audit_provider.testing.records import Feed, generate
from bench.contenders.ours import pull
from bench.fake_server import running_fake
from bench.job import DAY, Job, instant

RUNS = 5
A_RECORD, A_KEY = "µs a record", "µs a key"
_START = """
import sys, time
from airflow.providers.common.compat.sdk import BaseHook, BaseOperator, ObjectStoragePath
import airflow_audit_provider.operators.audit_logs
from airflow_audit_provider._airflow.destinations import store_from_connection
before = time.process_time()
store_from_connection(sys.argv[1], None)
print(time.process_time() - before)
"""
_WINDOWS = 13_000
_RECORDS, _GROUP_RECORDS = 20_000, 1000
# Of a day in 24 windows.
_WINDOW_RECORDS = 96_000
VERIFIED = ("jsonl.gz", "jsonl.zst", "parquet", "parquet normalized", "parquet ocsf")
# The columns of a record's text and id.
_RECORD_COLUMNS = {
    "parquet": ["record", "id"],
    "parquet normalized": ["raw", "id"],
    "parquet ocsf": ["raw_data", "metadata.uid"],
}
_ENCODED = [
    *(("raw", "jsonl"), ("raw", "parquet")),
    *(("normalized", "jsonl"), ("normalized", "parquet"), ("ocsf", "jsonl"), ("ocsf", "parquet")),
]


class Figure(NamedTuple):
    """A measured value of a step."""

    name: str
    value: float
    unit: str

    def __str__(self) -> str:
        return f"{self.name}: {self.value:.{2 if self.unit == 's' else 1}f} {self.unit}"


def main() -> int:
    """Prints a line for each requested step."""
    parser = argparse.ArgumentParser(prog="python -m bench.steps", description=__doc__)
    parser.add_argument("steps", nargs="*", default=list(STEPS), help=", ".join(STEPS))
    names = parser.parse_args().steps
    print(f"CPython {platform.python_version()}", flush=True)
    for name in names:
        for figure in STEPS[name]():
            print(figure, flush=True)
    return 0


def measured_listing() -> Iterator[Figure]:
    """Lists a local dataset of hourly windows, each with one part and one manifest; to compare, asks for all sizes."""
    with TemporaryDirectory() as folder:
        _make_dataset(Path(folder))
        store = LocalStore(folder)
        for prefix, place in ((MANIFEST_FOLDER, "all manifests"), ("", "everything")):
            keys = list(store.list_keys(prefix))
            if [key for key, _ in store.list_sizes(prefix)] != keys:
                raise RuntimeError(f"The two listings of {place} differ.")
            actions = [
                partial(_list_all, store.list_keys, prefix),
                partial(_list_all, store.list_sizes, prefix),
                partial(_stat_all, f"{folder}/{prefix}"),
            ]
            seconds = _seconds_in_turns(time.process_time, *actions)
            micros = [one / len(keys) * 1e6 for one in seconds]
            yield Figure(f"listing {place}, keys", micros[0], A_KEY)
            yield Figure(f"listing {place}, keys with sizes", micros[1], A_KEY)
            yield Figure(f"os.scandir and os.stat of {place}, to compare", micros[2], A_KEY)


def _stat_all(folder: str) -> None:
    """Asks for the size of each file below a folder."""
    folders = [folder]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    folders.append(entry.path)
                else:
                    entry.stat()


def _list_all(list_by: Callable[[str], Iterable[object]], prefix: str) -> None:
    for _ in list_by(prefix):
        pass


def measured_start() -> Iterator[Figure]:
    """Opens destinations in new interpreters that have imported what any task imports."""
    for destination in ("file:///data/audit", "s3://bucket/audit"):
        command = [sys.executable, "-c", _START, destination]
        runs = [subprocess.run(command, check=True, capture_output=True, text=True).stdout for _ in range(RUNS)]
        yield Figure(f"start of a task, opening {destination}", median(float(run.split()[-1]) for run in runs), "s")


def measured_pseudonyms() -> Iterator[Figure]:
    """Replaces e-mail and IP addresses in records of every shape that the fake sends."""
    pseudonyms = Pseudonyms(b"k" * 32, emails=True, addresses=True)
    for version in ApiVersion:
        raws = [record.raw for record in _sample(version)]
        yield _a_record(f"pseudonyms in records of {version}", partial(_each, pseudonyms.in_record, raws))
        yield _a_record(f"json.loads of records of {version}, to compare", partial(_each, json.loads, raws))


def _each(action: Callable[[bytes], object], raws: list[bytes]) -> None:
    for raw in raws:
        action(raw)


def measured_encoding() -> Iterator[Figure]:
    """Encodes records of every shape that the fake sends in every schema and format, with the default compression."""
    for version in ApiVersion:
        records = _sample(version)
        groups = [records[start : start + _GROUP_RECORDS] for start in range(0, len(records), _GROUP_RECORDS)]
        lines = [(group, lines_of(group)) for group in groups]
        for choice in _ENCODED:
            yield _a_record(f"encoding {version} as {' '.join(choice)}", partial(_encode, version, choice, lines))


def measured_normalized() -> Iterator[Figure]:
    """Encodes records as normalized rows up to each step; what a step takes is the difference to the one before."""
    for version in ApiVersion:
        records = _sample(version)
        groups = [records[start : start + _GROUP_RECORDS] for start in range(0, len(records), _GROUP_RECORDS)]
        lines = [(group, lines_of(group)) for group in groups]
        rows = NormalizedRows(version, normalized.MINOR)
        steps: dict[str, Callable[[list[AuditRecord], bytes], object]] = {
            "columns": rows.table,
            "columns, JSON": rows.json_lines,
            "columns, Arrow arrays": rows.to_arrow,
        }
        for name, step in steps.items():
            yield _a_record(f"normalized {version}: {name}", partial(_each_group, step, lines))
        for choice in (("normalized", "jsonl"), ("normalized", "parquet")):
            yield _a_record(f"normalized {version}: all of {choice[1]}", partial(_encode, version, choice, lines))


def _each_group(
    step: Callable[[list[AuditRecord], bytes], object], groups: list[tuple[list[AuditRecord], bytes]]
) -> None:
    for group, lines in groups:
        step(group, lines)


def measured_verification() -> Iterator[Figure]:
    """Verifies a landed day of version 1; to compare, decompresses and digests the same bytes and does no more."""
    with running_fake(_RECORDS, 0) as source:
        for form in VERIFIED:
            with TemporaryDirectory() as folder:
                pull(source.job._replace(form=form, folder=folder))
                _check_verified(folder, _RECORDS)
                yield _a_record(f"verification of {form}", partial(verify, destination_from_uri(folder)))
                parts = [path.read_bytes() for path in _parts(folder)]
                digest = partial(_digest_of(form), form, parts)
                yield _a_record(f"decompression and SHA-256 of {form}, to compare", digest)


def measured_side_by_side() -> Iterator[Figure]:
    """Verifies 24 windows, whose parts are read side by side; to compare, one thread reads and digests the same files.

    The figures are wall times, of runs in turns.
    """
    with running_fake(_WINDOW_RECORDS, 0) as source:
        for form in VERIFIED:
            with TemporaryDirectory() as folder:
                for job in _hours(source.job._replace(form=form, folder=folder)):
                    pull(job)
                _check_verified(folder, _WINDOW_RECORDS)
                verification = partial(verify, destination_from_uri(folder))
                floor = partial(_digest_files, form, _parts(folder))
                micros = [
                    seconds / _WINDOW_RECORDS * 1e6
                    for seconds in _seconds_in_turns(time.perf_counter, verification, floor)
                ]
                yield Figure(f"verification of 24 windows of {form}, wall time", micros[0], A_RECORD)
                yield Figure(f"digests of 24 windows of {form}, one thread, wall time", micros[1], A_RECORD)


def _check_verified(folder: str, record_count: int) -> None:
    """Raises RuntimeError unless verify reads all records and finds nothing: it would take less time otherwise."""
    report = verify(destination_from_uri(folder))
    if report.findings or report.record_count != record_count:
        raise RuntimeError(f"verify read {report.record_count} records and found {report.findings}.")


def _hours(job: Job) -> Iterator[Job]:
    for hour in range(24):
        start = DAY + timedelta(hours=hour)
        yield job._replace(start=instant(start), end=instant(start + timedelta(hours=1)))


def _parts(folder: str) -> list[Path]:
    """Returns the files of the landed parts."""
    return sorted(path for path in Path(folder).glob("dt=*/**/*") if path.is_file())


def _digest_files(form: str, files: list[Path]) -> None:
    for file in files:
        _digest_of(form)(form, [file.read_bytes()])


def _digest_of(form: str) -> Callable[[str, list[bytes]], None]:
    return _digest if form.startswith("jsonl") else _digest_table


def _digest(form: str, parts: list[bytes]) -> None:
    """Computes the digests of compressed parts and of their plain content."""
    plain_digest = hashlib.sha256()
    for part in parts:
        hashlib.sha256(part).digest()
        with open_plain({"jsonl.gz": "gzip", "jsonl.zst": "zstd"}[form], part) as plain:
            while piece := plain.read(1 << 20):
                plain_digest.update(piece)


def _digest_table(form: str, parts: list[bytes]) -> None:
    """Computes the digests of Parquet files and of the records' text in them; decodes the column of ids as well."""
    import pyarrow as pa
    from pyarrow import parquet

    text_digest, columns = hashlib.sha256(), _RECORD_COLUMNS[form]
    for part in parts:
        hashlib.sha256(part).digest()
        for rows in parquet.ParquetFile(pa.BufferReader(part)).iter_batches(4000, columns=columns, use_threads=False):
            texts: Any = rows.column(columns[0]).buffers()[-1]
            text_digest.update(texts)


def _encode(version: ApiVersion, choice: tuple[str, str], groups: list[tuple[list[AuditRecord], bytes]]) -> None:
    schema, file_format = choice
    encoder = part_format(file_format, None, schema).open_encoder(version)
    for group, lines in groups:
        encoder.encode(group, lines)
    encoder.finish()


def _sample(version: ApiVersion) -> list[AuditRecord]:
    rows = generate(1, Feed(version, f"accounts/{'0' * 32}"), 20_000, _RECORDS, "0" * 32)
    return in_order(read_records(version, [msgspec.Raw(row.raw) for row in rows]))


def _a_record(what: str, action: Callable[[], object]) -> Figure:
    return Figure(what, _cpu_seconds(action) / _RECORDS * 1e6, A_RECORD)


def _make_dataset(root: Path) -> None:
    """Makes the empty files of a dataset."""
    start = datetime(2025, 1, 1, tzinfo=UTC)
    for hour in range(_WINDOWS):
        begin = start + timedelta(hours=hour)
        keys = WindowKeys(TimeWindow(begin, begin + timedelta(hours=1)), date(begin.year, begin.month, begin.day))
        for key in (keys.part(1, 0, "0" * 64, "jsonl.gz"), keys.manifest(1)):
            (root / key).parent.mkdir(parents=True, exist_ok=True)
            (root / key).touch()


def _cpu_seconds(action: Callable[[], object]) -> float:
    """Returns the CPU time of an action, as the median of several runs after one that is not measured."""
    action()
    seconds = []
    for _ in range(RUNS):
        before = time.process_time()
        action()
        seconds.append(time.process_time() - before)
    return median(seconds)


def _seconds_in_turns(clock: Callable[[], float], *actions: Callable[[], object]) -> list[float]:
    """Returns the time of each action, as the median of several turns after one that is not measured."""
    seconds: list[list[float]] = [[] for _ in actions]
    for _ in range(RUNS + 1):
        for action, found in zip(actions, seconds, strict=True):
            before = clock()
            action()
            found.append(clock() - before)
    return [median(found[1:]) for found in seconds]


STEPS: dict[str, Callable[[], Iterator[Figure]]] = {
    "listing": measured_listing,
    "start": measured_start,
    "pseudonyms": measured_pseudonyms,
    "encoding": measured_encoding,
    "normalized": measured_normalized,
    "verification": measured_verification,
    "side_by_side": measured_side_by_side,
}


if __name__ == "__main__":
    sys.exit(main())

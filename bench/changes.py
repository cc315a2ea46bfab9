"""Measures what deriving changes takes: ``python -m bench.changes``."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from tempfile import TemporaryDirectory

from airflow_audit_provider.adapters.storage.local_store import LocalStore
from airflow_audit_provider.core.api.changes import History, changes_of
from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord, read_records
from airflow_audit_provider.core.warehouse.change_files import change_rows, write_rows
from airflow_audit_provider.core.windows.run_window import RunWindow
from airflow_audit_provider.core.windows.window import SECOND_NS, TimeWindow, to_ns
from airflow_audit_provider.pipelines.changes import ChangesSpec, derive_changes
from airflow_audit_provider.testing.changes import SeededChange, seeded_changes
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.settings import Settings
from tests.pipelines.pull.landing import land, pull_spec, reader_of

START = datetime(2026, 10, 26, tzinfo=UTC)
RESOURCE_COUNTS = (10, 100, 1000)
RECORDS, CPU_RECORDS = 1000, 20_000


def main() -> None:
    """Prints the requests for each record of a window, and the CPU time and the bytes of each row."""
    for count in RESOURCE_COUNTS:
        seen, requests = measured_requests(count)
        print(f"{RECORDS} records of {seen} resources: {requests / RECORDS:.2f} requests for each record")
    measure_rows()


def measured_requests(resource_count: int) -> tuple[int, int]:
    """Returns how many resources a window of 1000 records has, and how many requests their changes take."""
    clock = ManualClock()
    fake = FakeCloudflare(clock.now, Settings(records_per_day=0))
    made = changes(RECORDS, resource_count)
    for change in made:
        fake.add(change.raw, "v2")
    window = TimeWindow(START, START + timedelta(days=1))
    with TemporaryDirectory() as folder:
        store = LocalStore(folder)
        spec = pull_spec(version="v2", run_window=RunWindow(window, "explicit bounds", START.date()))
        land(spec, reader_of(fake, clock), store)
        outcome = derive_changes(ChangesSpec(window, clock.now(), 1.0), store, reader_of(fake, clock))
    return len({change.resource_id for change in made}), outcome.request_count


def changes(count: int, resource_count: int) -> Sequence[SeededChange]:
    """Returns changes at equal distances within a day."""
    step_ns = 86_000 * SECOND_NS // count
    return seeded_changes(11, [to_ns(START) + number * step_ns for number in range(count)], resource_count)


def measure_rows() -> None:
    """Prints the CPU time of deriving and writing rows, and their size."""
    made = changes(CPU_RECORDS, 100)
    groups: dict[str, list[AuditRecord]] = defaultdict(list)
    for change, record in zip(made, read_records(ApiVersion.V2, [one.raw for one in made]), strict=True):
        groups[change.resource_id].append(record)
    before = time.process_time()
    rows = [
        row
        for group in groups.values()
        for row in change_rows(group, changes_of(ApiVersion.V2, group, History("exact", tuple(group))))
    ]
    content = write_rows(rows)
    seconds = time.process_time() - before
    statuses = dict(Counter(row.history_status for row in rows))
    print(f"{CPU_RECORDS} records: {seconds / CPU_RECORDS * 1e6:.0f} µs of CPU time for each, {statuses}")
    print(f"{len(content) / CPU_RECORDS:.0f} bytes a row")


if __name__ == "__main__":
    main()

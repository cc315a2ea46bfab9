"""Measures what comparing a Logpush archive with a dataset takes: ``python -m bench.reconcile``."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from tempfile import TemporaryDirectory

from airflow_audit_provider.adapters.storage.local_store import LocalStore
from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.windows.run_window import RunWindow
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.formats.logpush.files import ArchiveForm
from airflow_audit_provider.pipelines.reconcile import ReconcileSpec, reconcile
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.logpush import LogpushFaults, LogpushOptions, make_archive
from airflow_audit_provider.testing.settings import Settings
from tests.pipelines.history.counting_store import CountingStore
from tests.pipelines.pull.landing import land, pull_spec, reader_of

START = datetime(2026, 10, 26, tzinfo=UTC)
RECORDS, DAYS = 5_000, 4
FORMS = {
    "NDJSON": LogpushOptions(timestamp_format="rfc3339"),
    "CSV": LogpushOptions(output_type="csv", timestamp_format="rfc3339"),
}


def main() -> None:
    """Prints the CPU time of each record, and the requests to both stores and to Cloudflare."""
    for version in ApiVersion:
        clock = ManualClock()
        fake = FakeCloudflare(clock.now, Settings(records_per_day=RECORDS, even_days=True))
        with TemporaryDirectory() as folder:
            dataset = CountingStore(landed(str(version), fake, clock, folder))
        for name, options in FORMS.items():
            print(f"{version}, {name}: {measured(version, fake, dataset, options)}")


def landed(version: str, fake: FakeCloudflare, clock: ManualClock, folder: str) -> dict[str, bytes]:
    """Lands each day as a window; returns the objects."""
    store = LocalStore(folder)
    for number in range(DAYS):
        window = TimeWindow(START + timedelta(days=number), START + timedelta(days=number + 1))
        spec = pull_spec(version, run_window=RunWindow(window, "explicit bounds", window.start.date()))
        land(spec, reader_of(fake, clock), store)
    return {key: store.read(key) or b"" for key in store.list_keys("")}


def measured(version: ApiVersion, fake: FakeCloudflare, dataset: CountingStore, options: LogpushOptions) -> str:
    """Compares an archive that lacks a hundredth of the records; returns what that took."""
    rows = list(fake.truth(str(version), None, START, START + timedelta(days=DAYS)))
    made = make_archive(rows, str(version), options, LogpushFaults(drop=0.01, double=0.01))
    archive, spec = CountingStore(made.files), ReconcileSpec(form=ArchiveForm(version))
    dataset.calls.clear()
    fake.requests.clear()
    before = time.process_time()
    report = reconcile(spec, [archive], dataset)
    micros = (time.process_time() - before) / report.record_count * 1e6
    counts = " and ".join(f"{dict(store.calls)} calls to the {name}" for name, store in
                          (("dataset", dataset), ("archive", archive)))  # fmt: skip
    return (
        f"{report.record_count} records, {report.archive.file_count} files: {micros:.0f} µs of CPU time for each, "
        f"{counts}, {len(fake.requests)} requests to Cloudflare; {report.missing_there_count} missing"
    )


if __name__ == "__main__":
    main()

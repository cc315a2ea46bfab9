"""Logpush archives of a fake account beside the dataset that was landed from it, for tests that compare the two."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.verification.reconcile.report import ReconcileReport
from airflow_audit_provider.core.windows.run_window import RunWindow
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.formats.logpush.files import ArchiveForm
from airflow_audit_provider.pipelines.reconcile import ReconcileSpec, reconcile
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.logpush import FIELDS, LogpushFaults, LogpushOptions, MadeArchive, make_archive
from tests.pipelines.pull.landing import END, START, fake_with, land, pull_spec, reader_of

DAY = timedelta(days=1)
DEFAULTS = LogpushOptions()


class Account(NamedTuple):
    """A fake account, the dataset that was landed of it, and the folder for its archives."""

    version: str
    fake: FakeCloudflare
    clock: ManualClock
    dataset: LocalStore
    folder: Path

    def archive(self, faults: LogpushFaults, options: LogpushOptions, seed: int = 0) -> tuple[MadeArchive, LocalStore]:
        """Writes an archive of all its records; returns it with its store."""
        rows = list(self.fake.truth(self.version, None, START - DAY, END + 3 * DAY))
        made = make_archive(rows, self.version, options, faults, seed)
        return made, stored(self.folder / f"archive-{seed}", made.files)

    def truth(self, days: int = 1) -> dict[str, int]:
        """Returns the event times of the records of the landed range, by id."""
        rows = self.fake.truth(self.version, None, START, START + days * DAY)
        return {row.id: row.time_ns for row in rows}

    def reconcile(self, archive: LocalStore, options: LogpushOptions = DEFAULTS, **bounds: Any) -> ReconcileReport:
        """Compares an archive that has these output options with the dataset."""
        return reconcile(ReconcileSpec(**bounds, form=form_of(self.version, options)), [archive], self.dataset)


def form_of(version: str, options: LogpushOptions) -> ArchiveForm:
    """Returns what a user states about an archive with these output options."""
    back = {given: name for name, given in options.renames.items()}
    has_columns = options.output_type == "csv" and not options.has_header
    names = (options.field_names or tuple(FIELDS[version])) if has_columns else ()
    return ArchiveForm(ApiVersion(version), back, names)


def stored(folder: Path, files: Mapping[str, bytes]) -> LocalStore:
    """Writes files into a folder; returns its store."""
    for key, content in files.items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return LocalStore(str(folder))


def landed_account(folder: Path, version: str = "v1", days: int = 1, per_day: int = 300, **changes: Any) -> Account:
    """Returns an account whose first days are landed, each as a window."""
    clock = ManualClock()
    fake = fake_with(clock, records_per_day=per_day)
    dataset = LocalStore(str(folder / "dataset"))
    reader = reader_of(fake, clock)
    for day in range(days):
        window = TimeWindow(START + day * DAY, START + (day + 1) * DAY)
        run_window = RunWindow(window, "explicit bounds", window.start.date())
        land(pull_spec(version, **changes)._replace(run_window=run_window), reader, dataset)
    return Account(version, fake, clock, dataset, folder)

"""Random archives: forms, versions and faults that nobody has thought of together are compared and repaired."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest

from airflow_audit_provider.adapters.spill_file import SpillFile
from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.verification.reconcile.report import ReconcileReport
from airflow_audit_provider.pipelines.reconcile import ReconcileSpec, Reconciliation
from airflow_audit_provider.pipelines.reconcile_repair import repair_archive
from airflow_audit_provider.testing.logpush import FIELDS, LogpushFaults, LogpushOptions
from tests.pipelines.pull.landing import START, objects
from tests.pipelines.reconcile.archives import Account, form_of, landed_account

SHORT, NIGHT = range(3), range(3, 150)


@pytest.fixture(scope="module", params=["v1", "v2"])
def account(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Account:
    """An account with two landed days."""
    return landed_account(tmp_path_factory.mktemp("account"), request.param, days=2, per_day=60)


def random_options(version: str, rng: Random) -> LogpushOptions:
    """Returns output options of a job with the id, the time, the type of the action and any other fields."""
    fixed = ["ID", "When", "ActionType"] if version == "v1" else ["AuditLogID", "ActionTimestamp", "ActionType"]
    others = sorted(FIELDS[version].keys() - set(fixed))
    names = [*fixed, *rng.sample(others, rng.randrange(1, len(others)))]
    rng.shuffle(names)
    renamed = rng.sample(names, rng.randrange(len(names))) if rng.random() < 0.5 else []
    return LogpushOptions(
        output_type=rng.choice(["ndjson", "csv"]),
        timestamp_format=rng.choice(["unixnano", "unix", "rfc3339"]),
        times_as_text=rng.random() < 0.5,
        field_names=tuple(names) if rng.random() < 0.7 else (),
        renames={name: f"x-{name.lower()}" for name in renamed},
        has_header=rng.random() < 0.5,
        delimiter=rng.choice(",\t;|"),
        redacts=rng.random() < 0.3,
        prefix=rng.choice(["{DATE}/", "logs/", "a/{DATE}/b/", "", "dt={DATE}/"]),
    )


def random_faults(rng: Random) -> LogpushFaults:
    """Returns faults of a job, some of which it may not have."""
    drop, double, change, late, cut = (rng.choice([0.0, 0.02, 0.2]) for _ in range(5))
    start = START + timedelta(minutes=rng.randrange(2880))
    disabled = ((start, start + timedelta(minutes=rng.randrange(1, 2000))),) if rng.random() < 0.5 else ()
    return LogpushFaults(drop, double, change, late, cut, disabled=disabled, foreign=rng.random() < 0.5)


def repaired(account: Account, archive: Store, target: Store, options: LogpushOptions) -> tuple[ReconcileReport, int]:
    """Compares and repairs; returns the report and the number of records that were written."""
    with closing(SpillFile()) as spill:
        compared = Reconciliation(ReconcileSpec(form=form_of(account.version, options)), account.dataset, spill)
        report = compared.run([archive], [target])
        return report, repair_archive(compared, target).record_count


def check(account: Account, seed: int, folder: Path) -> None:
    """Compares an archive with its truth, repairs it, and compares it again."""
    rng = Random(seed)
    options, faults = random_options(account.version, rng), random_faults(rng)
    made, archive = account._replace(folder=folder).archive(faults, options, seed)
    target = LocalStore(str(folder / rng.choice(["repair", f"archive-{seed}", f"archive-{seed}/20261026"])))
    before, inside = objects(archive), account.truth(2).keys()
    truth = made.truth
    report, written_count = repaired(account, archive, target, options)
    found = {
        name: {one.id for one in getattr(report, name)} for name in ("missing_there", "double", "differing", "late")
    }
    assert found == {
        "missing_there": truth.missing & inside,
        "double": truth.doubled & inside,
        "differing": truth.changed & inside,
        "late": truth.late & inside,
    }, (options, faults)
    assert (report.missing_here_count, report.undated_count, written_count) == (0, 0, report.missing_there_count)
    again, written_count = repaired(account, archive, target, options)
    assert (again.missing_there_count, again.missing_here_count, again.undated_count, written_count) == (0, 0, 0, 0)
    assert again.repaired_count == report.missing_there_count
    assert again.double_count == report.double_count
    assert {one.id for one in again.differing} == found["differing"]
    assert before.items() <= objects(archive).items()


@pytest.mark.parametrize("seed", SHORT)
def test_random_archive_is_compared_and_repaired(account: Account, seed: int, tmp_path: Path) -> None:
    """What is found is what the generator did, and a repair adds exactly what is missing."""
    check(account, seed, tmp_path)


@pytest.mark.nightly
@pytest.mark.parametrize("seed", NIGHT)
def test_campaign_of_random_archives_finds_each_fault(account: Account, seed: int, tmp_path: Path) -> None:
    """The same holds for many more archives."""
    check(account, seed, tmp_path)

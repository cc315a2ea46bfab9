"""A repair writes exactly what an archive lacks, in the archive's own form, once, and touches nothing that exists."""

from __future__ import annotations

import gzip
import json
from contextlib import closing, suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.spill_file import SpillFile
from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.api.records import parse_event_time
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.privacy.rule import PrivacyRule, read_privacy
from airflow_audit_provider.core.verification.reconcile.file_names import pushed_range
from airflow_audit_provider.core.verification.reconcile.report import FileFindingKind, ReconcileReport
from airflow_audit_provider.exceptions import ConfigurationError, StorageError
from airflow_audit_provider.pipelines import reconcile_repair
from airflow_audit_provider.pipelines.reconcile import ReconcileSpec, Reconciliation
from airflow_audit_provider.pipelines.reconcile_repair import RepairOutcome, repair_archive
from airflow_audit_provider.testing.logpush import LogpushFaults, LogpushOptions
from tests.pipelines.pull.crashing_store import CrashingStore, CrashPoint, KilledError
from tests.pipelines.pull.landing import START, land, objects, pull_spec, reader_of, record_at
from tests.pipelines.reconcile.archives import Account, form_of, landed_account, stored

pytestmark = pytest.mark.integration

FAULTS = LogpushFaults(drop=0.1, cut=0.1, disabled=((START, START + timedelta(hours=3)),))
FORMS = {
    "ndjson": LogpushOptions(),
    "csv without header": LogpushOptions(output_type="csv", has_header=False, times_as_text=True),
    "tsv of some fields": LogpushOptions(
        output_type="csv",
        delimiter="\t",
        timestamp_format="rfc3339",
        field_names=("ActionType", "ID", "When", "Metadata"),
        renames={"ActionType": "what", "When": "at"},
    ),
    "seconds": LogpushOptions(timestamp_format="unix", renames={"ID": "audit-id"}),
}


def repaired(
    account: Account, archive: Store, target: Store, options: LogpushOptions, end: datetime | None = None
) -> tuple[ReconcileReport, RepairOutcome]:
    """Reconciles an archive with its repairs, and repairs it."""
    with closing(SpillFile()) as spill:
        spec = ReconcileSpec(form=form_of(account.version, options), end=end)
        compared = Reconciliation(spec, account.dataset, spill)
        report = compared.run([archive], [target])
        return report, repair_archive(compared, target)


def written_ids(target: Store, field: str = "ID") -> list[str]:
    """Returns the ids in the files of a repair of an NDJSON archive, sorted."""
    lines = [line for content in objects(target).values() for line in gzip.decompress(content).splitlines()]
    return sorted(json.loads(line)[field] for line in lines)


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Account:
    """An account with two landed days."""
    return landed_account(tmp_path_factory.mktemp("account"), days=2, per_day=150)


@pytest.mark.parametrize("form", FORMS)
def test_repaired_archive_has_the_truth(account: Account, form: str, tmp_path: Path) -> None:
    """A repair in the archive's own form makes it equal, and a second one writes nothing."""
    made, archive = account._replace(folder=tmp_path).archive(FAULTS, FORMS[form])
    before, target = objects(archive), LocalStore(str(tmp_path / "repair"))
    report, outcome = repaired(account, archive, target, FORMS[form])
    lost = made.truth.missing & account.truth(2).keys()
    assert report.missing_there_count == outcome.record_count == len(lost) > 50
    after = objects(target)
    report, outcome = repaired(account, archive, target, FORMS[form])
    assert report.is_equal
    assert report.repaired_count == len(lost)
    assert (outcome.file_count, outcome.existing_count, outcome.record_count) == (0, 0, 0)
    assert objects(target) == after
    assert objects(archive) == before


@pytest.mark.parametrize("folder", ["archive-0", "archive-0/repairs", "."])
def test_repair_within_or_around_the_archive_makes_no_row_double(account: Account, folder: str, tmp_path: Path) -> None:
    """Files of the job that lie below the folder of the repair are read once, and so are those of the repair."""
    made, archive = account._replace(folder=tmp_path).archive(LogpushFaults(drop=0.2), LogpushOptions())
    target = LocalStore(str(tmp_path / folder))
    lost = made.truth.missing & account.truth(2).keys()
    report, outcome = repaired(account, archive, target, LogpushOptions())
    assert (report.double_count, report.missing_there_count, outcome.record_count) == (0, len(lost), len(lost))
    report, outcome = repaired(account, archive, target, LogpushOptions())
    assert (report.is_equal, report.double_count, report.repaired_count) == (True, 0, len(lost))
    assert outcome.record_count == 0


def test_cut_copy_of_a_repair_does_not_hide_the_whole_one(account: Account, tmp_path: Path) -> None:
    """An incomplete copy of a repair in the archive is read beside the one that is whole."""
    _, archive = account._replace(folder=tmp_path).archive(LogpushFaults(drop=0.2), LogpushOptions())
    target = LocalStore(str(tmp_path / "repair"))
    repaired(account, archive, target, LogpushOptions())
    stored(tmp_path / "archive-0", {key: content[: len(content) // 2] for key, content in objects(target).items()})
    report, _ = repaired(account, archive, target, LogpushOptions())
    assert report.is_equal
    assert {one.kind for one in report.findings} == {FileFindingKind.DAMAGED}


def test_repair_has_the_form_of_the_job_and_not_of_an_earlier_repair(account: Account, tmp_path: Path) -> None:
    """After a repair of an empty archive in the default form, the next one has the form of the job's first files."""
    target, options = LocalStore(str(tmp_path / "repair")), FORMS["csv without header"]
    day = START + timedelta(days=1)
    repaired(account, stored(tmp_path / "none", {}), target, LogpushOptions(), end=day)
    first = objects(target)
    _, archive = account._replace(folder=tmp_path).archive(LogpushFaults(drop=0.5), options)
    repaired(account, archive, target, options)
    added = [content for key, content in objects(target).items() if key not in first]
    assert added
    assert not any(gzip.decompress(content).startswith(b"{") for content in added)


def test_repair_of_a_job_without_times_has_its_columns_alone(account: Account, tmp_path: Path) -> None:
    """A job that sends no times is repaired with the columns that it sends, and no others."""
    options = LogpushOptions(output_type="csv", has_header=False, field_names=("ActorEmail", "ID"))
    _, archive = account._replace(folder=tmp_path).archive(LogpushFaults(drop=0.2), options)
    target = LocalStore(str(tmp_path / "repair"))
    report, _ = repaired(account, archive, target, options)
    lines = [line for content in objects(target).values() for line in gzip.decompress(content).splitlines()]
    assert len(lines) == report.missing_there_count > 0
    assert {line.count(b",") for line in lines} == {1}
    report, outcome = repaired(account, archive, target, options)
    assert (report.missing_there_count, report.differing_count, outcome.record_count) == (0, 0, 0)


def test_repair_files_state_the_times_of_their_rows(tmp_path: Path) -> None:
    """The name of each file states a range that has all of its rows, also those of a window with late records."""
    account = landed_account(tmp_path, per_day=20)
    account.fake.add(record_at("2026-10-26T03:00:00Z", "late"))
    land(pull_spec(attempt_id="two"), reader_of(account.fake, account.clock), account.dataset)
    target = LocalStore(str(tmp_path / "repair"))
    _, outcome = repaired(account, stored(tmp_path / "none", {}), target, LogpushOptions())
    assert outcome.record_count == 21
    for key, content in objects(target).items():
        stated = pushed_range(key)
        assert stated is not None
        for line in gzip.decompress(content).splitlines():
            assert stated.contains(parse_event_time(json.loads(line)["When"]))


def test_repair_of_version_2_has_the_truth(tmp_path: Path) -> None:
    """A repair of audit_logs_v2 makes the archive equal, in the objects as well."""
    account = landed_account(tmp_path, "v2", per_day=100)
    made, archive = account.archive(FAULTS, LogpushOptions())
    target = LocalStore(str(tmp_path / "repair"))
    repaired(account, archive, target, LogpushOptions())
    assert written_ids(target, "AuditLogID") == sorted(made.truth.missing & account.truth().keys())
    assert repaired(account, archive, target, LogpushOptions())[0].is_equal


def test_repair_of_an_empty_archive_has_everything(account: Account, tmp_path: Path) -> None:
    """An archive without a file is repaired in the dashboard's default form, one file for each day."""
    target = LocalStore(str(tmp_path / "repair"))
    report, outcome = repaired(account, stored(tmp_path / "none", {}), target, LogpushOptions())
    assert report.archive.file_count == 0
    assert written_ids(target) == sorted(account.truth(2))
    assert [key[:8] for key in outcome.keys] == ["20261026", "20261027"]
    assert repaired(account, stored(tmp_path / "none", {}), target, LogpushOptions())[0].is_equal


@pytest.mark.parametrize("after_effect", [False, True])
def test_repair_killed_at_any_operation_is_continued(
    account: Account, after_effect: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repair that is killed at any operation and run again has each missing record once."""
    monkeypatch.setattr(reconcile_repair, "_MOST_RECORDS", 20)
    options = LogpushOptions()
    faults = LogpushFaults(disabled=((START, START + timedelta(hours=40)),))
    made, archive = account._replace(folder=tmp_path).archive(faults, options)
    counted = CrashPoint()
    repaired(account, archive, CrashingStore(LocalStore(str(tmp_path / "counted")), counted), options)
    expected = sorted(made.truth.missing & account.truth(2).keys())
    assert len(counted.operations) > 6
    for number in range(1, len(counted.operations) + 1):
        target = LocalStore(str(tmp_path / f"repair-{number}"))
        crash = CrashPoint(number, after_effect=after_effect)
        with suppress(KilledError):
            repaired(account, archive, CrashingStore(target, crash), options)
        repaired(account, archive, target, options)
        assert written_ids(target) == expected, counted.operations[number - 1]


def test_repair_without_its_own_files_in_the_comparison_writes_nothing_new(account: Account, tmp_path: Path) -> None:
    """A repair that does not read its earlier files makes the same files again and creates none."""
    _, archive = account._replace(folder=tmp_path).archive(FAULTS, LogpushOptions())
    target = LocalStore(str(tmp_path / "repair"))
    _, first = repaired(account, archive, target, LogpushOptions())
    with closing(SpillFile()) as spill:
        compared = Reconciliation(ReconcileSpec(), account.dataset, spill)
        compared.run([archive])
        second = repair_archive(compared, target)
    assert (second.file_count, second.existing_count) == (0, first.file_count)


def test_repair_never_overwrites_another_object(account: Account, tmp_path: Path) -> None:
    """A key that other bytes have taken is an error, and the bytes stay."""
    archive = stored(tmp_path / "none", {})
    _, outcome = repaired(account, archive, LocalStore(str(tmp_path / "one")), LogpushOptions())
    taken = stored(tmp_path / "two", {outcome.keys[0]: b"notes\n"})
    with closing(SpillFile()) as spill:
        compared = Reconciliation(ReconcileSpec(), account.dataset, spill)
        compared.run([archive])
        with pytest.raises(StorageError, match="is taken by an object with other bytes"):
            repair_archive(compared, taken)
    assert taken.read(outcome.keys[0]) == b"notes\n"


def test_repair_of_a_pseudonymized_dataset_is_refused(tmp_path: Path) -> None:
    """A dataset with a privacy rule cannot be written as the job would have written it."""
    request = read_privacy({"drop": ["metadata"]})
    assert request is not None
    account = landed_account(tmp_path, per_day=20, privacy=PrivacyRule(request))
    with pytest.raises(ConfigurationError, match="privacy rule"):
        repaired(account, stored(tmp_path / "none", {}), LocalStore(str(tmp_path / "repair")), LogpushOptions())

"""A reconciliation finds exactly what an archive lacks, has twice, has late or has otherwise, in every form of it."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.privacy.rule import PrivacyRule, read_privacy
from airflow_audit_provider.core.verification.reconcile.report import FileFindingKind
from airflow_audit_provider.core.verification.reconcile.report_text import report_text
from airflow_audit_provider.exceptions import ConfigurationError, NotCommittedError
from airflow_audit_provider.pipelines import reconcile
from airflow_audit_provider.pipelines.side_by_side import read_each
from airflow_audit_provider.testing.logpush import FIELDS, LogpushFaults, LogpushOptions
from tests.pipelines.pull.landing import END, START, land, pull_spec, reader_of
from tests.pipelines.reconcile.archives import Account, landed_account, stored

pytestmark = pytest.mark.integration

VERSIONS = ("v1", "v2")
NO_FAULTS = LogpushFaults()
FAULTS = LogpushFaults(
    drop=0.05,
    double=0.05,
    change=0.05,
    late=0.05,
    cut=0.1,
    disabled=((START + timedelta(hours=9), START + timedelta(hours=11)),),
    foreign=True,
)
FORMS = {
    "api default": LogpushOptions(),
    "dashboard default": LogpushOptions(timestamp_format="rfc3339"),
    "seconds as text": LogpushOptions(timestamp_format="unix", times_as_text=True),
    "nanoseconds as text": LogpushOptions(times_as_text=True, redacts=True),
    "csv": LogpushOptions(output_type="csv", has_header=False),
    "csv with header": LogpushOptions(output_type="csv", timestamp_format="rfc3339"),
    "tsv": LogpushOptions(output_type="csv", delimiter="\t", times_as_text=True),
    "wrapped rows": LogpushOptions(
        list_prefix='{"events":[',
        list_suffix="\n]}\n",
        record_prefix='\n{"info":',
        record_suffix="}",
        record_delimiter=",",
    ),
    "one line for each file": LogpushOptions(list_prefix="[", list_suffix="]", record_suffix="", record_delimiter=","),
    "no date in the path": LogpushOptions(prefix="logs/audit/"),
    "date inside the path": LogpushOptions(prefix="a/dt={DATE}/b/"),
}


@pytest.fixture(scope="module", params=VERSIONS)
def account(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Account:
    """An account with one landed day."""
    return landed_account(tmp_path_factory.mktemp("account"), request.param)


@pytest.mark.parametrize("form", FORMS)
def test_reconcile_archive_without_faults_is_equal(account: Account, form: str, tmp_path: Path) -> None:
    """An archive of the same records is equal in every form, and every field that both sides have is compared."""
    made, archive = account._replace(folder=tmp_path).archive(NO_FAULTS, FORMS[form])
    report = account.reconcile(archive, FORMS[form])
    assert report.differing == ()
    assert report.is_equal
    assert report.record_count == len(account.truth())
    assert not made.truth.missing
    names = {field.partition(".")[0] for field in report.compared_fields}
    uncompared = {"ID", "AuditLogID", "ResourceValue"}
    assert names == set(FIELDS[account.version]) - uncompared


@pytest.mark.parametrize("form", ["api default", "csv", "date inside the path"])
def test_reconcile_archive_with_faults_names_each(account: Account, form: str, tmp_path: Path) -> None:
    """What is missing, double, different and late is exactly what the generator did."""
    made, archive = account._replace(folder=tmp_path).archive(FAULTS, FORMS[form], seed=3)
    report, inside = account.reconcile(archive, FORMS[form]), account.truth().keys()
    assert not report.is_equal
    for name, expected in {
        "missing_there": made.truth.missing,
        "double": made.truth.doubled,
        "differing": made.truth.changed,
        "late": made.truth.late,
    }.items():
        listed = {one.id for one in getattr(report, name)}
        assert listed == expected & inside, name
        assert expected & inside, f"the archive has none: {name}"
    assert {one.fields for one in report.differing} == {("ActionType",)}
    assert report.missing_here_count == 0
    found = {one.key: one.kind for one in report.findings}
    assert made.cut_keys
    assert found.keys() - set(made.cut_keys) == set(made.foreign_keys)
    kinds = {FileFindingKind.DAMAGED, FileFindingKind.FOREIGN}
    assert set(found.values()) == kinds


def test_disabled_job_is_reported_by_its_minutes(account: Account, tmp_path: Path) -> None:
    """The minutes of a disabled job are one span, from its first to its last record."""
    start, end = START + timedelta(hours=9), START + timedelta(hours=12)
    made, archive = account._replace(folder=tmp_path).archive(LogpushFaults(disabled=((start, end),)), LogpushOptions())
    report, times = account.reconcile(archive), account.truth()
    lost = sorted(times[one] for one in made.truth.disabled)
    (span,) = report.off
    assert span.record_count == report.missing_there_count == len(lost)
    minute = timedelta(minutes=1)
    assert start <= span.start <= START + (lost[0] // 1000 - START.timestamp() * 10**6) * timedelta(microseconds=1)
    assert span.end - minute <= START + (lost[-1] // 1000 - START.timestamp() * 10**6) * timedelta(microseconds=1)
    assert span.end <= end


def test_subset_of_renamed_fields_is_compared(account: Account, tmp_path: Path) -> None:
    """A job that sends three fields under other names is compared in these."""
    id_field, time_field = ("ID", "When") if account.version == "v1" else ("AuditLogID", "ActionTimestamp")
    options = LogpushOptions(
        field_names=(id_field, time_field, "ActionType"), renames={id_field: "audit-id", time_field: "at"}
    )
    made, archive = account._replace(folder=tmp_path).archive(LogpushFaults(change=0.1), options)
    report = account.reconcile(archive, options)
    assert report.compared_fields == tuple(sorted((time_field, "ActionType")))
    assert {one.id for one in report.differing} == made.truth.changed & account.truth().keys()


def test_equal_comparisons_have_equal_reports(account: Account, tmp_path: Path) -> None:
    """The bytes of a report do not depend on where the archive lies or on the run."""
    reports = set()
    for name in ("one", "two"):
        _, archive = account._replace(folder=tmp_path / name).archive(FAULTS, LogpushOptions())
        reports.add(account.reconcile(archive).to_bytes())
    assert len(reports) == 1


def test_digest_of_the_listing_has_keys_and_sizes(account: Account, tmp_path: Path) -> None:
    """A file of another size, and one under another key, give the listing of the archive another digest."""
    made, _ = account._replace(folder=tmp_path).archive(NO_FAULTS, LogpushOptions(prefix="logs/"))
    key, content = next((key, content) for key, content in made.files.items() if "20261026T12" in key)
    listings: dict[str, dict[str, bytes]] = {
        "plain": {key: content},
        "size": {key: content + gzip.compress(b"\n")},
        "key": {key.replace("logs/", "LOGS/"): content},
    }
    reports = [account.reconcile(stored(tmp_path / name, files)) for name, files in listings.items()]
    assert len({report.archive.listing_sha256 for report in reports}) == len(listings)
    assert {report.archive.row_count for report in reports} == {reports[0].archive.row_count}


def test_rows_that_the_dataset_lacks_are_missing_here(tmp_path: Path) -> None:
    """Rows of committed windows that the dataset lacks are listed; those of other windows are counted apart."""
    account = landed_account(tmp_path, per_day=50)
    late = b'{"ID":"late","When":"2026-10-26T12:00:00Z"}\n'
    archive = stored(
        tmp_path / "archive", {"a.log.gz": late, "b.log": late.replace(b"late", b"next").replace(b"-26T", b"-27T")}
    )
    report = account.reconcile(archive, end=END + timedelta(days=1))
    assert [(one.id, one.files) for one in report.missing_here] == [("late", ("a.log.gz",))]
    assert [(span.start, span.end) for span in report.uncommitted] == [(END, END + timedelta(days=1))]
    assert (report.missing_here_count, report.uncommitted_count) == (1, 1)
    assert not report.is_equal


def test_archive_of_the_other_dataset_is_refused(account: Account, tmp_path: Path) -> None:
    """An archive with rows of the other version only is refused, and so is one in which no line is a row."""
    other = "v2" if account.version == "v1" else "v1"
    elsewhere = landed_account(tmp_path, other, per_day=20)
    _, archive = elsewhere.archive(NO_FAULTS, LogpushOptions())
    names = {"v1": "audit_logs", "v2": "audit_logs_v2"}
    with pytest.raises(ConfigurationError, match=f"rows of {names[other]} and none of {names[account.version]},"):
        account.reconcile(archive)
    with pytest.raises(ConfigurationError, match="None of the 1 files"):
        account.reconcile(stored(tmp_path / "texts", {"notes.txt": b"notes\n"}))


def test_destination_without_windows_is_refused(account: Account, tmp_path: Path) -> None:
    """Without a dataset, or without a window in the range, there is nothing to compare with."""
    empty = stored(tmp_path / "empty", {})
    with pytest.raises(NotCommittedError, match="holds no dataset"):
        account._replace(dataset=empty).reconcile(empty)
    with pytest.raises(NotCommittedError, match="No window of"):
        account.reconcile(empty, start=END + timedelta(days=30), end=END + timedelta(days=31))


def test_findings_are_listed_up_to_a_bound_and_all_counted(
    account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prefix with many foreign objects makes a report of bounded size that says how many there are."""
    monkeypatch.setattr(reconcile, "_MOST_FINDINGS", 3)
    made, _ = account._replace(folder=tmp_path).archive(NO_FAULTS, LogpushOptions())
    foreign = {f"notes-{number}.txt": b"notes\n" for number in range(30)}
    report = account.reconcile(stored(tmp_path / "all", {**made.files, **foreign}))
    assert report.is_equal
    assert (len(report.findings), report.archive.finding_count) == (3, 30)
    assert "These are 3 of 30 findings" in report_text(report)
    assert report.archive.skipped_count == len(made.files) + 30 - report.archive.file_count


def test_files_are_read_in_groups_of_bounded_bytes(
    account: Account, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The contents that are read at once are no more than a bound, or one file, and every file is read once."""
    made, archive = account._replace(folder=tmp_path).archive(NO_FAULTS, LogpushOptions())
    bound, groups = max(map(len, made.files.values())), []

    def read(store: Store, keys: Sequence[str]) -> Iterator[tuple[str, bytes | None]]:
        groups.append(list(keys))
        return read_each(store, keys)

    monkeypatch.setattr(reconcile, "_BYTES_AT_ONCE", bound)
    monkeypatch.setattr(reconcile, "read_each", read)
    report = account.reconcile(archive)
    read_files = [keys for keys in groups if set(keys) <= made.files.keys()]
    assert sum(map(len, read_files)) == report.archive.file_count
    assert all(sum(len(made.files[key]) for key in keys) <= bound for keys in read_files)
    assert max(map(len, read_files)) > 1


def test_windows_with_different_privacy_rules_are_refused(tmp_path: Path) -> None:
    """A range with an erased window, whose rule removes more, cannot be compared by one rule; its parts can."""
    account = landed_account(tmp_path, days=2, per_day=40)
    request = read_privacy({"drop": ["metadata"]})
    assert request is not None
    day = timedelta(days=1)
    erased = pull_spec(privacy=PrivacyRule(request), replace=True, erase_reason="request 17", attempt_id="two")
    land(erased, reader_of(account.fake, account.clock), account.dataset)
    _, archive = account.archive(NO_FAULTS, LogpushOptions())
    with pytest.raises(ConfigurationError, match="has another privacy rule than the first window"):
        account.reconcile(archive)
    assert account.reconcile(archive, end=START + day).is_equal
    assert account.reconcile(archive, start=START + day).is_equal


def test_both_datasets_below_one_prefix_are_told_apart(account: Account, tmp_path: Path) -> None:
    """Rows of the other dataset in the same folder are counted and left out."""
    other = landed_account(tmp_path, "v2" if account.version == "v1" else "v1", per_day=20)
    own, _ = account._replace(folder=tmp_path).archive(NO_FAULTS, LogpushOptions(prefix="own/"))
    foreign, _ = other.archive(NO_FAULTS, LogpushOptions(prefix="other/"), seed=1)
    report = account.reconcile(stored(tmp_path / "both", {**own.files, **foreign.files}))
    assert report.is_equal
    assert report.archive.other_row_count >= 20
    assert not report.findings

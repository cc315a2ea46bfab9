"""The report shows what records changed, as text, within bounds, and only on request."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.cli.__main__ import main
from airflow_audit_provider.core.archive.change_keys import change_commit_key, change_file_key
from airflow_audit_provider.core.archive.object_keys import WindowKeys
from airflow_audit_provider.core.warehouse.change_files import ChangeRow, ChangesCommit, change_file, write_rows
from airflow_audit_provider.operators.report import CloudflareAuditLogsReportOperator
from tests._airflow.report.parsed import Parsed, parsed
from tests.pipelines.verify.dataset import DAY_1, commit, record, two_days, window

HEADING = "What records of the newest windows changed"
HOSTILE = "<script>alert(1)</script>\u202e\u2066\x00\x1b[31m"
KEYS = WindowKeys(window(), DAY_1.date())
PART = "part-0001-00000-0123456789abcdef.jsonl.gz"


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """Two landed days."""
    store = LocalStore(str(tmp_path / "audit"))
    two_days(store)
    return store


def _derived(store: LocalStore, rows: list[ChangeRow], manifest_key: str = KEYS.manifest(2)) -> str:
    """Writes changes of the first window; returns the key of the file."""
    key = change_file_key(window(), PART, 0)
    store.create(key, write_rows(rows))
    digest = hashlib.sha256(store.read(manifest_key) or b"").hexdigest()
    made = ChangesCommit(manifest_key, digest, len(rows), (change_file(key, store.read(key) or b""),))
    store.create(change_commit_key(window(), manifest_key), made.to_bytes())
    return key


def _row(before: Any, after: Any, record_id: str = "r1") -> ChangeRow:
    return ChangeRow(record_id, "2026-10-26T00:00:00.000000Z", "recorded", "record", ("x",), before, after)


def _report(tmp_path: Path, *arguments: str) -> Parsed:
    out = tmp_path / "report.html"
    assert main(["report", str(tmp_path / "audit"), "--out", str(out), "--at", "2026-10-27T13:00:00Z", *arguments]) == 0
    return parsed(out)


def test_report_has_changes_only_on_request(store: LocalStore, tmp_path: Path) -> None:
    """Without the option, no value of a record is in the file; with it, each field has its values before and after."""
    _derived(store, [_row({"ttl": 1, "a": 0}, {"ttl": 2, "a": 0}), ChangeRow("r2", "t", "missing", "record")])
    assert HEADING not in _report(tmp_path).text
    found = _report(tmp_path, "--changes")
    assert found.tables[HEADING][1:] == [["2026-10-26T00:00:00.000000Z", "recorded", "r1", "ttl", "1", "2"]]
    assert "The first 1 record that changed something, in 1 window: 2026-10-26" in found.text
    assert "No seal names the files below _changes" in found.text


def test_report_without_derived_changes_says_so(store: LocalStore, tmp_path: Path) -> None:
    """The section names the operator that derives changes."""
    assert "The folder _changes has no changes of a current generation." in _report(tmp_path, "--changes").text


def test_hostile_and_large_values_are_shown_as_short_text(store: LocalStore, tmp_path: Path) -> None:
    """Markup and marks that turn text around are escaped, and no value, field or id makes a large file."""
    large = {f"{number}{HOSTILE}": HOSTILE * 20 for number in range(100)}
    _derived(store, [_row({}, large, f"{number}{HOSTILE * 100}") for number in range(60)])
    found = _report(tmp_path, "--changes")
    assert found.wrong == []
    assert not any(character in found.text for character in "\u202e\u2066\x00\x1b")
    assert len(found.tables[HEADING]) == 201
    assert (tmp_path / "report.html").stat().st_size < 500_000


def test_changes_of_an_earlier_generation_or_a_changed_file_are_not_shown(store: LocalStore, tmp_path: Path) -> None:
    """Values that do not belong to the manifest in force, or that somebody changed, are not taken for its own."""
    key = _derived(store, [_row(1, 2)])
    (tmp_path / "audit" / key).write_bytes(write_rows([_row(1, 3)]))
    found = _report(tmp_path, "--changes")
    assert HEADING not in found.tables
    assert "is not the one that its commit names" in found.text
    commit(store, window(), [record(DAY_1, "late")])
    assert "has no changes of a current generation" in _report(tmp_path, "--changes").text


def test_operator_adds_changes_on_request(store: LocalStore, tmp_path: Path) -> None:
    """The file below _reports has the values only if the task says so."""
    _derived(store, [_row("old-value", "new-value")])
    for changes in (False, True):
        task = CloudflareAuditLogsReportOperator(
            task_id=f"report_{changes}",
            destination=f"file://{tmp_path}/audit",
            at="2026-10-27T13:00:00Z",
            changes=changes,
        )
        written = Path(task.execute({})["report_uri"].removeprefix("file://"))
        assert ("new-value" in written.read_text()) is changes

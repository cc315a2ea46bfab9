"""What ``seal``, ``sweep``, ``pull`` and ``load`` print with ``--json`` is valid under the published JSON Schemas."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.cli.__main__ import main
from airflow_audit_provider.pipelines.observer import KeptPart, KeptReason
from airflow_audit_provider.pipelines.sweep import RetainedFile, SweepReport
from tests.cli.published import check
from tests.pipelines.verify.dataset import DAY_1, two_days


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    """Two committed days."""
    two_days(LocalStore(str(tmp_path / "audit")))
    return tmp_path / "audit"


def test_json_of_seal_is_valid(destination: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The seals of two days, and the finding about a file among the seals that is none, are valid."""
    for status in (0, 1):
        assert main(["seal", str(destination), "--json"]) == status
        values = json.loads(capsys.readouterr().out)
        check("seal", values)
        assert bool(values["created"]) is (status == 0)
        assert bool(values["findings"]) is (status == 1)
        (destination / "_seals" / "000007.json").write_text("no seal")


def test_json_of_sweep_is_valid(
    destination: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An orphaned file, one under a lock, one under a legal hold, and a part that is kept are valid."""
    staged = destination / "_staging" / "20261026T000000Z-20261026T120000Z" / "a" / "part-00000.jsonl"
    staged.parent.mkdir(parents=True)
    staged.write_text("x")
    os.utime(staged, (0, 0))
    assert main(["sweep", str(destination), "--json", "--dry-run"]) == 0
    values = json.loads(capsys.readouterr().out)
    check("sweep", values)
    retained = (RetainedFile("a", 1, DAY_1), RetainedFile("b", 1, None))
    kept = tuple(KeptPart("c", reason) for reason in KeptReason)
    monkeypatch.setattr("airflow_audit_provider.cli.__main__.sweep", lambda *_: SweepReport((), 0, retained, kept))
    assert main(["sweep", str(destination), "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    check("sweep", values)
    assert values["removed"] is True
    assert len(values["retained"]) == 2


def test_json_of_interrupted_commands_is_valid() -> None:
    """A command that a signal has ended prints two fields."""
    check("pull", {"committed_count": 3, "is_interrupted": True}, is_whole=False)
    check("load", {"loaded_count": 3, "is_interrupted": True}, is_whole=False)

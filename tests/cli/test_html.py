"""The option ``--html`` writes the result of a command as one file that runs and fetches nothing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.signing import Ed25519Signer
from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.cli.__main__ import main
from airflow_audit_provider.pipelines.seal import seal
from tests._airflow.report.parsed import parsed
from tests.pipelines.verify.dataset import PRIVATE_PEM, PUBLIC_PEM, commit, two_days, window

pytestmark = pytest.mark.integration


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    """Two landed and sealed days."""
    store = LocalStore(str(tmp_path / "audit"))
    two_days(store)
    seal(store, signer=Ed25519Signer(PRIVATE_PEM))
    return tmp_path / "audit"


def test_coverage_as_html_has_the_spans_of_its_json(
    destination: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each dataset has its spans; a gap is in the verdict, and the text is printed as before."""
    out = tmp_path / "coverage.html"
    command = ["coverage", str(destination), "--html", str(out)]
    assert main(command) == 0
    assert parsed(out).verdict == "good"
    commit(LocalStore(str(destination)), window(5), [])
    capsys.readouterr()
    assert main([*command, "--json"]) == 1
    (found,) = json.loads(capsys.readouterr().out)["datasets"]
    seen = parsed(out)
    assert seen.verdict == "gaps"
    assert [row[2] for row in seen.tables["Spans"][1:]] == [span["state"] for span in found["coverage"]["spans"]]
    assert not seen.wrong


def test_verify_as_html_has_findings_and_seals(destination: Path, tmp_path: Path) -> None:
    """A damaged part, and a file with a hostile name, are in the table as text; the exit status is as without it."""
    out = tmp_path / "verify.html"
    assert main(["verify", str(destination), "--html", str(out), "--no-record"]) == 0
    assert parsed(out).verdict == "good"
    assert "agrees with its manifests: 3 windows, 3 parts and 6 records." in parsed(out).text
    assert "All windows were verified." in parsed(out).text
    part = next(destination.glob("dt=*/window=*/part-0001*"))
    part.write_bytes(part.read_bytes() + b"x")
    (destination / "<script>alert(1)<\u202e").write_text("x")
    assert main(["verify", str(destination), "--html", str(out)]) == 1
    seen = parsed(out)
    assert seen.verdict == "wrong"
    assert seen.tables["Findings"][1][:2] == ["severe", "part_size"]
    assert "<script>alert(1)<\\u202e" in [row[2] for row in seen.tables["Findings"]]
    assert [row[0] for row in seen.tables["Seals, the newest first"]] == ["Number", "2", "1"]
    assert not seen.wrong


def test_verify_as_html_states_its_range_and_what_it_did_not_check(destination: Path, tmp_path: Path) -> None:
    """A verification of one day does not read as one of the whole destination, nor one without a key as with it."""
    out, key = tmp_path / "verify.html", tmp_path / "key.pem"
    key.write_text(PUBLIC_PEM)
    command = ["verify", str(destination), "--html", str(out), "--no-record", "--start", "2026-10-27"]
    assert main(command) == 0
    assert "Windows from 2026-10-27T00:00:00Z to the last were verified." in parsed(out).text
    assert "no public key was given (--public-key)" in parsed(out).text
    assert main([*command, "--public-key", str(key)]) == 0
    assert "no public key was given" not in parsed(out).text


def test_destination_that_is_gone_writes_no_file(destination: Path, tmp_path: Path) -> None:
    """Without a window the file says so, and the exit status is that of a problem."""
    shutil.rmtree(destination)
    assert main(["coverage", str(destination), "--html", str(tmp_path / "gone.html")]) == 1
    assert "The destination holds no committed window." in parsed(tmp_path / "gone.html").text

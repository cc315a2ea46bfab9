"""The report operator writes a file that every other part of the provider knows, and never writes over one."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_audit_provider._airflow.report.document import Verdict
from airflow_audit_provider.adapters.signing import Ed25519Signer
from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.cli.__main__ import main
from airflow_audit_provider.operators.report import CloudflareAuditLogsReportOperator
from airflow_audit_provider.pipelines.coverage import coverage
from airflow_audit_provider.pipelines.seal import seal
from airflow_audit_provider.pipelines.sweep import sweep
from airflow_audit_provider.pipelines.verify import verify
from tests.pipelines.verify.dataset import DAY, DAY_1, PRIVATE_PEM, PUBLIC_PEM, two_days

pytestmark = pytest.mark.integration
AT = "2026-10-27T13:00:00Z"


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    """Two landed days that are sealed and signed."""
    store = LocalStore(str(tmp_path / "audit"))
    two_days(store)
    seal(store, signer=Ed25519Signer(PRIVATE_PEM))
    return tmp_path / "audit"


def written(destination: Path, **arguments: Any) -> dict[str, Any]:
    """Runs the operator."""
    operator = CloudflareAuditLogsReportOperator(
        task_id="report", destination=destination.as_uri(), public_key=PUBLIC_PEM, **{"at": AT, **arguments}
    )
    return operator.execute({})


def test_report_is_written_once_and_is_that_of_the_command(destination: Path) -> None:
    """Two runs with one time give one file, whose name has its digest; the command gives the same bytes."""
    first, second = written(destination), written(destination)
    (path,) = (destination / "_reports").iterdir()
    content = path.read_bytes()
    assert first["sha256"] == hashlib.sha256(content).hexdigest()
    assert first["report_uri"] == path.as_uri()
    assert path.name == f"20261027T130000Z-{first['sha256'][:16]}.html"
    assert (first["verdict"], first["is_new"], second["is_new"]) == ("good", True, False)
    key, out = destination.parent / "key.pem", destination.parent / "report.html"
    key.write_text(PUBLIC_PEM)
    command = ["report", destination.as_uri(), "--out", str(out), "--at", AT, "--public-key", str(key)]
    assert main(command) == 0
    assert out.read_bytes() == content


def test_every_reader_of_the_destination_knows_the_report(destination: Path) -> None:
    """Verification has no finding, coverage the same datasets, and a sweep leaves the report; another name is found."""
    store = LocalStore(str(destination))
    before = coverage(store, DAY_1 + 30 * DAY)
    written(destination)
    assert not [one for one in verify(store).findings if "unchecked" not in one.kind]
    assert coverage(store, DAY_1 + 30 * DAY) == before
    assert not sweep(store, DAY_1 + 400 * DAY).keys
    assert len(list((destination / "_reports").iterdir())) == 1
    (destination / "_reports" / "notes.html").write_text("x")
    assert "object_foreign" in {one.kind for one in verify(store).findings}


def test_report_with_gaps_succeeds_with_a_warning(destination: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The task succeeds, its log has the first line of the report, and the result has the verdict."""
    found = written(destination, at="2026-11-10")
    assert found["verdict"] == Verdict.GAPS
    assert found["headline"].startswith("Not complete between 2026-10-26T00:00:00Z")
    levels = dict(re.findall(r"\[(warning|info) +\] (Not complete|Complete|Wrote)", capsys.readouterr().out))
    assert levels == {"warning": "Not complete", "info": "Wrote"}


def test_destination_that_cannot_be_read_ends_in_what_to_do(tmp_path: Path) -> None:
    """A file in the place of the destination fails the task with a remedy."""
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(AirflowFailException, match="Move it out of the destination, or correct the destination"):
        written(tmp_path / "file")


def test_changed_report_is_not_taken_for_the_written_one(destination: Path) -> None:
    """A task that runs again fails if the file under the name of its report has other bytes."""
    written(destination)
    (path,) = (destination / "_reports").iterdir()
    path.write_bytes(path.read_bytes().replace(b"Complete from", b"complete from"))
    changed = path.read_bytes()
    with pytest.raises(AirflowFailException, match="its bytes are not those whose digest is in its name"):
        written(destination)
    assert path.read_bytes() == changed

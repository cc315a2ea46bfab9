"""The command ``reconcile`` reports and repairs an archive, and lands what the dataset lacks."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from airflow_audit_provider.adapters.signing import Ed25519Verifier
from airflow_audit_provider.cli.__main__ import main
from airflow_audit_provider.core.privacy.rule import PrivacyRule, read_privacy
from airflow_audit_provider.core.verification.envelopes import Envelope
from airflow_audit_provider.core.verification.reconcile.report import REPORT_PAYLOAD_TYPE
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.logpush import LogpushFaults, LogpushOptions, make_archive
from airflow_audit_provider.testing.server import FakeServer
from airflow_audit_provider.testing.settings import ACCOUNT_ID, TOKEN, Settings
from tests.architecture.source_files import PROJECT
from tests.pipelines.pull.landing import START, record_at
from tests.pipelines.reconcile.archives import Account, landed_account, stored
from tests.pipelines.verify.dataset import PRIVATE_PEM, PUBLIC_PEM

VALIDATOR = jsonschema.Draft202012Validator(
    json.loads((PROJECT / "docs/reference/reconcile-report.schema.json").read_text()),
    format_checker=jsonschema.FormatChecker(),
)
FAULTS = LogpushFaults(drop=0.1, double=0.1, change=0.1, late=0.1, disabled=((START, START + timedelta(hours=4)),))


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Account:
    """An account with one landed day."""
    return landed_account(tmp_path_factory.mktemp("account"), per_day=100)


def run(account: Account, archive: Path, *arguments: str) -> int:
    """Runs the command for the account's dataset."""
    return main(["reconcile", str(account.folder / "dataset"), "--archive", str(archive), *arguments])


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Returns the JSON that was printed, valid under the published schema."""
    values: dict[str, Any] = json.loads(capsys.readouterr().out)
    VALIDATOR.validate(values)
    return values


def test_command_reports_and_repairs(account: Account, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first run ends with 1 and names what is missing, a repair writes it, and then only the rest is reported."""
    faults = LogpushFaults(drop=0.1, double=0.1, late=0.1)
    made, _ = account._replace(folder=tmp_path).archive(faults, LogpushOptions())
    archive, repairs = tmp_path / "archive-0", tmp_path / "repairs"
    lost = made.truth.missing & account.truth().keys()
    assert run(account, archive) == 1
    text = capsys.readouterr().out
    assert f"Records or rows that are missing in the archive: {len(lost)}" in text
    assert run(account, archive, "--repair-to", str(repairs), "--json") == 1
    assert printed(capsys)["repair"]["record_count"] == len(lost)
    assert run(account, archive, "--archive", str(repairs), "--json") == 0
    summary = printed(capsys)["summary"]
    assert summary["is_equal"]
    assert summary["repaired_count"] == len(lost)


def test_command_reads_renamed_csv(account: Account, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The names of fields and columns are those of the arguments."""
    options = LogpushOptions(output_type="csv", has_header=False, field_names=("When", "ID"))
    account._replace(folder=tmp_path).archive(LogpushFaults(), options)
    assert run(account, tmp_path / "archive-0") == 2
    assert "CSV without a header" in capsys.readouterr().err
    assert run(account, tmp_path / "archive-0", "--fields", "When, ID", "--json") == 0
    assert printed(capsys)["report"]["compared_fields"] == ["When"]
    assert run(account, tmp_path / "archive-0", "--rename", "ID") == 2


def test_report_is_kept_and_signed(account: Account, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A kept report has a signature that is valid for a report and not for a seal, and a second run adds nothing."""
    account._replace(folder=tmp_path).archive(FAULTS, LogpushOptions())
    (tmp_path / "key.pem").write_text(PRIVATE_PEM)
    arguments = ["--report-to", str(tmp_path / "reports"), "--signing-key", str(tmp_path / "key.pem"), "--json"]
    assert run(account, tmp_path / "archive-0", *arguments) == 1
    key = printed(capsys)["report_key"]
    assert run(account, tmp_path / "archive-0", *arguments) == 1
    assert sorted(path.name for path in (tmp_path / "reports").glob("*.json")) == [key, f"{key}.dsse.json"]
    content = (tmp_path / "reports" / key).read_bytes()
    envelope = msgspec.json.decode((tmp_path / "reports" / f"{key}.dsse.json").read_bytes(), type=Envelope)
    verifier = Ed25519Verifier([PUBLIC_PEM])
    assert verifier.verify(content, envelope, REPORT_PAYLOAD_TYPE) is None
    assert verifier.verify(content, envelope) is not None
    assert verifier.verify(content + b" ", envelope, REPORT_PAYLOAD_TYPE) is not None
    assert run(account, tmp_path / "archive-0", "--signing-key", str(tmp_path / "key.pem")) == 2


def test_command_takes_the_key_of_pseudonyms_from_a_connection(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection of ``--privacy`` has the key: with it changed addresses are found, with another one none is."""
    rule = read_privacy({"conn_id": "privacy_key", "pseudonymise": ["email"]})
    assert rule is not None
    account = landed_account(tmp_path, per_day=40, privacy=PrivacyRule(rule, b"k" * 32))
    made, _ = account.archive(LogpushFaults(), LogpushOptions())
    key = next(key for key in made.files if "20261026T12" in key)
    stored(tmp_path / "archive-0", {key: gzip.compress(gzip.decompress(made.files[key]).replace(b"@", b"@other."))})
    folder = tmp_path / "archive-0"
    assert run(account, folder, "--json") == 0
    capsys.readouterr()
    privacy = ("--privacy", '{"conn_id": "privacy_key", "pseudonymise": ["email"]}')
    monkeypatch.setenv("AIRFLOW_CONN_PRIVACY_KEY", json.dumps({"conn_type": "generic", "password": "k" * 32}))
    assert run(account, folder, *privacy, "--json") == 1
    assert {field for one in printed(capsys)["report"]["differing"] for field in one["fields"]} == {"ActorEmail"}
    monkeypatch.setenv("AIRFLOW_CONN_PRIVACY_KEY", json.dumps({"conn_type": "generic", "password": "o" * 32}))
    assert run(account, folder, *privacy) == 2
    assert "cannot be compared under the privacy rule that you gave" in capsys.readouterr().err


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCloudflare]:
    """A served log of a hundred records a day; the token is in the environment."""
    fake = FakeCloudflare(lambda: datetime.now(UTC), Settings(records_per_day=100, even_days=True))
    with FakeServer(fake) as served:
        monkeypatch.setenv("CLOUDFLARE_API_TOKEN", TOKEN)
        monkeypatch.setenv("CLOUDFLARE_BASE_URL", served.base_url)
        yield fake


@pytest.mark.integration
def test_pull_lands_what_the_dataset_lacks(
    server: FakeCloudflare, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One run lands windows and late records that the dataset lacks, and repairs what the archive lacks."""
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    start, end = today - timedelta(days=4), today - timedelta(days=2)
    destination = tmp_path / "dataset"
    log = ["--account-id", ACCOUNT_ID]
    first = ["--start", f"{start:%Y-%m-%d}", "--end", f"{start + timedelta(days=1):%Y-%m-%d}"]
    assert main(["pull", str(destination), *log, *first, "--quiet"]) == 0
    late = server.add(record_at(f"{start:%Y-%m-%d}T12:00:00Z", "late"))
    rows = list(server.truth("v1", None, start, end))
    lost = rows[:3]
    made = make_archive(rows[3:], "v1", LogpushOptions(), LogpushFaults())
    stored(tmp_path / "archive", made.files)
    bounds = ["--archive", str(tmp_path / "archive"), "--start", f"{start:%Y-%m-%d}", "--end", f"{end:%Y-%m-%d}"]
    assert main(["reconcile", str(destination), *bounds]) == 1
    capsys.readouterr()
    repair = ["--repair-to", str(tmp_path / "archive")]
    assert main(["reconcile", str(destination), *bounds, *log, "--pull", *repair, "--json"]) == 1
    values = printed(capsys)
    assert values["repair"]["record_count"] == values["summary"]["missing_there_count"] == len(lost)
    assert main(["reconcile", str(destination), *bounds, "--archive", f"{tmp_path}/archive/", "--json"]) == 0
    assert printed(capsys)["summary"]["double_count"] == 0
    assert values["summary"]["record_count"] == len(rows)
    assert late.id in {row.id for row in rows}
    assert len(values["pulled"]) == 2
    assert main(["verify", str(destination)]) == 0

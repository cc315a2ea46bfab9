"""The command ``plan`` prints text or JSON, takes its token from the environment, and says what is lost."""

from __future__ import annotations

import json
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from airflow.cli.cli_parser import get_parser

from airflow_audit_provider.adapters.storage.local_store import LocalStore
from airflow_audit_provider.cli.__main__ import main
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.server import FakeServer
from airflow_audit_provider.testing.settings import ACCOUNT_ID, TOKEN, Settings
from tests._airflow.report.parsed import parsed
from tests.architecture.source_files import PROJECT
from tests.pipelines.pull.landing import land, pull_spec, reader_of

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("server")]
SCHEMA = json.loads((PROJECT / "docs/reference/backfill-plan.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker())
NOW = datetime.now(UTC)


@pytest.fixture
def fake() -> FakeCloudflare:
    """A log of a hundred records a day."""
    return FakeCloudflare(lambda: datetime.now(UTC), Settings(records_per_day=100))


def day(back: int) -> str:
    """Returns the date so many days ago."""
    return str((NOW - timedelta(days=back)).date())


def plan_of(tmp_path: Path, *arguments: str) -> int:
    """Runs the command for the account's log."""
    return main(["plan", str(tmp_path), "--account-id", ACCOUNT_ID, *arguments])


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Returns the JSON that was printed, which the published schema describes."""
    values: dict[str, Any] = json.loads(capsys.readouterr().out)
    VALIDATOR.validate(values)
    assert values.keys() == SCHEMA["$defs"]["Plan"]["properties"].keys()
    return values


def test_plan_prints_need_and_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The text has the windows, the requests, the bytes of each form, and one command."""
    assert plan_of(tmp_path, "--start", day(10), "--end", day(0)) == 0
    text = capsys.readouterr().out
    for part in ("10 missing", "requests", "1,200 requests in 300 seconds", "normalized", "readable until"):
        assert part in text
    assert text.count("airflow backfill create") == 1
    assert not list(tmp_path.iterdir())


def test_json_is_valid_under_its_schema(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The JSON of a plan with lost days has the fields of the schema, and exit status 1."""
    assert plan_of(tmp_path, "--start", day(600), "--json") == 1
    values = printed(capsys)
    assert values["windows"]["lost"] > 40
    assert values["windows"]["missing"] > 500
    assert values["sampling"]["request_count"] <= 30


@pytest.mark.parametrize(
    "arguments", [[], ["--division", "hour"], ["--division", "month"], ["--timezone", "Europe/Berlin"]]
)
def test_command_is_one_that_airflow_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    """Airflow's own parser reads the command, and finds the first and the last window in it."""
    assert plan_of(tmp_path, "--start", day(70), "--end", day(1), "--dag-id", "my dag", "--json", *arguments) == 0
    values = printed(capsys)
    (command,) = values["commands"]
    program, *words = shlex.split(command)
    options = get_parser().parse_args(words)
    assert (program, options.dag_id, options.reprocess_behavior) == ("airflow", "my dag", "failed")
    missing = [span for span in values["spans"] if span["state"] == "missing"]
    assert options.from_date == datetime.fromisoformat(missing[0]["start"])
    assert options.to_date < datetime.fromisoformat(missing[-1]["end"])
    assert options.max_active_runs == values["need"]["runs_side_by_side"]


def test_destination_decides_which_log_is_planned(
    tmp_path: Path, fake: FakeCloudflare, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without arguments that name a log, the plan is for the log that the destination holds."""
    clock = ManualClock(NOW)
    start = datetime.fromisoformat(f"{day(3)}T00:00:00Z")
    spec = pull_spec(start=start, end=start + timedelta(days=1))
    land(spec, reader_of(fake, clock), LocalStore(str(tmp_path)))
    assert main(["plan", str(tmp_path), "--start", day(4), "--end", day(1), "--json"]) == 0
    values = printed(capsys)
    assert (values["windows"]["committed"], values["windows"]["missing"]) == (1, 2)
    assert ACCOUNT_ID in values["audit_log"]


def test_airflow_connection_is_used_by_its_id(
    tmp_path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A connection from the environment is used instead of the token, with its account."""
    fields = {
        "conn_type": "cloudflare",
        "password": TOKEN,
        "host": server.base_url,
        "extra": {"account_id": ACCOUNT_ID},
    }
    monkeypatch.setenv("AIRFLOW_CONN_AUDIT", json.dumps(fields))
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", "wrong-token-0123456789abcdefghij0123456789")
    arguments = ["plan", str(tmp_path), "--start", day(3), "--end", day(1)]
    assert main([*arguments, "--conn-id", "audit"]) == 0
    assert "2 missing" in capsys.readouterr().out
    assert main([*arguments, "--account-id", ACCOUNT_ID]) == 2
    assert "SourceAuthError" in capsys.readouterr().err


def test_missing_token_names_the_variable_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a token and without the default connection, the error says how to give a token to the command."""
    monkeypatch.delenv("CLOUDFLARE_API_TOKEN")
    assert main(["plan", str(tmp_path)]) == 2
    assert "Set the environment variable CLOUDFLARE_API_TOKEN" in capsys.readouterr().err


def test_wrong_arguments_return_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An impossible number of samples is an error, and nothing is printed as a result."""
    assert plan_of(tmp_path, "--samples", "2") == 2
    answer = capsys.readouterr()
    assert "ConfigurationError" in answer.err
    assert not answer.out


def test_plan_as_html_has_the_command(tmp_path: Path) -> None:
    """The windows to backfill are the verdict, and the file has the spans and the command."""
    out = tmp_path.parent / f"{tmp_path.name}.html"
    assert plan_of(tmp_path, "--start", day(10), "--end", day(0), "--html", str(out)) == 0
    seen = parsed(out)
    assert seen.verdict == "gaps"
    assert "Windows to backfill: 10." in seen.text
    assert seen.tables["Spans that are not committed"][1][2:4] == ["missing", "10"]
    assert any("airflow backfill create" in code for code in seen.codes)
    assert not seen.wrong

"""The command ``pull`` lands what a task lands, over real HTTP and without Airflow's database."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import duckdb
import pytest

from airflow_audit_provider.cli.__main__ import main
from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.server import FakeServer
from airflow_audit_provider.testing.settings import ACCOUNT_ID, TOKEN, Settings
from tests.cli.published import check
from tests.pipelines.pull.landing import record_at

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("server")]
NOW = datetime.now(UTC)
PATIENCE_SECONDS = 120.0


@pytest.fixture
def fake() -> FakeCloudflare:
    """A log of a hundred records a day."""
    return FakeCloudflare(lambda: datetime.now(UTC), Settings(records_per_day=100, even_days=True))


def day(back: int) -> datetime:
    """Returns the UTC midnight so many days ago."""
    return NOW.replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=back)


def date_of(back: int) -> str:
    """Returns the date so many days ago."""
    return str(day(back).date())


def pull(destination: Path, first: int, before: int, *arguments: str) -> int:
    """Runs the command for days of the account's log."""
    bounds = ["--start", date_of(first), "--end", date_of(before)]
    return main(["pull", str(destination), "--account-id", ACCOUNT_ID, *bounds, *arguments])


def landed_ids(destination: Path) -> list[str]:
    """Returns the ids in all data files, read by plain file tools."""
    parts = sorted(destination.glob("dt=*/**/part-*.jsonl.gz"))
    return [json.loads(line)["id"] for part in parts for line in gzip.decompress(part.read_bytes()).splitlines()]


def true_ids(fake: FakeCloudflare, first: int, before: int) -> list[str]:
    """Returns the ids of the fake's records between two days."""
    return [row.id for row in fake.truth("v1", None, day(first), day(before))]


def tree(destination: Path, pattern: str = "*") -> dict[str, bytes]:
    """Returns the files of a destination by their name."""
    files = (path for path in destination.rglob(pattern) if path.is_file())
    return {str(path.relative_to(destination)): path.read_bytes() for path in files}


def printed(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Returns the JSON that was printed."""
    values: dict[str, Any] = json.loads(capsys.readouterr().out)
    return values


def test_pull_lands_every_record_once(tmp_path: Path, fake: FakeCloudflare, capsys: pytest.CaptureFixture[str]) -> None:
    """Each day is a window with exactly the log's ids, and coverage finds nothing missing."""
    assert pull(tmp_path, 6, 1, "--json") == 0
    values = printed(capsys)
    check("pull", values)
    assert landed_ids(tmp_path) == true_ids(fake, 6, 1)
    assert (values["committed_count"], values["record_count"]) == (5, len(true_ids(fake, 6, 1)))
    assert Path(values["manifest_uri"].removeprefix("file://")).is_file()
    assert main(["coverage", str(tmp_path), "--start", date_of(6), "--end", date_of(1)]) == 0


def test_second_pull_sends_nothing_and_changes_nothing(tmp_path: Path, fake: FakeCloudflare) -> None:
    """Committed days are skipped, and a longer range lands only the rest."""
    assert pull(tmp_path, 6, 3) == 0
    first, asked = tree(tmp_path), len(fake.requests)
    assert pull(tmp_path, 6, 3) == 0
    assert (tree(tmp_path), len(fake.requests)) == (first, asked)
    assert pull(tmp_path, 8, 1) == 0
    assert tree(tmp_path).items() >= first.items()
    assert landed_ids(tmp_path) == true_ids(fake, 8, 1)


def test_pull_writes_the_files_of_a_task(tmp_path: Path, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A task of the land operator writes the same data files, byte for byte, and has nothing to add."""
    fields = {"conn_type": "cloudflare", "password": TOKEN, "host": server.base_url}
    monkeypatch.setenv("AIRFLOW_CONN_CLOUDFLARE_DEFAULT", json.dumps(fields | {"extra": {"account_id": ACCOUNT_ID}}))

    def run_task(destination: Path) -> dict[str, Any]:
        return CloudflareAuditLogsToObjectStorageOperator(
            task_id="land",
            destination=destination.as_uri(),
            window_start=date_of(5),
            window_end=date_of(2),
            partition_by="day",
        ).execute({})

    assert pull(tmp_path / "command", 5, 2) == 0
    assert run_task(tmp_path / "task")["committed_count"] == 3
    assert tree(tmp_path / "command", "part-*") == tree(tmp_path / "task", "part-*")
    assert run_task(tmp_path / "command")["committed_count"] == 0


def test_destination_decides_log_and_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without arguments for them, a pull continues the dataset that the destination holds."""
    form = ["--file-format", "parquet", "--schema", "normalized", "--filter", "action_type=add"]
    assert pull(tmp_path, 5, 4, *form) == 0
    assert main(["pull", str(tmp_path), "--start", date_of(4), "--end", date_of(3)]) == 0
    assert {Path(name).suffix for name in tree(tmp_path, "part-*")} == {".parquet"}
    assert pull(tmp_path, 3, 2) == 2
    assert "CommitConflictError" in capsys.readouterr().err


def test_range_without_bounds_is_what_the_api_holds(tmp_path: Path, fake: FakeCloudflare) -> None:
    """Without bounds the months that are over and still whole are landed, and status 0 says so."""
    arguments = ["--account-id", ACCOUNT_ID, "--partition-by", "month", "--quiet"]
    assert main(["pull", str(tmp_path), *arguments]) == 0
    windows = sorted(path.name.partition(".")[0] for path in tmp_path.glob("_manifests/**/*.json"))
    assert len(windows) in (16, 17)
    # Not midnight: on the first day of a month, the month before is settled a quarter of an hour after it.
    assert windows[-1].endswith(f"{NOW - timedelta(minutes=15):%Y%m}01T000000Z")


def test_windows_that_are_not_settled_return_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What is settled is landed; what is not yet is counted, and the status is 1."""
    assert pull(tmp_path, 2, -1, "--json", "--settle-delay", "0") == 1
    values = printed(capsys)
    assert (values["committed_count"], values["pending_count"]) == (2, 1)
    assert pull(tmp_path, 0, -1) == 1
    assert "Not settled yet: 1 window" in capsys.readouterr().out


def test_late_records_are_added_on_demand(tmp_path: Path, fake: FakeCloudflare) -> None:
    """A record that appears after the commit is landed by a pull that reads committed windows again."""
    assert pull(tmp_path, 3, 2) == 0
    fake.add(record_at(f"{date_of(3)}T05:00:00Z", "late-one"))
    assert pull(tmp_path, 3, 2) == 0
    assert len(landed_ids(tmp_path)) == len(true_ids(fake, 3, 2)) - 1
    assert pull(tmp_path, 3, 2, "--reread-committed") == 0
    assert sorted(landed_ids(tmp_path)) == sorted(true_ids(fake, 3, 2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--filter", "action_type"], "Give a name and a value"),
        (["--filter", "colour=red"], "colour"),
        (["--privacy", "[]"], "not a JSON object"),
        (["--ocsf-severity", "High"], "--ocsf-severity is not a JSON object"),
        (["--schema", "ocsf", "--ocsf-severity", '{"any": "High"}'], "no rule 'any'"),
        (["--partition-by", "month"], "partition_by='month'"),
        (["--concurrency", "0"], "concurrency"),
        (["--timezone", "Mars/Olympus"], "Mars/Olympus"),
        (["--conn-id", "nowhere"], "nowhere"),
    ],
)
def test_wrong_arguments_return_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    """An argument that no pull can use is named, and nothing is written or printed as a result."""
    assert pull(tmp_path / "out", 4, 2, *arguments) == 2
    answer = capsys.readouterr()
    assert "ConfigurationError" in answer.err
    assert message in answer.err
    assert not answer.out
    assert not tree(tmp_path)


def test_refused_token_returns_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The API's refusal ends the command with status 2 and the token is not printed."""
    wrong = "wrong-token-0123456789abcdefghij0123456789"
    monkeypatch.setenv("CLOUDFLARE_API_TOKEN", wrong)
    assert pull(tmp_path, 4, 2) == 2
    answer = capsys.readouterr()
    assert "SourceAuthError" in answer.err
    assert wrong not in answer.err + answer.out


def test_progress_is_on_the_error_output_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal there is a plain line for each window; with --quiet there is none."""
    assert pull(tmp_path, 4, 2) == 0
    answer = capsys.readouterr()
    assert [line[:14] for line in answer.err.splitlines() if "Committed" in line] == [
        "window 1 of 2:",
        "window 2 of 2:",
    ]
    assert "\x1b" not in answer.err
    assert answer.out.count("\n") == 1
    assert pull(tmp_path, 6, 2, "--quiet") == 0
    assert not capsys.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_pull_continues_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    """A signal ends the command after what it has committed, and the same command lands the rest."""
    slow = FakeCloudflare(lambda: datetime.now(UTC), Settings(records_per_day=1500, even_days=True, latency_ms=300))
    with FakeServer(slow) as served:
        monkeypatch.setenv("CLOUDFLARE_BASE_URL", served.base_url)
        status, out, err = interrupted_pull(tmp_path, number)
        assert status == 128 + number, err
        values, kept, asked = json.loads(out), tree(tmp_path, "part-*"), len(slow.requests)
        check("pull", values, is_whole=False)
        assert (values["is_interrupted"], "continues from there" in err) == (True, True)
        assert 1 <= values["committed_count"] == len(list(tmp_path.glob("_manifests/**/*.json"))) < 20
        assert pull(tmp_path, 21, 1) == 0
    assert tree(tmp_path, "part-*").items() >= kept.items()
    assert landed_ids(tmp_path) == true_ids(slow, 21, 1)
    # Thirty pages, and at most some at the edges of what was interrupted again.
    assert asked + 5 < len(slow.requests) < 60


def test_pull_into_security_lake_is_continued_as_it_is(
    fake: FakeCloudflare, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command lands OCSF 1.3 in the lake; without the argument it continues there, with another one it refuses."""
    home, bucket = tmp_path / "home", tmp_path / "bucket"
    lake = {"bucket": str(bucket), "source": "cf_{class_uid}", "region": "eu-central-1"}
    assert pull(home, 3, 2, "--security-lake", json.dumps(lake)) == 0
    assert pull(home, 2, 1) == 0
    read = f"'{bucket}/ext/*/region=eu-central-1/accountId=external_{ACCOUNT_ID}/*/*.parquet'"
    found = duckdb.connect().execute(f"SELECT metadata.uid FROM {read} WHERE metadata.version = '1.3.0'").fetchall()
    assert sorted(row[0] for row in found) == sorted(true_ids(fake, 3, 1))
    capsys.readouterr()
    assert pull(home, 1, 0, "--security-lake", json.dumps(lake | {"region": "us-east-1"})) != 0
    assert "The destination holds another dataset" in capsys.readouterr().err
    assert pull(home, 1, 0, "--security-lake", "[]") != 0
    assert "--security-lake is not a JSON object" in capsys.readouterr().err
    assert main(["verify", str(home)]) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_second_signal_ends_a_pull_whose_request_hangs(tmp_path: Path, number: signal.Signals) -> None:
    """The system ends it, so no thread that waits for a response is waited for."""
    request_at, answer = threading.Event(), threading.Event()

    class Hanging(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            request_at.set()
            answer.wait(PATIENCE_SECONDS)

    with ThreadingHTTPServer(("127.0.0.1", 0), Hanging) as server:
        server.daemon_threads, server.block_on_close = True, False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        command = [
            sys.executable,
            "-m",
            "airflow_audit_provider.cli",
            "pull",
            str(tmp_path),
            "--account-id",
            ACCOUNT_ID,
        ]
        environment = {**os.environ, "CLOUDFLARE_BASE_URL": f"http://127.0.0.1:{server.server_port}"}
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as running:
            assert request_at.wait(PATIENCE_SECONDS)
            running.send_signal(number)
            with pytest.raises(subprocess.TimeoutExpired):
                running.wait(1)
            running.send_signal(number)
            assert running.wait(10) == -number
            assert running.stderr is not None
            assert "Traceback" not in running.stderr.read()
        answer.set()
        server.shutdown()


def interrupted_pull(destination: Path, number: signal.Signals) -> tuple[int, str, str]:
    """Sends a signal to a pull once it has committed a window; returns its status and both outputs."""
    arguments = [
        "--account-id",
        ACCOUNT_ID,
        "--start",
        date_of(21),
        "--end",
        date_of(1),
        "--json",
        "--concurrency",
        "1",
    ]
    command = [sys.executable, "-m", "airflow_audit_provider.cli", "pull", str(destination), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if "Committed" in line:
                running.send_signal(number)
                break
        out, err = running.communicate(timeout=PATIENCE_SECONDS)
    return running.returncode, out, err

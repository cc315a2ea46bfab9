"""The server can be run from a shell and asked from another process."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from airflow_audit_provider.testing.__main__ import main
from airflow_audit_provider.testing.misbehaviour import Misbehaviour


@contextmanager
def _running(*arguments: str) -> Iterator[dict[str, Any]]:
    command = [sys.executable, "-m", "airflow_audit_provider.testing", "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield json.loads(server.stdout.readline())
        finally:
            server.send_signal(signal.SIGTERM)
            assert server.wait(120) == 0


def test_it_says_where_it_listens_and_serves() -> None:
    """One line of JSON leads to the API and to the truth; both show the same records of a set present."""
    arguments = ["--now", "2026-11-02T12:00:00Z", "--records-per-day", "100", "--seed", "5", "--even-days"]
    with _running(*arguments, "--misbehave", "status=503,first=1") as told, httpx.Client(trust_env=False) as client:
        url = f"{told['base_url']}/accounts/{told['account_id']}/audit_logs"
        asked = {"since": "2026-10-26T00:00:00Z", "before": "2026-10-26T23:59:59Z", "direction": "asc"}
        headers = {"authorization": f"Bearer {told['token']}"}
        assert client.get(url, params=asked, headers=headers).status_code == 503
        records = client.get(url, params=asked, headers=headers).json()["result"]
        truth = client.get(told["truth_url"], params={"start": "2026-10-26", "end": "2026-10-27"}).text
    assert [json.loads(line) for line in truth.splitlines()] == records
    assert len(records) == 100


def test_tokens_can_be_named() -> None:
    """A token given on the command line is of the kind that is said."""
    with _running("--token", "first-token-0123456789abcdef:no-permission", "--account-id", "a" * 32) as told:
        headers = {"authorization": f"Bearer {told['token']}"}
        verified = httpx.get(f"{told['base_url']}/user/tokens/verify", headers=headers, trust_env=False)
        refused = httpx.get(f"{told['base_url']}/accounts/{'a' * 32}/audit_logs", headers=headers, trust_env=False)
    assert (verified.status_code, refused.status_code) == (200, 403)


def test_misbehaviours_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Every misbehaviour is listed with what it does."""
    assert main(["--list-misbehaviours"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [kind.value for kind in Misbehaviour]
    assert all(len(line.split()) > 4 for line in lines)

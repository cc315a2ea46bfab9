"""Tests that the fake runs as a command and serves another process."""

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

from airflow_audit_provider import testing
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


@pytest.mark.integration
def test_command_prints_address_and_serves() -> None:
    """Prints one line of JSON with the URLs of the API and of the true records."""
    arguments = ["--now", "2026-11-02T12:00:00Z", "--records-per-day", "100", "--seed", "5", "--even-days"]
    with (
        _running(*arguments, "--misbehave", "status=503,first=1") as address,
        httpx.Client(trust_env=False) as client,
    ):
        url = f"{address['base_url']}/accounts/{address['account_id']}/audit_logs"
        params = {"since": "2026-10-26T00:00:00Z", "before": "2026-10-26T23:59:59Z", "direction": "asc"}
        headers = {"authorization": f"Bearer {address['token']}"}
        assert client.get(url, params=params, headers=headers).status_code == 503
        records = client.get(url, params=params, headers=headers).json()["result"]
        truth = client.get(address["truth_url"], params={"start": "2026-10-26", "end": "2026-10-27"}).text
    assert [json.loads(line) for line in truth.splitlines()] == records
    assert len(records) == 100


@pytest.mark.integration
def test_token_option_sets_token_and_kind() -> None:
    """Accepts the token of the option with the permissions of its kind."""
    with _running("--token", "first-token-0123456789abcdef:no-permission", "--account-id", "a" * 32) as address:
        headers = {"authorization": f"Bearer {address['token']}"}
        verified = httpx.get(f"{address['base_url']}/user/tokens/verify", headers=headers, trust_env=False)
        refused = httpx.get(f"{address['base_url']}/accounts/{'a' * 32}/audit_logs", headers=headers, trust_env=False)
    assert (verified.status_code, refused.status_code) == (200, 403)


def test_misbehaviours_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    """Prints every misbehaviour with its meaning."""
    assert main(["--list-misbehaviours"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [kind.value for kind in Misbehaviour]
    assert all(len(line.split()) > 4 for line in lines)


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--token", "secret", "20 to 200 letters"),
        ("--token", "a token with spaces 0123456789", "20 to 200 letters"),
        ("--token", "first-token-0123456789abcdef:wrong", "one of valid, invalid, no-permission, account"),
        ("--account-id", "A" * 32, "32 hexadecimal digits"),
        ("--organization-id", "abc", "32 hexadecimal digits"),
    ],
)
def test_value_that_the_fake_would_refuse_is_refused_at_the_start(
    capsys: pytest.CaptureFixture[str], option: str, value: str, words: str
) -> None:
    """A malformed token or id ends the command with a message, before a request with it can fail."""
    with pytest.raises(SystemExit):
        main([option, value, "--list-misbehaviours"])
    assert words in " ".join(capsys.readouterr().err.split())


@pytest.mark.integration
def test_package_exports_what_a_test_of_a_dag_needs() -> None:
    """The six public names are documented, and the example of the docstring serves with them."""
    assert sorted(testing.__all__) == [
        "FakeCloudflare", "FakeServer", "ManualClock", "Settings", "TokenKind", "parse_switch"
    ]  # fmt: skip
    assert all(getattr(testing, name).__doc__ for name in testing.__all__)
    settings = testing.Settings(records_per_day=10, tokens={"t" * 20: testing.TokenKind.VALID})
    fake = testing.FakeCloudflare(testing.ManualClock().now, settings, [testing.parse_switch("status=503,first=1")])
    with testing.FakeServer(fake) as server:
        url = f"{server.base_url}/accounts/{settings.account_ids[0]}/audit_logs"
        headers = {"authorization": f"Bearer {'t' * 20}"}
        answers = [httpx.get(url, headers=headers, trust_env=False).status_code for _ in range(2)]
    assert answers == [503, 200]

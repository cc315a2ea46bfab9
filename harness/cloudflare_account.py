"""Describes a Cloudflare account to read from, and starts a fake one as a server."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from urllib.parse import urlencode

from harness import http_json
from harness.airflow_environment import without_proxies
from harness.airflow_folders import AirflowFolders
from harness.child_processes import Children

FAKE_WITHIN_SECONDS = 120.0
# What the real API is known to do: short pages, temporary 503s, a 400 after the last full page.
FAKE_OPTIONS = (
    *("--records-per-day", "1500", "--latency-ms", "15", "--gzip"),
    *("--misbehave", "fewer_than_asked=random", "--misbehave", "status=503,every=13"),
    *("--misbehave", "past_end_is_400"),
)
LATE_RECORD: dict[str, object] = {
    "id": "1a7e1a7e-0000-4000-8000-000000000001",
    "action": {"type": "token_create", "result": True},
    "actor": {"email": "late@example.com", "type": "user"},
    "resource": {"type": "token"},
}


@dataclass(frozen=True)
class CloudflareAccount:
    """A Cloudflare account. `truth_url` is the address of all records of a fake account, None for a real one."""

    account_id: str
    token: str
    base_url: str | None
    truth_url: str | None

    def connection(self) -> dict[str, object]:
        """Returns the Airflow connection, as an AIRFLOW_CONN_ variable takes it."""
        extra = {"account_id": self.account_id}
        made: dict[str, object] = {"conn_type": "cloudflare", "password": self.token, "extra": extra}
        return made | ({"host": self.base_url} if self.base_url else {})

    def answered(self) -> Counter[int]:
        """Returns how often the fake sent each HTTP status; raises NoResponseError."""
        return Counter(request["status"] for request in self.requests())

    def requests(self) -> list[dict[str, Any]]:
        """Returns the requests that the fake has answered, in order; raises NoResponseError."""
        log = http_json.fetch(self.truth_url.replace("/truth", "/requests")) if self.truth_url else b""
        return [json.loads(line) for line in log.splitlines()]

    def add_late_record(self, day: date) -> None:
        """Adds a record to a day that has been read already; raises NoResponseError."""
        if self.truth_url:
            record = LATE_RECORD | {"when": f"{day.isoformat()}T12:34:56.789Z", "owner": {"id": self.account_id}}
            http_json.fetch(self.truth_url.replace("/truth", "/records"), method="POST", body=record)

    def misbehave(self, *switches: str) -> None:
        """Replaces the misbehaviours of the fake, as its command line names them; raises NoResponseError."""
        if self.truth_url:
            url = self.truth_url.replace("/truth", "/misbehave")
            http_json.fetch(url, method="POST", body="\n".join(switches).encode())

    def truth(self, start: datetime, end: datetime) -> list[bytes]:
        """Returns the fake's raw records of `[start, end)`, without line ends; raises NoResponseError."""
        scope = {"version": "v1", "scope": f"accounts/{self.account_id}"}
        query = urlencode(scope | {"start": start.isoformat(), "end": end.isoformat()})
        return http_json.fetch(f"{self.truth_url}?{query}", timeout_seconds=60.0).splitlines()


def start_fake(
    children: Children, folders: AirflowFolders, environ: Mapping[str, str], options: Sequence[str] = FAKE_OPTIONS
) -> CloudflareAccount:
    """Starts the fake as a server and returns its account; raises ChildDiedError or TimeoutError."""
    command = [sys.executable, "-m", "airflow_audit_provider.testing", "--port", "0", *options]
    child = children.start("fake-cloudflare", command, without_proxies(environ), cwd=folders.root)
    deadline = time.monotonic() + FAKE_WITHIN_SECONDS
    while time.monotonic() < deadline:
        children.check()
        announced = [line for line in child.log.read_text().splitlines(keepends=True) if line.startswith("{")]
        if announced and announced[0].endswith("\n"):
            return _fake_account(json.loads(announced[0]))
        time.sleep(0.05)
    raise TimeoutError(f"The fake Cloudflare did not start within {FAKE_WITHIN_SECONDS:.0f} s; see {child.log}.")


def _fake_account(fields: Mapping[str, str]) -> CloudflareAccount:
    return CloudflareAccount(fields["account_id"], fields["token"], fields["base_url"], fields["truth_url"])

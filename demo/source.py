"""Where the audit log comes from: a fake Cloudflare started for the demo, or the account named in the environment.

Knows: how to start the fake and ask it for the truth, and which variables name a real account.
Must not know: Airflow, or what landed.
Its one rule: a real account is used only if token and account id are both given, and is only ever read.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from urllib.parse import urlencode

from demo import rest
from demo.children import Children
from demo.layout import Layout
from demo.preflight import RefusalError
from demo.surroundings import without_proxies

FAKE_WITHIN_SECONDS = 120.0
# As awkward as the real one is said to be: short pages, refusals in passing, a 400 after the last full page.
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
class Source:
    """One Cloudflare account; `truth_url` is None for a real one, whose truth nobody knows but Cloudflare."""

    account_id: str
    token: str
    base_url: str | None
    truth_url: str | None

    def connection(self) -> dict[str, object]:
        """The Airflow connection, as the value of an AIRFLOW_CONN_ variable."""
        extra = {"account_id": self.account_id}
        made: dict[str, object] = {"conn_type": "cloudflare", "password": self.token, "extra": extra}
        return made | ({"host": self.base_url} if self.base_url else {})

    def answered(self) -> Counter[int]:
        """How often the fake gave each HTTP status; raises NoAnswerError."""
        log = rest.fetch(self.truth_url.replace("/truth", "/requests")) if self.truth_url else b""
        return Counter(json.loads(line)["status"] for line in log.splitlines())

    def add_late_record(self, day: date) -> None:
        """Have the fake reveal one more record of a day that has long been read; raises NoAnswerError."""
        if self.truth_url:
            record = LATE_RECORD | {"when": f"{day.isoformat()}T12:34:56.789Z", "owner": {"id": self.account_id}}
            rest.fetch(self.truth_url.replace("/truth", "/records"), method="POST", body=record)

    def truth(self, start: datetime, end: datetime) -> list[bytes]:
        """The fake's raw records of `[start, end)`, without line ends; raises NoAnswerError."""
        scope = {"version": "v1", "scope": f"accounts/{self.account_id}"}
        query = urlencode(scope | {"start": start.isoformat(), "end": end.isoformat()})
        return rest.fetch(f"{self.truth_url}?{query}", timeout_seconds=60.0).splitlines()


def named_account(environ: Mapping[str, str]) -> Source | None:
    """The real account the environment names, or None; raises RefusalError for half a name."""
    token, account_id = environ.get("CLOUDFLARE_API_TOKEN", ""), environ.get("CLOUDFLARE_ACCOUNT_ID", "")
    if not token and not account_id:
        return None
    if not token or not account_id:
        missing = "CLOUDFLARE_ACCOUNT_ID" if token else "CLOUDFLARE_API_TOKEN"
        raise RefusalError(f"{missing} is not set: set it as well for a real account, or unset both to use the fake.")
    return Source(account_id, token, environ.get("CLOUDFLARE_BASE_URL") or None, None)


def start_fake(
    children: Children, layout: Layout, environ: Mapping[str, str], options: Sequence[str] = FAKE_OPTIONS
) -> Source:
    """Start the fake as a server of its own and return how to reach it; raises ChildDiedError or TimeoutError."""
    command = [sys.executable, "-m", "airflow_audit_provider.testing", "--port", "0", *options]
    child = children.start("fake-cloudflare", command, without_proxies(environ), cwd=layout.root)
    deadline = time.monotonic() + FAKE_WITHIN_SECONDS
    while time.monotonic() < deadline:
        children.check()
        said = [line for line in child.log.read_text().splitlines(keepends=True) if line.startswith("{")]
        if said and said[0].endswith("\n"):
            return _fake_source(json.loads(said[0]))
        time.sleep(0.05)
    raise TimeoutError(f"the fake Cloudflare said nothing for {FAKE_WITHIN_SECONDS:.0f} s")


def _fake_source(said: Mapping[str, str]) -> Source:
    return Source(said["account_id"], said["token"], said["base_url"], said["truth_url"])

"""Runs the shipped DAG of suspicious actions in a live Airflow, and returns what its runs reported.

Invariant: the suspicious actions are listed here again, not read from the DAG.
"""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import uuid4

from harness import http_json
from tests.live.live_airflow import WITHIN_SECONDS, LiveAirflow

DAG_ID = "cloudflare_audit_suspicious"
SUSPICIOUS = (("token_create", "token"), ("add", "account.member"), ("two_factor_disable", "user"))
# Added like a member, and no member.
HARMLESS = ("add", "DNS_record")


class Done(NamedTuple):
    """Actions in the account, and the time from which its log shows them."""

    suspicious_ids: list[str]
    harmless_id: str
    readable_at: datetime


class Alarm:
    """The running DAG, its watcher and the log that the watcher polls."""

    def __init__(self, live: LiveAirflow) -> None:
        self._live = live
        self._control_url = str(live.account.truth_url).removesuffix("truth")

    def start(self) -> None:
        """Starts the watcher; returns after its first poll."""
        looks_before = self._request_count()
        self._live.unpause(DAG_ID)
        # As for every watcher: the second parse of its file, after its DAG is unpaused.
        self._live.reparse(DAG_ID)
        self._live.instance.wait(lambda: self._request_count() > looks_before, WITHIN_SECONDS, "the watcher's look")

    def stop(self) -> None:
        """Pauses the DAG, so that it has no more runs during other tests."""
        self._live.ask(f"dags/{DAG_ID}", method="PATCH", body={"is_paused": True})

    def do(self) -> Done:
        """Performs each suspicious action now, and a harmless one."""
        readable_at = datetime.now(UTC)
        ids = [self._add(*action) for action in (*SUSPICIOUS, HARMLESS)]
        return Done(ids[:-1], ids[-1], readable_at)

    def await_reports(self, ids: list[str]) -> dict[str, Counter[str]]:
        """Returns what each run's task has reported, when all of these records are reported."""
        found: dict[str, Counter[str]] = {}

        def there() -> bool:
            ended = [run["dag_run_id"] for run in self._live.runs(DAG_ID) if run["state"] == "success"]
            found.update({run: self._reported(run) for run in ended if run not in found})
            return all(any(one in reported for reported in found.values()) for one in ids)

        self._live.instance.wait(there, WITHIN_SECONDS, f"a run of {DAG_ID} to report {ids}")
        return found

    def created_at(self, run_id: str) -> datetime:
        """Returns when Airflow created a run."""
        (run,) = (run for run in self._live.runs(DAG_ID) if run["dag_run_id"] == run_id)
        return datetime.fromisoformat(run["queued_at"])

    def truth(self, ids: set[str]) -> list[tuple[str, str]]:
        """Returns action and resource type of these records from the last hour of the log."""
        now = datetime.now(UTC)
        raws = self._live.account.truth(now - timedelta(hours=1), now)
        records = [record for raw in raws if (record := json.loads(raw))["id"] in ids]
        return [(record["action"]["type"], record["resource"]["type"]) for record in records]

    def _reported(self, run_id: str) -> Counter[str]:
        return Counter(self._live.xcom(DAG_ID, run_id, "report_actions"))

    def _request_count(self) -> int:
        lines = http_json.fetch(f"{self._control_url}requests").splitlines()
        return sum(json.loads(line)["path"].endswith("/audit_logs") for line in lines)

    def _add(self, action: str, resource: str) -> str:
        record: dict[str, Any] = {
            "id": str(uuid4()),
            "when": datetime.now(UTC).isoformat(),
            "action": {"type": action, "result": True},
            "actor": {"email": "mallory@example.com", "type": "user"},
            "resource": {"type": resource},
        }
        http_json.fetch(f"{self._control_url}records", method="POST", body=record)
        return str(record["id"])

"""Runs as soon as something suspicious happens in the account: a token created, a member added, 2FA switched off.

Every suspicious record is reported at least once, also records that an event counts but does not name. To detect a
repeated report, compare `ids_sha256` or the ids.

The trigger polls every minute in the triggerer, without a task slot, and its asset event starts this DAG: within one
poll interval of the record's appearance in the log, which can be minutes after the action.
From Airflow 3.3 on it resumes at its stored position after a restart of the triggerer; before, it looks back 15
minutes.

Settings: AUDIT_SUSPICIOUS, JSON in the form of SUSPICIOUS below. The action types are texts of your own log: make each
of these changes once and look them up, because Cloudflare publishes no list of them.
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_audit_provider.triggers.audit_logs import AuditLogActivityEventTrigger

# A record matches if it matches one of these; all fields of that one must match.
SUSPICIOUS = json.loads(os.environ.get("AUDIT_SUSPICIOUS", "null")) or [
    {"action_type": ["token_create", "token_roll", "API_key_view"]},
    {"action_type": ["add", "member_add"], "resource_type": ["account.member", "account_member"]},
    {"action_type": ["two_factor_disable", "tfa_disabled"]},
]

watcher = AuditLogActivityEventTrigger(filters=SUSPICIOUS)
suspicious_actions = Asset("cloudflare-suspicious-actions", watchers=[AssetWatcher(name="audit_log", trigger=watcher)])


def actions_of(payload: dict[str, Any]) -> list[dict[str, Any]]:
    """Reads the records of an event: those that it names, and those that it only counts."""
    # Imported here, because only the task needs it and the file is parsed often.
    from airflow_audit_provider.hooks.cloudflare import CloudflareHook

    named = {each["id"] for each in payload["records"]}
    names_all = payload["record_count"] == len(named)
    window = {"since": payload["window_start"], "before": payload["window_end"], "direction": "asc"}
    records = CloudflareHook().iter_audit_logs(api_version=payload["api_version"], **window)
    return [record for record in records if record["id"] in named or (not names_all and watcher.matches(record))]


def is_whole(payload: dict[str, Any], records: list[dict[str, Any]]) -> bool:
    """Returns whether everything that an event names and counts was read."""
    ids = {record["id"] for record in records}
    return len(ids) >= payload["record_count"] and all(each["id"] in ids for each in payload["records"])


with DAG(
    dag_id="cloudflare_audit_suspicious",
    schedule=[suspicious_actions],
    start_date=datetime(2026, 11, 1, tzinfo=UTC),
    catchup=False,
    default_args={"retries": 5, "retry_delay": timedelta(minutes=1)},
    tags=["cloudflare", "audit", "security"],
    doc_md=__doc__,
):

    @task
    def report_actions(triggering_asset_events: Any = None) -> list[str]:
        """Prints who did what, and returns the ids; send your own notification here."""
        payloads = [event.extra["payload"] for events in triggering_asset_events.values() for event in events]
        read = [(payload, actions_of(payload)) for payload in payloads]
        for record in (record for _, records in read for record in records):
            actor, action = record.get("actor") or {}, record.get("action") or {}
            print(f"SUSPICIOUS: {actor.get('email')} did {action.get('type')}: {record['id']}")
        if not all(is_whole(payload, records) for payload, records in read):
            raise RuntimeError(
                "The log does not show every reported record yet. This task is retried; if it fails "
                "again, check the log yourself."
            )
        return sorted({record["id"] for _, records in read for record in records})

    report_actions()

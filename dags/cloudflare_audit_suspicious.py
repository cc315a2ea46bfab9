"""Runs as soon as a suspicious action appears in the audit log: a token created, a member added, 2FA switched off.

The watcher polls every minute in the triggerer, and its asset event starts this DAG within one poll interval after the
record appears in the log, which may be minutes after the action. From Airflow 3.3 on, it continues where it stopped
when the triggerer restarts; older versions start 15 minutes before the restart. An event lists at most 20 records and
counts the others, so the task reads all of them again. Each record is reported at least once; compare `ids_sha256` or
the ids to drop repeats.

Settings: AUDIT_SUSPICIOUS, JSON in the form of SUSPICIOUS below. Cloudflare publishes no list of action types: make
each of these changes once and look up its action type in your own log.
"""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_audit_provider.triggers.audit_logs import AuditLogActivityEventTrigger

# A record matches if it matches one entry, and an entry if all of its fields match.
SUSPICIOUS = json.loads(os.environ.get("AUDIT_SUSPICIOUS", "null")) or [
    {"action_type": ["token_create", "token_roll", "API_key_view"]},
    {"action_type": ["add", "member_add"], "resource_type": ["account.member", "account_member"]},
    {"action_type": ["two_factor_disable", "tfa_disabled"]},
]

watcher = AuditLogActivityEventTrigger(filters=SUSPICIOUS)
suspicious_actions = Asset("cloudflare-suspicious-actions", watchers=[AssetWatcher(name="audit_log", trigger=watcher)])


def actions_of(payload: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the records of an event: those it lists, and those that it only counts."""
    # Imported here because only the task needs it, and Airflow parses the file repeatedly.
    from airflow_audit_provider.hooks.cloudflare import CloudflareHook

    listed = {each["id"] for each in payload["records"]}
    lists_all = payload["record_count"] == len(listed)
    window: dict[str, Any] = {"since": payload["window_start"], "before": payload["window_end"], "direction": "asc"}
    records = CloudflareHook().iter_audit_logs(api_version=payload["api_version"], **window)
    return [record for record in records if record["id"] in listed or (not lists_all and watcher.matches(record))]


def is_complete(payload: dict[str, Any], records: list[dict[str, Any]]) -> bool:
    """Returns whether every record that an event lists or counts was read."""
    ids = {record["id"] for record in records}
    return len(ids) >= payload["record_count"] and all(each["id"] in ids for each in payload["records"])


with DAG(
    dag_id="cloudflare_audit_suspicious",
    schedule=[suspicious_actions],
    catchup=False,
    default_args={"retries": 5, "retry_delay": timedelta(minutes=1)},
    tags=["cloudflare", "audit", "security"],
    doc_md=__doc__,
):

    @task
    def report_actions(triggering_asset_events: Any = None) -> list[str]:
        """Prints who did what and returns the ids; add a message to your security team here."""
        payloads = [event.extra["payload"] for events in triggering_asset_events.values() for event in events]
        read = [(payload, actions_of(payload)) for payload in payloads]
        for record in (record for _, records in read for record in records):
            actor, action = record.get("actor") or {}, record.get("action") or {}
            print(f"SUSPICIOUS: {actor.get('email')} did {action.get('type')}: {record['id']}")
        if not all(is_complete(payload, records) for payload, records in read):
            raise RuntimeError(
                "The audit log does not show every reported record. The task retries; then check the dashboard."
            )
        return sorted({record["id"] for _, records in read for record in records})

    report_actions()

"""Run as soon as something suspicious was done in the account: a token made, a member added, 2FA switched off.

Knows: which actions are suspicious, and what to report of them.
Must not know: how the audit log is watched, or up to where; the watcher does, in the triggerer, without a task slot.
Its one rule: every suspicious record is reported at least once, also those an event only counts and does not name.
Who is told twice compares `ids_sha256` or the ids.

The watcher looks every minute and its asset event starts this DAG: within one poll interval of the record's showing in
the log, which may be minutes after what was done.
From Airflow 3.3 on it goes on where it stopped when the triggerer is restarted; before, it looks back 15 minutes.

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

# One of these has to fit; inside one, all of it.
SUSPICIOUS = json.loads(os.environ.get("AUDIT_SUSPICIOUS", "null")) or [
    {"action_type": ["token_create", "token_roll", "API_key_view"]},
    {"action_type": ["add", "member_add"], "resource_type": ["account.member", "account_member"]},
    {"action_type": ["two_factor_disable", "tfa_disabled"]},
]

watcher = AuditLogActivityEventTrigger(filters=SUSPICIOUS)
suspicious_actions = Asset("cloudflare-suspicious-actions", watchers=[AssetWatcher(name="audit_log", trigger=watcher)])


def actions_of(payload: dict[str, Any]) -> list[dict[str, Any]]:
    """Read back what an event tells of: what it names, and what it only counts as the watcher judged it."""
    # Here, as only a task needs it: the file is parsed again and again.
    from airflow_audit_provider.hooks.cloudflare import CloudflareHook

    named = {each["id"] for each in payload["records"]}
    names_all = payload["record_count"] == len(named)
    window = {"since": payload["window_start"], "before": payload["window_end"], "direction": "asc"}
    records = CloudflareHook().iter_audit_logs(api_version=payload["api_version"], **window)
    return [record for record in records if record["id"] in named or (not names_all and watcher.matches(record))]


def is_whole(payload: dict[str, Any], records: list[dict[str, Any]]) -> bool:
    """Say whether everything that an event names and counts was read back."""
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
        """Print who did what, and return the ids; put a message to those who must look here."""
        told = [event.extra["payload"] for events in triggering_asset_events.values() for event in events]
        read = [(payload, actions_of(payload)) for payload in told]
        for record in (record for _, records in read for record in records):
            actor, action = record.get("actor") or {}, record.get("action") or {}
            print(f"SUSPICIOUS: {actor.get('email')} did {action.get('type')}: {record['id']}")
        if not all(is_whole(payload, records) for payload, records in read):
            raise RuntimeError("The log did not show all that was told of. This task tries again; then look yourself.")
        return sorted({record["id"] for _, records in read for record in records})

    report_actions()

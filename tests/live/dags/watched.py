"""Two DAGs, each scheduled by a watcher of its own on the same audit log.

Knows: the event trigger. Must not know: what is inserted, or when.
Its one rule: both read version 2 of one account, so where readings can be shared, they share one.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_audit_provider.triggers.audit_logs import AuditLogActivityEventTrigger


def watched(name: str, action: str) -> Asset:
    """An asset whose watcher tells of one kind of action."""
    trigger = AuditLogActivityEventTrigger(
        api_version="v2", filters={"action_type": [action]}, poll_interval_seconds=3, lookback_seconds=600
    )
    return Asset(name, watchers=[AssetWatcher(name=f"{name}-watcher", trigger=trigger)])


@task
def told(triggering_asset_events: Any = None) -> list[Any]:
    """The payloads that started this run."""
    return [event.extra["payload"] for events in triggering_asset_events.values() for event in events]


for kind in ("token", "member"):
    with DAG(dag_id=f"on_{kind}", schedule=[watched(f"watched-{kind}", f"made_{kind}")]):
        told()

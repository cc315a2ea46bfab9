"""Two DAGs, each scheduled by its own event trigger on the same audit log.

Invariant: both read version 2 of one account, so that they share one poll where Airflow supports it.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, task

from airflow_audit_provider.triggers.audit_logs import AuditLogActivityEventTrigger


def watched(name: str, action: str) -> Asset:
    """Returns an asset whose trigger reports one kind of action."""
    trigger = AuditLogActivityEventTrigger(
        api_version="v2", filters={"action_type": [action]}, poll_interval_seconds=3, lookback_seconds=600
    )
    return Asset(name, watchers=[AssetWatcher(name=f"{name}-watcher", trigger=trigger)])


# A task that a busy machine fails would take its events with it: they start no other run.
@task(retries=3, retry_delay=timedelta(seconds=2))
def reported(triggering_asset_events: Any = None) -> list[Any]:
    """Returns the payloads that started this run."""
    return [event.extra["payload"] for events in triggering_asset_events.values() for event in events]


for kind in ("token", "member"):
    with DAG(dag_id=f"on_{kind}", schedule=[watched(f"watched-{kind}", f"made_{kind}")]):
        reported()

"""A destination and a folder of Sigma rules, for tests of what users run.

Invariant: the rules are read from files, as those of users are.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path

from airflow_audit_provider.adapters.storage.local_store import LocalStore
from airflow_audit_provider.core.api.records import AuditRecord, parse_event_time
from airflow_audit_provider.core.windows.window import format_instant
from airflow_audit_provider.formats.part_format import PartFormat
from tests.pipelines.verify.dataset import DAY_1, PLAIN, commit, window

RULE = """
title: {title}
id: {id}
status: test
level: {level}
logsource:
    product: cloudflare
    service: audit
detection:
    done:
        action_type: {action}
    condition: done
advice:
    what_to_check: Ask the person.
"""
DELETED, PURGED = "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"
HOSTILE = '<!channel> <img src=x> "eve"@example.com'
BACK = timedelta(days=10_000)
HOUR = timedelta(hours=1)


def action(when: datetime, name: str, kind: str, actor: str = "ann@example.com") -> AuditRecord:
    """Returns a record of version 1 in which an actor does something."""
    at = format_instant(when)
    raw = {"id": name, "when": at, "action": {"type": kind, "result": True}, "actor": {"email": actor, "type": "user"}}
    return AuditRecord(parse_event_time(at), name, json.dumps(raw).encode())


class SigmaPlace:
    """A destination and a folder of two rules, in a temporary folder."""

    def __init__(self, folder: Path) -> None:
        self.uri = f"file://{folder}/audit"
        self.store = LocalStore(str(folder / "audit"))
        self.rules = folder / "rules"
        self.rules.mkdir()
        for name, kind, level in ((DELETED, "zone_delete", "high"), (PURGED, "purge", "low")):
            rule = RULE.format(title=f"Rule of {kind}", id=name, level=level, action=kind)
            (self.rules / f"{kind}.yml").write_text(rule)

    def land(self, *records: AuditRecord, format_: PartFormat = PLAIN) -> None:
        """Commits records of the first window."""
        commit(self.store, window(), list(records), format_=format_)

    def land_three(self) -> None:
        """Commits a deleted zone, a purge and a login."""
        self.land(
            action(DAY_1 + HOUR, "gone", "zone_delete", HOSTILE),
            action(DAY_1 + 2 * HOUR, "purged", "purge"),
            action(DAY_1 + 3 * HOUR, "in", "login"),
        )

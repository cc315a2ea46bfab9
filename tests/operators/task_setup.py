"""Setup for tests of operators and sensors: a fake, a clock, a connection in the environment, a destination.

Invariant: what is read back from a destination is read by plain file tools, not by the package.
"""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import zstandard

from airflow_audit_provider.hooks.cloudflare import CloudflareHook
from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator
from airflow_audit_provider.sensors.audit_logs import CloudflareAuditLogActivitySensor
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.misbehaviour import parse_switch
from airflow_audit_provider.testing.settings import ACCOUNT_ID, ORGANIZATION_ID, TOKEN, Settings
from airflow_audit_provider.testing.transport import FakeTransport

START = datetime(2026, 10, 26, tzinfo=UTC)
END = datetime(2026, 10, 27, tzinfo=UTC)
WINDOW: dict[str, Any] = {"window_start": START, "window_end": END}
Tree = dict[str, tuple[bytes, int]]


class TaskSetup:
    """Everything a task needs; ``misbehave`` takes switches as text, ``connect`` writes another connection."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, destination: Path, **settings: Any) -> None:
        self._monkeypatch = monkeypatch
        self.destination = destination
        self.clock = ManualClock()
        chosen = {"records_per_day": 300, "even_days": True, "organization_ids": (ORGANIZATION_ID,), **settings}
        self.fake = FakeCloudflare(self.clock.now, Settings(**chosen))
        self.connect()

    def connect(self, conn_id: str = "cloudflare_default", extra: dict[str, Any] | None = None, **fields: Any) -> None:
        """Puts a connection into the environment."""
        known = {"account_id": ACCOUNT_ID} if extra is None else extra
        text = json.dumps({"conn_type": "cloudflare", "password": TOKEN, "extra": known, **fields})
        self._monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", text)

    def misbehave(self, *specs: str) -> None:
        """Replaces the fake's misbehaviours."""
        self.fake.misbehave(*[parse_switch(spec) for spec in specs])

    def hook(self, conn_id: str = "cloudflare_default") -> CloudflareHook:
        """Returns a hook on the fake and the clock."""
        return CloudflareHook(conn_id, transport=FakeTransport(self.fake, self.clock), clock=self.clock)

    def operator(self, **arguments: Any) -> CloudflareAuditLogsToObjectStorageOperator:
        """Returns the land operator for the default day and destination, on the fake."""
        given = {"task_id": "land", "destination": f"file://{self.destination}", "compression": "none", **arguments}
        found = CloudflareAuditLogsToObjectStorageOperator(**given)
        found.hook = self.hook(found.cloudflare_conn_id)
        return found

    def land(self, **arguments: Any) -> dict[str, Any]:
        """Runs the operator for the default day; returns its summary."""
        return self.operator(**{**WINDOW, **arguments}).execute({})

    def sensor(self, **arguments: Any) -> CloudflareAuditLogActivitySensor:
        """Returns the sensor on the fake."""
        found = CloudflareAuditLogActivitySensor(**{"task_id": "look", "since": START, **arguments})
        found.hook = self.hook(found.cloudflare_conn_id)
        return found

    def raws(self, version: str = "v1") -> list[bytes]:
        """Returns the true records of the default day as the fake has them, by (event time, id)."""
        return [row.raw for row in self.fake.truth(version, None, START, END)]

    def ids(self, version: str = "v1", scope: str | None = None) -> list[str]:
        """Returns the ids of these records."""
        return [row.id for row in self.fake.truth(version, scope, START, END)]

    def tree(self) -> Tree:
        """Returns every file of the destination: name to bytes and modification time."""
        files = sorted(path for path in self.destination.rglob("*") if path.is_file())
        return {str(path.relative_to(self.destination)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}

    def part_names(self) -> list[str]:
        """Returns the sorted names of the data objects."""
        return [name for name in self.tree() if name.startswith("dt=")]

    def lines(self) -> list[bytes]:
        """Returns the lines of every text part in order, decompressed."""
        found: list[bytes] = []
        for name in self.part_names():
            content = self.tree()[name][0]
            if name.endswith(".gz"):
                content = gzip.decompress(content)
            elif name.endswith(".zst"):
                content = zstandard.ZstdDecompressor().stream_reader(content).read()
            found += content.splitlines()
        return found

"""Fake Cloudflare Audit Logs API for tests, shipped so that your own DAG tests can use it.

Serve a :class:`FakeCloudflare` with :class:`FakeServer` and set the host of a connection to its ``base_url``::

    clock = ManualClock()
    fake = FakeCloudflare(clock.now, Settings(records_per_day=100), [parse_switch("status=503,every=3")])
    with FakeServer(fake) as server:
        ...

Invariant: the fake reads records with its own code and shares none with the code that it tests.
"""

from __future__ import annotations

from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.misbehaviour import parse_switch
from airflow_audit_provider.testing.server import FakeServer
from airflow_audit_provider.testing.settings import Settings, TokenKind

__all__ = ["FakeCloudflare", "FakeServer", "ManualClock", "Settings", "TokenKind", "parse_switch"]

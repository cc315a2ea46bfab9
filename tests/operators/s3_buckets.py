"""Buckets of a real S3 server for tests of operators: the official client of one, emptied after each test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.adapters.storage.real_stores import S3Server, Servers
from tests.operators.task_setup import TaskSetup


@contextmanager
def s3_bucket(servers: Servers, task_setup: TaskSetup, conn_id: str, name: str) -> Iterator[Any]:
    """Connects Airflow to an empty bucket and yields its official client; deletes all objects at the end."""
    server = servers("s3-moto")
    assert isinstance(server, S3Server)
    task_setup.connect(conn_id, **server.fields())
    server.make_bucket(name)
    try:
        yield server.client()
    finally:
        for key in server.versions(name):
            server.client().delete_object(Bucket=name, Key=key)

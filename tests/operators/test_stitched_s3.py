"""A stitched history lands in a bucket, its overlap is made longer there, and a task verifies it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from airflow_audit_provider.operators.verify import CloudflareAuditLogsVerifyOperator
from tests.adapters.storage.real_stores import Servers
from tests.operators.s3_buckets import s3_bucket
from tests.operators.stitched_setup import land_day
from tests.operators.task_setup import TaskSetup

pytestmark = pytest.mark.integration
ROOT = "s3://s3@audit/history/"


@pytest.fixture
def client(task_setup: TaskSetup, servers: Servers) -> Iterator[Any]:
    """The official client, with an empty bucket and an Airflow connection to it."""
    with s3_bucket(servers, task_setup, "s3", "audit") as client:
        yield client


def test_history_in_a_bucket_lands_extends_and_verifies(task_setup: TaskSetup, client: Any) -> None:
    """The folders are those of a local history; nothing is written beside them but the descriptor."""
    summary = land_day(task_setup, 0, destination=ROOT)
    assert summary["manifest_uri"].startswith("s3://audit/history/v2/_manifests/")
    land_day(task_setup, 2, destination=ROOT, overlap=timedelta.max)
    descriptor = client.get_object(Bucket="audit", Key="history/_stitched.json")["Body"].read()
    assert json.loads(descriptor)["overlap_seconds"] is None
    keys = [item["Key"] for item in client.list_objects_v2(Bucket="audit")["Contents"]]
    assert {key.split("/")[1] for key in keys} == {"_stitched.json", "v1", "v2"}
    found = CloudflareAuditLogsVerifyOperator(task_id="verify", destination=ROOT).execute({})
    assert (found["window_count"], found["severe_count"], found["mild_count"]) == (4, 0, 0)

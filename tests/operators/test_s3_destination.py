"""Tests that the operator writes to S3 through an Airflow connection; the official client reads back."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import Any

import pytest

from airflow_audit_provider.exceptions import StorageError
from tests.adapters.storage.real_stores import Servers
from tests.operators.s3_buckets import s3_bucket
from tests.operators.task_setup import TaskSetup

pytestmark = pytest.mark.integration


@pytest.fixture
def client(task_setup: TaskSetup, servers: Servers) -> Iterator[Any]:
    """The official client, with an empty bucket and an Airflow connection to it."""
    with s3_bucket(servers, task_setup, "s3", "audit") as client:
        yield client


def _objects(client: Any) -> dict[str, tuple[str, Any]]:
    found = client.list_objects_v2(Bucket="audit").get("Contents", [])
    return {item["Key"]: (item["ETag"], item["LastModified"]) for item in found}


@pytest.mark.parametrize(
    ("destination", "prefix"), [("s3://s3@audit/cloudflare/v1/", "cloudflare/v1/"), ("s3://s3@audit", "")]
)
def test_records_land_whole_in_a_bucket(task_setup: TaskSetup, client: Any, destination: str, prefix: str) -> None:
    """The partition's only object holds the fake's own bytes, and a second run changes no object."""
    summary = task_setup.land(destination=destination, compression="gzip")
    objects = _objects(client)
    entry, descriptor, manifest, part = sorted(objects)
    assert entry.startswith(f"{prefix}_commit_log/")
    assert descriptor == f"{prefix}_dataset.json"
    content = client.get_object(Bucket="audit", Key=part)["Body"].read()
    assert gzip.decompress(content).splitlines() == task_setup.raws()
    assert part.startswith(f"{prefix}dt=2026-10-26/")
    assert summary["manifest_uri"] == f"s3://audit/{manifest}"
    assert task_setup.land(destination=destination, compression="gzip")["committed"] is False
    assert _objects(client) == objects


def test_failed_pull_leaves_no_object_or_upload(task_setup: TaskSetup, client: Any) -> None:
    """Leaves no object and no open upload after a failure midway."""
    task_setup.misbehave("page_ceiling=100", "truncated_json,after=2")
    with pytest.raises(Exception, match="not the API's JSON"):
        task_setup.land(destination="s3://s3@audit/x")
    assert _objects(client) == {}
    assert "Uploads" not in client.list_multipart_uploads(Bucket="audit")


@pytest.mark.usefixtures("client")
def test_missing_bucket_fails_before_any_request(task_setup: TaskSetup) -> None:
    """Names the bucket and sends no request to Cloudflare."""
    with pytest.raises(Exception, match="bucket does not exist") as caught:
        task_setup.land(destination="s3://s3@no-such-bucket/x")
    assert isinstance(caught.value.__context__, StorageError)
    assert task_setup.fake.requests == []

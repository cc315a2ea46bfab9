"""Sealing and verifying in S3 through Airflow's own connection."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException
from moto.server import ThreadedMotoServer

from airflow_audit_provider.operators.seal import CloudflareAuditLogsSealOperator
from airflow_audit_provider.operators.verify import CloudflareAuditLogsVerifyOperator
from tests.operators.worlds import World
from tests.pipelines.verify.dataset import PRIVATE_PEM, PUBLIC_PEM

pytestmark = pytest.mark.integration

KEYS: dict[str, str] = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A real S3 server on a free port of this machine; one for all, because Airflow keeps a connection's client."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def client(world: World, endpoint: str) -> Any:
    """The official client, an empty bucket, and connections to it and to a signing key."""
    world.connect("vault", conn_type="aws", login="test", password="test", extra={"endpoint_url": endpoint})
    world.connect("sealing", conn_type="generic", password=PRIVATE_PEM, extra={})
    client = boto3.client("s3", endpoint_url=endpoint, **KEYS)
    client.create_bucket(Bucket="sealed")
    yield client
    for found in client.list_objects_v2(Bucket="sealed").get("Contents", []):
        client.delete_object(Bucket="sealed", Key=found["Key"])


@pytest.mark.parametrize("destination", ["s3://vault@sealed/cloudflare/v1/", "s3://vault@sealed"])
def test_a_bucket_is_sealed_and_verified(world: World, client: Any, destination: str) -> None:
    """A sound bucket passes, under a prefix and in its root; an object more, changed or less fails the task."""
    world.land(destination=destination, compression="gzip")
    seal = CloudflareAuditLogsSealOperator(task_id="seal", destination=destination, signing_conn_id="sealing")
    newest = seal.execute({})["newest_seal_sha256"]
    verify = CloudflareAuditLogsVerifyOperator(
        task_id="verify", destination=destination, public_key=PUBLIC_PEM, expected_seal_sha256=newest
    )
    counts = verify.execute({})
    assert (counts["record_count"], counts["seal_count"], counts["mild_count"]) == (300, 1, 0)
    keys = [found["Key"] for found in client.list_objects_v2(Bucket="sealed")["Contents"]]
    assert len(keys) == 4
    for key in keys:
        before = client.get_object(Bucket="sealed", Key=key)["Body"].read()
        client.put_object(Bucket="sealed", Key=key, Body=before[:-1] + b"x")
        with pytest.raises(AirflowFailException):
            verify.execute({})
        client.delete_object(Bucket="sealed", Key=key)
        with pytest.raises(AirflowFailException):
            verify.execute({})
        client.put_object(Bucket="sealed", Key=key, Body=before)
        assert verify.execute({})["severe_count"] == 0
        client.put_object(Bucket="sealed", Key=f"{key}.more", Body=b"x")
        with pytest.raises(AirflowFailException):
            verify.execute({})
        client.delete_object(Bucket="sealed", Key=f"{key}.more")

"""The operator lands in S3 through Airflow's own connection; the official AWS client is the witness."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from airflow_audit_provider.exceptions import StorageError
from tests.operators.worlds import World

pytestmark = pytest.mark.integration

KEYS: dict[str, str] = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    """A real S3 server on a free port of this machine."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def client(world: World, endpoint: str) -> Any:
    """The official client, with an empty bucket and an Airflow connection to it."""
    world.connect("s3", conn_type="aws", login="test", password="test", extra={"endpoint_url": endpoint})
    client = boto3.client("s3", endpoint_url=endpoint, **KEYS)
    client.create_bucket(Bucket="audit")
    yield client
    for found in client.list_objects_v2(Bucket="audit").get("Contents", []):
        client.delete_object(Bucket="audit", Key=found["Key"])


def _objects(client: Any) -> dict[str, tuple[str, Any]]:
    found = client.list_objects_v2(Bucket="audit").get("Contents", [])
    return {item["Key"]: (item["ETag"], item["LastModified"]) for item in found}


@pytest.mark.parametrize(
    ("destination", "prefix"), [("s3://s3@audit/cloudflare/v1/", "cloudflare/v1/"), ("s3://s3@audit", "")]
)
def test_records_land_whole_in_a_bucket(world: World, client: Any, destination: str, prefix: str) -> None:
    """The partition's only object holds the fake's own bytes, and a second run changes no object."""
    summary = world.land(destination=destination, compression="gzip")
    objects = _objects(client)
    part, manifest = sorted(objects, key=lambda key: "_manifests" in key)
    content = client.get_object(Bucket="audit", Key=part)["Body"].read()
    assert gzip.decompress(content).splitlines() == world.raws()
    assert part.startswith(f"{prefix}dt=2026-10-26/")
    assert summary["manifest_uri"] == f"s3://audit/{manifest}"
    assert world.land(destination=destination, compression="gzip")["committed"] is False
    assert _objects(client) == objects


def test_a_failed_pull_leaves_nothing_in_the_bucket(world: World, client: Any) -> None:
    """A pull that breaks midway leaves no object and no open upload."""
    world.misbehave("page_ceiling=100", "truncated_json,after=2")
    with pytest.raises(Exception, match="not its JSON"):
        world.land(destination="s3://s3@audit/x")
    assert _objects(client) == {}
    assert "Uploads" not in client.list_multipart_uploads(Bucket="audit")


@pytest.mark.usefixtures("client")
def test_a_missing_bucket_is_named_before_any_request(world: World) -> None:
    """A bucket that is not there is an error that says so, and Cloudflare is not asked."""
    with pytest.raises(Exception, match="bucket does not exist") as caught:
        world.land(destination="s3://s3@no-such-bucket/x")
    assert isinstance(caught.value.__cause__, StorageError)
    assert world.fake.requests == []

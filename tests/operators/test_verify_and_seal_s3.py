"""Verify, seal and report operators in S3 through an Airflow connection."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_audit_provider.operators.report import CloudflareAuditLogsReportOperator
from airflow_audit_provider.operators.seal import CloudflareAuditLogsSealOperator
from airflow_audit_provider.operators.verify import CloudflareAuditLogsVerifyOperator
from tests.adapters.storage.real_stores import S3Server, Servers
from tests.operators.s3_buckets import s3_bucket
from tests.operators.task_setup import TaskSetup
from tests.pipelines.verify.dataset import PRIVATE_PEM, PUBLIC_PEM

pytestmark = pytest.mark.integration


@pytest.fixture
def client(task_setup: TaskSetup, servers: Servers) -> Iterator[Any]:
    """The official client with an empty bucket, and connections to it and to a signing key."""
    task_setup.connect("sealing", conn_type="generic", password=PRIVATE_PEM, extra={})
    with s3_bucket(servers, task_setup, "vault", "sealed") as client:
        yield client


@pytest.mark.parametrize("destination", ["s3://vault@sealed/cloudflare/v1/", "s3://vault@sealed"])
def test_a_bucket_is_sealed_and_verified(task_setup: TaskSetup, client: Any, destination: str) -> None:
    """A sound bucket passes, under a prefix and in its root; an object more, changed or less fails the task."""
    task_setup.land(destination=destination, compression="gzip")
    seal = CloudflareAuditLogsSealOperator(task_id="seal", destination=destination, signing_conn_id="sealing")
    newest = seal.execute({})["newest_seal_sha256"]
    verify = CloudflareAuditLogsVerifyOperator(
        task_id="verify",
        destination=destination,
        public_key=PUBLIC_PEM,
        expected_seal_sha256=newest,
        # A record of a verification is a note: no check depends on its bytes.
        record_pass=False,
    )
    counts = verify.execute({})
    assert (counts["record_count"], counts["seal_count"], counts["mild_count"]) == (300, 1, 0)
    # An entry of the commit log is a note, too.
    found_keys = [found["Key"] for found in client.list_objects_v2(Bucket="sealed")["Contents"]]
    keys = [key for key in found_keys if "_commit_log/" not in key]
    assert (len(found_keys), len(keys)) == (6, 5)
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
        if key.endswith("_dataset.json"):
            # Beside the descriptor, where no reader looks, an object more is foreign and does no harm.
            assert verify.execute({})["mild_count"] == 1
        else:
            with pytest.raises(AirflowFailException):
                verify.execute({})
        client.delete_object(Bucket="sealed", Key=f"{key}.more")


@pytest.mark.parametrize("mode", ["COMPLIANCE", "GOVERNANCE"])
def test_locked_bucket_is_landed_sealed_and_verified(task_setup: TaskSetup, servers: Servers, mode: str) -> None:
    """Every object is locked for the bucket's 30 days, so that a check of 29 days passes and one of 31 fails."""
    server, bucket = servers("s3-moto"), f"locked-{mode.lower()}"
    assert isinstance(server, S3Server)
    server.make_locked_bucket(bucket, mode, days=30)
    task_setup.connect("vault", **server.fields())
    task_setup.connect("sealing", conn_type="generic", password=PRIVATE_PEM, extra={})
    place: dict[str, Any] = {"destination": f"s3://vault@{bucket}/cloudflare/v1/"}
    assert task_setup.land(**place)["committed"] is True
    assert task_setup.land(**place)["committed"] is False
    assert task_setup.land(**place, replace=True)["committed"] is True
    CloudflareAuditLogsSealOperator(task_id="seal", signing_conn_id="sealing", **place).execute({})
    checked = {"task_id": "verify", "public_key": PUBLIC_PEM, **place}
    near, far = (f"{datetime.now(UTC) + timedelta(days=days):%Y-%m-%d}" for days in (29, 32))
    counts = CloudflareAuditLogsVerifyOperator(**checked, expect_lock=near).execute({})
    # The part, two manifests, the seal, its signature and the dataset descriptor.
    assert (counts["locked_count"], counts["unlocked_count"]) == (6, 0)
    assert counts["governance_count"] == (6 if mode == "GOVERNANCE" else 0)
    assert counts["first_unlock_at"] > near
    json.dumps(counts)
    with pytest.raises(AirflowFailException, match="6 severe findings; the first is object_unlocked"):
        CloudflareAuditLogsVerifyOperator(**checked, expect_lock=far).execute({})


@pytest.mark.parametrize("prefix", ["cloudflare/v1/", ""])
def test_report_is_made_from_a_bucket_and_written_to_it(task_setup: TaskSetup, client: Any, prefix: str) -> None:
    """The report has the window, its seal and its verification; a second run finds the same object."""
    destination = f"s3://vault@sealed/{prefix}"
    task_setup.land(destination=destination)
    CloudflareAuditLogsSealOperator(task_id="seal", destination=destination, signing_conn_id="sealing").execute({})
    CloudflareAuditLogsVerifyOperator(task_id="verify", destination=destination, public_key=PUBLIC_PEM).execute({})
    report = CloudflareAuditLogsReportOperator(
        task_id="report", destination=destination, public_key=PUBLIC_PEM, at="2026-10-27"
    )
    found, again = report.execute({}), report.execute({})
    assert (found["verdict"], found["is_new"], again["is_new"]) == ("good", True, False)
    assert found["report_uri"].startswith(f"s3://sealed/{prefix}_reports/20261027T000000Z-")
    key = found["report_uri"].removeprefix("s3://sealed/")
    content = client.get_object(Bucket="sealed", Key=key)["Body"].read()
    assert (hashlib.sha256(content).hexdigest(), len(content)) == (found["sha256"], found["size_bytes"])
    page = content.decode()
    assert "A seal names the newest generation of 1 of 1 windows." in page
    assert "Records of verifications name the newest generation of 1 of 1 windows" in page
    assert f"s3://sealed/{prefix}".rstrip("/") in page
    assert "vault" not in page

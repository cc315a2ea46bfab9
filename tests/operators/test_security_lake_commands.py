"""Every task and command works on a dataset whose parts are in a bucket of Security Lake, on a real S3 server."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import duckdb
import pytest
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.cli.__main__ import main
from airflow_audit_provider.core.archive.object_keys import detection_commit_key
from airflow_audit_provider.operators.changes import CloudflareAuditLogsChangesOperator
from airflow_audit_provider.operators.coverage import CloudflareAuditLogsCoverageOperator
from airflow_audit_provider.operators.report import CloudflareAuditLogsReportOperator
from airflow_audit_provider.operators.seal import CloudflareAuditLogsSealOperator
from airflow_audit_provider.operators.verify import CloudflareAuditLogsVerifyOperator
from airflow_audit_provider.operators.warehouses import CloudflareAuditLogsToSqlOperator
from tests.adapters.storage.real_stores import S3Server, Servers
from tests.operators.s3_buckets import s3_bucket
from tests.operators.task_setup import END, START, TaskSetup
from tests.pipelines.pull.landing import record_at
from tests.pipelines.verify.dataset import PRIVATE_PEM, PUBLIC_PEM

pytestmark = pytest.mark.integration
HOME = "s3://lake@home/cloudflare"
LAKE = {"bucket": "s3://securitylake", "source": "cf_{class_uid}", "region": "eu-central-1"}
IN_LAKE: dict[str, Any] = {
    "destination": HOME,
    "file_format": "parquet",
    "schema": "ocsf-1.3",
    "compression": None,
    "layout": "security_lake",
    "security_lake": LAKE,
}


@pytest.fixture
def client(task_setup: TaskSetup, servers: Servers) -> Iterator[Any]:
    """The official client of a server with the destination's bucket and that of the lake."""
    task_setup.connect("sealing", conn_type="generic", password=PRIVATE_PEM, extra={})
    with s3_bucket(servers, task_setup, "lake", "home"), s3_bucket(servers, task_setup, "lake", "securitylake") as one:
        yield one


def _parts(client: Any) -> list[str]:
    return [found["Key"] for found in client.list_objects_v2(Bucket="securitylake")["Contents"]]


def _verify(**arguments: Any) -> dict[str, Any]:
    return CloudflareAuditLogsVerifyOperator(task_id="verify", destination=HOME, **arguments).execute({})


def _load(file: Path) -> dict[str, Any]:
    task = CloudflareAuditLogsToSqlOperator(task_id="load", destination=HOME, duckdb_path=str(file))
    return task.execute({})


def test_sealed_lake_verifies_loads_and_reports(task_setup: TaskSetup, client: Any, tmp_path: Path) -> None:
    """A seal covers the parts in the lake, a load has every record once, and coverage and report agree."""
    task_setup.land(**IN_LAKE)
    task_setup.fake.add(record_at("2026-10-26T03:00:00Z", "late-one", action="login"))
    task_setup.land(**IN_LAKE)
    seal = CloudflareAuditLogsSealOperator(task_id="seal", destination=HOME, signing_conn_id="sealing")
    newest = seal.execute({})["newest_seal_sha256"]
    trusted = {"public_key": PUBLIC_PEM, "expected_seal_sha256": newest}
    counts = _verify(**trusted)
    assert (counts["record_count"], counts["part_count"], counts["severe_count"]) == (301, len(_parts(client)), 0)
    file = tmp_path / "audit.duckdb"
    assert _load(file)["record_count"] == 301
    with duckdb.connect(str(file)) as database:
        ids = [row[0] for row in database.execute("select id from cloudflare_audit_logs order by id").fetchall()]
    assert ids == sorted(task_setup.ids())
    assert _load(file)["loaded_count"] == 0
    covered = CloudflareAuditLogsCoverageOperator(task_id="coverage", destination=HOME, start=START, end=END)
    assert covered.execute({}) == []
    report = CloudflareAuditLogsReportOperator(task_id="report", destination=HOME, at=END, **trusted)
    assert report.execute({})["verdict"] == "good"
    (lost := _parts(client)).sort()
    client.delete_object(Bucket="securitylake", Key=lost[0])
    with pytest.raises(AirflowFailException):
        _verify(**trusted)
    with pytest.raises(AirflowFailException):
        _load(tmp_path / "other.duckdb")


def test_changes_of_each_part_have_a_file(task_setup: TaskSetup, client: Any) -> None:
    """Parts in the lake begin with the same text, and each has files of changes of its own."""
    task_setup.land(**IN_LAKE)
    operator = CloudflareAuditLogsChangesOperator(task_id="changes", destination=HOME, start=START, end=END)
    operator.hook = task_setup.hook()
    operator.execute({})
    found = [one["Key"] for one in client.list_objects_v2(Bucket="home", Prefix="cloudflare/_changes/")["Contents"]]
    rows = [
        json.loads(line)
        for key in found
        if key.endswith(".gz")
        for line in gzip.decompress(client.get_object(Bucket="home", Key=key)["Body"].read()).splitlines()
    ]
    assert len({row["id"] for row in rows}) == len(rows) == 300
    assert _verify()["mild_count"] == 0


def test_destinations_of_one_log_keep_their_own_parts(task_setup: TaskSetup, client: Any) -> None:
    """A second destination of the same windows and source removes no part of the first."""
    # Verification of the first names the objects of the second.
    task_setup.land(**IN_LAKE)
    task_setup.fake.add(record_at("2026-10-26T03:00:00Z", "late-one", action="login"))
    task_setup.land(**IN_LAKE)
    before = set(_parts(client))
    for replaces in (False, True):
        task_setup.land(**IN_LAKE | {"destination": "s3://lake@home/other"}, replace=replaces)
        new = set(_parts(client)) - before
        assert before < set(_parts(client))
        assert len(new) == 3
    with pytest.raises(AirflowFailException, match="has 3 severe findings; the first is object_unexpected"):
        _verify()


def test_replacement_of_sealed_parts_is_refused(task_setup: TaskSetup, client: Any) -> None:
    """A replacement that would leave each record twice in the lake changes nothing; an erasure removes old parts."""
    task_setup.land(**IN_LAKE)
    task_setup.land(**IN_LAKE, replace=True)
    before = _parts(client)
    assert len(before) == 3
    CloudflareAuditLogsSealOperator(task_id="seal", destination=HOME, signing_conn_id="sealing").execute({})
    task_setup.fake.requests.clear()
    with pytest.raises(AirflowFailException, match="readers would find each record twice"):
        task_setup.land(**IN_LAKE, replace=True)
    assert (_parts(client), task_setup.fake.requests) == (before, [])
    task_setup.land(**IN_LAKE, replace=True, erase=True, erase_reason="request 17")
    assert len(_parts(client)) == 3
    assert not set(_parts(client)) & set(before)


def test_expected_locks_are_those_of_both_buckets(task_setup: TaskSetup, servers: Servers, client: Any) -> None:
    """If the destination's bucket locks its objects and the lake's does not, each part is a severe finding."""
    server = servers("s3-moto")
    assert isinstance(server, S3Server)
    bucket = f"locked-{uuid4().hex[:12]}"
    server.make_locked_bucket(bucket, "GOVERNANCE")
    destination = f"s3://lake@{bucket}"
    task_setup.land(**IN_LAKE | {"destination": destination})
    verify = CloudflareAuditLogsVerifyOperator(
        task_id="verify", destination=destination, expect_lock=datetime.now(UTC) + timedelta(days=1)
    )
    assert len(_parts(client)) == 3
    with pytest.raises(AirflowFailException, match="has 3 severe findings; the first is object_unlocked at ext/"):
        verify.execute({})


def test_rules_run_on_the_parts_in_the_lake(
    task_setup: TaskSetup, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command detect reads the parts in the lake, in a back-test and for good, then those of late records alone."""
    monkeypatch.setattr(SystemClock, "now", lambda _: task_setup.clock.now())
    home, bucket = tmp_path / "home", f"file://{tmp_path}/bucket"
    arguments = IN_LAKE | {"destination": f"file://{home}", "security_lake": LAKE | {"bucket": bucket}}
    task_setup.land(**arguments)
    capsys.readouterr()
    assert main(["detect", str(home), "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["record_count"] == 300
    assert main(["detect", str(home), "--run-back", "9999"]) == 0
    task_setup.fake.add(record_at("2026-10-26T03:00:00Z", "late-one", action="login"))
    task_setup.land(**arguments)
    capsys.readouterr()
    assert main(["detect", str(home), "--run-back", "9999", "--json"]) == 0
    (number,) = json.loads(capsys.readouterr().out)["commits"]
    commit = json.loads((home / detection_commit_key(number)).read_bytes())
    assert list(commit["windows"].values()) == [1]

"""Tests that the operator lands a window on every kind of store; official clients read the objects back."""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import pytest

from airflow_audit_provider._airflow import file_systems
from airflow_audit_provider.exceptions import CommitConflictError, StorageError
from airflow_audit_provider.hooks.cloudflare import CloudflareHook
from airflow_audit_provider.testing.transport import FakeTransport
from tests.adapters.storage.real_stores import CREATE_ONLY, OVERWRITING, RealStore, Servers
from tests.adapters.storage.store_fixtures import connect
from tests.operators.task_setup import WINDOW, TaskSetup

pytestmark = pytest.mark.integration
PREFIX = "cloudflare/v1/"


class Bucket(NamedTuple):
    """A new bucket of a server, and the operator's arguments for it."""

    server: RealStore
    name: str
    destination: dict[str, Any]

    def committed_lines(self) -> list[bytes]:
        """Returns the lines of the newest manifest's parts; asserts that each part has the manifest's bytes."""
        keys = sorted(key for key in self.server.versions(self.name) if f"{PREFIX}_manifests/" in key)
        manifest = json.loads(self.server.content(self.name, keys[-1]))
        found: list[bytes] = []
        for part in manifest["parts"]:
            content = self.server.content(self.name, PREFIX + part["key"])
            assert hashlib.sha256(content).hexdigest() == part["sha256"]
            found += content.splitlines()
        return found

    def unreferenced_keys(self) -> list[str]:
        """Returns the keys that are neither a manifest nor a part of one."""
        return [key for key in self.server.versions(self.name) if "_staging" in key or "unfinished" in key]


@pytest.fixture
def bucket_on(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Bucket]:
    """Creates a bucket on a server, with a connection to it."""

    def made(name: str) -> Bucket:
        server, bucket = servers(name), f"audit-{uuid4().hex[:12]}"
        server.make_bucket(bucket)
        conn_id = connect(monkeypatch, server.fields())
        place = {"destination": f"{server.scheme}://{bucket}/{PREFIX}", "destination_conn_id": conn_id}
        return Bucket(server, bucket, place)

    return made


every_store = pytest.mark.parametrize("name", CREATE_ONLY)


@every_store
def test_window_lands_once_on_every_store(name: str, task_setup: TaskSetup, bucket_on: Callable[[str], Bucket]) -> None:
    """The parts have the fake's own bytes; a second run writes no object; no other object stays."""
    bucket = bucket_on(name)
    summary = task_setup.land(**bucket.destination)
    before = bucket.server.versions(bucket.name)
    assert summary["record_count"] == 300
    assert bucket.committed_lines() == task_setup.raws()
    assert bucket.unreferenced_keys() == []
    assert task_setup.land(**bucket.destination)["committed"] is False
    assert bucket.server.versions(bucket.name) == before


def test_window_lands_on_gcs_without_googles_provider(
    task_setup: TaskSetup, bucket_on: Callable[[str], Bucket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where Airflow's Google provider is not installed, the extra ``gcs`` is enough, with a connection."""
    monkeypatch.setattr(file_systems, "_installed_modules", lambda: iter(()))
    monkeypatch.setitem(sys.modules, "airflow.providers.google", None)
    bucket = bucket_on("gcs")
    assert task_setup.land(**bucket.destination)["record_count"] == 300
    assert bucket.committed_lines() == task_setup.raws()
    assert task_setup.land(**bucket.destination)["committed"] is False


@every_store
def test_manifest_uri_of_a_folder_with_odd_characters_names_the_manifest(
    name: str, task_setup: TaskSetup, bucket_on: Callable[[str], Bucket]
) -> None:
    """The object is where the URI of the XCom says, by the server's own list."""
    # gcp-storage-emulator cuts a path at ";".
    folder = "x y,z=1&a+b prüfung 監査" + ("" if name == "gcs" else ";1")
    bucket = bucket_on(name)
    place = f"{bucket.server.scheme}://{bucket.name}"
    uri = task_setup.land(**{**bucket.destination, "destination": f"{place}/{folder}/"})["manifest_uri"]
    key = uri.removeprefix(f"{place}/")
    assert key.startswith(f"{folder}/_manifests/")
    assert json.loads(bucket.server.content(bucket.name, key))["record_count"] == 300


@every_store
def test_parts_of_many_uploads_land(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bucket_on: Callable[[str], Bucket]
) -> None:
    """Lands 20,000 records as parts of more than 12 MiB, each sent in many writes."""
    task_setup, bucket = TaskSetup(monkeypatch, tmp_path, records_per_day=20_000), bucket_on(name)
    summary = task_setup.land(**bucket.destination, max_part_bytes=12 << 20)
    assert summary["size_bytes"] > 12 << 20
    assert summary["part_count"] > 1
    assert bucket.committed_lines() == task_setup.raws()
    assert bucket.unreferenced_keys() == []


def _together(task_setup: TaskSetup, start: threading.Barrier) -> httpx.MockTransport:
    """Returns a fake that holds back its first response until every run has sent a request, and so has planned."""
    fake, first = FakeTransport(task_setup.fake, task_setup.clock), threading.Lock()

    def answer(request: httpx.Request) -> httpx.Response:
        if first.acquire(blocking=False):
            start.wait(300)
        return fake.handler(request)  # type: ignore[return-value]  # it answers at once, never by a coroutine

    return httpx.MockTransport(answer)


def _run_together(task_setups: list[TaskSetup], bucket: Bucket) -> list[Any]:
    """Runs the window once for every setup at the same time; returns the result or error of each."""
    start = threading.Barrier(len(task_setups))

    def run(task_setup: TaskSetup) -> Any:
        operator = task_setup.operator(**WINDOW, **bucket.destination, concurrency=1)
        operator.hook = CloudflareHook(transport=_together(task_setup, start), clock=task_setup.clock)
        try:
            return operator.execute({})
        except Exception as error:  # noqa: BLE001 - whatever it is, the test looks at it
            return error

    with ThreadPoolExecutor(len(task_setups)) as runs:
        return list(runs.map(run, task_setups))


@every_store
def test_concurrent_runs_with_same_records_agree(
    name: str, task_setup: TaskSetup, bucket_on: Callable[[str], Bucket]
) -> None:
    """One run commits, and the other finds the same bytes."""
    bucket = bucket_on(name)
    first, second = _run_together([task_setup, task_setup], bucket)
    assert sorted([first["committed"], second["committed"]]) == [False, True]
    assert first["manifest_uri"] == second["manifest_uri"]
    assert bucket.committed_lines() == task_setup.raws()
    assert bucket.unreferenced_keys() == []


@every_store
def test_concurrent_runs_with_other_records_never_mix(
    name: str,
    task_setup: TaskSetup,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    bucket_on: Callable[[str], Bucket],
) -> None:
    """One run commits all of its records, and the other raises the named conflict."""
    other, bucket = TaskSetup(monkeypatch, tmp_path, records_per_day=240), bucket_on(name)
    task_setups = [task_setup, other]
    outcomes = _run_together(task_setups, bucket)
    winners = [index for index, outcome in enumerate(outcomes) if isinstance(outcome, dict)]
    assert len(winners) == 1, outcomes
    assert isinstance(outcomes[1 - winners[0]].__context__, CommitConflictError)
    assert bucket.committed_lines() == task_setups[winners[0]].raws()
    assert bucket.unreferenced_keys() == []


@pytest.mark.parametrize("name", OVERWRITING)
def test_store_without_conditional_writes_is_refused(
    name: str, task_setup: TaskSetup, bucket_on: Callable[[str], Bucket]
) -> None:
    """Fails before any request to Cloudflare and leaves no object."""
    bucket = bucket_on(name)
    with pytest.raises(Exception, match="created twice") as caught:
        task_setup.land(**bucket.destination)
    assert isinstance(caught.value.__context__, StorageError)
    assert task_setup.fake.requests == []
    assert bucket.server.versions(bucket.name) == {}


@every_store
def test_missing_bucket_fails_permanently(name: str, task_setup: TaskSetup, bucket_on: Callable[[str], Bucket]) -> None:
    """Names the bucket before any request to Cloudflare."""
    bucket = bucket_on(name)
    nowhere = {**bucket.destination, "destination": f"{bucket.server.scheme}://no-such-bucket-here/x"}
    with pytest.raises(Exception, match="bucket or folder exists") as caught:
        task_setup.land(**nowhere)
    assert isinstance(caught.value.__context__, StorageError)
    assert task_setup.fake.requests == []


# Each store and each path once; all combinations at night.
PATHS = {"s3-moto": "", "s3-localstack": "/a b/ü+=1/", "azurite": "/", "gcs": "/a b/ü+=1/"}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        pytest.param(name, path, marks=[] if PATHS[name] == path else pytest.mark.nightly)
        for name in CREATE_ONLY
        for path in ("", "/", "/a b/ü+=1/")
    ],
)
def test_root_and_unusual_prefixes_are_landed_in(
    name: str, path: str, task_setup: TaskSetup, bucket_on: Callable[[str], Bucket]
) -> None:
    """Lands in the bucket's root and under unusual prefixes."""
    bucket = bucket_on(name)
    place = {**bucket.destination, "destination": f"{bucket.server.scheme}://{bucket.name}{path}"}
    assert task_setup.land(**place)["committed"] is True
    keys = bucket.server.versions(bucket.name)
    assert all(key.startswith(path.strip("/")) for key in keys)
    assert task_setup.land(**place)["committed"] is False
    assert bucket.server.versions(bucket.name) == keys

"""The operator lands a window on every kind of store, through Airflow's connections; raw clients are the witnesses."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import httpx
import pytest

from airflow_audit_provider.exceptions import CommitConflictError, StorageError
from airflow_audit_provider.hooks.cloudflare import CloudflareHook
from airflow_audit_provider.testing.transport import FakeTransport
from tests.adapters.storage.real_stores import CREATE_ONLY, OVERWRITING, RealStore
from tests.adapters.storage.store_fixtures import Servers, connect
from tests.operators.worlds import WINDOW, World

pytestmark = pytest.mark.integration
PREFIX = "cloudflare/v1/"


class Bucket(NamedTuple):
    """A new bucket of a server, and the operator's arguments that lead into it."""

    server: RealStore
    name: str
    destination: dict[str, Any]

    def committed_lines(self) -> list[bytes]:
        """Return the lines of the newest manifest's parts, each of which has the bytes the manifest says."""
        keys = sorted(key for key in self.server.versions(self.name) if f"{PREFIX}_manifests/" in key)
        manifest = json.loads(self.server.content(self.name, keys[-1]))
        found: list[bytes] = []
        for part in manifest["parts"]:
            content = self.server.content(self.name, PREFIX + part["key"])
            assert hashlib.sha256(content).hexdigest() == part["sha256"]
            found += content.splitlines()
        return found

    def debris(self) -> list[str]:
        """Return the keys that neither a manifest nor a part has."""
        return [key for key in self.server.versions(self.name) if "_staging" in key or "unfinished" in key]


@pytest.fixture
def bucket_on(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Bucket]:
    """Make a bucket on a server, with a connection to it."""

    def made(name: str) -> Bucket:
        server, bucket = servers(name), f"audit-{uuid4().hex[:12]}"
        server.make_bucket(bucket)
        conn_id = connect(monkeypatch, server.fields())
        place = {"destination": f"{server.scheme}://{bucket}/{PREFIX}", "destination_conn_id": conn_id}
        return Bucket(server, bucket, place)

    return made


every_store = pytest.mark.parametrize("name", CREATE_ONLY)


@every_store
def test_a_window_lands_once(name: str, world: World, bucket_on: Callable[[str], Bucket]) -> None:
    """The parts hold the fake's own bytes, a second run writes no object, and nothing else lies there."""
    bucket = bucket_on(name)
    summary = world.land(**bucket.destination)
    before = bucket.server.versions(bucket.name)
    assert summary["record_count"] == 300
    assert bucket.committed_lines() == world.raws()
    assert bucket.debris() == []
    assert world.land(**bucket.destination)["committed"] is False
    assert bucket.server.versions(bucket.name) == before


@every_store
def test_parts_of_many_uploads_land(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bucket_on: Callable[[str], Bucket]
) -> None:
    """A day of 20,000 records lands as parts of more than 12 MiB, each sent in many writes."""
    world, bucket = World(monkeypatch, tmp_path, records_per_day=20_000), bucket_on(name)
    summary = world.land(**bucket.destination, max_part_bytes=12 << 20)
    assert summary["size_bytes"] > 12 << 20
    assert summary["part_count"] > 1
    assert bucket.committed_lines() == world.raws()
    assert bucket.debris() == []


def _together(world: World, start: threading.Barrier) -> httpx.MockTransport:
    """Return a fake that answers its first request when every run has made its own: by then each one has planned."""
    fake, first = FakeTransport(world.fake, world.clock), threading.Lock()

    def answer(request: httpx.Request) -> httpx.Response:
        if first.acquire(blocking=False):
            start.wait(300)
        return fake.handler(request)  # type: ignore[return-value]  # it answers at once, never by a coroutine

    return httpx.MockTransport(answer)


def _run_together(worlds: list[World], bucket: Bucket) -> list[Any]:
    """Run the window once for every world at the same time; return what each run returned or raised."""
    start = threading.Barrier(len(worlds))

    def run(world: World) -> Any:
        operator = world.operator(**WINDOW, **bucket.destination, concurrency=1)
        operator.hook = CloudflareHook(transport=_together(world, start), clock=world.clock)
        try:
            return operator.execute({})
        except Exception as error:  # noqa: BLE001 - whatever it is, the test looks at it
            return error

    with ThreadPoolExecutor(len(worlds)) as runs:
        return list(runs.map(run, worlds))


@every_store
def test_two_runs_of_one_window_agree(name: str, world: World, bucket_on: Callable[[str], Bucket]) -> None:
    """Of two runs that read the same records at the same time one commits and the other finds the same bytes."""
    bucket = bucket_on(name)
    first, second = _run_together([world, world], bucket)
    assert sorted([first["committed"], second["committed"]]) == [False, True]
    assert first["manifest_uri"] == second["manifest_uri"]
    assert bucket.committed_lines() == world.raws()
    assert bucket.debris() == []


@every_store
def test_two_runs_that_disagree_never_mix(
    name: str, world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, bucket_on: Callable[[str], Bucket]
) -> None:
    """Of two runs that read other records at the same time one commits whole, and the other is the named conflict."""
    other, bucket = World(monkeypatch, tmp_path, records_per_day=240), bucket_on(name)
    worlds = [world, other]
    outcomes = _run_together(worlds, bucket)
    winners = [index for index, outcome in enumerate(outcomes) if isinstance(outcome, dict)]
    assert len(winners) == 1, outcomes
    assert isinstance(outcomes[1 - winners[0]].__cause__, CommitConflictError)
    assert bucket.committed_lines() == worlds[winners[0]].raws()
    assert bucket.debris() == []


@pytest.mark.parametrize("name", OVERWRITING)
def test_a_store_that_overwrites_is_refused(name: str, world: World, bucket_on: Callable[[str], Bucket]) -> None:
    """A store that ignores conditional writes is refused before Cloudflare is asked, and nothing stays in it."""
    bucket = bucket_on(name)
    with pytest.raises(Exception, match="created twice") as caught:
        world.land(**bucket.destination)
    assert isinstance(caught.value.__cause__, StorageError)
    assert world.fake.requests == []
    assert bucket.server.versions(bucket.name) == {}


@every_store
def test_a_missing_bucket_is_named(name: str, world: World, bucket_on: Callable[[str], Bucket]) -> None:
    """A bucket that is not there is an error for good that says so, before Cloudflare is asked."""
    bucket = bucket_on(name)
    nowhere = {**bucket.destination, "destination": f"{bucket.server.scheme}://no-such-bucket-here/x"}
    with pytest.raises(Exception, match="bucket or folder exists") as caught:
        world.land(**nowhere)
    assert isinstance(caught.value.__cause__, StorageError)
    assert world.fake.requests == []


@every_store
@pytest.mark.parametrize("path", ["", "/", "/a b/ü+%20=#1/", "/what?/x"])
def test_any_destination_holds_a_window(name: str, path: str, world: World, bucket_on: Callable[[str], Bucket]) -> None:
    """The bucket's root and a prefix of odd characters hold a window, or are refused by a named error."""
    bucket = bucket_on(name)
    place = {**bucket.destination, "destination": f"{bucket.server.scheme}://{bucket.name}{path}"}
    assert world.land(**place)["committed"] is True
    keys = bucket.server.versions(bucket.name)
    assert all(key.startswith(path.strip("/")) for key in keys)
    assert world.land(**place)["committed"] is False
    assert bucket.server.versions(bucket.name) == keys

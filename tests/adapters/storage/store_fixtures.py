"""Fixtures: stores on the servers of the session.

A store is opened as the operator opens it: by a connection and an ``ObjectStoragePath``.
"""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import store_from_filesystem
from airflow_audit_provider.core.ports import Store
from tests.adapters.storage.real_stores import CREATE_ONLY, Servers

# Gcsfs reads this when it is first imported. If it is on, gcsfs asks Google's control plane for the type of each
# bucket, which the emulator does not have, and waits for minutes.
os.environ["GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT"] = "false"

# A destination below a path, with a slash at the end, or in the root of the bucket.
PLACES = {"path": "/there/x", "slash": "/there/x/", "root": ""}
# In a bucket whose default retention locks every object, in this mode; only S3 has that.
LOCKED = {"compliance": "COMPLIANCE", "governance": "GOVERNANCE"}
LOCAL = ("local-path", "local-slash", "memory-path", "memory-slash")
OpenStore = Callable[..., Any]


def connect(monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]) -> str:
    """Sets a connection with a new id in the environment, because paths cache connections; returns the id."""
    conn_id = f"store_{uuid4().hex[:12]}"
    monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))
    return conn_id


@pytest.fixture
def open_at(servers: Servers, monkeypatch: pytest.MonkeyPatch) -> OpenStore:
    """Opens a store on a server, by default in a new bucket and by a connection with all permissions."""

    def opened(name: str, path: str = "", bucket: str | None = None, fields: dict[str, Any] | None = None) -> Any:
        from airflow.sdk import ObjectStoragePath

        server = servers(name)
        if bucket is None:
            bucket = f"bucket-{uuid4().hex[:12]}"
            server.make_bucket(bucket)
        conn_id = connect(monkeypatch, fields or server.fields())
        place = ObjectStoragePath(f"{server.scheme}://{bucket}{path}", conn_id=conn_id)
        return store_from_filesystem(place.fs, place.path)

    return opened


def remote_stores(*places: str) -> list[Any]:
    """Returns the parameters of ``store`` for every server with conditional writes, at these places or by name."""
    return [
        pytest.param(f"{name}-{place}" if place else name, marks=_cost_mark_of(name, place))
        for name in CREATE_ONLY
        for place in places or ("",)
    ]


def _cost_mark_of(name: str, place: str) -> pytest.MarkDecorator:
    """Returns the mark of a place: one place of each server runs before a merge, the others run nightly."""
    return pytest.mark.integration if place in {"path", ""} else pytest.mark.nightly


def locked_stores() -> list[Any]:
    """Returns the parameters of ``store`` for S3 servers in locked buckets of both modes; LocalStack runs nightly."""
    return [
        pytest.param(f"{name}-{mode}", marks=_cost_mark_of(name, mode))
        for name in ("s3-moto", "s3-localstack")
        for mode in LOCKED
    ]


def kind_of(request: pytest.FixtureRequest) -> str:
    """Returns the kind of store of a test."""
    return str(request.node.callspec.params["store"]).rsplit("-", 1)[0]


def put(store: Store, key: str, content: bytes = b"whole") -> None:
    """Stages an object and closes it."""
    staged = store.stage(key)
    staged.write(content)
    staged.close()


@pytest.fixture(params=[*LOCAL, *remote_stores(*PLACES), *locked_stores()])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind, opened as the operator opens it."""
    name, place = str(request.param).rsplit("-", 1)
    if name == "local":
        return store_from_filesystem(fsspec.filesystem("file"), f"{tmp_path}{PLACES[place]}")
    if name == "memory":
        return store_from_filesystem(fsspec.filesystem("memory"), f"/{uuid4().hex}{PLACES[place]}")
    bucket = None
    if place in LOCKED:
        bucket = f"locked-{uuid4().hex[:12]}"
        request.getfixturevalue("servers")(name).make_locked_bucket(bucket, LOCKED[place])
    opened: Store = request.getfixturevalue("open_at")(name, PLACES.get(place, "/x"), bucket=bucket)
    return opened


@pytest.fixture
def collects_new_objects() -> Iterator[None]:
    """Has a garbage collection look at the test's own objects only; at all others, it would take half a second."""
    gc.freeze()
    yield
    gc.unfreeze()

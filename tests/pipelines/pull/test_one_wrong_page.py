"""One empty response among others: the pull requests the page again and loses no record."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.ports import Request, Response, Transport
from airflow_audit_provider.pipelines import part_writer
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.in_process import DirectTransport
from tests.pipelines.pull.landing import land, landed_ids, pull_spec, reader_of, true_ids
from tests.pipelines.pull.resuming import SMALL_COUNT, fake_of, kill, resumable_spec

pytestmark = pytest.mark.integration

_EMPTY = {"success": True, "errors": [], "messages": [], "result": []}


class OnceEmpty:
    """Transport whose Nth response, counted from 1, is empty."""

    def __init__(self, inner: Transport, empty_at: int, **more: object) -> None:
        self.count = 0
        self._inner = inner
        self._empty_at = empty_at
        self._body = msgspec.json.encode({**_EMPTY, **more})
        self._lock = threading.Lock()

    def send(self, request: Request) -> Response:
        response = self._inner.send(request)
        with self._lock:
            self.count += 1
            return response._replace(body=self._body) if self.count == self._empty_at else response


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize(
    ("version", "more"), [("v1", {}), ("v2", {"result_info": {"count": 0}}), ("v2", {"result_info": {"cursor": None}})]
)
def test_one_empty_response_after_the_first_loses_nothing(
    version: str, more: dict[str, object], concurrency: int, tmp_path: Path
) -> None:
    """Each response but the first of a day of nine pages is empty once, and the whole day lands every time."""
    fake, clock = fake_of(SMALL_COUNT), ManualClock()
    true, empty_at, request_count = true_ids(fake, version), 2, 9
    spec = pull_spec(version, concurrency=concurrency, max_part_bytes=1 << 30)
    while empty_at <= request_count:
        store = LocalStore(str(tmp_path / f"{empty_at}"))
        transport = OnceEmpty(DirectTransport(fake, clock), empty_at, **more)
        land(spec, reader_of(fake, clock, transport), store)
        assert landed_ids(spec, store) == true, empty_at
        empty_at, request_count = empty_at + 1, transport.count
    assert request_count >= 9


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("empty_at", [1, 2])
def test_empty_first_response_after_a_resume_loses_nothing(
    version: str, empty_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the first response of a resumed attempt is empty, the remaining records land all the same."""
    monkeypatch.setattr(part_writer, "PART_RECORDS", 2000)
    fake, clock, store = fake_of(SMALL_COUNT), ManualClock(), LocalStore(str(tmp_path))
    spec = resumable_spec(version)
    kill(fake, spec, store)
    transport = OnceEmpty(DirectTransport(fake, clock), empty_at)
    outcome = land(spec._replace(attempt_id="two"), reader_of(fake, clock, transport), store)
    assert outcome.manifest.fetch.resumed_count > 0
    assert landed_ids(spec, store) == true_ids(fake, version)

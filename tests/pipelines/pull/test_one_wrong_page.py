"""One empty answer on the way: whichever it is, the pull asks again, and no record is lost for it."""

from __future__ import annotations

import threading
from pathlib import Path

import msgspec
import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.ports import Request, Response, Transport
from airflow_audit_provider.pipelines import part_writer as staging
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.in_process import DirectTransport
from tests.pipelines.pull.landing import land, landed_ids, order, source_of, true_ids
from tests.pipelines.pull.resuming import SMALL_COUNT, fake_of, kill, resumable_order

pytestmark = pytest.mark.integration

_EMPTY = {"success": True, "errors": [], "messages": [], "result": []}


class OnceEmpty:
    """A transport whose answer of one number, counted from 1, is empty."""

    def __init__(self, inner: Transport, empty_at: int, **more: object) -> None:
        self.count = 0
        self._inner = inner
        self._empty_at = empty_at
        self._body = msgspec.json.encode({**_EMPTY, **more})
        self._lock = threading.Lock()

    def send(self, request: Request) -> Response:
        answer = self._inner.send(request)
        with self._lock:
            self.count += 1
            return answer._replace(body=self._body) if self.count == self._empty_at else answer


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize(
    ("version", "more"), [("v1", {}), ("v2", {"result_info": {"count": 0}}), ("v2", {"result_info": {"cursor": None}})]
)
def test_any_answer_after_the_first_may_be_empty_once(
    version: str, more: dict[str, object], concurrency: int, tmp_path: Path
) -> None:
    """Of a day of nine pages each answer but the first is empty once, and all of the day lands every time."""
    fake, clock = fake_of(SMALL_COUNT), ManualClock()
    true, empty_at, request_count = true_ids(fake, version), 2, 9
    wanted = order(version, concurrency=concurrency, max_part_bytes=1 << 30)
    while empty_at <= request_count:
        store = LocalStore(str(tmp_path / f"{empty_at}"))
        transport = OnceEmpty(DirectTransport(fake, clock), empty_at, **more)
        land(wanted, source_of(fake, clock, transport), store)
        assert landed_ids(wanted, store) == true, empty_at
        empty_at, request_count = empty_at + 1, transport.count
    assert request_count >= 9


@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("empty_at", [1, 2])
def test_a_try_that_goes_on_knows_what_was_staged(
    version: str, empty_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first answer of a try that takes over staged records may be empty, and the rest lands all the same."""
    monkeypatch.setattr(staging, "PART_RECORDS", 2000)
    fake, clock, store = fake_of(SMALL_COUNT), ManualClock(), LocalStore(str(tmp_path))
    wanted = resumable_order(version)
    kill(fake, wanted, store)
    transport = OnceEmpty(DirectTransport(fake, clock), empty_at)
    outcome = land(wanted._replace(attempt_id="two"), source_of(fake, clock, transport), store)
    assert outcome.manifest.fetch.resumed_count > 0
    assert landed_ids(wanted, store) == true_ids(fake, version)

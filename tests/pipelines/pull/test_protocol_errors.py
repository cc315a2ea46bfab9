"""A response that breaks the protocol is an error with all facts for a support case, and nothing becomes visible."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.exceptions import SourceProtocolError, SourceUnavailableError
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from tests.pipelines.pull.counted_records import crowded_instant
from tests.pipelines.pull.landing import fake_with, land, pull_spec, reader_of

pytestmark = pytest.mark.integration

Make = Callable[[ManualClock, str], FakeCloudflare]


def _busy(*switches: str) -> Make:
    """Returns a day of many pages with these misbehaviours."""
    return lambda clock, _: fake_with(clock, *switches, records_per_day=12_000)


def _crowded(*switches: str) -> Make:
    """Returns a day with these misbehaviours and more records at one instant than a page has."""
    return lambda clock, version: crowded_instant(version, 2500, *switches, clock=clock)


# Responses without a page: a proxy or an outage sends them, so the task is retried.
NO_PAGE: dict[str, tuple[Make, int]] = {
    "success_false": (_busy("success_false"), 200),
    "success_false later": (_busy("success_false,after=3"), 200),
    "html": (_busy("html=200"), 200),
    "html later": (_busy("html=200,after=3"), 200),
    "truncated": (_busy("truncated_json"), 200),
    "truncated later": (_busy("truncated_json,after=3"), 200),
}
# Misbehaviours that break the protocol, with the status of the response.
BOTH_VERSIONS: dict[str, tuple[Make, int]] = {
    "bad request": (_busy("status=400"), 400),
    "bad request later": (_busy("status=400,after=3"), 400),
    "unknown refusal": (_busy("status=418"), 418),
    "redirect": (_busy("redirect"), 302),
    "redirect later": (_busy("redirect,after=3"), 302),
}
BY_VERSION: dict[str, tuple[str, Make, int]] = {
    "an instant deeper than the cap": ("v1", _crowded("depth_cap=500"), 400),
    "an instant whose rows move": ("v2", _crowded("tie_order=random"), 200),
    "a cursor that expires inside an instant": ("v2", _crowded("cursor_expires=1"), 400),
    "a cursor that comes again": ("v2", _crowded("repeated_cursor"), 200),
    "a cursor that is missing inside an instant": ("v2", _crowded("missing_cursor"), 200),
    "a row that comes again inside an instant": ("v2", _crowded("repeated_row"), 200),
}
CASES = [
    *[(name, version, *case, False) for name, case in BOTH_VERSIONS.items() for version in ("v1", "v2")],
    *[(name, version, make, status, False) for name, (version, make, status) in BY_VERSION.items()],
    *[(name, version, *case, True) for name, case in NO_PAGE.items() for version in ("v1", "v2")],
]


@pytest.mark.parametrize("concurrency", [1, 4])
@pytest.mark.parametrize(("name", "version", "make", "status", "is_retryable"), CASES)
def test_protocol_error_has_all_facts_and_nothing_is_visible(
    name: str, version: str, make: Make, status: int, is_retryable: bool, concurrency: int, tmp_path: Path
) -> None:
    """The error has status, ray id, window and position, also in its text, and the destination is empty."""
    clock, store = ManualClock(), LocalStore(str(tmp_path))
    expected = SourceUnavailableError if is_retryable else SourceProtocolError
    with pytest.raises(expected) as caught:
        land(pull_spec(version, concurrency=concurrency), reader_of(make(clock, version), clock), store)
    error = caught.value
    assert error.status == status, name
    assert error.ray_id is not None
    assert re.fullmatch(r"[0-9a-f]{16}-ZRH", error.ray_id)
    assert error.window is not None
    assert error.window.startswith("[2026-10-26T")
    assert error.position is not None
    assert re.search(r"since 2026-\S+Z before 2026-\S+Z", error.position)
    assert all(fact in str(error) for fact in (str(status), error.ray_id, error.window, error.position))
    assert error.retryable is is_retryable
    assert list(store.list_keys("")) == []
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("concurrency", [1, 4])
def test_pickled_error_keeps_its_facts(concurrency: int, tmp_path: Path) -> None:
    """An error that is pickled for another worker keeps all its facts."""
    clock = ManualClock()
    reader = reader_of(fake_with(clock, "html=200"), clock)
    with pytest.raises(SourceUnavailableError) as caught:
        land(pull_spec(concurrency=concurrency), reader, LocalStore(str(tmp_path)))
    copy = pickle.loads(pickle.dumps(caught.value))  # pickled on this line
    assert vars(copy) == vars(caught.value)
    assert str(copy) == str(caught.value)

"""Tests that faulty responses are the same over the wire and in process."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from email.utils import parsedate_to_datetime

import httpx
import pytest

from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.server import FakeServer
from airflow_audit_provider.testing.transport import FakeTransport
from tests.testing.fake_requests import BEARER, DAYS, V1, V2, fake_with

Reach = Callable[..., AbstractContextManager[httpx.Client]]


@contextmanager
def _over_the_wire(fake: FakeCloudflare) -> Iterator[httpx.Client]:
    with FakeServer(fake) as server:
        address = f"http://{server.host}:{server.port}"
        with httpx.Client(base_url=address, headers=BEARER, params=DAYS["v1"], trust_env=False) as client:
            yield client


@contextmanager
def _without_a_wire(fake: FakeCloudflare) -> Iterator[httpx.Client]:
    transport = FakeTransport(fake, ManualClock())
    with httpx.Client(transport=transport, base_url="http://fake", headers=BEARER, params=DAYS["v1"]) as client:
        yield client


@pytest.fixture(params=[_over_the_wire, _without_a_wire])
def reach(request: pytest.FixtureRequest) -> Reach:
    chosen: Reach = request.param
    return chosen


def test_null_result(reach: Reach) -> None:
    """Returns null for an empty list, never for a full one."""
    with reach(fake_with("null_result")) as client:
        assert client.get(V1, params={"page": 99}).json()["result"] is None
        assert client.get(V1).json()["result"]


@pytest.mark.parametrize("path", [V1, V2])
def test_success_false(reach: Reach, path: str) -> None:
    """Returns status 200 with ``success: false``."""
    with reach(fake_with("success_false")) as client:
        answer = client.get(path)
    assert answer.status_code == 200
    assert answer.json()["success"] is False
    assert answer.json()["errors"]


@pytest.mark.parametrize("status", [200, 502])
def test_html(reach: Reach, status: int) -> None:
    """Returns a web page instead of JSON, with any status."""
    with reach(fake_with(f"html={status}")) as client:
        answer = client.get(V1)
    assert (answer.status_code, answer.text[:9]) == (status, "<!DOCTYPE")


def test_truncated_json(reach: Reach) -> None:
    """Returns a complete HTTP response with half a JSON document."""
    with reach(fake_with("truncated_json")) as client, pytest.raises(json.JSONDecodeError):
        client.get(V1).json()


def test_wrong_length(reach: Reach) -> None:
    """A body shorter than its content-length is httpx's RemoteProtocolError."""
    with reach(fake_with("wrong_length")) as client, pytest.raises(httpx.RemoteProtocolError, match="complete message"):
        client.get(V1)


def test_cut_connection(reach: Reach) -> None:
    """A connection reset in the middle of the body is httpx's ReadError."""
    with reach(fake_with("cut_connection")) as client, pytest.raises(httpx.ReadError):
        client.get(V1, params={"per_page": 1000})


def test_no_answer(reach: Reach) -> None:
    """A connection closed without an answer is httpx's RemoteProtocolError, and the next request is answered."""
    with reach(fake_with("no_answer,first=1")) as client:
        with pytest.raises(httpx.RemoteProtocolError, match="without sending"):
            client.get(V1)
        assert client.get(V1).status_code == 200


@pytest.mark.parametrize("status", [401, 403, 404, 500, 502, 503, 520, 522, 524])
def test_status(reach: Reach, status: int) -> None:
    """Returns any error status, as a web page from 520 on, each with a ray id."""
    with reach(fake_with(f"status={status}")) as client:
        answer = client.get(V1)
    assert answer.status_code == status
    assert answer.headers["cf-ray"]
    assert answer.headers["content-type"].startswith("text/html" if status >= 520 else "application/json")


@pytest.mark.integration
def test_every_nth_and_at_random(reach: Reach) -> None:
    """Applies a fault to each nth request, the first n, or a reproducible share."""
    with reach(fake_with("status=500,every=3")) as client:
        assert [client.get(V1).status_code for _ in range(6)] == [200, 200, 500, 200, 200, 500]
    with reach(fake_with("status=500,first=2")) as client:
        assert [client.get(V1).status_code for _ in range(3)] == [500, 500, 200]
    drawn = []
    for _ in range(2):
        with reach(fake_with("status=500,share=0.4")) as client:
            drawn.append([client.get(V1).status_code for _ in range(20)])
    assert drawn[0] == drawn[1]
    assert 2 < drawn[0].count(500) < 15


@pytest.mark.integration
def test_rate_limited(reach: Reach) -> None:
    """Returns a 429 with a wait in seconds, as a date, or without one."""
    specs = ["rate_limited,every=2", "rate_limited=7,every=3", "rate_limited=date,every=5", "rate_limited=none,every=7"]
    waits: list[str | None] = []
    for spec in specs:
        fake = fake_with(spec.split(",", maxsplit=1)[0])
        with reach(fake) as client:
            answer = client.get(V1)
        assert answer.status_code == 429
        waits.append(answer.headers.get("retry-after"))
    assert waits[:2] == ["300", "7"]
    assert waits[3] is None
    assert parsedate_to_datetime(waits[2] or "").isoformat() == "2026-11-02T12:05:00+00:00"


def test_pretty_json(reach: Reach) -> None:
    """Returns the same records in indented JSON."""
    with reach(fake_with("pretty_json,first=1")) as client:
        pretty, plain = client.get(V1), client.get(V1)
    assert pretty.json() == plain.json()
    assert pretty.text.startswith("{\n  ")


def test_redirect(reach: Reach) -> None:
    """A redirect points to the same path on another host."""
    with reach(fake_with("redirect=evil.example.net")) as client:
        answer = client.get(V1)
    assert (answer.status_code, answer.headers["location"]) == (302, f"https://evil.example.net{V1}")


def test_faults_compose(reach: Reach) -> None:
    """Applies two switches, each under its own conditions."""
    with reach(fake_with("status=503,every=2", "html=200,every=3")) as client:
        kinds = [(a.status_code, a.headers["content-type"][:9]) for a in (client.get(V1) for _ in range(4))]
    assert kinds == [(200, "applicati"), (503, "applicati"), (200, "text/html"), (503, "applicati")]

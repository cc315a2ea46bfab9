"""Tests that server and in-process transport behave alike: bytes, delays, control API."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable

import httpx
import pytest

from airflow_audit_provider.core.ports import Request
from airflow_audit_provider.exceptions import SourceUnavailableError
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.in_process import AsyncDirectTransport, DirectTransport
from airflow_audit_provider.testing.server import FakeServer
from airflow_audit_provider.testing.settings import ACCOUNT_ID
from airflow_audit_provider.testing.transport import FakeTransport
from tests.testing.fake_requests import BEARER, DAYS, V1, V2, envelope_of, fake_with, get, true_ids

PATHS = [
    f"{V1}?since=2026-10-26&before=2026-10-27&per_page=1000",
    f"{V1}?action.type=rec_add&zone.name=b%C3%BCcher.example&since=2026-10-26T00:00:00%2B01:00",
    f"{V1}?export=true&since=2026-10-26&before=2026-10-27",
    f"{V2}?since=2026-10-26&before=2026-10-28&action_type=create&action_type=delete",
    f"{V2}?since=2026-10-26",
    "/client/v4/user/tokens/verify",
    "/client/v4/accounts/not%20an%20id/audit_logs",
    f"{V1}?page=99",
]


def _asked(client: httpx.Client) -> list[tuple[int, list[tuple[bytes, bytes]], bytes]]:
    answers = [client.get(path, headers=BEARER) for path in PATHS]
    return [(answer.status_code, answer.headers.raw, answer.content) for answer in answers]


@pytest.mark.integration
@pytest.mark.parametrize("specs", [(), ("odd_fields", "pretty_json", "status=503,every=4", "repeated_row")])
@pytest.mark.parametrize("gzip", [False, True])
def test_byte_for_byte(specs: tuple[str, ...], gzip: bool) -> None:
    """The server and the transport answer the same requests with the same status, header fields and bytes."""
    with (
        FakeServer(fake_with(*specs, gzip=gzip)) as server,
        httpx.Client(base_url=f"http://{server.host}:{server.port}", trust_env=False) as client,
    ):
        served = _asked(client)
    with httpx.Client(transport=FakeTransport(fake_with(*specs, gzip=gzip)), base_url="http://fake") as client:
        assert _asked(client) == served
    assert (b"content-encoding", b"gzip") in served[0][1] or not gzip


def test_async_clients_get_the_same() -> None:
    """An async client over the same transport reads the same bytes, late by its clock."""
    clock = ManualClock()

    async def read() -> bytes:
        transport = FakeTransport(fake_with("slow=250"), clock)
        async with httpx.AsyncClient(transport=transport, base_url="http://fake", headers=BEARER) as client:
            return (await client.get(V1, params=DAYS["v1"])).content

    assert asyncio.run(read()) == get(fake_with(), V1, **DAYS["v1"]).body
    assert clock.sleeps == [0.25]


def test_slow_response_delays_by_wall_or_manual_clock() -> None:
    """Delays responses over the wire, and by the clock in process."""
    fake = fake_with("slow=60,every=2", latency_ms=20)
    with FakeServer(fake) as server, httpx.Client(trust_env=False, headers=BEARER) as client:
        waits = []
        for _ in range(2):
            started = time.perf_counter()
            client.get(f"{server.base_url}/accounts/{ACCOUNT_ID}/audit_logs?per_page=1")
            waits.append(time.perf_counter() - started)
    assert waits[0] >= 0.02
    assert waits[1] >= 0.08
    clock = ManualClock()
    with httpx.Client(transport=FakeTransport(fake_with(latency_ms=40), clock), headers=BEARER) as client:
        client.get(f"http://fake{V1}")
    assert clock.sleeps == [0.04]


def test_connections_are_kept_alive() -> None:
    """Many requests travel over one connection, and HEAD gets its 405 without a body."""
    opened: list[str] = []
    with FakeServer(fake_with()) as server, httpx.Client(trust_env=False, headers=BEARER) as client:
        noted: Callable[[str, object], None] = lambda name, _: opened.append(name)  # noqa: E731 - httpcore calls it
        for _ in range(5):
            client.get(f"{server.base_url}/user/tokens/verify", extensions={"trace": noted})
        refused = client.head(f"{server.base_url}/user/tokens/verify", extensions={"trace": noted})
    assert opened.count("connection.connect_tcp.complete") == 1
    assert (refused.status_code, refused.content) == (405, b"")


def test_truth_over_http() -> None:
    """The control API streams a window's raw records without a token or log entry."""
    fake = fake_with()
    params = {"version": "v2", "start": "2026-10-26", "end": "2026-10-28T00:00:00Z"}
    with FakeServer(fake) as server, httpx.Client(trust_env=False) as client:
        lines = client.get(server.control_url + "truth", params=params).content.splitlines()
        user = client.get(server.control_url + "truth", params={"scope": "user", "start": "2026-11-02"}).text
        assert client.get(server.control_url + "nothing").status_code == 400
        assert client.get(server.control_url + "truth", params={"start": "x"}).status_code == 400
    assert [json.loads(line)["id"] for line in lines] == true_ids(fake, "v2")
    assert user
    assert not fake.requests


def test_records_added_over_http() -> None:
    """Records posted to the control API are visible at once, and it returns the request log."""
    fake = fake_with(records_per_day=0)
    with FakeServer(fake) as server, httpx.Client(trust_env=False) as client:
        raw = b'{"id":"posted","when":"2026-10-26T01:00:00Z"}\n'
        assert client.post(server.control_url + "records", content=raw).text == "posted\n"
        answer = client.get(f"{server.base_url}/accounts/{ACCOUNT_ID}/audit_logs", headers=BEARER)
        assert [record["id"] for record in answer.json()["result"]] == ["posted"]
        logged = json.loads(client.get(server.control_url + "requests").text)
    assert logged["status"] == 200
    assert "authorization" in logged["header_names"]


def test_misbehaviours_over_http() -> None:
    """The control API replaces the misbehaviours; an empty list clears them; invalid ones are refused."""
    fake = fake_with(records_per_day=0)
    url = f"/accounts/{ACCOUNT_ID}/audit_logs"
    with FakeServer(fake) as server, httpx.Client(trust_env=False, headers=BEARER) as client:
        door, seen = server.control_url + "misbehave", []
        for lines in ("status=503,version=v1\nslow=1", "status=401,version=v2", ""):
            client.post(door, content=lines).raise_for_status()
            seen.append(client.get(server.base_url + url).status_code)
        assert client.post(door, content="no_such=1").status_code == 400
    assert seen == [503, 200, 200]


def test_direct_transport() -> None:
    """The core's own ports reach the fake without HTTP; a broken wire is SourceUnavailableError."""
    request = Request(f"/accounts/{ACCOUNT_ID}/audit_logs", (("per_page", "3"),))
    clock = ManualClock()
    assert len(envelope_of(DirectTransport(fake_with(latency_ms=10), clock).send(request))["result"]) == 3
    assert (
        len(envelope_of(asyncio.run(AsyncDirectTransport(fake_with(latency_ms=10), clock).send(request)))["result"])
        == 3
    )
    assert clock.sleeps == [0.01, 0.01]
    for kind in ("cut_connection", "no_answer", "wrong_length"):
        with pytest.raises(SourceUnavailableError):
            DirectTransport(fake_with(kind)).send(request)

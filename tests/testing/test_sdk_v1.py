"""The official SDK reads version 1 from the real server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cloudflare import Cloudflare

from airflow_audit_provider.testing.server import FakeServer
from airflow_audit_provider.testing.settings import ACCOUNT_ID, TOKEN
from tests.testing.fake_requests import DAYS, fake_with, true_ids


@pytest.fixture
def server() -> Iterator[FakeServer]:
    with FakeServer(fake_with()) as running:
        yield running


@pytest.fixture
def client(server: FakeServer) -> Iterator[Cloudflare]:
    with Cloudflare(api_token=TOKEN, base_url=server.base_url, max_retries=0) as opened:
        yield opened


def test_account_is_read_in_full(client: Cloudflare, server: FakeServer) -> None:
    """Auto-pagination with the default page size yields every record of the account once, newest first."""
    found = [log.id for log in client.audit_logs.list(account_id=ACCOUNT_ID, **DAYS["v1"])]
    assert found == true_ids(server.fake)[::-1]
    assert len(found) > 300
    assert "per_page" not in dict(server.fake.requests[0].params)


@pytest.mark.integration
def test_user_scope_is_another_list(client: Cloudflare, server: FakeServer) -> None:
    """The user's own records are read in full and share no id with the account's."""
    found = [log.id for log in client.user.audit_logs.list(per_page=1000, direction="asc", **DAYS["v1"])]
    assert found == true_ids(server.fake, "v1", "user")
    assert not set(found) & set(true_ids(server.fake))


@pytest.mark.integration
def test_filters_reach_the_records(client: Cloudflare) -> None:
    """Each filter the SDK offers narrows the list to the records that have that value."""
    days = DAYS["v1"]
    everything = list(client.audit_logs.list(account_id=ACCOUNT_ID, per_page=1000, **days))
    by_email = list(client.audit_logs.list(account_id=ACCOUNT_ID, actor={"email": "alice@example.com"}, **days))
    assert {log.actor.email for log in by_email if log.actor} == {"alice@example.com"}
    by_type = list(client.audit_logs.list(account_id=ACCOUNT_ID, action={"type": "rec_add"}, **days))
    assert len(by_type) == sum(log.action is not None and log.action.type == "rec_add" for log in everything) > 0
    by_network = list(client.audit_logs.list(account_id=ACCOUNT_ID, actor={"ip": "203.0.113.128/25"}, **days))
    assert {log.actor.ip for log in by_network if log.actor} == {"203.0.113.200"}
    hidden = list(client.audit_logs.list(account_id=ACCOUNT_ID, hide_user_logs=True, **days))
    assert len(hidden) == sum(log.resource is not None and log.resource.type != "user" for log in everything)
    assert 0 < len(hidden) < len(everything)
    one = list(client.audit_logs.list(account_id=ACCOUNT_ID, id=everything[7].id or "", **days))
    assert one == [everything[7]]
    by_zone = list(client.audit_logs.list(account_id=ACCOUNT_ID, zone={"name": "example.net"}, **days))
    assert {log.metadata["zone_name"] for log in by_zone} == {"example.net"}  # type: ignore[index]  # metadata is any value

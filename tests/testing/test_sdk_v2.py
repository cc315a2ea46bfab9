"""The official SDK reads version 2 from the real server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from cloudflare import Cloudflare

from airflow_audit_provider.testing.server import FakeServer
from airflow_audit_provider.testing.settings import ACCOUNT_ID, ORGANIZATION_ID, TOKEN, CursorPlace
from tests.testing.fake_requests import DAYS, fake_with, true_ids


@pytest.fixture(params=[CursorPlace.SDK, CursorPlace.BOTH], ids=str)
def server(request: pytest.FixtureRequest) -> Iterator[FakeServer]:
    with FakeServer(fake_with(cursor_place=request.param)) as running:
        yield running


def _client(server: FakeServer) -> Cloudflare:
    return Cloudflare(api_token=TOKEN, base_url=server.base_url, max_retries=0)


@pytest.mark.integration
def test_account_is_read_in_full(server: FakeServer) -> None:
    """With the cursor where the SDK looks for it, every record comes once, newest first."""
    with _client(server) as client:
        found = [log.id for log in client.accounts.logs.audit.list(account_id=ACCOUNT_ID, **DAYS["v2"])]
    assert found == true_ids(server.fake, "v2")[::-1]
    assert len(found) > 300


def test_sdk_stops_after_page_one_where_the_documentation_puts_the_cursor() -> None:
    """With the documented cursor, the SDK returns only the first hundred records, without an error."""
    with FakeServer(fake_with(cursor_place=CursorPlace.DOCUMENTED)) as server, _client(server) as client:
        found = [log.id for log in client.accounts.logs.audit.list(account_id=ACCOUNT_ID, **DAYS["v2"])]
        assert found == true_ids(server.fake, "v2")[::-1][:100]
        assert len(server.fake.requests) == 1


@pytest.mark.integration
def test_repeatable_filters_and_their_twins(server: FakeServer) -> None:
    """A filter keeps any of its values, and its negated form keeps all others."""
    with _client(server) as client:
        audit = client.accounts.logs.audit
        kept = list(audit.list(account_id=ACCOUNT_ID, limit=1000, action_type={}, **DAYS["v2"]))
        some = list(
            audit.list(account_id=ACCOUNT_ID, limit=1000, action_type={"not": ["view", "delete"]}, **DAYS["v2"])
        )
    assert {log.action.type for log in kept if log.action} == {"create", "update", "delete", "view"}
    assert {log.action.type for log in some if log.action} == {"create", "update"}
    assert len(some) == sum(log.action is not None and log.action.type in ("create", "update") for log in kept)


@pytest.mark.integration
def test_organization_is_read_in_full(server: FakeServer) -> None:
    """The organization's records are a feed of their own."""
    with _client(server) as client:
        listed = client.organizations.logs.audit.list(organization_id=ORGANIZATION_ID, limit=150, **DAYS["v2"])
        found = [log.id for log in listed]
    assert found == true_ids(server.fake, "v2", f"organizations/{ORGANIZATION_ID}")[::-1]


def test_product_categories_are_listed(server: FakeServer) -> None:
    """The categories are those the filter understands."""
    with _client(server) as client:
        found = {item.value for item in client.accounts.logs.audit.product_categories(account_id=ACCOUNT_ID)}
    assert {"zerotrust", "dns"} <= found

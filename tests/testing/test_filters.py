"""Tests that filters keep exactly the records that a simple search of the true records keeps."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

import msgspec
import pytest

from airflow_audit_provider.testing.settings import ORGANIZATION_ID
from tests.testing.fake_requests import DAYS, END, START, V1, V2, envelope_of, fake_with, get, ids, pages

ORGANIZATION = f"/client/v4/organizations/{ORGANIZATION_ID}/logs/audit"


def _truth(version: str) -> list[dict[str, Any]]:
    return [msgspec.json.decode(row.raw) for row in fake_with().truth(version, None, START, END)]


def _kept(version: str, **params: Any) -> list[str]:
    return ids(pages(fake_with(), version, direction="asc", **params))


@pytest.mark.parametrize("network", ["192.0.2.1", "203.0.113.0/24", "2001:db8::/32", "198.51.100.0/30"])
def test_addresses_and_networks(network: str) -> None:
    """Version 1 takes an address or a CIDR range of either family."""
    wanted = [
        record["id"]
        for record in _truth("v1")
        if "ip" in record["actor"] and ip_address(record["actor"]["ip"]) in ip_network(network)
    ]
    assert _kept("v1", actor__ip=network) == wanted
    assert get(fake_with(), V1, actor__ip="somewhere").status == 400


def test_text_that_is_not_ascii() -> None:
    """A zone name in Unicode is found however its record spells it."""
    wanted = [r["id"] for r in _truth("v1") if (r.get("metadata") or {}).get("zone_name") == "bücher.example"]
    assert _kept("v1", zone__name="bücher.example") == wanted != []


@pytest.mark.integration
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("action_type", "update"),
        ("action_result", "failure"),
        ("actor_email", "bob@example.com"),
        ("actor_context", "oauth"),
        ("actor_type", "system"),
        ("raw_method", "PATCH"),
        ("raw_status_code", 204),
        ("resource_product", "workers"),
        ("zone_name", "example.net"),
        ("account_name", "Example Ltd. – Zürich"),
    ],
)
def test_filter_and_its_negation_divide_the_records(name: str, value: str | int) -> None:
    """Keeps the records with the value, and all others with the ``_not`` filter."""
    part, rest = name.split("_", 1)
    wanted = {record["id"]: record.get(part, {}).get(rest) == value for record in _truth("v2")}
    assert _kept("v2", **{name: value}) == [found for found, has in wanted.items() if has]
    assert _kept("v2", **{f"{name}__not": value}) == [found for found, has in wanted.items() if not has]


def test_repeated_values_are_any_of_them() -> None:
    """A filter repeated keeps any of its values; different filters must all hold."""
    truth = _truth("v2")
    wanted = [
        r["id"] for r in truth if r["action"]["type"] in ("create", "delete") and r["resource"]["product"] == "members"
    ]
    assert _kept("v2", action_type=["create", "delete"], resource_product="members") == wanted != []


def test_scope_as_text_or_object() -> None:
    """resource_scope finds a scope written either way."""
    scopes = [record["resource"]["scope"] for record in _truth("v2")]
    names = [scope if isinstance(scope, str) else scope["name"] for scope in scopes]
    assert len(_kept("v2", resource_scope="zones")) == names.count("zones") > 0


@pytest.mark.integration
def test_audit_log_id_filters_by_id() -> None:
    """Treats the deprecated audit_log_id as the id."""
    wanted = _truth("v2")[5]["id"]
    assert _kept("v2", audit_log_id=wanted) == _kept("v2", id=wanted) == [wanted]


@pytest.mark.integration
def test_product_category() -> None:
    """A category stands for its products in any case, adds to explicit ones, and an unknown one is refused."""
    products = {record["id"]: record["resource"].get("product") for record in _truth("v2")}
    wanted = [found for found, product in products.items() if product in ("access", "gateway")]
    assert _kept("v2", product_category="ZeroTrust") == wanted != []
    more = [found for found, product in products.items() if product in ("access", "gateway", "stream")]
    assert _kept("v2", product_category="zerotrust", resource_product="stream") == more
    refused = get(fake_with(), V2, product_category="nonsense", **DAYS["v2"])
    assert refused.status == 400
    assert list(envelope_of(refused)["errors"][0]) == ["message"]


@pytest.mark.parametrize("name", ["account_name", "zone_id", "zone_name__not", "product_category", "audit_log_id"])
def test_organizations_lack_some_filters(name: str) -> None:
    """Account, zone and category filters are refused for an organization, others are not."""
    assert get(fake_with(), ORGANIZATION, **{name: "x"}, **DAYS["v2"]).status == 400
    assert get(fake_with(), ORGANIZATION, action_type="create", **DAYS["v2"]).status == 200

"""The API's parameter names, written down a second time and compared with those that the provider accepts.

The names are those of Cloudflare's API reference for its four audit log endpoints.
"""

from __future__ import annotations

import pytest

from airflow_audit_provider.core.api.query import audit_query
from airflow_audit_provider.exceptions import ConfigurationError

ACCOUNT = "0123456789abcdef" * 2
V1 = ["action.type", "actor.email", "actor.ip", "hide_user_logs", "id", "zone.name"]
SHARED = (
    "action_result action_type actor_context actor_email actor_id actor_ip_address actor_token_id actor_token_name "
    "actor_type id raw_cf_ray_id raw_method raw_status_code raw_uri resource_id resource_product resource_scope "
    "resource_type"
).split()
ACCOUNT_ONLY = ["account_name", "audit_log_id", "zone_id", "zone_name"]


def with_exclusions(names: list[str]) -> list[str]:
    """Returns names and their exclusions."""
    return names + [f"{name}.not" for name in names]


ENDPOINTS: dict[tuple[str, str], list[str]] = {
    ("v1", "account"): V1,
    ("v1", "user"): V1,
    ("v2", "account"): [*with_exclusions(SHARED + ACCOUNT_ONLY), "product_category"],
    ("v2", "organization"): with_exclusions(SHARED),
}
ALL_NAMES = sorted({name for names in ENDPOINTS.values() for name in names})


def name_sent(version: str, scope: str, given: str) -> str:
    """Returns the name of the parameter that a filter becomes."""
    query = audit_query(version, scope, account_id=ACCOUNT, organization_id="o", filters={given: "x"})
    ((name, text),) = query.filters
    assert text == "x"
    return name


@pytest.mark.parametrize(("version", "scope"), ENDPOINTS)
def test_every_parameter_of_the_endpoint_is_accepted(version: str, scope: str) -> None:
    """Each name is sent as the API spells it, whether given in its own spelling or in Python's."""
    for name in ENDPOINTS[version, scope]:
        assert name_sent(version, scope, name) == name
        assert name_sent(version, scope, name.replace(".", "_")) == name


@pytest.mark.parametrize(("version", "scope"), ENDPOINTS)
def test_parameter_of_another_endpoint_is_an_error(version: str, scope: str) -> None:
    """A name that only another version or scope has is an error."""
    taken = {name.replace(".", "_") for name in ENDPOINTS[version, scope]}
    strangers = [name for name in ALL_NAMES if name.replace(".", "_") not in taken]
    assert strangers
    for name in strangers:
        with pytest.raises(ConfigurationError, match="Another version or scope has it"):
            name_sent(version, scope, name)


def test_number_of_names_is_that_of_the_reference() -> None:
    """Version 1 has six names; version 2 has 45 on an account and 36 on an organization, with exclusions."""
    assert [len(names) for names in ENDPOINTS.values()] == [6, 6, 45, 36]

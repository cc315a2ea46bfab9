"""Names of audit logs as plain texts; what is refused of them is shown by ``test_query`` through the query."""

from __future__ import annotations

import pytest

from airflow_audit_provider.core.api.endpoints import SCOPES, VERSIONS, name_audit_log
from airflow_audit_provider.core.api.query import Scope, audit_query
from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.exceptions import ConfigurationError

ACCOUNT_ID = "0123456789abcdef" * 2


def test_the_texts_are_those_of_the_enumerations() -> None:
    """What a DAG's parsing knows by text and the core by enumeration is the same."""
    assert (tuple(ApiVersion), tuple(Scope)) == (VERSIONS, SCOPES)


def test_a_name_is_what_the_query_is_made_of() -> None:
    """The four texts are those of the query with the same arguments."""
    filters = {"actor_email": "a@example.com"}
    query = audit_query("v2", None, account_id=ACCOUNT_ID, filters=filters)
    named = name_audit_log("v2", None, account_id=ACCOUNT_ID, filters=filters)
    assert named == (query.version, query.scope, query.scope_id, query.filters)


@pytest.mark.parametrize(
    "account_id", ["0" * 31, "0" * 33, "0" * 31 + "A", "0" * 31 + "g", "0" * 31 + "٣", "0" * 31 + "\n"]
)
def test_an_account_id_is_32_hexadecimal_digits(account_id: str) -> None:
    """No other length, no capital, no other letter, no foreign digit, no line end."""
    with pytest.raises(ConfigurationError, match="account_id is malformed"):
        name_audit_log("v1", "account", account_id=account_id)


@pytest.mark.parametrize("organization_id", ["a" * 65, "a/b", "é", "a b", "a\n"])
def test_an_organization_id_is_one_word(organization_id: str) -> None:
    """It is put into a path: letters, digits, dash and underscore, at most 64."""
    with pytest.raises(ConfigurationError, match="organization_id is malformed"):
        name_audit_log("v2", "organization", organization_id=organization_id)

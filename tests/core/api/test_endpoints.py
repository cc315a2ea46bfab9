"""Names of audit logs as plain text; ``test_query`` tests which values are rejected."""

from __future__ import annotations

import pytest

from airflow_audit_provider.core.api.endpoints import SCOPES, VERSIONS, name_audit_log
from airflow_audit_provider.core.api.query import Scope, audit_query
from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.exceptions import ConfigurationError

ACCOUNT_ID = "0123456789abcdef" * 2


def test_texts_equal_the_enumerations() -> None:
    """The texts used while a DAG is parsed equal the values of the enumerations."""
    assert (tuple(ApiVersion), tuple(Scope)) == (VERSIONS, SCOPES)


def test_name_equals_the_fields_of_the_query() -> None:
    """The four texts of a name equal the fields of the query with the same arguments."""
    filters = {"actor_email": "a@example.com"}
    query = audit_query("v2", None, account_id=ACCOUNT_ID, filters=filters)
    named = name_audit_log("v2", None, account_id=ACCOUNT_ID, filters=filters)
    assert named == (query.version, query.scope, query.scope_id, query.filters)


@pytest.mark.parametrize(
    "account_id", ["0" * 31, "0" * 33, "0" * 31 + "A", "0" * 31 + "g", "0" * 31 + "٣", "0" * 31 + "\n"]
)
def test_account_id_has_32_hexadecimal_digits(account_id: str) -> None:
    """An account id of another length, or with a capital, another letter, a foreign digit or a line end, is invalid."""
    with pytest.raises(ConfigurationError, match="account_id is malformed"):
        name_audit_log("v1", "account", account_id=account_id)


@pytest.mark.parametrize("organization_id", ["a" * 65, "a/b", "é", "a b", "a\n"])
def test_organization_id_is_one_word(organization_id: str) -> None:
    """An organization id has at most 64 letters, digits, dashes and underscores, because it is part of a path."""
    with pytest.raises(ConfigurationError, match="organization_id is malformed"):
        name_audit_log("v2", "organization", organization_id=organization_id)

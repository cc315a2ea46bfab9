"""Filters applied by the provider itself: which records a sensor matches."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from airflow_audit_provider.core.api.record_filter import RecordFilter, action_of
from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.exceptions import ConfigurationError

V1 = {
    "id": "a",
    "action": {"type": "token_create", "result": True},
    "actor": {"email": "Eve@example.com", "ip": "192.0.2.77", "type": "user"},
    "resource": {"type": "token"},
    "metadata": {"zone_name": "example.com"},
}
V2 = {"id": "b", "action": {"type": "create"}, "raw": {"status_code": 200, "method": "POST"}, "resource": {"scope": {}}}


def record(fields: Any) -> AuditRecord:
    """Returns a record with these fields."""
    return AuditRecord(0, "a", msgspec.json.encode(fields))


def matches(version: str, filters: Any, fields: Any) -> bool:
    """Returns whether a filter selects a record."""
    return bool(RecordFilter(version, filters).pick([record(fields)]))


@pytest.mark.parametrize(
    "filters",
    [
        None, [], {"action_type": "token_create"}, {"action.type": "TOKEN_CREATE"},
        {"action_type": ["x", "token_create"]}, {"action_result": True}, {"actor_email": "eve@EXAMPLE.com"},
        {"actor_ip": "192.0.2.0/24"}, {"actor_ip": "192.0.2.77"}, {"zone_name": "example.com"},
        {"action_type_not": "login"}, {"interface_not": ["UI", "API"]},
        {"action_type": "token_create", "resource_type": "token"},
        [{"action_type": "never"}, {"resource_type": ("token",)}],
        {"action": {"type": "token_create"}, "actor": {"email": "eve@example.com", "ip": "192.0.2.0/24"}},
        {"zone": {"name": "example.com"}, "action": {"type": {"not": "login"}}},
    ],
)  # fmt: skip
def test_record_that_fits_all_filters_matches(filters: Any) -> None:
    """All filters of one alternative fit, with any case, name spelling, list or network."""
    assert matches("v1", filters, V1)


@pytest.mark.parametrize(
    "filters",
    [
        {"action_type": "token"}, {"action_result": False}, {"interface": "UI"}, {"actor_ip": "198.51.100.0/24"},
        {"actor_ip": "192.0.2.7"}, {"actor_ip": "no network"}, {"actor_email": "192.0.2.0/24"},
        {"action_type_not": ["login", "token_create"]}, {"action_type": "token_create", "resource_type": "member"},
        [{"action_type": "never"}, {"resource_type": "member"}],
        {"action": {"type": "token_create"}, "actor": {"email": "adam@example.com"}},
    ],
)  # fmt: skip
def test_record_that_misses_one_filter_does_not_match(filters: Any) -> None:
    """One filter that does not fit is sufficient, and a missing field fits no filter."""
    assert not matches("v1", filters, V1)


def test_version_2_filters_read_version_2_fields() -> None:
    """Version 2's names select version 2's fields; numbers are compared as text."""
    assert matches("v2", {"raw_status_code": 200, "raw_method": "post", "action_type": "create"}, V2)
    assert not matches("v2", {"raw_status_code": [201, "404"]}, V2)


@pytest.mark.parametrize("fields", [{}, {"action": None}, {"action": "odd"}, {"action": {"type": None}}, []])
def test_odd_records_have_no_action(fields: Any) -> None:
    """A record without the field, or with another type in its place, has no action and is no error."""
    assert not matches("v1", {"action_type": "x"}, fields)
    assert matches("v1", {"action_type_not": "x"}, fields)
    assert action_of(record(fields)) is None


def test_action_is_found_in_both_versions() -> None:
    """The action type is in the same field in both versions."""
    assert (action_of(record(V1)), action_of(record(V2))) == ("token_create", "create")


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"action_typ": "x"}, "Did you mean 'action_type'"), ({"hide_user_logs": True}, "Known filters: .*action_type"),
        ({"qqqqqq": 1}, "cannot apply"), ({"id": []}, "strings"), ({"id": " "}, "strings"), ({"id": None}, "strings"),
        ([{}], "Give a dict"), (["token_create"], "Give a dict"), ("token_create", "Give a dict"),
    ],
)  # fmt: skip
def test_filter_that_cannot_be_applied_is_an_error(filters: Any, words: str) -> None:
    """An unknown name or an invalid value is an error before the first request."""
    with pytest.raises(ConfigurationError, match=words):
        RecordFilter("v1", filters)

"""Queries become the paths and parameters of each API version."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_audit_provider.core.api.query import AuditQuery, Direction, PageRequest, Scope, audit_query
from airflow_audit_provider.core.api.records import ApiVersion
from airflow_audit_provider.core.ports import Request
from airflow_audit_provider.exceptions import ConfigurationError

ACCOUNT = "0123456789abcdef" * 2
ASC = Direction.ASC


@pytest.mark.parametrize(
    ("version", "scope", "ids", "path"),
    [
        ("v1", "account", {"account_id": ACCOUNT}, f"/accounts/{ACCOUNT}/audit_logs"),
        ("v1", "user", {}, "/user/audit_logs"),
        ("v1", "user", {"account_id": "ignored"}, "/user/audit_logs"),
        ("v2", "account", {"account_id": ACCOUNT}, f"/accounts/{ACCOUNT}/logs/audit"),
        ("v2", "organization", {"organization_id": "org-1_A"}, "/organizations/org-1_A/logs/audit"),
        ("v1", None, {"account_id": ACCOUNT}, f"/accounts/{ACCOUNT}/audit_logs"),
        ("v2", None, {"organization_id": "o"}, "/organizations/o/logs/audit"),
        ("v2", None, {"account_id": ACCOUNT, "organization_id": "o"}, f"/accounts/{ACCOUNT}/logs/audit"),
    ],
)
def test_each_version_and_scope_has_its_path(version: str, scope: str | None, ids: dict[str, str], path: str) -> None:
    """There are four endpoints; the scope follows from the ids if it is not given."""
    assert audit_query(version, scope, **ids).path == path  # type: ignore[arg-type]  # ids are keywords


@pytest.mark.parametrize(
    ("version", "scope", "ids", "words"),
    [
        ("v1", "organization", {"organization_id": "o"}, "scope='account' or 'user'"),
        ("v1", None, {"organization_id": "o"}, "no organization scope"),
        ("v2", "user", {}, "scope='account' or 'organization'"),
        ("v3", "account", {"account_id": ACCOUNT}, r"api_version 'v3' is unknown\. Give one of 'v1', 'v2'\."),
        ("v1", "zone", {}, "scope 'zone' is unknown"),
        ("v1", "account", {}, "needs account_id"),
        ("v1", "account", {"account_id": ""}, "needs account_id"),
        ("v2", "organization", {"account_id": ACCOUNT}, "needs organization_id"),
        ("v1", None, {}, "needs account_id"),
    ],
)
def test_impossible_query_is_an_error_with_a_remedy(
    version: str, scope: str | None, ids: dict[str, str], words: str
) -> None:
    """An unknown version, a scope that the version lacks and a missing id are errors before any request."""
    with pytest.raises(ConfigurationError, match=words):
        audit_query(version, scope, **ids)  # type: ignore[arg-type]  # ids are keywords


@pytest.mark.parametrize(
    ("scope", "ids"),
    [
        *(("account", {"account_id": text}) for text in (
            ACCOUNT[:-1], ACCOUNT + "0", ACCOUNT.upper(), f" {ACCOUNT}", ACCOUNT + "\n", "../" + ACCOUNT[3:], "g" * 32,
        )),
        *(("organization", {"organization_id": text}) for text in ("a/b", "a b", "x" * 65, "..", "a?b", "ü", "a\n")),
    ],
)  # fmt: skip
def test_a_malformed_id_never_reaches_a_path(scope: str, ids: dict[str, str]) -> None:
    """A malformed id is an error, so that it cannot change the path."""
    with pytest.raises(ConfigurationError, match="is malformed"):
        audit_query("v2", scope, **ids)  # type: ignore[arg-type]  # ids are keywords


def v1(**filters: Any) -> AuditQuery:
    """Returns a version 1 query with filters."""
    return audit_query("v1", "user", filters=filters)


def v2(**filters: Any) -> AuditQuery:
    """Returns a version 2 query with filters."""
    return audit_query("v2", "account", account_id=ACCOUNT, filters=filters)


@pytest.mark.parametrize(
    ("query", "params"),
    [
        (v1(), ()),
        (v1(actor_email=None), ()),
        (v1(actor_email="a@b.c"), (("actor.email", "a@b.c"),)),
        (v1(hide_user_logs=True), (("hide_user_logs", "true"),)),
        (v1(hide_user_logs=False), (("hide_user_logs", "false"),)),
        (v1(actor_ip=["10.0.0.0/8"]), (("actor.ip", "10.0.0.0/8"),)),
        (v1(zone_name="b", action_type="a"), (("action.type", "a"), ("zone.name", "b"))),
        (v2(raw_status_code=200), (("raw_status_code", "200"),)),
        (v2(raw_status_code=(500, 200)), (("raw_status_code", "200"), ("raw_status_code", "500"))),
        (v2(actor_email_not={"b", "a"}), (("actor_email.not", "a"), ("actor_email.not", "b"))),
        (v2(id=frozenset({"x"})), (("id", "x"),)),
    ],
)
def test_filters_become_the_parameters_of_the_api(query: AuditQuery, params: tuple[tuple[str, str], ...]) -> None:
    """Values become text, lists repeat the key, None is no filter, and the order is always the same."""
    assert query.filters == params


@pytest.mark.parametrize("given", ["actor.email", "actor_email"])
def test_dotted_filter_name_is_accepted(given: str) -> None:
    """Version 1's own spelling and the Python name are the same filter."""
    assert audit_query("v1", "user", filters={given: "x"}).filters == (("actor.email", "x"),)


@pytest.mark.parametrize("given", ["actor_email.not", "actor_email_not", "actor.email.not"])
def test_exclusion_is_accepted_in_every_spelling(given: str) -> None:
    """Version 2's exclusions are the same filter with a dot or an underscore."""
    query = audit_query("v2", "account", account_id=ACCOUNT, filters={given: "x"})
    assert query.filters == (("actor_email.not", "x"),)


@pytest.mark.parametrize(
    ("nested", "flat"),
    [
        (v1(action={"type": "login"}), v1(action_type="login")),
        (
            v1(actor={"email": "a@example.com", "ip": "192.0.2.0/24"}),
            v1(actor_email="a@example.com", actor_ip="192.0.2.0/24"),
        ),
        (v1(zone={"name": "example.com"}, hide_user_logs=True), v1(zone_name="example.com", hide_user_logs=True)),
        (v1(actor={"email": None}, action={"type": "x"}), v1(action_type="x")),
        (v2(action={"type": ["a", "b"], "result": "success"}), v2(action_type=["b", "a"], action_result="success")),
        (
            v2(actor={"ip_address": "192.0.2.1"}, raw={"status_code": 200}),
            v2(actor_ip_address="192.0.2.1", raw_status_code=200),
        ),
        (v2(actor={"email": {"not": ["a"]}}, id={"not": ["1"]}), v2(actor_email_not="a", id_not="1")),
        (v2(zone={"name_not": "example.com"}), v2(zone_name_not="example.com")),
    ],
)
def test_nested_filters_are_the_flat_ones(nested: AuditQuery, flat: AuditQuery) -> None:
    """``actor={"email": …}`` and the SDK's ``{"not": …}`` are the same query as the flat names."""
    assert nested == flat


@pytest.mark.parametrize(
    ("filters", "words"),
    [
        ({"actor": {"emial": "x"}}, r"no filter 'actor\.emial'.*Did you mean 'actor_email'"),
        ({"actor": {"email": {"deep": "x"}}}, r"no filter 'actor\.email\.deep'"),
        ({"zone": {"id": "x"}}, r"no filter 'zone\.id'.*Another version"),
        ({"actor": {}}, "no filter 'actor'"),
        ({"actor": "x"}, "no filter 'actor'"),
        ({"action": {"type": ["a", "b"]}}, "takes one value in version 1"),
        ({"actor": {"email": "a"}, "actor_email": "b"}, "given twice"),
        ({"actor.email": "a", "actor_email": "a"}, "given twice"),
    ],
)
def test_nested_filters_are_checked_like_the_flat_ones(filters: dict[str, Any], words: str) -> None:
    """An unknown name inside, too many values and a filter in two spellings are refused."""
    with pytest.raises(ConfigurationError, match=words):
        v1(**filters)


@pytest.mark.parametrize("value", ["", "  ", 1.5, {}, object(), b"x", [""], [None], [["x"]]])
def test_invalid_filter_value_is_an_error(value: Any) -> None:
    """An empty value or one of another type is an error, because it could select more records."""
    with pytest.raises(ConfigurationError, match="Give a non-empty string, a number or a bool"):
        v2(actor_email=value)


def test_several_values_need_version_two() -> None:
    """Several values of one filter need version 2, and an empty list is an error in both versions."""
    with pytest.raises(ConfigurationError, match="takes one value in version 1"):
        v1(actor_email=["a", "b"])
    with pytest.raises(ConfigurationError, match="takes one value in version 1"):
        v1(actor_email=[])
    with pytest.raises(ConfigurationError, match="is an empty list"):
        v2(actor_email=())


@pytest.mark.parametrize(
    ("version", "name", "words"),
    [
        ("v1", "actor_emial", "Did you mean 'actor_email'"),
        ("v2", "action_results", "Did you mean 'action_result'"),
        ("v1", "xyzzy", "Known filters: action_type, actor_email, actor_ip, hide_user_logs, id, zone_name"),
        ("v1", "actor_email_not", "Another version or scope has it; remove it or change api_version"),
        ("v2", "hide_user_logs", "Another version or scope has it"),
        ("v2", "actor_ip", "Another version or scope has it.*Did you mean 'actor_"),
        ("v2", "product_category_not", "has no filter 'product_category_not'"),
        ("v1", "since", "has no filter 'since'"),
        ("v2", "cursor", "has no filter 'cursor'"),
        ("v1", "export", "has no filter 'export'"),
    ],
)
def test_unknown_filter_is_an_error_with_a_hint(version: str, name: str, words: str) -> None:
    """A filter that the endpoint would ignore is an error that names the closest filter, or all of them."""
    with pytest.raises(ConfigurationError, match=words):
        audit_query(version, "account", account_id=ACCOUNT, filters={name: "x"})


REQUEST = PageRequest(1_793_491_200, 1_793_577_600, ASC, 500, 3, "c1")


def test_version_one_requests_pages_by_number() -> None:
    """Version 1 has page numbers and no cursor; filters come first."""
    assert v1(id="x").page_request(REQUEST) == Request(
        "/user/audit_logs",
        (
            ("id", "x"),
            ("since", "2026-11-01T00:00:00Z"),
            ("before", "2026-11-02T00:00:00Z"),
            ("direction", "asc"),
            ("per_page", "500"),
            ("page", "3"),
        ),
    )


@pytest.mark.parametrize(
    ("cursor", "last"), [("c1", (("limit", "500"), ("cursor", "c1"))), (None, (("limit", "500"),))]
)
def test_version_two_requests_pages_by_cursor(cursor: str | None, last: tuple[tuple[str, str], ...]) -> None:
    """Version 2 has cursors and no page numbers, and no empty cursor is sent."""
    params = v2().page_request(REQUEST._replace(cursor=cursor, direction=Direction.DESC)).params
    assert params == (
        ("since", "2026-11-01T00:00:00Z"),
        ("before", "2026-11-02T00:00:00Z"),
        ("direction", "desc"),
        *last,
    )


def test_export_exists_in_version_one_only() -> None:
    """The CSV export has filters and bounds in version 1; version 2 raises, because it has no export."""
    request = v1(id="x").export_request(REQUEST.since_seconds, REQUEST.before_seconds)
    assert request.params[0] == ("id", "x")
    assert request.params[1:] == (
        ("since", "2026-11-01T00:00:00Z"), ("before", "2026-11-02T00:00:00Z"), ("export", "true")
    )  # fmt: skip
    with pytest.raises(ConfigurationError, match="no CSV export"):
        v2().export_request(0, 1)


def test_directions_have_opposites() -> None:
    """Each direction is the opposite of the other."""
    assert [direction.opposite for direction in Direction] == list(reversed(Direction))


def test_queries_with_equal_filters_are_equal() -> None:
    """Queries are equal whatever the order of their filters."""
    assert v2(id=["b", "a"], zone_id="z") == v2(zone_id="z", id=["a", "b"])
    assert (v1().version, v1().scope, v1().scope_id) == (ApiVersion.V1, Scope.USER, "")


def test_each_excluded_id_is_a_parameter() -> None:
    """Each excluded id is a parameter of its own in version 2."""
    request = audit_query("v2", None, account_id=ACCOUNT).page_request(
        PageRequest(0, 1, Direction.ASC, 10, without_ids=("a", "b"))
    )
    assert request.params[-3:] == (("limit", "10"), ("id.not", "a"), ("id.not", "b"))


def test_filters_other_than_a_dict_are_an_error() -> None:
    """A list or a text as filters is an error before any request."""
    with pytest.raises(ConfigurationError, match=r"filters is a list\. Give a dict"):
        audit_query("v1", "user", filters=["actor_email"])  # type: ignore[arg-type]  # the test passes a list on purpose

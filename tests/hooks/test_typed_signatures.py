"""Tests that the hook's typed parameters are those that the API's tables accept, for editors, ``help()`` and mypy."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, get_overloads, get_type_hints

import pytest

from airflow_audit_provider._airflow.api_parameters import _PAGING_NAMES, _QUERY_NAMES, LogParameters
from airflow_audit_provider.core.api import endpoints
from airflow_audit_provider.core.api.query import AuditQuery, audit_query
from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.hooks import parameters
from airflow_audit_provider.hooks.cloudflare import CloudflareHook

NOW = datetime(2026, 11, 29, tzinfo=UTC)
FILTER_CLASSES = {
    ("v1", "account"): parameters.V1Filters,
    ("v1", "user"): parameters.V1Filters,
    ("v2", "account"): parameters.V2Filters,
    ("v2", "organization"): parameters.V2OrganizationFilters,
}
PARAMETER_CLASSES = {
    "v1": parameters.V1Parameters,
    "v2": parameters.V2Parameters,
    "v2 of an organization": parameters.V2OrganizationParameters,
    "v2 of the connection": parameters.V2ConnectionParameters,
}
SAMPLES: dict[str, Any] = {
    "since": "2026-11-01", "before": "2026-11-02", "direction": "asc", "per_page": 10, "limit": 10, "page": 2,
    "cursor": "c", "hide_user_logs": True, "account_id": "0" * 32, "organization_id": "o",
}  # fmt: skip
READING: list[Callable[..., Any]] = [CloudflareHook.iter_audit_logs, CloudflareHook.aiter_audit_logs]


def _is_nested(hint: object) -> bool:
    return "Filters" in str(hint)


def _flat_names(filter_class: type) -> set[str]:
    return {name for name, hint in get_type_hints(filter_class).items() if not _is_nested(hint)}


def _nested_names(filter_class: type) -> set[str]:
    """Returns the flat names of the filters that the nested dicts of a class hold."""
    groups = {name: hint for name, hint in get_type_hints(filter_class).items() if _is_nested(hint)}
    return {f"{group}_{name}" for group, hint in groups.items() for name in get_type_hints(hint.__args__[0])}


@pytest.mark.parametrize("endpoint", FILTER_CLASSES)
def test_typed_filters_are_those_of_the_endpoint(endpoint: tuple[str, str]) -> None:
    """A class has exactly the filters of its endpoint; its nested dicts have those that begin with the dict's name."""
    filter_class, table = FILTER_CLASSES[endpoint], endpoints._FILTERS[endpoint]
    groups = {name for name, hint in get_type_hints(filter_class).items() if _is_nested(hint)}
    assert _flat_names(filter_class) == table.keys()
    nested = {name for name in table if name.split("_")[0] in groups and not name.endswith("_not")}
    assert _nested_names(filter_class) == nested


def _query(**asked: Any) -> AuditQuery:
    ids = {"account_id": "0" * 32} if not asked.get("organization_id") else {}
    return audit_query(asked.pop("api_version", None), asked.pop("scope", None), **{**ids, **asked})


def _read(given: Mapping[str, Any]) -> None:
    LogParameters.parse(given).query_and_reader(_query, NOW, lambda _: None)


@pytest.mark.parametrize("title", PARAMETER_CLASSES)
def test_typed_parameter_is_accepted_and_any_other_is_refused(title: str) -> None:
    """The hook accepts each parameter of a class, and refuses each filter or paging parameter that it lacks."""
    own = get_type_hints(PARAMETER_CLASSES[title])
    required = {"v2": {"api_version": "v2"}, "v2 of an organization": {"organization_id": "o"}}.get(title, {})
    if title == "v2 of the connection":
        required = {"scope": "organization", "organization_id": "o"}
    flat = {name for name, hint in own.items() if not _is_nested(hint)} - {*_QUERY_NAMES}
    for name in flat:
        _read({**required, name: SAMPLES.get(name, "x")})
    every = {name for one in PARAMETER_CLASSES.values() for name, hint in get_type_hints(one).items()}
    for name in every - own.keys() - {*_QUERY_NAMES}:
        value = {"x": "x"} if name in {"raw", "resource", "account", "zone"} else SAMPLES.get(name, "x")
        with pytest.raises(ConfigurationError):
            _read({**required, name: value})


def test_query_and_paging_parameters_are_typed() -> None:
    """Each name that the hook takes for a query or paging parameter is one of a class, except ``export``."""
    typed = {name for one in PARAMETER_CLASSES.values() for name in get_type_hints(one)}
    filters = {name for one in FILTER_CLASSES.values() for name in get_type_hints(one)}
    assert typed - filters == {*_QUERY_NAMES, *_PAGING_NAMES} - {"export"}


@pytest.mark.parametrize("method", READING, ids=lambda method: method.__name__)
def test_signature_shows_every_parameter_of_both_versions(method: Callable[..., Any]) -> None:
    """``inspect.signature``, and so ``help()``, has each parameter with its type, and no ``**parameters``."""
    shown = inspect.signature(method).parameters
    typed = {name for one in PARAMETER_CLASSES.values() for name in get_type_hints(one)}
    assert shown.keys() - {"self", "export"} == typed
    assert shown["actor_ip"].annotation == "str | None"
    assert shown["actor_email"].annotation == "str | FilterValue | None"
    assert shown["api_version"].annotation == "Literal['v1'] | Literal['v2'] | None"
    assert all(each.kind is each.KEYWORD_ONLY for name, each in shown.items() if name != "self")


def test_overloads_have_one_class_each() -> None:
    """A type checker finds the classes of both versions in both reading methods."""
    for method in READING:
        unpacked = [get_type_hints(each)["parameters"].__args__[0] for each in get_overloads(method)]
        assert unpacked == [*PARAMETER_CLASSES.values()]


def test_docstring_explains_every_parameter() -> None:
    """The text that ``help()`` shows names each parameter; negated filters are explained by their ending."""
    text = inspect.getdoc(CloudflareHook.iter_audit_logs) or ""
    shown = inspect.signature(CloudflareHook.iter_audit_logs).parameters
    assert [name for name in shown if name != "self" and not name.endswith("_not") and f"``{name}``" not in text] == []
    assert "``_not``" in text


def test_every_typed_parameter_has_a_description() -> None:
    """Editors and the reference show a description below each field of the classes for filters and parameters."""
    source = inspect.getsource(parameters)
    body = source[source.index("class V1Filters") :]
    fields = re.findall(r"^    \w+: .+\n(.*)", body, re.MULTILINE)
    assert len(fields) > 70
    assert [below for below in fields if not below.startswith('    """')] == []

"""Calls that mypy accepts and calls that it refuses, such as a filter of version 2 in version 1; nothing calls them.

`make types` checks them. It also fails if mypy does not refuse a line that has a `type: ignore`.
"""

from __future__ import annotations

from typing import Any, Literal

from airflow_audit_provider.hooks.cloudflare import CloudflareHook
from airflow_audit_provider.hooks.parameters import V1Filters
from airflow_audit_provider.operators.audit_logs import CloudflareAuditLogsToObjectStorageOperator


def accepted(hook: CloudflareHook) -> None:
    """Calls with the parameters of the version that they state."""
    hook.iter_audit_logs()
    hook.iter_audit_logs(actor_ip="192.0.2.0/24", hide_user_logs=True, per_page=10, export=True)
    hook.iter_audit_logs(scope="user", action={"type": "login"}, actor={"email": "a"}, zone={"name": "z"})
    hook.iter_audit_logs(
        api_version="v2", actor_email=["a", "b"], raw_status_code=200, actor_type_not={"user"}, limit=5
    )
    hook.iter_audit_logs(api_version="v2", actor={"email": {"not": ["a"]}}, id={"not": ["x"]}, zone_name="z")
    hook.iter_audit_logs(organization_id="o", resource_product="workers")
    hook.iter_audit_logs(scope="organization", resource_product="workers", cursor="c")
    hook.aiter_audit_logs(api_version="v2", since="2026-11-01", account_name=None)
    hook.export_audit_logs(since="2026-11-01", actor_email="ann@example.com")
    filters: V1Filters = {"actor_email": "ann@example.com"}
    CloudflareAuditLogsToObjectStorageOperator(task_id="land", destination="/data", filters=filters)


def accepted_of_any_version(hook: CloudflareHook, version: Literal["v1", "v2"], unknown: Any) -> None:
    """Calls whose version or parameters are known at run time only."""
    hook.iter_audit_logs(api_version=version, since="2026-11-01", actor_email="ann@example.com")
    hook.iter_audit_logs(api_version=unknown, since="2026-11-01")
    hook.iter_audit_logs(api_version="v2", **unknown)


def refused(hook: CloudflareHook) -> None:
    """Calls with parameters that the version lacks, or with values of another type."""
    hook.iter_audit_logs(resource_type="zone")  # type: ignore[call-overload]  # a filter of version 2
    hook.iter_audit_logs(api_version="v1", actor_email_not="a")  # type: ignore[call-overload]  # version 2 alone negates
    hook.iter_audit_logs(api_version="v1", actor_email=["a", "b"])  # type: ignore[call-overload]  # one value in version 1
    hook.iter_audit_logs(api_version="v2", actor_ip="192.0.2.1")  # type: ignore[call-overload]  # a filter of version 1
    hook.iter_audit_logs(api_version="v2", product_category_not="x")  # type: ignore[call-overload]  # not negated
    hook.iter_audit_logs(api_version="v2", page=2)  # type: ignore[call-overload]  # version 2 has cursors
    hook.iter_audit_logs(api_version="v2", export=True)  # type: ignore[call-overload]  # version 1 exports
    hook.iter_audit_logs(api_version="v2", scope="user")  # type: ignore[call-overload]  # version 1 has users
    hook.iter_audit_logs(api_version="v2", actor={"ip": "192.0.2.1"})  # type: ignore[call-overload]  # as nested
    hook.iter_audit_logs(api_version="v3")  # type: ignore[call-overload]  # no such version
    hook.iter_audit_logs(organization_id="o", zone_id="z")  # type: ignore[call-overload]  # no filter of organizations
    hook.iter_audit_logs(actor_emial="a")  # type: ignore[call-overload]  # a misspelled filter
    hook.iter_audit_logs(since=20261101)  # type: ignore[call-overload]  # a number is no time
    hook.aiter_audit_logs(resource_type="zone")  # type: ignore[call-overload]  # a filter of version 2
    hook.aiter_audit_logs(export=True)  # type: ignore[call-overload]  # not asynchronous
    hook.export_audit_logs(api_version="v2")  # type: ignore[arg-type]  # version 1 exports
    hook.export_audit_logs(per_page=10)  # type: ignore[call-arg]  # it has no pages
    wrong: V1Filters = {"resource_type": "zone"}  # type: ignore[typeddict-unknown-key]  # of version 2
    assert wrong

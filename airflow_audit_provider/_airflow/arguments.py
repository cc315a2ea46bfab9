"""What can be said wrong about a task when its DAG is parsed, before any run.

Knows: that arguments may be templates or come from another task.
Must not know: connections, which may be read only in a run.
Its one rule: what is plainly impossible is said now; what only a run can know is left to the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_audit_provider.core.api.endpoints import Filters, name_audit_log
from airflow_audit_provider.core.limits import (
    check_concurrency,
    check_length,
    check_lookback,
    check_part_size,
    check_settle_delay,
    is_count,
)
from airflow_audit_provider.exceptions import ConfigurationError

_ANY_ACCOUNT_ID = "0" * 32
_ANY_ORGANIZATION_ID = "0"


def check_query(api_version: str, scope: str | None, account_id: Any, organization_id: Any, filters: Any) -> Filters:
    """Raise ``ConfigurationError`` for arguments no run can make good; return the API's filters.

    An id that is missing, a template or another task's output stands for any id; so do filters that are no dict yet.
    """
    plain_filters = filters if isinstance(filters, Mapping) else None
    account, organization = _plain(account_id), _plain(organization_id)
    if scope is None and organization_id and not account_id:
        scope = "organization"
    *_, params = name_audit_log(
        api_version,
        scope or "account",
        account_id=account or _ANY_ACCOUNT_ID,
        organization_id=organization or _ANY_ORGANIZATION_ID,
        filters=plain_filters,
    )
    return params


def check_privacy(privacy: Any, filters: Filters) -> None:
    """Raise ``ConfigurationError`` for a rule no run can apply, and for filters that must not stand in a manifest.

    What is no dict yet, such as another task's output, is left to the run.
    """
    if isinstance(privacy, Mapping):
        # Most tasks have none, and a rule is a large thing to import for a look at a few names.
        from airflow_audit_provider.core.privacy.rule import check_no_personal_filters, read_privacy

        check_no_personal_filters(read_privacy(privacy), filters)


def check_times(window_length: object, settle_delay: object, lookback: object = None) -> None:
    """Raise ``ConfigurationError`` for what is no length of time."""
    check_length("window_length", window_length)
    check_settle_delay(settle_delay)
    check_lookback(lookback)


def check_timezone(timezone: str) -> None:
    """Raise ``ConfigurationError`` for a time zone that is none."""
    if timezone != "UTC":
        from airflow_audit_provider.core.windows.run_window import find_zone

        find_zone(timezone)


def check_tuning(concurrency: int, max_part_bytes: int, verify: str | None) -> None:
    """Raise ``ConfigurationError`` for a number or a word that cannot be."""
    for name, number in (("concurrency", concurrency), ("max_part_bytes", max_part_bytes)):
        if not is_count(number):
            raise ConfigurationError(f"{name} is {number!r}, which is impossible. Give a whole number, 1 or more.")
    check_concurrency(concurrency)
    check_part_size(max_part_bytes)
    if verify not in (None, "recount"):
        raise ConfigurationError(f"verify {verify!r} is unknown. Give 'recount', or leave it out.")


def _plain(given: Any) -> str | None:
    return given if isinstance(given, str) and "{" not in given else None

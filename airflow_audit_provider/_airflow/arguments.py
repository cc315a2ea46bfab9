"""Checks of task arguments at DAG parse, before any run.

An argument, or a value inside it, may be a template or another task's output, and connections may be read only in a
run: only a value that is invalid in every run is an error here.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from airflow_audit_provider.core.api.endpoints import (
    ACCOUNT,
    V1,
    V2,
    Filters,
    flat_filters,
    is_group_of_filters,
    name_audit_log,
)
from airflow_audit_provider.core.archive.security_lake import ANY_STREAM, read_arguments
from airflow_audit_provider.core.limits import (
    MAX_CONCURRENCY,
    MIN_PART_BYTES,
    SECURITY_LAKE,
    check_concurrency,
    check_history,
    check_length,
    check_lookback,
    check_odd_records,
    check_overlap,
    check_part_size,
    check_partition_by,
    check_settle_delay,
    check_verify,
    is_count,
)
from airflow_audit_provider.exceptions import ConfigurationError

_ANY_ACCOUNT_ID = "0" * 32
_ANY_ORGANIZATION_ID = "0"
# Stands for a filter's value that is not rendered yet.
_ANY_VALUE = "0"
# Filters that mean the same in both versions: ids differ, and so do the words for actions.
_SHARED_FILTERS = ("actor_email", "zone_name")


def check_query(
    api_version: str | None, scope: str | None, account_id: Any, organization_id: Any, filters: Any
) -> Filters:
    """Returns the API's filters; raises ``ConfigurationError`` for arguments that no run can make valid.

    Without an API version, filters are those of version 1 unless the arguments name an organization. A missing id, a
    template and another task's output pass as any valid id or value; so do filters that are not a dict yet.
    """
    plain_filters = _rendered_filters(filters) if isinstance(filters, Mapping) else None
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


def is_rendered(value: Any) -> bool:
    """Returns whether a value of a template field has no part that Airflow replaces before the run.

    Airflow renders texts, objects with a method ``resolve``, such as another task's output, and objects with template
    fields of their own, at any depth of lists, tuples, sets and dicts: ``Templater.render_template`` of its Task SDK.
    """
    if isinstance(value, str):
        return "{" not in value
    if isinstance(value, Mapping):
        return all(is_rendered(one) for one in value.values())
    if isinstance(value, list | tuple | set | frozenset):
        return all(is_rendered(one) for one in value)
    can_resolve = hasattr(value, "resolve") and not isinstance(value, os.PathLike)
    return not can_resolve and not hasattr(value, "template_fields")


def _rendered_filters(filters: Mapping[str, Any]) -> dict[str, Any]:
    """Returns flat filters in which any value stands for one that is not rendered yet, because names are known already.

    A name such as ``actor`` alone is left out then: the value may become a dict of filters.
    """
    return {
        given: value if is_rendered(value) else _ANY_VALUE
        for given, value in flat_filters(filters)
        if is_rendered(value) or not is_group_of_filters(given)
    }


def check_privacy(privacy: Any, filters: Filters) -> None:
    """Raises ``ConfigurationError`` for an invalid privacy rule, and for filters that the rule forbids.

    A value that is not a dict yet, such as another task's output, is checked in the run; so is a rule with fields that
    are not rendered yet.
    """
    if isinstance(privacy, Mapping) and all(is_rendered(privacy.get(name)) for name in ("pseudonymise", "drop")):
        # Most tasks have no rule, and its import is large compared with the check.
        from airflow_audit_provider.core.privacy.rule import check_no_personal_filters, read_privacy

        check_no_personal_filters(read_privacy(privacy), filters)


def check_times(window_length: object, settle_delay: object, lookback: object = None) -> None:
    """Raises ``ConfigurationError`` for an invalid length of time."""
    check_length("window_length", window_length)
    check_settle_delay(settle_delay)
    check_lookback(lookback)


def check_timezone(timezone: str) -> None:
    """Raises ``ConfigurationError`` for an unknown time zone."""
    if timezone != "UTC":
        from airflow_audit_provider.core.windows.run_window import find_zone

        find_zone(timezone)


def check_tuning(concurrency: int, max_part_bytes: int, verify: str | None, odd_records: str) -> None:
    """Raises ``ConfigurationError`` for an invalid concurrency, part size, ``verify`` or ``odd_records``."""
    allowed = {"concurrency": f"1 to {MAX_CONCURRENCY}", "max_part_bytes": f"at least {MIN_PART_BYTES}"}
    for name, number in (("concurrency", concurrency), ("max_part_bytes", max_part_bytes)):
        if not is_count(number):
            raise ConfigurationError(f"{name} is {number!r}. Give a whole number: {allowed[name]}.")
    check_concurrency(concurrency)
    check_part_size(max_part_bytes)
    check_odd_records(odd_records)
    check_verify(verify)


def check_partitioning(partition_by: str | None, reread_committed: bool, replace: bool) -> None:
    """Raises ``ConfigurationError`` for an invalid ``partition_by``, or arguments that do not go with it."""
    check_partition_by(partition_by)
    if partition_by is not None and replace:
        raise ConfigurationError(
            "partition_by is given with replace=True. Each retry would replace again what it has replaced: replace "
            "windows without partition_by, with a run for each."
        )
    if reread_committed and partition_by is None:
        raise ConfigurationError(
            "reread_committed is given without partition_by. A run of one window always reads it again: leave "
            "reread_committed out."
        )


def check_lake(layout: str, security_lake: Any, history: str | None) -> None:
    """Raises ``ConfigurationError`` for arguments that do not go with the layout.

    Values that are not rendered yet are checked in the run.
    """
    if (layout == SECURITY_LAKE) != (security_lake is not None):
        given = "missing" if security_lake is None else "given"
        raise ConfigurationError(
            f"layout is {layout!r} and security_lake is {given}. Give layout='security_lake' together with "
            "security_lake, a dict with bucket, source and region, or neither."
        )
    if layout == SECURITY_LAKE and history is not None:
        raise ConfigurationError(
            "layout='security_lake' is given with history='stitched'. Land each version of the API with a task and a "
            "destination of its own, and with another source or account_id."
        )
    if isinstance(security_lake, Mapping) and not any(map(_has_template, security_lake.values())):
        read_arguments(security_lake, _ANY_ACCOUNT_ID, ANY_STREAM)


def _has_template(value: Any) -> bool:
    """Returns whether Airflow renders a value; ``{class_uid}`` in a source is no template."""
    return "{{" in value or "{%" in value if isinstance(value, str) else not is_rendered(value)


def check_stitching(
    history: str | None, cut_over: object, overlap: timedelta | None, arguments: Mapping[str, Any]
) -> None:
    """Raises ``ConfigurationError`` for an invalid ``history``, or arguments that do not go with it.

    ``arguments`` are the task's ``api_version``, ``scope``, ``organization_id``, ``filters`` and ``replace``.
    """
    check_history(history)
    if history is None:
        if cut_over is not None or overlap is not None:
            raise ConfigurationError(
                "cut_over or overlap is given without history. Give history='stitched' too, or omit them."
            )
        return
    if overlap is not None:
        check_overlap(overlap)
    if arguments["api_version"] is not None or arguments["replace"]:
        given = "api_version" if arguments["api_version"] is not None else "replace"
        raise ConfigurationError(
            f"{given} is given with history='stitched', which reads both versions of the API. Leave it out. To work on "
            "one version, give api_version and the folder of that version, v1 or v2 below this destination, without "
            "history."
        )
    if arguments["scope"] not in (None, ACCOUNT) or (arguments["organization_id"] and arguments["scope"] is None):
        raise ConfigurationError(
            "history='stitched' is for the log of an account, because only that is in both versions of the API. "
            "Organizations have version 2 only, users version 1 only: leave history out for them."
        )
    check_shared_filters(arguments["filters"])


def check_shared_filters(filters: Any) -> None:
    """Raises ``ConfigurationError`` for filters that do not select the same actions in both versions."""
    if not isinstance(filters, Mapping):
        return
    plain = _rendered_filters(filters)
    other = [name for name in plain if name.replace(".", "_") not in _SHARED_FILTERS]
    if other:
        raise ConfigurationError(
            f"Filter {other[0]!r} does not select the same actions in both versions of the API. With "
            f"history='stitched' give {' or '.join(_SHARED_FILTERS)} only; filter the rest in queries."
        )
    for version in (V1, V2):
        name_audit_log(version, ACCOUNT, account_id=_ANY_ACCOUNT_ID, filters=plain)


def check_erasure(replace: bool, erase: bool, erase_reason: Any) -> None:
    """Raises ``ConfigurationError`` unless an erasure replaces and has a reason, and a reason an erasure."""
    has_reason = bool(erase_reason.strip()) if isinstance(erase_reason, str) else erase_reason is not None
    if erase and not (replace and has_reason):
        raise ConfigurationError(
            "erase is given without replace=True or without erase_reason. An erasure writes the window again and "
            "records why: give both, or leave erase out."
        )
    if has_reason and not erase:
        raise ConfigurationError(
            "erase_reason is given without erase=True, so nothing would be erased. Give both or none."
        )


def _plain(given: Any) -> str | None:
    return given if isinstance(given, str) and "{" not in given else None

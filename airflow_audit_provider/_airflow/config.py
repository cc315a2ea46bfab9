"""Section ``[cloudflare_audit_logs]`` of Airflow's configuration: defaults of tasks that do not set an argument.

An argument takes precedence over the configuration, and the configuration over the defaults below, which
``get_provider_info`` repeats for Airflow's documentation.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from airflow.configuration import conf

from airflow_audit_provider.core.api.endpoints import V2
from airflow_audit_provider.core.limits import (
    DEFAULT_CONCURRENCY,
    DEFAULT_EDGES_PAUSE,
    DEFAULT_MAX_PART_BYTES,
    DEFAULT_SETTLE_DELAY,
    check_concurrency,
    check_edges_pause,
    check_part_size,
    check_settle_delay,
)
from airflow_audit_provider.exceptions import ConfigurationError

SECTION = "cloudflare_audit_logs"
# Version 2 became generally available on that day; it has no records of earlier events (Cloudflare's documentation).
_DEFAULT_V2_HISTORY_START = "2026-03-10"
_DEFAULT_SHARE_RATE_LIMIT = "True"
# The texts that Airflow's own options accept.
_BOOLEANS = {"t": True, "true": True, "1": True, "f": False, "false": False, "0": False}
_COVERAGE_FIELDS = frozenset({"destination", "destination_conn_id", "dag_id"})
_COVERAGE_FORM = (
    "It must be a JSON list of objects with the texts destination and, if wanted, destination_conn_id and dag_id."
)
DEFAULTS: dict[str, int | str] = {
    "settle_delay_seconds": int(DEFAULT_SETTLE_DELAY.total_seconds()),
    "concurrency": DEFAULT_CONCURRENCY,
    "max_part_bytes": DEFAULT_MAX_PART_BYTES,
    "edges_pause_seconds": int(DEFAULT_EDGES_PAUSE.total_seconds()),
    "v2_history_start": _DEFAULT_V2_HISTORY_START,
    "share_rate_limit": _DEFAULT_SHARE_RATE_LIMIT,
    "coverage_destinations": "",
    "coverage_assets": "True",
    "coverage_changes": "False",
}


def settle_delay_or_configured(given: timedelta | None) -> timedelta:
    """Returns the argument, or the configured settle delay."""
    return (
        given
        if given is not None
        else timedelta(seconds=_configured("settle_delay_seconds", _check_settle_delay_seconds))
    )


def concurrency_or_configured(given: int | None) -> int:
    """Returns the argument, or the configured number of concurrent requests of a task."""
    return _configured("concurrency", check_concurrency) if given is None else given


def max_part_bytes_or_configured(given: int | None) -> int:
    """Returns the argument, or the configured size at which a task starts the next part."""
    return _configured("max_part_bytes", check_part_size) if given is None else given


def configured_edges_pause() -> timedelta:
    """Returns the configured pause before a second look at the edges of a window."""
    return timedelta(seconds=_configured("edges_pause_seconds", _check_edges_pause_seconds))


def history_starts_at(api_version: str) -> datetime | None:
    """Returns the configured instant at which version 2's history begins, None for version 1, which has all of it."""
    if api_version != V2:
        return None
    text = conf.get(SECTION, "v2_history_start", fallback=_DEFAULT_V2_HISTORY_START)
    try:
        return datetime.combine(date.fromisoformat(text.strip()), time(), UTC)
    except ValueError as error:
        raise ConfigurationError(
            f"Option v2_history_start in section [{SECTION}] of Airflow's configuration is {text!r}. It must be a day "
            f"such as {_DEFAULT_V2_HISTORY_START}. Correct it in airflow.cfg or the environment."
        ) from error


def shares_rate_limit() -> bool:
    """Returns whether tasks on one machine share the request budget of a token."""
    return _configured_boolean("share_rate_limit")


def shows_assets() -> bool:
    """Returns whether the coverage page shows datasets that only an asset names."""
    return _configured_boolean("coverage_assets")


def shows_changes() -> bool:
    """Returns whether the coverage page shows values of records, which are the content of the dataset."""
    return _configured_boolean("coverage_changes")


def _configured_boolean(option: str) -> bool:
    text = conf.get(SECTION, option, fallback=str(DEFAULTS[option])).strip().lower()
    if text not in _BOOLEANS:
        raise _invalid(option, text, "It must be True or False.")
    return _BOOLEANS[text]


def coverage_destinations() -> list[dict[str, Any]]:
    """Returns the configured datasets of the coverage page; raises ``ConfigurationError`` for an invalid list."""
    text = conf.get(SECTION, "coverage_destinations", fallback="").strip()
    if not text:
        return []
    try:
        listed = json.loads(text)
    except ValueError as error:
        raise _invalid("coverage_destinations", text, _COVERAGE_FORM) from error
    if not isinstance(listed, list) or not all(map(_is_coverage_destination, listed)):
        raise _invalid("coverage_destinations", text, _COVERAGE_FORM)
    return listed


def _is_coverage_destination(entry: object) -> bool:
    """Returns whether an entry has the fields of one dataset, with texts that are not empty."""
    if not isinstance(entry, dict) or "destination" not in entry or entry.keys() - _COVERAGE_FIELDS:
        return False
    return all(isinstance(value, str) and value for value in entry.values())


def _configured(option: str, check: Callable[[int], None]) -> int:
    """Returns an option of the section; raises ``ConfigurationError`` that names the option if its value is invalid."""
    text = conf.get(SECTION, option, fallback=str(DEFAULTS[option]))
    try:
        number = int(text)
    except ValueError as error:
        raise _invalid(option, text, "It must be a whole number.") from error
    try:
        check(number)
    except ConfigurationError as error:
        raise _invalid(option, text, error.message) from error
    return number


def _invalid(option: str, text: str, reason: str) -> ConfigurationError:
    return ConfigurationError(
        f"Option {option} in section [{SECTION}] of Airflow's configuration is {text!r}. {reason} Correct it in "
        "airflow.cfg or the environment."
    )


def _check_settle_delay_seconds(seconds: int) -> None:
    check_settle_delay(timedelta(seconds=seconds))


def _check_edges_pause_seconds(seconds: int) -> None:
    check_edges_pause(timedelta(seconds=seconds))

"""The section ``[cloudflare_audit_logs]`` of Airflow's configuration: what tasks take that do not say it themselves.

Knows: the options and Airflow's configuration. Must not know: what an option does.
Its one rule: an argument wins over the configuration, and that over the defaults written here and in the declaration.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.configuration import conf

from airflow_audit_provider.core.limits import DEFAULT_CONCURRENCY, DEFAULT_MAX_PART_BYTES
from airflow_audit_provider.exceptions import ConfigurationError

SECTION = "cloudflare_audit_logs"
DEFAULTS = {
    "settle_delay_seconds": 900,
    "concurrency": DEFAULT_CONCURRENCY,
    "max_part_bytes": DEFAULT_MAX_PART_BYTES,
}


def settle_delay_or_configured(given: timedelta | None) -> timedelta:
    """Return the settle delay of a task."""
    return timedelta(seconds=_configured("settle_delay_seconds")) if given is None else given


def concurrency_or_configured(given: int | None) -> int:
    """Return how many requests of a task may be under way."""
    return _configured("concurrency") if given is None else given


def max_part_bytes_or_configured(given: int | None) -> int:
    """Return the size at which a task begins a next part."""
    return _configured("max_part_bytes") if given is None else given


def _configured(option: str) -> int:
    """Return a whole number of the section; raise ``ConfigurationError`` for anything else."""
    text = conf.get(SECTION, option, fallback=str(DEFAULTS[option]))
    try:
        return int(text)
    except ValueError as error:
        raise ConfigurationError(
            f"[{SECTION}] {option} in Airflow's configuration is {text!r}. Give a whole number there."
        ) from error

"""Tests that arguments override Airflow's configuration, which overrides one set of defaults."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_audit_provider._airflow.config import DEFAULTS, SECTION, coverage_destinations
from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.get_provider_info import get_provider_info
from tests.operators.task_setup import TaskSetup


def _configure(monkeypatch: pytest.MonkeyPatch, option: str, value: str) -> None:
    monkeypatch.setenv(f"AIRFLOW__{SECTION.upper()}__{option.upper()}", value)


def _tuning(task_setup: TaskSetup, **arguments: Any) -> tuple[timedelta, int, int]:
    operator = task_setup.operator(**arguments)
    return operator.settle_delay, operator.concurrency, operator.max_part_bytes


def test_defaults_without_any_configuration(task_setup: TaskSetup) -> None:
    """The defaults are 15 minutes, six requests and 128 MiB."""
    assert _tuning(task_setup) == (timedelta(minutes=15), 6, 128 << 20)


def test_configuration_overrides_defaults(task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each option of the section replaces the default of an argument that is not given."""
    for option, value in (("settle_delay_seconds", "0"), ("concurrency", "3"), ("max_part_bytes", "2097152")):
        _configure(monkeypatch, option, value)
    assert _tuning(task_setup) == (timedelta(0), 3, 2 << 20)


def test_argument_overrides_configuration(task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    """An argument of the task replaces the configured value."""
    _configure(monkeypatch, "concurrency", "3")
    _configure(monkeypatch, "settle_delay_seconds", "5")
    assert _tuning(task_setup, concurrency=9, settle_delay=timedelta(hours=1))[:2] == (timedelta(hours=1), 9)


@pytest.mark.parametrize(
    ("option", "value", "named"),
    [
        ("concurrency", "many", "concurrency"),
        ("concurrency", "65", "concurrency"),
        ("max_part_bytes", "1.5", "max_part_bytes"),
        ("max_part_bytes", "1000", "max_part_bytes"),
        ("settle_delay_seconds", "", "settle_delay_seconds"),
        ("settle_delay_seconds", "-1", "settle_delay"),
        ("edges_pause_seconds", "-1", "second look"),
        ("edges_pause_seconds", "601", "second look"),
        ("edges_pause_seconds", "soon", "edges_pause_seconds"),
    ],
)
def test_impossible_configuration_is_refused(
    task_setup: TaskSetup, monkeypatch: pytest.MonkeyPatch, option: str, value: str, named: str
) -> None:
    """An invalid value is rejected at DAG parse with the option's and the section's name, not the argument's alone."""
    _configure(monkeypatch, option, value)
    with pytest.raises(ConfigurationError, match=named) as caught:
        task_setup.operator()
    assert f"Option {option} in section [{SECTION}]" in str(caught.value)


def test_declared_defaults_are_those_of_the_code() -> None:
    """`airflow config list` shows the defaults that are taken."""
    declaration: Any = get_provider_info()
    options = declaration["config"][SECTION]["options"]
    assert {name: option["default"] for name, option in options.items()} == {
        name: str(default) for name, default in DEFAULTS.items()
    }


@pytest.mark.parametrize(
    "value",
    [
        "x",
        "{}",
        "[7]",
        "[{}]",
        '[{"destination": ""}]',
        '[{"destination": "s3://a", "other": "x"}]',
        '[{"destination": 7}]',
    ],
)
def test_invalid_coverage_destinations_are_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    """The error names the option and the form that it must have."""
    _configure(monkeypatch, "coverage_destinations", value)
    with pytest.raises(ConfigurationError, match=r"coverage_destinations.*JSON list of objects"):
        coverage_destinations()


def test_coverage_destinations_are_the_objects_of_the_list(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty option lists none."""
    _configure(monkeypatch, "coverage_destinations", "")
    assert coverage_destinations() == []
    _configure(monkeypatch, "coverage_destinations", '[{"destination": "s3://a", "dag_id": "b"}]')
    assert coverage_destinations() == [{"destination": "s3://a", "dag_id": "b"}]

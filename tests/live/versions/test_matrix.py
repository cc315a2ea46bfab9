"""The built wheel works in four Airflow versions, from the oldest that is supported to the newest."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.live.versions.versions import PROJECT, VERSIONS, AirflowVersion

pytestmark = pytest.mark.parametrize("version", VERSIONS, ids=[version.number for version in VERSIONS])
DISTRIBUTION = "airflow-audit-provider"
# The examples of what older versions do not have: a file defines no DAG there.
NEWER_FROM = {"cloudflare_audit_partitions.py": "3.2.0", "cloudflare_audit_hourly.py": "3.3.0"}
HOOK = "airflow_audit_provider.hooks.cloudflare.CloudflareHook"

Report = dict[str, Any]


def _answer(report: Report, question: str) -> Report:
    """Returns one part of the report; fails the test if the inspection had an error there."""
    answer: Report = report[question]
    assert "error" not in answer, answer["error"]
    return answer


def _rows(report: Report, command: str) -> list[dict[str, str]]:
    """Returns the table that a provider command printed as JSON among other output."""
    printed = _answer(report, "providers")[command]
    (line,) = (line for line in printed.splitlines() if line.startswith("["))
    rows: list[dict[str, str]] = json.loads(line)
    return rows


def test_wheel_is_what_runs(report: Report, version: AirflowVersion) -> None:
    """The provider under test is the installed wheel, and Airflow has the locked version."""
    seen = _answer(report, "where")
    assert "site-packages" in seen["file"]
    assert seen["airflow"] == version.number


def test_provider_is_listed(report: Report) -> None:
    """`airflow providers list` names the distribution."""
    assert any(row["package_name"] == DISTRIBUTION for row in _rows(report, "list"))


def test_hook_serves_the_connection_type(report: Report) -> None:
    """`airflow providers hooks` shows the connection type, its hook, and that it could be imported."""
    (row,) = (row for row in _rows(report, "hooks") if row["connection_type"] == "cloudflare")
    assert (row["class"], row["package_name"], row["conn_id_attribute_name"]) == (
        HOOK,
        DISTRIBUTION,
        "cloudflare_conn_id",
    )


def test_form_is_described(report: Report) -> None:
    """`airflow providers behaviours` lists the form fields of the connection type `cloudflare`."""
    assert any("cloudflare" in json.dumps(row) for row in _rows(report, "behaviours"))


def test_form_has_our_fields(report: Report) -> None:
    """`airflow providers widgets` shows the fields of the connection's extra."""
    assert "extra__cloudflare__account_id" in json.dumps(_rows(report, "widgets"))


def test_web_form_is_ours(report: Report) -> None:
    """The web interface shows the standard fields with our labels, and each extra as a separate field."""
    form = _answer(report, "form")
    assert "account_id" in form["extra_fields"]
    assert form["standard_fields"]["password"]["title"]


def test_configuration_is_listed(report: Report, version: AirflowVersion) -> None:
    """`airflow config list` shows the section and its options, with their defaults before Airflow 3.2."""
    printed = report["configuration"]
    assert isinstance(printed, str), printed
    lines = [line.replace(" ", "") for line in printed.splitlines()]
    assert "[cloudflare_audit_logs]" in lines
    for name, default in (("settle_delay_seconds", "900"), ("concurrency", "6"), ("max_part_bytes", "134217728")):
        shown = "" if version.at_least("3.2.0") else default
        assert any(line.lstrip("#") == f"{name}={shown}" for line in lines), printed


def test_examples_parse(report: Report, version: AirflowVersion) -> None:
    """Every example parses without errors or warnings of ours, and has a DAG unless it needs a newer Airflow."""
    seen = _answer(report, "examples")
    assert seen["import_errors"] == {}
    assert seen["warnings"] == []
    files = {path.name for path in (PROJECT / "dags").glob("cloudflare_*.py")}
    assert NEWER_FROM.keys() <= files
    here = {name for name in files if version.at_least(NEWER_FROM.get(name, "3.0.0"))}
    assert set(seen["dags"].values()) == here


def test_day_lands_whole(report: Report) -> None:
    """The daily example lands each record of a past day once, and commits the day."""
    seen = _answer(report, "daily_run")
    assert seen["truth"], "the fake has no record that day"
    assert sorted(seen["landed"]) == sorted(seen["truth"]), seen["printed"]
    assert seen["manifests"]

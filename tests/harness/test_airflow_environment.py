"""The demo's processes get nothing of the user's own Airflow, Python or proxy."""

from __future__ import annotations

import json
from pathlib import Path

from demo.layout import Layout
from harness.airflow_environment import Ports, airflow_environ, isolated_environ, without_proxies

USER = {
    "HOME": "/home/user",
    "PATH": "/usr/bin",
    "AIRFLOW_HOME": "/home/user/airflow",
    "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
    "AIRFLOW_CONN_OTHER": "x",
    "AUDIT_DESTINATION": "s3://theirs",
    "PYTHONPATH": "/elsewhere",
    "HTTPS_PROXY": "http://proxy:3128",
    "no_proxy": "intranet",
    "CLOUDFLARE_API_TOKEN": "secret",
}


def children_see(tmp_path: Path) -> dict[str, str]:
    """Returns the environment of Airflow's processes for a user with all of these variables."""
    return airflow_environ(USER, Layout(tmp_path), Ports(1, 2, 3), {"conn_type": "cloudflare"}, "2026-11-25")


def test_users_airflow_does_not_leak(tmp_path: Path) -> None:
    """The user's Airflow home, executor, connections, destination and Python path are removed."""
    seen = children_see(tmp_path)
    assert seen["AIRFLOW_HOME"] == str(tmp_path / ".demo" / "airflow")
    assert seen["AIRFLOW__CORE__EXECUTOR"] == "LocalExecutor"
    assert seen["AUDIT_DESTINATION"].startswith("file:///")
    assert not {"AIRFLOW_CONN_OTHER", "PYTHONPATH", "CLOUDFLARE_API_TOKEN"} & seen.keys()
    assert json.loads(seen["AIRFLOW_CONN_CLOUDFLARE_DEFAULT"]) == {"conn_type": "cloudflare"}


def test_loopback_is_never_proxied(tmp_path: Path) -> None:
    """The proxy is kept for Cloudflare, and loopback is added to its exceptions."""
    seen = children_see(tmp_path)
    assert seen["HTTPS_PROXY"] == "http://proxy:3128"
    assert seen["no_proxy"] == seen["NO_PROXY"] == "intranet,127.0.0.1,localhost,::1"
    assert "HTTPS_PROXY" not in without_proxies(USER)


def test_each_run_has_its_own_secrets(tmp_path: Path) -> None:
    """Each run has its own key for signing tokens."""
    name = "AIRFLOW__API_AUTH__JWT_SECRET"
    assert children_see(tmp_path)[name] != children_see(tmp_path)[name]


def test_second_half_keeps_the_account() -> None:
    """The second half gets the variables of account and proxy, but not those of Airflow."""
    kept = isolated_environ(USER)
    assert kept.keys() == {"HOME", "PATH", "HTTPS_PROXY", "no_proxy", "CLOUDFLARE_API_TOKEN"}

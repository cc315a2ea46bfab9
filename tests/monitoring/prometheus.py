"""Runs a real Prometheus that scrapes an exporter every second and evaluates the shipped rules."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from harness.child_processes import Children, free_ports
from harness.http_json import fetch, fetch_json
from tests.monitoring.exporter import MONITORING, Exporter
from tests.monitoring.waiting import poll_until

RULES = MONITORING / "prometheus-rules.yml"


@dataclass(frozen=True)
class Prometheus:
    """A running Prometheus."""

    url: str

    def query(self, expression: str) -> list[dict[str, Any]]:
        """Returns the samples of an expression at this instant; raises NoResponseError for an invalid one."""
        found: list[dict[str, Any]] = self._ask(f"query?{urlencode({'query': expression})}")["result"]
        return found

    def firing(self) -> set[str]:
        """Returns the names of the alerts that fire."""
        return {one["labels"]["alertname"] for one in self._ask("alerts")["alerts"] if one["state"] == "firing"}

    def summaries(self) -> list[str]:
        """Returns the sentence of each firing alert."""
        return [one["annotations"]["summary"] for one in self._ask("alerts")["alerts"] if one["state"] == "firing"]

    def _ask(self, path: str) -> Any:
        return fetch_json(f"{self.url}/api/v1/{path}")["data"]


def tool(name: str) -> str:
    """Returns the path of ``prometheus`` or ``promtool``; raises FileNotFoundError."""
    found = shutil.which(name)
    if found is None:
        raise FileNotFoundError(f"There is no {name} on the PATH. tools/system-packages installs it.")
    return found


@contextmanager
def prometheus(folder: Path, scraped: Exporter) -> Iterator[Prometheus]:
    """Runs Prometheus during the block."""
    (port,) = free_ports(1)
    every_second = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    scrape = {"job_name": "airflow", "static_configs": [{"targets": [f"127.0.0.1:{scraped.http_port}"]}]}
    config = {"global": every_second, "rule_files": [str(RULES)], "scrape_configs": [scrape]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    options = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    command = [tool("prometheus"), *options, f"--web.listen-address=127.0.0.1:{port}"]
    with Children(folder) as children:
        children.start("prometheus", command, os.environ, cwd=folder)
        url = f"http://127.0.0.1:{port}"
        poll_until(lambda: bool(fetch(f"{url}/-/ready")), "Prometheus to be ready", children.check)
        yield Prometheus(url)

"""Starts the coverage page for a test and asks it as a user."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from airflow_audit_provider._airflow.coverage_page.sources import Source
from harness.airflow_environment import isolated_environ, without_proxies

PROJECT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class Site:
    """A served coverage page: its address, and a token for each role."""

    address: str
    tokens: Mapping[str, str]

    def get(self, path: str = "", role: str | None = "viewer") -> httpx.Response:
        """Requests a page with the session of a role; without a session for None."""
        cookies = {"_token": self.tokens[role]} if role else {}
        with httpx.Client(trust_env=False, cookies=cookies, timeout=60) as client:
            return client.get(self.address + path)


def page_of(folder: Path) -> str:
    """Returns the path of the page of a dataset in a folder."""
    return f"d/{Source(folder.as_uri(), folder.as_uri()).id}"


def write(folder: Path, objects: Iterable[tuple[str, bytes]], *, with_parts: bool = False) -> Path:
    """Writes objects of a destination into a folder; data objects only if the test needs them."""
    for key, content in objects:
        if with_parts or not key.startswith("dt="):
            path = folder / key
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return folder


@contextmanager
def serve(
    home: Path,
    folders: Sequence[Path],
    assets: Sequence[str] = (),
    waited_seconds: float = 30,
    *,
    more: Sequence[Mapping[str, str]] = (),
    connections: Mapping[str, object] | None = None,
) -> Iterator[Site]:
    """Serves the page of these folders and ``more`` destinations, which the configuration lists, and of assets."""
    destinations = [{"destination": folder.as_uri()} for folder in folders] + [dict(entry) for entry in more]
    given = {f"AIRFLOW_CONN_{name.upper()}": json.dumps(conn) for name, conn in (connections or {}).items()}
    environ = (
        without_proxies(isolated_environ(os.environ))
        | given
        | {
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_urlsafe(64),
            "AIRFLOW__CLOUDFLARE_AUDIT_LOGS__COVERAGE_DESTINATIONS": json.dumps(destinations),
            "PYTHONPATH": str(PROJECT),
        }
    )
    command = [
        sys.executable,
        "-m",
        "tests._airflow.coverage_page.serve",
        json.dumps(list(assets)),
        str(waited_seconds),
    ]
    with subprocess.Popen(command, env=environ, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            lines = (line for line in server.stdout if line.startswith("{"))
            yield Site(**json.loads(next(lines)))
        finally:
            # Killed, because it would wait for a store that does not answer.
            server.kill()

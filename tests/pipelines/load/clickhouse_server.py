"""Runs ClickHouse's engine behind a bridge to HTTP, in an environment of its own, and reads without the package.

PyPI has no ClickHouse server, and Debian's is too old. The engine is the real one, the bridge is in
``clickhouse_bridge.py``.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.adapters.storage.serving import free_port, served
from tools.servers import clickhouse_python

LOGIN, PASSWORD = "loader", "correct hörse\n"
BRIDGE = Path(__file__).with_name("clickhouse_bridge.py")


@contextmanager
def clickhouse_server() -> Iterator[str]:
    """Runs the bridge in a temporary folder; yields its URL."""
    with tempfile.TemporaryDirectory(prefix="clickhouse-") as folder, clickhouse_at(Path(folder)) as url:
        yield url


@contextmanager
def clickhouse_at(folder: Path) -> Iterator[str]:
    """Runs the bridge on a folder, which may have the tables of an earlier one; yields its URL."""
    port = free_port()
    command = [str(clickhouse_python()), str(BRIDGE), str(port), str(folder), LOGIN, PASSWORD]
    with served(command, port, folder) as url:
        yield url


def query(url: str, statement: str) -> list[tuple[Any, ...]]:
    """Runs a statement; returns its rows as plain values of JSON."""
    parameters = {"default_format": "JSONCompactEachRow", "output_format_json_quote_64bit_integers": "0"}
    response = httpx.post(url, params=parameters, content=statement, auth=(LOGIN, PASSWORD), timeout=300)
    assert response.status_code == 200, response.text
    return [tuple(json.loads(line)) for line in response.text.splitlines()]

"""Runs the provider's command line over what landed, as an auditor would, and over a copy that was tampered with."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from demo.layout import Layout

COMMAND_WITHIN_SECONDS = 120.0
# The manifest's own number of records, as its last field but one states it.
_RECORD_COUNT = re.compile(rb'"record_count":(\d+),"records_sha256"')


class AuditFailedError(Exception):
    """A command could not be done. The text has what it printed."""


@dataclass(frozen=True)
class Report:
    """What a command printed as JSON, with its exit status: 0 if all is well, 1 if something is wrong or missing."""

    status: int
    body: Any


def coverage(layout: Layout, days: Sequence[date]) -> Report:
    """Asks which windows of these days, oldest first, are committed as JSON Lines."""
    bounds = ("--start", days[0].isoformat(), "--end", (days[-1] + timedelta(days=1)).isoformat())
    return _run(layout, "coverage", str(layout.landed / "jsonl"), *bounds)


def verify(layout: Layout, folder: Path) -> Report:
    """Compares every object of a destination with its manifest."""
    return _run(layout, "verify", str(folder))


def _run(layout: Layout, *words: str) -> Report:
    command = [str(layout.python), "-m", "airflow_audit_provider.cli", *words, "--json"]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=COMMAND_WITHIN_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise AuditFailedError(f"The command {words[0]} took more than {error.timeout:.0f} seconds.") from error
    if ended.returncode not in {0, 1} or not ended.stdout:
        raise AuditFailedError(f"The command {words[0]} ended with {ended.returncode}:\n{ended.stderr}")
    return Report(ended.returncode, json.loads(ended.stdout))


def tampered_copy(layout: Layout, day: date) -> Path:
    """Copies the JSON Lines destination and changes one byte; returns the changed file.

    The byte is a digit: the first manifest of the day then states another number of records.
    """
    shutil.rmtree(layout.tampered, ignore_errors=True)
    shutil.copytree(layout.landed / "jsonl", layout.tampered)
    (path,) = (layout.tampered / "_manifests" / f"dt={day.isoformat()}").glob("*.g0001.json")
    path.write_bytes(with_other_count(path.read_bytes()))
    return path


def with_other_count(manifest: bytes) -> bytes:
    """Returns a manifest that differs in one byte, the last digit of its record count; raises ValueError."""
    found = _RECORD_COUNT.search(manifest)
    if found is None:
        raise ValueError("The manifest has no record count before its digest of the records.")
    place = found.end(1) - 1
    other = b"%d" % ((int(manifest[place : place + 1]) + 1) % 10)
    return manifest[:place] + other + manifest[place + 1 :]

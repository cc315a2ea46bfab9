"""DAG fragments in the pages build their tasks, with the imports that a reader would add."""

from __future__ import annotations

import hashlib
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.timetables.interval import CronDataIntervalTimetable

from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.operators import audit_logs, detect, report, warehouses
from airflow_audit_provider.sensors import audit_logs as sensors
from tests.docs.blocks import Block, all_blocks
from tests.pipelines.verify.dataset import two_days

_MODULES = (audit_logs, detect, report, warehouses, sensors)
CLASSES = {name: value for module in _MODULES for name, value in vars(module).items()}
IMPORTED = CLASSES | {"timedelta": timedelta, "CronDataIntervalTimetable": CronDataIntervalTimetable}
# Scripts and imports, which have tests of their own, and a loop over the API.
NO_TASKS = {
    "docs/auditors/check-without-this-package.md",
    "docs/how-to/read-committed-files.md",
    "docs/how-to/task-start.md",
    "docs/reference/hook.md",
}
FRAGMENTS = [
    block for block in all_blocks() if not (block.runs or block.quoted_from) and block.document not in NO_TASKS
]


def built(code: str) -> DAG:
    """Runs a fragment inside a DAG."""
    dag = DAG("fragment")
    with dag:
        exec(code, dict(IMPORTED))
    return dag


@pytest.mark.parametrize("block", FRAGMENTS, ids=[f"{block.document}:{block.line}" for block in FRAGMENTS])
def test_fragment_builds_its_tasks(block: Block) -> None:
    """The constructors accept every argument of the fragment."""
    assert built(block.code).task_ids


def test_wrong_argument_is_refused() -> None:
    """A fragment with an argument that the operator does not have fails."""
    with pytest.raises(TypeError, match="no_such_argument"):
        built('CloudflareAuditLogsToSqlOperator(task_id="load", destination="s3://audit", no_such_argument=1)')


def _reading_script(root: Path) -> str:
    (block,) = (block for block in all_blocks() if block.document == "docs/how-to/read-committed-files.md")
    assert '"/data/cloudflare-audit"' in block.code
    return block.code.replace('"/data/cloudflare-audit"', repr(str(root)))


@pytest.mark.integration
def test_reading_script_lists_committed_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The script prints a line for each window of a landed dataset, and fails on a changed part."""
    two_days(LocalStore(str(tmp_path)))
    code, names = _reading_script(tmp_path), dict[str, Any](hashlib=hashlib, json=json)
    exec(code, names)
    windows = list(tmp_path.glob("_manifests/*/*.g0001.json"))
    assert capsys.readouterr().out.count(" records, complete\n") == len(windows) > 1
    part = min(tmp_path.glob("dt=*/*/*"))
    part.write_bytes(part.read_bytes() + b" ")
    with pytest.raises(AssertionError):
        exec(code, names)

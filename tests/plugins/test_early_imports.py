"""The plugin imports the provider in a DAG processor and nowhere else."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.integration

ASK = """
import sys
{first}
from airflow_audit_provider.plugins.early_imports import EarlyImportsPlugin
EarlyImportsPlugin.on_load()
print("airflow_audit_provider.operators.audit_logs" in sys.modules)
"""


@pytest.mark.parametrize(
    ("first", "imports"),
    [("import airflow.dag_processing.manager", "True"), ("import airflow.sdk.execution_time.task_runner", "False")],
    ids=["DAG processor", "task"],
)
def test_plugin_imports_operators_only_in_dag_processor(first: str, imports: str) -> None:
    """Imports operators where the DAG processor's loop is loaded, and nothing in a task's process."""
    command = [sys.executable, "-c", ASK.format(first=first)]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=600, check=True)
    assert answer.stdout.splitlines()[-1] == imports

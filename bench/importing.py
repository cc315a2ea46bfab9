"""Measures what importing the operator adds to the imports that every Airflow operator has.

Invariant: both are imported in one new interpreter, one after the other, so that the speed of the machine cancels out.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from statistics import median

# Imports of a DAG file with any operator, hook, sensor and trigger of a provider.
ANY_OPERATOR = (
    "import airflow.sdk\n"
    "from airflow.providers.common.compat.sdk import AirflowNotFoundException, BaseHook, BaseOperator\n"
    "from airflow.providers.common.compat.sdk import BaseSensorOperator, ObjectStoragePath, conf\n"
    "from airflow.triggers.base import BaseTrigger, TriggerEvent\n"
)
ADDED = {
    "ours": "import airflow_audit_provider.operators.audit_logs",
    "HttpOperator": "import airflow.providers.http.operators.http",
}
_SCRIPT = """
import json, sys, time
exec(sys.argv[1])
modules, wall, cpu = len(sys.modules), time.perf_counter(), time.process_time()
exec(sys.argv[2])
wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
print(json.dumps([cpu * 1000, wall * 1000, len(sys.modules) - modules]))
"""


def measure_imports(environment: Mapping[str, str], run_count: int) -> dict[str, float]:
    """Returns the CPU milliseconds that each import adds, as the median of several new interpreters."""
    compiled = with_byte_code(environment)
    _added_ms(ADDED["ours"], compiled)  # compiles the byte code, so that the measured imports do not
    runs: dict[str, list[float]] = {name: [] for name in ADDED}
    for _ in range(run_count):
        for name, statement in ADDED.items():
            runs[name].append(_added_ms(statement, compiled))
    return {name: median(each) for name, each in runs.items()}


def with_byte_code(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns an environment that writes byte code, as installed packages have it.

    Without byte code this source tree would be compiled at each import, but the installed packages would not.
    """
    return {name: value for name, value in environment.items() if name != "PYTHONDONTWRITEBYTECODE"}


def _added_ms(statement: str, environment: Mapping[str, str]) -> float:
    command = [sys.executable, "-c", _SCRIPT, ANY_OPERATOR, statement]
    answer = subprocess.run(command, env=dict(environment), check=True, capture_output=True, text=True).stdout
    cpu_ms: float = json.loads(answer.splitlines()[-1])[0]
    return cpu_ms

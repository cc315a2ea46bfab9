"""A DAG that says in its description whether the provider was there before its file was parsed.

Knows: names of modules. Must not know: the provider, which it does not import.
Its one rule: what it says is decided while it is parsed.
"""

from __future__ import annotations

import sys

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

OPERATORS = ("operators.audit_logs", "operators.auditing", "operators.loading")
TAKEN = (*OPERATORS, "sensors.audit_logs", "triggers.audit_logs")
THERE = all(f"airflow_audit_provider.{name}" in sys.modules for name in TAKEN)

with DAG("imported_before", description="before the fork" if THERE else "not before the fork"):
    EmptyOperator(task_id="nothing")

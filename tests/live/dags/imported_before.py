"""DAG whose description states whether the provider was imported before this file was parsed.

Invariant: it does not import the provider itself.
"""

from __future__ import annotations

import sys

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG

OPERATORS = ("operators.audit_logs", "operators.seal", "operators.verify", "operators.warehouses")
TAKEN = (*OPERATORS, "sensors.audit_logs", "triggers.audit_logs")
THERE = all(f"airflow_audit_provider.{name}" in sys.modules for name in TAKEN)

with DAG("imported_before", description="before the fork" if THERE else "not before the fork"):
    EmptyOperator(task_id="nothing")

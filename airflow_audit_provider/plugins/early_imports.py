"""Plugin that imports the provider's operators, sensors and triggers once in the DAG processor.

The DAG processor loads plugins before it forks a process for each DAG file, so the modules are already imported in each
fork. Modules that only a run needs are not imported.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from airflow.providers.common.compat.sdk import AirflowPlugin

from airflow_audit_provider.get_provider_info import get_provider_info

# Only the DAG processor has this module loaded.
_DAG_PROCESSOR = "airflow.dag_processing.manager"


class EarlyImportsPlugin(AirflowPlugin):
    """Imports the provider's operators, sensors and triggers when a DAG processor loads its plugins.

    A fork's imports end with it, so without the plugin each parse of each file imports the modules again: 3 to 7 ms of
    CPU, up to a sixth of the time for an empty DAG (measured by ``tests/dags``). In other processes, such as a task's,
    the plugin imports nothing.
    """

    name = "cloudflare_audit_logs"

    @classmethod
    def on_load(cls, *_args: Any, **_kwargs: Any) -> None:
        """Imports each declared module; Airflow lists a failure among its plugin import errors."""
        if _DAG_PROCESSOR not in sys.modules:
            return
        declaration: Any = get_provider_info()
        for kind in ("operators", "sensors", "triggers"):
            for declared in declaration[kind]:
                for module in declared["python-modules"]:
                    import_module(module)

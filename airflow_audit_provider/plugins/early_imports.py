"""The plugin that has Airflow import what DAG files take from this provider, once and before it forks.

Knows: Airflow's plugins, and that its DAG processor loads them before it forks a process for each file.
Must not know: what is imported, beyond its names in the declaration.
Its one rule: declarations alone; what reads or writes stays out of every process that only parses.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

from airflow.providers.common.compat.sdk import AirflowPlugin

from airflow_audit_provider.get_provider_info import get_provider_info

# Where this is loaded, DAG files are parsed, each in a fork.
_DAG_PROCESSOR = "airflow.dag_processing.manager"


class EarlyImportsPlugin(AirflowPlugin):
    """Imports the provider's operators, sensors and triggers where a DAG processor loads its plugins.

    What a fork imports is gone with it, and each parse of each file would import it again: 3 to 7 ms of CPU, up to a
    sixth of what an empty DAG takes. Nowhere else is anything imported: a task's process loads the plugins as well.
    """

    name = "cloudflare_audit_logs"

    @classmethod
    def on_load(cls, *_args: Any, **_kwargs: Any) -> None:
        """Import each module the declaration names; Airflow lists a failure among its plugins' import errors."""
        if _DAG_PROCESSOR not in sys.modules:
            return
        declaration: Any = get_provider_info()
        for kind in ("operators", "sensors", "triggers"):
            for declared in declaration[kind]:
                for module in declared["python-modules"]:
                    import_module(module)

"""Migrates the database of each Airflow version once in a test process, and copies it for each further AIRFLOW_HOME.

`airflow db migrate` takes 10 to 15 seconds of CPU. Its result depends on the version alone.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from harness.airflow_instance import AirflowInstance

DATABASE, CONFIG = "airflow.db", "airflow.cfg"
_HOME_IN_CONFIG = "/the/airflow/home"
_templates: dict[str, Path] = {}


def create_database(instance: AirflowInstance, version: str) -> None:
    """Creates an AIRFLOW_HOME with an empty database of a version; raises CommandFailedError."""
    home = instance.folders.airflow_home
    if f"sqlite:///{home / DATABASE}" in instance.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"]:
        shutil.rmtree(home, ignore_errors=True)
        fill_home(home, version, instance.migrate)
    else:
        instance.migrate()


def fill_home(home: Path, version: str, migrate: Callable[[], object]) -> None:
    """Adds a configuration and an empty database of a version to a folder; `migrate` makes the first of a version."""
    template = _templates.get(version)
    if template is not None:
        _copy(template, home, _HOME_IN_CONFIG, str(home))
        return
    migrate()
    template = Path(tempfile.mkdtemp(prefix="airflow-database-")) / version
    atexit.register(shutil.rmtree, template.parent, ignore_errors=True)
    _copy(home, template, str(home), _HOME_IN_CONFIG)
    _templates[version] = template


def _copy(source: Path, target: Path, old: str, new: str) -> None:
    """Copies the database, and the configuration with its key; replaces `old` by `new` in the configuration."""
    target.mkdir(parents=True, exist_ok=True)
    shutil.copy(source / DATABASE, target / DATABASE)
    (target / CONFIG).write_text((source / CONFIG).read_text().replace(old, new))

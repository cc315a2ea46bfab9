"""The folders of one Airflow under test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.airflow_folders import AirflowFolders


@dataclass(frozen=True)
class Home(AirflowFolders):
    """The folders of an Airflow that writes below `folder` and runs in the virtual environment `environment`."""

    folder: Path
    environment: Path

    @property
    def root(self) -> Path:
        """The one folder this Airflow writes to."""
        return self.folder

    @property
    def venv(self) -> Path:
        """The virtual environment, which is only read."""
        return self.environment

    @property
    def dags(self) -> Path:
        """The copies of the DAG files a test asks for."""
        return self.folder / "dags"

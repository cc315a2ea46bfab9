"""Folders of one Airflow under test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.airflow_folders import AirflowFolders


@dataclass(frozen=True)
class Home(AirflowFolders):
    """Folders of an Airflow that writes below `folder` and runs in the virtual environment `environment`."""

    folder: Path
    environment: Path

    @property
    def root(self) -> Path:
        """The only folder that this Airflow writes to."""
        return self.folder

    @property
    def venv(self) -> Path:
        """The virtual environment, which is not written to."""
        return self.environment

    @property
    def dags(self) -> Path:
        """The copies of the DAG files that a test needs."""
        return self.folder / "dags"

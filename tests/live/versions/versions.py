"""The four Airflow versions that the provider is tested with.

Invariant: the first Python of a version is preferred; the others are used if it is missing.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

PROJECT = Path(__file__).resolve().parents[3]


class AirflowVersion(NamedTuple):
    """One Airflow version and the Pythons that it may run on, the preferred one first."""

    number: str
    pythons: tuple[str, ...]

    @property
    def lock(self) -> Path:
        """The lock file of this Airflow version."""
        return PROJECT / "requirements" / f"airflow-{self.number}.txt"

    def at_least(self, number: str) -> bool:
        """Returns whether this is that version or a later one."""
        mine, asked = ([int(part) for part in text.split(".")] for text in (self.number, number))
        return mine >= asked

    @property
    def folder(self) -> Path:
        """The folder in which its environment is kept between runs."""
        return PROJECT / ".matrix" / f"airflow-{self.number}"


VERSIONS = (
    AirflowVersion("3.0.6", ("3.11", "3.12")),
    AirflowVersion("3.1.8", ("3.12", "3.11", "3.13")),
    AirflowVersion("3.2.2", ("3.13", "3.12", "3.11")),
    AirflowVersion("3.3.2", ("3.12", "3.13", "3.11")),
)

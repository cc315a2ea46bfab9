"""Job that every contender gets, and its result.

Invariant: all contenders get the same job, as values.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple, Self

PRESENT = "2026-11-23T12:00:00Z"
DAY = datetime(2026, 11, 2, tzinfo=UTC)
PAGE_SIZE = 1000


class Job(NamedTuple):
    """Lands the records of ``[start, end)``, RFC 3339 texts, in a form (``jsonl.gz``, …) below an empty folder."""

    base_url: str
    account_id: str
    token: str
    form: str
    start: str
    end: str
    folder: str

    @property
    def path(self) -> str:
        """Path of the endpoint below the base URL."""
        return f"accounts/{self.account_id}/audit_logs"

    @property
    def headers(self) -> dict[str, str]:
        """Authorization header."""
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def params(self) -> dict[str, str | int]:
        """Query of every page, without the page number."""
        return {"since": self.start, "before": self.end, "per_page": PAGE_SIZE, "direction": "asc"}

    @property
    def target(self) -> Path:
        """File for a contender that writes a single file."""
        return Path(self.folder) / f"day.{self.form}"

    def of_first_minute(self, folder: str) -> Self:
        """Returns the job for the first minute alone, which pays for imports and set-up before the measurement."""
        return self._replace(end=instant(DAY + timedelta(minutes=1)), folder=folder)

    def to_text(self) -> str:
        """Returns the job as a line of JSON."""
        return json.dumps(self)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Parses the output of ``to_text``."""
        return cls(*json.loads(text))


# Runs a job and returns the number of landed records.
Contender = Callable[[Job], int]


def instant(moment: datetime) -> str:
    """Returns an instant in the format of the API."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def whole_day(base_url: str, account_id: str, token: str) -> Job:
    """Returns a job for the whole day, without form and folder."""
    return Job(base_url, account_id, token, "", instant(DAY), instant(DAY + timedelta(days=1)), "")

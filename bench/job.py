"""What every contender is asked to do, and what it answers.

Knows: the API's address, the credential, the range of time, the form, the folder. Must not know: any contender.
Its one rule: all contenders get the same job, as values.
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
    """Land the records of ``[start, end)``, RFC 3339 texts, in a form (``jsonl.gz``, …) below an empty folder."""

    base_url: str
    account_id: str
    token: str
    form: str
    start: str
    end: str
    folder: str

    @property
    def path(self) -> str:
        """The endpoint's path below the base URL."""
        return f"accounts/{self.account_id}/audit_logs"

    @property
    def headers(self) -> dict[str, str]:
        """The header that proves who asks."""
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def params(self) -> dict[str, str | int]:
        """The query of every page but for its number."""
        return {"since": self.start, "before": self.end, "per_page": PAGE_SIZE, "direction": "asc"}

    @property
    def target(self) -> Path:
        """The file for a contender that writes one."""
        return Path(self.folder) / f"day.{self.form}"

    def of_first_minute(self, folder: str) -> Self:
        """Return the same for the first minute alone: what it imports and sets up need not be paid again."""
        return self._replace(end=instant(DAY + timedelta(minutes=1)), folder=folder)

    def to_text(self) -> str:
        """Return the job as a line of JSON."""
        return json.dumps(self)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read what ``to_text`` wrote."""
        return cls(*json.loads(text))


# Does a job and returns how many records it landed.
Contender = Callable[[Job], int]


def instant(moment: datetime) -> str:
    """Return an instant as the API takes it."""
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def whole_day(base_url: str, account_id: str, token: str) -> Job:
    """Return a job for the whole day, still without form and folder."""
    return Job(base_url, account_id, token, "", instant(DAY), instant(DAY + timedelta(days=1)), "")

"""Official SDK with its auto-pagination, a thousand records a page.

Invariant: lines come from the SDK's ``to_json``, rows from its ``to_dict``.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from cloudflare import Cloudflare

from bench.contenders.writing import Page, write_lines, write_pages
from bench.job import PAGE_SIZE, Job


def pull(job: Job) -> int:
    """Lands the records of the job; returns their number."""
    with Cloudflare(api_token=job.token, base_url=job.base_url) as client:
        records = client.audit_logs.list(
            account_id=job.account_id, since=job.start, before=job.end, per_page=PAGE_SIZE, direction="asc"
        )
        if job.form == "parquet":
            return write_pages(job, _pages(iter(records)))
        return write_lines(job, (record.to_json(indent=None) for record in records))


def _pages(records: Iterator[Any]) -> Iterator[Page]:
    while page := [record.to_dict(mode="json") for record in islice(records, PAGE_SIZE)]:
        yield page

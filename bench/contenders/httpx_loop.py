"""Plain loop over httpx: page numbers until an empty page.

Invariant: the shortest loop that works.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

import httpx

from bench.contenders.writing import Page, write_pages
from bench.job import Job


def pull(job: Job) -> int:
    """Lands the records of the job; returns their number."""
    with httpx.Client(headers=job.headers, timeout=60.0) as client:
        return write_pages(job, _pages(client, job))


def _pages(client: httpx.Client, job: Job) -> Iterator[Page]:
    for number in count(1):
        answer = client.get(f"{job.base_url}/{job.path}", params={**job.params, "page": number})
        page: Page = answer.raise_for_status().json()["result"]
        if not page:
            return
        yield page

"""Airflow's ``HttpOperator``: page numbers by its ``pagination_function``, the file by its ``response_filter``.

Invariant: what its documentation offers for a paged API; the operator itself keeps every response until the end.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

from airflow.providers.http.operators.http import HttpOperator
from requests import Response

from bench.contenders.writing import Page, write_pages
from bench.job import Job


def pull(job: Job) -> int:
    """Lands the records of the job; returns their number."""
    os.environ["AIRFLOW_CONN_BENCH"] = json.dumps({"conn_type": "http", "host": job.base_url})
    operator = HttpOperator(
        task_id="land",
        http_conn_id="bench",
        method="GET",
        endpoint=job.path,
        data=job.params,
        headers=job.headers,
        pagination_function=_next_page,
        response_filter=lambda responses: write_pages(job, _pages(responses)),
    )
    return int(operator.execute({}))


def _next_page(response: Response) -> dict[str, Any] | None:
    """Requests the next page, until one is empty."""
    if not response.json()["result"]:
        return None
    page = 1 + int(response.request.url.partition("&page=")[2] or 1) if response.request.url else 1
    return {"data": {"page": page}}


def _pages(responses: list[Response]) -> Iterator[Page]:
    for response in responses:
        yield response.json()["result"]

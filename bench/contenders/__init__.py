"""Contenders: each is a module with ``pull`` that imports its libraries at the top.

Invariant: each follows its own documentation, without extra tuning.
"""

from __future__ import annotations

import importlib

from bench.job import Contender

# Module -> the forms that it supports; the first one is the form of the comparison.
FORMS: dict[str, tuple[str, ...]] = {
    "ours": ("jsonl.gz", "jsonl.zst", "parquet", "parquet normalized", "parquet ocsf", "duckdb", "iceberg"),
    "ours_in_task": ("jsonl.gz",),
    "sdk": ("jsonl.gz", "jsonl.zst", "parquet"),
    "sdk_alone": ("jsonl.gz", "jsonl.zst", "parquet"),
    "dlt_rest": ("jsonl.gz", "parquet normalized", "duckdb", "iceberg"),
    "http_operator": ("jsonl.gz", "jsonl.zst", "parquet"),
    "httpx_loop": ("jsonl.gz", "jsonl.zst", "parquet"),
}
TITLES = {
    "ours": "this provider, `pull_window`",
    "ours_in_task": "this provider, the operator's `execute`",
    "sdk": "the official `cloudflare` SDK",
    "sdk_alone": "the official `cloudflare` SDK, measured alone",
    "dlt_rest": "dlt, `rest_api` to `filesystem` or `duckdb`",
    "http_operator": "Airflow's `HttpOperator`",
    "httpx_loop": "a loop over httpx and `json`",
}


def load(name: str) -> Contender:
    """Imports a contender and returns its ``pull``."""
    contender: Contender = importlib.import_module(f"bench.contenders.{name}").pull
    return contender

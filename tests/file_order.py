"""The order in which parallel test processes take the files: the longest first.

A file is run by one process. A long file that begins last leaves the other processes without work until it ends.
"""

from __future__ import annotations

import pytest

# Rough seconds of the files that take more than a few, on a quiet machine; all others follow, as they are collected.
SECONDS = {
    "tests/dbt/test_package.py": 100,
    "tests/adapters/budget/test_sharing_processes.py": 80,
    "tests/adapters/storage/test_store_contract.py": 50,
    "tests/pipelines/load/test_commit_log.py": 20,
    "tests/dags/test_parsing.py": 35,
    "tests/adapters/storage/test_large_objects.py": 25,
    "tests/operators/test_every_store.py": 25,
    "tests/packaging/test_wheel.py": 25,
    "tests/pipelines/load/test_concurrent_loaders.py": 25,
    "tests/pipelines/pull/test_range_rules.py": 25,
    "tests/pipelines/load/test_duckdb_file.py": 20,
    "tests/_airflow/test_file_systems.py": 20,
    "tests/_airflow/coverage_page/test_access.py": 20,
    "tests/_airflow/coverage_page/test_browser.py": 20,
    "tests/operators/test_audit_logs_stitched.py": 20,
    "tests/pipelines/load/test_iceberg_rest_catalog.py": 20,
    "tests/pipelines/pull/test_completeness.py": 20,
    "tests/pipelines/pull/test_misbehaviours.py": 20,
    "tests/pipelines/pull/test_parallel.py": 20,
    "tests/pipelines/pull/test_range.py": 20,
    "tests/pipelines/pull/test_rate_limit.py": 20,
    "tests/pipelines/pull/test_request_counts.py": 20,
    "tests/pipelines/test_sweep.py": 20,
    "tests/pipelines/verify/test_every_damage.py": 15,
    "tests/pipelines/load/test_every_warehouse.py": 15,
}


def longest_files_first(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sorts tests by the time of their files in each of several processes; one process alone keeps their order."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: -SECONDS.get(item.nodeid.partition("::")[0], 0))

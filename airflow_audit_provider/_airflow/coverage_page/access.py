"""Decides who may see the page: Airflow's auth manager, asked as Airflow's own routes ask it.

Invariant: without a session the answer is 401, and without the right to read each asset of a dataset 403, as for a
dataset that does not exist; a dataset that the user may not read is in no list.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from airflow_audit_provider._airflow.coverage_page.sources import Source


def current_user() -> Any:
    """Returns the dependency of FastAPI that yields the user, or ends the request with 401."""
    from airflow.api_fastapi.core_api.security import get_user

    return get_user


def may_read(user: Any, source: Source) -> bool:
    """Returns whether a user may read each asset of a dataset; without an asset, whether assets in general."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.models.resource_details import AssetDetails

    is_authorized = get_auth_manager().is_authorized_asset
    # With the right to one of them, a user could create an asset with the URI of somebody else's dataset and read that.
    return all(
        is_authorized(method="GET", details=AssetDetails(id=asset_id), user=user)
        for asset_id in source.asset_ids or (None,)
    )


def may_read_assets(user: Any) -> bool:
    """Returns whether a user may read assets in general."""
    return may_read(user, Source("", ""))


def readable(user: Any, found: Iterable[Source]) -> list[Source]:
    """Returns the datasets that a user may read."""
    return [source for source in found if may_read(user, source)]


def may_read_runs(user: Any, dag_id: str) -> bool:
    """Returns whether a user may read the runs of a DAG."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails

    return bool(
        get_auth_manager().is_authorized_dag(
            method="GET", access_entity=DagAccessEntity.RUN, details=DagDetails(id=dag_id), user=user
        )
    )


def may_backfill(user: Any, dag_id: str) -> bool:
    """Returns whether a user may start runs of a DAG. Airflow's API decides again when the user does."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails

    return bool(
        get_auth_manager().is_authorized_dag(
            method="POST", access_entity=DagAccessEntity.RUN, details=DagDetails(id=dag_id), user=user
        )
    )

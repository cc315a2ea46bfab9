"""The view that pairs records of one action keeps every record once, and pairs as well as its page says."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from airflow_audit_provider.core.api.records import ApiVersion
from dags.cloudflare_audit_both_versions import ACTIONS_VIEW
from tests.architecture.source_files import PROJECT
from tests.docs import pairing
from tests.docs.paired_actions import Action, Faults, actions
from tests.pipelines.load.warehouses import new_target

PAGE = PROJECT / "docs" / "warehouses" / "both-versions.md"
HARD = Faults(timedelta(seconds=20), 0.3, 0.3, 0.5, 0.4, 0.3)


def _query(path: str, statement: str) -> list[tuple[Any, ...]]:
    with closing(duckdb.connect(path)) as database:
        return database.execute(statement).fetchall()


def _ids(made: Sequence[Action], version: ApiVersion) -> list[str]:
    ids = (pairing.record_id(one.v1 if version is ApiVersion.V1 else one.v2) for one in made)
    return sorted(each for each in ids if each is not None)


def test_generator_repeats_with_its_seed() -> None:
    """Another seed makes other records."""
    assert actions(50, 1, HARD) == actions(50, 1, HARD)
    assert actions(50, 1, HARD) != actions(50, 2, HARD)


@pytest.mark.integration
@pytest.mark.parametrize("seed", range(3))
def test_view_keeps_every_record_exactly_once(tmp_path: Path, seed: int) -> None:
    """However badly the records fit together."""
    made = actions(400, seed, HARD)
    path = pairing.in_duckdb(tmp_path, made)
    for version in ApiVersion:
        column = f"{version}_id"
        found = _query(path, f"select {column} from cloudflare_audit_actions where {column} is not null order by 1")
        assert [row[0] for row in found] == _ids(made, version)


@pytest.mark.integration
def test_page_has_the_view_and_its_figures(tmp_path: Path) -> None:
    """The first line of the table is measured here; `python -m tests.docs.pairing` prints all of it."""
    page = PAGE.read_text(encoding="utf-8")
    assert f"```sql{ACTIONS_VIEW}```" in page
    name, faults = next(iter(pairing.CASES.items()))
    made = actions(pairing.COUNT, pairing.SEED, faults)
    found = pairing.score(made, _query(pairing.in_duckdb(tmp_path, made), pairing.PAIRS))
    assert f"| {name} | {found.true_count:,} | {found.precision:.1%} | {found.recall:.1%} |" in page


@pytest.mark.integration
def test_equal_ray_ids_decide(tmp_path: Path) -> None:
    """Where version 1 states one: nothing wrong is paired, and nothing is missed."""
    made = actions(400, 1, Faults(timedelta(seconds=20), no_resource=0.5, no_actor=0.3, ray_in_v1=1.0))
    path = pairing.in_duckdb(tmp_path, made)
    found = pairing.score(made, _query(path, pairing.PAIRS))
    assert (found.precision, found.recall) == (1.0, 1.0)
    assert _query(path, "select distinct paired_by from cloudflare_audit_actions where paired_by is not null") == [
        ("ray",)
    ]


@pytest.mark.integration
def test_pair_has_the_change_of_version_1_and_the_request_of_version_2(tmp_path: Path) -> None:
    """What a reader needs both versions for."""
    made = actions(20, 1, Faults(timedelta(0), only_v1=0, only_v2=0, no_resource=0, no_actor=0))
    path = pairing.in_duckdb(tmp_path, made)
    rows = _query(
        path,
        "select before, after, request_method, ray_id, paired_by from cloudflare_audit_actions",
    )
    assert len(rows) == 20
    assert all(None not in row for row in rows)
    assert {row[4] for row in rows} == {"resource"}


@pytest.mark.integration
def test_records_of_two_histories_are_never_paired(tmp_path: Path) -> None:
    """A dataset that is no version of a history is kept too."""
    made = actions(20, 1, Faults(timedelta(0), only_v1=0, only_v2=0, no_resource=0, no_actor=0))
    path = pairing.in_duckdb(tmp_path, made)
    _query(path, "update cloudflare_audit_logs set dataset = 'file:///other' where api_version = 'v2'")
    counts = "select count(*), count(paired_by), count(v1_id), count(v2_id) from cloudflare_audit_actions"
    assert _query(path, counts) == [(40, 0, 20, 20)]


@pytest.mark.integration
def test_second_load_of_a_history_changes_nothing(tmp_path: Path) -> None:
    """Each version has a ledger of its own, in one table."""
    target = new_target("duckdb", tmp_path, dict)
    root = pairing.landed(tmp_path / "history", actions(50, 1))
    for expected in (2, 0):
        with closing(target.open()) as warehouse:
            assert len(pairing.loaded(root, warehouse).loaded) == expected
    assert {row[0] for row in target.query(f"select dataset || api_version from {target.table}")} == {
        "file:///history/v1v1",
        "file:///history/v2v2",
    }


@pytest.mark.integration
def test_view_has_the_same_rows_on_postgresql(tmp_path: Path, postgres: dict[str, object]) -> None:
    """The SQL is the same."""
    made = actions(300, 1, HARD)
    path = pairing.in_duckdb(tmp_path, made)
    target = new_target("psycopg", tmp_path, lambda: postgres)._replace(table="cloudflare_audit_logs")
    with closing(target.open()) as warehouse:
        pairing.loaded(tmp_path / "history", warehouse)
    target.query(ACTIONS_VIEW)
    statement = "select v1_id, v2_id, paired_by, actor_email, resource_id from cloudflare_audit_actions"
    assert sorted(target.query(statement), key=repr) == sorted(_query(path, statement), key=repr)
    target.query("drop view cloudflare_audit_actions")
    target.drop()


@pytest.mark.integration
def test_iceberg_table_has_both_versions(tmp_path: Path) -> None:
    """As one table with the version in a column."""
    target = new_target("iceberg", tmp_path, dict)
    made = actions(50, 1)
    with closing(target.open()) as warehouse:
        pairing.loaded(pairing.landed(tmp_path / "history", made), warehouse)
    assert target.ids() == sorted(_ids(made, ApiVersion.V1) + _ids(made, ApiVersion.V2))

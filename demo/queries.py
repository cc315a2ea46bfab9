"""Queries the landed files with DuckDB as an analyst would: by glob, with `dt` as a column.

The SQL that runs is the SQL that is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb

JSONL = """read_json('{landed}/jsonl/dt=*/**/*.jsonl.gz', hive_partitioning = true, format = 'newline_delimited',
    columns = {{id: 'VARCHAR', "when": 'VARCHAR', action: 'STRUCT(type VARCHAR, result BOOLEAN)',
               actor: 'STRUCT(email VARCHAR, type VARCHAR)', resource: 'STRUCT(type VARCHAR)'}})"""
PARQUET = "read_parquet('{landed}/parquet/dt=*/**/*.parquet', hive_partitioning = true)"

ACTORS = """
select coalesce(actor.email, actor.type, 'unknown') as actor,
       count(*) as actions,
       count(*) filter (where not action.result) as refused,
       count(distinct action.type) as kinds,
       max(dt)::varchar as last_seen
from {jsonl}
group by 1 order by 2 desc, 1 limit 6"""

ACTIONS = """
select action_type as action, resource_type as resource,
       count(*) as records,
       count(*) filter (where not action_succeeded) as refused,
       count(distinct dt) as days
from {parquet}
group by 1, 2 order by 3 desc, 1 limit 6"""

PER_DAY = """
select dt::varchar as day,
       count(*) filter (where coalesce(action.result, true)) as done,
       count(*) filter (where not coalesce(action.result, true)) as refused
from {jsonl}
group by 1 order by 1"""


@dataclass(frozen=True)
class Answer:
    """The columns and rows of a query."""

    columns: Sequence[str]
    rows: Sequence[tuple[object, ...]]


def ask(query: str, landed: Path) -> Answer:
    """Runs one of this module's queries over the files below `landed`."""
    with duckdb.connect() as database:
        database.execute("set TimeZone = 'UTC'")
        answer = database.execute(with_paths(query, landed))
        return Answer([column[0] for column in answer.description or []], answer.fetchall())


def with_paths(query: str, landed: Path) -> str:
    """Returns the SQL as it runs, with the paths of the files."""
    sources = {"jsonl": JSONL.format(landed=landed), "parquet": PARQUET.format(landed=landed)}
    return query.format(**sources).strip()


def abridged(query: str) -> str:
    """Returns the SQL as it is shown: the same, with short paths."""
    return query.format(jsonl="'jsonl/dt=*/**/*.jsonl.gz'", parquet="'parquet/dt=*/**/*.parquet'").strip()


def refused_per_day(landed: Path) -> dict[str, Sequence[int]]:
    """Returns the numbers of successful and refused actions of each day with records."""
    return {str(day): (int(str(done)), int(str(refused))) for day, done, refused in ask(PER_DAY, landed).rows}

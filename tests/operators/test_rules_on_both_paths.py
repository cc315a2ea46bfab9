"""A rule gives the same answer for an event of the trigger and for the table of a warehouse."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from airflow_audit_provider.core.api.records import ApiVersion, read_records
from airflow_audit_provider.formats.sigma.matching import find_matches, normalized_rows
from airflow_audit_provider.formats.sigma.rules import EachRecord
from airflow_audit_provider.hooks import cloudflare as hooks
from airflow_audit_provider.operators.warehouses import CloudflareAuditLogsToSqlOperator
from tests.formats.sigma.rule_cases import bundled_rules, cases_of
from tests.operators.trigger_setup import NOON, TriggerSetup, event_trigger, first_payloads

RULES = bundled_rules()
Answer = set[tuple[str, str]]


def _add_cases(trigger_setup: TriggerSetup, version: ApiVersion) -> None:
    """Adds the last record of each case of the rules that judge each record alone, all within ten minutes."""
    cases = [case for rule in RULES if isinstance(rule.pattern, EachRecord) for case in cases_of(rule.path.stem)]
    for number, case in enumerate(case for case in cases if case.version is version):
        record = json.loads(case.records[-1].raw)
        when = (NOON - timedelta(minutes=10) + timedelta(seconds=number)).strftime("%Y-%m-%dT%H:%M:%SZ")
        place, name = (record, "when") if version is ApiVersion.V1 else (record["action"], "time")
        place[name] = when
        trigger_setup.task_setup.fake.add(json.dumps(record).encode(), str(version))


def _by_event(trigger_setup: TriggerSetup, version: ApiVersion) -> Answer:
    """Runs the rules as a DAG does that an event of the trigger starts."""
    (payload,) = first_payloads(event_trigger(filters=None, api_version=str(version)))
    hook = hooks.CloudflareHook()
    seconds = {"since": payload["window_start"], "before": payload["window_end"]}
    parameters: dict[str, Any] = {"api_version": str(version), "direction": "asc", **seconds}
    read = hook.iter_audit_logs(**parameters)
    records = read_records(version, [json.dumps(record).encode() for record in read])
    assert len(records) == payload["record_count"]
    return {(match.rule.id, match.record_id) for match in find_matches(RULES, normalized_rows(version, records))}


def _by_table(trigger_setup: TriggerSetup, version: ApiVersion, file: Path) -> Answer:
    """Lands the hour, loads it into DuckDB, and runs each rule's own query there."""
    setup = trigger_setup.task_setup
    for clock in (setup.clock, trigger_setup.clock):
        clock.advance((NOON + timedelta(days=1) - clock.now()).total_seconds())
    setup.land(api_version=str(version), window_start=NOON - timedelta(hours=1), window_end=NOON, schema="normalized")
    load = CloudflareAuditLogsToSqlOperator(
        task_id="load", destination=f"file://{setup.destination}", duckdb_path=str(file)
    )
    load.execute({})
    with duckdb.connect(str(file)) as database:
        database.execute("SET TimeZone = 'Asia/Tokyo'")
        return {
            (rule.id, row[0])
            for rule in RULES
            for row in database.execute(rule.to_sql("cloudflare_audit_logs")).fetchall()
        }


@pytest.mark.integration
@pytest.mark.parametrize("version", list(ApiVersion))
def test_event_and_table_give_the_same_alerts(trigger_setup: TriggerSetup, tmp_path: Path, version: ApiVersion) -> None:
    """Rules run on the records of an event and on the loaded table fire for the same records."""
    _add_cases(trigger_setup, version)
    by_event = _by_event(trigger_setup, version)
    assert len({rule for rule, _ in by_event}) >= 30
    assert _by_table(trigger_setup, version, tmp_path / "logs.duckdb") == by_event

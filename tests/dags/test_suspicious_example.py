"""The example reports every suspicious action, including those that an event only counts."""

from __future__ import annotations

import importlib.util
from datetime import timedelta
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from airflow_audit_provider.triggers.audit_logs import AuditLogActivityEventTrigger
from tests.architecture.source_files import PROJECT
from tests.operators.trigger_setup import NOON, TriggerSetup, first_payloads
from tests.pipelines.pull.landing import record_at


@pytest.fixture
def example(trigger_setup: TriggerSetup) -> ModuleType:
    """The example's module."""
    spec = importlib.util.spec_from_file_location("suspicious", PROJECT / "dags" / "cloudflare_audit_suspicious.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _reported(example: ModuleType, *payloads: dict[str, Any]) -> list[str]:
    """Runs the example's task as a run that was started by these payloads."""
    events = [SimpleNamespace(extra={"payload": payload}) for payload in payloads]
    found: list[str] = example.report_actions.function(triggering_asset_events={"asset": events})
    return found


def _add(trigger_setup: TriggerSetup, count: int, action: str) -> list[str]:
    """Adds records of an action within the same minutes; returns their ids in order."""
    whens = [NOON - timedelta(minutes=5) + timedelta(seconds=number) for number in range(count)]
    raws = [record_at(when.isoformat(), f"{action}-{at:02}", action=action) for at, when in enumerate(whens)]
    return [trigger_setup.task_setup.fake.add(raw).id for raw in raws]


@pytest.mark.parametrize("count", [1, 20, 25])
def test_every_suspicious_action_is_reported(example: ModuleType, trigger_setup: TriggerSetup, count: int) -> None:
    """The task reads the records that an event counts and does not list, by the watcher's filter."""
    ids = _add(trigger_setup, count, "token_create")
    _add(trigger_setup, count, "login")
    (payload,) = first_payloads(AuditLogActivityEventTrigger(filters=example.SUSPICIOUS))
    assert (payload["record_count"], len(payload["records"])) == (count, min(count, 20))
    assert _reported(example, payload) == ids


@pytest.mark.parametrize("count", [2, 25])
def test_missing_record_fails_the_report(example: ModuleType, trigger_setup: TriggerSetup, count: int) -> None:
    """The task fails if the log does not have an action that an event reported."""
    _add(trigger_setup, count, "token_create")
    (payload,) = first_payloads(AuditLogActivityEventTrigger(filters=example.SUSPICIOUS))
    lost = {**payload, "records": [{**payload["records"][0], "id": "lost"}, *payload["records"][1:]]}
    for wrong in (lost, {**payload, "record_count": count + 1}):
        with pytest.raises(RuntimeError, match="does not show every reported record"):
            _reported(example, wrong)

"""Tests that the event trigger reports each new record at least once, with one shared poll for all watchers."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat import connection as compat
from airflow.providers.common.compat.module_loading import import_string

from airflow_audit_provider.core.api.query import audit_query
from airflow_audit_provider.core.api.records import AuditRecord
from airflow_audit_provider.core.watch.new_records import NewRecords, WatchPosition
from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.testing.settings import ACCOUNT_ID
from airflow_audit_provider.triggers import shared_stream
from airflow_audit_provider.triggers.audit_logs import AuditLogActivityEventTrigger
from airflow_audit_provider.triggers.shared_stream import PollForever, SharedPollProducer
from tests.operators.trigger_setup import (
    LATE,
    NOON,
    StateStore,
    TriggerSetup,
    event_trigger,
    first_payloads,
    ids_of,
    shared_payloads,
)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_new_records_are_reported_once_at_next_poll(trigger_setup: TriggerSetup, version: str) -> None:
    """Reports new records in one event at the next poll, and never again."""
    trigger_setup.clock.at = {
        2: lambda: trigger_setup.add("one", version) and trigger_setup.add("two", version, 3),
        5: lambda: trigger_setup.add("three", version),
    }
    first, second = first_payloads(event_trigger(api_version=version), 2)
    assert (ids_of(first), ids_of(second)) == (["two", "one"], ["three"])
    assert trigger_setup.clock.sleeps == [60.0] * 5
    assert (first["record_count"], first["actions"], first["scope_id"]) == (2, {"late": 2}, ACCOUNT_ID)


def test_first_start_reports_records_of_the_lookback(trigger_setup: TriggerSetup) -> None:
    """Starts one lookback before now if no position is stored, and not earlier."""
    trigger_setup.add("early", minutes_ago=16)
    trigger_setup.add("recent", minutes_ago=14)
    (payload,) = first_payloads(event_trigger())
    assert ids_of(payload) == ["recent"]


def test_restart_continues_from_the_stored_position(trigger_setup: TriggerSetup) -> None:
    """Continues from the stored position, however old it is."""
    state = StateStore()
    trigger_setup.clock.at = {1: lambda: trigger_setup.add("one"), 4: lambda: trigger_setup.add("two")}
    assert [ids_of(payload) for payload in first_payloads(event_trigger(state), 2)] == [["one"], ["two"]]
    trigger_setup.add("while_away", minutes_ago=0)
    trigger_setup.clock.advance(86_400)
    # "two" may not be stored yet: it is reported again rather than lost.
    trigger_setup.clock.at = {}
    assert [ids_of(payload) for payload in first_payloads(event_trigger(state))] == [["two", "while_away"]]
    assert len(state.values) == 1


def test_watchers_with_other_filters_have_other_positions() -> None:
    """The key of a position depends on the log and the filters, not on the poll interval."""
    triggers_ = [
        event_trigger(),
        event_trigger(poll_interval_seconds=5),
        event_trigger(filters=None),
        event_trigger(api_version="v2"),
    ]
    keys = [trigger._positions()._key for trigger in triggers_]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


@pytest.mark.parametrize("filters", [LATE, None])
def test_record_read_by_the_hook_matches_as_in_the_trigger(trigger_setup: TriggerSetup, filters: Any) -> None:
    """``matches`` decides the same for a record that the hook has read."""
    trigger_setup.add("one")
    (record,) = trigger_setup.task_setup.hook().iter_audit_logs(since=NOON - timedelta(hours=1), before=NOON)
    assert event_trigger(filters=filters).matches(record)
    assert event_trigger(filters={"action_type": "other"}).matches(record) is False


def test_watchers_with_different_filters_share_one_poll(
    trigger_setup: TriggerSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two watchers in Airflow's shared stream send one poll; each has its own position."""
    readings: list[SharedPollProducer] = []

    def counted(poll_forever: PollForever) -> SharedPollProducer:
        readings.append(SharedPollProducer(poll_forever))
        return readings[-1]

    monkeypatch.setattr(shared_stream, "SharedPollProducer", counted)
    one, other = StateStore(), StateStore()
    trigger_setup.clock.at = {
        2: lambda: trigger_setup.add("one"),
        4: lambda: trigger_setup.add("two"),
        9: lambda: trigger_setup.add("three"),
    }
    payloads = asyncio.run(
        shared_payloads([event_trigger(one), event_trigger(other, filters={"id": ["two", "three"]})], [3, 2])
    )
    assert [ids_of(payload) for payload in payloads[0]] == [["one"], ["two"], ["three"]]
    assert [ids_of(payload) for payload in payloads[1]] == [["two"], ["three"]]
    assert len(readings) == 1
    assert one.values
    assert other.values


def test_connection_is_read_in_a_thread_before_airflow_3_3(
    trigger_setup: TriggerSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reads the connection in a thread where Airflow cannot read it on the loop."""
    monkeypatch.delattr(compat, "get_async_extra_dejson")
    monkeypatch.delattr(compat, "get_async_connection")
    trigger_setup.add("one")
    assert ids_of(first_payloads(event_trigger())[0]) == ["one"]


def test_shared_stream_key_ignores_filters() -> None:
    """The key depends on the connection, the log and the poll schedule."""
    key = event_trigger().shared_stream_key()
    assert event_trigger(filters=None).shared_stream_key() == key
    for change in ({"cloudflare_conn_id": "x"}, {"api_version": "v2"}, {"poll_interval_seconds": 5.0}):
        assert event_trigger(**change).shared_stream_key() != key


def test_trigger_survives_serialization() -> None:
    """The serialized trigger builds an equal trigger, under the documented path."""
    path, arguments = event_trigger(filters=[{"action_type": ["a"]}, {"id": "b"}], lookback_seconds=60.0).serialize()
    assert path == "airflow_audit_provider.triggers.audit_logs.AuditLogActivityEventTrigger"
    assert import_string(path)(**arguments).serialize() == (path, arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"filters": {"action_typ": "x"}}, "action_type"), ({"api_version": "v3"}, "v3"),
        ({"account_id": "x"}, "account_id"), ({"poll_interval_seconds": 0}, "poll_interval_seconds"),
        ({"lookback_seconds": -1}, "lookback_seconds"), ({"scope": "user", "api_version": "v2"}, "user"),
    ],
)  # fmt: skip
def test_invalid_argument_fails_at_dag_parse(arguments: dict[str, Any], words: str) -> None:
    """Rejects arguments that no triggerer could use."""
    with pytest.raises(ConfigurationError, match=words):
        AuditLogActivityEventTrigger(**arguments)


def _organization_records() -> NewRecords:
    records = [
        AuditRecord(number, str(number), f'{{"id":"{number}","zone":{{"name":"{zone}"}}}}'.encode())
        for number, zone in enumerate(("example.com", "example.org"))
    ]
    return NewRecords(audit_query(None, None, organization_id="o"), records, WatchPosition(0), is_complete=True)


def test_filter_of_a_connection_with_only_an_organization_is_that_of_version_2() -> None:
    """The connection decides the version in the triggerer, and the filter reads version 2's fields."""
    trigger = event_trigger(filters={"zone_name": "example.com"})
    assert [record.id for record in trigger._pick(_organization_records())] == ["0"]


def test_filter_that_version_2_does_not_have_withholds_no_record() -> None:
    """Every record is reported, with a warning that says what to correct."""
    trigger = event_trigger(filters={"interface": "API"})
    assert len(trigger._pick(_organization_records())) == 2

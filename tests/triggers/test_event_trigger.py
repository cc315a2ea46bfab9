"""The event trigger tells an asset watcher of new records: each at least once, shared, and whatever goes wrong."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from airflow.providers.common.compat import connection as compat
from airflow.providers.common.compat.module_loading import import_string

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
def test_new_records_are_told(trigger_setup: TriggerSetup, version: str) -> None:
    """A record is told at the look after it came, in one event with all that came with it, and never again."""
    trigger_setup.clock.at = {
        2: lambda: trigger_setup.add("one", version) and trigger_setup.add("two", version, 3),
        5: lambda: trigger_setup.add("three", version),
    }
    first, second = first_payloads(event_trigger(api_version=version), 2)
    assert (ids_of(first), ids_of(second)) == (["two", "one"], ["three"])
    assert trigger_setup.clock.sleeps == [60.0] * 5
    assert (first["record_count"], first["actions"], first["scope_id"]) == (2, {"late": 2}, ACCOUNT_ID)


def test_what_happened_just_before_the_start_is_told(trigger_setup: TriggerSetup) -> None:
    """Without a mark a watcher begins the lookback before now, and not earlier."""
    trigger_setup.add("early", minutes_ago=16)
    trigger_setup.add("recent", minutes_ago=14)
    (payload,) = first_payloads(event_trigger())
    assert ids_of(payload) == ["recent"]


def test_a_mark_leads_on(trigger_setup: TriggerSetup) -> None:
    """A watcher started anew goes on from the mark that is kept, however long it is away."""
    state = StateStore()
    trigger_setup.clock.at = {1: lambda: trigger_setup.add("one"), 4: lambda: trigger_setup.add("two")}
    assert [ids_of(payload) for payload in first_payloads(event_trigger(state), 2)] == [["one"], ["two"]]
    trigger_setup.add("while_away", minutes_ago=0)
    trigger_setup.clock.advance(86_400)
    # "two" may not be stored yet: it is told again rather than lost.
    trigger_setup.clock.at = {}
    assert [ids_of(payload) for payload in first_payloads(event_trigger(state))] == [["two", "while_away"]]
    assert len(state.values) == 1


def test_watchers_with_other_filters_have_other_positions() -> None:
    """The mark's key belongs to the log and the filters, not to how often is original."""
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
def test_a_record_read_back_is_judged_alike(trigger_setup: TriggerSetup, filters: Any) -> None:
    """Whoever reads a record through the hook can ask whether a watcher told of it."""
    trigger_setup.add("one")
    (record,) = trigger_setup.task_setup.hook().iter_audit_logs(since=NOON - timedelta(hours=1), before=NOON)
    assert event_trigger(filters=filters).matches(record)
    assert event_trigger(filters={"action_type": "other"}).matches(record) is False


def test_one_reading_serves_all_its_watchers(trigger_setup: TriggerSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    """In Airflow's own shared stream two watchers with different filters cost one reading, and each keeps its mark."""
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


def test_older_airflow_reads_the_connection_too(trigger_setup: TriggerSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Airflow cannot read a connection on the loop, as before 3.3, a thread does."""
    monkeypatch.delattr(compat, "get_async_extra_dejson")
    monkeypatch.delattr(compat, "get_async_connection")
    trigger_setup.add("one")
    assert ids_of(first_payloads(event_trigger())[0]) == ["one"]


def test_a_key_is_shared_by_what_reads_the_same() -> None:
    """Filters do not matter for sharing; the connection, the log and the rhythm do."""
    key = event_trigger().shared_stream_key()
    assert event_trigger(filters=None).shared_stream_key() == key
    for change in ({"cloudflare_conn_id": "x"}, {"api_version": "v2"}, {"poll_interval_seconds": 5.0}):
        assert event_trigger(**change).shared_stream_key() != key


def test_a_trigger_survives_its_journey() -> None:
    """What a trigger writes down builds the same trigger again, under the documented path."""
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
def test_a_wrong_watcher_fails_the_parsing(arguments: dict[str, Any], words: str) -> None:
    """What no triggerer could make good is refused when the DAG is parsed."""
    with pytest.raises(ConfigurationError, match=words):
        AuditLogActivityEventTrigger(**arguments)

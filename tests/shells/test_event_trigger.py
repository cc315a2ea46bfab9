"""The event trigger tells an asset watcher of new records: each at least once, shared, and whatever goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.providers.common.compat import connection as compat
from airflow.providers.common.compat.module_loading import import_string
from airflow.triggers.shared_stream import SharedStreamManager

from airflow_audit_provider import watching
from airflow_audit_provider.core.news import Mark
from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.hooks.cloudflare import CloudflareHook
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.settings import ACCOUNT_ID, Settings
from airflow_audit_provider.testing.transport import FakeTransport
from airflow_audit_provider.triggers import audit_logs as triggers
from airflow_audit_provider.triggers.audit_logs import AuditLogActivityEventTrigger
from airflow_audit_provider.triggers.shared_news import Follow, NewsProducer
from tests.pipeline.landing import record_at
from tests.shells.worlds import World

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
LATE = {"action_type": "late"}
PATIENCE_SECONDS = 20.0


class Script(ManualClock):
    """A clock on which things happen at given sleeps, and which lets others run while it sleeps."""

    def __init__(self) -> None:
        super().__init__(NOON)
        self.at: dict[int, Callable[[], object]] = {}

    async def asleep(self, seconds: float) -> None:
        """Sleep, let happen what is due, and let everybody go on."""
        await super().asleep(seconds)
        self.at.get(len(self.sleeps), lambda: None)()
        for _ in range(20):
            await asyncio.sleep(0)


class StateStore:
    """What Airflow 3.3 gives a trigger for its asset; fails as often as told."""

    def __init__(self, failures: int = 0) -> None:
        self.values: dict[str, Any] = {}
        self.failures = failures

    async def aget(self, key: str) -> Any:
        """Return a value, None where there is none."""
        self._stumble()
        return self.values.get(key)

    async def aset(self, key: str, value: Any) -> None:
        """Keep a value."""
        self._stumble()
        self.values[key] = value

    def _stumble(self) -> None:
        self.failures -= 1
        if self.failures >= 0:
            raise RuntimeError("the supervisor does not answer")


class Stage:
    """A world whose triggers run on a script."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world = world
        self.script = Script()
        world.fake = FakeCloudflare(self.script.now, Settings(records_per_day=0))
        built = functools.partial(CloudflareHook, transport=FakeTransport(world.fake))
        monkeypatch.setattr(triggers, "CloudflareHook", built)
        monkeypatch.setattr(triggers, "SystemClock", lambda: self.script)

    def add(self, record_id: str, version: str = "v1", minutes_ago: float = 0.5) -> str:
        """Let a record be there now that happened some minutes ago; return its id."""
        when = self.script.now() - timedelta(minutes=minutes_ago)
        return self.world.fake.add(record_at(when.isoformat(), record_id, version), version).id

    def misbehave(self, *specs: str) -> Callable[[], None]:
        """Return what lets the fake misbehave so from then on."""
        return lambda: self.world.misbehave(*specs)


@pytest.fixture
def stage(world: World, monkeypatch: pytest.MonkeyPatch) -> Stage:
    """A stage on the usual world; a failed request is not tried again within a look."""
    world.connect(extra={"account_id": ACCOUNT_ID, "max_attempts": 1, "max_retry_seconds": 1})
    return Stage(world, monkeypatch)


def _trigger(state: StateStore | None = None, **changes: Any) -> AuditLogActivityEventTrigger:
    found = AuditLogActivityEventTrigger(**{"filters": LATE, **changes})
    found.asset_state_store = state  # type: ignore[assignment]  # as much of it as is used
    return found


def _ids(payload: dict[str, Any]) -> list[str]:
    return [each["id"] for each in payload["records"]]


async def _until(events: AsyncIterator[Any], count: int) -> list[dict[str, Any]]:
    """Return the payloads of the first events."""
    async with asyncio.timeout(PATIENCE_SECONDS), contextlib.aclosing(events):  # type: ignore[type-var]  # a generator
        found = []
        async for event in events:
            found.append(event.payload)
            if len(found) == count:
                break
    return found


def _first(trigger: AuditLogActivityEventTrigger, count: int = 1) -> list[dict[str, Any]]:
    return asyncio.run(_until(trigger.run(), count))


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_new_records_are_told(stage: Stage, version: str) -> None:
    """A record is told at the look after it came, in one event with all that came with it, and never again."""
    stage.script.at = {
        2: lambda: stage.add("one", version) and stage.add("two", version, 3),
        5: lambda: stage.add("three", version),
    }
    first, second = _first(_trigger(api_version=version), 2)
    assert (_ids(first), _ids(second)) == (["two", "one"], ["three"])
    assert stage.script.sleeps == [60.0] * 5
    assert (first["record_count"], first["actions"], first["scope_id"]) == (2, {"late": 2}, ACCOUNT_ID)


def test_what_happened_just_before_the_start_is_told(stage: Stage) -> None:
    """Without a mark a watcher begins the lookback before now, and not earlier."""
    stage.add("early", minutes_ago=16)
    stage.add("recent", minutes_ago=14)
    (told,) = _first(_trigger())
    assert _ids(told) == ["recent"]


def test_failures_are_outlived(stage: Stage) -> None:
    """An outage and a refused credential cost pauses that grow; afterwards nothing in between is missing."""
    stage.script.at = {
        1: stage.misbehave("status=503"),
        2: lambda: stage.add("meanwhile", minutes_ago=0),
        3: stage.misbehave("status=401"),
        5: stage.misbehave(),
    }
    (told,) = _first(_trigger())
    assert _ids(told) == ["meanwhile"]
    assert stage.script.sleeps == [60.0, 120.0, 240.0, 480.0, 600.0]
    assert [asked.status for asked in stage.world.fake.requests].count(401) == 2


def test_a_mended_connection_is_noticed(stage: Stage) -> None:
    """A connection that is missing or wrong is read anew at every look after a failure."""
    stage.script.at = {2: lambda: stage.world.connect("late_conn"), 3: lambda: stage.add("one")}
    (told,) = _first(_trigger(cloudflare_conn_id="late_conn"))
    assert _ids(told) == ["one"]


def test_an_error_nobody_thought_of_is_outlived(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even a defect ends no watcher, which Airflow would restart every two seconds; it is an error in the log."""
    broken = [ZeroDivisionError("?"), ZeroDivisionError("?")]
    looked = watching.alook_for_news

    def sometimes(*arguments: Any) -> Awaitable[Any]:
        if broken:
            raise broken.pop()
        return looked(*arguments)

    monkeypatch.setattr(triggers, "alook_for_news", sometimes)
    stage.script.at = {3: lambda: stage.add("one")}
    assert _ids(_first(_trigger())[0]) == ["one"]
    assert stage.script.sleeps == [120.0, 240.0, 60.0]


def test_a_mark_leads_on(stage: Stage) -> None:
    """A watcher started anew goes on from the mark that is kept, however long it is away."""
    state = StateStore()
    stage.script.at = {1: lambda: stage.add("one"), 4: lambda: stage.add("two")}
    assert [_ids(told) for told in _first(_trigger(state), 2)] == [["one"], ["two"]]
    stage.add("while_away", minutes_ago=0)
    stage.script.advance(86_400)
    # "two" may not be stored yet: it is told again rather than lost.
    stage.script.at = {}
    assert [_ids(told) for told in _first(_trigger(state))] == [["two", "while_away"]]
    assert len(state.values) == 1


def test_watchers_with_other_filters_have_other_marks() -> None:
    """The mark's key belongs to the log and the filters, not to how often is looked."""
    triggers_ = [_trigger(), _trigger(poll_interval_seconds=5), _trigger(filters=None), _trigger(api_version="v2")]
    keys = [trigger._marks()._key for trigger in triggers_]
    assert keys[0] == keys[1]
    assert len(set(keys)) == 3


def test_a_store_that_fails_is_asked_again(stage: Stage) -> None:
    """To begin without the mark could lose records, so it is waited for; what is not kept does no harm."""
    state = StateStore(failures=3)
    stage.script.at = {5: lambda: stage.add("one")}
    assert _ids(_first(_trigger(state))[0]) == ["one"]
    assert stage.script.sleeps[:3] == [120.0, 240.0, 480.0]


def test_one_reading_serves_all_its_watchers(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """In Airflow's own shared stream two watchers with different filters cost one reading, and each keeps its mark."""
    readings: list[NewsProducer] = []

    def counted(follow: Follow) -> NewsProducer:
        readings.append(NewsProducer(follow))
        return readings[-1]

    monkeypatch.setattr(triggers, "NewsProducer", counted)
    one, other = StateStore(), StateStore()
    stage.script.at = {2: lambda: stage.add("one"), 4: lambda: stage.add("two"), 9: lambda: stage.add("three")}
    told = asyncio.run(_shared([_trigger(one), _trigger(other, filters={"id": ["two", "three"]})], [3, 2]))
    assert [_ids(payload) for payload in told[0]] == [["one"], ["two"], ["three"]]
    assert [_ids(payload) for payload in told[1]] == [["two"], ["three"]]
    assert len(readings) == 1
    assert one.values
    assert other.values


def test_a_mark_waits_until_its_event_is_stored(stage: Stage) -> None:
    """Looks go on while Airflow has not stored an event, but no mark past it is kept, so that a crash loses nothing."""
    state = StateStore()
    stage.script.at = {count: functools.partial(stage.add, f"r{count}") for count in (1, 4, 8)}
    asyncio.run(_shared([_trigger(state)], [3], is_stored=False))
    kept = [Mark.from_state(value) for value in state.values.values()]
    assert all(mark is not None and not mark.seen for mark in kept)


async def _shared(
    watchers: list[AuditLogActivityEventTrigger], counts: list[int], *, is_stored: bool = True
) -> list[list[dict[str, Any]]]:
    """Run triggers as the triggerer does, storing each event at once or never."""
    streams = SharedStreamManager()

    async def watch(number: int, trigger: AuditLogActivityEventTrigger) -> list[dict[str, Any]]:
        key = trigger.shared_stream_key()
        found: list[dict[str, Any]] = []
        async for event in trigger.filter_shared_stream(streams.subscribe(trigger_id=number, trigger=trigger, key=key)):
            found.append(event.payload)
            seq = streams.bind_pending_event(trigger_id=number, key=key)
            if seq is not None and is_stored:
                streams.confirm_persisted([seq])
            if len(found) == counts[number]:
                return found
        raise AssertionError("the stream ended")

    async with asyncio.timeout(PATIENCE_SECONDS):
        told = await asyncio.gather(*(watch(number, trigger) for number, trigger in enumerate(watchers)))
        await streams.stop_all()
    return list(told)


def test_older_airflow_reads_the_connection_too(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Airflow cannot read a connection on the loop, as before 3.3, a thread does."""
    monkeypatch.delattr(compat, "get_async_extra_dejson")
    monkeypatch.delattr(compat, "get_async_connection")
    stage.add("one")
    assert _ids(_first(_trigger())[0]) == ["one"]


def test_a_key_is_shared_by_what_reads_the_same() -> None:
    """Filters do not matter for sharing; the connection, the log and the rhythm do."""
    key = _trigger().shared_stream_key()
    assert _trigger(filters=None).shared_stream_key() == key
    for change in ({"cloudflare_conn_id": "x"}, {"api_version": "v2"}, {"poll_interval_seconds": 5.0}):
        assert _trigger(**change).shared_stream_key() != key


def test_a_trigger_survives_its_journey() -> None:
    """What a trigger writes down builds the same trigger again, under the documented path."""
    path, arguments = _trigger(filters=[{"action_type": ["a"]}, {"id": "b"}], lookback_seconds=60.0).serialize()
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

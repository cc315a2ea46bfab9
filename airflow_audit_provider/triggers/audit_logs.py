"""Triggers: waiting without a worker's slot.

Knows: Airflow's triggers. Must not know: pages, and when activity is enough.
Its one rule: a trigger never spins and never fails without saying so: an error ends as an event with its code.

Parsing a DAG makes an event trigger and runs none: what only the triggerer needs is imported where it is used.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncGenerator, AsyncIterator, Hashable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseEventTrigger, BaseTrigger, TriggerEvent

from airflow_audit_provider._airflow.arguments import check_query
from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.core.api.record_filter import RecordFilter
from airflow_audit_provider.core.limits import DEFAULT_CONN_ID
from airflow_audit_provider.core.watch.polling import PollBackoff, PollSchedule, check_seconds
from airflow_audit_provider.exceptions import AuditProviderError

if TYPE_CHECKING:
    from airflow_audit_provider.core.watch.activity import ActivityCount
    from airflow_audit_provider.core.watch.new_records import NewRecords, WatchPosition
    from airflow_audit_provider.hooks.cloudflare import CloudflareHook
    from airflow_audit_provider.triggers.shared_stream import PositionStore, SharedPoll

Filters = Mapping[str, Any] | list[Mapping[str, Any]]


class WindowSettledTrigger(BaseTrigger):
    """Fires once at an instant, when a window is settled.

    :param settled_at: the instant, timezone-aware, or its ISO 8601 text.
    """

    def __init__(self, settled_at: datetime | str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's base class has no types here
        self.settled_at = datetime.fromisoformat(settled_at) if isinstance(settled_at, str) else settled_at

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments to build the trigger again."""
        return _path(self), {"settled_at": self.settled_at.astimezone(UTC).isoformat()}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait until the instant; an instant in the past fires at once."""
        clock = SystemClock()
        while (wait := (self.settled_at - clock.now()).total_seconds()) > 0:
            await clock.asleep(min(wait, 60.0))
        yield TriggerEvent({"settled_at": self.settled_at.isoformat()})


class AuditLogActivityTrigger(BaseTrigger):
    """Looks for new activity every ``poll_interval_seconds`` until there is enough, or an error that no retry mends.

    :param cloudflare_conn_id: a connection of type ``cloudflare``.
    :param since: the watermark, timezone-aware, or its ISO 8601 text.
    :param minimum_count: how many records are enough.
    :param poll_interval_seconds: seconds between two looks, at least 1; after failures longer, up to 10 minutes.
    :param query: keyword arguments of :meth:`CloudflareHook.query`.
    :param backs_off: wait twice as long after each look.
    :param longest_pause_seconds: where that ends.

    The event is ``{"status": "found", "activity": {...}}`` or ``{"status": "failed", "code": ..., "message": ...}``.
    """

    def __init__(
        self,
        cloudflare_conn_id: str,
        since: datetime | str,
        minimum_count: int = 1,
        poll_interval_seconds: float = 60.0,
        query: dict[str, Any] | None = None,
        backs_off: bool = False,
        longest_pause_seconds: float | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's base class has no types here
        self.cloudflare_conn_id = cloudflare_conn_id
        self.since = datetime.fromisoformat(since) if isinstance(since, str) else since
        self.minimum_count = minimum_count
        self.rhythm = PollSchedule(poll_interval_seconds, backs_off, longest_pause_seconds)
        self.query = query or {}

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments to build the trigger again."""
        return _path(self), {
            "cloudflare_conn_id": self.cloudflare_conn_id,
            "since": self.since.astimezone(UTC).isoformat(),
            "minimum_count": self.minimum_count,
            "poll_interval_seconds": self.rhythm.interval_seconds,
            "query": self.query,
            "backs_off": self.rhythm.backs_off,
            "longest_pause_seconds": self.rhythm.longest_seconds,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look, pause, look again; a retryable error only costs a longer pause."""
        from airflow_audit_provider.hooks.cloudflare import CloudflareHook

        hook, pace = CloudflareHook(self.cloudflare_conn_id), PollBackoff(self.rhythm)
        event = None
        while event is None:
            try:
                activity = await self._look(hook)
                pause, event = pace.after_look(), _found(activity)
            except AuditProviderError as error:
                pause, event = pace.after_failure(error), _failed(error)
                self.log.warning("This look failed: %s", error)
            if event is None:
                await hook.clock.asleep(pause)
        yield event

    async def _look(self, hook: CloudflareHook) -> ActivityCount:
        from airflow_audit_provider.core.watch.activity import ActivityQuery
        from airflow_audit_provider.pipelines.watch import acount_activity

        async with await hook.open_async_conn() as client:
            watch = ActivityQuery(hook.query(**self.query), self.since, self.minimum_count)
            return await acount_activity(watch, hook.async_source(client))


class AuditLogActivityEventTrigger(BaseEventTrigger):
    """Tells an ``AssetWatcher`` of new records in an audit log: one asset event a look that finds some, for ever.

    :param cloudflare_conn_id: a connection of type ``cloudflare``.
    :param api_version: ``v1`` or ``v2``.
    :param scope: ``account``, ``user`` or ``organization``.
    :param account_id: by default the connection's.
    :param organization_id: by default the connection's.
    :param filters: which records count: a dict of names and values (a text, or a list of which one must fit), or a list
        of such dicts, of which one must fit; by default every record. Judged here, so watchers with different filters
        share one reading.
    :param poll_interval_seconds: seconds between two looks, at least 1; after failures longer, up to 10 minutes.
    :param lookback_seconds: how much later than its event time a record may come and still be told.

    An event is told at least once, and again only when the triggerer dies before Airflow stored it: its
    ``ids_sha256`` then is the same, or its records are among others. From Airflow 3.3 on the mark of what was told is
    kept in the asset's state store and all watchers of a log share one reading; before, a watcher begins at
    ``lookback_seconds`` before the triggerer's start. No failure ends it; each is logged, and looked at again later.
    """

    def __init__(
        self,
        cloudflare_conn_id: str = DEFAULT_CONN_ID,
        api_version: str = "v1",
        scope: str | None = None,
        account_id: str | None = None,
        organization_id: str | None = None,
        filters: Filters | str | None = None,
        poll_interval_seconds: float = 60.0,
        lookback_seconds: float = 900.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's base class has no types here
        self.cloudflare_conn_id = cloudflare_conn_id
        self.log_choice: dict[str, Any] = {
            "api_version": api_version,
            "scope": scope,
            "account_id": account_id,
            "organization_id": organization_id,
        }
        # Airflow 3.2 hands an asset's trigger nested arguments as it encoded them, and an error in here would end the
        # whole triggerer: so they travel as one text.
        self.filters: Filters | None = json.loads(filters) if isinstance(filters, str) else filters
        self.rhythm = PollSchedule(poll_interval_seconds)
        self.lookback_seconds = lookback_seconds
        self.clock = SystemClock()
        check_query(api_version, scope, account_id, organization_id, None)
        check_seconds("poll_interval_seconds", poll_interval_seconds)
        check_seconds("lookback_seconds", lookback_seconds)
        self._wanted = RecordFilter(api_version, self.filters)
        self._hook: CloudflareHook | None = None
        self._has_said_cut = False

    def matches(self, record: Mapping[str, Any]) -> bool:
        """Say whether a record, as :meth:`CloudflareHook.iter_audit_logs` yields it, counts here."""
        return self._wanted.accepts(record)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments to build the trigger again."""
        return _path(self), {
            "cloudflare_conn_id": self.cloudflare_conn_id,
            **self.log_choice,
            "filters": None if self.filters is None else json.dumps(self.filters, sort_keys=True),
            "poll_interval_seconds": self.rhythm.interval_seconds,
            "lookback_seconds": self.lookback_seconds,
        }

    def shared_stream_key(self) -> Hashable:
        """Return what must be equal to share a reading: all but the filters."""
        _, arguments = self.serialize()
        return ("cloudflare-audit-log", *(arguments[name] for name in sorted(arguments.keys() - {"filters"})))

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> Any:
        """Return who reads for all watchers with one key."""
        from airflow_audit_provider.triggers.shared_stream import SharedPollProducer

        return SharedPollProducer(cls(**kwargs).follow)

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncGenerator[SharedPoll, None]:
        """Read for one watcher alone; who asks for the next look has been given the events of the one before."""
        async for shared, _ in cls.create_shared_stream_producer(kwargs).open_stream():
            yield shared
            shared.is_stored = True

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """Tell of the records that count and were not told yet."""
        from airflow_audit_provider.core.watch.new_records import event_payload
        from airflow_audit_provider.triggers.shared_stream import CatchUp, CatchUpReader, Subscriber

        marks = self._marks()
        reader = CatchUpReader(self._look, self._first_mark(), self.rhythm, self.clock, self._complain)
        watcher = Subscriber(marks, CatchUp(marks, reader))
        async for shared in shared_stream:
            async for news in watcher.take(shared):
                records = self._wanted.pick(news.records)
                if records:
                    yield TriggerEvent(event_payload(news.query, records))

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Do the same without sharing, for Airflow before 3.3."""
        async for event in self.filter_shared_stream(type(self).open_shared_stream(self.serialize()[1])):
            yield event

    def follow(self, mark: WatchPosition | None) -> AsyncGenerator[NewRecords, None]:
        """Look for ever, from a mark on."""
        from airflow_audit_provider.pipelines.watch import apoll_forever

        return apoll_forever(self._look, mark or self._first_mark(), self.rhythm, self.clock, self._complain)

    async def _look(self, mark: WatchPosition | None) -> NewRecords:
        from airflow_audit_provider.hooks.cloudflare import CloudflareHook
        from airflow_audit_provider.pipelines.watch import apoll_new_records

        hook = self._hook = self._hook or CloudflareHook(self.cloudflare_conn_id, clock=self.clock)
        async with await hook.open_async_conn() as client:
            query = hook.query(**self.log_choice)
            lookback = timedelta(seconds=self.lookback_seconds)
            news = await apoll_new_records(query, mark, lookback, hook.async_source(client))
        self._say_cut(news.cut_seconds)
        return news

    def _say_cut(self, seconds: int) -> None:
        if seconds and not self._has_said_cut:
            self._has_said_cut = True
            self.log.warning(
                "This log holds more records than are remembered: a record is still told that comes %.0f s after its "
                "event time, not %.0f. Lower lookback_seconds to what is needed.",
                max(0.0, self.lookback_seconds - seconds),
                self.lookback_seconds,
            )

    def _complain(self, error: Exception, pause_seconds: float) -> None:
        # A new hook reads the connection anew: it may have been mended meanwhile.
        self._hook = None
        if isinstance(error, AuditProviderError) and error.retryable:
            self.log.warning("Looking again in %.0f s: %s", pause_seconds, error)
        else:
            self.log.error(
                "Nothing is watched until this is mended; looking again in %.0f s: %s: %s",
                pause_seconds,
                type(error).__name__,
                error,
            )

    def _marks(self) -> PositionStore:
        from airflow_audit_provider.triggers.shared_stream import PositionStore

        told = json.dumps([self.cloudflare_conn_id, self.log_choice, self.filters], sort_keys=True, default=str)
        key = f"audit-log-mark-{hashlib.sha256(told.encode()).hexdigest()[:16]}"
        return PositionStore(getattr(self, "asset_state_store", None), key, self.log)

    def _first_mark(self) -> WatchPosition:
        from airflow_audit_provider.core.watch.new_records import WatchPosition

        return WatchPosition.at(self.clock.now() - timedelta(seconds=self.lookback_seconds))


def _found(activity: ActivityCount) -> TriggerEvent | None:
    """Return the event for enough activity, None for too little."""
    return TriggerEvent({"status": "found", "activity": activity.summary()}) if activity.is_enough else None


def _failed(error: AuditProviderError) -> TriggerEvent | None:
    """Return the event for an error that no retry mends, None for another."""
    if error.retryable:
        return None
    return TriggerEvent({"status": "failed", "code": type(error).__name__, "message": str(error)})


def _path(trigger: BaseTrigger) -> str:
    return f"{type(trigger).__module__}.{type(trigger).__qualname__}"

"""Triggers for Cloudflare audit logs: wait for a settled window or for new records without a worker slot.

Modules that only the triggerer needs are imported where they are used, because DAG files import this module too.

Invariant: a trigger never polls without a pause, and reports a permanent error as an event.
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
from airflow_audit_provider.core.api.endpoints import with_defaults
from airflow_audit_provider.core.api.record_filter import RecordFilter
from airflow_audit_provider.core.limits import DEFAULT_CONN_ID
from airflow_audit_provider.core.watch.polling import PollSchedule, check_seconds
from airflow_audit_provider.exceptions import AuditProviderError, ConfigurationError

if TYPE_CHECKING:
    from airflow_audit_provider.core.api.records import AuditRecord
    from airflow_audit_provider.core.watch.new_records import NewRecords, WatchPosition
    from airflow_audit_provider.hooks.cloudflare import CloudflareHook
    from airflow_audit_provider.triggers.shared_stream import PositionStore, SharedPoll

Filters = Mapping[str, Any] | list[Mapping[str, Any]]
# Sleep in steps, so that a change of the system clock is noticed.
_SLEEP_SECONDS = 60.0


class WindowSettledTrigger(BaseTrigger):
    """Fires once at an instant, when a window is settled.

    :param settled_at: the instant, timezone-aware, or its ISO 8601 text.
    """

    def __init__(self, settled_at: datetime | str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's base class has no types here
        self.settled_at = datetime.fromisoformat(settled_at) if isinstance(settled_at, str) else settled_at

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Returns the class path and the arguments that rebuild the trigger."""
        return _path(self), {"settled_at": self.settled_at.astimezone(UTC).isoformat()}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Waits until the instant; fires at once if it has passed."""
        clock = SystemClock()
        while (wait := (self.settled_at - clock.now()).total_seconds()) > 0:
            await clock.asleep(min(wait, _SLEEP_SECONDS))
        yield TriggerEvent({"settled_at": self.settled_at.isoformat()})


class AuditLogActivityTrigger(BaseTrigger):
    """Polls for new activity until there is enough, or until an error that no retry can fix.

    All triggers of one triggerer with the same connection, query and interval share one poll.

    :param cloudflare_conn_id: a connection of type ``cloudflare``.
    :param since: the watermark, timezone-aware, or its ISO 8601 text.
    :param minimum_count: how many records are enough.
    :param poll_interval_seconds: seconds between two polls, at least 1; longer after failures, up to 10 minutes.
    :param query: keyword arguments of :meth:`CloudflareHook.query`.
    :param backs_off: double the interval after each poll.
    :param longest_pause_seconds: upper bound of the doubled interval.

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
        self.schedule = PollSchedule(poll_interval_seconds, backs_off, longest_pause_seconds)
        self.query = query or {}

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Returns the class path and the arguments that rebuild the trigger."""
        return _path(self), {
            "cloudflare_conn_id": self.cloudflare_conn_id,
            "since": self.since.astimezone(UTC).isoformat(),
            "minimum_count": self.minimum_count,
            "poll_interval_seconds": self.schedule.interval_seconds,
            "query": self.query,
            "backs_off": self.schedule.backs_off,
            "longest_pause_seconds": self.schedule.longest_seconds,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Polls on the schedule; a retryable error only lengthens the pause."""
        yield await self._first_event()

    async def _first_event(self) -> TriggerEvent:
        from airflow_audit_provider.core.watch.activity import ActivityDemand
        from airflow_audit_provider.triggers.shared_activity import SensorQuery, join_poll

        query = SensorQuery(self.cloudflare_conn_id, self.query, self.schedule)
        try:
            async with join_poll(query, ActivityDemand(self.since, self.minimum_count)) as notices:
                async for notice in notices:
                    if notice.error is not None:
                        self._on_error(notice.error, notice.pause_seconds)
                    elif notice.activity is not None and notice.activity.is_enough:
                        return TriggerEvent({"status": "found", "activity": notice.activity.summary()})
        except AuditProviderError as error:
            return TriggerEvent({"status": "failed", "code": type(error).__name__, "message": str(error)})
        raise AssertionError("notices end only by an exception")

    def _on_error(self, error: Exception, pause_seconds: float) -> None:
        """Logs a retryable error; raises any other, which ends the trigger."""
        if not isinstance(error, AuditProviderError) or not error.retryable:
            raise error
        self.log.warning("The poll failed; next poll in %.0f s: %s", pause_seconds, error)


class AuditLogActivityEventTrigger(BaseEventTrigger):
    """Reports new records of an audit log to an ``AssetWatcher``: one asset event for each poll that finds some.

    :param cloudflare_conn_id: a connection of type ``cloudflare``.
    :param api_version: ``v1`` or ``v2``; by default ``v2`` for an organization, else ``v1``.
    :param scope: ``account``, ``user`` or ``organization``.
    :param account_id: by default the connection's.
    :param organization_id: by default the connection's.
    :param filters: which records count: a dict of names and values, all of which must match, or a list of such dicts,
        one of which must match; by default every record. A value is a text, or a list of texts, one of which must
        match. Filters are applied in the triggerer, so watchers with different filters share one poll.
    :param poll_interval_seconds: seconds between two polls, at least 1; longer after failures, up to 10 minutes.
    :param lookback_seconds: how long after its event time a record may appear and still be reported.

    Each event is reported at least once. It is repeated only if the triggerer stops before Airflow has stored it. The
    repeated event has the same ``ids_sha256``, or it has further records as well. From Airflow 3.3 on, the watcher's
    position is stored in the asset's state store, and all watchers of a log share one poll; on older versions a watcher
    starts ``lookback_seconds`` before the start of the triggerer. No failure ends the trigger: it logs the failure and
    polls again later.
    """

    def __init__(
        self,
        cloudflare_conn_id: str = DEFAULT_CONN_ID,
        api_version: str | None = None,
        scope: str | None = None,
        account_id: str | None = None,
        organization_id: str | None = None,
        filters: Filters | str | None = None,
        poll_interval_seconds: float = 60.0,
        lookback_seconds: float = 900.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # Airflow's base class has no types here
        self.cloudflare_conn_id = cloudflare_conn_id
        self.query: dict[str, Any] = {
            "api_version": api_version,
            "scope": scope,
            "account_id": account_id,
            "organization_id": organization_id,
        }
        # Airflow 3.2 passes nested arguments of an asset's trigger in their encoded form, and an error here would end
        # the triggerer, so filters are serialized as one text.
        self.filters: Filters | None = json.loads(filters) if isinstance(filters, str) else filters
        self.schedule = PollSchedule(poll_interval_seconds)
        self.lookback_seconds = lookback_seconds
        self.clock = SystemClock()
        check_query(api_version, scope, account_id, organization_id, None)
        check_seconds("poll_interval_seconds", poll_interval_seconds)
        check_seconds("lookback_seconds", lookback_seconds)
        version, _ = with_defaults(api_version, scope, account_id, organization_id)
        self._record_filter = RecordFilter(version, self.filters)
        self._hook: CloudflareHook | None = None
        self._has_warned_of_cut = False

    def matches(self, record: Mapping[str, Any]) -> bool:
        """Returns whether the filters accept a record as :meth:`CloudflareHook.iter_audit_logs` yields it."""
        return self._record_filter.accepts(record)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Returns the class path and the arguments that rebuild the trigger."""
        return _path(self), {
            "cloudflare_conn_id": self.cloudflare_conn_id,
            **self.query,
            "filters": None if self.filters is None else json.dumps(self.filters, sort_keys=True),
            "poll_interval_seconds": self.schedule.interval_seconds,
            "lookback_seconds": self.lookback_seconds,
        }

    def shared_stream_key(self) -> Hashable:
        """Returns the arguments that must be equal to share a poll: all but the filters."""
        _, arguments = self.serialize()
        return ("cloudflare-audit-log", *(arguments[name] for name in sorted(arguments.keys() - {"filters"})))

    @classmethod
    def create_shared_stream_producer(cls, kwargs: dict[str, Any]) -> Any:
        """Returns the producer that polls for all watchers with the same key."""
        from airflow_audit_provider.triggers.shared_stream import SharedPollProducer

        return SharedPollProducer(cls(**kwargs).poll_forever)

    @classmethod
    async def open_shared_stream(cls, kwargs: dict[str, Any]) -> AsyncGenerator[SharedPoll, None]:
        """Polls for one watcher alone; by asking for the next poll, it states that the events before are stored."""
        async for shared, _ in cls.create_shared_stream_producer(kwargs).open_stream():
            yield shared
            shared.is_stored = True

    async def filter_shared_stream(self, shared_stream: AsyncIterator[Any]) -> AsyncIterator[TriggerEvent]:
        """Yields an event for each poll with new records that the filters accept."""
        from airflow_audit_provider.core.watch.new_records import event_payload
        from airflow_audit_provider.triggers.shared_stream import CatchUp, CatchUpReader, Subscriber

        positions = self._positions()
        reader = CatchUpReader(self._poll, self._first_position(), self.schedule, self.clock, self._on_error)
        subscriber = Subscriber(positions, CatchUp(positions, reader))
        async for shared in shared_stream:
            async for new_records in subscriber.take(shared):
                records = self._pick(new_records)
                if records:
                    yield TriggerEvent(event_payload(new_records.query, records))

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yields the same events without sharing the poll, for Airflow before 3.3."""
        async for event in self.filter_shared_stream(type(self).open_shared_stream(self.serialize()[1])):
            yield event

    def _pick(self, new_records: NewRecords) -> list[AuditRecord]:
        """Returns the records that the filters accept.

        The connection may lead to another version than the arguments. All records are returned if that version has no
        such filter, because none may be withheld by mistake.
        """
        version = new_records.query.version
        if version != self._record_filter.version:
            try:
                self._record_filter = RecordFilter(version, self.filters)
            except ConfigurationError as error:
                self.log.warning(
                    "Every record is reported, because the filters do not fit the version of the connection's API: %s",
                    error,
                )
                return list(new_records.records)
        return self._record_filter.pick(new_records.records)

    def poll_forever(self, position: WatchPosition | None) -> AsyncGenerator[NewRecords, None]:
        """Polls without end, starting at a position; each poll continues where the previous one stopped."""
        from airflow_audit_provider.pipelines.watch import apoll_forever

        current = position or self._first_position()

        async def poll() -> NewRecords:
            nonlocal current
            new_records = await self._poll(current)
            current = new_records.position
            return new_records

        return apoll_forever(poll, self.schedule, self.clock, self._on_error)

    async def _poll(self, position: WatchPosition | None) -> NewRecords:
        from airflow_audit_provider.hooks.cloudflare import CloudflareHook
        from airflow_audit_provider.pipelines.watch import apoll_new_records

        hook = self._hook = self._hook or CloudflareHook(self.cloudflare_conn_id, clock=self.clock)
        async with await hook.open_async_conn() as client:
            query = hook.query(**self.query)
            lookback = timedelta(seconds=self.lookback_seconds)
            new_records = await apoll_new_records(query, position, lookback, hook.async_reader(client))
        self._warn_of_cut(new_records.cut_seconds)
        return new_records

    def _warn_of_cut(self, seconds: int) -> None:
        """Logs once that the lookback is shorter than configured."""
        if seconds and not self._has_warned_of_cut:
            self._has_warned_of_cut = True
            self.log.warning(
                "The position cannot hold all record ids of the lookback: a record is reported if it appears within "
                "%.0f s after its event time, not %.0f s. Lower lookback_seconds to what you need.",
                max(0.0, self.lookback_seconds - seconds),
                self.lookback_seconds,
            )

    def _on_error(self, error: Exception, pause_seconds: float) -> None:
        # The next poll makes a new hook, which reads the connection again: it may have been corrected meanwhile.
        self._hook = None
        if isinstance(error, AuditProviderError) and error.retryable:
            self.log.warning("The poll failed; next poll in %.0f s: %s", pause_seconds, error)
        else:
            self.log.error(
                "No record is reported until this is fixed; next poll in %.0f s: %s: %s",
                pause_seconds,
                type(error).__name__,
                error,
            )

    def _positions(self) -> PositionStore:
        from airflow_audit_provider.triggers.shared_stream import PositionStore

        identity = json.dumps([self.cloudflare_conn_id, self.query, self.filters], sort_keys=True, default=str)
        key = f"audit-log-position-{hashlib.sha256(identity.encode()).hexdigest()[:16]}"
        return PositionStore(getattr(self, "asset_state_store", None), key, self.log)

    def _first_position(self) -> WatchPosition:
        from airflow_audit_provider.core.watch.new_records import WatchPosition

        return WatchPosition.at(self.clock.now() - timedelta(seconds=self.lookback_seconds))


def _path(trigger: BaseTrigger) -> str:
    return f"{type(trigger).__module__}.{type(trigger).__qualname__}"

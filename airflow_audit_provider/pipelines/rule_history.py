"""Records of earlier windows, for rules that count within a span or look for a first time.

::

                 span of the rules
    ├─────────────────────────────────────┤
    window  window  window  window  window │ judged │        only records that the filter of a rule accepts are kept

Windows are judged in the order of time, so that each part is read once in a run.

Invariant: no record is kept that is longer than the span before the judged window, or that no filter accepts. A window
counts as read only after all its parts were: after an error in one, no later window is judged without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord
from airflow_audit_provider.core.archive.manifest import Manifest, Part
from airflow_audit_provider.core.archive.object_keys import newest_manifests
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.warehouse.detections import Rule
from airflow_audit_provider.core.windows.window import EARLIEST_AT, TimeWindow, to_ns
from airflow_audit_provider.formats.part_format import committed_format
from airflow_audit_provider.pipelines.committed import committed_manifest, grouped, read_part_content
from airflow_audit_provider.pipelines.neighbourhood import list_around
from airflow_audit_provider.pipelines.side_by_side import read_each

Match = tuple[Rule, AuditRecord]
# Parts that are read at the same time: a read of a small object from S3 takes some 30 ms.
_MOST_READ = 16
_MOST_BYTES = 32 << 20


class HistoryRunner(NamedTuple):
    """Runs rules that look at earlier records.

    ``select`` returns the records that the filter of a rule accepts. ``judge`` returns the matches among records from
    an instant on; those before it are history.
    """

    select: Callable[[ApiVersion, Sequence[AuditRecord], Sequence[Rule]], list[AuditRecord]]
    judge: Callable[[ApiVersion, Sequence[AuditRecord], Sequence[Rule], datetime], Iterable[Match]]


class FoundRecord(NamedTuple):
    """A record that a filter accepts, and the part that it is in."""

    record: AuditRecord
    part: Part


class RuleHistory:
    """The records that some rules look at, up to the window that is judged; ``rules`` all have a span."""

    def __init__(self, store: Store, rules: Sequence[Rule], runner: HistoryRunner) -> None:
        self.rules = tuple(rules)
        self._store = store
        self._runner = runner
        self._span = max((rule.needs_history for rule in rules), default=timedelta())
        self._found: dict[TimeWindow, list[FoundRecord]] = {}
        self._keys: dict[TimeWindow, str] = {}
        self._version: ApiVersion | None = None

    def matches(self, judged: TimeWindow, rules: Sequence[Rule]) -> Iterator[tuple[ApiVersion, Part, Match]]:
        """Yields the matches of rules in a committed window, by its newest generation, each with its part."""
        since = max(judged.start - self._span, EARLIEST_AT + timedelta(days=4))
        version = self._read(TimeWindow(since, judged.end))
        if version is not None:
            yield from self.judged(version, judged, rules)

    def read_before(self, instant: datetime) -> None:
        """Reads the committed windows of the span before an instant."""
        start = max(instant - self._span, EARLIEST_AT + timedelta(days=4))
        if start < instant:
            self._read(TimeWindow(start, instant))

    def judged(
        self, version: ApiVersion, judged: TimeWindow, rules: Sequence[Rule]
    ) -> Iterator[tuple[ApiVersion, Part, Match]]:
        """Yields the matches among the records that were found."""
        self._forget(judged.start - self._span)
        found = [one for records in self._found.values() for one in records]
        first_ns = to_ns(judged.start - self._span)
        rows = sorted(one.record for one in found if first_ns <= one.record.event_ns < judged.end_ns)
        parts = {one.record.id: one.part for one in found if judged.contains(one.record.event_ns)}
        for rule, record in self._runner.judge(version, rows, rules, judged.start) if rows else ():
            if record.id in parts:
                yield version, parts[record.id], (rule, record)

    def add(self, window: TimeWindow, version: ApiVersion, part: Part, records: Sequence[AuditRecord]) -> None:
        """Keeps the records of a part that a filter accepts."""
        accepted = self._runner.select(version, records, self.rules)
        self._found.setdefault(window, []).extend(FoundRecord(record, part) for record in accepted)

    def _read(self, time_range: TimeWindow) -> ApiVersion | None:
        """Reads the windows of a range that were not read, or have a newer generation since."""
        newest = newest_manifests(list_around(self._store, time_range).manifest_keys)
        within = {window: key for window, key in newest.items() if window.overlaps(time_range)}
        unread = [within[window] for window in sorted(within) if self._keys.get(window) != within[window]]
        manifests = (committed_manifest(key, content).manifest for key, content in read_each(self._store, unread))
        parts = ((manifest, part) for manifest in self._noted(manifests) for part in manifest.parts)
        for some in _side_by_side(parts):
            contents = self._store.gather([partial(read_part_content, self._store, part) for _, part in some])
            for (manifest, part), content in zip(some, contents, strict=True):
                version = manifest.query.version
                for group in grouped(committed_format(manifest).read(version, content, part.first_event_ns)):
                    self.add(manifest.window, version, part, group)
                if part == manifest.parts[-1]:
                    self._keys[manifest.window] = within[manifest.window]
        return self._version if within else None

    def _noted(self, manifests: Iterable[Manifest]) -> Iterator[Manifest]:
        for manifest in manifests:
            self._version = manifest.query.version
            self._found[manifest.window] = []
            if not manifest.parts:
                self._keys[manifest.window] = manifest.keys.manifest(manifest.generation)
            yield manifest

    def _forget(self, before: datetime) -> None:
        for window in [window for window in self._found if window.end <= before]:
            del self._found[window]
            self._keys.pop(window, None)


def _side_by_side(parts: Iterable[tuple[Manifest, Part]]) -> Iterator[list[tuple[Manifest, Part]]]:
    """Yields parts in groups that are read side by side, bounded by their number and size."""
    group: list[tuple[Manifest, Part]] = []
    for manifest, part in parts:
        size_bytes = sum(one.size_bytes for _, one in group)
        if len(group) == _MOST_READ or (group and size_bytes + part.size_bytes > _MOST_BYTES):
            yield group
            group = []
        group.append((manifest, part))
    if group:
        yield group

"""Records of earlier windows, for rules that count within a span or look for a first time.

::

                 span of the rules
    ├─────────────────────────────────────┤
    window  window  window  window  window │ judged │        only records that the filter of a rule accepts are kept

Windows are judged in the order of time, so that each part is read once in a run.

Invariant: no record is kept that is longer than the span before the judged window, or that no filter accepts. No rule
judges a window that looks back at one that cannot be read, or that the ledger knows and the destination has lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord
from airflow_audit_provider.core.archive.manifest import Manifest, Part
from airflow_audit_provider.core.archive.object_keys import WindowKeys, newest_manifests, read_manifest_key
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.warehouse.detections import Rule, rule_key
from airflow_audit_provider.core.windows.window import EARLIEST_AT, TimeWindow, to_ns
from airflow_audit_provider.exceptions import VerificationError
from airflow_audit_provider.formats.part_format import committed_format
from airflow_audit_provider.pipelines.committed import committed_manifest, grouped, read_part_content
from airflow_audit_provider.pipelines.neighbourhood import list_around
from airflow_audit_provider.pipelines.side_by_side import read_each

Match = tuple[Rule, AuditRecord]
# Returns the windows that rules have run on and that overlap a range, each with its generation.
KnownWindows = Callable[[TimeWindow], Mapping[TimeWindow, int]]
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


class Unread(NamedTuple):
    """A window that cannot be read, the manifest of its newest generation, and why."""

    window: TimeWindow
    manifest_key: str
    error: VerificationError


class RuleHistory:
    """The records that some rules look at, up to the window that is judged; ``rules`` all have a span.

    ``known`` returns the windows that the destination has to have, None if that is not known.
    """

    def __init__(
        self, store: Store, rules: Sequence[Rule], runner: HistoryRunner, known: KnownWindows | None = None
    ) -> None:
        self.rules = tuple(rules)
        self._known = known
        self._store = store
        self._runner = runner
        self._span = max((rule.needs_history for rule in rules), default=timedelta())
        self._found: dict[TimeWindow, list[FoundRecord]] = {}
        self._keys: dict[TimeWindow, str] = {}
        self._unread: dict[TimeWindow, Unread] = {}
        self._version: ApiVersion | None = None

    def read(self, judged: TimeWindow, rules: Sequence[Rule]) -> Mapping[str, Unread]:
        """Reads a committed window and the span before it, by their newest generations.

        Returns, by key, the rules that look back at a window that cannot be read.
        """
        self._read(TimeWindow(max(judged.start - self._span, EARLIEST_AT + timedelta(days=4)), judged.end))
        return {
            rule_key(rule): one
            for rule in rules
            for one in self._unread.values()
            if one.window.start < judged.end and one.window.end > judged.start - rule.needs_history
        }

    def matches(self, judged: TimeWindow, rules: Sequence[Rule]) -> Iterator[tuple[ApiVersion, Part, Match]]:
        """Yields the matches of rules in a window that was read, each with its part."""
        if self._version is not None and rules:
            yield from self.judged(self._version, judged, rules)

    def read_before(self, instant: datetime) -> None:
        """Reads the committed windows of the span before an instant; raises the error of one that cannot be read."""
        start = max(instant - self._span, EARLIEST_AT + timedelta(days=4))
        if start < instant:
            self._read(TimeWindow(start, instant))
        for window in sorted(self._unread):
            raise self._unread[window].error

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

    def _read(self, time_range: TimeWindow) -> None:
        """Reads the windows of a range that were not read, or have a newer generation since."""
        newest = newest_manifests(list_around(self._store, time_range).manifest_keys)
        within = {window: key for window, key in newest.items() if window.overlaps(time_range)}
        within |= self._lost(time_range, within)
        unread = [window for window in sorted(within) if self._keys.get(window) != within[window]]
        contents = read_each(self._store, [within[window] for window in unread])
        for some in _side_by_side(self._parts(zip(unread, contents, strict=True))):
            read = self._store.gather([partial(_content_of, self._store, part) for _, part in some])
            for (manifest, part), content in zip(some, read, strict=True):
                self._take(manifest, part, content)
        self._keys.update((window, within[window]) for window in unread)

    def _lost(self, time_range: TimeWindow, listed: Mapping[TimeWindow, str]) -> dict[TimeWindow, str]:
        """Returns the windows whose known generation the destination has lost, each with the key of its manifest."""
        known = self._known(time_range) if self._known is not None else {}
        return {
            window: WindowKeys(window, window.start.date()).manifest(generation)
            for window, generation in known.items()
            if generation_of(listed.get(window)) < generation
        }

    def _parts(
        self, manifests: Iterable[tuple[TimeWindow, tuple[str, bytes | None]]]
    ) -> Iterator[tuple[Manifest, Part]]:
        """Yields the parts of windows that are about to be read."""
        for window, (key, content) in manifests:
            self._found[window] = []
            self._unread.pop(window, None)
            try:
                manifest = committed_manifest(key, content).manifest
            except VerificationError as error:
                self._unread[window] = Unread(window, key, error)
                continue
            self._version = manifest.query.version
            yield from ((manifest, part) for part in manifest.parts)

    def _take(self, manifest: Manifest, part: Part, content: bytes | VerificationError) -> None:
        """Keeps the records of a part; notes its window if it cannot be read."""
        window, version = manifest.window, manifest.query.version
        try:
            if isinstance(content, VerificationError):
                raise content
            for group in grouped(committed_format(manifest).read(version, content, part.first_event_ns)):
                self.add(window, version, part, group)
        except VerificationError as error:
            self._unread[window] = Unread(window, manifest.keys.manifest(manifest.generation), error)

    def _forget(self, before: datetime) -> None:
        for window in [window for window in self._found if window.end <= before]:
            del self._found[window]
            self._keys.pop(window, None)
            self._unread.pop(window, None)


def generation_of(manifest_key: str | None) -> int:
    """Returns the generation that the key of a manifest names, 0 without a key."""
    named = None if manifest_key is None else read_manifest_key(manifest_key)
    return 0 if named is None else named.generation


def _content_of(store: Store, part: Part) -> bytes | VerificationError:
    """Returns the bytes of a part, or the error if they are not as committed."""
    try:
        return read_part_content(store, part)
    except VerificationError as error:
        return error


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

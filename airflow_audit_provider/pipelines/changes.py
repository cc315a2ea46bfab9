"""Derives the values before and after of committed records, and keeps them beside the data.

::

    window    each committed window of the range whose newest generation has no commit of changes, the oldest first
    portion     some resources of one part: request the history of each, derive the changes, create the file
    commit    all files of the window are there: create the commit that names them

While the API refuses a history, the file and the commit have keys of their own that end in ``-forbidden``. The next run
requests the history again, and removes them once it has it.

Invariant: a file is created once and never changed. What a file has is not requested again, whenever a run is killed
and however many runs there are at the same time. A record is in one of the files that the newest commit names, and the
files of earlier generations that it does not name are removed before it is created.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, NamedTuple, TypeVar

from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
from airflow_audit_provider.core.api.changes import ChangeStatus, History, changes_of, resource_of, shows_value
from airflow_audit_provider.core.api.history import history_query, is_record_id
from airflow_audit_provider.core.api.query import AuditQuery, Direction
from airflow_audit_provider.core.api.records import ApiVersion, AuditRecord
from airflow_audit_provider.core.archive.change_keys import (
    CHANGES_FOLDER,
    change_commit_key,
    change_file_key,
    change_generation,
    changes_folder,
    forbidden_key,
    is_change_key,
)
from airflow_audit_provider.core.archive.commit import CommittedManifest
from airflow_audit_provider.core.archive.manifest import Part
from airflow_audit_provider.core.archive.object_keys import MANIFEST_FOLDER, newest_manifests
from airflow_audit_provider.core.paging.read_request import ReadRequest
from airflow_audit_provider.core.paging.window_reader import HistoryReader
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.privacy.rule import PrivacyRule, privacy_entry
from airflow_audit_provider.core.warehouse.change_files import (
    ChangeFile,
    ChangeRow,
    ChangesCommit,
    change_file,
    change_rows,
    read_commit,
    statuses_of,
    write_rows,
)
from airflow_audit_provider.core.windows.readiness import retention_starts_at
from airflow_audit_provider.core.windows.window import TimeWindow, format_instant, format_ns
from airflow_audit_provider.exceptions import ConfigurationError, SourceAuthError
from airflow_audit_provider.formats.part_format import committed_format
from airflow_audit_provider.pipelines.committed import read_committed, read_part
from airflow_audit_provider.pipelines.neighbourhood import manifest_keys_around

_T = TypeVar("_T")
# A killed run requests the histories of so many resources again, at most.
_PORTION_RESOURCES = 25
# Records of version 1 need no history; a portion has 25 times as many at most, because its rows are in memory.
_GROUP_RECORDS = 400
# Histories in memory; each has the records of one resource back to the first that a run needs.
_MOST_HISTORIES = 2_000
_TIME_DIGITS = 6


class ChangesSpec(NamedTuple):
    """Range of windows, and the share of the rate limit that the requests may take on average.

    ``privacy`` is the rule of the windows, which is applied to histories, too. After ``max_requests`` a run ends where
    the next one goes on.
    """

    time_range: TimeWindow
    now: datetime
    rate_share: float
    privacy: PrivacyRule | None = None
    max_requests: int | None = None


class ChangesOutcome(NamedTuple):
    """The commits of a run; ``is_complete`` is false if the run ended because of ``max_requests``.

    ``skipped`` are the windows that were erased under another privacy rule than the task has. ``older`` are those
    before the range whose newest generation has no commit of changes.
    """

    commits: tuple[ChangesCommit, ...]
    request_count: int
    is_complete: bool
    skipped: tuple[TimeWindow, ...]
    older: tuple[TimeWindow, ...] = ()

    def older_command(self, destination: str) -> str:
        """Returns the command that derives the changes of the windows before the range, empty without one."""
        if not self.older:
            return ""
        bounds = f"--start {format_instant(self.older[0].start)} --end {format_instant(self.older[-1].end)}"
        return f"airflow-audit-provider changes {shlex.quote(destination)} {bounds}"

    def summary(self) -> dict[str, Any]:
        """Returns the outcome for XCom."""
        files = [file for commit in self.commits for file in commit.files]
        return {
            "window_count": len(self.commits),
            "record_count": sum(commit.record_count for commit in self.commits),
            "request_count": self.request_count,
            "history_status": statuses_of(files),
            "is_complete": self.is_complete,
            "skipped_count": len(self.skipped),
            "older_count": len(self.older),
        }


class _EnoughRequestsError(Exception):
    """The run has sent as many requests as it may."""


def derive_changes(spec: ChangesSpec, store: Store, reader: AuditLogReader) -> ChangesOutcome:
    """Derives the changes of each window of a range that has none yet; idempotent.

    Raises ``VerificationError`` for a part that is not as committed, ``ConfigurationError`` for windows with another
    privacy rule, and what reading a history raises.
    """
    derivation, is_complete = _Derivation(spec, store, reader), True
    try:
        derivation.run()
    except _EnoughRequestsError:
        is_complete = False
    request_count = derivation.histories.request_count
    older = older_windows(store, spec.time_range.start)
    return ChangesOutcome(tuple(derivation.commits), request_count, is_complete, tuple(derivation.skipped), older)


def older_windows(store: Store, start: datetime) -> tuple[TimeWindow, ...]:
    """Returns the windows that end before an instant and whose newest generation has no commit of changes, sorted.

    It lists the folders of manifests and of changes once, and reads nothing.
    """
    listed = newest_manifests(store.list_keys(MANIFEST_FOLDER))
    older = {window: key for window, key in listed.items() if window.end <= start}
    done = set(store.list_keys(CHANGES_FOLDER)) if older else set()
    return tuple(window for window, key in sorted(older.items()) if change_commit_key(window, key) not in done)


class _Derivation:
    """One run over the windows of a range."""

    def __init__(self, spec: ChangesSpec, store: Store, reader: AuditLogReader) -> None:
        self.commits: list[ChangesCommit] = []
        self.skipped: list[TimeWindow] = []
        self.histories = _Histories(spec, reader)
        self._spec = spec
        self._store = store

    def run(self) -> None:
        """Derives the changes of each window, the oldest first."""
        listed = newest_manifests(manifest_keys_around(self._store, self._spec.time_range))
        for window, key in sorted(listed.items()):
            if window.overlaps(self._spec.time_range) and not self._is_done(change_commit_key(window, key)):
                self._derive(window, key)

    def _is_done(self, commit_key: str) -> bool:
        """Returns whether a window is committed, or waits for histories that the API refuses in this run, too."""
        if self._store.read(commit_key) is not None:
            return True
        return self.histories.is_forbidden and self._store.read(forbidden_key(commit_key)) is not None

    def _derive(self, window: TimeWindow, manifest_key: str) -> None:
        committed = read_committed(self._store, manifest_key)
        manifest = committed.manifest
        if manifest.privacy != privacy_entry(self._spec.privacy):
            if manifest.erased:
                self.skipped.append(window)
                return
            raise ConfigurationError(
                f"The window {window} was written with another privacy rule than this task has, so the values of its "
                "records would be written in another form. Give this task the privacy argument of the land task."
            )
        files = [file for part in manifest.parts for file in self._files_of(committed, part)]
        commit = ChangesCommit(manifest_key, committed.sha256, manifest.record_count, tuple(files))
        self._commit(window, commit)
        self.commits.append(commit)

    def _commit(self, window: TimeWindow, commit: ChangesCommit) -> None:
        """Removes what a commit takes the place of, then creates it; a reader of all files sees no record twice."""
        final_key = change_commit_key(window, commit.manifest_key)
        has_all = not any(ChangeStatus.FORBIDDEN in file.statuses for file in commit.files)
        key, content = final_key if has_all else forbidden_key(final_key), commit.to_bytes()
        if not has_all and self._store.read(key) == content:
            return
        self._store.remove(self._superseded(window, final_key, commit))
        self._store.create(key, content)

    def _superseded(self, window: TimeWindow, final_key: str, commit: ChangesCommit) -> list[str]:
        """Returns the files that earlier commits of a window name and this one does not, then those commits."""
        kept = {file.key for file in commit.files}
        # Only keys of the folder: anyone who can write to it could let a commit name other objects.
        listed = [key for key in self._store.list_keys(changes_folder(window)) if is_change_key(key)]
        # A later generation is left alone, because another run may just be writing it.
        newest = change_generation(final_key)
        earlier = [key for key in listed if key != final_key and 0 < change_generation(key) <= newest]
        names = {key: {file.key for file in read_commit(key, self._store.read(key)).files} for key in earlier}
        left_out = set().union(*names.values(), map(forbidden_key, kept)) - kept
        return [*(key for key in listed if key in left_out), *(key for key in earlier if names[key] - kept)]

    def _files_of(self, committed: CommittedManifest, part: Part) -> Iterator[ChangeFile]:
        """Yields the files of one part, in the same portions at each run."""
        query = committed.manifest.query
        records = read_part(self._store, part, committed_format(committed.manifest), query.version)
        groups: dict[object, list[AuditRecord]] = {}
        for number, record in enumerate(records):
            group = resource_of(record) if query.version is ApiVersion.V2 else number // _GROUP_RECORDS
            groups.setdefault(group, []).append(record)
        for number, portion in enumerate(_portions(groups.items(), _PORTION_RESOURCES)):
            key = change_file_key(committed.manifest.window, part.key, number)
            content = self._store.read(key)
            if content is None:
                self.histories.check_count()
                rows = list(self._rows(query, portion))
                if any(row.history_status == ChangeStatus.FORBIDDEN for row in rows):
                    key = forbidden_key(key)
                content = write_rows(sorted(rows, key=lambda row: (row.event_time, row.id)))
                # Another run may have been faster: then its file is the one that counts.
                if not self._store.create(key, content):
                    content = self._store.read(key) or content
            yield change_file(key, content)

    def _rows(self, query: AuditQuery, portion: Iterable[tuple[object, list[AuditRecord]]]) -> Iterator[ChangeRow]:
        for resource, group in portion:
            yield from change_rows(group, changes_of(query.version, group, self.histories.of(query, resource, group)))


class _Histories:
    """Requests the history of each resource once, at the pace of a share of the rate limit."""

    def __init__(self, spec: ChangesSpec, reader: AuditLogReader) -> None:
        self.request_count = 0
        self.is_forbidden = False
        self._spec = spec
        self._reader = reader
        self._known: dict[object, tuple[int, History]] = {}

    def check_count(self) -> None:
        """Raises an error if the run has sent its requests; not inside a portion, or no run would end it."""
        if self._spec.max_requests is not None and self.request_count >= self._spec.max_requests:
            raise _EnoughRequestsError

    def of(self, query: AuditQuery, resource: object, group: Sequence[AuditRecord]) -> History:
        """Returns the history of a resource, back to a value before the first of its records."""
        if query.version is ApiVersion.V1:
            return History(ChangeStatus.RECORDED)
        asked = next((record for record in reversed(group) if is_record_id(record.id)), None)
        if resource is None or asked is None:
            return History(ChangeStatus.UNAVAILABLE)
        first_ns, known = self._known.get(resource, (None, None))
        if known is None or first_ns is None or group[0].event_ns < first_ns:
            known = self._request(query, asked, group[0].event_ns)
            self._known[resource] = group[0].event_ns, known
            while len(self._known) > _MOST_HISTORIES:
                del self._known[next(iter(self._known))]
        return known

    def _request(self, query: AuditQuery, record: AuditRecord, first_ns: int) -> History:
        if self.is_forbidden:
            return History(ChangeStatus.FORBIDDEN)
        window = TimeWindow(retention_starts_at(self._spec.now), self._spec.now)
        reader = HistoryReader(ReadRequest(query.version, window, Direction.DESC), pages_per_cut=1)
        log = AuditQuery(query.version, query.scope, query.scope_id)
        asked = history_query(log, record.id, format_ns(record.event_ns, _TIME_DIGITS))
        found: list[AuditRecord] = []
        try:
            for records in self._reader.read(asked, reader):
                found += records
                # The reader yields all records of one time together, so the records are not cut between two of them.
                if any(one.event_ns < first_ns and shows_value(one) for one in records):
                    break
        except SourceAuthError as error:
            # 401: the credential itself is refused, which is no statement about histories.
            if error.status != 403:
                raise
            self.is_forbidden = True
            return History(ChangeStatus.FORBIDDEN)
        finally:
            self.request_count += reader.stats.request_count
            self._pause(reader.stats.request_count)
        rule = self._spec.privacy
        covered = found if rule is None else rule.apply(query.version, found)
        return History(str(reader.history_status), tuple(sorted(covered)))

    def _pause(self, request_count: int) -> None:
        """Waits so long that the requests take their share of the limit on average, and no more."""
        self._reader.pause(request_count / (self._spec.rate_share * self._reader.limit.per_second()))


def _portions(items: Iterable[_T], item_count: int) -> Iterator[list[_T]]:
    iterator = iter(items)
    while portion := list(islice(iterator, item_count)):
        yield portion

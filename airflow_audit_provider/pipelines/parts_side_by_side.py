"""Reads and checks the parts of a verification side by side: reading waits for a store, decompression for nobody.

Parts of one window are read side by side and checked in the manifest's order, because the digest of a generation covers
the records of several parts.

Invariant: windows come in their order, each with the findings that checking its parts one after the other has. No more
than ``MOST_BYTES`` of parts are in memory, or one part if it is larger.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

from airflow_audit_provider.core.archive.manifest import Manifest, Part
from airflow_audit_provider.core.ports import Store
from airflow_audit_provider.core.verification.manifest_chain import Chain, StoredManifest
from airflow_audit_provider.core.verification.part_checks import WindowCheck
from airflow_audit_provider.formats.part_format import committed_format

# A read of a small object from S3 takes some 30 ms. More than four reads of a local disk make a verification take 2 %
# longer; a folder that is mounted over a network counts as local here.
_MOST_READ = 16
_MOST_READ_LOCALLY = 4
# More threads wait for the interpreter's lock, and each needs some 20 MB for the rows of a Parquet file.
_MOST_CHECKED = 4
# A part has at most 128 MiB unless ``max_part_bytes`` says otherwise.
MOST_BYTES = 128 << 20


class OpenWindow(NamedTuple):
    """A window whose manifests were read and whose parts are being checked."""

    stored: list[StoredManifest]
    chain: Chain
    check: WindowCheck


class _Step(NamedTuple):
    """The read of a part, which returns its check, or the end of a window if there is none."""

    window: OpenWindow
    size_bytes: int = 0
    read: Future[Future[int]] | None = None


class PartsSideBySide:
    """Checks the parts of windows; ``listed_bytes`` returns a part's listed size, None if it was not listed.

    ``size_bytes`` counts the bytes that were read.
    """

    def __init__(self, store: Store, listed_bytes: Callable[[str], int | None]) -> None:
        self.size_bytes = 0
        self._store = store
        self._listed_bytes = listed_bytes
        most_read = _MOST_READ if store.is_remote else _MOST_READ_LOCALLY
        self._reads = ThreadPoolExecutor(most_read, thread_name_prefix="audit-log-read")
        # More threads than processors only hand the interpreter's lock and the caches over more often.
        most_checked = min(_MOST_CHECKED, _processor_count())
        self._checks = ThreadPoolExecutor(most_checked, thread_name_prefix="audit-log-check")
        self._steps: deque[_Step] = deque()
        self._held_bytes = 0

    def checked(self, windows: Iterable[OpenWindow]) -> Iterator[OpenWindow]:
        """Yields each window when its parts were checked; the first error of the store is raised and ends the reads."""
        try:
            for window in windows:
                yield from self._start(window)
            while self._steps:
                yield from self._settle()
        finally:
            try:
                self._reads.shutdown(cancel_futures=True)
            finally:
                # All reads have ended, so nothing waits for a check that is cancelled.
                self._checks.shutdown(cancel_futures=True)

    def _start(self, window: OpenWindow) -> Iterator[OpenWindow]:
        previous: Future[Future[int]] | None = None
        for part in window.check.parts:
            while self._steps and not self._has_room(part):
                yield from self._settle()
            # Threads take parts in this order, so the previous one of a window is never behind this one.
            previous = self._reads.submit(self._read, window.check, part, self._listed_bytes(part.key), previous)
            self._held_bytes += part.size_bytes
            self._steps.append(_Step(window, part.size_bytes, previous))
        self._steps.append(_Step(window))

    def _has_room(self, part: Part) -> bool:
        return len(self._steps) < 2 * _MOST_READ and self._held_bytes + part.size_bytes <= MOST_BYTES

    def _settle(self) -> Iterator[OpenWindow]:
        """Waits for the oldest step; yields its window if that was the last one."""
        window, size_bytes, read = self._steps.popleft()
        if read is None:
            yield window
        else:
            self.size_bytes += _finished(read)
            self._held_bytes -= size_bytes

    def _read(
        self, check: WindowCheck, part: Part, listed_bytes: int | None, previous: Future[Future[int]] | None
    ) -> Future[int]:
        """Reads a part, and has it checked after the previous one of its window."""
        is_read = listed_bytes is None or listed_bytes == part.size_bytes
        content = self._store.read(part.key) if is_read else None
        if previous is not None:
            _finished(previous)
        return self._checks.submit(_check_part, check, part, listed_bytes, content)


def _finished(read: Future[Future[int]]) -> int:
    """Waits until a part was read and checked; returns how many bytes were read."""
    return read.result().result()


def _processor_count() -> int:
    """Returns the number of processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_part(check: WindowCheck, part: Part, listed_bytes: int | None, content: bytes | None) -> int:
    """Checks a part; returns how many bytes were read."""
    if not check.check_size(part, listed_bytes):
        return 0
    if check.check_bytes(part, content) and content is not None and check.newest is not None:
        check_part_records(check, check.newest.manifest, part, content)
    return len(content or b"")


def check_part_records(check: WindowCheck, manifest: Manifest, part: Part, content: bytes) -> None:
    """Checks the records of a part: all at once if they are plain, else one by one."""
    version = manifest.query.version
    # What cannot be read as plain records is read again, and an error becomes a finding only then.
    try:
        check.check_plain_records(part, committed_format(manifest).read_plain(version, content))
    except Exception:  # noqa: BLE001 - decoders raise many kinds of errors on damaged bytes; read again below
        try:
            check.check_records(part, committed_format(manifest).read(version, content, part.first_event_ns))
        except Exception as error:  # noqa: BLE001 - decoders raise many kinds of errors; reported as a finding
            check.on_unreadable(part, error)

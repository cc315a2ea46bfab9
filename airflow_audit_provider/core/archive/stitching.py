"""Stitched history: one root with a dataset for each API version, and the cut-over between them.

Version 2 has no records from before it began, and version 1 has everything; the two describe one action by different
records, whose times may differ. So version 1 is read up to the cut-over and through the overlap after it, version 2
from the cut-over on, and an action near the cut-over is in at least one of them::

    version 1   ──────────────────────────┐ end of the overlap
    version 2                 ┌───────────┴───────────────────
                           cut-over

Invariant: every instant before the end of the overlap is in a window of version 1, and every instant from the cut-over
on in one of version 2. Each version's own windows adjoin without a gap if those of the runs do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from typing import NamedTuple

import msgspec

from airflow_audit_provider.core.api.endpoints import ACCOUNT, V1, VERSIONS
from airflow_audit_provider.core.api.query import AuditQuery
from airflow_audit_provider.core.archive.manifest import canonical_json
from airflow_audit_provider.core.windows.run_window import RunWindow
from airflow_audit_provider.core.windows.window import LATEST_AT, TimeWindow, format_instant
from airflow_audit_provider.exceptions import CommitConflictError, ConfigurationError, VerificationError

STITCHING_KEY = "_stitched.json"
STITCHING_VERSION = 1
_SECOND, _DAY = timedelta(seconds=1), timedelta(days=1)


class Stitching(msgspec.Struct, frozen=True):
    """Descriptor of a stitched root: whose log it holds, and where version 2 takes over.

    ``overlap_seconds`` is how long version 1 is landed after the cut-over, None for as long as it exists. ``filters``
    have Python names, which both versions share.
    """

    account_id: str
    filters: tuple[tuple[str, str], ...]
    cut_over_at: datetime
    overlap_seconds: int | None
    stitching_version: int = STITCHING_VERSION

    @property
    def v1_ends_at(self) -> datetime:
        """The end of the overlap: a window that starts then or later is of version 2 only."""
        if self.overlap_seconds is None or self.overlap_seconds >= (LATEST_AT - self.cut_over_at).total_seconds():
            return LATEST_AT
        return self.cut_over_at + timedelta(seconds=self.overlap_seconds)

    def to_bytes(self) -> bytes:
        """Returns the descriptor's canonical bytes, see :func:`canonical_json`."""
        return canonical_json(self)

    def landed(self, version: str, window: TimeWindow) -> TimeWindow | None:
        """Returns what a run for a window lands of a version, None for nothing.

        Of version 1 the whole window, also if it reaches beyond the overlap, so that a longer overlap later continues
        with whole windows. Of version 2 what lies after the cut-over.
        """
        if version == V1:
            return window if window.start < self.v1_ends_at else None
        return _clipped(window, self.cut_over_at, LATEST_AT)

    def required(self, version: str, time_range: TimeWindow) -> TimeWindow | None:
        """Returns the part of a range that a version has to cover, None for nothing."""
        if version == V1:
            return _clipped(time_range, time_range.start, self.v1_ends_at)
        return _clipped(time_range, self.cut_over_at, LATEST_AT)

    def may_have_late_records(self, version: str, before: datetime) -> bool:
        """Returns whether windows of a version can be committed before an instant.

        Late records of version 1 arrive for some time after its last window, when runs land version 2 only.
        """
        return version == V1 or before > self.cut_over_at

    def has_place_for(self, version: str, window: TimeWindow) -> bool:
        """Returns whether a committed window can be one of a version's, as its runs land them."""
        return self.landed(version, window) == window

    def log_differences(self, version: str, query: AuditQuery) -> list[str]:
        """Returns each property in which the log of a dataset differs from that of this history's version."""
        held = f"{query.version}, {query.scope} {query.scope_id}", _python_named(query.filters)
        own = f"{version}, {ACCOUNT} {self.account_id}", self.filters
        texts = (("audit log", held[0], own[0]), ("filters", _filter_text(held[1]), _filter_text(own[1])))
        return [f"{name} {mine}, not {other}" for name, mine, other in texts if mine != other]

    def __str__(self) -> str:
        return ", ".join(f"{name} {text}" for name, _, text in self._facts())

    def differences_from(self, other: Stitching) -> list[str]:
        """Returns each property in which this descriptor differs from another one."""
        pairs = zip(self._facts(), other._facts(), strict=True)
        return [f"{name} {text}, not {theirs}" for (name, mine, text), (_, other_, theirs) in pairs if mine != other_]

    def _facts(self) -> tuple[tuple[str, object, str], ...]:
        overlap = "no end" if self.overlap_seconds is None else str(self.v1_ends_at - self.cut_over_at)
        return (
            ("account", self.account_id, self.account_id),
            ("filters", self.filters, _filter_text(self.filters)),
            ("cut_over", self.cut_over_at, format_instant(self.cut_over_at)),
            ("overlap", self.overlap_seconds, overlap),
        )


class StreamRun(NamedTuple):
    """What a run does for one version: the windows to land, which may be none, and its folder in the root."""

    version: str
    windows: tuple[RunWindow, ...]

    @property
    def folder(self) -> str:
        """The folder of the version's dataset, ending in a slash."""
        return stream_folder(self.version)


def stream_folder(version: str) -> str:
    """Returns the folder of a version's dataset in a stitched root, ending in a slash."""
    return f"{version}/"


def plan_streams(stitching: Stitching, windows: Iterable[RunWindow]) -> tuple[StreamRun, ...]:
    """Returns what a run for adjoining windows lands of each version, version 1 first."""
    whole = tuple(windows)
    return tuple(StreamRun(version, tuple(_landed(stitching, version, whole))) for version in VERSIONS)


def _landed(stitching: Stitching, version: str, windows: Iterable[RunWindow]) -> Iterator[RunWindow]:
    for run_window in windows:
        landed = stitching.landed(version, run_window.window)
        if landed is not None:
            yield run_window._replace(window=landed, partition_date=_filed_on(landed, run_window.partition_date))


def _filed_on(landed: TimeWindow, whole_on: date) -> date:
    """Returns the date under which a window is filed: that of the whole one, so that a cut day is in its day's folder.

    A longer window that is cut days after its start is filed under the UTC date of its own start, because a manifest
    with a date further from it counts as misplaced.
    """
    started_on = landed.start.date()
    return whole_on if abs(started_on - whole_on) <= _DAY else started_on


def _clipped(window: TimeWindow, start: datetime, end: datetime) -> TimeWindow | None:
    start, end = max(window.start, start), min(window.end, end)
    return TimeWindow(start, end) if start < end else None


def stitching_of(
    account_id: str, filters: Iterable[tuple[str, str]], cut_over_at: datetime, overlap: timedelta
) -> Stitching:
    """Returns the descriptor that a run's arguments state; ``filters`` may have the API names of either version."""
    seconds = None if overlap >= LATEST_AT - cut_over_at else overlap // _SECOND
    return Stitching(account_id, _python_named(filters), cut_over_at, seconds)


def _python_named(filters: Iterable[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name.replace(".", "_"), value) for name, value in filters))


def _filter_text(filters: Iterable[tuple[str, str]]) -> str:
    return ", ".join(f"{name}={value}" for name, value in filters) or "none"


def check_cut_over(cut_over_at: datetime, v2_starts_at: datetime | None) -> None:
    """Raises ``ConfigurationError`` if version 2 would have to cover a time before its history begins."""
    if v2_starts_at is not None and cut_over_at < v2_starts_at:
        raise ConfigurationError(
            f"cut_over is {format_instant(cut_over_at)}, before the history of version 2 of the API begins "
            f"({format_instant(v2_starts_at)}). Windows of version 2 before that have no records, "
            "and would look like windows without activity. Give a later cut_over. If your log begins on another day, "
            "set v2_history_start in section [cloudflare_audit_logs] of Airflow's configuration."
        )


def read_stitching(content: bytes) -> Stitching:
    """Decodes a descriptor; raises ``VerificationError`` if the bytes are damaged or of another version."""
    try:
        # First, because a later version may have other fields.
        version = msgspec.json.decode(content, type=_Versioned).stitching_version
        if version == STITCHING_VERSION:
            stitching = msgspec.json.decode(content, type=Stitching)
            _check_bounds(stitching)
            return stitching
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise VerificationError(
            f"The descriptor {STITCHING_KEY} of the stitched history cannot be decoded ({error}). Restore it from a "
            "copy, or remove it: the next run creates it from its arguments."
        ) from error
    raise VerificationError(
        f"The descriptor {STITCHING_KEY} of the stitched history has version {version}, which this release of the "
        "provider does not support. Upgrade airflow-audit-provider."
    )


class _Versioned(msgspec.Struct):
    stitching_version: int = STITCHING_VERSION


def _check_bounds(stitching: Stitching) -> None:
    """Raises ``ValueError`` for a cut-over without time zone, or an overlap that no run can have stated."""
    if stitching.cut_over_at.tzinfo is None:
        raise ValueError("the cut-over has no time zone")
    if stitching.overlap_seconds is not None and stitching.overlap_seconds <= 0:
        raise ValueError("the overlap is not longer than zero")


def extends(held: Stitching, asked: Stitching) -> bool:
    """Returns whether a run asks for a longer overlap than a root has; raises for any other difference.

    A longer overlap only asks for more of version 1. Raises ``CommitConflictError``.
    """
    if held == asked:
        return False
    differs_in_overlap_only = msgspec.structs.replace(held, overlap_seconds=asked.overlap_seconds) == asked
    if differs_in_overlap_only and asked.v1_ends_at > held.v1_ends_at:
        return True
    raise CommitConflictError(
        f"The destination holds another stitched history than this run ({STITCHING_KEY}): "
        f"{'; '.join(held.differences_from(asked))}. Nothing was read or written. Give the arguments of the "
        "destination, or use another destination. The overlap can be made longer, but not shorter. If nothing is "
        f"landed below the destination yet, remove {STITCHING_KEY} and run again.",
        key=STITCHING_KEY,
    )

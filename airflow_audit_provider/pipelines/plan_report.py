"""What a plan of a backfill states: values for JSON and XCom, a table for people, and the commands to run.

Invariant: each window of the range is counted in exactly one state.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

import msgspec

from airflow_audit_provider.core.verification.findings import as_table, printable
from airflow_audit_provider.core.windows.window import count_of, format_instant

# An XCom and a screen hold so many spans; the plan as JSON has all of them.
SUMMARY_SPANS = 20


class WindowState(StrEnum):
    """State of a window in a plan.

    ``committed``: nothing to do. ``missing``: the API still has all of it. ``pending``: not over, or not settled.
    ``lost``: the window, or a part of it, was never committed and is older than what the API surely still has, so the
    window can no longer be read whole. ``no_history``: it starts before version 2's own history. ``partial``: windows
    of another length cover a part of it, so that a pull of the whole window is refused; the API still has the rest.
    ``foreign``: it is committed for another dataset.
    """

    COMMITTED = "committed"
    MISSING = "missing"
    PENDING = "pending"
    LOST = "lost"
    NO_HISTORY = "no_history"
    PARTIAL = "partial"
    FOREIGN = "foreign"


class PlannedSpan(msgspec.Struct, frozen=True):
    """Adjacent windows of one state; ``expires_at`` is when the first one of a missing span can no longer be read."""

    start: datetime
    end: datetime
    state: WindowState
    window_count: int
    expires_at: datetime | None


class Expiry(msgspec.Struct, frozen=True):
    """How many missing windows expire within this many days from now: after that, they can no longer be read."""

    within_days: int
    window_count: int


class Sampling(msgspec.Struct, frozen=True):
    """Requests that the plan itself sent to the audit log, and the share of the missing time that their pages show."""

    request_count: int
    record_count: int
    covered_share: float


class Need(msgspec.Struct, frozen=True):
    """Estimated need of a backfill of the missing windows.

    ``limit_seconds`` is how long the requests take at the token's limit if nothing else uses it.
    ``elapsed_seconds`` adds the start of the tasks, with ``runs_side_by_side`` of them at a time.
    """

    record_count: int
    request_count: int
    limit_request_count: int
    limit_period_seconds: float
    limit_seconds: float
    runs_side_by_side: int
    elapsed_seconds: float


class FormSize(msgspec.Struct, frozen=True):
    """Estimated size of the missing windows in one form; ``is_dataset`` if the destination's dataset has this form."""

    file_format: str
    compression: str
    schema: str
    size_bytes: int
    is_dataset: bool


class Plan(msgspec.Struct, frozen=True):
    """Plan of a backfill; docs/reference/backfill-plan.schema.json is the schema of its JSON.

    ``windows`` counts the windows of the range by state. ``commands`` create the backfills of the missing spans, in
    the order in which these expire; ``more_spans`` is how many missing spans have no command yet.
    """

    planned_at: datetime
    start: datetime
    end: datetime
    division: str
    timezone: str
    audit_log: str
    windows: dict[str, int]
    spans: tuple[PlannedSpan, ...]
    first_expires_at: datetime | None
    expiries: tuple[Expiry, ...]
    sampling: Sampling
    need: Need
    forms: tuple[FormSize, ...]
    commands: tuple[str, ...]
    more_spans: int

    def count(self, state: WindowState) -> int:
        """Returns the number of windows in a state."""
        return self.windows[state]

    @property
    def is_obstructed(self) -> bool:
        """Whether a part of the range is lost for good, or cannot be pulled until someone decides about it."""
        return any(map(self.count, (WindowState.LOST, WindowState.PARTIAL, WindowState.FOREIGN)))

    def summary(self) -> dict[str, object]:
        """Returns the plan for XCom: the same, with a bounded number of spans, and times as text."""
        values = msgspec.to_builtins(self)
        due = [one for one in values["spans"] if one["state"] != WindowState.COMMITTED]
        return {**values, "spans": due[:SUMMARY_SPANS], "span_count": len(due)}

    def text(self) -> str:
        """Returns the plan as text for people."""
        sections = (self._windows_text(), self._losses_text(), self._need_text(), self._forms_text(), self._command())
        return "\n".join(section for section in sections if section)

    def _windows_text(self) -> str:
        rows = [("start", "end", "state", "windows", "readable until")]
        shown = [span for span in self.spans if span.state is not WindowState.COMMITTED]
        rows += [_span_row(span) for span in shown[:SUMMARY_SPANS]]
        more = len(shown) - SUMMARY_SPANS
        counts = ", ".join(f"{count} {state}" for state, count in self.windows.items() if count) or "none"
        return (
            f"{printable(self.audit_log)}\n{format_instant(self.start)} to {format_instant(self.end)}, windows of one "
            f"{self.division} in {self.timezone}: {counts}\n"
            + (as_table(rows) if shown else "")
            + (f"{more} more spans; --json lists all of them.\n" if more > 0 else "")
        )

    def _losses_text(self) -> str:
        lines = []
        if lost := self.count(WindowState.LOST):
            lines.append(f"{lost} {_windows(lost)} lost for good: Cloudflare keeps audit logs for 18 months.")
        if none := self.count(WindowState.NO_HISTORY):
            lines.append(
                f"{none} {_windows(none)} before version 2's history: version 1 has the logs of that time, with "
                "api_version='v1', but none of an organization."
            )
        if partial := self.count(WindowState.PARTIAL):
            lines.append(f"{partial} {_windows(partial)} partly committed in another length: fill them in that length.")
        if foreign := self.count(WindowState.FOREIGN):
            lines.append(f"{foreign} {_windows(foreign)} committed for another dataset: see the coverage command.")
        lines += [_expiry_line(one) for one in self.expiries if one.window_count]
        return "".join(f"{line}\n" for line in lines)

    def _need_text(self) -> str:
        if not self.count(WindowState.MISSING):
            return ""
        need, sampling = self.need, self.sampling
        return (
            f"About {count_of(need.record_count, 'record')} and {count_of(need.request_count, 'request')}; estimated "
            f"from {count_of(sampling.request_count, 'request')}, whose pages cover {sampling.covered_share:.1%} of "
            "the missing time.\n"
            f"At {count_of(need.limit_request_count, 'request')} in {need.limit_period_seconds:g} seconds: "
            f"{need.limit_seconds / 60:.1f} minutes. With {need.runs_side_by_side} runs side by side and the start of "
            f"their tasks: about {need.elapsed_seconds / 60:.1f} minutes.\n"
        )

    def _forms_text(self) -> str:
        if not self.forms:
            return ""
        rows = [("file_format", "compression", "schema", "bytes", "")]
        rows += [
            (
                one.file_format,
                one.compression,
                one.schema,
                str(one.size_bytes),
                "this dataset" if one.is_dataset else "",
            )
            for one in self.forms
        ]
        return as_table(rows)

    def _command(self) -> str:
        more = f"{self.more_spans} more missing spans: make the plan again afterwards.\n" if self.more_spans else ""
        return "".join(f"{command}\n" for command in self.commands) + more + self._one_task_text()

    def _one_task_text(self) -> str:
        """Names the other way to land what is missing; committed windows between the missing ones are skipped in it."""
        missing = [span for span in self.spans if span.state is WindowState.MISSING]
        if not missing:
            return ""
        first, last = missing[0], missing[-1]
        between = {span.state for span in self.spans if first.start < span.start < last.end}
        if not between <= {WindowState.MISSING, WindowState.COMMITTED}:
            return ""
        zone = "" if self.timezone == "UTC" else f", timezone={self.timezone!r}"
        return (
            f"Or in one task, which starts only once: partition_by={self.division!r}, "
            f"window_start={first.start.isoformat()!r}, window_end={last.end.isoformat()!r}{zone}\n"
        )


def backfill_command(dag_id: str, first_at: datetime, last_at: datetime, runs: int, *, is_whole_days: bool) -> str:
    """Returns the command that creates the runs of the windows that start from ``first_at`` to ``last_at``.

    Airflow's bounds are inclusive. Runs that failed before are run again; those that succeeded are not.
    """
    bounds = [str(one.date()) if is_whole_days else one.isoformat() for one in (first_at, last_at)]
    words = ["airflow", "backfill", "create", "--dag-id", dag_id, "--from-date", bounds[0], "--to-date", bounds[1]]
    return shlex.join([*words, "--max-active-runs", str(runs), "--reprocess-behavior", "failed"])


def counted(states: Sequence[WindowState]) -> dict[str, int]:
    """Returns the number of windows in each state, also in those that none has."""
    return {str(state): sum(one is state for one in states) for state in WindowState}


def _expiry_line(expiry: Expiry) -> str:
    name = "window expires" if expiry.window_count == 1 else "windows expire"
    return f"{expiry.window_count} {name} within {expiry.within_days} days."


def _windows(count: int) -> str:
    return "window is" if count == 1 else "windows are"


def _span_row(span: PlannedSpan) -> tuple[str, str, str, str, str]:
    until = format_instant(span.expires_at)[:10] if span.expires_at else ""
    return format_instant(span.start), format_instant(span.end), span.state, str(span.window_count), until

"""The run of the command ``pull``: the pipeline of the land operator, without a task around it.

It is imported when the command runs, because Airflow takes seconds to import.

Invariant: what it commits is what a task of the land operator with ``partition_by`` commits, and either can continue
where the other one has stopped.
"""

from __future__ import annotations

import argparse
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from io import StringIO
from typing import Any, NamedTuple, TextIO
from uuid import uuid4

from airflow_audit_provider._airflow.config import (
    concurrency_or_configured,
    configured_edges_pause,
    history_starts_at,
    max_part_bytes_or_configured,
    settle_delay_or_configured,
)
from airflow_audit_provider._airflow.destinations import local_dataset_uri
from airflow_audit_provider._airflow.observability.log_lines import window_text
from airflow_audit_provider._airflow.range_report import range_line, range_summary
from airflow_audit_provider._airflow.secrets import open_privacy
from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
from airflow_audit_provider.adapters.storage.fsspec_store import store_from_uri
from airflow_audit_provider.adapters.storage.lake_store import LakeStore
from airflow_audit_provider.cli.arguments import (
    EXIT_OK,
    EXIT_PROBLEM,
    SIGNAL_STATUS,
    WHOLE_RANGE,
    CommandResult,
    json_object,
    privacy_of,
)
from airflow_audit_provider.cli.plan_run import hook_for, named_log
from airflow_audit_provider.cli.progress import PullProgress
from airflow_audit_provider.core.archive.dataset import Dataset, lake_for, read_dataset
from airflow_audit_provider.core.archive.object_keys import DATASET_KEY
from airflow_audit_provider.core.limits import HIVE, SECURITY_LAKE, check_concurrency
from airflow_audit_provider.core.windows.partitions import divide, whole_partitions
from airflow_audit_provider.core.windows.readiness import whole_windows_start_at
from airflow_audit_provider.core.windows.run_window import RunBounds, RunWindow, read_bound, resolve_run_window
from airflow_audit_provider.core.windows.window import TimeWindow, count_of, format_instant
from airflow_audit_provider.exceptions import ConfigurationError
from airflow_audit_provider.hooks.cloudflare import CloudflareHook
from airflow_audit_provider.pipelines.dataset import form_upon
from airflow_audit_provider.pipelines.pull_range import RangeOutcome, RangeSpec, pull_range
from airflow_audit_provider.pipelines.pull_spec import PullSpec
from airflow_audit_provider.pipelines.stitching import check_one_version

_LAKE_EXAMPLE = '{"bucket": "s3://bucket", "source": "cf_audit_{class_uid}", "region": "eu-central-1"}'


class _Windows(NamedTuple):
    """The windows of the range that are settled, and those that are not yet."""

    due: Sequence[RunWindow]
    pending: Sequence[RunWindow]


def pull(options: argparse.Namespace, output: TextIO) -> CommandResult:
    """Lands the windows of the range that are not committed, and shows the progress on ``output``."""
    home = store_from_uri(options.destination)
    content = home.read(DATASET_KEY)
    if content is None:
        check_one_version(home)
    held = read_dataset(content) if content is not None else None
    with closing(hook_for(options)) as hook:
        delay = settle_delay_or_configured(options.settle_delay)
        spec = _spec(options, hook, held, delay)
        store = LakeStore(home, store_from_uri, spec.lake.bucket) if spec.lake else home
        windows = _windows(options, spec, hook.clock.now())
        if not windows.due:
            return _result(options, windows, RangeOutcome())
        shown = StringIO() if options.quiet else output
        progress = PullProgress(
            [each.window for each in windows.due], local_dataset_uri(options.destination), shown, hook.clock
        )
        reader = hook.reader(progress.on_step)
        range_spec = RangeSpec(spec._replace(run_window=windows.due[0]), windows.due, options.reread_committed)
        with _cancelled_by_signals(reader) as caught, progress:
            try:
                outcome = pull_range(range_spec, reader, store, progress)
            except CancelledError:
                return _interrupted(progress, caught, output)
    return _result(options, windows, outcome)


def _spec(options: argparse.Namespace, hook: CloudflareHook, held: Dataset | None, delay: timedelta) -> PullSpec:
    """Returns the spec of the pulls; its window is any."""
    severity = json_object("--ocsf-severity", options.ocsf_severity, '{"credential_created": "High"}')
    filters, given = _filters(options.filter or ()), named_log(options)
    is_held = held is not None and not given and not filters
    query = held.query if held is not None and is_held else hook.checked_query(**given, filters=filters)
    concurrency = concurrency_or_configured(options.concurrency)
    check_concurrency(concurrency)
    begins_at = history_starts_at(query.version)
    oldest_at = max(filter(None, (whole_windows_start_at(hook.clock.now()), begins_at)))
    given_lake = json_object("--security-lake", options.security_lake, _LAKE_EXAMPLE)
    in_force = (held.layout or None) if held is not None else None
    lake = lake_for(query, given_lake, local_dataset_uri(options.destination)) if given_lake is not None else in_force
    layout = SECURITY_LAKE if lake else HIVE
    return PullSpec(
        query=query,
        run_window=RunWindow(TimeWindow(oldest_at, oldest_at + timedelta(days=1)), "explicit bounds", oldest_at.date()),
        part_format=form_upon(held, options.file_format, options.compression, options.schema, severity, layout),
        attempt_id=uuid4().hex,
        settle_delay=delay,
        max_part_bytes=max_part_bytes_or_configured(None),
        odd_records=options.odd_records,
        concurrency=concurrency,
        verify=options.verify,
        edges_pause=configured_edges_pause(),
        privacy=open_privacy(privacy_of(options)),
        history_starts_at=begins_at,
        lake=lake,
    )


def _filters(given: Sequence[str]) -> dict[str, Any]:
    """Returns filters given as ``name=value``; a name that is given again has several values."""
    found: dict[str, list[str]] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise ConfigurationError(
                f"--filter is {text!r}. Give a name and a value, such as actor_email=a@example.com."
            )
        found.setdefault(name.strip(), []).append(value)
    return {name: values if len(values) > 1 else values[0] for name, values in found.items()}


def _windows(options: argparse.Namespace, spec: PullSpec, now: datetime) -> _Windows:
    """Returns the windows of the range; without a bound, those that the API still has whole and that are settled."""
    zone, division = options.timezone, options.partition_by
    start, end = (read_bound(f"--{name}", getattr(options, name), zone) for name in ("start", "end"))
    if division != WHOLE_RANGE and (start is None or end is None):
        oldest_at, newest_at = spec.run_window.window.start, now - spec.settle_delay
        readable = whole_partitions(TimeWindow(start or oldest_at, end or newest_at), division, zone)
        start, end = start or readable.start, end or readable.end
    run_window = resolve_run_window(RunBounds(window_start=start, window_end=end, timezone=zone))
    windows = [run_window] if division == WHOLE_RANGE else divide(run_window, division, zone)
    due = [each for each in windows if each.window.settled_at(spec.settle_delay) <= now]
    return _Windows(due, windows[len(due) :])


def _result(options: argparse.Namespace, windows: _Windows, outcome: RangeOutcome) -> CommandResult:
    """Returns what the range has now; the status is 1 if windows are not settled yet."""
    both = [*windows.due, *windows.pending]
    whole = TimeWindow(both[0].window.start, both[-1].window.end)
    newest = outcome.newest and f"{local_dataset_uri(options.destination)}/{outcome.newest.manifest_key}"
    values = range_summary(whole, options.partition_by, outcome, newest)
    values |= {"pending_count": len(windows.pending), "is_interrupted": False}
    text = f"{range_line(whole, outcome)}\n"
    if outcome.missing_count:
        text += (
            f"The API no longer returns {count_of(outcome.missing_count, 'committed record')}; they stay committed.\n"
        )
    if outcome.odd_record_count:
        text += (
            f"{count_of(outcome.odd_record_count, 'record')} break the API's contract; they are written as they are.\n"
        )
    if windows.pending:
        first, last = windows.pending[0].window, windows.pending[-1].window
        settled_at = format_instant(last.settled_at(settle_delay_or_configured(options.settle_delay)))
        count = count_of(len(windows.pending), "window")
        text += f"Not settled yet: {count} from {window_text(first)} on. Pull again after {settled_at}.\n"
    return CommandResult(EXIT_PROBLEM if windows.pending else EXIT_OK, text, values)


@contextmanager
def _cancelled_by_signals(reader: AuditLogReader) -> Iterator[list[int]]:
    """Cancels reading at the first Ctrl-C or SIGTERM, as Airflow does when it stops a task; a second one ends at once.

    The second one ends the process itself: an exception would wait for the threads that wait for responses.
    Yields the list of the signals that came.
    """
    caught: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield caught
        return
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.getsignal(number) for number in numbers}

    def stop(number: int, _frame: object) -> None:
        caught.append(number)
        for one in numbers:
            signal.signal(one, signal.SIG_DFL)
        reader.cancel()

    for number in numbers:
        signal.signal(number, stop)
    try:
        yield caught
    finally:
        for number, action in before.items():
            signal.signal(number, action)


def _interrupted(progress: PullProgress, caught: Sequence[int], output: TextIO) -> CommandResult:
    count = count_of(progress.committed_count, "window")
    output.write(f"Interrupted: this run has committed {count}. The same command continues from there.\n")
    values = {"committed_count": progress.committed_count, "is_interrupted": True}
    return CommandResult(SIGNAL_STATUS + (caught[0] if caught else signal.SIGINT), "", values)

"""One window of the campaign: drawn from a seed, pulled through the real pipelines into real files, and judged.

Invariant: the name of a window and the campaign's seed decide everything about it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from random import Random
from typing import NamedTuple
from unittest.mock import patch

from airflow_audit_provider.adapters.cloudflare.http import Credentials, Endpoint, HttpTransport, open_client
from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
from airflow_audit_provider.adapters.storage.local_store import LocalStore
from airflow_audit_provider.core.api.query import audit_query
from airflow_audit_provider.core.api.rate_limiter import RateLimiter
from airflow_audit_provider.core.api.retry import RetryLimits
from airflow_audit_provider.core.ports import Request, Response, Store, Transport
from airflow_audit_provider.core.verification.findings import severe
from airflow_audit_provider.core.windows.run_window import RunWindow
from airflow_audit_provider.core.windows.window import TimeWindow
from airflow_audit_provider.exceptions import AuditProviderError, WindowNotSettledError
from airflow_audit_provider.formats.part_format import part_format
from airflow_audit_provider.pipelines import part_writer
from airflow_audit_provider.pipelines.observer import NullObserver
from airflow_audit_provider.pipelines.pull import pull_window
from airflow_audit_provider.pipelines.pull_spec import PullSpec
from airflow_audit_provider.pipelines.verify import verify
from tests.campaign.http_host import HttpHost
from tests.campaign.lie import Lie
from tests.campaign.lies import HONEST, LIES
from tests.campaign.logs import USUAL_SHAPES, TrueLog, draw_log
from tests.campaign.lying_server import (
    ACCOUNT_ID,
    ORGANIZATION_ID,
    SCOPES,
    TOKEN,
    CampaignClock,
    LogServer,
    Manners,
    draw_manners,
)
from tests.campaign.oracle import Difference, difference, landed_lines
from tests.pipelines.pull.crashing_store import CrashingStore, CrashingTransport, CrashPoint, KilledError

DEFAULT_SEED = 14
# Real files without a real disk, where Linux has such a place: fsync takes half of the time otherwise.
_MEMORY_FOLDER = "/dev/shm"
# Airflow's retries of a task after its first attempt.
_TASK_RETRIES = 2
_RETRY_DELAY_SECONDS = 300.0
_ONE_HOUR_SECONDS = 3600.0
_MOST_REQUESTS = 400
_REQUESTS_PER_PAGE = 12


class Outcome(StrEnum):
    """How a window ended."""

    EXACT = "exact"
    LOUD = "loud"
    SILENT = "silent"
    HANG = "hang"
    BROKEN = "broken"


class HangError(BaseException):
    """The pull has sent more requests than any reading needs; a BaseException, so that no error handling hides it."""


class WindowName(NamedTuple):
    """What identifies a window: ``text`` is what commands print and take."""

    lie: str
    version: str
    number: int
    mode: str

    @property
    def text(self) -> str:
        """The name as one word."""
        return f"{self.lie}/{self.version}/{self.number}/{self.mode}"

    @classmethod
    def parse(cls, text: str) -> WindowName:
        """Returns the name that a text states; raises ``ValueError`` for another text."""
        lie, version, number, mode = text.split("/")
        if (lie != HONEST and lie not in LIES) or mode not in MODES or version not in SCOPES:
            raise ValueError(f"{text} names no window. Give LIE/VERSION/NUMBER/MODE.")
        return cls(lie, version, int(number), mode)


class Result(NamedTuple):
    """What came of a window; ``error`` is the class and the text of what was raised, empty without an error."""

    name: WindowName
    outcome: Outcome
    error: str
    difference: Difference | None
    request_count: int
    page_count: int
    took_effect: bool
    was_killed: bool
    is_fixed_by_next_run: bool = False
    violations: tuple[str, ...] = ()


# How a pull is verified.
MODES: dict[str, Callable[[PullSpec], PullSpec]] = {
    "plain": lambda spec: spec._replace(verify="none"),
    "edges": lambda spec: spec._replace(verify="edges"),
    "recount": lambda spec: spec._replace(verify="recount"),
}


class Kill(NamedTuple):
    """The operation at which an attempt is killed, counted from 1, and whether it takes effect before."""

    at: int
    after_effect: bool
    in_transport: bool


class Scenario(NamedTuple):
    """Everything that is drawn for one window."""

    name: WindowName
    log: TrueLog
    manners: Manners
    lie: Lie
    scope: str
    concurrency: int
    compression: str
    part_records: int
    kills: tuple[Kill, ...]
    runs_again: bool


def draw_scenario(name: WindowName, seed: int = DEFAULT_SEED) -> Scenario:
    """Returns the scenario of a name; the mode of verification changes nothing else."""
    rng = Random(f"{seed}/{name.lie}/{name.version}/{name.number}")
    kind = LIES.get(name.lie, Lie)
    odd_count = rng.randint(1, kind.odd_count) if kind.odd_count else 0
    log = draw_log(rng, name.version, kind.shapes or USUAL_SHAPES, odd_count, has_neighbours=kind.has_neighbours)
    drawn = draw_manners(rng, name.version)
    needed = {key: value for key, value in kind.manners.items() if key != "max_rows" or name.version == "v2"}
    manners = Manners(**{**vars(drawn), **needed})
    is_honest = name.lie == HONEST
    kills = tuple(
        Kill(rng.randint(1, 40), rng.random() < 0.5, rng.random() < 0.4)
        for _ in range(rng.choice((0, 0, 0, 1, 2) if is_honest else (0, 0, 0, 0, 1)))
    )
    return Scenario(
        name=name,
        log=log,
        manners=manners,
        lie=kind(rng, log, manners),
        scope=rng.choice(SCOPES[name.version]),
        concurrency=rng.choice((1, 2, 6)) if is_honest and not kills else 1,
        compression=rng.choice(("none", "gzip")),
        part_records=rng.choice((120, 400, 25_000)),
        kills=kills,
        runs_again=name.lie == "late-arrivals" or (is_honest and rng.random() < 0.2),
    )


class _GuardedTransport:
    """Ends a pull that sends more requests than any reading needs."""

    def __init__(self, transport: Transport, server: LogServer, most_requests: int) -> None:
        self._transport = transport
        self._server = server
        self._most_requests = most_requests

    def send(self, request: Request) -> Response:
        """Sends the request."""
        if self._server.answer_count >= self._most_requests:
            raise HangError(f"more than {self._most_requests} requests")
        return self._transport.send(request)


class WindowRun:
    """Runs one scenario: attempts, some of them killed, until one commits or fails for good."""

    def __init__(self, scenario: Scenario, host: HttpHost, folder: Path) -> None:
        self._scenario = scenario
        self._folder = folder
        log, manners = scenario.log, scenario.manners
        self._clock = CampaignClock(log.now)
        self.server = LogServer(log, scenario.scope, manners, scenario.lie, self._clock)
        self._base_url = host.open_window(self.server, compresses=manners.compresses)
        self._attempt_count = 0
        self.page_count = max(1, -(-len(log.inside) // manners.max_rows))
        self._most_requests = _MOST_REQUESTS + _REQUESTS_PER_PAGE * self.page_count
        self.was_killed = self._is_committed_before = False

    def judge(self) -> Result:
        """Pulls and returns what came of it."""
        error: BaseException | None = None
        try:
            for kill in self._scenario.kills:
                self._attempt_killed(kill)
            # An attempt that reached its commit leaves a whole window, which a later one can fail to read again.
            self._is_committed_before = landed_lines(self._folder) is not None
            error = self._attempt_with_retries()
            request_count = self.server.answer_count
            outcome, found = self._outcome(error)
            is_fixed = False
            if outcome is Outcome.SILENT or (self._scenario.runs_again and outcome is Outcome.EXACT):
                outcome, is_fixed, error = self._judge_next_run(outcome, error)
        except (Exception, HangError) as unnamed:  # noqa: BLE001 - whatever has no name of ours is a finding
            outcome = Outcome.HANG if isinstance(unnamed, HangError) else Outcome.BROKEN
            error, found, request_count, is_fixed = unnamed, None, self.server.answer_count, False
        return Result(
            self._scenario.name,
            outcome,
            "" if error is None else f"{type(error).__name__}: {getattr(error, 'message', error)}",
            found,
            request_count,
            self.page_count,
            self._scenario.lie.took_effect,
            self.was_killed,
            is_fixed,
            tuple(self.server.violations),
        )

    def _attempt_killed(self, kill: Kill) -> None:
        try:
            self._attempt(CrashPoint(kill.at, after_effect=kill.after_effect), in_transport=kill.in_transport)
        except KilledError:
            self.was_killed = True
        except AuditProviderError:
            # The next attempt is as Airflow's retry, or as somebody's who clears the task.
            pass
        self._clock.sleep(_RETRY_DELAY_SECONDS)

    def _attempt_with_retries(self) -> AuditProviderError | None:
        """Pulls as a task with retries; returns the error that is left."""
        error: AuditProviderError | None = None
        for _ in range(_TASK_RETRIES + 1):
            try:
                self._attempt(CrashPoint())
                return None
            except AuditProviderError as raised:
                error = raised
                if not raised.retryable or isinstance(raised, WindowNotSettledError):
                    break
            self._clock.sleep(_RETRY_DELAY_SECONDS)
        return error

    def _attempt(self, crash: CrashPoint, *, in_transport: bool = False) -> None:
        self._attempt_count += 1
        lie = self._scenario.lie
        endpoint = Endpoint(Credentials(token=TOKEN), self._base_url, timeout_seconds=lie.timeout_seconds)
        with open_client(endpoint) as client:
            transport: Transport = HttpTransport(client, lie.max_response_bytes)
            transport = _GuardedTransport(transport, self.server, self._most_requests)
            store: Store = LocalStore(str(self._folder))
            if in_transport:
                transport = CrashingTransport(transport, crash)
            else:
                store = CrashingStore(store, crash)
            reader = AuditLogReader(transport, self._clock, RateLimiter(), RetryLimits())
            pull_window(self._spec(), reader, store, NullObserver())

    def _spec(self) -> PullSpec:
        scenario = self._scenario
        log = scenario.log
        spec = PullSpec(
            query=audit_query(
                log.version,
                scenario.scope,
                account_id=ACCOUNT_ID if scenario.scope == "account" else None,
                organization_id=ORGANIZATION_ID if scenario.scope == "organization" else None,
            ),
            run_window=RunWindow(TimeWindow(log.start, log.end), "explicit bounds", log.start.date()),
            part_format=part_format("jsonl", scenario.compression, "raw"),
            attempt_id=f"attempt-{self._attempt_count}",
            settle_delay=timedelta(minutes=15),
            max_part_bytes=1 << 20,
            concurrency=scenario.concurrency,
        )
        return MODES[scenario.name.mode](spec)

    def _outcome(self, error: AuditProviderError | None) -> tuple[Outcome, Difference | None]:
        landed = landed_lines(self._folder)
        if error is not None:
            if landed is None or self._is_committed_before:
                return Outcome.LOUD, None
            raise AssertionError(f"a window that failed is committed; {error}")
        if landed is None:
            raise AssertionError("a pull without an error committed nothing")
        findings = severe(verify(LocalStore(str(self._folder))).findings)
        if findings:
            raise AssertionError(f"verify reports {findings}")
        found = difference(self._scenario.log, landed, self._scenario.lie.optional)
        return (Outcome.EXACT if found.is_exact else Outcome.SILENT), found

    def _judge_next_run(
        self, first: Outcome, error: AuditProviderError | None
    ) -> tuple[Outcome, bool, AuditProviderError | None]:
        """Pulls the window again an hour later, as lookback does; returns what is then true of it."""
        self._clock.sleep(_ONE_HOUR_SECONDS)
        self._scenario.lie.end_transient_state()
        before = landed_lines(self._folder)
        error = self._attempt_with_retries()
        landed = landed_lines(self._folder)
        if first is Outcome.SILENT:
            is_exact = error is None and difference(self._scenario.log, landed or []).is_exact
            return first, is_exact, None
        if error is not None:
            return Outcome.LOUD, False, error
        if self._scenario.name.lie == HONEST and landed != before:
            raise AssertionError("a second run changed what was committed")
        optional = frozenset() if self._scenario.name.lie == "late-arrivals" else self._scenario.lie.optional
        is_exact = difference(self._scenario.log, landed or [], optional).is_exact
        return (Outcome.EXACT if is_exact else Outcome.SILENT), is_exact, None


def run_window(name: WindowName, host: HttpHost, seed: int = DEFAULT_SEED) -> Result:
    """Draws and runs a window in a folder of its own, which is deleted afterwards."""
    scenario = draw_scenario(name, seed)
    with _folder() as folder, patch.object(part_writer, "PART_RECORDS", scenario.part_records):
        return WindowRun(scenario, host, folder).judge()


@contextmanager
def _folder() -> Iterator[Path]:
    in_memory = _MEMORY_FOLDER if Path(_MEMORY_FOLDER).is_dir() else None
    with tempfile.TemporaryDirectory(prefix="campaign-", dir=in_memory, ignore_cleanup_errors=True) as folder:
        yield Path(folder)

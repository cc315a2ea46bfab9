"""A real process is killed by SIGKILL at random moments; the last run leaves the bytes of an undisturbed one."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airflow_audit_provider.adapters.clock import SystemClock
from airflow_audit_provider.adapters.cloudflare.http import Credentials, Endpoint, HttpTransport, open_client
from airflow_audit_provider.adapters.cloudflare.reader import AuditLogReader
from airflow_audit_provider.adapters.storage.fsspec_store import LocalStore
from airflow_audit_provider.core.api.rate_limiter import RateLimiter
from airflow_audit_provider.core.api.retry import RetryLimits
from airflow_audit_provider.core.archive.manifest import Manifest
from airflow_audit_provider.core.archive.object_keys import DATASET_KEY
from airflow_audit_provider.pipelines import part_writer
from airflow_audit_provider.pipelines.committed import latest_committed
from airflow_audit_provider.pipelines.sweep import sweep
from airflow_audit_provider.pipelines.verify import verify
from airflow_audit_provider.testing.clock import ManualClock
from airflow_audit_provider.testing.cloudflare import FakeCloudflare
from airflow_audit_provider.testing.server import FakeServer
from airflow_audit_provider.testing.settings import TOKEN
from tests.pipelines.fork_server import ForkServer, fork_for_lines
from tests.pipelines.pull.landing import (
    fake_with,
    keys_of,
    land,
    landed_ids,
    logged_keys,
    objects,
    pull_spec,
    records_of,
    true_ids,
)

ROUNDS = int(os.environ.get("SIGKILL_ROUNDS", "200"))
SEED = 20261026
_LONGEST_DELAY_SECONDS = 0.05
SPEC = pull_spec(concurrency=2)
FORK_SERVER_CODE = "import sys; from tests.pipelines.pull.test_sigkill import serve_pulls; serve_pulls(*sys.argv[1:])"


def serve_pulls(base_url: str) -> None:
    """Lands once for every line of ``folder attempt``, each in a child process; the fork server runs this."""
    part_writer.PART_RECORDS = 1000
    fork_for_lines(lambda folder, attempt_id: _land(base_url, folder, attempt_id))


def _land(base_url: str, folder: str, attempt_id: str) -> None:
    """Lands the usual day in small parts, over sockets, into files."""
    clock = SystemClock()
    with open_client(Endpoint(Credentials(TOKEN), base_url)) as client:
        reader = AuditLogReader(HttpTransport(client), clock, RateLimiter(), RetryLimits())
        land(SPEC._replace(attempt_id=attempt_id), reader, LocalStore(folder))


@pytest.fixture(scope="module")
def fake() -> FakeCloudflare:
    """A fake of eight thousand records, which are made before the first request."""
    fake = fake_with(ManualClock(), records_per_day=8000, requests_per_window=None)
    true_ids(fake)
    return fake


@pytest.fixture(scope="module")
def fork_server(fake: FakeCloudflare) -> Iterator[ForkServer]:
    """A process that forks pulls from a real server on loopback."""
    with FakeServer(fake) as server:
        fork_server = ForkServer(FORK_SERVER_CODE, server.base_url)
        yield fork_server
        fork_server.close()


def _check_parts_complete(store: LocalStore) -> bool:
    """Asserts that the manifest names only complete parts; returns whether there is a manifest."""
    commit = latest_committed(store, keys_of(SPEC))
    if commit is None:
        return False
    assert len(list(records_of(commit.manifest, SPEC, store))) == commit.manifest.record_count
    return True


def _parts(store: LocalStore) -> dict[str, bytes]:
    return {key: content for key, content in objects(store).items() if key.startswith("dt=")}


def _files(folder: Path) -> set[str]:
    """Returns every file below a folder, also those no store lists; folders may vanish meanwhile."""
    return {(Path(root) / name).relative_to(folder).as_posix() for root, _, names in os.walk(folder) for name in names}


def _end(fork_server: ForkServer, folder: Path, expected: dict[str, bytes]) -> Manifest:
    """Runs the last attempt to its end; asserts the parts of an undisturbed run and that nothing is left over."""
    assert fork_server.run(f"{folder} last") == 0
    store = LocalStore(str(folder))
    commit = latest_committed(store, keys_of(SPEC))
    assert commit is not None
    assert _parts(store) == expected
    assert verify(store).severe_count == 0
    sweep(store, datetime.now(UTC) + timedelta(days=2))
    named = {*expected, keys_of(SPEC).manifest(1), DATASET_KEY, *logged_keys(store)}
    assert _files(folder) == named
    return commit.manifest


def _undisturbed(fork_server: ForkServer, folder: Path, fake: FakeCloudflare) -> tuple[dict[str, bytes], int]:
    """Returns the parts of an undisturbed run, and its number of requests and new files."""
    steps = _Steps(fake, folder)
    assert fork_server.run(f"{folder} only", steps.watch) == 0
    store = LocalStore(str(folder))
    assert landed_ids(SPEC, store) == true_ids(fake)
    assert len(_parts(store)) == 8
    return _parts(store), steps.most_count


class _Steps:
    """Counts requests and new files of an attempt from now on; ``most_count`` is the largest count seen.

    Steps instead of seconds spread the moments over the whole attempt, from reading to publishing, at any speed of
    the machine.
    """

    def __init__(self, fake: FakeCloudflare, folder: Path) -> None:
        self.most_count = 0
        self._fake, self._folder = fake, folder
        self._before_count = self._count()

    def taken_count(self) -> int:
        """Returns how many steps were taken."""
        self.most_count = max(self.most_count, self._count() - self._before_count)
        return self.most_count

    def watch(self) -> bool:
        """Counts, and never kills."""
        self.taken_count()
        return False

    def _count(self) -> int:
        return len(self._fake.requests) + len(_files(self._folder))


def _random_moment(moments: random.Random, fake: FakeCloudflare, folder: Path, step_count: int) -> Callable[[], bool]:
    """Returns a function that returns whether the moment has come: some milliseconds after a random step."""
    # A resumed attempt takes fewer steps than an undisturbed one, so half of the moments are drawn from the first half.
    awaited_count = moments.randint(1, moments.choice((step_count // 2, step_count)))
    steps = _Steps(fake, folder)
    delay_seconds = moments.uniform(0, _LONGEST_DELAY_SECONDS)

    def has_come() -> bool:
        if steps.taken_count() < awaited_count:
            return False
        time.sleep(delay_seconds)
        return True

    return has_come


@pytest.mark.nightly
def test_worker_killed_at_random_moments_leaves_the_same_bytes(
    fork_server: ForkServer, fake: FakeCloudflare, tmp_path: Path
) -> None:
    """However often a worker is killed, the run that ends leaves the bytes of an undisturbed run."""
    moments, folder = random.Random(SEED), tmp_path / "0"
    expected, step_count = _undisturbed(fork_server, tmp_path / "undisturbed", fake)
    killed_count, ended = 0, []
    for number in range(1, ROUNDS + 1):
        status = fork_server.run(f"{folder} attempt-{number}", _random_moment(moments, fake, folder, step_count))
        assert status in {0, -signal.SIGKILL}
        killed_count += status != 0
        if _check_parts_complete(LocalStore(str(folder))) or moments.random() < 0.3 or number == ROUNDS:
            ended.append(_end(fork_server, folder, expected))
            folder = tmp_path / str(number)
    assert killed_count >= ROUNDS // 4
    assert sum(manifest.fetch.resumed_count > 0 for manifest in ended) >= ROUNDS // 10

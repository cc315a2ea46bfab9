"""The garbage collector and numpy's threads while a task imports; afterwards they are as before."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from airflow_audit_provider._airflow.faster_imports import collector_paused, one_linear_algebra_thread


@pytest.fixture(autouse=True)
def _usual_collector() -> Iterator[None]:
    """Leaves the collector as these tests found it."""
    was_enabled, was_frozen = gc.isenabled(), gc.get_freeze_count() > 0
    gc.enable()
    gc.unfreeze()
    yield
    (gc.freeze if was_frozen else gc.unfreeze)()
    (gc.enable if was_enabled else gc.disable)()


def test_collector_rests_until_it_is_resumed() -> None:
    """No collection looks through the objects that the imports create."""
    with collector_paused() as resume:
        assert not gc.isenabled()
        resume()
        assert gc.isenabled()
        assert gc.get_freeze_count() > 1000
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_collector_is_resumed_after_an_error() -> None:
    """Also if the error comes before the imports have ended."""
    with pytest.raises(ValueError, match="no module"), collector_paused():
        raise ValueError("no module")
    assert gc.isenabled()
    assert gc.get_freeze_count() == 0


def test_collector_that_is_off_stays_off() -> None:
    """Somebody else has turned it off."""
    gc.disable()
    with collector_paused() as resume:
        resume()
        assert not gc.isenabled()
    assert not gc.isenabled()


def test_collector_never_counts_what_the_executor_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker of LocalExecutor has set aside 180,000 objects, and counting them takes 20 ms of each task."""
    counts: list[str] = []
    gc.freeze()
    monkeypatch.setattr(gc, "get_freeze_count", lambda: counts.append("frozen"))
    monkeypatch.setattr(gc, "get_objects", lambda *_: counts.append("tracked"))
    with collector_paused() as resume:
        resume()
    assert counts == []


_VARIABLES = ("OPENBLAS_NUM_THREADS", "OPENBLAS_DEFAULT_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS")
_THREADS_AFTER_IMPORT = """
import contextlib, os, sys
from airflow_audit_provider._airflow.faster_imports import one_linear_algebra_thread
with one_linear_algebra_thread() if sys.argv[1] == "one" else contextlib.nullcontext():
    import numpy
print(len(os.listdir("/proc/self/task")), len(os.sched_getaffinity(0)), os.environ.get("OPENBLAS_NUM_THREADS"))
"""


@pytest.fixture
def no_numpy(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Makes the process look like one that has not imported numpy and whose environment sets no threads."""
    monkeypatch.delitem(sys.modules, "numpy", raising=False)
    for name in _VARIABLES:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.mark.usefixtures("no_numpy")
def test_one_thread_is_set_in_the_block_only() -> None:
    """The environment is as before, also after an error."""
    before = dict(os.environ)
    with one_linear_algebra_thread():
        assert dict(os.environ) == before | {"OPENBLAS_NUM_THREADS": "1"}
    assert dict(os.environ) == before
    with pytest.raises(ValueError, match="no window"), one_linear_algebra_thread():
        raise ValueError("no window")
    assert dict(os.environ) == before


@pytest.mark.parametrize("name", _VARIABLES)
def test_number_of_threads_that_is_set_stays(no_numpy: pytest.MonkeyPatch, name: str) -> None:
    """OpenBLAS reads three variables, and the first one that is set counts."""
    no_numpy.setenv(name, "3")
    before = dict(os.environ)
    with one_linear_algebra_thread():
        assert dict(os.environ) == before


def test_environment_stays_if_numpy_is_imported_already(no_numpy: pytest.MonkeyPatch) -> None:
    """Its threads have started, so the variable would only reach other programs."""
    no_numpy.setitem(sys.modules, "numpy", gc)
    with one_linear_algebra_thread():
        assert "OPENBLAS_NUM_THREADS" not in os.environ


@pytest.mark.integration
@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_numpy_starts_no_thread_in_the_block() -> None:
    """The kernel counts the threads of a process that has imported numpy, in the block and without it."""
    kept = {name: value for name, value in os.environ.items() if name not in _VARIABLES}
    found, processors = {}, ""
    for how in ("one", "many"):
        command = [sys.executable, "-c", _THREADS_AFTER_IMPORT, how]
        printed = subprocess.run(command, env=kept, check=True, capture_output=True, text=True)
        found[how], processors, variable = printed.stdout.split()
        assert variable == "None"
    assert found["one"] == "1"
    assert int(found["many"]) > 1 or processors == "1"

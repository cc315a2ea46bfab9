"""Settings of a task's process that make its imports take less time: the garbage collector, and numpy's threads.

An import creates many objects and no garbage. They make the collector look through everything that the worker imported
before its fork, once or twice: 0.1 s of CPU at the start of a task, 0.25 s with many providers installed.

If numpy is installed, pyarrow imports it for Parquet. OpenBLAS, the library in it for linear algebra, then starts a
thread for each processor: 0.05 to 0.1 s of CPU on two cores.

Invariant: after the block, the collector is on or off as before, and the environment is as before.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# https://github.com/OpenMathLib/OpenBLAS#setting-the-number-of-threads-at-runtime
_THREADS = "OPENBLAS_NUM_THREADS"
_THREAD_VARIABLES = (_THREADS, "OPENBLAS_DEFAULT_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS")


@contextmanager
def one_linear_algebra_thread() -> Iterator[None]:
    """Keeps numpy from starting threads for linear algebra if it is imported in the block; a pull needs none.

    A number of threads that the environment has stays. numpy has one thread until the process ends.
    """
    if "numpy" in sys.modules or any(os.environ.get(name) for name in _THREAD_VARIABLES):
        yield
        return
    before = os.environ.get(_THREADS)
    os.environ[_THREADS] = "1"
    try:
        yield
    finally:
        _restore(before)


def _restore(threads: str | None) -> None:
    """Gives the environment its number of threads back, unless code in the block has set another one."""
    if os.environ.get(_THREADS) != "1":
        return
    if threads is None:
        del os.environ[_THREADS]
    else:
        os.environ[_THREADS] = threads


@contextmanager
def collector_paused() -> Iterator[Callable[[], None]]:
    """Pauses the collector; the yielded function resumes it, for the objects that are created from then on.

    At the end it is as before, also after an error, and what was set aside is collected again. That includes what
    LocalExecutor set aside before it forked the worker, which does no harm: the process ends with the task. To find out
    whether there is any, Python would count all these objects, which takes 20 ms of CPU.
    """
    was_enabled = gc.isenabled()

    def resume() -> None:
        gc.freeze()
        if was_enabled:
            gc.enable()

    gc.disable()
    try:
        yield resume
    finally:
        if was_enabled:
            gc.enable()
        gc.unfreeze()

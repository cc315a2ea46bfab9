"""``python -m bench.lane CONTENDER JOB``: process of one contender.

Invariant: imports and a first pull of one minute come before the measurement; then it prints "ready" and waits for a
line, so that the parent can read the server's log in between.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.contenders import load
from bench.job import Job
from bench.meter import peak_bytes, read_meter, resident_bytes


def main(name: str, text: str) -> int:
    """Runs one contender; the last line of standard output has its figures."""
    # Only the output of this program goes to the pipe; the output of the contender goes to the log.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    logging.disable(logging.INFO)
    pull, job = load(name), Job.from_text(text)
    with TemporaryDirectory(dir=Path(job.folder).parent) as elsewhere:
        pull(job.of_first_minute(elsewhere))
    resting_bytes = resident_bytes()
    print("ready", file=answers, flush=True)
    sys.stdin.readline()
    before = read_meter()
    landed_count = pull(job)
    after = read_meter()
    figures = {
        "landed_count": landed_count,
        "wall_seconds": after.wall_seconds - before.wall_seconds,
        "cpu_seconds": after.cpu_seconds - before.cpu_seconds,
        "peak_bytes": peak_bytes() - resting_bytes,
        "landed_bytes": sum(path.stat().st_size for path in Path(job.folder).rglob("*") if path.is_file()),
    }
    print(json.dumps(figures), file=answers, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
